"""A disk that hangs, of a standby or of the primary: the other node goes on, or all stops, as the operator chose."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from directory.recover import recover
from node.node import Deposed
from replication.primary import Settings
from replication.register import Register
from replication.standstill import Standstill
from sequencer.release import ReleasePolicy
from tests.pairs import MS, CopyNode, PrimaryNode, Wire
from tests.rows import participant
from tests.test_node_pair import Member, start_rows, until, with_pair

STALL_MS = 2_000
OWN_STALL_MS = 5_000


class Pair:
    """A primary and a standby that is in sync, with a virtual clock."""

    def __init__(self, settings: Settings) -> None:
        self.primary, self.copy = PrimaryNode(settings=settings), CopyNode()
        self.now_ms = 0
        self.wire = Wire(self.primary, self.copy)
        self.primary.write(b"abc")
        self.run(100)
        self.primary.record()
        self.run(100)
        assert self.primary.core.recorded == {"A", "B"}

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        while self.now_ms < until_ms:
            self.now_ms += 10
            self.primary.core.tick(self.now_ms * MS, 0)
            self.copy.core.tick(self.now_ms * MS)
            self.wire.turn(self.now_ms * MS)


@pytest.mark.parametrize("policy", ["both", "replica"])
def test_answers_no_longer_wait_for_a_standby_whose_disk_hangs_once_the_record_is_without_it(
    policy: ReleasePolicy,
) -> None:
    pair = Pair(Settings(policy=policy))
    pair.copy.journals = False
    pair.primary.write(b"d")
    pair.run(STALL_MS - 200)
    assert pair.primary.core.wish is None, "a disk may take a while"
    pair.run(400)
    assert pair.primary.core.wish == {"A"}
    assert (pair.primary.released == 4) == (policy == "replica"), "the record still names it"
    pair.primary.record()
    pair.primary.write(b"e")
    assert pair.primary.released == 5
    pair.run(1_000)
    assert pair.wire.end.state == "live", "it follows on"
    assert not pair.copy.core.in_sync
    assert "disk of B" in pair.wire.end.stalled


def test_a_standby_joins_again_once_its_disk_has_what_it_lacked_and_not_before() -> None:
    pair = Pair(Settings())
    pair.copy.journals = False
    pair.primary.write(b"d")
    pair.run(STALL_MS + 200)
    pair.primary.record()
    for _ in range(20):
        pair.primary.write(b"e")
        pair.run(500)
        assert pair.primary.core.wish is None
        assert pair.primary.released == pair.primary.log.seq
    pair.copy.journals = True
    pair.run(200)
    assert pair.primary.core.wish == {"A", "B"}
    pair.primary.record()
    pair.run(100)
    assert pair.copy.core.in_sync
    assert pair.wire.end.stalled == ""


def test_a_disk_that_is_slow_and_moves_is_waited_for() -> None:
    pair = Pair(Settings())
    pair.copy.journals = False
    for _ in range(10):
        pair.primary.write(b"d")
        pair.run(STALL_MS - 500)
        pair.copy.core.on_journaled(pair.copy.core.journaled_seq + 1)
        assert pair.primary.core.wish is None


def test_a_primary_that_may_not_answer_alone_waits_for_a_hung_disk_of_its_standby() -> None:
    pair = Pair(Settings(alone="stop"))
    pair.copy.journals = False
    pair.primary.write(b"d")
    pair.run(STALL_MS * 3)
    assert pair.primary.core.wish is None
    assert pair.primary.released == 3
    pair.copy.journals = True
    pair.run(100)
    assert pair.primary.released == 4


@pytest.mark.parametrize("policy", ["both", "replica"])
def test_a_primary_whose_own_disk_hangs_gives_up_its_reign_to_a_standby_in_sync(policy: ReleasePolicy) -> None:
    pair = Pair(Settings(policy=policy))
    pair.primary.write(b"d", journaled=False)
    pair.run(OWN_STALL_MS - 200)
    assert pair.primary.core.gives_up == ""
    pair.run(400)
    assert "disk of A" in pair.primary.core.gives_up


def test_a_primary_whose_disk_hangs_stays_where_nobody_can_take_over() -> None:
    pair = Pair(Settings())
    pair.copy.journals = False
    pair.primary.write(b"d", journaled=False)
    pair.run(STALL_MS + 200)
    pair.primary.record()
    pair.run(OWN_STALL_MS * 2)
    assert pair.primary.core.gives_up == ""
    alone = PrimaryNode()
    alone.write(b"d", journaled=False)
    for now_ms in range(0, OWN_STALL_MS * 2, 10):
        alone.core.tick(now_ms * MS, 0)
    assert alone.core.gives_up == ""


def test_a_primary_whose_disk_is_slow_and_moves_or_has_nothing_to_do_keeps_its_reign() -> None:
    pair = Pair(Settings())
    pair.run(OWN_STALL_MS * 2)
    for _ in range(4):
        pair.primary.write(b"d", journaled=False)
        pair.run(OWN_STALL_MS - 500)
        pair.primary.core.on_journaled(pair.primary.core.journaled_seq + 1)
    assert pair.primary.core.gives_up == ""


def test_a_pause_of_a_node_itself_is_no_standstill_of_a_disk() -> None:
    pair = Pair(Settings())
    pair.primary.write(b"d", journaled=False)
    pair.copy.journals = False
    pair.run(100)
    pair.now_ms += 60_000
    pair.run(100)
    assert pair.primary.core.gives_up == ""
    assert pair.primary.core.wish is None


def test_a_standstill_counts_from_the_last_move_or_from_the_first_wait() -> None:
    still = Standstill()
    assert [still.look(now_ns, 5, 5) for now_ns in (10, 90)] == [0, 0]
    assert still.look(130, 5, 7) == 40
    assert still.look(140, 6, 7) == 0
    assert still.look(190, 6, 7, pause_ns=40) == 10


class Hung:
    """Disk of a node that writes nothing until ``goes`` is set."""

    def __init__(self, member: Member) -> None:
        self.goes = threading.Event()
        #: Set once a group waits for the disk: what comes later stays in the queue.
        self.waits = threading.Event()
        writer = member.node.journal._writer
        assert writer is not None
        self._commit = writer._commit
        writer._commit = self._wait  # type: ignore[method-assign]

    def _wait(self, group: Any) -> None:
        self.waits.set()
        self.goes.wait()
        self._commit(group)


def shorten(member: Member, **stalls_ms: int) -> None:
    """Give a primary shorter bounds, so that a test need not wait."""
    assert member.pair.primary is not None
    stalls_ns = {name: ms * MS for name, ms in stalls_ms.items()}
    member.pair.primary.settings = member.pair.primary.settings._replace(**stalls_ns)


@pytest.mark.slow
def test_clients_of_a_pair_get_answers_though_the_disk_of_the_standby_hangs(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        shorten(a, copy_stall_ns=300)
        disk = Hung(b)
        try:
            await a.node.submit(participant("BETA"))
            assert register.stored.reign is not None
            assert register.stored.reign.names_in_sync == ("A",)
            assert a.node.unhealthy() == []
            await until(lambda: b.pair.disk_lag_s > 0.5)
            assert b.node.status()["durable_lag_s"] >= 0.5  # rounded
            reign = register.stored.reign
            assert "not in sync" in b.pair.standby.reason_not_to_take_over(reign)
        finally:
            disk.goes.set()
        await until(lambda: register.stored.reign is not None and register.stored.reign.names_in_sync == ("A", "B"))

    with_pair(tmp_path, story)


def test_a_primary_that_waits_for_another_node_names_it_and_is_healthy(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        shorten(a, copy_stall_ns=3_600_000)
        disk = Hung(b)
        try:
            task = asyncio.create_task(a.node.submit(participant("BETA")))
            await until(lambda: a.pair.waits_for() == "B")
            await until(lambda: bool(a.node.market._timed.times))
            with pytest.MonkeyPatch.context() as patch:
                began_ns = a.node.market._timed.times[0][1]
                patch.setattr(time, "perf_counter_ns", lambda: began_ns + 40_000 * MS)
                assert a.node.unready()[0].startswith("commands have waited 40 s for B to acknowledge them")
                assert a.node.unhealthy() == []
        finally:
            disk.goes.set()
        await task

    with_pair(tmp_path, story)


def test_a_standby_whose_own_disk_hangs_becomes_unhealthy(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.journal.durable_seq == a.node.engine.seq)
        b.pair._disks.own_still_ns = 40_000 * MS
        assert b.node.unhealthy()[0].startswith("nothing has become durable for 40 s")

    with_pair(tmp_path, story)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("policy", ["both", "replica"])
def test_a_standby_takes_over_from_a_primary_whose_disk_hangs(tmp_path: Path, policy: ReleasePolicy) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.journal.durable_seq == a.node.engine.seq == a.node.journal.durable_seq)
        shorten(a, own_stall_ns=300)
        disk = Hung(a)
        try:
            a.node.market.take_own(participant("BETA"))
            with pytest.raises(Deposed, match="disk of A has written nothing"):
                await a.node.run()
            await until(lambda: b.node.reigns)
            await b.node.submit(participant("GAMMA"))
            assert b.node.journal.epoch > a.node.journal.epoch
        finally:
            disk.goes.set()

    with_pair(tmp_path, story, policy)
    for directory in ("a", "b"):
        recover(tmp_path / directory)[0].close()
