"""Entry and replacement of orders (section 4): the checks of section 8 in its order, then the book.

Each check below is one row of that table, or a part of one, and gives the reason for which it refuses, or None.
The first reason counts.
"""

from typing import Final

from engine.limits import PRICE_E4_MAX, QTY_MAX
from engine.records import Book, Permission, Phase, Reason, SelfTrade, TimeInForce
from engine.reference.events import EventLog
from engine.reference.exposure import add_open
from engine.reference.matching import cancel_open, run_as_incoming
from engine.reference.risk import count_entry, entered, limits_refuse, replaced, restricted
from engine.reference.rows import DISPLAY, MARKET, MIN_QTY, POST_ONLY, STOP, Row
from engine.reference.state import Instrument, Order, Participant, accepts
from engine.reference.venue import Venue

_BUILT: Final = MARKET | POST_ONLY | MIN_QTY
_MARKET_PERMISSION: Final = int(Permission.MARKET)
_STP_NONE_PERMISSION: Final = int(Permission.STP_NONE)

_MARKET_TIMES: Final = frozenset({TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK})
_LIMIT_TIMES: Final = _MARKET_TIMES | {TimeInForce.GTC}
_POST_ONLY_TIMES: Final = frozenset({TimeInForce.DAY, TimeInForce.GTC})


def enter(venue: Venue, row: Row, events: EventLog) -> None:
    participant = venue.participant(row.participant)
    instrument = venue.instrument(row.instrument)
    if participant is None:
        events.rejected(row.client_order_id, Reason.UNKNOWN_PARTICIPANT, None, instrument)
        return
    if instrument is None:
        count_entry(venue, participant, Reason.UNKNOWN_INSTRUMENT)
        events.rejected(row.client_order_id, Reason.UNKNOWN_INSTRUMENT, participant, None)
        return
    refused = _entry_refused(venue, row, participant, instrument)
    count_entry(venue, participant, refused)
    if refused is not None:
        events.rejected(row.client_order_id, refused, participant, instrument)
        return
    order = venue.accept(row, participant, instrument)
    events.accepted(order)
    _meet_the_book(venue, order, events)


def replace(venue: Venue, row: Row, events: EventLog) -> None:
    participant = venue.participant(row.participant)
    if participant is None:
        events.cancel_rejected(row.client_order_id, None)
        return
    order = participant.open_order(row.client_order_id)
    if order is None:
        count_entry(venue, participant, Reason.UNKNOWN_ORDER)
        events.cancel_rejected(row.client_order_id, participant)
        return
    open_qty = row.qty - order.cum_qty
    keeps_priority = row.price_e4 == order.price_e4 and open_qty <= order.leaves_qty
    refused = _new_terms_refused(order, row)
    if refused is None and open_qty > 0:
        refused = _new_place_refused(venue, order, row, keeps_priority)
    count_entry(venue, participant, refused)
    if refused is not None:
        events.rejected(row.new_client_order_id, refused, participant, order.instrument)
    elif open_qty <= 0:
        cancel_open(venue, order, Reason.REPLACED, events)
    else:
        _change(venue, order, row, keeps_priority, events)


def _change(venue: Venue, order: Order, row: Row, keeps_priority: bool, events: EventLog) -> None:
    """Gives the order the id, quantity and price of a replace that nothing refuses."""
    open_qty = row.qty - order.cum_qty
    add_open(order, -order.leaves_qty)
    if keeps_priority:
        order.instrument.book.reduce(order, order.leaves_qty - open_qty)
    else:
        order.instrument.book.remove(order)
        order.leaves_qty = open_qty
    order.qty = row.qty
    order.price_e4 = row.price_e4
    add_open(order, order.leaves_qty)
    venue.rename(order, row.new_client_order_id)
    events.replaced(order, row.client_order_id)
    if not keeps_priority:
        _meet_the_book(venue, order, events)


def _meet_the_book(venue: Venue, order: Order, events: EventLog) -> None:
    if order.instrument.phase == Phase.CONTINUOUS:
        run_as_incoming(venue, order, events)
    else:
        venue.rest(order)


def _entry_refused(venue: Venue, row: Row, participant: Participant, instrument: Instrument) -> Reason | None:
    return (
        (Reason.KILLED if participant.killed else None)
        or _phase_refuses(instrument.phase, row.time_in_force, row.instructions, row.book)
        or _value_refused(instrument, row)
        or _instructions_refused(row)
        or _id_used(participant, row.client_order_id)
        or restricted(participant, instrument)
        or _not_permitted(participant, row)
        or limits_refuse(venue, entered(participant, instrument, row.side, row.qty, row.price_e4))
        or (_post_only_refused(instrument, row.side, row.price_e4) if row.instructions & POST_ONLY else None)
        or _no_room_for_order(venue, participant)
    )


