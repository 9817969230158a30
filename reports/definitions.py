"""Kernels for accepted commands that cause no event of their own: definitions, limits, mass cancels, a new day.

Whether a command was accepted is known from its events: one that was refused has a reject as its first.
"""

from typing import Final

import numpy as np

from engine.delay import trading_day_of
from engine.jit import called, inlined, rare
from engine.records import CommandKind, EventKind, Limit, VenueSetting
from reports.rows import ReportFlag, ReportKind
from reports.schedules import add_schedule
from reports.tables import ReportRoom, ReportTables
from reports.writing import begin_report, put_instrument, put_participant, put_user

_MAX_ORDER_QTY: Final = int(Limit.MAX_ORDER_QTY)
_MAX_ORDER_VALUE: Final = int(Limit.MAX_ORDER_VALUE)
_ORDER_RATE: Final = int(Limit.ORDER_RATE)
_MAX_POSITION: Final = int(Limit.MAX_POSITION)
_CREDIT: Final = int(Limit.CREDIT)
_MARGIN: Final = int(Limit.MARGIN)
_ADV: Final = int(Limit.ADV)
_MAX_OPEN_ORDERS: Final = int(Limit.MAX_OPEN_ORDERS)
_MAX_IDS: Final = int(Limit.MAX_IDS)
_DAY_START: Final = int(VenueSetting.DAY_START)
_SPEED_BUMP: Final = int(VenueSetting.SPEED_BUMP)
_FIRST: Final = int(ReportFlag.FIRST)


@called
def _participant_named(tables: ReportTables, name):
    """Number of a participant, or 0."""
    for number in range(1, tables.venue[0]["participants"] + 1):
        if tables.participants[number] == name:
            return np.int64(number)
    return np.int64(0)


@called
def _instrument_named(tables: ReportTables, symbol):
    """Number of an instrument, or 0."""
    for number in range(1, tables.venue[0]["instruments"] + 1):
        if tables.instruments[number]["symbol"] == symbol:
            return np.int64(number)
    return np.int64(0)


@called
def _user_named(tables: ReportTables, name):
    """Number of a user, or 0."""
    for number in range(1, tables.venue[0]["users"] + 1):
        if tables.users[number]["name"] == name:
            return np.int64(number)
    return np.int64(0)


