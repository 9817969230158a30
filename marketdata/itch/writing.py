"""Kernels that write framed ITCH messages, field by field, into ``FeedRoom.out``, at the offsets of the one table.

Each gives the place behind its message. ``marketdata.itch.fold`` sees to it that numbers are in bounds.
"""

from typing import Final

import numpy as np

from engine.jit import inlined, lshr
from marketdata.itch.tables import FeedRoom, FeedTables
from wire.itch_layout import FRAME_BYTES as _FRAME_BYTES
from wire.itch_layout import (
    HEAD,
    LAYOUTS,
    Imbalance,
    ItchCross,
    ItchMessage,
    ItchSide,
    Printable,
    SystemEvent,
    TradingState,
    offsets,
)
from wire.octets import put_u32

_SPACE: Final = ord(" ")

_HEAD: Final = offsets(HEAD)
_S: Final = offsets(LAYOUTS[ItchMessage.SYSTEM_EVENT])
_R: Final = offsets(LAYOUTS[ItchMessage.STOCK_DIRECTORY])
_H: Final = offsets(LAYOUTS[ItchMessage.TRADING_ACTION])
_A: Final = offsets(LAYOUTS[ItchMessage.ADD])
_E: Final = offsets(LAYOUTS[ItchMessage.EXECUTED])
_C: Final = offsets(LAYOUTS[ItchMessage.EXECUTED_WITH_PRICE])
_X: Final = offsets(LAYOUTS[ItchMessage.CANCEL])
_D: Final = offsets(LAYOUTS[ItchMessage.DELETE])
_U: Final = offsets(LAYOUTS[ItchMessage.REPLACE])
_P: Final = offsets(LAYOUTS[ItchMessage.TRADE])
_Q: Final = offsets(LAYOUTS[ItchMessage.CROSS_TRADE])
_I: Final = offsets(LAYOUTS[ItchMessage.NOII])
_V: Final = offsets(LAYOUTS[ItchMessage.MWCB_LEVELS])
_W: Final = offsets(LAYOUTS[ItchMessage.MWCB_STATUS])

#: Codes as plain numbers, which kernels store.
_KINDS: Final = {kind.name: int(kind) for kind in ItchMessage}
_SYSTEM_EVENT: Final = _KINDS["SYSTEM_EVENT"]
_STOCK_DIRECTORY: Final = _KINDS["STOCK_DIRECTORY"]
_TRADING_ACTION: Final = _KINDS["TRADING_ACTION"]
_ADD: Final = _KINDS["ADD"]
_EXECUTED: Final = _KINDS["EXECUTED"]
_EXECUTED_WITH_PRICE: Final = _KINDS["EXECUTED_WITH_PRICE"]
_CANCEL: Final = _KINDS["CANCEL"]
_DELETE: Final = _KINDS["DELETE"]
_REPLACE: Final = _KINDS["REPLACE"]
_TRADE: Final = _KINDS["TRADE"]
_CROSS_TRADE: Final = _KINDS["CROSS_TRADE"]
_NOII: Final = _KINDS["NOII"]
_MWCB_LEVELS: Final = _KINDS["MWCB_LEVELS"]
_MWCB_STATUS: Final = _KINDS["MWCB_STATUS"]
_ZERO: Final = ord("0")
_BUY: Final = int(ItchSide.BUY)
_SELL: Final = int(ItchSide.SELL)
_NO: Final = int(Printable.NO)
OPENING: Final = int(ItchCross.OPENING)
CLOSING: Final = int(ItchCross.CLOSING)
HALT: Final = int(ItchCross.HALT)
HALTED: Final = int(TradingState.HALTED)
PAUSED: Final = int(TradingState.PAUSED)
QUOTATION_ONLY: Final = int(TradingState.QUOTATION_ONLY)
TRADING: Final = int(TradingState.TRADING)
START_OF_MARKET_HOURS: Final = int(SystemEvent.START_OF_MARKET_HOURS)
END_OF_MARKET_HOURS: Final = int(SystemEvent.END_OF_MARKET_HOURS)
_IMBALANCE_BUY: Final = int(Imbalance.BUY)
_IMBALANCE_SELL: Final = int(Imbalance.SELL)
_IMBALANCE_NONE: Final = int(Imbalance.NONE)
_TOO_FEW_ORDERS: Final = int(Imbalance.TOO_FEW_ORDERS)
#: Codes of the stock directory that say the same of every instrument here: common stock, production; and those that
#: this exchange has no use for.
_COMMON_STOCK: Final = ord("C")
_NOT_APPLICABLE: Final = ord("Z")
_PRODUCTION: Final = ord("P")
_YES_CODE: Final = ord("Y")
_NO_CODE: Final = ord("N")

