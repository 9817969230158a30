"""The log: one object a line, no secret, nothing that a terminal obeys, and never an error of its own."""

import contextlib
import io
import json
import logging
import os
import threading
import warnings
from typing import Any

import numpy as np
import pytest

from node.programs import logs
from node.programs.log_format import HIDDEN, VALUE_CHARACTERS_MAX
from node.programs.log_repeats import (
    BURST,
    KINDS_MAX,
    LASTING_AFTER,
    LASTING_S,
    SUBJECTS_MAX,
    WINDOW_S,
    Kind,
    RepeatCount,
    RepeatFilter,
    kind_of,
)
from node.programs.logs import Log

NOON_NS = 1_772_452_800_123_456_789  # 2026-03-02T12:00:00.123456789 UTC


def written(pretty: bool = False, **fields: Any) -> str:
    """One line of the log."""
    stream = io.StringIO()
    log = Log(stream, pretty=pretty, clock=lambda: NOON_NS)
    log.info("a thing happened", **fields)
    assert log.flush(10)
    assert log.lost == 0
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    return line.rstrip("\n")


def test_a_line_is_a_json_object_with_time_level_event_and_fields() -> None:
    assert json.loads(written(seq=7, user="TRADER", ratio=0.5, none=None, yes=True)) == {
        "time": "2026-03-02T12:00:00.123456Z",
        "level": "info",
        "event": "a thing happened",
        "seq": 7,
        "user": "TRADER",
        "ratio": 0.5,
        "none": None,
        "yes": True,
    }


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"new_password_given": "hunter2"},
        {"TOKEN": "hunter2"},
        {"request": {"user": "A", "Password": "hunter2"}},
        {"requests": [{"user": "A", "password": ["hunter2"]}]},
        {"secret": b"hunter2"},
        {"salt": "hunter2", "password_hash": "hunter2"},
        {"adminToken": "hunter2"},
    ],
    ids=str,
)
def test_a_field_that_may_be_a_secret_is_hidden_however_deep_it_stands(fields: dict[str, Any], pretty: bool) -> None:
    line = written(pretty, **fields)
    assert "hunter2" not in line
    assert b"hunter2".hex() not in line
    assert HIDDEN in line
    assert "hunter2" in written(pretty, word="hunter2")  # the control


@pytest.mark.parametrize("name", ["hash", "block_hash", "event_digest", "tokenized", "salted", "user", "why"])
def test_a_field_that_only_sounds_like_a_secret_is_shown(name: str) -> None:
    assert json.loads(written(**{name: "0f3a"}))[name] == "0f3a"


@pytest.mark.parametrize("pretty", [False, True])
def test_control_characters_and_line_ends_of_others_are_escaped(pretty: bool) -> None:
    hostile = "a\nb\r\x1b[31m\x00\x9b\u202e\ud800 c"
    stream = io.StringIO()
    log = Log(stream, pretty=pretty, clock=lambda: NOON_NS)
    log.warning(hostile, **{"name": hostile, hostile: 1, "list": [hostile], "map": {hostile: hostile}})
    assert log.flush(10)
    line = stream.getvalue()
    assert line.count("\n") == 1
    for colour in ("\x1b[33m", "\x1b[0m"):
        line = line.replace(colour, "", 1)
    assert line.rstrip("\n").isprintable()


def test_fields_do_not_take_the_place_of_the_log_s_own() -> None:
    told = json.loads(written(level="x", time="y", event="z"))
    assert (told["level"], told["event"], told["time"][:4]) == ("info", "a thing happened", "2026")
    assert (told["level_"], told["event_"], told["time_"]) == ("x", "z", "y")


def test_values_of_any_kind_and_size_make_a_line_of_json() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    told = json.loads(
        written(
            number=np.int64(5),
            real=np.float32(0.5),
            nan=float("nan"),
            infinite=float("-inf"),
            raw=b"\xff\x00",
            long="x" * 10_000_000,
            deep=deep,
            many=list(range(100_000)),
            set={1},
            error=ValueError("why"),
            big=10**3_000,
        ),
        parse_constant=lambda word: pytest.fail(f"{word} is not JSON"),
    )
    assert (told["number"], told["real"], told["nan"], told["infinite"]) == (5, 0.5, "nan", "-inf")
    assert (told["raw"], told["set"], told["error"]) == ("ff00", [1], "why")
    assert (len(told["long"]), len(told["many"])) == (VALUE_CHARACTERS_MAX + 1, 100)


class Spoilt(io.StringIO):
    """A stream that fails."""

    def write(self, _text: str) -> int:
        raise OSError(28, "no space left on device")


