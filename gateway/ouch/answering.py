"""Kernel that turns the EVENT rows of a block into OUCH messages, framed and grouped by user.

A user's messages depend on the journal alone: on the events, on their commands (an ``Accepted`` repeats fields of its
Enter Order, from the command's context), and on a table of the users' open orders, which has owner and leaves quantity
of each. So replay makes the same messages again, byte for byte.
"""

from typing import Final

import numpy as np

from engine.bounds import DAY_NS
from engine.clock import is_extend, moves_clock
from engine.delay import trading_day_of
from engine.jit import called, inlined
from engine.records import CommandKind, EventKind, Instruction, Phase, Reason, TimeInForce
from gateway.messages import DEFINES, EXTENDS, NEW_DAY, end_of_messages, group, sent
from gateway.ouch import context as _context
from gateway.ouch.open_orders import expect, expect_all, find, insert, remove
from gateway.ouch.reading import instructions_of, is_sale
from gateway.ouch.tables import EVENT_BYTES_MAX, EVENT_MESSAGES_MAX, StreamTables, unpack_tables
from gateway.ouch.writing import (
    DAY_START,
    DELAYS,
    FAR,
    MISFITS,
    UNTOLD,
    begin_message,
    head_of,
    hours,
    put_number,
    put_placed,
    put_price,
    put_token,
    put_u64,
    tail_of,
)
from reports.contexts import OF_DISCONNECT, protocol_in, unentered, user_in, with_protocol, with_user
from reports.waiting import effect_of, put_waiting
from wire import ouch
from wire.ouch_codes import BboWeight, Liquidity, RejectReason, ServerMessage
from wire.ouch_layout import FROM_SERVER, offsets

