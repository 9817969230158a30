"""The checks that limits set (section 8, section 13: 20 to 23), each as its row of the table says.

A limit is passed when it is met exactly. Python's integers do not wrap, so a sum that would leave int64 is simply above
every limit; where one is refused without a limit, the bound is written down.
"""

from dataclasses import replace
from typing import NamedTuple

from engine.bounds import BPS_MAX, INT64_MAX
from engine.records import Reason
from engine.reference.state import Instrument, Limits, Order, Participant
from engine.reference.venue import Venue


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
    own = participant.limits_in.get(instrument.number)
    restricted = participant.limits.restricted or (own is not None and own.restricted)
    return Reason.RESTRICTED if restricted else None


def check_limits(venue: Venue, request: Request) -> Reason | None:
    """The rows of section 8 from ``max_order_qty`` to ``credit``, in their order."""
    limits = in_force(request.participant, request.instrument)
    if limits.max_order_qty is not None and request.qty > limits.max_order_qty:
        return Reason.MAX_ORDER_QTY
    if limits.max_order_value_e4 is not None and request.qty * request.price_e4 > limits.max_order_value_e4:
        return Reason.MAX_ORDER_VALUE
    if limits.order_rate is not None and _is_too_fast(venue, request.participant, *limits.order_rate):
        return Reason.ORDER_RATE
    if limits.adv_share_bps is not None and _is_above_share(request, limits.adv_share_bps):
        return Reason.ADV
    if limits.max_position_qty is not None and _is_beyond_position(request, limits.max_position_qty):
        return Reason.POSITION_LIMIT
    return _check_credit(venue, request)


def in_force(participant: Participant, instrument: Instrument) -> Limits:
    """The limits of a participant in an instrument: each that is set for it, else that in all."""
    own, every = participant.limits_in.get(instrument.number), participant.limits
    if own is None:
        return every
    return replace(
        every,
        max_order_qty=_first(own.max_order_qty, every.max_order_qty),
        max_order_value_e4=_first(own.max_order_value_e4, every.max_order_value_e4),
        max_position_qty=_first(own.max_position_qty, every.max_position_qty),
        adv_share_bps=_first(own.adv_share_bps, every.adv_share_bps),
        restricted=own.restricted or every.restricted,
    )


def check_position_of(participant: Participant, instrument: Instrument, side: int, qty: int) -> Reason | None:
    """The position row for a cross, which trades all of it at once."""
    limit_qty = in_force(participant, instrument).max_position_qty
    request = Request(participant, instrument, side, qty, 0, qty, None)
    beyond = limit_qty is not None and _is_beyond_position(request, limit_qty)
    return Reason.POSITION_LIMIT if beyond else None


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
    if refused is None or refused != Reason.ORDER_RATE:
        participant.counted_ns.append(venue.now_ns)


def _first(own: int | None, every: int | None) -> int | None:
    """The limit of the instrument, else that of the participant."""
    return own if own is not None else every


def _is_too_fast(venue: Venue, participant: Participant, orders: int, window_ns: int) -> bool:
    counted_ns = participant.counted_ns
    # Times never fall, so when the one that is as many back as the limit is in the window, all after it are too.
    return len(counted_ns) >= orders and counted_ns[-orders] > venue.now_ns - window_ns


def _is_above_share(request: Request, share_bps: int) -> bool:
    """True if the quantity is more than a share of the average daily volume, where that is known."""
    adv_qty = request.instrument.adv_qty
    return adv_qty != 0 and request.qty * BPS_MAX > share_bps * adv_qty


def _is_beyond_position(request: Request, limit_qty: int) -> bool:
    was_open_qty = request.replaced.leaves_qty if request.replaced else 0
    if request.open_qty <= was_open_qty:
        return False
    holding = request.participant.holding(request.instrument)
    others_qty = holding.open_qty[request.side] - was_open_qty
    # A buy adds to the position and a sell takes from it: the side's sign mirrors one rule into the other.
    reached_qty = request.side * holding.position_qty + others_qty + request.open_qty
    return reached_qty > limit_qty


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
