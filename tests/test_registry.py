"""A golden copy of every code and of the layout of every row: a journal written today must mean the same for ever.

A new code is added here too. A code that is no longer used stays, in both places: its number is never given to
another meaning, since old journals and old peers still carry it.
"""

from enum import IntEnum, IntFlag

import numpy as np
import pytest

from engine import records
from engine.row_bytes import event_values
from engine.state import described_arrays
from engine.views import OPEN_ORDER

CODES = {
    "CommandKind": {
        "CLOCK": 1,
        "VENUE": 2,
        "INSTRUMENT": 3,
        "PARTICIPANT": 4,
        "LIMITS": 5,
        "INDEX": 6,
        "SCHEDULE": 7,
        "ENTER": 8,
        "CANCEL": 9,
        "REPLACE": 10,
        "MASS_CANCEL": 11,
        "CROSS": 12,
        "PHASE": 13,
        "HALT": 14,
        "RESUME": 15,
        "KILL": 16,
        "UNKILL": 17,
        "EMERGENCY_CLOSE": 18,
        "EXTEND": 19,
        "EPOCH": 20,
        "USER": 21,
        "CREDENTIAL": 22,
        "CLOCK_JUMP": 23,
        "MEMBERS": 24,
    },
    "EventKind": {
        "ACCEPTED": 1,
        "REJECTED": 2,
        "TRADE": 3,
        "CANCELED": 4,
        "REPLACED": 5,
        "CANCEL_REJECTED": 6,
        "TRIGGERED": 7,
        "REPLENISHED": 8,
        "REPRICED": 9,
        "INDICATIVE": 10,
        "PHASE": 11,
        "HALTED": 12,
        "KILLED": 13,
        "UNKILLED": 14,
    },
    "Side": {
        "BUY": 1,
        "SELL": -1,
    },
    "TimeInForce": {
        "DAY": 1,
        "GTC": 2,
        "GTD": 3,
        "IOC": 4,
        "FOK": 5,
        "OPENING": 6,
        "CLOSING": 7,
    },
    "SelfTrade": {
        "CANCEL_NEWEST": 1,
        "CANCEL_OLDEST": 2,
        "CANCEL_BOTH": 3,
        "DECREMENT": 4,
        "NONE": 5,
    },
    "Phase": {
        "CLOSED": 1,
        "PRE_OPEN": 2,
        "OPENING_AUCTION": 3,
        "CONTINUOUS": 4,
        "HALTED": 5,
        "AUCTION": 6,
        "CLOSING_AUCTION": 7,
    },
    "Book": {
        "LIT": 0,
        "MIDPOINT": 1,
    },
    "Instruction": {
        "MARKET": 1,
        "POST_ONLY": 2,
        "HIDDEN": 4,
        "DISPLAY": 8,
        "MIN_QTY": 16,
        "STOP": 32,
        "PEG": 64,
        "OFFSET": 128,
        "UNTIL": 256,
    },
    "Peg": {
        "PRIMARY": 1,
        "MIDPOINT": 2,
        "MARKET": 3,
    },
    "Permission": {
        "MARKET": 1,
        "STP_NONE": 2,
    },
    "UserPermission": {
        "ENABLED": 1,
        "CANCEL_ON_DISCONNECT": 2,
        "NEWEST_WINS": 4,
    },
    "VenueSetting": {"SPEED_BUMP": 1, "DAY_START": 2},
    "InstrumentSetting": {"BAND": 1, "CANCEL_ON_HALT": 2, "MIDPOINT": 4, "VOLATILITY": 8},
    "Limit": {
        "MAX_ORDER_QTY": 1,
        "MAX_ORDER_VALUE": 2,
        "ORDER_RATE": 4,
        "MAX_POSITION": 8,
        "CREDIT": 16,
        "MARGIN": 32,
        "ADV": 64,
        "RESTRICTED": 128,
        "MAX_OPEN_ORDERS": 256,
        "MAX_IDS": 512,
    },
    "Reason": {
        "UNKNOWN_PARTICIPANT": 1,
        "UNKNOWN_INSTRUMENT": 2,
        "KILLED": 3,
        "HALTED": 4,
        "CLOSED": 5,
        "NOT_CONTINUOUS": 6,
        "NOT_AUCTION": 7,
        "INVALID_QTY": 8,
        "INVALID_LOT": 9,
        "INVALID_PRICE": 10,
        "INVALID_TICK": 11,
        "INVALID_INSTRUCTION": 12,
        "DUPLICATE_ID": 13,
        "RESTRICTED": 14,
        "MARKET_NOT_PERMITTED": 15,
        "STP_NOT_PERMITTED": 16,
        "PRICE_BAND": 17,
        "MAX_ORDER_QTY": 18,
        "MAX_ORDER_VALUE": 19,
        "ORDER_RATE": 20,
        "ADV": 21,
        "POSITION_LIMIT": 22,
        "CREDIT": 23,
        "WOULD_CROSS": 24,
        "CAPACITY": 25,
        "INVALID_COMMAND": 26,
        "UNKNOWN_ORDER": 27,
        "NOT_HALTED": 28,
        "USER": 40,
        "MASS_CANCEL": 41,
        "IOC": 42,
        "FOK": 43,
        "MIN_QTY": 44,
        "NO_LIQUIDITY": 45,
        "SELF_TRADE": 46,
        "REPLACED": 47,
        "EXPIRED": 48,
        "END_OF_DAY": 49,
        "AUCTION": 50,
        "HALT": 51,
        "KILL": 52,
        "DISCONNECT": 53,
        "VOLATILITY": 60,
        "MARKET_WIDE": 61,
        "COMMAND": 62,
    },
}

