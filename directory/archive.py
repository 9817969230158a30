"""Archive closed slices: move them away from a data directory, and leave a note where they went.

A slice is copied, synced, compared byte for byte with what it was copied from, and then gets its name in the archive.
The note is written before anything is removed. So a kill at any step leaves the slice whole in at least one place, and
the same command resumes. The open slice never moves, and a slice moves only if the next one has its image. So a start
needs what has gone in one case only: a file of the users' streams of the present day is lost, and the day began in a
slice that has gone. That start is refused until the slice is copied back.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from checkpoints.store import FOLDER as CHECKPOINTS
from directory.disk_room import room_for
from engine.records import RULES_VERSION
from journal import Journal, JournalBusy, JournalDamaged, JournalError
from journal.history import History
from journal.opening import FOLDER as JOURNAL
from journal.slices import (
    ATTESTATION,
    EVENTS,
    SLICES,
    VERIFIED,
    ArchiveNote,
    Place,
    make_folder,
    places,
    read_note,
    sync_folder,
    write_note,
)
from replay.chain import wrong_image
from replay.errors import ReplayError
from replay.rebuild import Progress, name_of_slice
from replay.times import first_clock_ns

_PART: Final = ".part"
_GONE: Final = ".gone"
_GONE_NAME: Final = re.compile(r"[0-9]{6}\.gone")
_LOCK: Final = "archive.lock"
#: Files of the first slice if it lies in the data directory itself.
_OF_FIRST: Final = (JOURNAL, CHECKPOINTS, EVENTS, VERIFIED, ATTESTATION)
#: LMDB's table of readers, which LMDB makes anew: no part of the record.
_LEFT_OUT: Final = "lock.mdb"
_CHUNK_BYTES: Final = 1 << 22


@dataclass(frozen=True)
class ArchiveReport:
    """Result of an archiving: notes on the slices that went, and sentences on those that were left where they are.

    ``has_closed``: false where the open slice is the only one that there is.
    """

    archived: tuple[ArchiveNote, ...]
    left: tuple[str, ...]
    has_closed: bool = True


class Need(NamedTuple):
    """A program beside the node that starts from an image in ``folder``: it needs all behind command ``seq``."""

    program: str
    folder: Path
    seq: int


def archive(
    directory: Path | str,
    to: Path | str,
    *,
    before_ns: int,
    without_events: bool = False,
    needs: Sequence[Need] = (),
    progress: Progress | None = None,
) -> ArchiveReport:
    """Move the closed slices whose last command is before ``before_ns`` (market time) to folder ``to``, oldest first.

    ``to``: made if missing; a slice goes to ``to``/000001 and so on. ``without_events``: move slices whose events are
    not kept too. ``needs``: what programs beside the node start from, whose starts need what is behind it.
    ``progress``: called with bytes copied and bytes in all. Raises ReplayError where a slice may not go, JournalFault
    where ``to`` has no room for it: those before it have gone then. Other JournalErrors, CheckpointError, OSError.
    """
    directory, to = Path(directory), Path(to).absolute()
    if to.resolve().is_relative_to(directory.resolve()):
        raise ReplayError(f"{to} is in the data directory {directory}; give a folder outside it")
    with Journal.open(directory, readonly=True):
        pass  # a data directory of ours, or an error that says why not
    if not (directory / SLICES).is_dir():
        return ArchiveReport((), (f"{directory} has one slice, and that is open",), has_closed=False)
    with _locked(directory):
        _finish_removals(directory)
        left: list[str] = []
        chosen = _old(directory, before_ns, without_events, needs, left)
        make_folder(to)
        total = sum(_bytes_of(_files(place)) for place in chosen)
        done, notes = 0, []
        for place in chosen:
            notes.append(_move(directory, place, to))
            done += notes[-1].bytes
            if progress is not None:
                progress(done, total)
    return ArchiveReport(tuple(notes), tuple(left))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Only one process archives slices of a directory. Raises JournalBusy."""
    fd = os.open(directory / SLICES / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalBusy(f"another process archives slices of {directory}; wait for it") from error
        yield
    finally:
        os.close(fd)


def _old(directory: Path, before_ns: int, without_events: bool, needs: Sequence[Need], left: list[str]) -> list[Place]:
    """The closed slices that are old enough and may go. Raises ReplayError for the first that may not."""
    chosen = []
    with History.open(directory) as history:
        # A program that lacks commands already cannot start, whatever is archived now.
        starts = [need for need in needs if need.seq + 1 >= history.there_from_seq]
        for place, following in zip(history.places, history.places[1:], strict=False):
            journal, name = history.journal(place.number), name_of_slice(directory, place.number)
            known = journal.info()
            start_ns = 0 if journal.start is None else journal.start.time_ns
            last_ns = start_ns if known.last_time_ns is None else known.last_time_ns
            if last_ns >= before_ns or following.number != place.number + 1:
                break
            if not place.events.exists() and not without_events:
                rules = journal.meta.get("rules_version")
                then = (
                    f"run `lockstep journal keep-events {directory}`, or give"
                    if rules == RULES_VERSION
                    else f"its rules are of version {rules}, which this release does not play; give"
                )
                raise ReplayError(
                    f"the events of {name} are not kept beside it; {then} --without-events to archive it without them"
                )
            wrong = wrong_image(history.journal(following.number))
            if wrong:
                raise ReplayError(f"{name} is needed for a start, since {wrong[0]}; it was not archived")
            needing = next((need for need in starts if need.seq < history.end_of(place)), None)
            if needing is not None:
                raise ReplayError(
                    f"{name} is needed by {needing.program}, whose image is of command {needing.seq:,}; archive 10 "
                    "minutes later, or behind the end of the node. Where there is no such program any more, remove "
                    f"{needing.folder}"
                )
            if known.problem is not None:
                raise JournalDamaged(f"{name} is damaged ({known.problem}); restore it from a copy first")
            chosen.append(place)
        kept = [place for place in history.places[:-1] if place not in chosen]
    left += [f"{name_of_slice(directory, place.number)} is not old enough" for place in kept]
    return chosen


def _parts(place: Place) -> list[Path]:
    """Files and folders of a slice, in its folder."""
    if (place.folder / SLICES).exists():  # the first slice, in the data directory itself
        return [path for name in _OF_FIRST if (path := place.folder / name).exists()]
    return sorted(place.folder.iterdir())


def _files(place: Place) -> dict[str, Path]:
    """Each file of a slice by its path in the slice."""
    found: dict[str, Path] = {}
    for part in _parts(place):
        inside = sorted(part.rglob("*")) if part.is_dir() else [part]
        found |= {
            str(path.relative_to(place.folder)): path
            for path in inside
            if path.is_file() and path.name != _LEFT_OUT and not path.name.endswith((".tmp", ".new"))
        }
    return found


def _bytes_of(files: dict[str, Path]) -> int:
    return sum(path.stat().st_size for path in files.values())


def _move(directory: Path, place: Place, to: Path) -> ArchiveNote:
    """Move one slice: copy, compare, name, note, remove."""
    target = to / f"{place.number:06d}"
    files = _files(place)
    if target.exists():
        if not _same(files, target):
            raise ReplayError(f"{target} is there already, and is not this slice; give another folder")
    else:
        with room_for(name_of_slice(directory, place.number), to, _bytes_of(files), target.exists):
            _copy(files, target)
    note = _note(directory, place, target, _bytes_of(files))
    write_note(directory, note)
    _remove(directory, place)
    return note


def _note(directory: Path, place: Place, target: Path, size: int) -> ArchiveNote:
    with Journal.open(directory, readonly=True, slice_number=place.number) as journal:
        known = journal.info()
        return ArchiveNote(
            number=place.number,
            path=str(target),
            first_seq=known.first_seq or journal.start_seq,
            last_seq=known.last_seq,
            first_time_ns=first_clock_ns(journal) or 0,
            last_time_ns=known.last_time_ns or 0,
            rules_version=int(journal.meta.get("rules_version", 0)),
            capacity=dict(journal.meta.get("capacity", {})),
            bytes=size,
            journal_id=journal.journal_id.hex(),
            archived_at=datetime.now(UTC).isoformat(timespec="seconds"),
            has_events=place.events.exists(),
        )


def _copy(files: dict[str, Path], target: Path) -> None:
    """Copy files to a folder, which has its name only when all are there, synced and the same byte for byte."""
    part = target.with_name(target.name + _PART)
    if part.exists():
        shutil.rmtree(part)
    folders = {part, *((part / name).parent for name in files)}
    try:
        for folder in sorted(folders):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, path in files.items():
            _copy_file(path, part / name)
        for folder in sorted(folders, reverse=True):
            sync_folder(folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)  # a part of a slice is of no use, and takes room
        raise
    if not _same(files, part):
        raise ReplayError(
            f"{part} is not the same as what was copied to it; the disk may be failing; nothing was moved"
        )
    part.rename(target)
    sync_folder(target.parent)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written, _CHUNK_BYTES)
        written.flush()
        os.fchmod(written.fileno(), source.stat().st_mode & 0o777)
        os.fsync(written.fileno())
        # What is compared afterwards is then read from the disk.
        os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _same(files: dict[str, Path], folder: Path) -> bool:
    """True if a folder has each of the files, byte for byte."""
    for name, path in files.items():
        try:
            with path.open("rb") as a, (folder / name).open("rb") as b:
                while True:
                    chunk = a.read(_CHUNK_BYTES)
                    if chunk != b.read(_CHUNK_BYTES):
                        return False
                    if not chunk:
                        break
        except FileNotFoundError:
            return False
    return True


