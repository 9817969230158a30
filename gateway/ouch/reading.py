"""One OUCH message as COMMAND rows: kernels, for the one that cuts what arrived on all connections (``arrivals``).

A message that OUCH forbids but the market would accept becomes a row that the market rejects, so that the reject is in
the journal and answered like any other: a number beyond OUCH's bounds is negated, a token that is no text makes a row
that cannot be interpreted, a Replace Order with a forbidden change has impossible instructions, and a Modify Order to
another side has a negative quantity.
"""

from typing import Final

import numpy as np

from engine.jit import inlined
from engine.records import CommandKind, Instruction, Peg, SelfTrade, Side, TimeInForce
from gateway.ouch import context
from gateway.ouch.open_orders import find_among
from gateway.ouch.recent import (
    BUY,
    DISPLAYED,
    HIDDEN,
    PEGGED,
    POST_ONLY,
    SALE,
    UNKNOWN,
    UNKNOWN_DISPLAY,
    expect,
    note,
    recall,
)
from gateway.symbols import symbol_place
from gateway.tokens import clear, extend, is_text, order_id, token_tail, u64, unpadded
from wire import octets, ouch
from wire.ouch_codes import BuySell, Capacity, ClientMessage, CrossType, Display
from wire.ouch_codes import TimeInForce as OuchTimeInForce
from wire.ouch_layout import FROM_CLIENT, offsets

_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_HIDDEN: Final = int(Instruction.HIDDEN)
_OFFSET: Final = int(Instruction.OFFSET)
_PEG: Final = int(Instruction.PEG)
_MIN_QTY: Final = int(Instruction.MIN_QTY)
_UNTIL: Final = int(Instruction.UNTIL)


#: Offsets of the fields in each message.
_OF_ENTER: Final = offsets(FROM_CLIENT[ClientMessage.ENTER_ORDER])
_OF_REPLACE: Final = offsets(FROM_CLIENT[ClientMessage.REPLACE_ORDER])
_OF_CANCEL: Final = offsets(FROM_CLIENT[ClientMessage.CANCEL_ORDER])
_OF_MODIFY: Final = offsets(FROM_CLIENT[ClientMessage.MODIFY_ORDER])
_TOKEN: Final = 1  # of every message, after its first byte

_PRICE_MARKET: Final = ouch.PRICE_E4_MARKET
_PRICE_MAX: Final = ouch.PRICE_E4_MAX
_SHARES_MAX: Final = ouch.SHARES_MAX
#: Instruction that no order of OUCH has, so that the market refuses a replace that asks for it.
_IMPOSSIBLE: Final = int(Instruction.DISPLAY)

_SYSTEM_HOURS: Final = context.SYSTEM_HOURS
_MODIFY: Final = context.MODIFY
_MINIMUM: Final = context.MINIMUM

_u32: Final = inlined(octets.u32)


@inlined
def _shares(buffer, at):
    """A quantity of a new order, negated where it is more than OUCH allows."""
    shares = _u32(buffer, at)
    return shares if shares <= _SHARES_MAX else -shares


@inlined
def _price(price_e4):
    """A limit price, negated where it is more than OUCH allows."""
    return price_e4 if price_e4 <= _PRICE_MAX else -price_e4


@inlined
def instructions_of(display):
    """Instructions of an order's display; one that is not built becomes an offset of no peg, which is rejected."""
    if display == Display.ANONYMOUS or display == Display.ATTRIBUTABLE:
        return 0
    if display == Display.POST_ONLY or display == Display.POST_ONLY_ATTRIBUTABLE:
        return _POST_ONLY
    if display == Display.NON_DISPLAY:
        return _HIDDEN
    if display == Display.MIDPOINT_PEG:
        return _PEG
    return _OFFSET


@inlined
def is_sale(side):
    """True if a side of OUCH is a sale of any kind."""
    return side == BuySell.SELL or side == BuySell.SELL_SHORT or side == BuySell.SELL_SHORT_EXEMPT


@inlined
def _side_class(side):
    """A side of OUCH as ``recent`` has it."""
    return BUY if side == BuySell.BUY else SALE if is_sale(side) else UNKNOWN


@inlined
def _shows_class(display):
    """A display of OUCH as ``recent`` has it."""
    instructions = instructions_of(display)
    if instructions == _HIDDEN:
        return HIDDEN
    if instructions == _PEG:
        return PEGGED
    return DISPLAYED if instructions == 0 else POST_ONLY if instructions == _POST_ONLY else UNKNOWN_DISPLAY


@inlined
def _known(participant, client_order_id, open_rows, rest, recent):
    """(side, shows) of an order of a participant as ``recent`` has them: of an open order that was told, else of one
    that was just read."""
    place = find_among(open_rows, participant, client_order_id)
    if place < 0:
        return recall(recent, participant, client_order_id)
    context_there = rest[place]["context"]
    return np.int64(_side_class((context_there >> 16) & 255)), np.int64(_shows_class((context_there >> 24) & 255))


