"""Forensic bundles of two data directories that differ, one of each, as the two nodes of a pair write them."""

import time
from collections import deque
from pathlib import Path
from typing import Final

from checkpoints import CheckpointStore
from directory.bundle import BLOCKS_BYTES_MAX, write_bundle
from directory.recover import image, stateful
from engine.digest import checksum
from engine.interface import StatefulEngine
from journal import Journal
from journal.history import History
from node.pair.state_comparison import found_by
from replay.compare import CompareReport
from replay.difference import first_unlike_rows
from replay.rebuild import capacity_of, rebuild
from replication.comparison import Divergence

#: Part that differs where the journals have other commands.
COMMANDS: Final = "commands"


def difference_of(directory: Path, other: Path, report: CompareReport) -> Divergence | None:
    """Block, first command and part of a difference; None where no block and part stands for it.

    That is so where two capacities differ, and where a replay alone differs from equal records.
    """
    if report.command is not None:
        rows = (checksum(row.tobytes()) for row in (report.command.a, report.command.b))
        return Divergence(report.command.seq, report.command.seq, COMMANDS, *rows)
    if report.digest is not None:
        digest = report.digest
        return Divergence(digest.first_seq, digest.last_seq, "events", digest.a, digest.b)
    if report.event is not None or not (report.parts or report.unlike_a or report.unlike_b):
        return None
    seq = report.state_seq
    engine = _state(directory, seq)
    if report.parts and not report.diverged:
        part = next((name for name in engine.part_digests() if name in report.parts), report.parts[0])
        digests = (state.part_digests().get(part, b"") for state in (engine, _state(other, seq)))
        return Divergence(seq, seq, part, *digests)
    reference = rebuild(directory, at=seq, engine="reference", on_divergence="note").engine
    found = first_unlike_rows(engine, reference) or first_unlike_rows(_state(other, seq), reference)
    return None if found is None else Divergence(seq, seq, found.part, found.b, found.a)


def _state(directory: Path, seq: int) -> StatefulEngine:
    return stateful(rebuild(directory, at=seq, on_divergence="note").engine)


def write_bundles(folder: Path, directory: Path, other: Path, difference: Divergence) -> list[Path]:
    """Write a bundle of each directory into a folder; gives their paths. Raises OSError, JournalError, ReplayError."""
    turned = difference._replace(own=difference.other, other=difference.own)
    return [_write(folder, directory, other, difference), _write(folder, other, directory, turned)]


def _write(folder: Path, directory: Path, other: Path, difference: Divergence) -> Path:
    with History.open(directory) as history:
        journal = history.slice_of(difference.last_seq)
        block = next(journal.blocks(difference.last_seq, difference.last_seq))
        engine = _state(directory, block.last_seq)
        found = found_by(str(directory), "audited directory", str(other), block.epoch, difference)
        store = CheckpointStore(journal.place.folder)
        bases = [each.seq for each in store.list() if each.valid and each.seq < difference.first_seq]
        return write_bundle(
            folder,
            f"divergence-{block.epoch}-{difference.last_seq}",
            found,
            image(engine, capacity_of(journal), journal.journal_id),
            _blocks(journal, max(bases, default=journal.start_seq) + 1, block.last_seq),
            store,
            moment_ns=time.time_ns(),
            start_image=journal.place.start_image,
        )


def _blocks(journal: Journal, from_seq: int, to_seq: int) -> list[bytes]:
    """The newest sealed blocks of a range that fit a bundle."""
    kept: deque[bytes] = deque()
    size = 0
    for block in journal.blocks(from_seq, to_seq):
        kept.append(bytes(block.sealed))
        size += len(kept[-1])
        while size > BLOCKS_BYTES_MAX:
            size -= len(kept.popleft())
    return list(kept)
