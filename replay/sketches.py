"""Sketches of the market along a journal, so that a book or the positions at a command come after a short replay.

    DIR/index/000001-00000000000000131072.sketch      slice, command

They are written with the event index and are as little the truth as it is (``replay.event_index``): each may be
deleted, names its block of the journal, and is left out where it is damaged or of another form.
"""

import os
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from engine.capacity import Capacity
from engine.interface import MarketEngine, engine_of_sketch, sketch_of
from engine.records import RULES_VERSION
from journal import Block, Journal, JournalDamaged
from journal.columns import Columns, write_columns
from replay.rebuild import state_form

VERSION: Final = 1
#: Commands between two sketches, at least.
EVERY_COMMANDS: Final = 1 << 17
#: Bytes of sketches for a command, at most: those of a large market are further apart.
BYTES_A_COMMAND: Final = 48
_NAME: Final = re.compile(r"(\d{6})-(\d{20})\.sketch")


class Sketching:
    """Sketches of a market that goes through a slice from command ``from_seq`` on."""

    def __init__(self, folder: Path, journal: Journal, from_seq: int) -> None:
        """Those that were written from there on are removed. Raises OSError."""
        self._folder, self._journal = folder, journal
        self._next_seq = from_seq - 1 + EVERY_COMMANDS
        for seq, path in _files(folder, journal.place.number).items():
            if seq >= from_seq:
                path.unlink(missing_ok=True)

    def look(self, engine: MarketEngine | None, block: Block) -> None:
        """Write a sketch of an engine that stands at the end of a block, if it is time for one. Raises OSError."""
        if engine is None or engine.seq < self._next_seq or engine.seq != block.last_seq:
            return
        arrays = sketch_of(engine)
        if arrays is None:
            return
        size_bytes = sum(array.nbytes for array in arrays.values())
        self._next_seq = engine.seq + max(EVERY_COMMANDS, size_bytes // BYTES_A_COMMAND)
        meta = {
            "version": VERSION,
            "form": _form(),
            "seq": engine.seq,
            "link": block.checksum,
            "event_digest": engine.event_digest,
            "capacity": asdict(engine.capacity),
        }
        content = {name: (array.dtype.str, len(array), array.view(np.uint8).data) for name, array in arrays.items()}
        path = self._folder / f"{self._journal.place.number:06}-{engine.seq:020}.sketch"
        write_columns(path, meta, content)


class Sketch(NamedTuple):
    """Sketch after command ``seq``: its file, and the plain values and arrays of that."""

    seq: int
    columns: Columns

    def engine(self, following: int) -> MarketEngine:
        """An engine in its state, for about ``following`` commands.

        Raises ValueError and JournalDamaged, after which its file is gone.
        """
        try:
            meta = self.columns.meta
            found = {name: np.frombuffer(content, form) for name, (form, _, content) in self.columns.arrays()}
            return engine_of_sketch(Capacity(**meta["capacity"]), self.seq, meta["event_digest"], found, following)
        except (ValueError, JournalDamaged):
            with suppress(OSError):
                self.columns.path.unlink()
            raise


def newest_sketch(folder: Path, journal: Journal, to_seq: int) -> Sketch | None:
    """The newest sketch of a slice after command ``to_seq`` or one before; None where there is none of use."""
    for seq, path in sorted(_files(folder, journal.place.number).items(), reverse=True):
        if seq <= to_seq and (sketch := _usable(path, journal, seq)) is not None:
            return sketch
    return None


def _usable(path: Path, journal: Journal, seq: int) -> Sketch | None:
    """The sketch in a file; None where it is of another journal, of another form or damaged."""
    try:
        columns = Columns(path)
        meta = columns.meta
        if (meta["version"], meta["form"], meta["seq"]) != (VERSION, _form(), seq) or seq > journal.last_seq:
            return None
        block = next(iter(journal.blocks(seq, seq)), None)
        is_there = block is not None and (block.last_seq, block.checksum) == (seq, meta["link"])
        return Sketch(seq, columns) if is_there else None
    except (OSError, ValueError, KeyError, TypeError, JournalDamaged):
        return None


def size_of_sketches(folder: Path) -> int:
    """Bytes of all files of sketches in a folder. Raises OSError."""
    return sum(path.stat().st_size for path in folder.glob("*.sketch"))


def _form() -> list[Any]:
    """The rules and the form of the state: a sketch of others is of no use."""
    return [RULES_VERSION, *state_form()]


def _files(folder: Path, number: int) -> dict[int, Path]:
    """Files of sketches of a slice, by their command."""
    found = {}
    with suppress(OSError):
        for name in os.listdir(folder):
            match = _NAME.fullmatch(name)
            if match and int(match[1]) == number:
                found[int(match[2])] = folder / name
    return found
