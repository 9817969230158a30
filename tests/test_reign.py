"""The reign of a primary begins with an EPOCH row, and market and blocks are of one epoch ever after."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from directory.recover import checkpoint, create, recover
from engine import Engine
from engine.bounds import EPOCH_MAX
from engine.capacity import Capacity
from engine.interface import EngineKind
from engine.names import unpack
from engine.records import CommandKind
from engine.reference import ReferenceEngine
from journal import Journal
from replay.errors import Divergence
from replay.rebuild import owned_rows, rebuild
from replay.times import position_after
from replay.verify import verify
from sequencer.pump import Pipeline, pump
from sequencer.reign import ReignRefused, begin_reign
from sequencer.stamp import FileStamp, LiveStamp
from tests.conftest import Lockstep
from tests.limit_rows import epoch
from tests.nodes import SMALL, batches, begin_slice
from tests.rows import batch, clock, extend, instrument, participant, phase
from tests.streams import random_stream

ENGINES: tuple[EngineKind, ...] = ("kernel", "reference")
TINY = Capacity(orders_max=8, ids_max=8, instruments_max=2, participants_max=2)


class Primary:
    """A node's journal, engine and pipeline, with a clock that the test sets."""

    def __init__(self, directory: Path, *, new: bool = False) -> None:
        self.now_ns = 10
        self.journal, self.engine = create(directory, TINY) if new else recover(directory)[:2]
        position = position_after(self.journal, self.engine.now_ns)
        stamp = LiveStamp(self.engine.now_ns, lambda: self.now_ns, extended=position.extended)
        self.pipeline = Pipeline(stamp, self.journal, self.engine, waits=True)

    def reign(self, number: int, node: str = "A") -> int:
        """Begin a reign."""
        return begin_reign(self.journal, self.engine, self.pipeline.take, number, node)

    def close(self) -> None:
        """Make all durable and close the journal."""
        self.pipeline.all()
        self.journal.close()


def kinds_and_epochs(directory: Path) -> list[tuple[list[int], int]]:
    """Kinds of the rows of each block, and the epoch in its header."""
    with Journal.open(directory) as journal:
        assert journal.check().ok
        return [(owned_rows(block.rows)["kind"].tolist(), block.epoch) for block in journal.blocks()]


def test_the_epoch_row_is_the_first_command_of_the_first_block_of_its_epoch(tmp_path: Path) -> None:
    node = Primary(tmp_path, new=True)
    node.pipeline.take(instrument("XYZ"))
    assert (node.reign(7), node.engine.epoch, node.journal.epoch) == (3, 7, 7)
    node.pipeline.take(participant("P1"))
    node.now_ns = 20
    assert (node.reign(9, "node_b-of-the-pair"), node.engine.epoch, node.journal.epoch) == (6, 9, 9)
    node.close()
    clock_kind, epoch_kind = int(CommandKind.CLOCK), int(CommandKind.EPOCH)
    assert kinds_and_epochs(tmp_path) == [
        ([clock_kind, int(CommandKind.INSTRUMENT)], 0),
        ([epoch_kind], 7),  # the clock has not moved
        ([int(CommandKind.PARTICIPANT)], 7),
        ([clock_kind, epoch_kind], 9),
    ]
    with Journal.open(tmp_path) as journal:
        last = owned_rows(list(journal.blocks())[-1].rows)[-1]
    assert (int(last["epoch"]), unpack(int(last["name"]))) == (9, "NODE-B-O")


def test_a_reign_begins_behind_an_extend_row_whose_command_never_came(tmp_path: Path) -> None:
    node = Primary(tmp_path, new=True)
    node.pipeline.take(extend("NOBODY"))
    node.close()
    again = Primary(tmp_path)
    again.now_ns = 20
    assert (again.reign(1), again.engine.epoch, again.journal.epoch) == (3, 1, 1)
    again.pipeline.take(instrument("XYZ"))
    assert again.engine.now_ns == 20
    again.close()
    clock_kind, epoch_kind = int(CommandKind.CLOCK), int(CommandKind.EPOCH)
    assert kinds_and_epochs(tmp_path) == [
        ([clock_kind, int(CommandKind.EXTEND)], 0),
        ([epoch_kind], 1),
        ([clock_kind, int(CommandKind.INSTRUMENT)], 1),
    ]


