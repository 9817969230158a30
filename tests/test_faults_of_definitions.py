"""The sentence on a definition is there exactly where the market refuses its values."""

import random
from typing import Any

import numpy as np
import pytest

from engine import Capacity
from engine.records import COMMAND, CommandKind, EventKind, Reason
from engine.reference import ReferenceEngine
from notation.faults_of_definitions import fault_of, refusal_of, rows_before
from notation.parse import parse
from notation.translate import Translator
from tests.conftest import Lockstep
from tests.parts import seed_of_the_day

CAPACITY = Capacity(orders_max=8, ids_max=16, instruments_max=64, participants_max=8)


def rows_of(engine: ReferenceEngine, text: str) -> "np.ndarray[Any, Any]":
    batch = Translator(parse(text, "test"), engine.directory, "test").next_batch(engine.directory)
    assert batch is not None
    return batch.rows


def told(text: str) -> tuple[bool, str]:
    """True if the market refuses the values of the last line, and the sentence on them."""
    engine = ReferenceEngine(CAPACITY)
    engine.apply(rows_of(engine, "instrument AAA tick=0.01 lot=1 reference=10.00"))
    engine.apply(rows_of(engine, "instrument BBB tick=0.01 lot=1 reference=10.00"))
    rows = rows_of(engine, text)
    assert rows.dtype == COMMAND
    events = engine.apply(rows)
    refused = (events["kind"] == EventKind.REJECTED) & (events["reason"] == Reason.INVALID_COMMAND)
    return bool(refused.any()), fault_of(rows[-1], *rows_before(rows, len(rows) - 1))


LINES = {
    "instrument abc tick=0.01 lot=1 reference=1": "the symbol is abc; give 1 to 8 characters of A-Z 0-9 . -",
    "instrument A tick=0 lot=1 reference=1": "the tick is 0.00; give 0.0001 to 999999.9999",
    "instrument A tick=1 lot=0 reference=1": "the lot is 0; give 1 to 99,999,999",
    "instrument A tick=1 lot=1 reference=10000000": "the reference price is 10000000.00; give 0.0001 to 999999.9999",
    "instrument A tick=1 lot=1 reference=1 band=101%": "the band is 101%; give 0% to 100%",
    "instrument A tick=1 lot=1 reference=1 volatility=10%/2h/5m": "the breaker looks back over 2h; give whole seconds",
    "instrument A tick=1 lot=1 reference=1 volatility=10%/5m/5d": "the breaker halts for 5d; give more than 0 and at",
    "participant gamma": "the participant is gamma; give 1 to 8 characters of A-Z 0-9 . -",
    "participant G group=g": "the group is g; give",
    "index I members=AAA:0": "the weight of AAA is 0; give 1 to 1,000",
    "index I members=AAA:1,BBB:2,AAA:2": "AAA is named twice; give each member once",
    "index I members=AAA:1 levels=20%/5m,7%/5m": "a level of 7% comes after one of 20%; give the deeper one later",
    "index I members=AAA:1 levels=7%/2d": "a level halts for 2d; give at most 1d, or close",
    "user TRADER7 participant=ALPHA": "the user is TRADER7; give 1 to 6 characters of A-Z 0-9 . -",
    "user T firm=A-B participant=ALPHA": "the firm is A-B; give 1 to 4 characters of A-Z 0-9",
    "venue speed_bump=2d": "the entry delay is 2d; give 0 to 1d",
}


@pytest.mark.parametrize("line", LINES)
def test_a_value_out_of_bounds_is_named_with_what_to_give(line: str) -> None:
    refused, said = told(line)
    assert refused
    assert said.startswith(LINES[line])


