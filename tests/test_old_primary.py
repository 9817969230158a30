"""An old primary that comes back as a standby: all that only it has goes into a quarantine, and nothing else does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from directory.recover import recover
from directory.roll import roll
from engine.records import concatenate
from journal import Journal
from journal.quarantine import quarantined_blocks, quarantines
from node import program
from node.pair.outcomes import TailApart, TooFarBehind
from node.programs.logs import Log
from replication.register import Register
from sequencer.pump import Pipeline
from sequencer.stamp import FileStamp
from tests.pairs import CopyNode, PrimaryNode, Wire
from tests.rows import clock, participant
from tests.test_node_pair import Member, start_rows, until, with_pair

OWN_BLOCKS = 150


def go_on_alone(directory: Path, blocks: int) -> int:
    """Append blocks of commands to the journal of a primary that was killed; gives the number of commands."""
    journal, engine, _ = recover(directory)
    with journal:
        pipeline = Pipeline(FileStamp(), journal, engine)
        rows = concatenate([clock(engine.now_ns + 1), participant("OWN")])
        pipeline.take(rows)
        for n in range(1, blocks):
            pipeline.take(clock(engine.now_ns + n))
        pipeline.all()
    return len(rows) + blocks - 1


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("rolls", [False, True], ids=["in the same slice", "in a slice of its own"])
def test_what_only_the_old_primary_has_is_set_aside_and_it_follows_again(tmp_path: Path, rolls: bool) -> None:
    """More blocks than its greeting names one by one, so that the history of the new primary finds the last common."""
    seen: dict[str, Any] = {}

    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        common = a.node.engine.seq
        a.kill()
        a.node.journal.close()
        await until(lambda: b.node.reigns)
        own = go_on_alone(tmp_path / "a", OWN_BLOCKS)
        if rolls:
            roll(tmp_path / "a")
            own += go_on_alone(tmp_path / "a", 3)
        await b.node.submit(participant("BETA"))
        await until(lambda: b.pair.primary is not None and b.pair.primary.history_port > 0)

        again = Member("A", tmp_path / "a", register, b, "both")
        await again.start()
        await until(lambda: again.pair.outcome is not None)
        again.close()
        outcome, options, log = again.pair.outcome, again.pair.options, Log()
        if rolls:
            assert isinstance(outcome, TooFarBehind)
            await asyncio.to_thread(program._fetch, tmp_path / "a", outcome.address, options, log, None)
        else:
            assert isinstance(outcome, TailApart)
            last = await asyncio.to_thread(program._last_common, tmp_path / "a", outcome, options)
            assert last.seq == common
            program._set_aside(tmp_path / "a", last, options, log)
        found, wrong = quarantines(tmp_path / "a")
        assert not wrong
        assert [each.first_seq for each in found][:1] == [common + 1]
        assert sum(block.count for each in found for block in quarantined_blocks(tmp_path / "a", each.name)) == own

        once_more = Member("A", tmp_path / "a", register, b, "both")
        await once_more.start()
        await until(lambda: once_more.pair.standby.in_sync and once_more.node.engine.seq == b.node.engine.seq)
        seen["digests"] = (once_more.node.engine.event_digest, b.node.engine.event_digest)
        once_more.close()

    with_pair(tmp_path, story)
    assert seen["digests"][0] == seen["digests"][1]
    with Journal.open(tmp_path / "a", readonly=True) as one, Journal.open(tmp_path / "b", readonly=True) as two:
        assert [bytes(block.sealed) for block in one.blocks()] == [bytes(block.sealed) for block in two.blocks()]


def test_a_copy_without_a_common_block_is_sent_to_the_history_where_there_is_one() -> None:
    for port, state in ((0, "refused"), (7_000, "elsewhere")):
        primary, copy = PrimaryNode(), CopyNode(slice_number=2)
        primary.core.history_port = port
        primary.write(b"abc")
        copy.log.ends[0] = copy.log.ends[0]._replace(digest=b"another record   "[:16])
        Wire(primary, copy).settle()
        assert copy.core.state == state
        assert copy.core.history_port == port
