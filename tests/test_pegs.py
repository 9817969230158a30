"""Pegs: what many of them cost, and how many prices one command gives."""

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.bounds import PEG_PRICES_BESIDES
from engine.interface import MarketEngine
from engine.records import COMMAND, CommandKind, EventKind
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.translate import Translator
from replay.audit import first_difference
from tests.test_bounded_work import steps

CAPACITY = Capacity(orders_max=4_096, ids_max=16_384, instruments_max=2, participants_max=4)
MARKET = """instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
"""


def apply(engine: MarketEngine, text: str) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Apply the commands of a text; gives the events of the last of them."""
    translator = Translator(parse(text, "pegs"), engine.directory)
    events = np.zeros(0)
    while (batch := translator.next_batch(engine.directory)) is not None:
        events = engine.apply(batch.rows)
    return events[events["seq"] == engine.seq]


def test_a_command_gives_no_more_prices_than_its_bound_and_the_next_one_gives_the_rest() -> None:
    """250 orders that end at one time move 300 pegs each: of 75,000 prices 66,136 are given, and those of the pass."""
    pegs, ends = 300, 250
    text = MARKET + "enter ALPHA low buy 1 XYZ @ 5.00\n"
    text += "".join(f"enter ALPHA e{at} buy 1 XYZ @ {11 - at / 100:.2f} tif=gtd until=09:31:00\n" for at in range(ends))
    text += "".join(f"enter BETA p{at} buy 1 XYZ @ market peg=primary\n" for at in range(pegs))
    engines: list[MarketEngine] = [Engine(CAPACITY), ReferenceEngine(CAPACITY)]
    for engine in engines:
        apply(engine, text)
    kernel, reference = (apply(engine, "at 09:31:00\n") for engine in engines)
    assert first_difference(kernel, reference) is None
    told = int((kernel["kind"] == EventKind.REPRICED).sum())
    bound = 2 * pegs + PEG_PRICES_BESIDES
    assert bound <= told < bound + pegs
    assert set(engines[0].open_orders()["peg_e4"][1:].tolist()) != {50_000}
    kernel, reference = (apply(engine, "enter ALPHA far sell 1 XYZ @ 20.00\n") for engine in engines)
    assert first_difference(kernel, reference) is None
    assert int((kernel["kind"] == EventKind.REPRICED).sum()) == pegs
    assert set(engines[0].open_orders(1)["peg_e4"].tolist()) == {0, 50_000}
    for engine in engines:
        engine.check()


def test_a_clock_value_at_which_many_orders_end_moves_pegs_after_each() -> None:
    """Many commands in one, each complete: the bound of one command is far above what ordinary ones give."""
    ends = 600
    text = MARKET + "enter ALPHA low buy 1 XYZ @ 4.00\n"
    text += "".join(f"enter ALPHA e{at} buy 1 XYZ @ {11 - at / 100:.2f} tif=gtd until=09:31:00\n" for at in range(ends))
    text += "".join(f"enter BETA p{at} buy 1 XYZ @ market peg=primary\n" for at in range(3))
    engines: list[MarketEngine] = [Engine(CAPACITY), ReferenceEngine(CAPACITY)]
    for engine in engines:
        apply(engine, text)
    kernel, reference = (apply(engine, "at 09:31:00\n") for engine in engines)
    assert first_difference(kernel, reference) is None
    assert int((kernel["kind"] == EventKind.REPRICED).sum()) == 3 * ends
    assert set(engines[0].open_orders(1)["peg_e4"].tolist()) == {0, 40_000}


@pytest.mark.parametrize("kind", ["kernel", "reference"])
@pytest.mark.parametrize(
    "what",
    [
        "quote beside pegs of the other side",
        "trade beside pegs whose quote stays",
        "enter of one more peg",
        "cancel of one peg",
    ],
)
def test_pegs_that_do_not_move_cost_nothing(kind: str, what: str) -> None:
    fewer, more = (steps(kind, what, orders) for orders in (64, 512))
    assert more < 1.5 * fewer + 100, (fewer, more)


@pytest.mark.parametrize("kind", ["kernel", "reference"])
@pytest.mark.parametrize(
    ("what", "times"), [("quote that moves pegs", 9), ("quote that moves pegs to as many prices", 12)]
)
def test_pegs_that_move_cost_a_number_of_steps_each(kind: str, what: str, times: int) -> None:
    """Of eight times as many; where each has a price of its own, these are searched for in a tree."""
    fewer, more = (steps(kind, what, orders) for orders in (64, 512))
    assert more < times * fewer, (fewer, more)


def test_the_events_of_a_command_that_moves_pegs_have_room() -> None:
    """A kill of all in a market of pegs, in as little room as the capacity needs."""
    capacity = Capacity(orders_max=64, ids_max=128, instruments_max=1, participants_max=4)
    text = MARKET + "".join(f"enter ALPHA b{at} buy 1 XYZ @ {9 + at / 100:.2f}\n" for at in range(20))
    text += "".join(f"enter BETA p{at} buy 1 XYZ @ market peg=primary\n" for at in range(40))
    engine, reference = Engine(capacity), ReferenceEngine(capacity)
    for each in (engine, reference):
        apply(each, text)
    kernel, other = (apply(each, "kill *\n") for each in (engine, reference))
    assert first_difference(kernel, other) is None
    assert int((kernel["kind"] == EventKind.CANCELED).sum()) == 60
    engine.check()


def test_a_peg_that_is_not_in_a_row_of_an_enter_is_no_command() -> None:
    rows = np.zeros(1, COMMAND)
    rows["kind"], rows["client_order_id"], rows["peg"] = CommandKind.CANCEL, 1, 1
    for engine in (Engine(CAPACITY), ReferenceEngine(CAPACITY)):
        assert engine.apply(rows)["kind"].tolist() == [EventKind.REJECTED]
