"""Order entry (section 4): the checks of section 8 in its order, then the book.

Each check is one row of that table, or a part of one, and gives a reason, or None when it passes. The first reason
counts.
"""

from typing import Final

from engine.bounds import TIME_NS_MAX
from engine.records import Peg, Permission, Reason
from engine.reference.codes import CLOSING, CONTINUOUS, DAY, FOK, GTC, GTD, IOC, LIT, MIDPOINT, OPENING, STP_NONE
from engine.reference.events import EventLog
from engine.reference.limit_checks import check_limits, count_entry, in_force
from engine.reference.matching import run_aggressor
from engine.reference.midpoint import run_at_midpoint
from engine.reference.order_checks import (
    check_band,
    check_phase,
    check_post_only,
    check_slices,
    check_terms,
    may_show,
    named_prices,
)
from engine.reference.rows import DISPLAY, HIDDEN, MARKET, MIN_QTY, OFFSET, PEG, POST_ONLY, STOP, UNTIL, Row
from engine.reference.state import Holding, Instrument, Order, Participant
from engine.reference.venue import Venue

_RESTING: Final = POST_ONLY | DISPLAY | HIDDEN
_MARKET_PERMISSION: Final = int(Permission.MARKET)
_STP_NONE_PERMISSION: Final = int(Permission.STP_NONE)

_MARKET_TIMES: Final = frozenset({DAY, IOC, FOK, OPENING, CLOSING})
_LIMIT_TIMES: Final = _MARKET_TIMES | {GTC, GTD}
_RESTING_TIMES: Final = frozenset({DAY, GTC, GTD})


def enter(venue: Venue, row: Row, events: EventLog) -> None:
    """``enter``: the checks, each refusal with its reason; then the order runs, rests or waits."""
    participant = venue.participant_by_number.get(row.participant)
    instrument = venue.instrument_by_number.get(row.instrument)
    if participant is None:
        events.rejected(row.client_order_id, Reason.UNKNOWN_PARTICIPANT, None, instrument)
        return
    if instrument is None:
        count_entry(venue, participant, Reason.UNKNOWN_INSTRUMENT)
        events.rejected(row.client_order_id, Reason.UNKNOWN_INSTRUMENT, participant, None)
        return
    holding = participant.holding(instrument)
    refused = _check_entry(venue, row, holding)
    count_entry(venue, participant, refused)
    if refused is not None:
        events.rejected(row.client_order_id, refused, participant, instrument)
        return
    order = venue.accept(row, holding)
    events.accepted(order)
    run_or_rest(venue, order, events)


def run_or_rest(venue: Venue, order: Order, events: EventLog) -> None:
    """Run an order that was accepted or lost its place, in its book, or put it where its kind waits."""
    instrument = order.instrument
    if order.in_midpoint and instrument.midpoint is not None:
        run_at_midpoint(venue, order, instrument.midpoint, events)
    elif order.peg:
        instrument.fresh_peg, instrument.stirred = order, True
    elif instrument.phase is CONTINUOUS and not order.stop_e4 and not order.aside:
        run_aggressor(venue, order, events)
    else:
        venue.rest(order)


def _check_entry(venue: Venue, row: Row, holding: Holding) -> Reason | None:
    """The checks of section 8 in its order. Where a row has a condition, it passes without being asked otherwise."""
    participant, instrument = holding.participant, holding.instrument
    client_order_id, _, price_e4, qty, _, display_qty, _, _, _, side, time, self_trade, instructions, book, _ = row
    limit_e4, stop_e4 = (price_e4, None) if not instructions & (MARKET | STOP) else named_prices(row)
    counted_e4 = price_e4 or stop_e4 or instrument.reference_e4
    limits = in_force(participant, instrument) if participant.limits_in else participant.limits
    trades_now = instrument.phase is CONTINUOUS and time != OPENING
    plain = not instructions and book == LIT and time != GTD
    by_permission = instructions & MARKET or self_trade == STP_NONE
    return (
        (Reason.KILLED if participant.killed else None)
        or (None if trades_now else check_phase(instrument.phase, time, instructions, book))
        or check_terms(instrument, qty, limit_e4, stop_e4)
        or (None if plain else _check_instructions(venue, instrument, row))
        or (Reason.DUPLICATE_ID if client_order_id in participant.ids else None)
        or (Reason.RESTRICTED if limits.restricted else None)
        or (_check_permissions(participant, row) if by_permission else None)
        or (check_band(instrument, side, price_e4, stop_e4 or 0) if instrument.band_bps is not None else None)
        or check_limits(venue, limits, holding, side, qty, counted_e4)
        or (check_post_only(instrument, side, price_e4) if instructions & POST_ONLY else None)
        or _check_room(venue, participant)
        or (check_slices(venue, qty, display_qty) if instructions & DISPLAY else None)
    )


