"""Rows of a tape, as the caller chooses them, and names of its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tape.errors import TapeError
from tape.shared_file import Form

#: Rows are of whole cache lines, so that none shares a line with the next.
ROW_BYTES: Final = 64


@dataclass(frozen=True)
class Rows:
    """Types of the rows. The tape moves rows and looks into none."""

    commands: "np.dtype[Any]"
    events: "np.dtype[Any]"
    reports: "np.dtype[Any]"

    def __post_init__(self) -> None:
        for dtype in (self.commands, self.events, self.reports):
            if dtype.itemsize % ROW_BYTES:
                raise TapeError(f"a row has {dtype.itemsize} bytes; it must have a multiple of {ROW_BYTES}")

    def tape_form(self, journal_id: bytes) -> Form:
        """Form of the tape's file."""
        named = {"commands": self.commands, "events": self.events, "reports": self.reports}
        return Form("tape", journal_id, named)

    def ring_form(self, journal_id: bytes) -> Form:
        """Form of a ring's file."""
        return Form("ring", journal_id, {"commands": self.commands})


def memory_folder(directory: Path) -> Path:
    """Folder of the names of shared memory in the data directory of a market, which no other user may enter."""
    return directory / "memory"


def tape_path(folder: Path) -> Path:
    """Path of a market's tape in a folder of names."""
    return folder / "tape"


def ring_path(folder: Path, source: str) -> Path:
    """Path of the ring of a source of commands. source: letters, digits and hyphens."""
    if not source or not source.isascii() or not source.replace("-", "").isalnum():
        raise TapeError(f"{source!r} is no name of a source; use letters, digits and hyphens")
    return folder / f"ring-{source}"
