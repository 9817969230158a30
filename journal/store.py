"""The LMDB environment of a journal: group commits and reader locks. The only importer of lmdb.

DIR/journal holds

    data.mdb lock.mdb   the environment: trees ``blocks``, ``digests`` (by first_seq), ``meta`` (genesis, mark, labels)
    genesis             a copy of the genesis record, so that blocks stay readable when LMDB's pages are not
    tail                the mark of the last commit, written after it and not synced (``marks``)

LMDB never reads the trees (``pages`` does). It writes, after the file has been checked, and its reader table protects a
snapshot while the writer commits.
"""

import errno
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import lmdb

from journal import frame, marks
from journal.errors import JournalError, JournalFault
from journal.group import Entry
from journal.opening import FOLDER, TAIL
from journal.reading import BLOCKS, DIGESTS, GENESIS_KEY, LABELS_KEY, MARK_KEY, META, TREES, key_of, seq_of
from journal.slices import sync_folder, write_aside

LMDB_VERSION: Final = ".".join(str(number) for number in lmdb.version())
NEW_FOLDER: Final = "journal.new"
_DISK_RESERVE_BYTES: Final = 1 << 20
#: LMDB's lock.mdb with max_readers 126: its header of three cache lines, and a line a reader.
_READER_TABLE_BYTES: Final = 8_192
#: Largest size of the file: address space, not disk, and never resized. A commit beyond it fails like one on a full
#: disk, so the node warns before (``Journal.room``).
MAP_BYTES: Final = 1 << 40
# Every option is named: py-lmdb's defaults are not to decide how safe the journal is.
_OPTIONS: Final[dict[str, Any]] = {
    "map_size": MAP_BYTES,
    "subdir": True,
    "create": False,
    "mode": 0o600,  # py-lmdb's default is 0755, less the umask
    "sync": True,
    "metasync": True,
    "writemap": False,
    "map_async": False,
    "readahead": True,
    "meminit": True,
    "max_readers": 126,
    "max_dbs": len(TREES),
    "max_spare_txns": 0,
    "lock": True,
    "lib_version": 0,
}


#: Key and value.
_Item = tuple[bytes, bytes | bytearray]


class _SharedEnvironment:
    """The one LMDB environment of a file in this process: LMDB's locks do not survive a second one beside it."""

    def __init__(self, environment: lmdb.Environment, writable: bool) -> None:
        self.environment = environment
        self.writable = writable
        self.users = 0
        #: Thread and transaction of each snapshot that is read.
        self.snapshots: dict[object, tuple[int, lmdb.Transaction]] = {}

    def wait_for_snapshots(self) -> None:
        """Wait until nobody reads a snapshot; ``_changed`` is held.

        A snapshot of this thread would be waited for in vain. An interrupt has kept it from being ended, so it is ended
        here.
        """
        for token, (thread, transaction) in list(self.snapshots.items()):
            if thread == threading.get_ident():
                del self.snapshots[token]
                transaction.abort()
        _changed.wait_for(lambda: not self.snapshots)


_shared: dict[tuple[int, int, int], _SharedEnvironment] = {}
_changed = threading.Condition()


def _reserve_reader_table(folder: Path) -> None:
    """Allocate lock.mdb on the disk: LMDB maps a sparse file, and a full disk would end the process by SIGBUS.

    Only while no environment of this process is open there: closing the file drops its locks.
    """
    fd = os.open(folder / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _READER_TABLE_BYTES)
    finally:
        os.close(fd)


def _lmdb_open(folder: Path, **changes: Any) -> lmdb.Environment:
    try:
        _reserve_reader_table(folder)
        environment = lmdb.open(str(folder), **{**_OPTIONS, **changes})
        environment.reader_check()
    except (lmdb.Error, OSError, MemoryError) as error:
        raise failed(folder, f"LMDB cannot open {folder}", error) from error
    return environment


