"""Halts of a node in its journal: behind them stands a list of the instruments, each with the phase to restore.

    halt XYZ
    halt ABC
    members halted XYZ:4,ABC:6

The list is a MEMBERS row, which the market keeps aside for an index of that name. No index can have the name, since
names are in capitals, and no operator can enter the list. A later list of an instrument replaces its phase; a halt
without a list behind it is of somebody else. Whoever has the journal finds so, newest commands first, which halts the
market's primaries have ordered for themselves, the last one or one before it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import EVERY, pack
from engine.records import COMMAND, CommandKind, Phase
from journal import Journal
from journal.slices import places

#: Name of the list.
LIST: Final = pack("halted")
#: In place of a phase: the call after a halt, which the clock ends, so that ``resume`` begins it anew.
RESUME: Final = int(Phase.HALTED)
#: Places of the two members of a row: the symbol, and its phase.
_MEMBERS: Final = (("symbol", "weight"), ("further_symbol", "further_weight"))
#: Commands that are read at a time, and those at most for which the search goes back: some seconds.
PART: Final = 1 << 16
BACK_MAX: Final = 1 << 24


def halt_rows(symbols: "list[int]", phases: Mapping[int, int]) -> NDArray[Any]:
    """COMMAND rows of a node that halts instruments: halts of ``symbols``, then the list of ``phases``, by symbol."""
    rows = np.zeros(len(symbols) + (len(phases) + 1) // 2, COMMAND)
    halts, lists = rows[: len(symbols)], rows[len(symbols) :]
    halts["kind"], halts["name"] = CommandKind.HALT, symbols
    lists["kind"], lists["name"] = CommandKind.MEMBERS, LIST
    for number, (symbol, phase) in enumerate(phases.items()):
        of_symbol, of_phase = _MEMBERS[number % 2]
        lists[of_symbol][number // 2], lists[of_phase][number // 2] = symbol, phase
    return rows


def is_list(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the COMMAND rows that are of a list."""
    found: NDArray[np.bool_] = (rows["kind"] == CommandKind.MEMBERS) & (rows["name"] == LIST)
    return found


class HaltSearch:
    """Search for the halts of instruments that are halted without an end, by symbol. ``phases``: of those found."""

    def __init__(self, halted: "set[int]") -> None:
        self._left = set(halted)
        self.phases: dict[int, int] = {}

    def take(self, commands: NDArray[Any]) -> bool:
        """Take the commands before those taken so far; True once each halt was found."""
        kinds = commands["kind"]
        words = np.flatnonzero((kinds == CommandKind.HALT) | (kinds == CommandKind.MEMBERS))
        for at in words[::-1].tolist():
            row = commands[at]
            if row["kind"] == CommandKind.HALT:
                self._left -= self._left if row["name"] == EVERY else {int(row["name"])}
            elif row["name"] == LIST:
                for symbol, phase in ((int(row[symbol]), int(row[phase])) for symbol, phase in _MEMBERS):
                    if symbol in self._left:
                        self._left.discard(symbol)
                        self.phases[symbol] = phase
        return not self._left


def newest_first(journal: Journal) -> Iterator[NDArray[Any]]:
    """COMMAND rows of an open journal on its disk and of its closed slices, in parts, the newest part first.

    At most about ``BACK_MAX`` rows, and none from before a missing slice. Raises JournalError at damage.
    """
    left, number = BACK_MAX, journal.place.number
    for part in _parts(journal, journal.durable_seq):
        yield part
        left -= len(part)
        if left <= 0:
            return
    for place in reversed([each for each in places(journal.path) if each.number < journal.place.number]):
        if place.number != number - 1:
            return
        number = place.number
        with Journal.open(journal.path, readonly=True, slice_number=number) as closed:
            for part in _parts(closed, closed.last_seq):
                yield part
                left -= len(part)
                if left <= 0:
                    return


def _parts(journal: Journal, last_seq: int) -> Iterator[NDArray[Any]]:
    while last_seq > journal.start_seq:
        blocks = list(journal.blocks(max(last_seq - PART, journal.start_seq) + 1, last_seq))
        yield np.frombuffer(b"".join(block.rows for block in blocks), COMMAND)
        last_seq = blocks[0].first_seq - 1
