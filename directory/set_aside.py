"""Setting aside: a node gives up the blocks that no other node has, so that it can follow the new primary.

An old primary may have journaled commands that nobody acknowledged and no client was told of. They are no part of the
history. So before the node follows again they go into a quarantine (``journal.quarantine``), and the journal ends where
the two nodes last agreed. That may be in the slice before, where only the old primary began a new one.

Everything is written, on the disk and read back before anything is removed. A crash at any step leaves the old journal,
or the quarantine and a journal that can be opened; the same call resumes.
"""

import time
from pathlib import Path

from checkpoints import CheckpointStore
from journal import Journal, JournalError
from journal.cut import cut_slice, remove_slice, reopen_slice
from journal.lock import WriterLock
from journal.quarantine import Quarantine, check_quarantine, write_quarantine
from journal.slices import Place, clear_leftovers, places, where_missing


def set_aside(
    directory: Path | str, after_seq: int, checksum: bytes, *, node: str, why: str, time_ns: int | None = None
) -> list[Quarantine]:
    """Set aside all blocks after a position of the journal in a data directory that nobody writes.

    ``after_seq``, ``checksum``: the last common position: end of a block, with the checksum of the chain there, or the
    last command before a slice with the checksum of its genesis record. ``node``, ``why``: for the record. ``time_ns``:
    wall time, now by default. Gives the quarantines, oldest first; none where the journal ends at that position.
    Raises JournalError where it does not have that position, JournalDamaged, OSError; then nothing was removed.
    """
    directory = Path(directory)
    time_ns = time.time_ns() if time_ns is None else time_ns
    lock = WriterLock(directory)
    try:
        clear_leftovers(directory)
        kept, aside = _divide(directory, after_seq, checksum)
        written = [_put_away(directory, kept, after_seq, checksum, node, why, time_ns)]
        written += [_put_away(directory, place, None, b"", node, why, time_ns) for place in aside]
        _drop_checkpoints(kept, after_seq)
        for place in reversed(aside):
            reopen_slice(next(each for each in (kept, *aside) if each.number == place.number - 1))
            remove_slice(directory, place)
        cut_slice(kept, after_seq, checksum)
    finally:
        lock.release()
    return [quarantine for quarantine in written if quarantine is not None]


def _divide(directory: Path, after_seq: int, checksum: bytes) -> tuple[Place, list[Place]]:
    """The slice that has the position, and those after it, in order. Raises JournalError."""
    found = places(directory)
    aside: list[Place] = []
    for place in reversed(found):
        with Journal.open(directory, readonly=True, slice_number=place.number) as journal:
            if after_seq == journal.start_seq and checksum == journal.genesis[:16]:
                return place, aside
            if after_seq > journal.start_seq:
                if after_seq <= journal.last_seq:
                    (block,) = journal.blocks(after_seq, after_seq)
                    if (block.last_seq, block.checksum) == (after_seq, checksum):
                        return place, aside
                break
        aside.insert(0, place)
    if aside and aside[0] is found[0] and found[0].number > 1:
        where = where_missing(directory, found[0].number - 1, found[0].number - 1)
        raise JournalError(f"the last common command, {after_seq}, is before the slices in {directory}: {where}")
    raise JournalError(
        f"the journal in {directory} has no block that ends at command {after_seq} with checksum {checksum.hex()}; "
        "nothing was set aside: check that both nodes have the same journal"
    )


def _put_away(
    directory: Path, place: Place, after_seq: int | None, link: bytes, node: str, why: str, time_ns: int
) -> Quarantine | None:
    """Write the quarantine of a slice's blocks after ``after_seq``, or of a whole slice; None where it has none."""
    with Journal.open(directory, readonly=True, slice_number=place.number) as journal:
        whole = after_seq is None
        after, link = (journal.start_seq, journal.genesis[:16]) if after_seq is None else (after_seq, link)
        last_seq = journal.last_seq
        if last_seq == after and not whole:
            return None
        first = next(journal.blocks(after + 1, after + 1), None) if last_seq > after else None
        last = next(journal.blocks(last_seq, last_seq), None) if last_seq > after else None
        quarantine = Quarantine(
            journal_id=journal.journal_id,
            slice_number=place.number,
            first_seq=after + 1,
            last_seq=last_seq,
            link=link,
            checksum=link if last is None else last.checksum,
            first_epoch=0 if first is None else first.epoch,
            last_epoch=0 if last is None else last.epoch,
            time_ns=time_ns,
            node=node,
            why=why,
            genesis=journal.genesis,
        )
        write_quarantine(directory, quarantine, journal.blocks(after + 1, last_seq) if last else ())
    # It will be the only copy of these blocks.
    check_quarantine(directory, quarantine)
    return quarantine


def _drop_checkpoints(place: Place, after_seq: int) -> None:
    """Mark the checkpoints after the position: their state has commands that are set aside."""
    store = CheckpointStore(place.folder)
    for info in store.list():
        if info.seq > after_seq and info.path.suffix == ".checkpoint":
            store.mark_invalid(info.path, f"it has commands after {after_seq}, which were set aside")
