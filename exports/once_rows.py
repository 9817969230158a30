"""Kernels for tables that say each fact once: they find what a row need not say, and say it again.

Rows of events and reports that the row of an order or a trade says are left out. Of the others, a row about an order
need not say what the order's row says of its entry. A value that is missing is 0 and has a mark; the rule for each is
in ``exports.once``.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, wrapping_multiply
from engine.records import CommandKind, EventKind, Side
from reports.rows import ReportKind

#: Columns of ``ReportColumns`` that kernels about reports read: ``at`` has the place of each.
REPORT_FACTS: Final = (
    *("participant", "symbol", "user", "side", "book", "time_in_force", "client_order_id", "price_e4", "qty"),
    *("seq", "kind", "order_number", "leaves_qty", "displayed_qty", "rests", "cum_qty", "canceled_qty", "notional_e4"),
    *("last_price_e4", "last_qty", "contra_participant", "trade_number"),
    *("previous_client_order_id", "stop_price_e4", "peg", "offset_e4", "liquidity"),
    *("number", "time_ns", "command", "reason", "entered_ago"),
)
#: Columns of ``events`` that kernels about events use.
EVENT_FACTS: Final = (
    *("participant", "symbol", "side", "client_order_id", "price_e4", "qty"),
    *("seq", "kind", "number", "contra_participant", "contra_client_order_id", "phase", "reason"),
    *("event_number", "time_ns", "entered_ago"),
)
#: Facts of the entry of an order, in the order of its row in ``Orders.first_of``.
ENTRY_FACTS: Final = (
    *("participant", "symbol", "user", "side", "book", "time_in_force"),
    *("entry_client_order_id", "entry_price_e4", "entry_qty", "entry_seq", "entry_time_ns"),
)
#: Facts of an order that events say again, the first ones in the order of the first places of ``EVENT_FACTS``.
SAID_FACTS: Final = (
    *("participant", "symbol", "side", "entry_client_order_id", "entry_price_e4", "entry_qty"),
    *("canceled_qty", "end_reason"),
)
#: Facts of a trade, in the order of its row for kernels.
TRADE_FACTS: Final = (
    *("trade_number", "price_e4", "qty", "symbol", "aggressor_side", "buy_participant", "sell_participant"),
    *("buy_client_order_id", "sell_client_order_id", "seq", "time_ns", "event_number"),
)

_PARTICIPANT, _SYMBOL, _USER, _SIDE, _BOOK, _TERM, _ID, _PRICE, _QTY = range(9)
_SEQ, _KIND, _ORDER, _LEAVES, _DISPLAYED, _RESTS, _CUM, _CANCELED, _NOTIONAL = range(9, 18)
_LAST_PRICE, _LAST_QTY, _CONTRA, _TRADE = range(18, 22)
_NUMBER, _TIME, _COMMAND, _REASON, _AGO = range(27, 32)
_ENTRY_SEQ, _ENTRY_TIME = 9, 10
#: Places of ``Orders.newest_of`` and ``Orders.last_of``.
_NEW_CUM, _NEW_CANCELED, _NEW_NOTIONAL = 4, 5, 6
_END_SEQ, _END_TIME, _END_REASON = range(3)
#: Places of ``Orders.numbers_of``.
_ENTRY, _END = range(2)

_E_PARTICIPANT, _E_SYMBOL, _E_SIDE, _E_ID, _E_PRICE, _E_QTY = range(6)
_E_SEQ, _E_KIND, _E_ORDER, _E_CONTRA, _E_CONTRA_ID, _E_PHASE, _E_REASON, _E_NUMBER, _E_TIME, _E_AGO = range(6, 16)
_S_CANCELED, _S_REASON = 6, 7

_T_NUMBER, _T_PRICE, _T_QTY, _T_SYMBOL, _T_AGGRESSOR, _T_BUYER, _T_SELLER, _T_BUY_ID, _T_SELL_ID = range(9)
_T_SEQ, _T_TIME, _T_EVENT = range(9, 12)
#: Places of ``Facts.at``: the next command, event within it, event of the table and trade.
AT_SEQ, AT_NUMBER, AT_LEFT, AT_TRADE = range(4)


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


@inlined
def _report_number(number):
    """Number of the report of an order's end, whose event has this number: a trade before it has two reports."""
    return np.int64(1) if number == 1 else 2 * number - 2


