"""COMMAND rows of limits, halts and the machine's clock for tests, and answers with their indicative events.

They go with ``tests.rows``, and take names and further places as its functions do.
"""

from typing import Final, Literal

from engine.names import pack
from engine.records import CommandKind, EventKind, Limit, Side, VenueSetting, limit_places
from tests.rows import Rows, batch, events_of, row

#: In place of a value: the limit is named and ``off``.
OFF: Final = "off"
Off = Literal["off"]


def _number(text: str | int) -> int:
    return pack(text) if isinstance(text, str) else text


def limits(
    name: str | int,
    symbol: str | int = 0,
    *,
    max_order_qty: int | Off | None = None,
    max_order_value_e4: int | Off | None = None,
    order_rate: tuple[int, int] | Off | None = None,
    max_position_qty: int | Off | None = None,
    credit_e4: int | Off | None = None,
    margin_bps: int | Off | None = None,
    adv_share_bps: int | Off | None = None,
    restricted: bool | None = None,
    max_open_orders: int | Off | None = None,
    max_ids: int | Off | None = None,
    **places: int,
) -> Rows:
    """A LIMITS row that names what is given, after an EXTEND row where one of its values needs that."""
    orders, window_ns = order_rate if isinstance(order_rate, tuple) else (order_rate, order_rate)
    own = {
        "max_order_qty": (Limit.MAX_ORDER_QTY, max_order_qty),
        "max_order_value_e4": (Limit.MAX_ORDER_VALUE, max_order_value_e4),
        "max_position_qty": (Limit.MAX_POSITION, max_position_qty),
        "credit_e4": (Limit.CREDIT, credit_e4),
    }
    further = {
        "rate_orders": (Limit.ORDER_RATE, orders),
        "rate_window_ns": (Limit.ORDER_RATE, window_ns),
        "margin_bps": (Limit.MARGIN, margin_bps),
        "adv_share_bps": (Limit.ADV, adv_share_bps),
        "max_open_orders": (Limit.MAX_OPEN_ORDERS, max_open_orders),
        "max_ids": (Limit.MAX_IDS, max_ids),
    }
    bits = off = 0
    for limit, value in (*own.values(), *further.values()):
        if value is not None:
            bits |= int(limit)
            off |= int(limit) if value == OFF else 0
    if restricted is not None:
        bits |= int(Limit.RESTRICTED)
        off |= 0 if restricted else int(Limit.RESTRICTED)
    values = {place: value for place, (_, value) in own.items() if isinstance(value, int)}
    extended = {place: value for place, (_, value) in further.items() if isinstance(value, int)}
    named = {"name": _number(name), "symbol": _number(symbol), **limit_places(bits, off)}
    limits_row = row(CommandKind.LIMITS, **{**named, **values, **places})
    return batch(row(CommandKind.EXTEND, **extended), limits_row) if extended else limits_row


def resume(symbol: str | int, **places: int) -> Rows:
    return row(CommandKind.RESUME, name=_number(symbol), **places)


def clock_jump(to_ns: int, by_ns: int, **places: int) -> Rows:
    return row(CommandKind.CLOCK_JUMP, time_ns=to_ns, jump_ns=by_ns, **places)


def venue(*, speed_bump_ns: int | None = None, day_start_ns: int | None = None) -> Rows:
    """VENUE row with the values that are given."""
    settings = VenueSetting.SPEED_BUMP * (speed_bump_ns is not None) | VenueSetting.DAY_START * (
        day_start_ns is not None
    )
    return row(CommandKind.VENUE, settings=settings, speed_bump_ns=speed_bump_ns or 0, day_start_ns=day_start_ns or 0)


def epoch(number: int, node: str | int = "A", **places: int) -> Rows:
    return row(CommandKind.EPOCH, epoch=number, name=_number(node), **places)


def emergency_close(**places: int) -> Rows:
    return row(CommandKind.EMERGENCY_CLOSE, **places)


def told(events: Rows) -> list[str]:
    """The events as lines; an indicative event is ``indicative INSTRUMENT QTY @ PRICE IMBALANCE SIDE``."""
    lines = events_of(events)
    for at, event in enumerate(events):
        if event["kind"] == EventKind.INDICATIVE:
            side = Side(event["side"]).name.lower() if event["side"] else "none"
            instrument, qty, imbalance_qty = event["instrument"], event["qty"], event["imbalance_qty"]
            lines[at] = f"indicative {instrument} {qty} @ {event['price_e4']} {imbalance_qty} {side}"
    return lines
