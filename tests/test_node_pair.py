"""Two nodes of a pair in one process: blocks, acknowledgements, a takeover, a switchover, an old primary."""

import asyncio
import io
import shutil
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pytest

from directory.incomplete import BEGUN_EMPTY, mark_incomplete
from directory.recover import recover
from engine.capacity import Capacity
from engine.digest import EventChain
from engine.names import pack
from engine.records import COMMAND, CommandKind, Phase, concatenate
from journal import Journal
from node.core.control import OperationRefused, OperationUnfinished, RefusedForNow
from node.core.disconnects import AbsentUsers
from node.core.opening import open_directory
from node.node import Deposed, Node, NodeOptions
from node.pair.member import Pair
from node.pair.plan import PairOptions
from node.programs.logs import Log
from replication.arbiter import ArbiterError, ArbiterUnknown, Candidate, Reign, Release
from replication.lease import lease_clock_ns
from replication.memory import MemoryArbiter
from replication.primary import Primary, Settings
from replication.register import Register
from sequencer.release import ReleasePolicy
from tests.rows import halt, instrument, participant, phase, row

SECRET = b"a secret of the pair"
why_not_hand_over = Primary.why_not_hand_over
CAPACITY = Capacity(orders_max=1_000, ids_max=4_000, instruments_max=4, participants_max=4)
#: A lease that a slow machine does not lose: it ends where a primary is killed.
TTL_NS = 60_000_000_000


class Member:
    """A node of the pair with its directory."""

    def __init__(
        self,
        name: str,
        directory: Path,
        register: Register,
        peer: "Member | None",
        policy: ReleasePolicy,
        alone: Literal["continue", "stop"] = "continue",
    ) -> None:
        self.name, self._register = name, register
        opened = open_directory(directory, CAPACITY, "fsync")
        self.directory = directory
        self.node = Node(
            opened, NodeOptions(directory, arrivals=False, keep_events=False, busy_poll_us=0, follows=True), Log()
        )
        address = ("127.0.0.1", peer.pair.port) if peer is not None else None
        settings = Settings(policy=policy, alone=alone)
        options = PairOptions(Candidate(name, policy=policy), SECRET, "127.0.0.1", 0, address, settings)
        self.pair = Pair(self.node, options, MemoryArbiter(register, ttl_ns=TTL_NS))
        self.node.pair = self.pair

    async def start(self) -> None:
        await self.node.start()
        await self.pair.start()

    def kill(self) -> None:
        """End as a killed process does, but for the journal's queue, which its thread still writes.

        The lease of a primary ends, as by the watch beside its process (``replication.death_watch``).
        """
        if self.pair.tenure is not None:
            self._register.ask(Release(self.pair.tenure.epoch), time.monotonic_ns())
        self.pair.close()
        self.node._stop()

    async def end(self) -> None:
        """End in order, as the program does at a SIGTERM."""
        await self.node.shutdown()
        with suppress(Deposed):
            await self.node.run()
        self.pair.close()
        await self.pair.release_reign()
        await self.pair.note_end()
        self.node.journal.close()

    def close(self) -> None:
        self.kill()
        self.node.journal.close()


async def until(true: Callable[[], bool], deadline_s: float = 180.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.002)


async def in_sync(a: Member, b: Member) -> None:
    """Wait until the arbiter's record names both: on a slow disk the standby leaves it for a while."""
    names = (a.name, b.name)
    await until(lambda: (reign := a._register.stored.reign) is not None and reign.names_in_sync == names)


def start_rows() -> Any:
    return concatenate(
        [instrument("XYZ"), participant("ALPHA"), row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.CONTINUOUS))]
    )


