"""The tape of a market: the rows on it, and the place of its file."""

from pathlib import Path
from typing import Final

from engine.records import COMMAND, EVENT
from reports import REPORT
from tape.form import Rows, memory_folder, ring_path, tape_path
from tape.lines import lines_path

MARKET_ROWS: Final = Rows(COMMAND, EVENT, REPORT)


def tape_of(directory: Path) -> Path:
    """Path of the tape of the node in a data directory."""
    return tape_path(memory_folder(directory))


def lines_of(directory: Path) -> Path:
    """Path of the lines of local clients, as ``tape_of``."""
    return lines_path(memory_folder(directory))


def ring_of(directory: Path, gateway: str) -> Path:
    """Path of the ring of a gateway process, as ``tape_of``. gateway: its name."""
    return ring_path(memory_folder(directory), gateway)
