"""A checkpoint, a roll and a replay with schedules and closing orders waiting: the phases come by the clock, and the
closing auction trades, as in a market that went on without a break."""

from dataclasses import replace as with_places
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine, InvariantError
from engine.names import unpack
from engine.records import EventKind, Phase, Reason, TimeInForce
from engine.reference import ReferenceEngine
from engine.reference.image_rows import image_rows
from engine.reference.rows_by_part import first_difference
from engine.state import ASIDE, ENDING
from replay.ladder import book_object
from tests.conversions import copied
from tests.parted_days import day_of_rows
from tests.rows import BUY, SELL, Rows, batch, cancel, clock, enter, instrument, participant, phase, replace, schedule

CAPACITY = Capacity(orders_max=64, ids_max=256, instruments_max=4, participants_max=8)
OTHERS = (
    CAPACITY,
    with_places(CAPACITY, orders_max=90, ids_max=600, instruments_max=7, participants_max=11),
    with_places(CAPACITY, orders_max=16, ids_max=64, instruments_max=2, participants_max=2),
)
HOUR_NS = 3_600 * 10**9
BEGIN_NS = 1_705_311_000 * 10**9  # 2024-01-15 09:30
CALL_NS, CLOSE_NS = BEGIN_NS + 2 * HOUR_NS, BEGIN_NS + 3 * HOUR_NS
NEXT_CALL_NS, NEXT_OPEN_NS = BEGIN_NS + 23 * HOUR_NS, BEGIN_NS + 24 * HOUR_NS


def at_the_close(owner: int, order_id: str, side: int, qty: int, price_e4: int | None) -> Rows:
    return enter(owner, order_id, side, qty, price_e4, tif=TimeInForce.CLOSING)


#: Parts of two trading days; after each of them the market is checkpointed, rolled and replayed.
PARTS = {
    "continuous": batch(
        clock(BEGIN_NS),
        instrument("XYZ"),
        instrument("ABC"),
        participant("ALPHA"),
        participant("BETA"),
        phase("*", Phase.CONTINUOUS),
        schedule("*", CLOSE_NS, Phase.CLOSED),
        schedule("XYZ", CALL_NS, Phase.CLOSING_AUCTION),
        schedule("*", NEXT_OPEN_NS, Phase.CONTINUOUS),
        schedule("XYZ", NEXT_CALL_NS, Phase.OPENING_AUCTION),
        # The closing order of the middle has its time between those of two orders of the book.
        enter(1, "b1", BUY, 5, 100_000),
        at_the_close(1, "c1", BUY, 5, 100_000),
        enter(1, "b2", BUY, 5, 100_000),
        at_the_close(2, "s1", SELL, 8, 100_000),
        at_the_close(2, "s2", SELL, 9, 100_300),
        at_the_close(1, "c2", BUY, 4, 99_900),
        at_the_close(1, "c3", BUY, 7, 99_800),
        replace(1, "c2", "c4", 3, 99_900),
        cancel(1, "c3", qty=6),
    ),
    "an hour later": batch(
        clock(BEGIN_NS + HOUR_NS),
        replace(1, "c3", "c5", 6, 99_700),
        at_the_close(2, "s3", SELL, 2, None),
        enter(2, "s4", SELL, 6, 100_400, tif=TimeInForce.GTC),
        cancel(2, "s2"),
    ),
    "closing call": batch(clock(CALL_NS), at_the_close(1, "c6", BUY, 1, 100_000), enter(2, "s5", SELL, 3, 99_900)),
    "night": batch(clock(CLOSE_NS)),
    "opening call": batch(
        clock(NEXT_CALL_NS),
        enter(1, "o1", BUY, 4, 100_400, tif=TimeInForce.OPENING),
        enter(1, "o2", BUY, 4, 100_200, tif=TimeInForce.OPENING),
        at_the_close(2, "s6", SELL, 2, 100_000),
    ),
    "next day": batch(clock(NEXT_OPEN_NS), enter(1, "b3", BUY, 2, 100_400)),
}
DAY = day_of_rows(PARTS, CAPACITY)
ROWS, ENDS, CUTS = DAY.rows, DAY.ends, DAY.cuts