def with_pair(
    tmp_path: Path,
    story: Callable[[Register, Member, Member], Awaitable[None]],
    policy: ReleasePolicy = "both",
    *,
    begun_empty: bool = False,
    alone: Literal["continue", "stop"] = "continue",
) -> None:
    """Run a story on a primary A and a standby B that is in sync."""

    async def run() -> None:
        register = Register()
        with open_directory(tmp_path / "a", CAPACITY, "fsync").journal:
            pass
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        if begun_empty:
            mark_incomplete(tmp_path / "b", BEGUN_EMPTY)
        a = Member("A", tmp_path / "a", register, None, policy, alone)
        await a.start()
        await until(lambda: a.node.reigns)
        b = Member("B", tmp_path / "b", register, a, policy, alone)
        await b.start()
        await until(lambda: b.pair.standby.in_sync)
        try:
            await story(register, a, b)
        finally:
            for each in (a, b):
                each.close()

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["both", "replica"])
def test_a_standby_has_the_same_blocks_and_digest(tmp_path: Path, policy: ReleasePolicy) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        result = await a.node.submit(start_rows())
        assert a.node.market.published_seq >= result.last_seq
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        assert b.node.engine.event_digest == a.node.engine.event_digest
        assert b.node.engine.part_digests() == a.node.engine.part_digests()
        assert a.pair.primary is not None
        await until(lambda: a.pair.primary.status()[0]["agreed_seq"] == a.node.engine.seq)  # type: ignore[union-attr]

    with_pair(tmp_path, story, policy)
    with Journal.open(tmp_path / "a", readonly=True) as one, Journal.open(tmp_path / "b", readonly=True) as two:
        assert [bytes(block.sealed) for block in one.blocks()] == [bytes(block.sealed) for block in two.blocks()]


