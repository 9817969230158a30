"""Programs of a node that was killed, which hold its ports for a moment longer.

The system kills them with their node, but a process needs time to end, and one that was just being started holds the
ports that it was lent until it finds that its node is gone (``node.programs.launch``). A node that is started in that
moment waits for them, and for nobody else: a process counts as leaving only where nothing can keep it from its end.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Longest wait, and interval of looks, in seconds.
PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.01
#: Number of looks at a port in use that nobody is seen to hold: it may have become free between two looks.
_UNSEEN_MAX: Final = 10
_LISTENS: Final = "0A"
_LAUNCH: Final = (b"-m", b"node.programs.launch")
#: PF_EXITING of Linux, in the flags of /proc/PID/stat.
_EXITING: Final = 4
_KILLED: Final = 1 << (signal.SIGKILL - 1)


def becomes_free(port: int, is_free: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Wait until a port is free, while only processes hold it that are about to end; False where it stays in use."""
    until_s, unseen = time.monotonic() + patience_s, 0
    while not is_free():
        held_by = holders(port)
        unseen += not held_by
        if unseen > _UNSEEN_MAX or time.monotonic() > until_s or not all(map(is_leaving, held_by)):
            return False
        time.sleep(_LOOK_S)
    return True


def holders(port: int) -> list[int]:
    """Processes that hold a TCP socket which listens on a port, as far as this one may see them."""
    links = {f"socket:[{inode}]" for inode in _listening(port)}
    found = []
    for each in Path("/proc").iterdir() if links else ():
        if each.name.isdigit():
            with suppress(OSError):  # it has ended, or is somebody else's
                if any(os.readlink(file) in links for file in (each / "fd").iterdir()):
                    found.append(int(each.name))
    return found


def _listening(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port."""
    found = set[str]()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(words[9])
    return found


def is_leaving(pid: int) -> bool:
    """True for a process that ends, or is killed, or will end as it finds that the node is gone that has started it."""
    process = Path("/proc") / str(pid)
    try:
        words = (process / "stat").read_text().rpartition(")")[2].split()
        state, parent, flags = words[0], int(words[1]), int(words[6])
        if state == "Z" or flags & _EXITING:
            return True
        pending = [line.split()[1] for line in (process / "status").read_text().splitlines() if "Pnd:" in line[:7]]
        if any(int(mask, 16) & _KILLED for mask in pending):
            return True
        command = (process / "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return not process.exists()
    if not any(command):  # it becomes another program at this moment
        return True
    return tuple(command[1:3]) == _LAUNCH and command[3].isdigit() and int(command[3]) != parent
