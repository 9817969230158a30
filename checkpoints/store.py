"""The checkpoints of a node: files in DIR/checkpoints, one a sequence number.

A checkpoint is written under another name, synced, renamed and its folder synced: a name that ends in ``.checkpoint``
was complete once. It is verified again before each use. A bad one is renamed to ``.invalid``, with the reason in a file
beside it, and the one before is used; damage deletes nothing. Files ``.tmp`` are left by crashes.
"""

import fcntl
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from checkpoints import image
from checkpoints.errors import CheckpointError, CheckpointGone
from checkpoints.image import Array, Checkpoint, Header, Origin, ProjectionForm
from engine.digest import part_digest

FOLDER: Final = "checkpoints"
_Digest = bytes  # by names of their own: CheckpointInfo has a field that is called bytes, the store a method list
_Seqs = list[int]
#: Times that the list is read again if a file in it was removed.
_TRIES: Final = 10
_NAME: Final = re.compile(r"(\d{20})\.(checkpoint|invalid(?:\.\d+)?)")


@dataclass(frozen=True)
class CheckpointInfo:
    """Summary of a checkpoint from its name and header, without reading its arrays.

    ``why``: the fault, "" if ``valid``. ``state_digest`` is empty, and ``origin`` None, if the header cannot be read.
    ``projections``: version and digest of each that has an image beside the state, by name.
    """

    seq: int
    path: Path
    bytes: int
    state_digest: _Digest
    valid: bool
    why: str
    origin: Origin | None = None
    projections: Mapping[str, ProjectionForm] = field(default_factory=dict)

    def holds(self, projection: str, version: int) -> bool:
        """True if it has an image of a projection in a version."""
        form = self.projections.get(projection)
        return form is not None and form.version == version


class CheckpointStore:
    """Checkpoints in data directory ``directory``, which need not exist yet. Keeps no file open."""

    def __init__(self, directory: "str | os.PathLike[str]") -> None:
        self.folder = Path(directory) / FOLDER

    def write(self, checkpoint: Checkpoint, *, named_when: Callable[[], bool] = lambda: True) -> Path:
        """Write a checkpoint; gives its file once it is on the disk. Raises CheckpointError, and leaves no file then.

        ``named_when``: called once all is written and synced, and may wait; the checkpoint is dropped if it returns
        False.
        """
        path = self.folder / f"{checkpoint.seq:020d}.checkpoint"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"the checkpoint {path} cannot be written: {error.strerror}") from error
        write_checkpoint(path, checkpoint, named_when=named_when)
        return path

    def list(self) -> list[CheckpointInfo]:
        """All checkpoints, by rising seq, invalid ones too. Raises CheckpointError if the folder is unreadable."""
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.folder} cannot be read: {error.strerror}") from error
        found = [(match, self.folder / name) for name in names if (match := _NAME.fullmatch(name))]
        infos = [summary_of(path, int(match[1]), named_valid=match[2] == "checkpoint") for match, path in found]
        return [info for info in infos if info is not None]

    def newest(self, at_or_before: int | None = None, *, mapped: bool = False) -> Checkpoint | None:
        """Newest good checkpoint with a seq of at most ``at_or_before``; None if there is none.

        A damaged one on the way is marked invalid, where the directory can be written. ``mapped``: as ``load``.
        """
        for _ in range(_TRIES):
            vanished = False
            for info in reversed(self.list()):
                if info.path.suffix != ".checkpoint" or (at_or_before is not None and info.seq > at_or_before):
                    continue
                try:
                    return self.load(info.path, mapped=mapped)
                except CheckpointGone:
                    vanished = True
                except CheckpointError as error:
                    self.mark_invalid(info.path, str(error))
            if not vanished:
                break  # else it was pruned meanwhile, and there are newer ones
        return None

    def load(self, path: "str | os.PathLike[str]", *, mapped: bool = False) -> Checkpoint:
        """Load the checkpoint in ``path``, with all bytes verified. Raises CheckpointError, CheckpointGone if there is
        none.

        Damage in the image of a projection is told in that image. ``mapped``: its arrays are a mapping of the file,
        which costs a third of the time where most of them are not written.
        """
        path = Path(path)
        checkpoint = load_checkpoint(path, mapped=mapped)
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) != checkpoint.seq:
            raise CheckpointError(f"{path} is the checkpoint of seq {checkpoint.seq:,}")
        return checkpoint

    def verify(self, path: "str | os.PathLike[str]") -> Checkpoint:
        """Load the checkpoint in ``path``. Raises CheckpointError unless it is complete and the digests of its parts
        match its arrays. Damage in the image of a projection counts.
        """
        checkpoint = self.load(path)
        for name, each in checkpoint.projections.items():
            if each.damage:
                raise CheckpointError(f"{path} is damaged in the image of the projection {name}: {each.damage}")
        try:
            digests = _header(Path(path)).part_digests
        except OSError as error:
            raise CheckpointGone(f"{path} is not there any more") from error
        for part, digest in digests.items():
            if part_digest(checkpoint.parts[part]) != digest:
                raise CheckpointError(f"{path} has another {part} than its digest says")
        return checkpoint

    def mark_invalid(self, path: Path, why: str) -> None:
        """Mark a checkpoint as invalid, with the reason; does nothing in a directory that cannot be written."""
        target = path.with_suffix(".invalid")
        number = 1
        while target.exists():
            number += 1
            target = path.with_suffix(f".invalid.{number}")
        with suppress(OSError):
            path.rename(target)
            with open(_reason_path(target), "w", encoding="utf-8", opener=_private) as file:
                file.write(why + "\n")
            _sync_folder(self.folder)

    def prune(
        self,
        keep: int,
        *,
        up_to: int | None = None,
        origin: Origin | None = None,
        versions: Mapping[str, int] | None = None,
    ) -> None:
        """Delete the checkpoints before the newest ``keep`` that are not marked invalid.

        Those after ``up_to``, those of another ``origin``, and those without the images of projections that
        ``versions`` names, in these versions, do not count.

        For the node that writes them: it goes by their headers. ``directory.recover.prune`` reads them whole.
        """
        if keep < 1:
            raise CheckpointError(f"at least one checkpoint must be kept, not {keep}")
        good = [
            info.seq
            for info in self.list()
            if info.valid
            and (up_to is None or info.seq <= up_to)
            and origin in (None, info.origin)
            and all(info.holds(name, version) for name, version in (versions or {}).items())
        ]
        if len(good) > keep:
            self.remove_before(good[-keep])

    def remove_before(self, seq: int) -> _Seqs:
        """Delete the checkpoints before ``seq`` that are not marked invalid, and have a whole header; their seqs."""
        removed = []
        for info in self.list():
            if info.valid and info.seq < seq:
                try:
                    info.path.unlink()
                except FileNotFoundError:
                    continue  # another process has pruned it
                except OSError as error:
                    raise CheckpointError(f"{info.path} cannot be deleted: {error.strerror}") from error
                removed.append(info.seq)
        return removed


