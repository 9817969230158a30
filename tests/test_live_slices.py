"""A slice that the primary begins while its copies follow: each begins the same one between the same two blocks."""

import pytest

from replication.primary import Settings
from tests.pairs import CopyNode, Log, PrimaryNode, Wire


def pair(settings: Settings | None = None) -> tuple[PrimaryNode, CopyNode, Wire]:
    primary = PrimaryNode(settings=settings or Settings())
    primary.write(b"abc")
    copy = CopyNode()
    wire = Wire(primary, copy)
    wire.settle()
    primary.record()
    wire.settle()
    return primary, copy, wire


def same(primary: PrimaryNode, copy: CopyNode) -> bool:
    one, two = primary.log, copy.log
    return (one.blocks, one.slices, one.ends[-1], one.digest) == (two.blocks, two.slices, two.ends[-1], two.digest)


def reconnected(primary: PrimaryNode, copy: CopyNode, wire: Wire | None = None) -> Wire:
    if wire is not None:
        primary.core.disconnect(wire.end)
    copy.core.disconnect()
    wire = Wire(primary, copy)
    wire.settle()
    return wire


def test_a_standby_begins_the_slice_between_the_same_blocks_and_stays_in_sync() -> None:
    primary, copy, wire = pair()
    primary.write(b"de")
    primary.roll(b"slice 2")
    primary.write(b"f")
    primary.roll(b"slice 3")
    wire.settle()
    assert copy.log.slices == [b"slice 2", b"slice 3"]
    assert same(primary, copy)
    assert copy.core.in_sync
    assert copy.core.identity.slice_number == 3
    primary.write(b"g")
    wire.settle()
    assert same(primary, copy)
    assert primary.released == primary.log.seq


@pytest.mark.parametrize("room", [40, 8 << 20])
def test_a_standby_that_was_away_during_rolls_gets_each_slice_in_its_place(room: int) -> None:
    primary, copy, wire = pair(Settings(out_bytes_max=room))
    primary.core.disconnect(wire.end)
    for number in (2, 3):
        primary.write(b"de")
        primary.roll(b"slice %d" % number)
    primary.write(b"f")
    again = reconnected(primary, copy)
    for now_ns in range(0, 400, 20):
        primary.core.tick(now_ns * 1_000_000, 0)
        again.settle(now_ns * 1_000_000)
    assert copy.core.state == "following"
    assert same(primary, copy)


def test_a_standby_goes_on_from_the_very_end_of_a_slice_and_from_the_very_begin_of_one() -> None:
    primary, copy, wire = pair()
    primary.core.disconnect(wire.end)
    primary.roll(b"slice 2")
    wire = reconnected(primary, copy)
    assert same(primary, copy)
    wire = reconnected(primary, copy, wire)
    assert copy.log.slices == [b"slice 2"]
    primary.write(b"d")
    wire.settle()
    assert same(primary, copy)


def test_a_standby_takes_over_in_the_slice_that_it_was_told_of_or_in_the_one_before() -> None:
    for told in (True, False):
        primary, copy, wire = pair()
        primary.roll(b"slice 2")
        if told:
            wire.settle()
        copy.core.disconnect()
        copy.work(0)
        copy.core.reign(2)
        assert copy.log.slices == ([b"slice 2"] if told else [])
        # A slice that came and was not begun is none of the new reign.
        assert copy.core.take_checks() == []


def test_an_old_primary_that_alone_began_a_slice_is_not_taken_for_a_copy_of_the_new_one() -> None:
    """Its slice has no block, so its last command is that of the other node's journal; the slice is not."""
    old, copy, wire = pair()
    wire.settle()
    old.roll(b"slice 2 of the old primary")
    for slices in ([], [b"slice 2 of the new primary"]):
        log = Log.of(copy.log.blocks)
        new = PrimaryNode("B", 2, log=log)
        new.core.history_port = 9
        new.write(b"x")
        for genesis in slices:
            new.roll(genesis)
        new.write(b"y")
        back = CopyNode("A", epoch=1, log=old.log, slice_number=2)
        Wire(new, back).settle()
        assert back.core.state == "elsewhere"
        assert back.log.blocks == old.log.blocks


def test_a_slice_whose_begin_is_not_at_hand_is_fetched() -> None:
    primary, copy, wire = pair(Settings(backlog_bytes=100))
    primary.core.history_port = 9
    primary.core.disconnect(wire.end)
    primary.roll(b"slice 2")
    for _ in range(10):
        primary.write(b"d" * 50)
    assert not primary.core.backlog.slices
    reconnected(primary, copy)
    assert copy.core.state == "elsewhere"
