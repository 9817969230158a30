"""Kernel that makes the REPORT rows of a block out of its COMMAND rows and EVENT rows.

It is a fold: what a report says beyond its command and event (sums, quantities, tokens, users, names) comes from
``ReportTables``, which the reports before have filled. Block boundaries change nothing. The sources are the event table
of ``engine.records`` and section 11 of the rulebook; ``reports.reference`` is the same fold, written independently.
"""

from typing import Final

import numpy as np

from engine.clock import is_extend, moves_clock
from engine.jit import called, inlined
from engine.records import CommandKind, EventKind, Instruction, Reason, TimeInForce
from reports.contexts import OF_DISCONNECT, after_modify, after_replace, is_modify, unentered, user_in, with_user
from reports.crosses import report_cross
from reports.definitions import begin_command, report_trading_day
from reports.market import ends_with_day, report_market
from reports.orders import clear, clear_terms, copy, expect, find, insert, remove, scratch
from reports.refusals import report_refusal
from reports.rows import InBook, Liquidity, ReportKind
from reports.schedules import drop_met, is_scheduled_close
from reports.tables import (
    HAS_TERMS,
    IN_BOOK,
    OF_MIDPOINT,
    PEG_BITS,
    WAS_REPLACED,
    ReportRoom,
    ReportTables,
    unpack_room,
    unpack_tables,
)
from reports.waiting import effect_of, end_effect, ends_effect, is_answer, put_waiting
from reports.writing import begin_report, is_user, narrow, put_order, put_other

_MIN_QTY: Final = int(Instruction.MIN_QTY)
_STOP: Final = int(Instruction.STOP)
_DISPLAY: Final = int(Instruction.DISPLAY)
_UNTIL: Final = int(Instruction.UNTIL)
_PEG: Final = int(Instruction.PEG)
_OFFSET: Final = int(Instruction.OFFSET)
_TERMS: Final = _MIN_QTY | _STOP | _DISPLAY | _UNTIL | _OFFSET
_BEFORE: Final = int(InBook.BEFORE)
_AFTER: Final = int(InBook.AFTER)
_NEW_PRIORITY: Final = int(InBook.NEW_PRIORITY)

#: Rows that one event needs at most: two of a trade, and a new trading day before them.
EVENT_REPORTS_MAX: Final = 3
#: Distance, in events, from the one whose orders are loaded to the one that is reported: the latency of memory.
_AHEAD: Final = 8


@inlined
def _last_of(tables: ReportTables, events, n, participant, client_order_id):
    """Place of the last event of the command of event n that is about an order which runs as aggressor; n if none."""
    last = n
    traded = False
    seq = events[n]["seq"]
    for m in range(n + 1, len(events)):
        event = events[m]
        kind = np.int64(event["kind"])
        if (
            event["seq"] != seq
            or kind == EventKind.TRIGGERED
            or kind == EventKind.REPRICED
            or is_answer(event)
            or ends_effect(event, traded)
            or (kind == EventKind.PHASE and is_scheduled_close(tables, events, n, m))
        ):
            break
        if kind == EventKind.TRADE:
            traded = True
            if (
                event["contra_client_order_id"] == client_order_id
                and np.int64(event["contra_participant"]) == participant
            ):
                last = m
        elif kind == EventKind.CANCELED:
            if event["client_order_id"] == client_order_id and np.int64(event["participant"]) == participant:
                last = m
    return last


@inlined
def _moved(tables: ReportTables, place, n):
    """Bits of ``InBook`` of an order after event n, which its flags then say too."""
    order = tables.orders[place]
    flags = np.int64(order["flags"])
    bits = np.int64(_BEFORE) if flags & IN_BOOK else np.int64(0)
    if np.int64(order["leaves_qty"]) > 0 and (bits != 0 or n == tables.venue[0]["last_own"]):
        order["flags"] = flags | IN_BOOK
        if bits == 0 and np.int64(order["instructions"]) & _DISPLAY:
            _show(tables, place)
        return bits | _AFTER
    order["flags"] = flags & ~IN_BOOK
    return bits


@called
def _show(tables: ReportTables, place):
    """An iceberg that comes to rest shows its first part."""
    terms = tables.terms[place]
    terms["shown_qty"] = min(np.int64(terms["display_qty"]), np.int64(tables.orders[place]["leaves_qty"]))


