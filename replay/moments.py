"""The market after one command and after the next: an engine that is moved forward through a journal."""

from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.records import EVENT, concatenate
from journal.history import History
from replay.rebuild import Progress, Rebuild, played, rebuild

#: Commands up to which going on is cheaper than an image of the state that is nearer.
_GO_ON_COMMANDS: Final = 1_000_000


class Moments:
    """Compiled engine of a data directory at rising sequence numbers. ``notes``: sentences for the user.

    progress: as ``rebuild`` takes it.
    """

    def __init__(self, directory: Path, progress: Progress | None = None) -> None:
        self._directory, self._progress = directory, progress
        self._rebuilt: Rebuild | None = None
        self._slice = 0
        self.notes: list[str] = []

    def at(self, seq: int) -> MarketEngine:
        """The engine after command ``seq``, until the next call. Raises what replay and journal raise."""
        with History.open(self._directory) as history:
            journal = history.slice_of(seq)
            number = journal.place.number
            rebuilt = self._rebuilt
            if rebuilt is None or number != self._slice or not 0 <= seq - rebuilt.engine.seq <= _GO_ON_COMMANDS:
                rebuilt = rebuild(self._directory, at=seq, progress=self._progress)
                self.notes += [
                    note for note in rebuilt.notes if note not in self.notes and "inside a block" not in note
                ]
                self._rebuilt, self._slice = rebuilt, number
                return rebuilt.engine
            for _ in played(journal, rebuilt.engine, seq):
                pass
            return rebuilt.engine

    def events_to(self, seq: int) -> NDArray[Any]:
        """Go on to command ``seq``, of the same slice; EVENT rows of the commands after the last moment. Raises as
        ``at``."""
        rebuilt = self._rebuilt
        assert rebuilt is not None, "a moment was asked for"
        with History.open(self._directory) as history:
            journal = history.slice_of(seq)
            return concatenate([each.events for each in played(journal, rebuilt.engine, seq)], EVENT)
