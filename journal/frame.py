"""Format of a block of rows.

A block is the unit of the sequencer: ``count`` opaque rows, numbered from ``first_seq`` on. Its frame is

    magic 4 | header bytes u32 | rows bytes u32 | zero u32 | checksum 16 | msgpack header | rows

The checksum is xxh3-128 over everything else. The header ends with the checksum of the block before, so each checksum
covers the whole history: a block that is swapped, left out or taken from another journal does not fit. ``previous`` of
the first block of a slice is the checksum of the slice's genesis record, which has the journal's id and the checksum of
the last block before. xxh3 detects accidents, not forgery.
"""

import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgpack
import xxhash

from journal.errors import BlockRefused, JournalDamaged

FRAME_VERSION: Final = 1
MAGIC: Final = b"\xb5LkB"
CHECKSUM_BYTES: Final = 16
ROWS_PER_BLOCK_MAX: Final = 1 << 16
SEQ_MAX: Final = 2**62
_FIXED: Final = struct.Struct("<4sIII16s")
FIXED_BYTES: Final = _FIXED.size
_HEADER_BYTES_MAX: Final = 1_024
_SMALL_BYTES: Final = 4_096
_NUMBERS: Final = {
    "version": (FRAME_VERSION, FRAME_VERSION),
    "rules_version": (0, 2**31),
    "epoch": (0, SEQ_MAX),
    "first_seq": (1, SEQ_MAX),
    "count": (1, ROWS_PER_BLOCK_MAX),
    "time_ns": (0, SEQ_MAX),
}
_NAMES: Final = {*_NUMBERS, "source_digest", "previous"}
# A header is one msgpack map, put together from pieces: what is the same from block to block is packed once.
_PACKER: Final = msgpack.Packer()
_COUNT: Final = msgpack.packb("count")
_TIME_NS: Final = msgpack.packb("time_ns")
_UNSEALED: Final = bytes(CHECKSUM_BYTES)
#: The link stays last: ``seal`` writes over the final 16 bytes of the header.
_PREVIOUS: Final = msgpack.packb("previous") + msgpack.packb(_UNSEALED)
_BEFORE_LINK: Final = _PREVIOUS[:-CHECKSUM_BYTES]
#: Type and size of a number above 32 bits in a header, such as a time.
_U64: Final = 0xCF
_U64_BYTES: Final = 9
_BEGUN_BYTES_MAX: Final = _HEADER_BYTES_MAX - 80


@dataclass(frozen=True, slots=True)
class Block:
    """``count`` rows numbered ``first_seq`` to ``last_seq``, verified against their checksum."""

    first_seq: int
    count: int
    time_ns: int
    epoch: int
    source_digest: str
    rules_version: int
    previous: bytes
    checksum: bytes
    rows: memoryview  # of the bytes that were read: not aligned, and not to be written

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1

    @property
    def sealed(self) -> memoryview:
        """The whole frame, for ``Journal.append_block`` of a copy."""
        return memoryview(self.rows.obj)


def encode(
    rows: "bytes | bytearray | memoryview",
    *,
    first_seq: int,
    count: int,
    time_ns: int,
    epoch: int,
    source_digest: str,
    rules_version: int,
) -> bytearray:
    """Encode a frame without its link and checksum (``seal``); the only copy of ``rows``.

    ``rows``: contiguous bytes. Raises ValueError for a number out of range.
    """
    if not (
        type(first_seq) is type(count) is type(time_ns) is int
        and 1 <= first_seq <= SEQ_MAX
        and 1 <= count <= ROWS_PER_BLOCK_MAX
        and 0 <= time_ns <= SEQ_MAX
    ):
        _check_numbers({"first_seq": first_seq, "count": count, "time_ns": time_ns})
    pack = _PACKER.pack
    packed = b"".join(
        (
            _begun(rules_version, source_digest, epoch),
            pack(first_seq),
            _COUNT,
            pack(count),
            _TIME_NS,
            pack(time_ns),
            _PREVIOUS,
        )
    )
    fixed = _FIXED.pack(MAGIC, len(packed), len(rows), 0, _UNSEALED)
    return bytearray().join((fixed, packed, rows))


@lru_cache(maxsize=64)
def _begun(rules_version: int, source_digest: str, epoch: int) -> bytes:
    """The part of a header that is the same from block to block: a map of all names, and the first values."""
    header = {
        "version": FRAME_VERSION,
        "rules_version": rules_version,
        "source_digest": source_digest,
        "epoch": epoch,
    }
    _check_numbers({name: number for name, number in header.items() if name != "source_digest"})
    packed: bytes = msgpack.packb(header)
    if len(packed) > _BEGUN_BYTES_MAX:
        raise ValueError(f"the block's source_digest has {len(source_digest)} characters; it is too long")
    first_seq: bytes = msgpack.packb("first_seq")
    return bytes([0x80 | len(_NAMES)]) + packed[1:] + first_seq


