"""The small sealed records beside the blocks: genesis, the commit mark, and the digest of a block.

The genesis record identifies a journal: it has a random id, and the first block is linked to the checksum of the
record, so that the whole chain of blocks is of that journal (ADR 17). The commit mark in each commit has the end of
the journal and the number of the LMDB transaction. The same mark is written to the file ``tail`` after each commit:
LMDB has two meta pages and uses the newer good one, so after damage to the newer page it would silently return to the
commit before, which the tail then contradicts. A sealed record is its xxh3-128 checksum followed by its bytes.

The genesis record of a further slice (``slices``) also has the end of the slice before, and the digests of its image.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack
import xxhash

from journal.errors import JournalDamaged, JournalForeign

#: Version of the genesis record of a further slice. That of the first slice has no start, and the version before.
FORMAT_VERSION: Final = 3
_FIRST_SLICE_VERSION: Final = 2
#: Without ``journal_id``, of the releases before journals had ids.
_FIRST_VERSION: Final = 1
SLICE_MAX: Final = 999_999
JOURNAL_ID_BYTES: Final = 16
#: Size of a row where the creator of a journal names no other.
ROW_BYTES: Final = 64
DIGEST_BYTES: Final = 16
_GENESIS_MAGIC: Final = "lockstep journal"
_MARK: Final = struct.Struct("<8s7Q16s")
_MARK_MAGIC: Final = b"lkmark01"
_DIGEST: Final = struct.Struct("<16sQQ")


def seal(record: bytes) -> bytes:
    """A record with its checksum before it."""
    return xxhash.xxh3_128_digest(record) + record


def unseal(sealed: bytes, what: str) -> bytes:
    """The record in a sealed one. Raises JournalDamaged naming ``what``."""
    if len(sealed) <= 16 or xxhash.xxh3_128_digest(sealed[16:]) != sealed[:16]:
        raise JournalDamaged(f"{what} does not match its checksum; restore the journal from a copy")
    return sealed[16:]


class SliceStart(NamedTuple):
    """Start of a slice after the first: the end of the slice before, and the image of the state there.

    ``number``: of the slice, from 2. ``last_seq``: the last command of the slice before. ``link``: checksum of its last
    block, or of its genesis record while it has none; ``time_ns`` and ``epoch`` of that block. ``event_digest``: of all
    events up to there. ``image``: the digest of each part of the state, by name; none in the record of a slice that was
    begun while the market ran, whose image was written afterwards (``encode_image``). All digests have 16 bytes.
    """

    number: int
    last_seq: int
    link: bytes
    time_ns: int
    epoch: int
    event_digest: bytes
    image: dict[str, bytes]


@dataclass(frozen=True)
class Genesis:
    """The genesis record of a slice. ``meta``: from its creator. ``checksum``: the link of the first block.

    ``journal_id``: 16 bytes. Of a journal that was created before journals had ids it is the checksum of its first
    genesis record, which is the same in two journals of the same capacity; ``has_own_id`` is false then. ``start``:
    None in the first slice.
    """

    meta: dict[str, Any]
    row_bytes: int
    page_bytes: int
    checksum: bytes
    journal_id: bytes
    has_own_id: bool
    sealed: bytes
    start: SliceStart | None = None

    @property
    def slice_number(self) -> int:
        """Number of the slice, from 1."""
        return 1 if self.start is None else self.start.number

    @property
    def start_seq(self) -> int:
        """The last command before the slice; 0 in the first one."""
        return 0 if self.start is None else self.start.last_seq


def encode_genesis(
    meta: dict[str, Any],
    row_bytes: int,
    page_bytes: int,
    journal_id: bytes,
    start: SliceStart | None = None,
    *,
    has_own_id: bool = True,
) -> bytes:
    """The sealed genesis record; ``start``: of a slice after the first. Raises ValueError for an impossible start."""
    record: dict[str, Any] = {
        "magic": _GENESIS_MAGIC,
        "version": _FIRST_SLICE_VERSION,
        "journal_id": journal_id,
        "row_bytes": row_bytes,
        "page_bytes": page_bytes,
        "meta": meta,
    }
    if start is not None:
        _check_start(start)
        record |= {"version": FORMAT_VERSION, "start": start._asdict(), "has_own_id": has_own_id}
    return seal(msgpack.packb(record))


def new_genesis(meta: dict[str, Any], page_bytes: int, journal_id: bytes) -> bytes:
    """The sealed genesis record of a new journal. ``meta``: as ``Journal.create`` takes it. Raises ValueError."""
    if type(meta.get("rules_version")) is not int:
        raise ValueError("the meta record of a journal needs rules_version, a whole number")
    if len(journal_id) != JOURNAL_ID_BYTES:
        raise ValueError(f"the id of a journal has {JOURNAL_ID_BYTES} bytes, not {len(journal_id)}")
    return encode_genesis(meta, int(meta.get("row_bytes", ROW_BYTES)), page_bytes, journal_id)


def _check_start(start: SliceStart) -> None:
    """Raise ValueError unless every field has its type and range."""
    numbers = (start.number, start.last_seq, start.time_ns, start.epoch)
    digests = (start.link, start.event_digest, *start.image.values())
    if not all(type(number) is int and number >= 0 for number in numbers) or not 2 <= start.number <= SLICE_MAX:
        raise ValueError(f"a slice cannot begin with the numbers {numbers}")
    if not all(type(digest) is bytes and len(digest) == DIGEST_BYTES for digest in digests):
        raise ValueError(f"the checksums and digests that a slice begins with have {DIGEST_BYTES} bytes each")
    if not all(type(part) is str for part in start.image):
        raise ValueError("a slice begins with an image, whose parts have names")


def _start_of(fields: dict[str, Any]) -> SliceStart:
    try:
        start = SliceStart(**fields["start"])
        _check_start(start)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JournalForeign(f"the genesis record does not say what its slice begins with ({error})") from error
    return start


def link_across(link: bytes, slices: Iterable[bytes], journal_id: bytes, last_seq: int) -> bytes:
    """The link of the first block of a slice, where ``link`` is that of the last block before.

    ``slices``: the sealed genesis records of the slices that begin behind command ``last_seq``, in order. Those without
    a block stand before the last one. Raises JournalDamaged where one is none, or does not follow.
    """
    for sealed in slices:
        genesis = decode_genesis(sealed)
        start = genesis.start
        if start is None or (start.link, start.last_seq, genesis.journal_id) != (link, last_seq, journal_id):
            raise JournalDamaged(f"the slice that begins behind command {last_seq:,} does not follow what is before it")
        link = genesis.checksum
    return link


def decode_genesis(sealed: bytes) -> Genesis:
    """Unseal a genesis record. Raises JournalDamaged, or JournalForeign for another program or version."""
    record = unseal(sealed, "the journal's genesis record")
    try:
        fields = msgpack.unpackb(record)
    except ValueError as error:
        raise JournalForeign("the genesis record is not one of a lockstep journal") from error
    if not isinstance(fields, dict) or fields.get("magic") != _GENESIS_MAGIC:
        raise JournalForeign("the genesis record is not one of a lockstep journal")
    version = fields.get("version")
    if version not in (_FIRST_VERSION, _FIRST_SLICE_VERSION, FORMAT_VERSION):
        raise JournalForeign(
            f"the journal has format version {version!r} and this release reads {_FIRST_VERSION} to "
            f"{FORMAT_VERSION}; use the release that wrote it"
        )
    if not isinstance(fields.get("meta"), dict) or not all(
        type(fields.get(n)) is int for n in ("row_bytes", "page_bytes")
    ):
        raise JournalForeign("the genesis record is not one of a lockstep journal")
    checksum = sealed[:16]
    journal_id = checksum if version == _FIRST_VERSION else fields.get("journal_id")
    if type(journal_id) is not bytes or len(journal_id) != JOURNAL_ID_BYTES:
        raise JournalForeign("the genesis record of the journal has no id of 16 bytes")
    return Genesis(
        fields["meta"],
        fields["row_bytes"],
        fields["page_bytes"],
        checksum,
        journal_id,
        version != _FIRST_VERSION and fields.get("has_own_id", True) is True,
        sealed,
        _start_of(fields) if version == FORMAT_VERSION else None,
    )


def encode_image(genesis: Genesis, image: dict[str, bytes]) -> bytes:
    """The sealed record of digests, by part, of an image that was written after the genesis record of its slice."""
    return seal(msgpack.packb({"genesis": genesis.checksum, "image": image}))


def decode_image(sealed: bytes, genesis: Genesis, what: str) -> dict[str, bytes]:
    """Digests by part. Raises JournalDamaged naming ``what``, also for a record of another slice."""
    record = msgpack.unpackb(unseal(sealed, what))
    if record["genesis"] != genesis.checksum:
        raise JournalDamaged(f"{what} is of another slice; restore it from a copy")
    image: dict[str, bytes] = record["image"]
    return image


@dataclass(frozen=True)
class Mark:
    """End of a commit. ``checksum`` is that of the last block; in an empty slice that of its genesis, and ``last_seq``
    and ``time_ns`` those of the slice before."""

    transaction: int
    blocks: int
    last_seq: int
    digests: int
    last_digest_seq: int
    last_block_seq: int
    time_ns: int
    checksum: bytes


MARK_BYTES: Final = 16 + _MARK.size


def encode_mark(mark: Mark) -> bytes:
    """The sealed mark, ``MARK_BYTES`` long."""
    return seal(
        _MARK.pack(
            _MARK_MAGIC,
            mark.transaction,
            mark.blocks,
            mark.last_seq,
            mark.digests,
            mark.last_digest_seq,
            mark.last_block_seq,
            mark.time_ns,
            mark.checksum,
        )
    )


def decode_mark(sealed: bytes, what: str) -> Mark:
    """Unseal a commit mark. Raises JournalDamaged naming ``what``."""
    record = unseal(sealed, what)
    if len(record) != _MARK.size or record[:8] != _MARK_MAGIC:
        raise JournalDamaged(f"{what} is not one of a lockstep journal")
    return Mark(*_MARK.unpack(record)[1:])


def encode_digest(first_seq: int, digest: bytes, previous_seq: int) -> bytes:
    """The record of a block's event digest; ``previous_seq`` is the block whose digest comes before it (0: none)."""
    body = digest + previous_seq.to_bytes(8, "little")
    return body + xxhash.xxh3_64_intdigest(first_seq.to_bytes(8, "big") + body).to_bytes(8, "little")


def decode_digest(first_seq: int, record: bytes) -> tuple[bytes, int]:
    """Unseal an event digest: (digest, previous_seq). Raises JournalDamaged naming the block."""
    if len(record) == _DIGEST.size:
        digest, previous_seq, check = _DIGEST.unpack(record)
        if check == xxhash.xxh3_64_intdigest(first_seq.to_bytes(8, "big") + record[:24]):
            return digest, previous_seq
    raise JournalDamaged(f"the event digest of the block at seq {first_seq:,} does not match its checksum")


def encode_labels(labels: list[tuple[int, str]]) -> bytes:
    """The sealed list of every (rules_version, source_digest) of a block, in order of first use."""
    return seal(msgpack.packb(labels))


def decode_labels(sealed: bytes) -> list[tuple[int, str]]:
    """Unseal a list of labels. Raises JournalDamaged."""
    return [(number, text) for number, text in msgpack.unpackb(unseal(sealed, "the list of source digests"))]