@inlined
def _read_enter(buffer, at, stream, symbols, recent, commands, n):
    head, tail = u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8)
    client_order_id = order_id(head, tail)
    expect(recent, np.int64(stream["participant"]), client_order_id)
    stock = u64(buffer, at + _OF_ENTER.stock)
    symbol = unpadded(stock)
    place = symbol_place(symbols, symbol) if symbol != 0 else np.int64(-1)
    instrument = symbols[place]["instrument"] if place >= 0 else np.int64(0)
    if client_order_id < 0 or instrument == 0:
        unknown = symbol if instrument == 0 else np.int64(0)
        long_head = head if client_order_id < 0 else np.int64(0)
        long_tail = tail if client_order_id < 0 else np.int64(0)
        n = extend(commands, n, unknown, long_head, long_tail, np.int64(0), np.int64(0))
    side = np.int64(buffer[at + _OF_ENTER.buy_sell])
    display = np.int64(buffer[at + _OF_ENTER.display])
    cross = np.int64(buffer[at + _OF_ENTER.cross_type])
    tif_s = _u32(buffer, at + _OF_ENTER.time_in_force_s)
    price_e4 = _u32(buffer, at + _OF_ENTER.price_e4)
    min_qty = _u32(buffer, at + _OF_ENTER.minimum_quantity)
    instructions = instructions_of(display)
    capacity = np.int64(buffer[at + _OF_ENTER.capacity])
    if capacity != Capacity.AGENCY and capacity != Capacity.PRINCIPAL and capacity != Capacity.RISKLESS:
        capacity = np.int64(Capacity.OTHER)
    flags = np.int64(0)
    if price_e4 == _PRICE_MARKET:
        price_e4 = np.int64(0)
        instructions |= _MARKET
    if min_qty != 0:
        instructions |= _MIN_QTY
    if cross != CrossType.NO_CROSS:
        time_in_force = TimeInForce.CLOSING if cross == CrossType.CLOSING else TimeInForce.OPENING
    elif tif_s == OuchTimeInForce.IMMEDIATE_OR_CANCEL:
        time_in_force = TimeInForce.IOC
    elif tif_s == OuchTimeInForce.MARKET_HOURS:
        time_in_force = TimeInForce.DAY
    elif tif_s == OuchTimeInForce.SYSTEM_HOURS:
        time_in_force = TimeInForce.DAY
        flags = np.int64(_SYSTEM_HOURS)
    else:
        time_in_force = TimeInForce.GTD
        instructions |= _UNTIL
    row = commands[n]
    row["client_order_id"] = client_order_id
    row["context"] = (
        np.int64(stream["user"])
        | (side << 16)
        | (display << 24)
        | (capacity << 32)
        | (np.int64(buffer[at + _OF_ENTER.intermarket_sweep]) << 40)
        | (np.int64(buffer[at + _OF_ENTER.customer_type]) << 48)
        | (flags << 56)
    )
    row["price_e4"] = _price(price_e4)
    row["qty"] = _shares(buffer, at + _OF_ENTER.shares)
    row["min_qty"] = min_qty
    row["display_qty"] = 0
    row["participant"] = stream["participant"]
    row["instrument"] = instrument
    row["kind"] = CommandKind.ENTER
    if client_order_id < 0 and not is_text(buffer, at + _TOKEN):
        row["side"] = 0
    elif side == BuySell.BUY:
        row["side"] = Side.BUY
    elif is_sale(side):
        row["side"] = Side.SELL
    else:
        row["side"] = 0
    note(recent, np.int64(stream["participant"]), client_order_id, _side_class(side), _shows_class(display))
    row["time_in_force"] = time_in_force
    row["self_trade"] = SelfTrade.CANCEL_NEWEST
    row["instructions"] = instructions
    row["book"] = 0
    row["peg"] = Peg.MIDPOINT if instructions & _PEG else 0
    return n + 1


@inlined
def _replace_fits(buffer, at, shows):
    """True if a Replace Order leaves what cannot be changed: the order is for the day, without a minimum, and shows
    itself as before (``shows``, as ``recent`` has it)."""
    tif_s = _u32(buffer, at + _OF_REPLACE.time_in_force_s)
    if (tif_s != OuchTimeInForce.MARKET_HOURS and tif_s != OuchTimeInForce.SYSTEM_HOURS) or _u32(
        buffer, at + _OF_REPLACE.minimum_quantity
    ) != 0:
        return False
    asked = _shows_class(np.int64(buffer[at + _OF_REPLACE.display]))
    return asked != UNKNOWN_DISPLAY and (asked & shows) != 0


