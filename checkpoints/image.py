"""Format of a checkpoint: the engine's arrays as in memory, each with its checksum.

    magic 8 | header bytes u64 | checksum of the header 16 | header (msgpack) | arrays, each at a multiple of 64

The header lists parts and arrays (dtype, shape, offset, xxh3-128) and the digest of each part, so that two
checkpoints are compared without reading them. Arrays are written without a copy and read into new arrays that the
caller owns, at the speed of memory and disk. Bytes between arrays are zero, and checked.

Images of projections (``checkpoints.projections``) may stand beside the state: they are no part of it or of its digest.
Damage in one of them is reported with it and leaves the state and the others usable.

The header names the journal and the form of the state, a version and the digest of its dtypes (``Origin``), and the
version and digest of each projection. Headers of versions 1 and 2, which lack both, and of version 3, which lacks the
projections, are read and not written.
"""

import ast
import mmap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, Final, NamedTuple

import msgpack
import numpy as np

from checkpoints.errors import CheckpointError
from engine import digest

FORMAT_VERSION: Final = 4
_MAGIC: Final = b"lkcheck\x01"
_START_BYTES: Final = 32
_ALIGN_BYTES: Final = 64
_HEADER_BYTES_MAX: Final = 16 << 20
_ARRAY_BYTES_MAX: Final = 1 << 40
_FIRST_FIELDS: Final = {
    "version": int,
    "seq": int,
    "event_digest": bytes,
    "rules_version": int,
    "source_digest": str,
    "capacity": dict,
    "part_digests": dict,
    "arrays": list,
    "size": int,
}
_BESIDE_FIELDS: Final = {"folds": list, "beside": list}
_PROJECTION_FIELDS: Final = {"projections": list, "beside": list}
_ORIGIN_FIELDS: Final = {"journal_id": bytes, "state_version": int, "state_layout": bytes}
#: MADV_POPULATE_WRITE of Linux 5.14 and later.
_POPULATE_WRITE: Final = 23
#: Fields of a header, by version.
_FIELDS: Final = {
    1: _FIRST_FIELDS,
    2: _FIRST_FIELDS | _BESIDE_FIELDS,
    3: _FIRST_FIELDS | _BESIDE_FIELDS | _ORIGIN_FIELDS,
    FORMAT_VERSION: _FIRST_FIELDS | _PROJECTION_FIELDS | _ORIGIN_FIELDS,
}
#: Fields that a Header has in another form, or not at all.
_LISTS: Final = ("version", "arrays", "size", "folds", "projections", "beside")
#: Origin of a checkpoint that does not name it.
_UNSAID: Final = {"journal_id": b"", "state_version": 0, "state_layout": b""}

Array = np.ndarray[Any, Any]
#: Name, dtype, shape, offset and checksum of an array, and what it belongs to.
_Listed = tuple[str, str, "np.dtype[Any]", tuple[int, ...], int, bytes]


class Origin(NamedTuple):
    """Identity of the state in a checkpoint: its journal, its rules, its form and its capacity.

    ``journal_id`` is empty in a checkpoint of the releases before journals had ids, which does not say its form either.
    """

    journal_id: bytes
    rules_version: int
    state_version: int
    state_layout: bytes
    capacity: dict[str, int]


class ProjectionForm(NamedTuple):
    """Version and digest of a projection in a checkpoint; 0 and b"" in one of before format 4."""

    version: int
    digest: bytes


class ProjectionImage(NamedTuple):
    """Arrays of a projection beside the state, with the version and digest that the header records.

    ``damage``: a sentence where the file is damaged in it, and some arrays are missing; else "".
    """

    version: int
    digest: bytes
    arrays: dict[str, Array]
    damage: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """State of an engine after command ``seq``, for ``Engine.restore``.

    ``projections``: images by name, as the projections stood at that command. ``source_digest``: of the kernels at
    work, for the record.
    """

    seq: int
    event_digest: bytes
    journal_id: bytes
    rules_version: int
    state_version: int
    state_layout: bytes
    source_digest: str
    capacity: dict[str, int]
    parts: dict[str, dict[str, Array]]
    projections: dict[str, ProjectionImage] = field(default_factory=dict)
    mapping: mmap.mmap | None = field(default=None, repr=False, compare=False)

    @property
    def origin(self) -> Origin:
        """Identity of the state."""
        return _origin(self)

    def copy_pages(self, part: str, name: str) -> None:
        """Copy the pages of an array that is in a mapping of the file at once, for a caller that will write most of
        them.

        One by one, at the first write to each, they take twice as long. A system that cannot do it at once copies them
        later.
        """
        array = self.parts.get(part, {}).get(name)
        if self.mapping is not None and array is not None:
            begin = array.ctypes.data - np.frombuffer(self.mapping, np.uint8).ctypes.data
            page = begin - begin % mmap.PAGESIZE
            with suppress(OSError):
                self.mapping.madvise(_POPULATE_WRITE, page, begin + array.nbytes - page)