@pytest.mark.slow
def test_a_standby_takes_over_with_a_higher_epoch_and_goes_on(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        seq = a.node.engine.seq
        await in_sync(a, b)
        a.kill()
        await until(lambda: b.node.reigns)
        assert b.node.engine.seq > seq
        assert b.node.journal.epoch > a.node.journal.epoch
        result = await b.node.submit(participant("BETA"))
        assert result.last_seq > seq

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_who_waits_for_commands_hears_of_a_primary_that_gives_up_its_reign(tmp_path: Path) -> None:
    """Its disk hung, so it gave the reign to its standby and ended; the operator's request was never answered."""

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await in_sync(a, b)
        assert a.pair.primary is not None
        a.pair.primary.settings = a.pair.primary.settings._replace(own_stall_ns=100_000_000)
        commit, goes_on = a.node.journal._writer._commit, threading.Event()  # type: ignore[union-attr]

        def hangs(group: Any) -> None:
            goes_on.wait(180)
            commit(group)

        a.node.journal._writer._commit = hangs  # type: ignore[union-attr]
        try:
            async with asyncio.timeout(180):
                with pytest.raises(OperationUnfinished, match=r"does not know what becomes of the commands; see what"):
                    await a.node.submit(participant("BETA"))
            with pytest.raises(Deposed, match="the disk of A has written nothing"):
                await a.node.run()
        finally:
            goes_on.set()
        await until(lambda: b.node.reigns)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_each_reign_begins_with_its_epoch_row_on_both_nodes(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        for member in (a, b):
            assert member.node.engine.epoch == member.node.journal.epoch > 0
        assert a.node.engine.epoch == b.node.engine.epoch
        assert await a.pair.switch_over() == "B"
        await until(lambda: b.node.reigns)
        assert b.node.engine.epoch == b.node.journal.epoch > a.node.engine.epoch
        await b.node.submit(participant("BETA"))

    with_pair(tmp_path, story)
    firsts: dict[int, list[tuple[int, int, int]]] = {}
    with Journal.open(tmp_path / "b", readonly=True) as journal:
        for block in journal.blocks():
            rows = np.frombuffer(bytearray(block.rows), COMMAND)
            orders = rows[rows["kind"] != CommandKind.CLOCK]
            if block.epoch not in firsts:
                firsts[block.epoch] = [(int(each["kind"]), int(each["epoch"]), int(each["name"])) for each in orders]
    epochs = sorted(firsts)
    assert len(epochs) == 2
    for epoch, name in zip(epochs, ("A", "B"), strict=True):
        assert firsts[epoch][0] == (CommandKind.EPOCH, epoch, pack(name))
    for directory in ("a", "b"):
        recover(tmp_path / directory)[0].close()


@pytest.mark.slow
def test_a_switchover_hands_over_without_waiting_for_the_lease(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        assert await a.pair.switch_over() == "B"
        with pytest.raises(Deposed, match="takes over by command"):
            await a.node.run()
        await until(lambda: b.node.reigns)
        await b.node.submit(participant("BETA"))

    with_pair(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["hands over", "is killed", "is killed after a roll"])
def test_a_market_that_its_primary_had_halted_opens_under_its_successor_but_for_what_an_operator_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    stream = io.StringIO()
    log = Log(stream, pretty=False)
    monkeypatch.setattr(sys.modules[__name__], "Log", lambda: log)

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(concatenate([start_rows(), instrument("ABC"), phase("ABC", Phase.AUCTION), halt("ABC")]))
        await a.node.drain()
        assert phases(a) == [Phase.HALTED] * 2
        if "roll" in fate:
            await a.node.roll()
        if "killed" in fate:
            await until(lambda: b.node.engine.seq == a.node.engine.seq)
            await in_sync(a, b)
            a.kill()
        else:
            assert await a.pair.switch_over() == "B"
        await until(lambda: b.node.reigns)
        await until(lambda: phases(b) == [Phase.CONTINUOUS, Phase.HALTED])
        await until(lambda: "instruments are halted without an end" in stream.getvalue())

    def phases(member: Member) -> list[int]:
        found: list[int] = member.node.engine.instruments()["phase"].tolist()
        return found

    with_pair(tmp_path, story)
    log.close()
    told = [line for line in stream.getvalue().splitlines() if "instruments are halted without an end" in line]
    assert len(told) == 1
    assert '"symbols": "ABC"' in told[0]


@pytest.mark.slow
def test_a_primary_that_was_killed_while_it_drained_opens_its_market_when_it_reigns_again(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        b.kill()
        await a.node.drain()
        a.kill()
        a.node.journal.close()
        again = Member("A", tmp_path / "a", register, None, "both")
        assert again.node.engine.instruments()["phase"].tolist() == [Phase.HALTED]
        await again.start()
        await until(lambda: again.node.engine.instruments()["phase"].tolist() == [Phase.CONTINUOUS])
        again.close()

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_the_log_of_a_primary_that_hands_over_says_that_its_reign_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    log = Log(stream, pretty=False)
    monkeypatch.setattr(sys.modules[__name__], "Log", lambda: log)

    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.pair.switch_over()
        await until(lambda: '"event": "the reign has ended", "why": "B takes over by command"' in stream.getvalue(), 60)
        assert "this copy starts again" not in stream.getvalue()

    with_pair(tmp_path, story)
    log.close()


@pytest.mark.slow
def test_a_primary_answers_nothing_without_its_lease(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        assert a.pair.tenure is not None
        a.pair.tenure.lease.lost()
        published = a.node.market.published_seq
        task = asyncio.create_task(a.node.submit(participant("BETA")))
        await until(lambda: b.node.engine.seq > published)
        await asyncio.sleep(0.05)
        assert not task.done()
        assert a.node.market.published_seq == published
        task.cancel()

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_primary_without_its_lease_for_long_refuses_the_commands_of_its_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took them, and the operator waited for minutes; they were done once the arbiter was back. A short lapse is no
    reason to refuse: see the test above."""
    monkeypatch.setattr("node.core.lapse.PATIENCE_NS", 1)

    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        assert a.pair.tenure is not None
        a.pair.tenure.lease.lost()
        await until(lambda: bool(a.pair.lapsed()))
        seq = a.node.engine.seq
        with pytest.raises(
            OperationRefused, match=r"nothing was done: the arbiter does not confirm .* repeat the command"
        ):
            await a.node.submit(participant("BETA"))
        assert a.node.engine.seq == seq

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_users_who_left_in_a_lapse_have_their_time_from_when_logins_are_taken_again(tmp_path: Path) -> None:
    canceled: list[list[int]] = []

    async def story(_: Register, a: Member, _b: Member) -> None:
        async def cancel(users: list[int]) -> None:
            canceled.append(users)

        a.node.absent_users = AbsentUsers(a.node.gateway, 0.0, cancel)
        a.node.gateway.elsewhere = "the arbiter does not confirm that this node is primary"
        a.node._on_users_absent([3])
        await asyncio.sleep(1.0)
        assert canceled == []
        a.node.gateway.elsewhere = ""
        await until(lambda: canceled == [[3]])

    with_pair(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_primary_whose_arbiter_goes_while_it_ends_does_end_and_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_lost: bool
) -> None:
    """It waited for ever: a checkpoint begins once the last commands are released, which only the arbiter can allow."""
    monkeypatch.setattr("node.node.END_S", 1.0 if is_lost else 60.0)
    monkeypatch.setattr("node.core.checkpointing.BEGIN_S", 1.0 if is_lost else 60.0)
    monkeypatch.setattr("node.pair.switchover.has_standby_in_sync", lambda _: False)

    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        real = a.node.suspension.put_back

        async def put_back() -> int:
            assert a.pair.tenure is not None
            if is_lost:
                a.pair.tenure.lease.lost()
            return await real()

        monkeypatch.setattr(a.node.suspension, "put_back", put_back)
        async with asyncio.timeout(120):
            await a.end()
        assert (a.node.checkpointing.finished_seq == 0) == is_lost

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_lost_standby_is_taken_out_of_the_record_before_the_primary_goes_on(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        b.kill()
        await a.node.submit(participant("BETA"))
        assert register.stored.reign is not None
        assert register.stored.reign.names_in_sync == ("A",)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_flipped_bit_of_the_standby_is_found_and_it_does_not_take_over(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.node.engine._chain = EventChain(b"x" * 16)  # type: ignore[attr-defined]
        await a.node.submit(row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.CLOSED)))
        await until(lambda: b.pair.standby.state == "diverged")
        assert a.pair.primary is not None
        assert a.pair.primary.divergences["B"].part == "events"

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_directory_that_was_begun_empty_takes_nothing_over_before_it_was_in_sync(tmp_path: Path) -> None:
    """The record of a primary that stops without a standby still names the node, whose disk is another one."""

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)

    with_pair(tmp_path, story)

    async def reasons() -> list[str]:
        found = []
        for marked in (False, True):
            if marked:
                mark_incomplete(tmp_path / "b", BEGUN_EMPTY)
            member = Member("B", tmp_path / "b", Register(), None, "both")
            found.append(member.pair.standby.reason_not_to_take_over(Reign(1, 2, "A", "", "", ("A", "B"), 0)))
            member.close()
        return found

    assert asyncio.run(reasons()) == ["", f"B may lack acknowledged orders: {BEGUN_EMPTY}"]


@pytest.mark.slow
def test_the_mark_of_a_new_directory_goes_once_the_node_is_in_sync(tmp_path: Path) -> None:
    async def story(_: Register, _a: Member, b: Member) -> None:
        await until(lambda: not (b.directory / "incomplete").exists())
        assert b.pair.standby.incomplete == ""

    with_pair(tmp_path, story, begun_empty=True)


@pytest.mark.slow
def test_blocks_wait_a_little_for_others_while_only_memory_is_waited_for(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        assert a.node.journal.lingers
        assert b.node.journal.lingers
        b.kill()
        await a.node.submit(participant("BETA"))
        assert not a.node.journal.lingers

    with_pair(tmp_path, story, "replica")


@pytest.mark.slow
@pytest.mark.parametrize("lasts", [True, False])
def test_a_switchover_without_a_confirmed_lease_is_refused_for_now_and_the_primary_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, lasts: bool
) -> None:
    """The reign was given up to an arbiter that did not answer, and the takeover was promised: nobody reigned then."""
    monkeypatch.setattr("node.core.lapse.PATIENCE_NS", 1 if lasts else TTL_NS)
    monkeypatch.setattr("node.pair.switchover.NEAR_S", 0.2)

    async def story(_: Register, a: Member, b: Member) -> None:
        assert a.pair.tenure is not None
        a.pair.tenure.lease.lost()
        await until(lambda: bool(a.pair.lapsed()) or not lasts)
        with pytest.raises(RefusedForNow, match="the arbiter does not confirm that this node is primary"):
            await a.pair.switch_over()
        assert (a.node.reigns, a.pair.handed_over, a.pair.tenure.why, b.node.reigns) == (True, False, "", False)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_switchover_is_refused_for_now_where_the_arbiter_does_not_answer_before_the_lease_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        async def ask(_: object) -> NoReturn:
            raise ArbiterUnknown("the arbiter does not answer")

        monkeypatch.setattr(a.pair._arbiter, "ask", ask)
        with pytest.raises(RefusedForNow, match="nothing was done: the arbiter does not answer"):
            await a.pair.switch_over()
        assert (a.node.reigns, a.pair.handed_over, b.node.reigns) == (True, False, False)
        monkeypatch.undo()
        assert await a.pair.switch_over() == "B"
        assert b.node.journal.epoch >= a.node.journal.epoch

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_switchover_promises_nothing_where_the_standby_cannot_get_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.pair.switchover.TAKEN_S", 0.3)

    async def story(_: Register, a: Member, b: Member) -> None:
        async def ask(_: object) -> NoReturn:
            raise ArbiterError("there is no way to the arbiter")

        monkeypatch.setattr(b.pair._arbiter, "ask", ask)
        with pytest.raises(OperationUnfinished, match=r"A has given up the reign, and it is not known .* B has taken"):
            await a.pair.switch_over()
        with pytest.raises(Deposed, match="may not have"):
            await a.node.run()
        assert not b.node.reigns

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_switchover_that_is_given_up_leaves_the_market_open(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        b.pair.standby.acknowledge = lambda _: None  # type: ignore[method-assign]
        task = asyncio.create_task(a.pair.switch_over())
        await asyncio.sleep(0.05)
        assert not a.node.reigns
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert a.node.reigns
        assert a.pair.primary is not None
        assert a.pair.primary.handover_to == ""

    with_pair(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize("is_looked_for", [True, False])
def test_a_switchover_to_a_standby_that_says_nothing_is_refused_and_orders_are_taken_all_the_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_looked_for: bool
) -> None:
    """The control looks for nothing before it closes the market."""
    if not is_looked_for:
        monkeypatch.setattr(Primary, "why_not_hand_over", lambda *_: "")

    async def story(_: Register, a: Member, b: Member) -> None:
        assert a.pair.primary is not None
        for name in ("acknowledge", "acknowledge_taken"):
            setattr(b.pair.standby, name, lambda _: None)
        await until(lambda: "has said nothing" in why_not_hand_over(a.pair.primary, lease_clock_ns()))
        was_closed = False
        task = asyncio.create_task(a.pair.switch_over())
        while not task.done():
            await asyncio.sleep(0)
            was_closed |= not a.node.intake.reigns
        with pytest.raises(OperationRefused, match="no switchover: "):
            await task
        assert was_closed is not is_looked_for
        assert a.node.reigns

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_switchover_whose_standby_leaves_is_given_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.pair.switchover.HANDOVER_S", 3_600.0)

    async def story(_: Register, a: Member, b: Member) -> None:
        b.pair.standby._answer_handover = lambda: None  # type: ignore[method-assign]
        task = asyncio.create_task(a.pair.switch_over())
        await until(lambda: not a.node.intake.reigns)
        b.kill()
        with pytest.raises(OperationRefused, match="there is no standby any more"):
            await task
        assert a.node.reigns
        await a.node.submit(start_rows())

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_standby_that_is_ending_is_given_no_reign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both nodes were told to end, the standby first: it took the reign while its programs stopped."""

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        stopping, stopped = asyncio.Event(), asyncio.Event()

        async def stop() -> None:
            stopping.set()
            await stopped.wait()

        monkeypatch.setattr(b.node.supervisor, "stop", stop)
        end = asyncio.create_task(b.end())
        async with asyncio.timeout(120):
            await stopping.wait()
        assert not await a.pair.leave()
        assert a.node.reigns
        assert not b.node.reigns
        stopped.set()
        await end

    with_pair(tmp_path, story)
