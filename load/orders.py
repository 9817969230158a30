"""The kernel that makes requests: OUCH messages as unsequenced packets, for many connections at once.

It is compiled: ``client.OrderEntry`` makes some ten thousand requests a second, a node takes more than ten times as
many. The offsets are those of ``wire/ouch_layout.py``.
"""

from typing import Any, Final

import numpy as np

from engine.jit import called, inlined, lshr, shl
from load.state import REQUEST_BYTES, TICK_E4, Change, Load, State
from wire import octets
from wire.ouch import client_rows
from wire.ouch_codes import BuySell, Capacity, ClientMessage, CrossType, CustomerType, Display, IntermarketSweep
from wire.ouch_codes import TimeInForce as Tif
from wire.ouch_layout import FROM_CLIENT, offsets
from wire.soup import HEAD_BYTES, PacketType, packet

_SENT: Final = int(State.SENT)
_LIVE: Final = int(State.LIVE)
_NONE: Final = int(Change.NONE)
_CANCEL: Final = int(Change.CANCEL)
_REPLACE: Final = int(Change.REPLACE)

_BUY: Final = int(BuySell.BUY)
_SELL: Final = int(BuySell.SELL)
_IOC: Final = int(Tif.IMMEDIATE_OR_CANCEL)
_DAY: Final = int(Tif.MARKET_HOURS)
_HEARTBEAT_NS: Final = 1_000_000_000

_MARKETABLE_TICKS: Final = 100
_QTY_MAX: Final = 500
_MID_MIN: Final = 1_000
_MID_MAX: Final = 100_000
#: Places that are looked at for an order to cancel or replace.
_PROBES: Final = 16
_AGED_PROBES: Final = 32
_KINDS: Final = 5
_LIMIT, _AIM_CANCEL, _AIM_IOC, _AIM_MARKETABLE, _AIM_REPLACE = range(_KINDS)


def _template(rows: Any) -> Any:
    return np.frombuffer(packet(PacketType.UNSEQUENCED, rows.tobytes()), np.uint8).copy()


def _enter_template() -> Any:
    row = client_rows(ClientMessage.ENTER_ORDER)
    row["display"] = Display.ANONYMOUS
    row["capacity"] = Capacity.PRINCIPAL
    row["intermarket_sweep"] = IntermarketSweep.NOT_ELIGIBLE
    row["cross_type"] = CrossType.NO_CROSS
    row["customer_type"] = CustomerType.NOT_RETAIL
    return _template(row)


def _replace_template() -> Any:
    row = client_rows(ClientMessage.REPLACE_ORDER)
    row["time_in_force_s"] = Tif.MARKET_HOURS
    row["display"] = Display.ANONYMOUS
    row["intermarket_sweep"] = IntermarketSweep.NOT_ELIGIBLE
    return _template(row)


_ENTER_BYTES: Final = _enter_template()
_CANCEL_BYTES: Final = _template(client_rows(ClientMessage.CANCEL_ORDER))
_REPLACE_BYTES: Final = _replace_template()
_HEARTBEAT_BYTES: Final = np.frombuffer(packet(PacketType.CLIENT_HEARTBEAT), np.uint8).copy()

#: Offsets of the fields in a message.
_OF_ENTER: Final = offsets(FROM_CLIENT[ClientMessage.ENTER_ORDER])
_OF_REPLACE: Final = offsets(FROM_CLIENT[ClientMessage.REPLACE_ORDER])
_OF_CANCEL: Final = offsets(FROM_CLIENT[ClientMessage.CANCEL_ORDER])

_put_u32: Final = inlined(octets.put_u32)


@inlined
def _draw(word):
    """The next word of a xorshift generator; never 0."""
    word ^= shl(word, 13)
    word ^= lshr(word, 7)
    return word ^ shl(word, 17)


@inlined
def _put_token(out, at, digits, number):
    for place in range(8):
        out[at + place] = digits[(number >> (42 - 6 * place)) & 63]


@inlined
def _can_change(order, number):
    """True if an order may be canceled or replaced: it is on its way or in the book, and nothing is asked of it."""
    return (
        (order["number"] == number)
        & ((order["state"] == _LIVE) | (order["state"] == _SENT))
        & (order["change"] == _NONE)
        & (order["ioc"] == 0)
    )


@inlined
def _oldest(load: Load, n, connection):
    """Number of the oldest order that may be canceled; 0: none was found among the next few."""
    orders = load.orders[n]
    number = connection["oldest"]
    for _ in range(_AGED_PROBES):
        if number > connection["orders"]:
            break
        if _can_change(orders[number & (len(orders) - 1)], number):
            connection["oldest"] = number + 1
            return number
        number += 1
    connection["oldest"] = number
    return np.int64(0)