@dataclass(frozen=True)
class Header:
    """A verified header. ``arrays``: (part, name, dtype, shape, offset, checksum) in the order of the file, and
    ``beside`` those after them, of ``projections``."""

    seq: int
    event_digest: bytes
    journal_id: bytes
    rules_version: int
    state_version: int
    state_layout: bytes
    source_digest: str
    capacity: dict[str, int]
    part_digests: dict[str, bytes]
    arrays: list[_Listed]
    projections: dict[str, ProjectionForm]
    beside: list[_Listed]
    start: int
    size: int

    @property
    def origin(self) -> Origin:
        """Identity of the state."""
        return _origin(self)

    @property
    def state_digest(self) -> bytes:
        """The digest of the whole state, as the engine computes it."""
        return digest.state_digest(self.part_digests)


def _origin(of: Checkpoint | Header) -> Origin:
    return Origin(of.journal_id, of.rules_version, of.state_version, of.state_layout, of.capacity)


def _flat(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _dtype_text(dtype: "np.dtype[Any]") -> str:
    text = repr(np.lib.format.dtype_to_descr(dtype))
    if dtype.hasobject or _dtype(text) != dtype:
        raise CheckpointError(f"an array of dtype {dtype} cannot be put into a checkpoint")
    return text


@lru_cache(maxsize=256)  # a directory has many checkpoints, with the same dtypes in all headers
def _dtype(text: str) -> "np.dtype[Any]":
    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(ast.literal_eval(text))
    return dtype


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN_BYTES) * _ALIGN_BYTES


def encode(checkpoint: Checkpoint) -> Iterator[bytes | memoryview]:
    """Bytes of the file, piece by piece; arrays are not copied and must not change meanwhile."""
    pieces: list[tuple[int, Array]] = []
    offset = 0

    def listed(groups: Mapping[str, Mapping[str, Array]]) -> list[tuple[str, str, str, list[int], int, bytes]]:
        nonlocal offset
        arrays = []
        for group, named in groups.items():
            for name, array in named.items():
                dtype_text = _dtype_text(array.dtype)
                flat = _flat(array)
                offset = _aligned(offset)
                arrays.append((group, name, dtype_text, list(array.shape), offset, digest.checksum(flat)))
                pieces.append((offset, flat))
                offset += len(flat)
        return arrays

    arrays = listed(checkpoint.parts)
    fields: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "seq": checkpoint.seq,
        "event_digest": checkpoint.event_digest,
        "journal_id": checkpoint.journal_id,
        "rules_version": checkpoint.rules_version,
        "state_version": checkpoint.state_version,
        "state_layout": checkpoint.state_layout,
        "source_digest": checkpoint.source_digest,
        "capacity": checkpoint.capacity,
        "part_digests": {part: digest.part_digest(named) for part, named in checkpoint.parts.items()},
        "arrays": arrays,
        "projections": [(name, each.version, each.digest) for name, each in checkpoint.projections.items()],
        "beside": listed({name: each.arrays for name, each in checkpoint.projections.items()}),
    }
    header = msgpack.packb({**fields, "size": offset})
    start = _MAGIC + len(header).to_bytes(8, "little")
    yield start + digest.checksum(start + header) + header
    written = _START_BYTES + len(header)
    base = _aligned(written)
    for place, flat in pieces:
        yield bytes(base + place - written)
        yield flat.data
        written = base + place + len(flat)


def decode_header(stream: BinaryIO, file_bytes: int, name: str) -> Header:
    """Decode the header at the start of a file of ``file_bytes`` bytes. Raises CheckpointError naming the file
    ``name``.
    """
    start = stream.read(_START_BYTES)
    if len(start) < _START_BYTES or start[:8] != _MAGIC:
        raise CheckpointError(f"{name} is no checkpoint")
    header_bytes = int.from_bytes(start[8:16], "little")
    if header_bytes > min(_HEADER_BYTES_MAX, file_bytes - _START_BYTES):
        raise CheckpointError(f"{name} is cut short or damaged: its header does not fit into it")
    packed = stream.read(header_bytes)
    if digest.checksum(start[:16] + packed) != start[16:]:
        raise CheckpointError(f"{name} is damaged: its header does not match its checksum")
    try:
        fields = msgpack.unpackb(packed)
    except ValueError as error:
        raise CheckpointError(f"{name} has a header that cannot be read") from error
    version = fields.get("version") if isinstance(fields, dict) else None
    if version not in _FIELDS:
        raise CheckpointError(f"{name} has format version {version}; this release reads 1 to {FORMAT_VERSION}")
    if any(type(fields.get(field)) is not kind for field, kind in _FIELDS[version].items()):
        raise CheckpointError(f"{name} has other fields than this release writes")
    header = _header(fields, _aligned(_START_BYTES + header_bytes), name)
    expected = header.start + header.size if header.arrays or header.beside else _START_BYTES + header_bytes
    if expected != file_bytes:
        raise CheckpointError(f"{name} has {file_bytes} bytes and must have {expected}")
    return header


