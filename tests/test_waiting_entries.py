"""A checkpoint, a roll, a replay and a takeover while delayed commands wait: they take effect by the clock, in order,
as in a market that went on without a break.
"""

from dataclasses import replace as with_places
from pathlib import Path

import pytest

from engine import Capacity, Engine
from engine.names import pack
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.translate import Translator
from replication.register import Register
from tests.conversions import copied
from tests.parted_days import day_of_text
from tests.rows import events_of
from tests.test_node_pair import Member, until, with_pair

CAPACITY = Capacity(orders_max=64, ids_max=256, instruments_max=4, participants_max=8)
OTHERS = (CAPACITY, with_places(CAPACITY, orders_max=90, ids_max=600, instruments_max=7, participants_max=11))
DEFINED = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint volatility=10%/1m/5m
participant ALPHA
participant BETA
phase * continuous
enter ALPHA a1 sell 9 XYZ @ 10.10
enter ALPHA a2 buy 9 XYZ @ 9.90 tif=gtc
venue speed_bump=100ms day_start=18:00
"""
#: Delayed commands of each kind; one names an order that is gone by then, one an order that waits itself.
WAITS = """enter BETA b1 buy 4 XYZ @ 10.10
enter BETA b2 buy 20 XYZ @ 10.05 display=5
replace ALPHA a1 a3 8 @ 10.12
cancel ALPHA a1
enter BETA b3 buy 3 XYZ @ 10.20 peg=primary
enter BETA b4 sell 2 XYZ @ 9.00 tif=ioc
enter ALPHA a4 buy 5 XYZ @ 12.00 stop=11.00
"""
#: After each part the market is broken off.
PARTS = {
    "three times": DEFINED + WAITS + "at +50ms\ncancel BETA b2\nat +20ms\nenter ALPHA a5 sell 30 XYZ @ 10.05\n",
    "one took effect": "at +40ms\nenter ALPHA a6 buy 2 XYZ @ market book=midpoint\n",
    "a halt beside it": "halt XYZ\nenter BETA b5 buy 1 XYZ @ 10.00\nresume XYZ\n",
    "end of the day": "at +10h\nphase XYZ continuous\nenter ALPHA a7 sell 3 XYZ @ 10.00\nat +10ms\n"
    "enter BETA b6 buy 3 XYZ @ 10.00\n",
    "evening": "at +1h\nvenue speed_bump=off\nenter BETA b7 buy 3 XYZ @ 10.00\nphase * closed\n",
}
DAY = day_of_text(PARTS, CAPACITY)
ROWS, ENDS, CUTS = DAY.rows, DAY.ends, DAY.cuts


@pytest.fixture(scope="module")
def truth() -> Engine:
    """The market that goes on without a break."""
    engine = Engine(CAPACITY)
    engine.apply(ROWS)
    return engine


def waiting(engine: Engine) -> int:
    return len(engine.waiting().commands)


def test_what_waits_at_each_cut_is_what_these_tests_are_about() -> None:
    assert {cut: waiting(DAY.up_to(cut)) for cut in CUTS} == {
        "three times": 9,
        "one took effect": 3,
        "a halt beside it": 4,
        "end of the day": 2,
    }


def test_what_waits_takes_effect_in_order_and_none_is_lost() -> None:
    events = ReferenceEngine(CAPACITY).apply(ROWS)
    answers = ("accepted", "rejected", "replaced", "cancel_rejected")
    told = [line.split()[:2] for line in events_of(events) if line.split()[0] in answers]
    assert told[2:11] == [
        ["accepted", "b1"],
        ["accepted", "b2"],
        ["replaced", "a1"],
        ["cancel_rejected", "a1"],
        ["accepted", "b3"],
        ["accepted", "b4"],
        ["accepted", "a4"],
        ["cancel_rejected", "b2"],  # self-trade prevention has ended it when b4 came
        ["accepted", "a5"],
    ]
    assert not waiting(DAY.up_to("evening"))


@pytest.mark.parametrize("cut", CUTS)
def test_a_market_goes_on_from_a_checkpoint_as_without_a_break(cut: str, tmp_path: Path, truth: Engine) -> None:
    DAY.checkpoint_goes_on(tmp_path, cut, truth)


@pytest.mark.parametrize("other", OTHERS, ids=["same room", "more room"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_market_goes_on_in_a_new_slice_as_without_a_break(
    cut: str, other: Capacity, tmp_path: Path, truth: Engine
) -> None:
    DAY.slice_goes_on(tmp_path, cut, other, truth)


@pytest.mark.parametrize("cut", CUTS)
def test_a_replay_in_either_engine_gives_what_waits(cut: str, tmp_path: Path, truth: Engine) -> None:
    DAY.replays_alike(tmp_path, cut, truth)


@pytest.mark.parametrize("lost", ["commands", "delay"])
def test_an_image_that_lost_what_waits_gives_another_market(lost: str, truth: Engine) -> None:
    """Negative control: the tests above would see it."""
    engine = DAY.up_to("three times")
    parts = copied(engine.parts())
    if lost == "commands":
        assert parts["venue"]["venue"]["waiting"][0] == 9
        parts["waiting"] = {name: array[:0] for name, array in parts["waiting"].items()}
        parts["venue"]["venue"]["waiting"] = parts["venue"]["venue"]["waiting_first"] = 0
    else:
        times_ns = parts["waiting"]["waits_pages"].reshape(-1, 2)
        times_ns[times_ns > 10**18] += 10**9
    again = Engine.restore(CAPACITY, engine.seq, engine.event_digest, parts)
    again.apply(ROWS[ENDS["three times"] :])
    assert again.event_digest != truth.event_digest


@pytest.mark.slow
def test_a_standby_takes_over_while_commands_wait(tmp_path: Path) -> None:
    """They take effect at the new primary, in order, once."""

    async def story(_: Register, a: Member, b: Member) -> None:
        async def done(member: Member, text: str) -> list[str]:
            translator = Translator(parse(text, "story"), member.node.engine.directory)
            told: list[str] = []
            while (found := translator.next_batch(member.node.engine.directory)) is not None:
                answer = await member.node.submit(found.rows)
                told += events_of(answer.events)
            return told

        await done(a, DEFINED.replace("speed_bump=100ms day_start=18:00", "speed_bump=15s"))
        assert await done(a, "enter BETA b1 buy 4 XYZ @ 10.10\ncancel ALPHA a1\n") == []
        assert waiting(a.node.engine) == 2
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        a.kill()
        await until(lambda: b.node.reigns)
        assert waiting(b.node.engine) == 2
        assert int(b.node.engine.open_orders()["leaves_qty"][0]) == 9
        await until(lambda: waiting(b.node.engine) == 0)
        assert b.node.engine.positions()["position_qty"].tolist() == [-4, 4]
        assert b.node.engine.open_orders()["client_order_id"].tolist() == [pack("a2")]

    with_pair(tmp_path, story)
