"""Spool: the users' outbound streams of a day in one file, for clients that reconnect.

The file begins with a page that names its journal and session. The rest is cut into extents; each stream has a list of
them. Messages wait in memory for a moment, so that many small ones become one write: those of compiled turns where the
turns wrote them (``told``), until the spool takes them or a stream is asked for. The file can be rebuilt from the
journal, so it is synced for checkpoints only, which record its length (``image``).
"""

import os
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.digest import ByteHash
from gateway.told import Told
from gateway.write_behind import WriteBehind

#: Bytes of an extent. A stream of one message takes one extent, of which the file system allocates one page.
EXTENT_BYTES: Final = 65_536
#: Page before the extents: magic with the version of the format; bytes of an extent; journal; session.
_HEAD: Final = struct.Struct("<8sQ16s8s")
_HEAD_BYTES: Final = 4_096
_MAGIC: Final = b"lkspool\x01"
#: Bytes kept in memory before they are written, over all streams.
PENDING_BYTES_MAX: Final = 4 << 20
#: Bytes of one stream that are written at once, while they are still in the caches of the processor.
STREAM_PENDING_BYTES_MAX: Final = 2 * EXTENT_BYTES
#: Bytes that are written between two turns, or the whole of a stream.
SOME_BYTES: Final = 65_536
#: Ending of a file's name, which is the session before it. Earlier releases wrote files without one.
SUFFIX: Final = ".spool"


#: Bytes of the message at a place in bytes of a stream; 0 where not all of it is there.
MessageBytes = Callable[[bytes, int], int]


class SpoolError(Exception):
    """A spool cannot be read back: a fault of the machine, not of the connection."""


class _Stream:
    """Stream of one user: its extents, an index of some of its messages, and unwritten bytes."""

    __slots__ = ("bytes", "checksum", "extents", "index_position", "index_seq", "next_seq", "pending", "written")

    def __init__(self) -> None:
        self.extents = array("q")
        self.index_seq = array("q")
        self.index_position = array("q")
        self.pending: list[bytes | memoryview] = []
        self.written = 0
        self.bytes = 0
        self.checksum = ByteHash()  # of what is written
        self.next_seq = 1


