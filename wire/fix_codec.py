"""FIX messages as bytes: frames cut from a stream, checksums, fields, times, and frames to send.

A frame is ``8=version | 9=bytes | 35=type ... | 10=checksum |`` with the octet 1 for each bar. A frame whose length,
checksum or first three fields are wrong is garbled: it is passed over, and the gap in the numbers asks for it again
later.

Fields are taken apart by ``bytes.split`` and ``dict``, and sums come from Adler-32, whose low half is one more than the
sum of the bytes: what would be loops in Python are a few calls of compiled code. No field is converted until it is
asked for.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from zlib import adler32

SOH: Final = b"\x01"
#: Bytes of a message at most, that of its body as it says itself; a longer one is garbled.
BODY_BYTES_MAX: Final = 16_384
_SECOND_NS: Final = 1_000_000_000
#: Bytes whose sum, with 1 added, is below the modulus of Adler-32 whatever they are.
_SUMMED_BYTES: Final = 256
_TRAILER_BYTES: Final = 7
#: Lengths of data fields that every version has, and the fields that have so many bytes, separators included.
DATA_TAGS: Final[Mapping[bytes, bytes]] = {
    b"90": b"91",
    b"93": b"89",
    b"95": b"96",
    b"212": b"213",
    b"348": b"349",
    b"350": b"351",
    b"352": b"353",
    b"354": b"355",
    b"356": b"357",
    b"358": b"359",
    b"360": b"361",
    b"362": b"363",
    b"364": b"365",
    b"445": b"446",
    b"618": b"619",
    b"621": b"622",
}
_LENGTH_TAGS: Final = frozenset(DATA_TAGS)

Pairs = list[tuple[bytes, bytes]]


def checksum(data: bytes) -> int:
    """The sum of the bytes modulo 256, which field 10 has.

    >>> checksum(b"8=FIX.4.4|9=5|35=0|".replace(b"|", SOH)) == sum(b"8=FIX.4.4|9=5|35=0|".replace(b"|", SOH)) % 256
    True
    """
    if len(data) <= _SUMMED_BYTES:
        return ((adler32(data) & 0xFFFF) - 1) & 255
    total = 0
    for at in range(0, len(data), _SUMMED_BYTES):
        total += (adler32(data[at : at + _SUMMED_BYTES]) & 0xFFFF) - 1
    return total & 255


class Cutter:
    """Frames out of a stream of bytes that arrive in any pieces."""

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._rest = b""
        self._at = 0
        self._body_bytes_max = body_bytes_max

    def __repr__(self) -> str:
        return f"<Cutter, {self.held_bytes} bytes not cut>"

    @property
    def held_bytes(self) -> int:
        """Bytes that are not cut yet."""
        return len(self._rest) - self._at

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that arrived."""
        self._rest = self._rest[self._at :] + data if self._at < len(self._rest) else bytes(data)
        self._at = 0

    def clear(self) -> None:
        """Forget the bytes that are not cut."""
        self._rest, self._at = b"", 0

    def take_held(self) -> bytes:
        """Take the bytes that are not cut."""
        held = self._rest[self._at :]
        self.clear()
        return held

    def next(self) -> tuple[bytes, bool] | None:
        """The next frame, and whether length and checksum are right; None: no whole frame is there.

        A frame that states a wrong length ends at the first checksum behind that length, so a length that is too long
        swallows the message behind it, which is asked for again like any that is missing.
        """
        rest, begin = self._rest, self._at
        if not rest.startswith(b"8=", begin):
            begin = rest.find(b"8=", begin)
            if begin < 0:
                # An 8 at the end may be the first half of a beginning.
                self._at = len(rest) - 1 if rest.endswith(b"8") and self._at < len(rest) else len(rest)
                return None
            self._at = begin
        length_at = rest.find(b"\x019=", begin, begin + 32)
        if length_at < 0:
            return self._unstated(begin, begin + 32)
        length_end = rest.find(SOH, length_at + 3, length_at + 13)
        if length_end < 0:
            return self._unstated(begin, length_at + 13)
        stated = rest[length_at + 3 : length_end]
        if not stated.isdigit() or (length := int(stated)) > self._body_bytes_max:
            return self._unstated(begin, 0)
        body_end = length_end + 1 + length
        end = body_end + _TRAILER_BYTES
        if len(rest) < end:
            return None
        if rest.startswith(b"10=", body_end) and rest[body_end - 1] == 1 and rest[end - 1] == 1:
            self._at = end
            digits = rest[body_end + 3 : end - 1]
            return rest[begin:end], digits.isdigit() and int(digits) == checksum(rest[begin:body_end])
        at = rest.find(b"\x0110=", body_end - 1)
        after = rest.find(SOH, at + 4) if at >= 0 else -1
        if after < 0:
            if len(rest) - body_end > self._body_bytes_max:
                return self._unstated(begin, 0)
            return None
        self._at = after + 1
        return rest[begin : after + 1], False

    def _unstated(self, begin: int, whole_at: int) -> tuple[bytes, bool] | None:
        """Pass over a beginning that states no length; None while it may still come, before ``whole_at``."""
        if len(self._rest) < whole_at:
            return None
        following = self._rest.find(b"8=FIX", begin + 2)
        self._at = following if following >= 0 else len(self._rest)
        return self._rest[begin : self._at], False