def _remove(directory: Path, place: Place) -> None:
    """Take an archived slice out of the directory: under another name at once, then file by file."""
    gone = directory / SLICES / f"{place.number:06d}{_GONE}"
    if place.folder.parent == directory / SLICES:
        place.folder.rename(gone)
    else:
        gone.mkdir(mode=0o700, exist_ok=True)
        for part in _parts(place):
            part.rename(gone / part.name)
        sync_folder(directory)
    sync_folder(directory / SLICES)
    shutil.rmtree(gone)


def _is_archived(directory: Path, number: int) -> bool:
    """True if a note says where a slice is, and it is there: that of this journal."""
    note = read_note(directory, number)
    if note is None or not (Path(note.path) / JOURNAL / "data.mdb").is_file():
        return False
    try:
        with Journal.open(note.path, readonly=True) as journal:
            return (journal.journal_id.hex(), journal.place.number, journal.last_seq) == (
                note.journal_id,
                number,
                note.last_seq,
            )
    except JournalError:
        return False


def _finish_removals(directory: Path) -> None:
    """Finish what a kill left half removed: slices that a note says are archived."""
    for path in (directory / SLICES).glob("*.archived.*.tmp"):  # of a note
        path.unlink()
    there = {place.number: place for place in places(directory)}
    for path in (directory / SLICES).glob(f"*{_GONE}"):
        if _GONE_NAME.fullmatch(path.name) and _is_archived(directory, int(path.stem)):
            shutil.rmtree(path)
    if (1 in there and there[1].folder == directory) or not _is_archived(directory, 1):
        return
    for name in _OF_FIRST:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
