"""Mark of a data directory whose node has diverged from its primary, and the id of a directory.

DIR/diverged is a JSON object with the sentence and the place of the difference. A node of a pair does not start on a
directory with it: its state may be wrong, and so may the checkpoints and recorded digests that it has written. The node
is rebuilt in an empty directory. DIR/directory_id tells a primary that a node was rebuilt.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from directory.small_file import write_whole
from replay.errors import ReplayError

MARK: Final = "diverged"
ID: Final = "directory_id"


class Mark(NamedTuple):
    """Mark of a divergence: the names of both nodes, the place of the difference, and the sentence on it.

    ``first_seq``, ``last_seq``: commands of the first block that differs, or the position of the compared state.
    ``bundle``: name of the forensic bundle in the directory. ``time_ns``: wall clock.
    """

    node: str
    primary: str
    epoch: int
    first_seq: int
    last_seq: int
    part: str
    sentence: str
    bundle: str
    time_ns: int


class DirectoryDiverged(ReplayError):
    """A node does not start, since its directory has the mark; the message says what to do."""


def write_mark(directory: Path, mark: Mark) -> None:
    """Write the mark, whole and synced. Raises OSError."""
    write_whole(directory / MARK, json.dumps(mark._asdict()) + "\n")


def read_mark(directory: Path) -> Mark | None:
    """Read the mark; None if there is none. One that cannot be read is a mark too."""
    path = directory / MARK
    try:
        return Mark(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, RecursionError):
        return Mark("this node", "", 0, 0, 0, "", f"{path} says that this node has diverged, and cannot be read", "", 0)


def advice(directory: Path) -> str:
    """Advice to the operator on a directory with the mark."""
    return (
        f"move {directory} away, keep its bundle, and start the node again with an empty --data directory: "
        "it fetches the history from the primary"
    )


def check_unmarked(directory: Path) -> None:
    """Raise DirectoryDiverged if a directory has the mark."""
    mark = read_mark(directory)
    if mark is not None:
        raise DirectoryDiverged(f"{mark.sentence}; {advice(directory)}")


def directory_id(directory: Path) -> bytes:
    """Id (16 bytes) of a data directory, made at the first call; a copy of the directory gets another. Raises OSError.

    A primary refuses a node that has diverged until it comes with another directory, and the arbiter's record names
    nodes with their directories. The directory is known again by its file system's id and its inode. The root of each
    mounted disk has the same inode, and the number of a device may change when the machine starts.
    """
    place = f"{os.statvfs(directory).f_fsid} {directory.stat().st_ino}"
    path = directory / ID
    try:
        token, _, of_place = path.read_text(encoding="ascii").strip().partition(" ")
        if of_place == place and len(token) == 32:
            return bytes.fromhex(token)
    except (FileNotFoundError, ValueError):
        pass
    token = secrets.token_hex(16)
    write_whole(path, f"{token} {place}\n")
    return bytes.fromhex(token)
