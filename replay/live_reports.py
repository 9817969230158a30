"""Reports of a market as they may be told, for a program beside its node: of the past, then of what the node adds.

A report has sums and names that earlier commands gave, so all commands are folded from the first on, whatever is asked
for: out of the journal and the events that are kept beside it, then out of the node's tape (``replay.follow``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.interface import MarketEngine
from engine.records import COMMAND
from journal.history import History
from journal.slices import read_note
from replay.errors import ReplayError
from replay.follow import Follower, parts_until
from replay.live_tape import LiveTape
from replay.past import PastSlice, PlayedBlock
from replay.rebuild import capacity_of
from reports import Reports


class LiveReports:
    """The reports of a data directory from command ``from_seq`` on; None: of those that come after this call.

    ``tape``: that of the node. ``follower``: reader of what it adds, once the past was given. Raises ReplayError where
    the first commands are not there, and JournalError.
    """

    def __init__(self, directory: Path, from_seq: int | None = None) -> None:
        self._directory = directory
        with History.open(directory) as history:
            self._fold = Reports(room_of(history))
            self.tape = LiveTape(directory, history.journal_id, "reports")
            last_seq = history.last_seq
        self.tape.find()
        told_seq = self.tape.released_seq
        self.from_seq = (last_seq if told_seq is None else told_seq) + 1 if from_seq is None else from_seq
        self._capacity: Capacity | None = None
        self.follower: Follower | None = None

    @property
    def seq(self) -> int:
        """Last command whose reports were given or passed over; 0 before the first."""
        return self._fold.seq

    def batches(self, *, waits: bool = True) -> Iterator[NDArray[Any] | None]:
        """REPORT rows of each block, an array of their own, perhaps empty; None where nothing is new. It never ends.

        waits: False to look for more without a pause. Raises ReplayError for commands that a crash of the node has
        undone after they were told, and what replay and journal raise.
        """
        engine: MarketEngine | None = None
        with History.open(self._directory) as history:
            told_seq = self.tape.released_seq
            end = history.last_seq if told_seq is None else min(history.last_seq, told_seq)
            parts = parts_until(history, 1, end)
            for part in parts:
                source = PastSlice(history, part, need_engine=part is parts[-1])
                engine = source.engine
                for block in source.blocks():
                    yield self._of(block)
        assert engine is not None, "the last slice is replayed"
        follower = self.follower = Follower(self._directory, engine, self.tape)
        for found in follower.blocks(waits=waits):
            if follower.capacity not in (None, self._capacity):
                self._make_room(follower.capacity)
            yield None if found is None else self._of(found)

    def _of(self, block: PlayedBlock) -> NDArray[Any]:
        play = block.play
        # As bytes: NumPy would pack rows whose places overlap.
        commands = np.frombuffer(play.commands.tobytes(), COMMAND)
        made = self._fold.make(play.first_seq, commands, play.events)
        return made[int(np.searchsorted(made["seq"], self.from_seq)) :]

    def _make_room(self, capacity: Capacity) -> None:
        """Go on in larger tables where a slice has more room than those before."""
        with History.open(self._directory) as history:
            after = Reports(room_of(history))
        after.restore(self._fold.image(), self._fold.seq)
        self._fold, self._capacity = after, capacity

    def close(self) -> None:
        """Leave the tape."""
        self.tape.close()


def room_of(history: History) -> Capacity:
    """The room that is enough for each slice of a journal. Raises ReplayError if its first commands are not there."""
    if history.first_seq > 1:
        raise ReplayError(
            f"{history.path} begins with command {history.first_seq:,}, and reports are made from command 1 on; name "
            "the directory of the whole journal"
        )
    return _largest([capacity_of(part.journal) for part in history.ranges(1, max(history.last_seq, 1))], history)


def room_that_is_there(history: History) -> Capacity:
    """The room that is enough for who goes on from an image, though slices before it are in an archive."""
    numbers = range(1, history.last.place.number)
    there = {place.number for place in history.places}
    notes = [note for number in numbers if number not in there and (note := read_note(history.path, number))]
    each = [capacity_of(history.journal(number)) for number in numbers if number in there]
    return _largest(each + [Capacity(**note.capacity) for note in notes], history)


def _largest(each: list[Capacity], history: History) -> Capacity:
    each.append(capacity_of(history.last))
    return Capacity(
        orders_max=max(one.orders_max for one in each),
        ids_max=max(one.ids_max for one in each),
        instruments_max=max(one.instruments_max for one in each),
        participants_max=max(one.participants_max for one in each),
    )
