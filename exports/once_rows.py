"""Kernels for tables that say each fact once: they find what a row need not say, and say it again.

A row about an order need not say what the order's row says of its entry, and a row of a trade what the trade's row
says. A value that is missing is 0 and has a mark; the rule for each is in ``exports.once``.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, wrapping_multiply
from engine.records import EventKind, Side
from reports.rows import ReportKind

#: Columns of ``ReportColumns`` that ``mark_reports`` reads: ``at`` has the place of each.
REPORT_FACTS: Final = (
    *("participant", "symbol", "user", "side", "book", "time_in_force", "client_order_id", "price_e4", "qty"),
    *("seq", "kind", "order_number", "leaves_qty", "displayed_qty", "rests", "cum_qty", "canceled_qty", "notional_e4"),
    *("last_price_e4", "last_qty", "contra_participant", "trade_number", "entered_ago"),
)
#: Columns of ``events`` that ``mark_events`` and ``fill_events`` use.
EVENT_FACTS: Final = (
    *("participant", "symbol", "side", "client_order_id", "price_e4", "qty"),
    *("seq", "kind", "number", "contra_participant", "contra_client_order_id", "entered_ago"),
)
#: Facts of the entry of an order, in the order of its row in ``Orders.first_of``.
ENTRY_FACTS: Final = (
    *("participant", "symbol", "user", "side", "book", "time_in_force"),
    *("entry_client_order_id", "entry_price_e4", "entry_qty", "entry_seq"),
)
#: Those that ``fill_events`` says again, in the order of its first places of ``EVENT_FACTS``.
SAID_FACTS: Final = ("participant", "symbol", "side", "entry_client_order_id", "entry_price_e4", "entry_qty")
#: Facts of a trade, in the order of its row for kernels.
TRADE_FACTS: Final = (
    *("trade_number", "price_e4", "qty", "symbol", "aggressor_side", "buy_participant", "sell_participant"),
    *("buy_client_order_id", "sell_client_order_id"),
)

_PARTICIPANT, _SYMBOL, _USER, _SIDE, _BOOK, _TERM, _ID, _PRICE, _QTY = range(9)
_SEQ, _KIND, _ORDER, _LEAVES, _DISPLAYED, _RESTS, _CUM, _CANCELED, _NOTIONAL = range(9, 18)
_LAST_PRICE, _LAST_QTY, _CONTRA, _TRADE, _AGO = range(18, 23)
_ENTRY_SEQ: Final = 9

_E_PARTICIPANT, _E_SYMBOL, _E_SIDE, _E_ID, _E_PRICE, _E_QTY = range(6)
_E_SEQ, _E_KIND, _E_NUMBER, _E_CONTRA, _E_CONTRA_ID, _E_AGO = range(6, 12)

_T_NUMBER, _T_PRICE, _T_QTY, _T_SYMBOL, _T_AGGRESSOR, _T_BUYER, _T_SELLER, _T_BUY_ID, _T_SELL_ID = range(9)


@inlined
def _leave_out(columns, missing, place, row):
    columns[place, row] = 0
    missing[place, row] = 1


@inlined
def _is_found(first_of, number, seq):
    """True if an order is the only one that its command entered, at ``seq`` or before."""
    if number <= 0 or number >= len(first_of) - 1:
        return False
    entry_seq = first_of[number, _ENTRY_SEQ]
    if entry_seq <= 0 or entry_seq > seq:
        return False
    return first_of[number - 1, _ENTRY_SEQ] != entry_seq and first_of[number + 1, _ENTRY_SEQ] != entry_seq


@inlined
def _trade_row(trades, number):
    """Row of a trade among those of consecutive numbers, or -1."""
    if len(trades) == 0 or number < trades[0, _T_NUMBER] or number > trades[len(trades) - 1, _T_NUMBER]:
        return np.int64(-1)
    row = number - trades[0, _T_NUMBER]
    return row if 0 <= row < len(trades) and trades[row, _T_NUMBER] == number else np.int64(-1)


@called
def mark_reports(columns, n, at, first_of, trades, missing):
    """Leave out what ``n`` reports need not say.

    columns: int64[places, room]; the left-out values become 0. at: int64[REPORT_FACTS], their places. first_of: entries
    of orders (``Orders.first_of``). trades: int64[t, TRADE_FACTS], rising by 1. missing: uint8[places, room], zeros.
    """
    for row in range(n):
        kind, seq, number = columns[at[_KIND], row], columns[at[_SEQ], row], columns[at[_ORDER], row]
        trade = columns[at[_TRADE], row]
        if trade == 0:
            missing[at[_TRADE], row] = 1
        plain = _is_found(first_of, number, seq)
        if plain:
            for fact in range(_ID):
                plain = plain and columns[at[fact], row] == first_of[number, fact]
        if not plain:
            _leave_out(columns, missing, at[_AGO], row)
            continue
        side = columns[at[_SIDE], row]
        price_e4, qty, rests = columns[at[_PRICE], row], columns[at[_QTY], row], columns[at[_RESTS], row]
        last_e4, cum_qty, canceled_qty = (
            columns[at[_LAST_PRICE], row],
            columns[at[_CUM], row],
            columns[at[_CANCELED], row],
        )
        leaves_qty = columns[at[_LEAVES], row]
        columns[at[_AGO], row] = seq - first_of[number, _ENTRY_SEQ]
        _leave_out(columns, missing, at[_ORDER], row)
        for fact in range(_ID):
            _leave_out(columns, missing, at[fact], row)
        for fact in range(_ID, _QTY + 1):
            if columns[at[fact], row] == first_of[number, fact]:
                _leave_out(columns, missing, at[fact], row)
        is_end = kind in (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY)
        if canceled_qty == (qty - cum_qty if is_end else np.int64(0)):
            _leave_out(columns, missing, at[_CANCELED], row)
        if leaves_qty == qty - cum_qty - canceled_qty:
            _leave_out(columns, missing, at[_LEAVES], row)
        if columns[at[_DISPLAYED], row] == rests * leaves_qty:
            _leave_out(columns, missing, at[_DISPLAYED], row)
        paid_e4 = last_e4 if kind == ReportKind.TRADE else price_e4
        if columns[at[_NOTIONAL], row] == wrapping_multiply(paid_e4, cum_qty):
            _leave_out(columns, missing, at[_NOTIONAL], row)
        if kind == ReportKind.TRADE:
            there = _trade_row(trades, trade)
            if there >= 0:
                contra = trades[there, _T_SELLER] if side == Side.BUY else trades[there, _T_BUYER]
                if (
                    columns[at[_CONTRA], row] == contra
                    and last_e4 == trades[there, _T_PRICE]
                    and columns[at[_LAST_QTY], row] == trades[there, _T_QTY]
                ):
                    _leave_out(columns, missing, at[_CONTRA], row)
                    _leave_out(columns, missing, at[_LAST_PRICE], row)
                    _leave_out(columns, missing, at[_LAST_QTY], row)


@called
def mark_events(columns, at, first_of, trades, missing):
    """Leave out what events need not say. columns: int64[places, n]; others as for ``mark_reports``."""
    for row in range(columns.shape[1]):
        kind, seq, number = columns[at[_E_KIND], row], columns[at[_E_SEQ], row], columns[at[_E_NUMBER], row]
        if kind == EventKind.TRADE:
            _leave_out(columns, missing, at[_E_AGO], row)
            there = _trade_row(trades, number)
            if there < 0:
                continue
            trade = trades[there]
            buys = trade[_T_AGGRESSOR] != Side.BUY  # the order that rests, or the buy of an uncross, is named first
            own, contra = trade[_T_SELLER], trade[_T_BUYER]
            own_id, contra_id = trade[_T_SELL_ID], trade[_T_BUY_ID]
            if buys:
                own, contra, own_id, contra_id = contra, own, contra_id, own_id
            if (
                columns[at[_E_PARTICIPANT], row] == own
                and columns[at[_E_CONTRA], row] == contra
                and columns[at[_E_ID], row] == own_id
                and columns[at[_E_CONTRA_ID], row] == contra_id
                and columns[at[_E_SYMBOL], row] == trade[_T_SYMBOL]
                and columns[at[_E_SIDE], row] == trade[_T_AGGRESSOR]
                and columns[at[_E_PRICE], row] == trade[_T_PRICE]
                and columns[at[_E_QTY], row] == trade[_T_QTY]
            ):
                for fact in range(_E_QTY + 1):
                    _leave_out(columns, missing, at[fact], row)
                _leave_out(columns, missing, at[_E_CONTRA], row)
                _leave_out(columns, missing, at[_E_CONTRA_ID], row)
            continue
        if (
            not _is_found(first_of, number, seq)
            or columns[at[_E_PARTICIPANT], row] != first_of[number, _PARTICIPANT]
            or columns[at[_E_SYMBOL], row] != first_of[number, _SYMBOL]
            or columns[at[_E_SIDE], row] != first_of[number, _SIDE]
            or columns[at[_E_ID], row] != first_of[number, _ID]
        ):
            _leave_out(columns, missing, at[_E_AGO], row)
            continue
        columns[at[_E_AGO], row] = seq - first_of[number, _ENTRY_SEQ]
        for fact in range(_E_ID + 1):
            _leave_out(columns, missing, at[fact], row)
        _leave_out(columns, missing, at[_E_NUMBER], row)
        if columns[at[_E_PRICE], row] == first_of[number, _PRICE]:
            _leave_out(columns, missing, at[_E_PRICE], row)
        if kind == EventKind.ACCEPTED and columns[at[_E_QTY], row] == first_of[number, _QTY]:
            _leave_out(columns, missing, at[_E_QTY], row)


@called
def fill_events(columns, at, order_of, first_of, trades, missing):
    """Say again what ``mark_events`` left out; gives the first row that cannot be, or -1.

    order_of: int32[commands], the number of the only order that a command entered, or 0. first_of: int64[orders,
    SAID_FACTS].
    """
    for row in range(columns.shape[1]):
        if not missing[at[_E_PARTICIPANT], row]:
            continue
        if missing[at[_E_AGO], row]:
            there = _trade_row(trades, columns[at[_E_NUMBER], row])
            if there < 0:
                return np.int64(row)
            trade = trades[there]
            buys = trade[_T_AGGRESSOR] != Side.BUY
            columns[at[_E_PARTICIPANT], row] = trade[_T_BUYER] if buys else trade[_T_SELLER]
            columns[at[_E_CONTRA], row] = trade[_T_SELLER] if buys else trade[_T_BUYER]
            columns[at[_E_ID], row] = trade[_T_BUY_ID] if buys else trade[_T_SELL_ID]
            columns[at[_E_CONTRA_ID], row] = trade[_T_SELL_ID] if buys else trade[_T_BUY_ID]
            columns[at[_E_SYMBOL], row] = trade[_T_SYMBOL]
            columns[at[_E_SIDE], row] = trade[_T_AGGRESSOR]
            columns[at[_E_PRICE], row] = trade[_T_PRICE]
            columns[at[_E_QTY], row] = trade[_T_QTY]
            continue
        seq, ago = columns[at[_E_SEQ], row], columns[at[_E_AGO], row]
        if ago < 0 or ago >= seq or seq - ago >= len(order_of):
            return np.int64(row)
        entry_seq = seq - ago
        if order_of[entry_seq] == 0:
            return np.int64(row)
        number = np.int64(order_of[entry_seq])
        columns[at[_E_PARTICIPANT], row] = first_of[number, _E_PARTICIPANT]
        columns[at[_E_SYMBOL], row] = first_of[number, _E_SYMBOL]
        columns[at[_E_SIDE], row] = first_of[number, _E_SIDE]
        columns[at[_E_ID], row] = first_of[number, _E_ID]
        columns[at[_E_NUMBER], row] = number
        if missing[at[_E_PRICE], row]:
            columns[at[_E_PRICE], row] = first_of[number, _E_PRICE]
        if missing[at[_E_QTY], row]:
            columns[at[_E_QTY], row] = first_of[number, _E_QTY]
    return np.int64(-1)
