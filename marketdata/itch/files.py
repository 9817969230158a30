"""Files of the feed, one a session: the messages as Nasdaq gives them out, as a capture of packets, or as text.

- ``itch``: framed messages one after the other, and nothing else.
- ``pcap``: packets of MoldUDP64 over UDP as a network would have carried them, each at the time of its first message.
- ``text``: a line for each message.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from marketdata.itch.feed import session_name
from wire.itch import cut, text_of
from wire.mold import HEAD_BYTES, packets

#: Forms of a file, which are also the ends of their names.
FORMS: Final = ("itch", "pcap", "text")

#: Capture of whole IP packets, with times in nanoseconds; group and port as they stand in examples.
_PCAP_HEAD: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 101)
_LOOPBACK: Final = 0x7F00_0001
GROUP: Final = 0xEFC0_0001  # 239.192.0.1, of those that an organization gives out itself
PORT: Final = 26_400
_IP_UDP_BYTES: Final = 28
_SECOND_NS: Final = 1_000_000_000


@dataclass
class Written:
    """File of a session. digest: SHA-256 of its bytes."""

    session: str
    path: Path
    messages: int = 0
    size_bytes: int = 0
    digest: str = ""


class SessionFiles:
    """Files of the sessions in a folder: a callback for the messages of ``ItchFeed``.

    A file gets its name once it is whole; until then it has ``.new`` behind it. day: the one session to write, in days
    since 1970; None for all. ``counted_from_ns``: gives the time from which those of the session are counted, ns since
    1970; a capture has whole times. Raises OSError.
    """

    def __init__(self, folder: Path, form: str, day: int | None = None) -> None:
        self.counted_from_ns: Callable[[], int] = lambda: 0
        self._folder, self._form, self._only = folder, form, day
        self._day: int | None = None
        self._file: IO[bytes] | None = None
        self._hash: Any = None
        self._packets = 0
        #: The files so far, in the order of their days.
        self.written: list[Written] = []

    def __call__(self, day: int, number: int, count: int, framed: memoryview) -> None:
        """Write ``count`` messages of a session, from message ``number`` on."""
        if self._only not in (None, day):
            return
        if day != self._day:
            self.close()
            self._begin(day)
        about = self.written[-1]
        if self._form == "itch":
            self._put(framed)
        elif self._form == "pcap":
            for packet in packets(about.session, number, framed):
                self._put(self._captured(packet))
        else:
            self._put("".join(f"{text_of(message)}\n" for _, message in cut(framed)).encode())
        about.messages = number - 1 + count

    def _begin(self, day: int) -> None:
        name = session_name(day)
        path = self._folder / f"{name}.{self._form}"
        self.written.append(Written(name, path))
        self._day, self._hash, self._packets = day, hashlib.sha256(), 0
        self._file = path.with_name(f"{path.name}.new").open("wb", buffering=1 << 20)
        if self._form == "pcap":
            self._put(_PCAP_HEAD)

    def _put(self, octets: bytes | memoryview) -> None:
        assert self._file is not None, "a session has begun"
        self._file.write(octets)
        self._hash.update(octets)
        self.written[-1].size_bytes += len(octets)

    def _captured(self, packet: bytes) -> bytes:
        first = HEAD_BYTES + 2
        time_ns = self.counted_from_ns() + int.from_bytes(packet[first + 5 : first + 11], "big")
        size = _IP_UDP_BYTES + len(packet)
        at = divmod(time_ns, _SECOND_NS)
        self._packets += 1
        head = struct.pack(">BBHHHBBHII", 0x45, 0, size, self._packets & 0xFFFF, 0, 1, 17, 0, _LOOPBACK, GROUP)
        udp = struct.pack(">HHHH", PORT, PORT, size - 20, 0)
        return struct.pack("<IIII", *at, size, size) + head + udp + packet

    def close(self) -> None:
        """End the file under way and give it its name."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        about = self.written[-1]
        about.digest = self._hash.hexdigest()
        about.path.with_name(f"{about.path.name}.new").rename(about.path)