@called
def _shows_less(tables: ReportTables, place, traded_qty):
    """An iceberg of the book shows less by what it traded, and no more than it has open."""
    terms = tables.terms[place]
    shown_qty = max(np.int64(terms["shown_qty"]) - traded_qty, np.int64(0))
    terms["shown_qty"] = min(shown_qty, np.int64(tables.orders[place]["leaves_qty"]))


@called
def _unknown_order(tables: ReportTables, event, participant, client_order_id, qty):
    """Place of the scratch row, with what an event says of an order that the fold does not know."""
    place = scratch(tables)
    clear(tables, place)
    order = tables.orders[place]
    order["client_order_id"] = client_order_id
    order["participant"] = min(participant, np.int64(65_535))
    order["instrument"] = min(np.int64(event["instrument"]), np.int64(len(tables.instruments) - 1))
    order["qty"] = narrow(qty)
    order["leaves_qty"] = narrow(qty)
    return place


@called
def _put_tokens(tables: ReportTables, place, head, tail):
    """Give an order a long token, or none (0, 0)."""
    order, terms = tables.orders[place], tables.terms[place]
    if (head | tail) != 0 and not np.int64(order["flags"]) & HAS_TERMS:
        clear_terms(tables, place)
        terms["original_qty"] = order["qty"]
        order["flags"] = np.int64(order["flags"]) | HAS_TERMS
    if np.int64(order["flags"]) & HAS_TERMS:
        terms["token_head"] = head
        terms["token_tail"] = tail


@inlined
def _accepted(tables: ReportTables, room: ReportRoom, r, events, n, command, extend):
    event = events[n]
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    place = insert(tables, participant, client_order_id)
    order = tables.orders[place]
    context = command["context"]
    user = user_in(context)
    if not is_user(tables, user):
        user = np.int64(0)
        context = unentered(np.int64(event["side"]))
    order["order_number"] = event["order_number"]
    order["notional_e4"] = 0
    order["price_e4"] = event["price_e4"]
    order["context"] = context
    order["qty"] = narrow(event["qty"])
    order["leaves_qty"] = narrow(event["qty"])
    order["cum_qty"] = 0
    order["user"] = user
    order["instrument"] = min(np.int64(event["instrument"]), np.int64(len(tables.instruments) - 1))
    order["instructions"] = command["instructions"]
    order["side"] = event["side"]
    order["time_in_force"] = command["time_in_force"]
    order["self_trade"] = command["self_trade"]
    order["flags"] = 0
    if (extend["token_head"] | extend["token_tail"]) != 0 or np.int64(command["instructions"]) & _TERMS:
        order["flags"] = HAS_TERMS
        clear_terms(tables, place)
        terms = tables.terms[place]
        terms["token_head"] = extend["token_head"]
        terms["token_tail"] = extend["token_tail"]
        terms["original_qty"] = event["qty"]
        if np.int64(command["instructions"]) & _UNTIL:
            terms["until_ns"] = command["until_ns"]
        else:
            terms["min_qty"] = command["min_qty"]
        if np.int64(command["instructions"]) & _STOP:
            terms["stop_price_e4"] = command["stop_e4"]
        elif np.int64(command["instructions"]) & _DISPLAY:
            terms["display_qty"] = narrow(command["display_qty"])
        else:
            terms["offset_e4"] = command["offset_e4"]
    if np.int64(command["book"]) != 0:
        order["flags"] = np.int64(order["flags"]) | OF_MIDPOINT
    waits = np.int64(command["instructions"]) & (_STOP | _PEG)
    if waits & _PEG:
        order["flags"] = np.int64(order["flags"]) | np.int64(command["peg"]) << PEG_BITS
    waits |= np.int64(np.int64(command["time_in_force"]) == TimeInForce.CLOSING)
    tables.venue[0]["last_own"] = -1 if waits else _last_of(tables, events, n, participant, client_order_id)
    in_book = _moved(tables, place, n)
    begin_report(tables, room, r, ReportKind.NEW, command["kind"])
    row = room.rows[r]
    put_order(tables, row, place, in_book)
    row["command_context"] = command["context"]
    return r + 1


