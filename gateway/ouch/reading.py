"""One OUCH message as COMMAND rows: kernels, for the one that cuts what arrived on all connections (``arrivals``).

A message that OUCH forbids but the market would accept becomes a row that the market rejects, so that the reject is in
the journal and answered like any other: a number beyond OUCH's bounds is negated, a token that is no text makes a row
that cannot be interpreted, a Replace Order with a forbidden change has impossible instructions, and a Modify Order to
another side has a negative quantity.
"""

from typing import Final

import numpy as np

from engine.jit import ctz, inlined, lshr, wrapping_add, wrapping_multiply
from engine.records import CommandKind, Instruction, SelfTrade, Side, TimeInForce
from gateway.ouch import context
from gateway.ouch.open_orders import find_among
from gateway.ouch.recent import (
    BUY,
    DISPLAYED,
    HIDDEN,
    POST_ONLY,
    SALE,
    UNKNOWN,
    UNKNOWN_DISPLAY,
    expect,
    note,
    recall,
)
from gateway.symbols import symbol_place
from wire import octets, ouch
from wire.ouch_codes import BuySell, Capacity, ClientMessage, CrossType, Display
from wire.ouch_codes import TimeInForce as OuchTimeInForce
from wire.ouch_layout import FROM_CLIENT, offsets

_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_HIDDEN: Final = int(Instruction.HIDDEN)
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
_TOKEN_CHARACTERS: Final = ouch.TOKEN_CHARACTERS
#: Instruction that no order of OUCH has, so that the market refuses a replace that asks for it.
_IMPOSSIBLE: Final = int(Instruction.DISPLAY)

_MIX_HEAD: Final = np.int64(context.signed(0x9E3779B97F4A7C15))
_MIX_TAIL: Final = np.int64(context.signed(0xBF58476D1CE4E5B9))
_TOP_BIT: Final = np.int64(-(2**63))
_SPACES: Final = np.int64(0x2020202020202020)
_EACH_01: Final = np.int64(0x0101010101010101)
_EACH_21: Final = np.int64(0x2121212121212121)
_EACH_5F: Final = np.int64(0x5F5F5F5F5F5F5F5F)
_EACH_TOP: Final = np.int64(context.signed(0x8080808080808080))
_SYSTEM_HOURS: Final = context.SYSTEM_HOURS
_MODIFY: Final = context.MODIFY
_MINIMUM: Final = context.MINIMUM

_u32: Final = inlined(octets.u32)


@inlined
def _u64(buffer, at):
    return (_u32(buffer, at) << 32) | _u32(buffer, at + 4)


@inlined
def _tail(buffer, at):
    return (_u32(buffer, at) << 32) | (np.int64(buffer[at + 4]) << 24) | (np.int64(buffer[at + 5]) << 16)


@inlined
def _padding_bits(word):
    """Bits of the spaces at the end of eight characters that are not all spaces."""
    return ctz(word ^ _SPACES) & 56


@inlined
def _unpadded(word):
    """Eight characters without the spaces at their end, right-aligned; 0 for eight spaces."""
    return lshr(word, _padding_bits(word)) if word != _SPACES else np.int64(0)


@inlined
def _printable(word, padding_bits):
    """True if each byte of an unpadded word is 0x21 to 0x7e, but for those that came in for the padding."""
    # Those count as 0x21. One sum has a byte's top bit set from 0x21 on, the other from 0x7f on.
    filled = word | (_EACH_21 & ~lshr(np.int64(-1), padding_bits))
    from_21 = wrapping_add(filled, _EACH_5F) & _EACH_TOP
    from_7f = wrapping_add(filled, _EACH_01) & _EACH_TOP
    return (filled & _EACH_TOP) == 0 and from_21 == _EACH_TOP and from_7f == 0


@inlined
def _order_id(head, tail):
    """The client order id of a token (``gateway.ouch.context.order_id``); below 0 for one that needs an EXTEND row."""
    if tail == 0x202020202020_0000 and head != _SPACES:
        padding_bits = _padding_bits(head)
        short = lshr(head, padding_bits)
        if _printable(short, padding_bits):
            return short
    mixed = wrapping_multiply(head, _MIX_HEAD)
    mixed = wrapping_multiply(wrapping_add(mixed ^ lshr(mixed, 32), tail), _MIX_TAIL)
    return (mixed ^ lshr(mixed, 29)) | _TOP_BIT


