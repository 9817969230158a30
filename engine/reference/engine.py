"""The shell: batches of COMMAND rows in, EVENT rows out, the chain of event digests, and views of the state."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from engine.digest import EventChain
from engine.limits import Capacity
from engine.names import Directory, unpack
from engine.records import INSTRUMENT_STATE, OPEN_ORDER, CommandKind, Reason, Side
from engine.reference.cancel import cancel, mass_cancel
from engine.reference.check import check_venue
from engine.reference.definitions import clock, define_instrument, define_participant
from engine.reference.entry import enter, replace
from engine.reference.events import EventLog
from engine.reference.kill import emergency_close, kill, unkill
from engine.reference.phases import halt, phase
from engine.reference.rows import Row, can_be_interpreted, rows_of
from engine.reference.users import credential, user
from engine.reference.venue import Instrument, Order, Venue

_EXTEND: Final = int(CommandKind.EXTEND)

_RULES: Final[dict[int, Callable[[Venue, Row, EventLog], None]]] = {
    int(CommandKind.CLOCK): clock,
    int(CommandKind.INSTRUMENT): define_instrument,
    int(CommandKind.PARTICIPANT): define_participant,
    int(CommandKind.ENTER): enter,
    int(CommandKind.CANCEL): cancel,
    int(CommandKind.REPLACE): replace,
    int(CommandKind.MASS_CANCEL): mass_cancel,
    int(CommandKind.PHASE): phase,
    int(CommandKind.HALT): halt,
    int(CommandKind.KILL): kill,
    int(CommandKind.UNKILL): unkill,
    int(CommandKind.EMERGENCY_CLOSE): emergency_close,
    int(CommandKind.USER): user,
    int(CommandKind.CREDENTIAL): credential,
}
#: The kinds that an ``extend`` may stand before (section 13, 12).
_EXTENDABLE: Final = frozenset(map(int, (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)))


class ReferenceEngine:
    """A market of the rulebook, in plain Python. A pure function of the rows it was given and of ``capacity``."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity()
        self.seq = 0
        self._chain = EventChain()
        self._venue = Venue(self.capacity)

    def apply(self, commands: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Applies COMMAND rows, shape (n,), n from 0, and returns the EVENT rows that they cause, shape (m,).

        Raises ValueError when ``commands`` is no such array, and never
        because of what its rows hold.
        """
        log = EventLog(self.seq)
        for rows in rows_of(commands):
            for row in rows:
                log.seq += 1
                _apply_row(self._venue, row, log)
        self.seq = log.seq
        events = log.take()
        self._chain.add(events)
        return events

    @property
    def event_digest(self) -> bytes:
        """16 bytes: what all events so far come to, whatever blocks their commands came in."""
        return self._chain.digest()

    @property
    def now_ns(self) -> int:
        """The newest clock value; 0 before the first."""
        return self._venue.now_ns

    @property
    def directory(self) -> Directory:
        """The names defined so far, and the clock."""
        return Directory(
            symbols=tuple(unpack(instrument.symbol) for instrument in self._venue.instruments),
            participants=tuple(unpack(participant.name) for participant in self._venue.participants),
            now_ns=self._venue.now_ns,
        )

    def open_orders(self, instrument: int = 0) -> "np.ndarray[Any, Any]":
        """OPEN_ORDER rows of one instrument by number, or of all (0): buys before sells, in the order of trading."""
        shown = [each for each in self._venue.instruments if instrument in (0, each.number)]
        return np.array([_open_order(order) for each in shown for order in _in_book_order(each)], OPEN_ORDER)

    def instruments(self) -> "np.ndarray[Any, Any]":
        """INSTRUMENT_STATE rows, in order of definition."""
        states = np.zeros(len(self._venue.instruments), INSTRUMENT_STATE)
        for state, instrument in zip(states, self._venue.instruments, strict=True):
            state["symbol"] = instrument.symbol
            state["tick_e4"] = instrument.tick_e4
            state["lot"] = instrument.lot
            state["reference_e4"] = instrument.defined_reference_e4
            state["last_trade_e4"] = instrument.last_trade_e4
            state["phase"] = instrument.phase
        return states

    def check(self) -> None:
        """Raises InvariantError, naming what is broken, when the state is not one that the rules can reach."""
        check_venue(self._venue)


def _apply_row(venue: Venue, row: Row, log: EventLog) -> None:
    extended, venue.extended = venue.extended, False
    if not can_be_interpreted(row) or (extended and row.kind not in _EXTENDABLE and row.kind != _EXTEND):
        log.rejected(row.client_order_id, Reason.INVALID_COMMAND)
    elif row.kind == _EXTEND:
        venue.extended = True
    else:
        _RULES[row.kind](venue, row, log)


def _in_book_order(instrument: Instrument) -> Iterator[Order]:
    for side in (Side.BUY, Side.SELL):
        for level in instrument.book.levels(side):
            yield from level.orders.values()


def _open_order(order: Order) -> tuple[int, ...]:
    return (
        order.client_order_id,
        order.number,
        order.price_e4,
        order.qty,
        order.leaves_qty,
        order.cum_qty,
        order.participant.number,
        order.instrument.number,
        order.side,
        order.time_in_force,
        order.self_trade,
        0,
        order.instructions,
        0,
    )
