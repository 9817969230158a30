"""The market after one command and after the next: an engine that is moved forward through a journal."""

from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.records import EVENT, concatenate
from journal import Journal
from journal.history import History
from replay.from_sketch import is_as_recorded, rebuilt_from_sketch
from replay.rebuild import Progress, Rebuild, played, rebuild

#: Commands up to which going on is cheaper than an image of the state that is nearer.
_GO_ON_COMMANDS: Final = 1_000_000


class Moments:
    """Compiled engine of a data directory at rising sequence numbers. ``notes``: sentences for the user.

    progress: as ``rebuild`` takes it. ``ids``: false where ids of orders that are gone do not matter, nor the digest
    of the state: a sketch may then stand for a checkpoint, as long as its events are the recorded ones.
    """

    def __init__(self, directory: Path, progress: Progress | None = None, *, ids: bool = True) -> None:
        self._directory, self._progress, self._ids = directory, progress, ids
        self._rebuilt: Rebuild | None = None
        self._is_from_sketch = False
        self._slice = 0
        self.notes: list[str] = []

    def at(self, seq: int) -> MarketEngine:
        """The engine after command ``seq``, until the next call. Raises what replay and journal raise."""
        with History.open(self._directory) as history:
            journal = history.slice_of(seq)
            number = journal.place.number
            rebuilt = self._rebuilt
            if rebuilt is not None and number == self._slice and 0 <= seq - rebuilt.engine.seq <= _GO_ON_COMMANDS:
                if self._on(journal, rebuilt.engine, seq) is not None:
                    return rebuilt.engine
                self._ids = True
            return self._begun(number, seq)

    def events_to(self, seq: int) -> NDArray[Any]:
        """Go on to command ``seq``, of the same slice; EVENT rows of the commands after the last moment. Raises as
        ``at``."""
        rebuilt = self._rebuilt
        assert rebuilt is not None, "a moment was asked for"
        from_seq = rebuilt.engine.seq
        with History.open(self._directory) as history:
            journal = history.slice_of(seq)
            found = self._on(journal, rebuilt.engine, seq)
            if found is None:
                self._ids = True
                found = self._on(journal, self._begun(journal.place.number, from_seq), seq)
            assert found is not None, "a whole market is not compared"
            return concatenate(found, EVENT)

    def _begun(self, number: int, seq: int) -> MarketEngine:
        """The engine after command ``seq`` of slice ``number``, from a sketch or a checkpoint."""
        rebuilt = None if self._ids else rebuilt_from_sketch(self._directory, seq)
        self._is_from_sketch = rebuilt is not None
        if rebuilt is None:
            rebuilt = rebuild(self._directory, at=seq, progress=self._progress)
        self.notes += [note for note in rebuilt.notes if note not in self.notes and "inside a block" not in note]
        self._rebuilt, self._slice = rebuilt, number
        return rebuilt.engine

    def _on(self, journal: Journal, engine: MarketEngine, seq: int) -> list[NDArray[Any]] | None:
        """Go on to command ``seq``; the events on the way, block by block. None where a market that is made of a
        sketch gives others than were recorded."""
        found = []
        for play in played(journal, engine, seq):
            if self._is_from_sketch and not is_as_recorded(self._directory, journal, play, engine.event_digest):
                return None
            found.append(play.events)
        return found
