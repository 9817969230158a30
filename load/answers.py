"""Kernel that judges the exchange's messages: each one against its request or order.

A stream tells of requests in the order they were sent, and of each exactly once: an Enter is Accepted or Rejected, a
Replace is Replaced, Rejected, or the order's cancel, a Cancel is Canceled or Cancel Rejected. Between them come
executions and other events of open orders. A message that does not fit is counted as a fault of its kind
(``load.state.FAULTS``). Missing answers are counted at the end.

It is compiled, since it judges millions of messages a second, and it reads them by itself: what judges a node must not
share its reading with the client library, which is judged too. The offsets are those of ``wire/ouch_layout.py``.
"""

from typing import Any, Final

import numpy as np

from engine.jit import called, inlined
from load.state import HELD_BYTES, TICK_E4, Change, Load, State
from wire import octets
from wire.ouch_codes import CancelReason, OrderState, ServerMessage
from wire.ouch_layout import FROM_SERVER, offsets
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PacketType

_SENT: Final = int(State.SENT)
_LIVE: Final = int(State.LIVE)
_DEAD: Final = int(State.DEAD)
_NONE: Final = int(Change.NONE)
_CANCEL: Final = int(Change.CANCEL)
_REPLACE: Final = int(Change.REPLACE)

_SEQUENCED: Final = int(PacketType.SEQUENCED)
_HEARTBEAT: Final = int(PacketType.SERVER_HEARTBEAT)
_DEBUG: Final = int(PacketType.DEBUG)
_END: Final = int(PacketType.END_OF_SESSION)

_ACCEPTED: Final = int(ServerMessage.ACCEPTED)
_REPLACED: Final = int(ServerMessage.REPLACED)
_CANCELED: Final = int(ServerMessage.CANCELED)
_AIQ: Final = int(ServerMessage.AIQ_CANCELED)
_EXECUTED: Final = int(ServerMessage.EXECUTED)
_REJECTED: Final = int(ServerMessage.REJECTED)
_CANCEL_REJECT: Final = int(ServerMessage.CANCEL_REJECT)
_SYSTEM_EVENT: Final = int(ServerMessage.SYSTEM_EVENT)
_ON_REQUEST: Final = int(CancelReason.USER)
_IS_DEAD: Final = int(OrderState.DEAD)

#: Offsets of the fields in a message.
_OF_ACCEPTED: Final = offsets(FROM_SERVER[ServerMessage.ACCEPTED])
_OF_REPLACED: Final = offsets(FROM_SERVER[ServerMessage.REPLACED])
_OF_CANCELED: Final = offsets(FROM_SERVER[ServerMessage.CANCELED])
_OF_EXECUTED: Final = offsets(FROM_SERVER[ServerMessage.EXECUTED])
#: Of every message but System Event.
_TOKEN: Final = _OF_ACCEPTED.order_token


def _lengths() -> Any:
    lengths = np.zeros(256, np.int64)
    for kind, layout in FROM_SERVER.items():
        lengths[kind] = offsets(layout).end
    return lengths


#: Bytes of each message of an exchange; 0: there is none of that kind.
_LENGTHS: Final = _lengths()

_packet_bytes: Final = inlined(octets.packet_bytes)
_u32: Final = inlined(octets.u32)


@inlined
def _number(buffer, at, values, base):
    """Order number of the token at ``at``; below 1 for one that is none of this connection's."""
    number = np.int64(0)
    for place in range(8):
        digit = values[buffer[at + place]]
        if digit < 0:
            return np.int64(0)
        number = (number << 6) | digit
    for place in range(8, 14):
        if buffer[at + place] != 32:
            return np.int64(0)
    return number - base


@inlined
def _answer(load: Load, n, connection, request, now_ns):
    """A request got its answer. Requests are answered in order; an older one that comes later is out of it."""
    connection["answered"] += 1
    if request > connection["newest_answered"]:
        connection["newest_answered"] = request
    else:
        connection["reordered"] += 1
    place = connection["latencies"]
    if connection["latencies_max"] > 0 and place < connection["latencies_max"]:
        times = load.intended_ns[n]
        load.latency_ns[connection["latencies_at"] + place] = now_ns - times[request & (len(times) - 1)]
        connection["latencies"] = place + 1


