"""Health tells the truth: durability that stands still, a journal whose file is gone, a clock that is refused."""

import asyncio
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import compile_kernels, is_compiled
from journal import Journal, JournalError, group
from node.core import health
from node.core.opening import OpenDirectory, open_directory
from node.node import Node, NodeOptions
from node.program import watchdog_is_fed
from node.programs.logs import Log
from sequencer.clock import BELIEVED_NS, MarketClock
from sequencer.room import Reading, RoomWatch
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import TINY
from tests.operated import SMALL
from tests.rows import participant

SECOND_NS = 1_000_000_000


def test_the_bounds_of_lateness_are_those_of_ready_and_of_healthy() -> None:
    assert health.late(health.DURABLE_LAG_MAX_S) == health.stopped(health.STALL_MAX_S) == []
    assert health.late(5.1) == ["commands have waited 5 s to become durable, so clients get no answers; check the disk"]
    assert health.stopped(31) == ["nothing has become durable for 31 s, so the market has stopped; check the disk"]
    assert health.clock_refused(0) == []
    assert "is 7,200 s ahead of market time" in health.clock_refused(7_200 * SECOND_NS)[0]
    assert health.clock_behind(SECOND_NS, SECOND_NS) is None
    assert "is 2 s ahead of the wall clock" in (health.clock_behind(2 * SECOND_NS, SECOND_NS) or "")


class Stalled:
    """A disk whose commits wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes = threading.Event()
        self.goes.set()
        made = group.GroupWriter.__init__

        def slow(writer: Any, commit: Callable[[Sequence[Any]], None], *arguments: Any, **named: Any) -> None:
            def late(entries: Sequence[Any]) -> None:
                assert self.goes.wait(600)
                commit(entries)

            made(writer, late, *arguments, **named)

        monkeypatch.setattr(group.GroupWriter, "__init__", slow)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], OpenDirectory]]:
    """Open a node's directory, which is closed at the end."""
    if not is_compiled():
        compile_kernels()  # here, and not in the middle of a test
    taken: list[OpenDirectory] = []

    def open_it() -> OpenDirectory:
        for each in taken:
            each.journal.close()
        taken.clear()
        taken.append(open_directory(tmp_path / "node", SMALL, "fsync"))
        return taken[-1]

    yield open_it
    for each in taken:
        each.journal.close()


