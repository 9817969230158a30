"""A standby that starts empty or far behind catches up while the primary takes orders, and is in sync then."""

import asyncio
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from directory.begin import holds_journal
from directory.bundle import bundles
from journal import Journal
from journal.lock import writer_pid
from journal.slices import places
from node import program
from node.core.opening import open_directory
from node.pair import member as pair
from node.pair.outcomes import TooFarBehind
from node.pair.plan import PairOptions
from node.pair.recent_blocks import RecentBlocks
from node.programs.logs import Log
from replication.arbiter import Candidate
from replication.primary import Settings
from replication.register import Register
from replication.standby import Standby
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.test_node_pair import CAPACITY, SECRET, Member, start_rows, until


class Trading:
    """Orders for a primary, one after the other, until ``end``."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._ended = False
        self.answers = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while not self._ended:
            await self._member.node.submit(start_rows())
            self.answers += 1

    async def end(self) -> None:
        self._ended = True
        await self._task


async def primary_of(directory: Path, register: Register, backlog_bytes: int = 64 << 20) -> Member:
    with open_directory(directory, CAPACITY, "fsync").journal:
        pass
    a = Member("A", directory, register, None, "both")
    a.pair._recent = RecentBlocks(a.node.journal, backlog_bytes)
    await a.start()
    await until(lambda: a.node.reigns and a.pair.primary is not None and a.pair.primary.history_port > 0)
    await a.node.submit(start_rows())
    return a


async def in_sync(a: Member, directory: Path, register: Register, trading: Trading) -> None:
    """Start a standby, trade on, and compare the two at the end."""
    b = Member("B", directory, register, a, "both")
    await b.start()
    await until(lambda: b.pair.standby.in_sync)
    seen = trading.answers
    await until(lambda: trading.answers > seen + 10)
    await trading.end()
    await until(lambda: b.node.engine.seq == a.node.engine.seq)
    assert b.node.engine.event_digest == a.node.engine.event_digest
    assert b.node.engine.part_digests() == a.node.engine.part_digests()
    b.close()


def same_blocks(directory: Path) -> bool:
    with Journal.open(directory / "a", readonly=True) as one, Journal.open(directory / "b", readonly=True) as two:
        return [bytes(each.sealed) for each in one.blocks()] == [bytes(each.sealed) for each in two.blocks()]


@pytest.mark.slow
def test_an_empty_standby_catches_up_while_the_primary_takes_orders(tmp_path: Path) -> None:
    async def run() -> None:
        register = Register()
        a = await primary_of(tmp_path / "a", register)
        try:
            trading = Trading(a)
            await until(lambda: trading.answers > 20)
            options = PairOptions(
                Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, ("127.0.0.1", a.pair.port), Settings()
            )
            before = trading.answers
            await asyncio.to_thread(program._fetch_first, tmp_path / "b", options, Log(), None)
            assert holds_journal(tmp_path / "b")
            assert trading.answers > before, "the primary answers meanwhile"
            await in_sync(a, tmp_path / "b", register, trading)
        finally:
            a.close()

    asyncio.run(run())
    assert same_blocks(tmp_path)


@pytest.mark.slow
def test_a_standby_far_behind_fetches_what_the_primary_lacks_at_hand_while_it_runs(tmp_path: Path) -> None:
    async def run() -> None:
        register = Register()
        a = await primary_of(tmp_path / "a", register, backlog_bytes=2_000)
        try:
            trading = Trading(a)
            options = PairOptions(
                Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, ("127.0.0.1", a.pair.port), Settings()
            )
            await asyncio.to_thread(program._fetch_first, tmp_path / "b", options, Log(), None)
            with Journal.open(tmp_path / "b", readonly=True) as journal:
                behind = journal.last_seq
            await until(lambda: a.node.engine.seq > behind + 200)
            b = Member("B", tmp_path / "b", register, a, "both")
            await b.start()
            await until(lambda: b.pair._fetch is not None)
            # What is traded while it fetches must still be at hand when it calls again.
            a.pair.primary.backlog._bytes_max = 64 << 20  # type: ignore[union-attr]
            await until(lambda: b.pair.standby.in_sync)
            assert b.pair.outcome is None, "it was not started again"
            assert b.pair.standby.taken_seq > behind + 200
            assert b.pair.standby._comparison.agreed_seq > behind
            await trading.end()
            await until(lambda: b.node.engine.seq == a.node.engine.seq)
            assert b.node.engine.part_digests() == a.node.engine.part_digests()
            b.close()
        finally:
            a.close()

    asyncio.run(run())
    assert same_blocks(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("reports", [True, False])
def test_a_difference_that_is_found_while_blocks_are_fetched_is_reported_to_the_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, reports: bool
) -> None:
    """There is no link meanwhile. The control is a standby that does not report it."""
    real = Standby.on_applied

    def differs(self: Standby, first_seq: int, last_seq: int, digest: bytes) -> None:
        real(self, first_seq, last_seq, bytes(16) if self.state == "elsewhere" else digest)

    if not reports:
        monkeypatch.setattr(Standby, "has_divergence_to_report", False)

    async def run() -> None:
        register = Register()
        a = await primary_of(tmp_path / "a", register, backlog_bytes=2_000)
        b = None
        try:
            options = PairOptions(
                Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, ("127.0.0.1", a.pair.port), Settings()
            )
            await asyncio.to_thread(program._fetch_first, tmp_path / "b", options, Log(), None)
            trading = Trading(a)
            await until(lambda: trading.answers > 200)
            await trading.end()
            monkeypatch.setattr(Standby, "on_applied", differs)
            b = Member("B", tmp_path / "b", register, a, "both")
            blocks = b.pair._blocks
            monkeypatch.setattr(blocks, "apply_soon", lambda: blocks.apply(whole=True))
            await b.start()
            await until(lambda: b.pair.standby.state == "diverged")
            assert a.pair.primary is not None
            found = b.pair.standby.divergence
            assert found is not None
            if not reports:
                await asyncio.sleep(4 * pair.REFUSED_S)
                assert a.pair.primary.divergences == {}
                return
            await until(lambda: "B" in a.pair.primary.divergences)
            told = a.pair.primary.divergences["B"]
            assert (told.first_seq, told.last_seq, told.part) == (found.first_seq, found.last_seq, found.part)
            assert (told.own, told.other) == (found.other, found.own)
            await until(lambda: bool(bundles(tmp_path / "a") and bundles(tmp_path / "b")))
            await until(lambda: not b.pair.standby.has_divergence_to_report)
            await until(lambda: not a.pair.primary.copies)
            assert a.node.standing()[0] == "open"
        finally:
            for each in (a, b):
                if each is not None:
                    each.close()

    asyncio.run(run())


@pytest.mark.slow
def test_a_standby_too_far_behind_to_apply_all_of_it_fetches_a_checkpoint_and_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair, "LIVE_MAX", 100)

    async def run() -> None:
        register = Register()
        a = await primary_of(tmp_path / "a", register, backlog_bytes=2_000)
        try:
            trading = Trading(a)
            options = PairOptions(
                Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, ("127.0.0.1", a.pair.port), Settings()
            )
            await asyncio.to_thread(program._fetch_first, tmp_path / "b", options, Log(), None)
            with Journal.open(tmp_path / "b", readonly=True) as journal:
                behind = journal.last_seq
            await until(lambda: a.node.engine.seq > behind + 200)
            b = Member("B", tmp_path / "b", register, a, "both")
            await b.start()
            await until(lambda: b.pair.outcome is not None)
            outcome = b.pair.outcome
            b.close()
            assert isinstance(outcome, TooFarBehind)
            # The market goes on while B fetches: what it trades meanwhile must still be at hand when B calls again.
            a.pair.primary.backlog._bytes_max = 64 << 20  # type: ignore[union-attr]
            await asyncio.to_thread(program._fetch, tmp_path / "b", outcome.address, options, Log(), None)
            with Journal.open(tmp_path / "b", readonly=True) as journal:
                assert journal.last_seq >= behind + 200
            await in_sync(a, tmp_path / "b", register, trading)
        finally:
            a.close()

    asyncio.run(run())
    assert same_blocks(tmp_path)


@pytest.mark.slow
def test_a_standby_that_was_away_for_long_fetches_the_slice_that_has_begun_meanwhile(tmp_path: Path) -> None:
    """It fetches the slice with its image, since the primary has the end of the slice before no more at hand."""

    async def run() -> None:
        register = Register()
        a = await primary_of(tmp_path / "a", register)
        try:
            options = PairOptions(
                Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, ("127.0.0.1", a.pair.port), Settings()
            )
            await asyncio.to_thread(program._fetch_first, tmp_path / "b", options, Log(), None)
            b = Member("B", tmp_path / "b", register, a, "both")
            await b.start()
            await until(lambda: b.pair.standby.in_sync)
            b.close()
            assert a.pair.primary is not None
            a.pair.primary.backlog._bytes_max = 1_000
            await a.node.roll()
            trading = Trading(a)
            await until(lambda: trading.answers > 20)
            b = Member("B", tmp_path / "b", register, a, "both")
            await b.start()
            await until(lambda: b.pair.outcome is not None)
            a.pair.primary.backlog._bytes_max = 64 << 20
            outcome = b.pair.outcome
            b.close()
            assert isinstance(outcome, TooFarBehind)
            await until(lambda: trading.answers > 10)
            await asyncio.to_thread(program._fetch, tmp_path / "b", outcome.address, options, Log(), None)
            await in_sync(a, tmp_path / "b", register, trading)
        finally:
            a.close()

    asyncio.run(run())
    assert [place.number for place in places(tmp_path / "b")] == [1, 2]
    assert same_blocks(tmp_path)


@pytest.mark.long
def test_the_benchmark_of_a_catch_up_plays_small(lockstep: Lockstep) -> None:
    # Clients that end before the standby is in sync fail the run: they trade for as long as a busy machine may take.
    status, said, complaint = lockstep(
        "bench", "catch-up", "--commands", "20000", "--runs", "1", "--load-s", "60", "--json"
    )
    assert status == 0, complaint
    rows = {row["name"].partition(": ")[2]: row for row in checked(("bench", "catch-up"), said)}
    assert rows["catch-up"]["value"] > 0
    assert rows["until it is in sync"]["value"] > 0


def test_a_node_that_waits_for_its_primary_on_an_empty_directory_says_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lockstep: Lockstep
) -> None:
    """Its directory was not there yet, so `lockstep status` told the operator to check the path."""
    said = []

    def ask_place(*_: object) -> NoReturn:
        said.extend(lockstep(*words) for words in (["status", directory], ["admin", "halt", directory, "XYZ"]))
        raise InterruptedError

    monkeypatch.setattr(program, "ask_place", ask_place)
    directory = tmp_path / "deep" / "b"
    options = PairOptions(Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, ("127.0.0.1", 1), Settings())
    with pytest.raises(InterruptedError):
        program._fetch_first(directory, options, Log(), None)
    for status, out, sentence in said:
        assert (status, out) == (75, "")
        assert f"{directory}, which has no journal yet: a node that starts" in sentence
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not holds_journal(directory), "what is there does not keep the next start from a fetch"
    assert writer_pid(directory) is None
