"""REPORT rows: everything that commands and events did, each row complete by itself.

A report is what FIX calls an execution report: whoever encodes it (OUCH, FIX, ITCH, JSON, a person's screen) looks
nothing up. A trade gives two, one for each side; every other event gives one. Accepted commands that cause no event
(definitions, limits, mass cancels, a new trading day) have one too. Reports are made in memory and never journaled:
they are a function of the journal.

A row is 256 bytes, little-endian, without holes. Some places have several names, one for each use. ``REPORT_FIELDS``
says which places a kind uses; all others are zero. Codes and places are never reused for another meaning
(``tests/test_report_rows.py`` has a golden copy); ``RESERVED_KINDS`` and ``RESERVED_FIELDS`` are for rules that are
not built yet. Codes of sides, times in force, reasons and phases are those of ``engine.records``.
"""

from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class ReportKind(IntEnum):
    """Kind of a report. 1 to 19 are about an order, 20 to 29 about the market, 30 on about a command."""

    NEW = 1  # an order was accepted
    TRADE = 2  # one side of a trade
    CANCELED = 3  # nothing of the order is open any more
    REPLACED = 4
    REJECTED = 5  # an order, a replace, or any other command (``command_kind``)
    CANCEL_REJECTED = 6  # a cancel or replace of an order that is not open, or a cancel that leaves no less
    RESTATED = 7  # a part was canceled and the rest stays open
    EXPIRED = 8  # good-till-date order at its time
    DONE_FOR_DAY = 9  # day order at the end of its day
    TRIGGERED = 10  # a stop was elected
    REPLENISHED = 11  # an iceberg shows the next part of its reserve
    REPRICED = 12  # a peg has another price
    TRADE_CORRECTED = 13
    TRADE_BUSTED = 14
    PHASE = 20
    HALTED = 21
    INDICATIVE = 22
    KILLED = 23
    UNKILLED = 24
    INSTRUMENT = 30
    PARTICIPANT = 31
    USER = 32
    CREDENTIAL = 33
    LIMITS = 34
    MASS_CANCEL = 35
    EPOCH = 36
    CLOCK_JUMP = 37
    TRADING_DAY = 38
    VENUE = 39
    INDEX = 40
    SCHEDULE = 41
    MEMBERS = 42


#: Kinds of rules that are not built yet: no report has them.
RESERVED_KINDS: Final = frozenset(
    {
        ReportKind.TRADE_CORRECTED,
        ReportKind.TRADE_BUSTED,
    }
)


class Liquidity(IntEnum):
    """Role of an order in a trade. 0: none. Self-trade prevention names the role that the order would have had."""

    ADDED = 1
    REMOVED = 2
    OPENING_CROSS = 3  # uncross that ends pre-open, an opening auction, or another phase without a name of its own
    CLOSING_CROSS = 4
    HALT_CROSS = 5  # uncross after a halt
    MIDPOINT_ADDED = 6
    MIDPOINT_REMOVED = 7
    AGREED_CROSS = 8


class InBook(IntFlag):
    """Place of an order in the book before and after a report.

    AFTER alone: the order comes to rest, at ``price_e4``, showing ``displayed_qty``. BEFORE alone: it leaves the book.
    Both: it stays, with its priority unless NEW_PRIORITY is set. Neither: it runs as aggressor, or never rests.
    """

    BEFORE = 1
    AFTER = 2
    NEW_PRIORITY = 4


class ReportFlag(IntFlag):
    """Further facts of a report."""

    FIRST = 1  # USER: the name is defined for the first time
    REMARKED = 2  # the cancel was refused, but the mark of the sale changed (``reports.contexts``)
    REPLACED = 128  # the order has been replaced, now or before