@rare
def begin_command(tables: ReportTables, room: ReportRoom, r, command, extend, events, n):
    """Report a command that is no order, if it was accepted and has a report of its own; gives the next row.

    n: of the first event from it on.
    """
    venue = tables.venue[0]
    kind = np.int64(command["kind"])
    if kind == CommandKind.CLOCK:
        # Its first event may be a reject of a command that waited.
        if venue["clock_moves"] == 0:
            return r
        venue["before_ns"] = venue["now_ns"]
        venue["now_ns"] = command["time_ns"]
        start_ns = venue["day_start_ns"]
        begins = trading_day_of(venue["now_ns"], start_ns) != trading_day_of(venue["before_ns"], start_ns)
        venue["day_begins"] = np.int64(begins)
        return r
    if n < len(events) and events[n]["seq"] == venue["seq"] and np.int64(events[n]["kind"]) == EventKind.REJECTED:
        return r
    if kind == CommandKind.INSTRUMENT:
        return _instrument(tables, room, r, command, extend)
    if kind == CommandKind.PARTICIPANT:
        return _participant(tables, room, r, command)
    if kind == CommandKind.USER:
        return _user(tables, room, r, command)
    if kind == CommandKind.CREDENTIAL:
        begin_report(tables, room, r, ReportKind.CREDENTIAL, kind)
        user, row = _user_named(tables, command["name"]), room.rows[r]
        row["name"] = command["name"]
        put_user(tables, row, user)
        put_participant(tables, row, tables.users[user]["participant"])
        return r + 1
    if kind == CommandKind.LIMITS:
        return _limits(tables, room, r, command, extend)
    if kind == CommandKind.MASS_CANCEL:
        return _mass_cancel(tables, room, r, command, events, n)
    if kind == CommandKind.EPOCH:
        begin_report(tables, room, r, ReportKind.EPOCH, kind)
        row = room.rows[r]
        row["name"] = command["name"]
        row["epoch"] = command["epoch"]
        return r + 1
    if kind == CommandKind.SCHEDULE:
        begin_report(tables, room, r, ReportKind.SCHEDULE, kind)
        row = room.rows[r]
        row["name"] = command["name"]
        instrument = _instrument_named(tables, command["name"])
        put_instrument(tables, row, instrument)
        row["due_ns"] = command["due_ns"]
        row["phase"] = command["phase"]
        add_schedule(tables, command["due_ns"], instrument, np.int64(command["phase"]))
        return r + 1
    if kind == CommandKind.INDEX:
        begin_report(tables, room, r, ReportKind.INDEX, kind)
        row = room.rows[r]
        row["name"] = command["name"]
        row["level_1_bps"] = extend["level_1_bps"]
        row["level_1_ns"] = extend["level_1_ns"]
        row["level_2_bps"] = extend["level_2_bps"]
        row["level_2_ns"] = extend["level_2_ns"]
        row["level_3_bps"] = extend["level_3_bps"]
        row["level_3_ns"] = extend["level_3_ns"]
        return r + 1
    if kind == CommandKind.MEMBERS:
        begin_report(tables, room, r, ReportKind.MEMBERS, kind)
        row = room.rows[r]
        row["name"] = command["name"]
        row["symbol"] = command["symbol"]
        row["weight"] = command["weight"]
        row["further_symbol"] = command["further_symbol"]
        row["further_weight"] = command["further_weight"]
        return r + 1
    if kind == CommandKind.VENUE:
        if np.int64(command["settings"]) & _DAY_START:
            venue["day_start_ns"] = command["day_start_ns"]
        if np.int64(command["settings"]) & _SPEED_BUMP:
            venue["speed_bump_ns"] = command["speed_bump_ns"]
        begin_report(tables, room, r, ReportKind.VENUE, kind)
        row = room.rows[r]
        row["settings"] = command["settings"]
        row["speed_bump_ns"] = command["speed_bump_ns"]
        row["day_start_ns"] = command["day_start_ns"]
        return r + 1
    if kind == CommandKind.CLOCK_JUMP:
        begin_report(tables, room, r, ReportKind.CLOCK_JUMP, kind)
        row = room.rows[r]
        row["machine_ns"] = command["time_ns"]
        row["jump_ns"] = command["jump_ns"]
        return r + 1
    return r


@called
def report_trading_day(tables: ReportTables, room: ReportRoom, r):
    """Report that a trading day begins; gives the next row."""
    venue = tables.venue[0]
    venue["day_begins"] = 0
    begin_report(tables, room, r, ReportKind.TRADING_DAY, CommandKind.CLOCK)
    row = room.rows[r]
    row["day"] = trading_day_of(venue["now_ns"], venue["day_start_ns"])
    row["before_ns"] = venue["before_ns"]
    return r + 1


@inlined
def _instrument(tables: ReportTables, room: ReportRoom, r, command, extend):
    venue = tables.venue[0]
    number = min(venue["instruments"] + 1, len(tables.instruments) - 1)
    venue["instruments"] = number
    tables.instruments[number]["symbol"] = command["name"]
    begin_report(tables, room, r, ReportKind.INSTRUMENT, command["kind"])
    row = room.rows[r]
    row["name"] = command["name"]
    put_instrument(tables, row, number)
    row["reference_e4"] = command["reference_e4"]
    row["tick_e4"] = command["tick_e4"]
    row["lot"] = command["lot"]
    row["adv_qty"] = command["adv_qty"]
    row["settings"] = command["settings"]
    row["band_bps"] = extend["band_bps"]
    row["volatility_bps"] = extend["volatility_bps"]
    row["volatility_window_ns"] = extend["volatility_window_ns"]
    row["volatility_halt_ns"] = extend["volatility_halt_ns"]
    return r + 1


