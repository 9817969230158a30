"""Events of closed slices, kept by a child process at the lowest priority while the market runs."""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from directory.keep_events import BUSY
from engine.records import RULES_VERSION
from journal import Journal, JournalError
from journal.slices import Place, places
from node.programs.process_names import EVENTS
from node.programs.supervisor import Program, Supervised, Supervisor

#: Program of the child.
_PROGRAM: Final = "directory.keep_events"
_NICE: Final = 19
#: Number of looks before another attempt where another process keeps the events of a slice, such as a person's command.
_LOOKS_BETWEEN: Final = 60
#: Number of looks before another attempt where a signal has ended the child, and of such attempts for one slice.
_LOOKS_AFTER_A_KILL: Final = 5
KILLED_MAX: Final = 10


class EventKeeper:
    """Keeper of the events of slices that this node closes, and of those that an earlier one left (``keep_events``).

    Call ``look`` about once a second. ``report`` logs each slice that is done, ``warn`` what failed: once a slice,
    until the node starts again. A child that a signal ends is begun again.
    """

    def __init__(
        self, journal: Journal, supervisor: Supervisor, report: Callable[..., None], warn: Callable[..., None]
    ) -> None:
        self._journal, self._supervisor = journal, supervisor
        self._report, self._warn = report, warn
        self._child: Supervised | None = None
        self._number = 0
        self._looked_at = 0  # number of the open slice when all before it were found done
        self._failed: set[int] = set()
        self._looks_left = 0
        self._killed = 0  # children that a signal has ended, one after the other

    @property
    def is_busy(self) -> bool:
        """True while a child is at work."""
        return self._child is not None and self._child.pid != 0

    def look(self) -> None:
        """Begin the next slice, if none is at work. Never waits."""
        if self.is_busy:
            return
        if self._looks_left:
            self._looks_left -= 1
            return
        if self._looked_at == self._journal.place.number:
            return
        if self._journal.start is not None and not self._journal.place.start_image.exists():
            return  # the slice before must give that image, which is still being written
        place = self._next()
        if place is None:
            self._looked_at = self._journal.place.number
            return
        self._begin(place)

    def _next(self) -> Place | None:
        """The first closed slice without its events that this release can play and whose next slice has its image."""
        found = places(self._journal.path)
        for place, following in pairwise(found):
            if place.number in self._failed or place.events.exists() or not following.start_image.exists():
                continue
            try:
                with Journal.open(self._journal.path, readonly=True, slice_number=place.number) as journal:
                    rules_version = journal.meta.get("rules_version")
            except JournalError:
                continue  # `journal check` has more to say
            if rules_version == RULES_VERSION:
                return place
        return None

    def _begin(self, place: Place) -> None:
        self._number = place.number
        words = (sys.executable, "-m", _PROGRAM, str(self._journal.path.absolute()), str(place.number))
        self._child = self._supervisor.start(Program(EVENTS, words, restarts=False, nice=_NICE, on_end=self._on_end))

    def _on_end(self, status: int, complaint: str) -> None:
        if status == 0 and self._is_kept():
            self._killed = 0
            self._report("events kept", slice=self._number)
            return
        if status == BUSY:
            self._looks_left = _LOOKS_BETWEEN
            return
        if status < 0 and self._killed < KILLED_MAX:  # such as by a system without memory
            self._killed += 1
            self._looks_left = _LOOKS_AFTER_A_KILL
            self._report("events kept later", slice=self._number, why=f"signal {-status} ended their process")
            return
        self._on_failure(complaint or f"its process ended with status {status}")

    def _is_kept(self) -> bool:
        """True if the events of the slice that was worked on are there."""
        return any(place.number == self._number and place.events.exists() for place in places(self._journal.path))

    def _on_failure(self, why: str) -> None:
        self._failed.add(self._number)
        then = f"run `lockstep journal keep-events {self._journal.path}`"
        self._warn("events not kept", slice=self._number, why=why, then=then)