@inlined
def _is_entry(columns, row, at, first_of, last_of, number):
    """True if a report is the one of an entry that the order's row says."""
    seq, qty = columns[at[_SEQ], row], columns[at[_QTY], row]
    rests = np.int64(0) if last_of[number, _END_SEQ] == seq else np.int64(1)
    for fact in range(_ID, _QTY + 1):
        if columns[at[fact], row] != first_of[number, fact]:
            return False
    return (
        _is_found(first_of, number, seq)
        and first_of[number, _ENTRY_SEQ] == seq
        and columns[at[_TIME], row] == first_of[number, _ENTRY_TIME]
        and columns[at[_NUMBER], row] == 1
        and columns[at[_COMMAND], row] == CommandKind.ENTER
        and columns[at[_RESTS], row] == rests
        and columns[at[_LEAVES], row] == qty
        and columns[at[_DISPLAYED], row] == rests * qty
        and columns[at[_CUM], row] == 0
        and columns[at[_CANCELED], row] == 0
        and columns[at[_NOTIONAL], row] == 0
        and columns[at[_REASON], row] == 0
    )


@inlined
def _is_end(columns, row, at, first_of, newest_of, last_of, number):
    """True if a report is the one of a cancel that the order's row says."""
    seq = columns[at[_SEQ], row]
    command = CommandKind.ENTER if first_of[number, _ENTRY_SEQ] == seq else CommandKind.CANCEL
    for fact in range(_ID, _QTY + 1):
        if columns[at[fact], row] != newest_of[number, fact - _ID]:
            return False
    return (
        seq == last_of[number, _END_SEQ]
        and columns[at[_TIME], row] == last_of[number, _END_TIME]
        and columns[at[_REASON], row] == last_of[number, _END_REASON]
        and columns[at[_COMMAND], row] == command
        and columns[at[_RESTS], row] == 0
        and columns[at[_LEAVES], row] == 0
        and columns[at[_DISPLAYED], row] == 0
        and columns[at[_CUM], row] == newest_of[number, _NEW_CUM]
        and columns[at[_CANCELED], row] == newest_of[number, _NEW_CANCELED]
        and columns[at[_NOTIONAL], row] == newest_of[number, _NEW_NOTIONAL]
    )


@called
def offer_reports(columns, n, at, first_of, newest_of, last_of, numbers_of):
    """Find which of ``n`` reports the rows of their orders say, where the events fit too.

    numbers_of: int32[orders, 2], becomes the number of such a report of the entry and of the end, with a minus; then
    ``leave_events`` makes it that of the event. first_of, newest_of, last_of: of ``Orders``, after these reports.
    """
    for row in range(n):
        kind, number = columns[at[_KIND], row], columns[at[_ORDER], row]
        if kind not in (ReportKind.NEW, ReportKind.CANCELED):
            continue
        if number <= 0 or number >= len(first_of) - 1 or first_of[number, _ENTRY_SEQ] <= 0:
            continue
        fits = True
        for fact in range(_ID):
            fits = fits and columns[at[fact], row] == first_of[number, fact]
        for fact in range(_LAST_PRICE, _NUMBER):  # nothing of another order, and no special terms
            fits = fits and columns[at[fact], row] == 0
        if not fits:
            continue
        if kind == ReportKind.NEW:
            if _is_entry(columns, row, at, first_of, last_of, number):
                numbers_of[number, _ENTRY] = -1
        elif _is_end(columns, row, at, first_of, newest_of, last_of, number):
            numbers_of[number, _END] = -columns[at[_NUMBER], row]


@inlined
def _is_own(columns, row, at, first_of, number):
    """True if an event has the names, side, id and price of the entry of its order, and nothing of another one."""
    return (
        columns[at[_E_PARTICIPANT], row] == first_of[number, _PARTICIPANT]
        and columns[at[_E_SYMBOL], row] == first_of[number, _SYMBOL]
        and columns[at[_E_SIDE], row] == first_of[number, _SIDE]
        and columns[at[_E_ID], row] == first_of[number, _ID]
        and columns[at[_E_PRICE], row] == first_of[number, _PRICE]
        and columns[at[_E_CONTRA], row] == 0
        and columns[at[_E_CONTRA_ID], row] == 0
        and columns[at[_E_PHASE], row] == 0
    )


@inlined
def _is_of_trade(columns, row, at, trade):
    """True if an event is the one that the row of its trade says."""
    buys = trade[_T_AGGRESSOR] != Side.BUY  # the order that rests, or the buy of an uncross, is named first
    return (
        columns[at[_E_PARTICIPANT], row] == (trade[_T_BUYER] if buys else trade[_T_SELLER])
        and columns[at[_E_CONTRA], row] == (trade[_T_SELLER] if buys else trade[_T_BUYER])
        and columns[at[_E_ID], row] == (trade[_T_BUY_ID] if buys else trade[_T_SELL_ID])
        and columns[at[_E_CONTRA_ID], row] == (trade[_T_SELL_ID] if buys else trade[_T_BUY_ID])
        and columns[at[_E_SYMBOL], row] == trade[_T_SYMBOL]
        and columns[at[_E_SIDE], row] == trade[_T_AGGRESSOR]
        and columns[at[_E_PRICE], row] == trade[_T_PRICE]
        and columns[at[_E_QTY], row] == trade[_T_QTY]
        and columns[at[_E_SEQ], row] == trade[_T_SEQ]
        and columns[at[_E_TIME], row] == trade[_T_TIME]
        and columns[at[_E_PHASE], row] == 0
        and columns[at[_E_REASON], row] == 0
    )


