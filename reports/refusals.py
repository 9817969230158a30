"""Kernels for reports of what the market refused: orders, replaces, cancels, and any other command."""

from typing import Final

import numpy as np

from engine.jit import called, inlined
from engine.records import CommandKind, EventKind, Instruction, Reason
from reports.contexts import after_modify, is_modify, user_in
from reports.orders import find
from reports.rows import ReportFlag, ReportKind
from reports.tables import ReportRoom, ReportTables
from reports.writing import (
    begin_report,
    is_user,
    narrow,
    put_instrument,
    put_order,
    put_other,
    put_participant,
    put_user,
    standing,
)

_REMARKED: Final = int(ReportFlag.REMARKED)
_DISPLAY: Final = int(Instruction.DISPLAY)
_STOP: Final = int(Instruction.STOP)
_OFFSET: Final = int(Instruction.OFFSET)
_UNTIL: Final = int(Instruction.UNTIL)


@called
def report_refusal(tables: ReportTables, room: ReportRoom, r, event, command, extend):
    """Report a reject or a cancel reject; gives the next row."""
    canceling = np.int64(event["kind"]) == EventKind.CANCEL_REJECTED
    kind = np.int64(command["kind"])
    begin_report(tables, room, r, ReportKind.CANCEL_REJECTED if canceling else ReportKind.REJECTED, kind)
    row = room.rows[r]
    if kind == CommandKind.ENTER:
        _enter(tables, row, event, command, extend)
    elif kind == CommandKind.CANCEL or kind == CommandKind.REPLACE:
        _change(tables, row, event, command, extend, kind == CommandKind.REPLACE)
    else:
        row["client_order_id"] = event["client_order_id"]
        put_participant(tables, row, np.int64(event["participant"]))
        put_instrument(tables, row, np.int64(event["instrument"]))
    row["reason"] = event["reason"]
    return r + 1


@inlined
def _names(tables: ReportTables, row, event, extend):
    """Participant and instrument of the event; of those that are unknown the names in the EXTEND row."""
    put_participant(tables, row, np.int64(event["participant"]))
    put_instrument(tables, row, np.int64(event["instrument"]))
    if np.int64(event["participant"]) == 0:
        row["participant_name"] = extend["name"]
    if np.int64(event["instrument"]) == 0:
        row["symbol"] = extend["symbol"]


@inlined
def _sender(tables: ReportTables, context):
    """Number of the user who sent a command, 0 if none is defined."""
    user = user_in(context)
    return user if is_user(tables, user) else np.int64(0)


@inlined
def _enter(tables: ReportTables, row, event, command, extend):
    _names(tables, row, event, extend)
    put_user(tables, row, _sender(tables, command["context"]))
    row["client_order_id"] = command["client_order_id"]
    row["token_head"] = extend["token_head"]
    row["token_tail"] = extend["token_tail"]
    row["context"] = command["context"]
    row["command_context"] = command["context"]
    row["price_e4"] = command["price_e4"]
    row["qty"] = command["qty"]
    row["original_qty"] = narrow(command["qty"])
    if np.int64(command["instructions"]) & _UNTIL:  # in the place of a minimum
        row["until_ns"] = command["until_ns"]
    else:
        row["min_qty"] = narrow(command["min_qty"])
    if np.int64(command["instructions"]) & _STOP:  # in the place of a display
        row["stop_price_e4"] = command["stop_e4"]
    elif np.int64(command["instructions"]) & _DISPLAY:
        row["display_qty"] = narrow(command["display_qty"])
    elif np.int64(command["instructions"]) & _OFFSET:
        row["offset_e4"] = command["offset_e4"]
    row["peg"] = command["peg"]
    row["instructions"] = command["instructions"]
    row["side"] = command["side"]
    row["time_in_force"] = command["time_in_force"]
    row["self_trade"] = command["self_trade"]
    row["book"] = command["book"]


@inlined
def _change(tables: ReportTables, row, event, command, extend, replaces):
    """A cancel or replace. Nothing of the order changes, but for the mark of a sale."""
    context = command["new_context"] if replaces else command["context"]
    sender, owner = _sender(tables, context), np.int64(0)
    place = find(tables, np.int64(event["participant"]), command["client_order_id"])
    if place >= 0:
        order = tables.orders[place]
        owner = np.int64(order["user"])
        if not replaces and sender != 0 and owner != 0 and np.int64(event["reason"]) == Reason.INVALID_QTY:
            _remark(row, order, command)
        put_order(tables, row, place, standing(tables, place))
    else:
        _names(tables, row, event, extend)
    put_user(tables, row, sender)
    if owner != sender:
        put_other(tables, row, owner)
    row["command_context"] = context
    if replaces:
        row["client_order_id"] = command["new_client_order_id"]
        row["token_head"] = extend["new_token_head"]
        row["token_tail"] = extend["new_token_tail"]
        row["previous_client_order_id"] = command["client_order_id"]
        row["previous_token_head"] = extend["token_head"]
        row["previous_token_tail"] = extend["token_tail"]
        row["price_e4"] = command["price_e4"]
    else:
        row["client_order_id"] = command["client_order_id"]
        row["token_head"] = extend["token_head"]
        row["token_tail"] = extend["token_tail"]
    row["qty"] = command["qty"]


@inlined
def _remark(row, order, command):
    """Take up a Modify Order that changes only the mark of a sale: the market refuses it, as it takes off no shares."""
    asked = command["context"]
    intended_qty = np.int64(order["cum_qty"]) + np.int64(order["leaves_qty"])
    if is_modify(asked) and command["qty"] == intended_qty:
        context = after_modify(order["context"], asked)
        if context != order["context"]:
            order["context"] = context
            row["flags"] = np.int64(_REMARKED)
