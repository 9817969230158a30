"""`lockstep doctor` on checkpoints without the users' streams, which the next start has to rebuild."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints import CheckpointStore, Projections
from gateway.ouch.outbox import FOLDER, OuchOutbox
from journal import Journal
from tests.conftest import Lockstep
from tests.nodes import SMALL, write_node
from tests.streams import random_stream

ROWS = random_stream(7, 400)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's directory with checkpoints at about 100, 200 and 300 commands; the first has the users' streams."""
    directory = tmp_path / "node"
    write_node(directory, ROWS, checkpoint_every=100)
    with Journal.open(directory, readonly=True) as journal:
        outbox = OuchOutbox(directory, SMALL, journal.journal_id)
    outbox.spool.append(1, 1, 2, b"\0\1x\0\1y")
    outbox.flush()
    store = CheckpointStore(directory)
    first = store.list()[0].path
    store.write(replace(store.verify(first), projections=Projections([outbox]).images()))
    outbox.close()
    return directory


def test_the_doctor_names_checkpoints_without_streams_and_says_from_where_they_are_made_again(
    node: Path, lockstep: Lockstep
) -> None:
    first, *others = (info.seq for info in CheckpointStore(node).list())
    status, said, _ = lockstep("doctor", node)
    named = ", ".join(map(str, others))
    assert f"{len(others)} of {len(others) + 1} checkpoints without the users' streams of this release: {named}" in said
    assert f"streams: the next start rebuilds the streams from checkpoint {first:,}, which takes as long as" in said
    assert f"run `lockstep admin checkpoint {node}` on the running node" in said
    assert (status, said.endswith("see the note on streams\n")) == (0, True)
    for info in CheckpointStore(node).list()[:1]:
        info.path.unlink()
    assert "streams: the next start rebuilds the streams from command 1, " in lockstep("doctor", node)[1]


def test_the_doctor_has_no_note_where_the_newest_checkpoint_has_the_streams(node: Path, lockstep: Lockstep) -> None:
    for info in CheckpointStore(node).list()[1:]:
        info.path.unlink()
    status, said, _ = lockstep("doctor", node)
    assert (status, said.endswith("nothing is wrong\n")) == (0, True)


def test_a_directory_without_users_streams_needs_none_in_its_checkpoints(node: Path, lockstep: Lockstep) -> None:
    shutil.rmtree(node / FOLDER)
    assert lockstep("doctor", node)[1].endswith("nothing is wrong\n")


def test_checkpoint_create_says_that_it_is_without_streams(node: Path, lockstep: Lockstep) -> None:
    listed = [json.loads(line) for line in lockstep("checkpoint", "list", node, "--json")[1].splitlines()]
    assert listed[0]["projections"].keys() == {"streams"}
    assert listed[0]["projections"]["streams"]["version"] == OuchOutbox.version
    assert len(listed[0]["projections"]["streams"]["digest"]) == 32
    assert [each["projections"] for each in listed[1:]] == [{}] * (len(listed) - 1)
    status, said, complaint = lockstep("checkpoint", "create", node)
    assert (status, said.startswith("checkpoint at command ")) == (0, True)
    assert complaint == (
        "note: it lacks the users' streams, so a node that starts from it rebuilds them from an older checkpoint; "
        f"`lockstep admin checkpoint {node}` has a running node write one that has them\n"
    )


def test_the_doctor_finds_a_flipped_bit_in_a_stream_and_writes_nothing(node: Path, lockstep: Lockstep) -> None:
    (file,) = (node / FOLDER).iterdir()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    status, said, _ = lockstep("doctor", node)
    assert (status, f"{file} was changed: the stream of user number 1 differs from the written one" in said) == (
        1,
        True,
    )
    assert said.endswith("wrong: streams\n")
    assert file.read_bytes() == raw
    file.unlink()
    assert f"{file} is missing" in lockstep("doctor", node)[1]
    assert not file.exists()
