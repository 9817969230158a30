"""Kernels that write REPORT rows, place by place, into ``ReportRoom``."""

from typing import Final

import numpy as np

from engine.jit import called, inlined
from engine.records import Book, CommandKind, Instruction
from reports.rows import REPORT_WORDS, InBook, ReportKind
from reports.tables import (
    HAS_TERMS,
    IN_BOOK,
    OF_MIDPOINT,
    PEG_BITS,
    PEG_MASK,
    WAS_REPLACED,
    ReportRoom,
    ReportTables,
    unpack_room,
    unpack_tables,
)

_BEFORE: Final = int(InBook.BEFORE)
_AFTER: Final = int(InBook.AFTER)
_DARK: Final = int(Instruction.DISPLAY | Instruction.HIDDEN | Instruction.PEG)
_HIDDEN: Final = int(Instruction.HIDDEN | Instruction.PEG)
_NARROW_MAX: Final = np.int64(2**32 - 1)


@inlined
def narrow(number):
    """A number as a place of four bytes has it: 0 for one below, the largest for one that does not fit."""
    return min(max(number, np.int64(0)), _NARROW_MAX)


@inlined
def begin_report(tables: ReportTables, room: ReportRoom, r, kind, command_kind):
    """Write the places that every report has; all others are zero."""
    for n in range(REPORT_WORDS):
        room.words[r, n] = 0
    venue, row = tables.venue[0], room.rows[r]
    venue["number"] += 1
    row["seq"] = venue["seq"]
    row["time_ns"] = venue["now_ns"]
    row["number"] = venue["number"]
    row["kind"] = kind
    row["command_kind"] = command_kind


@inlined
def put_instrument(tables: ReportTables, row, instrument):
    """Number and symbol of an instrument."""
    row["instrument"] = instrument
    row["symbol"] = tables.instruments[min(instrument, len(tables.instruments) - 1)]["symbol"]


@inlined
def put_participant(tables: ReportTables, row, participant):
    """Number and name of a participant."""
    row["participant"] = participant
    row["participant_name"] = tables.participants[min(participant, len(tables.participants) - 1)]


@inlined
def is_user(tables: ReportTables, user):
    """True if a user of that number is defined."""
    return user != 0 and user <= tables.venue[0]["users"]


@inlined
def put_user(tables: ReportTables, row, user):
    """Number, name and firm of a user that is defined, or of none."""
    there = tables.users[user]
    row["user"] = user
    row["user_name"] = there["name"]
    row["firm"] = there["firm"]


@inlined
def put_other(tables: ReportTables, row, user):
    """Number and firm of a second user, or of none."""
    row["other_user"] = user
    row["other_firm"] = tables.users[user]["firm"]


@inlined
def put_order(tables: ReportTables, row, place, in_book):
    """The places of an order, from its row in the table. in_book: bits of ``InBook``."""
    order = tables.orders[place]
    qty, leaves_qty, cum_qty = np.int64(order["qty"]), np.int64(order["leaves_qty"]), np.int64(order["cum_qty"])
    row["order_number"] = order["order_number"]
    row["client_order_id"] = order["client_order_id"]
    row["price_e4"] = order["price_e4"]
    row["notional_e4"] = order["notional_e4"]
    put_instrument(tables, row, np.int64(order["instrument"]))
    put_participant(tables, row, np.int64(order["participant"]))
    put_user(tables, row, np.int64(order["user"]))
    row["context"] = order["context"]
    row["qty"] = qty
    row["leaves_qty"] = leaves_qty
    row["cum_qty"] = cum_qty
    row["canceled_qty"] = max(qty - leaves_qty - cum_qty, np.int64(0))
    row["original_qty"] = qty
    row["displayed_qty"] = leaves_qty if in_book & _AFTER else np.int64(0)
    row["instructions"] = order["instructions"]
    row["side"] = order["side"]
    row["time_in_force"] = order["time_in_force"]
    row["self_trade"] = order["self_trade"]
    row["in_book"] = in_book
    flags = np.int64(order["flags"])
    row["peg"] = flags >> PEG_BITS & PEG_MASK
    row["flags"] |= flags & WAS_REPLACED
    if flags & HAS_TERMS:
        _put_terms(tables, row, place)
    if flags & OF_MIDPOINT:
        row["book"] = np.int64(Book.MIDPOINT)
        row["displayed_qty"] = np.int64(0)
    elif np.int64(order["instructions"]) & _DARK and in_book & _AFTER:
        row["displayed_qty"] = shown_qty(tables, place)


@called
def shown_qty(tables: ReportTables, place):
    """Quantity that the book shows of an iceberg, a hidden order or a peg in it."""
    if np.int64(tables.orders[place]["instructions"]) & _HIDDEN:
        return np.int64(0)
    return np.int64(tables.terms[place]["shown_qty"])


@called
def _put_terms(tables: ReportTables, row, place):
    terms = tables.terms[place]
    row["token_head"] = terms["token_head"]
    row["token_tail"] = terms["token_tail"]
    row["original_qty"] = narrow(terms["original_qty"])
    row["min_qty"] = narrow(terms["min_qty"])
    row["display_qty"] = np.int64(terms["display_qty"])
    row["stop_price_e4"] = terms["stop_price_e4"]
    row["offset_e4"] = terms["offset_e4"]
    row["until_ns"] = terms["until_ns"]


@inlined
def standing(tables: ReportTables, place):
    """Bits of ``InBook`` of an order that a report leaves where it is."""
    return np.int64(_BEFORE | _AFTER) if np.int64(tables.orders[place]["flags"]) & IN_BOOK else np.int64(0)


@called
def restate_orders(tables_at, room_at, places):
    """Write a row of the room for each order at ``places`` of the table, as it stands; the rows are zero before.

    tables_at, room_at: pointers of the packed tables and room. Their ``number`` is 0: they are none of the reports of
    the command.
    """
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    venue = tables.venue[0]
    for r in range(len(places)):
        row, place = room.rows[r], places[r]
        row["seq"] = venue["seq"]
        row["time_ns"] = venue["now_ns"]
        row["kind"] = ReportKind.RESTATED
        row["command_kind"] = CommandKind.CLOCK
        in_book = np.int64(tables.orders[place]["flags"]) & IN_BOOK
        put_order(tables, row, place, np.int64(_BEFORE | _AFTER) if in_book else np.int64(0))