@pytest.mark.slow
def test_there_is_a_sentence_exactly_where_the_market_refuses() -> None:
    draw = random.Random(f"definitions {seed_of_the_day()}")

    def one(*words: str) -> str:
        return draw.choice(words)

    def percentage() -> str:
        return one("0%", "0.01%", "5%", "100%", "100.01%", "-1%")

    def span() -> str:
        return one("1ns", "999ms", "1s", "1500ms", "1h", "3601s", "1d", "25h")

    seen = set()
    for _ in range(2_000):
        level = ",".join(f"{percentage()}/{one('5m', '1d', '25h', 'close')}" for _ in range(draw.randint(1, 3)))
        members = ",".join(f"{one('AAA', 'BBB')}:{one('0', '1', '1000', '1001')}" for _ in range(draw.randint(1, 3)))
        line = one(
            f"instrument {one('NEW', 'new')} tick={one('0', '0.0001', '1', '999999.9999', '1000000')} "
            f"lot={one('0', '1', '99999999', '100000000')} reference={one('0', '1', '999999.9999', '1000000')} "
            f"adv={one('1', '922337203685477', '922337203685478')}",
            f"instrument NEW tick=1 lot=1 reference=1 band={percentage()} volatility={percentage()}/{span()}/{span()}",
            f"index {one('NEW', 'new')} members={members} levels={level}",
            f"participant {one('NEW', 'new', 'N.1-2')} group={one('G', 'g')}",
            f"venue speed_bump={one('0s', '1d', '25h', '1ns')}",
            f"user {one('A', 'SIX.-9', 'SEVEN77', 'a')} firm={one('A', 'FOUR', 'FIVE5', 'A.', 'a')} participant=GHOST",
        )
        refused, said = told(line)
        assert refused == bool(said), (line, said)
        seen.add((line.split()[0], refused))
    assert len(seen) == 10, "each kind was taken and refused"


WAITING = """\
at 2024-01-15T09:30:00
instrument AAA tick=0.01 lot=1 reference=10.00
participant ALPHA
venue speed_bump=1s
{line}
venue {settings}
"""


@pytest.mark.parametrize("settings", ["speed_bump=off", "day_start=17:00", ""])
def test_a_venue_that_is_refused_while_commands_wait_is_told_so(
    settings: str, tmp_path: Any, lockstep: Lockstep
) -> None:
    line = "cancel ALPHA none"
    (tmp_path / "day.txt").write_text(WAITING.format(line=line, settings=settings))
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    seq = len(lockstep("commands", tmp_path / "node")[1].splitlines())
    said = lockstep("why", tmp_path / "node", seq)[1]
    assert "reason=invalid_command" in said
    assert "commands wait for the entry delay, and no setting of the venue changes while one does" in said


def test_a_venue_that_is_refused_for_its_row_is_not_told_that_commands_wait() -> None:
    """The market refuses the same rows with and without a command that waits where a sentence does not name those."""
    draw, told_to_wait = random.Random(f"venues {seed_of_the_day()}"), 0
    for _ in range(400):
        row = np.zeros(1, COMMAND)
        row["kind"], row["settings"] = CommandKind.VENUE, draw.choice((0, 1, 2, 3, 4, 7))
        row["speed_bump_ns"] = draw.choice((0, 0, 10**9, 86_400 * 10**9 + 1))
        row["day_start_ns"] = draw.choice((0, 0, 60 * 10**9, 10**9, 86_400 * 10**9))
        engine = ReferenceEngine(CAPACITY)
        refused = bool(len(engine.apply(row)))
        engine.apply(rows_of(engine, "venue speed_bump=1s\nenter NOBODY a1 buy 1 NONE @ 1"))
        assert len(engine.apply(row)), "refused, since a command waits"
        said = refusal_of(row[0], None)
        assert ("commands wait" in said) == (not refused), (row, said)
        told_to_wait += not refused
    assert 20 < told_to_wait < 380


def test_why_of_a_row_of_no_kind_has_no_sentence_on_values(tmp_path: Any, lockstep: Lockstep) -> None:
    row = np.zeros(1, COMMAND)
    row["kind"] = 77
    (tmp_path / "day.txt").write_text(f"raw {row.tobytes().hex()}\n")
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    seq = int(lockstep("commands", tmp_path / "node", "--with-seq")[1].splitlines()[-1].partition("  # ")[2])
    status, said, complaint = lockstep("why", tmp_path / "node", seq)
    assert (status, complaint) == (0, "")
    assert "a value of a definition is out of bounds (rulebook section 11)" in said


def test_why_of_a_refused_definition_names_the_value(tmp_path: Any, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text("instrument A tick=1 lot=1 reference=1\nindex I members=A:1 levels=7%/5m,7%/5m\n")
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    said = lockstep("commands", tmp_path / "node", "--with-seq")[1].splitlines()
    (seq,) = (int(line.partition("  # ")[2]) for line in said if line.startswith("index"))
    assert (
        "a level of 7% comes after one of 7%; give the deeper one later" in lockstep("why", tmp_path / "node", seq)[1]
    )
