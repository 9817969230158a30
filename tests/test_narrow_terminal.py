"""A narrow terminal cuts nothing: values are folded, or stand one a line."""

import ast
import os
import re
import subprocess
import sys
import termios

import pytest
from rich.console import Console

from cli import screen
from cli.demo.market import SameDigest
from cli.demo.view import LiveView, Look
from cli.operating.top import drawn
from notation.moments import plain_time
from tests.operated import paired
from tests.running import ROOT
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


@pytest.mark.parametrize("columns", [20, 120])
def test_columns_are_printed_as_their_rows_are(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = ["part", "digest", "orders"]
    whole = dict(zip(heads, map(list, zip(*ROWS, strict=True)), strict=True))
    screen.table(heads, ROWS, right=["orders"])
    by_rows = capsys.readouterr().out
    screen.table_of_columns(whole, right=["orders"])
    assert capsys.readouterr().out == by_rows
    expected = printed(columns, monkeypatch)
    with terminal() as (stream, shown):
        monkeypatch.setattr(sys, "stdout", stream)
        screen.table_of_columns(whole, right=["orders"])
        stream.flush()
        assert shown() == expected


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


LEVEL = {"price_e4": 100_000, "qty": 10, "orders": 1}
BOOK = {"symbol": "XYZ", "phase": "halted", "last_price_e4": 100_000, "bids": [LEVEL], "offers": [LEVEL]}
STATUS = {"pid": 1, "seq": 9, "durable_seq": 9, "logged_in": 1, "journal_bytes": 9, "event_digest": DIGEST}
CLIENTS = {
    "answers": 9_999_999,
    "unanswered": 0,
    "p50_us": 1.0,
    "p99_us": 2.0,
    "trades": 1,
    "connected": 5,
    "outage_s": 0.4,
}
NODE = {"role": "standby", "state": "diverged", "epoch": 2, "seq": 9_999_999, "lag_commands": 9_999_999}
LOOK = Look(
    (NODE, NODE | {"role": "primary", "state": "reigning"}),
    SameDigest(9_999_999, bytes(16), bytes.fromhex(DIGEST)),
    CLIENTS,
    BOOK,
    600.0,
    "",
)
#: Live views: each draws one picture.
VIEWS = {
    "top": lambda: drawn(
        {
            "at_s": 0,
            "status": STATUS | {"warning": "a refused clock", "latency_cut_p50_ns": 5},
            "sessions": [],
            "sessions_total": 0,
            "books": [BOOK],
        }
    ),
    "demo": lambda: LiveView().picture(LOOK),
}


@pytest.mark.parametrize("view", list(VIEWS))
def test_a_live_view_has_bold_and_colors_unless_no_color_is_set(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        with terminal() as (stream, shown):
            monkeypatch.setattr(sys, "stdout", stream)
            with screen.live_view() as live:
                live.update(VIEWS[view](), refresh=True)
            stream.flush()
            text = shown()
        assert "XYZ" in text
        assert bool(re.search(r"\x1b\[[0-9;]*m", text)) == (not no_color), "SGR: colors, bold, dim"


FIGURES = {
    "state": "open",
    "durability": "both",
    "clock": "2026-11-27T06:12:58.842103128Z",
    "event_digest": DIGEST,
    "memory_rss_bytes": 300_000_000,
    "disk_free_bytes": 99_000_000_000,
    "orders_per_s": 12_345,
    "seq": 123_456_789,
    "latency_order_to_answer_p50_ns": 188_000,
    "latency_order_to_answer_p99_ns": 29_000_000,
}


@pytest.mark.parametrize(("columns", "lines"), [(79, 20), (60, 20), (40, 24), (20, 60)])
def test_top_cuts_no_value_and_no_unit_on_a_narrow_terminal(columns: int, lines: int) -> None:
    sample = {"at_s": 0, "status": FIGURES, "pair": paired(), "sessions": [], "sessions_total": 7, "books": [BOOK]}
    console = Console(width=columns, height=lines)
    with console.capture() as shown:
        console.print(drawn(sample, columns))
    text = shown.get()
    assert "…" not in text
    assert len(text.splitlines()) <= lines
    joined = "".join(text.split())
    for value in (
        DIGEST,
        plain_time(str(FIGURES["clock"])),
        "123,456,789",
        "12,345",
        "188.0µs",
        "29.0ms",
        "300.0MB",
        "99.0GB",
        "7",
    ):
        assert str(value) in joined
    for word in ("primaryAreigning", "standbyBinsync,0behind", "XYZhaltedbid10.00offer10.00"):
        assert word in joined


FOUND = LOOK._replace(found="A differs: part events, block 1,054,773 to 1,054,893")


@pytest.mark.parametrize("look", [LOOK, FOUND, LOOK._replace(nodes=(None, LOOK.nodes[1])), LOOK._replace(digests=None)])
def test_the_demo_fits_into_a_terminal_of_60_columns_and_20_lines(look: Look) -> None:
    console = Console(width=60, height=20)
    with console.capture() as shown:
        console.print(LiveView().picture(look))
    lines = shown.get().rstrip("\n").split("\n")
    assert len(lines) <= 15, "the story needs lines above"
    assert "…" not in shown.get()
    assert (FOUND.found in shown.get()) == (look is FOUND)
    if look is LOOK:
        values = ("diverged", "reigning", DIGEST[:16].lower(), "0" * 16, "DIFFER from the block at 9,999,999", "400 ms")
        assert [value for value in values if value not in shown.get()] == []


@pytest.mark.slow
def test_help_pages_have_no_bold_with_no_color() -> None:
    forced = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "_TYPER_FORCE_DISABLE_TERMINAL")
    environment = {name: value for name, value in os.environ.items() if name not in forced}
    for no_color in ("", "1"):
        with terminal() as (stream, shown):
            subprocess.run(
                [sys.executable, "-m", "cli.main", "serve", "--help"],
                stdout=stream,
                check=True,
                timeout=600,
                env=environment | {"NO_COLOR": no_color, "TERM": "xterm"},
            )
            text = shown()
        assert "--host" in re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert bool(re.search(r"\x1b\[[0-9;]*m", text)) == (not no_color)


def test_a_dumb_terminal_gets_the_columns_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    with terminal() as (stream, shown):
        monkeypatch.setattr(sys, "stdout", stream)
        screen.table(["part", "what"], [["books", "word " * 30]])
        stream.flush()
        assert max(map(len, shown().splitlines())) <= 40


def test_no_line_of_a_help_text_begins_with_an_option_unless_its_paragraph_does() -> None:
    """The line would be broken before it, in the middle of the sentence."""
    found = []
    for path in sorted((ROOT / "cli" / "commands").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    found += [f"{path.name}: {line}" for line in paragraph.split("\n")[1:] if line.startswith("-")]
    assert not found


LONG = (
    "lockstep: there is no /a/path/that/is/longer/than/a/line/of/this/terminal; see `lockstep doctor --json` for more"
)


@pytest.mark.parametrize("columns", [20, 40, 80])
@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_a_note_and_a_verdict_break_between_words(columns: int, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as (written, shown):
        termios.tcsetwinsize(written.fileno(), (24, columns))
        monkeypatch.setattr(sys, stream, written)
        if stream == "stderr":
            screen.notice(LONG)
        else:
            screen.verdict(good=True, text=LONG)
        written.flush()
        lines = shown().splitlines()
    assert len(lines) > 1
    assert " ".join(lines) == LONG, "no word is cut, and none is lost"
    assert all(len(line) <= columns or " " not in line for line in lines)


def test_a_note_in_a_file_or_pipe_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen.notice(LONG)
    screen.verdict(good=True, text=LONG)
    assert capsys.readouterr() == (f"{LONG}\n", f"{LONG}\n")