def _check_numbers(header: dict[str, Any]) -> None:
    for name, number in header.items():
        low, high = _NUMBERS[name]
        if not isinstance(number, int) or not low <= number <= high:
            raise ValueError(f"the block's {name} is {number!r}; it must be a whole number from {low} to {high}")


def _checksum(frame: "bytes | bytearray") -> bytes:
    if len(frame) <= _SMALL_BYTES:  # to copy it costs less than a second call
        digest: bytes = xxhash.xxh3_128_digest(frame[:16] + frame[FIXED_BYTES:])
        return digest
    with memoryview(frame) as view:
        hasher = xxhash.xxh3_128(view[:16])
        hasher.update(view[FIXED_BYTES:])
    return hasher.digest()


def seal(frame: bytearray, previous: bytes) -> bytes:
    """Link an encoded frame to the block before and write its checksum into it; returns the checksum."""
    rows_at = FIXED_BYTES + int.from_bytes(frame[4:8], "little")
    frame[rows_at - CHECKSUM_BYTES : rows_at] = previous
    checksum = _checksum(frame)
    frame[16:FIXED_BYTES] = checksum
    return checksum


def frame_bytes(head: bytes) -> int | None:
    """Length of a frame by its first ``FIXED_BYTES`` bytes, unverified; None where they are no frame."""
    if len(head) < FIXED_BYTES:
        return None
    magic, header_bytes, rows_bytes, zero, _ = _FIXED.unpack_from(head)
    if magic != MAGIC or zero or header_bytes > _HEADER_BYTES_MAX:
        return None
    return int(FIXED_BYTES + header_bytes + rows_bytes)


def stored_checksum(frame: bytes) -> bytes:
    """Checksum in a frame, unverified."""
    return bytes(frame[16:FIXED_BYTES])


def _header(packed: bytes, where: str) -> dict[str, Any]:
    try:
        header = msgpack.unpackb(packed)
    except (ValueError, TypeError, OverflowError) as error:
        raise JournalDamaged(f"{where} has a header that cannot be read; restore the journal from a copy") from error
    if not isinstance(header, dict) or set(header) != _NAMES:
        raise JournalDamaged(f"{where} has a header with other fields than this release writes")
    for name, (low, high) in _NUMBERS.items():
        number = header[name]
        if type(number) is not int or not low <= number <= high:
            raise JournalDamaged(f"{where} has {name} {number!r}, which must be from {low} to {high}")
    if type(header["source_digest"]) is not str:
        raise JournalDamaged(f"{where} has a source_digest that is no text")
    if type(header["previous"]) is not bytes or len(header["previous"]) != CHECKSUM_BYTES:
        raise JournalDamaged(f"{where} has a link of the wrong size")
    return header


def decode(frame: bytes, first_seq: int | None, row_bytes: int) -> Block:
    """Block of a frame, which must begin with ``first_seq`` (None: any) and have rows of ``row_bytes`` bytes.

    Every length, every range and the checksum are verified; ``check_link`` verifies the link. Raises JournalDamaged.
    """
    where = "the block" if first_seq is None else f"the block at seq {first_seq:,}"
    size = frame_bytes(frame)
    if size is None:
        raise JournalDamaged(f"{where} does not begin like a block; restore the journal from a copy")
    if size != len(frame):
        raise JournalDamaged(f"{where} has {len(frame)} bytes and announces {size}; restore the journal from a copy")
    checksum = _checksum(frame)
    if checksum != stored_checksum(frame):
        raise JournalDamaged(f"{where} does not match its checksum; restore the journal from a copy")
    header_bytes = int.from_bytes(frame[4:8], "little")
    header = _header(frame[FIXED_BYTES : FIXED_BYTES + header_bytes], where)
    if first_seq is None:
        first_seq = header["first_seq"]
    elif header["first_seq"] != first_seq:
        raise JournalDamaged(f"{where} is in the wrong place: it says it is the block at seq {header['first_seq']}")
    if header["count"] * row_bytes != size - FIXED_BYTES - header_bytes:
        raise JournalDamaged(f"{where} has {header['count']} rows but not {row_bytes} bytes for each")
    return Block(
        first_seq=first_seq,
        count=header["count"],
        time_ns=header["time_ns"],
        epoch=header["epoch"],
        source_digest=header["source_digest"],
        rules_version=header["rules_version"],
        previous=header["previous"],
        checksum=checksum,
        rows=memoryview(frame)[FIXED_BYTES + header_bytes :],
    )


def peek(frame_start: bytes) -> tuple[int, bytes] | None:
    """(first_seq, previous) in a frame's header, unverified, or None. For the search for frames only."""
    if frame_bytes(frame_start) is None:
        return None
    header_bytes = int.from_bytes(frame_start[4:8], "little")
    try:
        header = _header(frame_start[FIXED_BYTES : FIXED_BYTES + header_bytes], "a block")
    except JournalDamaged:
        return None
    return header["first_seq"], header["previous"]


