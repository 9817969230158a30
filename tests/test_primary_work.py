"""Work of a primary for a block, a tick or a greeting: bounded, however far a copy is behind; clients wait for it."""

from functools import partial
from itertools import pairwise

import pytest

from replication.backlog import Backlog
from replication.link import Position
from replication.primary import Settings
from sequencer.release import ReleasePolicy
from tests.pairs import MS, CopyNode, Log, PrimaryNode, Wire
from tests.work import instructions

FEW, MANY = 500, 4_000


def behind(blocks: int, settings: Settings | None = None) -> tuple[PrimaryNode, Wire]:
    """A primary with so many blocks of one order, and a connection of a copy that has none of them."""
    primary = PrimaryNode(settings=settings or Settings())
    for _ in range(blocks):
        primary.write(b"d")
    return primary, Wire(primary, CopyNode())


def greet(wire: Wire) -> None:
    """Let the copy introduce itself; the primary's answer stays with it."""
    wire.copy.core.receive(b"".join(wire.end.take_out()), 0)
    hello = b"".join(wire.copy.core.take_out())
    wire.primary.core.receive(wire.end, hello, 0)


def full(blocks: int) -> tuple[PrimaryNode, Wire]:
    """A primary with a copy far behind that takes no more bytes now."""
    primary, wire = behind(blocks, Settings(out_bytes_max=4_096))
    greet(wire)
    assert wire.end.state == "live"
    assert wire.end.waiting_bytes > 4_096
    assert wire.end.sent_seq < 100
    return primary, wire


def test_a_block_costs_the_same_however_many_a_copy_has_not_taken() -> None:
    costs = [instructions(partial(primary.write, b"d"), "replication") for primary, _ in map(full, (FEW, MANY))]
    assert costs[1] < costs[0] * 1.2


def test_a_tick_costs_the_same_however_many_a_copy_has_not_taken() -> None:
    costs = [instructions(partial(primary.core.tick, MS, 0), "replication") for primary, _ in map(full, (FEW, MANY))]
    assert costs[1] < costs[0] * 1.2


def test_the_greeting_of_a_copy_costs_the_same_however_far_it_is_behind() -> None:
    costs = []
    for blocks in (FEW, MANY):
        _, wire = behind(blocks, Settings(out_bytes_max=4_096))
        costs.append(instructions(partial(greet, wire), "replication"))
        assert wire.end.state == "live"
    assert costs[1] < costs[0] * 1.2


@pytest.mark.slow
def test_the_greeting_of_a_copy_with_blocks_of_its_own_costs_the_same_however_long_the_backlog() -> None:
    costs = []
    for blocks in (FEW, MANY):
        primary, _ = behind(blocks)
        log = Log.of(primary.log.blocks[:-300])
        for _ in range(256):
            log.write(b"z", 1)
        wire = Wire(primary, CopyNode(log=log))
        costs.append(instructions(partial(greet, wire), "replication"))
        assert "not of this history" in wire.end.why
    assert costs[1] < costs[0] * 1.5


@pytest.mark.slow
def test_one_turn_puts_a_bounded_number_of_blocks_on_a_connection_and_the_next_ones_go_on() -> None:
    primary, wire = behind(MANY)
    greet(wire)
    turns = [wire.end.sent_seq]
    while turns[-1] < primary.log.seq:
        primary.core.tick(0, 0)
        turns.append(wire.end.sent_seq)
    assert turns[0] <= 256
    assert all(0 < later - earlier <= 256 for earlier, later in pairwise(turns))
    wire.settle()
    assert wire.copy.log.digest == primary.log.digest
    assert primary.core.status()[0]["agreed_seq"] == primary.log.seq


@pytest.mark.parametrize("bytes_max", [1, 1_000, 5_000])
def test_a_backlog_has_its_newest_blocks_and_no_others(bytes_max: int) -> None:
    log = Log()
    backlog = Backlog(0, log.ends[0].digest, bytes_max)
    for number in range(1, 401):
        first, last, sealed = log.write(b"x" * (1 + number % 3), 1)
        backlog.add(first, last, sealed)
        kept = [block.last_seq for block in backlog.blocks_from(backlog.start.seq + 1)]
        assert kept == [end.seq for end in log.ends if end.seq > backlog.start.seq]
        assert sum(map(len, log.blocks[-len(kept) :])) < bytes_max + len(sealed) * 2
        assert all(backlog.has(end) == (end.seq >= backlog.start.seq) for end in log.ends[-40:])
        assert [block.last_seq for block in backlog.blocks_from(first)] == [last]
        assert not list(backlog.blocks_from(last + 1))
    assert not backlog.has(Position(log.seq, bytes(16)))
    assert not backlog.has(Position(log.seq + 1, log.ends[-1].digest))


@pytest.mark.parametrize("policy", ["both", "replica"])
def test_answers_wait_for_a_standby_only_once_it_is_a_moment_behind_whatever_the_size_of_blocks(
    policy: ReleasePolicy,
) -> None:
    settings = Settings(policy=policy)
    primary = PrimaryNode(settings=settings)
    for now_ms in range(0, 2_000, 5):
        primary.write(b"d")
        primary.core.tick(now_ms * MS, 0)
    wire = Wire(primary, CopyNode(), 2_000 * MS)
    while wire.copy.log.seq < 256:
        wire.turn(2_000 * MS)
    # What it lacks was written in 700 ms, and would take it about as long.
    primary.write(b"d")
    assert primary.released == primary.log.seq == 401
    primary.core.tick(2_000 * MS, 0)
    wire.settle(2_000 * MS)
    primary.write(b"d")
    assert primary.released == 401, "answers wait for it now"
    wire.settle(2_000 * MS)
    assert primary.released == 402
    assert primary.core.wish == {"A", "B"}


def test_answers_do_not_wait_for_a_standby_whose_disk_is_far_behind_its_memory() -> None:
    primary = PrimaryNode(settings=Settings(policy="both"))
    for now_ms in range(0, 1_000, 5):
        primary.write(b"d")
        primary.core.tick(now_ms * MS, 0)
    copy = CopyNode()
    copy.journals = False
    wire = Wire(primary, copy, 1_000 * MS)
    wire.settle(1_000 * MS)
    assert wire.end.received_seq == primary.log.seq
    primary.write(b"d")
    assert primary.released == primary.log.seq
    copy.journals = True
    wire.settle(1_000 * MS)
    wire.copy.work(1_000 * MS)
    wire.settle(1_000 * MS)
    primary.write(b"d")
    assert primary.released < primary.log.seq