def test_a_stalled_disk_makes_the_node_unready_and_then_unhealthy_and_the_watchdog_hungry(
    opened: Callable[[], OpenDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Stalled(monkeypatch)

    async def run() -> None:
        node = Node(opened(), NodeOptions(tmp_path / "node"), Log())
        assert (node.unready(), node.market.durable_lag_s, watchdog_is_fed(node)) == ([], 0.0, True)
        disk.goes.clear()
        submitted = asyncio.ensure_future(node.submit(participant("ALPHA")))
        while not node.market._timed.times:
            await asyncio.sleep(0.001)
        began_ns = node.market._timed.times[0][1]
        monkeypatch.setattr(time, "perf_counter_ns", lambda: began_ns + 6 * SECOND_NS)
        assert node.unready()[0].startswith("commands have waited 6 s to become durable")
        status = node.status()
        assert (status["state"], status["state_reason"]) == ("stalled", node.unready()[0])
        assert (node.unhealthy(), watchdog_is_fed(node)) == ([], True)
        assert node.status()["durable_lag_s"] == 6
        monkeypatch.setattr(time, "perf_counter_ns", lambda: began_ns + 32 * SECOND_NS)
        assert node.unhealthy()[0].startswith("nothing has become durable for 32 s, so the market has stopped")
        assert not watchdog_is_fed(node)
        assert (node.status()["state"], [node.status()["state_reason"]]) == ("stopped", node.unready())
        disk.goes.set()
        await submitted
        assert (node.unready(), node.unhealthy(), watchdog_is_fed(node)) == ([], [], True)
        assert (node.status()["state"], node.status()["state_reason"]) == ("open", "")

    asyncio.run(run())


def test_a_volume_that_is_too_small_and_fewer_connections_are_warnings_for_the_life_of_the_node(
    opened: Callable[[], OpenDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoomWatch, "read", lambda _: Reading(30 << 20, 50 << 20, 0, 1 << 40))

    async def run() -> None:
        found = "100 connections are taken instead of 1024"
        node = Node(opened(), NodeOptions(tmp_path / "node", warnings=(found,)), Log())
        first, second = node.warnings()
        assert (first, second.startswith("this volume is too small for a reserve of 64 MiB")) == (found, True)
        assert node.status()["warning"] == f"{first}; {second}"

    asyncio.run(run())


@pytest.mark.parametrize("as_json", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_warnings_are_told_at_the_start_of_a_node(
    as_json: bool, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.node.RoomWatch.complaint", "this volume is too small")
    monkeypatch.setattr("node.program.connections_within", lambda *_: 100)
    monkeypatch.setattr("cli.screen.notice_wait_s", None)
    ended = signal.getsignal(signal.SIGTERM)
    said: list[str] = []

    def heard(line: str) -> None:
        said.append(line)
        os.kill(os.getpid(), signal.SIGTERM)  # which ends the node in order

    monkeypatch.setattr("cli.servers.serve._print_beside", heard)
    form = ["--json"] if as_json else []
    status, _, complaint = lockstep("serve", "--data", tmp_path / "node", "--port", "0", *TINY, *form)
    signal.signal(signal.SIGTERM, ended)
    assert (status, len(said)) == (0, 1)
    assert "warning: this volume is too small\n" in complaint
    assert "warning: 100 connections are taken instead of 1024: the limit of open files" in complaint
    if as_json:
        (told,) = checked(["serve"], said[0] + "\n")
        assert told["listening"]["warnings"][1] == "this volume is too small"


def test_a_clock_that_is_refused_is_a_warning_until_it_is_accepted_and_orders_are_taken(
    opened: Callable[[], OpenDirectory], tmp_path: Path
) -> None:
    async def run() -> None:
        node = Node(opened(), NodeOptions(tmp_path / "node", clock_ahead_max_ns=60 * SECOND_NS), Log())
        node.clock._wall = lambda: time.time_ns() + 3_600 * SECOND_NS
        node.clock()
        assert (node.intake.has_room(), node.unready(), node.status()["state"]) == (True, [], "open")
        (warning,) = node.warnings()
        assert "orders are taken" in warning
        assert "accept its time with `lockstep admin accept-clock`" in warning
        assert node.status()["warning"] == warning
        assert node.status()["clock_refused_ns"] > 3_000 * SECOND_NS
        before_ns = node.clock()
        node.accept_clock()
        assert node.clock() > before_ns + 3_000 * SECOND_NS
        assert (node.unready(), node.warnings(), node.status()["warning"]) == ([], [], "")
        with pytest.raises(ValueError, match="the clock is not refused, so there is nothing to accept"):
            node.accept_clock()

    asyncio.run(run())


def test_a_refused_clock_is_refused_by_the_next_start_too_until_it_is_accepted(
    opened: Callable[[], OpenDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, right = tmp_path / "node", time.time_ns
    options = NodeOptions(directory, clock_ahead_max_ns=60 * SECOND_NS)
    note = directory / "clock_refused.json"

    def ahead() -> int:
        return right() + 7_200 * SECOND_NS

    async def refuses(taken: OpenDirectory) -> None:
        node = Node(taken, options, Log())
        node.clock._wall = ahead
        node.clock()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert note.exists(), "at once, since the node may end in the next moment"

    async def starts(taken: OpenDirectory, accept: bool) -> int:
        node = Node(taken, replace(options, accept_clock=accept), Log())
        return node.clock() - right()

    asyncio.run(refuses(opened()))
    monkeypatch.setattr(time, "time_ns", ahead)
    monkeypatch.setattr(MarketClock.__init__, "__kwdefaults__", MarketClock.__init__.__kwdefaults__ | {"wall": ahead})
    taken = opened()
    for _ in range(2):
        assert abs(asyncio.run(starts(taken, False))) < 600 * SECOND_NS
    assert asyncio.run(starts(taken, True)) > 7_000 * SECOND_NS
    assert not note.exists()

    async def accepts() -> None:
        node = Node(taken, options, Log())
        node.clock.words[BELIEVED_NS] -= 7_200 * SECOND_NS
        node.clock_watch.look()
        assert note.exists()
        node.accept_clock()
        assert not note.exists()

    asyncio.run(accepts())


# The journal's file.


def written(directory: Path) -> Journal:
    """A journal with a block."""
    journal = Journal.create(directory, {"rules_version": 1})
    journal.wait_durable(journal.append(1, bytes(64), 1))
    journal.check_place()
    return journal


@pytest.mark.parametrize("how", ["removed", "replaced", "moved"])
def test_a_journal_whose_file_was_removed_or_replaced_is_noticed(how: str, tmp_path: Path) -> None:
    journal = written(tmp_path / "node")
    data = tmp_path / "node" / "journal" / "data.mdb"
    if how == "removed":
        data.unlink()
    elif how == "moved":
        (tmp_path / "node").rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "copy").write_bytes(data.read_bytes())
        (tmp_path / "copy").rename(data)
    why = "was replaced by another file" if how == "replaced" else "is gone"
    with pytest.raises(JournalError, match=rf"data\.mdb {why} while process {os.getpid()} writes it, so that nothing"):
        journal.check_place()
    assert journal.close_and_save(tmp_path / "saved") == (how != "moved")
    if how != "moved":
        assert stat.S_IMODE((tmp_path / "saved").stat().st_mode) == 0o600
        (tmp_path / "saved").rename(data)
        with Journal.open(tmp_path / "node") as again:
            assert again.last_seq == 1, "the content of the removed file is a whole journal"


def test_a_node_whose_journal_was_replaced_stops(opened: Callable[[], OpenDirectory], tmp_path: Path) -> None:
    async def run() -> None:
        node = Node(opened(), NodeOptions(tmp_path / "node"), Log())
        node._second()
        assert not node.ended.is_set()
        data = tmp_path / "node" / "journal" / "data.mdb"
        (tmp_path / "copy").write_bytes(data.read_bytes())
        (tmp_path / "copy").rename(data)
        node._second()
        assert node.ended.is_set()
        with pytest.raises(JournalError, match="was replaced by another file"):
            await node.run()

    asyncio.run(run())
