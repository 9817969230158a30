"""The kernel of the server without a market (``load.sink``): requests in, answers out.

Every order is accepted, an IOC order is canceled whole after that, a cancel cancels what was entered under its token,
and a replace replaces. Numba notices an edit of a cached kernel only in its own file, so these call nothing but each
other.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined
from load.state import ALPHABET, HELD_BYTES, Rows
from wire import PacketType, ouch
from wire.ouch import server_rows
from wire.ouch_codes import BboWeight, CancelReason, ClientMessage, OrderState, ServerMessage
from wire.soup import HEAD_BYTES, packet

#: Orders of a connection that the sink still knows, as many as the load generator may have open; a power of two.
_RING: Final = 1 << 18
_REGION_BYTES: Final = HELD_BYTES + (1 << 18)
#: No request has answers longer than two messages, which are less than four times its own bytes.
_OUT_BYTES: Final = 4 * _REGION_BYTES
_ENTER: Final = int(ClientMessage.ENTER_ORDER)
_CANCEL: Final = int(ClientMessage.CANCEL_ORDER)
_REPLACE: Final = int(ClientMessage.REPLACE_ORDER)
_UNSEQUENCED: Final = int(PacketType.UNSEQUENCED)
_ON_REQUEST: Final = int(CancelReason.USER)
_IOC: Final = int(CancelReason.IMMEDIATE_OR_CANCEL)


def _template(kind: ServerMessage) -> Any:
    row = server_rows(kind)
    if kind in (ServerMessage.ACCEPTED, ServerMessage.REPLACED):
        row["order_state"] = OrderState.LIVE
        row["bbo_weight"] = BboWeight.UNSPECIFIED
    return np.frombuffer(packet(PacketType.SEQUENCED, row.tobytes()), np.uint8).copy()


_ACCEPTED: Final = _template(ServerMessage.ACCEPTED)
_REPLACED: Final = _template(ServerMessage.REPLACED)
_CANCELED: Final = _template(ServerMessage.CANCELED)
_CANCEL_REJECT: Final = _template(ServerMessage.CANCEL_REJECT)


def _place(dtype: "np.dtype[Any]", name: str, head: int = 0) -> int:
    return head + int((dtype.fields or {})[name][1])


_TOKEN_IN: Final = _place(ouch.ENTER_ORDER, "order_token")
_TOKEN_OUT: Final = _place(ouch.ACCEPTED, "order_token", HEAD_BYTES)
_ENTERED: Final = _place(ouch.ENTER_ORDER, "buy_sell")
_ENTERED_BYTES: Final = _place(ouch.ENTER_ORDER, "display") + 1 - _ENTERED
_ACCEPTED_ENTERED: Final = _place(ouch.ACCEPTED, "buy_sell", HEAD_BYTES)
_E_SHARES: Final = _place(ouch.ENTER_ORDER, "shares")
_E_TIF: Final = _place(ouch.ENTER_ORDER, "time_in_force_s")
_R_NEW: Final = _place(ouch.REPLACE_ORDER, "replacement_order_token")
_R_SHARES: Final = _place(ouch.REPLACE_ORDER, "shares")
_R_PRICE: Final = _place(ouch.REPLACE_ORDER, "price_e4")
_U_OLD: Final = _place(ouch.REPLACED, "previous_order_token", HEAD_BYTES)
_U_SHARES: Final = _place(ouch.REPLACED, "shares", HEAD_BYTES)
_U_PRICE: Final = _place(ouch.REPLACED, "price_e4", HEAD_BYTES)
_C_SHARES: Final = _place(ouch.CANCELED, "decrement_shares", HEAD_BYTES)
_C_REASON: Final = _place(ouch.CANCELED, "cancel_reason", HEAD_BYTES)


class Sink(NamedTuple):
    """Arrays of a row a connection: what arrived, the bytes of it that are held, answers, and shares by token."""

    arrived: Rows  # uint8
    held: Rows  # int64
    out: Rows  # uint8
    shares: Rows  # int32
    values: Rows  # int64: the digit of a character


def new_sink(connections: int) -> Sink:
    """Arrays for so many connections."""
    values = np.zeros(256, np.int64)
    values[list(ALPHABET)] = np.arange(64)
    return Sink(
        np.zeros((connections, _REGION_BYTES), np.uint8),
        np.zeros(connections, np.int64),
        np.zeros((connections, _OUT_BYTES), np.uint8),
        np.zeros((connections, _RING), np.int32),
        values,
    )


@inlined
def _put(out, at, template):
    for byte in range(len(template)):
        out[at + byte] = template[byte]
    return at + len(template)


@inlined
def _copy(out, to, buffer, start, count):
    for byte in range(count):
        out[to + byte] = buffer[start + byte]


@inlined
def _u32(buffer, at):
    return (
        (np.int64(buffer[at]) << 24)
        | (np.int64(buffer[at + 1]) << 16)
        | (np.int64(buffer[at + 2]) << 8)
        | np.int64(buffer[at + 3])
    )


@inlined
def _put_u32(out, at, number):
    out[at] = number >> 24
    out[at + 1] = (number >> 16) & 255
    out[at + 2] = (number >> 8) & 255
    out[at + 3] = number & 255


@inlined
def _ring_place(buffer, at, values):
    number = np.int64(0)
    for place in range(5, 8):
        number = (number << 6) | values[buffer[at + place]]
    return number & (_RING - 1)


@inlined
def _cancel(out, to, buffer, token, shares, reason):
    end = _put(out, to, _CANCELED)
    _copy(out, to + _TOKEN_OUT, buffer, token, 14)
    _put_u32(out, to + _C_SHARES, shares)
    out[to + _C_REASON] = reason
    return end


@inlined
def _answer(sink: Sink, n, at, to):
    """Answers of the message at ``at`` of a connection, from ``to`` on; where they end."""
    buffer, out = sink.arrived[n], sink.out[n]
    kind = buffer[at]
    token = at + _TOKEN_IN
    place = _ring_place(buffer, token, sink.values)
    if kind == _ENTER:
        end = _put(out, to, _ACCEPTED)
        _copy(out, to + _TOKEN_OUT, buffer, token, 14)
        _copy(out, to + _ACCEPTED_ENTERED, buffer, at + _ENTERED, _ENTERED_BYTES)
        shares = _u32(buffer, at + _E_SHARES)
        if _u32(buffer, at + _E_TIF) == 0:
            end = _cancel(out, end, buffer, token, shares, _IOC)
            shares = np.int64(0)
        sink.shares[n, place] = shares
        return end
    shares = np.int64(sink.shares[n, place])
    sink.shares[n, place] = 0
    if shares == 0:
        end = _put(out, to, _CANCEL_REJECT)
        _copy(out, to + _TOKEN_OUT, buffer, token, 14)
        return end
    if kind == _CANCEL:
        return _cancel(out, to, buffer, token, shares, _ON_REQUEST)
    end = _put(out, to, _REPLACED)
    _copy(out, to + _TOKEN_OUT, buffer, at + _R_NEW, 14)
    _copy(out, to + _U_OLD, buffer, token, 14)
    _copy(out, to + _U_SHARES, buffer, at + _R_SHARES, 4)
    _copy(out, to + _U_PRICE, buffer, at + _R_PRICE, 4)
    sink.shares[n, _ring_place(buffer, at + _R_NEW, sink.values)] = _u32(buffer, at + _R_SHARES)
    return end


@called
def answer_all(sink: Sink, n, arrived_bytes):
    """Answers the whole messages that arrived on connection n, from HELD_BYTES on, and keeps the rest; the bytes."""
    at = HELD_BYTES - sink.held[n]
    end = min(HELD_BYTES + arrived_bytes, sink.arrived.shape[1])
    to = np.int64(0)
    while end - at >= 3:
        length = (np.int64(sink.arrived[n, at]) << 8) | np.int64(sink.arrived[n, at + 1])
        if end - at < 2 + length or length > HELD_BYTES // 2:
            break
        if sink.arrived[n, at + 2] == _UNSEQUENCED and length > 19:
            to = _answer(sink, n, at + HEAD_BYTES, to)
        at += 2 + length
    held = min(end - at, HELD_BYTES)
    sink.held[n] = held
    for byte in range(held):
        # Less than one packet is held, so what is moved does not lie over itself the wrong way.
        sink.arrived[n, HELD_BYTES - held + byte] = sink.arrived[n, at + byte]
    return to
