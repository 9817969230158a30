"""Work of a standby in one turn of its loop: bounded, so that it acknowledges while it applies what it was behind."""

from pathlib import Path

import pytest

from node import copy_blocks
from replication.register import Register
from tests.rows import participant
from tests.test_node_pair import Member, start_rows, until, with_pair

BLOCKS = 200


def hold_back(b: Member) -> None:
    """Have a standby take blocks, and apply none of them."""
    b.pair._blocks.apply_soon = lambda: None  # type: ignore[method-assign]


def go_on(b: Member) -> None:
    """Have it apply again."""
    vars(b.pair._blocks).pop("apply_soon", None)
    b.pair._blocks.apply()


async def burst(a: Member, b: Member) -> None:
    """Have a primary send blocks that a standby takes and does not apply yet."""
    await a.node.submit(start_rows())
    # A check of the state among the blocks would wait for them to be applied, and all further blocks behind it.
    a.pair.states.walk.is_due = lambda _now_ns: False  # type: ignore[method-assign]
    await until(lambda: b.node.engine.seq == a.node.engine.seq)
    await a.node.submit(participant("GAMMA"))  # all checks that were sent came before it
    await until(lambda: b.node.engine.seq == a.node.engine.seq)
    hold_back(b)
    for _ in range(BLOCKS):
        a.node.market.take_own(participant("ALPHA"))
    assert a.node.engine.seq > b.node.engine.seq + BLOCKS


def test_a_standby_applies_a_bounded_part_in_a_turn_and_acknowledges_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_blocks, "APPLIED_BLOCKS_MAX", 16)

    async def story(_: Register, a: Member, b: Member) -> None:
        await burst(a, b)
        await until(lambda: b.pair.standby.taken_seq == a.node.engine.seq)
        left = []
        while b.node.engine.seq < a.node.engine.seq:
            go_on(b)
            left.append(a.node.engine.seq - b.node.engine.seq)
        assert len(left) >= BLOCKS // 16
        await a.node.submit(participant("BETA"))
        await until(lambda: b.node.engine.event_digest == a.node.engine.event_digest)

    with_pair(tmp_path, story)


def test_a_standby_that_applies_too_slowly_reads_no_further_and_loses_no_connection_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_blocks, "UNAPPLIED_MAX", 32)

    async def story(_: Register, a: Member, b: Member) -> None:
        standby, connection = b.pair.standby, b.pair._to_primary
        assert connection is not None
        await burst(a, b)
        await until(lambda: connection.paused)
        # The primary's bytes wait, however long: it is this node that does not listen.
        heard_ns = standby.heard_ns
        await until(lambda: standby.heard_ns > heard_ns + 2 * standby.settings.silence_ns)
        assert standby.state == "following"
        assert connection is b.pair._to_primary
        go_on(b)
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        assert not connection.paused
        assert b.node.engine.event_digest == a.node.engine.event_digest

    with_pair(tmp_path, story)
