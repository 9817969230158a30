"""Views of the state as rows of ``engine.records``, for people, tools and the comparison with the compiled engine."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.bounds import PRICE_E4_MAX, TIME_NS_MAX
from engine.records import COMMAND, Peg, Side
from engine.reference.indices import index_value_e4
from engine.reference.limit_command import set_bits
from engine.reference.state import Instrument, Limits, Order, Participant
from engine.reference.venue import CALLS, Venue
from engine.row_bytes import ROW
from engine.views import (
    INDEX_STATE,
    INSTRUMENT_STATE,
    LIMITS_STATE,
    OPEN_ORDER,
    PARTICIPANT_STATE,
    POSITION,
    SCHEDULE_STATE,
    Waiting,
)

Rows = np.ndarray[Any, Any]


def open_orders(venue: Venue, number: int) -> Rows:
    """OPEN_ORDER rows of one instrument by number, or of all (0): buys before sells, in the order of trading."""
    shown = [each for each in venue.instruments if number in (0, each.number)]
    return np.array([_open_order(order) for each in shown for order in _in_book_order(each)], OPEN_ORDER)


def instruments(venue: Venue) -> Rows:
    """INSTRUMENT_STATE rows, in order of definition."""
    states = np.zeros(len(venue.instruments), INSTRUMENT_STATE)
    for state, instrument in zip(states, venue.instruments, strict=True):
        state["symbol"] = instrument.symbol
        state["tick_e4"] = instrument.tick_e4
        state["lot"] = instrument.lot
        state["reference_e4"] = instrument.defined_reference_e4
        state["last_trade_e4"] = instrument.last_trade_e4
        state["phase"] = instrument.phase
        state["due_ns"] = instrument.due_ns if instrument.due_ns <= TIME_NS_MAX else 0
        if instrument.phase in CALLS:
            state["indicative_e4"], state["paired_qty"], state["imbalance_qty"] = instrument.published
        state["band"] = 0 if instrument.band_bps is None else 1 + instrument.band_bps
        state["midpoint"] = instrument.midpoint is not None
        if instrument.breaker is not None:
            state["volatility"] = 1 + instrument.breaker.bps
            state["volatility_window_s"] = instrument.breaker.window_s
            state["volatility_halt_ns"] = instrument.breaker.halt_ns
    return states


def waiting(venue: Venue) -> Waiting:
    """Commands that wait for their effect."""
    return Waiting(
        np.array([each.seq for each in venue.waiting], np.int64),
        np.array([each.due_ns for each in venue.waiting], np.int64),
        np.frombuffer(bytearray().join(ROW.pack(*each.row) for each in venue.waiting), COMMAND),
    )


def indices(venue: Venue) -> Rows:
    """INDEX_STATE rows, in order of definition."""
    shown = [
        (each.name, index_value_e4(venue, each), each.opening_e4, len(each.members), each.reached)
        for each in venue.indices
    ]
    return np.array(shown, INDEX_STATE)


def schedules(venue: Venue) -> Rows:
    """SCHEDULE_STATE rows, in the order in which the clock meets them."""
    return np.array([tuple(each) for each in venue.schedules], SCHEDULE_STATE)


def positions(venue: Venue, number: int) -> Rows:
    """POSITION rows of a participant by number, or of all (0), in order of participant and instrument."""
    shown = [participant for participant in venue.participants if number in (0, participant.number)]
    return np.array([each for participant in shown for each in _positions_of(participant)], POSITION)


def participants(venue: Venue) -> Rows:
    """PARTICIPANT_STATE rows, in order of definition."""
    states = np.zeros(len(venue.participants), PARTICIPANT_STATE)
    for state, participant in zip(states, venue.participants, strict=True):
        state["name"] = participant.name
        state["open_notional_e4"] = participant.open_notional_e4
        state["orders_open"] = len(participant.open_orders)
        state["ids_used"] = len(participant.ids)
        state["permissions"] = participant.permissions
        state["killed"] = participant.killed
    return states


def limits(venue: Venue, number: int) -> Rows:
    """LIMITS_STATE rows of a participant by number, or of all (0), in order of participant and instrument (0: all)."""
    rows = []
    for participant in venue.participants:
        for instrument, each in [(0, participant.limits), *sorted(participant.limits_in.items())]:
            if set_bits(each) and number in (0, participant.number):
                rows.append((participant.number, instrument, *_limits(each)))
    return np.array(rows, LIMITS_STATE)


def next_due_ns(venue: Venue) -> int:
    """The earliest time of what a clock value makes due: ends of halts, calls and orders, schedules and commands that
    wait; 0: none.

    A call that begins in the last minute of all time has an end that no clock value can meet.
    """
    ends_ns = [*(instrument.due_ns for instrument in venue.instruments), *(until_ns for until_ns, _ in venue.expiries)]
    ends_ns += [max(each.due_ns, 1) for each in venue.schedules]
    ends_ns += [each.due_ns for each in venue.waiting]
    return min((end_ns for end_ns in ends_ns if 0 < end_ns <= TIME_NS_MAX), default=0)


def _in_book_order(instrument: Instrument) -> Iterator[Order]:
    for side in (Side.BUY, Side.SELL):
        for level in instrument.book.levels(side):
            yield from level
        yield from instrument.stops.orders(side)
        yield from (order for order in instrument.aside.values() if order.side == side)
        if instrument.midpoint is not None:
            yield from sorted(instrument.midpoint.orders(side), key=_limit_first)
        for peg in Peg:
            yield from (order for order in instrument.pegs.get((side, peg), {}).values() if not order.peg_e4)


def _limit_first(order: Order) -> tuple[int, int]:
    """Place of an order of a midpoint book in a list: by its limit, the best and none first, then by time.

    A sell without a limit is as one at the lowest price.
    """
    limit = order.price_e4 // order.instrument.tick_e4
    if order.side == Side.SELL:
        return limit or 1, order.priority
    return -limit if limit else -PRICE_E4_MAX - 1, order.priority


def _open_order(order: Order) -> tuple[int, ...]:
    return (
        order.client_order_id,
        order.order_number,
        order.price_e4,
        order.stop_e4,
        order.display_qty,
        0 if order.hidden or order.dormant or order.in_midpoint or order.aside else order.visible_qty,
        order.until_ns,
        order.offset_e4,
        order.peg_e4,
        order.qty,
        order.leaves_qty,
        order.cum_qty,
        order.participant.number,
        order.instrument.number,
        order.side,
        order.time_in_force,
        order.self_trade,
        int(order.in_midpoint),
        order.instructions,
        order.peg,
        0,
    )


def _positions_of(participant: Participant) -> Iterator[tuple[int, ...]]:
    for number, holding in sorted(participant.holdings.items(), key=lambda each: each[0]):
        values = (holding.position_qty, holding.open_buy_qty, holding.open_sell_qty)
        if any(values):
            yield (participant.number, number, *values)


def _limits(limits: Limits) -> tuple[int, ...]:
    """The places of LIMITS_STATE after the two numbers."""
    rate_orders, rate_window_ns = limits.order_rate or (0, 0)
    return (
        set_bits(limits),
        limits.max_order_qty or 0,
        limits.max_order_value_e4 or 0,
        rate_orders,
        rate_window_ns,
        limits.max_position_qty or 0,
        limits.credit_e4 or 0,
        limits.margin_bps or 0,
        limits.adv_share_bps or 0,
        limits.max_open_orders or 0,
        limits.max_ids or 0,
    )
