"""The ``limits`` command (sections 8 and 12, section 13: 1, 12 and 20): what is set, replaced and taken away.

A row names the limits that it sets, and of those the ones that are ``off``. Six of its values do not fit into it and
stand in the continuation row before it; without one they are zero.
"""

from typing import Final, NamedTuple

from engine.bounds import BPS_MAX, INT64_MAX, QTY_MAX, RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX
from engine.capacity import IDS_MAX_MAX, ORDERS_MAX_MAX
from engine.records import Limit, Reason, limit_bits
from engine.reference.events import EventLog
from engine.reference.rows import Row
from engine.reference.state import Limits
from engine.reference.venue import Venue

MAX_ORDER_QTY: Final = int(Limit.MAX_ORDER_QTY)
MAX_ORDER_VALUE: Final = int(Limit.MAX_ORDER_VALUE)
ORDER_RATE: Final = int(Limit.ORDER_RATE)
MAX_POSITION: Final = int(Limit.MAX_POSITION)
CREDIT: Final = int(Limit.CREDIT)
MARGIN: Final = int(Limit.MARGIN)
ADV: Final = int(Limit.ADV)
RESTRICTED: Final = int(Limit.RESTRICTED)
MAX_OPEN_ORDERS: Final = int(Limit.MAX_OPEN_ORDERS)
MAX_IDS: Final = int(Limit.MAX_IDS)

#: These cannot be set for one instrument.
_OF_PARTICIPANT_ONLY: Final = ORDER_RATE | CREDIT | MARGIN | MAX_OPEN_ORDERS | MAX_IDS

_LIMITS: Final = int(~Limit(0))


class _Value(NamedTuple):
    """A value of the row or of the continuation row, the limit that it belongs to, and its bounds."""

    limit: int
    value: int
    least: int
    most: int


def limits_command(venue: Venue, row: Row, continuation: Row | None, events: EventLog) -> None:
    """``continuation`` is the continuation row before ``row``."""
    if not _acceptable(row, continuation):
        events.rejected(row.name, Reason.INVALID_COMMAND)
        return
    participant = venue.participant_by_name.get(row.name)
    if participant is None:
        events.rejected(row.name, Reason.UNKNOWN_PARTICIPANT)
        return
    if row.symbol == 0:
        _set(participant.limits, row, continuation)
        return
    instrument = venue.instrument_by_symbol.get(row.symbol)
    if instrument is None:
        events.rejected(row.symbol, Reason.UNKNOWN_INSTRUMENT)
        return
    _set(participant.limits_in.setdefault(instrument.number, Limits()), row, continuation)


def set_bits(limits: Limits) -> int:
    """Bits of ``Limit``: which are set."""
    return (
        (MAX_ORDER_QTY if limits.max_order_qty is not None else 0)
        | (MAX_ORDER_VALUE if limits.max_order_value_e4 is not None else 0)
        | (ORDER_RATE if limits.order_rate is not None else 0)
        | (MAX_POSITION if limits.max_position_qty is not None else 0)
        | (CREDIT if limits.credit_e4 is not None else 0)
        | (MARGIN if limits.margin_bps is not None else 0)
        | (ADV if limits.adv_share_bps is not None else 0)
        | (RESTRICTED if limits.restricted else 0)
        | (MAX_OPEN_ORDERS if limits.max_open_orders is not None else 0)
        | (MAX_IDS if limits.max_ids is not None else 0)
    )


def _acceptable(row: Row, continuation: Row | None) -> bool:
    """True if the row can be interpreted with its continuation row, and its values are in bounds."""
    named, off = limit_bits(row.limits, row.further_limits, row.further_off)
    if named & ~_LIMITS or off & ~named or (row.symbol and named & _OF_PARTICIPANT_ONLY):
        return False
    for each in _values(row, continuation):
        least, most = (each.least, each.most) if named & ~off & each.limit else (0, 0)
        if not least <= each.value <= most:
            return False
    return True


def _values(row: Row, continuation: Row | None) -> tuple[_Value, ...]:
    return (
        _Value(MAX_ORDER_QTY, row.max_order_qty, 1, QTY_MAX),
        _Value(MAX_ORDER_VALUE, row.max_order_value_e4, 1, INT64_MAX),
        _Value(MAX_POSITION, row.max_position_qty, 0, INT64_MAX),
        _Value(CREDIT, row.credit_e4, 0, INT64_MAX),
        _Value(ORDER_RATE, continuation.rate_orders if continuation else 0, 1, RATE_ORDERS_MAX),
        _Value(ORDER_RATE, continuation.rate_window_ns if continuation else 0, 1, RATE_WINDOW_NS_MAX),
        _Value(MARGIN, continuation.margin_bps if continuation else 0, 0, BPS_MAX),
        _Value(ADV, continuation.adv_share_bps if continuation else 0, 0, BPS_MAX),
        _Value(MAX_OPEN_ORDERS, continuation.max_open_orders if continuation else 0, 1, ORDERS_MAX_MAX),
        _Value(MAX_IDS, continuation.max_ids if continuation else 0, 1, IDS_MAX_MAX),
    )


def _set(limits: Limits, row: Row, continuation: Row | None) -> None:
    """Set the limits that the row names, and remove those that it names ``off``; others stay."""
    named, off = limit_bits(row.limits, row.further_limits, row.further_off)
    if named & MAX_ORDER_QTY:
        limits.max_order_qty = None if off & MAX_ORDER_QTY else row.max_order_qty
    if named & MAX_ORDER_VALUE:
        limits.max_order_value_e4 = None if off & MAX_ORDER_VALUE else row.max_order_value_e4
    if named & MAX_POSITION:
        limits.max_position_qty = None if off & MAX_POSITION else row.max_position_qty
    if named & CREDIT:
        limits.credit_e4 = None if off & CREDIT else row.credit_e4
    if named & RESTRICTED:
        limits.restricted = not off & RESTRICTED
    if named & ORDER_RATE:
        rate = (continuation.rate_orders, continuation.rate_window_ns) if continuation else None
        limits.order_rate = None if off & ORDER_RATE else rate
    if named & MARGIN:
        limits.margin_bps = None if off & MARGIN else continuation.margin_bps if continuation else 0
    if named & ADV:
        limits.adv_share_bps = None if off & ADV else continuation.adv_share_bps if continuation else 0
    if named & MAX_OPEN_ORDERS:
        limits.max_open_orders = None if off & MAX_OPEN_ORDERS or not continuation else continuation.max_open_orders
    if named & MAX_IDS:
        limits.max_ids = None if off & MAX_IDS or not continuation else continuation.max_ids
