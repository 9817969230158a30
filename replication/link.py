"""Link between a primary and its copies: frames, greeting and proof, as pure functions of bytes.

A copy (standby, follower or auditor) connects to the primary. Both then send frames:

    magic 2 | kind u8 | version u8 | payload bytes u32 | epoch u64 | checksum u32 | zero u32 | payload

``epoch`` is that of the sender; a receiver refuses one below what it has seen. The checksum is CRC-32 over the header
before it and the payload. Of a BLOCK it covers the header alone: the payload is a sealed block of the journal, which
has a checksum of its own and is linked to the block before (``journal.frame``).

The greeting: the primary sends CHALLENGE, the copy HELLO, the primary WELCOME, COMMON, CATCH_UP or REFUSAL. Each proves
with an HMAC that it knows the secret of the pair; a REFUSAL without a proof is heard and decides nothing. Frames after
that have no proof, and nothing is encrypted: use a network of your own.
"""

import hmac
import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

VERSION: Final = 1
MAGIC: Final = b"lR"
NONCE_BYTES: Final = 16
DIGEST_BYTES: Final = 16
_HEAD: Final = struct.Struct("<2sBBIQ")
_CHECKSUM: Final = struct.Struct("<II")
#: Both together.
_WHOLE_HEAD: Final = struct.Struct("<2sBBIQII")
HEAD_BYTES: Final = _WHOLE_HEAD.size
#: Largest payload: a block of 65,536 rows with its header.
PAYLOAD_BYTES_MAX: Final = (1 << 22) + 4_096
#: Largest payload of a frame before the greeting is over.
GREETING_BYTES_MAX: Final = 65_536
#: Positions of a copy's tail that its greeting names at most.
TAIL_MAX: Final = 256
#: Flag in the refusal of a copy whose name or place another one has.
PLACE_TAKEN: Final = "place_taken"
_POSITION: Final = struct.Struct("<Q16s")
_ACK: Final = struct.Struct("<QQ")
_ROWS: Final = struct.Struct("<QQQ")
_CHALLENGE: Final = struct.Struct("<16sH")
_BEAT: Final = struct.Struct("<QQQ")
_SCRUB: Final = struct.Struct("<QQQ16s")
_EPOCH_MAX: Final = 1 << 62


class LinkError(Exception):
    """A peer sent what it may not send; the message says what. Close the connection."""


