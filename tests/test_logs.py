"""The log: one object a line, no secret, nothing that a terminal obeys, and never an error of its own."""

import io
import json
from typing import Any

import numpy as np
import pytest

from node.logs import HIDDEN, VALUE_CHARACTERS_MAX, Log

NOON_NS = 1_772_452_800_123_456_789  # 2026-03-02T12:00:00.123456789 UTC


def written(pretty: bool = False, **fields: Any) -> str:
    """What one line of the log is."""
    stream = io.StringIO()
    log = Log(stream, pretty=pretty, clock=lambda: NOON_NS)
    log.info("a thing happened", **fields)
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
        {"salt": "hunter2", "hash": "hunter2"},
    ],
    ids=str,
)
def test_a_field_that_may_be_a_secret_is_hidden_however_deep_it_stands(fields: dict[str, Any], pretty: bool) -> None:
    line = written(pretty, **fields)
    assert "hunter2" not in line
    assert b"hunter2".hex() not in line
    assert HIDDEN in line
    assert "hunter2" in written(pretty, word="hunter2")  # the control


@pytest.mark.parametrize("pretty", [False, True])
def test_control_characters_and_line_ends_of_others_are_escaped(pretty: bool) -> None:
    hostile = "a\nb\r\x1b[31m\x00\x9b\u202e\ud800 c"
    stream = io.StringIO()
    log = Log(stream, pretty=pretty, clock=lambda: NOON_NS)
    log.warning(hostile, **{"name": hostile, hostile: 1, "list": [hostile], "map": {hostile: hostile}})
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
    assert log.lost == 2
    closed = io.StringIO()
    log = Log(closed)
    closed.close()
    log.info("three")
    assert log.lost == 1
    log = Log(io.StringIO())
    log.info("four", value=Hostile())
    log.info("five", big=10**5_000)  # more digits than Python writes
    assert log.lost == 2


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    log = Log(stream, level="warning")
    log.info("no")
    log.warning("yes")
    log.error("yes too")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes", "yes too"]


def test_on_a_terminal_a_line_is_for_people() -> None:
    assert written(True, seq=7, why="it was, so") == (
        "12:00:00.123 \x1b[36minfo   \x1b[0m a thing happened  seq=7  why='it was, so'"
    )
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    Log(terminal).info("seen")
    assert "\x1b[36minfo" in terminal.getvalue()
