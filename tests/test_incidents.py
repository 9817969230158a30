"""Days on which other exchanges failed, played here: what limits, calls and takeovers do about them.

- August 2012, a member's program sent orders in a loop for 45 minutes: rate and position limits, the kill switch.
- May 2012, a storm of cancels and modifications during an opening call held up its opening for half an hour: each
  command of a call takes few steps, however many orders stand in it.
- January 2023, openings of many instruments were skipped, and first orders traded far off: no instrument begins to
  trade but by an uncross, by command or by schedule, and a volatility breaker ends what trades far off all the same.
- October 2020, a node failed and its standby did not take over, so that a market was closed for a day: takeover in the
  middle of the opening call.
"""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.interface import EngineKind
from engine.names import pack
from engine.records import CommandKind, Phase, concatenate
from engine.reference import ReferenceEngine
from gateway.passwords import credential_row
from notation.parse import parse
from notation.run import Outcome, run_scenario
from replay.ladder import book_object
from replication.register import Register
from tests.ouch_messages import enter
from tests.rows import instrument, participant, row, user
from tests.test_node_pair import Member, until, with_pair
from tests.test_takeover_disconnects import Trader

ENGINES = [Engine, ReferenceEngine]
IDS = ["kernel", "reference"]
CAPACITY = Capacity(orders_max=8_192, ids_max=65_536, instruments_max=4, participants_max=8)

Make = type[Engine] | type[ReferenceEngine]


def played(make: Make, lines: list[str]) -> tuple[Outcome, Any]:
    """A day in scenario notation: what came of each command, and the engine after it."""
    engine = make(CAPACITY)
    return run_scenario(parse("\n".join(lines), "day.txt"), engine, compare=False), engine


def answers(outcome: Outcome, verb: str, who: str) -> list[str]:
    """First events of a participant's commands."""
    return [each.got[0] for each in outcome.commands if each.line.text.startswith(f"{verb} {who} ")]


# The runaway sender

MARKET = [
    "instrument XYZ tick=0.01 lot=1 reference=10.00",
    *(f"participant {name}" for name in ("KNIGHT", "MAKER", "BETA")),
    "phase XYZ continuous",
    "enter MAKER m1 sell 900000 XYZ @ 10.01",
    "enter MAKER m2 buy 900000 XYZ @ 9.99",
]


def runaway(first: int, count: int) -> list[str]:
    """A program in a loop: an order each millisecond, and now and then one of somebody else."""
    lines = []
    for number in range(first, first + count):
        price = "10.01" if number % 3 else "9.50"
        lines += ["at +1ms", f"enter KNIGHT k{number} buy 50 XYZ @ {price}"]
        if number % 50 == 0:
            lines.append(f"enter BETA b{number} sell 1 XYZ @ 9.99")
    return lines


@pytest.mark.parametrize("make", ENGINES, ids=IDS)
def test_a_runaway_sender_is_held_by_its_rate_and_position_and_ended_by_the_kill_switch(make: Make) -> None:
    limits = ["limits KNIGHT order_rate=100/1s max_position=20000"]
    before, after = runaway(1, 2_500), runaway(5_001, 500)
    outcome, engine = played(make, [*MARKET, *limits, *before, "kill KNIGHT", *after])
    told = answers(outcome, "enter", "KNIGHT")
    accepted = [at for at, event in enumerate(told[:2_500]) if event.startswith("accepted")]
    # One order each ms: of any 1,000 in a row 100 are let in, and the position stays within its limit.
    assert all(later - earlier >= 1_000 for earlier, later in zip(accepted, accepted[100:], strict=False))
    assert 200 <= len(accepted) <= 300
    assert {event.split()[-1] for event in told[:2_500] if event.startswith("rejected")} == {"reason=order_rate"}
    (position,) = (each for each in engine.positions() if each["participant"] == 1)
    assert 0 < position["position_qty"] <= 20_000
    # The switch takes its resting orders off, and whatever the loop sends after it is refused.
    (kill,) = (each for each in outcome.commands if each.line.text == "kill KNIGHT")
    assert kill.got[0] == "killed KNIGHT"
    assert len(kill.got) > 50
    assert all(event.endswith("reason=kill") for event in kill.got[1:])
    assert {event.partition(" reason=")[2] for event in told[2_500:]} == {"killed"}
    assert position["open_buy_qty"] == 0
    # Nobody else notices.
    assert all(event.startswith("accepted") for event in answers(outcome, "enter", "BETA"))


