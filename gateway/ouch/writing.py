"""Kernels that write messages, field by field, into ``StreamTables.out``, at the offsets of ``wire/ouch_layout.py``.

A number that does not fit its field is counted in ``StreamTables.marks``, and its message is not sent: no message has a
truncated number. Kernels raise nothing, so the bytes are written all the same.
"""

from typing import Final

import numpy as np

from engine.jit import inlined, lshr
from gateway.ouch import context as _context
from gateway.ouch.tables import StreamTables
from wire import octets, ouch, ouch_codes, ouch_layout
from wire.soup import HEAD_BYTES as _HEAD_BYTES
from wire.soup import PacketType

_SYSTEM_HOURS: Final = _context.SYSTEM_HOURS
_PRICE_MARKET: Final = ouch.PRICE_E4_MARKET
_PRICE_MAX: Final = ouch.PRICE_E4_MAX
_U32_MAX: Final = 2**32 - 1
_FIRM_CHARACTERS: Final = ouch.FIRM_CHARACTERS
#: Counters in ``StreamTables.marks``: numbers of the message under way that do not fit; instruments that became far;
#: messages that were left out; 1 since the venue has had an entry delay; when a trading day begins, ns after 00:00.
MISFITS: Final = 0
FAR: Final = 1
UNTOLD: Final = 2
DELAYS: Final = 3
DAY_START: Final = 4
_TAIL_SPACES: Final = 0x202020202020_0000


#: Offsets in every message, and in the fields that Accepted and Replaced have in common.
_STAMPED: Final = ouch_layout.offsets(ouch_layout.STAMPED)
_PLACED: Final = ouch_layout.offsets(ouch_layout.PLACED)

_put_u32: Final = inlined(octets.put_u32)


@inlined
def _put_8(out, at, word):
    """The 8 bytes of a word."""
    _put_u32(out, at, word >> 32)
    _put_u32(out, at + 4, word)


@inlined
def put_number(tables: StreamTables, at, value):
    """A number in 4 bytes, such as a quantity."""
    if value < 0 or value > _U32_MAX:
        tables.marks[MISFITS] += 1
    _put_u32(tables.out, at, value)


@inlined
def put_price(tables: StreamTables, at, price_e4):
    """A price, as far as OUCH's go; 0: the price that means market."""
    if price_e4 == 0:
        _put_u32(tables.out, at, np.int64(_PRICE_MARKET))
        return
    if price_e4 < 0 or price_e4 > _PRICE_MAX:
        tables.marks[MISFITS] += 1
    _put_u32(tables.out, at, price_e4)


@inlined
def put_u64(tables: StreamTables, at, value):
    """A number in 8 bytes, such as a match number."""
    if value < 0:
        tables.marks[MISFITS] += 1
    _put_8(tables.out, at, value)


@inlined
def put_token(out, at, head, tail):
    """The 14 characters of an order token: 8 in the head, 6 in the upper bytes of the tail."""
    _put_8(out, at, head)
    _put_u32(out, at + 8, tail >> 32)
    out[at + 12] = (tail >> 24) & 255
    out[at + 13] = (tail >> 16) & 255


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
def begin_message(tables: StreamTables, begin, message_bytes, kind, time_ns):
    """Write the frame, the kind and the time of a message; returns the begin of the message, after its frame."""
    out = tables.out
    out[begin] = (message_bytes + 1) >> 8
    out[begin + 1] = (message_bytes + 1) & 255
    out[begin + 2] = PacketType.SEQUENCED
    at = begin + _HEAD_BYTES
    out[at] = kind
    put_u64(tables, at + _STAMPED.time_ns, time_ns)
    return at


@inlined
def put_placed(tables: StreamTables, at, user, event, context, tif_s, min_qty):
    """Fields common to Accepted and Replaced, from the side to the order state; ``at``: of the side."""
    out = tables.out
    out[at + _PLACED.buy_sell] = (context >> 16) & 255
    put_number(tables, at + _PLACED.shares, event["qty"])
    _put_8(out, at + _PLACED.stock, tables.stocks[np.int64(event["instrument"])]["stock"])
    put_price(tables, at + _PLACED.price_e4, event["price_e4"])
    put_number(tables, at + _PLACED.time_in_force_s, tif_s)
    _put_u32(out, at + _PLACED.firm, padded(tables.users[user]["firm"], _FIRM_CHARACTERS))
    out[at + _PLACED.display] = (context >> 24) & 255
    put_u64(tables, at + _PLACED.order_reference_number, event["order_number"])
    out[at + _PLACED.capacity] = (context >> 32) & 255
    out[at + _PLACED.intermarket_sweep] = (context >> 40) & 255
    put_number(tables, at + _PLACED.minimum_quantity, min_qty)
    out[at + _PLACED.cross_type] = ouch_codes.CrossType.NO_CROSS
    out[at + _PLACED.order_state] = ouch_codes.OrderState.LIVE


@inlined
def hours(context):
    """The time in force of an order that may rest, in OUCH's seconds."""
    return (
        np.int64(ouch_codes.TimeInForce.SYSTEM_HOURS)
        if (context >> 56) & _SYSTEM_HOURS
        else np.int64(ouch_codes.TimeInForce.MARKET_HOURS)
    )
