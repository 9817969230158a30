"""`--price`: commands that name a limit, events and reports that have a price."""

import json
from pathlib import Path

import pytest

from tests.conftest import Lockstep
from tests.question_day import write_day


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("price") / "node"
    write_day(directory, seed=3)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("what", ["commands", "events", "events --reports"])
def test_a_price_selects_what_has_it_and_nothing_else(what: str, day: Path, lockstep: Lockstep) -> None:
    words = what.split()
    every = [json.loads(line) for line in lockstep(words[0], day, *words[1:], "--json")[1].splitlines()]
    priced = [each for each in every if each.get("price_e4")]
    counts = {
        price: sum(each["price_e4"] == price for each in priced) for price in {each["price_e4"] for each in priced}
    }
    price_e4 = max(counts, key=lambda each: counts[each])
    assert 3 < counts[price_e4] < len(every)
    text = f"{price_e4 / 10_000:.4f}"
    found = [
        json.loads(line) for line in lockstep(words[0], day, *words[1:], "--price", text, "--json")[1].splitlines()
    ]
    assert found == [each for each in every if each.get("price_e4") == price_e4]
    symbol = found[0]["symbol"]
    line = (words[0], day, *words[1:], "--price", text, "--symbol", symbol, "--json")
    both = [json.loads(each) for each in lockstep(*line)[1].splitlines()]
    assert both == [each for each in found if each["symbol"] == symbol or (what == "commands" and each in both)]


def test_a_word_that_is_no_price_is_refused_in_a_sentence(day: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("events", day, "--price", "ten")
    assert (status, said) == (2, "")
    assert (
        complaint
        == "lockstep: --price: a price is 'ten'; write a decimal number with at most four places, such as 10.05\n"
    )
