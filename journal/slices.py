"""Slices: a data directory is a chain of them, and the last one is open.

    DIR/journal, DIR/checkpoints          the first slice
    DIR/slices/000002/journal, ...        each further one, with the image that it starts from in start.checkpoint

A slice has one capacity and one set of rules. Its genesis record has the journal's id, its number, the last checksum of
the slice before and the digests of its image, so that the chain of blocks runs through all slices. A new slice is
written as 000002.new and then renamed: a crash leaves the slice before open, or the new one. The slice before is then
closed: read-only, marked with a file ``closed``. The folder of a slice can be read like a data directory, wherever it
is moved.

A closed slice may have a file of its event rows (``events``), the result of its verification (``verified``) and a
signed statement about it (``attestation``). For an archived slice the file DIR/slices/000001.archived has its new place
and a summary of its content.
"""

import json
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from journal import marks
from journal.errors import JournalDamaged, JournalError, JournalForeign, SliceMissing
from journal.opening import FOLDER, read_side_file

SLICES: Final = "slices"
#: Name of the image that a slice starts from, in its folder.
START_IMAGE: Final = "start.checkpoint"
CLOSED: Final = "closed"
IMAGE_RECORD: Final = "image"
#: Name of the event rows of a closed slice, compressed, in its folder.
EVENTS: Final = "events"
#: Name of the record of a closed slice's verification, in its folder.
VERIFIED: Final = "verified"
#: Name of the attestation of a closed slice, in its folder.
ATTESTATION: Final = "attestation"
_ARCHIVED: Final = ".archived"
_NEW: Final = ".new"
_NAME: Final = re.compile("[0-9]{6}")


class Place(NamedTuple):
    """A slice on the disk: its number, from 1, and the folder that holds its ``journal``."""

    number: int
    folder: Path

    @property
    def journal(self) -> Path:
        """Folder of the slice's part of the journal."""
        return self.folder / FOLDER

    @property
    def start_image(self) -> Path:
        """File of the image that the slice starts from; the first slice has none."""
        return self.folder / START_IMAGE

    @property
    def events(self) -> Path:
        """File of the slice's event rows."""
        return self.folder / EVENTS

    @property
    def verified(self) -> Path:
        """File of the record of the slice's verification."""
        return self.folder / VERIFIED

    @property
    def attestation(self) -> Path:
        """File of the slice's attestation."""
        return self.folder / ATTESTATION

    @property
    def is_marked_closed(self) -> bool:
        """True if the slice was closed and may not be written again."""
        return (self.journal / CLOSED).exists()


class ArchiveNote(NamedTuple):
    """Note on an archived slice: its folder ``path``, its commands, the clock at its ends (ns), rules and capacity."""

    number: int
    path: str
    first_seq: int
    last_seq: int
    first_time_ns: int
    last_time_ns: int
    rules_version: int
    capacity: dict[str, int]
    bytes: int
    journal_id: str
    archived_at: str
    has_events: bool


def note_path(directory: Path, number: int) -> Path:
    """File of the note on an archived slice."""
    return directory / SLICES / f"{number:06d}{_ARCHIVED}"


def write_note(directory: Path, note: ArchiveNote) -> None:
    """Write the note on a slice that is archived, whole or not at all. Raises OSError."""
    path = note_path(directory, note.number)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_aside(path, json.dumps(note._asdict(), indent=1).encode() + b"\n")


