"""Snapshots of the file of a slice: the commit that is read, and the lock that keeps its pages from being overwritten.

A writer reads through its own environment of LMDB. A reader in another process takes an entry in LMDB's reader table,
where the directory lets it; in a directory that nobody can write, no entry is needed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from journal.errors import JournalBusy, JournalError
from journal.lock import writer_pid
from journal.pages import Meta, PageDamage, read_meta, read_metas
from journal.reading import Snapshot
from journal.store import ReaderLock

_TRIES: Final = 10


class SnapshotSource:
    """Source of snapshots of ``folder``/data.mdb, open as ``fd``.

    directory: the data directory, whose lock names the writer. page_bytes: size of the file's pages. ``readers``: the
    protection of a snapshot, in words. Raises JournalError where the file cannot be read.
    """

    def __init__(self, directory: Path, folder: Path, page_bytes: int) -> None:
        self._directory = directory
        self._folder = folder
        self._page_bytes = page_bytes
        self._lock: ReaderLock | None = None
        self._owns_lock = False
        self._stopped = False
        self.readers = "the writer's own environment"
        try:
            self.fd = os.open(folder / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise JournalError(f"{folder / 'data.mdb'} cannot be read: {error.strerror}") from error

    def take_reader_lock(self) -> None:
        """Open LMDB for its reader table alone, where the directory allows it. Raises JournalBusy, PageDamage."""
        lock_file = self._folder / "lock.mdb"
        self._committed()
        # Where it is missing, as in a copy of a directory, LMDB makes it.
        if os.access(self._folder, os.W_OK) and (not lock_file.exists() or os.access(lock_file, os.R_OK | os.W_OK)):
            self._lock, self._owns_lock = ReaderLock(self._folder), True
            self.readers = "LMDB reader lock"
            return
        pid = writer_pid(self._directory)
        if pid is not None:
            raise JournalBusy(
                f"{self._directory} is being written by process {pid}; reading it meanwhile needs write access to "
                f"{lock_file}"
            )
        self.readers = "no reader lock: the directory cannot be written"

    def use_lock(self, lock: ReaderLock) -> None:
        """Read under the writer's lock, which the writer closes."""
        self._lock = lock

    def _committed(self) -> Meta:
        """The newest commit by the meta pages. A live writer may be changing one: look again before believing it."""
        for attempt in range(_TRIES):
            try:
                return read_metas(self.fd, self._page_bytes)
            except PageDamage:
                if attempt == _TRIES - 1 or writer_pid(self._directory) is None:
                    raise
        raise PageDamage("the meta pages cannot be read")

    @contextmanager
    def pin(self) -> Iterator[Snapshot]:
        """A snapshot that no writer overwrites within the context. Raises PageDamage."""
        with self.unverified() as snapshot:
            snapshot.verify()
            yield snapshot

    @contextmanager
    def unverified(self) -> Iterator[Snapshot]:
        """As ``pin``, for ``check``: the commit's mark may contradict its trees."""
        if self._stopped:
            raise JournalError(f"the journal in {self._directory} is closed")
        if self._lock is None:
            yield Snapshot.load(self.fd, self._page_bytes, self._committed())
            return
        for _ in range(_TRIES):
            with self._lock.transaction() as number:
                slot = number & 1
                meta = read_meta(self.fd, slot, self._page_bytes)
                # Two commits later the writer uses this meta page again: then take a newer snapshot.
                if meta.transaction == number and meta == read_meta(self.fd, slot, self._page_bytes):
                    yield Snapshot.load(self.fd, self._page_bytes, meta)
                    return
        raise PageDamage("no meta page belongs to the transaction that LMDB reads")

    def stop(self) -> None:
        """Give no further snapshot: for a writer that closes its lock."""
        self._stopped = True

    def close(self) -> None:
        """Close the reader lock, unless it is the writer's, and then the file."""
        self._stopped = True
        if self._lock is not None and self._owns_lock:
            self._lock.close()
        self._lock = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