def summary_of(path: Path, seq: int, *, named_valid: bool = True) -> CheckpointInfo | None:
    """Summary of the checkpoint of command ``seq`` in a file of any name; None if it is not there.

    ``named_valid``: false for a file that was marked invalid.
    """
    digest, size, origin = b"", 0, None
    projections: Mapping[str, ProjectionForm] = {}
    try:
        size = path.stat().st_size
        header = _header(path)
        digest, origin, projections = header.state_digest, header.origin, header.projections
        why = "" if header.seq == seq else f"{path} is the checkpoint of seq {header.seq:,}"
    except CheckpointError as error:
        why = str(error)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
    if not named_valid:
        with suppress(OSError):
            why = _reason_path(path).read_text(encoding="utf-8", errors="replace").strip()
        why = why or "it was marked invalid"
    return CheckpointInfo(seq, path, size, digest, not why, why, origin, projections)


def load_array(path: Path, part: str, name: str) -> tuple[Header, Array]:
    """The header of the checkpoint in a file of any name, and one array of its state; nothing else is read.

    Raises CheckpointError, KeyError where there is no such array.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return image.decode_array(file, os.fstat(file.fileno()).st_size, str(path), part, name)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def load_checkpoint(path: Path, *, mapped: bool = False) -> Checkpoint:
    """The checkpoint in a file of any name, every byte verified. Raises as ``CheckpointStore.load``."""
    try:
        with path.open("rb", buffering=0) as file:
            return image.decode(file, os.fstat(file.fileno()).st_size, str(path), mapped=mapped)
    except FileNotFoundError as error:
        raise CheckpointGone(f"{path} is not there any more") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise CheckpointError(f"{path} does not fit into memory") from error


def write_checkpoint(path: Path, checkpoint: Checkpoint, *, named_when: Callable[[], bool] = lambda: True) -> None:
    """Write a checkpoint as file ``path``, which is there whole or not at all, and on the disk when this returns.

    What a kill left of others in its folder is removed. ``named_when``: as ``CheckpointStore.write`` takes it. Raises
    CheckpointError, leaving no trace.
    """
    _clear_leftovers(path.parent)
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with _open_aside(aside) as file:
            for piece in image.encode(checkpoint):
                _write_all(file.fileno(), memoryview(piece))
            os.fsync(file.fileno())
            if not named_when():
                raise CheckpointError(f"the checkpoint {path} was given up")
            aside.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be written: {error.strerror}; earlier ones are unchanged"
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _clear_leftovers(folder: Path) -> None:
    for path in folder.glob("*.tmp"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _open_aside(path: Path) -> BinaryIO:
    """Open a new file, unbuffered, with a lock that marks it as no leftover of a crash."""
    while True:
        file = os.fdopen(_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC), "wb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another process took it for a leftover between the two


def _private(path: str | Path, flags: int) -> int:
    """Open a file that, if it is new, its owner alone may read and write."""
    return os.open(path, flags, 0o600)


def _header(path: Path) -> Header:
    with path.open("rb") as file:
        return image.decode_header(file, os.fstat(file.fileno()).st_size, str(path))


def _reason_path(path: Path) -> Path:
    return path.with_name(path.name + ".why")


def _write_all(fd: int, piece: memoryview) -> None:
    done = 0
    while done < len(piece):
        done += os.write(fd, piece[done : done + (1 << 30)])


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
