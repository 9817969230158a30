"""Checks of a journal before LMDB opens it: its genesis record, its tail, and their match with the data."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from journal import frame, marks
from journal.errors import JournalDamaged, JournalForeign
from journal.pages import PAGE_BYTES_RANGE, PageDamage
from journal.reading import GENESIS_KEY, Snapshot, key_of

FOLDER: Final = "journal"
TAIL: Final = "tail"
_SIDE_FILE_BYTES_MAX: Final = 1 << 20
_TAIL_TRIES: Final = 5
#: Sentence for a journal without its tail.
_UNWITNESSED: Final = "a loss of the newest commands cannot be detected"


def read_side_file(path: Path) -> bytes | None:
    """The content of one of the small files; None where there is none, nothing where it is no file."""
    try:
        with path.open("rb") as file:
            return file.read(_SIDE_FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return b""


def read_tail(folder: Path) -> tuple[marks.Mark | None, str | None]:
    """(mark, None), or (None, what is wrong with the file). Every journal has one, from before it is in place."""
    path = folder / TAIL
    for _ in range(_TAIL_TRIES):  # a live writer may be half-way through
        sealed = read_side_file(path)
        if sealed is None:
            return None, f"{path} is missing, so {_UNWITNESSED}"
        with suppress(JournalDamaged):
            return marks.decode_mark(sealed, str(path)), None
    return None, f"{path} does not match its checksum, so {_UNWITNESSED}"


def page_bytes_of(side: marks.Genesis | None) -> int:
    """The page size of the environment: its meta pages cannot be found without it."""
    page_bytes = os.sysconf("SC_PAGE_SIZE") if side is None else side.page_bytes
    if not PAGE_BYTES_RANGE[0] <= page_bytes <= PAGE_BYTES_RANGE[1]:
        raise JournalForeign(f"the genesis record names pages of {page_bytes} bytes, which no journal has")
    return page_bytes


def read_genesis_copy(folder: Path) -> tuple[marks.Genesis | None, str | None]:
    """(record, None) or (None, what is wrong with the copy). Raises JournalForeign for another program or version."""
    sealed = read_side_file(folder / "genesis")
    if sealed is None:
        return None, f"{folder / 'genesis'} is missing, of which the journal has a copy inside"
    try:
        return marks.decode_genesis(sealed), None
    except JournalDamaged:
        return None, f"{folder / 'genesis'} does not match its checksum; the journal has a copy inside"


def genesis_in(snapshot: Snapshot) -> marks.Genesis:
    """The genesis record inside a snapshot. Raises PageDamage, JournalForeign."""
    try:
        return marks.decode_genesis(snapshot.record(GENESIS_KEY))
    except JournalDamaged as error:
        raise PageDamage(str(error)) from error


def check_tail(snapshot: Snapshot, tail: marks.Mark) -> None:
    """Raise PageDamage when the snapshot is older than ``tail``, or another history."""
    mark = snapshot.mark
    if (
        mark.last_seq < tail.last_seq
        or mark.transaction < tail.transaction
        or mark.last_digest_seq < tail.last_digest_seq
    ):
        raise PageDamage(
            f"the journal was durable up to seq {tail.last_seq:,} (transaction {tail.transaction}) and shows only "
            f"seq {mark.last_seq:,} (transaction {mark.transaction})"
        )
    if not tail.blocks:
        return
    node = snapshot.file.floor(snapshot.blocks, key_of(tail.last_block_seq))
    if node is None or frame.stored_checksum(snapshot.file.value(node)) != tail.checksum:
        raise PageDamage(f"the block at seq {tail.last_block_seq:,} is not the one that was written")


def check_last_block(snapshot: Snapshot, row_bytes: int) -> None:
    """Raise JournalDamaged unless the last block is whole and the one that the mark names."""
    mark = snapshot.mark
    if not mark.blocks:
        return
    block = snapshot.block_at(mark.last_seq, row_bytes)
    if (block.first_seq, block.last_seq, block.checksum) != (mark.last_block_seq, mark.last_seq, mark.checksum):
        raise JournalDamaged("the last block is not the one that was committed; restore the journal from a copy")


def no_journal(directory: Path) -> str:
    """Sentence on a data directory without a journal."""
    if not directory.exists():
        what = "is not there, so it holds no journal"
    elif not directory.is_dir():
        what = "is a file, so it holds no journal"
    else:
        what = "holds no journal"
    return f"{directory} {what} of lockstep; check the path: `lockstep serve` and `lockstep run` write data directories"