@inlined
def _take_off(connection, order, qty):
    """Shares of an order are gone; whether it had them."""
    left = np.int64(order["leaves_qty"]) - qty
    if order["state"] == _SENT:
        connection["reordered"] += 1
        return False
    if left < 0 or order["state"] != _LIVE:
        connection["doubled"] += 1
        return False
    order["leaves_qty"] = left
    if left == 0:
        order["state"] = _DEAD
    return True


@inlined
def _on_accepted(load: Load, n, connection, order, buffer, at, now_ns):
    connection["accepted"] += 1
    if order["state"] != _SENT or order["replaces"] != 0:
        connection["doubled"] += 1
        return
    if (
        _u32(buffer, at + _OF_ACCEPTED.shares) != order["leaves_qty"]
        or _u32(buffer, at + _OF_ACCEPTED.price_e4) != np.int64(order["price_ticks"]) * TICK_E4
    ):
        connection["wrong"] += 1
    order["state"] = _DEAD if buffer[at + _OF_ACCEPTED.order_state] == _IS_DEAD else _LIVE
    _answer(load, n, connection, order["enter_request"], now_ns)


@inlined
def _on_rejected(load: Load, n, connection, order, orders, now_ns):
    connection["rejected"] += 1
    if order["state"] != _SENT:
        connection["doubled"] += 1
        return
    order["state"] = _DEAD
    if order["replaces"] != 0:
        # The order that was to be replaced stands as it was.
        orders[order["replaces"] & (len(orders) - 1)]["change"] = _NONE
    _answer(load, n, connection, order["enter_request"], now_ns)


@inlined
def _on_replaced(load: Load, n, connection, order, orders, buffer, at, now_ns):
    connection["replaced"] += 1
    if order["state"] != _SENT or order["replaces"] == 0:
        connection["doubled"] += 1
        return
    old = orders[order["replaces"] & (len(orders) - 1)]
    told = _number(buffer, at + _OF_REPLACED.previous_order_token, load.values, connection["token_base"])
    if (
        told != order["replaces"]
        or old["state"] != _LIVE
        or _u32(buffer, at + _OF_REPLACED.price_e4) != np.int64(order["price_ticks"]) * TICK_E4
    ):
        connection["wrong"] += 1
    old["state"] = _DEAD
    old["change"] = _NONE
    order["leaves_qty"] = _u32(buffer, at + _OF_REPLACED.shares)
    order["state"] = _DEAD if buffer[at + _OF_REPLACED.order_state] == _IS_DEAD else _LIVE
    _answer(load, n, connection, order["enter_request"], now_ns)


@inlined
def _changed(load: Load, n, connection, order, orders, now_ns):
    """The end of an order answers its open request; a requested replacement will not happen."""
    if order["change"] == _REPLACE:
        for number in range(order["number"] + 1, connection["orders"] + 1):
            new = orders[number & (len(orders) - 1)]
            if new["enter_request"] >= order["change_request"]:
                new["state"] = _DEAD
                break
    order["change"] = _NONE
    _answer(load, n, connection, order["change_request"], now_ns)


@inlined
def _on_canceled(load: Load, n, connection, order, orders, buffer, at, now_ns):
    connection["canceled"] += 1
    if not _take_off(connection, order, _u32(buffer, at + _OF_CANCELED.decrement_shares)):
        return
    if buffer[at + _OF_CANCELED.cancel_reason] == _ON_REQUEST:
        if order["change"] == _NONE:
            connection["unexplained"] += 1
            return
        if order["state"] != _DEAD:
            connection["wrong"] += 1
        _changed(load, n, connection, order, orders, now_ns)


@inlined
def _on_cancel_reject(load: Load, n, connection, order, orders, now_ns):
    connection["cancel_rejected"] += 1
    if order["change"] == _NONE:
        connection["doubled"] += 1
        return
    if order["state"] != _DEAD:
        # It is not open, says the exchange, but did not say how it went.
        connection["unexplained"] += 1
    _changed(load, n, connection, order, orders, now_ns)


