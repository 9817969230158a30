"""The course of a range of commands: its rows and events in large pieces, and the books at times in between.

The range is replayed once. Books are looked at where the clock reaches one of some times that are given, so a piece
ends there. A slice of other rules cannot be replayed: its kept events are read, and there are no books.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.market_time import ClockPosition, clock_after, clock_at_each, ends_extended
from engine.names import Directory, unpack
from engine.records import COMMAND, EVENT, RULES_VERSION, CommandKind, Side, concatenate
from journal.history import History, SliceRange
from replay.ladder import levels
from replay.past import PastSlice, PlayedBlock, RowRange, names_after
from replay.rebuild import check_rules, extends_next, name_of, owned_rows, played, start

#: Rows that are handed over at once, and price levels a side whose quantity is summed.
_PIECE_ROWS: Final = 1 << 16
DEPTH_LEVELS: Final = 5


class Quote(NamedTuple):
    """A lit book at a time: the best prices, 0 for none, and the displayed quantity of the best levels of each side."""

    time_ns: int
    bid_e4: int
    offer_e4: int
    bid_qty: int
    offer_qty: int


class Course:
    """Replay of commands ``from_seq`` to ``to_seq`` of a data directory, which a node may be writing.

    wanted: symbols or numbers of instruments whose books are looked at. times_ns: when, rising. ``quotes``: those books
    by number. ``names``: the venue's directory, after what was given so far. ``engine``: after the range; None where it
    is of other rules. ``blocks``: whole blocks whose recorded event digest was compared; ``divergence``: a sentence on
    the first that differs. ``notes``: sentences for the user.
    """

    def __init__(
        self,
        directory: Path,
        from_seq: int,
        to_seq: int,
        wanted: tuple[str | int, ...] = (),
        times_ns: tuple[int, ...] = (),
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._directory, self._from_seq, self._to_seq = directory, from_seq, to_seq
        self._prepare = prepare
        self._times_ns = np.array(times_ns, np.int64)
        self._wanted = wanted
        self.quotes: dict[int, list[Quote]] = {}
        self.names = Directory()
        self.engine: MarketEngine | None = None
        self.blocks = 0
        self.divergence = ""
        self.notes: list[str] = []
        self._held: list[RowRange] = []
        self._before = Directory()
        self._extended = False

    def pieces(self) -> Iterator[PlayedBlock]:
        """Rows and events of the range, in order. Raises what replay and journal raise."""
        with History.open(self._directory) as history:
            for part in history.ranges(self._from_seq, self._to_seq):
                if int(part.journal.meta.get("rules_version", RULES_VERSION)) == RULES_VERSION:
                    yield from self._replayed(history, part)
                else:
                    yield from self._kept(history, part)

    def _kept(self, history: History, part: SliceRange) -> Iterator[PlayedBlock]:
        """Events that are kept beside a closed slice of other rules."""
        source = PastSlice(history, part)
        self.notes += [*source.notes, f"{name_of(history, part.journal)} is of other rules, so its books are not shown"]
        self.engine = None
        for block in source.blocks():
            first = max(part.from_seq, block.play.first_seq)
            last = min(part.to_seq, block.last_seq)
            rows = block.play.commands[first - block.play.first_seq : last - block.play.first_seq + 1]
            seqs = block.play.events["seq"]
            self.names = block.after
            clock_ns = clock_at_each(block.play.commands, block.position)
            skipped = first - block.play.first_seq
            before = replace(block.before, now_ns=int(clock_ns[skipped - 1])) if skipped else block.before
            extended = ends_extended(block.play.commands[:skipped]) if skipped else block.play.extended
            play = RowRange(first, rows, block.play.events[(seqs >= first) & (seqs <= last)], extended)
            yield PlayedBlock(play, before, block.after)

    def _replayed(self, history: History, part: SliceRange) -> Iterator[PlayedBlock]:
        journal = part.journal
        self._prepare()
        notes: list[str] = []
        engine = start(journal, history.path, part.from_seq - 1, "kernel", True, notes)
        self.notes += [note for note in notes if note not in self.notes]
        for _ in played(journal, engine, part.from_seq - 1):
            pass
        self.engine, self.names = engine, engine.directory
        self._before = self.names
        position = ClockPosition(engine.now_ns, extends_next(journal, engine.seq))
        self._extended = position.extended
        self._look(engine, engine.now_ns, engine.now_ns)
        for block in journal.blocks(part.from_seq, part.to_seq):
            check_rules("the journal", block.rules_version)
            first = engine.seq + 1
            rows = owned_rows(block.rows)[
                first - block.first_seq : min(block.last_seq, part.to_seq) - block.first_seq + 1
            ]
            clock_ns = clock_at_each(rows, position)
            if self._is_due(int(clock_ns[0])):
                yield from self._given()
                self._look(engine, position.now_ns, int(clock_ns[0]))
            position = clock_after(rows, position)
            for begin, end in self._cuts(clock_ns):
                self._apply(engine, first + begin, rows[begin:end])
                if end < len(rows):
                    yield from self._given()
                    self._look(engine, int(clock_ns[end - 1]), int(clock_ns[end]))
            recorded = journal.digest(block.first_seq) if len(rows) == block.count else None
            if recorded is not None:
                self.blocks += 1
                if recorded != engine.event_digest and not self.divergence:
                    self.divergence = (
                        f"the replay differs from the record in commands {block.first_seq:,} to {block.last_seq:,}"
                    )
            if sum(len(each.commands) for each in self._held) >= _PIECE_ROWS:
                yield from self._given()
        yield from self._given()
        self._look(engine, engine.now_ns, engine.now_ns)

    def _apply(self, engine: MarketEngine, first_seq: int, rows: NDArray[Any]) -> None:
        self._held.append(RowRange(first_seq, rows, engine.apply(rows), self._extended))
        self._extended = ends_extended(rows)
        self.names = names_after(self.names, rows, engine)

    def _given(self) -> Iterator[PlayedBlock]:
        """Rows that were applied and not given yet, as one piece."""
        if self._held:
            commands = concatenate([each.commands for each in self._held], COMMAND)
            events = concatenate([each.events for each in self._held], EVENT)
            play = RowRange(self._held[0].first_seq, commands, events, self._held[0].extended)
            self._held = []
            yield PlayedBlock(play, self._before, self.names)
        self._before = self.names

    def numbers(self) -> list[int]:
        """Numbers of the wanted instruments that are defined so far, each once."""
        symbols = self.names.symbols
        found = [symbols.index(each) + 1 if each in symbols else each for each in self._wanted]
        return list(dict.fromkeys(each for each in found if isinstance(each, int) and 1 <= each <= len(symbols)))

    def _is_due(self, now_ns: int) -> bool:
        return len(self._times_ns) > 0 and int(self._times_ns[0]) <= now_ns

    def _cuts(self, clock_ns: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Parts of rows, each but the last up to the first command at or after one of the times."""
        at = np.searchsorted(clock_ns, self._times_ns, side="left")
        ends = sorted({int(each) for each in at if 0 < each < len(clock_ns)} | {len(clock_ns)})
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def _look(self, engine: MarketEngine, now_ns: int, next_ns: int) -> None:
        """Look at the books, which stand until the next command, at ``next_ns``."""
        self._times_ns = self._times_ns[self._times_ns > next_ns]
        if not now_ns:
            return
        for number in self.numbers():
            found = self.quotes.setdefault(number, [])
            orders = engine.open_orders(number)
            sides = [[each for each in levels(orders, side) if each.price_e4] for side in (Side.BUY, Side.SELL)]
            best = [each[0].price_e4 if each else 0 for each in sides]
            qty = [sum(each.qty - each.reserve_qty - each.hidden_qty for each in side[:DEPTH_LEVELS]) for side in sides]
            if found and found[-1].time_ns == now_ns:
                found.pop()
            found.append(Quote(now_ns, best[0], best[1], qty[0], qty[1]))


def busiest(directory: Path, from_seq: int, to_seq: int, most: int) -> tuple[str | int, ...]:
    """Instruments of a range: symbols that a command halted, then numbers of those with the most orders entered.

    At most ``most`` of either, by the rows alone, without a replay. Raises what the journal raises.
    """
    entered: Counter[int] = Counter()  # a row that is refused may have any number of an instrument
    halted: dict[str, None] = {}
    with History.open(directory) as history:
        history.check_there(from_seq, to_seq)
        for block in history.blocks(from_seq, to_seq):
            rows = owned_rows(block.rows)[max(from_seq - block.first_seq, 0) : to_seq - block.first_seq + 1]
            numbers, counts = np.unique(rows["instrument"][rows["kind"] == CommandKind.ENTER], return_counts=True)
            entered.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
            halted |= dict.fromkeys(unpack(int(name)) for name in rows["name"][rows["kind"] == CommandKind.HALT])
    by_orders = sorted((number for number in entered if number), key=lambda number: (-entered[number], number))
    return (*list(halted)[:most], *by_orders[:most])
