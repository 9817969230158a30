"""`lockstep top`: a node watched on a pipe, by a program and on a terminal."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cli.operating.top import drawn, line
from node.core import stages
from tests import nursery
from tests.conftest import Lockstep
from tests.operated import MARKET, Operated, on_terminal


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """A node that is watched, with a market in it."""
    with Operated(tmp_path) as running:
        with running.peer() as peer:
            assert peer.ask({"do": "commands", "text": MARKET})["ok"] is True
        running.node.stages.add(stages.ORDER_TO_ANSWER, 25_000, 99)
        running.node.stages.add(stages.ORDER_TO_ANSWER, 3_000_000)
        yield running


@pytest.mark.slow
def test_on_a_pipe_it_says_a_line_a_second(operated: Operated, lockstep: Lockstep) -> None:
    status, out, complaint = lockstep("top", operated.directory, "--seconds", "1")
    assert (status, complaint) == (0, "")
    lines = out.splitlines()
    assert [each[:7] for each in lines] == ["  0.0 s", "  1.0 s"]
    assert "12 orders/s, 0 events/s, 2 trades/s, answered in p50 25.1 µs p99 25.1 µs p999 3.0 ms" in lines[0]
    assert f"seq {operated.node.engine.seq}, " in lines[0]
    assert f"digest {operated.node.engine.event_digest.hex()[:12]}, clock 20" in lines[1]


def test_with_json_each_line_is_an_object_with_status_sessions_and_books(
    operated: Operated, lockstep: Lockstep
) -> None:
    status, out, _ = lockstep("top", operated.directory, "--seconds", "0", "--symbol", "XYZ", "--json")
    told = json.loads(out)
    assert status == 0
    assert told["status"]["event_digest"] == operated.node.engine.event_digest.hex()
    assert [each["user"] for each in told["sessions"]] == ["TRADER", "OTHER"]
    assert told["books"][0]["bids"] == [{"price_e4": 99_000, "qty": 70, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}]


def test_the_screen_has_rates_stages_books_and_sessions_and_takes_any_names(
    operated: Operated, lockstep: Lockstep
) -> None:
    told = json.loads(lockstep("top", operated.directory, "--seconds", "0", "--json")[1])
    told["sessions"][0]["user"] = "[red]x"
    told["sessions_total"] = 48
    shown = Console(file=io.StringIO(), width=80)
    shown.print(drawn(told))
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    for word in (
        "order to answer",
        "durable wait",
        "3.0 ms",
        "and 46 more",
        "XYZ",
        "9.90",
        "10.00",
        "ALPHA",
        "[red]x",
        "123.0 MB",
    ):
        assert word in text
    empty = Console(file=io.StringIO(), width=80)
    empty.print(drawn({"at_s": 0, "status": {}, "sessions": [], "sessions_total": 0, "books": []}))
    assert line({"at_s": 0, "status": {}, "sessions": [], "sessions_total": 0, "books": []}).startswith("  0.0 s")


@pytest.mark.slow
def test_on_a_terminal_the_screen_is_drawn_and_its_last_state_stays(operated: Operated) -> None:
    status, seen = on_terminal(["top", str(operated.directory), "--seconds", "0.6"], [])
    text = seen.decode()
    assert (status, text.count("order to answer") >= 2) == (0, True)
    assert "…" not in text  # it fits a small terminal


@pytest.mark.slow
def test_once_all_of_it_is_printed_through_a_pipe_and_on_a_terminal(operated: Operated, lockstep: Lockstep) -> None:
    status, out, complaint = lockstep("top", operated.directory, "--once")
    assert (status, complaint) == (0, "")
    lines = [" ".join(each.split()) for each in out.splitlines()]
    assert lines[0].endswith(", 2 processes, 2 restarts")
    assert lines[1].startswith("tape 4.1 kB, written 4.1 kB: applied 4,096, journaled 4,096")
    for wanted in (
        "second 1235 9101 running 2 2.5 s 123.0 MB",
        "beat core 40 40 250.0 ms 2.5 %",
        "tail 77 640 B",
        "second 3 of 64 900 2 1",
        "0 UL 7 B of 65.5 kB 0 B",
    ):
        assert wanted in lines
    status, seen = on_terminal(["top", str(operated.directory), "--once"], [])
    text = " ".join(seen.decode().split())
    assert (status, "tail 77 640 B" in text) == (0, True)
    sample = json.loads(lockstep("top", operated.directory, "--once", "--json")[1])
    assert sample["workings"]["agents"] == operated.node.workings()["agents"]


def test_a_tall_screen_has_as_many_tables_of_the_workings_as_fit(operated: Operated, lockstep: Lockstep) -> None:
    sample = json.loads(lockstep("top", operated.directory, "--once", "--json")[1])
    later = json.loads(json.dumps(sample))
    later["elapsed_s"] = later["at_s"] = 2.0
    later["workings"]["agents"][0]["busy_s"] += 1.0
    sample["at_s"] = 0.0
    for lines, words, others in (
        (24, (), ("tape 4.1 kB", "second")),
        (32, ("tape 4.1 kB", "9101", "no room for: ", "local line; make the terminal taller"), ()),
        (60, ("9101", "50.0 %", "reader of the tape", "local line"), ("no room for",)),
    ):
        shown = Console(file=io.StringIO(), width=100, height=lines)
        shown.print(drawn(later, 100, lines, sample))
        text = shown.file.getvalue()  # type: ignore[attr-defined]
        assert [word for word in words if word not in text] == []
        assert [word for word in others if word in text] == []
        assert len(text.splitlines()) <= lines


@pytest.mark.slow
def test_the_workings_alone_fit_a_small_terminal(operated: Operated) -> None:
    status, seen = on_terminal(["top", str(operated.directory), "--workings", "--seconds", "0.6"], [])
    text = " ".join(seen.decode().split())
    assert status == 0
    for words in ("second", "9101", "beat", "tape 4.1 kB", "reader of the tape"):
        assert words in text
    assert "order to answer" not in text


def test_a_node_that_has_stopped_is_said_to_have(tmp_path: Path, lockstep: Lockstep) -> None:
    with Operated(tmp_path) as running:
        assert lockstep("top", running.directory, "--once")[0] == 0
    status, out, complaint = lockstep("top", tmp_path, "--once")
    assert (status, out) == (2, "")
    assert complaint.startswith("lockstep: no node ")


def test_a_node_without_instruments_is_watched_too(tmp_path: Path, lockstep: Lockstep) -> None:
    with Operated(tmp_path) as running:
        assert lockstep("top", running.directory, "--seconds", "0")[0] == 0
        status, _, complaint = lockstep("top", running.directory, "--symbol", "GHOST")
        assert (status, complaint) == (2, "lockstep: there is no instrument GHOST; none is defined.\n")


@pytest.mark.parametrize("seconds", ["-1", "nan", "x"])
def test_a_time_that_is_none_is_refused(seconds: str, operated: Operated, lockstep: Lockstep) -> None:
    status, _, complaint = lockstep("top", operated.directory, "--seconds", seconds)
    assert (status, complaint.startswith(f"lockstep: --seconds is '{seconds}'; ")) == (2, True)


@pytest.mark.slow
def test_a_node_that_ends_while_it_is_watched_ends_the_watch_with_1(operated: Operated) -> None:
    with nursery.spawn(["top", operated.directory]) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith("  0.0 s")
        operated.run(operated.admin.close())
        _, complaint = watch.communicate(timeout=600)
    assert (watch.returncode, "closed the connection; see its log" in complaint) == (1, True)


@pytest.mark.slow
def test_an_interrupt_is_an_ordinary_end_and_a_reader_that_goes_away_is_told_by_the_status(operated: Operated) -> None:
    with nursery.spawn(["top", operated.directory]) as watch:
        assert watch.stdout is not None
        watch.stdout.readline()
        os.kill(watch.pid, signal.SIGINT)
        assert watch.communicate(timeout=600)[1] == ""
    assert watch.returncode == 0
    script = f'"$0" -m cli.main top {operated.directory} | head -1 > /dev/null; exit "${{PIPESTATUS[0]}}"'
    gone = subprocess.run(["bash", "-c", script, sys.executable], capture_output=True, timeout=600, check=False)
    assert (gone.returncode, gone.stderr) == (141, b"")
