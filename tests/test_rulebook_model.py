"""Both engines answer as the model of `tests/model/` does, which is written from the rulebook alone.

Random scenarios of fixed seeds run every time, others by the seed of the day. The model also answers the scenarios of
the rules themselves. Wrong rules that are planted in it must be found.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Capacity, Engine
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.run import events_agree, run_scenario
from tests.model.auctions import Auctions
from tests.model.book import Books
from tests.model.checks import Checks
from tests.model.consequences import Consequences
from tests.model.entry import Entry
from tests.model.market import Market
from tests.model.matching import Matching
from tests.model.phases import Phases
from tests.model.traffic import Traffic
from tests.model.words import DAY_NS
from tests.parts import SCALE, seed_of_the_day

ROOM = Capacity(orders_max=4_096, ids_max=8_192, instruments_max=4, participants_max=8)
SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
#: Lines that mean nothing to the market, and contexts, which clients alone read.
OTHER_ROWS = re.compile(r"^(raw|user|credential|epoch|clock_jump|members) |context=|memo=|token=", re.M)


def differences(seed: int, count: int, *engines: type[Any]) -> Iterator[str]:
    """The first line of a seed's scenario that an engine answers otherwise than the model, with both answers."""
    lines, answers = zip(*Traffic(seed).lines(count), strict=True)
    parsed = parse("\n".join(lines), "random")
    for engine in engines:
        outcome = run_scenario(parsed, engine(ROOM), compare=False)
        for line, answer, command in zip(lines, answers, outcome.commands, strict=True):
            if command.got != answer:
                yield f"seed {seed}: {line}\nmodel {answer}\n{engine.__name__} {command.got}"
                break


@pytest.mark.parametrize("part", range(12))
def test_both_engines_agree_with_the_model(part: int) -> None:
    for seed in range(part * 12, part * 12 + 12):
        assert not list(differences(seed, 60, Engine, ReferenceEngine))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(60 * SCALE))
def test_both_engines_agree_with_the_model_on_scenarios_of_the_day(part: int) -> None:
    first = seed_of_the_day() * 1_000_000 + part * 40
    for seed in range(first, first + 40):
        assert not list(differences(seed, 120, Engine, ReferenceEngine))


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Commands of a scenario file, each with the events under it."""
    block: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].strip()
        if words and not words.startswith(">") and block:
            yield block[0], block[1:]
            block = []
        if words:
            block.append(words.removeprefix(">").strip())
    yield block[0], block[1:]


@pytest.mark.parametrize("half", range(2))
def test_the_model_answers_the_scenarios_of_the_rules(half: int) -> None:
    """But for those of what it leaves out: definitions out of bounds, and rows that mean nothing to the market."""
    answered = 0
    for path in SCENARIOS[half::2]:
        market, text = Market(), path.read_text()
        if "reason=invalid_command" in text or OTHER_ROWS.search(text):
            continue
        for line, expected in commands(text.replace("surplus=", "imbalance=")):
            answer = market.play(line)
            assert events_agree(expected, answer), f"{path.name}: {line}: {answer}"
        answered += 1
    assert answered > 180


@pytest.mark.slow_after(8)
@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (Auctions.accepts, lambda order, price_e4: (order.price_e4 or price_e4) * order.side > price_e4 * order.side),
        (Books.rank, lambda order: (order.queue_e4 is not None, -order.side * (order.queue_e4 or 0), order.priority)),
        (Matching.furthest_e4, lambda order: order.queue_e4 or (10**10 if order.side == 1 else 1)),
        (Matching.would_trade, lambda _market, order, _furthest_e4: order.open),
        (Matching.is_self_trade, lambda one, other: one is other),
        (Phases.cancel_on_halt, lambda *_: None),
        (Checks.is_outside_band, lambda *_: False),
        (Entry.keeps_priority, lambda command, order: command.price == order.price_e4),
        (Checks.is_rate_reached, lambda *_: False),
        (Checks.ids_in_use, lambda market, owner: {order.id for order in market.orders if order.owner is owner}),
        (Books.takes_part, lambda _order, midpoint_e4: midpoint_e4 is not None),
        (Consequences.meet_at_midpoint, lambda *_: None),
        (Market.trading_day, lambda market: market.now_ns // DAY_NS),
    ],
    ids=lambda each: each.__name__.strip("<>"),
)
def test_a_wrong_rule_in_the_model_is_found(
    rule: Callable[..., Any], wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = next(each for each in Market.__mro__ if rule.__name__ in each.__dict__)
    is_static = isinstance(owner.__dict__[rule.__name__], staticmethod)
    monkeypatch.setattr(owner, rule.__name__, staticmethod(wrong) if is_static else wrong)
    assert any(next(differences(seed, 120, ReferenceEngine), None) for seed in range(150))