@inlined
def _traded(tables: ReportTables, room: ReportRoom, r, events, n, command_kind):
    """Report both sides of a trade: the resting order (in an uncross the buy), then the aggressor (the sell)."""
    event = events[n]
    traded_qty, price_e4 = event["qty"], event["price_e4"]
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    contra, contra_id = np.int64(event["contra_participant"]), event["contra_client_order_id"]
    instrument = min(np.int64(event["instrument"]), np.int64(len(tables.instruments) - 1))
    liquidity = np.int64(Liquidity.ADDED)
    other_liquidity = np.int64(Liquidity.REMOVED)
    if np.int64(event["side"]) == 0:
        liquidity = tables.instruments[instrument]["cross"]
        other_liquidity = liquidity
    contra_place = find(tables, contra, contra_id)
    contra_number = tables.orders[contra_place]["order_number"] if contra_place >= 0 else np.int64(0)
    for _ in range(2):
        place = find(tables, participant, client_order_id)
        if place < 0:
            place = _unknown_order(tables, event, participant, client_order_id, np.int64(0))
        order = tables.orders[place]
        if np.int64(order["flags"]) & OF_MIDPOINT and liquidity == Liquidity.ADDED:
            liquidity = np.int64(Liquidity.MIDPOINT_ADDED)
            other_liquidity = np.int64(Liquidity.MIDPOINT_REMOVED)
        order["leaves_qty"] = max(np.int64(order["leaves_qty"]) - traded_qty, np.int64(0))
        order["cum_qty"] = narrow(np.int64(order["cum_qty"]) + traded_qty)
        order["notional_e4"] += price_e4 * traded_qty
        if np.int64(order["instructions"]) & _DISPLAY:
            _shows_less(tables, place, traded_qty)
        in_book = _moved(tables, place, n)
        begin_report(tables, room, r, ReportKind.TRADE, command_kind)
        row = room.rows[r]
        put_order(tables, row, place, in_book)
        row["last_price_e4"] = price_e4
        row["last_qty"] = narrow(traded_qty)
        row["trade_number"] = event["trade_number"]
        row["liquidity"] = liquidity
        row["contra_participant"] = contra
        row["contra_name"] = tables.participants[min(contra, np.int64(len(tables.participants) - 1))]
        row["contra_client_order_id"] = contra_id
        row["contra_order_number"] = contra_number
        contra_number = order["order_number"]
        if np.int64(order["leaves_qty"]) == 0:
            remove(tables, place)
        participant, contra = contra, participant
        client_order_id, contra_id = contra_id, client_order_id
        liquidity = other_liquidity
        r += 1
    return r


@inlined
def _canceled(tables: ReportTables, room: ReportRoom, r, events, n, command):
    event = events[n]
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    qty, reason = event["qty"], np.int64(event["reason"])
    place = find(tables, participant, client_order_id)
    if place < 0:
        place = _unknown_order(tables, event, participant, client_order_id, qty)
        order = tables.orders[place]
        order["order_number"], order["price_e4"], order["side"] = (
            event["order_number"],
            event["price_e4"],
            event["side"],
        )
    order = tables.orders[place]
    left_qty = max(np.int64(order["leaves_qty"]) - qty, np.int64(0))
    order["leaves_qty"] = left_qty
    by_cancel = np.int64(command["kind"]) == CommandKind.CANCEL and reason == Reason.USER
    user, sender = np.int64(order["user"]), np.int64(0)
    if by_cancel:
        if is_user(tables, user_in(command["context"])):
            sender = user_in(command["context"])
        if user != 0 and left_qty > 0 and is_modify(command["context"]):
            order["context"] = after_modify(order["context"], command["context"])
    if np.int64(order["instructions"]) & _DISPLAY:
        _shows_less(tables, place, np.int64(0))
    in_book = _moved(tables, place, n)
    kind = np.int64(ReportKind.CANCELED)
    if left_qty > 0:
        kind = np.int64(ReportKind.RESTATED)
    elif reason == Reason.END_OF_DAY:
        kind = np.int64(ReportKind.DONE_FOR_DAY)
    elif reason == Reason.EXPIRED:
        kind = np.int64(ReportKind.EXPIRED)
    begin_report(tables, room, r, kind, command["kind"])
    row = room.rows[r]
    put_order(tables, row, place, in_book)
    row["decrement_qty"] = narrow(qty)
    row["reason"] = reason
    if by_cancel:
        if command["context"] == OF_DISCONNECT:
            row["reason"] = np.int64(Reason.DISCONNECT)
        row["command_context"] = command["context"]
        if sender != user:
            put_other(tables, row, sender)
    if reason == Reason.SELF_TRADE:
        row["liquidity"] = np.int64(Liquidity.ADDED) if in_book & _BEFORE else np.int64(Liquidity.REMOVED)
    if left_qty == 0:
        remove(tables, place)
    return r + 1


