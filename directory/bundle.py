"""Forensic bundle of a divergence: one file with all that is needed to say which of two nodes was right.

A tar archive, ``divergence-EPOCH-SEQ.bundle``:

    manifest.json     names, identity, divergence, digests by part, versions, environment; size and checksum of the rest
    base.checkpoint   newest checkpoint before the divergence, or the image that the slice starts from, if any
    journal.blocks    sealed blocks of the journal around the divergence, each with its length (u32) before it
    state.checkpoint  state of this node when the bundle was written

So a bundle judges its own node: a replay of its blocks from its base must give its state (``judge``). Images and blocks
beyond the bounds below are left out, and the manifest says so.
"""

import io
import json
import os
import platform
import shutil
import struct
import sys
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from checkpoints import Checkpoint, CheckpointStore, load_checkpoint, write_checkpoint
from directory.recover import stateful
from engine.capacity import Capacity
from engine.digest import ByteHash, part_digest
from engine.interface import EngineKind, MarketEngine, new_engine, restore_engine
from engine.records import COMMAND, RULES_VERSION
from journal import Block, JournalDamaged
from journal.frame import check_link, decode_sealed
from replay.difference import first_unlike_rows
from replay.errors import ReplayError
from replay.rebuild import owned_rows, source_digest, state_form

SUFFIX: Final = ".bundle"
#: Largest image and largest range of blocks in a bundle.
IMAGE_BYTES_MAX: Final = 256 << 20
BLOCKS_BYTES_MAX: Final = 64 << 20
#: Room on the disk that a bundle leaves free.
FREE_BYTES_MIN: Final = 1 << 30
_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_BASE, _BLOCKS, _STATE = "base.checkpoint", "journal.blocks", "state.checkpoint"
_MANIFEST_BYTES_MAX: Final = 1 << 22
_LENGTH: Final = struct.Struct("<I")
_VARIABLES: Final = ("LOCKSTEP_", "NUMBA_", "PYTHON", "LC_", "LANG")


class BundleError(ReplayError):
    """A bundle cannot be read; the message says why."""


class Found(NamedTuple):
    """A difference as a node tells it: names, place, digests, and the sentences of both nodes."""

    node: str
    role: str
    other: str
    epoch: int
    first_seq: int
    last_seq: int
    part: str
    own: bytes
    other_digest: bytes
    sentence: str
    other_sentence: str


class Bundle(NamedTuple):
    """Bundle that was read: its path and manifest."""

    path: Path
    manifest: dict[str, Any]

    @property
    def part(self) -> str:
        """Part of the state that differs."""
        return str(self.manifest["divergence"]["part"])


class Judgement(NamedTuple):
    """Result of a replay of a bundle's blocks: parts in which the node's state differs from it.

    ``why_not``: reason why nothing was replayed; else "". ``by_reference``: first part in which the reference engine
    has other rows after the same blocks, where that was the node's engine; else "".
    """

    seq: int
    unlike: tuple[str, ...]
    why_not: str
    by_reference: str = ""


