"""Comparison of a LOBSTER run with the published book: displayed levels of venue and data after every message.

The venue's book is built from its events alone, independent of the translation that made the commands. What a row of
the book file revealed is there because the row said so; every later row is compared with it. A row that differs is
explained when all that differs lies where the data determines nothing: beyond the horizon of ``lobster.translate``, or
on a side where an order is held back because the book of the data is crossed. Anything else is unexplained, and so is a
trade with another order than the one that price-time priority gives.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.names import unpack
from engine.records import EventKind
from engine.row_bytes import event_values
from lobster.read import EMPTY_E4, LobsterError
from lobster.translate import Flow


class DifferenceReason(StrEnum):
    """Reason why a row differs; the value is the sentence for people."""

    BEYOND_LEVELS = "it differs only at prices that were beyond the published levels, where orders come and go unseen"
    CROSSED = (
        "an order is held back, because the book of the data is crossed or locked, which no continuous market shows"
    )
    UNEXPLAINED = "the data determines these levels, and the venue shows others"


@dataclass(frozen=True)
class Difference:
    """A row that differs. line: of both files. level: the first, from 1, that differs for the reason ``why``.
    expected, got: ask price, ask size, bid price, bid size, next level …"""

    line: int
    level: int
    expected: list[int]
    got: list[int]
    why: DifferenceReason


@dataclass
class CheckReport:
    """Result of the check. fills: trades compared with the order that had to trade. unpublished: messages
    that the book file has no row for, as it ends before the message file. revealed: levels that were taken from the
    rows of the book file in which they came into sight."""

    unpublished: int = 0
    revealed: int = 0
    rows: int = 0
    equal: int = 0
    fills: int = 0
    fills_wrong: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def first(self) -> Difference | None:
        """The first row that differs."""
        return self.differences[0] if self.differences else None

    @property
    def unexplained(self) -> list[Difference]:
        """The rows that differ where the data determines the book."""
        return [difference for difference in self.differences if difference.why is DifferenceReason.UNEXPLAINED]

    @property
    def agrees(self) -> bool:
        """True if the venue agrees with all that the data determines."""
        return not self.unexplained and not self.fills_wrong

    @property
    def conclusive(self) -> bool:
        """True if the data determines at least half of the rows whole."""
        return 2 * self.equal >= self.rows

    @property
    def passed(self) -> bool:
        """True if the venue agrees with the data, and most rows could be compared whole."""
        return self.agrees and self.conclusive


class DisplayedBook:
    """Displayed levels of one instrument, built from EVENT rows.

    Sides are 1 and -1. ``levels[side]``: price to size; ``ranks[side]``: prices, turned so that the best is smallest.
    """

    def __init__(self, instrument: int) -> None:
        self._instrument = instrument
        self._orders: dict[tuple[int, int], list[int]] = {}  # (participant, client order id) -> side, price, open
        self.levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.ranks: dict[int, list[int]] = {1: [], -1: []}

    def see(self, event: tuple[int, ...]) -> None:
        """Take up one event, as Python numbers (``event_values``)."""
        (
            _seq,
            order,
            contra,
            price_e4,
            qty,
            _order_or_trade_number,
            participant,
            contra_participant,
            instrument,
            kind,
            _reason,
            side,
            _phase,
        ) = event
        if instrument != self._instrument:
            return
        if kind == EventKind.ACCEPTED:
            self._orders[participant, order] = [side, price_e4, qty]
            self._add(side, price_e4, qty)
        elif kind == EventKind.TRADE:
            self._take((participant, order), qty)
            self._take((contra_participant, contra), qty)
        elif kind == EventKind.CANCELED:
            self._take((participant, order), qty)
        elif kind == EventKind.REPLACED:
            old_side, old_price_e4, old_qty = self._orders.pop((participant, order))
            self._add(old_side, old_price_e4, -old_qty)
            self._orders[participant, contra] = [side, price_e4, qty]
            self._add(side, price_e4, qty)

    def _take(self, key: tuple[int, int], qty: int) -> None:
        order = self._orders[key]
        order[2] -= qty
        self._add(order[0], order[1], -qty)
        if order[2] == 0:
            del self._orders[key]

    def _add(self, side: int, price_e4: int, qty: int) -> None:
        if price_e4 == 0:
            return  # a market order shows at no price
        levels, rank = self.levels[side], -side * price_e4
        total = levels.get(price_e4, 0) + qty
        if price_e4 not in levels:
            self.ranks[side].insert(bisect_left(self.ranks[side], rank), rank)
        if total:
            levels[price_e4] = total
        else:
            del levels[price_e4]
            del self.ranks[side][bisect_left(self.ranks[side], rank)]

    def row(self, depth: int) -> list[int]:
        """The best ``depth`` levels as a row of a LOBSTER book file."""
        row = []
        for asks, bids in zip(self._best(-1, depth), self._best(1, depth), strict=True):
            row += [*asks, *bids]
        return row

    def _best(self, side: int, depth: int) -> list[tuple[int, int]]:
        levels = self.levels[side]
        best = [(-side * rank, levels[-side * rank]) for rank in self.ranks[side][:depth]]
        return best + [(-side * EMPTY_E4, 0)] * (depth - len(best))


class Check:
    """Comparison while a flow runs: give ``see`` the events of every batch, in order.

    book: the published rows (``read_book``), of any number of levels; there may be fewer rows than messages, never
    more. first_seq: the sequence number of the flow's first row. Raises LobsterError when there are more rows.
    """

    def __init__(self, flow: Flow, book: NDArray[np.int64], *, first_seq: int = 1, name: str = "book") -> None:
        if len(book) > len(flow.rows_after):
            raise LobsterError(
                f"{name}:{len(flow.rows_after) + 1}: the book has more rows than the message file; give its own."
            )
        self.report = CheckReport(unpublished=len(flow.rows_after) - len(book), revealed=flow.revealed)
        self._flow = flow
        self._expected = book.tolist()
        self._depth = book.shape[1] // 4
        self._last_seq = (flow.rows_after[: len(book)] + first_seq - 1).tolist()
        self._first_seq = first_seq
        self._fills = iter(flow.fills)
        self._book = DisplayedBook(flow.instrument)

    def see(self, events: "np.ndarray[Any, Any]", last_seq: int) -> None:
        """Take up the events of the rows up to sequence number ``last_seq``, and compare what they complete."""
        for event in event_values(events[events["instrument"] == self._flow.instrument]):
            self._compare_before(event[0])
            self._book.see(event)
            if event[9] == EventKind.TRADE:
                self._compare_fill(event)
        self._compare_before(last_seq + 1)

    def _compare_before(self, seq: int) -> None:
        """Compare the rows of all messages that were complete before command ``seq``."""
        while self.report.rows < len(self._expected) and self._last_seq[self.report.rows] < seq:
            expected = self._expected[self.report.rows]
            got = self._book.row(self._depth)
            self.report.rows += 1
            if got == expected:
                self.report.equal += 1
            else:
                line = self.report.rows
                why, level = self._why(line - 1, expected, got)
                self.report.differences.append(Difference(line, level, expected, got, why))

    def _why(self, message: int, expected: list[int], got: list[int]) -> tuple[DifferenceReason, int]:
        """Reason why two rows differ, and the first level, from 1, that differs for it."""
        found = (DifferenceReason.BEYOND_LEVELS, _first_apart(_levels(expected), _levels(got)))
        for side, column in ((-1, 0), (1, 1)):
            horizon = -side * int(self._flow.horizon_e4[message, column])
            known = [_within(row, side, 2 * column, horizon) for row in (expected, got)]
            if known[0] != known[1]:
                level = _first_apart(*known)
                if not self._flow.held[message, column]:
                    return DifferenceReason.UNEXPLAINED, level
                found = (DifferenceReason.CROSSED, level)
        return found

    def _compare_fill(self, event: tuple[int, ...]) -> None:
        fill = next(self._fills, None)
        wanted = (fill.row + self._first_seq, fill.resting, fill.qty) if fill is not None else None
        self.report.fills += 1
        if wanted != (event[0], event[1], event[4]):
            self.report.fills_wrong.append(
                f"command {event[0]} traded {event[4]} with {unpack(event[1])}, by priority {wanted}"
            )


def _levels(row: list[int]) -> list[tuple[int, ...]]:
    """A row level by level, both sides of each."""
    return [tuple(row[at : at + 4]) for at in range(0, len(row), 4)]


def _first_apart(a: Sequence[object], b: Sequence[object]) -> int:
    """The first place, from 1, at which two unequal sequences differ; behind the end of one there is nothing."""
    return next(place for place, pair in enumerate(zip_longest(a, b), 1) if pair[0] != pair[1])


def _within(row: list[int], side: int, column: int, horizon: int) -> list[tuple[int, int]]:
    """The levels of one side of a row whose rank is not beyond the horizon."""
    levels = zip(row[column::4], row[column + 1 :: 4], strict=True)
    return [(price, qty) for price, qty in levels if qty and -side * price <= horizon]
