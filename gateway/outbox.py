"""Outbound streams of users in one protocol, and their spool files, from a journal's first block on.

The streams of the present trading day grow; those of some past days are kept for clients that were disconnected when
the day ended. All are a function of the journal: replay makes them again, and a checkpoint has the checksums of the
files.
"""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from numpy.typing import NDArray

from checkpoints import Projection
from engine.capacity import Capacity
from engine.digest import part_digest
from gateway.spool import MessageBytes, Spool, remove_files
from gateway.streams import Segment, Streams, session_of
from gateway.told import Told

#: Name of the streams' tables in an image, beside those of spools, which have the names of their sessions.
_STREAMS: Final = "streams"
#: Table of the USER rows by user number, in an image.
USERS: Final = f"{_STREAMS} users"
#: Name of the session before the first clock value; logins to it are impossible.
NO_SESSION: Final = session_of(0)
#: Default number of past trading days whose streams are kept.
PAST_DAYS: Final = 5

Arrays = Mapping[str, NDArray[Any]]
AnyStreams = TypeVar("AnyStreams", bound=Streams)


class Outbox(Projection, Generic[AnyStreams]):
    """Users' streams in one protocol and their spools, as one projection; each protocol has a class of its own.

    ``folder``: of the spools, in the data directory; no two protocols of a node have the same.

    Callbacks: ``on_segment`` for each segment once it is in the spool; ``on_new_session`` when a session begins, before
    its messages; ``on_login_end`` for a user whose live session must end, with the reason. Without them only the spools
    are made, as during recovery.
    """

    folder: str
    on_segment: Callable[[Segment], None] | None = None
    on_new_session: Callable[[], None] | None = None
    on_login_end: Callable[[int, str], object] | None = None

    def __init__(
        self,
        directory: Path,
        capacity: Capacity,
        journal_id: bytes,
        *,
        past_days: int = PAST_DAYS,
        removes_files: bool = True,
    ) -> None:
        """``journal_id``: of the journal behind the streams; each spool names it. ``past_days``: number of past trading
        days that are kept. ``removes_files``: false where the files of other sessions and of an earlier release stay,
        as they must during an upgrade, which may be given up.
        """
        self._removes_files = removes_files
        self._directory = directory
        self._journal_id = journal_id
        self._capacity = capacity
        self._past_days = past_days
        self.streams = self._new_streams()
        self.spool = self._spool(self.streams.session)
        #: Sentences for the operator on past sessions that a restore dropped.
        self.notes: list[str] = []
        #: Complete spools of past days, by session, the oldest first.
        self.past: dict[str, Spool] = {}
        self._passes_through = False
        self._told: Told | None = None

    def await_told(self, users: int, call_bytes: int) -> Told:
        """Have the spool of the present day take what compiled turns send from now on; gives the memory for it.

        users: rows of the table of users. call_bytes: bytes of one call of the turns.
        """
        self._told = self.spool.told = Told(users, call_bytes)
        return self._told

    def pass_through(self, passes_through: bool) -> None:
        """Have the system keep nothing in memory of what is written, while nobody reads it."""
        self._passes_through = passes_through
        for each in self.spools():
            each.pass_through(passes_through and each is self.spool)

    @staticmethod
    @abstractmethod
    def message_bytes(data: bytes, at: int = 0, /) -> int:
        """Bytes of the message at ``at`` in a stream; 0 where not all of it is there."""

    @abstractmethod
    def _new_streams(self) -> AnyStreams:
        """Streams before the first command, which call ``_deliver``, ``_new_session`` and ``_on_login_end``."""

    @classmethod
    def open_spool(cls, directory: Path, session: str, journal_id: bytes, *, readonly: bool = False) -> Spool:
        """Open the spool of a session. Before the first clock value there is none to log in to, and mostly no message.

        Raises OSError.
        """
        message_bytes: MessageBytes = cls.message_bytes
        return Spool(
            directory / cls.folder,
            session,
            journal_id,
            message_bytes,
            readonly=readonly,
            with_first_message=session == NO_SESSION,
        )

    def _spool(self, session: str) -> Spool:
        return self.open_spool(self._directory, session, self._journal_id)

    def spool_of(self, session: str) -> Spool | None:
        """Spool of a session (blank: the present one); None if it is not kept."""
        return self.spool if session in ("", self.spool.session) else self.past.get(session)

    def spools(self) -> tuple[Spool, ...]:
        """All spools, that of the present session last."""
        return *self.past.values(), self.spool

    def keep(self, segment: Segment) -> None:
        """Keep a segment that was made and sent elsewhere."""
        self.spool.append(segment.user, segment.first_seq, segment.messages, segment.data)

    def _deliver(self, segment: Segment) -> None:
        self.keep(segment)
        if self.on_segment is not None:
            self.on_segment(segment)

    def _new_session(self, session: str) -> None:
        if session == self.spool.session:
            return
        if self.spool.session == NO_SESSION:
            self.spool.close()
        else:
            with suppress(OSError):  # bytes that could not be written stay in memory until the next read
                self.spool.flush()
            self.past[self.spool.session] = self.spool
        self.spool.told = None
        self.spool = self._spool(session)
        self.spool.clear()
        self.spool.told = self._told
        self.pass_through(self._passes_through)
        # A restart may begin with a checkpoint of the day before, so its oldest file stays one day longer.
        keep = {*list(self.past)[-self._past_days - 1 :], session}
        self._forget_oldest()
        self._remove_files(keep)
        if self.on_new_session is not None:
            self.on_new_session()

    def drop_past(self, spool: Spool) -> None:
        """Drop a past spool whose file cannot be read; its session is not served any more."""
        if self.past.get(spool.session) is spool:
            del self.past[spool.session]
        with suppress(OSError):
            spool.close()

    def _forget_oldest(self) -> None:
        while len(self.past) > self._past_days:
            with suppress(OSError):
                self.past.pop(next(iter(self.past))).close()

    def _remove_files(self, keep: set[str]) -> None:
        if self._removes_files:
            remove_files(self._directory / self.folder, keep)

    def _on_login_end(self, user: int, why: str) -> None:
        if self.on_login_end is not None:
            self.on_login_end(user, why)

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take an applied block of the journal."""
        self.streams(first_seq, commands, events)

    def restore(self, arrays: Arrays, seq: int, /) -> None:
        """Restore from an image. Raises ValueError if it, or the file of the present session, cannot be used.

        A past session whose file is missing, too short or of another journal is dropped: the journal before a
        checkpoint is not read again.
        """
        groups = _grouped(arrays)
        streams = self._new_streams()
        streams.restore(groups.pop(_STREAMS, {}), seq)
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
        self._remove_files(keep)

    def clear(self) -> None:
        """Reset to the state before the first command; existing files are ignored."""
        streams = self._new_streams()
        self._begin(streams, self._spool(streams.session))
        self.notes.clear()

    def _begin(self, streams: AnyStreams, spool: Spool) -> None:
        for each in self.spools():
            each.close()
        self.streams, self.spool, self.past = streams, spool, {}
        spool.told = self._told

    def _restored(self, session: str, image: Arrays) -> Spool:
        """Spool of an image. Raises ValueError if its file does not match."""
        spool = self._spool(session)
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
        """Sync the spools of the image; called in the fork. Raises OSError."""
        for spool in filter(lambda each: each.has_file, self.spools()):
            fd = os.open(spool.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: tables of the streams, and of each session's spool under its name."""
        groups = {_STREAMS: self.streams.image(), **{spool.session: spool.image() for spool in self.spools()}}
        return {f"{group} {name}": array for group, arrays in groups.items() for name, array in arrays.items()}

    def digest(self) -> bytes:
        """Digest (16 bytes) of the users, their open orders and the bytes of the day's streams, independent of their
        place in files.
        """
        return part_digest({**self.streams.image(), "checksums": self.spool.checksums()})

    @classmethod
    def changed_files(cls, directory: Path, journal_id: bytes, arrays: Arrays) -> list[str]:
        """Sentences on spool files that differ from an image; nothing is written."""
        found = []
        for session, image in _grouped(arrays).items():
            if session == _STREAMS:
                continue
            try:
                spool = cls.open_spool(directory, session, journal_id, readonly=True)
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


def streams_of(arrays: Arrays, session: str = _STREAMS) -> dict[str, NDArray[Any]]:
    """Tables of the streams in an image, or of the spool of a session. Raises KeyError where it has none."""
    return _grouped(arrays)[session]


def _grouped(arrays: Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    """Tables of an image: those of the streams, and of spools by session, the oldest first."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key in sorted(arrays):
        group, name = key.split(" ", 1)
        groups.setdefault(group, {})[name] = arrays[key]
    return groups