@called
def leave_events(columns, at, first_of, newest_of, last_of, trades, numbers_of, kept):
    """Find which events the rows of orders and trades say; ``kept`` (bool[n], True) becomes False for these.

    columns: int64[places, n], whole commands. trades: int64[t, TRADE_FACTS], rising by 1, gets their events' numbers.
    numbers_of: as ``offer_reports`` left it; an order's entry or end has its event's number where that fits, too. A
    command has one end at most that is said so, since ``merge_events`` finds it by its command.
    """
    newest_end = np.int64(0)
    for row in range(columns.shape[1]):
        kind, number, seq = columns[at[_E_KIND], row], columns[at[_E_ORDER], row], columns[at[_E_SEQ], row]
        event_number = columns[at[_E_NUMBER], row]
        if kind == EventKind.TRADE:
            there = _trade_row(trades, number)
            if there >= 0 and trades[there, _T_EVENT] == 0 and _is_of_trade(columns, row, at, trades[there]):
                trades[there, _T_EVENT] = event_number
                kept[row] = False
            continue
        if number <= 0 or number >= len(first_of) - 1 or not _is_own(columns, row, at, first_of, number):
            continue
        if kind == EventKind.ACCEPTED:
            if (
                numbers_of[number, _ENTRY] == -1
                and event_number == 1
                and seq == first_of[number, _ENTRY_SEQ]
                and columns[at[_E_TIME], row] == first_of[number, _ENTRY_TIME]
                and columns[at[_E_QTY], row] == first_of[number, _QTY]
                and columns[at[_E_REASON], row] == 0
            ):
                numbers_of[number, _ENTRY] = 1
                kept[row] = False
        elif (
            kind == EventKind.CANCELED
            and numbers_of[number, _END] < 0
            and numbers_of[number, _END] == -_report_number(event_number)
            and seq != newest_end
            and seq == last_of[number, _END_SEQ]
            and columns[at[_E_TIME], row] == last_of[number, _END_TIME]
            and columns[at[_E_REASON], row] == last_of[number, _END_REASON]
            and columns[at[_E_QTY], row] == newest_of[number, _NEW_CANCELED]
        ):
            numbers_of[number, _END] = event_number
            newest_end = seq
            kept[row] = False


