"""The begin of a reign: what was acknowledged comes first, and a node that became unfit meanwhile gives it back."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from directory.recover import recover
from replication.arbiter import Acquire, ArbiterError, Release
from replication.comparison import Divergence
from replication.register import Register
from tests.rows import enter, participant
from tests.test_hung_disks import Hung
from tests.test_node_pair import Member, start_rows, until, with_pair


def _hold_the_answer(register: Register, a: Member, b: Member) -> "list[tuple[asyncio.Future[Any], Any]]":
    """Cut A off from the arbiter, and hold back the answer to B's request for the reign."""
    waiting: list[tuple[asyncio.Future[Any], Any]] = []
    ask_arbiter = b.pair._arbiter.ask

    async def ask(request: Any) -> Any:
        answer = await ask_arbiter(request)
        if isinstance(request, Acquire):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            waiting.append((future, answer))
            return await future
        return answer

    async def cut(_request: Any) -> Any:
        raise ArbiterError("cut off")

    b.pair._arbiter.ask = ask  # type: ignore[method-assign, assignment]
    a.pair._arbiter.ask = cut  # type: ignore[method-assign, assignment]
    assert a.pair.tenure is not None
    a.pair.tenure.lease.lost()
    register.ask(Release(a.pair.tenure.epoch), time.monotonic_ns())  # its lease runs out
    return waiting


@pytest.mark.parametrize("first", ["arbiter", "block"])
def test_blocks_that_came_with_the_answer_of_the_arbiter_are_applied_before_the_reign(
    tmp_path: Path, first: str
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        waiting = _hold_the_answer(register, a, b)
        await until(lambda: bool(waiting))
        take_bytes = b.pair.on_bytes

        def on_bytes(data: bytes) -> None:
            if not waiting or len(data) <= 200:
                take_bytes(data)
                return
            future, answer = waiting.pop()
            if first == "arbiter":
                future.set_result(answer)
            take_bytes(data)
            if first == "block":
                future.set_result(answer)

        b.pair.on_bytes = on_bytes  # type: ignore[method-assign]
        for number in range(1_000):
            if not waiting or not a.node.reigns or a.node.ended.is_set():
                break
            a.node.market.take_own(enter(1, f"o{number}", 1, 5, 100_000))
            await asyncio.sleep(0.02)
        await until(lambda: b.node.reigns or b.node.ended.is_set())
        assert b.node.reigns
        await b.node.submit(enter(1, "last", 1, 5, 100_000))
        assert b.node.engine.seq == b.node.journal.last_seq
        assert not b.pair.divergences

    with_pair(tmp_path, story)
    journal, *_ = recover(tmp_path / "b")
    journal.close()


@pytest.mark.slow
def test_a_node_that_diverges_while_it_asks_for_the_reign_gives_it_back(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        waiting = _hold_the_answer(register, a, b)
        await until(lambda: bool(waiting))
        b.pair.standby.diverge(Divergence(1, 2, "orders", b"a" * 16, b"b" * 16))
        future, answer = waiting.pop()
        future.set_result(answer)
        await until(lambda: register.stored.released and b.pair.candidacy.won is None)
        assert not b.node.reigns
        assert b.pair.primary is None
        assert register.stored.reign is not None
        assert set(register.stored.reign.names_in_sync) == {"A", "B"}  # A has all that was told, and may reign again

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_node_whose_disk_hangs_once_it_has_won_the_reign_gives_it_back(tmp_path: Path) -> None:
    """It waited without bound, with its market stopped: the primary before it, or another node, could not reign."""

    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq == b.node.journal.durable_seq)
        waiting = _hold_the_answer(register, a, b)
        await until(lambda: bool(waiting))
        disk = Hung(b)
        try:
            a.node.market.take_own(participant("BETA"))
            await until(lambda: b.node.engine.seq == a.node.engine.seq)
            assert b.node.journal.durable_seq < b.node.journal.last_seq
            future, answer = waiting.pop()
            future.set_result(answer)
            await until(lambda: register.stored.released and b.pair.candidacy.won is None)
            assert not b.node.reigns
            await until(lambda: b.pair.candidacy.standing is not None)
            assert "has not written all" in b.pair._fitness(register.stored.reign)
            assert not waiting, "it does not ask again before its disk has written"
        finally:
            disk.goes.set()
        assert register.stored.reign is not None
        assert set(register.stored.reign.names_in_sync) == {"A", "B"}
        # Once the disk has written, it asks again.
        await until(lambda: bool(waiting))
        future, answer = waiting.pop()
        future.set_result(answer)
        await until(lambda: b.node.reigns)

    with_pair(tmp_path, story, "replica")