@inlined
def _participant(tables: ReportTables, room: ReportRoom, r, command):
    venue = tables.venue[0]
    number = min(venue["participants"] + 1, len(tables.participants) - 1)
    venue["participants"] = number
    tables.participants[number] = command["name"]
    begin_report(tables, room, r, ReportKind.PARTICIPANT, command["kind"])
    row = room.rows[r]
    row["name"] = command["name"]
    put_participant(tables, row, number)
    row["group"] = command["group"]
    row["permissions"] = command["permissions"]
    return r + 1


@inlined
def _user(tables: ReportTables, room: ReportRoom, r, command):
    venue = tables.venue[0]
    user = _user_named(tables, command["name"])
    flags = np.int64(0)
    if user == 0 and venue["users"] + 1 < len(tables.users):
        user = venue["users"] + 1
        venue["users"] = user
        flags = np.int64(_FIRST)
    participant = _participant_named(tables, command["participant_name"])
    if user != 0:
        there = tables.users[user]
        there["name"] = command["name"]
        there["participant"] = participant
        there["firm"] = command["firm"]
        there["permissions"] = command["permissions"]
    begin_report(tables, room, r, ReportKind.USER, command["kind"])
    row = room.rows[r]
    row["name"] = command["name"]
    put_user(tables, row, user)
    put_participant(tables, row, participant)
    row["permissions"] = command["permissions"]
    row["flags"] = flags
    return r + 1


@inlined
def _limits(tables: ReportTables, room: ReportRoom, r, command, extend):
    named = np.int64(command["limits"]) & 255 | np.int64(command["further_limits"]) << 8
    off = np.int64(command["limits"]) >> 8 | np.int64(command["further_off"]) << 8
    said = named & ~off
    begin_report(tables, room, r, ReportKind.LIMITS, command["kind"])
    row = room.rows[r]
    row["name"] = command["name"]
    put_participant(tables, row, _participant_named(tables, command["name"]))
    if command["symbol"] != 0:
        put_instrument(tables, row, _instrument_named(tables, command["symbol"]))
    row["limits"] = named
    row["limits_off"] = off
    if said & _MAX_ORDER_QTY:
        row["max_order_qty"] = command["max_order_qty"]
    if said & _MAX_ORDER_VALUE:
        row["max_order_value_e4"] = command["max_order_value_e4"]
    if said & _ORDER_RATE:
        row["rate_orders"] = extend["rate_orders"]
        row["rate_window_ns"] = extend["rate_window_ns"]
    if said & _MAX_POSITION:
        row["max_position_qty"] = command["max_position_qty"]
    if said & _CREDIT:
        row["credit_e4"] = command["credit_e4"]
    if said & _MARGIN:
        row["margin_bps"] = extend["margin_bps"]
    if said & _ADV:
        row["adv_share_bps"] = extend["adv_share_bps"]
    if said & _MAX_OPEN_ORDERS:
        row["max_open_orders"] = extend["max_open_orders"]
    if said & _MAX_IDS:
        row["max_ids"] = extend["max_ids"]
    return r + 1


@inlined
def _mass_cancel(tables: ReportTables, room: ReportRoom, r, command, events, n):
    orders = np.int64(0)
    for m in range(n, len(events)):
        if events[m]["seq"] != tables.venue[0]["seq"]:
            break
        orders += np.int64(np.int64(events[m]["kind"]) == EventKind.CANCELED)
    begin_report(tables, room, r, ReportKind.MASS_CANCEL, command["kind"])
    row = room.rows[r]
    row["name"] = command["name"]
    put_participant(tables, row, _participant_named(tables, command["name"]))
    if command["symbol"] != 0:
        put_instrument(tables, row, _instrument_named(tables, command["symbol"]))
    row["side"] = command["side"]
    row["reason"] = command["reason"]
    row["orders"] = orders
    return r + 1
