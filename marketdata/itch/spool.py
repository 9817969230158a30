"""Messages of the sessions on the disk: what a re-request server sends again.

A file a session, ``20240115.itch``, has its framed messages from the first on. It is no record: whoever loses it makes
the same bytes again of the journal. So nothing is synced; an image (``marketdata.itch.stream``) says how far a file
went when it was taken, and what stands behind that is cut off at a start, and made again.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from marketdata.itch.feed import session_name
from marketdata.itch.scan import index_messages

#: Messages between two whose places are in memory: a read passes over this many at most.
_STEP: Final = 64
#: Bytes that are read of a file at once.
_READ_BYTES: Final = 1 << 22
_SUFFIX: Final = ".itch"


class Standing(NamedTuple):
    """End of a session's file."""

    messages: int
    size_bytes: int


class _Session:
    """File of a session, open. ``places``: offset of message 1, and of each ``_STEP``-th after it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.messages = 0
        self.size_bytes = 0
        self.places: list[int] = []

    def note(self, framed: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> None:
        """Count messages that follow, whole. Raises ValueError for bytes that are none."""
        room = np.empty(len(framed) // (12 * _STEP) + 2, np.int64)
        skip = -self.messages % _STEP
        count, places, end = index_messages(framed, skip, _STEP, room)
        if end != len(framed):
            raise ValueError(f"{self.path} has other bytes than messages")
        self.places += (room[:places] + self.size_bytes).tolist()
        self.messages += count
        self.size_bytes += len(framed)


class SessionSpool:
    """Spools of a feed in a folder, the newest of which grows. sessions_max: files that are kept. Raises OSError."""

    def __init__(self, folder: Path, *, sessions_max: int = 6) -> None:
        self._folder, self._max = folder, sessions_max
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open: dict[str, _Session] = {}

    def append(self, day: int, number: int, framed: memoryview) -> None:
        """Append framed messages of a session, the first of which has this number.

        A session that begins replaces what an earlier run has left of it.
        """
        name = session_name(day)
        if number == 1:
            self._begin(name)
        session = self._open[name]
        if number != session.messages + 1:
            raise ValueError(f"message {number} of session {name} does not follow {session.messages}")
        session.note(np.frombuffer(framed, np.uint8))
        left = framed
        while left:
            left = left[os.write(session.fd, left) :]

    def _begin(self, name: str) -> None:
        self._close(name)
        path = self._folder / f"{name}{_SUFFIX}"
        path.unlink(missing_ok=True)
        self._open[name] = _Session(path)
        for old in self._paths()[: -self._max]:
            self._close(old.stem)
            old.unlink()

    def standing(self, day: int) -> Standing:
        """End of the file of a session; zeros where it has not begun."""
        session = self._open.get(session_name(day))
        return Standing(0, 0) if session is None else Standing(session.messages, session.size_bytes)

    def go_back(self, day: int, standing: Standing) -> None:
        """Go on behind what the file of a session had once. Raises ValueError where it has not that much, or other
        bytes than messages."""
        name = session_name(day)
        path = self._folder / f"{name}{_SUFFIX}"
        if not standing.messages:
            return
        if not path.exists() or path.stat().st_size < standing.size_bytes:
            raise ValueError(f"{path} has less than its image says")
        session = self._read(path, standing.size_bytes)
        if session.messages != standing.messages:
            raise ValueError(f"{path} has {session.messages} messages where its image says {standing.messages}")
        os.ftruncate(session.fd, standing.size_bytes)
        for later in self._paths():
            if later.stem > name:
                later.unlink()

    def _read(self, path: Path, size_bytes: int) -> _Session:
        """Open a file and find its messages up to a size."""
        self._close(path.stem)
        session, at, held = _Session(path), 0, b""
        while at < size_bytes:
            held += os.pread(session.fd, min(_READ_BYTES, size_bytes - at), at)
            at = session.size_bytes + len(held)
            whole = index_messages(np.frombuffer(held, np.uint8), 0, _STEP, np.empty(len(held), np.int64))[2]
            if not whole:
                os.close(session.fd)
                raise ValueError(f"{path} has other bytes than messages")
            session.note(np.frombuffer(held[:whole], np.uint8))
            held = held[whole:]
        self._open[path.stem] = session
        return session

    def messages(self, name: str) -> int | None:
        """Number of the messages of a session; None where there is none of that name."""
        if name not in self._open:
            path = self._folder / f"{name}{_SUFFIX}"
            if not name.isdigit() or not path.exists():
                return None
            try:
                self._read(path, path.stat().st_size)
            except ValueError:  # left behind by a power cut: made again only from the journal
                return None
        return self._open[name].messages

    def _paths(self) -> list[Path]:
        """Files of sessions, in order; whatever else lies there is none of them."""
        paths = (path for path in self._folder.glob(f"*{_SUFFIX}") if path.stem.isascii() and path.stem.isdigit())
        return sorted(path for path in paths if not path.is_dir())

    def sessions(self) -> list[str]:
        """Names of the sessions whose files are there, in order."""
        return [path.stem for path in self._paths()]

    def newest_before(self, day: int) -> str | None:
        """Name of the newest session before a day whose file is there; None without one."""
        name = session_name(day)
        return max((path.stem for path in self._paths() if path.stem < name), default=None)

    def read(self, name: str, number: int, count: int, bytes_max: int) -> bytes:
        """Framed messages of a session from one on: ``count`` of them, or as many as fit and are there."""
        there = self.messages(name)
        if there is None or not 1 <= number <= there:
            return b""
        session = self._open[name]
        passed = (number - 1) % _STEP
        begin = session.places[(number - 1) // _STEP]
        octets = os.pread(session.fd, bytes_max + (passed + 1) * 64, begin)
        at = 0
        for _ in range(passed):
            at += 2 + (octets[at] << 8 | octets[at + 1])
        end = at
        for _ in range(min(count, there - number + 1)):
            if len(octets) - end < 2:
                break
            behind = end + 2 + (octets[end] << 8 | octets[end + 1])
            if behind > len(octets) or behind - at > bytes_max:
                break
            end = behind
        return octets[at:end]

    def _close(self, name: str) -> None:
        session = self._open.pop(name, None)
        if session is not None:
            os.close(session.fd)

    def clear(self) -> None:
        """Forget all sessions: the next begins with its first message."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        for name in list(self._open):
            self._close(name)