@inlined
def _clear(row):
    row["client_order_id"] = 0
    row["new_client_order_id"] = 0
    row["price_e4"] = 0
    row["qty"] = 0
    row["min_qty"] = 0
    row["display_qty"] = 0
    row["participant"] = 0
    row["instrument"] = 0
    row["side"] = 0
    row["time_in_force"] = 0
    row["self_trade"] = 0
    row["instructions"] = 0
    row["book"] = 0
    row["phase"] = 0


@inlined
def _extend(commands, n, symbol, head, tail, new_head, new_tail):
    row = commands[n]
    _clear(row)
    row["kind"] = CommandKind.EXTEND
    row["symbol"] = symbol
    row["token_head"] = head
    row["token_tail"] = tail
    row["new_token_head"] = new_head
    row["new_token_tail"] = new_tail
    return n + 1


@inlined
def _is_text(buffer, at):
    """True if a token has printable ASCII characters alone, and not only spaces."""
    blank = True
    for place in range(at, at + _TOKEN_CHARACTERS):
        c = np.int64(buffer[place])
        if c < 32 or c > 126:
            return False
        blank &= c == 32
    return not blank


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
    """Instructions of an order's display; a display that is not built becomes an instruction that is rejected."""
    if display == Display.ANONYMOUS or display == Display.ATTRIBUTABLE:
        return 0
    if display == Display.POST_ONLY or display == Display.POST_ONLY_ATTRIBUTABLE:
        return _POST_ONLY
    if display == Display.NON_DISPLAY:
        return _HIDDEN
    return _PEG


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
    head, tail = _u64(buffer, at + _TOKEN), _tail(buffer, at + _TOKEN + 8)
    client_order_id = _order_id(head, tail)
    expect(recent, np.int64(stream["participant"]), client_order_id)
    stock = _u64(buffer, at + _OF_ENTER.stock)
    symbol = _unpadded(stock)
    place = symbol_place(symbols, symbol) if symbol != 0 else np.int64(-1)
    instrument = symbols[place]["instrument"] if place >= 0 else np.int64(0)
    if client_order_id < 0 or instrument == 0:
        unknown = symbol if instrument == 0 else np.int64(0)
        long_head = head if client_order_id < 0 else np.int64(0)
        long_tail = tail if client_order_id < 0 else np.int64(0)
        n = _extend(commands, n, unknown, long_head, long_tail, np.int64(0), np.int64(0))
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
    if client_order_id < 0 and not _is_text(buffer, at + _TOKEN):
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
    row["phase"] = 0
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
    head, tail = _u64(buffer, at + _TOKEN), _tail(buffer, at + _TOKEN + 8)
    new_head, new_tail = (
        _u64(buffer, at + _OF_REPLACE.replacement_order_token),
        _tail(buffer, at + _OF_REPLACE.replacement_order_token + 8),
    )
    client_order_id = _order_id(head, tail)
    new_client_order_id = _order_id(new_head, new_tail)
    if client_order_id < 0 or new_client_order_id < 0:
        if client_order_id > 0:
            head, tail = np.int64(0), np.int64(0)
        if new_client_order_id > 0:
            new_head, new_tail = np.int64(0), np.int64(0)
        n = _extend(commands, n, np.int64(0), head, tail, new_head, new_tail)
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
    _clear(row)
    row["kind"] = CommandKind.REPLACE
    row["client_order_id"] = client_order_id
    row["new_client_order_id"] = new_client_order_id
    if price_e4 == _PRICE_MARKET:
        price_e4 = np.int64(0)
        row["instructions"] = _MARKET
    if not _replace_fits(buffer, at, shows):
        row["instructions"] |= _IMPOSSIBLE
    if new_client_order_id < 0 and not _is_text(buffer, at + _OF_REPLACE.replacement_order_token):
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
    head, tail = _u64(buffer, at + _TOKEN), _tail(buffer, at + _TOKEN + 8)
    client_order_id = _order_id(head, tail)
    if client_order_id < 0:
        n = _extend(commands, n, np.int64(0), head, tail, np.int64(0), np.int64(0))
    row = commands[n]
    _clear(row)
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
    client_order_id = _order_id(_u64(buffer, at + _TOKEN), _tail(buffer, at + _TOKEN + 8))
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