@pytest.mark.parametrize("make", ENGINES, ids=IDS)
def test_without_limits_the_runaway_sender_buys_all_that_it_asks_for(make: Make) -> None:
    """The control: the loss of that day."""
    outcome, engine = played(make, [*MARKET, *runaway(1, 2_500)])
    assert all(event.startswith("accepted") for event in answers(outcome, "enter", "KNIGHT"))
    (position,) = (each for each in engine.positions() if each["participant"] == 1)
    assert position["position_qty"] > 80_000


# The storm in the opening call


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("kind", [pytest.param("kernel", marks=pytest.mark.slow), "reference"])
@pytest.mark.parametrize("what", ["replace", "cancel"])
def test_a_storm_of_modifications_in_an_opening_call_costs_few_steps_each(kind: EngineKind, what: str) -> None:
    """Each modification is answered with a new indicative, however deep the book of the call is."""
    counts = [
        int(
            subprocess.run(
                [sys.executable, "-m", "tests.call_steps", kind, str(levels), what],
                check=True,
                capture_output=True,
                text=True,
                timeout=300,
            ).stdout
        )
        for levels in (64, 512, 4_096)
    ]
    assert all(more < 1.5 * fewer + 200 for fewer, more in pairwise(counts)), counts


# The opening that did not run

BOOK = [
    "instrument XYZ tick=0.01 lot=1 reference=10.00",
    *(f"participant {name}" for name in ("ALPHA", "BETA", "STUB")),
    "phase XYZ pre_open",
    "enter STUB s1 buy 100 XYZ @ 0.01 tif=gtc",
    "enter STUB s2 sell 100 XYZ @ 199.99 tif=gtc",
]
OPENING = [
    "enter ALPHA a1 buy 100 XYZ @ market",
    "enter BETA b1 sell 80 XYZ @ market",
    "enter BETA b2 sell 60 XYZ @ 9.98",
    "enter ALPHA a2 buy 20 XYZ @ 9.97",
]


def prices(outcome: Outcome) -> set[str]:
    """Prices of all trades."""
    return {event.split()[4] for each in outcome.commands for event in each.got if event.startswith("trade")}


@pytest.mark.parametrize("make", ENGINES, ids=IDS)
@pytest.mark.parametrize("call", [[], ["phase XYZ opening_auction"]], ids=["skipped", "run"])
def test_an_instrument_whose_opening_call_was_skipped_opens_at_the_price_of_the_call_all_the_same(
    call: list[str], make: Make
) -> None:
    outcome, engine = played(make, [*BOOK, *call, *OPENING, "phase XYZ continuous"])
    assert prices(outcome) == {"9.98"}
    quiet = [each for each in outcome.commands if each.line.text != "phase XYZ continuous"]
    assert not any(event.startswith("trade") for each in quiet for event in each.got)
    assert int(engine.instruments()["last_trade_e4"][0]) == 99_800


@pytest.mark.parametrize("make", ENGINES, ids=IDS)
def test_the_same_orders_without_an_uncross_trade_with_stub_quotes(make: Make) -> None:
    """The control: what that morning's first orders traded at, where trading had begun before they came."""
    outcome, _ = played(make, [*BOOK, "phase XYZ continuous", *OPENING])
    assert prices(outcome) == {"199.99", "0.01"}
    banded = [BOOK[0] + " band=5%", *BOOK[1:]]
    outcome, _ = played(make, [*banded, "phase XYZ continuous", *OPENING])
    assert prices(outcome) == set(), "a band would have stopped them too"


EARLY = "at 2024-01-15T08:00:00"
SCHEDULE = ["schedule XYZ 09:25 opening_auction", "schedule XYZ 09:30 continuous"]


