"""Kernel that makes the ITCH messages of REPORT rows.

It is a fold over reports: what an order showed before, and under which reference, comes from ``FeedTables``. A report
says where its order is in the book and what it shows there, so one rule serves all kinds but trades: who was shown and
is not, is deleted; who was not and is, is added; who shows less, is canceled in part; who goes to the back of the queue
or has another price, is replaced. A trade of an order that is shown is an execution, any other one a trade without an
order. The uncross is told by an execution for each order in it, and one cross trade.

Nothing depends on how reports are cut into batches: a cross trade waits for the report after the uncross, or the end of
the block, which is the end of its command.
"""

from typing import Final

import numpy as np

from engine.bounds import DAY_NS
from engine.delay import trading_day_of
from engine.jit import called, inlined
from engine.records import CommandKind, Instruction, Phase, Reason, VenueSetting
from marketdata.itch.market_levels import (
    add_index,
    forget_members,
    gather_members,
    look_at_levels,
    note_price,
    put_first_levels,
)
from marketdata.itch.shown import find, insert, reference_of, remove
from marketdata.itch.tables import FURTHER_REFERENCES, FeedRoom, FeedTables, unpack_room, unpack_tables
from marketdata.itch.writing import (
    CLOSING,
    END_OF_MARKET_HOURS,
    HALT,
    HALTED,
    OPENING,
    PAUSED,
    QUOTATION_ONLY,
    START_OF_MARKET_HOURS,
    TRADING,
    padded,
    put_action,
    put_add,
    put_cancel,
    put_cross_trade,
    put_delete,
    put_directory,
    put_event,
    put_executed,
    put_executed_in_cross,
    put_level_reached,
    put_noii,
    put_replace,
    put_trade,
)
from reports.rows import InBook, Liquidity, ReportKind
from wire.itch_layout import PRICE_E4_MAX

#: The kernel stopped: all rows are done; the room may not be enough for the next; a session begins at the row; its
#: order shows more without going to the back of its queue.
DONE: Final = 0
FULL: Final = 1
DAY: Final = 2
GREW: Final = 3
#: Bytes that one report needs at most: a cross trade before it, a system event, an execution, an order that is added.
ROW_BYTES_MAX: Final = 256

_BEFORE: Final = int(InBook.BEFORE)
_AFTER: Final = int(InBook.AFTER)
_NEW_PRIORITY: Final = int(InBook.NEW_PRIORITY)
_DAY_START: Final = int(VenueSetting.DAY_START)
_DARK: Final = int(Instruction.HIDDEN | Instruction.PEG)
_PRICE_MAX: Final = np.int64(PRICE_E4_MAX)
#: Reasons of a trading action, as four characters in a word: by command, volatility, a market-wide halt of level 1.
_OF_OPERATIONS: Final = int.from_bytes(b"O1  ", "big")
_OF_VOLATILITY: Final = int.from_bytes(b"LUDP", "big")
_MARKET_WIDE: Final = int.from_bytes(b"MWC1", "big")
NO_REASON: Final = int.from_bytes(b"    ", "big")


@inlined
def _is_of_cross(liquidity):
    return liquidity >= Liquidity.OPENING_CROSS and liquidity <= Liquidity.HALT_CROSS


@inlined
def _cross_of(liquidity):
    if liquidity == Liquidity.CLOSING_CROSS:
        return np.int64(CLOSING)
    return np.int64(HALT if liquidity == Liquidity.HALT_CROSS else OPENING)


@inlined
def _shown_after(row):
    """Quantity that the feed shows of an order after a report: none of one that is dark, or has no price that fits."""
    in_book, price_e4 = np.int64(row["in_book"]), row["price_e4"]
    if not in_book & _AFTER or np.int64(row["book"]) != 0 or np.int64(row["instructions"]) & _DARK:
        return np.int64(0)
    return np.int64(row["displayed_qty"]) if price_e4 > 0 and price_e4 <= _PRICE_MAX else np.int64(0)


@inlined
def _next_place(tables: FeedTables):
    tables.feed[0]["places"] += 1
    return tables.feed[0]["places"]


@inlined
def _add(tables: FeedTables, room: FeedRoom, at, row, shown_qty):
    """Show an order, under its number if it is the first time."""
    place = insert(tables, row["order_number"])
    there = tables.shown[place]
    there["place"] = _next_place(tables)
    there["price_e4"] = row["price_e4"]
    there["shown_qty"] = shown_qty
    there["instrument"] = row["instrument"]
    there["side"] = row["side"]
    there["again"] = _was_shown(tables, row)
    return put_add(tables, room, at, row["time_ns"], reference_of(there), there)


