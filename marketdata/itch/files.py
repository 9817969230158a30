"""Files of the feed, one a session: the messages as Nasdaq gives them out, as a capture, as a table, or as text.

- ``itch``: framed messages one after the other, and nothing else.
- ``pcap``: packets of MoldUDP64 over UDP as a network would have carried them, each at the time of its first message.
- ``csv``, ``parquet``: a row for each message (``marketdata.itch.message_table``).
- ``text``: a line for each message.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from exports.formats import TABLE_FILES
from marketdata.itch.feed import session_name
from marketdata.itch.message_table import MESSAGES, MessageTable
from wire.itch import cut, text_of
from wire.mold import HEAD_BYTES, packets

#: Forms of a file, which are also the ends of their names.
FORMS: Final = ("itch", "pcap", "csv", "parquet", "text")

#: Capture of whole IP packets, with times in nanoseconds; group and port as they stand in examples.
_PCAP_HEAD: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 101)
_LOOPBACK: Final = 0x7F00_0001
GROUP: Final = 0xEFC0_0001  # 239.192.0.1, of those that an organization gives out itself
PORT: Final = 26_400
_IP_UDP_BYTES: Final = 28
_SECOND_NS: Final = 1_000_000_000
#: Bytes that are written at once, and pieces of them that wait to be.
_PIECE_BYTES: Final = 1 << 20
_PIECES_MAX: Final = 8
#: Bytes that are read at once of a whole file, for its digest.
_READ_BYTES: Final = 1 << 20


@dataclass
class Written:
    """File of a session. digest: SHA-256 of its bytes."""

    session: str
    path: Path
    messages: int = 0
    size_bytes: int = 0
    digest: str = ""


class _File(Protocol):
    """File of a session under way."""

    def put(self, number: int, framed: memoryview) -> None:
        """Add framed messages, the first of which has the number ``number``. Raises OSError."""
        ...

    def close(self) -> tuple[int, str]:
        """End it. Gives its bytes and their SHA-256. Raises OSError."""
        ...


class _OctetFile:
    """File of bytes, which a thread writes and hashes while the next are made."""

    def __init__(self, path: Path, head: bytes = b"") -> None:
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._piece = bytearray(head)
        self._writer = ThreadPoolExecutor(1, "file of the feed")
        self._waiting: deque[Future[None]] = deque()

    def add(self, octets: bytes | memoryview) -> None:
        """Add bytes."""
        self._piece += octets
        if len(self._piece) >= _PIECE_BYTES:
            self._give()

    def _give(self) -> None:
        if len(self._waiting) >= _PIECES_MAX:
            self._waiting.popleft().result()
        piece, self._piece = self._piece, bytearray()
        self._size_bytes += len(piece)
        self._waiting.append(self._writer.submit(self._write, piece))

    def _write(self, piece: bytearray) -> None:
        self._hash.update(piece)
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> tuple[int, str]:
        """End it."""
        try:
            self._give()
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._writer.shutdown()
            self._file.close()
        return self._size_bytes, self._hash.hexdigest()


class _Itch(_OctetFile):
    def put(self, _number: int, framed: memoryview) -> None:
        self.add(framed)


class _Text(_OctetFile):
    def put(self, _number: int, framed: memoryview) -> None:
        self.add("".join(f"{text_of(message)}\n" for _, message in cut(framed)).encode())


class _Capture(_OctetFile):
    def __init__(self, path: Path, session: str, counted_from_ns: Callable[[], int]) -> None:
        super().__init__(path, _PCAP_HEAD)
        self._session, self._counted_from_ns, self._packets = session, counted_from_ns, 0

    def put(self, number: int, framed: memoryview) -> None:
        for packet in packets(self._session, number, framed):
            self.add(self._captured(packet))

    def _captured(self, packet: bytes) -> bytes:
        first = HEAD_BYTES + 2
        time_ns = self._counted_from_ns() + int.from_bytes(packet[first + 5 : first + 11], "big")
        size = _IP_UDP_BYTES + len(packet)
        at = divmod(time_ns, _SECOND_NS)
        self._packets += 1
        head = struct.pack(">BBHHHBBHII", 0x45, 0, size, self._packets & 0xFFFF, 0, 1, 17, 0, _LOOPBACK, GROUP)
        udp = struct.pack(">HHHH", PORT, PORT, size - 20, 0)
        return struct.pack("<IIII", *at, size, size) + head + udp + packet


class _Rows:
    """File of rows of ``MESSAGES``."""

    def __init__(self, path: Path, form: str, counted_from_ns: Callable[[], int]) -> None:
        self._path, self._counted_from_ns = path, counted_from_ns
        self._messages = MessageTable()
        self._file = TABLE_FILES[form](path, MESSAGES)

    def put(self, number: int, framed: memoryview) -> None:
        self._file.write(self._messages.columns(number, framed, self._counted_from_ns()))

    def close(self) -> tuple[int, str]:
        self._file.close()
        found = hashlib.sha256()
        with self._path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                found.update(piece)
        return self._path.stat().st_size, found.hexdigest()


class SessionFiles:
    """Files of the sessions in a folder: a callback for the messages of ``ItchFeed``.

    A file gets its name once it is whole; until then it has ``.new`` behind it. day: the one session to write, in days
    since 1970; None for all. ``counted_from_ns``: gives the time from which those of the session are counted, ns since
    1970; a capture and a table have whole times. Raises OSError, and ExportError where a package for the form is
    missing.
    """

    def __init__(self, folder: Path, form: str, day: int | None = None) -> None:
        self.counted_from_ns: Callable[[], int] = lambda: 0
        self._folder, self._form, self._only = folder, form, day
        self._day: int | None = None
        self._file: _File | None = None
        #: The files so far, in the order of their days.
        self.written: list[Written] = []

    def __call__(self, day: int, number: int, count: int, framed: memoryview) -> None:
        """Write ``count`` messages of a session, from message ``number`` on."""
        if self._only not in (None, day):
            return
        if day != self._day or self._file is None:
            self.close()
            self._begin(day)
        assert self._file is not None, "a session has begun"
        self._file.put(number, framed)
        self.written[-1].messages = number - 1 + count

    def _begin(self, day: int) -> None:
        name = session_name(day)
        path = self._folder / f"{name}.{self._form}"
        self._day = day
        self._file = self._opened(path.with_name(f"{path.name}.new"), name)
        self.written.append(Written(name, path))

    def _opened(self, path: Path, session: str) -> _File:
        match self._form:
            case "itch":
                return _Itch(path)
            case "pcap":
                return _Capture(path, session, self.counted_from_ns)
            case "text":
                return _Text(path)
            case _:
                return _Rows(path, self._form, self.counted_from_ns)

    def close(self) -> None:
        """End the file under way and give it its name."""
        if self._file is None:
            return
        file, self._file = self._file, None
        about = self.written[-1]
        about.size_bytes, about.digest = file.close()
        about.path.with_name(f"{about.path.name}.new").rename(about.path)
