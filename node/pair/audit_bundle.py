"""Forensic bundle of an audit: the blocks that its third copy applied, from a checkpoint of before to its state.

The audited directory is only read. So where it has no checkpoint near enough, the audit keeps images of its own in a
folder beside the bundle, which its end removes.
"""

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from checkpoints import CheckpointError, CheckpointStore
from directory.bundle import BLOCKS_BYTES_MAX, Found, write_bundle
from directory.recover import image
from engine.interface import EngineKind, StatefulEngine
from journal import Journal
from replay.rebuild import capacity_of

#: Bytes of blocks after which the audit takes an image of its own, so that those since the one before fit a bundle.
_IMAGE_BYTES: Final = BLOCKS_BYTES_MAX // 2
_IMAGES: Final = 2


class AuditBundle:
    """Evidence of an audit, for a bundle in ``folder``. ``journal``: of the audited directory, open.

    Close it.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._journal_id, self._capacity = journal.journal_id, capacity_of(journal)
        self._store, self._start_image = CheckpointStore(journal.place.folder), journal.place.start_image
        self._own: Path | None = None
        self._blocks: deque[tuple[int, bytes]] = deque()
        self._bytes = self._since_image = 0
        base = next((each for each in reversed(self._store.list()) if each.valid and each.seq < journal.last_seq), None)
        start_seq = journal.start_seq if base is None else max(base.seq, journal.start_seq)
        if start_seq < journal.last_seq:
            for block in journal.blocks(start_seq + 1, journal.last_seq):
                self._keep(block.last_seq, bytes(block.sealed))

    def _keep(self, last_seq: int, sealed: bytes) -> None:
        self._blocks.append((last_seq, sealed))
        self._bytes += len(sealed)
        while self._bytes > BLOCKS_BYTES_MAX:
            self._bytes -= len(self._blocks.popleft()[1])

    def on_applied(self, last_seq: int, sealed: bytes, engine: StatefulEngine) -> None:
        """Keep a block that the engine has applied."""
        self._keep(last_seq, sealed)
        self._since_image += len(sealed)
        if self._since_image > _IMAGE_BYTES:
            self._take_image(engine)

    def on_slice_begun(self, engine: StatefulEngine) -> None:
        """Begin anew: blocks of two slices are no chain."""
        self._blocks.clear()
        self._bytes = 0
        self._take_image(engine)

    def _take_image(self, engine: StatefulEngine) -> None:
        """Take an image; where that fails the audit goes on, and its bundle says that it has none."""
        self._since_image = 0
        with suppress(OSError, CheckpointError):
            if self._own is None:
                self._own = Path(tempfile.mkdtemp(prefix=".audit-", dir=self._folder))
                self._store = CheckpointStore(self._own)
            self._store.write(image(engine, self._capacity, self._journal_id))
            self._store.prune(_IMAGES)

    def write(self, found: Found, engine: StatefulEngine, kind: EngineKind, moment_ns: int) -> Path:
        """Write the bundle of an audit by an engine of ``kind``; gives its path. Raises OSError, CheckpointError."""
        taken = image(engine, self._capacity, self._journal_id)
        bases = [each.seq for each in self._store.list() if each.valid and each.seq < found.first_seq]
        blocks = list(self._after(max(bases, default=0)))
        name = f"divergence-{found.epoch}-{found.last_seq}"
        return write_bundle(
            self._folder,
            name,
            found,
            taken,
            blocks,
            self._store,
            moment_ns=moment_ns,
            start_image=self._start_image,
            engine=kind,
        )

    def _after(self, seq: int) -> Iterator[bytes]:
        return (sealed for last_seq, sealed in self._blocks if last_seq > seq)

    def close(self) -> None:
        """Remove the images."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None