class Kind(IntEnum):
    """Kind of a frame. Codes are never reused."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    REFUSAL = 4  # the reason, then the sender closes
    BLOCK = 5  # primary: a sealed block
    DIGESTS = 6  # event digests at the ends of blocks
    ACK = 7  # copy: position of its memory and its disk, and event digests
    BEAT = 8  # primary: its position, that of the released answers, and its wall clock
    SCRUB = 9  # primary: digest of a piece of the state at a position
    PARTS = 10  # digest of each part of the state at a position
    SYNC = 11  # primary: whether the copy is recorded as in sync
    SLICE = 12  # primary and history: the genesis record of a slice, between the blocks
    HANDOVER = 13  # primary: take over at this position
    READY = 14  # standby: at that position, with this digest
    DIVERGENCE = 15  # the states differ: where, and in which part
    CATCH_UP = 16  # primary: the blocks are too old for the link; fetch them from its history
    TAIL = 17  # copy: positions at the end of its journal, the newest first
    COMMON = 18  # primary: the newest of them that its own journal has
    FETCH = 19  # copy: a request to the history of the primary (``replication.history``)
    RECORDED = 20  # history: event digests, each with the first command of its block
    FILE = 21  # history: a file follows, with its name and size
    PIECE = 22  # history: bytes of that file
    DONE = 23  # history: the end of an answer, with what it says
    ROWS = 24  # primary: rows ahead of the block that will have them


_KINDS: Final = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """Frame of the link."""

    kind: Kind
    epoch: int
    payload: bytes


class Position(NamedTuple):
    """Position in the journal, at the end of a block: sequence number, and a digest or checksum (16 bytes) there."""

    seq: int
    digest: bytes


class Rows(NamedTuple):
    """``rows`` rows from ``first_seq`` on, ahead of their block; ``time_ns``: market time at their end."""

    first_seq: int
    rows: int
    time_ns: int
    data: bytes

    @property
    def last_seq(self) -> int:
        """Sequence number of the last row."""
        return self.first_seq + self.rows - 1

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return len(self.data) // self.rows


class Scrub(NamedTuple):
    """Digest of piece ``turn`` of the state, of ``budget_bytes`` at most, after command ``seq``."""

    seq: int
    turn: int
    budget_bytes: int
    digest: bytes


def head(kind: Kind, epoch: int, payload_bytes: int, payload: bytes = b"") -> bytes:
    """Encode the header of a frame; ``payload``: what the checksum covers after the header (nothing of a BLOCK)."""
    start = _HEAD.pack(MAGIC, kind, VERSION, payload_bytes, epoch)
    return start + _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(start)), 0)


def encode(kind: Kind, epoch: int, payload: bytes = b"") -> bytes:
    """Encode a frame.

    >>> reader = FrameReader()
    >>> [(frame.kind.name, frame.epoch) for frame in reader.feed(encode(Kind.SYNC, 7, b"1"))]
    [('SYNC', 7)]
    """
    return head(kind, epoch, len(payload), b"" if kind == Kind.BLOCK else payload) + payload


class FrameReader:
    """Cutter of a byte stream into frames. ``payload_bytes_max``: larger ones are refused; small until the greeting."""

    def __init__(self) -> None:
        self.payload_bytes_max = GREETING_BYTES_MAX
        self._rest = bytearray()
        #: Bytes of the frames that were cut last.
        self.cut_bytes = 0

    @property
    def is_between_frames(self) -> bool:
        """True if nothing is left of the bytes so far."""
        return not self._rest

    def sole_payload(self, data: "bytes | bytearray | memoryview", kind: Kind, epoch: int) -> bytes | None:
        """Payload of ``data`` if that is one whole frame of this kind and epoch, and nothing is left of the bytes
        before; else None, and ``feed`` is to be called. The usual block and acknowledgement, in a fraction of the time.
        """
        size = len(data) - HEAD_BYTES
        if type(data) is not bytes or self._rest or not 0 <= size <= self.payload_bytes_max:
            return None
        start = _HEAD.pack(MAGIC, kind, VERSION, size, epoch)
        covered = zlib.crc32(start)
        payload = data[HEAD_BYTES:]
        if kind is not Kind.BLOCK:
            covered = zlib.crc32(payload, covered)
        return payload if data[:HEAD_BYTES] == start + _CHECKSUM.pack(covered, 0) else None

    def feed(self, data: "bytes | bytearray | memoryview") -> Iterator[Frame]:
        """Frames that are complete with ``data``; take them all before the next call. Raises LinkError."""
        # Almost always whole frames come, and nothing is left of the bytes before: then nothing is put together.
        rest = self._rest
        whole = data if type(data) is bytes and not rest else None
        if whole is None:
            rest += data
        source: bytes | bytearray = rest if whole is None else whole
        self.cut_bytes = 0
        try:
            yield from self.cut(source, len(source))
        finally:
            if whole is None:
                del rest[: self.cut_bytes]
            elif self.cut_bytes < len(whole):
                rest += whole[self.cut_bytes :]

    def cut(self, source: bytes | bytearray, end: int) -> Iterator[Frame]:
        """Frames that are complete in the first ``end`` bytes of ``source``; ``cut_bytes`` are theirs then.

        For one who keeps the rest of the bytes himself, as ``feed`` does for others. Raises LinkError.
        """
        at = self.cut_bytes = 0
        while end - at >= HEAD_BYTES:
            magic, code, version, size, epoch, checksum, zero = _WHOLE_HEAD.unpack_from(source, at)
            kind = _KINDS.get(code)
            if kind is None or magic != MAGIC or version != VERSION or zero or size > self.payload_bytes_max:
                raise _head_error(magic, code, version, size, self.payload_bytes_max)
            start = at + HEAD_BYTES
            stop = start + size
            if stop > end:
                return
            payload = bytes(memoryview(source)[start:stop])
            covered = zlib.crc32(source[at : at + _HEAD.size])
            if checksum != (covered if kind is Kind.BLOCK else zlib.crc32(payload, covered)):
                raise LinkError("a frame does not match its checksum")
            if epoch > _EPOCH_MAX:
                raise LinkError("the header of a frame is out of range")
            at = self.cut_bytes = stop
            yield Frame(kind, epoch, payload)


def _head_error(magic: bytes, code: int, version: int, size: int, size_max: int) -> LinkError:
    """Error of a header that is wrong."""
    if magic != MAGIC:
        return LinkError("what arrived is no frame of a link between nodes")
    if version != VERSION:
        return LinkError(f"the peer speaks version {version} of the link, and this node version {VERSION}")
    if code not in _KINDS:
        return LinkError(f"a frame has the unknown kind {code}")
    if size > size_max:
        return LinkError(f"a frame of {size} bytes is larger than the {size_max} allowed here")
    return LinkError("the header of a frame is out of range")


# Payloads of fixed form.


def pack_positions(positions: "Sequence[Position]") -> bytes:
    """Encode positions."""
    return b"".join(_POSITION.pack(seq, digest) for seq, digest in positions)


def unpack_positions(payload: bytes, start: int = 0) -> list[Position]:
    """Decode positions. Raises LinkError."""
    if (len(payload) - start) % _POSITION.size:
        raise LinkError("a list of positions ends in the middle of one")
    return [Position(*place) for place in _POSITION.iter_unpack(payload[start:])]


def pack_ack(received_seq: int, journaled_seq: int, digests: "Sequence[Position]") -> bytes:
    """Encode an ACK."""
    positions = _ACK.pack(received_seq, journaled_seq)
    return positions + pack_positions(digests) if digests else positions


def unpack_ack(payload: bytes) -> tuple[int, int, list[Position]]:
    """Decode an ACK. Raises LinkError."""
    if len(payload) < _ACK.size:
        raise LinkError("an acknowledgement is too short")
    received_seq, journaled_seq = _ACK.unpack_from(payload)
    digests = unpack_positions(payload, _ACK.size) if len(payload) > _ACK.size else []
    return received_seq, journaled_seq, digests


def pack_rows(rows: Rows) -> bytes:
    """Encode rows ahead of their block."""
    return _ROWS.pack(rows.first_seq, rows.rows, rows.time_ns) + rows.data


def unpack_rows(payload: bytes) -> Rows:
    """Decode rows ahead of their block. Raises LinkError."""
    if len(payload) <= _ROWS.size:
        raise LinkError("a frame of rows has none")
    first_seq, count, time_ns = _ROWS.unpack_from(payload)
    data = payload[_ROWS.size :]
    if not 0 < count <= len(data) or len(data) % count:
        raise LinkError(f"a frame of {count} rows has {len(data)} bytes of them")
    return Rows(first_seq, count, time_ns, data)


def pack_challenge(nonce: bytes, history_port: int) -> bytes:
    """Encode a CHALLENGE: nonce, and the port of the primary's history, 0 for none."""
    return _CHALLENGE.pack(nonce, history_port)


