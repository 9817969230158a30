"""Divergence of the state of two nodes in one process: found, named, marked, and written into bundles."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from directory.bundle import BundleError, bundles, judge, read_bundle
from directory.divergence import DirectoryDiverged, check_unmarked, directory_id, read_mark
from engine.interface import StatefulEngine
from engine.parts import regions
from node.node import Node
from replication.link import Scrub
from replication.pieces import TURN_NS
from replication.register import Register
from tests.rows import enter
from tests.test_node_pair import Member, start_rows, until, with_pair

#: Place of a bit of each part that no later command of these tests touches: region, row and field.
PLACES = {
    "venue": ("venue", 0, "last_trade_number"),
    "reference": ("instruments", 0, "volatility_window_s"),
    "orders": ("orders", 1, "order_number"),
    "ids": ("ids", 3, "client_order_id"),
    "books": ("books", 0, "pegs_tick"),
    "risk": ("exposures", 1, "position_qty"),
}


def flip(node: Node, part: str) -> None:
    """Flip the lowest bit of the place of a part."""
    name, row, field = PLACES[part]
    region = next(each for each in regions(node.engine._state) if each.name == name)  # type: ignore[attr-defined]
    offset = region.rows.dtype.fields[field][1]  # type: ignore[index]
    region.rows[row : row + 1].view(np.uint8)[offset] ^= 1


@pytest.mark.slow
@pytest.mark.parametrize("part", sorted(PLACES))
def test_a_flipped_bit_that_no_event_shows_is_found_and_the_standby_does_not_take_over(
    tmp_path: Path, part: str
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        flip(b.node, part)
        await until(lambda: b.pair.standby.state == "diverged")
        assert b.pair.standby.divergence is not None
        assert b.pair.standby.divergence.part == part
        await until(lambda: "B" in a.pair.primary.divergences)  # type: ignore[union-attr]
        assert a.pair.primary is not None
        assert a.pair.primary.divergences["B"].part == part
        assert "diverged" in b.pair.standby.reason_not_to_take_over(register.stored.reign)
        await a.node.submit(enter(1, "a1", 1, 1, 90_000))
        for each in (a, b):
            assert each.node.status()["diverged"] == 1
            await until(lambda each=each: bool(bundles(each.directory)))  # type: ignore[misc]
        assert a.node.standing()[0] == "open"
        assert b.node.standing()[0] == "diverged"

    with_pair(tmp_path, story)
    mark = read_mark(tmp_path / "b")
    assert mark is not None
    assert (mark.part, mark.node, mark.primary) == (part, "B", "A")
    assert read_mark(tmp_path / "a") is None
    with pytest.raises(DirectoryDiverged, match="empty --data directory"):
        check_unmarked(tmp_path / "b")
    (of_a,), (of_b,) = bundles(tmp_path / "a"), bundles(tmp_path / "b")
    judged = []
    for path in (of_a, of_b):
        bundle = read_bundle(path)
        assert bundle.part == part
        assert bundle.manifest["found"]["sentence"]
        (work := tmp_path / f"work-{path.parent.name}").mkdir()
        judged.append(judge(bundle, work))
    assert [each.why_not for each in judged] == ["", ""]
    assert judged[0].unlike == ()
    assert judged[1].unlike == (part,)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("victim", ["A", pytest.param("B", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "part",
    ["ids", "risk", *(pytest.param(part, marks=pytest.mark.slow) for part in PLACES if part not in ("ids", "risk"))],
)
def test_a_flipped_bit_in_a_quiet_market_is_found_within_the_turns_of_100_ms(
    tmp_path: Path, part: str, victim: str
) -> None:
    """No command comes between the flip and its finding. Turns are counted, since a slow machine only delays them."""

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        compared = b.pair.states.pieces.compared
        await until(lambda: b.pair.states.pieces.compared > compared)
        turn, turns = a.pair.states.walk.turn, [0]

        def counted(engine: StatefulEngine, *, gathers: bool) -> list[Scrub]:
            turns[0] += 1
            return turn(engine, gathers=gathers)

        a.pair.states.walk.turn = counted  # type: ignore[method-assign]
        seq = a.node.engine.seq
        flip((a if victim == "A" else b).node, part)
        await until(lambda: b.pair.standby.state == "diverged")
        assert b.pair.standby.divergence is not None
        assert (b.pair.standby.divergence.part, b.pair.standby.divergence.last_seq) == (part, seq)
        assert turns[0] <= 100_000_000 // TURN_NS + 1, "one more may begin before the finding is seen here"

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_skipped_comparison_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what the test above asserts is the work of the pieces."""
    monkeypatch.setattr("replication.standby.Standby.compare_part", lambda *_: None)

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        flip(b.node, "ids")
        compared = b.pair.states.pieces.compared
        await until(lambda: b.pair.states.pieces.compared > compared + 200)
        assert b.pair.standby.state == "following"

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_parts_are_compared_where_the_standby_takes_the_checkpoint_instead_of_the_primary(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        seq = a.node.engine.seq
        a.node.checkpointing.wanted = True
        a.node.checkpointing.look()
        await until(lambda: _tended(a, b) and b.node.checkpointing.finished_seq == seq)
        assert a.node.checkpointing.finished_seq == 0
        await until(lambda: _tended(a, b) and b.pair.states.agreed_parts_seq == seq)
        taken = await a.node.checkpoint()
        assert taken["seq"] == a.node.checkpointing.finished_seq == a.node.engine.seq

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_difference_of_the_users_streams_is_found_at_a_checkpoint(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.node.outbox.streams.tables.stocks[1:2].view(np.uint8)[0] ^= 1
        a.node.checkpointing.wanted = True
        a.node.checkpointing.look()
        await until(lambda: _tended(a, b) and b.pair.standby.state == "diverged")
        assert b.pair.standby.divergence is not None
        assert b.pair.standby.divergence.part == "streams"

    with_pair(tmp_path, story)


def _tended(*members: Member) -> bool:
    for each in members:
        each.node.checkpointing._aside.tend()
    return True


@pytest.mark.slow
def test_a_damaged_bundle_is_refused_and_a_directory_that_was_copied_has_another_id(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        flip(b.node, "reference")
        await until(lambda: bool(bundles(b.directory)))

    with_pair(tmp_path, story)
    (path,) = bundles(tmp_path / "b")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"LKBK") if b"LKBK" in raw else len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(path)
    path.write_bytes(b"no bundle")
    with pytest.raises(BundleError, match="no bundle"):
        read_bundle(path)
    one = directory_id(tmp_path / "a")
    assert directory_id(tmp_path / "a") == one
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "directory_id").write_bytes((tmp_path / "a" / "directory_id").read_bytes())
    assert directory_id(tmp_path / "c") != one


def test_a_copy_on_another_disk_gets_an_id_of_its_own_though_its_inode_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the roots of two mounted disks have."""
    one = directory_id(tmp_path)
    found = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_fsid=found.f_fsid + 1))
    assert directory_id(tmp_path) != one