def any_open() -> bool:
    """True if this process has a journal open; a fork of it could then open none."""
    with _changed:
        return any(pid == os.getpid() for pid, _, _ in _shared)


class ReaderLock:
    """Lock that keeps snapshots from being overwritten: an entry in LMDB's reader table while one is read.

    All journals of one process that are open on the same file share one environment. It is opened anew when a writer
    joins the readers or leaves them, between two snapshots.
    """

    def __init__(self, folder: Path, *, writable: bool = False, sync: bool = True) -> None:
        """Take the lock, which needs write access to lock.mdb. Raises JournalError."""
        self._folder = folder
        self._writable = writable
        file = (folder / "data.mdb").stat()
        # A forked process must not use what it inherits, so the process is part of the key.
        self._key = (os.getpid(), file.st_dev, file.st_ino)
        options = {"sync": sync, "metasync": sync} if writable else {"readonly": True}
        with _changed:
            shared = _shared.get(self._key)
            if shared is None:
                shared = _shared[self._key] = _SharedEnvironment(_lmdb_open(folder, **options), writable)
            elif writable:
                self._reopen(shared, options)
            shared.users += 1

    def _reopen(self, shared: _SharedEnvironment, options: dict[str, Any]) -> None:
        shared.wait_for_snapshots()
        shared.environment.close()
        shared.environment = _lmdb_open(self._folder, **options)
        shared.writable = not options.get("readonly", False)

    @property
    def environment(self) -> lmdb.Environment:
        """The environment, for the writer, which is the last to close it."""
        return _shared[self._key].environment

    @contextmanager
    def transaction(self) -> Iterator[int]:
        """Number of the transaction whose pages are not overwritten within the context."""
        with _changed:
            shared = _shared[self._key]
            try:
                transaction = shared.environment.begin()
            except lmdb.Error as error:
                raise JournalError(f"LMDB gives no snapshot of {self._folder}: {error}") from error
            token = object()
            shared.snapshots[token] = (threading.get_ident(), transaction)
        try:
            yield transaction.id()
        finally:
            with _changed:
                if shared.snapshots.pop(token, None) is not None:
                    transaction.abort()
                _changed.notify_all()

    def close(self) -> None:
        """Release the lock; the last user closes the environment."""
        with _changed:
            shared = _shared[self._key]
            if self._writable or shared.users == 1:
                shared.wait_for_snapshots()
            shared.users -= 1
            if not shared.users:
                del _shared[self._key]
                shared.environment.close()
            elif self._writable:
                self._reopen(shared, {"readonly": True})