_put_u32: Final = inlined(put_u32)


@inlined
def _put_u64(out, at, word):
    _put_u32(out, at, word >> 32)
    _put_u32(out, at + 4, word)


@inlined
def padded(word):
    """A right-aligned name as eight characters, padded with spaces on the right."""
    for _ in range(8):
        if lshr(word, 56) & 255 != 0:
            break
        word = (word << 8) | 32
    return word


@inlined
def _begin(tables: FeedTables, room: FeedRoom, at, message_bytes, kind, instrument, time_ns):
    """Write the frame and the head of a message; gives the place of its first byte.

    time_ns: as in a report. A session has times of its day only, counted from 00:00 of the date in which it begins,
    beyond 24 hours too: what the next one's first clock value ends, ends with the last nanosecond of the day.
    """
    out, feed = room.out, tables.feed[0]
    feed["messages"] += 1
    of_day_ns = max(min(time_ns, feed["day_end_ns"] - 1) - feed["day_ns"], np.int64(0))
    out[at] = 0
    out[at + 1] = message_bytes
    begin = at + _FRAME_BYTES
    out[begin + _HEAD.kind] = kind
    out[begin + _HEAD.stock_locate] = (instrument >> 8) & 255
    out[begin + _HEAD.stock_locate + 1] = instrument & 255
    out[begin + _HEAD.tracking_number] = 0
    out[begin + _HEAD.tracking_number + 1] = 0
    out[begin + _HEAD.time_ns] = (of_day_ns >> 40) & 255
    out[begin + _HEAD.time_ns + 1] = (of_day_ns >> 32) & 255
    _put_u32(out, begin + _HEAD.time_ns + 2, of_day_ns)
    return begin


@inlined
def put_event(tables: FeedTables, room: FeedRoom, at, time_ns, event):
    """A system event."""
    begin = _begin(tables, room, at, _S.end, _SYSTEM_EVENT, np.int64(0), time_ns)
    room.out[begin + _S.event] = event
    return begin + _S.end


@inlined
def put_directory(tables: FeedTables, room: FeedRoom, at, time_ns, instrument):
    """The stock directory entry of an instrument."""
    stock, out = tables.stocks[instrument], room.out
    begin = _begin(tables, room, at, _R.end, _STOCK_DIRECTORY, instrument, time_ns)
    _put_u64(out, begin + _R.stock, stock["stock"])
    out[begin + _R.market_category] = _SPACE
    out[begin + _R.financial_status] = _SPACE
    _put_u32(out, begin + _R.round_lot, stock["lot"])
    out[begin + _R.round_lots_only] = _YES_CODE if stock["lot"] > 1 else _NO_CODE
    out[begin + _R.issue_classification] = _COMMON_STOCK
    out[begin + _R.issue_subtype] = _NOT_APPLICABLE
    out[begin + _R.issue_subtype + 1] = _SPACE
    out[begin + _R.authenticity] = _PRODUCTION
    out[begin + _R.short_sale_threshold] = _SPACE
    out[begin + _R.ipo_flag] = _SPACE
    out[begin + _R.luld_tier] = _SPACE
    out[begin + _R.etp_flag] = _SPACE
    _put_u32(out, begin + _R.etp_leverage, np.int64(0))
    out[begin + _R.inverse] = _NO_CODE
    return begin + _R.end


