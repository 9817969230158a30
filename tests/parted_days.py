"""Days in parts: a market is broken off after one of them, and goes on from what its directory has."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from directory.recover import checkpoint, create, recover
from directory.roll import roll
from engine import Capacity, Engine
from engine.interface import MarketEngine
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.translate import Translator
from replay.difference import unlike
from replay.rebuild import rebuild
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.rows import Rows, batch


class PartedDay(NamedTuple):
    """All commands of a day, and the number of those up to the end of each part."""

    rows: Rows
    ends: dict[str, int]
    capacity: Capacity

    @property
    def cuts(self) -> list[str]:
        """Parts after which something is left."""
        return list(self.ends)[:-1]

    def begun(self, directory: Path, cut: str) -> None:
        """A directory with the day up to the end of a part."""
        journal, engine = create(directory, self.capacity)
        with journal:
            pump([self.rows[: self.ends[cut]]], FileStamp(), journal, engine)

    def gone_on(self, directory: Path, cut: str) -> tuple[MarketEngine, int]:
        """The engine after the rest of the commands, and the command from whose state it began."""
        journal, engine, recovered = recover(directory)
        with journal:
            pump([self.rows[self.ends[cut] :]], FileStamp(), journal, engine)
        return engine, recovered.rebuilt.checkpoint_seq

    def up_to(self, cut: str) -> Engine:
        """An engine that played the day up to the end of a part."""
        engine = Engine(self.capacity)
        engine.apply(self.rows[: self.ends[cut]])
        return engine

    def checkpoint_goes_on(self, directory: Path, cut: str, truth: Engine) -> None:
        """Check that the market goes on from a checkpoint after a part as ``truth``, without a break."""
        self.begun(directory, cut)
        assert checkpoint(directory)[0] == self.ends[cut]
        engine, began = self.gone_on(directory, cut)
        assert began == self.ends[cut]
        agree(engine, truth)

    def slice_goes_on(self, directory: Path, cut: str, other: Capacity, truth: Engine) -> None:
        """Check that the market goes on in a new slice after a part, with room as it has or other, as ``truth``."""
        self.begun(directory, cut)
        assert roll(directory, capacity=other).number == 2
        engine, began = self.gone_on(directory, cut)
        assert began == self.ends[cut]
        if other == self.capacity:
            agree(engine, truth)
        else:
            engine.check()
            assert engine.event_digest == truth.event_digest
        assert verify(directory).ok

    def replays_alike(self, directory: Path, cut: str, truth: Engine) -> None:
        """Check that a replay up to a part, in either engine, gives the market of that part."""
        self.begun(directory, cut)
        roll(directory)
        agree(self.gone_on(directory, cut)[0], truth)
        for engine in ("kernel", "reference"):
            assert verify(directory, engine=engine).ok
        straight = self.up_to(cut)
        assert unlike(rebuild(directory, at=self.ends[cut], use_checkpoints=False).engine, straight) == ()
        reference = rebuild(directory, at=self.ends[cut], engine="reference").engine
        assert reference.event_digest == straight.event_digest
        assert unlike(reference, straight) == ()


def day_of_rows(parts: dict[str, Rows], capacity: Capacity) -> PartedDay:
    """A day out of the rows of its parts."""
    counts = np.cumsum([len(rows) for rows in parts.values()]).tolist()
    return PartedDay(batch(*parts.values()), dict(zip(parts, counts, strict=True)), capacity)


def day_of_text(parts: dict[str, str], capacity: Capacity) -> PartedDay:
    """A day out of its parts in scenario notation."""
    engine, parsed = ReferenceEngine(capacity), [parse(text, name) for name, text in parts.items()]
    counts = np.cumsum([len(lines) for lines in parsed]).tolist()
    translator = Translator(parse("\n".join(parts.values()), "day"), engine.directory)
    rows: list[Rows] = []
    lines: list[int] = []
    while (found := translator.next_batch(engine.directory)) is not None:
        engine.apply(found.rows)
        rows.append(found.rows)
        lines += found.lines
    ends = [sum(line < count for line in lines) for count in counts]
    return PartedDay(batch(*rows), dict(zip(parts, ends, strict=True)), capacity)


def agree(engine: MarketEngine, truth: Engine) -> None:
    """The engine is in the state of a market that went on without a break."""
    engine.check()
    assert engine.event_digest == truth.event_digest
    assert unlike(engine, truth) == ()
