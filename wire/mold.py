"""MoldUDP64 1.00: numbered messages in packets of UDP, as pure functions of bytes.

A packet has the session (10 characters), the number of its first message, and how many it has; then each message with
its length before it. Without messages it is a heartbeat, whose number is that of the message to come. A count of 65,535
ends the session. A request for messages that were lost has the same 20 bytes and goes to a server of its own, which
answers with packets of the feed. A session begins with message 1.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from wire.errors import ProtocolError
from wire.itch_layout import FRAME_BYTES

_HEAD: Final = Struct(">10sQH")
HEAD_BYTES: Final = _HEAD.size
SESSION_CHARACTERS: Final = 10
#: Count of a packet that ends the session.
END_OF_SESSION: Final = 0xFFFF
#: Messages of a packet, and of a request, at most.
MESSAGES_MAX: Final = END_OF_SESSION - 1
#: Bytes of a packet at most: what an Ethernet frame of 1,500 bytes carries over IPv4 and UDP.
PACKET_BYTES_MAX: Final = 1_472


class Packet(NamedTuple):
    """A packet of the feed. ``sequence``: of its first message, of a heartbeat or an end of the one to come."""

    session: str
    sequence: int
    messages: tuple[bytes, ...]
    ends: bool = False

    @property
    def next_sequence(self) -> int:
        """Number of the message after it."""
        return self.sequence + len(self.messages)


class Request(NamedTuple):
    """A request for messages: so many from ``sequence`` on."""

    session: str
    sequence: int
    message_count: int


def _session_octets(session: str) -> bytes:
    if len(session) > SESSION_CHARACTERS or not (session.isascii() and session.isprintable()):
        raise ValueError(f"{session!r} is no session of at most {SESSION_CHARACTERS} printable ASCII characters")
    return session.encode("ascii").ljust(SESSION_CHARACTERS)


def heartbeat(session: str, next_sequence: int) -> bytes:
    """The packet that says which message comes next."""
    return _HEAD.pack(_session_octets(session), next_sequence, 0)


def end_of_session(session: str, next_sequence: int) -> bytes:
    """The packet that ends a session; ``next_sequence``: of the message that does not come any more."""
    return _HEAD.pack(_session_octets(session), next_sequence, END_OF_SESSION)


def request(session: str, sequence: int, count: int) -> bytes:
    """The packet that asks for ``count`` messages. Raises ValueError for a count that none can have."""
    if not 1 <= count <= MESSAGES_MAX or sequence < 1:
        raise ValueError(
            f"{count} messages from {sequence} on cannot be asked for: name 1 to {MESSAGES_MAX}, from 1 on"
        )
    return _HEAD.pack(_session_octets(session), sequence, count)


def packets(
    session: str, sequence: int, framed: bytes | memoryview, bytes_max: int = PACKET_BYTES_MAX
) -> Iterator[bytes]:
    """Packets of framed messages, the first of which has the number ``sequence``; as many in each as fit.

    Raises ValueError where a message is longer than a packet, or is not whole.
    """
    head_session, view = _session_octets(session), memoryview(framed)
    begin = at = count = 0
    room = bytes_max - HEAD_BYTES
    while at < len(view):
        behind = at + FRAME_BYTES + (view[at] << 8 | view[at + 1]) if len(view) - at >= FRAME_BYTES else len(view) + 1
        if behind > len(view):
            raise ValueError(f"message {sequence + count} is not whole")
        if behind - at > room:
            raise ValueError(f"message {sequence + count} has {behind - at} bytes; a packet has room for {room}")
        if behind - begin > room or count == MESSAGES_MAX:
            yield _HEAD.pack(head_session, sequence, count) + view[begin:at]
            sequence, count, begin = sequence + count, 0, at
        at, count = behind, count + 1
    if count:
        yield _HEAD.pack(head_session, sequence, count) + view[begin:at]


def _head(octets: bytes) -> tuple[str, int, int]:
    if len(octets) < HEAD_BYTES:
        raise ProtocolError(f"a packet of {len(octets)} bytes came; one of MoldUDP64 has at least {HEAD_BYTES}")
    session, sequence, count = _HEAD.unpack_from(octets)
    if not session.isascii():
        raise ProtocolError("a packet came whose session is no ASCII text")
    return session.decode("ascii").rstrip(" "), sequence, count


def read(octets: bytes) -> Packet:
    """A packet of the feed. Raises ProtocolError for bytes that are none."""
    session, sequence, count = _head(octets)
    if count == END_OF_SESSION:
        if len(octets) != HEAD_BYTES:
            raise ProtocolError("a packet came that ends the session and has messages")
        return Packet(session, sequence, (), ends=True)
    messages: list[bytes] = []
    at = HEAD_BYTES
    for _ in range(count):
        if len(octets) - at < FRAME_BYTES:
            raise ProtocolError(f"a packet of {count} messages came that has {len(messages)}")
        behind = at + FRAME_BYTES + (octets[at] << 8 | octets[at + 1])
        if behind > len(octets):
            raise ProtocolError(f"a packet came whose message {len(messages) + 1} is longer than the packet")
        messages.append(bytes(octets[at + FRAME_BYTES : behind]))
        at = behind
    if at != len(octets):
        raise ProtocolError(f"a packet came with {len(octets) - at} bytes behind its last message")
    return Packet(session, sequence, tuple(messages))


def read_request(octets: bytes) -> Request:
    """A request for messages. Raises ProtocolError for bytes that are none."""
    session, sequence, count = _head(octets)
    if len(octets) != HEAD_BYTES:
        raise ProtocolError(f"a request of {len(octets)} bytes came; it has {HEAD_BYTES}")
    if not 1 <= count <= MESSAGES_MAX or sequence < 1:
        raise ProtocolError(f"a request for {count} messages from {sequence} on came; it names 1 to {MESSAGES_MAX}")
    return Request(session, sequence, count)