@inlined
def put_action(tables: FeedTables, room: FeedRoom, at, time_ns, instrument, state, reason):
    """A trading action: state of an instrument. reason: four characters in a word."""
    out = room.out
    begin = _begin(tables, room, at, _H.end, _TRADING_ACTION, instrument, time_ns)
    _put_u64(out, begin + _H.stock, tables.stocks[instrument]["stock"])
    out[begin + _H.state] = state
    out[begin + _H.reserved] = _SPACE
    _put_u32(out, begin + _H.reason, reason)
    return begin + _H.end


@inlined
def put_add(tables: FeedTables, room: FeedRoom, at, time_ns, reference, row):
    """An order that is shown from now on, as its SHOWN row says."""
    out, instrument = room.out, np.int64(row["instrument"])
    begin = _begin(tables, room, at, _A.end, _ADD, instrument, time_ns)
    _put_u64(out, begin + _A.reference, reference)
    out[begin + _A.side] = _BUY if np.int64(row["side"]) > 0 else _SELL
    _put_u32(out, begin + _A.shares, np.int64(row["shown_qty"]))
    _put_u64(out, begin + _A.stock, tables.stocks[instrument]["stock"])
    _put_u32(out, begin + _A.price_e4, np.int64(row["price_e4"]))
    return begin + _A.end


@inlined
def put_executed(tables: FeedTables, room: FeedRoom, at, time_ns, instrument, reference, shares, match):
    """A trade of an order that is shown, at its price."""
    begin = _begin(tables, room, at, _E.end, _EXECUTED, instrument, time_ns)
    _put_u64(room.out, begin + _E.reference, reference)
    _put_u32(room.out, begin + _E.shares, shares)
    _put_u64(room.out, begin + _E.match_number, match)
    return begin + _E.end


@inlined
def put_executed_in_cross(
    tables: FeedTables, room: FeedRoom, at, time_ns, instrument, reference, shares, match, price_e4
):
    """A trade of an order that is shown, in a cross, which counts its shares itself."""
    out = room.out
    begin = _begin(tables, room, at, _C.end, _EXECUTED_WITH_PRICE, instrument, time_ns)
    _put_u64(out, begin + _C.reference, reference)
    _put_u32(out, begin + _C.shares, shares)
    _put_u64(out, begin + _C.match_number, match)
    out[begin + _C.printable] = _NO
    _put_u32(out, begin + _C.price_e4, price_e4)
    return begin + _C.end


@inlined
def put_cancel(tables: FeedTables, room: FeedRoom, at, time_ns, instrument, reference, shares):
    """An order shows so many shares less."""
    begin = _begin(tables, room, at, _X.end, _CANCEL, instrument, time_ns)
    _put_u64(room.out, begin + _X.reference, reference)
    _put_u32(room.out, begin + _X.shares, shares)
    return begin + _X.end


@inlined
def put_delete(tables: FeedTables, room: FeedRoom, at, time_ns, instrument, reference):
    """An order is not shown any more."""
    begin = _begin(tables, room, at, _D.end, _DELETE, instrument, time_ns)
    _put_u64(room.out, begin + _D.reference, reference)
    return begin + _D.end


@inlined
def put_replace(tables: FeedTables, room: FeedRoom, at, time_ns, reference, new_reference, row):
    """An order is shown under another reference, behind the others at its price, as its SHOWN row says."""
    out = room.out
    begin = _begin(tables, room, at, _U.end, _REPLACE, np.int64(row["instrument"]), time_ns)
    _put_u64(out, begin + _U.reference, reference)
    _put_u64(out, begin + _U.new_reference, new_reference)
    _put_u32(out, begin + _U.shares, np.int64(row["shown_qty"]))
    _put_u32(out, begin + _U.price_e4, np.int64(row["price_e4"]))
    return begin + _U.end


