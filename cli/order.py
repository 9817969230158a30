"""History of an order, event by event, through its replaces: `lockstep order`.

An order keeps its number (order of acceptance) through every replace, while its client order id changes and may be
used again on another day. So the journal is replayed twice: first to find the numbers of the orders that ever had the
id, then to collect their events. An order token of OUCH stands for its client order id (``cli.tokens``).

Where slices of the journal are missing, the history of an order begins with what was open of it after them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.market_tables import shown_price
from cli.node import check_name, plays
from cli.tokens import Tokens, order_ids
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, unpack
from engine.records import EventKind, Side
from journal.history import History
from notation.objects import event_object
from notation.print import print_event
from notation.words import time

_LIFE = np.array([EventKind.ACCEPTED, EventKind.REPLACED, EventKind.CANCELED], np.uint8)


class OrderEvent(NamedTuple):
    """Event of an order, with its open quantity after it."""

    time_ns: int
    event: "np.void"
    leaves_qty: int


@dataclass
class OrderHistory:
    """History of one order. number 0: rejects of commands with the id that reached no open order.

    ``opening``: OPEN_ORDER row of an order that was open before the first command that was read, else None.
    """

    number: int
    participant: int
    opening: "np.void | None" = None
    moments: list[OrderEvent] = field(default_factory=list)
    leaves_qty: int = 0
    cum_qty: int = 0

    def take(self, time_ns: int, event: "np.void") -> None:
        """Note an event of this order."""
        kind, qty = int(event["kind"]), int(event["qty"])
        if kind in (EventKind.ACCEPTED, EventKind.REPLACED):
            self.leaves_qty = qty
        elif kind in (EventKind.TRADE, EventKind.CANCELED):
            self.leaves_qty -= qty
            self.cum_qty += qty if kind == EventKind.TRADE else 0
        self.moments.append(OrderEvent(time_ns, event, self.leaves_qty))

    def ids(self) -> list[int]:
        """The client order ids in its events, those of other orders too, as they first appear."""
        places = ("client_order_id", "contra_client_order_id")
        found = [int(moment.event[place]) for moment in self.moments for place in places]
        if self.opening is not None:
            found.insert(0, int(self.opening["client_order_id"]))
        return [order_id for order_id in dict.fromkeys(found) if order_id]


class OrderHistories:
    """Histories of the orders with the given numbers, collected from events. wanted: client order ids."""

    def __init__(self, wanted: set[int], numbers: set[int]) -> None:
        self._wanted = wanted
        self._numbers = np.array(sorted(numbers), np.int64)
        self._open: dict[tuple[int, int], OrderHistory] = {}  # by participant and present id
        self.orders: list[OrderHistory] = []
        self.unanswered: dict[int, OrderHistory] = {}  # by participant

    def begin_with(self, orders: NDArray[Any]) -> None:
        """Take up the orders that are open before the first events (OPEN_ORDER rows)."""
        for row in orders[np.isin(orders["order_number"], self._numbers)]:
            life = OrderHistory(
                int(row["order_number"]), int(row["participant"]), row, leaves_qty=int(row["leaves_qty"])
            )
            self._open[(life.participant, int(row["client_order_id"]))] = life
            self.orders.append(life)

    def follow(self, rows: NDArray[Any], clock_ns: NDArray[np.int64], first_seq: int) -> None:
        """Take the events of a block. ``clock_ns``: the clock at each of its commands, from ``first_seq`` on."""
        born = np.isin(rows["kind"], _LIFE) & np.isin(rows["order_number"], self._numbers)
        ids = {*self._wanted, *(order_id for _, order_id in self._open)}
        ids.update(rows["client_order_id"][born].tolist(), rows["contra_client_order_id"][born].tolist())
        listed = np.array(sorted(ids - {0}), np.int64)
        near = born | np.isin(rows["client_order_id"], listed) | np.isin(rows["contra_client_order_id"], listed)
        for event in rows[near]:
            self._take(event, int(clock_ns[int(event["seq"]) - first_seq]))

    def _take(self, event: "np.void", time_ns: int) -> None:
        kind, number = int(event["kind"]), int(event["order_number"])
        own = (int(event["participant"]), int(event["client_order_id"]))
        contra = (int(event["contra_participant"]), int(event["contra_client_order_id"]))
        if kind == EventKind.ACCEPTED and number in self._numbers:
            self._open[own] = OrderHistory(number, own[0])
            self.orders.append(self._open[own])
        bearers = {own, contra} if kind == EventKind.TRADE else {own}
        for key in bearers:
            life = self._open.get(key)
            if life is not None and (kind not in _LIFE or life.number == number):
                life.take(time_ns, event)
                if kind == EventKind.REPLACED:
                    self._open[(own[0], contra[1])] = self._open.pop(key)
                elif life.leaves_qty <= 0:
                    del self._open[key]
            elif kind in (EventKind.REJECTED, EventKind.CANCEL_REJECTED) and key[1] in self._wanted:
                self.unanswered.setdefault(key[0], OrderHistory(0, key[0])).take(time_ns, event)


def order(directory: Path, order_id: str, participant: str | None, *, as_json: bool) -> int:
    """`lockstep order`: print each order that ever had the client order id or token."""
    check_name(participant, "participant")
    wanted = order_ids(directory, order_id)
    from_seq, ends_seq, absent = _here(directory)
    if absent and from_seq > ends_seq:
        raise WrongUse(f"no command is in {directory}; {'; '.join(absent)}")
    numbers, last_seq = _numbers(directory, from_seq, wanted)
    lives = OrderHistories(wanted, numbers)
    names = Directory()

    def begin(orders: NDArray[Any], _seq: int) -> None:
        lives.begin_with(orders)

    again = plays(directory, from_seq, last_seq or None, "following the order", again=True, lead=True, at_start=begin)
    for play, before, after in again:
        lives.follow(play.events, clock_at_each(play.commands, ClockPosition(before.now_ns)), play.first_seq)
        names = after
    known = [*lives.orders, *lives.unanswered.values()]
    if participant is not None:
        known = [life for life in known if _whose(life, names) == participant]
    if not known:
        whose = f" of {participant}" if participant else ""
        raise WrongUse(
            f"no order{whose} in {directory} ever had the id or token {order_id}"
            + (f", from command {screen.count(from_seq)} on" if absent else "")
            + "; small and capital letters differ"
            + "".join(f"; {sentence}" for sentence in absent)
        )
    for sentence in absent:
        screen.notice(f"note: {sentence}; what happened there is not shown")
    tokens = Tokens(directory, {order_id for life in known for order_id in life.ids()})
    for life in known:
        if as_json:
            screen.print_json(_facts(life, names, tokens))
        else:
            _show(life, names, tokens)
    return errors.FINE


def _here(directory: Path) -> tuple[int, int, list[str]]:
    """First command after which no slice is missing, the last one, and sentences on the slices that are missing."""
    with History.open(directory) as history:
        return history.there_from_seq, history.last_seq, [gap.sentence for gap in history.gaps()]


def _numbers(directory: Path, from_seq: int, wanted: set[int]) -> tuple[set[int], int]:
    """Numbers of the orders that had the id, and the last command read."""
    numbers: set[int] = set()
    last_seq = 0
    ids = np.array(sorted(wanted), np.int64)

    def begin(orders: NDArray[Any], _seq: int) -> None:
        numbers.update(orders["order_number"][np.isin(orders["client_order_id"], ids)].tolist())

    looking = plays(directory, from_seq, None, "looking for the order", lead=True, at_start=begin)
    for play, _before, _after in looking:
        rows = play.events
        own = np.isin(rows["client_order_id"], ids) & np.isin(rows["kind"], _LIFE)
        new = np.isin(rows["contra_client_order_id"], ids) & (rows["kind"] == EventKind.REPLACED)
        numbers.update(rows["order_number"][own | new].tolist())
        last_seq = play.first_seq + len(play.commands) - 1
    return numbers, last_seq


def _whose(life: OrderHistory, names: Directory) -> str:
    return names.participants[life.participant - 1] if life.participant else "nobody known"


def _facts(life: OrderHistory, names: Directory, tokens: Tokens) -> dict[str, Any]:
    history = [
        {"leaves_qty": moment.leaves_qty, "event": event_object(moment.event, names, moment.time_ns)}
        for moment in life.moments
    ]
    return {
        "order_number": life.number or None,
        "participant": names.participants[life.participant - 1] if life.participant else None,
        "leaves_qty": life.leaves_qty,
        "cum_qty": life.cum_qty,
        "tokens": [{"client_order_id": unpack(each), "token": tokens.of(each)} for each in life.ids()],
        "history": history,
    }


def _show(life: OrderHistory, names: Directory, tokens: Tokens) -> None:
    if life.number:
        entry: Any = life.moments[0].event if life.opening is None else life.opening
        qty = int(entry["qty"] if life.opening is None else entry["leaves_qty"])
        side = Side(int(entry["side"])).name.lower()
        limit = shown_price(int(entry["price_e4"]))
        symbol = names.symbols[int(entry["instrument"]) - 1]
        before = "" if life.opening is None else " open before the commands that are here"
        number = screen.count(life.number)
        about = f"order {number} of {_whose(life, names)}: {side} {screen.count(qty)} {symbol} @ {limit}{before}"
        left = f"open {screen.count(life.leaves_qty)}" if life.leaves_qty else "closed"
        title = f"{about}; traded {screen.count(life.cum_qty)}, {left}"
    else:
        title = f"rejects of {_whose(life, names)} that changed no order"
    rows = [
        (
            time(moment.time_ns),
            screen.count(int(moment.event["seq"])),
            tokens.shown(_said(moment.event, names)),
            screen.count(moment.leaves_qty) if life.number else "",
        )
        for moment in life.moments
    ]
    screen.table(["time", "seq", "event", "open"], rows, right=("seq", "open"), title=title)


def _said(event: "np.void", names: Directory) -> str:
    return print_event(event, names).removeprefix("> ")