@pytest.mark.parametrize("make", ENGINES, ids=IDS)
@pytest.mark.parametrize(
    "day", [["at 09:25:00", *OPENING, "at 09:30:00"], [*OPENING, "at 09:31:00"]], ids=["in-turn", "both-at-once"]
)
def test_a_schedule_opens_by_an_uncross_also_where_the_time_of_the_call_was_missed(day: list[str], make: Make) -> None:
    """Nobody has to start it: the clock does, and after a silence of the clock it begins and ends the call at once."""
    outcome, engine = played(make, [EARLY, *BOOK, *SCHEDULE, *day])
    assert prices(outcome) == {"9.98"}
    opened = outcome.commands[-1].got
    phases = [event.split()[-1] for event in opened if event.startswith("phase")]
    assert phases == (["continuous"] if "at 09:30:00" in day else ["opening_auction", "continuous"])
    assert int(engine.instruments()["last_trade_e4"][0]) == 99_800


@pytest.mark.parametrize("make", ENGINES, ids=IDS)
def test_a_schedule_that_opens_before_the_orders_come_lets_them_trade_with_stub_quotes_until_a_breaker_halts(
    make: Make,
) -> None:
    """The control: that morning by a wrong schedule. A volatility breaker ends it after one trade, in an auction."""
    wrong = ["schedule XYZ 09:00 continuous", "at 09:30:00", *OPENING]
    outcome, _ = played(make, [EARLY, *BOOK, *wrong])
    assert prices(outcome) == {"199.99", "0.01"}
    guarded = [BOOK[0] + " volatility=on", *BOOK[1:]]
    again = [line.replace(" a", " c").replace(" b1", " d1").replace(" b2", " d2") for line in OPENING]
    outcome, _ = played(make, [EARLY, *guarded, *wrong, "at +5m", *again, "at +1m"])
    assert prices(outcome) == {"199.99", "9.98"}
    assert answers(outcome, "enter", "BETA")[0] == "rejected b1 reason=halted"
    (halted,) = (each for each in outcome.commands if "halted XYZ reason=volatility" in each.got)
    assert halted.line.text == OPENING[0]


# The standby that took over


def test_a_standby_takes_over_in_the_middle_of_the_opening_call(tmp_path: Path) -> None:
    """The call goes on with its orders and its indicative, and its uncross reaches users in their streams."""
    users = ("UA", "UB")

    async def story(_: Register, a: Member, b: Member) -> None:
        names = [participant("ALPHA"), participant("BETA")]
        logins = [user("UA", "ALPHA"), user("UB", "BETA"), *(credential_row(name, "secret", 4) for name in users)]
        opening = row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.OPENING_AUCTION))
        await a.node.submit(concatenate([instrument("XYZ"), *names, *logins, opening]))
        first, second = [await Trader.log_in(a, name) for name in users]
        first.send(enter("buy1", "B", 60, 100_500))
        second.send(enter("sell1", "S", 40, 100_100))
        for trader in (first, second):
            assert [await trader.message() for _ in range(2)] == ["S", "A"]
        called = book_object(a.node.engine, 1, 5)
        assert called["indicative"] == {
            "price_e4": 100_500,
            "paired_qty": 40,
            "imbalance_qty": 20,
            "imbalance_side": "buy",
        }
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        a.kill()
        await until(lambda: b.node.reigns)
        taken_over = book_object(b.node.engine, 1, 5)
        assert {key: taken_over[key] for key in ("phase", "indicative", "bids", "offers", "open_orders")} == {
            key: called[key] for key in ("phase", "indicative", "bids", "offers", "open_orders")
        }
        first, second = [await Trader.log_in(b, name, seq=3) for name in users]
        first.send(enter("buy1", "B", 60, 100_500))  # sent again by one who does not know what became of it
        assert await first.message() == "J", "it was taken before, and is not doubled"
        await b.node.submit(row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.CONTINUOUS)))
        assert [await trader.message() for trader in (first, second)] == ["E", "E"]
        assert np.array_equal(b.node.engine.positions()["position_qty"], [40, -40])

    with_pair(tmp_path, story)