class Waiting(NamedTuple):
    """Numbers of what waits, of each kind."""

    schedules: int
    closing_aside: int
    closing_in_book: int
    opening: int


def waiting(engine: Engine) -> Waiting:
    orders = engine._state.orders[engine._state.orders["participant"] != 0]
    closing = orders["time_in_force"] == TimeInForce.CLOSING
    aside = orders["instructions"] & np.uint16(ASIDE) != 0
    opening = orders["time_in_force"] == TimeInForce.OPENING
    return Waiting(
        int(engine._state.venue[0]["schedules"]),
        *(int(np.count_nonzero(each)) for each in (closing & aside, closing & ~aside, opening)),
    )


@pytest.fixture(scope="module")
def truth() -> Engine:
    """The market that goes on without a break."""
    engine = Engine(CAPACITY)
    engine.apply(ROWS)
    return engine


def test_what_waits_at_each_cut_is_what_these_tests_are_about() -> None:
    found = {}
    for cut in CUTS:
        engine = Engine(CAPACITY)
        engine.apply(ROWS[: ENDS[cut]])
        found[cut] = waiting(engine)
    assert found == {
        "continuous": Waiting(4, 5, 0, 0),
        "an hour later": Waiting(4, 5, 0, 0),
        "closing call": Waiting(3, 0, 6, 0),
        "night": Waiting(2, 0, 0, 0),
        "opening call": Waiting(1, 1, 0, 2),
    }


def test_the_phases_come_by_schedule_and_the_auctions_trade_in_order_of_time() -> None:
    engine = ReferenceEngine(CAPACITY)
    events = engine.apply(ROWS)
    by_clock = (events["kind"] == EventKind.PHASE) & (events["seq"] > ENDS["an hour later"])
    phases = [(int(each["instrument"]), int(each["phase"])) for each in events[by_clock]]
    assert phases == [
        (1, Phase.CLOSING_AUCTION),
        (1, Phase.CLOSED),
        (2, Phase.CLOSED),
        (1, Phase.OPENING_AUCTION),
        (1, Phase.CONTINUOUS),
        (2, Phase.CONTINUOUS),
    ]
    traded = events[events["kind"] == EventKind.TRADE]
    auctions = [traded[traded["seq"] == ENDS[call] + 1] for call in ("closing call", "opening call")]
    sides = ("client_order_id", "contra_client_order_id")
    closing, opening = ([tuple(unpack(int(each[name])) for name in sides) for each in rows] for rows in auctions)
    assert closing == [("b1", "s3"), ("b1", "s5"), ("c1", "s1"), ("b2", "s1")], "c1 came between b1 and b2"
    assert opening == [("o1", "s4")]
    canceled = events[(events["kind"] == EventKind.CANCELED) & (events["reason"] == Reason.AUCTION)]
    assert [unpack(int(each["client_order_id"])) for each in canceled] == ["c4", "c5", "c6", "o2"]


@pytest.mark.parametrize("kind", [Engine, ReferenceEngine])
def test_the_ladder_has_closing_orders_once_they_are_in_the_book(kind: type[Engine] | type[ReferenceEngine]) -> None:
    engine = kind(CAPACITY)
    engine.apply(ROWS[: ENDS["continuous"]])
    book = book_object(engine, 1, 9)
    assert [(each["price_e4"], each["qty"]) for each in book["bids"]] == [(100_000, 10)]
    assert book["offers"] == []
    assert np.count_nonzero(engine.open_orders()["shown_qty"]) == 2
    engine.apply(ROWS[ENDS["continuous"] : ENDS["an hour later"] + 1])
    assert sum(each["qty"] for each in book_object(engine, 1, 9)["bids"]) == 24


