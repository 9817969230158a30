"""Two data directories under one node name: only the one that the arbiter's record names may take over."""

import asyncio
import shutil
from pathlib import Path

from replication.register import Register
from tests.rows import participant
from tests.test_node_pair import Member, start_rows, until, with_pair


def _twin_of(tmp_path: Path, register: Register, a: Member, journal_of: str) -> Member:
    """A second node B, whose directory is a copy of another one."""
    shutil.copytree(tmp_path / journal_of, tmp_path / "twin", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
    return Member("B", tmp_path / "twin", register, a, "both")


def test_a_second_directory_under_a_name_is_refused_while_the_first_follows(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        twin = _twin_of(tmp_path, register, a, "b")
        await twin.start()
        try:
            await until(lambda: "another data directory" in twin.pair.status()["cannot_take_over_reason"])
            assert b.pair.standby.in_sync
            assert not twin.pair.status()["can_take_over"]
            answered = await a.node.submit(participant("BETA"))
            a.kill()
            await until(lambda: b.node.reigns)
            assert b.node.engine.seq > answered.last_seq
            assert not twin.node.reigns
        finally:
            twin.close()

    with_pair(tmp_path, story)


def test_a_directory_that_the_record_does_not_name_takes_nothing_over(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.kill()
        twin = _twin_of(tmp_path, register, a, "b")
        await twin.start()
        await until(lambda: twin.pair.standby.in_sync)
        answered = await a.node.submit(participant("BETA"))
        a.kill()
        await until(lambda: twin.node.reigns)
        twin.kill()
        b.node.journal.close()
        again = Member("B", tmp_path / "b", register, None, "both")
        await again.start()
        try:
            await until(lambda: "another data directory of B" in again.pair.status()["cannot_take_over_reason"])
            assert again.node.engine.seq < answered.last_seq, "it lacks an order that was answered"
            assert register.stored.reign is not None
            assert not register.stored.reign.has_in_sync(again.pair.standby.member)
            await asyncio.sleep(0.2)
            assert not again.node.reigns
        finally:
            again.close()

    with_pair(tmp_path, story)
