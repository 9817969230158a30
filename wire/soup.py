"""SoupBinTCP 3.00, the packets: how they are built, and how a stream of bytes is cut into them.

    length u16 big-endian | type 1 | payload, length - 1 bytes

The length counts what follows it. Text fields are ASCII: user and password are padded on the right, session and
numbers on the left, and both are read with the padding on either side, since clients differ. A packet has no number and
no time: the sessions (``wire/soup_session.py``) count sequenced packets from 1. User and password are case-insensitive
by the specification; here they keep their case.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from wire.errors import ProtocolError

#: Bytes before the payload: length and type.
HEAD_BYTES: Final = 3
#: The longest payload that the length field can announce.
PAYLOAD_BYTES_TOP: Final = 2**16 - 2
#: Default bound of a payload from a peer. OUCH needs 80 bytes, a login 46.
PAYLOAD_BYTES_MAX: Final = 1_024
#: Highest sequence number; a peer could write more into 20 digits.
SEQ_MAX: Final = 2**62

#: Text of the debug packet with which a client asks, before its login request, for what SoupBinTCP has no field for:
#: ``end N`` behind Login Accepted (the stream has all messages before N), ``refused: WHY`` before Login Rejected.
TELL: Final = "tell"
TOLD_END: Final = "end "
TOLD_REFUSED: Final = "refused: "

USER_CHARACTERS: Final = 6
PASSWORD_CHARACTERS: Final = 10
SESSION_CHARACTERS: Final = 10
NUMBER_CHARACTERS: Final = 20

_HEAD: Final = struct.Struct(">HB")


class PacketType(IntEnum):
    """The byte after the length. Debug goes both ways, the next five come from a server, the rest from a client."""

    DEBUG = ord("+")
    LOGIN_ACCEPTED = ord("A")
    LOGIN_REJECTED = ord("J")
    SEQUENCED = ord("S")
    SERVER_HEARTBEAT = ord("H")
    END_OF_SESSION = ord("Z")
    LOGIN_REQUEST = ord("L")
    UNSEQUENCED = ord("U")
    CLIENT_HEARTBEAT = ord("R")
    LOGOUT = ord("O")


class RejectCode(IntEnum):
    """Reason why a login was rejected."""

    NOT_AUTHORIZED = ord("A")
    SESSION_NOT_AVAILABLE = ord("S")


#: Payload bytes of the types that have a fixed number.
PAYLOAD_BYTES: Final = {
    PacketType.LOGIN_ACCEPTED: SESSION_CHARACTERS + NUMBER_CHARACTERS,
    PacketType.LOGIN_REJECTED: 1,
    PacketType.SERVER_HEARTBEAT: 0,
    PacketType.END_OF_SESSION: 0,
    PacketType.LOGIN_REQUEST: USER_CHARACTERS + PASSWORD_CHARACTERS + SESSION_CHARACTERS + NUMBER_CHARACTERS,
    PacketType.CLIENT_HEARTBEAT: 0,
    PacketType.LOGOUT: 0,
}


def packet(kind: int, payload: bytes | bytearray | memoryview = b"") -> bytes:
    """One packet. Raises ValueError for a payload that the length field cannot announce.

    >>> packet(PacketType.SEQUENCED, b"abc")
    b'\\x00\\x04Sabc'
    """
    if len(payload) > PAYLOAD_BYTES_TOP:
        raise ValueError(f"a payload of {len(payload)} bytes is too long for a packet, at most {PAYLOAD_BYTES_TOP}")
    return _HEAD.pack(len(payload) + 1, kind) + payload


def named(kind: int) -> str:
    """A packet type for a sentence.

    >>> named(ord("U")), named(0)
    ('an unsequenced packet', 'a packet of unknown type 0x00')
    """
    try:
        name = PacketType(kind).name.lower().replace("_", " ")
    except ValueError:
        return f"a packet of unknown type 0x{kind:02x}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} packet"


def length_error(length: int, payload_bytes_max: int) -> ProtocolError:
    """Error of a packet whose length field cannot be right."""
    if length < 1:
        return ProtocolError("a packet of length 0 came; the length counts the type byte, so the least is 1")
    return ProtocolError(f"a packet of length {length} came; at most {payload_bytes_max + 1} is accepted here")


def packet_bytes(data: bytes | bytearray | memoryview, at: int = 0, payload_bytes_max: int = PAYLOAD_BYTES_TOP) -> int:
    """Bytes of the packet that begins at ``at``, its head included; 0 if not all of it is there.

    Raises ProtocolError for an impossible length, as soon as the length is there.

    >>> packet_bytes(b"\\x00\\x04Sabc"), packet_bytes(b"\\x00\\x04Sab")
    (6, 0)
    """
    if len(data) - at < 2:
        return 0
    length = data[at] << 8 | data[at + 1]
    if not 1 <= length <= payload_bytes_max + 1:
        raise length_error(length, payload_bytes_max)
    return 2 + length if len(data) - at >= 2 + length else 0


def packets(data: bytes | bytearray | memoryview) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each whole packet at the beginning of ``data``. Raises ProtocolError.

    >>> list(packets(b"\\x00\\x04Sabc\\x00\\x01H\\x00"))
    [(83, b'abc'), (72, b'')]
    """
    at = 0
    while size := packet_bytes(data, at):
        yield data[at + 2], bytes(data[at + HEAD_BYTES : at + size])
        at += size


