"""What goes out to the users, kept: their streams and the spool that has them, from a journal's first block on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from engine.limits import Capacity
from gateway.spool import Spool
from gateway.streams import Segment, Streams

#: What the streams and the spool are called in a checkpoint.
PART_STREAMS: Final = "gateway streams"
PART_SPOOL: Final = "gateway spool"

Parts = Mapping[str, Mapping[str, NDArray[Any]]]


class Outbox:
    """Users' streams and their spool as one fold over the journal.

    ``forward``: takes each segment once it is in the spool. ``began``: is called when a session begins, whose spool is
    there, and before any of its messages. ``login_ends``: is called with a user whose login ends, and why. Without
    them it only makes what a client may ask for later: so a node goes through its journal before it listens.
    """

    forward: Callable[[Segment], None] | None = None
    began: Callable[[], None] | None = None
    login_ends: Callable[[int, str], object] | None = None

    def __init__(self, directory: Path, capacity: Capacity) -> None:
        self._directory = directory
        self._capacity = capacity
        self.streams = Streams(capacity, self._deliver, self._new_session, self._login_ends)
        self.spool = Spool(directory, self.streams.session)

    def _deliver(self, segment: Segment) -> None:
        self.spool.append(segment.user, segment.first_seq, segment.messages, segment.data)
        if self.forward is not None:
            self.forward(segment)

    def _new_session(self, session: str) -> None:
        if session != self.spool.session:
            self.spool.close()
            self.spool = Spool(self._directory, session)
            self.spool.clear()
            self.spool.remove_others()
            if self.began is not None:
                self.began()

    def _login_ends(self, user: int, why: str) -> None:
        if self.login_ends is not None:
            self.login_ends(user, why)

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """A block of the journal, applied."""
        self.streams(first_seq, commands, events)

    def restore(self, beside: Parts, _seq: int) -> bool:
        """Go on from what a checkpoint has beside the state; False where it has nothing that can be used."""
        if PART_STREAMS not in beside or PART_SPOOL not in beside:
            return False
        streams = Streams(self._capacity, self._deliver, self._new_session, self._login_ends)
        try:
            streams.restore(beside[PART_STREAMS])
            spool = Spool(self._directory, streams.session)
        except ValueError:
            return False
        try:
            spool.restore(beside[PART_SPOOL])
        except (KeyError, ValueError):
            spool.close()
            return False
        self.spool.close()
        self.streams, self.spool = streams, spool
        spool.remove_others()
        return True

    def image(self) -> dict[str, dict[str, NDArray[Any]]]:
        """What ``restore`` takes."""
        return {PART_STREAMS: self.streams.image(), PART_SPOOL: self.spool.image()}