def _header(fields: Mapping[str, Any], start: int, name: str) -> Header:
    parts = fields["arrays"]
    listed: list[_Listed] = []
    end = 0
    try:
        projections = {
            str(group): ProjectionForm(int(version), bytes(projection_digest))
            for group, version, projection_digest in fields.get("projections", [])
        }
        projections |= {str(group): ProjectionForm(0, b"") for group in fields.get("folds", [])}
        for part, array, text, shape, offset, checksum in [*parts, *fields.get("beside", [])]:
            dtype = _dtype(text)
            size = dtype.itemsize
            for length in shape:
                size *= length
            if dtype.hasobject or min(shape, default=0) < 0 or offset != _aligned(end) or size > _ARRAY_BYTES_MAX:
                raise CheckpointError(f"{name} has an array {array} that cannot be right")
            end = offset + size
            listed.append((part, array, dtype, tuple(shape), offset, checksum))
    except (TypeError, ValueError, SyntaxError) as error:
        raise CheckpointError(f"{name} lists arrays that this release cannot read") from error
    if end != fields["size"]:
        raise CheckpointError(f"{name} has arrays that do not fill it")
    known: dict[str, Any] = _UNSAID | {
        field: fields[field] for field in _FIELDS[fields["version"]] if field not in _LISTS
    }
    return Header(
        **known,
        arrays=listed[: len(parts)],
        projections=projections,
        beside=listed[len(parts) :],
        start=start,
        size=end,
    )


def decode(stream: BinaryIO, file_bytes: int, name: str, *, mapped: bool = False) -> Checkpoint:
    """Decode the checkpoint at the start of a binary stream. Raises CheckpointError.

    Everything is verified; the arrays are new and belong to the caller. Damage in the image of a projection is reported
    in that image. ``mapped``: the stream is a file; its arrays are a mapping of it, and pages that the caller writes
    become the caller's own. Checkpoints are replaced and never written again, so what was verified stays.
    """
    header = decode_header(stream, file_bytes, name)
    parts: dict[str, dict[str, Array]] = {part: {} for part in header.part_digests}
    images = {each: ProjectionImage(*form, {}) for each, form in header.projections.items()}
    at = stream.tell()
    file = _mapping(stream, file_bytes) if mapped else None
    for number, (group, array_name, dtype, shape, offset, checksum) in enumerate([*header.arrays, *header.beside]):
        place = header.start + offset
        if file is not None:
            gap = file[at:place]
            array: Array = np.ndarray(shape, dtype, file, place)
        else:
            gap = stream.read(place - at)
            array = np.empty(shape, dtype)
            _read_into(stream, array.reshape(-1).view(np.uint8).data, name)
        flat = array.reshape(-1).view(np.uint8)
        at = place + len(flat)
        damaged = bool(gap.strip(b"\0")) or digest.checksum(flat) != checksum
        if number < len(header.arrays):
            if damaged:
                raise CheckpointError(f"{name} is damaged: its array {group}.{array_name} does not match its checksum")
            parts.setdefault(group, {})[array_name] = array
        elif damaged:
            why = f"it is damaged: its array {array_name} does not match its checksum"
            images[group] = images[group]._replace(damage=why)
        else:
            images[group].arrays[array_name] = array
    return Checkpoint(
        seq=header.seq,
        event_digest=header.event_digest,
        journal_id=header.journal_id,
        rules_version=header.rules_version,
        state_version=header.state_version,
        state_layout=header.state_layout,
        source_digest=header.source_digest,
        capacity=header.capacity,
        parts=parts,
        projections=images,
        mapping=file,
    )


def _mapping(stream: BinaryIO, file_bytes: int) -> mmap.mmap | None:
    """A mapping of a file whose pages are the caller's own once they are written; None where its system has none."""
    try:
        return mmap.mmap(stream.fileno(), file_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:
        return None


def decode_array(stream: BinaryIO, file_bytes: int, name: str, part: str, array_name: str) -> tuple[Header, Array]:
    """Decode one array of the state; only the header and that array are read and verified.

    Raises CheckpointError, KeyError where there is no such array.
    """
    header = decode_header(stream, file_bytes, name)
    for group, known, dtype, shape, offset, checksum in header.arrays:
        if (group, known) == (part, array_name):
            stream.seek(header.start + offset)
            array = np.empty(shape, dtype)
            flat = array.reshape(-1).view(np.uint8)
            _read_into(stream, flat.data, name)
            if digest.checksum(flat) != checksum:
                raise CheckpointError(f"{name} is damaged: its array {part}.{array_name} does not match its checksum")
            return header, array
    raise KeyError(array_name)


def _read_into(stream: BinaryIO, flat: memoryview, name: str) -> None:
    done = 0
    while done < len(flat):
        count = stream.readinto(flat[done:])  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(f"{name} is cut short")
        done += count
