"""The journal of a node: an append-only log of sealed blocks in LMDB. The only file that imports lmdb.

``append`` copies the rows once, numbers them and hands them to the writer thread, which seals, links and commits all
that waits in one transaction; ``wait_durable`` says when. Reading never goes through LMDB's own trees (``pages``);
LMDB's part in it is the reader lock, so that a snapshot stays what it is while somebody writes. DIR/journal holds

    data.mdb lock.mdb   the environment: trees ``blocks``, ``digests`` (both by first_seq), ``meta`` (genesis, mark, labels)
    genesis             a copy of the genesis record, so that blocks stay readable when LMDB's pages are not
    tail                the mark of the last commit, written after it and not synced (``marks``)
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import lmdb

from journal import frame, marks
from journal.errors import JournalBusy, JournalDamaged, JournalError, JournalForeign
from journal.frame import Block
from journal.group import Entry, GroupWriter
from journal.lock import WriterLock, writer_pid
from journal.opening import (
    FOLDER,
    check_last_block,
    check_tail,
    genesis_in,
    page_bytes_of,
    read_genesis_copy,
    read_tail,
)
from journal.pages import Meta, PageDamage, check_file, read_meta, read_metas
from journal.reading import BLOCKS, DIGESTS, GENESIS_KEY, LABELS_KEY, MARK_KEY, META, TREES, Reader, Snapshot, key_of
from journal.report import Checker, CheckReport, JournalInfo, Problem, Progress

ROW_BYTES: Final = 64
DURABILITIES: Final = ("fsync", "none")
_NEW_FOLDER: Final = "journal.new"
_DISK_RESERVE_BYTES: Final = 1 << 20
_TRIES: Final = 10
# Every option is named: py-lmdb's defaults are not to decide how safe the journal is. The map is address space, not
# disk, and is never resized while open.
_OPTIONS: Final[dict[str, Any]] = {
    "map_size": 1 << 40,
    "subdir": True,
    "create": False,
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


class Journal:
    """An open journal: ``Journal.create`` or ``Journal.open``. One thread appends; any may read.

    ``epoch``, ``rules_version`` and ``source_digest`` go into each block appended from then on; the owner sets them.
    ``last_seq`` is the last appended. ``meta`` is what the creator gave.
    """

    def __init__(self, path: Path, readonly: bool, durability: str) -> None:
        if durability not in DURABILITIES:
            raise ValueError(f"durability is {durability!r}; it must be one of {', '.join(DURABILITIES)}")
        self.path = path
        self.durability = durability
        self._folder = path / FOLDER
        self._pid = os.getpid()
        self._environment: lmdb.Environment | None = None
        self._writer: GroupWriter | None = None
        self._fd = self._tail_fd = -1
        self._closed = False
        self._lock = None if readonly else WriterLock(path)
        try:
            self._open(readonly)
        except BaseException:
            self._release()
            raise

    @classmethod
    def create(cls, path: "str | os.PathLike[str]", meta: dict[str, Any], *, durability: str = "fsync") -> "Journal":
        """A new journal in data directory ``path`` (made if missing), opened for writing.

        ``meta``: plain values that msgpack takes, with ``rules_version`` (int) among them; ``row_bytes`` (default 64)
        and ``source_digest`` (default "") are looked at too. Raises JournalError when there is a journal already.
        """
        directory = Path(path)
        if type(meta.get("rules_version")) is not int:
            raise ValueError("the meta record of a journal needs rules_version, a whole number")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"{directory} cannot be made: {error.strerror}") from error
        lock = WriterLock(directory)
        try:
            if (directory / FOLDER).exists():
                raise JournalError(f"{directory} holds a journal already; open it, or choose another directory")
            _create_folder(directory, meta)
        except (lmdb.Error, OSError) as error:
            raise JournalError(f"the journal in {directory} cannot be created: {_reason(directory, error)}") from error
        finally:
            lock.release()
        return cls(directory, False, durability)

    @classmethod
    def open(cls, path: "str | os.PathLike[str]", *, readonly: bool = False, durability: str = "fsync") -> "Journal":
        """The journal in data directory ``path``.

        Readonly opens a damaged journal too, as long as it can be recognised. Raises JournalForeign where there is
        no journal of this program and version, JournalBusy when another process writes it, JournalDamaged.
        """
        directory = Path(path)
        if not (directory / FOLDER / "data.mdb").is_file():
            raise JournalForeign(f"{directory} holds no journal of lockstep; check the path, or create one")
        return cls(directory, readonly, durability)

    def _open(self, readonly: bool) -> None:
        side, self._genesis_problem = read_genesis_copy(self._folder)
        self._page_bytes = page_bytes_of(side)
        tail, self._tail_problem = read_tail(self._folder)
        try:
            self._fd = os.open(self._folder / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise JournalError(f"{self._folder / 'data.mdb'} cannot be read: {error.strerror}") from error
        genesis, problem, mark = side, None, None
        self._readers = "the writer's own environment"
        try:
            if readonly:
                self._open_reader_lock()
            with self._pin() as snapshot:
                genesis, mark = genesis_in(snapshot), snapshot.mark
                if tail is not None:
                    check_tail(snapshot, tail)
                if not readonly:
                    check_file(snapshot.file, snapshot.meta, TREES)
                    check_last_block(snapshot, genesis.row_bytes)
        except (PageDamage, JournalDamaged) as error:
            problem = str(error)
        if genesis is None:
            raise JournalForeign(f"{self._folder} holds no journal that can be recognised ({problem}); check the path")
        if side is not None and side != genesis:
            problem = "the two copies of the genesis record differ"
        self._problem = problem
        self.meta: dict[str, Any] = genesis.meta
        self._genesis = genesis
        self._reader = Reader(self._pin, self._fd, genesis, tail, problem)
        self._last_seq = 0 if mark is None else mark.last_seq
        if not readonly:
            self._open_for_writing(mark)

    def _open_reader_lock(self) -> None:
        """Open LMDB for its reader table alone, where the directory lets us."""
        lock_file = self._folder / "lock.mdb"
        self._committed()
        if os.access(lock_file, os.R_OK | os.W_OK) and os.access(self._folder, os.W_OK):
            self._environment = _open_environment(self._folder, readonly=True)
            self._environment.reader_check()
            self._readers = "LMDB reader lock"
            return
        pid = writer_pid(self.path)
        if pid is not None:
            raise JournalBusy(
                f"{self.path} is being written by process {pid}, and reading it meanwhile needs write access to {lock_file}"
            )
        self._readers = "no reader lock: the directory cannot be written"

    def _open_for_writing(self, mark: marks.Mark | None) -> None:
        problem = self._problem or self._tail_problem or self._genesis_problem
        if problem is not None or mark is None:
            raise JournalDamaged(f"{self.path}: {problem}; nothing was changed: read it with `lockstep journal check`")
        self._environment = _open_environment(
            self._folder, sync=self.durability == "fsync", metasync=self.durability == "fsync"
        )
        self._environment.reader_check()
        self._trees = {name: self._environment.open_db(name, create=False) for name in TREES}
        try:
            self._tail_fd = os.open(self._folder / "tail", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"{self._folder / 'tail'} cannot be written: {error.strerror}") from error
        with self._pin() as snapshot:
            self._labels = marks.decode_labels(snapshot.record(LABELS_KEY))
            last = snapshot.block_at(mark.last_seq, self._genesis.row_bytes) if mark.blocks else None
        self._mark = mark
        self._last_time_ns = mark.time_ns
        self._last_digest_seq = mark.last_digest_seq
        self.epoch: int = 0 if last is None else last.epoch
        self.rules_version: int = self.meta["rules_version"]
        self.source_digest: str = str(self.meta.get("source_digest", ""))
        self._writer = GroupWriter(self._commit, self._explain, mark.last_seq)

    # Reading.

    def _committed(self) -> Meta:
        """The newest commit by the meta pages. A live writer may be changing one of them: look again before believing damage."""
        for attempt in range(_TRIES):
            try:
                return read_metas(self._fd, self._page_bytes)
            except PageDamage:
                if attempt == _TRIES - 1 or writer_pid(self.path) is None:
                    raise
        raise PageDamage("the meta pages cannot be read")

    @contextmanager
    def _pin(self) -> Iterator[Snapshot]:
        """A snapshot that no writer overwrites as long as the context lasts. Raises PageDamage."""
        if self._closed:
            raise JournalError(f"the journal in {self.path} is closed")
        if self._environment is None:
            yield Snapshot.load(self._fd, self._page_bytes, self._committed())
            return
        for _ in range(_TRIES):
            with self._environment.begin(buffers=False) as transaction:
                number = transaction.id()
                slot = number & 1
                meta = read_meta(self._fd, slot, self._page_bytes)
                # Two commits later the writer uses this meta page again: then take a newer snapshot.
                if meta.transaction == number and meta == read_meta(self._fd, slot, self._page_bytes):
                    yield Snapshot.load(self._fd, self._page_bytes, meta)
                    return
        raise PageDamage("no meta page belongs to the transaction that LMDB reads")

    @property
    def durable_seq(self) -> int:
        """Up to where everything is on the disk; of a readonly journal, what it held when it was opened."""
        return self._last_seq if self._writer is None else self._writer.durable_seq

    @property
    def last_seq(self) -> int:
        """The last seq appended; of a readonly journal, the last one when it was opened."""
        return self._last_seq

    def blocks(self, from_seq: int = 1, to_seq: int | None = None) -> Iterator[Block]:
        """Verified blocks, from the one that contains ``from_seq`` to the one that contains ``to_seq`` (None: the last durable).

        What is appended after the first is taken is not read. Raises JournalDamaged after everything before the
        damage, naming the seq.
        """
        if from_seq < 1 or (to_seq is not None and to_seq < 0):
            raise ValueError(f"blocks are numbered from 1; asked for {from_seq} to {to_seq}")
        return self._reader.blocks(from_seq, to_seq)

    def digests(self, from_seq: int = 1, to_seq: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(first_seq, event digest) of the durable blocks that have one. Raises JournalDamaged where some are lost."""
        return self._reader.digests(from_seq, to_seq)

    def digest(self, first_seq: int) -> bytes | None:
        """The event digest of the block that begins with ``first_seq``; None when it has none (yet, after a crash)."""
        return next((digest for _, digest in self._reader.digests(first_seq, first_seq)), None)

    def seq_at_time(self, time_ns: int) -> int:
        """The last seq of the last block whose time is not after ``time_ns``; 0 when all are later."""
        return self._reader.seq_at_time(time_ns)

    def info(self) -> JournalInfo:
        """What the journal is. Raises JournalDamaged where that cannot be read."""
        try:
            with self._pin() as snapshot:
                mark = snapshot.mark
                labels = marks.decode_labels(snapshot.record(LABELS_KEY))
                first = snapshot.block_at(1, self._genesis.row_bytes).time_ns if mark.blocks else None
        except PageDamage as error:
            raise JournalDamaged(f"{self.path}: {error}; read it with `lockstep journal check`") from error
        return JournalInfo(
            path=str(self.path),
            bytes=os.fstat(self._fd).st_size,
            blocks=mark.blocks,
            first_seq=1 if mark.blocks else 0,
            last_seq=mark.last_seq,
            first_time_ns=first,
            last_time_ns=mark.time_ns if mark.blocks else None,
            rules_versions=tuple(dict.fromkeys(number for number, _ in labels)),
            source_digests=tuple(dict.fromkeys(text for _, text in labels)),
            digests=mark.digests,
            durability="fsync" if self.durability == "fsync" else "none: a crash of the machine can lose or destroy the journal",
            lmdb_version=".".join(str(number) for number in lmdb.version()),
            readers=self._readers,
            problem=self._problem or self._tail_problem or self._genesis_problem,
        )

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Read and verify everything; ``progress(seq, last_seq)`` is called now and then. Damage is reported, not raised."""
        report = Checker(self._pin, self._genesis, progress).run()
        for sentence in (self._problem, self._tail_problem, self._genesis_problem):
            if sentence is not None and all(problem.sentence != sentence for problem in report.problems):
                report.problems.append(Problem(0, sentence))
        return report

    # Writing.

    def _writing(self) -> GroupWriter:
        if self._writer is None or self._closed:
            raise JournalError(f"the journal in {self.path} is not open for writing")
        if os.getpid() != self._pid:
            raise JournalError("a journal cannot be written from a forked process; open it in the process that writes it")
        return self._writer

    def append(self, count: int, rows: "bytes | bytearray | memoryview", time_ns: int) -> int:
        """Queue a block of ``count`` rows; gives its first_seq. Waits only while the queue is full.

        ``rows``: contiguous bytes, copied before return. A time before that of the block before counts as that one.
        Raises ValueError for sizes that do not fit, JournalError when the writer has failed.
        """
        writer = self._writing()
        view = memoryview(rows).cast("B")
        if view.nbytes != count * self._genesis.row_bytes:
            raise ValueError(f"{count} rows of {self._genesis.row_bytes} bytes each cannot be {view.nbytes} bytes")
        first_seq = self._last_seq + 1
        time_ns = max(time_ns, self._last_time_ns)
        encoded = frame.encode(
            view,
            first_seq=first_seq,
            count=count,
            time_ns=time_ns,
            epoch=self.epoch,
            source_digest=self.source_digest,
            rules_version=self.rules_version,
        )
        label = (self.rules_version, self.source_digest)
        writer.put(Entry(first_seq, first_seq + count - 1, encoded, b"", time_ns, label))
        self._last_seq, self._last_time_ns = first_seq + count - 1, time_ns
        return first_seq

    def put_digest(self, first_seq: int, digest: bytes) -> None:
        """Queue the event digest (16 bytes) of an appended block; block after block. Raises ValueError, JournalError."""
        writer = self._writing()
        if len(digest) != marks.DIGEST_BYTES:
            raise ValueError(f"an event digest has {marks.DIGEST_BYTES} bytes, not {len(digest)}")
        if not self._last_digest_seq < first_seq <= self._last_seq:
            raise ValueError(
                f"the digest of the block at seq {first_seq} does not come next: the last one is of seq "
                f"{self._last_digest_seq}, the last row is {self._last_seq}"
            )
        writer.put(Entry(first_seq, first_seq, None, bytes(digest), 0, None))
        self._last_digest_seq = first_seq

    def wait_durable(self, seq: int, timeout_s: float | None = None) -> bool:
        """Wait until ``seq`` is on the disk; False after ``timeout_s``. Raises JournalError when the writer has failed."""
        writer = self._writing()
        if seq > self._last_seq:
            raise ValueError(f"seq {seq} cannot become durable: the last one appended is {self._last_seq}")
        return writer.wait_durable(seq, timeout_s)

    def _put(self, transaction: lmdb.Transaction, tree: bytes, seq: int, value: "bytes | bytearray") -> None:
        # LMDB answers a key out of order with False, without an exception and without storing anything.
        if not transaction.put(key_of(seq), value, append=True, db=self._trees[tree]):
            raise JournalError(f"LMDB refused to append seq {seq} to {tree.decode()}: there is a later one")

    def _commit(self, group: Sequence[Entry]) -> None:
        """Make a group durable: on the writer thread."""
        if self._environment is None:
            raise JournalError("the environment is closed")
        mark = self._mark
        blocks, digests, last_digest_seq, labels = mark.blocks, mark.digests, mark.last_digest_seq, list(self._labels)
        last_seq, last_block_seq, time_ns, checksum = mark.last_seq, mark.last_block_seq, mark.time_ns, mark.checksum
        with self._environment.begin(write=True) as transaction:
            for entry in group:
                if entry.frame is None:
                    record = marks.encode_digest(entry.first_seq, entry.digest, last_digest_seq)
                    self._put(transaction, DIGESTS, entry.first_seq, record)
                    digests, last_digest_seq = digests + 1, entry.first_seq
                    continue
                checksum = frame.seal(entry.frame, checksum)
                self._put(transaction, BLOCKS, entry.first_seq, entry.frame)
                blocks, last_seq, last_block_seq, time_ns = blocks + 1, entry.last_seq, entry.first_seq, entry.time_ns
                if entry.label is not None and entry.label not in labels:
                    labels.append(entry.label)
            mark = marks.Mark(
                transaction.id(), blocks, last_seq, digests, last_digest_seq, last_block_seq, time_ns, checksum
            )
            sealed = marks.encode_mark(mark)
            transaction.put(MARK_KEY, sealed, db=self._trees[META])
            if labels != self._labels:
                transaction.put(LABELS_KEY, marks.encode_labels(labels), db=self._trees[META])
        os.pwrite(self._tail_fd, sealed, 0)
        self._mark, self._labels = mark, labels

    def _explain(self, error: BaseException) -> str:
        return (
            f"writing the journal in {self.path} failed: {_reason(self._folder, error)}; what was not yet durable may or may "
            "not be there: stop, remove the cause and open the journal again"
        )

    def close(self) -> None:
        """Make everything queued durable and close. Raises JournalError when something could not be."""
        if self._closed:
            return
        try:
            if self._writer is not None and os.getpid() == self._pid:
                self._writer.close()
        finally:
            self._release()

    def _release(self) -> None:
        self._closed = True
        if self._environment is not None:
            self._environment.close()
        for fd in (self._fd, self._tail_fd):
            if fd >= 0:
                os.close(fd)
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except JournalError:
            if error is None:
                raise


def _open_environment(folder: Path, **changes: Any) -> lmdb.Environment:
    try:
        return lmdb.open(str(folder), **{**_OPTIONS, **changes})
    except (lmdb.Error, OSError, MemoryError) as error:
        raise JournalError(f"LMDB cannot open {folder}: {_reason(folder, error)}") from error


def _reason(folder: Path, error: BaseException) -> str:
    """What went wrong, in words. LMDB reports a full disk as a plain input/output error: look at the room left."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return str(error)
    if disk.f_bavail * disk.f_frsize < _DISK_RESERVE_BYTES and isinstance(error, lmdb.Error | OSError):
        return f"the disk is full ({error})"
    return str(error) or type(error).__name__


def _create_folder(directory: Path, meta: dict[str, Any]) -> None:
    """Make DIR/journal aside and rename it into place, so that it is there whole or not at all."""
    new = directory / _NEW_FOLDER
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    sealed = marks.encode_genesis(meta, int(meta.get("row_bytes", ROW_BYTES)), page_bytes)
    environment = lmdb.open(str(new), **{**_OPTIONS, "create": True})
    try:
        trees = {name: environment.open_db(name) for name in TREES}
        with environment.begin(write=True) as transaction:
            mark = marks.encode_mark(marks.Mark(transaction.id(), 0, 0, 0, 0, 0, 0, sealed[:16]))
            transaction.put(GENESIS_KEY, sealed, db=trees[META])
            transaction.put(MARK_KEY, mark, db=trees[META])
            transaction.put(LABELS_KEY, marks.encode_labels([]), db=trees[META])
    finally:
        environment.close()
    for name, content in (("genesis", sealed), ("tail", mark)):
        fd = os.open(new / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
    _sync_folder(new)
    new.rename(directory / FOLDER)
    _sync_folder(directory)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
