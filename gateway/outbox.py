"""Outbound streams per user and the spool files that keep them, from a journal's first block on.

The streams of the present trading day grow; those of some days before are kept, complete, for clients that were away
when their day ended. All of it is a function of the journal: replay makes it again, and a checkpoint vouches for files.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from checkpoints import Projection
from engine.digest import part_digest
from engine.limits import Capacity
from gateway.fold import FOLD_VERSION
from gateway.spool import Spool, remove_files
from gateway.streams import Segment, Streams, session_of

#: Name of the streams' tables in an image, beside those of spools, which have the names of their sessions.
_STREAMS: Final = "streams"
#: Table of the USER rows by user number, in an image.
USERS: Final = f"{_STREAMS} users"
#: Name of the session before the first clock value, which nobody can log in to.
NO_SESSION: Final = session_of(0)
#: Past trading days whose streams are kept, unless told otherwise.
PAST_DAYS: Final = 5

Arrays = Mapping[str, NDArray[Any]]


class Outbox(Projection):
    """Users' streams and their spools, as one projection.

    ``forward``: takes each segment once it is in the spool. ``began``: is called when a session begins, whose spool is
    there, and before any of its messages. ``login_ends``: is told of a user whose live session must not go on, and why.
    Without them it only makes what a client may ask for later: so a node goes through its journal before it listens.
    """

    name = "streams"
    #: Rises with FOLD_VERSION, and with the arrays of ``image`` and of ``Spool.image``.
    version = FOLD_VERSION
    forward: Callable[[Segment], None] | None = None
    began: Callable[[], None] | None = None
    login_ends: Callable[[int, str], object] | None = None

    def __init__(self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int = PAST_DAYS) -> None:
        """``journal_id``: of the journal that makes the streams; each spool names it. ``past_days``: how many trading
        days before the present one are kept; 0: none."""
        self._directory = directory
        self._journal_id = journal_id
        self._capacity = capacity
        self._past_days = past_days
        self.streams = self._new_streams()
        self.spool = Spool(directory, self.streams.session, journal_id)
        #: Sentences for the operator on past sessions that a restore dropped.
        self.notes: list[str] = []
        #: Complete spools of days before, by session, the oldest first.
        self.past: dict[str, Spool] = {}

    def _new_streams(self) -> Streams:
        return Streams(self._capacity, self._deliver, self._new_session, self._login_ends)

    def spool_of(self, session: str) -> Spool | None:
        """The spool of a session (blank: of the present one); None where it is not kept."""
        return self.spool if session in ("", self.spool.session) else self.past.get(session)

    def spools(self) -> tuple[Spool, ...]:
        """Every spool that is kept, that of the present session last."""
        return *self.past.values(), self.spool

    def _deliver(self, segment: Segment) -> None:
        self.spool.append(segment.user, segment.first_seq, segment.messages, segment.data)
        if self.forward is not None:
            self.forward(segment)

    def _new_session(self, session: str) -> None:
        if session == self.spool.session:
            return
        if self.spool.session == NO_SESSION:
            self.spool.close()
        else:
            with suppress(OSError):  # what could not be written is kept in memory, and written when it is read
                self.spool.flush()
            self.past[self.spool.session] = self.spool
        self.spool = Spool(self._directory, session, self._journal_id)
        self.spool.clear()
        # A checkpoint of the day before may still be what a restart begins with: its oldest file stays one day longer.
        keep = {*list(self.past)[-self._past_days - 1 :], session}
        self._forget_oldest()
        remove_files(self._directory, keep)
        if self.began is not None:
            self.began()

    def drop_past(self, spool: Spool) -> None:
        """Keep a past spool no longer, since its file cannot be read: its session is not served any more."""
        if self.past.get(spool.session) is spool:
            del self.past[spool.session]
        with suppress(OSError):
            spool.close()

    def _forget_oldest(self) -> None:
        while len(self.past) > self._past_days:
            with suppress(OSError):
                self.past.pop(next(iter(self.past))).close()

    def _login_ends(self, user: int, why: str) -> None:
        if self.login_ends is not None:
            self.login_ends(user, why)

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """A block of the journal, applied."""
        self.streams(first_seq, commands, events)

    def restore(self, arrays: Arrays, _seq: int, /) -> None:
        """Restore from an image. Raises ValueError where it, or the file of the present session, cannot be used.

        A past session whose file is gone, too short or another journal's is dropped: the journal before a checkpoint
        is not read again.
        """
        groups = _grouped(arrays)
        streams = self._new_streams()
        streams.restore(groups.pop(_STREAMS, {}))
        if streams.session not in groups:
            raise ValueError(f"it has no spool of session {streams.session}")
        spool = self._restored(streams.session, groups.pop(streams.session))
        self._begin(streams, spool)
        for session, image in groups.items():
            try:
                self.past[session] = self._restored(session, image)
            except ValueError as error:
                self.notes.append(f"the streams of session {session} are not kept any longer: {error}")
        keep = {streams.session, *self.past}
        self._forget_oldest()
        remove_files(self._directory, keep)

    def clear(self) -> None:
        """Be as before the first command; files that are there count no more."""
        streams = self._new_streams()
        self._begin(streams, Spool(self._directory, streams.session, self._journal_id))
        self.notes.clear()

    def _begin(self, streams: Streams, spool: Spool) -> None:
        for each in self.spools():
            each.close()
        self.streams, self.spool, self.past = streams, spool, {}

    def _restored(self, session: str, image: Arrays) -> Spool:
        """The spool that an image speaks of. Raises ValueError where its file does not hold that."""
        spool = Spool(self._directory, session, self._journal_id)
        try:
            spool.restore(image)
        except KeyError as error:
            spool.close()
            raise ValueError(f"the image of {spool.path} has no {error.args[0]}") from error
        except ValueError:
            spool.close()
            raise
        return spool

    def flush(self) -> None:
        """Write the messages that are kept in memory. Raises OSError."""
        for each in self.spools():
            each.flush()

    def close(self) -> None:
        """Write the messages that are kept in memory, and close the files. Raises OSError."""
        for each in self.spools():
            each.close()

    def sync(self) -> None:
        """In the fork: what the image says of the spools is on the disk. Raises OSError."""
        for spool in self.spools():
            fd = os.open(spool.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def image(self) -> dict[str, NDArray[Any]]:
        """The image that ``restore`` takes: tables of the streams, and of the spool of each session, under its name."""
        groups = {_STREAMS: self.streams.image(), **{spool.session: spool.image() for spool in self.spools()}}
        return {f"{group} {name}": array for group, arrays in groups.items() for name, array in arrays.items()}

    def digest(self) -> bytes:
        """16 bytes over the users, their open orders and the bytes of the day's streams, wherever they lie in files."""
        return part_digest({**self.streams.image(), "checksums": self.spool.checksums()})


def _grouped(arrays: Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    """Tables of an image: those of the streams, and of spools by session, the oldest first."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key in sorted(arrays):
        group, name = key.split(" ", 1)
        groups.setdefault(group, {})[name] = arrays[key]
    return groups


def changed_files(directory: Path, journal_id: bytes, arrays: Arrays) -> list[str]:
    """Sentence for each spool file that is not what an image says; nothing is written."""
    found = []
    for session, image in _grouped(arrays).items():
        if session == _STREAMS:
            continue
        try:
            spool = Spool(directory, session, journal_id, readonly=True)
        except OSError as error:
            found.append(f"the streams of session {session} cannot be read: {error.strerror or error}")
            continue
        try:
            spool.restore(image)
        except (ValueError, KeyError) as error:
            found.append(str(error))
        finally:
            spool.close()
    return found
