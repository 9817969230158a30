"""Facts of FIX sessions that the journal does not have, in files which a gateway leaves beside its streams.

The one of sessions has the version, the address and the times of the last bytes each way of every session, of earlier
lives of the gateway too, and the gateway's process; it is written every few seconds and at the end. That of the watched
is written by `lockstep fix`: users whose messages the gateway logs, until it is removed.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

SESSIONS: Final = "sessions.json"
WATCHED: Final = "watched"
_BYTES_MAX: Final = 8 << 20


def write_side_file(folder: Path, sessions: dict[str, dict[str, Any]]) -> None:
    """Write the facts of sessions, by the names of their users. Raises OSError."""
    aside = folder / f".{SESSIONS}.new"
    aside.write_text(json.dumps({"pid": os.getpid(), "sessions": sessions}))
    aside.chmod(0o600)
    aside.replace(folder / SESSIONS)


def read_side_file(folder: Path) -> dict[str, dict[str, Any]]:
    """Facts of sessions, by the names of their users; without the file, or with one that says nothing, none.

    Nobody is logged on at a process that has ended.
    """
    try:
        with (folder / SESSIONS).open("rb") as file:
            said = json.loads(file.read(_BYTES_MAX))
        found = {str(name): dict(facts) for name, facts in said["sessions"].items()}
        lives = _lives(int(said["pid"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    if not lives:
        for facts in found.values():
            facts["logged_on"] = False
    return found


def is_served(folder: Path) -> bool:
    """True if the gateway that left the file of sessions runs."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        return _lives(int(json.loads((folder / SESSIONS).read_text())["pid"]))
    return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def watched(folder: Path) -> frozenset[str]:
    """Users whose messages are to be logged. A file that cannot be read names none."""
    with suppress(OSError, UnicodeDecodeError):
        return frozenset((folder / WATCHED).read_text("ascii").split())
    return frozenset()


def watch(folder: Path, users: frozenset[str]) -> None:
    """Have the messages of these users logged, and of no other. Raises OSError."""
    path = folder / WATCHED
    if not users:
        path.unlink(missing_ok=True)
        return
    aside = folder / f".{WATCHED}.new"
    aside.write_text("\n".join(sorted(users)), "ascii")
    aside.chmod(0o600)
    aside.replace(path)