@called
def _replaced(tables: ReportTables, room: ReportRoom, r, events, n, command, extend):
    event = events[n]
    participant, new_id = np.int64(event["participant"]), event["contra_client_order_id"]
    old_id, side, price_e4 = event["client_order_id"], np.int64(event["side"]), event["price_e4"]
    spare = scratch(tables)
    place = find(tables, participant, old_id)
    if place >= 0:
        copy(tables, place, spare)
        remove(tables, place)
    else:
        _unknown_order(tables, event, participant, old_id, np.int64(0))
        order = tables.orders[spare]
        order["order_number"], order["price_e4"], order["side"] = event["order_number"], price_e4, side
        order["context"] = unentered(side)
    order, terms = tables.orders[spare], tables.terms[spare]
    if not np.int64(order["flags"]) & HAS_TERMS:
        clear_terms(tables, spare)
        terms["original_qty"] = order["qty"]
    old_head, old_tail = terms["token_head"], terms["token_tail"]
    if (old_head | old_tail) == 0:
        old_head, old_tail = extend["token_head"], extend["token_tail"]
    terms["token_head"] = extend["new_token_head"]
    terms["token_tail"] = extend["new_token_tail"]
    asked, user = command["new_context"], np.int64(order["user"])
    owner = user
    if is_user(tables, user_in(asked)):
        owner = user_in(asked)
        order["context"] = with_user(after_replace(order["context"], asked), owner)
    keeps = price_e4 == order["price_e4"] and event["qty"] <= np.int64(order["leaves_qty"])
    changes = np.int64(command["instructions"])
    if changes & _DISPLAY:
        keeps = keeps and command["display_qty"] == np.int64(terms["display_qty"])
        terms["display_qty"] = narrow(command["display_qty"])
    elif changes & _STOP:
        terms["stop_price_e4"] = command["stop_e4"]
    order["client_order_id"] = new_id
    order["price_e4"] = price_e4
    order["qty"] = narrow(command["qty"])
    order["leaves_qty"] = narrow(event["qty"])
    order["user"] = owner
    order["flags"] = np.int64(order["flags"]) | HAS_TERMS | WAS_REPLACED
    place = insert(tables, participant, new_id)
    if place != spare:
        copy(tables, spare, place)
    in_book = np.int64(_BEFORE | _AFTER)
    waiting = tables.orders[place]
    if keeps and np.int64(waiting["instructions"]) & _DISPLAY:
        _shows_less(tables, place, np.int64(0))
    if np.int64(waiting["instructions"]) & _STOP or np.int64(waiting["time_in_force"]) == TimeInForce.CLOSING:
        in_book = np.int64(0)
    elif np.int64(waiting["instructions"]) & _PEG:
        in_book = _standing_peg(tables, place, keeps)
    elif not keeps:
        last = _last_of(tables, events, n, participant, new_id)
        tables.venue[0]["last_own"] = last
        in_book = np.int64(_BEFORE | _AFTER | _NEW_PRIORITY)
        if np.int64(tables.orders[place]["instructions"]) & _DISPLAY:
            _show(tables, place)
        if last != n:
            in_book = np.int64(_BEFORE)
            tables.orders[place]["flags"] = np.int64(order["flags"]) & ~IN_BOOK
    begin_report(tables, room, r, ReportKind.REPLACED, command["kind"])
    row = room.rows[r]
    put_order(tables, row, place, in_book)
    row["previous_client_order_id"] = old_id
    row["previous_token_head"] = old_head
    row["previous_token_tail"] = old_tail
    row["command_context"] = asked
    if user != owner:
        put_other(tables, row, user)
    return r + 1


@called
def _standing_peg(tables: ReportTables, place, keeps):
    """Bits of ``InBook`` of a peg that was replaced: it stays where it is, or has no price any more."""
    order = tables.orders[place]
    flags = np.int64(order["flags"])
    if not flags & IN_BOOK:
        return np.int64(0)
    if keeps:
        return np.int64(_BEFORE | _AFTER)
    order["flags"] = flags & ~IN_BOOK
    return np.int64(_BEFORE)