class Garbled(Exception):
    """A frame whose fields cannot be told apart. It is passed over and consumes no number."""


class Message:
    """Fields of a frame. ``fields``: by tag, in the order of the frame, the last where a tag is repeated.

    ``pairs``: all of them in order; None where no tag is repeated and ``fields`` says the same.
    """

    __slots__ = ("fields", "frame", "pairs")

    def __init__(self, frame: bytes) -> None:
        """Raises Garbled for a frame that is not a row of fields, or does not begin with version, length and type."""
        self.frame = frame
        pieces = frame[:-1].split(SOH)
        try:
            fields: dict[bytes, bytes] = dict([piece.split(b"=", 1) for piece in pieces])
        except ValueError:
            fields = {}
        self.fields = fields
        self.pairs: Pairs | None = None
        if not fields or not _LENGTH_TAGS.isdisjoint(fields):
            self.pairs = _pairs_with_data(frame)
            self.fields = dict(self.pairs)
        elif len(fields) != len(pieces):
            self.pairs = [(tag, value) for tag, _, value in (piece.partition(b"=") for piece in pieces)]
        if len(pieces) < 4 or not pieces[2].startswith(b"35="):
            raise Garbled("a frame does not begin with the fields 8, 9 and 35")

    def __repr__(self) -> str:
        return f"<Message of type {self.msg_type.decode('ascii', 'replace')}>"

    @property
    def msg_type(self) -> bytes:
        """Type of the message, field 35."""
        return self.fields[b"35"]

    def in_order(self) -> Pairs:
        """All fields in the order of the frame, repeated ones too."""
        return list(self.fields.items()) if self.pairs is None else self.pairs

    def get(self, tag: bytes) -> bytes | None:
        """Value of a field; None where it is not there."""
        return self.fields.get(tag)

    def number(self, tag: bytes) -> int | None:
        """Value of a field that is a number without a sign; None where it is not there or is none."""
        value = self.fields.get(tag)
        return int(value) if value is not None and value.isdigit() and len(value) < 19 else None


def _pairs_with_data(frame: bytes) -> Pairs:
    """Fields of a frame in which data fields may hold separators. Raises Garbled."""
    pairs: Pairs = []
    at, data_bytes, data_tag = 0, -1, b""
    while at < len(frame):
        equals = frame.find(b"=", at)
        if equals < 0:
            raise Garbled("a frame has a field without =")
        tag = frame[at:equals]
        end = equals + 1 + data_bytes if data_bytes >= 0 and tag == data_tag else frame.find(SOH, equals)
        if SOH in tag or not equals < end < len(frame) or frame[end] != 1:
            raise Garbled("a frame has a field that does not end where it should")
        value = frame[equals + 1 : end]
        pairs.append((tag, value))
        data_tag = DATA_TAGS.get(tag, b"")
        data_bytes = int(value) if data_tag and value.isdigit() and len(value) < 10 else -1
        at = end + 1
    return pairs


