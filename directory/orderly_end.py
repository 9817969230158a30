"""Mark of a data directory whose node ended in order: everything that it had acknowledged is in the journal.

Under `replica` a standby acknowledges blocks before they are on its disk, and a crash loses them. A node that starts
cannot tell a crash from an orderly end, unless the end was noted: DIR/orderly_end is a JSON object with the epoch and
the end of the journal. Remove the mark before the node acknowledges or answers anything again.
"""

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

from directory.small_file import write_whole

MARK: Final = "orderly_end"


class OrderlyEnd(NamedTuple):
    """End of a journal at the orderly end of its node, and the highest epoch that the node had seen.

    ``seq``, ``checksum``: of the last block. A reign of a later epoch knows nothing of this directory.
    """

    epoch: int
    seq: int
    checksum: bytes


def write_orderly_end(directory: Path, end: OrderlyEnd) -> None:
    """Write the mark, whole and synced. Raises OSError."""
    write_whole(directory / MARK, json.dumps(end._asdict() | {"checksum": end.checksum.hex()}) + "\n")


def read_orderly_end(directory: Path) -> OrderlyEnd | None:
    """Read the mark; None if there is none, or none that can be read."""
    try:
        told = json.loads((directory / MARK).read_text(encoding="utf-8"))
        return OrderlyEnd(int(told["epoch"]), int(told["seq"]), bytes.fromhex(told["checksum"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def clear_orderly_end(directory: Path) -> None:
    """Remove the mark, so that a loss of power does not bring it back. Raises OSError."""
    path = directory / MARK
    if not os.path.lexists(path):
        return
    path.unlink()
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