@inlined
def _read_replace(buffer, at, stream, open_rows, rest, recent, commands, n):
    head, tail = u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8)
    new_head, new_tail = (
        u64(buffer, at + _OF_REPLACE.replacement_order_token),
        token_tail(buffer, at + _OF_REPLACE.replacement_order_token + 8),
    )
    client_order_id = order_id(head, tail)
    new_client_order_id = order_id(new_head, new_tail)
    if client_order_id < 0 or new_client_order_id < 0:
        if client_order_id > 0:
            head, tail = np.int64(0), np.int64(0)
        if new_client_order_id > 0:
            new_head, new_tail = np.int64(0), np.int64(0)
        n = extend(commands, n, np.int64(0), head, tail, new_head, new_tail)
    flags = (
        np.int64(_SYSTEM_HOURS)
        if _u32(buffer, at + _OF_REPLACE.time_in_force_s) == OuchTimeInForce.SYSTEM_HOURS
        else np.int64(0)
    )
    if _u32(buffer, at + _OF_REPLACE.minimum_quantity) != 0:
        flags |= _MINIMUM
    participant = np.int64(stream["participant"])
    side, shows = _known(participant, client_order_id, open_rows, rest, recent)
    note(recent, participant, new_client_order_id, side, shows)
    price_e4 = _u32(buffer, at + _OF_REPLACE.price_e4)
    row = commands[n]
    clear(row)
    row["kind"] = CommandKind.REPLACE
    row["client_order_id"] = client_order_id
    row["new_client_order_id"] = new_client_order_id
    if price_e4 == _PRICE_MARKET:
        price_e4 = np.int64(0)
        row["instructions"] = _MARKET
    if not _replace_fits(buffer, at, shows):
        row["instructions"] |= _IMPOSSIBLE
    if new_client_order_id < 0 and not is_text(buffer, at + _OF_REPLACE.replacement_order_token):
        row["side"] = Side.BUY  # a place that a replace does not use
    row["price_e4"] = _price(price_e4)
    row["qty"] = _shares(buffer, at + _OF_REPLACE.shares)
    row["new_context"] = (
        np.int64(stream["user"])
        | (np.int64(buffer[at + _OF_REPLACE.display]) << 24)
        | (np.int64(buffer[at + _OF_REPLACE.intermarket_sweep]) << 40)
        | (flags << 56)
    )
    row["participant"] = stream["participant"]
    return n + 1


@inlined
def _read_cancel(buffer, at, stream, commands, n, qty, side, flags):
    head, tail = u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8)
    client_order_id = order_id(head, tail)
    if client_order_id < 0:
        n = extend(commands, n, np.int64(0), head, tail, np.int64(0), np.int64(0))
    row = commands[n]
    clear(row)
    row["kind"] = CommandKind.CANCEL
    row["client_order_id"] = client_order_id
    row["context"] = np.int64(stream["user"]) | (side << 16) | (flags << 56)
    row["qty"] = qty
    row["participant"] = stream["participant"]
    return n + 1


@inlined
def _modified_qty(buffer, at, stream, open_rows, rest, recent):
    """Total intended shares of a Modify Order, below 0 where it must be refused.

    An order of which nothing is known yet is left to the market: a correct Modify Order is never refused here.
    """
    shares, asked = _u32(buffer, at + _OF_MODIFY.shares), _side_class(np.int64(buffer[at + _OF_MODIFY.buy_sell]))
    client_order_id = order_id(u64(buffer, at + _TOKEN), token_tail(buffer, at + _TOKEN + 8))
    side, _ = _known(np.int64(stream["participant"]), client_order_id, open_rows, rest, recent)
    return shares if shares != 0 and asked != UNKNOWN and (asked & side) != 0 else ~shares


@inlined
def read_message(buffer, at, payload_bytes, stream, symbols, open_rows, rest, recent, commands, n):
    """Row n on for the message at ``at``; the number of rows written then, or -1 for what no client sends.

    open_rows, rest: of the users' reported open orders (``StreamTables``). recent: of orders just read (``recent``).
    """
    if payload_bytes == 0:
        return np.int64(-1)
    kind = np.int64(buffer[at])
    if kind == ClientMessage.ENTER_ORDER and payload_bytes == _OF_ENTER.end:
        return _read_enter(buffer, at, stream, symbols, recent, commands, n)
    if kind == ClientMessage.CANCEL_ORDER and payload_bytes == _OF_CANCEL.end:
        return _read_cancel(
            buffer, at, stream, commands, n, _u32(buffer, at + _OF_CANCEL.shares), np.int64(0), np.int64(0)
        )
    if kind == ClientMessage.REPLACE_ORDER and payload_bytes == _OF_REPLACE.end:
        return _read_replace(buffer, at, stream, open_rows, rest, recent, commands, n)
    if kind == ClientMessage.MODIFY_ORDER and payload_bytes == _OF_MODIFY.end:
        qty, side = (
            _modified_qty(buffer, at, stream, open_rows, rest, recent),
            np.int64(buffer[at + _OF_MODIFY.buy_sell]),
        )
        return _read_cancel(buffer, at, stream, commands, n, qty, side, np.int64(_MODIFY))
    return np.int64(-1)