_MIN_QTY: Final = int(Instruction.MIN_QTY)
_UNTIL: Final = int(Instruction.UNTIL)
_NOT_DISPLAYED: Final = int(Instruction.HIDDEN | Instruction.PEG | Instruction.OFFSET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_OUCH: Final = _context.PROTOCOL
_MODIFY: Final = _context.MODIFY
_MINIMUM: Final = _context.MINIMUM
_SYSTEM_HOURS: Final = np.int64(_context.SYSTEM_HOURS)
_OF_SYSTEM: Final = offsets(FROM_SERVER[ServerMessage.SYSTEM_EVENT])
_OF_ACCEPTED: Final = offsets(FROM_SERVER[ServerMessage.ACCEPTED])
_OF_REPLACED: Final = offsets(FROM_SERVER[ServerMessage.REPLACED])
_OF_CANCELED: Final = offsets(FROM_SERVER[ServerMessage.CANCELED])
_OF_AIQ: Final = offsets(FROM_SERVER[ServerMessage.AIQ_CANCELED])
_OF_EXECUTED: Final = offsets(FROM_SERVER[ServerMessage.EXECUTED])
_OF_REJECTED: Final = offsets(FROM_SERVER[ServerMessage.REJECTED])
_OF_CANCEL_REJECT: Final = offsets(FROM_SERVER[ServerMessage.CANCEL_REJECT])
_OF_MODIFIED: Final = offsets(FROM_SERVER[ServerMessage.ORDER_MODIFIED])
_TAIL_SPACES: Final = 0x202020202020_0000
_PRICE_MAX: Final = ouch.PRICE_E4_MAX
#: Distance, in events, from the one whose open orders are loaded to the one that is answered: the latency of memory.
_AHEAD: Final = 8

#: Flags of a block beside those of ``gateway.messages``: a message was left out, since a number did not fit its field;
#: an instrument became far.
UNTELLABLE: Final = 8
BECAME_FAR: Final = 16


@inlined
def _sent(tables: StreamTables, m, user, begin, end):
    """Record message m for a user, unless a number in it did not fit; gives the number of messages."""
    if tables.marks[MISFITS] != 0:
        tables.marks[MISFITS] = 0
        tables.marks[UNTOLD] += 1
        return m
    return sent(tables, m, user, begin, end)


@inlined
def _is_user(tables: StreamTables, user):
    return user != 0 and user < len(tables.users) and tables.users[user]["name"] != 0


@inlined
def _has_flag(context, flag):
    """True if a command came over OUCH with a flag in its context."""
    return protocol_in(context) == _OUCH and (context >> 56) & flag != 0


@inlined
def _entered_elsewhere(context, event):
    """Context of an order that a user entered by another protocol, with the codes that it has in messages of OUCH."""
    return with_user(with_protocol(unentered(np.int64(event["side"])), protocol_in(context)), user_in(context))


@inlined
def _mark_far_price(tables: StreamTables, event):
    """Mark an instrument with an order above the highest price of OUCH as far."""
    if event["price_e4"] > _PRICE_MAX:
        stock = tables.stocks[np.int64(event["instrument"])]
        if stock["far"] == 0:
            stock["far"] = 1
            tables.marks[FAR] += 1


@inlined
def _accepted(tables: StreamTables, m, event, command, extend, time_ns):
    context = command["context"]
    user = user_in(context)
    if not _is_user(tables, user):
        return m
    client_order_id = event["client_order_id"]
    if protocol_in(context) != _OUCH:
        context = _entered_elsewhere(context, event)
    place = insert(tables, np.int64(event["participant"]), client_order_id)
    row, rest = tables.open[place], tables.rest[place]
    row["user"] = user
    row["leaves_qty"] = event["qty"]
    rest["context"] = context
    rest["token_head"] = extend["token_head"]
    rest["token_tail"] = extend["token_tail"]
    rest["order_number"] = event["order_number"]
    rest["qty"] = event["qty"]
    begin = end_of_messages(tables, m)
    at = begin_message(tables, begin, _OF_ACCEPTED.end, ServerMessage.ACCEPTED, time_ns)
    head, tail = head_of(client_order_id, rest["token_head"]), tail_of(client_order_id, rest["token_tail"])
    put_token(tables.out, at + _OF_ACCEPTED.order_token, head, tail)
    tif_s = np.int64(0) if np.int64(command["time_in_force"]) == TimeInForce.IOC else hours(context)
    min_qty = command["min_qty"] if np.int64(command["instructions"]) & _MIN_QTY else np.int64(0)
    put_placed(tables, at + _OF_ACCEPTED.buy_sell, user, event, context, tif_s, min_qty)
    tables.out[at + _OF_ACCEPTED.bbo_weight] = BboWeight.UNSPECIFIED
    return _sent(tables, m, user, begin, at + _OF_ACCEPTED.end)


@inlined
def _with_requested(context, asked):
    """Context of an order after a Replace Order, which may change sweep, hours and the display of a displayed order.

    A replace by another protocol, or of an order that one entered, changes none of them.
    """
    if protocol_in(context) != _OUCH or protocol_in(asked) != _OUCH:
        return context
    sweep, hours_flag = np.int64(0xFF) << 40, _SYSTEM_HOURS << 56
    context = (context & ~(sweep | hours_flag)) | (asked & (sweep | hours_flag))
    shows = instructions_of((asked >> 24) & 255)
    if (shows == 0 or shows == _POST_ONLY) and shows == instructions_of((context >> 24) & 255):
        context = (context & ~(np.int64(0xFF) << 24)) | (asked & (np.int64(0xFF) << 24))
    return context


@called
def _replaced(tables: StreamTables, m, event, command, extend, time_ns):
    participant = np.int64(event["participant"])
    asked = command["new_context"]
    sender = user_in(asked)
    by_user = _is_user(tables, sender)
    place = find(tables, participant, event["client_order_id"])
    if place < 0 and not by_user:
        return m
    old_id, new_id = event["client_order_id"], event["contra_client_order_id"]
    old_head, old_tail = head_of(old_id, extend["token_head"]), tail_of(old_id, extend["token_tail"])
    order_number, user = event["order_number"], sender
    context = unentered(np.int64(event["side"]))
    if place >= 0:
        was = tables.rest[place]
        order_number, context = was["order_number"], was["context"]
        user = np.int64(tables.open[place]["user"])
        old_head, old_tail = head_of(old_id, was["token_head"]), tail_of(old_id, was["token_tail"])
        remove(tables, place)
    owner = sender if by_user else user
    if by_user:
        context = _with_requested(context, asked)
    context = with_user(context, owner)
    place = insert(tables, participant, new_id)
    row, rest = tables.open[place], tables.rest[place]
    row["user"] = owner
    row["leaves_qty"] = event["qty"]
    rest["context"] = context
    rest["token_head"] = extend["new_token_head"]
    rest["token_tail"] = extend["new_token_tail"]
    rest["order_number"] = order_number
    rest["qty"] = command["qty"]
    for turn in range(2):
        to = owner if turn == 0 else user
        if turn == 1 and user == owner:
            break
        begin = end_of_messages(tables, m)
        at = begin_message(tables, begin, _OF_REPLACED.end, ServerMessage.REPLACED, time_ns)
        head, tail = head_of(new_id, rest["token_head"]), tail_of(new_id, rest["token_tail"])
        put_token(tables.out, at + _OF_REPLACED.replacement_order_token, head, tail)
        put_placed(tables, at + _OF_REPLACED.buy_sell, to, event, context, hours(context), np.int64(0))
        put_token(tables.out, at + _OF_REPLACED.previous_order_token, old_head, old_tail)
        tables.out[at + _OF_REPLACED.bbo_weight] = BboWeight.UNSPECIFIED
        m = _sent(tables, m, to, begin, at + _OF_REPLACED.end)
    return m


@inlined
def _executed(tables: StreamTables, m, event, participant, client_order_id, liquidity, time_ns):
    """Write the Executed of one side of a trade."""
    place = find(tables, participant, client_order_id)
    if place < 0:
        return m
    row = tables.open[place]
    user = np.int64(row["user"])
    left = np.int64(row["leaves_qty"]) - event["qty"]
    head, tail = head_of(client_order_id, np.int64(0)), np.int64(_TAIL_SPACES)
    if client_order_id < 0:
        head, tail = tables.rest[place]["token_head"], tables.rest[place]["token_tail"]
    begin = end_of_messages(tables, m)
    at = begin_message(tables, begin, _OF_EXECUTED.end, ServerMessage.EXECUTED, time_ns)
    put_token(tables.out, at + _OF_EXECUTED.order_token, head, tail)
    put_number(tables, at + _OF_EXECUTED.executed_shares, event["qty"])
    put_price(tables, at + _OF_EXECUTED.execution_price_e4, event["price_e4"])
    tables.out[at + _OF_EXECUTED.liquidity] = liquidity
    put_u64(tables, at + _OF_EXECUTED.match_number, event["trade_number"])
    row["leaves_qty"] = max(left, 0)
    if left <= 0:
        remove(tables, place)
    return _sent(tables, m, user, begin, at + _OF_EXECUTED.end)


@inlined
def _trade(tables: StreamTables, m, event, time_ns):
    resting, incoming = np.int64(Liquidity.ADDED), np.int64(Liquidity.REMOVED)
    if event["side"] == 0:
        resting = tables.stocks[np.int64(event["instrument"])]["cross"]
        incoming = resting
    m = _executed(tables, m, event, np.int64(event["participant"]), event["client_order_id"], resting, time_ns)
    return _executed(
        tables, m, event, np.int64(event["contra_participant"]), event["contra_client_order_id"], incoming, time_ns
    )


@inlined
def _write_canceled(tables: StreamTables, m, to, event, head, tail, kind, code, removes, side, left, time_ns):
    begin = end_of_messages(tables, m)
    if kind == ServerMessage.ORDER_MODIFIED:
        at = begin_message(tables, begin, _OF_MODIFIED.end, ServerMessage.ORDER_MODIFIED, time_ns)
        put_token(tables.out, at + _OF_MODIFIED.order_token, head, tail)
        tables.out[at + _OF_MODIFIED.buy_sell] = side
        put_number(tables, at + _OF_MODIFIED.shares, left)
        return _sent(tables, m, to, begin, at + _OF_MODIFIED.end)
    if kind == ServerMessage.AIQ_CANCELED:
        at = begin_message(tables, begin, _OF_AIQ.end, kind, time_ns)
        put_token(tables.out, at + _OF_AIQ.order_token, head, tail)
        put_number(tables, at + _OF_AIQ.decrement_shares, event["qty"])
        tables.out[at + _OF_AIQ.cancel_reason] = code
        put_number(tables, at + _OF_AIQ.prevented_shares, event["qty"])
        put_price(tables, at + _OF_AIQ.execution_price_e4, event["price_e4"])
        tables.out[at + _OF_AIQ.liquidity] = Liquidity.REMOVED if removes else Liquidity.ADDED
        return _sent(tables, m, to, begin, at + _OF_AIQ.end)
    at = begin_message(tables, begin, _OF_CANCELED.end, kind, time_ns)
    put_token(tables.out, at + _OF_CANCELED.order_token, head, tail)
    put_number(tables, at + _OF_CANCELED.decrement_shares, event["qty"])
    tables.out[at + _OF_CANCELED.cancel_reason] = code
    return _sent(tables, m, to, begin, at + _OF_CANCELED.end)


@inlined
def _canceled(tables: StreamTables, m, event, command, time_ns):
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    place = find(tables, participant, client_order_id)
    if place < 0:
        return m
    row, rest = tables.open[place], tables.rest[place]
    user = np.int64(row["user"])
    left = max(np.int64(row["leaves_qty"]) - event["qty"], 0)
    head, tail = head_of(client_order_id, rest["token_head"]), tail_of(client_order_id, rest["token_tail"])
    context = rest["context"]
    by_cancel = np.int64(command["kind"]) == CommandKind.CANCEL and np.int64(event["reason"]) == Reason.USER
    kind = np.int64(ServerMessage.CANCELED)
    if np.int64(event["reason"]) == Reason.SELF_TRADE:
        kind = np.int64(ServerMessage.AIQ_CANCELED)
    elif by_cancel and _has_flag(command["context"], _MODIFY) and left > 0:
        kind = np.int64(ServerMessage.ORDER_MODIFIED)
        side = (command["context"] >> 16) & 255
        if protocol_in(context) == _OUCH and is_sale(side) and is_sale((context >> 16) & 255):
            context = (context & ~np.int64(0xFF0000)) | (side << 16)
            rest["context"] = context
    own = (
        command["client_order_id"] if np.int64(command["kind"]) == CommandKind.ENTER else command["new_client_order_id"]
    )
    removes = own == client_order_id and np.int64(command["participant"]) == participant
    code = np.int64(tables.cancel_codes[np.int64(event["reason"])])
    if by_cancel and command["context"] == OF_DISCONNECT:
        code = np.int64(tables.cancel_codes[np.int64(Reason.DISCONNECT)])
    row["leaves_qty"] = left
    rest["qty"] -= event["qty"]
    if left == 0:
        remove(tables, place)
    m = _write_canceled(tables, m, user, event, head, tail, kind, code, removes, (context >> 16) & 255, left, time_ns)
    sender = user_in(command["context"]) if by_cancel else np.int64(0)
    if sender != user and _is_user(tables, sender):
        m = _write_canceled(
            tables, m, sender, event, head, tail, kind, code, removes, (context >> 16) & 255, left, time_ns
        )
    return m


@called
def _canceled_by_another(tables: StreamTables, m, event, command, extend, time_ns):
    """Write the answer to a user's cancel of an order of its participant that no user entered."""
    sender, client_order_id = user_in(command["context"]), event["client_order_id"]
    if not _is_user(tables, sender):
        return m
    head, tail = head_of(client_order_id, extend["token_head"]), tail_of(client_order_id, extend["token_tail"])
    code, none = np.int64(tables.cancel_codes[np.int64(event["reason"])]), np.int64(0)
    return _write_canceled(
        tables, m, sender, event, head, tail, np.int64(ServerMessage.CANCELED), code, False, none, none, time_ns
    )


@inlined
def _marked(tables: StreamTables, m, event, command, time_ns):
    """Write the answer to a Modify Order that changes only the mark of a sale, which the market rejects since no shares
    would be canceled. Gives m for any other.
    """
    if not _has_flag(command["context"], _MODIFY) or np.int64(event["reason"]) != Reason.INVALID_QTY:
        return m
    client_order_id = event["client_order_id"]
    place = find(tables, np.int64(event["participant"]), client_order_id)
    if place < 0:
        return m
    rest = tables.rest[place]
    if protocol_in(rest["context"]) != _OUCH:
        return m
    side, was = (command["context"] >> 16) & 255, (rest["context"] >> 16) & 255
    if command["qty"] != rest["qty"] or side == was or not (is_sale(side) and is_sale(was)):
        return m
    rest["context"] = (rest["context"] & ~np.int64(0xFF0000)) | (side << 16)
    head, tail = head_of(client_order_id, rest["token_head"]), tail_of(client_order_id, rest["token_tail"])
    user, left = np.int64(tables.open[place]["user"]), np.int64(tables.open[place]["leaves_qty"])
    kind, none = np.int64(ServerMessage.ORDER_MODIFIED), np.int64(0)
    m = _write_canceled(tables, m, user, event, head, tail, kind, none, False, side, left, time_ns)
    sender = user_in(command["context"])
    if sender != user and _is_user(tables, sender):
        m = _write_canceled(tables, m, sender, event, head, tail, kind, none, False, side, left, time_ns)
    return m


@inlined
def _reject_code(tables: StreamTables, event, command):
    """Code of a reject; for instructions that do not apply, by the requested ones."""
    reason = np.int64(event["reason"])
    if reason != Reason.INVALID_INSTRUCTION:
        return np.int64(tables.reject_codes[reason])
    if np.int64(command["kind"]) == CommandKind.REPLACE:
        return np.int64(
            RejectReason.INVALID_MINIMUM_QUANTITY
            if _has_flag(command["new_context"], _MINIMUM)
            else RejectReason.INVALID_DISPLAY
        )
    time_in_force, instructions = np.int64(command["time_in_force"]), np.int64(command["instructions"])
    if time_in_force == TimeInForce.OPENING or time_in_force == TimeInForce.CLOSING:
        return np.int64(RejectReason.NOT_IN_THIS_CROSS)
    if instructions & _NOT_DISPLAYED:
        return np.int64(RejectReason.INVALID_DISPLAY)
    if instructions & _MIN_QTY:
        return np.int64(RejectReason.INVALID_MINIMUM_QUANTITY)
    return np.int64(RejectReason.OTHER if instructions & _UNTIL else RejectReason.INVALID_DISPLAY)


@called
def _refused(tables: StreamTables, m, event, command, extend, time_ns):
    """Write a Rejected, or a Cancel Reject, to the sender of the command."""
    kind = np.int64(command["kind"])
    cancel_reject = np.int64(event["kind"]) == EventKind.CANCEL_REJECTED
    if kind == CommandKind.REPLACE:
        context = command["new_context"]
    elif kind == CommandKind.ENTER or (kind == CommandKind.CANCEL and cancel_reject):
        context = command["context"]
    else:
        return m
    user = user_in(context)
    if not _is_user(tables, user):
        return m
    if kind == CommandKind.CANCEL and command["client_order_id"] == 0:
        return m  # a mark of a FIX session (``gateway.fix.marks``): no client of OUCH can send it
    if kind == CommandKind.CANCEL:
        after = _marked(tables, m, event, command, time_ns)
        if after != m:
            return after
    client_order_id, head, tail = command["client_order_id"], extend["token_head"], extend["token_tail"]
    if kind == CommandKind.REPLACE and not cancel_reject:
        client_order_id = command["new_client_order_id"]
        head, tail = extend["new_token_head"], extend["new_token_tail"]
    begin = end_of_messages(tables, m)
    head, tail = head_of(client_order_id, head), tail_of(client_order_id, tail)
    if cancel_reject:
        at = begin_message(tables, begin, _OF_CANCEL_REJECT.end, ServerMessage.CANCEL_REJECT, time_ns)
        put_token(tables.out, at + _OF_CANCEL_REJECT.order_token, head, tail)
        return _sent(tables, m, user, begin, at + _OF_CANCEL_REJECT.end)
    at = begin_message(tables, begin, _OF_REJECTED.end, ServerMessage.REJECTED, time_ns)
    put_token(tables.out, at + _OF_REJECTED.order_token, head, tail)
    tables.out[at + _OF_REJECTED.reject_reason] = _reject_code(tables, event, command)
    return _sent(tables, m, user, begin, at + _OF_REJECTED.end)


@called
def _phase(tables: StreamTables, event):
    """Record an instrument's phase, and the cross type of an uncross, which follows from the phase that ends."""
    row = tables.stocks[np.int64(event["instrument"])]
    ended = row["phase"]
    row["cross"] = Liquidity.OPENING_CROSS
    if ended == Phase.HALTED or ended == Phase.AUCTION:
        row["cross"] = Liquidity.HALT_OR_IPO_CROSS
    elif ended == Phase.CLOSING_AUCTION:
        row["cross"] = Liquidity.CLOSING_CROSS
    row["phase"] = event["phase"]


@inlined
def _extend_of(tables: StreamTables, commands, at):
    """EXTEND row before a command, or a row of zeros."""
    extend = tables.carried[0 if at == 0 else 1]
    if at > 0 and np.int64(commands[at - 1]["kind"]) == CommandKind.EXTEND:
        extend = commands[at - 1]
    return extend


@inlined
def _given(tables: StreamTables, commands, at, waited):
    """EXTEND row before a command, or before the one in a place of those that waited (-1: it did not wait)."""
    return tables.waiting[2 * waited] if waited >= 0 else _extend_of(tables, commands, at)


@inlined
def _look_ahead(tables: StreamTables, event):
    """Begin to load the open orders of an event that is answered soon."""
    participant, client_order_id = np.int64(event["participant"]), event["client_order_id"]
    if np.int64(event["kind"]) == EventKind.TRADE:
        expect(tables, participant, client_order_id)
        expect(tables, np.int64(event["contra_participant"]), event["contra_client_order_id"])
    else:
        expect_all(tables, participant, client_order_id)


@inlined
def _answer(tables: StreamTables, first_seq, commands, events, start, clocks, now_ns):
    """Write messages for ``events`` from ``start`` on; gives (next event, segments)."""
    m = np.int64(0)
    clock = np.int64(0)
    time_ns = now_ns % DAY_NS
    number = start
    for number in range(start, len(events)):
        if end_of_messages(tables, m) + EVENT_BYTES_MAX > len(tables.out) or m + EVENT_MESSAGES_MAX > len(
            tables.messages
        ):
            return number, group(tables, m)
        event = events[number]
        if number + _AHEAD < len(events):
            _look_ahead(tables, events[number + _AHEAD])
        kind = np.int64(event["kind"])
        tables.tallies[0, kind] += 1
        # The refusal of a CANCEL of no order is that of a mark of a FIX session, which says nothing of the market.
        if kind == EventKind.REJECTED or (kind == EventKind.CANCEL_REJECTED and event["client_order_id"] != 0):
            tables.tallies[1, np.int64(event["reason"])] += 1
        at = event["seq"] - first_seq
        if at < 0 or at >= len(commands):
            continue
        while clock < clocks and tables.clock_at[clock] <= at:
            time_ns = tables.clock_ns[clock] % DAY_NS
            clock += 1
        command = commands[at]
        waited = np.int64(-1)
        if tables.marks[DELAYS] != 0 and clock > 0 and tables.clock_at[clock - 1] == at:
            waited = effect_of(tables.waiting_words, tables.waiting_numbers, event)
            if waited >= 0:
                command = tables.waiting[2 * waited + 1]
        if np.int64(command["kind"]) == CommandKind.CROSS:
            continue  # it is agreed outside of the market, between participants and not of orders
        if kind == EventKind.TRADE:
            m = _trade(tables, m, event, time_ns)
        elif kind == EventKind.CANCELED:
            before = m
            m = _canceled(tables, m, event, command, time_ns)
            if m == before and np.int64(command["kind"]) == CommandKind.CANCEL:
                m = _canceled_by_another(tables, m, event, command, _given(tables, commands, at, waited), time_ns)
        elif kind == EventKind.PHASE or kind == EventKind.HALTED:
            _phase(tables, event)
        else:
            extend = _given(tables, commands, at, waited)
            if kind == EventKind.ACCEPTED:
                _mark_far_price(tables, event)
                m = _accepted(tables, m, event, command, extend, time_ns)
            elif kind == EventKind.REPLACED:
                _mark_far_price(tables, event)
                m = _replaced(tables, m, event, command, extend, time_ns)
            elif kind == EventKind.REJECTED or kind == EventKind.CANCEL_REJECTED:
                m = _refused(tables, m, event, command, extend, time_ns)
    return len(events), group(tables, m)


@inlined
def _survey(tables: StreamTables, commands, now_ns):
    """Find the CLOCK rows that the market accepts.

    Gives (their number, number of definitions, True if the last row is an EXTEND row). now_ns: the clock before the
    block.
    """
    clocks, definitions = np.int64(0), np.int64(0)
    kind = np.int64(0)
    waits = is_extend(tables.carried[0])
    for at in range(len(commands)):
        command = commands[at]
        kind = np.int64(command["kind"])
        if (
            kind == CommandKind.INSTRUMENT
            or kind == CommandKind.PARTICIPANT
            or kind == CommandKind.USER
            or kind == CommandKind.CREDENTIAL
            or kind == CommandKind.VENUE
        ):
            definitions += 1
        elif kind == CommandKind.CLOCK and moves_clock(command, now_ns, waits):
            now_ns = command["time_ns"]
            tables.clock_at[clocks] = at
            tables.clock_ns[clocks] = now_ns
            clocks += 1
        waits = kind == CommandKind.EXTEND and is_extend(command)
    return clocks, definitions, kind == CommandKind.EXTEND


@called
def _note_waiting(tables: StreamTables, first_seq, commands, events):
    """Keep the commands of a block that wait for their effect: those that should have an answer, and have no event."""
    n = np.int64(0)
    for at in range(len(commands)):
        for _ in range(len(events)):
            if n == len(events) or events[n]["seq"] >= first_seq + at:
                break
            n += 1
        kind = np.int64(commands[at]["kind"])
        if n < len(events) and events[n]["seq"] == first_seq + at:
            continue
        if kind == CommandKind.ENTER or kind == CommandKind.CANCEL or kind == CommandKind.REPLACE:
            extend = _extend_of(tables, commands, at)
            put_waiting(tables.waiting_words, tables.waiting_numbers, commands[at], extend)


@called
def answer_block(pointers, first_seq, commands, events, start, clocks, now_ns):
    """Write messages for the events of a block from ``start`` on; gives (next event, segments, clocks, time, WORDS).

    pointers: of the packed tables (``jit.Packed``). first_seq: of ``commands``, at most BLOCK_ROWS_MAX, which caused
    all the events. clocks: -1, or the result of the previous call that did not reach the end. now_ns: the time before
    the block. If the shell has work before (``DEFINES``, ``NEW_DAY``), the first call only returns the flags; then call
    again. It stops when room may run out: take ``out`` (one segment) or ``grouped`` (several), then call again.
    """
    tables = unpack_tables(pointers)
    words = np.int64(0)
    time_ns = now_ns
    if clocks < 0:
        clocks, definitions, extends = _survey(tables, commands, now_ns)
        if clocks > 0:
            time_ns = tables.clock_ns[clocks - 1]
        if extends:
            words |= EXTENDS
        if definitions > 0:
            words |= DEFINES
        start_ns = tables.marks[DAY_START]
        if trading_day_of(time_ns, start_ns) != trading_day_of(now_ns, start_ns):
            words |= NEW_DAY
        if words & (DEFINES | NEW_DAY):
            return start, np.int64(0), clocks, time_ns, words
        if tables.marks[DELAYS] != 0:
            _note_waiting(tables, first_seq, commands, events)
    start, segments = _answer(tables, first_seq, commands, events, start, clocks, now_ns)
    if tables.marks[UNTOLD] != 0:
        words |= UNTELLABLE
    if tables.marks[FAR] != 0:
        words |= BECAME_FAR
    return start, segments, clocks, time_ns, words


@called
def system_event(tables: StreamTables, user, code, time_ns):
    """Write a System Event to one user; gives the number of segments, 1."""
    at = begin_message(tables, 0, _OF_SYSTEM.end, ServerMessage.SYSTEM_EVENT, time_ns % DAY_NS)
    tables.out[at + _OF_SYSTEM.event_code] = code
    return group(tables, _sent(tables, 0, user, np.int64(0), at + _OF_SYSTEM.end))
