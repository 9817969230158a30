"""Commands that are put into a journal that is replayed with a change (`lockstep whatif`): at a time, before a command
of a number, or as soon as the names in them are defined."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli.errors import WrongUse
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, pack
from engine.records import COMMAND, CommandKind, concatenate
from engine.row_bytes import clock_row
from notation.parse import parse
from notation.translate import DEFINITIONS, KIND_BYTE, Translator

_ROW_BYTES: Final = COMMAND.itemsize


@dataclass(frozen=True)
class Insertion:
    """Rows with their place: before command ``seq``; or where that is 0, after all of the clock value ``time_ns``; or
    where that is 0 too, once ``names`` (as numbers) are defined."""

    rows: NDArray[Any]
    seq: int = 0
    time_ns: int = 0
    names: frozenset[int] = frozenset()


def of_file(path: Path, names: Directory, first_ns: int) -> list[Insertion]:
    """Commands of a scenario file by their times. ``first_ns``: the first clock value of the journal.

    Raises WrongUse for a file that does not begin with ``at``, or that defines something.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WrongUse(f"{path} cannot be read: {why}") from error
    lines = parse(text, str(path))
    if not lines or lines[0].kind != CommandKind.CLOCK:
        raise WrongUse(f"{path} does not begin with a line `at TIME`, so it is not known where its commands belong")
    if any(line.row[KIND_BYTE] in DEFINITIONS for line in lines):
        raise WrongUse(f"{path} defines an instrument or participant, which would give others another number")
    batch = Translator(lines, replace(names, now_ns=first_ns), str(path)).next_batch(names)
    assert batch is not None, "a file with lines has rows"
    found: list[Insertion] = []
    rows = batch.rows
    clocks = np.flatnonzero(rows["kind"] == CommandKind.CLOCK).tolist()
    for begin, end in zip(clocks, [*clocks[1:], len(rows)], strict=True):
        if end > begin + 1:
            taken = concatenate([rows[begin + 1 : end]])
            found.append(Insertion(taken, time_ns=int(rows["time_ns"][begin])))
    return found


def of_limits(words: str, names: Directory, from_seq: int | None) -> Insertion:
    """``limits`` with these words: from command ``from_seq`` on, or once the names in them are defined.

    Raises WrongUse for names that the journal does not define, and where no limit is named.
    """
    who, *rest = words.split() or [""]
    if who not in names.participants or all(word.startswith("symbol=") for word in rest):
        raise WrongUse(
            f"--set is {words!r}; write it as `PARTICIPANT [symbol=SYMBOL] LIMIT=VALUE…`, with a known name and a limit"
        )
    batch = Translator(parse(f"limits {words}", "--set"), replace(names, now_ns=1), "--set").next_batch(names)
    assert batch is not None, "a line has rows"
    known = {*names.participants, *names.symbols}
    told = {word.rpartition("=")[2] for word in words.split()} & known
    rows = concatenate([batch.rows])
    return Insertion(rows, from_seq or 0, names=frozenset(pack(name) for name in told))


class Insertions:
    """Insertions that come into their places while a journal is read, stretch by stretch. ``rows``: how many came."""

    def __init__(self, insertions: list[Insertion]) -> None:
        self._by_seq = sorted((each for each in insertions if each.seq), key=lambda each: each.seq)
        timed = [each for each in insertions if not each.seq and each.time_ns]
        self._by_time = sorted(timed, key=lambda each: each.time_ns)
        self._by_name = [each for each in insertions if not each.seq and not each.time_ns]
        self._defined: set[int] = set()
        self.rows = 0

    def cuts(self, rows: NDArray[Any], first_seq: int, now_ns: int) -> list[tuple[int, NDArray[Any]]]:
        """Places in a stretch of whole commands, each with the rows that go before it, in order.

        ``now_ns``: the clock before the stretch.
        """
        found: list[tuple[int, NDArray[Any]]] = []
        clocks = clock_at_each(rows, ClockPosition(now_ns)) if self._by_time else np.zeros(0, np.int64)
        while self._by_seq and self._by_seq[0].seq < first_seq + len(rows):
            at = max(self._by_seq[0].seq - first_seq, 0)
            # Not between an EXTEND row and the command that it extends.
            while at > 0 and rows["kind"][at - 1] == CommandKind.EXTEND:
                at -= 1
            found.append((at, self._by_seq.pop(0).rows))
        while self._by_time and len(later := np.flatnonzero(clocks > self._by_time[0].time_ns)):
            at, time_ns = int(later[0]), self._by_time[0].time_ns
            before_ns = int(clocks[at - 1]) if at else now_ns
            found.append((at, self._timed(before_ns)))
            clocks[:at] = np.maximum(clocks[:at], time_ns)
        for at, name in enumerate(rows["name"].tolist() if self._by_name else ()):
            if rows["kind"][at] in DEFINITIONS:
                self._defined.add(name)
                for each in [each for each in self._by_name if each.names <= self._defined]:
                    self._by_name.remove(each)
                    found.append((at + 1, each.rows))
        self.rows += sum(len(each) for _, each in found)
        return sorted(found, key=lambda each: each[0])

    def _timed(self, before_ns: int) -> NDArray[Any]:
        first = self._by_time.pop(0)
        if first.time_ns <= before_ns:
            return first.rows
        clock = np.frombuffer(bytearray(clock_row(first.time_ns)), COMMAND)
        return concatenate([clock, first.rows])

    def rest(self, now_ns: int) -> Iterator[NDArray[Any]]:
        """Rows behind the last command. ``now_ns``: the clock there."""
        for each in self._by_seq:
            self.rows += len(each.rows)
            yield each.rows
        while self._by_time:
            time_ns = self._by_time[0].time_ns
            rows = self._timed(now_ns)
            now_ns = max(now_ns, time_ns)
            self.rows += len(rows)
            yield rows