@called
def leave_reports(columns, n, at, first_of, last_of, numbers_of, kept):
    """Find which of ``n`` reports the rows of their orders say, behind ``leave_events``; ``kept`` (bool[n], True)
    becomes False for these. What was offered and did not fit is taken back."""
    for row in range(n):
        kind, number = columns[at[_KIND], row], columns[at[_ORDER], row]
        if kind not in (ReportKind.NEW, ReportKind.CANCELED):
            continue
        if number <= 0 or number >= len(first_of) - 1:
            continue
        place = _ENTRY if kind == ReportKind.NEW else _END
        seq = first_of[number, _ENTRY_SEQ] if kind == ReportKind.NEW else last_of[number, _END_SEQ]
        if numbers_of[number, place] < 0:
            numbers_of[number, place] = 0
        elif numbers_of[number, place] > 0 and seq == columns[at[_SEQ], row]:
            kept[row] = False


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
def mark_events(columns, at, first_of, missing):
    """Leave out what events need not say. columns: int64[places, n]; others as for ``mark_reports``."""
    for row in range(columns.shape[1]):
        kind, seq, number = columns[at[_E_KIND], row], columns[at[_E_SEQ], row], columns[at[_E_ORDER], row]
        if (
            kind == EventKind.TRADE
            or not _is_found(first_of, number, seq)
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
        _leave_out(columns, missing, at[_E_ORDER], row)
        if columns[at[_E_PRICE], row] == first_of[number, _PRICE]:
            _leave_out(columns, missing, at[_E_PRICE], row)
        if kind == EventKind.ACCEPTED and columns[at[_E_QTY], row] == first_of[number, _QTY]:
            _leave_out(columns, missing, at[_E_QTY], row)


@called
def fill_events(columns, at, order_of, first_of, missing):
    """Say again what ``mark_events`` left out; gives the first row that cannot be, or -1.

    order_of: int32[commands], the number of the only order that a command entered, or 0. first_of: int64[orders,
    SAID_FACTS].
    """
    for row in range(columns.shape[1]):
        if not missing[at[_E_PARTICIPANT], row]:
            continue
        seq, ago = columns[at[_E_SEQ], row], columns[at[_E_AGO], row]
        if missing[at[_E_AGO], row] or ago < 0 or ago >= seq or seq - ago >= len(order_of):
            return np.int64(row)
        number = np.int64(order_of[seq - ago])
        if number == 0:
            return np.int64(row)
        for fact in range(_E_ID + 1):
            columns[at[fact], row] = first_of[number, fact]
        columns[at[_E_ORDER], row] = number
        if missing[at[_E_PRICE], row]:
            columns[at[_E_PRICE], row] = first_of[number, _E_PRICE]
        if missing[at[_E_QTY], row]:
            columns[at[_E_QTY], row] = first_of[number, _E_QTY]
    return np.int64(-1)


@inlined
def _put_entry(events, row, at, first_of, number):
    for fact in range(_E_QTY + 1):
        events[at[fact], row] = first_of[number, fact]
    for fact in range(_E_CONTRA, _E_NUMBER):
        events[at[fact], row] = 0
    events[at[_E_KIND], row] = EventKind.ACCEPTED
    events[at[_E_ORDER], row] = number


@inlined
def _put_end(events, row, at, first_of, number):
    _put_entry(events, row, at, first_of, number)
    events[at[_E_KIND], row] = EventKind.CANCELED
    events[at[_E_QTY], row] = first_of[number, _S_CANCELED]
    events[at[_E_REASON], row] = first_of[number, _S_REASON]


@inlined
def _put_trade(events, row, at, trade):
    buys = trade[_T_AGGRESSOR] != Side.BUY
    events[at[_E_PARTICIPANT], row] = trade[_T_BUYER] if buys else trade[_T_SELLER]
    events[at[_E_CONTRA], row] = trade[_T_SELLER] if buys else trade[_T_BUYER]
    events[at[_E_ID], row] = trade[_T_BUY_ID] if buys else trade[_T_SELL_ID]
    events[at[_E_CONTRA_ID], row] = trade[_T_SELL_ID] if buys else trade[_T_BUY_ID]
    events[at[_E_SYMBOL], row] = trade[_T_SYMBOL]
    events[at[_E_SIDE], row] = trade[_T_AGGRESSOR]
    events[at[_E_PRICE], row] = trade[_T_PRICE]
    events[at[_E_QTY], row] = trade[_T_QTY]
    events[at[_E_PHASE], row] = 0
    events[at[_E_REASON], row] = 0
    events[at[_E_KIND], row] = EventKind.TRADE
    events[at[_E_ORDER], row] = trade[_T_NUMBER]


@called
def merge_events(places, left, is_last, at, order_of, end_of, numbers_of, first_of, trades, events):
    """Put events of ``left`` and those that rows of orders and trades say into ``events``, by command and number.

    Gives how many were put: less than there is room for where more of ``left`` is wanted, or at the end; -1 where an
    event or trade is not in order.

    places: int64[4] (``AT_SEQ`` and so on), where the last call ended. left, events: int64[places, n]. is_last: nothing
    comes behind ``left``. order_of, end_of: int32[commands], the order that a command entered, or whose end it says.
    Times are no part of what is put.
    """
    seq, number, at_left, at_trade = places[AT_SEQ], places[AT_NUMBER], places[AT_LEFT], places[AT_TRADE]
    row, room = np.int64(0), events.shape[1]
    while row < room and seq < len(order_of):
        if at_left >= left.shape[1] and not is_last:
            break
        entered, ended = np.int64(order_of[seq]), np.int64(end_of[seq])
        left_seq = left[at[_E_SEQ], at_left] if at_left < left.shape[1] else np.int64(-1)
        while at_trade < len(trades) and trades[at_trade, _T_EVENT] == 0:
            at_trade += 1
        trade_seq = trades[at_trade, _T_SEQ] if at_trade < len(trades) else np.int64(-1)
        if left_seq == seq and left[at[_E_NUMBER], at_left] == number:
            for place in range(len(events)):
                events[place, row] = left[place, at_left]
            at_left += 1
        elif entered != 0 and numbers_of[entered, _ENTRY] == number:
            _put_entry(events, row, at, first_of, entered)
        elif trade_seq == seq and trades[at_trade, _T_EVENT] == number:
            _put_trade(events, row, at, trades[at_trade])
            at_trade += 1
        elif ended != 0 and numbers_of[ended, _END] == number:
            _put_end(events, row, at, first_of, ended)
        else:
            if 0 <= left_seq <= seq or 0 <= trade_seq <= seq:
                return np.int64(-1)
            seq += 1
            number = np.int64(1)
            continue
        events[at[_E_SEQ], row] = seq
        events[at[_E_NUMBER], row] = number
        number += 1
        row += 1
    places[AT_SEQ], places[AT_NUMBER], places[AT_LEFT], places[AT_TRADE] = seq, number, at_left, at_trade
    return row