@inlined
def _aimed(load: Load, n, connection, word):
    """Number of an order to cancel or replace, mostly a recent one, one in ten times an old one; 0: none was found."""
    orders = load.orders[n]
    mask = len(orders) - 1
    newest = connection["orders"]
    if (word & 1023) < 102:
        number = _oldest(load, n, connection)
        if number > 0:
            return number
    number = newest - load.recent[lshr(word, 10) & 1023] + 1
    for _ in range(_PROBES):
        if number < 1:
            break
        if _can_change(orders[number & mask], number):
            return number
        number -= 1
    return np.int64(0)


@inlined
def _write_cancel(load: Load, n, at, connection, order, number, request):
    out = load.out[n]
    end = at + len(_CANCEL_BYTES)
    for byte in range(len(_CANCEL_BYTES)):
        out[at + byte] = _CANCEL_BYTES[byte]
    message = at + HEAD_BYTES
    _put_token(out, message + _OF_CANCEL.order_token, load.digits, connection["token_base"] + number)
    order["change"] = _CANCEL
    order["change_request"] = request
    return end


@inlined
def _price_ticks(load: Load, symbol, side, what, word):
    mid = load.mids[symbol]
    if what == _AIM_MARKETABLE:
        return mid + side * _MARKETABLE_TICKS
    away = load.away[word & 1023]
    if lshr(word, 10) & 1023 < 102:
        away = -away
    return max(mid - side * away, 1)


@inlined
def _write_enter(load: Load, n, at, connection, order, request, what, word, more):
    """A new order in a free place of the ring. word, more: random bits."""
    out = load.out[n]
    number = connection["orders"] + 1
    symbol = (lshr(word, 40) * len(load.stocks)) >> 24
    side = np.int64(1) if word & 1 else np.int64(-1)
    qty = 1 + (((lshr(word, 1) & 0xFFFF) * _QTY_MAX) >> 16)
    ticks = _price_ticks(load, symbol, side, what, more)
    ioc = (what == _AIM_IOC) | (what == _AIM_MARKETABLE)
    end = at + len(_ENTER_BYTES)
    for byte in range(len(_ENTER_BYTES)):
        out[at + byte] = _ENTER_BYTES[byte]
    message = at + HEAD_BYTES
    _put_token(out, message + _OF_ENTER.order_token, load.digits, connection["token_base"] + number)
    out[message + _OF_ENTER.buy_sell] = _BUY if side > 0 else _SELL
    _put_u32(out, message + _OF_ENTER.shares, qty)
    for byte in range(8):
        out[message + _OF_ENTER.stock + byte] = load.stocks[symbol, byte]
    _put_u32(out, message + _OF_ENTER.price_e4, ticks * TICK_E4)
    _put_u32(out, message + _OF_ENTER.time_in_force_s, _IOC if ioc else _DAY)
    order["number"] = number
    order["enter_request"] = request
    order["change_request"] = 0
    order["replaces"] = 0
    order["leaves_qty"] = qty
    order["price_ticks"] = ticks
    order["symbol"] = symbol
    order["state"] = _SENT
    order["change"] = _NONE
    order["side"] = side
    order["ioc"] = 1 if ioc else 0
    connection["orders"] = number
    return end


@inlined
def _write_replace(load: Load, n, at, connection, order, old_number, request, word):
    """A new order, in a free place of the ring, for one that is in the book or on its way."""
    out = load.out[n]
    old = load.orders[n, old_number & (load.orders.shape[1] - 1)]
    number = connection["orders"] + 1
    symbol = np.int64(old["symbol"])
    side = np.int64(old["side"])
    qty = 1 + (((lshr(word, 1) & 0xFFFF) * _QTY_MAX) >> 16)
    # Half of the replaces keep their price.
    ticks = np.int64(old["price_ticks"])
    if word & 1:
        ticks = _price_ticks(load, symbol, side, _AIM_REPLACE, lshr(word, 20))
    end = at + len(_REPLACE_BYTES)
    for byte in range(len(_REPLACE_BYTES)):
        out[at + byte] = _REPLACE_BYTES[byte]
    message = at + HEAD_BYTES
    _put_token(out, message + _OF_REPLACE.existing_order_token, load.digits, connection["token_base"] + old_number)
    _put_token(out, message + _OF_REPLACE.replacement_order_token, load.digits, connection["token_base"] + number)
    _put_u32(out, message + _OF_REPLACE.shares, qty)
    _put_u32(out, message + _OF_REPLACE.price_e4, ticks * TICK_E4)
    old["change"] = _REPLACE
    old["change_request"] = request
    order["number"] = number
    order["enter_request"] = request
    order["change_request"] = 0
    order["replaces"] = old_number
    order["leaves_qty"] = qty
    order["price_ticks"] = ticks
    order["symbol"] = symbol
    order["state"] = _SENT
    order["change"] = _NONE
    order["side"] = side
    order["ioc"] = 0
    connection["orders"] = number
    return end


