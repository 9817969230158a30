"""The tape of a market: the rows on it, and the place of its file."""

from pathlib import Path
from typing import Final

from engine.records import COMMAND, EVENT
from reports import REPORT
from tape.form import Rows, directory_key, ring_path, tape_path
from tape.lines import lines_path
from tape.shared_file import SHARED

MARKET_ROWS: Final = Rows(COMMAND, EVENT, REPORT)


def tape_of(directory: Path, journal_id: bytes) -> Path:
    """Path of the tape of the node in a data directory.

    A copy of a directory has the same journal, so the name also has the directory's own number in its file system.
    Raises OSError.
    """
    return tape_path(SHARED, journal_id, directory_key(directory))


def lines_of(directory: Path, journal_id: bytes) -> Path:
    """Path of the lines of local clients, as ``tape_of``."""
    return lines_path(SHARED, journal_id, directory_key(directory))


def ring_of(directory: Path, journal_id: bytes, gateway: str) -> Path:
    """Path of the ring of a gateway process, as ``tape_of``. gateway: its name."""
    return ring_path(SHARED, journal_id, gateway, directory_key(directory))
