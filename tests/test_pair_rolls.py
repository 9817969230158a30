"""A slice that begins in a running pair: the standby begins the same one at the same command and stays in sync."""

import asyncio
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from journal import BlockRefused, Journal
from journal.marks import SliceStart, decode_genesis, encode_genesis
from journal.slices import places
from node import program
from node.operator.link import LinkError, RequestRefused
from node.pair.outcomes import TooFarBehind
from node.programs.logs import Log
from replay.chain import check_chain
from replay.verify import verify
from replication.register import Register
from tests import running
from tests.pair_processes import WITHIN_S, pair
from tests.pair_processes import Member as PairMember
from tests.rows import participant
from tests.test_node_pair import Member, in_sync, start_rows, until, with_pair


@pytest.fixture(autouse=True)
def long_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that a slow disk of the tests does not outlast; a primary that dies gives it up, as its watch does."""
    monkeypatch.setattr("tests.test_node_pair.TTL_NS", 20_000_000_000)


def numbers(directory: Path) -> list[int]:
    return [place.number for place in places(directory)]


def slice_of(directory: Path, number: int, epoch: int = 1) -> tuple[bytes, list[tuple[int, bytes]], bytes]:
    """Genesis record, ends of the blocks of an epoch, and start image of a slice."""
    with Journal.open(directory, readonly=True, slice_number=number) as journal:
        ends = [(block.last_seq, block.checksum) for block in journal.blocks() if block.epoch == epoch]
        image = journal.place.start_image
        return journal.genesis, ends, image.read_bytes() if image.exists() else b""


@pytest.mark.slow
def test_a_standby_begins_the_slice_at_the_same_command_with_the_same_record_and_image(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        rolled = await a.node.roll()
        await until(lambda: b.node.journal.place.number == 2)
        assert b.node.journal.start_seq == a.node.journal.start_seq == rolled["seq"]
        assert b.pair.standby.in_sync
        await a.node.submit(participant("BETA"))
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        assert b.pair.standby.in_sync
        await until(b.node.journal.place.start_image.exists)
        await in_sync(a, b)
        a.kill()
        await a.pair.release_reign()
        await until(lambda: b.node.reigns)
        await b.node.submit(participant("GAMMA"))
        assert (await b.node.roll())["slice"] == 3

    with_pair(tmp_path, story)
    assert numbers(tmp_path / "a") == [1, 2]
    assert numbers(tmp_path / "b") == [1, 2, 3]
    for number in (1, 2):
        assert slice_of(tmp_path / "a", number) == slice_of(tmp_path / "b", number)
    assert verify(tmp_path / "b").ok
    assert check_chain(tmp_path / "b").ok


@pytest.mark.slow
def test_a_standby_is_never_out_of_sync_while_slices_begin_under_load(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        seen = []
        for _turn in range(4):
            trading = [asyncio.create_task(a.node.submit(start_rows())) for _each in range(20)]
            await a.node.roll()
            await asyncio.gather(*trading)
            seen.append(b.pair.standby.in_sync)
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        assert seen == [True] * 4
        assert b.pair.outcome is None
        assert b.node.engine.part_digests() == a.node.engine.part_digests()

    with_pair(tmp_path, story)
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b") == [1, 2, 3, 4, 5]
    for number in range(1, 6):
        assert slice_of(tmp_path / "a", number)[:2] == slice_of(tmp_path / "b", number)[:2]


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True], ids=["the primary runs on", "the primary starts again"])
def test_a_standby_that_was_away_during_a_roll_is_told_of_the_slice_where_it_begins(
    tmp_path: Path, restarts: bool
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.close()
        if not restarts:
            await a.node.submit(participant("BETA"))
        await a.node.roll()
        await a.node.submit(participant("GAMMA"))
        if restarts:
            await a.pair.release_reign()
            a.close()
            a = Member("A", tmp_path / "a", register, None, "both")
            await a.start()
            await until(lambda: a.node.reigns)
        again = Member("B", tmp_path / "b", register, a, "both")
        await again.start()
        try:
            await until(lambda: again.node.engine.seq == a.node.engine.seq and again.pair.standby.in_sync)
            assert again.node.journal.genesis == a.node.journal.genesis
            assert again.node.engine.event_digest == a.node.engine.event_digest
            assert again.pair.outcome is None
        finally:
            again.close()
            if restarts:
                a.close()

    with_pair(tmp_path, story)
    assert numbers(tmp_path / "b") == [1, 2]
    assert check_chain(tmp_path / "b").ok


async def back_in_sync(name: str, directory: Path, register: Register, primary: Member) -> Member:
    """Start a node as its program does, until it is in sync."""
    async with asyncio.timeout(60):
        while True:
            member = Member(name, directory, register, primary, "both")
            await member.start()
            await until(lambda member=member: member.pair.outcome is not None or member.pair.standby.in_sync)  # type: ignore[misc]
            outcome = member.pair.outcome
            if outcome is None:
                return member
            member.close()
            assert isinstance(outcome, TooFarBehind)
            await asyncio.to_thread(program._fetch, directory, outcome.address, member.pair.options, Log(), None)


@pytest.mark.slow
def test_a_primary_that_dies_between_its_slice_and_the_announcement_comes_back_without_that_slice(
    tmp_path: Path,
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        a.node.checkpointing.on_slice = a.kill
        a.node.checkpointing.want_slice()
        await until(lambda: numbers(tmp_path / "a") == [1, 2])
        await a.pair.release_reign()
        await until(lambda: b.node.reigns)
        a.node.journal.close()
        assert numbers(tmp_path / "b") == [1]
        await b.node.submit(participant("BETA"))
        await b.node.roll()
        await b.node.submit(participant("GAMMA"))
        await until(lambda: b.pair.primary is not None and b.pair.primary.history_port > 0)
        again = await back_in_sync("A", tmp_path / "a", register, b)
        await until(lambda: again.node.engine.seq == b.node.engine.seq)
        assert again.node.engine.event_digest == b.node.engine.event_digest
        assert again.node.journal.genesis == b.node.journal.genesis
        again.close()

    with_pair(tmp_path, story)
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b") == [1, 2]
    assert slice_of(tmp_path / "a", 2, 2)[:2] == slice_of(tmp_path / "b", 2, 2)[:2]
    assert check_chain(tmp_path / "a").ok


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before the slice has its name", "before its image is there"])
def test_a_standby_that_dies_while_it_begins_the_slice_begins_it_again_or_goes_on_in_it(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        died = []

        def die(*_: Any) -> None:
            died.append(True)
            b.kill()
            raise BlockRefused("it is dead")

        if where.startswith("before the slice"):
            monkeypatch.setattr(b.node.journal, "begin_same_slice", die)
        else:
            monkeypatch.setattr(b.node.checkpointing._aside, "start_image", die)
        rolling = asyncio.create_task(a.node.roll())
        await until(lambda: bool(died))
        b.node.journal.close()
        assert numbers(tmp_path / "b") == ([1] if where.startswith("before the slice") else [1, 2])
        await rolling
        await a.node.submit(participant("BETA"))
        again = await back_in_sync("B", tmp_path / "b", register, a)
        await until(lambda: again.node.engine.seq == a.node.engine.seq)
        await until(again.node.journal.place.start_image.exists)
        assert again.node.engine.event_digest == a.node.engine.event_digest
        again.close()

    with_pair(tmp_path, story)
    assert slice_of(tmp_path / "a", 2)[:2] == slice_of(tmp_path / "b", 2)[:2]
    assert check_chain(tmp_path / "b").ok


def test_a_slice_whose_events_are_not_those_of_the_standby_is_refused_and_not_begun(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        genesis = decode_genesis(a.node.journal.genesis)
        start = SliceStart(2, a.node.engine.seq, b.node.journal.link, 0, b.node.journal.epoch, bytes(range(16)), {})
        forged = encode_genesis(genesis.meta, genesis.row_bytes, genesis.page_bytes, genesis.journal_id, start)
        with pytest.raises(BlockRefused, match="slice 2 is refused: the events before it are not those of this node"):
            b.node.checkpointing.begin_same_slice(forged)
        assert b.node.journal.place.number == 1

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_standby_without_room_for_the_slice_goes_on_in_the_one_before_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        refusals = []

        def no_room(*_: Any) -> None:
            refusals.append(True)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("journal.new_slice._written", no_room)
            genesis = decode_genesis(a.node.journal.genesis)
            start = SliceStart(
                2, a.node.engine.seq, b.node.journal.link, 0, b.node.journal.epoch, a.node.engine.event_digest, {}
            )
            wanted = encode_genesis(genesis.meta, genesis.row_bytes, genesis.page_bytes, genesis.journal_id, start)
            with pytest.raises(BlockRefused, match="No space left"):
                b.node.checkpointing.begin_same_slice(wanted)
        assert refusals
        await a.node.roll()
        await until(lambda: b.node.journal.place.number == 2)
        await a.node.submit(participant("BETA"))
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        assert b.pair.standby.in_sync

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_the_image_of_a_slice_does_not_wait_for_a_checkpoint_under_way(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        assert b.node.checkpointing._aside.now(b.node.engine)
        await a.node.roll()
        await until(lambda: b.node.journal.place.number == 2)
        await until(b.node.journal.place.start_image.exists)

    with_pair(tmp_path, story)
    assert slice_of(tmp_path / "a", 2) == slice_of(tmp_path / "b", 2)
    assert not list((tmp_path / "b").rglob("*.tmp"))


@pytest.mark.slow
def test_a_kill_of_either_node_in_the_middle_of_a_roll_leaves_a_pair_that_goes_on(tmp_path: Path) -> None:
    """Real processes: each is killed as soon as its directory has the new slice."""

    def roll_of(member: PairMember) -> None:
        with suppress(LinkError, RequestRefused, OSError), member.link() as link:
            link.ask("roll")

    with pair(tmp_path) as (_, a, b):
        for primary, killed in ((a, a), (b, a)):
            other = b if primary is a else a
            before, number = primary.pair()["seq"], numbers(primary.data)[-1] + 1
            operator = threading.Thread(target=roll_of, args=(primary,))
            operator.start()
            running.until(lambda: numbers(killed.data)[-1:] == [number], WITHIN_S, "no slice was begun")  # noqa: B023
            killed.end(signal.SIGKILL)
            operator.join()
            reigns = other if killed is primary else primary
            reigns.awaits(role="primary", state="reigning")
            reigns.submit(f"participant P{len(numbers(reigns.data))}\n")
            killed.start()
            killed.awaits(state="following", can_take_over=1)
            assert reigns.pair()["seq"] > before
        seq = b.pair()["seq"]
        a.awaits(seq=seq, can_take_over=1)
        roll_of(b)
        assert a.is_(state="following", can_take_over=1)
        b.submit("participant LAST\n")
        a.awaits(seq=b.pair()["seq"], event_digest=b.pair()["event_digest"])
        assert numbers(a.data)[-1] >= 3
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    for place in places(tmp_path / "a")[1:]:
        one, two = (slice_of(tmp_path / name, place.number) for name in ("a", "b"))
        assert one[:2] == two[:2]
    assert verify(tmp_path / "a").ok
    assert check_chain(tmp_path / "a").ok
