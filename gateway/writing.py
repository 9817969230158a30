"""Kernels that write messages, field by field, into ``Fold.out``; each gives the place behind what it wrote.

A number that its field cannot carry is counted in ``Fold.marks``, and the shell sends nothing of that block: a message
never tells a cut number. Kernels raise nothing, so the bytes are written all the same.
"""

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
_PRICE_MAX: Final = ouch.PRICE_E4_MAX
_U32_MAX: Final = 2**32 - 1
#: What ``Fold.marks`` counts.
MISFITS: Final = 0
FAR: Final = 1
_NO_CROSS: Final = int(ouch_codes.CrossType.NO_CROSS)
_LIVE: Final = int(ouch_codes.OrderState.LIVE)
_TAIL_SPACES: Final = 0x202020202020_0000


@inlined
def _put_4(out, at, word):
    """The low 4 bytes of a word."""
    out[at] = (word >> 24) & 255
    out[at + 1] = (word >> 16) & 255
    out[at + 2] = (word >> 8) & 255
    out[at + 3] = word & 255
    return at + 4


@inlined
def _put_8(out, at, word):
    """The 8 bytes of a word."""
    _put_4(out, at, word >> 32)
    return _put_4(out, at + 4, word)


@inlined
def put_number(fold: Fold, at, value):
    """A number in 4 bytes, such as a quantity."""
    if value < 0 or value > _U32_MAX:
        fold.marks[MISFITS] += 1
    return _put_4(fold.out, at, value)


@inlined
def put_price(fold: Fold, at, price_e4):
    """A price, as far as OUCH's go; 0: the price that means market."""
    if price_e4 <= 0 or price_e4 > _PRICE_MAX:
        if price_e4 == 0:
            return _put_4(fold.out, at, np.int64(_PRICE_MARKET))
        fold.marks[MISFITS] += 1
    return _put_4(fold.out, at, price_e4)


@inlined
def put_u64(fold: Fold, at, value):
    """A number in 8 bytes, such as a match number."""
    if value < 0:
        fold.marks[MISFITS] += 1
    return _put_8(fold.out, at, value)


@inlined
def put_token(out, at, head, tail):
    _put_8(out, at, head)
    _put_4(out, at + 8, tail >> 32)
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
def begin_message(fold: Fold, at, payload_bytes, kind, time_ns):
    """Frame, kind and time; where the rest goes."""
    out = fold.out
    out[at] = (payload_bytes + 1) >> 8
    out[at + 1] = (payload_bytes + 1) & 255
    out[at + 2] = _SEQUENCED
    out[at + _HEAD_BYTES] = kind
    return put_u64(fold, at + _HEAD_BYTES + 1, time_ns)


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
    """Position of the next message."""
    return fold.messages[m - 1]["begin"] + fold.messages[m - 1]["bytes"] if m > 0 else np.int64(0)


@inlined
def put_placed(fold: Fold, at, user, event, memo, tif_s, min_qty):
    """Fields common to Accepted and Replaced: from the side to the cross type and the order state."""
    out = fold.out
    out[at] = (memo >> 16) & 255
    at = put_number(fold, at + 1, event["qty"])
    at = _put_8(out, at, fold.stocks[np.int64(event["instrument"])]["stock"])
    at = put_price(fold, at, event["price_e4"])
    at = put_number(fold, at, tif_s)
    at = _put_4(out, at, padded(fold.users[user]["firm"], 4))
    out[at] = (memo >> 24) & 255
    at = put_u64(fold, at + 1, event["number"])
    out[at] = (memo >> 32) & 255
    out[at + 1] = (memo >> 40) & 255
    at = put_number(fold, at + 2, min_qty)
    out[at] = _NO_CROSS
    out[at + 1] = _LIVE
    return at + 2


@inlined
def hours(memo):
    """The time in force of an order that may rest, in OUCH's seconds."""
    return np.int64(_TIF_SYSTEM_HOURS) if (memo >> 56) & _SYSTEM_HOURS else np.int64(_TIF_MARKET_HOURS)