class Hostile:
    """A value that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_log_that_cannot_be_written_raises_nothing_and_counts_what_was_lost() -> None:
    log = Log(Spoilt())
    log.info("one")
    log.error("two", password="x")
    assert log.flush(10)
    assert log.lost == 2
    closed = io.StringIO()
    log = Log(closed)
    closed.close()
    log.info("three")
    assert log.flush(10)
    assert log.lost == 1
    log = Log(io.StringIO())
    log.info("four", value=Hostile())
    log.info("five", big=10**5_000)  # more digits than Python writes
    assert log.flush(10)
    assert log.lost == 2


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    log = Log(stream, level="warning")
    log.info("no")
    log.warning("yes")
    log.error("yes too")
    assert log.flush(10)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes", "yes too"]


def test_on_a_terminal_a_line_is_for_people() -> None:
    assert written(True, seq=7, why="it was, so") == (
        "12:00:00.123 \x1b[36minfo   \x1b[0m a thing happened  seq=7  why='it was, so'"
    )
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    log = Log(terminal)
    log.info("seen")
    assert log.flush(10)
    assert "\x1b[36minfo" in terminal.getvalue()


# A reader that takes nothing, and lines that repeat.


class Stuck(io.StringIO):
    """A stream that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.let_go.wait(120)
        return super().write(text)


def test_a_stream_that_takes_nothing_holds_nobody_up_and_what_was_dropped_is_told_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "QUEUE_LINES_MAX", 5)
    stream = Stuck()
    log = Log(stream)
    log.info("first")
    assert stream.entered.wait(120)
    for number in range(100):
        log.info(f"line {number}")  # would wait here for ever
    assert log.lost == 95
    assert not log.flush(0.01)
    log.close(0.01)  # and here
    log = Log(stream)
    stream.let_go.set()


def test_lines_that_were_dropped_are_counted_in_a_line_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_LINES_MAX", 5)
    stream = Stuck()
    log = Log(stream)
    log.info("first")
    assert stream.entered.wait(120)
    for number in range(100):
        log.info(f"line {number}")
    stream.let_go.set()
    while "log lines lost" not in stream.getvalue():
        assert log.flush(10)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in told] == ["first", *(f"line {number}" for number in range(5)), "log lines lost"]
    assert (told[-1]["lines"], told[-1]["since_start"], told[-1]["level"]) == (95, 95, "warning")


def test_a_pipe_that_nobody_reads_does_not_hold_the_end() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4_096)
    os.set_blocking(write, True)
    with os.fdopen(write, "w") as full, os.fdopen(read) as unread:
        log = Log(full)
        log.info("one")
        log.close(0.05)
        unread.close()  # the thread gets an error, and ends
        assert log.flush(10)
        assert log.lost == 1


@pytest.mark.parametrize("pretty", [False, True])
def test_lines_that_repeat_are_folded_into_a_count(pretty: bool) -> None:
    stream = io.StringIO()
    log = Log(stream, pretty=pretty)
    for number in range(1_309):
        log.info("connection ended", address=f"10.0.0.{number}")
    log.info("another thing")
    log.info("connection ended", why="another reason")
    log.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST + 3
    if pretty:
        assert "… 1,299 more like this in 10 s: connection ended" in lines[-1]
    else:
        told = json.loads(lines[-1])
        assert (told["event"], told["more"], told["within_s"]) == ("connection ended", 1_299, WINDOW_S)
    assert log.lost == 0


@pytest.mark.parametrize(
    ("event", "count"), [("login refused", 100), ("orders canceled on disconnect", 100), ("session ended", 1_500)]
)
def test_no_user_s_line_hides_behind_those_of_other_users(event: str, count: int) -> None:
    stream = io.StringIO()
    log = Log(stream)
    for number in range(count):
        log.info(event, user=f"U{number}", address=f"10.0.0.{number}", why="a reason")
    log.close(10)
    assert {json.loads(line)["user"] for line in stream.getvalue().splitlines()} == {f"U{n}" for n in range(count)}


def test_what_the_operator_did_is_never_folded() -> None:
    stream = io.StringIO()
    log = Log(stream)
    for number in range(50):
        log.warning("the operator disconnects a user", user="U1", connected=True)
        log.info("the operator sent commands", words={"halt": 1}, seq=number)
    log.close(10)
    assert len(stream.getvalue().splitlines()) == 100


