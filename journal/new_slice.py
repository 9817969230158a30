"""The next slice of a journal: its folder with the genesis record, complete before one rename gives it its name."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from journal import marks, slices
from journal.opening import FOLDER
from journal.store import Store, failed, write_folder


def make_slice(
    directory: Path,
    store: Store,
    before: marks.Genesis,
    start: marks.SliceStart,
    meta: dict[str, Any],
    prepare: Callable[[Path], object],
) -> slices.Place:
    """Make the slice that follows the last command of ``store``; gives its place.

    before: genesis record of the slice that it follows. start: end of that slice, and the image there. meta: as
    ``Journal.create`` takes it. prepare: called with the new folder, before the rename. Where anything raises, nothing
    is left of the new slice: JournalError, or what ``prepare`` raises.
    """
    try:
        store.sync_tail()
        sealed = marks.encode_genesis(
            meta,
            before.row_bytes,
            before.page_bytes,
            before.journal_id,
            start,
            has_own_id=before.has_own_id,
        )
        folder = slices.new_folder(directory, start.number)
        prepare(folder)
        write_folder(folder / FOLDER, sealed)
        return slices.name_slice(folder)
    except BaseException as error:
        with suppress(OSError):  # its image may take the room that the open slice needs
            slices.clear_leftovers(directory)
        if isinstance(error, OSError):
            raise failed(directory, f"slice {start.number} cannot be begun in {directory}", error) from error
        raise
