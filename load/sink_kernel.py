"""The kernel of the server without a market (``load.sink``): requests in, answers out.

Every order is accepted, an IOC order is canceled whole after that, a cancel cancels what was entered under its token,
and a replace replaces. It is compiled, and reads and writes the bytes by itself, since it must be faster than the load
generator that is measured against it.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined
from load.state import ALPHABET, HELD_BYTES, Rows
from wire import PacketType, octets
from wire.ouch import server_rows
from wire.ouch_codes import BboWeight, CancelReason, ClientMessage, OrderState, ServerMessage
from wire.ouch_layout import FROM_CLIENT, FROM_SERVER, TOKEN_CHARACTERS, offsets
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, packet

#: Orders of a connection that the sink still knows, as many as the load generator may have open; a power of two.
_RING: Final = 1 << 18
_REGION_BYTES: Final = HELD_BYTES + (1 << 18)
#: No request has answers longer than two messages, which are less than four times its own bytes.
_OUT_BYTES: Final = 4 * _REGION_BYTES
_ENTER: Final = int(ClientMessage.ENTER_ORDER)
_CANCEL: Final = int(ClientMessage.CANCEL_ORDER)
_REPLACE: Final = int(ClientMessage.REPLACE_ORDER)
_UNSEQUENCED: Final = int(PacketType.UNSEQUENCED)
_SPACE: Final = ord(" ")
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


#: Offsets of the fields in a message.
_OF_ENTER: Final = offsets(FROM_CLIENT[ClientMessage.ENTER_ORDER])
_OF_REPLACE: Final = offsets(FROM_CLIENT[ClientMessage.REPLACE_ORDER])
_OF_CANCEL: Final = offsets(FROM_CLIENT[ClientMessage.CANCEL_ORDER])
_OF_ACCEPTED: Final = offsets(FROM_SERVER[ServerMessage.ACCEPTED])
_OF_REPLACED: Final = offsets(FROM_SERVER[ServerMessage.REPLACED])
_OF_CANCELED: Final = offsets(FROM_SERVER[ServerMessage.CANCELED])
#: Of every request: Replace and Cancel begin with the token of the order that they are about.
_TOKEN_IN: Final = _OF_ENTER.order_token
#: Of every answer, in its packet.
_TOKEN_OUT: Final = HEAD_BYTES + _OF_ACCEPTED.order_token
#: The fields of an Enter Order that Accepted repeats, which stand together in both.
_ENTERED_BYTES: Final = _OF_ENTER.display + 1 - _OF_ENTER.buy_sell

_packet_bytes: Final = inlined(octets.packet_bytes)
_u32: Final = inlined(octets.u32)
_put_u32: Final = inlined(octets.put_u32)


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
def _ring_place(buffer, at, values):
    """Place of a token by its last digits: of base 64 in the load generator's, of 36 in the client library's."""
    number = np.int64(0)
    if buffer[at + 8] == _SPACE:
        for place in range(5, 8):
            number = (number << 6) | values[buffer[at + place]]
        return number & (_RING - 1)
    end = at + TOKEN_CHARACTERS
    while buffer[end - 1] == _SPACE:
        end -= 1
    for place in range(end - 4, end):
        number = 36 * number + values[buffer[place]]
    return number & (_RING - 1)


@inlined
def _cancel(out, to, buffer, token, shares, reason):
    end = _put(out, to, _CANCELED)
    _copy(out, to + _TOKEN_OUT, buffer, token, TOKEN_CHARACTERS)
    _put_u32(out, to + HEAD_BYTES + _OF_CANCELED.decrement_shares, shares)
    out[to + HEAD_BYTES + _OF_CANCELED.cancel_reason] = reason
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
        _copy(out, to + _TOKEN_OUT, buffer, token, TOKEN_CHARACTERS)
        _copy(out, to + HEAD_BYTES + _OF_ACCEPTED.buy_sell, buffer, at + _OF_ENTER.buy_sell, _ENTERED_BYTES)
        shares = _u32(buffer, at + _OF_ENTER.shares)
        if _u32(buffer, at + _OF_ENTER.time_in_force_s) == 0:
            end = _cancel(out, end, buffer, token, shares, _IOC)
            shares = np.int64(0)
        sink.shares[n, place] = shares
        return end
    shares = np.int64(sink.shares[n, place])
    sink.shares[n, place] = 0
    if shares == 0:
        end = _put(out, to, _CANCEL_REJECT)
        _copy(out, to + _TOKEN_OUT, buffer, token, TOKEN_CHARACTERS)
        return end
    if kind == _CANCEL:
        return _cancel(out, to, buffer, token, shares, _ON_REQUEST)
    end = _put(out, to, _REPLACED)
    message, new_token = to + HEAD_BYTES, at + _OF_REPLACE.replacement_order_token
    _copy(out, to + _TOKEN_OUT, buffer, new_token, TOKEN_CHARACTERS)
    _copy(out, message + _OF_REPLACED.previous_order_token, buffer, token, TOKEN_CHARACTERS)
    _copy(out, message + _OF_REPLACED.shares, buffer, at + _OF_REPLACE.shares, 4)
    _copy(out, message + _OF_REPLACED.price_e4, buffer, at + _OF_REPLACE.price_e4, 4)
    sink.shares[n, _ring_place(buffer, new_token, sink.values)] = _u32(buffer, at + _OF_REPLACE.shares)
    return end


@called
def answer_all(sink: Sink, n, arrived_bytes):
    """Answer the complete messages of connection n, from HELD_BYTES on, and keep the rest; gives the bytes of the
    answers.
    """
    at = HELD_BYTES - sink.held[n]
    end = min(HELD_BYTES + arrived_bytes, sink.arrived.shape[1])
    to = np.int64(0)
    arrived = sink.arrived[n]
    while True:
        size = _packet_bytes(arrived, at, end, PAYLOAD_BYTES_MAX)
        if size <= 0:
            break
        if arrived[at + 2] == _UNSEQUENCED and size >= HEAD_BYTES + _OF_CANCEL.end:
            to = _answer(sink, n, at + HEAD_BYTES, to)
        at += size
    held = min(end - at, HELD_BYTES)
    sink.held[n] = held
    for byte in range(held):
        # Less than one packet is held, so what is moved does not lie over itself the wrong way.
        arrived[HELD_BYTES - held + byte] = arrived[at + byte]
    return to
