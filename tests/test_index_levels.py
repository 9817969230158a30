"""Levels of an index: exact, continuous over splits and changes of members, and the same however the reports came."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from marketdata.index_levels import Change, IndexDefinition, IndexLevels, read_definition
from reports import Reports
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.report_streams import CAPACITY, user_stream

MINUTE_NS = 60 * 10**9
DAY = """\
at 2026-01-05T09:29:00
instrument AAA tick=0.01 lot=1 reference=10.00
instrument BBB tick=0.01 lot=1 reference=20.00
instrument CCC tick=0.01 lot=1 reference=30.00
participant P
participant Q
phase * continuous
at 2026-01-05T09:30:00
cross P x1 10 AAA @ 11.00 buyer=P seller=Q
enter P a1 sell 10 AAA @ 11.00
enter Q a2 buy 10 AAA @ 11.00
at 2026-01-05T09:31:00
enter P b1 sell 10 BBB @ 19.00
enter Q b2 buy 10 BBB @ 19.00
at 2026-01-05T10:00:00
enter P c1 sell 10 CCC @ 33.00
enter Q c2 buy 10 CCC @ 33.00
at 2026-01-05T11:00:00
enter P a3 sell 10 AAA @ 5.60
enter Q a4 buy 10 AAA @ 5.60
at 2026-01-05T12:00:00
enter P c3 sell 10 CCC @ 36.00
enter Q c4 buy 10 CCC @ 36.00
"""
DEFINITION: dict[str, Any] = {"name": "TWO", "base": "1000", "members": {"AAA": 2, "BBB": "1.5"}}
SPLIT = {"at": "2026-01-05T10:30", "split": {"AAA": "2:1"}}
MEMBERS = {"at": "2026-01-05T11:30", "members": {"AAA": 4, "CCC": 1}}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("index")
    (folder / "day.txt").write_text(DAY)
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "4"]) == 0
    return folder / "node"


def written(folder: Path, definition: Mapping[str, Any]) -> Path:
    (folder / "index.json").write_text(json.dumps(definition))
    return folder / "index.json"


def told(lockstep: Lockstep, *words: Any) -> dict[str, Any]:
    status, said, complaint = lockstep("stats", *words, "--json")
    assert status == 0, complaint
    (facts,) = checked(["stats"], said)
    return facts


def test_levels_are_those_that_one_counts_by_hand(day: Path, lockstep: Lockstep, tmp_path: Path) -> None:
    file = written(tmp_path, DEFINITION | {"changes": [SPLIT, MEMBERS]})
    facts = told(lockstep, day, "--index", file, "--bars", "1m")
    # 2 * 10.00 + 1.5 * 20.00 = 50.00 is the base of 1,000. The agreed cross at 11.00 makes no price.
    first = Fraction(500_000, 1_000)
    assert [(row["begin"][11:16], row["close"]) for row in facts["statistics"]] == [
        ("09:29", "1000"),
        ("09:30", str(Fraction(2 * 110_000 + 300_000) / first)),
        ("09:31", str(Fraction(2 * 110_000 + 285_000) / first)),
        ("11:00", str(Fraction(4 * 56_000 + 285_000) / first)),  # after the split, of which no level tells
        ("12:00", str(Fraction(4 * 56_000 + 360_000) / ((4 * 56_000 + 330_000) / (Fraction(509_000) / first)))),
    ]
    assert facts["divisor"] == str((4 * 56_000 + 330_000) / (Fraction(509_000) / first))
    whole = told(lockstep, day, "--index", file)
    (row,) = whole["statistics"]
    assert (row["open"], row["low"]) == ("1000", "1000")
    assert whole["digest"] != facts["digest"]  # of other figures
    (later,) = told(lockstep, day, "--index", file, "--from", "11:00", "--to", "11:30")["statistics"]
    assert later["open"] == later["close"] == str(Fraction(509_000) / first)
    status, said, _ = lockstep("stats", day, "--index", file)
    assert status == 0
    assert "1,000.00" in said


@pytest.mark.parametrize("seed", range(2))
def test_a_split_and_a_change_of_members_leave_the_level_as_it_is(seed: int) -> None:
    rows = user_stream(seed, 2_000)
    engine, fold = Engine(CAPACITY), Reports(CAPACITY)
    reports = fold.make(1, rows, engine.apply(rows))
    one, other, *_ = engine.directory.symbols
    at_ns = int(reports["time_ns"][-1]) + 1
    for change in (
        Change(at_ns, splits={one: Fraction(7, 3), other: Fraction(2)}),
        Change(at_ns, members={other: Fraction(1, 3)}),
    ):
        levels = IndexLevels(IndexDefinition("I", Fraction(100), {one: Fraction(3), other: Fraction(7)}, (change,)))
        levels.take(reports)
        before, divisor = levels.level, levels.divisor
        levels.advance(at_ns)
        assert levels.level == before
        assert before is not None
        assert (levels.divisor == divisor) is (change.splits is not None)


@pytest.mark.parametrize("seed", range(4))
def test_levels_are_sums_over_all_members_however_the_reports_came(seed: int) -> None:
    rows = user_stream(seed, 4_000)
    engine, fold = Engine(CAPACITY), Reports(CAPACITY)
    reports = fold.make(1, rows, engine.apply(rows))
    symbols = engine.directory.symbols
    at_ns = int(reports["time_ns"][len(reports) // 2])
    definition = IndexDefinition(
        "ALL",
        Fraction(1_000),
        {symbol: Fraction(n, 3) for n, symbol in enumerate(symbols, 1)},
        (Change(at_ns, splits={symbols[0]: Fraction(3, 2)}),),
    )
    one = IndexLevels(definition, width_ns=MINUTE_NS)
    one.take(reports)
    other = IndexLevels(definition, width_ns=MINUTE_NS)
    for at in range(0, len(reports), 37):
        other.take(reports[at : at + 37])
    assert one.digest() == other.digest()
    assert one.level is not None
    assert one.level == one._value_now() / (one.divisor or 1)
    assert one.all.high != one.all.low
    # Control: another weight is another index.
    control = IndexLevels(IndexDefinition("ALL", Fraction(1_000), {symbols[0]: Fraction(1)}), width_ns=MINUTE_NS)
    control.take(reports)
    assert control.digest() != one.digest()
    # Twice the weights over twice the divisor are the same levels, and another state.
    twice = {symbol: 2 * weight for symbol, weight in definition.members.items()}
    control = IndexLevels(IndexDefinition("ALL", Fraction(1_000), twice, definition.changes), width_ns=MINUTE_NS)
    control.take(reports)
    assert (control.bars, control.all) == (one.bars, one.all)
    assert control.digest() != one.digest()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "it is no JSON"),
        ('{"name": "I", "members": {"AAA": 1, "AAA": 2}}', "an object has 'AAA' twice; give each name once"),
        (
            '{"name": "I", "members": {"AAA": 1}, "changes": [{"at": "2026-01-05T10:00", "split": {"BBB": "2:1"}}]}',
            "index I splits BBB, which is no member of it at any time",
        ),
        ("[]", "it is an object with name"),
        ('{"nome": 1}', "it is an object with name"),
        ('{"members": {"AAA": 1}}', "it has no name"),
        ('{"name": "I"}', "members are symbols with weights"),
        ('{"name": "I", "members": {"AAA": 1.5}}', "write decimals as text"),
        ('{"name": "I", "members": {"AAA": "x"}}', "weight of AAA is 'x'"),
        ('{"name": "I", "members": {"AAA": 0}}', "a number is above 0"),
        ('{"name": "I", "members": {"AAA": 1}, "base": 0}', "it is above 0"),
        ('{"name": "I", "members": {"AAAAAAAAA": 1}}', "is no symbol"),
        ('{"name": "I", "members": {"AAA": 1}, "changes": {}}', "changes are a list"),
        ('{"name": "I", "members": {"AAA": 1}, "changes": [{"at": "10:00"}]}', 'has "at" and either'),
        ('{"name": "I", "members": {"AAA": 1}, "changes": [{"at": "10:00", "split": {"AAA": "2:1"}}]}', "its date"),
        ('{"name": "I", "members": {"AAA": 1}, "changes": [{"at": "x", "split": {"AAA": "2:1"}}]}', "the time is"),
        (
            '{"name": "I", "members": {"AAA": 1}, "changes": [{"at": "2026-01-05T10:00", "split": {"AAA": "2"}}]}',
            "new shares for old ones",
        ),
    ],
)
def test_what_is_no_index_is_refused_with_a_sentence(
    day: Path, lockstep: Lockstep, tmp_path: Path, text: str, what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        read_definition(text)
    (tmp_path / "index.json").write_text(text)
    status, said, complaint = lockstep("stats", day, "--index", tmp_path / "index.json")
    assert (status, said) == (2, "")
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    ("definition", "words", "what"),
    [
        (DEFINITION | {"members": {"ZZZ": 1}}, [], "ZZZ, which is no instrument"),
        (DEFINITION | {"changes": [{"at": "2026-01-05T10:00", "members": {"ZZZ": 1}}]}, [], "no price by then"),
        (DEFINITION | {"changes": [MEMBERS, SPLIT]}, [], "in the order of their times"),
        (DEFINITION, ["--symbol", "AAA"], "leave --symbol"),
    ],
)
def test_an_index_that_the_journal_does_not_have_is_refused_with_a_sentence(
    day: Path, lockstep: Lockstep, tmp_path: Path, definition: dict[str, Any], words: list[str], what: str
) -> None:
    status, said, complaint = lockstep("stats", day, "--index", written(tmp_path, definition), *words)
    assert (status, said) == (2, "")
    assert what in complaint
    (tmp_path / "bytes.json").write_bytes(b"\xeb\xff")
    for name, why in (("none.json", "No such file"), ("", "Is a directory"), ("bytes.json", "is no text")):
        status, said, complaint = lockstep("stats", day, "--index", tmp_path / name)
        assert (status, said) == (2, "")
        assert why in complaint
        assert "Errno" not in complaint
