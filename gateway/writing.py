"""Kernels that write messages, field by field, into ``Fold.out``; each gives the place behind what it wrote."""

from typing import Final

import numpy as np

from engine.jit import inlined, lshr
from gateway import memo as _memo
from gateway.fold import Fold
from wire import ouch, ouch_codes
from wire.soup import HEAD_BYTES as _HEAD_BYTES
from wire.soup import PacketType

_SYSTEM_HOURS: Final = _memo.SYSTEM_HOURS
_SEQUENCED: Final = int(PacketType.SEQUENCED)
_TIF_MARKET_HOURS: Final = int(ouch_codes.TimeInForce.MARKET_HOURS)
_TIF_SYSTEM_HOURS: Final = int(ouch_codes.TimeInForce.SYSTEM_HOURS)
_PRICE_MARKET: Final = ouch.PRICE_E4_MARKET
_NO_CROSS: Final = int(ouch_codes.CrossType.NO_CROSS)
_LIVE: Final = int(ouch_codes.OrderState.LIVE)
_TAIL_SPACES: Final = 0x202020202020_0000


@inlined
def put_u32(out, at, value):
    out[at] = (value >> 24) & 255
    out[at + 1] = (value >> 16) & 255
    out[at + 2] = (value >> 8) & 255
    out[at + 3] = value & 255
    return at + 4


@inlined
def put_u64(out, at, value):
    put_u32(out, at, value >> 32)
    return put_u32(out, at + 4, value)


@inlined
def put_token(out, at, head, tail):
    put_u64(out, at, head)
    put_u32(out, at + 8, tail >> 32)
    out[at + 12] = (tail >> 24) & 255
    out[at + 13] = (tail >> 16) & 255
    return at + 14


@inlined
def padded(word, characters):
    """A right-aligned name as so many characters, at the top of the word, padded with spaces on the right."""
    for _ in range(characters):
        if lshr(word, 8 * (characters - 1)) & 255 != 0:
            break
        word = (word << 8) | 32
    return word


@inlined
def head_of(client_order_id, head):
    return head if client_order_id < 0 else padded(client_order_id, 8)


@inlined
def tail_of(client_order_id, tail):
    return tail if client_order_id < 0 else np.int64(_TAIL_SPACES)


@inlined
def begin_message(out, at, payload_bytes, kind, time_ns):
    """Frame, kind and time; where the rest goes."""
    out[at] = (payload_bytes + 1) >> 8
    out[at + 1] = (payload_bytes + 1) & 255
    out[at + 2] = _SEQUENCED
    out[at + _HEAD_BYTES] = kind
    return put_u64(out, at + _HEAD_BYTES + 1, time_ns)


@inlined
def sent(fold: Fold, m, user, begin, end):
    """Notes message m for a user; m + 1."""
    message = fold.messages[m]
    message["user"] = user
    message["begin"] = begin
    message["bytes"] = end - begin
    fold.counts[user, 0] += 1
    fold.counts[user, 1] += end - begin
    return m + 1


@inlined
def end_of_messages(fold: Fold, m):
    """Where the next message goes."""
    return fold.messages[m - 1]["begin"] + fold.messages[m - 1]["bytes"] if m > 0 else np.int64(0)


@inlined
def put_placed(fold: Fold, at, user, event, memo, tif_s, min_qty):
    """What an Accepted and a Replaced say alike, from the side on to the cross type and the order state."""
    out = fold.out
    out[at] = (memo >> 16) & 255
    at = put_u32(out, at + 1, event["qty"])
    at = put_u64(out, at, fold.stocks[np.int64(event["instrument"])]["stock"])
    price_e4 = event["price_e4"]
    at = put_u32(out, at, price_e4 if price_e4 != 0 else np.int64(_PRICE_MARKET))
    at = put_u32(out, at, tif_s)
    at = put_u32(out, at, padded(fold.users[user]["firm"], 4))
    out[at] = (memo >> 24) & 255
    at = put_u64(out, at + 1, event["number"])
    out[at] = (memo >> 32) & 255
    out[at + 1] = (memo >> 40) & 255
    at = put_u32(out, at + 2, min_qty)
    out[at] = _NO_CROSS
    out[at + 1] = _LIVE
    return at + 2


@inlined
def hours(memo):
    """The time in force of an order that may rest, in OUCH's seconds."""
    return np.int64(_TIF_SYSTEM_HOURS) if (memo >> 56) & _SYSTEM_HOURS else np.int64(_TIF_MARKET_HOURS)