#: Offset of each place of a REPORT row, and the names it goes by.
REPORT_PLACES: Final = {
    0: ("seq",),  # of the command
    8: ("time_ns",),  # the clock in force after the command
    16: ("order_number", "rate_orders", "before_ns", "weight", "day_start_ns"),
    24: (
        *("trade_number", "imbalance_qty", "epoch", "jump_ns", "orders", "adv_qty", "rate_window_ns", "day"),
        *("further_weight", "speed_bump_ns"),
    ),
    32: ("client_order_id", "name"),
    40: ("previous_client_order_id", "contra_client_order_id", "group", "max_order_qty"),
    48: ("price_e4", "reference_e4", "max_order_value_e4", "machine_ns"),
    56: ("last_price_e4", "tick_e4", "max_position_qty"),
    64: ("notional_e4", "credit_e4", "band_bps"),
    72: ("notional_high", "margin_bps", "volatility_bps", "level_1_bps"),
    80: ("symbol",),
    88: ("participant_name", "further_symbol"),
    96: ("user_name",),
    104: ("token_head", "adv_share_bps", "level_1_ns"),
    112: ("token_tail", "max_open_orders", "volatility_window_ns", "level_2_bps"),
    120: ("previous_token_head", "contra_name", "max_ids", "volatility_halt_ns", "level_2_ns"),
    128: ("previous_token_tail", "contra_order_number", "level_3_bps"),
    136: ("context",),
    144: ("command_context",),
    152: ("qty", "lot", "paired_qty"),
    160: ("until_ns", "due_ns"),
    168: ("stop_price_e4", "level_3_ns"),
    176: ("offset_e4",),
    184: ("last_qty", "decrement_qty", "limits"),
    188: ("leaves_qty", "limits_off"),
    192: ("cum_qty",),
    196: ("canceled_qty",),
    200: ("original_qty",),
    204: ("displayed_qty",),
    208: ("min_qty",),
    212: ("display_qty",),
    216: ("number",),
    220: ("firm",),
    224: ("other_firm",),
    228: ("session",),
    232: ("participant",),
    234: ("contra_participant",),
    236: ("user",),
    238: ("other_user",),
    240: ("instrument",),
    242: ("instructions", "permissions", "settings"),
    244: ("kind",),
    245: ("command_kind",),
    246: ("reason",),
    247: ("side",),
    248: ("time_in_force",),
    249: ("self_trade",),
    250: ("book",),
    251: ("liquidity",),
    252: ("in_book",),
    253: ("phase", "peg"),
    254: ("flags",),
    255: ("previous_phase",),
}

_WIDTHS: Final = ((184, "<i8"), (232, "<u4"), (244, "<u2"), (256, "u1"))


def _format(offset: int) -> str:
    return "i1" if REPORT_PLACES[offset] == ("side",) else next(form for end, form in _WIDTHS if offset < end)


#: One row, one report.
REPORT: Final = np.dtype(
    {
        "names": [name for names in REPORT_PLACES.values() for name in names],
        "formats": [_format(offset) for offset, names in REPORT_PLACES.items() for _ in names],
        "offsets": [offset for offset, names in REPORT_PLACES.items() for _ in names],
        "itemsize": 256,
    }
)
#: A row as bytes alone.
REPORT_BYTES: Final = f"V{REPORT.itemsize}"
#: Words of 8 bytes of a row.
REPORT_WORDS: Final = REPORT.itemsize // 8

#: Places of every report. ``number``: of the report among those of its command, from 1. ``command_kind``: of the
#: command, as it stands in the row (a hostile one may have any).
_ALL: Final = ("seq", "time_ns", "number", "kind", "command_kind")
#: The order. ``price_e4``: its limit, 0 for market. ``qty``: the quantity intended in all, as the last enter, replace
#: or cancel with a quantity asked; ``original_qty`` as the enter asked. qty = cum_qty + leaves_qty + canceled_qty in
#: each report. ``notional_e4``: sum of price times quantity of all its trades, so the average price is notional_e4 /
#: cum_qty, exactly. It is at most 9,999,999,999 x 99,999,999, which fits; ``notional_high`` is for larger bounds.
#: ``context``: eight bytes of the gateway, after the command (``reports.contexts``). ``user``: number of the order's
#: user, 0: none; ``firm``: the user's. ``token_head``, ``token_tail``: order token that is longer than a client order
#: id, else 0. ``displayed_qty``: what the book shows of it after the report. ``display_qty``: of an iceberg, the most
#: that it shows; ``stop_price_e4``: of a dormant stop, what elects it; ``until_ns``: when a clock
#: value ends it; ``peg``: the reference of a peg (``engine.records.Peg``), and ``offset_e4`` as it was asked; else 0.
#: ``flags``: of ``ReportFlag``.
_ORDER: Final = (
    *("order_number", "client_order_id", "price_e4", "notional_e4", "symbol", "participant_name", "user_name"),
    *("token_head", "token_tail", "context", "qty", "leaves_qty", "cum_qty", "canceled_qty", "original_qty"),
    *("displayed_qty", "min_qty", "display_qty", "stop_price_e4", "until_ns", "firm", "participant", "user"),
    *("instrument",),
    *("instructions", "side", "time_in_force", "self_trade", "book", "in_book", "peg", "offset_e4", "flags"),
)
#: A second user whom the report concerns: who sent the cancel of another user's order, or whose order was replaced or
#: asked about by another user.
_OTHER: Final = ("other_user", "other_firm")
_PREVIOUS: Final = ("previous_client_order_id", "previous_token_head", "previous_token_tail")
_END: Final = (*_ALL, *_ORDER, *_OTHER, "decrement_qty", "reason", "liquidity", "command_context")

