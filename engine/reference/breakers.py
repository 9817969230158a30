"""Breakers look at the last trade of an instrument, if there was one since they last did (sections 7 and 9)."""

from engine.bounds import BPS_MAX, SECOND_NS
from engine.records import Phase, Reason
from engine.reference.events import EventLog
from engine.reference.halting import close_without_uncross, halt
from engine.reference.indices import index_value_e4
from engine.reference.state import Instrument
from engine.reference.venue import Cause, Venue


def look_at_trade(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """The volatility breaker of an instrument looks at its last trade, then each index does."""
    if instrument.unseen_trade:
        instrument.unseen_trade = False
        _look_back(venue, instrument, events)
    if instrument.unweighed_trade:
        instrument.unweighed_trade = False
        _look_at_indices(venue, instrument, events)


def _look_back(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """Halt the instrument when its last trade is too far from the price in force a while ago."""
    breaker = instrument.breaker
    if breaker is None:
        return
    second = venue.now_ns // SECOND_NS
    in_force_e4 = _price_in_force(instrument, second - breaker.window_s)
    price_e4 = instrument.last_trade_e4
    instrument.trade_seconds[second] = price_e4
    too_far = abs(price_e4 - in_force_e4) * BPS_MAX > in_force_e4 * breaker.bps
    if too_far and instrument.phase == Phase.CONTINUOUS:
        if venue.witness is not None:
            venue.witness.causes.append(Cause(len(events), 0, price_e4, in_force_e4, breaker.bps, breaker.window_s))
        halt(venue, instrument, venue.now_ns + breaker.halt_ns, Reason.VOLATILITY, events)


def _price_in_force(instrument: Instrument, second: int) -> int:
    """Price of the last trade up to and including a second; what is older than that trade is forgotten."""
    kept = instrument.trade_seconds
    newest = max((each for each in kept if each <= second), default=None)
    if newest is None:
        return instrument.last_uncross_e4 or instrument.defined_reference_e4
    for each in [each for each in kept if each < newest]:
        del kept[each]
    return kept[newest]


def _look_at_indices(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """The deepest level to which an index has fallen acts, if none as deep was reached on this trading day."""
    for index in venue.indices:
        if all(member.symbol != instrument.symbol for member in index.members):
            continue
        value_e4 = index_value_e4(venue, index)
        fallen_e4 = index.opening_e4 - value_e4
        reached = sum(fallen_e4 * BPS_MAX >= index.opening_e4 * bps for bps, _ in index.levels)
        if reached > index.reached:
            index.reached = reached
            bps, halt_ns = index.levels[reached - 1]
            _stop_market(venue, halt_ns, Cause(0, index.name, value_e4, index.opening_e4, bps, 0), events)


def _stop_market(venue: Venue, halt_ns: int, cause: Cause, events: EventLog) -> None:
    for instrument in venue.instruments:
        if instrument.phase == Phase.CLOSED:
            continue
        if venue.witness is not None:
            venue.witness.causes.append(cause._replace(event=len(events)))
        if halt_ns:
            halt(venue, instrument, venue.now_ns + halt_ns, Reason.MARKET_WIDE, events)
        else:
            close_without_uncross(venue, instrument, events)