@inlined
def put_trade(tables: FeedTables, room: FeedRoom, at, time_ns, instrument, shares, price_e4, match):
    """A trade of orders that are not shown. Its side is always that of a buy, and it has no reference: neither tells
    of the order that rested."""
    out = room.out
    begin = _begin(tables, room, at, _P.end, _TRADE, instrument, time_ns)
    _put_u64(out, begin + _P.reference, np.int64(0))
    out[begin + _P.side] = _BUY
    _put_u32(out, begin + _P.shares, shares)
    _put_u64(out, begin + _P.stock, tables.stocks[instrument]["stock"])
    _put_u32(out, begin + _P.price_e4, price_e4)
    _put_u64(out, begin + _P.match_number, match)
    return begin + _P.end


@inlined
def put_cross_trade(tables: FeedTables, room: FeedRoom, at):
    """All trades of the uncross under way, as one; ``FEED`` has its numbers."""
    out, feed = room.out, tables.feed[0]
    instrument = feed["cross_instrument"]
    begin = _begin(tables, room, at, _Q.end, _CROSS_TRADE, instrument, feed["cross_time_ns"])
    _put_u64(out, begin + _Q.shares, feed["cross_qty"])
    _put_u64(out, begin + _Q.stock, tables.stocks[instrument]["stock"])
    _put_u32(out, begin + _Q.price_e4, feed["cross_price_e4"])
    _put_u64(out, begin + _Q.match_number, feed["cross_match"])
    out[begin + _Q.cross] = feed["cross_kind"]
    return begin + _Q.end


@inlined
def put_noii(tables: FeedTables, room: FeedRoom, at, row, cross):
    """Imbalance in a call, of an INDICATIVE report. Near and reference price are that of the uncross now; there is no
    far price, which is of orders of the cross alone, and no variation, which is of a far price."""
    out, instrument, price_e4 = room.out, np.int64(row["instrument"]), row["price_e4"]
    direction, side = _IMBALANCE_NONE, np.int64(row["side"])
    if side > 0:
        direction = _IMBALANCE_BUY
    elif side < 0:
        direction = _IMBALANCE_SELL
    elif price_e4 == 0:
        direction = _TOO_FEW_ORDERS
    begin = _begin(tables, room, at, _I.end, _NOII, instrument, row["time_ns"])
    _put_u64(out, begin + _I.paired_shares, np.int64(row["paired_qty"]))
    _put_u64(out, begin + _I.imbalance_shares, row["imbalance_qty"])
    out[begin + _I.direction] = direction
    _put_u64(out, begin + _I.stock, tables.stocks[instrument]["stock"])
    _put_u32(out, begin + _I.far_e4, np.int64(0))
    _put_u32(out, begin + _I.near_e4, price_e4)
    _put_u32(out, begin + _I.reference_e4, price_e4)
    out[begin + _I.cross] = cross
    out[begin + _I.variation] = _SPACE
    return begin + _I.end


@inlined
def put_levels(tables: FeedTables, room: FeedRoom, at, time_ns, first_e8, second_e8, third_e8):
    """Values of the index at which its levels act, with eight decimals; 0: there is no such level."""
    begin = _begin(tables, room, at, _V.end, _MWCB_LEVELS, np.int64(0), time_ns)
    _put_u64(room.out, begin + _V.level_1_e8, first_e8)
    _put_u64(room.out, begin + _V.level_2_e8, second_e8)
    _put_u64(room.out, begin + _V.level_3_e8, third_e8)
    return begin + _V.end


@inlined
def put_level_reached(tables: FeedTables, room: FeedRoom, at, time_ns, level):
    """A level, 1 to 3, that halts or closes the market."""
    begin = _begin(tables, room, at, _W.end, _MWCB_STATUS, np.int64(0), time_ns)
    room.out[begin + _W.level] = _ZERO + level
    return begin + _W.end
