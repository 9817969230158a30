"""A narrow terminal cuts nothing: values are folded, or stand one a line."""

import sys

import pytest

from cli import screen
from tests.test_redirected import terminal

DIGEST = "0123456789abcdef0123456789ABCDEF"
ROWS = [["books", DIGEST, "12,345"], ["orders", DIGEST[::-1], "1"]]


def printed(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The table as a terminal of so many columns gets it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as (stream, shown):
        monkeypatch.setattr(sys, "stdout", stream)
        screen.table(["part", "digest", "orders"], ROWS, right=["orders"])
        stream.flush()
        return shown()


@pytest.mark.parametrize("columns", [20, 40, 50, 120])
def test_a_digest_is_whole_whatever_the_width_of_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(columns, monkeypatch)
    assert "…" not in text
    for row in ROWS:
        for value in row:
            assert all(piece in text for piece in (value[:8], value[-4:])), text
    assert sum(character in DIGEST for character in text) >= 2 * len(DIGEST)


def test_a_table_that_fits_has_its_rows_on_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(DIGEST in line and "12,345" in line for line in printed(120, monkeypatch).splitlines())


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_nothing_is_colored_where_the_user_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, "dumb" if name == "TERM" else "1")
    with terminal() as (stream, shown):
        monkeypatch.setattr(sys, "stdout", stream)
        screen.table(["part", "digest"], [["books", DIGEST]])
        screen.facts([("part", "books")])
        screen.verdict(good=False, text="DIFFERENT")
        stream.flush()
        text = shown()
    assert DIGEST in text
    assert "\x1b" not in text, "no color and no bold"


def test_a_dumb_terminal_gets_the_columns_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    with terminal() as (stream, shown):
        monkeypatch.setattr(sys, "stdout", stream)
        screen.table(["part", "what"], [["books", "word " * 30]])
        stream.flush()
        assert max(map(len, shown().splitlines())) <= 40