class Spool:
    """The streams of one trading day, by user number. Positions are bytes from a stream's beginning.

    One process writes it, in order. Raises OSError if a write fails.
    """

    def __init__(
        self,
        folder: Path,
        session: str,
        journal_id: bytes,
        message_bytes: MessageBytes,
        *,
        readonly: bool = False,
        with_first_message: bool = False,
    ) -> None:
        """Open ``folder/SESSION.spool``; its content counts only as far as ``restore`` accepts it.

        ``message_bytes``: cut of the protocol whose messages these are.

        ``with_first_message``: a file that does not exist yet is made when the first message is written.
        """
        self.session = session
        self._head = _HEAD.pack(_MAGIC, EXTENT_BYTES, journal_id, session.encode("ascii"))
        self._has_head = False
        self._message_bytes = message_bytes
        if not readonly:
            folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{session}{SUFFIX}"
        self._fd = -1
        self.is_closed = False
        if not with_first_message or self.path.exists():
            self._open(os.O_RDONLY if readonly else os.O_RDWR | os.O_CREAT)
        self._streams: dict[int, _Stream] = {}
        self._extents = 0
        self._dirty: dict[_Stream, None] = {}  # those with bytes in memory
        self._pending_bytes = 0
        self._passes_through = False
        self._behind: WriteBehind | None = None
        #: Messages of compiled turns, which come before any that is appended later; None: there are none.
        self.told: Told | None = None

    def _open(self, flags: int) -> None:
        self._fd = os.open(self.path, flags | os.O_CLOEXEC, 0o600)

    def pass_through(self, passes_through: bool) -> None:
        """Put full extents on the disk and have the system keep them no longer in memory, while nobody reads them, as
        in a catch-up.
        """
        self._passes_through = passes_through
        if passes_through and self._behind is None and self.has_file:
            self._behind = WriteBehind(self._fd, _offset(0), EXTENT_BYTES)

    @property
    def has_file(self) -> bool:
        """False before the first message of a spool that makes its file with it."""
        return self._fd >= 0

    def append(self, user: int, first_seq: int, count: int, data: bytes) -> None:
        """Append ``count`` messages of a user from ``first_seq`` on, as framed packets."""
        self._take_told()
        stream = self._add(user, first_seq, count, data)
        if stream.bytes - stream.written >= STREAM_PENDING_BYTES_MAX:
            self._flush(stream)
        elif self._pending_bytes > PENDING_BYTES_MAX:
            self.flush()

    def _take_told(self) -> None:
        """Take what compiled turns have sent, before anything that comes after or looks at a stream."""
        if self.told is not None and len(self.told):
            for user, first_seq, count, data in self.told.take(reuse=not self._dirty):
                self._add(user, first_seq, count, data)

    def _add(self, user: int, first_seq: int, count: int, data: bytes | memoryview) -> _Stream:
        stream = self._streams.get(user)
        if stream is None:
            stream = self._streams[user] = _Stream()
        if not stream.index_position or stream.bytes - stream.index_position[-1] >= EXTENT_BYTES:
            stream.index_seq.append(first_seq)
            stream.index_position.append(stream.bytes)
        if not stream.pending:
            self._dirty[stream] = None
        stream.pending.append(data)
        stream.bytes += len(data)
        stream.next_seq = first_seq + count
        self._pending_bytes += len(data)
        return stream

    def flush(self) -> None:
        """Write the messages that are kept in memory. Raises OSError, also for earlier ones."""
        self._take_told()
        self._flush_taken()

    def _flush_taken(self) -> None:
        self._check_behind()
        while self._dirty:
            self._flush(next(reversed(self._dirty)))

    def accept_told(self) -> None:
        """Take what compiled turns have sent, to be written bit by bit (``write_some``); what is left of earlier
        messages is written now. Raises OSError.
        """
        self._flush_taken()
        self._take_told()

    def write_some(self) -> None:
        """Write the messages of a few streams that are kept in memory: orders wait meanwhile. Raises OSError."""
        left_bytes = SOME_BYTES
        while self._dirty and left_bytes > 0:
            stream = next(iter(self._dirty))
            left_bytes -= stream.bytes - stream.written
            self._flush(stream)

    def _flush(self, stream: _Stream) -> None:
        data = stream.pending[0] if len(stream.pending) == 1 else b"".join(stream.pending)
        self._write(stream, data)
        stream.checksum.update(data)  # here, not for each message: many small ones are one write
        stream.pending.clear()
        del self._dirty[stream]
        self._pending_bytes -= len(data)

    def _write(self, stream: _Stream, data: bytes | memoryview) -> None:
        if not self.has_file:
            self._open(os.O_RDWR | os.O_CREAT)
        if not self._has_head:
            os.pwrite(self._fd, self._head, 0)
            self._has_head = True
        self._check_behind()
        view = memoryview(data)
        # After a failed write the same bytes are written again, at the same place.
        position = stream.bytes - len(data)
        while view:
            within = position % EXTENT_BYTES
            if position // EXTENT_BYTES == len(stream.extents):
                stream.extents.append(self._extents)
                self._extents += 1
            base = _offset(stream.extents[position // EXTENT_BYTES])
            done = os.pwrite(self._fd, view[: EXTENT_BYTES - within], base + within)
            position += done
            view = view[done:]
            if self._passes_through and self._behind is not None and position % EXTENT_BYTES == 0:
                self._behind.add(stream.extents[position // EXTENT_BYTES - 1])
        stream.written = position

    def _check_behind(self) -> None:
        if self._behind is not None and self._behind.failure is not None:
            raise self._behind.failure

    def end(self, user: int) -> tuple[int, int]:
        """(number of the next message, bytes) of a stream."""
        self._take_told()
        stream = self._streams.get(user)
        return (1, 0) if stream is None else (stream.next_seq, stream.bytes)

    def position_of(self, user: int, seq: int) -> int:
        """Position of message ``seq``; ``seq`` is from 1 to the number of the next message."""
        next_seq, end = self.end(user)
        if not 1 <= seq <= next_seq:
            raise ValueError(f"there is no message {seq} in this stream, whose next one is {next_seq}")
        if seq == next_seq:
            return end
        stream = self._streams[user]
        at = bisect_right(stream.index_seq, seq) - 1
        position, number = stream.index_position[at], stream.index_seq[at]
        data, within = b"", 0
        while number < seq:
            size = self._message_bytes(data, within)
            if size == 0:
                position, within = position + within, 0
                data = self.read(user, position, 2 * EXTENT_BYTES)
                size = self._message_bytes(data, 0)
                if size == 0:
                    raise SpoolError(f"{self.path} ends within message {number} of a user; check the disk")
            within += size
            number += 1
        return position + within

    def read(self, user: int, position: int, bytes_max: int) -> bytes:
        """Read bytes of a stream from a position on, ``bytes_max`` at most; none at its end. Raises SpoolError."""
        try:
            return self._read(user, position, bytes_max)
        except OSError as error:
            raise SpoolError(f"{self.path} cannot be read: {error.strerror or error}; check the disk") from error

    def _read(self, user: int, position: int, bytes_max: int) -> bytes:
        self._take_told()
        stream = self._streams.get(user)
        if stream is None:
            return b""
        if stream.pending:
            self.flush()
        end = min(stream.bytes, position + bytes_max)
        pieces = []
        while position < end:
            within = position % EXTENT_BYTES
            base = _offset(stream.extents[position // EXTENT_BYTES])
            piece = os.pread(self._fd, min(EXTENT_BYTES - within, end - position), base + within)
            if not piece:
                raise SpoolError(f"{self.path} is shorter than what was written to it")
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)

    def check(self, user: int) -> None:
        """Check that the file is long enough for a user's stream. Raises SpoolError."""
        self._take_told()
        if (stream := self._streams.get(user)) is not None:
            try:
                if stream.pending:
                    self.flush()
                self._check(stream)
            except (OSError, ValueError) as error:
                raise SpoolError(str(error)) from error

    def checksums(self) -> NDArray[np.uint64]:
        """User number and xxh3-64 of the bytes of each stream, written or not; uint64[streams, 2]."""
        self._take_told()
        rows = []
        for user, stream in sorted(self._streams.items()):
            checksum = stream.checksum.copy()
            checksum.update(b"".join(stream.pending))
            rows.append((user, checksum.intdigest()))
        return np.array(rows, np.uint64).reshape(-1, 2)

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``, of all messages written; call ``flush`` first. Sync the file with it."""
        self._take_told()
        users = sorted(self._streams)
        streams = [self._streams[user] for user in users]

        def joined(name: str) -> NDArray[np.int64]:
            return np.array([value for stream in streams for value in getattr(stream, name)], np.int64)

        heads = [
            (user, s.next_seq, s.bytes, len(s.extents), len(s.index_seq))
            for user, s in zip(users, streams, strict=True)
        ]
        return {
            "heads": np.array(heads, np.int64).reshape(-1, 5),
            "extents": joined("extents"),
            "index_seq": joined("index_seq"),
            "index_position": joined("index_position"),
            "xxh3": np.array([stream.checksum.intdigest() for stream in streams], np.uint64),
        }

    def restore(self, image: Mapping[str, NDArray[Any]]) -> None:
        """Restore from an image. Raises ValueError if the file does not match the image. All bytes are compared with
        their checksums: xxh3-64, or CRC-32 in an image of version 1 (``Outbox``), of which the oldest have none.
        """
        extent_at = index_at = 0
        checksums = image["xxh3"].tolist() if "xxh3" in image else None
        crcs = image["crc"].tolist() if "crc" in image else None
        for at, (user, next_seq, number_bytes, extents, indexed) in enumerate(image["heads"].tolist()):
            stream = self._streams[user] = _Stream()
            stream.next_seq, stream.bytes, stream.written = next_seq, number_bytes, number_bytes
            stream.extents = array("q", image["extents"][extent_at : extent_at + extents].tolist())
            stream.index_seq = array("q", image["index_seq"][index_at : index_at + indexed].tolist())
            stream.index_position = array("q", image["index_position"][index_at : index_at + indexed].tolist())
            extent_at, index_at = extent_at + extents, index_at + indexed
            self._check(stream)
            for piece in self._pieces(stream):
                stream.checksum.update(piece)
            same = checksums is None or stream.checksum.intdigest() == checksums[at]
            if crcs is not None:
                same &= self._crc(stream) == crcs[at]
            if not same:
                raise ValueError(
                    f"{self.path} was changed: the stream of user number {user} differs from the written one"
                )
        self._extents = 1 + max((max(s.extents) for s in self._streams.values() if s.extents), default=-1)

    def _pieces(self, stream: _Stream) -> Iterator[bytes]:
        """Bytes of a stream in the file, extent by extent."""
        left_bytes = stream.bytes
        for extent in stream.extents:
            piece = os.pread(self._fd, min(EXTENT_BYTES, left_bytes), _offset(extent))
            left_bytes -= len(piece)
            yield piece

    def _crc(self, stream: _Stream) -> int:
        """CRC-32 of a stream's bytes in the file, as images of version 1 have it."""
        crc = 0
        for piece in self._pieces(stream):
            crc = zlib.crc32(piece, crc)
        return crc

    def _check(self, stream: _Stream) -> None:
        if stream.bytes and not self.has_file:
            raise ValueError(f"{self.path} is missing")
        size = os.fstat(self._fd).st_size if self.has_file else 0
        whole = len(stream.extents) == -(-stream.bytes // EXTENT_BYTES)
        if stream.bytes and whole:
            last = (stream.bytes - 1) % EXTENT_BYTES + 1
            ends = [_offset(extent) for extent in stream.extents[:-1]] + [_offset(stream.extents[-1]) + last]
            whole = max(ends) <= size
        if not whole:
            raise ValueError(f"{self.path} is shorter than what was written to it")
        if stream.bytes:
            self._check_head()

    def _check_head(self) -> None:
        head = os.pread(self._fd, _HEAD.size, 0)
        self._has_head = head == self._head
        if self._has_head:
            return
        if head[:16] != self._head[:16]:
            raise ValueError(f"{self.path} was written by another release in another form")
        if head[16:32] != self._head[16:32]:
            raise ValueError(f"{self.path} was taken from another journal")
        raise ValueError(f"{self.path} was taken from another session")

    def clear(self) -> None:
        """Drop all streams."""
        self._streams.clear()
        self._dirty.clear()
        self._extents = self._pending_bytes = 0
        if self.has_file:
            os.ftruncate(self._fd, 0)
        self._has_head = False

    def close(self) -> None:
        """Write the messages that are kept in memory, and close the file: nothing can be read any more."""
        if self.is_closed:
            return
        try:
            self.flush()
        finally:
            if self._behind is not None:
                self._behind.close()
            self.is_closed = True
            if self.has_file:
                os.close(self._fd)
                self._fd = -1


def _offset(extent: int) -> int:
    """Position in the file of the first byte of an extent."""
    return _HEAD_BYTES + extent * EXTENT_BYTES


def remove_files(folder: Path, keep: Collection[str]) -> None:
    """Remove the files of all sessions but those named, and those that an earlier release left."""
    kept = {f"{session}{SUFFIX}" for session in keep}
    for name in os.listdir(folder):
        if name not in kept:
            (folder / name).unlink(missing_ok=True)