#: The places that a kind uses; all others are zero.
REPORT_FIELDS: Final[dict[ReportKind, tuple[str, ...]]] = {
    ReportKind.NEW: (*_ALL, *_ORDER, "command_context"),
    # contra: the other side. Liquidity in an uncross is the same for both.
    ReportKind.TRADE: (
        *(*_ALL, *_ORDER, "last_price_e4", "last_qty", "trade_number", "liquidity"),
        *("contra_participant", "contra_name", "contra_client_order_id", "contra_order_number"),
    ),
    # decrement_qty: what this report takes off. command_context: of a cancel, else 0.
    ReportKind.CANCELED: _END,
    ReportKind.RESTATED: _END,
    ReportKind.EXPIRED: _END,
    ReportKind.DONE_FOR_DAY: _END,
    ReportKind.TRIGGERED: (*_ALL, *_ORDER),
    ReportKind.REPLENISHED: (*_ALL, *_ORDER),
    # last_price_e4: by which the peg trades from now on, 0 where it has no price any more. It is in the book with it at
    # once, and what it then trades as aggressor it trades from there.
    ReportKind.REPRICED: (*_ALL, *_ORDER, "last_price_e4"),
    ReportKind.REPLACED: (*_ALL, *_ORDER, *_OTHER, *_PREVIOUS, "command_context"),
    # Of an enter: its terms as they were asked, any numbers (what does not fit a narrow place is the largest that
    # does). Of a replace: what was asked (qty, price, ids), and number, side and quantities of the order that stands
    # untouched. Of any other command: its name. Names of an unknown participant or instrument where they are known.
    ReportKind.REJECTED: (*_ALL, *_ORDER, *_OTHER, *_PREVIOUS, "reason", "command_context"),
    # What was asked; the order, where there is one. Of a replace the new id, and the order's as the previous one.
    ReportKind.CANCEL_REJECTED: (*_ALL, *_ORDER, *_OTHER, *_PREVIOUS, "reason", "command_context"),
    ReportKind.PHASE: (*_ALL, "symbol", "instrument", "phase", "previous_phase"),
    ReportKind.HALTED: (*_ALL, "symbol", "instrument", "phase", "previous_phase", "reason"),
    # price_e4: of the uncross now, 0 for none. side: of the imbalance, 0 for none.
    ReportKind.INDICATIVE: (*_ALL, "symbol", "instrument", "price_e4", "paired_qty", "imbalance_qty", "side"),
    ReportKind.KILLED: (*_ALL, "participant_name", "participant"),
    ReportKind.UNKILLED: (*_ALL, "participant_name", "participant"),
    # settings: bits of ``engine.records.InstrumentSetting``, with their values.
    ReportKind.INSTRUMENT: (
        *(*_ALL, "name", "symbol", "instrument", "reference_e4", "tick_e4", "lot", "adv_qty", "settings", "band_bps"),
        *("volatility_bps", "volatility_window_ns", "volatility_halt_ns"),
    ),
    ReportKind.PARTICIPANT: (*_ALL, "name", "participant_name", "participant", "group", "permissions"),
    # user 0: there was no room for another user, who cannot log in.
    ReportKind.USER: (
        *(*_ALL, "name", "user_name", "user", "firm", "participant_name", "participant", "permissions", "flags"),
    ),
    ReportKind.CREDENTIAL: (*_ALL, "name", "user_name", "user", "firm", "participant_name", "participant"),
    # limits: bits of ``engine.records.Limit`` that are named; limits_off: those of them that are off. Values of the
    # others; zero where a limit is not named or off. symbol and instrument 0: of all instruments.
    ReportKind.LIMITS: (
        *(*_ALL, "name", "participant_name", "participant", "symbol", "instrument", "limits", "limits_off"),
        *("max_order_qty", "max_order_value_e4", "rate_orders", "rate_window_ns", "max_position_qty", "credit_e4"),
        *("margin_bps", "adv_share_bps", "max_open_orders", "max_ids"),
    ),
    # orders: number of orders that it cancels, whose reports follow. symbol 0: of all instruments; side 0: both.
    ReportKind.MASS_CANCEL: (
        *(*_ALL, "name", "participant_name", "participant", "symbol", "instrument", "side", "reason", "orders"),
    ),
    ReportKind.EPOCH: (*_ALL, "name", "epoch"),
    # name: as commanded. symbol and instrument 0: every instrument.
    ReportKind.SCHEDULE: (*_ALL, "name", "symbol", "instrument", "due_ns", "phase"),
    # Members of the index of that name, which an accepted INDEX behind them takes; a refused one, or MEMBERS of another
    # name, drops them. Symbols and weights as commanded, zeros are none.
    ReportKind.MEMBERS: (*_ALL, "name", "symbol", "weight", "further_symbol", "further_weight"),
    # Falls in hundredths of a percent (0: no such level), and how long each halts the market (0: it closes).
    ReportKind.INDEX: (
        *(*_ALL, "name", "level_1_bps", "level_1_ns", "level_2_bps", "level_2_ns", "level_3_bps", "level_3_ns"),
    ),
    # settings: bits of ``engine.records.VenueSetting``; the value of one that is not there is 0.
    ReportKind.VENUE: (*_ALL, "settings", "speed_bump_ns", "day_start_ns"),
    ReportKind.CLOCK_JUMP: (*_ALL, "machine_ns", "jump_ns"),
    # day: days since 1970. before_ns: the clock before, 0 before the first. It stands behind the reports of the orders
    # that end with the day before.
    ReportKind.TRADING_DAY: (*_ALL, "day", "before_ns"),
}