@inlined
def _was_shown(tables: FeedTables, row):
    """1 if an order that comes to be shown may have been shown before: the next part of an iceberg, or after a replace
    that put it back at once, or had it run first."""
    kind = np.int64(row["kind"])
    again = kind == ReportKind.REPLENISHED or kind == ReportKind.REPLACED
    again = again or row["order_number"] == tables.feed[0]["running"]
    return np.int64(again or row["order_number"] >= FURTHER_REFERENCES)


@inlined
def _traded(tables: FeedTables, room: FeedRoom, at, row):
    """A side of a trade."""
    liquidity, instrument, time_ns = np.int64(row["liquidity"]), np.int64(row["instrument"]), row["time_ns"]
    traded_qty, price_e4, match = np.int64(row["last_qty"]), row["last_price_e4"], row["trade_number"]
    note_price(tables, row)
    place = np.int64(-1)
    if np.int64(row["in_book"]) & _BEFORE:
        place = find(tables, row["order_number"])
    if _is_of_cross(liquidity):
        return _crossed(tables, room, at, row, place)
    if place >= 0 and liquidity == Liquidity.ADDED:
        there = tables.shown[place]
        shown_qty = np.int64(there["shown_qty"])
        at = put_executed(tables, room, at, time_ns, instrument, reference_of(there), min(traded_qty, shown_qty), match)
        if traded_qty >= shown_qty:
            remove(tables, place)
        else:
            there["shown_qty"] = shown_qty - traded_qty
        return at
    resting = liquidity == Liquidity.ADDED or liquidity == Liquidity.MIDPOINT_ADDED
    if resting or (liquidity == Liquidity.AGREED_CROSS and np.int64(row["side"]) > 0):
        if price_e4 > _PRICE_MAX:
            tables.feed[0]["left_out"] += 1
            return at
        return put_trade(tables, room, at, time_ns, instrument, traded_qty, price_e4, match)
    shown_qty = _shown_after(row)
    if shown_qty > 0:
        at = _add(tables, room, at, row, shown_qty)
    return at


@called
def _crossed(tables: FeedTables, room: FeedRoom, at, row, place):
    """A side of a trade in an uncross. An iceberg trades its reserve first, as far as the feed tells: it then shows
    what it will show after the uncross, at its place."""
    instrument, time_ns = np.int64(row["instrument"]), row["time_ns"]
    price_e4, match, feed = row["last_price_e4"], row["trade_number"], tables.feed[0]
    if place >= 0:
        there = tables.shown[place]
        left_qty = np.int64(row["leaves_qty"])
        if np.int64(row["display_qty"]) > 0:
            left_qty = min(left_qty, np.int64(row["display_qty"]))
        reference, cut_qty = reference_of(there), np.int64(there["shown_qty"]) - left_qty
        if cut_qty > 0:
            if price_e4 <= _PRICE_MAX:
                at = put_executed_in_cross(tables, room, at, time_ns, instrument, reference, cut_qty, match, price_e4)
            elif left_qty == 0:
                at = put_delete(tables, room, at, time_ns, instrument, reference)
            else:
                at = put_cancel(tables, room, at, time_ns, instrument, reference, cut_qty)
            there["shown_qty"] = left_qty
        if left_qty == 0:
            remove(tables, place)
    if np.int64(row["side"]) > 0:
        if feed["cross_qty"] == 0:
            feed["cross_match"] = match
            feed["cross_price_e4"] = price_e4
            feed["cross_kind"] = _cross_of(np.int64(row["liquidity"]))
            feed["cross_instrument"] = instrument
            feed["cross_time_ns"] = time_ns
        feed["cross_qty"] += np.int64(row["last_qty"])
    return at


@inlined
def _goes_on(tables: FeedTables, row):
    """True if a report is of the uncross under way."""
    same = np.int64(row["kind"]) == ReportKind.TRADE and _is_of_cross(np.int64(row["liquidity"]))
    return same and np.int64(row["instrument"]) == tables.feed[0]["cross_instrument"]


@called
def _end_cross(tables: FeedTables, room: FeedRoom, at):
    """The cross trade of the uncross that has ended."""
    feed = tables.feed[0]
    if feed["cross_price_e4"] > _PRICE_MAX:
        feed["left_out"] += 1
    else:
        at = put_cross_trade(tables, room, at)
    feed["cross_qty"] = 0
    feed["cross_price_e4"] = 0
    feed["cross_match"] = 0
    feed["cross_kind"] = 0
    feed["cross_instrument"] = 0
    feed["cross_time_ns"] = 0
    return at


