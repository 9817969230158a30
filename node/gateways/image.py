"""Image of a gateway process: the tables of its streams after a command, so that its next start need not begin at
command 1.

The file is no part of a checkpoint and proves nothing: it has a digest of all its bytes, names the block of the journal
up to which it goes, and its projection looks at the spools that it speaks of. One that cannot be used is left, and the
streams are made from the journal again. Where the journal does not have its first commands any more, since they are in
an archive, they are made from a checkpoint of the node, with a copy of the node's own spools.
"""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from checkpoints import CheckpointError, Projection
from checkpoints.store import CheckpointStore, load_checkpoint
from gateway.outbox import Outbox
from journal.history import History
from journal.slices import make_private
from replay.feed import block_at

_NAME: Final = "streams.image"
_HEAD: Final = "head"
_DIGEST_BYTES: Final = 32
#: Bytes of the checksum of a block.
CHECKSUM_BYTES: Final = 16


class Image(NamedTuple):
    """Streams after command ``seq``, in memory. ``arrays``: no views, so blocks that come later change nothing here."""

    seq: int
    version: int
    arrays: dict[str, NDArray[Any]]


def folder_of(directory: Path, gateway: str) -> Path:
    """Folder of a gateway in a data directory: its spools and its image."""
    return directory / "gateways" / gateway


def take(projection: Projection, seq: int) -> Image:
    """Take the image after command ``seq``, where the projection stands. Raises OSError."""
    projection.flush()
    return Image(seq, projection.version, {name: np.array(array) for name, array in projection.image().items()})


def save(folder: Path, directory: Path, image: Image) -> bool:
    """Write an image whose block must be in the journal; False if it is not. Another thread than that of the streams
    may do so. Raises OSError, JournalError."""
    checksum = block_at(directory, image.seq)
    if checksum:
        write(folder, image, checksum)
    return bool(checksum)


def write(folder: Path, image: Image, checksum: bytes) -> None:
    """Write an image whose block has a checksum in the journal. Raises OSError."""
    head = {"seq": image.seq, "block": checksum.hex(), "version": image.version}
    arrays: dict[str, Any] = {_HEAD: np.frombuffer(json.dumps(head).encode(), np.uint8), **image.arrays}
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    aside = folder / f".{_NAME}.new"
    with aside.open("wb") as file:
        file.write(_digest(packed.getbuffer()))
        file.write(packed.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    aside.chmod(0o600)
    aside.replace(folder / _NAME)


def restore(folder: Path, directory: Path, projection: Projection) -> tuple[int, str]:
    """Restore a projection that stands before the first command; gives the command behind which it stands, and why not
    behind a later one."""
    path = folder / _NAME
    if not path.exists():
        return 0, "there is no image yet"
    try:
        found = _read(path)
        if found is None:
            return 0, "its image is damaged, or of another release"
        head, arrays = found
        seq, block = int(head["seq"]), bytes.fromhex(head["block"])
        if head["version"] != projection.version:
            return 0, "its image is of another release"
        if block_at(directory, seq) != block:
            return 0, f"the journal has not kept the commands up to {seq} that its image has"
        projection.restore(arrays, seq)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        projection.clear()
        return 0, f"its image cannot be used: {error}"
    return seq, ""


def seq_in(folder: Path, version: int) -> int:
    """The last command that the image in a folder has; 0 where there is none of that version that can be used."""
    try:
        head, _ = _read(folder / _NAME) or ({}, {})
        return int(head["seq"]) if head.get("version") == version else 0
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return 0


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Head and arrays of an image; None for a damaged one. Raises OSError, and what damage behind a right digest
    raises."""
    data = path.read_bytes()
    if _digest(data[_DIGEST_BYTES:]) != data[:_DIGEST_BYTES]:
        return None
    with np.load(io.BytesIO(data[_DIGEST_BYTES:]), allow_pickle=False) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    return json.loads(arrays.pop(_HEAD).tobytes()), arrays


def _digest(data: "bytes | memoryview") -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def begin_behind_archive(folder: Path, directory: Path, outbox: Outbox[Any], seq_max: int) -> int:
    """Restore streams that stand before the first command from the newest checkpoint of the node up to ``seq_max``,
    where the journal does not begin with command 1; gives the command behind which they stand, 0 where they still stand
    before the first. Raises OSError, JournalError.
    """
    with History.open(directory) as history:
        from_seq = history.there_from_seq
        if from_seq <= 1:
            return 0
        for path in _checkpoints(history, seq_max):
            try:
                found = load_checkpoint(path)
                image = found.projections[outbox.name]
                fits = from_seq <= found.seq + 1 <= seq_max + 1 and found.journal_id == history.journal_id
                if not fits or image.damage or image.version not in outbox.versions:
                    continue
                _copy_spools(directory / outbox.folder, folder / outbox.folder)
                outbox.restore(image.arrays, found.seq)
                if image.version != outbox.version or outbox.digest() == image.digest:
                    return found.seq
            except (CheckpointError, ValueError, KeyError):
                pass
            outbox.clear()
    return 0


def _checkpoints(history: History, seq_max: int) -> Iterator[Path]:
    """Checkpoints and start images of the slices that are there, the newest first."""
    for place in reversed(history.places):
        for info in reversed(CheckpointStore(place.folder).list()):
            if info.path.suffix == ".checkpoint" and info.seq <= seq_max:
                yield info.path
        if place.start_image.exists():
            yield place.start_image


def _copy_spools(node: Path, gateway: Path) -> None:
    """Copy the node's spools. It may append to them meanwhile: what an image speaks of stays as it is."""
    make_private(gateway)
    for path in node.iterdir() if node.is_dir() else ():
        shutil.copyfile(path, gateway / path.name)
        (gateway / path.name).chmod(0o600)
