"""Watch beside a primary: it ends the lease at the arbiter as soon as the primary's process is dead.

Without it the standby waits until the lease has run out. It is a process of its own, in a session of its own, so that a
signal to the primary does not reach it. A process that is stopped, or a machine that is gone, is no death: then the
lease decides.

    python -m replication.death_watch PID ADDRESS JOURNAL_ID SECRET_FILE CA_FILE

A file may be "": none. Standard input has the epoch of the reign, a line for each; 0: none. Its end ends the watch.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from replication.arbiter import Arbiter, ArbiterError
from replication.arbiters import open_arbiter, parse_address

#: Attempts to end the lease, and the pause between them, in seconds.
_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.05


class DeathWatch:
    """The watch, from the side of the process that is watched."""

    def __init__(self, address: str, journal_id: bytes, secret_file: Path | None, ca_file: Path | None = None) -> None:
        """Start it. Raises OSError."""
        files = [str(file.absolute()) if file is not None else "" for file in (secret_file, ca_file)]
        words = [str(os.getpid()), address, journal_id.hex(), *files]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "replication.death_watch", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )

    @property
    def is_alive(self) -> bool:
        """True while the watch runs."""
        return self._process.poll() is None

    def reign(self, epoch: int) -> None:
        """Name the epoch that ends with this process; 0: none any more. A watch that is gone is no fault."""
        pipe: IO[bytes] | None = self._process.stdin
        with suppress(OSError):
            if pipe is not None:
                pipe.write(f"{epoch}\n".encode())
                pipe.flush()

    def close(self) -> None:
        """End the watch; nothing ends with this process any more."""
        self.reign(0)
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._process.terminate()
        self._process.wait()


async def _watch(pid: int, arbiter: Arbiter) -> None:
    """Wait for the death of a process, then end the lease of its last epoch."""
    loop = asyncio.get_running_loop()
    dead = asyncio.Event()
    process = os.pidfd_open(pid)
    loop.add_reader(process, dead.set)
    epoch, rest = 0, b""

    def on_input() -> None:
        nonlocal epoch, rest
        data = os.read(0, 4_096)
        if not data:
            loop.remove_reader(0)
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            epoch = int(line)

    loop.add_reader(0, on_input)
    await dead.wait()
    for _ in range(_ATTEMPTS if epoch else 0):
        try:
            await arbiter.release(epoch)
        except ArbiterError:
            await asyncio.sleep(_PAUSE_S)
        else:
            return


def main(words: Sequence[str]) -> None:
    """Watch as the words of the command line say."""
    pid, address, journal_id, *files = words
    secret_file, ca_file = (Path(file) if file else None for file in files)
    arbiter = open_arbiter(parse_address(address), bytes.fromhex(journal_id), secret_file=secret_file, ca_file=ca_file)
    with suppress(ProcessLookupError):  # it died before the watch began, without a reign
        asyncio.run(_watch(int(pid), arbiter))


if __name__ == "__main__":
    main(sys.argv[1:])