@pytest.mark.parametrize("cut", CUTS)
def test_a_market_goes_on_from_a_checkpoint_as_without_a_break(cut: str, tmp_path: Path, truth: Engine) -> None:
    DAY.checkpoint_goes_on(tmp_path, cut, truth)


@pytest.mark.parametrize("other", OTHERS, ids=["same room", "more room", "less room"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_market_goes_on_in_a_new_slice_as_without_a_break(
    cut: str, other: Capacity, tmp_path: Path, truth: Engine
) -> None:
    DAY.slice_goes_on(tmp_path, cut, other, truth)


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_a_replay_in_either_engine_gives_what_waits(cut: str, tmp_path: Path, truth: Engine) -> None:
    DAY.replays_alike(tmp_path, cut, truth)


@pytest.mark.parametrize("lost", ["schedules", "closing orders", "their time", "list of closing orders"])
def test_an_image_that_lost_what_waits_gives_another_market(lost: str, truth: Engine) -> None:
    """Negative control: the tests above would see it."""
    engine = Engine(CAPACITY)
    cut = "closing call" if lost == "list of closing orders" else "continuous"
    engine.apply(ROWS[: ENDS[cut]])
    parts = copied(engine.parts())
    if lost == "schedules":
        for counter in ("schedules", "schedules_of_all", "phase_changes"):
            parts["venue"]["venue"][counter] = 0
        parts["reference"]["schedules"] = parts["reference"]["schedules"][:0]
    elif lost == "closing orders":
        parts["books"]["books"]["head"] = parts["books"]["books"]["tail"] = 0
    elif lost == "list of closing orders":
        for end in ("ending_first", "ending_last"):
            parts["reference"]["instruments"][end] = 0
    else:
        orders = parts["orders"]["orders"]
        parts["orders"]["times"][orders["instructions"] & np.uint16(ASIDE) != 0] += 1_000
    again = Engine.restore(CAPACITY, engine.seq, engine.event_digest, parts)
    again.apply(ROWS[ENDS[cut] :])
    assert again.event_digest != truth.event_digest


@pytest.mark.parametrize("wrong", ["lost", "shorter", "longer", "unmarked"])
def test_a_wrong_list_of_orders_that_end_at_an_uncross_is_found(wrong: str) -> None:
    """Negative control: by the invariants, and by the comparison with the reference engine."""
    engine, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    for each in (engine, reference):
        each.apply(ROWS[: ENDS["opening call"]])
    engine.check()
    assert first_difference(image_rows(CAPACITY, engine.parts()), reference.rows_by_part()) is None
    state = engine._state
    first, last = (int(state.instruments[0][end]) for end in ("ending_first", "ending_last"))
    assert first != last
    assert last == int(state.terms["after"][first])
    if wrong == "lost":
        state.instruments[0]["ending_first"] = state.instruments[0]["ending_last"] = 0
    elif wrong == "shorter":
        state.instruments[0]["ending_last"], state.terms["after"][first] = first, 0
    elif wrong == "longer":
        other = int(np.flatnonzero((state.orders["time_in_force"] == TimeInForce.GTC) & _is_open(engine))[0])
        state.instruments[0]["ending_last"], state.terms["after"][last] = other, other
        state.terms["before"][other] = last
    else:
        state.orders["instructions"][first] &= ~np.uint16(ENDING)
    difference = first_difference(image_rows(CAPACITY, engine.parts()), reference.rows_by_part())
    assert difference is not None
    assert difference.part == ("orders" if wrong == "unmarked" else "books")
    with pytest.raises(InvariantError, match=r"uncross|lists its opening"):
        engine.check()


def _is_open(engine: Engine) -> NDArray[Any]:
    is_open: NDArray[Any] = engine._state.orders["participant"] != 0
    return is_open
