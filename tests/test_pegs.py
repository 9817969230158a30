"""Pegs: what many of them cost, and how many prices one command gives."""

from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.bounds import PEG_PRICES_BESIDES
from engine.interface import MarketEngine
from engine.records import COMMAND, EVENT, CommandKind, EventKind
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


def chain(symbol: str, pegs: int, rounds: int) -> str:
    """Orders of which each elects the next: a peg at the midpoint trades with a hidden sell, the stop of that price is
    elected and bids more, and the midpoint of all pegs rises to the next hidden sell."""
    text = f"enter ALPHA {symbol}a sell 1 {symbol} @ 20.00\nenter ALPHA {symbol}b buy 1 {symbol} @ 10.00\n"
    for at in range(1, rounds + 1):
        mid, bid = 15 + at / 100, 10 + 2 * (at + 1) / 100
        text += f"enter ALPHA {symbol}h{at} sell 1 {symbol} @ {mid:.2f} hidden\n"
        text += f"enter ALPHA {symbol}s{at} buy 1 {symbol} @ {bid:.2f} stop={mid:.2f}\n"
    text += f"enter BETA {symbol}p0 buy {rounds + 1} {symbol} @ market peg=midpoint\n"
    return text + "".join(f"enter BETA {symbol}p{at} buy 1 {symbol} @ market peg=midpoint\n" for at in range(1, pegs))


@pytest.mark.slow
def test_a_command_gives_no_more_prices_than_its_bound_and_the_next_one_gives_the_rest() -> None:
    """A bid begins a chain of 250 stops, each of which moves 300 pegs: of 75,000 prices 66,136 are given, and those of
    the pass."""
    pegs, rounds = 300, 250
    engines: list[MarketEngine] = [Engine(CAPACITY), ReferenceEngine(CAPACITY)]
    for engine in engines:
        apply(engine, MARKET + chain("XYZ", pegs, rounds))
    kernel, reference = (apply(engine, "enter ALPHA go buy 1 XYZ @ 10.02\n") for engine in engines)
    assert first_difference(kernel, reference) is None
    told = int((kernel["kind"] == EventKind.REPRICED).sum())
    bound = 2 * pegs + PEG_PRICES_BESIDES
    assert bound <= told < bound + pegs
    kernel, reference = (apply(engine, "enter ALPHA far sell 1 XYZ @ 30.00\n") for engine in engines)
    assert first_difference(kernel, reference) is None
    assert told + int((kernel["kind"] == EventKind.REPRICED).sum()) == pegs * (rounds + 1)
    assert set(engines[0].open_orders(1)["peg_e4"].tolist()) == {0, 150_000 + 100 * (rounds + 1)}
    for engine in engines:
        engine.check()