def unpack_challenge(payload: bytes) -> tuple[bytes, int]:
    """Decode a CHALLENGE. Raises LinkError."""
    if len(payload) != _CHALLENGE.size:
        raise LinkError(f"a challenge has {len(payload)} bytes")
    nonce, history_port = _CHALLENGE.unpack(payload)
    return nonce, history_port


def pack_beat(last_seq: int, released_seq: int, time_ns: int) -> bytes:
    """Encode a BEAT; ``time_ns``: wall clock of the primary, for the report of the lag."""
    return _BEAT.pack(last_seq, released_seq, time_ns)


def unpack_beat(payload: bytes) -> tuple[int, int, int]:
    """Decode a BEAT. Raises LinkError."""
    if len(payload) != _BEAT.size:
        raise LinkError(f"a beat has {len(payload)} bytes")
    last_seq, released_seq, time_ns = _BEAT.unpack(payload)
    return last_seq, released_seq, time_ns


def pack_scrub(scrub: Scrub) -> bytes:
    """Encode a SCRUB."""
    return _SCRUB.pack(*scrub)


def unpack_scrub(payload: bytes) -> Scrub:
    """Decode a SCRUB. Raises LinkError."""
    if len(payload) != _SCRUB.size:
        raise LinkError(f"a digest of a piece of the state has {len(payload)} bytes")
    return Scrub(*_SCRUB.unpack(payload))


# Payloads with names.


def pack_map(fields: dict[str, Any]) -> bytes:
    """Encode a map of plain values."""
    packed: bytes = msgpack.packb(fields)
    return packed


