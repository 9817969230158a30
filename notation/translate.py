"""Scenario lines as COMMAND rows (rulebook section 12).

A name becomes a number through the venue's directory, and the directory changes when a definition is applied. So the
rows come in batches, each as long as the names in it can be known: a batch ends before the first line that uses names
after a definition, and the next one is asked for with the directory that the venue has by then. An unknown name becomes
number 0, with the name in an EXTEND row before.

The clock: an ``at`` without a date is of the clock's date, a relative one counts from the clock. A file whose first
command is neither ``at`` nor ``raw`` begins at 09:30:00 on 2024-01-15 UTC, if the venue has no clock yet.
"""

import struct
from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import DAY_NS, TIME_NS_MAX
from engine.names import Directory, pack
from engine.records import COMMAND, COMMAND_PLACES, CommandKind
from engine.row_bytes import clock_row, extend_row
from notation.parse import NAMED, RAW, Line, ScenarioError
from notation.words import INT64_MAX, Fault, id_number

#: 2024-01-15 09:30:00 UTC.
DEFAULT_CLOCK_NS: Final = 1_705_311_000 * 1_000_000_000

#: The kinds of rows that may add a name.
DEFINITIONS: Final = (int(CommandKind.INSTRUMENT), int(CommandKind.PARTICIPANT))
KIND_BYTE: Final = 56
_CLOCK_VALUE: Final = struct.Struct("<q")
_UNTIL_AT: Final = next(offset for offset, names in COMMAND_PLACES.items() if "until_ns" in names)
_DUE_AT: Final = 8
_CLOCK: Final = int(CommandKind.CLOCK)
_NO_TOKENS: Final = (0, 0, 0, 0)


class Batch(NamedTuple):
    """rows: COMMAND rows, contiguous. lines: for each row the index of its line, -1 for the implicit first clock."""

    rows: "np.ndarray[Any, np.dtype[np.void]]"
    lines: list[int]


class Clock:
    """The time that a file has reached, with the rules of the engine for rows that do not move it.

    time_ns: 0 before the first value, which may be 0 too; ``base_ns`` is what a time without a date, or after the one
    before, counts from. A CLOCK row after an EXTEND row is refused by the engine, so it moves nothing.
    """

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns
        self._is_set = time_ns != 0
        self._extended = False

    @property
    def base_ns(self) -> int:
        """The newest value; before the first the default clock."""
        return self.time_ns if self._is_set else DEFAULT_CLOCK_NS

    def saw(self, row: bytes) -> None:
        """Follow a row as the engine does."""
        kind = row[KIND_BYTE]
        if kind == CommandKind.CLOCK and not self._extended:
            time_ns = int.from_bytes(row[:8], "little", signed=True)
            if row == clock_row(time_ns) and self.time_ns <= time_ns <= TIME_NS_MAX:
                self.time_ns, self._is_set = time_ns, True
        self._extended = kind == CommandKind.EXTEND and not any(row[48:KIND_BYTE]) and not any(row[KIND_BYTE + 1 :])


class Translator:
    """The rows of a parsed file, batch by batch.

    Raises ScenarioError, with ``name`` and the line, when the clock would go back: at once, before any row is given.
    """

    def __init__(self, lines: list[Line], directory: Directory, name: str = "scenario") -> None:
        self._lines = lines
        self._next = 0
        self._implicit = bool(lines) and lines[0].kind not in (CommandKind.CLOCK, RAW) and directory.now_ns == 0
        self._rows = self._clocked(Clock(directory.now_ns), name)
        self._numbers = Numbers()

    def _clocked(self, clock: Clock, name: str) -> list[bytes]:
        """Each line's row, with the time in those of ``at``."""
        if self._implicit:
            clock.saw(clock_row(DEFAULT_CLOCK_NS))
        rows = []
        for line in self._lines:
            row = line.row
            if line.time is not None:
                time_ns = _resolved(line, clock, name)
                row = clock_row(time_ns) if line.kind == _CLOCK else _with_time(line.kind, row, time_ns)
            clock.saw(row)
            rows.append(row)
        return rows

    @property
    def done(self) -> int:
        """Number of lines that have been given as rows."""
        return self._next

    def next_batch(self, directory: Directory, lines_max: int | None = None) -> Batch | None:
        """The longest run of rows whose names ``directory`` can tell, of at most ``lines_max`` lines; None after the
        last.

        ``directory`` is the venue's after the batch before was applied.
        """
        if self._next == len(self._lines):
            return None
        self._numbers.learn(directory)
        end = len(self._lines) if lines_max is None else min(len(self._lines), self._next + lines_max)
        rows: list[bytes] = []
        owners: list[int] = []
        if self._next == 0 and self._implicit:
            rows.append(clock_row(DEFAULT_CLOCK_NS))
            owners.append(-1)
        defined = False
        while self._next < end:
            line = self._lines[self._next]
            row = self._rows[self._next]
            if line.kind in NAMED:
                if defined:
                    break
                for numbered in self._numbers.rows(line, row):
                    rows.append(numbered)
                    owners.append(self._next)
            else:
                defined = defined or row[KIND_BYTE] in DEFINITIONS
                whole = line.before + row
                for at in range(0, len(whole), len(row)):
                    rows.append(whole[at : at + len(row)])
                    owners.append(self._next)
            self._next += 1
        return Batch(np.frombuffer(bytearray(b"".join(rows)), COMMAND), owners)


