"""Cutting a closed journal back to an earlier block, for a node whose newest blocks are no part of the history.

For the one who holds the directory's lock and has put away what is cut off (``quarantine``). The file is checked as for
writing before anything changes. A crash leaves the journal before or after the step, and both can be opened.
"""

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from journal import frame, marks
from journal.errors import JournalDamaged, JournalError
from journal.opening import check_last_block, check_tail, genesis_in, read_genesis_copy, read_tail
from journal.pages import PageDamage, check_file, read_metas
from journal.reading import LABELS_KEY, TREES, Snapshot, key_of, seq_of
from journal.slices import CLOSED, SLICES, Place, clear_leftovers, sync_folder
from journal.store import cut_back


def cut_slice(place: Place, seq: int, checksum: bytes) -> None:
    """Remove from a slice all after the block that ends with ``seq``; ``checksum``: of the chain there.

    ``seq`` may be the last command before the slice, with the checksum of its genesis record: then it is empty. Raises
    JournalDamaged, JournalError where no such block is there; then nothing was changed.
    """
    side, _ = read_genesis_copy(place.journal)
    tail, problem = read_tail(place.journal)
    if side is None or tail is None:
        raise JournalDamaged(f"the files beside {place.journal / 'data.mdb'} are not whole: {problem}; repair it first")
    fd = os.open(place.journal / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
    try:
        snapshot = Snapshot.load(fd, side.page_bytes, read_metas(fd, side.page_bytes))
        snapshot.verify()
        check_tail(snapshot, tail)
        check_file(snapshot.file, snapshot.meta, TREES)
        check_last_block(snapshot, side.row_bytes)
        if genesis_in(snapshot) != side:
            raise JournalDamaged(f"the two copies of the genesis record in {place.journal} differ; repair it first")
        if (snapshot.mark.last_seq, snapshot.mark.checksum) == (seq, checksum):
            return
        end = _end(snapshot, side, seq, checksum)
        labels = _labels(snapshot, seq, side.row_bytes)
    except PageDamage as error:
        raise JournalDamaged(f"{place.journal}: {error}; repair it first") from error
    finally:
        os.close(fd)
    cut_back(place.journal, end, labels)


def _end(snapshot: Snapshot, genesis: marks.Genesis, seq: int, checksum: bytes) -> marks.Mark:
    """The mark of the snapshot, with the end that is wanted."""
    last_block_seq, time_ns, found = 0, 0 if genesis.start is None else genesis.start.time_ns, genesis.checksum
    if seq > genesis.start_seq:
        block = snapshot.block_at(seq, genesis.row_bytes)
        last_block_seq, time_ns, found = block.first_seq, block.time_ns, block.checksum
        if block.last_seq != seq:
            raise JournalError(f"command {seq} is within a block, where no journal can be cut")
    if found != checksum:
        raise JournalError(f"the journal has another block before command {seq + 1} than the one that was named")
    return replace(snapshot.mark, last_seq=seq, last_block_seq=last_block_seq, time_ns=time_ns, checksum=checksum)


def _labels(snapshot: Snapshot, seq: int, row_bytes: int) -> list[tuple[int, str]]:
    """Rules and kernels of the blocks that stay; only where there are several need the blocks be looked through."""
    labels = marks.decode_labels(snapshot.record(LABELS_KEY))
    if len(labels) < 2:
        return labels if snapshot.file.floor(snapshot.blocks, key_of(seq)) is not None else []
    used: list[tuple[int, str]] = []
    for node in snapshot.file.items(snapshot.blocks):
        if seq_of(node.key) > seq or len(used) == len(labels):
            break
        block = frame.decode(snapshot.file.value(node), seq_of(node.key), row_bytes)
        label = (block.rules_version, block.source_digest)
        if label not in used:
            used.append(label)
    return used


def reopen_slice(place: Place) -> None:
    """Make a closed slice one that may be written again, before the one after it is removed. Raises OSError.

    Its kept events and the record of its verification go: they are of a closed slice. Should the removal not follow,
    the next start closes it again.
    """
    for path in (place.events, place.verified):
        path.unlink(missing_ok=True)
    sync_folder(place.folder)
    for name in ("data.mdb", "genesis", "tail"):
        path = place.journal / name
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWUSR)
    (place.journal / CLOSED).unlink(missing_ok=True)
    sync_folder(place.journal)


def remove_slice(directory: Path, place: Place) -> None:
    """Remove the last slice of a data directory: at once by a rename, then file by file. Raises OSError."""
    if place.folder.parent != directory / SLICES:
        raise JournalError(f"slice {place.number} is the folder {place.folder} itself; name the data directory")
    with suppress(FileNotFoundError):
        shutil.rmtree(place.folder.with_name(f"{place.folder.name}.new"))
    place.folder.rename(place.folder.with_name(f"{place.folder.name}.new"))
    sync_folder(directory / SLICES)
    clear_leftovers(directory)
