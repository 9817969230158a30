"""Kernels for reports about the market: phases, halts, indicatives, kill switches."""

import numpy as np

from engine.jit import called, inlined
from engine.records import EventKind, Phase, Reason
from reports.rows import Liquidity, ReportKind
from reports.tables import ReportRoom, ReportTables
from reports.writing import begin_report, put_instrument, put_participant


@inlined
def ends_with_day(event):
    """True for the cancel of an order by the clock value that ends its day."""
    return np.int64(event["kind"]) == EventKind.CANCELED and np.int64(event["reason"]) == Reason.END_OF_DAY


@called
def report_market(tables: ReportTables, room: ReportRoom, r, event, command_kind):
    """Report an event that is about no order; gives the next row."""
    kind = np.int64(event["kind"])
    if kind == EventKind.PHASE or kind == EventKind.HALTED:
        return _phase(tables, room, r, event, command_kind, kind == EventKind.HALTED)
    if kind == EventKind.INDICATIVE:
        begin_report(tables, room, r, ReportKind.INDICATIVE, command_kind)
        row = room.rows[r]
        put_instrument(tables, row, np.int64(event["instrument"]))
        row["price_e4"] = event["price_e4"]
        row["paired_qty"] = event["qty"]
        row["imbalance_qty"] = event["imbalance_qty"]
        row["side"] = event["side"]
        return r + 1
    killed = kind == EventKind.KILLED
    begin_report(tables, room, r, ReportKind.KILLED if killed else ReportKind.UNKILLED, command_kind)
    put_participant(tables, room.rows[r], np.int64(event["participant"]))
    return r + 1


@inlined
def _cross_after(ended):
    """Liquidity of an uncross that ends a phase."""
    if ended == Phase.HALTED or ended == Phase.AUCTION:
        return np.int64(Liquidity.HALT_CROSS)
    return np.int64(Liquidity.CLOSING_CROSS if ended == Phase.CLOSING_AUCTION else Liquidity.OPENING_CROSS)


@inlined
def _phase(tables: ReportTables, room: ReportRoom, r, event, command_kind, halted):
    instrument = np.int64(event["instrument"])
    there = tables.instruments[min(instrument, len(tables.instruments) - 1)]
    ended = there["phase"]
    there["cross"] = _cross_after(ended)
    there["phase"] = event["phase"]
    begin_report(tables, room, r, ReportKind.HALTED if halted else ReportKind.PHASE, command_kind)
    row = room.rows[r]
    put_instrument(tables, row, instrument)
    row["phase"] = event["phase"]
    row["previous_phase"] = ended
    row["reason"] = event["reason"]
    return r + 1
