"""Figures of a range of commands: counts, moments that stand out with their cause, instruments, participants, refusals.

All of it is a fold over COMMAND and EVENT rows, so it needs no engine. ``Figures.facts`` gives it by names, as a JSON
object; what pictures are drawn of stays in arrays.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.market_time import clock_at_each
from engine.names import Directory
from engine.records import CommandKind, EventKind, Reason, Side
from engine.row_bytes import ROW
from notation.fix_marks import is_mark, refuses_mark
from notation.print import command_text, print_event
from notation.rules import RULES, is_of_disconnect
from notation.table import word
from notation.words import iso_time
from replay.outcome import Outcome
from replay.past import PlayedBlock, PlayedRows
from replay.timeline import Tally

Facts = dict[str, Any]
#: Moments of commands by their numbers: an array with `read_ns` 0 where nothing is recorded.
TimesOf = Callable[[NDArray[np.int64]], NDArray[Any]]

#: Moments that are kept: with an event that stands out, and without; events that one of them tells, at most.
MOMENTS_MAX: Final = 500
_QUIET_MAX: Final = 100
_TOLD_MAX: Final = 4
#: Participants that a kind of refusal names at most.
_NAMED_MAX: Final = 5
_OF_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CROSS)
#: Reasons for which orders end that their owners have not canceled, and that did not just come.
_ENDS: Final = (Reason.END_OF_DAY, Reason.HALT, Reason.KILL, Reason.MASS_CANCEL, Reason.DISCONNECT)
#: Commands that happen by the thousand or tell nothing to people; all others are moments.
_PLAIN: Final = (
    *_OF_ORDERS, CommandKind.CLOCK, CommandKind.EXTEND, CommandKind.USER, CommandKind.CREDENTIAL,
    CommandKind.INSTRUMENT, CommandKind.PARTICIPANT,
)  # fmt: skip
#: Stages of a command, each with the moments at which it begins and ends.
_STAGES: Final = (
    ("received to sequenced", "received_ns", "sequenced_ns"),
    ("sequenced to journaled", "sequenced_ns", "journaled_ns"),
    ("sequenced to answered", "sequenced_ns", "answered_ns"),
    ("received to answered", "received_ns", "answered_ns"),
)
_PERCENTILES: Final = (("p50_ns", 500), ("p90_ns", 900), ("p99_ns", 990), ("p999_ns", 999), ("max_ns", 1_000))
_SECOND_NS: Final = 1_000_000_000
_COLUMNS: Final = ("orders", "cancels", "replaces", "crosses", "refused", "trades", "bought_qty", "sold_qty")
_TRADE: Final = np.dtype([("time_ns", "<i8"), ("price_e4", "<i8"), ("qty", "<i8")])


class _Counts:
    """Counts by number, one column each; it grows as numbers come."""

    def __init__(self, columns: int) -> None:
        self.values = np.zeros((0, columns), np.int64)

    def add(self, column: int, numbers: NDArray[Any], addends: NDArray[np.int64] | int = 1) -> None:
        """Add to the rows of numbers; a number may come more than once."""
        rows = int(numbers.max()) + 1 if len(numbers) else 0
        if rows > len(self.values):
            more = np.zeros((rows - len(self.values), self.values.shape[1]), np.int64)
            self.values = np.concatenate((self.values, more))
        np.add.at(self.values[:, column], numbers.astype(np.int64), addends)


class _Prices:
    """Prices at which an instrument traded, in order."""

    def __init__(self, price_e4: int) -> None:
        self.first_e4 = self.high_e4 = self.low_e4 = price_e4
        self.high_seq = self.low_seq = 0

    def take(self, seqs: NDArray[np.int64], prices_e4: NDArray[np.int64]) -> None:
        """Take trades."""
        high, low = int(np.argmax(prices_e4)), int(np.argmin(prices_e4))
        if not self.high_seq or prices_e4[high] > self.high_e4:
            self.high_e4, self.high_seq = int(prices_e4[high]), int(seqs[high])
        if not self.low_seq or prices_e4[low] < self.low_e4:
            self.low_e4, self.low_seq = int(prices_e4[low]), int(seqs[low])


class _Refusals:
    """Refusals of one kind for one reason."""

    def __init__(self, seq: int, time_ns: int) -> None:
        self.count = 0
        self.first = seq, time_ns
        self.last = seq, time_ns
        self.participants = _Counts(1)


class Figures:
    """Fold of a range that begins at ``from_seq``.

    pictured: gives the numbers of the instruments whose trades are kept for pictures. times_of: None where no latencies
    are recorded. ``trades``: those trades by instrument; ``latencies``: clock value and ns from receipt to answer.
    """

    def __init__(
        self, from_seq: int, pictured: Callable[[], list[int]] = lambda: [], times_of: TimesOf | None = None
    ) -> None:
        self.tally = Tally(from_seq - 1)
        self._pictured, self._times_of = pictured, times_of
        self._outcome = Outcome()
        self._commands, self._events = _Counts(1), _Counts(1)
        self._participants, self._instruments = _Counts(len(_COLUMNS)), _Counts(3)
        self._prices: dict[int, _Prices] = {}
        self._refusals: dict[tuple[int, int], _Refusals] = {}
        self.moments: list[Facts] = []
        self.moments_left_out = 0
        self._marks_told = 0
        self._kept = [0, 0]
        self._trades: dict[int, list[NDArray[Any]]] = {}
        self._latencies: list[NDArray[np.int64]] = []
        self._stages: dict[str, list[NDArray[np.int64]]] = {stage: [] for stage, _, _ in _STAGES}
        self._recorded = [0, 0]  # commands with and without a record

    def take(self, block: PlayedBlock) -> None:
        """Take whole rows of the range with their events, in order."""
        play = block.play
        rows, events = play.commands, play.events
        clock_ns = clock_at_each(rows, block.position)
        times_ns = clock_ns[events["seq"] - play.first_seq]
        self.tally.take(block)
        self._outcome.take(play.first_seq, rows, events)
        self._commands.add(0, rows["kind"])
        self._events.add(0, events["kind"])
        marks = is_mark(rows)
        # A row that was refused may have any number there.
        participants, instruments = len(block.after.participants), len(block.after.symbols)
        for column, kind in enumerate(_OF_ORDERS):
            own = (rows["kind"] == kind) & ~marks & (rows["participant"] <= participants)
            self._participants.add(column, rows["participant"][own])
        entered = (rows["kind"] == CommandKind.ENTER) & (rows["instrument"] <= instruments)
        self._instruments.add(0, rows["instrument"][entered])
        tells = ~refuses_mark(events, rows, play.first_seq)
        self._refuse(events[tells], times_ns[tells])
        self._trade(events, times_ns)
        self._tell(block, clock_ns)
        if self._times_of is not None:
            timed = np.isin(rows["kind"], _OF_ORDERS[:3]) & ~marks
            self._time(play.first_seq + np.flatnonzero(timed), play.first_seq, clock_ns)

    def _refuse(self, events: NDArray[Any], times_ns: NDArray[np.int64]) -> None:
        at = np.flatnonzero((events["kind"] == EventKind.REJECTED) | (events["kind"] == EventKind.CANCEL_REJECTED))
        refused, when = events[at], times_ns[at]
        self._participants.add(4, refused["participant"])
        self._instruments.add(2, refused["instrument"][refused["instrument"] != 0])
        keys = refused["kind"].astype(np.int64) << 8 | refused["reason"]
        for key in np.unique(keys).tolist():
            of = np.flatnonzero(keys == key)
            first, last = int(of[0]), int(of[-1])
            seqs = refused["seq"]
            known = self._refusals.setdefault(divmod(key, 256), _Refusals(int(seqs[first]), int(when[first])))
            known.count += len(of)
            known.last = int(seqs[last]), int(when[last])
            known.participants.add(0, refused["participant"][of])

    def _trade(self, events: NDArray[Any], times_ns: NDArray[np.int64]) -> None:
        at = np.flatnonzero(events["kind"] == EventKind.TRADE)
        trades, when = events[at], times_ns[at]
        if not len(trades):
            return
        self._instruments.add(1, trades["instrument"])
        # The first order of a trade rests, on the other side; in an uncross it is the buy.
        side = trades["side"].astype(np.int64)
        first_buys = np.where(side == 0, int(Side.BUY), -side) == Side.BUY
        buyers = np.where(first_buys, trades["participant"], trades["contra_participant"])
        sellers = np.where(first_buys, trades["contra_participant"], trades["participant"])
        self._participants.add(5, buyers)
        self._participants.add(5, sellers[sellers != buyers])
        self._participants.add(6, buyers, trades["qty"])
        self._participants.add(7, sellers, trades["qty"])
        pictured = set(self._pictured())
        for number in np.unique(trades["instrument"]).tolist():
            own = np.flatnonzero(trades["instrument"] == number)
            prices_e4 = trades["price_e4"][own]
            self._prices.setdefault(number, _Prices(int(prices_e4[0]))).take(trades["seq"][own], prices_e4)
            if number in pictured:
                kept = np.zeros(len(own), _TRADE)
                kept["time_ns"], kept["price_e4"], kept["qty"] = when[own], prices_e4, trades["qty"][own]
                self._trades.setdefault(number, []).append(kept)

    def _tell(self, block: PlayedBlock, clock_ns: NDArray[np.int64]) -> None:
        """Add the moments of a block: marks of the tally, and commands of the operator, in order."""
        rows, first_seq, names = block.play.commands, block.play.first_seq, block.after
        told: dict[int, list[str]] = {}
        for mark in self.tally.marks[self._marks_told :]:
            told.setdefault(mark.seq, []).append(mark.text)
        self._marks_told = len(self.tally.marks)
        for at in np.flatnonzero(~np.isin(rows["kind"], _PLAIN)).tolist():
            told.setdefault(first_seq + at, [])
        for seq, text in _ended_and_refused(block.play, names):
            told.setdefault(seq, []).append(text)
        for seq, texts in sorted(told.items()):
            self._kept[bool(texts)] += 1
            if self._kept[bool(texts)] > (MOMENTS_MAX if texts else _QUIET_MAX):
                self.moments_left_out += 1
                continue
            at = seq - first_seq
            kept, more = texts[:_TOLD_MAX], len(texts) - _TOLD_MAX
            self.moments.append(
                {
                    "seq": seq,
                    "time": iso_time(int(clock_ns[at])),
                    "what": kept + ([f"and {more:,} more"] if more > 0 else []),
                    "cause": _cause(rows, at, names),
                }
            )

    def _time(self, seqs: NDArray[np.int64], first_seq: int, clock_ns: NDArray[np.int64]) -> None:
        assert self._times_of is not None, "it was asked for"
        times = self._times_of(seqs)
        known = times["read_ns"] > 0
        self._recorded[0] += int(known.sum())
        self._recorded[1] += int((~known).sum())
        for stage, begin, end in _STAGES:
            both = known & (times[begin] > 0) & (times[end] > 0)
            took_ns = np.maximum(times[end][both] - times[begin][both], 0)
            self._stages[stage].append(took_ns)
            if stage == _STAGES[-1][0]:
                self._latencies.append(np.stack((clock_ns[seqs[both] - first_seq], took_ns)))

    @property
    def trades(self) -> dict[int, NDArray[Any]]:
        """Trades of the pictured instruments by number: time_ns, price_e4, qty."""
        return {number: np.concatenate(parts) for number, parts in self._trades.items()}

    @property
    def latencies(self) -> NDArray[np.int64]:
        """Two rows: the clock at commands, and ns from their receipt to their answer."""
        return np.concatenate([np.zeros((2, 0), np.int64), *self._latencies], axis=1)

    def facts(self, names: Directory) -> Facts:
        """The figures by names."""
        outcome = self._outcome.facts(names)
        instruments = self._of_instruments(names, outcome)
        return {
            "begin": iso_time(self.tally.begin_ns),
            "end": iso_time(self.tally.end_ns),
            "trades": outcome["trades"],
            "shares": outcome["shares"],
            "notional_e4": sum(each["notional_e4"] for each in instruments),
            "halts": self.tally.halts,
            "alerts": self.tally.alerts,
            "peak": self._peak(),
            "command_kinds": _by_kind(self._commands, CommandKind),
            "event_kinds": _by_kind(self._events, EventKind),
            "moments": self.moments,
            "moments_left_out": self.moments_left_out,
            "instruments": instruments,
            "participants": self._of_participants(names, outcome),
            "refusals": self._of_refusals(names),
            "latencies": self._of_latencies(),
        }

    def _peak(self) -> Facts | None:
        """The second with the most commands, or as much of one as the counts can tell apart; None without a clock."""
        tally = self.tally
        if not tally.begin_ns:
            return None
        group = max(_SECOND_NS // tally.stretch_ns, 1)
        padded = [
            np.append(each, np.zeros(-len(each) % group, np.int64))
            for each in (tally.commands, tally.trades, tally.refusals)
        ]
        commands, trades, refusals = (each.reshape(-1, group).sum(axis=1) for each in padded)
        at = int(np.argmax(commands))
        return {
            "time": iso_time(tally.begin_ns + at * group * tally.stretch_ns),
            "stretch_ns": group * tally.stretch_ns,
            "commands": int(commands[at]),
            "trades": int(trades[at]),
            "refusals": int(refusals[at]),
        }

    def _of_instruments(self, names: Directory, outcome: Facts) -> list[Facts]:
        """Instruments with an order, a trade, a halt or a refusal, those with the most shares traded first."""
        found = []
        for number, symbol in enumerate(names.symbols, 1):
            counts = self._instruments.values[number].tolist() if number < len(self._instruments.values) else [0, 0, 0]
            known, traded = outcome["instruments"][symbol], self._prices.get(number)
            if not any(counts) and not known["halts"]:
                continue
            found.append(
                {
                    "symbol": symbol,
                    "orders": counts[0],
                    "trades": counts[1],
                    "shares": known["shares"],
                    "notional_e4": known["notional_e4"],
                    "first_price_e4": traded.first_e4 if traded else None,
                    "high_price_e4": traded.high_e4 if traded else None,
                    "high_seq": traded.high_seq if traded else None,
                    "low_price_e4": traded.low_e4 if traded else None,
                    "low_seq": traded.low_seq if traded else None,
                    "last_price_e4": known["last_price_e4"],
                    "halts": known["halts"],
                    "refused": counts[2],
                }
            )
        return sorted(found, key=lambda each: -each["shares"])

    def _of_participants(self, names: Directory, outcome: Facts) -> list[Facts]:
        """Participants that did something, those with the most shares traded first."""
        found = []
        for number, name in enumerate(names.participants, 1):
            counts = self._participants.values[number].tolist() if number < len(self._participants.values) else []
            if any(counts):
                facts = {"participant": name} | dict(zip(_COLUMNS, counts, strict=True))
                found.append(facts | {"profit_e4": outcome["participants"][name]["profit_e4"]})
        return sorted(found, key=lambda each: -(each["bought_qty"] + each["sold_qty"]))

    def _of_refusals(self, names: Directory) -> list[Facts]:
        found = []
        for (kind, code), known in self._refusals.items():
            rule = RULES[Reason(code)]
            counts = known.participants.values[:, 0]
            ranked = sorted(np.flatnonzero(counts).tolist(), key=lambda number: (-int(counts[number]), number))
            who = [names.participants[number - 1] for number in ranked if 0 < number <= len(names.participants)]
            found.append(
                {
                    "kind": word(EventKind, kind),
                    "reason": word(Reason, code),
                    "section": rule.section,
                    "rule": rule.sentence,
                    "count": known.count,
                    "participants": who[:_NAMED_MAX],
                    "participant_count": len(who),
                    "first_seq": known.first[0],
                    "first_time": iso_time(known.first[1]),
                    "last_seq": known.last[0],
                    "last_time": iso_time(known.last[1]),
                }
            )
        return sorted(found, key=lambda each: (-each["count"], each["first_seq"]))

    def _of_latencies(self) -> Facts | None:
        if not self._recorded[0]:
            return None
        stages = []
        for stage, parts in self._stages.items():
            took_ns = np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))
            stages.append({"stage": stage, "commands": len(took_ns)} | percentiles(took_ns))
        return {"recorded": self._recorded[0], "not_recorded": self._recorded[1], "stages": stages}


def percentiles(ordered_ns: NDArray[np.int64]) -> Facts:
    """Percentiles of rising values: each the least that so many do not exceed; None where there are none.

    >>> percentiles(np.arange(1, 1001))["p99_ns"]
    990
    """
    count = len(ordered_ns)
    at = {name: max(-(-count * thousandths // 1_000) - 1, 0) for name, thousandths in _PERCENTILES}
    return {name: int(ordered_ns[index]) if count else None for name, index in at.items()}


def _ended_and_refused(play: PlayedRows, names: Directory) -> Iterator[tuple[int, str]]:
    """Texts on more that stands out of a block, each with the number of its command: orders that others than their
    owners ended, many at once, and refusals of commands that are no orders."""
    events = play.events
    kinds, reasons, seqs = events["kind"], events["reason"], events["seq"]
    of_orders = np.isin(play.commands["kind"][seqs - play.first_seq], _OF_ORDERS)
    canceled = (kinds == EventKind.CANCELED) & np.isin(reasons, _ENDS)
    for seq in np.unique(seqs[canceled]).tolist():
        of, counts = np.unique(reasons[canceled & (seqs == seq)], return_counts=True)
        for reason, count in zip(of.tolist(), counts.tolist(), strict=True):
            yield seq, f"{count:,} order{'' if count == 1 else 's'} canceled reason={word(Reason, reason)}"
    for seq, count in _left(play):
        yield seq, f"{count:,} order{'' if count == 1 else 's'} canceled reason={word(Reason, Reason.DISCONNECT)}"
    for event in events[(kinds == EventKind.REJECTED) & ~of_orders]:
        yield int(event["seq"]), print_event(event, names).removeprefix("> ")


def _left(play: PlayedRows) -> Iterator[tuple[int, int]]:
    """Runs of orders that a node canceled one by one, as their user left: the first command and their number."""
    events = play.events
    canceled = events["seq"][(events["kind"] == EventKind.CANCELED) & (events["reason"] == Reason.USER)]
    seqs = np.unique(canceled[is_of_disconnect(play.commands)[canceled - play.first_seq]])
    for run in np.split(seqs, np.flatnonzero(np.diff(seqs) > 1) + 1) if len(seqs) else ():
        yield int(run[0]), len(run)


def _cause(rows: NDArray[Any], at: int, names: Directory) -> str:
    """The command of a moment in words."""
    kind = int(rows["kind"][at])
    if kind == CommandKind.CLOCK:
        return "the clock reached a time that was set, or another day"
    if kind in (CommandKind.EPOCH, CommandKind.CLOCK_JUMP):
        return "the node"
    if is_of_disconnect(rows[at]):
        return "the node, for a user who left"
    is_extended = at > 0 and rows["kind"][at - 1] == CommandKind.EXTEND
    values = ROW.unpack(rows[at].tobytes())
    extended = ROW.unpack(rows[at - 1].tobytes()) if is_extended else (0,) * len(values)
    return command_text(values, extended, names) or f"a command of kind {kind}"


def _by_kind(counts: _Counts, kinds: type[IntEnum]) -> dict[str, int]:
    found = {word(kinds, code) or str(code): int(count) for code, count in enumerate(counts.values[:, 0]) if count}
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))