def decode_sealed(sealed: bytes, row_bytes: int) -> Block:
    """Block of another node, from its frame. Raises BlockRefused unless its checksum and every field are right."""
    with suppress(JournalDamaged):
        return decode(sealed, None, row_bytes)
    announced = peek(sealed)
    if announced is None:
        raise BlockRefused("what was to be appended is refused: it does not begin like a block")
    try:
        return decode(sealed, announced[0], row_bytes)
    except JournalDamaged as error:
        fault = str(error).partition(";")[0]  # without the advice for a journal that is damaged itself
        raise BlockRefused(f"a block is refused: {fault}") from error


def decode_next(
    sealed: bytes, row_bytes: int, label: tuple[int, str], epoch: int, last_seq: int, link: bytes, last_time_ns: int
) -> Block | None:
    """Block of another node that follows the last one with the same label and epoch; None for any other block.

    Everything is verified, as by ``decode_sealed`` and ``check_continues``. Almost every block is such a one, and its
    header is known but for count and time: it is compared with that, instead of being read field by field.

    ``label``: rules_version and source_digest. ``last_seq``, ``link``, ``last_time_ns``: of the last block.
    """
    if len(sealed) < FIXED_BYTES:
        return None
    magic, header_bytes, rows_bytes, zero, checksum = _FIXED.unpack_from(sealed)
    count, odd = divmod(rows_bytes, row_bytes)
    rows_at = FIXED_BYTES + header_bytes
    if magic != MAGIC or zero or odd or not 0 < count <= ROWS_PER_BLOCK_MAX or len(sealed) != rows_at + rows_bytes:
        return None
    pack = _PACKER.pack
    time_at = rows_at - _U64_BYTES - len(_PREVIOUS)
    time = sealed[time_at : time_at + _U64_BYTES]
    header = (
        _begun(*label, epoch),
        pack(last_seq + 1),
        _COUNT,
        pack(count),
        _TIME_NS,
        time,
        _BEFORE_LINK,
        link,
    )
    if sealed[FIXED_BYTES:rows_at] != b"".join(header) or time[0] != _U64:
        return None
    time_ns = int.from_bytes(time[1:], "big")
    if not last_time_ns <= time_ns <= SEQ_MAX or _checksum(sealed) != checksum:
        return None
    rules_version, source_digest = label
    rows = memoryview(sealed)[rows_at:]
    return Block(last_seq + 1, count, time_ns, epoch, source_digest, rules_version, link, checksum, rows)


def check_continues(block: Block, last_seq: int, link: bytes, epoch: int, time_ns: int, start_seq: int = 0) -> None:
    """Raise BlockRefused unless a block of another node follows the last block of a journal.

    ``last_seq``, ``link``, ``epoch``, ``time_ns``: of the journal's last block, with its checksum as the link.
    ``start_seq``: the last command before the slice.
    """
    what = f"the block at seq {block.first_seq:,}"
    if block.first_seq <= last_seq:
        raise BlockRefused(f"{what} is refused: the journal has every block up to seq {last_seq:,} already")
    if block.first_seq != last_seq + 1:
        raise BlockRefused(
            f"{what} is refused: the blocks from seq {last_seq + 1:,} to {block.first_seq - 1:,} are missing before it"
        )
    if block.previous != link and last_seq == start_seq:
        raise BlockRefused(f"{what} is refused: it was taken from another journal")
    if block.previous != link:
        raise BlockRefused(
            f"{what} is refused: it was taken from another journal, or from another history of this one; it does not "
            f"follow the block that ends at seq {last_seq:,}"
        )
    if block.epoch < epoch:
        raise BlockRefused(f"{what} is refused: it is of epoch {block.epoch}, and the journal is in epoch {epoch}")
    if block.time_ns < time_ns:
        raise BlockRefused(f"{what} is refused: its time is before that of the block that ends at seq {last_seq:,}")


def check_link(block: Block, next_seq: int, previous: bytes | None, start_seq: int = 0) -> None:
    """Raise JournalDamaged unless ``block`` comes next: no gap, and linked to ``previous`` (None: not known).

    ``start_seq``: the last command before the slice.
    """
    if block.first_seq != next_seq:
        raise JournalDamaged(
            f"the blocks from seq {next_seq:,} to {block.first_seq - 1:,} are missing; restore the journal from a copy"
        )
    if previous is not None and block.previous != previous and next_seq == start_seq + 1:
        raise JournalDamaged(
            f"the block at seq {next_seq:,} was taken from another journal: it is not linked to this journal's genesis "
            "record, which has its id; restore the journal from a copy"
        )
    if previous is not None and block.previous != previous:
        raise JournalDamaged(
            f"the block at seq {block.first_seq:,} does not follow the block before it: one of them is not of this "
            "history; restore the journal from a copy"
        )