#: Places of rules that are not built yet: the session.
RESERVED_FIELDS: Final = ("session", "notional_high")


#: Dtype and offset of each name.
REPORT_PLACE: Final[dict[str, tuple[np.dtype[Any], int]]] = {
    name: (REPORT[name], offset) for offset, names in REPORT_PLACES.items() for name in names
}


def _used_octets() -> NDArray[np.uint8]:
    octets = np.zeros((256, REPORT.itemsize), np.uint8)
    for kind, fields in REPORT_FIELDS.items():
        for name in fields:
            dtype, offset = REPORT_PLACE[name]
            octets[kind, offset : offset + dtype.itemsize] = 255
    return octets


#: Bytes of a row that a kind may use: uint8[256, 256], 255 where it may, by kind and byte.
USED_OCTETS: Final = _used_octets()


def joined(batches: "list[NDArray[Any]]") -> NDArray[Any]:
    """One batch of REPORT rows out of several. ``np.concatenate`` would pack rows whose places overlap."""
    raw = [np.ascontiguousarray(rows).view(REPORT_BYTES) for rows in batches]
    return np.concatenate(raw).view(REPORT) if raw else np.zeros(0, REPORT)


def _check_places() -> None:
    ends = [*list(REPORT_PLACES)[1:], REPORT.itemsize]
    for end, (offset, names) in zip(ends, REPORT_PLACES.items(), strict=True):
        if {offset + REPORT[name].itemsize for name in names} != {end}:
            raise ValueError(f"REPORT has a hole or an overlap at byte {offset}")


_check_places()