@inlined
def _on_executed(connection, order, qty):
    connection["executed"] += 1
    if _take_off(connection, order, qty):
        if order["side"] > 0:
            connection["bought_qty"] += qty
        else:
            connection["sold_qty"] += qty


@inlined
def _judge(load: Load, n, connection, at, now_ns):
    """One message of the stream."""
    buffer = load.arrived[n]
    orders = load.orders[n]
    kind = np.int64(buffer[at])
    connection["messages"] += 1
    if kind == _SYSTEM_EVENT:
        return
    number = _number(buffer, at + _TOKEN, load.values, connection["token_base"])
    if number < 1 or number > connection["orders"]:
        connection["unknown"] += 1
        return
    order = orders[number & (len(orders) - 1)]
    if order["number"] != number:
        # Its place is used again, so all about it was said.
        connection["doubled"] += 1
    elif kind == _ACCEPTED:
        _on_accepted(load, n, connection, order, buffer, at, now_ns)
    elif kind == _EXECUTED:
        _on_executed(connection, order, _u32(buffer, at + _OF_EXECUTED.executed_shares))
    elif kind == _CANCELED:
        _on_canceled(load, n, connection, order, orders, buffer, at, now_ns)
    elif kind == _CANCEL_REJECT:
        _on_cancel_reject(load, n, connection, order, orders, now_ns)
    elif kind == _AIQ:
        connection["self_matched"] += 1
        _take_off(connection, order, _u32(buffer, at + _OF_CANCELED.decrement_shares))
    elif kind == _REPLACED:
        _on_replaced(load, n, connection, order, orders, buffer, at, now_ns)
    elif kind == _REJECTED:
        _on_rejected(load, n, connection, order, orders, now_ns)
    else:
        # Broken trades, corrections and priority updates are nothing that these requests can cause.
        connection["unexplained"] += 1


@inlined
def _read(load: Load, n, connection, start, end, now_ns):
    """Judge the complete packets between two places; gives the begin of the first incomplete one, or ``end`` at a
    fault.
    """
    buffer = load.arrived[n]
    at = start
    while True:
        size = _packet_bytes(buffer, at, end, PAYLOAD_BYTES_MAX)
        if size < 0:
            connection["broken"] += 1
            return end
        if size == 0:
            return at
        kind = np.int64(buffer[at + 2])
        if kind == _SEQUENCED:
            if size == HEAD_BYTES or _LENGTHS[buffer[at + HEAD_BYTES]] != size - HEAD_BYTES:
                connection["broken"] += 1
                return end
            _judge(load, n, connection, at + HEAD_BYTES, now_ns)
        elif kind == _END:
            connection["ended"] = 1
        elif kind != _HEARTBEAT and kind != _DEBUG:
            connection["broken"] += 1
            return end
        at += size


@called
def take_answers(load: Load, which, arrived_bytes, count, now_ns):
    """Judge the arrived bytes: ``arrived_bytes[i]`` in the region of connection ``which[i]``, from HELD_BYTES on.

    The beginning of a packet that is not complete moves to just before HELD_BYTES, for the next call. A stream with a
    fault that says where nothing begins any more is not read on.
    """
    for index in range(min(count, len(which), len(arrived_bytes))):
        n = which[index]
        if n < 0 or n >= len(load.connections):
            continue
        connection = load.connections[n]
        end = min(HELD_BYTES + max(np.int64(arrived_bytes[index]), 0), load.arrived.shape[1])
        if connection["broken"] != 0:
            continue
        at = _read(load, n, connection, HELD_BYTES - connection["held"], end, now_ns)
        held = end - at
        begin = HELD_BYTES - held
        if begin < at:
            for byte in range(held):
                load.arrived[n, begin + byte] = load.arrived[n, at + byte]
        else:
            for byte in range(held - 1, -1, -1):
                load.arrived[n, begin + byte] = load.arrived[n, at + byte]
        connection["held"] = held
