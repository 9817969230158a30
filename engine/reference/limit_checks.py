"""The checks that limits set (section 8, section 13: 20 to 23), each as its row of the table says.

A limit is passed when it is met exactly. Python's integers do not wrap, so a sum that would leave int64 is simply above
every limit; where one is refused without a limit, the bound is written down.
"""

from typing import Final, NamedTuple

from engine.bounds import BPS_MAX, INT64_MAX
from engine.records import Reason
from engine.reference.state import Instrument, Limits, Order, Participant
from engine.reference.venue import Venue

_NO_LIMITS: Final = Limits()


class Request(NamedTuple):
    """Terms of an entry or a replace.

    ``qty``: total. ``price_e4``: what the order's value and notional are counted with. ``open_qty``: what would be
    open. ``replaced``: the order as it stands, whose open quantity and notional go.
    """

    participant: Participant
    instrument: Instrument
    side: int
    qty: int
    price_e4: int
    open_qty: int
    replaced: Order | None


def entered(participant: Participant, instrument: Instrument, side: int, qty: int, price_e4: int) -> Request:
    """``price_e4`` is the limit price, else the stop, 0 for a market order."""
    return Request(participant, instrument, side, qty, price_e4 or instrument.reference_e4, qty, None)


def replaced(order: Order, qty: int, price_e4: int) -> Request:
    """``price_e4`` is the new limit price, else the new stop; of a market order 0: the reference price of its entry
    stays."""
    price_e4 = price_e4 or order.entry_reference_e4
    return Request(order.participant, order.instrument, order.side, qty, price_e4, qty - order.cum_qty, order)


def check_restricted(participant: Participant, instrument: Instrument) -> Reason | None:
    """A restriction in either restricts, that of the participant in all or that in the instrument."""
    in_instrument = participant.limits_in.get(instrument.number, _NO_LIMITS)
    return Reason.RESTRICTED if participant.limits.restricted or in_instrument.restricted else None


def check_limits(venue: Venue, request: Request) -> Reason | None:
    """The rows of section 8 from ``max_order_qty`` to ``credit``, in their order."""
    own = request.participant.limits_in.get(request.instrument.number, _NO_LIMITS)
    every = request.participant.limits
    return (
        _above(request.qty, _first(own.max_order_qty, every.max_order_qty), Reason.MAX_ORDER_QTY)
        or _above(
            request.qty * request.price_e4,
            _first(own.max_order_value_e4, every.max_order_value_e4),
            Reason.MAX_ORDER_VALUE,
        )
        or _check_order_rate(venue, request.participant)
        or _check_adv(request, _first(own.adv_share_bps, every.adv_share_bps))
        or _check_position(request, _first(own.max_position_qty, every.max_position_qty))
        or _check_credit(venue, request)
    )


def check_position_of(participant: Participant, instrument: Instrument, side: int, qty: int) -> Reason | None:
    """The position row for a cross, which trades all of it at once."""
    own = participant.limits_in.get(instrument.number, _NO_LIMITS)
    request = Request(participant, instrument, side, qty, 0, qty, None)
    return _check_position(request, _first(own.max_position_qty, participant.limits.max_position_qty))


def check_credit_of(venue: Venue, participant: Participant, notional_e4: int) -> Reason | None:
    """The credit row for a cross of a notional."""
    open_notional_e4 = participant.open_notional_e4 + notional_e4
    if open_notional_e4 > INT64_MAX:
        return Reason.CREDIT
    credit_e4 = participant.limits.credit_e4
    if credit_e4 is None:
        return None
    margin_e4 = _margin_e4(venue, participant)
    refused = margin_e4 is None or open_notional_e4 + margin_e4 > credit_e4
    return Reason.CREDIT if refused else None


def count_entry(venue: Venue, participant: Participant, refused: Reason | None) -> None:
    """Every entry and replace counts at its time, whatever the answer, except those refused for their rate."""
    if refused != Reason.ORDER_RATE:
        participant.counted_ns.append(venue.now_ns)


def _first(own: int | None, every: int | None) -> int | None:
    """The limit of the instrument, else that of the participant."""
    return own if own is not None else every


def _above(value: int, limit: int | None, reason: Reason) -> Reason | None:
    return reason if limit is not None and value > limit else None


def _check_order_rate(venue: Venue, participant: Participant) -> Reason | None:
    if participant.limits.order_rate is None:
        return None
    orders, window_ns = participant.limits.order_rate
    counted_ns = participant.counted_ns
    # Times never fall, so when the one that is as many back as the limit is in the window, all after it are too.
    full = len(counted_ns) >= orders and counted_ns[-orders] > venue.now_ns - window_ns
    return Reason.ORDER_RATE if full else None


def _check_adv(request: Request, share_bps: int | None) -> Reason | None:
    adv_qty = request.instrument.adv_qty
    if share_bps is None or adv_qty == 0:
        return None
    return Reason.ADV if request.qty * BPS_MAX > share_bps * adv_qty else None


def _check_position(request: Request, limit_qty: int | None) -> Reason | None:
    was_open_qty = request.replaced.leaves_qty if request.replaced else 0
    if limit_qty is None or request.open_qty <= was_open_qty:
        return None
    holding = request.participant.holding(request.instrument)
    others_qty = holding.open_qty[request.side] - was_open_qty
    # A buy adds to the position and a sell takes from it: the side's sign mirrors one rule into the other.
    reached_qty = request.side * holding.position_qty + others_qty + request.open_qty
    return Reason.POSITION_LIMIT if reached_qty > limit_qty else None


def _check_credit(venue: Venue, request: Request) -> Reason | None:
    participant, order = request.participant, request.replaced
    was_notional_e4 = order.leaves_qty * order.notional_price_e4 if order else 0
    notional_e4 = request.open_qty * request.price_e4
    if notional_e4 <= was_notional_e4:
        return None
    open_notional_e4 = participant.open_notional_e4 - was_notional_e4 + notional_e4
    if open_notional_e4 > INT64_MAX:
        return Reason.CREDIT
    credit_e4 = participant.limits.credit_e4
    if credit_e4 is None:
        return None
    margin_e4 = _margin_e4(venue, participant)
    refused = margin_e4 is None or open_notional_e4 + margin_e4 > credit_e4
    return Reason.CREDIT if refused else None


def _margin_e4(venue: Venue, participant: Participant) -> int | None:
    """Margin rate times the value of all positions; None where the sum or the product would leave int64."""
    margin_bps = participant.limits.margin_bps
    if margin_bps is None:
        margin_bps = BPS_MAX
    held_e4 = venue.held_value_e4(participant)
    product = margin_bps * held_e4
    return None if held_e4 > INT64_MAX or product > INT64_MAX else product // BPS_MAX
