"""Waits that a fault beside the market must not make endless: a late witness, a bundle, a full queue of the journal."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from directory import bundle_fork
from journal import log
from node.pair import state_comparison
from replication.arbiter import Acquire, Answer, Candidate, Read, Renew, Request, Standing, Won
from replication.backlog import Backlog
from replication.comparison import Divergence
from replication.register import Register
from replication.register_file import RegisterFiles
from replication.witness import Asked
from replication.witness_server import WitnessServer
from tests.pairs import MS
from tests.rows import participant
from tests.test_hung_disks import Hung
from tests.test_node_pair import Member, start_rows, until, with_pair
from tests.test_witness import SECRET, Silent

MARKET = "00" * 16


@pytest.mark.parametrize("late_ms", [80, 500, 5_000])
def test_a_lease_ends_at_a_witness_that_is_late_all_the_time(tmp_path: Path, late_ms: int) -> None:
    files = RegisterFiles(tmp_path)
    now_ns = 0
    server = WitnessServer(files, SECRET, Silent(), clock_ns=lambda: now_ns)

    def ask(request: Request) -> Answer | str:
        answered = server.answer(Asked(1, MARKET, request))
        assert answered is not None
        return answered.answer

    won = ask(Acquire(Candidate("A"), 0, 600 * MS, 0))
    assert isinstance(won, Won)
    for _ in range(20):
        now_ns += late_ms * MS
        assert isinstance(ask(Renew(won.reign.epoch)), Won), "its time off counts against no holder that renews"
    lates = 0
    while True:
        standing = ask(Read())
        assert isinstance(standing, Standing)
        if not standing.held:
            break
        now_ns += late_ms * MS
        lates += 1
        assert lates < 20
    files.close()


@pytest.mark.slow
def test_a_bundle_that_cannot_be_written_does_not_keep_a_node_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_fork, "write_bundle", lambda *_args, **_more: signal.pause())
    monkeypatch.setattr(state_comparison, "BUNDLES_S", 0.2)

    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        states, warned = a.pair.states, list[str]()
        states._bundles._warn = warned.append
        divergence = Divergence(1, 2, "events", b"a" * 16, b"b" * 16)
        found = state_comparison.found_by("A", "primary", "B", 1, divergence)
        for _ in range(2):
            states._waiting.append((found, Backlog(0, bytes(16), 1)))
        states._tend()
        child = states._bundles._child
        assert child is not None
        states.close()
        assert not states._bundles.busy
        assert any("no bundle was written" in sentence for sentence in warned)
        _, status = os.waitpid(child.pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_standby_whose_journal_is_full_reads_no_further_and_its_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "QUEUE_BYTES_MAX", 4_000)

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.journal.durable_seq == a.node.engine.seq)
        connection, standby = b.pair._to_primary, b.pair.standby
        assert connection is not None
        disk = Hung(b)
        try:
            a.node.market.take_own(participant("ALPHA"))
            await until(disk.waits.is_set)
            while not connection.paused:
                a.node.market.take_own(participant("ALPHA"))
                await asyncio.sleep(0)
            heard_ns = standby.heard_ns
            for _ in range(100):
                a.node.market.take_own(participant("ALPHA"))
            await until(lambda: standby.heard_ns > heard_ns + standby.settings.silence_ns)
            assert standby.state == "following"
            assert standby.taken_seq < a.node.engine.seq
        finally:
            disk.goes.set()
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        await until(lambda: not connection.paused)

    with_pair(tmp_path, story)
