"""Kernels for reports of crosses: trades that were agreed outside the books, of no orders."""

import numpy as np

from engine.jit import called
from engine.records import EventKind
from reports.contexts import user_in
from reports.orders import clear, scratch
from reports.rows import Liquidity, ReportKind
from reports.tables import ReportRoom, ReportTables
from reports.writing import begin_report, is_user, narrow, put_order


@called
def _agreed(tables: ReportTables, event, client_order_id, participant, side):
    """Place of the scratch row, with what a cross says in place of an order that was executed at once."""
    place = scratch(tables)
    clear(tables, place)
    order = tables.orders[place]
    order["client_order_id"] = client_order_id
    order["participant"] = min(participant, np.int64(65_535))
    order["instrument"] = min(np.int64(event["instrument"]), np.int64(len(tables.instruments) - 1))
    order["price_e4"] = event["price_e4"]
    order["qty"] = narrow(event["qty"])
    order["cum_qty"] = narrow(event["qty"])
    order["notional_e4"] = event["price_e4"] * event["qty"]
    order["side"] = side
    return place


@called
def report_cross(tables: ReportTables, room: ReportRoom, r, event, command, extend):
    """Report an event of a cross that was accepted: its answer, or both sides of its trade; gives the next row."""
    buyer, seller = np.int64(event["participant"]), np.int64(event["contra_participant"])
    if np.int64(event["kind"]) == EventKind.ACCEPTED:
        place = _agreed(tables, event, event["client_order_id"], buyer, 0)
        order = tables.orders[place]
        order["order_number"] = event["order_number"]
        order["context"] = command["context"]
        user = user_in(command["context"])
        order["user"] = user if is_user(tables, user) else np.int64(0)
        begin_report(tables, room, r, ReportKind.NEW, command["kind"])
        row = room.rows[r]
        put_order(tables, row, place, np.int64(0))
        row["token_head"] = extend["token_head"]
        row["token_tail"] = extend["token_tail"]
        row["command_context"] = command["context"]
        return r + 1
    for turn in range(2):
        own, other = (buyer, seller) if turn == 0 else (seller, buyer)
        own_name = event["client_order_id"] if turn == 0 else event["contra_client_order_id"]
        other_name = event["contra_client_order_id"] if turn == 0 else event["client_order_id"]
        place = _agreed(tables, event, own_name, own, 1 - 2 * turn)
        begin_report(tables, room, r, ReportKind.TRADE, command["kind"])
        row = room.rows[r]
        put_order(tables, row, place, np.int64(0))
        row["last_price_e4"] = event["price_e4"]
        row["last_qty"] = narrow(event["qty"])
        row["trade_number"] = event["trade_number"]
        row["liquidity"] = np.int64(Liquidity.AGREED_CROSS)
        row["contra_participant"] = other
        row["contra_name"] = tables.participants[min(other, np.int64(len(tables.participants) - 1))]
        row["contra_client_order_id"] = other_name
        r += 1
    return r