def _with_time(kind: int, row: bytes, time_ns: int) -> bytes:
    """The row of a line with its time: of an enter until when it is good, of a schedule when it is due."""
    at = _UNTIL_AT if kind == CommandKind.ENTER else _DUE_AT if kind == CommandKind.SCHEDULE else 0
    return row[:at] + _CLOCK_VALUE.pack(time_ns) + row[at + 8 :]


def _resolved(line: Line, clock: Clock, name: str) -> int:
    """The time of a line: of an ``at`` one, ScenarioError is raised when it lies before the clock, and of any when it
    lies outside 64 bits."""
    if line.time is None:
        raise ValueError(f"line {line.number} has no time")
    time_ns = line.time.value_ns
    if line.time.form == "later":
        time_ns += clock.base_ns
    elif line.time.form == "of_day":
        time_ns += clock.base_ns // DAY_NS * DAY_NS
    if line.kind == _CLOCK and time_ns < clock.time_ns:
        raise ScenarioError(
            f"{name}:{line.number}: the clock would go back: it is at {np.datetime64(clock.time_ns, 'ns')} already; "
            "write a later time."
        )
    if not 0 <= time_ns <= INT64_MAX:
        raise ScenarioError(f"{name}:{line.number}: the time does not fit; write one from 1970 to 2116.")
    return time_ns


class Numbers:
    """The numbers of names, learned from directories that only grow."""

    def __init__(self) -> None:
        self._participants: dict[int, bytes] = {}
        self._symbols: dict[int, bytes] = {}

    def learn(self, directory: Directory) -> None:
        """Add the new names of ``directory``."""
        for known, names in ((self._participants, directory.participants), (self._symbols, directory.symbols)):
            for number in range(len(known) + 1, len(names) + 1):
                known[pack(names[number - 1])] = number.to_bytes(4, "little")

    def number_of(self, names: str, text: str) -> int | None:
        """The number of a name out of ``participants`` or ``symbols``; None of one that is unknown, and of no name."""
        try:
            found = (self._symbols if names == "symbols" else self._participants).get(id_number(text, names))
        except Fault:
            return None
        return None if found is None else int.from_bytes(found, "little")

    def rows(self, line: Line, row: bytes) -> tuple[bytes, ...]:
        """The row with its numbers, after an EXTEND row where a name is unknown or an order token is long."""
        participant = self._participants.get(line.participant)
        tokens = line.tokens
        if line.kind not in (CommandKind.ENTER, CommandKind.CROSS):
            nobody = line.participant if participant is None else 0
            numbered = row if participant is None else row[:48] + participant + row[52:]
            return (extend_row(nobody, 0, *(tokens or _NO_TOKENS)), numbered) if nobody or tokens else (numbered,)
        instrument = self._symbols.get(line.symbol)
        if participant is not None and instrument is not None and not tokens:
            return (row[:48] + participant + instrument + row[56:],)
        unknown = (line.participant if participant is None else 0, line.symbol if instrument is None else 0)
        numbered = row[:48] + (participant or bytes(4)) + (instrument or bytes(4)) + row[56:]
        return (extend_row(*unknown, *(tokens or _NO_TOKENS)), numbered) if any(unknown) or tokens else (numbered,)
