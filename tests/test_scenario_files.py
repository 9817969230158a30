"""Scenario files: parsed whole, run as tests, and any journal printed as one gives its rows again (rulebook section 12)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.names import Directory, pack
from engine.records import COMMAND, COMMAND_FIELDS, EVENT, Book, CommandKind, EventKind, Phase, Reason, SelfTrade, Side, TimeInForce
from engine.reference import ReferenceEngine
from replay.scenario import DEFAULT_CLOCK_NS, Translator
from replay.scenario_parse import ScenarioError, parse
from replay.scenario_print import Printer, print_event
from replay.scenario_run import event_agrees, is_test, run_scenario

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))

OPENED = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
"""


def commands_of(raws: list[bytes]) -> "np.ndarray[Any, Any]":
    """COMMAND rows out of their bytes."""
    return np.frombuffer(bytearray(b"".join(raws)), COMMAND)


def rows_of(text: str) -> "np.ndarray[Any, Any]":
    """The rows of a file as an engine would be given them."""
    engine = ReferenceEngine()
    translator = Translator(parse(text, "file.txt"), engine.directory, "file.txt")
    rows = []
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)
        rows.append(batch.rows.tobytes())
    return commands_of(rows)


def printed(rows: "np.ndarray[Any, Any]", *, block: int = 64, with_events: bool = True) -> str:
    """The rows as a scenario, printed in blocks."""
    engine = ReferenceEngine()
    printer = Printer()
    lines: list[str] = []
    for first in range(0, len(rows), block):
        part = np.ascontiguousarray(rows[first : first + block])
        events = engine.apply(part)
        lines += printer.print_block(part, events, first + 1, with_events=with_events)
        assert printer.directory == engine.directory
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_of_the_rulebook_comes_out_as_written(path: Path) -> None:
    outcome = run_scenario(parse(path.read_text(), path.name), ReferenceEngine(), compare=True, name=path.name)
    wrong = [(c.line.number, c.line.text, c.expected, c.got) for c in outcome.commands if not c.passed]
    assert wrong == []
    assert is_test([c.line for c in outcome.commands])


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_printed_and_run_again_gives_the_same_rows_and_passes(path: Path) -> None:
    rows = rows_of(path.read_text())
    text = printed(rows)
    assert rows_of(text).tobytes() == rows.tobytes()
    assert "raw" not in text.split()
    outcome = run_scenario(parse(text, "again.txt"), ReferenceEngine(), compare=True)
    assert outcome.passed


def test_every_reason_that_a_command_can_be_given_has_a_scenario() -> None:
    text = "\n".join(path.read_text() for path in SCENARIOS)
    built = {
        *range(Reason.UNKNOWN_PARTICIPANT, Reason.RESTRICTED),
        Reason.MARKET_NOT_PERMITTED,
        Reason.STP_NOT_PERMITTED,
        Reason.WOULD_CROSS,
        Reason.INVALID_COMMAND,
        Reason.UNKNOWN_ORDER,
        *range(Reason.USER, Reason.EXPIRED),
        Reason.PRICE_BAND,
        Reason.END_OF_DAY,
        Reason.AUCTION,
        Reason.DISCONNECT,
        Reason.COMMAND,
    }
    later = {Reason.KILLED, Reason.NOT_AUCTION, Reason.PRICE_BAND}  # no command of this release leads to them
    missing = [Reason(code).name for code in sorted(built - later) if f"reason={Reason(code).name.lower()}" not in text]
    assert missing == []


ids = st.one_of(
    st.sampled_from([pack(text) for text in ("a1", "a2", "b1", "b2", "XYZ", "ALPHA", "BETA", "NOBODY", "*", "a_b", "Z.-9")]),
    st.integers(-(2**63), 2**63 - 1),
    st.just(0),
)
numbers = st.one_of(st.sampled_from([0, 1, 100, 10_000, 100_000, 100_001, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
times = st.one_of(st.integers(DEFAULT_CLOCK_NS, DEFAULT_CLOCK_NS + 10**15), numbers)
values = {
    "client_order_id": ids,
    "new_client_order_id": ids,
    "name": ids,
    "symbol": ids,
    "group": ids,
    "time_ns": times,
    "participant": st.sampled_from([0, 1, 2, 3, 2**32 - 1]),
    "instrument": st.sampled_from([0, 1, 2, 2**32 - 1]),
    "side": st.sampled_from([*Side, 0, -128]),
    "time_in_force": st.sampled_from([*TimeInForce, 0, 255]),
    "self_trade": st.sampled_from([*SelfTrade, 0, 255]),
    "instructions": st.sampled_from([0, 1, 2, 4, 8, 16, 18, 511, 65_535]),
    "permissions": st.sampled_from([0, 1, 2, 3, 4, 65_535]),
    "book": st.sampled_from([*Book, 255]),
    "phase": st.sampled_from([*Phase, 0, 255]),
    "reason": st.sampled_from([Reason.MASS_CANCEL, Reason.DISCONNECT, 0, 255]),
}


@st.composite
def command_rows(draw: st.DrawFn) -> bytes:
    """One row: of a kind with its own places filled, now and then a byte too many, or 64 bytes of anything."""
    shape = draw(st.sampled_from(["kind", "kind", "kind", "spoiled", "garbage"]))
    if shape == "garbage":
        return draw(st.binary(min_size=64, max_size=64))
    row = np.zeros(1, COMMAND)
    kind = draw(st.sampled_from([*COMMAND_FIELDS, CommandKind.ENTER, CommandKind.EXTEND, CommandKind.CLOCK]))
    row["kind"] = kind
    for name in COMMAND_FIELDS[kind]:
        row[name] = draw(values.get(name, numbers))
    raw = bytearray(row.tobytes())
    if shape == "spoiled":
        raw[draw(st.integers(0, 63))] = draw(st.integers(0, 255))
    return bytes(raw)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.booleans(), st.lists(command_rows(), max_size=25), st.integers(1, 8))
def test_any_rows_at_all_are_printed_so_that_they_read_back_byte_for_byte(opened: bool, raws: list[bytes], block: int) -> None:
    rows = commands_of([rows_of(OPENED).tobytes(), *raws] if opened else raws)
    assert rows_of(printed(rows, block=block)).tobytes() == rows.tobytes()
    assert rows_of(printed(rows, with_events=False)).tobytes() == rows.tobytes()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet=" \n#>@=.-+*~0159:TabXYZ_", max_size=200) | st.text(max_size=100))
def test_any_text_at_all_is_either_read_or_refused_with_file_and_line(text: str) -> None:
    try:
        parse(text, "file.txt")
    except ScenarioError as error:
        assert str(error).startswith("file.txt:")
        assert "\n" not in str(error)
