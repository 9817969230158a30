"""Content of the golden journal of RULES_VERSION 6: every kind of command, hostile rows and garbage.

Those of earlier versions were made by this file as it was then.
"""

from typing import Any

from numpy.typing import NDArray

from engine.bounds import DAY_NS
from engine.capacity import Capacity
from engine.records import CommandKind, Phase, TimeInForce, UserPermission
from tests.limit_rows import clock_jump, epoch, limits, resume, venue
from tests.rows import (
    BUY,
    SELL,
    batch,
    cancel,
    clock,
    credential,
    enter,
    extend,
    halt,
    instrument,
    kill,
    mass_cancel,
    participant,
    phase,
    replace,
    row,
    unkill,
    user,
)
from tests.streams import random_stream

CAPACITY = Capacity(orders_max=400, ids_max=4_000, instruments_max=4, participants_max=8)
SIDES = (BUY, SELL)
_TOKEN = {"token_head": int.from_bytes(b"ORDER-20", "big"), "token_tail": int.from_bytes(b"240115\0\0", "big")}
_NEW_TOKEN = {"new_token_head": int.from_bytes(b"ORDER-20", "big"), "new_token_tail": int.from_bytes(b"2 \0\0", "big")}


def commands() -> NDArray[Any]:
    """1,800 random rows; a second day that begins with orders of the first and an uncross and ends with a kill; a third
    that is closed in an emergency; a fourth of limits, halts that end by the clock, and calls; and two more that
    begin with open day orders of the day before, and have limits of open orders and ids; and reigns of two primaries,
    some of which may not begin."""
    first = random_stream(77, 1_800, hostile=0.1, garbage=0.03, control=0.01)
    second = batch(
        clock(30_000 * DAY_NS),
        unkill("*"),
        participant("GOLDEN"),
        user("USER-1", "GOLDEN", "GLDN", int(UserPermission.ENABLED | UserPermission.CANCEL_ON_DISCONNECT)),
        credential("USER-1", 14, salt_0=-1, salt_1=2, hash_0=-3, hash_1=4, hash_2=-5),
        instrument("GLD"),
        phase("GLD", Phase.PRE_OPEN),
        *(
            enter(1, 900_000 + n, BUY, 100 + n, 100_000 + 100 * (n % 7), 3, TimeInForce.GTC, context=n)
            for n in range(40)
        ),
        *(enter(2, 910_000 + n, SELL, 90 + n, 100_200 + 100 * (n % 5), 3) for n in range(40)),
        *(cancel(2, 910_000 + n, qty=80 + n, context=-n) for n in range(0, 40, 2)),
        phase("GLD", Phase.CONTINUOUS),
        clock(30_001 * DAY_NS),
        *(cancel(1, 900_000 + n) for n in range(0, 40, 3)),
        *(enter(1, 900_000 + n, BUY, 5, 100_000, 3) for n in range(10)),
        *(cancel(1, 900_000 + n, qty=50 + n) for n in range(1, 40, 3)),
        extend(**_TOKEN),
        enter(2, -(2**62), BUY, 60, 99_000, 3, context=2**40),
        extend(**_TOKEN, **_NEW_TOKEN),
        replace(2, -(2**62), -(2**61), 70, 99_000, new_context=-1),
        extend("NOBODY", **_TOKEN),
        cancel(0, -(2**61), context=1),
        kill("P1"),
        *(enter(1, 920_000 + n, BUY, 5, 100_000, 3) for n in range(3)),
        kill("*"),
        unkill("GOLDEN"),
    )
    third = batch(
        clock(30_002 * DAY_NS),
        unkill("*"),
        *(enter(1, 930_000 + n, BUY, 5, 90_000 + 100 * n, 3, TimeInForce.GTC) for n in range(5)),
        row(CommandKind.EMERGENCY_CLOSE),
        phase("GLD", Phase.CONTINUOUS),
        *(enter(2, 930_000 + n, SELL, 5, 100_000 + 100 * n, 3) for n in range(5)),
        phase("GLD", Phase.CLOSED),
    )
    opened_ns = 30_003 * DAY_NS
    fourth = batch(
        clock(opened_ns),
        clock_jump(opened_ns - 10**12, -(10**12)),
        instrument("ADV", adv_qty=2_000),
        participant("LIMITED"),
        limits("LIMITED", max_order_qty=500, max_order_value_e4=16 * 10**6, order_rate=(24, 10**10), margin_bps=2_000),
        limits("LIMITED", max_position_qty=500, credit_e4=4 * 10**7),
        limits("LIMITED", "ADV", adv_share_bps=1_000, max_order_qty=220),
        limits("LIMITED", "GLD", restricted=True),
        limits("GOLDEN", order_rate=(22, 10**10), max_position_qty="off"),
        phase("*", Phase.OPENING_AUCTION),
        *(enter(7, 940_000 + n, SIDES[n % 2], 40 + 10 * n, 100_000 + 100 * (n % 5), 4) for n in range(20)),
        *(enter(6, 940_000 + n, SIDES[n % 3 == 0], 40 + n, 100_000 - 100 * (n % 5), 4) for n in range(20)),
        enter(7, 941_000, BUY, 10, 100_000, 3),
        *(enter(6, 941_000 + n, SELL, 10, 100_000, 4) for n in range(5)),
        limits("LIMITED", order_rate="off", max_order_value_e4="off"),
        phase("*", Phase.CONTINUOUS),
        *(replace(7, 940_000 + n, 942_000 + n, 20 + 20 * n, 100_100) for n in range(10)),
        limits("LIMITED", "GLD", restricted=False),
        halt("ADV", duration_ns=10**11),
        halt("ADV", duration_ns=10**10),
        halt("GLD"),
        enter(6, 943_000, BUY, 10, 100_000, 4),
        clock(opened_ns + 10**11),
        *(enter(6, 943_001 + n, SIDES[n % 2], 30, 100_000 + 100 * n, 4) for n in range(6)),
        resume("*"),
        clock(opened_ns + 2 * 10**11),
        phase("*", Phase.CLOSING_AUCTION),
        *(enter(6, 944_000 + n, SIDES[n % 2], 25, 100_000 - 100 * n, 4) for n in range(6)),
        *(enter(7, 944_000 + n, SIDES[n % 2 == 0], 25, 100_000 - 100 * n, 4) for n in range(6)),
        mass_cancel("LIMITED", "ADV", SELL),
        phase("*", Phase.CLOSED),
    )
    fifth = batch(
        phase("*", Phase.CONTINUOUS),
        phase("ADV", Phase.CLOSING_AUCTION),
        limits("LIMITED", order_rate="off", credit_e4="off", max_position_qty="off", max_open_orders=9, max_ids=14),
        limits("GOLDEN", order_rate="off", max_open_orders=30),
        *(enter(6, 950_000 + n, BUY, 10 + n, 99_000 + 100 * (n % 5), 3) for n in range(12)),
        *(enter(6, 951_000 + n, SELL, 10 + n, 101_000, 3, TimeInForce.GTC if n % 2 else 1) for n in range(12)),
        *(enter(7, 950_000 + n, SIDES[n % 2], 30, 100_000 + 300 * (n % 3), 4) for n in range(12)),
        *(replace(7, 950_000 + n, 952_000 + n, 20, 100_300) for n in range(8)),
        *(enter(6, 953_000 + n, SELL, 20 + n, 100_000, 4, TimeInForce.GTC) for n in range(3)),
        halt("GLD", duration_ns=DAY_NS // 2),
        clock(30_004 * DAY_NS),
        *(enter(7, 950_000 + n, BUY, 20 + n, 100_000, 4) for n in range(12)),
        limits("LIMITED", max_ids="off", max_open_orders="off"),
        *(enter(7, 954_000 + n, BUY, 20 + n, 100_000, 4) for n in range(4)),
        clock(30_004 * DAY_NS + 1),
        clock(30_006 * DAY_NS),
        *(cancel(6, 951_000 + n) for n in range(12)),
    )
    sixth = batch(
        epoch(2**40, "GOLDEN-A"),
        enter(7, 960_000, BUY, 20, 100_000, 4),
        epoch(2**40, "GOLDEN-B"),
        epoch(2**40 + 1, "GOLDEN-B"),
        extend("NOBODY", **_TOKEN),
        epoch(2**40 + 7, "GOLDEN-A"),
        cancel(7, 960_000),
        epoch(2**40 + 9, "no"),
        epoch(2**62, "GOLDEN-B"),
        epoch(2**62 + 1, "GOLDEN-A"),
    )
    opened_ns = 30_006 * DAY_NS
    seventh = batch(
        clock(opened_ns + 10),
        venue(speed_bump_ns=1_000, day_start_ns=17 * 3_600 * 10**9),
        phase("GLD", Phase.CONTINUOUS),
        *(enter(6, 970_000 + n, SIDES[n % 2], 20 + n, 100_000, 3) for n in range(8)),
        clock(opened_ns + 500),
        extend("NOBODY", **_TOKEN),
        cancel(6, 970_000),
        replace(6, 970_001, 970_100, 30, 100_100),
        venue(speed_bump_ns=0),
        mass_cancel("LIMITED"),
        clock(opened_ns + 1_100),
        clock(opened_ns + DAY_NS),
        venue(speed_bump_ns=DAY_NS + 1),
        venue(speed_bump_ns=0),
        enter(6, 971_000, BUY, 20, 100_000, 3),
        venue(speed_bump_ns=350_000),
        *(enter(6, 972_000 + n, SIDES[n % 2], 20 + n, 100_000, 3) for n in range(8)),
    )
    return batch(first, second, third, fourth, fifth, sixth, seventh)