@pytest.mark.parametrize(
    ("number", "name", "sentence"),
    [
        (5, "A", "epoch 5 cannot begin: the journal is in epoch 5, and a reign needs a higher one"),
        (4, "A", "epoch 4 cannot begin: the journal is in epoch 5"),
        (0, "A", "epoch 0 cannot begin: the journal is in epoch 5"),
        (-(2**70), "A", "cannot begin: the journal is in epoch 5"),
        (EPOCH_MAX + 1, "A", "cannot begin: it is above 2\\^62"),
        (6, "", "'' is no name of a node; use A-Z a-z 0-9 . _ -"),
        (6, "A B", "'A B' is no name of a node"),
        (6, "Ä", "'Ä' is no name of a node"),
        (6, "straße", "'straße' is no name of a node"),
        (6, "A\n", "is no name of a node"),
    ],
)
def test_a_reign_that_may_not_begin_is_refused_and_nothing_is_sequenced(
    number: int, name: str, sentence: str, tmp_path: Path
) -> None:
    node = Primary(tmp_path, new=True)
    node.reign(5)
    before = (node.engine.seq, node.journal.last_seq, node.journal.epoch, node.engine.state_digest())  # type: ignore[attr-defined]
    with pytest.raises(ReignRefused, match=sentence):
        node.reign(number, name)
    assert before == (
        *(node.engine.seq, node.journal.last_seq, node.journal.epoch),
        node.engine.state_digest(),  # type: ignore[attr-defined]
    )
    node.reign(EPOCH_MAX)
    node.close()


def test_an_epoch_that_only_the_market_has_seen_is_not_begun_again(tmp_path: Path) -> None:
    node = Primary(tmp_path, new=True)
    node.engine.apply(epoch(3))
    with pytest.raises(ReignRefused, match="epoch 3 cannot begin: the market is in epoch 3"):
        node.reign(3)
    node.journal.close()


def test_a_reign_outlives_its_node_a_checkpoint_and_a_slice(tmp_path: Path) -> None:
    node = Primary(tmp_path, new=True)
    node.reign(3)
    node.close()

    def begun_again(number: int) -> Primary:
        again = Primary(tmp_path)
        assert (again.journal.epoch, again.engine.epoch) == (number, number)
        return again

    node = begun_again(3)
    node.reign(4, "B")
    node.pipeline.all()
    begin_slice(node.journal, node.engine)
    assert (node.journal.epoch, node.engine.epoch) == (4, 4)
    node.journal.close()
    node = begun_again(4)  # the slice has no block yet
    node.reign(6)
    node.close()
    checkpoint(tmp_path)
    node = begun_again(6)
    node.reign(8, "B")
    node.close()
    for kind in ENGINES:
        assert rebuild(tmp_path, engine=kind).engine.epoch == 8
        assert verify(tmp_path, engine=kind).ok


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 7, 64, 20_000])
def test_epochs_of_blocks_never_go_back_and_are_those_of_the_market(seed: int, size: int, tmp_path: Path) -> None:
    """A file may have EPOCH rows of any kind, as a printed journal has."""
    rows = reigns(seed, 150 if size == 1 else 900)
    journal, engine = create(tmp_path, SMALL)
    with journal:
        pump(batches(rows, size), FileStamp(), journal, engine)
        assert journal.epoch == engine.epoch > 0
    machines = (Engine(SMALL), ReferenceEngine(SMALL))
    seen = []
    with Journal.open(tmp_path) as journal:
        for block in journal.blocks():
            for machine in machines:
                machine.apply(owned_rows(block.rows))
                assert machine.epoch == block.epoch
            seen.append(block.epoch)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3 or size > len(rows)
    recover(tmp_path)[0].close()


