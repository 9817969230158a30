"""Events of closed slices, kept by a child process while the market runs (``directory.keep_events``)."""

import sys
from itertools import pairwise
from typing import ClassVar, Final, Literal

from directory.keep_events import BUSY
from engine.records import RULES_VERSION
from journal import Journal, JournalError
from journal.slices import Place, places
from node.core.slice_work import SliceWork
from node.programs.process_names import EVENTS

#: Program of the child.
_PROGRAM: Final = "directory.keep_events"


class EventKeeper(SliceWork):
    """Keeper of the events of closed slices."""

    PROCESS: ClassVar = EVENTS
    BUSY: ClassVar = BUSY
    DONE: ClassVar = "events kept"
    PUT_OFF: ClassVar = "events kept later"
    FAILED: ClassVar = "events not kept"

    def next_of(self, failed: set[int]) -> Place | Literal["later"] | None:
        """The first closed slice without its events that this release can play and whose next slice has its image."""
        if self._journal.start is not None and not self._journal.place.start_image.exists():
            return "later"  # the slice before must give that image, which is still being written
        for place, following in pairwise(places(self._journal.path)):
            if place.number in failed or place.events.exists() or not following.start_image.exists():
                continue
            try:
                with Journal.open(self._journal.path, readonly=True, slice_number=place.number) as journal:
                    rules_version = journal.meta.get("rules_version")
            except JournalError:
                continue  # `journal check` has more to say
            if rules_version == RULES_VERSION:
                return place
        return None

    def words_for(self, place: Place) -> tuple[str, ...]:
        """Command line of the child."""
        return (sys.executable, "-m", _PROGRAM, str(self._journal.path.absolute()), str(place.number))

    def is_done(self, place: Place) -> bool:
        """True if the events are there; the slice may have another folder by now."""
        return any(each.number == place.number and each.events.exists() for each in places(self._journal.path))

    def remedy(self) -> str:
        """The command for a person."""
        return f"run `lockstep journal keep-events {self._journal.path}`"
