"""Work of a standby in one turn of its loop: bounded, so that it acknowledges while it applies what it was behind."""

from pathlib import Path
from typing import Any

import pytest

from node.pair import copy_blocks
from replication.link import Position
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def watched(b: Member) -> list[tuple[int, int]]:
    """List to which first and last command of the rows are added that the projections are shown at a time."""
    shown: list[tuple[int, int]] = []

    def observe(first_seq: int, commands: Any, _events: Any) -> None:
        shown.append((first_seq, first_seq + len(commands) - 1))

    b.node.market._observers += (observe,)
    return shown


@pytest.mark.slow
def test_a_standby_whom_no_primary_waits_for_applies_many_blocks_in_one_call_and_has_a_digest_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_blocks, "RUN_COMMANDS_MAX", 50)

    async def story(_: Register, a: Member, b: Member) -> None:
        await burst(a, b)
        await until(lambda: b.pair.standby.taken_seq == a.node.engine.seq)
        before_seq = b.node.engine.seq
        b.pair.standby.disconnect()
        shown = watched(b)
        go_on(b)
        assert b.node.engine.seq == b.node.market.published_seq == a.node.engine.seq
        assert [first for first, _ in shown] == [before_seq + 1, *(last + 1 for _, last in shown[:-1])]
        assert shown[-1][1] == a.node.engine.seq
        assert len(shown) < BLOCKS // 10
        await until(lambda: b.pair.standby.in_sync)
        await until(lambda: b.node.market.published_seq == a.node.market.published_seq)
        assert b.node.outbox.digest() == a.node.outbox.digest()
        for member in (a, b):
            assert member.node.journal.wait_durable(member.node.journal.last_seq)
        await until(lambda: list(b.node.journal.digests()) == list(a.node.journal.digests()))
        assert len(list(b.node.journal.digests())) > BLOCKS

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_turn_without_a_primary_that_waits_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_blocks, "RUN_COMMANDS_MAX", 4)
    monkeypatch.setattr(copy_blocks, "CATCH_UP_BLOCKS_MAX", 16)

    async def story(_: Register, a: Member, b: Member) -> None:
        await burst(a, b)
        await until(lambda: b.pair.standby.taken_seq == a.node.engine.seq)
        b.pair.standby.disconnect()
        shown = watched(b)
        go_on(b)
        assert 16 // 4 <= len(shown) <= 16
        assert b.node.engine.seq < a.node.engine.seq
        await until(lambda: b.node.engine.event_digest == a.node.engine.event_digest)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_standby_that_diverges_among_many_blocks_names_the_block_and_applies_no_further_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_blocks, "RUN_COMMANDS_MAX", 50)

    async def story(_: Register, a: Member, b: Member) -> None:
        await burst(a, b)
        standby = b.pair.standby
        await until(lambda: standby.taken_seq == a.node.engine.seq)
        first, second = list(b.pair._blocks._unapplied)[9:11]
        standby.disconnect()
        standby._comparison.other(Position(first.last_seq, bytes(16)))
        standby._comparison.other(Position(second.last_seq, bytes(16)))
        shown = watched(b)
        go_on(b)
        assert standby.divergence is not None
        assert (standby.divergence.first_seq, standby.divergence.last_seq) == (
            standby._comparison.agreed_seq + 1,
            first.last_seq,
        )
        assert len(shown) == 1
        assert first.last_seq <= b.node.engine.seq == shown[0][1] < a.node.engine.seq

    with_pair(tmp_path, story)
