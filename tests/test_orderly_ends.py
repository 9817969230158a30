"""Starts of a pair after an orderly end of both nodes, and after a crash of one that may lack what it acknowledged."""

import asyncio
import json
from pathlib import Path

import pytest

from directory.orderly_end import MARK, read_orderly_end
from directory.set_aside import set_aside
from node.pair.outcomes import TailApart
from replication.register import Register
from tests.rows import participant
from tests.test_node_pair import Member, start_rows, until, with_pair


@pytest.fixture(autouse=True)
def _short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary that waits for its standby at the end does so for a moment only."""
    monkeypatch.setattr("node.node.END_S", 0.2)


REASON = "has restarted, and may lack what it had in memory alone"


async def _both_end(a: Member, b: Member) -> None:
    """End the standby, then the primary; the arbiter's record names both, since the primary may not go on alone."""
    await a.node.submit(start_rows())
    await until(lambda: b.node.engine.seq == a.node.engine.seq)
    await b.end()
    await a.end()


async def _refusal(register: Register, member: Member) -> str:
    """Reason for which a node that has started does not take over, once it has read the record."""
    await member.start()
    await until(lambda: member.pair._reign_read is not None)
    return member.pair._fitness(register.stored.reign)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("first", ["a", "b"])
def test_a_pair_of_which_both_nodes_ended_in_order_starts_again_by_itself(tmp_path: Path, first: str) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await _both_end(a, b)
        assert register.stored.reign is not None
        assert register.stored.reign.names_in_sync == ("A", "B")
        one = Member(first.upper(), tmp_path / first, register, None, "replica", "stop")
        await one.start()
        await until(lambda: one.node.reigns)
        other = "b" if first == "a" else "a"
        two = Member(other.upper(), tmp_path / other, register, one, "replica", "stop")
        await two.start()
        if first == "b":
            # The last command of A, which nobody was told, is set aside, as the program does.
            await until(lambda: two.pair.outcome is not None)
            assert isinstance(two.pair.outcome, TailApart)
            common = two.pair.outcome.common
            two.close()
            set_aside(tmp_path / "a", common.seq, common.digest, node="A", why="it is not of the primary's history")
            two = Member("A", tmp_path / "a", register, one, "replica", "stop")
            await two.start()
        await until(lambda: two.pair.standby.in_sync)
        # From here on both may have more in memory than on their disks.
        assert not (tmp_path / "a" / MARK).exists()
        assert not (tmp_path / "b" / MARK).exists()
        await one.node.submit(participant("BETA"))
        for each in (one, two):
            each.close()

    with_pair(tmp_path, story, "replica", alone="stop")


@pytest.mark.slow
def test_a_node_that_crashed_before_it_was_in_sync_again_does_not_take_over(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.close()
        await a.end()
        one = Member("B", tmp_path / "b", register, None, "replica", "stop")
        assert REASON in await _refusal(register, one)
        await one.end()
        assert read_orderly_end(tmp_path / "b") is None  # an end in order does not give back what was lost before
        two = Member("A", tmp_path / "a", register, None, "replica", "stop")
        await two.start()
        await until(lambda: two.node.reigns)
        two.close()

    with_pair(tmp_path, story, "replica", alone="stop")


@pytest.mark.slow
def test_the_mark_of_an_orderly_end_stays_until_the_node_follows_or_reigns(tmp_path: Path) -> None:
    """A node that is killed while it waits for the arbiter has lost nothing either."""

    async def story(register: Register, a: Member, b: Member) -> None:
        await _both_end(a, b)
        for _ in range(2):
            waits = Member("B", tmp_path / "b", register, None, "replica", "stop")
            assert waits.pair.standby.memory_kept
            waits.close()

    with_pair(tmp_path, story, "replica", alone="stop")


@pytest.mark.slow
@pytest.mark.parametrize(("field", "value"), [("seq", 1), ("checksum", "00" * 16), ("epoch", 0), ("seq", "x")])
def test_the_mark_of_another_journal_or_of_an_older_copy_of_the_directory_counts_for_nothing(
    tmp_path: Path, field: str, value: object
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await _both_end(a, b)
        mark = tmp_path / "b" / MARK
        mark.write_text(json.dumps(json.loads(mark.read_text()) | {field: value}))
        member = Member("B", tmp_path / "b", register, None, "replica", "stop")
        assert REASON in await _refusal(register, member)
        await asyncio.sleep(0.05)
        assert not member.node.reigns
        member.close()

    with_pair(tmp_path, story, "replica", alone="stop")