@inlined
def _moved(tables: FeedTables, room: FeedRoom, at, row):
    """Any other report of an order; -1 where it shows more at its place."""
    shown_qty, place = _shown_after(row), np.int64(-1)
    if np.int64(row["kind"]) == ReportKind.REPLACED and not np.int64(row["in_book"]) & _AFTER:
        tables.feed[0]["running"] = row["order_number"]
    if np.int64(row["in_book"]) & _BEFORE:
        place = find(tables, row["order_number"])
    if place < 0:
        if shown_qty > 0:
            at = _add(tables, room, at, row, shown_qty)
        return at
    there = tables.shown[place]
    before_qty, instrument, time_ns = np.int64(there["shown_qty"]), np.int64(there["instrument"]), row["time_ns"]
    if shown_qty == 0:
        at = put_delete(tables, room, at, time_ns, instrument, reference_of(there))
        remove(tables, place)
        return at
    if np.int64(row["in_book"]) & _NEW_PRIORITY or row["price_e4"] != np.int64(there["price_e4"]):
        reference = reference_of(there)
        there["place"] = _next_place(tables)
        there["again"] = 1
        there["price_e4"] = row["price_e4"]
        there["shown_qty"] = shown_qty
        return put_replace(tables, room, at, time_ns, reference, reference_of(there), there)
    if shown_qty < before_qty:
        there["shown_qty"] = shown_qty
        return put_cancel(tables, room, at, time_ns, instrument, reference_of(there), before_qty - shown_qty)
    return at if shown_qty == before_qty else np.int64(-1)


@inlined
def _state_of(phase, reason):
    """Trading state of a phase: quotation only where orders rest without trading, halted too where it is closed."""
    if phase == Phase.CONTINUOUS:
        return TRADING
    if phase == Phase.HALTED:
        return PAUSED if reason == Reason.VOLATILITY else HALTED
    return HALTED if phase == Phase.CLOSED else QUOTATION_ONLY


@inlined
def _reason_of(reason):
    if reason == 0:
        return NO_REASON
    if reason == Reason.VOLATILITY:
        return _OF_VOLATILITY
    return _MARKET_WIDE + (reason >> 8) - 1 if reason & 255 == Reason.MARKET_WIDE else _OF_OPERATIONS


@called
def put_state(tables: FeedTables, room: FeedRoom, at, time_ns, instrument):
    """The trading action that says in which state an instrument is."""
    stock = tables.stocks[instrument]
    state, reason = _state_of(stock["phase"], stock["reason"]), _reason_of(stock["reason"])
    return put_action(tables, room, at, time_ns, instrument, state, reason)


@called
def _phase(tables: FeedTables, room: FeedRoom, at, row):
    """A phase or a halt. Market hours last from the first continuous trading of a day until all is closed."""
    feed, phase = tables.feed[0], np.int64(row["phase"])
    instrument = min(np.int64(row["instrument"]), np.int64(len(tables.stocks) - 1))
    stock = tables.stocks[instrument]
    reason = np.int64(row["reason"]) if np.int64(row["kind"]) == ReportKind.HALTED else np.int64(0)
    if feed["indices"] != 0 and (reason == Reason.MARKET_WIDE or phase == Phase.CLOSED):
        at = look_at_levels(tables, room, at, row["time_ns"], phase == Phase.CLOSED)
    if reason == Reason.MARKET_WIDE:
        reason += feed["acts"] << 8
    if stock["phase"] == phase and stock["reason"] == reason:
        return at
    feed["not_closed"] += np.int64(phase != Phase.CLOSED) - np.int64(stock["phase"] != Phase.CLOSED)
    stock["phase"] = phase
    stock["reason"] = reason
    if phase == Phase.CONTINUOUS and feed["opened"] == 0:
        feed["opened"] = 1
        at = put_event(tables, room, at, row["time_ns"], START_OF_MARKET_HOURS)
    at = put_state(tables, room, at, row["time_ns"], instrument)
    if feed["not_closed"] == 0 and feed["opened"] != 0 and feed["closed"] == 0:
        feed["closed"] = 1
        at = put_event(tables, room, at, row["time_ns"], END_OF_MARKET_HOURS)
    return at


