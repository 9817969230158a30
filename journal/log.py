"""The journal of a node: an append-only log of sealed blocks.

``append`` copies the rows once, numbers them and passes them to the writer thread, which seals, links and commits all
waiting blocks in one transaction (``group``, ``store``); ``wait_durable`` waits for that. Blocks are read from
snapshots of the file (``snapshots``, ``reading``). ``new_slice`` makes the folder of the next slice.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from journal import frame, group, marks, moved_file, slices
from journal.errors import JournalDamaged, JournalError, JournalForeign, JournalHangs
from journal.frame import Block
from journal.group import QUEUE_BYTES_MAX, Entry, GroupWriter
from journal.lock import WriterLock
from journal.new_slice import Prepare, create_directory, make_same_slice, make_slice, nothing_further
from journal.opening import (
    check_last_block,
    check_tail,
    genesis_in,
    no_journal,
    page_bytes_of,
    read_genesis_copy,
    read_tail,
)
from journal.pages import PageDamage, check_file
from journal.reading import ADVICE, LABELS_KEY, TREES, Reader
from journal.report import Checker, CheckReport, JournalInfo, Problem, Progress
from journal.snapshots import SnapshotSource
from journal.store import LMDB_VERSION, MAP_BYTES, Store, failed, reason

#: fsync: a commit is on the disk before it counts as durable. none: it need not be, for benchmarks.
Durability = Literal["fsync", "none"]
DURABILITIES: Final = {"fsync": "fsync", "none": "none: a crash of the machine can lose or destroy the journal"}
_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603  asking the system for the process at each append would cost more than the rest of it
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Journal:
    """An open journal: ``Journal.create`` or ``Journal.open``. One thread appends; any may read.

    ``epoch``, ``rules_version`` and ``source_digest`` go into each block appended from then on; the owner sets them.
    An epoch never decreases.
    ``last_seq`` is that of the last command appended. ``meta`` is the creator's. ``journal_id`` (16 bytes) is the id of
    this journal and of its copies, and of no other; ``genesis`` is the sealed record that has both.

    A journal is a chain of slices (``slices``), and an object is open on one of them: ``place`` is its number and
    folder, ``start`` the end of the slice before and the image there (None in the first slice), ``start_seq`` the last
    command before it. ``begin_slice`` continues in a new slice.

    ``on_durable``, which the owner may set at any time, is called without arguments in the writer's thread whenever the
    durable mark has moved, and once after a failure of the writer: to wake a thread that reads ``durable_seq`` and
    calls ``raise_failure``. It must be quick. An exception from it fails the writer like one of a commit.
    """

    on_durable: Callable[[], object] | None = None

    #: True if ``append`` links and seals a block itself, for replicas, instead of the writer's thread.
    seals: bool = False
    #: The last block that ``append`` sealed itself.
    sealed: bytes = b""

    #: Class of the writer that commits; tests put one with a known hole here.
    store_class: type[Store] = Store

    def __init__(self, path: Path, readonly: bool, durability: str, place: slices.Place) -> None:
        if durability not in DURABILITIES:
            raise ValueError(f"durability is {durability!r}; it must be one of {', '.join(DURABILITIES)}")
        self.path = path
        self.durability = durability
        self.place = place
        self._folder = place.journal
        self._forks = _forks
        self._store: Store | None = None
        self._snapshots: SnapshotSource | None = None
        self._writer: GroupWriter | None = None
        self._lingers = False
        self._passes_through = False
        self._closed = False
        #: True for a journal that is read alone: nothing of it, or of what is beside it, is written.
        self.readonly = readonly
        self._lock = None if readonly else WriterLock(path)
        try:
            if not readonly:
                slices.check_open_for_writing(place, slices.places(path)[-1])
                self._sync_name()
            self._open(readonly)
        except BaseException:
            self._release()
            raise

    def _sync_name(self) -> None:
        try:
            slices.sync_name(self.place, self.path)
        except OSError as error:
            raise failed(self.path, f"the name of {self._folder} cannot be put on the disk", error) from error

    @classmethod
    def create(
        cls,
        path: "str | os.PathLike[str]",
        meta: dict[str, Any],
        *,
        durability: str = "fsync",
        journal_id: bytes | None = None,
    ) -> "Journal":
        """A new journal in data directory ``path`` (made if missing), opened for writing.

        ``meta``: plain values for msgpack, with ``rules_version`` (int) among them; ``row_bytes`` (default 64) and
        ``source_digest`` (default "") are read too. ``journal_id``: 16 bytes, for tests that need the same bytes again;
        random otherwise. Raises JournalError when there is a journal already.
        """
        journal_id = os.urandom(marks.JOURNAL_ID_BYTES) if journal_id is None else journal_id
        genesis = marks.new_genesis(meta, os.sysconf("SC_PAGE_SIZE"), journal_id)
        return cls(Path(path), False, durability, create_directory(Path(path), genesis, b"", nothing_further))

    @classmethod
    def create_copy(
        cls,
        path: "str | os.PathLike[str]",
        genesis: bytes,
        *,
        durability: str = "fsync",
        image_record: bytes = b"",
        prepare: Prepare = nothing_further,
    ) -> "Journal":
        """A new, empty journal with the genesis record of another one, whose blocks ``append_block`` then copies.

        ``genesis``: the other's ``Journal.genesis``; of a slice after the first, the directory has that slice alone.
        ``image_record``, ``prepare``: as for ``begin_same_slice``. Raises JournalError when there is a journal already,
        or this machine has pages of another size, JournalDamaged or JournalForeign for bytes that are no genesis
        record, and what ``prepare`` raises.
        """
        return cls(Path(path), False, durability, create_directory(Path(path), genesis, image_record, prepare))

    @classmethod
    def open(
        cls,
        path: "str | os.PathLike[str]",
        *,
        readonly: bool = False,
        durability: str = "fsync",
        slice_number: int | None = None,
    ) -> "Journal":
        """The last slice of the journal in data directory ``path``, or by ``slice_number`` another one, for reading.

        With ``readonly`` a damaged journal is opened too, as long as it can be recognised. Raises JournalForeign where
        there is no journal of this program and version, JournalBusy when another process writes it, JournalDamaged.
        """
        directory = Path(path)
        found = slices.places(directory)
        if not found:
            raise JournalForeign(no_journal(directory))
        number = found[-1].number if slice_number is None else slice_number
        place = next((place for place in found if place.number == number), None)
        if place is None:
            raise JournalForeign(f"{directory} holds no slice {number} of its journal")
        return cls(directory, readonly, durability, place)

    def _open(self, readonly: bool) -> None:
        side, self._genesis_problem = read_genesis_copy(self._folder)
        tail, self._tail_problem = read_tail(self._folder)
        snapshots = self._snapshots = SnapshotSource(self.path, self._folder, page_bytes_of(side))
        genesis, problem, mark = side, None, None
        try:
            if readonly:
                snapshots.take_reader_lock()
            with snapshots.pin() as snapshot:
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
            problem = (
                "the two copies of the genesis record differ"
                if side.journal_id == genesis.journal_id
                else f"{self._folder}: data.mdb or genesis was taken from another journal"
            )
        if self.place.folder != self.path and genesis.slice_number != self.place.number:
            problem = (
                f"{self.place.folder} is slice {genesis.slice_number} of its journal; rename it to "
                f"{genesis.slice_number:06d}, or put the directory right from a copy"
            )
        self._problem = problem
        self.start = slices.start_of(self.place, genesis)
        self.start_seq = genesis.start_seq
        self.meta: dict[str, Any] = genesis.meta
        self.journal_id = genesis.journal_id
        self.has_own_id = genesis.has_own_id
        self.genesis = genesis.sealed
        self._genesis = genesis
        self._reader = Reader(str(self._folder), snapshots.pin, snapshots.fd, genesis, tail, problem)
        ends = [known.last_seq for known in (mark, tail) if known is not None]
        self._last_seq = max(ends, default=None)
        if not readonly:
            self._open_for_writing(snapshots, mark)

    def _open_for_writing(self, snapshots: SnapshotSource, mark: marks.Mark | None) -> None:
        if self._problem is not None or mark is None:
            raise JournalDamaged(
                f"{self.path}: {self._problem}; nothing was changed: read it with `lockstep journal check`"
            )
        if self.side_problems:
            raise JournalDamaged(
                f"{'; '.join(self.side_problems)}; nothing was changed: put the file back from a copy of {self.path}, "
                f"or run what `lockstep commands {self.path}` prints into a new directory"
            )
        self._check_slice_before()
        with snapshots.pin() as snapshot:
            labels = marks.decode_labels(snapshot.record(LABELS_KEY))
            last = snapshot.block_at(mark.last_seq, self._genesis.row_bytes) if mark.blocks else None
        self._store = self.store_class(self._folder, self.durability, mark, labels)
        self._store.gives_memory_back = self._passes_through and self.durability == "fsync"
        snapshots.use_lock(self._store.reader_lock)
        self._last_time_ns = mark.time_ns
        #: Checksum of the last block; None while that is not sealed yet.
        self._link: bytes | None = mark.checksum
        self._last_digest_seq = mark.last_digest_seq
        self.epoch: int = last.epoch if last is not None else 0 if self.start is None else self.start.epoch
        self._last_epoch = self.epoch
        self.rules_version: int = self.meta["rules_version"]
        self.source_digest: str = str(self.meta.get("source_digest", ""))
        #: Label of the last block that was taken from another node.
        self._taken_label = (self.rules_version, self.source_digest)
        self._writer = self._new_writer(self._store)

    def _new_writer(self, store: Store) -> GroupWriter:
        last_seq = store.mark.last_seq
        writer = GroupWriter(store.commit, self._explain, last_seq, on_progress=self._on_durable)
        writer.lingers = self._lingers or self.durability == "none"
        return writer

    @property
    def lingers(self) -> bool:
        """True while no client waits for this disk, so that a block may wait a little for others; the owner sets it."""
        return self._lingers

    @lingers.setter
    def lingers(self, lingers: bool) -> None:
        if lingers != self._lingers:
            self._lingers = lingers
            if self._writer is not None:
                self._writer.lingers = lingers or self.durability == "none"

    @property
    def passes_through(self) -> bool:
        """True while nobody is to read soon what is appended, as in a catch-up; the owner sets it.

        After each commit the system gets the memory back in which it keeps the pages that were added to the file, and
        takes it for the next ones. Fresh memory for each page costs up to five times the copy of its bytes.
        """
        return self._passes_through

    @passes_through.setter
    def passes_through(self, passes_through: bool) -> None:
        self._passes_through = passes_through
        if self._store is not None:
            self._store.gives_memory_back = passes_through and self.durability == "fsync"

    def _check_slice_before(self) -> None:
        """Check that the slice before ends where this one starts, and mark it closed if a crash prevented that."""
        if self.start is None:
            return
        for place in slices.places(self.path):
            if place.number == self.start.number - 1:
                slices.check_follows(place, self.start)
                with suppress(OSError):
                    slices.mark_closed(place)

    # Reading.

    @property
    def _source(self) -> SnapshotSource:
        if self._snapshots is None or self._closed:
            raise JournalError(f"the journal in {self.path} is closed")
        return self._snapshots

    @property
    def side_problems(self) -> tuple[str, ...]:
        """Faults of the files ``genesis`` and ``tail``: without these the journal can be read, but not written."""
        return tuple(problem for problem in (self._tail_problem, self._genesis_problem) if problem is not None)

    @property
    def start_link(self) -> bytes:
        """Checksum to which the slice's first block is linked: that of the genesis record."""
        return self._genesis.checksum

    @property
    def durable_seq(self) -> int:
        """Last command that is on the disk; of a readonly journal, the last one when it was opened."""
        return self.last_seq if self._writer is None else self._writer.durable_seq

    @property
    def last_seq(self) -> int:
        """Last command appended; of a readonly journal, the last durable one when it was opened.

        Of a damaged journal it is the one in its tail, which ``blocks`` may not reach. Raises JournalDamaged where the
        tail is damaged too.
        """
        if self._last_seq is None:
            raise JournalDamaged(f"{self.path}: nothing says how far the journal went: {self._problem}; {ADVICE}")
        return self._last_seq

    def blocks(self, from_seq: int | None = None, to_seq: int | None = None) -> Iterator[Block]:
        """Verified blocks, from the one with ``from_seq`` (None: the slice's first) to the one with ``to_seq`` (None:
        the last durable one).

        Blocks that are appended after the first ``next`` are not read. At damage it gives all blocks before, then
        raises JournalDamaged with the sequence number.
        """
        from_seq = self.start_seq + 1 if from_seq is None else from_seq
        if from_seq <= self.start_seq or (to_seq is not None and to_seq < 0):
            raise ValueError(f"blocks are numbered from {self.start_seq + 1}; asked for {from_seq} to {to_seq}")
        return self._reader.blocks(from_seq, to_seq)

    def digests(self, from_seq: int = 1, to_seq: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(first_seq, event digest) of the durable blocks that have one. Raises JournalDamaged where some are lost."""
        return self._reader.digests(from_seq, to_seq)

    def digest(self, first_seq: int) -> bytes | None:
        """The event digest of the block that begins with ``first_seq``; None when it has none (yet, after a crash)."""
        return self._reader.digest(first_seq)

    def seq_at_time(self, time_ns: int) -> int:
        """Last command of the last block whose time is not after ``time_ns``; 0 when all are later."""
        return self._reader.seq_at_time(time_ns)

    def info(self) -> JournalInfo:
        """Description of the journal. Raises JournalDamaged where it cannot be read."""
        source = self._source
        try:
            with source.pin() as snapshot:
                mark = snapshot.mark
                labels = marks.decode_labels(snapshot.record(LABELS_KEY))
                first_seq = self.start_seq + 1
                first = snapshot.block_at(first_seq, self._genesis.row_bytes).time_ns if mark.blocks else None
        except PageDamage as error:
            raise JournalDamaged(f"{self.path}: {error}; read it with `lockstep journal check`") from error
        except JournalDamaged as error:
            raise JournalDamaged(f"{self.path}: {error}") from error
        return JournalInfo(
            path=str(self.path),
            slice_number=self.place.number,
            journal_id=self.journal_id.hex(),
            has_own_id=self.has_own_id,
            bytes=os.fstat(source.fd).st_size,
            blocks=mark.blocks,
            first_seq=first_seq if mark.blocks else 0,
            last_seq=mark.last_seq,
            first_time_ns=first,
            last_time_ns=mark.time_ns if mark.blocks else None,
            rules_versions=tuple(dict.fromkeys(number for number, _ in labels)),
            source_digests=tuple(dict.fromkeys(text for _, text in labels)),
            digests=mark.digests,
            durability=DURABILITIES[self.durability],
            lmdb_version=LMDB_VERSION,
            readers=source.readers,
            problem="; ".join(filter(None, (self._problem, *self.side_problems))) or None,
        )

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Read and verify everything, calling ``progress(seq, last_seq)`` at times. Damage is reported, not raised."""
        report = Checker(self._source.unverified, self._genesis, progress).run()
        for sentence in (self._problem, *self.side_problems):
            if sentence is not None and all(problem.sentence != sentence for problem in report.problems):
                report.problems.append(Problem(0, sentence))
        return report

    # Writing.

    def _writing(self) -> GroupWriter:
        if self._writer is None or self._closed:
            raise JournalError(f"the journal in {self.path} is not open for writing")
        if self._forks != _forks:
            raise JournalError("a journal cannot be written from a forked process: only by the one that opened it")
        return self._writer

    def append(self, count: int, rows: "bytes | bytearray | memoryview", time_ns: int) -> int:
        """Queue a block of ``count`` rows; returns its first_seq. Waits only while the queue is full.

        ``rows``: contiguous bytes, copied before return. A time earlier than that of the last block is replaced by it.
        Raises ValueError for sizes that do not fit and for an epoch below that of the last block, JournalError when
        the writer has failed. Nothing is written then.
        """
        writer = self._writing()
        if type(rows) is memoryview:
            rows = rows.cast("B")
        if len(rows) != count * self._genesis.row_bytes:
            raise ValueError(f"{count} rows of {self._genesis.row_bytes} bytes each cannot be {len(rows)} bytes")
        first_seq = self.last_seq + 1
        if self.epoch < self._last_epoch:
            raise ValueError(
                f"the block at seq {first_seq:,} would be of epoch {self.epoch}, and the block before it is of epoch "
                f"{self._last_epoch}: an epoch never goes back"
            )
        time_ns = max(time_ns, self._last_time_ns)
        encoded = frame.encode(
            rows,
            first_seq=first_seq,
            count=count,
            time_ns=time_ns,
            epoch=self.epoch,
            source_digest=self.source_digest,
            rules_version=self.rules_version,
        )
        last_seq = first_seq + count - 1
        label = (self.rules_version, self.source_digest)
        ready: bytes | bytearray = encoded
        link = None
        if self.seals:
            link = frame.seal(encoded, self.link)
            ready = self.sealed = bytes(encoded)
        writer.put(Entry(first_seq, last_seq, ready, b"", time_ns, label))
        self._last_seq, self._last_time_ns, self._link = last_seq, time_ns, link
        self._last_epoch = self.epoch
        return first_seq

    def append_block(self, sealed: "bytes | bytearray | memoryview") -> int:
        """Queue a block of another node, as ``take_block``; returns its first_seq."""
        return self.take_block(sealed).first_seq

    def take_block(self, sealed: "bytes | bytearray | memoryview") -> Block:
        """Queue a block of another node unchanged, with its header, link and checksum; returns the block.

        ``sealed``: its ``Block.sealed``. It must be whole and follow the last block: next in sequence, linked to it,
        and of the same epoch or a later one, which becomes the journal's. Otherwise BlockRefused is raised and nothing
        is written. Raises JournalError when the writer has failed. After an ``append`` of its own the journal first
        waits until that block is durable.
        """
        writer = self._writing()
        sealed = bytes(sealed)
        epoch = max(self.epoch, self._last_epoch)
        label, last_seq, link, row_bytes = self._taken_label, self.last_seq, self.link, self._genesis.row_bytes
        block = frame.decode_next(sealed, row_bytes, label, epoch, last_seq, link, self._last_time_ns)
        if block is None:
            block = frame.decode_sealed(sealed, row_bytes)
            frame.check_continues(block, last_seq, link, epoch, self._last_time_ns, self.start_seq)
            label = self._taken_label = (block.rules_version, block.source_digest)
        writer.put(Entry(block.first_seq, block.last_seq, sealed, b"", block.time_ns, label))
        self._last_seq, self._last_time_ns, self._link = block.last_seq, block.time_ns, block.checksum
        self.epoch = self._last_epoch = block.epoch
        return block

    def seal_next(self, count: int, rows: "bytes | memoryview", time_ns: int, epoch: int) -> bytes:
        """Seal a block of ``count`` rows that comes next, for ``take_block``; nothing is written.

        A time earlier than that of the last block is replaced by it. Raises ValueError for a number out of range.
        """
        encoded = frame.encode(
            rows,
            first_seq=self.last_seq + 1,
            count=count,
            time_ns=max(time_ns, self._last_time_ns),
            epoch=epoch,
            source_digest=self.source_digest,
            rules_version=self.rules_version,
        )
        frame.seal(encoded, self.link)
        return bytes(encoded)

    @property
    def link(self) -> bytes:
        """Checksum of the last block, to which the next one is linked. Waits until that is sealed, where it is not."""
        writer = self._writing()
        assert self._store is not None, "a journal that can be written has a store"
        if self._link is None:
            writer.wait_durable(self.last_seq, None)
            self._link = self._store.mark.checksum
        return self._link

    def put_digest(self, first_seq: int, digest: bytes) -> None:
        """Queue the event digest (16 bytes) of an appended block. Raises ValueError, JournalError."""
        writer = self._writing()
        if len(digest) != marks.DIGEST_BYTES:
            raise ValueError(f"an event digest has {marks.DIGEST_BYTES} bytes, not {len(digest)}")
        if not max(self._last_digest_seq, self.start_seq) < first_seq <= self.last_seq:
            raise ValueError(
                f"the digest of the block at seq {first_seq:,} does not come next: the last one is of seq "
                f"{self._last_digest_seq:,}, the last row is {self.last_seq:,}"
            )
        writer.put(Entry(first_seq, first_seq, None, bytes(digest), 0, None))
        self._last_digest_seq = first_seq

    def begin_slice(
        self,
        meta: dict[str, Any],
        *,
        event_digest: bytes,
        image: dict[str, bytes],
        prepare: Prepare = nothing_further,
    ) -> None:
        """Close this slice at its last command and continue in a new one, with another ``meta`` (see ``create``).

        First waits until all blocks are durable. ``event_digest``: of all events up to there. ``image``: digest of each
        part of the state there. ``prepare``: called with the new slice's folder, to write its further files. The rename
        of that folder makes it the open slice. An error before the rename (JournalError, or one of ``prepare``) leaves
        this slice open for writing; an error after it closes the journal (``is_closed``), and the next start finds one
        of the two slices open.
        """

        def make(store: Store) -> slices.Place:
            mark, number = store.mark, self.place.number + 1
            end = (mark.last_seq, mark.checksum, mark.time_ns, self.epoch)
            start = marks.SliceStart(number, *end, event_digest, image)
            return make_slice(self.path, store, self._genesis, start, meta, prepare)

        self._continue_in(make)

    def begin_same_slice(
        self, genesis: bytes, *, image_record: bytes = b"", prepare: Prepare = nothing_further
    ) -> None:
        """Continue in the slice that another node has begun here, with the same ``genesis`` record, as ``begin_slice``.

        ``image_record``: the record of its image, where the genesis record names none and ``prepare`` writes the image.
        Raises BlockRefused, and nothing changes, where the slice does not follow the last block.
        """
        self._continue_in(
            lambda store: make_same_slice(self.path, store, self._genesis, genesis, image_record, prepare)
        )

    def _continue_in(self, make: Callable[[Store], slices.Place]) -> None:
        store, writer = self._store, self._writing()
        assert store is not None, "a journal that can be written has a store"
        self._end(writer)
        try:
            place = make(store)
        except BaseException:
            self._writer = self._new_writer(store)
            raise
        # Nothing may be appended to the old slice any more, whatever comes.
        before, source, self._store, self._writer = self.place, self._source, None, None
        try:
            source.stop()
            store.close()
            source.close()
            slices.sync_name(place, self.path)
            self.place, self._folder = place, place.journal
            with suppress(OSError):  # a start marks it, where this could not
                slices.mark_closed(before)
            self._open(readonly=False)
        except BaseException as error:
            self._release()
            if isinstance(error, OSError):
                raise failed(self.path, f"slice {place.number} cannot be opened in {self.path}", error) from error
            raise

    @property
    def is_closed(self) -> bool:
        """True if nothing can be read or appended any more."""
        return self._closed

    @property
    def last_digest_seq(self) -> int:
        """First command of the block whose event digest was put last, 0 before the first. For the writer."""
        return self._last_digest_seq

    def wait_durable(self, seq: int, timeout_s: float | None = None) -> bool:
        """Wait until command ``seq`` is on the disk; False after ``timeout_s``. Raises JournalError on a failure."""
        writer = self._writing()
        if seq > self.last_seq:
            raise ValueError(f"seq {seq:,} cannot become durable: the last one appended is {self.last_seq:,}")
        return writer.wait_durable(seq, timeout_s)

    def raise_failure(self) -> None:
        """Raise JournalError if the writer has failed: blocks that are not durable by then never will be."""
        if self._writer is not None:
            self._writer.raise_failure()

    @property
    def crowded(self) -> bool:
        """True if the queue is so full that the next ``append`` may have to wait."""
        return self._writer is not None and self._writer.queue_bytes > QUEUE_BYTES_MAX // 2

    def room(self) -> tuple[int, int]:
        """Size of the file in bytes, and its largest possible size; the disk may be full before."""
        return os.fstat(self._source.fd).st_size, MAP_BYTES

    def check_place(self) -> None:
        """Raise JournalError where data.mdb was removed or replaced while it is written. Costs a system call."""
        moved_file.check_place(self._folder / "data.mdb", self._source.fd)

    def close_and_save(self, to: Path) -> bool:
        """Close, and copy data.mdb to ``to`` if the file has no name any more; True if it was copied.

        An error of ``close`` is not raised, since the journal has failed before. Raises OSError.
        """
        fd = os.dup(self._source.fd)
        try:
            with suppress(JournalError):
                self.close()
            return moved_file.save_removed(fd, to)
        finally:
            os.close(fd)

    def _on_durable(self) -> None:
        if self.on_durable is not None:
            try:
                self.on_durable()
            except BaseException as error:
                raise JournalError(f"on_durable of its owner raised {error!r}") from error

    def _explain(self, error: BaseException) -> str:
        return (
            f"writing the journal in {self.path} failed: {reason(self._folder, error)}; what was not yet durable may "
            "or may not be there: stop, remove the cause and open the journal again"
        )

    def close(self) -> None:
        """Make all queued blocks durable and close. Raises JournalError when that failed.

        Raises JournalHangs, and the journal stays open, where the disk writes nothing for ``group.STANDSTILL_S``.
        """
        if self._closed:
            return
        try:
            if self._writer is not None and self._forks == _forks:
                self._end(self._writer)
        except JournalHangs:
            raise  # LMDB is in a commit: closed beneath it, it would write into memory that is freed
        except BaseException:
            self._release()
            raise
        self._release()

    def _end(self, writer: GroupWriter) -> None:
        if not writer.close():
            raise JournalHangs(
                f"the disk of {self._folder} has written nothing for {group.STANDSTILL_S:.0f} s; what was not yet "
                "durable may or may not be there: look at the disk and at the system's log, and start again"
            )

    def _release(self) -> None:
        self._closed = True
        if self._snapshots is not None:
            self._snapshots.stop()
        if self._store is not None:
            self._store.close()
        if self._snapshots is not None:
            self._snapshots.close()
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