def test_lines_under_made_up_names_are_bounded_and_what_is_folded_of_a_user_names_it() -> None:
    stream = io.StringIO()
    log = Log(stream)
    for number in range(SUBJECTS_MAX + 500):
        log.info("login refused", user=f"X{number}")
    for _ in range(BURST + 7):
        log.info("login", user="UA")
    log.close(10)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len([line for line in told if line["event"] == "login refused"]) == SUBJECTS_MAX + BURST + 1
    assert [(line["event"], line["more"], line.get("about")) for line in told if "more" in line] == [
        ("login refused", 500 - BURST, None),
        ("login", 7, "UA"),
    ]
    folding = RepeatFilter()
    for at_s in (0.0, 100.0, 200.0):  # windows that end make room for other names
        folding.ended(at_s)
        kinds = [kind_of("", 20, "login refused", {"user": f"{at_s}{n}"}) for n in range(SUBJECTS_MAX)]
        assert all(folding.writes(kind, at_s) for kind in kinds if kind)
    assert len(folding._windows) == SUBJECTS_MAX


def test_a_window_ends_by_time_and_begins_anew_with_the_next_line() -> None:
    folding, kind, other = RepeatFilter(), Kind("", 20, "a"), Kind("", 20, "a", "another reason")
    assert [folding.writes(kind, 100.0) for _ in range(BURST + 3)] == [True] * BURST + [False] * 3
    assert folding.writes(other, 105.0)
    assert folding.next_end_s() == 100.0 + WINDOW_S
    assert folding.ended(109.9) == []
    assert folding.ended(110.0) == [(kind, 3, WINDOW_S)]
    assert folding.writes(kind, 111.0)
    assert folding.next_end_s() is None
    assert folding.ended(500.0, every=True) == []


def asked(folding: RepeatFilter, kind: Kind, from_s: int, to_s: int) -> tuple[list[int], list[RepeatCount]]:
    """The seconds whose line is written, of one each second, and the counts."""
    written, counts = list[int](), list[RepeatCount]()
    for at_s in range(from_s, to_s):
        counts += folding.ended(float(at_s))
        written += [at_s] if folding.writes(kind, float(at_s)) else []
    return written, counts


def test_what_a_peer_does_each_second_for_more_than_a_minute_has_a_line_in_ten_minutes() -> None:
    refused = Kind("", 20, "login refused", "this node is a copy of A", "desk WEB")
    folding = RepeatFilter()
    written, counts = asked(folding, refused, 0, 1_300)
    begin_s = int(LASTING_AFTER * WINDOW_S)
    assert written == [*range(begin_s), begin_s, begin_s + int(LASTING_S), begin_s + 2 * int(LASTING_S)]
    assert counts == [(refused, 599, LASTING_S)] * 2
    # After a pause each is written again.
    counts = folding.ended(2_000.0)
    assert [count.lines for count in counts] == [39]
    assert asked(folding, refused, 2_100, 2_130)[0] == list(range(2_100, 2_130))
    # Of a user who is logged in, or what comes more seldom, nothing is left out.
    folding, seldom = RepeatFilter(), 0
    for at_s in range(0, 3_000, 5):
        folding.ended(float(at_s))
        seldom += folding.writes(refused, float(at_s))
    login = Kind("", 20, "session ended", "the client logged out", "UA")
    assert asked(RepeatFilter(), login, 0, 1_300) == (list(range(1_300)), [])
    assert seldom == 600
    folding = RepeatFilter()
    for number in range(3 * KINDS_MAX):
        folding.ended(11.0 * number, every=True)
        for _ in range(5):
            folding.writes(refused._replace(subject=str(number)), 11.0 * number)
    assert len(folding._rows) <= KINDS_MAX


def test_kinds_of_line_without_end_take_no_memory_without_end() -> None:
    folding = RepeatFilter()
    for number in range(KINDS_MAX + 100):
        assert folding.writes(Kind("", 20, str(number)), 0.0)
    assert all(folding.writes(Kind("", 20, "new"), 0.0) for _ in range(2 * BURST))
    assert len(folding._windows) == KINDS_MAX


def test_what_libraries_and_python_itself_say_becomes_lines_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    log = Log(stream)
    with log.adopted():
        logging.getLogger("asyncio").error("Task exception was never retrieved")
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("asyncio").exception("a callback failed")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        thread = threading.Thread(target=int, args=("x",))
        thread.start()
        thread.join()
    logging.getLogger("asyncio").disabled = False
    assert log.flush(10)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["level"], line["event"]) for line in told][:2] == [
        ("error", "Task exception was never retrieved"),
        ("error", "a callback failed"),
    ]
    assert told[0]["logger"] == "asyncio"
    assert told[1]["traceback"].endswith("ValueError: why")
    assert (told[-1]["event"], told[-1]["error"]) == (
        "uncaught error",
        "ValueError: invalid literal for int() with base 10: 'x'",
    )
    assert capfd.readouterr().err == ""
