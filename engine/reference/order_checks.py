"""Checks of an order's own terms (section 8), for entries and replaces: a reason, or None when it passes."""

from engine.bounds import PRICE_E4_MAX, QTY_MAX
from engine.records import Book, Phase, Reason
from engine.reference.codes import CLOSED, CONTINUOUS, FOK, HALTED, IOC, OPENING
from engine.reference.rows import MARKET, POST_ONLY, STOP, Row
from engine.reference.state import Instrument, Participant, accepts, within_band
from engine.reference.venue import Venue, slices_of


def check_phase(phase: Phase, time_in_force: int, instructions: int, book: int) -> Reason | None:
    """Reason if the phase takes no such order; else None."""
    if phase == CONTINUOUS:
        return Reason.NOT_AUCTION if time_in_force == OPENING else None
    if phase == CLOSED:
        return Reason.CLOSED
    if phase == HALTED:
        return Reason.HALTED
    if time_in_force in (IOC, FOK) or instructions & POST_ONLY or book == Book.MIDPOINT:
        return Reason.NOT_CONTINUOUS
    if time_in_force == OPENING and phase not in (Phase.PRE_OPEN, Phase.OPENING_AUCTION):
        return Reason.NOT_AUCTION
    return None


def check_phase_of_cross(phase: Phase) -> Reason | None:
    """Reason if the phase takes no cross, which trades at once; else None."""
    if phase == CONTINUOUS:
        return None
    return {Phase.CLOSED: Reason.CLOSED, Phase.HALTED: Reason.HALTED}.get(phase, Reason.NOT_CONTINUOUS)


def check_terms(instrument: Instrument, qty: int, price_e4: int | None, stop_e4: int | None) -> Reason | None:
    """``price_e4`` is None for an order without a limit, ``stop_e4`` for one without a stop."""
    if not 1 <= qty <= QTY_MAX:
        return Reason.INVALID_QTY
    if qty % instrument.lot:
        return Reason.INVALID_LOT
    tick_e4 = instrument.tick_e4
    if price_e4 is not None and not 1 <= price_e4 <= PRICE_E4_MAX:
        return Reason.INVALID_PRICE
    if stop_e4 is not None and not 1 <= stop_e4 <= PRICE_E4_MAX:
        return Reason.INVALID_PRICE
    if (price_e4 is not None and price_e4 % tick_e4) or (stop_e4 is not None and stop_e4 % tick_e4):
        return Reason.INVALID_TICK
    return None


def named_prices(row: Row) -> tuple[int | None, int | None]:
    """Limit price and stop of an entry or a replace; None where it names none."""
    instructions = row.instructions
    return None if instructions & MARKET else row.price_e4, row.stop_e4 if instructions & STOP else None


def check_id(participant: Participant, client_order_id: int) -> Reason | None:
    """Reason if the participant used the id today, or an open order of it bears the id; else None."""
    return Reason.DUPLICATE_ID if client_order_id in participant.ids else None


def check_band(instrument: Instrument, side: int, price_e4: int, stop_e4: int) -> Reason | None:
    """The fat finger: a limit price (0: none) too far from the reference price, of a stop-limit from its stop."""
    if instrument.band_bps is None or price_e4 == 0:
        return None
    within = within_band(instrument, side, price_e4, stop_e4 or instrument.reference_e4)
    return None if within else Reason.PRICE_BAND


def check_post_only(instrument: Instrument, side: int, price_e4: int) -> Reason | None:
    """Reason if an order of the other side, the same participant's too, is at the price or better; else None."""
    best = instrument.book.best(-side)
    return Reason.WOULD_CROSS if best is not None and accepts(side, price_e4, best.price_e4) else None


def check_room_for_id(venue: Venue, participant: Participant) -> Reason | None:
    """Reason if no further id has room, in the participant's share or in the venue; else None."""
    own_most = participant.limits.max_ids
    own_full = own_most is not None and len(participant.ids) >= own_most
    return Reason.CAPACITY if own_full or venue.id_count >= venue.capacity.ids_max else None


def may_show(instrument: Instrument, display_qty: int, qty: int) -> bool:
    """True if an iceberg of a quantity may show that much: whole lots, and at least a hundredth of it."""
    return 1 <= display_qty <= QTY_MAX and display_qty % instrument.lot == 0 and 100 * display_qty >= qty


def check_slices(venue: Venue, qty: int, display_qty: int, of_order: int = 0) -> Reason | None:
    """Reason if there is no room for the slices of an iceberg, of which it has ``of_order`` already; else None."""
    more = slices_of(qty, display_qty) - of_order
    return Reason.CAPACITY if more > 0 and venue.slices + more > venue.capacity.orders_max else None
