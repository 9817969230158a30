"""Scenario files: parsed whole, run as tests, and any journal printed as one gives its rows again."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Capacity, Engine
from engine.names import Directory, pack
from engine.records import (
    COMMAND,
    COMMAND_FIELDS,
    EVENT,
    EVENT_FIELDS,
    Book,
    CommandKind,
    EventKind,
    Limit,
    Peg,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    limit_places,
)
from engine.reference import ReferenceEngine
from notation.objects import COMMAND_KEYS
from notation.parse import ScenarioError, parse
from notation.print import Printer, print_event
from notation.run import beside, event_agrees, is_test, run_scenario
from notation.table import COMMANDS
from notation.translate import DEFAULT_CLOCK_NS, Translator
from tests.parts import SCALE

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
#: Small, since each scenario has an engine of its own.
CAPACITY = Capacity(orders_max=4_096, ids_max=8_192, instruments_max=16, participants_max=16)

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


@pytest.mark.parametrize("make", [Engine, ReferenceEngine], ids=["kernel", "reference"])
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_of_the_rulebook_comes_out_as_written(
    path: Path, make: type[Engine] | type[ReferenceEngine]
) -> None:
    outcome = run_scenario(parse(path.read_text(), path.name), make(CAPACITY), compare=True, name=path.name)
    wrong = [(c.line.number, c.line.text, c.expected, c.got) for c in outcome.commands if not c.passed]
    assert wrong == []
    assert is_test([c.line for c in outcome.commands])


@pytest.mark.slow_after(42)
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_printed_and_run_again_gives_the_same_rows_and_passes(path: Path) -> None:
    rows = rows_of(path.read_text())
    text = printed(rows)
    assert rows_of(text).tobytes() == rows.tobytes()
    assert text.count("raw ") == path.read_text().count("raw ")
    outcome = run_scenario(parse(text, "again.txt"), ReferenceEngine(), compare=True)
    assert outcome.passed


ids = st.one_of(
    st.sampled_from(
        [pack(text) for text in ("a1", "a2", "b1", "b2", "XYZ", "ALPHA", "BETA", "NOBODY", "*", "a_b", "Z.-9")]
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.just(0),
)
numbers = st.one_of(
    st.sampled_from([0, 1, 100, 10_000, 100_000, 100_001, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1)
)
times = st.one_of(st.integers(DEFAULT_CLOCK_NS, DEFAULT_CLOCK_NS + 10**15), numbers)
tokens = st.sampled_from([0, int.from_bytes(b"TOKEN-20", "big"), int.from_bytes(b"ABCDEF\0\0", "big")]) | numbers
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
    "permissions": st.sampled_from([0, 1, 2, 3, 4, 7, 8, 65_535]),
    "settings": st.sampled_from([0, 1, 2, 3, 4, 7, 8, 65_535]),
    "participant_name": ids,
    "firm": ids,
    "cost": st.sampled_from([0, 4, 14, 255]),
    **dict.fromkeys(("token_head", "token_tail", "new_token_head", "new_token_tail"), tokens),
    "book": st.sampled_from([*Book, 255]),
    "phase": st.sampled_from([*Phase, 0, 255]),
    "peg": st.sampled_from([*Peg, 0, 255]),
    "reason": st.sampled_from([Reason.MASS_CANCEL, Reason.DISCONNECT, 0, 255]),
    "limits": st.one_of(st.integers(0, 255), st.integers(0, 65_535), st.integers(0, 255).map(lambda bits: bits * 257)),
    **dict.fromkeys(("further_limits", "further_off"), st.sampled_from([0, 0, 1, 2, 3, 4, 255])),
    "adv_qty": st.sampled_from([0, 1, 50_000]) | numbers,
    "jump_ns": st.sampled_from([0, -3 * 10**9, 90 * 10**9]) | numbers,
    "duration_ns": st.sampled_from([0, 1, -1, 300 * 10**9]) | numbers,
}


def limits_rows(draw: st.DrawFn) -> bytes:
    """A LIMITS row, mostly with only the values that its bits name, and mostly with the EXTEND row that these want."""
    row = np.zeros(2, COMMAND)
    row["kind"] = CommandKind.EXTEND, CommandKind.LIMITS
    bits = draw(st.one_of(st.integers(0, 1_023), st.integers(0, 2**20 - 1)))
    given = bits & ~(bits >> 10) if draw(st.booleans()) else 1_023
    places = {
        Limit.MAX_ORDER_QTY: ("max_order_qty",),
        Limit.MAX_ORDER_VALUE: ("max_order_value_e4",),
        Limit.MAX_POSITION: ("max_position_qty",),
        Limit.CREDIT: ("credit_e4",),
        Limit.ORDER_RATE: ("rate_orders", "rate_window_ns"),
        Limit.MARGIN: ("margin_bps",),
        Limit.ADV: ("adv_share_bps",),
        Limit.MAX_OPEN_ORDERS: ("max_open_orders",),
        Limit.MAX_IDS: ("max_ids",),
    }
    for limit, names in places.items():
        at = 0 if limit in EXTENDED else 1
        for name in names if given & limit else ():
            row[name][at] = draw(numbers)
    row["name"][1] = draw(ids)
    row["symbol"][1] = draw(ids)
    for place, value in limit_places(bits & 1_023, bits >> 10).items():
        row[place][1] = value
    extended = bool(given & sum(EXTENDED)) if draw(st.integers(0, 7)) else draw(st.booleans())
    return row.tobytes() if extended else row[1:].tobytes()


EXTENDED = (Limit.ORDER_RATE, Limit.MARGIN, Limit.ADV, Limit.MAX_OPEN_ORDERS, Limit.MAX_IDS)


@st.composite
def command_rows(draw: st.DrawFn) -> bytes:
    """One row: of a kind with its own places filled, now and then a byte too many, or 64 bytes of anything; of limits
    perhaps two."""
    shape = draw(st.sampled_from(["kind", "kind", "kind", "limits", "spoiled", "garbage"]))
    if shape == "garbage":
        return draw(st.binary(min_size=64, max_size=64))
    if shape == "limits":
        return limits_rows(draw)
    row = np.zeros(1, COMMAND)
    kind = draw(st.sampled_from([*COMMAND_FIELDS, CommandKind.ENTER, CommandKind.EXTEND, CommandKind.CLOCK]))
    row["kind"] = kind
    for name in COMMAND_FIELDS[kind]:
        row[name] = draw(values.get(name, numbers))
    raw = bytearray(row.tobytes())
    if shape == "spoiled":
        raw[draw(st.integers(0, 63))] = draw(st.integers(0, 255))
    return bytes(raw)


@pytest.mark.slow
@settings(max_examples=120 * SCALE, deadline=None, derandomize=True)
@given(st.booleans(), st.lists(command_rows(), max_size=25), st.integers(1, 8))
def test_any_rows_at_all_are_printed_so_that_they_read_back_byte_for_byte(
    opened: bool, raws: list[bytes], block: int
) -> None:
    rows = commands_of([rows_of(OPENED).tobytes(), *raws] if opened else raws)
    assert rows_of(printed(rows, block=block)).tobytes() == rows.tobytes()
    assert rows_of(printed(rows, with_events=False)).tobytes() == rows.tobytes()


@st.composite
def alike_rows(draw: st.DrawFn) -> list[bytes]:
    """Rows of orders that differ in few places from one another, as those of a journal do."""
    kind = draw(st.sampled_from([CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE]))
    first = np.zeros(1, COMMAND)
    first["kind"] = kind
    for name in COMMAND_FIELDS[kind]:
        first[name] = draw(values.get(name, numbers)) if draw(st.booleans()) else 0
    found = [first.tobytes()]
    for _ in range(draw(st.integers(1, 6))):
        row = np.frombuffer(bytearray(draw(st.sampled_from(found))), COMMAND)
        for name in draw(st.lists(st.sampled_from(COMMAND_FIELDS[kind]), max_size=4)):
            row[name] = draw(values.get(name, numbers))
        found.append(row.tobytes())
    return found


@pytest.mark.slow
@settings(max_examples=150 * SCALE, deadline=None, derandomize=True)
@given(st.lists(alike_rows(), min_size=1, max_size=4))
def test_rows_like_others_get_the_lines_that_they_get_alone(several: list[list[bytes]]) -> None:
    directory = Directory(("XYZ", "a b"), ("ALPHA", "BETA", "ALPHA"), 1)
    together = Printer(directory)
    for raw in [raw for raws in several for raw in raws] * 2:
        alone = Printer(directory).line(raw)
        assert together.line(raw) == alone
        if not alone.startswith("raw "):
            batch = Translator(parse(alone, "line.txt"), directory, "line.txt").next_batch(directory)
            assert batch is not None
            assert batch.rows.tobytes() == raw


def test_a_line_like_one_before_is_not_read_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    printer = Printer(Directory(("XYZ",), ("ALPHA",), 1))
    lines = [f"cancel ALPHA a{n} context={n:016x}" for n in (1, 2)]
    first, second = (each.tobytes() for each in rows_of("\n".join((OPENED, *lines)))[-2:])
    assert printer.line(first) == lines[0]
    monkeypatch.setattr("notation.print.command", None)
    assert printer.line(second) == lines[1]


@pytest.mark.parametrize(
    "line",
    [
        "enter ALPHA a1 buy 100 XYZ @ 9.00 tif=gtc stp=cancel_both context=8000000000000001 token=ORDER-20240115",
        "enter ALPHA ~8000000000000001 buy 100 XYZ @ market token=~20202020202020202020202020ff",
        "enter NOBODY a1 buy 100 ABC @ 9.00 context=0000000000000001 token=!$",
        "cancel ALPHA a1 qty=-5 context=0000000000000001 token==,=",
        "cancel NOBODY a1 token=A",
        "replace ALPHA a1 a2 100 @ 9.00 display=10 context=ffffffffffffffff token=ORDER-20240115 new_token=ORDER-2",
        "replace NOBODY a1 a2 100 @ 9.00 new_token=~23000000000000000000000000ff",
        "kill ALPHA",
        "kill *",
        "unkill *",
        "unkill NOBODY",
        "emergency_close",
        "instrument ABC tick=0.01 lot=1 reference=10.00 adv=250000",
        "instrument ABC tick=0.01 lot=1 reference=10.00 adv=-1",
        "phase XYZ opening_auction",
        "phase * auction",
        "phase XYZ closing_auction",
        "halt XYZ for=5m",
        "halt * for=-1ns",
        "resume XYZ",
        "resume *",
        "limits ALPHA",
        "limits NOBODY symbol=ABC max_order_qty=0",
        "limits ALPHA max_order_qty=500 max_order_value=2500000.00 order_rate=100/1s max_position=10000 "
        "credit=5000000.00 margin=20% adv=10% restricted",
        "limits ALPHA max_order_qty=off max_order_value=off order_rate=off max_position=off credit=off margin=off "
        "adv=off restricted=no",
        "limits ALPHA symbol=XYZ max_order_qty=-9223372036854775808 max_order_value=-922337203685477.5808",
        "limits ALPHA max_open_orders=5 max_ids=-7",
        "limits ALPHA symbol=XYZ max_open_orders=off max_ids=off",
        "limits ALPHA order_rate=-1/-350us margin=-0.01% adv=92233720368547758.07%",
        "limits ALPHA order_rate=0/0ns margin=off adv=0.5% restricted",
        "limits ALPHA margin=0%",
        "limits ~8000000000000000 symbol=~00000000000000ff credit=0.0001 restricted=no",
        "clock_jump by=-3s to=2024-01-15T09:29:57",
        "clock_jump by=9223372036854775807ns to=2262-04-11T23:47:16.854775807",
        "clock_jump by=-9223372036854775808ns to=1677-09-21T00:12:43.145224192",
        "clock_jump by=0ns to=1969-12-31T23:59:59.999999999",
        "epoch 7 node=A",
        "epoch 4611686018427387904 node=NODE-1.A",
        "epoch -9223372036854775808 node=~ffffffffffffffff",
        "user USER-1 participant=NOBODY",
        "user USER-1 participant=ALPHA firm=FRM1 allow=login,newest_wins",
        "user ~0000000000000000 participant=~ffffffffffffffff firm=a.b.c allow=none",
        f"credential USER-1 cost=0 salt=0001020304050607{'08' * 8} hash=f01112131415161718191a1b1c1d1e1f{'20' * 8}",
    ],
)
def test_a_line_of_the_notation_is_printed_as_it_was_written(line: str) -> None:
    assert printed(rows_of(OPENED + line), with_events=False).splitlines()[-1] == line


@pytest.mark.slow
@settings(max_examples=80 * SCALE, deadline=None, derandomize=True)
@given(st.text(alphabet=" \n#>@=.-+*~0159:TabXYZ_", max_size=200) | st.text(max_size=100))
def test_any_text_at_all_is_either_read_or_refused_with_file_and_line(text: str) -> None:
    try:
        parse(text, "file.txt")
    except ScenarioError as error:
        message = str(error)
    else:
        message = "file.txt:1: "
    assert re.match(r"file\.txt:\d+: [^\n]*\Z", message)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fill ALPHA a1", "there is no command 'fill'"),
        ("enter ALPHA a1 buy 100 XYZ", "its form is: enter NAME ID"),
        ("enter ALPHA a1 buy 100 XYZ at 10.00", "its form is: enter NAME ID"),
        ("enter ALPHA a1 bid 100 XYZ @ 10.00", "the side is 'bid'"),
        ("enter ALPHA a1 buy 1.5 XYZ @ 10.00", "the quantity is '1.5'"),
        ("enter ALPHA a1 buy 9223372036854775808 XYZ @ 10.00", "does not fit 64 bits"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00001", "at most four places"),
        ("enter ALPHA a1 buy 1 XYZ @ 922337203685477.5808", "does not fit 64 bits"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00 tif=never", "tif is 'never'"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00 tif=", "tif= has no value"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00 hidden=yes", "no option 'hidden=yes'"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00 tif=day tif=ioc", "tif stands twice"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00 stop=near", "stop is 'near'"),
        ("enter ALPHA a1_long_id buy 1 XYZ @ 10.00", "1 to 8 characters"),
        ("user F12.LONGER participant=ALPHA", "1 to 6 characters"),
        ("replace ALPHA a1 a2 10 @ 10.00 stop=", "stop= has no value"),
        ("instrument XYZ tick=0.01 lot=1", "tick= lot= reference="),
        ("participant ALPHA allow=market,market", "each permission once"),
        ("resume XYZ now", "resume has no option 'now'"),
        ("instrument XYZ tick=0.01 lot=1 reference=1 adv=10%", "adv is '10%'; write a whole number"),
        ("limits", "its form is: limits NAME"),
        ("limits ALPHA max_order_qty", "limits has no option 'max_order_qty'"),
        ("limits ALPHA max_order_qty=many", "max_order_qty is 'many'; write a whole number"),
        ("limits ALPHA max_order_value=1.00001", "at most four places"),
        ("limits ALPHA credit=off credit=5", "credit stands twice"),
        ("limits ALPHA order_rate=100", "order_rate is '100'; write a whole number, / and a duration, such as 100/1s"),
        ("limits ALPHA order_rate=100/second", "order_rate is '100/second'; write a whole number, / and a duration"),
        ("limits ALPHA margin=20", "at most two places and %, such as 12.5%"),
        ("limits ALPHA margin=0.125%", "at most two places and %, such as 12.5%"),
        ("limits ALPHA adv=92233720368547758.08%", "does not fit 64 bits"),
        ("limits ALPHA restricted=yes", "restricted is 'yes'; write restricted, or restricted=no"),
        ("limits ALPHA restricted restricted=no", "restricted stands twice"),
        ("halt XYZ for=0s", "for is 0s, which would be a halt without an end"),
        ("clock_jump by=3s", "its form is: clock_jump by=-3s to=TIME"),
        ("clock_jump by=3 to=09:30", "by is '3'; write a whole number and one of ns us"),
        ("clock_jump by=3s to=noon", "the time is 'noon'"),
        ("epoch 7", "its form is: epoch N node=NAME"),
        ("epoch node=A", "the epoch is 'node=A'; write a whole number"),
        ("epoch 7 node=", "node= has no value"),
        ("cancel ALPHA a1 qty=half", "qty is 'half'"),
        ("enter ALPHA a1 buy 1 XYZ @ 10.00 context=1", "context is '1'; write 16 hexadecimal digits"),
        ("replace ALPHA a1 a2 1 @ 10.00 token=FIFTEEN-LETTERS", "write 1 to 14 printable characters"),
        ("kill", "its form is: kill NAME|*"),
        ("unkill ALPHA BETA", "unkill has no option 'BETA'"),
        ("emergency_close now", "emergency_close has no option 'now'"),
        ("user U firm=F", "its form is: user NAME participant=P"),
        ("user U participant=ALPHA allow=trade", "allow= is 'trade'; write one of login"),
        ("credential U cost=14 salt=00", "its form is: credential NAME"),
        ("credential U cost=256 salt=00 hash=00", "cost is 256; write a number from 0 to 255"),
        ("credential U cost=14 salt=00 hash=00", "salt is '00'; write 32 hexadecimal digits"),
        ("venue speed_bump=350", "speed_bump is '350'; write a whole number and one of ns us"),
        ("venue day_start=24:00", "day_start is '24:00'; write hours and minutes, such as 17:00"),
        ("venue XYZ", "venue has no option 'XYZ'"),
        ("at noon", "the time is 'noon'"),
        ("at 24:00:00", "no such time of day"),
        ("at 2024-02-30T09:30", "no such date"),
        ("at 09:30 10:00", "at has no option"),
        ("halt XYZ for=5", "a whole number and one of ns us"),
        ("raw 00", "128 hexadecimal digits"),
        ("> acepted a1", "there is no event 'acepted'"),
        ("> accepted a1 qty=1", "qty= does not fit the event accepted"),
        ("at 09:29:59", "the clock would go back"),
    ],
)
def test_a_line_that_makes_no_command_is_refused_with_file_line_and_what_to_do(line: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(says)) as error:
        rows_of(f"participant ALPHA  # a comment\n\n{line}\n")
    assert str(error.value).startswith("file.txt:3: ")


def test_a_fault_in_the_last_line_is_found_before_anything_is_applied() -> None:
    engine = ReferenceEngine()
    with pytest.raises(ScenarioError):
        run_scenario(parse(OPENED + "at 10:00\nat 09:59\n", "file.txt"), engine, compare=False)
    assert engine.seq == 0


@pytest.mark.parametrize(
    ("expected", "got", "agrees"),
    [
        ("accepted", "accepted a1", True),
        ("accepted a1 x", "accepted a1", False),
        ("trade XYZ 100 @ 10", "trade XYZ 100 @ 10.00 resting=b1 incoming=c1", True),
        ("trade XYZ 100 @ 10.0001", "trade XYZ 100 @ 10.00 resting=b1 incoming=c1", False),
        ("trade incoming=c1 resting=b1", "trade XYZ 100 @ 10.00 resting=b1 incoming=c1", True),
        ("trade XYZ 100 @ 10 resting=c1", "trade XYZ 100 @ 10.00 resting=b1 incoming=c1", False),
        ("canceled a1 reason=ioc", "canceled a1 qty=5 reason=ioc", True),
        ("canceled a1 qty=50", "canceled a1 qty=5 reason=ioc", False),
    ],
)
def test_of_an_event_only_what_is_written_is_compared(expected: str, got: str, agrees: bool) -> None:
    assert event_agrees(expected, got) is agrees


@pytest.mark.slow_after(21)
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_with_any_expected_event_taken_out_fails(path: Path) -> None:
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith(">"):
            text = "\n".join(lines[:number] + lines[number + 1 :])
            assert not run_scenario(parse(text, path.name), ReferenceEngine(), compare=True).passed, line


def test_a_plain_command_file_is_an_input_and_not_a_test() -> None:
    lines = parse(OPENED, "file.txt")
    assert not is_test(lines)
    assert run_scenario(lines, ReferenceEngine(), compare=False).passed
    outcome = run_scenario(lines, ReferenceEngine(), compare=True)
    assert [command.line.number for command in outcome.commands if not command.passed] == [4]
    assert beside(outcome.commands[3]) == [("", "phase XYZ continuous", False)]


def test_a_file_without_a_time_begins_at_half_past_nine_and_one_with_a_time_does_not() -> None:
    assert rows_of("participant ALPHA")["time_ns"][0] == DEFAULT_CLOCK_NS
    assert rows_of("at +5m\nparticipant ALPHA")["time_ns"][0] == DEFAULT_CLOCK_NS + 300 * 10**9
    assert len(rows_of("at 2020-01-01T00:00\nparticipant ALPHA")) == 2


def test_a_time_that_a_clock_is_said_to_show_is_of_the_clocks_day_and_may_lie_behind_it() -> None:
    rows = rows_of("clock_jump by=-3s to=09:29:57\nclock_jump by=1d to=+1d\nclock_jump by=0s to=2020-01-01T00:00")[1:]
    assert (rows["time_ns"][:2] - DEFAULT_CLOCK_NS).tolist() == [-3 * 10**9, 86_400 * 10**9]
    assert rows["jump_ns"].tolist() == [-3 * 10**9, 86_400 * 10**9, 0]
    assert set(rows["kind"].tolist()) == {CommandKind.CLOCK_JUMP}


def test_values_that_a_row_of_limits_has_no_room_for_stand_in_a_row_before_it() -> None:
    rows = rows_of(OPENED + "limits ALPHA credit=5 order_rate=off\nlimits ALPHA symbol=XYZ adv=10% max_order_qty=7\n")[
        5:
    ]
    assert rows["kind"].tolist() == [CommandKind.LIMITS, CommandKind.EXTEND, CommandKind.LIMITS]
    assert rows["limits"].tolist() == [Limit.CREDIT | Limit.ORDER_RATE | Limit.ORDER_RATE << 8, 0, Limit.ADV | 1]
    assert (rows["credit_e4"][0], rows["adv_share_bps"][1], rows["max_order_qty"][2]) == (50_000, 1_000, 7)
    assert rows["symbol"].tolist() == [0, 0, pack("XYZ")]


def test_the_implicit_clock_is_left_out_where_the_venue_has_a_later_one() -> None:
    engine = ReferenceEngine()
    run_scenario(parse("at 2024-01-16T10:00\n", "one.txt"), engine, compare=True)
    run_scenario(parse("participant ALPHA\nat 10:00:00\n", "two.txt"), engine, compare=True)
    assert engine.now_ns == DEFAULT_CLOCK_NS + 86_400 * 10**9 + 1_800 * 10**9
    with pytest.raises(ScenarioError, match=r"three\.txt:1: the clock would go back"):
        run_scenario(parse("at 2024-01-15T10:00\n", "three.txt"), engine, compare=True, name="three.txt")


def test_a_batch_ends_where_a_name_cannot_be_known_yet() -> None:
    text = OPENED + "enter ALPHA a1 buy 1 XYZ @ 10.00\nparticipant GAMMA\ncancel GAMMA a1\n"
    lines = parse(text, "file.txt")
    engine = ReferenceEngine()
    translator = Translator(lines, engine.directory)
    batches = []
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)
        batches.append([lines[owner].number if owner >= 0 else 0 for owner in batch.lines])
    assert batches == [[0, 1, 2, 3, 4], [5, 6], [7]]


def test_an_unknown_name_becomes_number_nought_after_a_row_that_names_it() -> None:
    rows = rows_of(OPENED + "enter NOBODY a1 buy 1 ABC @ 10.00\nenter ALPHA a1 buy 1 ABC @ 10.00\n")[5:]
    assert rows["kind"].tolist() == [CommandKind.EXTEND, CommandKind.ENTER] * 2
    assert rows["name"][[0, 2]].tolist() == [pack("NOBODY"), 0]
    assert rows["symbol"][[0, 2]].tolist() == [pack("ABC"), pack("ABC")]
    assert rows["participant"][[1, 3]].tolist() == [0, 1]


def test_every_event_of_this_release_is_printed_as_the_rulebook_writes_it() -> None:
    directory = Directory(("XYZ",), ("ALPHA",))
    event = np.zeros(1, EVENT)
    event[["client_order_id", "contra_client_order_id", "qty", "price_e4", "instrument"]] = (
        pack("a1"),
        pack("b1"),
        5,
        100_001,
        1,
    )
    event["participant"] = 1
    event["phase"], event["reason"], event["side"], event["order_number"] = Phase.HALTED, Reason.COMMAND, Side.SELL, 40
    lines = {}
    for kind in EVENT_FIELDS:
        event["kind"] = kind
        lines[kind.name] = print_event(event[0], directory)
    assert lines == {
        "ACCEPTED": "> accepted a1",
        "REJECTED": "> rejected a1 reason=command",
        "TRADE": "> trade XYZ 5 @ 10.0001 resting=a1 incoming=b1",
        "CANCELED": "> canceled a1 qty=5 reason=command",
        "REPLACED": "> replaced a1 b1 qty=5",
        "CANCEL_REJECTED": "> cancel_rejected a1 reason=command",
        "INDICATIVE": "> indicative XYZ 5 @ 10.0001 imbalance=40 side=sell",
        "PHASE": "> phase XYZ halted",
        "HALTED": "> halted XYZ reason=command",
        "TRIGGERED": "> triggered a1",
        "REPLENISHED": "> replenished a1 qty=5",
        "REPRICED": "> repriced a1 @ 10.0001",
        "KILLED": "> killed ALPHA",
        "UNKILLED": "> unkilled ALPHA",
    }
    event[["kind", "qty", "price_e4", "order_number", "side"]] = EventKind.INDICATIVE, 0, 0, 0, 0
    assert print_event(event[0], directory) == "> indicative XYZ 0 @ none imbalance=0 side=none"
    assert event_agrees("indicative XYZ 0 @ none", "indicative XYZ 0 @ none imbalance=0 side=none")
    assert not event_agrees("indicative XYZ 0 @ none", "indicative XYZ 0 @ 10.00 imbalance=0 side=none")
    assert not event_agrees("indicative XYZ 5 @ 10 side=buy", "indicative XYZ 5 @ 10.00 imbalance=0 side=none")


def test_the_table_of_commands_has_every_place_that_a_command_uses_and_a_key_in_json_for_it() -> None:
    assert {each.kind for each in COMMANDS} == set(COMMAND_FIELDS) - {CommandKind.EXTEND}
    for command in COMMANDS:
        fields = [field for field in (*command.plain, *command.options) if not field.extended]
        places = {place for field in fields for place in (field.places[:1] if field.names else field.places)}
        has_settings = command.kind in (CommandKind.INSTRUMENT, CommandKind.VENUE)
        word_of_bits = "settings" if has_settings else "instructions"
        places |= {word_of_bits} if any(field.bit for field in fields) else set()
        if command.limits:
            places |= {place for limit in command.limits if not limit.extended for place in limit.places}
            places |= set(limit_places(0, 0))
        assert places == set(COMMAND_FIELDS[command.kind]), command.word
        assert {field.json for field in fields if field.places} <= set(COMMAND_KEYS), command.word


def test_files_of_earlier_releases_may_call_the_context_memo() -> None:
    earlier, present = parse("cancel ALPHA a1 memo=0000000000000002\ncancel ALPHA a1 context=0000000000000002\n", "f")
    assert earlier.row == present.row != parse("cancel ALPHA a1\n", "f")[0].row
    with pytest.raises(ScenarioError, match="context stands twice"):
        parse("cancel ALPHA a1 memo=0000000000000002 context=0000000000000002\n", "f")


def test_files_of_earlier_releases_may_call_the_imbalance_surplus() -> None:
    (line,) = parse("phase XYZ auction\n> indicative XYZ 5 @ 10.00 surplus=3 side=buy\n", "f")
    assert line.expected == ["indicative XYZ 5 @ 10.00 imbalance=3 side=buy"]
    with pytest.raises(ScenarioError, match="imbalance= does not fit the event indicative"):
        parse("phase XYZ auction\n> indicative XYZ 5 @ 10.00 surplus=3 imbalance=3 side=buy\n", "f")