def reigns(seed: int, count: int) -> NDArray[Any]:
    """A stream in which every tenth row begins a reign, or tries to."""
    rng = np.random.default_rng(seed)
    rows = random_stream(seed, count, hostile=0.1, garbage=0.02)
    at = np.flatnonzero(rng.random(len(rows)) < 0.1)
    rows.view(np.uint8).reshape(len(rows), -1)[at] = 0
    rows["kind"][at], rows["name"][at] = CommandKind.EPOCH, rng.choice([ord("A"), ord("B"), ord("a")], len(at))
    rows["epoch"][at] = np.arange(len(at)) + rng.integers(-3, 4, len(at))
    rows["price_e4"][at] = rng.random(len(at)) < 0.1
    return rows


def test_an_epoch_row_in_a_live_batch_moves_the_epoch_of_its_block_as_the_market_does(tmp_path: Path) -> None:
    node = Primary(tmp_path, new=True)
    node.pipeline.take(batch(epoch(2), epoch(1), epoch(4, "a"), extend(), epoch(3)))
    assert (node.engine.epoch, node.journal.epoch) == (3, 3)
    node.pipeline.take(batch(epoch(3), extend("NO")))
    node.close()
    assert [each for _, each in kinds_and_epochs(tmp_path)] == [3, 3]


def test_a_node_whose_last_block_and_market_are_of_different_epochs_does_not_start(tmp_path: Path) -> None:
    """No release writes such a journal; the control is the same journal without that block."""
    for name, (of_block, of_market) in {"block": (5, 4), "market": (4, 6)}.items():
        directory = tmp_path / name
        node = Primary(directory, new=True)
        node.reign(4)
        node.close()
        recover(directory)[0].close()
        journal, engine, _ = recover(directory)
        rows = epoch(of_market, "B") if of_market > 4 else clock(99)
        journal.epoch = of_block
        first_seq = journal.append(1, rows.view(np.uint8).data, engine.now_ns)
        engine.apply(rows)
        journal.put_digest(first_seq, engine.event_digest)
        journal.close()
        sentence = f"is of epoch {of_block}, and its commands end in epoch {of_market}"
        with pytest.raises(Divergence, match=sentence):
            recover(directory)
        with Journal.open(directory, readonly=False) as free:  # it was closed
            assert free.last_seq == first_seq


@pytest.mark.slow
def test_commands_and_state_show_a_reign_and_what_is_printed_runs_again_to_the_same_blocks(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    node = Primary(tmp_path / "node", new=True)
    node.now_ns = 1_705_311_000 * 10**9
    node.reign(7)
    node.pipeline.take(batch(instrument("XYZ"), participant("P1")))
    node.now_ns += 10**9
    node.reign(1_012, "NODE-B")
    node.close()
    status, said, _ = lockstep("commands", tmp_path / "node")
    assert status == 0
    lines = [line for line in said.splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.startswith("epoch")] == ["epoch 7 node=A", "epoch 1012 node=NODE-B"]
    _, shown, _ = lockstep("state", tmp_path / "node")
    assert [line.split() for line in shown.splitlines() if line.split()[:1] == ["epoch"]] == [["epoch", "1,012"]]
    (tmp_path / "day.txt").write_text(said)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "again", "--block-rows", "1")[0] == 0
    assert {each for _, each in kinds_and_epochs(tmp_path / "again")} == {0, 7, 1_012}
    for directory in ("node", "again"):
        journal, engine, _ = recover(tmp_path / directory)
        assert (journal.epoch, engine.epoch) == (1_012, 1_012)
        journal.close()


def test_a_reign_changes_nothing_but_the_epoch() -> None:
    rows = batch(clock(5), instrument("XYZ"), participant("P1"), phase("XYZ", 4))
    for machine in (Engine(TINY), ReferenceEngine(TINY)):
        machine.apply(rows)
        before = [getattr(machine, view)().tobytes() for view in ("instruments", "participants", "open_orders")]
        due = (machine.now_ns, machine.next_due_ns, machine.event_digest, machine.directory)
        assert len(machine.apply(epoch(2))) == 0
        assert before == [getattr(machine, view)().tobytes() for view in ("instruments", "participants", "open_orders")]
        assert due == (machine.now_ns, machine.next_due_ns, machine.event_digest, machine.directory)
        assert machine.epoch == 2
        machine.check()
