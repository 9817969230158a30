"""Upgrades of golden directories of earlier releases, for tests."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from checkpoints import Checkpoint, CheckpointStore
from directory.upgrade import Plan
from engine import Capacity, Engine
from engine.conversion import convert
from gateway.ouch.outbox import OuchOutbox
from gateway.passwords import salt_and_hash
from gateway.passwords import verify as is_password
from journal import Journal
from journal.slices import places
from node.core.opening import OpenDirectory, open_directory
from node.core.upgrade import upgrade
from replay.rebuild import owned_rows
from sequencer.pump import Pipeline
from sequencer.stamp import FileStamp
from tests.golden.releases import release_content, release_copy
from tests.test_golden_releases import objects

CAPACITY = Capacity(orders_max=400, ids_max=1_000, instruments_max=4, participants_max=8)
LARGER = replace(CAPACITY, orders_max=900, ids_max=3_000, instruments_max=7, participants_max=12)
VIEWS = ("open_orders", "positions", "limits", "instruments", "participants")


def upgraded(directory: Path, capacity: Capacity | None = None) -> Plan:
    """Upgrade a directory; what was planned."""
    with upgrade(directory, capacity) as prepared:
        assert prepared.plan is not None
        prepared.begin()
        return prepared.plan


def is_upgraded(directory: Path, release: str, capacity: Capacity = CAPACITY) -> bool:
    """Start in an upgraded directory, and compare all that it holds with what it held before."""
    content = release_content(release)
    node = open_directory(directory, CAPACITY, "fsync")
    try:
        assert [place.number for place in places(directory)] == [1, 2]
        assert (node.journal.start_seq, node.journal.last_seq) == (content["last_seq"], content["last_seq"])
        assert Capacity(**node.journal.meta["capacity"]) == capacity
        assert node.engine.event_digest.hex() == content["event_digest"]
        node.engine.check()
        for view in VIEWS:
            assert objects(getattr(node.engine, view)(), content[view]) == content[view], view
        venue = node.engine._state.venue[0]  # type: ignore[attr-defined]
        now = (venue["last_order_number"], venue["last_trade_number"], venue["ids_used"])
        assert now == tuple(content[name] for name in ("orders_accepted", "trades", "ids_used"))
        assert (node.engine.now_ns, node.engine.next_due_ns) == (content["now_ns"], content["next_due_ns"])
        assert streams_are_those_of(node.outbox, content)
        for name, password in content["passwords"].items():
            user = node.outbox.streams.row(node.outbox.streams.user(name))
            assert is_password(password, *salt_and_hash(user), int(user["cost"]))
            assert not is_password("wrong", *salt_and_hash(user), int(user["cost"]))
        files = sorted(path.name for path in (directory / "streams").iterdir())
        assert files == [f"{session}.spool" for session in content["sessions_kept"]], "old ones go at the start"
    finally:
        close(node)
    return True


def streams_are_those_of(outbox: OuchOutbox, content: dict[str, Any]) -> bool:
    assert [*outbox.past, outbox.spool.session] == content["sessions_kept"]
    for session in content["sessions_kept"]:
        spool = outbox.spool_of(session)
        assert spool is not None
        for user, stream in content["streams"][session].items():
            next_seq, end = spool.end(int(user))
            data = spool.read(int(user), 0, 1 << 30)
            assert (next_seq - 1, end, zlib.crc32(data)) == (stream["messages"], stream["bytes"], stream["crc32"])
            assert spool.position_of(int(user), next_seq) == end
    return True


def written_again(release: str, directory: Path) -> Path:
    """A directory of this release with the commands of an earlier one, block by block."""
    node = open_directory(directory, CAPACITY, "fsync")
    pipeline = Pipeline(FileStamp(), node.journal, node.engine, publishers=[node.projections.observe], waits=True)
    with Journal.open(release_copy(release, directory.with_name(f"{directory.name}-read"))) as journal:
        for block in journal.blocks():
            pipeline.take(owned_rows(block.rows))
    pipeline.all()
    close(node)
    return directory


def close(node: OpenDirectory) -> None:
    node.journal.close()
    node.projections.close()


def image_of(directory: Path) -> Checkpoint:
    (info,) = CheckpointStore(directory).list()
    return CheckpointStore(directory).load(info.path)


def engine_of(image: Checkpoint, to: Capacity = CAPACITY) -> Engine:
    conversion = convert(
        image.parts,
        rules_version=image.rules_version,
        state_version=image.state_version,
        capacity=Capacity(**image.capacity),
        to=to,
    )
    return Engine.restore(to, image.seq, image.event_digest, conversion.parts)