class Times:
    """Times of messages as text and back. The last second is kept: most messages are of it."""

    def __init__(self) -> None:
        self._second, self._text = -1, b""
        self._read_text, self._read_ns = b"", 0

    def text(self, time_ns: int) -> bytes:
        """A time in UTC with milliseconds.

        >>> Times().text(1_700_000_000_123_456_789)
        b'20231114-22:13:20.123'
        """
        second, rest_ns = divmod(time_ns, _SECOND_NS)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y%m%d-%H:%M:%S").encode()
            self._second = second
        return b"%b.%03d" % (self._text, rest_ns // 1_000_000)

    def nanoseconds(self, text: bytes) -> int | None:
        """Nanoseconds since 1970 of a time with 0 to 9 digits behind the second; None for text that is none.

        >>> Times().nanoseconds(b"20231114-22:13:20.5")
        1700000000500000000
        """
        whole, fraction = text[:17], text[17:]
        if whole != self._read_text:
            try:
                time = datetime.strptime(whole.decode("ascii"), "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
            except ValueError:
                return None
            if len(whole) != 17:
                return None
            # A time before 1970 counts as 1970: what is that far away is refused anyway.
            self._read_text, self._read_ns = whole, max(0, int(time.timestamp())) * _SECOND_NS
        if not fraction:
            return self._read_ns
        digits = fraction[1:]
        if not fraction.startswith(b".") or not digits.isdigit() or len(digits) > 9:
            return None
        return self._read_ns + int(digits.ljust(9, b"0"))


def body(pairs: Iterable[tuple[int, bytes | str | int]]) -> bytes:
    """Fields as bytes, in the order given.

    >>> body([(11, "A1"), (38, 100)])
    b'11=A1\\x0138=100\\x01'
    """
    parts = []
    for tag, value in pairs:
        octets = value if isinstance(value, bytes) else str(value).encode("latin-1")
        parts.append(b"%d=%b\x01" % (tag, octets))
    return b"".join(parts)


class FrameWriter:
    """Frames from one side of a session to the other: the fields that never change are put together once."""

    def __init__(self, version: str, sender: str, target: str, times: Times) -> None:
        self._begin = b"8=%b\x019=" % version.encode()
        self._sender = sender.encode()
        self._sender_part = b"\x0149=%b\x0152=" % self._sender
        self._target_part = b"\x0156=%b\x01" % target.encode()
        self._times = times

    def frame(self, msg_type: bytes, seq: int, time_ns: int, fields: bytes) -> bytes:
        """A message with the plain header. fields: the body."""
        text = b"35=%b\x0134=%d%b%b%b%b" % (
            msg_type,
            seq,
            self._sender_part,
            self._times.text(time_ns),
            self._target_part,
            fields,
        )
        data = b"%b%d\x01%b" % (self._begin, len(text), text)
        return b"%b10=%03d\x01" % (data, checksum(data))

    def routed(
        self,
        msg_type: bytes,
        seq: int,
        time_ns: int,
        fields: bytes,
        *,
        first_sent_ns: int | None = None,
        header: Iterable[tuple[int, bytes]] = (),
    ) -> bytes:
        """A message with more fields in its header, which are sorted by tag.

        first_sent_ns: when it was sent first; it then says that it is possibly a duplicate.
        """
        more = list(header)
        if first_sent_ns is not None:
            more += [(43, b"Y"), (122, self._times.text(first_sent_ns))]
        before = b"".join(b"%d=%b\x01" % pair for pair in sorted(more) if pair[0] < 49)
        behind = b"".join(b"%d=%b\x01" % pair for pair in sorted(more) if pair[0] > 56)
        between = b"".join(b"%d=%b\x01" % pair for pair in sorted(more) if 49 < pair[0] < 52)
        after_time = b"".join(b"%d=%b\x01" % pair for pair in sorted(more) if 52 < pair[0] < 56)
        text = b"35=%b\x0134=%d\x01%b49=%b\x01%b52=%b\x01%b%b%b%b" % (
            *(msg_type, seq, before, self._sender, between, self._times.text(time_ns), after_time),
            *(self._target_part[1:], behind, fields),
        )
        data = b"%b%d\x01%b" % (self._begin, len(text), text)
        return b"%b10=%03d\x01" % (data, checksum(data))
