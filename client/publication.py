"""Publications of a market: blocks of its journal and messages of its ITCH feed, as they are sent to many readers.

A publication is a part of a sequence with its place: the numbers that it has, the epoch of the primary that publishes,
and a digest by which a reader proves that it has everything up to there, and nothing else. The same bytes come from
whoever owns the journal, on request: what brings publications is no record of them.

    blocks   numbered by command; the payload is one sealed block. Its digest is the event digest of the journal there.
             The first of a slice has the records of the slices that begin there, by which it follows the one before.
    itch     numbered by message within a session, a day; the payload is framed messages (2 bytes of length, message).
             Its digest is the last link of a chain with a link a message: xxh3-128 over the link before and the framed
             message. The link before message 1 is xxh3-128 over the name of the session.

One with a count of 0 carries nothing: it says which number comes next, so that who lost the last one learns of it. One
with a count and no payload was too large to be sent; it is to be had from the owner.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from engine.digest import checksum

#: Kinds, as the last word of a subject.
BLOCKS: Final = "blocks"
ITCH: Final = "itch"
KINDS: Final = (BLOCKS, ITCH)
#: Largest number, and characters of a session's name at most.
NUMBER_MAX: Final = 2**62
_SESSION_MAX: Final = 64
_DIGEST_BYTES: Final = 16
_EPOCH: Final = "Lockstep-Epoch"
_SESSION: Final = "Lockstep-Session"
_FIRST: Final = "Lockstep-First-Seq"
_COUNT: Final = "Lockstep-Count"
_DIGEST: Final = "Lockstep-Digest"
_BEFORE: Final = "Lockstep-Digest-Before"
_THEN: Final = "Lockstep-Next-Session"
#: Header of the records of slices, whose size no bound for other headers counts.
SLICES: Final = "Lockstep-Slices"


class BadPublication(ValueError):
    """Bytes or headers that are no publication; the message says why."""


def subject(venue: str, kind: str) -> str:
    """Subject of a kind of publications of a venue.

    >>> subject("main", BLOCKS)
    'lockstep.main.blocks'
    """
    return f"lockstep.{venue}.{kind}"


def is_venue(text: str) -> bool:
    """True for a word that can stand in a subject: up to 32 letters, digits, - and _.

    >>> is_venue("main"), is_venue("a.b"), is_venue("*")
    (True, False, False)
    """
    return 0 < len(text) <= 32 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def checked_url(url: str) -> str:
    """The URL of a NATS server. Raises ValueError with a sentence, which never repeats a password.

    >>> checked_url("nats://127.0.0.1:4222")
    'nats://127.0.0.1:4222'
    """
    try:
        found = urlsplit(url)
        fits = found.scheme in ("nats", "tls") and bool(found.hostname) and (found.port is None or found.port > 0)
    except ValueError:
        fits = False
    if not fits or "," in url or any(each.isspace() for each in url):
        raise ValueError("the URL of the NATS server cannot be read; give one as nats://127.0.0.1:4222 or tls://...")
    if found.username is not None:
        raise ValueError("the URL of the NATS server has a login in it, which others may read; give it in a file")
    return url


class Publication(NamedTuple):
    """Part of a sequence: so many ``numbers`` from ``first`` on. session: id of the journal, or day of the messages.

    digest: after the last number; before: of messages, the one before the first. then: of one without numbers, the
    session that follows, once this one is over. slices: of the first block of a slice behind the first one, the sealed
    genesis records of the slices that begin there.
    """

    epoch: int
    session: str
    first: int
    numbers: int
    digest: bytes = b""
    before: bytes = b""
    payload: bytes = b""
    then: str = ""
    slices: tuple[bytes, ...] = ()

    @property
    def end(self) -> int:
        """The number behind the last one."""
        return self.first + self.numbers

    def headers(self) -> dict[str, str]:
        """Headers for ``read``. ``Nats-Msg-Id`` is the same for the same part of a sequence and reign."""
        found = {
            _EPOCH: str(self.epoch),
            _SESSION: self.session,
            _FIRST: str(self.first),
            _COUNT: str(self.numbers),
        }
        if self.numbers:
            found["Nats-Msg-Id"] = f"{self.epoch}-{self.session}-{self.first}"
        records = " ".join(b64encode(each).decode() for each in self.slices)
        for name, value in (
            (_DIGEST, self.digest.hex()),
            (_BEFORE, self.before.hex()),
            (_THEN, self.then),
            (SLICES, records),
        ):
            if value:
                found[name] = value
        return found


def read(headers: Mapping[str, str], payload: bytes) -> Publication:
    """Read headers and payload. Raises BadPublication."""
    session, then = headers.get(_SESSION, ""), headers.get(_THEN, "")
    if not session.isalnum() or not (then.isalnum() or not then) or max(len(session), len(then)) > _SESSION_MAX:
        raise BadPublication(f"the publication has the session {session[:80]!r}, which is none")
    found = Publication(
        _number(headers, _EPOCH, 0),
        session,
        _number(headers, _FIRST, 1),
        _number(headers, _COUNT, 0),
        _digest(headers, _DIGEST),
        _digest(headers, _BEFORE),
        payload,
        then,
        _records(headers),
    )
    if payload and not (found.numbers and found.digest):
        raise BadPublication("the publication has a payload without a count or a digest")
    return found


def _number(headers: Mapping[str, str], name: str, low: int) -> int:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not low <= int(text) <= NUMBER_MAX:
        raise BadPublication(f"the publication has {text[:40]!r} for {name}, which is no such number")
    return int(text)


def _records(headers: Mapping[str, str]) -> tuple[bytes, ...]:
    try:
        return tuple(b64decode(each, validate=True) for each in headers.get(SLICES, "").split())
    except (binascii.Error, ValueError):
        raise BadPublication(f"the publication has {SLICES} that are not in base64") from None


def _digest(headers: Mapping[str, str], name: str) -> bytes:
    text = headers.get(name, "")
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise BadPublication(f"the publication has {text[:40]!r} for {name}, which is no digest") from None
    if len(found) not in (0, _DIGEST_BYTES):
        raise BadPublication(f"the publication has a digest of {len(found)} bytes, and one has {_DIGEST_BYTES}")
    return found


# The chain of messages.


def first_link(session: str) -> bytes:
    """Link before message 1 of a session."""
    return checksum(session.encode())


def cut(framed: bytes) -> list[bytes]:
    """Framed messages one by one, each with its length before it. Raises BadPublication for bytes that are none.

    >>> cut(bytes((0, 1, 65, 0, 2, 66, 67)))
    [b'\\x00\\x01A', b'\\x00\\x02BC']
    """
    found, at, size = [], 0, len(framed)
    while at < size:
        end = at + 2 + int.from_bytes(framed[at : at + 2], "big")
        if end > size or end < at + 3:
            raise BadPublication("the payload has other bytes than messages")
        found.append(framed[at:end])
        at = end
    return found


def link_after(link: bytes, framed: list[bytes]) -> bytes:
    """Link behind framed messages."""
    for message in framed:
        link = checksum(link + message)
    return link


# Publications on a stream of bytes, as the owner of the journal answers: two lengths, headers, payload.

HEAD_BYTES: Final = 8
_HEADERS_BYTES_MAX: Final = 4_096
PAYLOAD_BYTES_MAX: Final = 8 << 20
#: A request is one line: the kind, the session ("-": the present one), and the first number that is wanted.
REQUEST_BYTES_MAX: Final = 128
#: Header of an answer without a publication: why there is none.
_REFUSED: Final = "Lockstep-Refused"
#: Header of such an answer where it is of no use to ask this owner again.
_GONE: Final = "Lockstep-Gone"


class Refused(Exception):
    """The owner of the journal cannot give what was asked for; the message says why."""


class Gone(Refused):
    """The owner of the journal does not have what was asked for, and will not have it."""


class Request(NamedTuple):
    """Request for what a sequence has from a number on. session: "" for the present one."""

    kind: str
    session: str
    first: int

    def line(self) -> bytes:
        """The line for ``read_request``."""
        return f"{self.kind} {self.session or '-'} {self.first}\n".encode()


def read_request(line: bytes) -> Request:
    """Read a line. Raises BadPublication.

    >>> read_request(b"itch 20240115 17\\n")
    Request(kind='itch', session='20240115', first=17)
    """
    words = line.decode("ascii", "replace").split()
    if len(words) != 3 or words[0] not in KINDS or not (words[1] == "-" or words[1].isalnum()):
        raise BadPublication(f"{line[:80]!r} is no request; send: blocks or itch, a session or -, a number")
    return Request(words[0], "" if words[1] == "-" else words[1], _number({_FIRST: words[2]}, _FIRST, 1))


def packed(publication: Publication) -> bytes:
    """A publication for a stream of bytes."""
    return _packed(publication.headers(), publication.payload)


def refusal(why: str, *, gone: bool = False) -> bytes:
    """An answer that has no publication. gone: and there will be none."""
    return _packed({_REFUSED: why.replace("\n", " ")[:2_000], **({_GONE: "yes"} if gone else {})}, b"")


def _packed(headers: Mapping[str, str], payload: bytes) -> bytes:
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items()).encode()
    return len(lines).to_bytes(4, "big") + len(payload).to_bytes(4, "big") + lines + payload


def sizes(head: bytes) -> tuple[int, int]:
    """Bytes of headers and payload that follow the first ``HEAD_BYTES``. Raises BadPublication."""
    lines, payload = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    if len(head) != HEAD_BYTES or not 0 < lines <= _HEADERS_BYTES_MAX or payload > PAYLOAD_BYTES_MAX:
        raise BadPublication("an answer does not begin like one")
    return lines, payload


def unpacked(lines: bytes, payload: bytes) -> Publication:
    """Publication of an answer. Raises BadPublication, Refused, Gone."""
    headers = dict(line.split(": ", 1) for line in lines.decode("utf-8", "replace").split("\n") if ": " in line)
    if _REFUSED in headers:
        raise (Gone if _GONE in headers else Refused)(headers[_REFUSED])
    return read(headers, payload)