def write_bundle(
    directory: Path,
    name: str,
    found: Found,
    taken: Checkpoint,
    blocks: Iterable[bytes],
    store: CheckpointStore,
    *,
    moment_ns: int,
    start_image: Path | None = None,
    engine: EngineKind = "kernel",
) -> Path:
    """Write the bundle of a difference into a data directory; gives its path. Raises OSError, CheckpointError.

    ``taken``: the present state. ``blocks``: sealed blocks of the journal, in order, up to that state. The file has its
    name only once it is whole and synced.
    """
    work = directory / f".bundle-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        notes: list[str] = []
        room = max(shutil.disk_usage(directory).free - FREE_BYTES_MIN, 0) // 2
        kept = _newest(list(blocks), notes)
        start_seq = kept[0].first_seq - 1 if kept else taken.seq
        members = [_copied_base(work, store, start_image, taken, found.first_seq, room, notes)]
        members.append(_written_blocks(work, kept))
        members.append(_written_state(work, taken, room, notes))
        manifest = {
            "format": _FORMAT,
            "found": _words(found._asdict()),
            "divergence": {"first_seq": found.first_seq, "last_seq": found.last_seq, "part": found.part},
            "journal_id": taken.journal_id.hex(),
            "capacity": dict(taken.capacity),
            "engine": engine,
            "time_ns": moment_ns,
            "state_seq": taken.seq,
            "event_digest": taken.event_digest.hex(),
            "part_digests": {part: part_digest(arrays).hex() for part, arrays in taken.parts.items()},
            "blocks": {"from_seq": start_seq + 1, "to_seq": kept[-1].last_seq if kept else start_seq},
            "versions": _versions(),
            "environment": {key: value for key, value in os.environ.items() if key.startswith(_VARIABLES)},
            "notes": notes,
            "members": {path.name: _measure(path) for path in members if path is not None},
        }
        return _packed(directory, name, work, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _words(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in fields.items()}


def _versions() -> dict[str, Any]:
    version, layout = state_form()
    return {
        "rules": RULES_VERSION,
        "kernels": source_digest(),
        "state": version,
        "state_layout": layout.hex(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
    }


def _newest(blocks: list[bytes], notes: list[str]) -> list[Block]:
    """The newest blocks within the bound."""
    total, first = 0, len(blocks)
    while first > 0 and total + len(blocks[first - 1]) <= BLOCKS_BYTES_MAX:
        first -= 1
        total += len(blocks[first])
    if first:
        notes.append(f"{first} older blocks were left out: there is room for {BLOCKS_BYTES_MAX >> 20} MB of them")
    return [decode_sealed(sealed, COMMAND.itemsize) for sealed in blocks[first:]]


def _copied_base(
    work: Path,
    store: CheckpointStore,
    start_image: Path | None,
    taken: Checkpoint,
    first_seq: int,
    room: int,
    notes: list[str],
) -> Path | None:
    """Copy the newest image before the difference into the work folder; None if there is none, or no room."""
    usable = [
        (info.seq, info.path, info.bytes)
        for info in store.list()
        if info.valid and info.seq < first_seq and info.origin is not None and info.origin == taken.origin
    ]
    if not usable and start_image is not None and start_image.exists():
        start = load_checkpoint(start_image)
        if start.seq < first_seq and start.origin == taken.origin:
            usable = [(start.seq, start_image, start_image.stat().st_size)]
    if not usable:
        notes.append("there is no checkpoint before the difference")
        return None
    seq, base, size = usable[-1]
    if size > min(IMAGE_BYTES_MAX, room):
        notes.append(f"the checkpoint of command {seq} was left out: it has {size >> 20} MB; see {base}")
        return None
    path = work / _BASE
    shutil.copyfile(base, path)
    return path


def _written_blocks(work: Path, kept: list[Block]) -> Path:
    path = work / _BLOCKS
    with path.open("wb") as file:
        for block in kept:
            sealed = bytes(block.sealed)
            file.write(_LENGTH.pack(len(sealed)) + sealed)
    return path


def _written_state(work: Path, taken: Checkpoint, room: int, notes: list[str]) -> Path | None:
    size = sum(array.nbytes for arrays in taken.parts.values() for array in arrays.values())
    if size > min(IMAGE_BYTES_MAX, room):
        notes.append(f"the image of the state was left out: it has {size >> 20} MB")
        return None
    write_checkpoint(work / _STATE, taken)
    return work / _STATE


def _measure(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size_bytes": path.stat().st_size, "xxh3": _hash(file)}


def _hash(file: IO[bytes]) -> str:
    hasher = ByteHash()
    while piece := file.read(1 << 20):
        hasher.update(piece)
    return f"{hasher.intdigest():016x}"


def _packed(directory: Path, name: str, work: Path, manifest: dict[str, Any]) -> Path:
    """Pack the work folder into one file, which gets its name when it is synced."""
    aside = work / "packed"
    with open(aside, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            _add(tar, _MANIFEST, io.BytesIO(raw := json.dumps(manifest, indent=1).encode()), len(raw))
            for member, measured in manifest["members"].items():
                with (work / member).open("rb") as stream:
                    _add(tar, member, stream, measured["size_bytes"])
        file.flush()
        os.fsync(file.fileno())
    path = _free_name(directory, name)
    aside.rename(path)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def _add(tar: tarfile.TarFile, name: str, stream: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    tar.addfile(info, stream)


def _free_name(directory: Path, name: str) -> Path:
    """Path of a bundle; with a number where one of that name is there."""
    path, number = directory / f"{name}{SUFFIX}", 2
    while path.exists():
        path, number = directory / f"{name}.{number}{SUFFIX}", number + 1
    return path


def bundles(directory: Path) -> list[Path]:
    """Bundles in a data directory, by name."""
    return sorted(directory.glob(f"divergence-*{SUFFIX}"))


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle. Raises BundleError if it is none or damaged, OSError."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            first = tar.next()
            if first is None or first.name != _MANIFEST or first.size > _MANIFEST_BYTES_MAX:
                raise BundleError(
                    f"{path} is no bundle of a divergence: it does not begin with {_MANIFEST}; check the path"
                )
            manifest = json.loads(_stream(tar, first).read())
            if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
                raise BundleError(f"{path} is a bundle of another release; use the release that wrote it")
            for name, measured in manifest["members"].items():
                info = tar.getmember(name)
                if info.size != measured["size_bytes"] or _hash(_stream(tar, info)) != measured["xxh3"]:
                    raise BundleError(f"{path} is damaged: {name} does not match its checksum")
            _check_manifest(manifest)
    except (tarfile.TarError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            f"{path} is no data directory, and no bundle of a divergence that can be read ({error}); check the path"
        ) from error
    return Bundle(path, manifest)


def _check_manifest(manifest: dict[str, Any]) -> None:
    """Raise KeyError or ValueError if a manifest lacks what reports need."""
    found = Found(**{key: manifest["found"][key] for key in Found._fields})
    int(found.first_seq), int(found.epoch), bytes.fromhex(manifest["journal_id"])
    int(manifest["state_seq"]), int(manifest["time_ns"]), dict(manifest["part_digests"])
    Capacity(**manifest["capacity"]), manifest["versions"]["rules"], list(manifest["notes"])


def _stream(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(info)
    if stream is None:
        raise BundleError(f"{info.name} in a bundle is no file")
    return stream


def judge(bundle: Bundle, work: Path) -> Judgement:
    """Replay the blocks of a bundle from its base, and compare the state with that of its node, part by part.

    ``work``: folder for the base, which the caller removes. Raises BundleError, CheckpointError.
    """
    manifest = bundle.manifest
    seq, blocks = int(manifest["state_seq"]), manifest["blocks"]
    version, layout = state_form()
    versions = manifest["versions"]
    if (versions["rules"], versions["state"], versions["state_layout"]) != (RULES_VERSION, version, layout.hex()):
        return Judgement(seq, (), "it is of other rules or of another form of the state; use the release that wrote it")
    engine = _base(bundle, work, "kernel")
    engines = [engine, _base(bundle, work, "reference")] if manifest.get("engine") == "reference" else [engine]
    if engine.seq + 1 < blocks["from_seq"]:
        return Judgement(seq, (), f"its blocks begin at command {blocks['from_seq']}, and its base is {engine.seq}")
    if blocks["to_seq"] < seq:
        return Judgement(seq, (), f"its blocks end at command {blocks['to_seq']}, before its state, {seq}")
    previous: bytes | None = None
    next_seq = int(blocks["from_seq"])
    with tarfile.open(bundle.path, mode="r:") as tar:
        for sealed in _sealed(_stream(tar, tar.getmember(_BLOCKS))):
            try:
                block = decode_sealed(sealed, COMMAND.itemsize)
                check_link(block, next_seq, previous)
            except JournalDamaged as error:
                raise BundleError(f"the blocks in {bundle.path} are no part of one journal: {error}") from error
            previous, next_seq = block.checksum, block.last_seq + 1
            for each in engines:
                if each.seq < block.last_seq <= seq:
                    each.apply(owned_rows(block.rows)[each.seq + 1 - block.first_seq :])
    digests = {part: digest.hex() for part, digest in stateful(engine).part_digests().items()}
    recorded = manifest["part_digests"]
    unlike = tuple(part for part in sorted(digests) if digests[part] != recorded.get(part))
    return Judgement(seq, unlike, "", _unlike_reference(engine, engines[1]) if len(engines) > 1 else "")


def _unlike_reference(engine: MarketEngine, reference: MarketEngine) -> str:
    """First part in which the two engines have other rows, "" for none."""
    found = first_unlike_rows(stateful(engine), reference)
    return "" if found is None else found.part


def _sealed(stream: IO[bytes]) -> Iterator[bytes]:
    while head := stream.read(_LENGTH.size):
        yield stream.read(_LENGTH.unpack(head)[0])


def _base(bundle: Bundle, work: Path, kind: EngineKind) -> MarketEngine:
    """Engine in the state of the base; before the first command where there is none."""
    capacity = Capacity(**bundle.manifest["capacity"])
    if _BASE not in bundle.manifest["members"]:
        return new_engine(kind, capacity)
    path = work / _BASE
    with tarfile.open(bundle.path, mode="r:") as tar, path.open("wb") as file:
        shutil.copyfileobj(_stream(tar, tar.getmember(_BASE)), file)
    base = load_checkpoint(path)
    if base.journal_id.hex() != bundle.manifest["journal_id"]:
        raise BundleError(f"{bundle.path} has a checkpoint of another journal than its blocks")
    return restore_engine(kind, capacity, base.seq, base.event_digest, base.parts)


def clear_leftovers(directory: Path) -> None:
    """Remove what a kill left of a bundle that was being written; no other may be under way."""
    for path in directory.glob(".bundle-*"):
        with suppress(OSError):
            shutil.rmtree(path)