@called
def _repriced(tables: ReportTables, room: ReportRoom, r, events, n, command_kind):
    """A peg has another price, or none any more."""
    event = events[n]
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    place = find(tables, participant, client_order_id)
    if place < 0:
        place = _unknown_order(tables, event, participant, client_order_id, event["qty"])
    order = tables.orders[place]
    flags = np.int64(order["flags"])
    moved = np.int64(_BEFORE) if flags & IN_BOOK else np.int64(0)
    if event["price_e4"] != 0:
        moved |= _AFTER | _NEW_PRIORITY
        order["flags"] = flags | IN_BOOK
    else:
        order["flags"] = flags & ~IN_BOOK
    begin_report(tables, room, r, ReportKind.REPRICED, command_kind)
    put_order(tables, room.rows[r], place, moved)
    room.rows[r]["last_price_e4"] = event["price_e4"]
    return r + 1


@called
def _triggered(tables: ReportTables, room: ReportRoom, r, events, n, command_kind):
    """A stop is elected: an order without a stop from now on, which runs as aggressor."""
    event = events[n]
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    place = find(tables, participant, client_order_id)
    if place < 0:
        place = _unknown_order(tables, event, participant, client_order_id, event["qty"])
    order = tables.orders[place]
    order["instructions"] = np.int64(order["instructions"]) & ~_STOP
    if np.int64(order["flags"]) & HAS_TERMS:
        tables.terms[place]["stop_price_e4"] = 0
    tables.venue[0]["last_own"] = _last_of(tables, events, n, participant, client_order_id)
    in_book = _moved(tables, place, n)
    begin_report(tables, room, r, ReportKind.TRIGGERED, command_kind)
    put_order(tables, room.rows[r], place, in_book)
    return r + 1


@called
def _replenished(tables: ReportTables, room: ReportRoom, r, events, n, command_kind):
    """An iceberg of the book shows its next part, behind the others at its price; after an uncross at its own place."""
    event = events[n]
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    place = find(tables, participant, client_order_id)
    if place < 0:
        place = _unknown_order(tables, event, participant, client_order_id, event["qty"])
    moved = np.int64(_BEFORE | _AFTER)
    if n > 0 and np.int64(events[n - 1]["kind"]) == EventKind.TRADE and np.int64(events[n - 1]["side"]) != 0:
        moved |= _NEW_PRIORITY
    tables.terms[place]["shown_qty"] = narrow(event["qty"])
    begin_report(tables, room, r, ReportKind.REPLENISHED, command_kind)
    put_order(tables, room.rows[r], place, moved)
    return r + 1


@inlined
def _extend_of(tables: ReportTables, commands, at):
    """EXTEND row before a command, or a row of zeros."""
    extend = tables.carried[0 if at == 0 else 1]
    if at > 0 and is_extend(commands[at - 1]):
        extend = commands[at - 1]
    return extend


@inlined
def _carry(tables: ReportTables, commands):
    """Keep the EXTEND row that a block ends with for the block after it."""
    if len(commands) > 0:
        last, kept = commands[len(commands) - 1], tables.carried[0]
        waits = is_extend(last)
        kept["kind"] = last["kind"] if waits else np.int64(0)
        kept["name"] = last["name"] if waits else np.int64(0)
        kept["symbol"] = last["symbol"] if waits else np.int64(0)
        kept["token_head"] = last["token_head"] if waits else np.int64(0)
        kept["token_tail"] = last["token_tail"] if waits else np.int64(0)
        kept["new_token_head"] = last["new_token_head"] if waits else np.int64(0)
        kept["new_token_tail"] = last["new_token_tail"] if waits else np.int64(0)


@inlined
def _look_ahead(tables: ReportTables, event):
    """Begin to load the orders of an event that is reported soon."""
    expect(tables, np.int64(event["participant"]), event["client_order_id"])
    if np.int64(event["kind"]) == EventKind.TRADE:
        expect(tables, np.int64(event["contra_participant"]), event["contra_client_order_id"])


@inlined
def _is_order_command(kind):
    return kind == CommandKind.ENTER or kind == CommandKind.CANCEL or kind == CommandKind.REPLACE


