"""The checks that limits set (section 8, section 13: 20 to 23), each as its row of the table says.

A value equal to its limit passes. Python's integers do not wrap, so a sum that would leave int64 is simply above
every limit; where one is refused without a limit, the bound is written down.
"""

from dataclasses import replace
from typing import Final

from engine.bounds import BPS_MAX, INT64_MAX
from engine.records import Reason
from engine.reference.codes import BUY
from engine.reference.state import Holding, Instrument, Limits, Order, Participant
from engine.reference.venue import Venue

_ORDER_RATE: Final = Reason.ORDER_RATE


def check_restricted(participant: Participant, instrument: Instrument) -> Reason | None:
    """A restriction in either restricts, that of the participant in all or that in the instrument."""
    own = participant.limits_in.get(instrument.number)
    restricted = participant.limits.restricted or (own is not None and own.restricted)
    return Reason.RESTRICTED if restricted else None


def check_limits(
    venue: Venue,
    limits: Limits,
    holding: Holding,
    side: int,
    qty: int,
    price_e4: int,
    order: Order | None = None,
) -> Reason | None:
    """The rows of section 8 from ``max_order_qty`` to ``credit``, in their order.

    ``limits``: those in force. ``holding``: the participant's in the instrument. ``qty``: total. ``price_e4``: the
    limit price, else the stop, else the reference price on entry, with which value and notional are counted.
    ``order``: the one that a replace changes, as it stands: its open quantity and notional go.
    """
    if limits.max_order_qty is not None and qty > limits.max_order_qty:
        return Reason.MAX_ORDER_QTY
    if limits.max_order_value_e4 is not None and qty * price_e4 > limits.max_order_value_e4:
        return Reason.MAX_ORDER_VALUE
    if limits.order_rate is not None and _is_too_fast(venue, holding.participant, *limits.order_rate):
        return Reason.ORDER_RATE
    if limits.adv_share_bps is not None and _is_above_share(holding.instrument, qty, limits.adv_share_bps):
        return Reason.ADV
    more_qty, notional_e4, was_e4 = qty, qty * price_e4, 0
    if order is not None:
        more_qty = qty - order.cum_qty - order.leaves_qty
        notional_e4 = (qty - order.cum_qty) * price_e4
        was_e4 = order.leaves_qty * order.notional_price_e4
    limit_qty = limits.max_position_qty
    if limit_qty is not None and more_qty > 0 and _is_beyond_position(holding, side, more_qty, limit_qty):
        return Reason.POSITION_LIMIT
    return check_credit(venue, holding.participant, notional_e4, was_e4)


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
    beyond = limit_qty is not None and _is_beyond_position(participant.holding(instrument), side, qty, limit_qty)
    return Reason.POSITION_LIMIT if beyond else None


def check_credit(venue: Venue, participant: Participant, notional_e4: int, was_notional_e4: int = 0) -> Reason | None:
    """The credit row for a notional that is open in place of another."""
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


def count_entry(venue: Venue, participant: Participant, refused: Reason | None) -> None:
    """Every entry and replace counts at its time, whatever the answer, except those refused for their rate."""
    if refused is not _ORDER_RATE:
        participant.counted_ns.append(venue.now_ns)


def _first(own: int | None, every: int | None) -> int | None:
    """The limit of the instrument, else that of the participant."""
    return own if own is not None else every


def _is_too_fast(venue: Venue, participant: Participant, orders: int, window_ns: int) -> bool:
    counted_ns = participant.counted_ns
    # Times never fall, so when the one that is as many back as the limit is in the window, all after it are too.
    return len(counted_ns) >= orders and counted_ns[-orders] > venue.now_ns - window_ns


def _is_above_share(instrument: Instrument, qty: int, share_bps: int) -> bool:
    """True if a quantity is more than a share of the average daily volume, where that is known."""
    return instrument.adv_qty != 0 and qty * BPS_MAX > share_bps * instrument.adv_qty


def _is_beyond_position(holding: Holding, side: int, more_qty: int, limit_qty: int) -> bool:
    """True if the position could pass the limit, once all is traded that is open on a side and ``more_qty``."""
    # A buy adds to the position and a sell takes from it: the side's sign mirrors one rule into the other.
    open_qty = holding.open_buy_qty if side == BUY else holding.open_sell_qty
    return side * holding.position_qty + open_qty + more_qty > limit_qty


def _margin_e4(venue: Venue, participant: Participant) -> int | None:
    """Margin rate times the value of all positions; None where the sum or the product would leave int64."""
    margin_bps = participant.limits.margin_bps
    if margin_bps is None:
        margin_bps = BPS_MAX
    held_e4 = venue.held_value_e4(participant)
    product = margin_bps * held_e4
    return None if held_e4 > INT64_MAX or product > INT64_MAX else product // BPS_MAX