@inlined
def _make_one(load: Load, n, at, connection):
    """Write the next request of a connection at ``at``; gives its end, or ``at`` if there is no place for an order."""
    word = _draw(connection["random"])
    more = _draw(word)
    connection["random"] = more
    symbol = (lshr(word, 40) * len(load.stocks)) >> 24
    if lshr(more, 40) % 2_560 < len(load.stocks):
        load.mids[symbol] = min(load.mids[symbol] + 1, _MID_MAX)
    elif lshr(more, 40) % 2_560 < 2 * len(load.stocks):
        load.mids[symbol] = max(load.mids[symbol] - 1, _MID_MIN)
    what = np.int64(0)
    rank = lshr(more, 24) & 0xFFFF
    while what < _KINDS - 1 and rank >= load.shares[what]:
        what += 1
    request = connection["requests"] + 1
    orders = load.orders[n]
    mask = len(orders) - 1
    target = np.int64(0)
    if (what == _AIM_CANCEL) | (what == _AIM_REPLACE):
        target = _aimed(load, n, connection, lshr(word, 17))
        if target == 0:
            what = np.int64(_LIMIT)
    if 2 * (connection["orders"] - connection["oldest"]) > mask:
        # The ring comes round to old orders: they go in good time, so that no new one has to wait for its place.
        aged = _oldest(load, n, connection)
        if aged > 0 and aged != target:
            what, target = np.int64(_AIM_CANCEL), aged
    if what != _AIM_CANCEL:
        order = orders[(connection["orders"] + 1) & mask]
        if (order["state"] == _SENT) | (order["state"] == _LIVE) | (order["change"] != _NONE):
            return at
    if what == _AIM_CANCEL:
        at = _write_cancel(load, n, at, connection, orders[target & mask], target, request)
    elif what == _AIM_REPLACE:
        at = _write_replace(load, n, at, connection, orders[(connection["orders"] + 1) & mask], target, request, word)
    else:
        at = _write_enter(load, n, at, connection, orders[(connection["orders"] + 1) & mask], request, what, word, more)
    connection["requests"] = request
    return at


@inlined
def _fill(load: Load, n, now_ns):
    """Write all the requests that a connection may send now; gives the bytes written."""
    connection = load.connections[n]
    times = load.intended_ns[n]
    room = load.out.shape[1] - REQUEST_BYTES
    window = min(connection["window"], len(times))
    at = np.int64(0)
    while (
        at <= room
        and connection["requests"] < connection["requests_max"]
        and connection["requests"] - connection["answered"] < window
    ):
        intended_ns = now_ns
        if connection["interval_ns"] > 0:
            intended_ns = connection["due_ns"]
            if intended_ns > now_ns:
                break
        end = _make_one(load, n, at, connection)
        if end == at:
            break
        times[connection["requests"] & (len(times) - 1)] = intended_ns
        if connection["interval_ns"] > 0:
            connection["due_ns"] = intended_ns + connection["interval_ns"]
        at = end
    return at


@called
def make_requests(load: Load, which, count, now_ns, senders, lengths):
    """Write the requests that are due into ``load.out``, for connections of ``which[:count]`` whose last ones are sent.

    A closed loop (``interval_ns`` 0) sends as many as its window lets it; an open one those whose time has come, and
    a late one still bears the time it was meant for. A connection that was silent for a second sends a heartbeat.
    Gives how many have something to send; writes which they are and how many bytes.
    """
    found = 0
    for index in range(min(count, len(which), len(senders), len(lengths))):
        n = which[index]
        if n < 0 or n >= len(load.connections):
            continue
        connection = load.connections[n]
        if connection["out"] != 0 or connection["ended"] != 0:
            continue
        at = _fill(load, n, now_ns)
        if at == 0 and now_ns - connection["sent_ns"] >= _HEARTBEAT_NS:
            for byte in range(len(_HEARTBEAT_BYTES)):
                load.out[n, byte] = _HEARTBEAT_BYTES[byte]
            at = np.int64(len(_HEARTBEAT_BYTES))
        if at > 0:
            connection["sent_ns"] = now_ns
            senders[found] = n
            lengths[found] = at
            found += 1
    return found
