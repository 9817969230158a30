"""Crosses (section 3, section 13: 35): trades agreed outside the books."""

from engine.records import Reason, Side
from engine.reference.events import EventLog
from engine.reference.limit_checks import check_credit, check_position_of, check_restricted
from engine.reference.order_checks import check_id, check_phase_of_cross, check_room_for_id, check_terms
from engine.reference.rows import Row
from engine.reference.state import Instrument, Participant
from engine.reference.venue import Venue


def cross(venue: Venue, row: Row, events: EventLog) -> None:
    """``cross``: a reported trade, which the books do not see, or the reason for which it is refused."""
    reporter, instrument = venue.participant(row.participant), venue.instrument(row.instrument)
    buyer, seller = (venue.participant_by_name.get(name) for name in (row.buyer, row.seller))
    if reporter is None or buyer is None or seller is None:
        events.rejected(row.client_order_id, Reason.UNKNOWN_PARTICIPANT, reporter, instrument)
        return
    if instrument is None:
        events.rejected(row.client_order_id, Reason.UNKNOWN_INSTRUMENT, reporter, None)
        return
    refused = _check(venue, row, instrument, reporter, buyer, seller)
    if refused is not None:
        events.rejected(row.client_order_id, refused, reporter, instrument)
        return
    venue.last_order_number += 1
    venue.last_trade_number += 1
    reporter.ids[row.client_order_id] = None
    venue.id_count += 1
    events.cross_accepted(row, venue.last_order_number)
    events.agreed_trade(row, buyer, seller, venue.last_trade_number)
    buyer.holding(instrument).position_qty += row.qty
    seller.holding(instrument).position_qty -= row.qty


def _check(
    venue: Venue, row: Row, instrument: Instrument, reporter: Participant, buyer: Participant, seller: Participant
) -> Reason | None:
    notional_e4 = row.qty * row.price_e4
    return (
        (Reason.KILLED if reporter.killed or buyer.killed or seller.killed else None)
        or check_phase_of_cross(instrument.phase)
        or check_terms(instrument, row.qty, row.price_e4, None)
        or (Reason.INVALID_INSTRUCTION if buyer is seller else None)
        or check_id(reporter, row.client_order_id)
        or check_restricted(buyer, instrument)
        or check_restricted(seller, instrument)
        or _check_quotes(instrument, row.price_e4)
        or check_position_of(buyer, instrument, Side.BUY, row.qty)
        or check_position_of(seller, instrument, Side.SELL, row.qty)
        or check_credit(venue, buyer, notional_e4)
        or check_credit(venue, seller, notional_e4)
        or check_room_for_id(venue, reporter)
    )


def _check_quotes(instrument: Instrument, price_e4: int) -> Reason | None:
    """Reason if the price is below the best displayed bid or above the best displayed offer; else None."""
    bid_e4, offer_e4 = (instrument.book.displayed_best_e4(side) for side in (Side.BUY, Side.SELL))
    beyond = (bid_e4 and price_e4 < bid_e4) or (offer_e4 and price_e4 > offer_e4)
    return Reason.PRICE_BAND if beyond else None