def unpack_map(payload: bytes, kinds: dict[str, type]) -> dict[str, Any]:
    """Decode a map which has at least the fields of ``kinds``, each of its type. Raises LinkError.

    Further fields are left out: a later release may send more.
    """
    try:
        fields = msgpack.unpackb(payload)
    except (ValueError, TypeError, OverflowError) as error:
        raise LinkError("a frame holds no map of plain values") from error
    if not isinstance(fields, dict):
        raise LinkError("a frame holds no map")
    found = {}
    for name, kind in kinds.items():
        if type(fields.get(name)) is not kind:
            raise LinkError(f"a frame has no {name}, or one of a wrong type")
        found[name] = fields[name]
    return found


def unpack_flag(payload: bytes, name: str) -> bool:
    """Decode a flag of a map; False where it has none, as that of an earlier release. Raises LinkError.

    >>> unpack_flag(pack_map({"takes_rows": True}), "takes_rows"), unpack_flag(pack_map({}), "takes_rows")
    (True, False)
    """
    unpack_map(payload, {})
    return msgpack.unpackb(payload).get(name) is True


def unpack_bytes(payload: bytes, name: str) -> bytes:
    """Decode bytes of a map; none where it has no such field, as that of an earlier release. Raises LinkError.

    >>> unpack_bytes(pack_map({"divergence": b"1"}), "divergence"), unpack_bytes(pack_map({}), "divergence")
    (b'1', b'')
    """
    unpack_map(payload, {})
    found = msgpack.unpackb(payload).get(name)
    return found if type(found) is bytes else b""


class Identity(NamedTuple):
    """Identity of a node's state: two nodes with the same one compute the same from the same commands.

    ``journal_id``: 16 bytes. ``form``: digest (16 bytes) of STATE_VERSION, the dtypes of the state and the capacity.
    ``build``: digest of the kernels' sources, for the record: two builds of the same rules may work together, as they
    do during an upgrade.
    """

    name: str
    journal_id: bytes
    rules_version: int
    form: bytes
    build: str
    slice_number: int


IDENTITY_KINDS: Final[dict[str, type]] = {
    "name": str,
    "journal_id": bytes,
    "rules_version": int,
    "form": bytes,
    "build": str,
    "slice_number": int,
}


def difference(own: Identity, other: Identity) -> str:
    """Sentence on what makes two nodes no pair; "" if they are one."""
    if own.name == other.name:
        return f"both nodes are named {own.name}; give each a name of its own (--node)"
    if own.journal_id != other.journal_id:
        ids = f"id {other.journal_id.hex()}, and {own.name} id {own.journal_id.hex()}"
        return f"{other.name} has another journal ({ids})"
    if own.rules_version != other.rules_version:
        return (
            f"{other.name} runs version {other.rules_version} of the rules, and {own.name} version {own.rules_version}"
        )
    if own.form != other.form:
        return f"{other.name} has a state of another form or capacity than {own.name}"
    return ""


def proof(secret: bytes, role: str, first_nonce: bytes, second_nonce: bytes, claims: bytes) -> bytes:
    """HMAC-SHA-256 (32 bytes) by which one end (``role``) proves the secret for this greeting and its claims."""
    told = b"|".join((role.encode(), first_nonce, second_nonce, claims))
    return hmac.digest(secret, told, "sha256")


def pack_answer(secret: bytes, kind: Kind, first_nonce: bytes, second_nonce: bytes, fields: dict[str, Any]) -> bytes:
    """Encode the primary's answer to a HELLO, with its proof."""
    claims = pack_map(fields)
    given = proof(secret, f"primary {kind.name}", first_nonce, second_nonce, claims)
    return pack_map({"claims": claims, "proof": given})


def unpack_answer(secret: bytes, frame: Frame, first_nonce: bytes, second_nonce: bytes) -> bytes:
    """Claims of the primary's answer to a HELLO. Raises LinkError without the right proof."""
    outer = unpack_map(frame.payload, {"claims": bytes, "proof": bytes})
    expected = proof(secret, f"primary {frame.kind.name}", first_nonce, second_nonce, outer["claims"])
    if not is_proof(outer["proof"], expected):
        raise LinkError("the primary does not know the secret of this pair; give both nodes the same --secret-file")
    claims: bytes = outer["claims"]
    return claims


def is_proof(given: bytes, expected: bytes) -> bool:
    """True if a proof is right, in constant time."""
    return hmac.compare_digest(given, expected)