class Store:
    """Writer of the environment. ``commit`` is called on the writer thread only."""

    def __init__(self, folder: Path, durability: str, mark: marks.Mark, labels: list[tuple[int, str]]) -> None:
        self.mark = mark
        self._labels = labels
        #: True: after each commit the system gets the memory of the pages back that the commit has added to the file,
        #: and takes it for the next ones. To read them again needs the disk.
        self.gives_memory_back = False
        sync = durability == "fsync"
        self.reader_lock = ReaderLock(folder, writable=True, sync=sync)
        self._environment = self.reader_lock.environment
        self._page_bytes = int(self._environment.stat()["psize"])
        try:
            self._trees = {name: self._environment.open_db(name, create=False) for name in TREES}
            self._data_fd = os.open(folder / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._tail_fd = os.open(folder / TAIL, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                os.close(self._data_fd)
                raise
        except (lmdb.Error, OSError) as error:
            self.reader_lock.close()
            raise failed(folder, f"the journal in {folder} cannot be written", error) from error

    def _append(self, transaction: lmdb.Transaction, tree: bytes, items: "list[_Item]") -> None:
        if not items:
            return
        # One call for all: six times quicker than one for each, in a thread that takes the interpreter from the market.
        with transaction.cursor(self._trees[tree]) as cursor:
            _, added = cursor.putmulti(items, append=True)
        # LMDB leaves out a key that is out of order, without an exception.
        if added != len(items):
            first_seq = seq_of(items[0][0])
            raise JournalError(
                f"LMDB refused to append seq {first_seq:,} or one after it to {tree.decode()}: there is a later one"
            )

    def commit(self, group: Sequence[Entry]) -> None:
        """Make a group durable, with its mark, in one transaction. After an exception the outcome is unknown."""
        mark = self.mark
        blocks, digests, last_digest_seq, labels = mark.blocks, mark.digests, mark.last_digest_seq, list(self._labels)
        last_seq, last_block_seq, time_ns, checksum = mark.last_seq, mark.last_block_seq, mark.time_ns, mark.checksum
        new_blocks: list[_Item] = []
        new_digests: list[_Item] = []
        for entry in group:
            if entry.frame is None:
                record = marks.encode_digest(entry.first_seq, entry.digest, last_digest_seq)
                new_digests.append((key_of(entry.first_seq), record))
                digests, last_digest_seq = digests + 1, entry.first_seq
                continue
            if isinstance(entry.frame, bytearray):
                checksum = frame.seal(entry.frame, checksum)
            else:
                checksum = frame.stored_checksum(entry.frame)
            new_blocks.append((key_of(entry.first_seq), entry.frame))
            blocks, last_seq, last_block_seq, time_ns = blocks + 1, entry.last_seq, entry.first_seq, entry.time_ns
            if entry.label is not None and entry.label not in labels:
                labels.append(entry.label)
        size_bytes = self._file_bytes() if self.gives_memory_back else 0
        with self._environment.begin(write=True) as transaction:
            self._append(transaction, BLOCKS, new_blocks)
            self._append(transaction, DIGESTS, new_digests)
            mark = marks.Mark(
                transaction.id(), blocks, last_seq, digests, last_digest_seq, last_block_seq, time_ns, checksum
            )
            sealed = marks.encode_mark(mark)
            transaction.put(MARK_KEY, sealed, db=self._trees[META])
            if labels != self._labels:
                transaction.put(LABELS_KEY, marks.encode_labels(labels), db=self._trees[META])
        os.pwrite(self._tail_fd, sealed, 0)
        self.mark, self._labels = mark, labels
        if size_bytes:
            self._give_memory_back(size_bytes)

    def _file_bytes(self) -> int:
        """Bytes of the file up to its last page in use."""
        return (int(self._environment.info()["last_pgno"]) + 1) * self._page_bytes

    def _give_memory_back(self, from_bytes: int) -> None:
        """Tell the system that the file's pages from there on, which are on the disk, will not be read soon."""
        with suppress(OSError):  # advice alone
            os.posix_fadvise(self._data_fd, from_bytes, self._file_bytes() - from_bytes, os.POSIX_FADV_DONTNEED)

    def sync_tail(self) -> None:
        """Sync the file ``tail``. Raises OSError."""
        os.fsync(self._tail_fd)

    def close(self) -> None:
        """Close the environment and the file ``tail``."""
        self.reader_lock.close()
        os.close(self._tail_fd)
        os.close(self._data_fd)


def cut_back(folder: Path, end: marks.Mark, labels: list[tuple[int, str]]) -> None:
    """Remove all after a block from the journal in ``folder``, in one transaction. The file must have been checked.

    ``end``: the mark of the commit that the file has, with ``last_seq``, ``last_block_seq``, ``time_ns`` and
    ``checksum`` of the end that is wanted. Raises JournalError, OSError; then nothing was removed.
    """
    lock = ReaderLock(folder, writable=True)
    try:
        trees = {name: lock.environment.open_db(name, create=False) for name in TREES}
        with lock.environment.begin(write=True) as transaction:
            for name in (BLOCKS, DIGESTS):
                with transaction.cursor(trees[name]) as cursor:
                    while cursor.set_range(key_of(end.last_seq + 1)):
                        cursor.delete()
            with transaction.cursor(trees[DIGESTS]) as cursor:
                last_digest_seq = seq_of(cursor.key()) if cursor.last() else 0
            blocks, digests = (transaction.stat(trees[name])["entries"] for name in (BLOCKS, DIGESTS))
            mark = replace(end, blocks=blocks, digests=digests, last_digest_seq=last_digest_seq)
            # The file ``tail`` says less before the commit and no more than the truth after it: a crash between the
            # two leaves a journal that can be opened.
            write_aside(folder / TAIL, marks.encode_mark(mark))
            mark = replace(mark, transaction=transaction.id())
            transaction.put(MARK_KEY, marks.encode_mark(mark), db=trees[META])
            transaction.put(LABELS_KEY, marks.encode_labels(labels), db=trees[META])
        write_aside(folder / TAIL, marks.encode_mark(mark))
    except lmdb.Error as error:
        raise failed(folder, f"the journal in {folder} cannot be cut back", error) from error
    finally:
        lock.close()


def reason(folder: Path, error: BaseException) -> str:
    """A failure in words. LMDB reports a full disk as a plain input/output error, so this checks the free space."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return str(error)
    if disk.f_bavail * disk.f_frsize < _DISK_RESERVE_BYTES and isinstance(error, lmdb.Error | OSError):
        return f"the disk is full ({error})"
    return str(error) or type(error).__name__


#: Errors that may pass by themselves, or once somebody makes room.
_PASSING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def failed(folder: Path, what: str, error: BaseException) -> JournalError:
    """The error to raise: a JournalFault for an error of the machine, after which a later start can succeed."""
    why = reason(folder, error)
    passes = why.startswith("the disk is full") or isinstance(error, MemoryError | lmdb.DiskError | lmdb.MapFullError)
    passes = passes or (isinstance(error, OSError) and error.errno in _PASSING)
    then = "; free some space and repeat the command" if why.startswith("the disk is full") else ""
    return (JournalFault if passes else JournalError)(f"{what}: {why}{then}")


def create_folder(directory: Path, genesis: bytes) -> None:
    """Make DIR/journal under a temporary name and rename it, so that it is complete or absent. Raises JournalError.

    ``genesis``: the sealed record.
    """
    try:
        if (directory / NEW_FOLDER).exists():
            shutil.rmtree(directory / NEW_FOLDER)
        write_folder(directory / NEW_FOLDER, genesis)
        (directory / NEW_FOLDER).rename(directory / FOLDER)
        sync_folder(directory)
    except (lmdb.Error, OSError) as error:
        raise failed(directory, f"the journal in {directory} cannot be created", error) from error


def write_folder(new: Path, sealed: bytes) -> None:
    """Write the folder of a slice without blocks; ``sealed``: its genesis record. Raises JournalError, OSError."""
    try:
        _write_folder(new, sealed)
    except lmdb.Error as error:
        raise failed(new, f"{new} cannot be written", error) from error


def _write_folder(new: Path, sealed: bytes) -> None:
    start = marks.decode_genesis(sealed).start
    last_seq, time_ns = (0, 0) if start is None else (start.last_seq, start.time_ns)
    new.mkdir(mode=0o700)
    _reserve_reader_table(new)
    environment = lmdb.open(str(new), **{**_OPTIONS, "create": True})
    try:
        trees = {name: environment.open_db(name) for name in TREES}
        with environment.begin(write=True) as transaction:
            mark = marks.encode_mark(marks.Mark(transaction.id(), 0, last_seq, 0, 0, 0, time_ns, sealed[:16]))
            transaction.put(GENESIS_KEY, sealed, db=trees[META])
            transaction.put(MARK_KEY, mark, db=trees[META])
            transaction.put(LABELS_KEY, marks.encode_labels([]), db=trees[META])
    finally:
        environment.close()
    for name, content in (("genesis", sealed), (TAIL, mark)):
        fd = os.open(new / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_folder(new)