def _check_instructions(venue: Venue, instrument: Instrument, row: Row) -> Reason | None:
    """Reason why the instructions of an entry do not fit together (section 4), or None."""
    instructions = row.instructions
    ends = row.time_in_force == GTD
    if ends != bool(instructions & UNTIL) or (ends and not venue.now_ns < row.until_ns <= TIME_NS_MAX):
        return Reason.INVALID_INSTRUCTION
    if row.book == MIDPOINT:
        fit = instrument.midpoint is not None and not instructions & ~(MARKET | UNTIL | MIN_QTY)
        fit = fit and row.time_in_force not in (OPENING, CLOSING)
        fit = fit and (not instructions & MIN_QTY or _min_qty_fits(row))
        return None if fit else Reason.INVALID_INSTRUCTION
    if instructions & (STOP | PEG | OFFSET):
        # None of the other instructions but ``until`` and ``@ market``, which is then one without a limit.
        others = instructions & ~(MARKET | UNTIL)
        fit = others == STOP or (not others & ~(PEG | OFFSET) and _offset_fits(instrument, row))
        return None if fit and row.time_in_force in _RESTING_TIMES else Reason.INVALID_INSTRUCTION
    fit = (
        row.time_in_force in (_MARKET_TIMES if instructions & MARKET else _LIMIT_TIMES)
        and (not instructions & _RESTING or (not instructions & MARKET and row.time_in_force in _RESTING_TIMES))
        and not (instructions & DISPLAY and instructions & HIDDEN)
        and (not instructions & DISPLAY or may_show(instrument, row.display_qty, row.qty))
        and (not instructions & MIN_QTY or _min_qty_fits(row))
    )
    return None if fit else Reason.INVALID_INSTRUCTION


def _offset_fits(instrument: Instrument, row: Row) -> bool:
    """True if a peg may be so far from its reference, in whole ticks. The middle has no offset."""
    if not row.instructions & OFFSET:
        return True
    least_e4 = {Peg.PRIMARY: 0, Peg.MARKET: instrument.tick_e4}.get(Peg(row.peg)) if row.peg else None
    return least_e4 is not None and row.offset_e4 >= least_e4 and row.offset_e4 % instrument.tick_e4 == 0


def _min_qty_fits(row: Row) -> bool:
    return row.time_in_force == IOC and 1 <= row.min_qty <= row.qty


def _check_permissions(participant: Participant, row: Row) -> Reason | None:
    is_market = row.instructions & MARKET and row.book == LIT and not row.peg
    if is_market and not participant.permissions & _MARKET_PERMISSION:
        return Reason.MARKET_NOT_PERMITTED
    if row.self_trade == STP_NONE and not participant.permissions & _STP_NONE_PERMISSION:
        return Reason.STP_NOT_PERMITTED
    return None


def _check_room(venue: Venue, participant: Participant) -> Reason | None:
    """An open order bears an id, so an entry needs room for both: the participant's own, and the venue's."""
    most, limits = venue.capacity, participant.limits
    if venue.open_order_count >= most.orders_max or venue.id_count >= most.ids_max:
        return Reason.CAPACITY
    if limits.max_open_orders is not None and len(participant.open_orders) >= limits.max_open_orders:
        return Reason.CAPACITY
    if limits.max_ids is not None and len(participant.ids) >= limits.max_ids:
        return Reason.CAPACITY
    return None
