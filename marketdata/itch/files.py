"""Files of the feed, one a session: the messages as Nasdaq gives them out, as a capture, as a table, or as text.

- ``itch``: framed messages one after the other, and nothing else.
- ``pcap``: packets of MoldUDP64 over UDP as a network would have carried them, each at the time of its first message.
- ``csv``, ``parquet``: a row for each message (``marketdata.itch.message_table``).
- ``text``: a line for each message.
"""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from exports.formats import TABLE_FILES
from marketdata.itch.feed import session_name
from marketdata.itch.message_table import MESSAGES, MessageTable
from marketdata.octet_file import OctetFile, Written
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
#: Bytes that are read at once of a whole file, for its digest.
_READ_BYTES: Final = 1 << 20


class _File(Protocol):
    """File of a session under way."""

    def put(self, number: int, framed: memoryview) -> None:
        """Add framed messages, the first of which has the number ``number``. Raises OSError."""
        ...

    def close(self) -> tuple[int, str]:
        """End it. Gives its bytes and their SHA-256. Raises OSError."""
        ...


class _Itch(OctetFile):
    def put(self, _number: int, framed: memoryview) -> None:
        self.add(framed)


class _Text(OctetFile):
    def put(self, _number: int, framed: memoryview) -> None:
        self.add("".join(f"{text_of(message)}\n" for _, message in cut(framed)).encode())


class _Capture(OctetFile):
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