def events_alone(engine: MarketEngine, text: str, lines: list[str]) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Events of the last commands of a text, each by itself."""
    apply(engine, text)
    return np.concatenate([apply(engine, line) for line in lines])


def without_seq(events: "np.ndarray[tuple[int], np.dtype[np.void]]") -> list[tuple[Any, ...]]:
    return [tuple(event[name].item() for name in EVENT.names or () if name != "seq") for event in events]


@pytest.mark.slow
def test_a_clock_value_at_which_many_orders_end_moves_pegs_after_each_as_if_each_had_its_own() -> None:
    """Many commands in one, each complete: 250 orders that end move 300 pegs each, more than one command may."""
    ends, pegs = 250, 300

    def text(until: str) -> str:
        return (
            MARKET
            + "enter ALPHA low buy 1 XYZ @ 5.00\n"
            + "".join(
                f"enter ALPHA e{at} buy 1 XYZ @ {11 - at / 100:.2f} tif=gtd until={until.format(at)}\n"
                for at in range(ends)
            )
            + "".join(f"enter BETA p{at} buy 1 XYZ @ market peg=primary\n" for at in range(pegs))
        )

    engines: list[MarketEngine] = [Engine(CAPACITY), ReferenceEngine(CAPACITY)]
    for engine in engines:
        apply(engine, text("09:31:00"))
    kernel, reference = (apply(engine, "at 09:31:00\n") for engine in engines)
    assert first_difference(kernel, reference) is None
    assert int((kernel["kind"] == EventKind.REPRICED).sum()) == pegs * ends
    assert set(engines[0].open_orders(1)["peg_e4"].tolist()) == {0, 50_000}
    steps = [f"at 09:31:00.{at:03d}\n" for at in range(ends)]
    alone = events_alone(Engine(CAPACITY), text("09:31:00.{:03d}"), steps)
    assert without_seq(alone) == without_seq(kernel)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["phase *", "schedule *", "schedule each"])
def test_instruments_that_open_together_move_pegs_as_if_each_opened_by_itself(by: str) -> None:
    """Two chains of 250 stops begin: each instrument has the prices of one command."""
    pegs, rounds = 150, 250
    symbols = ("XYZ", "ABC")
    text = MARKET.replace("phase XYZ continuous\n", "") + MARKET.splitlines()[0].replace("XYZ", "ABC") + "\n"
    text += "phase * continuous\n" + "".join(chain(symbol, pegs, rounds) for symbol in symbols)
    text += "".join(f"phase {symbol} auction\nenter ALPHA {symbol}go buy 1 {symbol} @ 10.02\n" for symbol in symbols)
    lines = {
        "phase *": ["phase * continuous\n"],
        "schedule *": ["schedule * 09:40:00 continuous\n", "at 09:40:00\n"],
        "schedule each": [*(f"schedule {symbol} 09:40:00 continuous\n" for symbol in symbols), "at 09:40:00\n"],
    }[by]
    engines: list[MarketEngine] = [Engine(CAPACITY), ReferenceEngine(CAPACITY)]
    kernel, reference = (events_alone(engine, text, lines) for engine in engines)
    assert first_difference(kernel, reference) is None
    alone = events_alone(Engine(CAPACITY), text, [f"phase {symbol} continuous\n" for symbol in symbols])
    assert int((alone["kind"] == EventKind.REPRICED).sum()) > PEG_PRICES_BESIDES + 4 * pegs
    assert without_seq(kernel) == without_seq(alone)
    for engine in engines:
        engine.check()


@pytest.mark.slow
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
    fewer, more = steps(kind, what, 64, 512)
    assert more < 1.5 * fewer + 100, (fewer, more)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernel", "reference"])
@pytest.mark.parametrize(
    ("what", "times"), [("quote that moves pegs", 9), ("quote that moves pegs to as many prices", 12)]
)
def test_pegs_that_move_cost_a_number_of_steps_each(kind: str, what: str, times: int) -> None:
    """Of eight times as many; where each has a price of its own, these are searched for in a tree."""
    fewer, more = steps(kind, what, 64, 512)
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


@pytest.mark.slow
@pytest.mark.parametrize("peg", ["primary", "midpoint"])
@pytest.mark.parametrize("side", [1, -1])
def test_a_peg_alone_takes_each_price_among_hidden_orders(peg: str, side: int) -> None:
    """One peg follows bids and offers that move by any number of ticks, past hidden orders at other prices and at its
    own, and up to the orders that it meets: both engines tell the same, and their books are whole after each step."""
    draw = np.random.default_rng(side + len(peg))
    engines: list[MarketEngine] = [Engine(CAPACITY), ReferenceEngine(CAPACITY)]
    own = "buy" if side > 0 else "sell"
    text = MARKET + "enter ALPHA b0 buy 9 XYZ @ 9.00\nenter ALPHA s0 sell 9 XYZ @ 11.00\n"
    text += f"enter BETA p0 {own} 400 XYZ @ market peg={peg}\n"
    for engine in engines:
        apply(engine, text)
    last, repriced = "", 0
    for step in range(1, 200):
        away = 1 + int(draw.integers(0, 12)) ** 2
        buy_or_sell, price = ("buy", 1_000 - away) if draw.random() < 0.5 else ("sell", 1_000 + away)
        hidden = " hidden" if draw.random() < 0.4 else ""
        line = f"enter ALPHA o{step} {buy_or_sell} 1 XYZ @ {price / 100:.2f}{hidden}\n"
        if step % 2 == 0:
            # What is displayed goes again, so that the next quote is a new one; a few of the hidden ones stay.
            gone = step - 1 if "hidden" not in last or draw.random() < 0.5 else 1
            line = f"cancel ALPHA o{gone}\n"
        last = line
        kernel, reference = (apply(engine, line) for engine in engines)
        assert first_difference(kernel, reference) is None
        repriced += int((kernel["kind"] == EventKind.REPRICED).sum())
        for engine in engines:
            engine.check()
    assert repriced > 10