def _new_terms_refused(order: Order, row: Row) -> Reason | None:
    """The checks of a replace before its open quantity is looked at.

    Whether the participant is killed is not among them: one that is has no open order to replace.
    """
    return (
        _phase_refuses(order.instrument.phase, order.time_in_force, order.instructions, Book.LIT)
        or _value_refused(order.instrument, row)
        or _change_refused(order, row)
        or _id_used(order.participant, row.new_client_order_id)
    )


def _new_place_refused(venue: Venue, order: Order, row: Row, keeps_priority: bool) -> Reason | None:
    """The checks of a replace after its open quantity is known to be above zero."""
    judged_again = order.post_only and not keeps_priority
    return (
        restricted(order.participant, order.instrument)
        or limits_refuse(venue, replaced(order, row.qty, row.price_e4))
        or (_post_only_refused(order.instrument, order.side, row.price_e4) if judged_again else None)
        or _no_room_for_id(venue, order.participant)
    )


def _phase_refuses(phase: Phase, time_in_force: int, instructions: int, book: int) -> Reason | None:
    if phase == Phase.CONTINUOUS:
        return Reason.NOT_AUCTION if time_in_force == TimeInForce.OPENING else None
    if phase == Phase.CLOSED:
        return Reason.CLOSED
    if phase == Phase.HALTED:
        return Reason.HALTED
    if time_in_force in (TimeInForce.IOC, TimeInForce.FOK) or instructions & POST_ONLY or book == Book.MIDPOINT:
        return Reason.NOT_CONTINUOUS
    if time_in_force == TimeInForce.OPENING and phase not in (Phase.PRE_OPEN, Phase.OPENING_AUCTION):
        return Reason.NOT_AUCTION
    return None


def _value_refused(instrument: Instrument, row: Row) -> Reason | None:
    if not 1 <= row.qty <= QTY_MAX:
        return Reason.INVALID_QTY
    if row.qty % instrument.lot:
        return Reason.INVALID_LOT
    if row.instructions & MARKET:
        return None
    if not 1 <= row.price_e4 <= PRICE_E4_MAX:
        return Reason.INVALID_PRICE
    if row.price_e4 % instrument.tick_e4:
        return Reason.INVALID_TICK
    return None


def _instructions_refused(row: Row) -> Reason | None:
    """Reason why the instructions of an entry do not fit together (section 4, as far as built), or None."""
    instructions = row.instructions
    fit = (
        not instructions & ~_BUILT
        and row.book == Book.LIT
        and row.time_in_force in (_MARKET_TIMES if instructions & MARKET else _LIMIT_TIMES)
        and (not instructions & POST_ONLY or (not instructions & MARKET and row.time_in_force in _POST_ONLY_TIMES))
        and (not instructions & MIN_QTY or (row.time_in_force == TimeInForce.IOC and 1 <= row.min_qty <= row.qty))
    )
    return None if fit else Reason.INVALID_INSTRUCTION


def _change_refused(order: Order, row: Row) -> Reason | None:
    """A price cannot become ``market`` or the reverse; no order of this release has a display or a stop."""
    if (row.instructions ^ order.instructions) & MARKET or row.instructions & (DISPLAY | STOP):
        return Reason.INVALID_INSTRUCTION
    return None


def _id_used(participant: Participant, client_order_id: int) -> Reason | None:
    return Reason.DUPLICATE_ID if client_order_id in participant.ids else None


def _not_permitted(participant: Participant, row: Row) -> Reason | None:
    if row.instructions & MARKET and not participant.permissions & _MARKET_PERMISSION:
        return Reason.MARKET_NOT_PERMITTED
    if row.self_trade == SelfTrade.NONE and not participant.permissions & _STP_NONE_PERMISSION:
        return Reason.STP_NOT_PERMITTED
    return None


def _post_only_refused(instrument: Instrument, side: int, price_e4: int) -> Reason | None:
    """Reason if an order of the other side, the same participant's too, is at the price or better; else None."""
    best = instrument.book.best(-side)
    return Reason.WOULD_CROSS if best is not None and accepts(side, price_e4, best.price_e4) else None


def _no_room_for_order(venue: Venue, participant: Participant) -> Reason | None:
    """An open order bears an id, so an entry needs room for both: the participant's own, and the venue's."""
    own_most = participant.limits.max_open_orders
    own_full = own_most is not None and len(participant.open_orders) >= own_most
    if own_full or venue.open_order_count >= venue.capacity.orders_max:
        return Reason.CAPACITY
    return _no_room_for_id(venue, participant)


def _no_room_for_id(venue: Venue, participant: Participant) -> Reason | None:
    own_most = participant.limits.max_ids
    own_full = own_most is not None and len(participant.ids) >= own_most
    return Reason.CAPACITY if own_full or venue.id_count >= venue.capacity.ids_max else None