@inlined
def _report(tables: ReportTables, room: ReportRoom, r, events, n, command, extend):
    """Report event n; gives the next row."""
    kind = np.int64(events[n]["kind"])
    if np.int64(command["kind"]) == CommandKind.CROSS and kind != EventKind.REJECTED:
        return report_cross(tables, room, r, events[n], command, extend)
    if kind == EventKind.TRADE:
        return _traded(tables, room, r, events, n, command["kind"])
    if kind == EventKind.CANCELED:
        return _canceled(tables, room, r, events, n, command)
    if kind == EventKind.ACCEPTED:
        return _accepted(tables, room, r, events, n, command, extend)
    if kind == EventKind.REPLACED:
        return _replaced(tables, room, r, events, n, command, extend)
    if kind == EventKind.REJECTED or kind == EventKind.CANCEL_REJECTED:
        return report_refusal(tables, room, r, events[n], command, extend)
    if kind == EventKind.REPLENISHED:
        return _replenished(tables, room, r, events, n, command["kind"])
    if kind == EventKind.TRIGGERED:
        return _triggered(tables, room, r, events, n, command["kind"])
    if kind == EventKind.REPRICED:
        return _repriced(tables, room, r, events, n, command["kind"])
    return report_market(tables, room, r, events[n], command["kind"])


@called
def make_reports(tables_at, room_at, first_seq, commands, events, at, n, r, end):
    """Write the reports of a block, from command ``at`` and event ``n`` on, to the rows ``r`` to ``end`` of the room.

    tables_at, room_at: pointers of the packed tables and room (``jit.Packed``). first_seq: of ``commands``, which
    caused all of ``events``. Gives (next command, next event, row after the last report): it stops where room may run
    out, even within a command; call again with those and a room of at least EVENT_REPORTS_MAX rows. With a negative
    ``end`` it stops behind the report of a trading day too, when the table has the orders that outlast the day before.
    """
    tables, room = unpack_tables(tables_at), unpack_room(room_at)
    venue = tables.venue[0]
    by_day, end = end < 0, abs(end)
    for place in range(at, len(commands)):
        command = commands[place]
        seq = first_seq + place
        is_order = _is_order_command(np.int64(command["kind"]))
        if venue["seq"] != seq:
            if r + EVENT_REPORTS_MAX > end:
                return place, n, r
            venue["seq"] = seq
            venue["number"] = 0
            venue["last_own"] = -1
            if is_order:
                venue["clock_moves"] = 0
                if n == len(events) or events[n]["seq"] != seq:
                    waits = put_waiting(
                        tables.waiting_words, tables.waiting_numbers, command, _extend_of(tables, commands, place)
                    )
                    tables.waiting_due[waits] = venue["now_ns"] + venue["speed_bump_ns"]
            else:
                extended = is_extend(_extend_of(tables, commands, place))
                venue["clock_moves"] = np.int64(moves_clock(command, venue["now_ns"], extended))
                r = begin_command(tables, room, r, command, _extend_of(tables, commands, place), events, n)
        while n < len(events) and events[n]["seq"] == seq:
            if r + EVENT_REPORTS_MAX > end:
                return place, n, r
            if n + _AHEAD < len(events):
                _look_ahead(tables, events[n + _AHEAD])
            if venue["day_begins"] != 0 and not ends_with_day(events[n]):
                r = report_trading_day(tables, room, r)
                if by_day:
                    return place, n, r
            extend = _extend_of(tables, commands, place)
            if venue["clock_moves"] != 0:
                waited = effect_of(tables.waiting_words, tables.waiting_numbers, events[n])
                if (
                    waited >= 0
                    and np.int64(events[n]["kind"]) == EventKind.PHASE
                    and is_scheduled_close(tables, events, n, n)
                ):
                    end_effect(tables.waiting_numbers)
                    waited = np.int64(-1)
                if waited >= 0:
                    extend = tables.waiting[2 * waited]
                    r = _report(tables, room, r, events, n, tables.waiting[2 * waited + 1], extend)
                    n += 1
                    continue
            r = _report(tables, room, r, events, n, command, extend)
            n += 1
        if venue["day_begins"] != 0:
            if r + EVENT_REPORTS_MAX > end:
                return place, n, r
            r = report_trading_day(tables, room, r)
            if by_day:
                return place, n, r
        if venue["clock_moves"] != 0 and venue["schedules"] != 0:
            drop_met(tables)
    _carry(tables, commands)
    venue["last_own"] = -1
    return len(commands), n, r