#: Offset, bytes and names of each place.
COMMAND_PLACES = [
    (0, "<i8", "client_order_id name time_ns rate_orders band_bps level_1_bps"),
    (
        8,
        "<i8",
        "new_client_order_id symbol group context participant_name salt_0 rate_window_ns jump_ns epoch due_ns "
        "volatility_bps level_1_ns speed_bump_ns",
    ),
    (
        16,
        "<i8",
        "price_e4 reference_e4 token_head firm salt_1 max_order_value_e4 margin_bps volatility_window_ns weight "
        "level_2_bps day_start_ns",
    ),
    (
        24,
        "<i8",
        "qty lot token_tail hash_0 max_order_qty adv_share_bps volatility_halt_ns further_symbol level_2_ns",
    ),
    (
        32,
        "<i8",
        "min_qty until_ns buyer tick_e4 duration_ns new_context new_token_head hash_1 max_position_qty max_open_orders "
        "further_weight level_3_bps",
    ),
    (40, "<i8", "display_qty stop_e4 offset_e4 seller adv_qty new_token_tail hash_2 credit_e4 max_ids level_3_ns"),
    (48, "<u4", "participant"),
    (52, "<u4", "instrument"),
    (56, "|u1", "kind"),
    (57, "|i1", "side"),
    (58, "|u1", "time_in_force"),
    (59, "|u1", "self_trade"),
    (60, "<u2", "instructions permissions limits settings"),
    (62, "|u1", "book further_limits"),
    (63, "|u1", "phase reason cost further_off peg"),
]

EVENT_PLACES = [
    (0, "<i8", "seq"),
    (8, "<i8", "client_order_id"),
    (16, "<i8", "contra_client_order_id"),
    (24, "<i8", "price_e4"),
    (32, "<i8", "qty"),
    (40, "<i8", "order_number trade_number imbalance_qty"),
    (48, "<u4", "participant"),
    (52, "<u4", "contra_participant"),
    (56, "<u4", "instrument"),
    (60, "|u1", "kind"),
    (61, "|u1", "reason"),
    (62, "|i1", "side"),
    (63, "|u1", "phase"),
]


def differences(name: str, codes: type[IntEnum]) -> list[str]:
    """Differences between the golden copy of the code ``name`` and ``codes``."""
    golden = CODES[name]
    found = [
        f"{name}.{code} is gone or renamed; its number {golden[code]} must stay taken"
        for code in golden
        if code not in codes.__members__
    ]
    for code, member in codes.__members__.items():
        if code not in golden:
            taken = [other for other, number in golden.items() if number == member]
            found.append(
                f"{name}.{code} = {member:d} is new"
                + (f" and reuses the number of {taken[0]}" if taken else "; add it here")
            )
        elif golden[code] != member:
            found.append(f"{name}.{code} moved from {golden[code]} to {member:d}")
    return found


def layout(dtype: "np.dtype[np.void]") -> list[tuple[int, str, str]]:
    places: dict[tuple[int, str], list[str]] = {}
    for name in dtype.names or ():
        field = dtype.fields[name] if dtype.fields else None
        if field is not None:
            places.setdefault((field[1], field[0].str), []).append(name)
    return [(offset, form, " ".join(names)) for (offset, form), names in sorted(places.items())]


@pytest.mark.parametrize("name", CODES)
def test_a_code_never_changes_its_meaning(name: str) -> None:
    assert differences(name, getattr(records, name)) == []


def test_every_code_is_in_the_golden_copy() -> None:
    enums = {
        name
        for name, value in vars(records).items()
        if isinstance(value, type) and issubclass(value, IntEnum | IntFlag)
    }
    assert enums - {"IntEnum", "IntFlag"} == set(CODES)


def test_rows_keep_their_layout() -> None:
    assert layout(records.COMMAND) == COMMAND_PLACES
    assert layout(records.EVENT) == EVENT_PLACES


def test_every_number_in_a_row_says_of_what_it_is_one() -> None:
    """A field called number had three meanings."""
    dtypes = (records.COMMAND, records.EVENT, OPEN_ORDER, *(array.dtype for array in described_arrays().values()))
    fields = {name for dtype in dtypes for name in dtype.names or ()}
    assert {"order_number", "trade_number", "imbalance_qty", "paired_qty", "context"} <= fields
    assert not fields & {"number", "indicative_surplus", "indicative_qty", "memo", "extended"}


def test_batches_of_events_are_joined_without_a_change_of_their_bytes() -> None:
    rows = np.frombuffer(bytes(range(1, 129)), records.EVENT)
    joined = records.concatenate([rows[:1], rows[1:]], records.EVENT)
    assert (joined.dtype, joined.tobytes()) == (records.EVENT, rows.tobytes())
    assert np.concatenate([rows[:1], rows[1:]]).tobytes() != rows.tobytes(), "or this test shows nothing"
    assert [values[5] for values in event_values(rows)] == rows["trade_number"].tolist()


def test_a_reused_moved_or_missing_code_is_found() -> None:
    planted = IntEnum("planted", {"LIT": 1, "DARK": 0})
    assert differences("Book", planted) == [
        "Book.MIDPOINT is gone or renamed; its number 1 must stay taken",
        "Book.LIT moved from 0 to 1",
        "Book.DARK = 0 is new and reuses the number of LIT",
    ]
