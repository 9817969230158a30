"""A new slice of a journal, the first one too: its folder with the genesis record, complete before one rename gives it
its name."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from journal import marks, slices
from journal.errors import BlockRefused, JournalError
from journal.lock import WriterLock
from journal.opening import FOLDER
from journal.store import Store, create_folder, failed, write_folder

#: Callback with the new folder, before the rename, to write its further files.
Prepare = Callable[[Path], object]


def nothing_further(_folder: Path) -> None:
    """Write no further files."""


def create_directory(directory: Path, genesis: bytes, image_record: bytes, prepare: Prepare) -> slices.Place:
    """Create a data directory with one slice without blocks; gives its place.

    genesis: its sealed record. image_record, prepare: as ``make_same_slice`` takes them. Raises JournalError when there
    is a journal already, and what ``prepare`` raises; then there is no journal.
    """
    page_bytes, own = marks.decode_genesis(genesis).page_bytes, os.sysconf("SC_PAGE_SIZE")
    if page_bytes != own:
        raise JournalError(
            f"the journal was made on a machine with pages of {page_bytes} bytes, and this one has {own}; "
            f"copy it to one with {page_bytes}"
        )
    try:
        slices.make_folder(directory)
    except OSError as error:
        raise JournalError(f"{directory} cannot be made: {error.strerror}") from error
    lock = WriterLock(directory)
    try:
        if (directory / FOLDER).exists() or slices.places(directory):
            raise JournalError(f"{directory} holds a journal already; open it, or choose another directory")
        if marks.decode_genesis(genesis).start is None:
            create_folder(directory, genesis)
        else:
            slices.sync_name(_written(directory, genesis, image_record, prepare), directory)
    except OSError as error:
        raise failed(directory, f"the journal in {directory} cannot be created", error) from error
    finally:
        lock.release()
    return slices.places(directory)[-1]


def make_slice(
    directory: Path,
    store: Store,
    before: marks.Genesis,
    start: marks.SliceStart,
    meta: dict[str, Any],
    prepare: Prepare,
) -> slices.Place:
    """Make the slice that follows the last command of ``store``; gives its place.

    before: genesis record of the slice that it follows. start: end of that slice, and the image there. meta: as
    ``Journal.create`` takes it. prepare: called with the new folder, before the rename. Where anything raises, nothing
    is left of the new slice: JournalError, or what ``prepare`` raises.
    """
    sealed = marks.encode_genesis(
        meta, before.row_bytes, before.page_bytes, before.journal_id, start, has_own_id=before.has_own_id
    )
    return _written_after(store, directory, sealed, b"", prepare)


def make_same_slice(
    directory: Path, store: Store, before: marks.Genesis, genesis: bytes, image_record: bytes, prepare: Prepare
) -> slices.Place:
    """Make the slice that another node has begun after the last command of ``store``; gives its place.

    genesis: the other's sealed record. image_record: the record of its image, where the genesis record names none and
    ``prepare`` writes the image; else b"". Raises BlockRefused where the slice does not follow; otherwise as
    ``make_slice``.
    """
    wanted, mark = marks.decode_genesis(genesis), store.mark
    known = (before.journal_id, before.row_bytes, before.page_bytes)
    if wanted.start is None or (wanted.journal_id, wanted.row_bytes, wanted.page_bytes) != known:
        raise BlockRefused(f"the slice is refused: it is not of the journal in {directory}")
    start = wanted.start
    if (start.number, start.last_seq, start.link) != (before.slice_number + 1, mark.last_seq, mark.checksum):
        raise BlockRefused(
            f"slice {start.number} is refused: it begins after command {start.last_seq}, and slice "
            f"{before.slice_number} in {directory} ends at command {mark.last_seq}, or with another block"
        )
    return _written_after(store, directory, genesis, image_record, prepare)


def _written_after(
    store: Store, directory: Path, genesis: bytes, image_record: bytes, prepare: Prepare
) -> slices.Place:
    try:
        store.sync_tail()
        return _written(directory, genesis, image_record, prepare)
    except BaseException as error:
        with suppress(OSError):  # its image may take the room that the open slice needs
            slices.clear_leftovers(directory)
        if isinstance(error, OSError):
            number = marks.decode_genesis(genesis).slice_number
            raise failed(directory, f"slice {number} cannot be begun in {directory}", error) from error
        raise


def _written(directory: Path, genesis: bytes, image_record: bytes, prepare: Prepare) -> slices.Place:
    """Write a slice aside and give it its name. Raises OSError, JournalError, and what ``prepare`` raises."""
    folder = slices.new_folder(directory, marks.decode_genesis(genesis).slice_number)
    prepare(folder)
    write_folder(folder / FOLDER, genesis)
    if image_record:
        slices.write_aside(folder / FOLDER / slices.IMAGE_RECORD, image_record)
    return slices.name_slice(folder)
