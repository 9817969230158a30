"""A golden copy of every code and place of REPORT rows: a report means the same to every encoder of every release.

A new code or name is added here too. A code that is no longer used stays, in both places.
"""

from enum import IntEnum, IntFlag

import numpy as np
import pytest

from reports import rows
from reports.rows import REPORT, REPORT_FIELDS, REPORT_PLACE, RESERVED_FIELDS, RESERVED_KINDS, ReportKind, joined
from tests.test_registry import layout

CODES = {
    "ReportKind": {
        "NEW": 1,
        "TRADE": 2,
        "CANCELED": 3,
        "REPLACED": 4,
        "REJECTED": 5,
        "CANCEL_REJECTED": 6,
        "RESTATED": 7,
        "EXPIRED": 8,
        "DONE_FOR_DAY": 9,
        "TRIGGERED": 10,
        "REPLENISHED": 11,
        "REPRICED": 12,
        "TRADE_CORRECTED": 13,
        "TRADE_BUSTED": 14,
        "PHASE": 20,
        "HALTED": 21,
        "INDICATIVE": 22,
        "KILLED": 23,
        "UNKILLED": 24,
        "INSTRUMENT": 30,
        "PARTICIPANT": 31,
        "USER": 32,
        "CREDENTIAL": 33,
        "LIMITS": 34,
        "MASS_CANCEL": 35,
        "EPOCH": 36,
        "CLOCK_JUMP": 37,
        "TRADING_DAY": 38,
        "VENUE": 39,
        "INDEX": 40,
        "SCHEDULE": 41,
        "MEMBERS": 42,
    },
    "Liquidity": {
        "ADDED": 1,
        "REMOVED": 2,
        "OPENING_CROSS": 3,
        "CLOSING_CROSS": 4,
        "HALT_CROSS": 5,
        "MIDPOINT_ADDED": 6,
        "MIDPOINT_REMOVED": 7,
        "AGREED_CROSS": 8,
    },
    "InBook": {
        "BEFORE": 1,
        "AFTER": 2,
        "NEW_PRIORITY": 4,
    },
    "ReportFlag": {
        "FIRST": 1,
        "REMARKED": 2,
        "REPLACED": 128,
    },
}

#: Offset, format and names of each place.
PLACES = [
    (0, "<i8", "seq"),
    (8, "<i8", "time_ns"),
    (16, "<i8", "order_number rate_orders before_ns weight day_start_ns"),
    (
        24,
        "<i8",
        "trade_number imbalance_qty epoch jump_ns orders adv_qty rate_window_ns day further_weight speed_bump_ns",
    ),
    (32, "<i8", "client_order_id name"),
    (40, "<i8", "previous_client_order_id contra_client_order_id group max_order_qty"),
    (48, "<i8", "price_e4 reference_e4 max_order_value_e4 machine_ns"),
    (56, "<i8", "last_price_e4 tick_e4 max_position_qty"),
    (64, "<i8", "notional_e4 credit_e4 band_bps"),
    (72, "<i8", "notional_high margin_bps volatility_bps level_1_bps"),
    (80, "<i8", "symbol"),
    (88, "<i8", "participant_name further_symbol"),
    (96, "<i8", "user_name"),
    (104, "<i8", "token_head adv_share_bps level_1_ns"),
    (112, "<i8", "token_tail max_open_orders volatility_window_ns level_2_bps"),
    (120, "<i8", "previous_token_head contra_name max_ids volatility_halt_ns level_2_ns"),
    (128, "<i8", "previous_token_tail contra_order_number level_3_bps"),
    (136, "<i8", "context"),
    (144, "<i8", "command_context"),
    (152, "<i8", "qty lot paired_qty"),
    (160, "<i8", "until_ns due_ns"),
    (168, "<i8", "stop_price_e4 level_3_ns"),
    (176, "<i8", "offset_e4"),
    (184, "<u4", "last_qty decrement_qty limits"),
    (188, "<u4", "leaves_qty limits_off"),
    (192, "<u4", "cum_qty"),
    (196, "<u4", "canceled_qty"),
    (200, "<u4", "original_qty"),
    (204, "<u4", "displayed_qty"),
    (208, "<u4", "min_qty"),
    (212, "<u4", "display_qty"),
    (216, "<u4", "number"),
    (220, "<u4", "firm"),
    (224, "<u4", "other_firm"),
    (228, "<u4", "session"),
    (232, "<u2", "participant"),
    (234, "<u2", "contra_participant"),
    (236, "<u2", "user"),
    (238, "<u2", "other_user"),
    (240, "<u2", "instrument"),
    (242, "<u2", "instructions permissions settings"),
    (244, "|u1", "kind"),
    (245, "|u1", "command_kind"),
    (246, "|u1", "reason"),
    (247, "|i1", "side"),
    (248, "|u1", "time_in_force"),
    (249, "|u1", "self_trade"),
    (250, "|u1", "book"),
    (251, "|u1", "liquidity"),
    (252, "|u1", "in_book"),
    (253, "|u1", "phase peg"),
    (254, "|u1", "flags"),
    (255, "|u1", "previous_phase"),
]


@pytest.mark.parametrize("name", CODES)
def test_a_code_of_a_report_never_changes_its_meaning(name: str) -> None:
    assert {code: int(member) for code, member in getattr(rows, name).__members__.items()} == CODES[name]


def test_every_code_of_a_report_is_in_the_golden_copy() -> None:
    enums = {
        name
        for name, value in vars(rows).items()
        if isinstance(value, type) and issubclass(value, IntEnum | IntFlag) and value.__module__ == rows.__name__
    }
    assert enums == set(CODES)


def test_reports_keep_their_layout_without_a_hole() -> None:
    assert layout(REPORT) == PLACES
    assert REPORT.itemsize % 64 == 0
    covered = np.zeros(REPORT.itemsize, np.int64)
    for offset, form, _ in PLACES:
        covered[offset : offset + np.dtype(form).itemsize] += 1
    assert covered.tolist() == [1] * REPORT.itemsize


def test_every_kind_that_is_built_says_which_places_it_uses_and_none_uses_a_reserved_one() -> None:
    assert set(REPORT_FIELDS) == set(ReportKind) - RESERVED_KINDS
    for kind, fields in REPORT_FIELDS.items():
        assert not set(fields) & set(RESERVED_FIELDS), kind
        offsets = [REPORT_PLACE[name][1] for name in fields]
        assert len(set(offsets)) == len(offsets), f"{kind.name} uses a place under two names"
    used = {name for fields in REPORT_FIELDS.values() for name in fields}
    assert set(REPORT.names or ()) - used == set(RESERVED_FIELDS)


def test_batches_of_reports_are_joined_without_a_change_of_their_bytes() -> None:
    batch = np.frombuffer(bytes(range(256)) * 2, REPORT)
    assert joined([batch[:1], batch[1:]]).tobytes() == batch.tobytes()
    assert np.concatenate([batch[:1], batch[1:]]).tobytes() != batch.tobytes(), "or this test shows nothing"
    assert (len(joined([])), joined([]).dtype) == (0, REPORT)