class PacketCutter:
    """Cutter of a byte stream into packets, however it arrives. It holds only bytes that were fed and not cut yet."""

    def __init__(self, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        """Make a cutter. Raises ValueError for a bound without room for a login, or that no packet can exceed."""
        least = PAYLOAD_BYTES[PacketType.LOGIN_REQUEST]
        if not least <= payload_bytes_max <= PAYLOAD_BYTES_TOP:
            raise ValueError(
                f"payload_bytes_max is {payload_bytes_max}; it must be from {least} to {PAYLOAD_BYTES_TOP}"
            )
        self.payload_bytes_max = payload_bytes_max
        self._held = bytearray()
        self._at = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that arrived."""
        if self._at:
            del self._held[: self._at]
            self._at = 0
        self._held += data

    @property
    def held_bytes(self) -> int:
        """Number of bytes that were fed and are not cut yet."""
        return len(self._held) - self._at

    def next(self) -> tuple[int, bytes] | None:
        """(type, payload) of the next complete packet, or None. Raises ProtocolError for an impossible length.

        The length is judged as soon as it is there, so an oversized packet is never waited for.
        """
        size = packet_bytes(self._held, self._at, self.payload_bytes_max)
        if size == 0:
            return None
        start = self._at + HEAD_BYTES
        self._at += size
        return self._held[start - 1], bytes(self._held[start : self._at])

    def release(self) -> bytes:
        """Hand over the bytes that were not cut, and forget them."""
        rest = bytes(self._held[self._at :])
        self._held.clear()
        self._at = 0
        return rest


def _field(what: str, text: str, characters: int, *, show: bool = True) -> bytes:
    """A text of ours as ASCII, not padded. Raises ValueError for one that does not fit."""
    shown = f"{what} {text!r}" if show else what
    if len(text) > characters:
        raise ValueError(f"the {shown} has {len(text)} characters; SoupBinTCP has room for {characters}")
    if not (text.isascii() and text.isprintable()) or text != text.strip(" "):
        raise ValueError(f"the {shown} has other than ASCII characters, or spaces around it")
    return text.encode("ascii")


def _number(seq: int) -> bytes:
    if not 0 <= seq <= SEQ_MAX:
        raise ValueError(f"the sequence number {seq} is not from 0 to {SEQ_MAX}")
    return str(seq).encode("ascii").rjust(NUMBER_CHARACTERS)


def _text_of(what: str, raw: bytes) -> str:
    """Text of a peer without padding. Errors do not repeat the bytes: they may be a password."""
    text = raw.decode("latin-1").strip(" ")
    if not (text.isascii() and text.isprintable()):
        raise ProtocolError(f"the {what} has other than printable ASCII characters")
    return text


def _number_of(what: str, raw: bytes) -> int:
    digits = _text_of(what, raw)
    if not digits.isdigit():
        raise ProtocolError(f"the {what} is no whole number in digits")
    if int(digits) > SEQ_MAX:
        raise ProtocolError(f"the {what} is above {SEQ_MAX}, the highest")
    return int(digits)


def _cut(payload: bytes, *widths: int) -> list[bytes]:
    ends = [sum(widths[: n + 1]) for n in range(len(widths))]
    return [payload[end - width : end] for end, width in zip(ends, widths, strict=True)]


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """Request of a client to log in, and for the stream from a number on.

    session: blank for the present one. requested_seq: the first message wanted, from 1; 0 for none of the past.
    """

    user: str
    password: str = field(repr=False)
    session: str = ""
    requested_seq: int = 1

    def packet(self) -> bytes:
        """Encode the packet. Raises ValueError for values that do not fit, without a password."""
        return packet(
            PacketType.LOGIN_REQUEST,
            _field("user", self.user, USER_CHARACTERS).ljust(USER_CHARACTERS)
            + _field("password", self.password, PASSWORD_CHARACTERS, show=False).ljust(PASSWORD_CHARACTERS)
            + _field("session", self.session, SESSION_CHARACTERS).rjust(SESSION_CHARACTERS)
            + _number(self.requested_seq),
        )

    @classmethod
    def read(cls, payload: bytes) -> "LoginRequest":
        """Read a payload of 46 bytes. Raises ProtocolError; its ``answer`` is a Login Rejected."""
        raw_user, raw_password, raw_session, raw_number = _cut(
            payload, USER_CHARACTERS, PASSWORD_CHARACTERS, SESSION_CHARACTERS, NUMBER_CHARACTERS
        )
        code = RejectCode.NOT_AUTHORIZED
        try:
            user = _text_of("user of the login request", raw_user)
            password = _text_of("password of the login request", raw_password)
            code = RejectCode.SESSION_NOT_AVAILABLE
            session = _text_of("session of the login request", raw_session)
            return cls(user, password, session, _number_of("sequence number of the login request", raw_number))
        except ProtocolError as error:
            error.answer = LoginRejected(code).packet()
            raise


@dataclass(frozen=True, slots=True)
class LoginAccepted:
    """Acceptance of a login by a server. next_seq: the number of the sequenced message that comes next, from 1."""

    session: str
    next_seq: int

    def packet(self) -> bytes:
        """The packet. Raises ValueError for what does not fit."""
        session = _field("session", self.session, SESSION_CHARACTERS).rjust(SESSION_CHARACTERS)
        return packet(PacketType.LOGIN_ACCEPTED, session + _number(self.next_seq))

    @classmethod
    def read(cls, payload: bytes) -> "LoginAccepted":
        """Read a payload of 30 bytes. Raises ProtocolError."""
        session, number = _cut(payload, SESSION_CHARACTERS, NUMBER_CHARACTERS)
        next_seq = _number_of("sequence number of the login answer", number)
        if next_seq < 1:
            raise ProtocolError("the login answer has message 0 as the next one; a stream starts at 1")
        return cls(_text_of("session of the login answer", session), next_seq)


@dataclass(frozen=True, slots=True)
class LoginRejected:
    """Rejection of a login by a server, which closes the connection."""

    code: RejectCode

    def packet(self) -> bytes:
        """The packet."""
        return packet(PacketType.LOGIN_REJECTED, bytes([self.code]))

    @classmethod
    def read(cls, payload: bytes) -> "LoginRejected":
        """Read a payload of 1 byte. Raises ProtocolError for a code that is none."""
        if payload[0] not in set(RejectCode):
            raise ProtocolError(f"the login was refused with the unknown code 0x{payload[0]:02x}")
        return cls(RejectCode(payload[0]))


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A message of the stream, and its number in it, from 1."""

    seq: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Unsequenced:
    """A message of a client. It may be lost, so a client repeats unanswered requests."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Debug:
    """Text for a person, with unprintable characters escaped."""

    text: str

    def packet(self) -> bytes:
        """The packet; what is not ASCII goes escaped."""
        return packet(PacketType.DEBUG, self.text.encode("ascii", "backslashreplace"))

    @classmethod
    def read(cls, payload: bytes) -> "Debug":
        """Read any payload."""
        return cls("".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in payload))


@dataclass(frozen=True, slots=True)
class Logout:
    """Logout of a client: nothing more comes from it."""


@dataclass(frozen=True, slots=True)
class EndOfSession:
    """The stream is complete: nothing more comes from the server."""