def read_note(directory: Path, number: int) -> ArchiveNote | None:
    """The note on an archived slice; None where there is none that can be read."""
    try:
        fields = json.loads(note_path(directory, number).read_bytes())
        return ArchiveNote(**{**fields, "capacity": dict(fields["capacity"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write_aside(path: Path, content: bytes) -> None:
    """Write a small file under a temporary name, sync it, and rename it. Raises OSError."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        aside.rename(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            aside.unlink()


def places(directory: Path) -> tuple[Place, ...]:
    """The slices in a data directory, by number; none where it has no journal."""
    found = {}
    with suppress(OSError):
        names = filter(_NAME.fullmatch, os.listdir(directory / SLICES))
        found = {int(name): Place(int(name), directory / SLICES / name) for name in names}
    found = {number: place for number, place in found.items() if (place.journal / "data.mdb").is_file()}
    if (directory / FOLDER / "data.mdb").is_file():
        own = Place(_number_of(directory / FOLDER), directory)
        found.setdefault(own.number, own)
    return tuple(found[number] for number in sorted(found))


def _number_of(folder: Path) -> int:
    """The number in a slice's genesis record, 1 where that cannot be read."""
    try:
        sealed = read_side_file(folder / "genesis")
        return 1 if sealed is None else marks.decode_genesis(sealed).slice_number
    except (JournalDamaged, JournalForeign, OSError):
        return 1


def start_seq(place: Place) -> int:
    """The last command before a slice, by the copy of its genesis record. Raises JournalDamaged, JournalForeign."""
    sealed = read_side_file(place.journal / "genesis")
    if sealed is None:
        raise JournalDamaged(f"{place.journal / 'genesis'} is missing; restore slice {place.number} from a copy")
    return marks.decode_genesis(sealed).start_seq


def _end(place: Place) -> marks.Mark:
    """End of a closed slice, by its file ``tail``. Raises JournalDamaged."""
    sealed = read_side_file(place.journal / "tail")
    if sealed is None:
        raise JournalDamaged(f"{place.journal / 'tail'} is missing; restore slice {place.number} from a copy")
    return marks.decode_mark(sealed, str(place.journal / "tail"))


def place_at(directory: Path, seq: int) -> Place:
    """The slice with command ``seq``: the last one for a command beyond its end, the first for 0.

    Raises JournalForeign where there is no journal, SliceMissing where the slice is not in the directory.
    """
    found = places(directory)
    if not found:
        raise JournalForeign(f"{directory} holds no journal of lockstep; check the path")
    after = found[-1].number + 1
    for place in reversed(found):
        if place.number == 1 or start_seq(place) < seq:
            if place.number != after - 1 and seq > _end(place).last_seq:
                break
            return place
        after = place.number
    for number in range(1, after):
        if (note := read_note(directory, number)) is not None and note.first_seq <= seq <= note.last_seq:
            raise missing(directory, number, seq)
    raise missing(directory, after - 1, seq)


def missing(directory: Path, number: int, seq: int) -> SliceMissing:
    """The error for a slice that is needed for command ``seq`` and is missing."""
    return SliceMissing(f"command {seq:,} is needed, and {where_missing(directory, number, number)}")


def where_missing(directory: Path, first: int, last: int) -> str:
    """Sentence on the missing slices ``first`` to ``last``: where they are, and what to do."""
    notes = [note for number in range(first, last + 1) if (note := read_note(directory, number)) is not None]
    if first == last:
        what, each = f"slice {first} of the journal", "it"
    else:
        what, each = f"slices {first} to {last} of the journal", "each"
    back = f"copy {each} back to {directory / SLICES / f'{first:06d}'}" + ("" if first == last else " and so on")
    if not notes:
        return f"{what} {'is' if first == last else 'are'} not in {directory}; if archived, {back}"
    listed = ", ".join(f"commands {note.first_seq:,} to {note.last_seq:,} in {note.path}" for note in notes)
    return f"{what} {'was' if first == last else 'were'} archived: {listed}; read it there, or {back}"


def new_folder(directory: Path, number: int) -> Path:
    """An empty folder for the new slice ``number``; removes leftovers of an earlier attempt. Raises OSError."""
    (directory / SLICES).mkdir(mode=0o700, exist_ok=True)
    clear_leftovers(directory)
    folder = directory / SLICES / f"{number:06d}{_NEW}"
    folder.mkdir(mode=0o700)
    return folder


def clear_leftovers(directory: Path) -> None:
    """Remove unfinished new slices. The caller has the directory's lock. Raises OSError."""
    with suppress(FileNotFoundError):
        for name in os.listdir(directory / SLICES):
            if name.endswith(_NEW) and _NAME.fullmatch(name.removesuffix(_NEW)):
                shutil.rmtree(directory / SLICES / name)


def name_slice(new: Path) -> Place:
    """Rename a complete new slice: it is the open one from then on, once the folder above is synced.

    Raises OSError, and then it is not renamed.
    """
    sync_folder(new)
    place = Place(int(new.name.removesuffix(_NEW)), new.with_name(new.name.removesuffix(_NEW)))
    new.rename(place.folder)
    return place


def write_image_record(place: Place, image: dict[str, bytes]) -> None:
    """Write the digests of an image, by part, for a slice whose genesis record has none. Raises OSError,
    JournalError."""
    sealed = read_side_file(place.journal / "genesis")
    if sealed is None:
        raise JournalDamaged(f"{place.journal / 'genesis'} is missing")
    write_aside(place.journal / IMAGE_RECORD, marks.encode_image(marks.decode_genesis(sealed), image))


def start_of(place: Place, genesis: marks.Genesis) -> marks.SliceStart | None:
    """Start of a slice, with the digests of its image; without them where a crash came before they were written."""
    start = genesis.start
    if start is None or start.image:
        return start
    path = place.journal / IMAGE_RECORD
    with suppress(JournalDamaged):  # as if there were none: `journal check` then reports an image without digests
        if (sealed := read_side_file(path)) is not None:
            return start._replace(image=marks.decode_image(sealed, genesis, str(path)))
    return start


def mark_closed(place: Place) -> None:
    """Mark a slice closed and make its files read-only; a repetition changes nothing. Raises OSError."""
    if not place.is_marked_closed:
        fd = os.open(place.journal / CLOSED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o400)
        os.close(fd)
        sync_folder(place.journal)
    for name in ("data.mdb", "genesis", "tail"):
        with suppress(FileNotFoundError):
            path = place.journal / name
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def check_follows(before: Place, start: marks.SliceStart) -> None:
    """Raise JournalDamaged unless the slice ``before`` ends where the next one starts."""
    mark = _end(before)
    if mark.last_seq > start.last_seq:
        raise JournalDamaged(
            f"slice {before.number} in {before.folder} goes to command {mark.last_seq:,}, but slice {start.number} "
            f"begins after command {start.last_seq:,}: somebody, such as an earlier release, wrote into the closed "
            "slice; those commands are no part of the journal: keep a copy of the directory, and restore the slice "
            "from a copy of before"
        )
    if (mark.last_seq, mark.checksum) != (start.last_seq, start.link):
        raise JournalDamaged(
            f"slice {before.number} in {before.folder} ends at command {mark.last_seq:,} and slice "
            f"{start.number} begins after command {start.last_seq:,} of another history; restore the directory from a "
            "copy"
        )


def check_open_for_writing(place: Place, last: Place) -> None:
    """Raise JournalError where ``place`` is a closed slice. ``last``: the last slice of the directory."""
    if place.is_marked_closed or place.number != last.number:
        raise JournalError(
            f"slice {place.number} in {place.folder} is closed: it can be read, but nothing is appended to it; name "
            "the data directory itself, whose last slice is open"
        )


def make_private(path: Path) -> None:
    """Make a folder within a data directory for its owner alone, and so those above it that are missing. Raises
    OSError.

    ``Path.mkdir`` with ``parents`` gives its mode to the last one only.
    """
    if not path.parent.is_dir():
        make_private(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone, with those above it that are missing, their names on the disk. Raises
    OSError."""
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        if not folder.is_dir():
            folder.mkdir(mode=0o700 if folder == path else 0o777, exist_ok=True)
            sync_folder(folder.parent)


def sync_name(place: Place, directory: Path) -> None:
    """Put the name of a slice on the disk, which a crash may have left unsynced. Raises OSError."""
    if place.folder != directory:
        sync_folder(directory / SLICES)
    sync_folder(directory)


def sync_folder(path: Path) -> None:
    """Sync the entries of a folder to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