@called
def _of_market(tables: FeedTables, room: FeedRoom, at, row):
    """A report about no order."""
    kind, feed = np.int64(row["kind"]), tables.feed[0]
    if kind == ReportKind.PHASE or kind == ReportKind.HALTED:
        return _phase(tables, room, at, row)
    if kind == ReportKind.INSTRUMENT:
        number = min(np.int64(row["instrument"]), np.int64(len(tables.stocks) - 1))
        feed["instruments"] = number
        stock = tables.stocks[number]
        stock["stock"] = padded(row["symbol"])
        stock["lot"] = np.int64(row["lot"])
        stock["phase"] = np.int64(Phase.CLOSED)
        stock["reason"] = 0
        stock["price_e4"] = row["reference_e4"]
        at = put_directory(tables, room, at, row["time_ns"], number)
        return put_state(tables, room, at, row["time_ns"], number)
    if kind == ReportKind.VENUE and np.int64(row["settings"]) & _DAY_START:
        feed["day_start_ns"] = row["day_start_ns"]
        feed["day_end_ns"] = (trading_day_of(row["time_ns"], row["day_start_ns"]) + 1) * DAY_NS + row["day_start_ns"]
        return at
    if kind == ReportKind.MEMBERS:
        gather_members(tables, row)
        return at
    if kind == ReportKind.INDEX:
        add_index(tables, row)
        return put_first_levels(tables, room, at, row["time_ns"]) if feed["indices"] == 1 else at
    if kind == ReportKind.INDICATIVE:
        if row["price_e4"] > _PRICE_MAX:
            feed["left_out"] += 1
            return at
        phase, cross = tables.stocks[np.int64(row["instrument"])]["phase"], OPENING
        if phase == Phase.AUCTION:
            cross = HALT
        elif phase == Phase.CLOSING_AUCTION:
            cross = CLOSING
        return put_noii(tables, room, at, row, cross)
    return at


@called
def make_messages(tables_at, room_at, rows, n, at, ends):
    """Write the messages of REPORT rows from row ``n`` on to the room, from byte ``at`` on.

    tables_at, room_at: pointers of the packed tables and room (``jit.Packed``). ends: 1 if the rows end a block. Gives
    (next row, byte after the last message, why it stopped). At DAY the session begins that the row belongs to; at GREW
    the row is the caller's.
    """
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    feed, end = tables.feed[0], len(room.out) - ROW_BYTES_MAX
    for place in range(n, len(rows)):
        row = rows[place]
        kind = np.int64(row["kind"])
        if at > end:
            return place, at, FULL
        if feed["cross_qty"] != 0 and not _goes_on(tables, row):
            at = _end_cross(tables, room, at)
        if feed["begun"] == 0 or kind == ReportKind.TRADING_DAY:
            return place, at, DAY
        feed["seq"] = row["seq"]
        if kind == ReportKind.TRADE:
            at = _traded(tables, room, at, row)
        elif kind >= ReportKind.PHASE:
            at = _of_market(tables, room, at, row)
        elif kind != ReportKind.REJECTED and kind != ReportKind.CANCEL_REJECTED:
            moved = _moved(tables, room, at, row)
            if moved < 0:
                return place, at, GREW
            at = moved
        elif kind == ReportKind.REJECTED and np.int64(row["command_kind"]) == CommandKind.INDEX:
            forget_members(tables)
    if ends != 0 and feed["cross_qty"] != 0:
        if at > end:
            return len(rows), at, FULL
        at = _end_cross(tables, room, at)
    return len(rows), at, DONE


@called
def put_standing(tables_at, room_at, number, at, time_ns):
    """Write directory and state of instrument ``number``; gives the byte after them."""
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    at = put_directory(tables, room, at, time_ns, number)
    return put_state(tables, room, at, time_ns, number)


@called
def put_market(tables_at, room_at, at, time_ns):
    """Write the levels of market-wide halts, and the deepest that was reached; gives the byte after them."""
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    at = put_first_levels(tables, room, at, time_ns)
    if tables.feed[0]["reached"] != 0:
        at = put_level_reached(tables, room, at, time_ns, tables.feed[0]["reached"])
    return at


@called
def put_events(tables_at, room_at, at, time_ns, events):
    """Write system events; gives the byte after them."""
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    for n in range(len(events)):
        at = put_event(tables, room, at, time_ns, np.int64(events[n]))
    return at


@called
def put_orders(tables_at, room_at, rows, n, at, time_ns):
    """Write SHOWN rows from ``n`` on as orders that are added; gives (next row, byte after the last message)."""
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    for place in range(n, len(rows)):
        if at > len(room.out) - ROW_BYTES_MAX:
            return place, at
        at = put_add(tables, room, at, time_ns, reference_of(rows[place]), rows[place])
    return len(rows), at


@called
def requeue(tables_at, room_at, rows, n, at, time_ns, shown_qty):
    """Show the orders of SHOWN rows behind the others, in this order: row 0 with another quantity.

    Gives (next row, byte after the last message).
    """
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    for turn in range(n, len(rows)):
        if at > len(room.out) - ROW_BYTES_MAX:
            return turn, at
        place = find(tables, rows[turn]["order_number"])
        if place >= 0:
            there = tables.shown[place]
            reference = reference_of(there)
            there["place"] = _next_place(tables)
            there["again"] = 1
            if turn == 0:
                there["shown_qty"] = shown_qty
            at = put_replace(tables, room, at, time_ns, reference, reference_of(there), there)
    return len(rows), at
