"""OUCH 4.2 as it is specified, for the judges: fields and sizes, written down from the published tables apart from
``wire/ouch.py``; what Wireshark calls them; and messages of them for Nasdaq's Python library, which brings none."""

import types
from functools import cache, partial
from typing import Any

import pytest

from wire.ouch_codes import ClientMessage, ServerMessage

ORDER = "buy_sell shares:4 stock:a8 price_e4:4 time_in_force_s:4 firm:a4 display"
PLACED = f"{ORDER} order_reference_number:8 capacity intermarket_sweep minimum_quantity:4 cross_type order_state"
TRADED = "time_ns:8 order_token:a14 executed_shares:4 execution_price_e4:4 liquidity match_number:8"

#: Name, and size after a colon: one byte if none, ``a`` before it for text. The first byte of each is its kind.
SPECIFIED = {
    ClientMessage.ENTER_ORDER: f"order_token:a14 {ORDER} capacity intermarket_sweep minimum_quantity:4 cross_type "
    "customer_type",
    ClientMessage.REPLACE_ORDER: "existing_order_token:a14 replacement_order_token:a14 shares:4 price_e4:4 "
    "time_in_force_s:4 display intermarket_sweep minimum_quantity:4",
    ClientMessage.CANCEL_ORDER: "order_token:a14 shares:4",
    ClientMessage.MODIFY_ORDER: "order_token:a14 buy_sell shares:4",
}
SPECIFIED_OF_SERVER = {
    ServerMessage.SYSTEM_EVENT: "time_ns:8 event_code",
    ServerMessage.ACCEPTED: f"time_ns:8 order_token:a14 {PLACED} bbo_weight",
    ServerMessage.REPLACED: f"time_ns:8 replacement_order_token:a14 {PLACED} previous_order_token:a14 bbo_weight",
    ServerMessage.CANCELED: "time_ns:8 order_token:a14 decrement_shares:4 cancel_reason",
    ServerMessage.AIQ_CANCELED: "time_ns:8 order_token:a14 decrement_shares:4 cancel_reason prevented_shares:4 "
    "execution_price_e4:4 liquidity",
    ServerMessage.EXECUTED: TRADED,
    ServerMessage.BROKEN_TRADE: "time_ns:8 order_token:a14 match_number:8 broken_trade_reason",
    ServerMessage.EXECUTED_WITH_REFERENCE_PRICE: f"{TRADED} reference_price_e4:4 reference_price_type",
    ServerMessage.TRADE_CORRECTION: f"{TRADED} trade_correction_reason",
    ServerMessage.REJECTED: "time_ns:8 order_token:a14 reject_reason",
    ServerMessage.CANCEL_PENDING: "time_ns:8 order_token:a14",
    ServerMessage.CANCEL_REJECT: "time_ns:8 order_token:a14",
    ServerMessage.ORDER_PRIORITY_UPDATE: "time_ns:8 order_token:a14 price_e4:4 display order_reference_number:8",
    ServerMessage.ORDER_MODIFIED: "time_ns:8 order_token:a14 buy_sell shares:4",
}
EVERY: list[ClientMessage | ServerMessage] = [*SPECIFIED, *SPECIFIED_OF_SERVER]

#: Wireshark's names of fields, where they are not ours.
WIRESHARK = {
    "kind": "packet_type",
    "time_ns": "timestamp",
    "buy_sell": "buy_sell_indicator",
    "price_e4": "price",
    "execution_price_e4": "execution_price",
    "reference_price_e4": "reference_price",
    "time_in_force_s": "tif",
    "intermarket_sweep": "iso_eligible",
    "minimum_quantity": "min_quantity",
    "bbo_weight": "bbo_weight_indicator",
    "prevented_shares": "quantity_prevented_from_trading",
    "liquidity": "liquidity_flag",
}


def specified(kind: ClientMessage | ServerMessage) -> list[tuple[str, int, bool]]:
    """(name, bytes, whether it is text) of each field after the kind."""
    words = SPECIFIED[kind] if isinstance(kind, ClientMessage) else SPECIFIED_OF_SERVER[kind]
    parts = [word.partition(":")[::2] for word in words.split()]
    return [(name, int(size.lstrip("a") or 1), size.startswith("a")) for name, size in parts]


def library_record(kind: ClientMessage | ServerMessage) -> Any:
    """A record class of the library with the specified fields, without the kind."""
    pytest.importorskip("nasdaq_protocols.ouch", reason="nasdaq-protocols is not installed")
    from nasdaq_protocols.common import message

    types = {1: message.CharAscii, 4: message.UnsignedIntBE, 8: message.UnsignedLongBE}
    return type(
        "BodyRecord",
        (message.Record,),
        {
            "Fields": [
                message.Field(name, message.FixedAsciiString(size) if is_text else types[size])
                for name, size, is_text in specified(kind)
            ]
        },
    )


@cache
def library_messages() -> dict[str, Any]:
    """A message class of the library for each name of a kind. It calls what an exchange sends outgoing."""
    from nasdaq_protocols import ouch as judge

    base = types.new_class("Message", (judge.Message,), {"app_name": "ouch-4.2"})
    made = {}
    for kind in EVERY:
        direction = "incoming" if isinstance(kind, ClientMessage) else "outgoing"
        words = {"app_name": "ouch-4.2", "indicator": int(kind), "direction": direction}
        body = partial(dict.update, BodyRecord=library_record(kind))
        made[kind.name] = types.new_class(f"{direction}_{kind.name}", (base,), words, body)
    return made
