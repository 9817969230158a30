"""Repair of a data directory from copies: damaged blocks, records and files, byte for byte as they are there.

Each slice is checked. Where its file is damaged, a new one is written: the blocks that are whole come from here, the
others from whichever copy has them whole, and the chain must lead through all of them. The new file is checked before
it takes the place of the damaged one, which stays beside it as ``data.mdb.damaged`` until the whole directory has been
checked. A crash at any step leaves the damaged directory, or the repaired one; the same call resumes. Nobody may write
the directory meanwhile.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from attestation import beside, signatures
from attestation import slices as signed_slices
from attestation.errors import AttestationError
from checkpoints import CheckpointError, CheckpointStore, load_checkpoint
from directory.incomplete import mark_incomplete
from journal import Block, Journal, JournalDamaged, JournalError, JournalForeign, marks, slices
from journal.history import History
from journal.lock import WriterLock
from journal.opening import FOLDER, TAIL, read_tail
from journal.salvage import Salvage, committed_mark
from journal.slices import (
    ATTESTATION,
    EVENTS,
    IMAGE_RECORD,
    START_IMAGE,
    VERIFIED,
    Place,
    mark_closed,
    places,
    sync_folder,
)
from replay.chain import check_chain, wrong_events, wrong_image
from replay.errors import Divergence
from replication import link
from replication.copies import Copies, Search
from replication.fetch import JournalsApart, fetch
from replication.history import HistoryError, HistoryLost, Peer
from replication.history_link import TIMEOUT_S, HistoryLink, SliceAnswer
from replication.history_server import STREAMS, STREAMS_SUFFIX, HistoryServer
from replication.link import Position

_ASIDE: Final = "repair.new"
_DAMAGED: Final = ".damaged"
_DATA: Final = "data.mdb"
#: Files and folders of which the damaged one is kept beside the new one for a while.
_KEPT: Final = (_DATA, START_IMAGE, EVENTS, VERIFIED, ATTESTATION, FOLDER, "[0-9]" * 6)
#: Most commands that are asked for at once while one block after the other is missing.
_ASK_MAX: Final = 1 << 20
#: Reason for which a repaired node takes nothing over: blocks after those of the other node may be lost.
_END_UNKNOWN: Final = "its journal was repaired where the mark of its end was lost, and it has not been in sync since"

#: Called with the last command that is right again, and the last one of the slice.
Progress = Callable[[int, int], None]


@dataclass
class Repaired:
    """Result of a repair: ``sentences`` on all that was repaired, ``blocks`` that came from the copies, ``left``:
    sentences on what is still wrong. ``notes``: on what could not be had and is no damage of the journal."""

    sentences: list[str] = field(default_factory=list)
    blocks: int = 0
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Source(NamedTuple):
    """Copy to be asked: address and secret of its history, and its name in sentences."""

    address: tuple[str, int]
    secret: bytes
    where: str


def repair(
    directory: Path | str,
    *sources: "tuple[str, int] | Path",
    secret: bytes = b"",
    name: str = "",
    names: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
    progress: Progress = lambda _done, _end: None,
) -> Repaired:
    """Repair a closed data directory from copies: addresses (host, port) of histories, and data directories.

    An empty directory becomes a copy with all slices. Each copy may be damaged: what it cannot give comes from the
    next.

    ``secret``: of the pair; of no use with directories. ``name``: of this node. ``names``: of the sources in sentences,
    as a person gave them; paths and addresses without. Raises HistoryError where a copy has another journal, other
    blocks (JournalsApart), or none has what is damaged; Divergence where the event digests differ; JournalError,
    CheckpointError, OSError. What was repaired before stays so.
    """
    directory = Path(directory)
    with ExitStack() as stack:
        own_secret = os.urandom(link.NONCE_BYTES)
        addresses: list[_Source] = []
        unreadable: JournalError | None = None
        for source, given in zip_longest(sources, names):
            if not isinstance(source, Path):
                addresses.append(_Source(source, secret, given or f"{source[0]}:{source[1]}"))
                continue
            try:
                where = given or str(source)
                address = stack.enter_context(_served(source, own_secret, where))
                addresses.append(_Source(address, own_secret, where))
            except JournalDamaged as error:  # its file is searched all the same
                unreadable = unreadable or error
        if unreadable is not None and not addresses:
            raise unreadable
        begun = _fetched(directory, addresses, name, timeout_s, progress)
        lock = WriterLock(directory)
        stack.callback(lock.release)
        own = Peer(name, _journal_id(directory))
        links = [
            stack.enter_context(HistoryLink(at, known, own, timeout_s=timeout_s, where=where))
            for at, known, where in addresses
        ]
        work = _Repair(directory, Copies(links, [each for each in sources if isinstance(each, Path)]), progress)
        work.done.sentences += begun
        work.run()
        return work.done


def _fetched(
    directory: Path,
    addresses: list[_Source],
    name: str,
    timeout_s: float,
    progress: Progress,
) -> list[str]:
    """Fetch the open slice into a directory that has nothing of a journal; a sentence on that, if so.

    Where a copy is damaged, the next goes on with the block at which it ended.
    """
    if places(directory) or (directory / FOLDER).exists() or list(_genesis_files(directory)):
        return []
    reached = -1
    while True:
        failed: HistoryError | None = None
        for address, secret, where in addresses:
            try:
                got = fetch(address, secret, directory, name=name, timeout_s=timeout_s, progress=progress, where=where)
            except (JournalsApart, HistoryLost):
                raise
            except HistoryError as error:
                failed = failed or error
            else:
                return [
                    f"{directory} was empty; the open slice, up to command {got.last_seq}, was fetched from {where}"
                ]
        before, reached = reached, _last_seq(directory)
        if failed is not None and reached <= before:
            raise failed


def _last_seq(directory: Path) -> int:
    """Last command of the journal in a directory; -1 where there is none yet."""
    if not places(directory):
        return -1
    with Journal.open(directory, readonly=True) as journal:
        return journal.info().last_seq


def _genesis_files(directory: Path) -> Iterator[Path]:
    return directory.glob(f"{slices.SLICES}/{'[0-9]' * 6}/{FOLDER}/genesis")


@contextmanager
def _served(directory: Path, secret: bytes, name: str) -> Iterator[tuple[str, int]]:
    """The history of a directory on this machine, served to this process alone."""
    with Journal.open(directory, readonly=True):
        pass
    server = HistoryServer(directory, secret, 0, name=name)
    try:
        yield "127.0.0.1", server.port
    finally:
        server.close()


def _journal_id(directory: Path) -> bytes:
    """Id of the journal, by whichever genesis record can be read. Raises JournalForeign where none can."""
    for place in reversed(places(directory)):
        with suppress(JournalError), Journal.open(directory, readonly=True, slice_number=place.number) as journal:
            return journal.journal_id
    for path in (directory / FOLDER / "genesis", *_genesis_files(directory)):
        with suppress(JournalError, OSError):
            return marks.decode_genesis(path.read_bytes()).journal_id
    raise JournalForeign(
        f"{directory} holds no journal that can be recognised; for a new copy, start a standby on an empty directory"
    )


class _Repair:
    """A repair under way."""

    def __init__(self, directory: Path, other: Copies, progress: Progress) -> None:
        self._directory, self._other, self._progress = directory, other, progress
        self.done = Repaired()
        #: Slices whose blocks were written anew, or fetched whole.
        self._anew: set[int] = set()

    def run(self) -> None:
        """Repair what is damaged, then check the whole directory."""
        self._clear()
        there = {place.number: place for place in places(self._directory)}
        last = max([*there, self._other.end.slice_number])
        first = min(there, default=1) if self._is_part(there) else 1
        failed: list[HistoryError] = []
        for number in range(first, last + 1):
            try:
                if number in there:
                    self._slice(there[number])
                elif self._is_lost(number):
                    self._lost_slice(number)
            except (JournalsApart, HistoryLost):
                raise
            except HistoryError as error:  # the other slices are repaired all the same
                failed.append(error)
        if failed:
            self._clear()
            raise HistoryError("; ".join(map(str, failed))) from failed[0]
        self._clear()
        self.done.left = [problem.sentence for problem in check_chain(self._directory, self._progress).problems]
        if not self.done.left:
            self._attestations()
        if not self.done.left:
            for path in [path for name in _KEPT for path in self._directory.rglob(name + _DAMAGED)]:
                _remove(path)

    def _is_part(self, there: dict[int, Place]) -> bool:
        return bool(there) and there[min(there)].folder == self._directory and min(there) > 1

    def _clear(self) -> None:
        shutil.rmtree(self._directory / _ASIDE, ignore_errors=True)
        slices.clear_leftovers(self._directory)

    @property
    def _aside(self) -> Path:
        return self._directory / _ASIDE

    def _is_lost(self, number: int) -> bool:
        """True if a slice is missing and nobody archived it."""
        note = slices.read_note(self._directory, number)
        return note is None or not note.archived_at

    # One slice.

    def _slice(self, place: Place) -> None:
        answer = self._answer(place.number)
        wrong, side = self._problems(place)
        if wrong:
            if answer is None:
                raise HistoryError(
                    f"slice {place.number} is damaged ({wrong[0]}), and {self._other.where} does not have it"
                )
            self._rebuild(place, answer, wrong[0])
        elif side:
            self._side_files(place, answer, side[0])
        if answer is not None:
            self._image(place, answer)
        self._events(place)
        self._checkpoints(place)

    def _answer(self, number: int) -> SliceAnswer | None:
        """The slice at the copy that has most of it; None where none has it."""
        answers = self._other.answers(number)
        return answers[0][1] if answers else None

    def _problems(self, place: Place) -> tuple[list[str], list[str]]:
        """Damage in the file of a slice, and in the small files beside it, in sentences."""
        try:
            with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
                side = list(journal.side_problems)
                found = [problem.sentence for problem in journal.check(self._progress).problems]
                return [sentence for sentence in found if sentence not in side], side
        except (JournalDamaged, JournalForeign) as error:
            return [str(error)], []

    def _rebuild(self, place: Place, answer: SliceAnswer, why: str) -> None:
        """Write the file of a slice anew, check it, and put it in the place of the damaged one."""
        genesis = marks.decode_genesis(answer.genesis)
        self._check_genesis(place, genesis)
        self._clear()
        with (
            Salvage(place.journal / _DATA, genesis) as salvage,
            self._other.search(place.number, genesis) as search,
            Journal.create_copy(self._aside, answer.genesis) as journal,
        ):
            given = self._append_all(journal, salvage, self._end_of(place, answer), search)
            self._put_digests(journal, place)
            new = journal.place
        with Journal.open(self._aside, readonly=True) as journal:
            report = journal.check()
            if not report.ok:
                raise JournalDamaged(f"the repaired file is damaged itself: {report.problems[0].sentence}; try again")
        self._swap(new, place, is_closed=answer.is_closed)
        self._anew.add(place.number)
        self._clear()
        shares = [f"{count} of {report.blocks} blocks from {name}" for name, count in given.items()]
        shares = shares or [f"0 of {report.blocks} blocks from {self._other.where}"]
        self.done.sentences.append(f"{_name(place)}: {why}; the file was written anew, with {' and '.join(shares)}")

    def _check_genesis(self, place: Place, genesis: marks.Genesis) -> None:
        """Raise JournalsApart where a record here is whole and another one than the other node's."""
        with suppress(JournalError):
            with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
                own = marks.decode_genesis(journal.genesis)
            if own != genesis:
                raise JournalsApart(
                    f"{_name(place)} is another one than slice {place.number} of {self._other.where}; it cannot be "
                    "repaired from there"
                )

    def _end_of(self, place: Place, answer: SliceAnswer) -> int:
        """The last command of a slice, by what is left of it; else by the other node."""
        tail, _ = read_tail(place.journal)
        if tail is not None:
            return tail.last_seq
        if not answer.is_closed:
            mark_incomplete(self._directory, _END_UNKNOWN)
        with suppress(JournalError), Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
            return journal.info().last_seq
        return answer.last_seq

    def _append_all(self, journal: Journal, salvage: Salvage, end_seq: int, search: Search) -> dict[str, int]:
        """Append the blocks of a slice up to ``end_seq``: those that are whole here, others from the copies.

        Gives the number of blocks by copy.
        """
        ask = 1
        given: dict[str, int] = {}
        ends = [Position(journal.start_seq, journal.start_link)]
        while journal.last_seq < end_seq:
            seq = journal.last_seq + 1
            block = salvage.block(seq, journal.link)
            if block is not None:
                self._append(journal, block.sealed)
                ends.append(Position(journal.last_seq, journal.link))
                ask = 1
            else:
                try:
                    self._append_from_other(journal, search, seq, min(seq + ask - 1, end_seq), given, ends)
                except JournalsApart:
                    raise
                except HistoryError as error:
                    lost = search.lost(salvage, seq, end_seq)
                    raise HistoryError(f"{error}; {lost}" if lost else str(error)) from error
                ask = min(2 * ask, _ASK_MAX)
            self._progress(journal.last_seq, end_seq)
        # The newest block that a copy should have too.
        apart = search.apart(ends)
        if apart:
            raise JournalsApart(
                f"a block up to command {journal.last_seq} is another one at {apart}: the two have other histories, "
                "and nothing was changed"
            )
        return given

    def _append(self, journal: Journal, sealed: "bytes | memoryview") -> None:
        try:
            journal.append_block(sealed)
        except JournalError as error:
            raise JournalsApart(
                f"the blocks here and at {self._other.where} do not fit together: {error}; nothing was changed"
            ) from error

    def _append_from_other(
        self,
        journal: Journal,
        search: Search,
        from_seq: int,
        to_seq: int,
        given: dict[str, int],
        ends: list[Position],
    ) -> None:
        """Append blocks of the copies, up to the one with ``to_seq`` or as far as one of them goes."""
        for each in search.blocks(from_seq, to_seq, lambda: Position(journal.last_seq, journal.link)):
            self._append(journal, each.sealed)
            self.done.blocks += 1
            given[each.name] = given.get(each.name, 0) + 1
            ends.append(Position(journal.last_seq, journal.link))

    def _put_digests(self, journal: Journal, place: Place) -> None:
        """Put the event digests of the blocks: those here, and those that are lost from the other node."""
        journal.wait_durable(journal.last_seq)
        own, damaged = self._own_digests(journal, place)
        other: dict[int, bytes] = {}
        if damaged:
            beyond = max(self._other.end.last_seq, journal.last_seq) + 1
            for where, seq, digest in self._other.digests(place.number, journal.start_seq, beyond):
                if other.setdefault(seq, digest) != digest:
                    raise Divergence(
                        f"the event digest of the block at seq {seq} is {digest.hex()} at {where} and "
                        f"{other[seq].hex()} at another copy: they have diverged; run `lockstep verify` on each"
                    )
        for block in journal.blocks():
            a, b = own.get(block.first_seq), other.get(block.first_seq)
            if a is not None and b is not None and a != b:
                raise Divergence(
                    f"the event digest of the block at seq {block.first_seq} is {a.hex()} here and {b.hex()} at "
                    f"{self._other.where}: the two nodes have diverged; run `lockstep verify` on both"
                )
            if (known := a or b) is not None:
                journal.put_digest(block.first_seq, known)

    def _own_digests(self, journal: Journal, place: Place) -> tuple[dict[int, bytes], bool]:
        """The event digests here by the first command of their blocks, and true where some cannot be read."""
        own: dict[int, bytes] = {}
        damaged = False
        try:
            with Journal.open(self._directory, readonly=True, slice_number=place.number) as known:
                for block in journal.blocks():
                    try:
                        if (digest := known.digest(block.first_seq)) is not None:
                            own[block.first_seq] = digest
                    except JournalError:
                        damaged = True
        except JournalError:
            damaged = True
        return own, damaged

    def _swap(self, new: Place, place: Place, *, is_closed: bool) -> None:
        """Put a new file and its records in the place of those of a slice. The last rename makes it count."""
        data = place.journal / _DATA
        if data.exists():
            self._keep(data)
        for name in ("genesis", TAIL):
            (new.journal / name).rename(place.journal / name)
        sync_folder(place.journal)
        (new.journal / _DATA).rename(data)
        sync_folder(place.journal)
        if is_closed or place.is_marked_closed:
            mark_closed(place)

    def _keep(self, path: Path) -> None:
        """Keep a damaged file under a name beside it, until all is checked."""
        aside = path.with_name(path.name + _DAMAGED)
        _remove(aside)
        os.link(path, aside)

    # Files beside the blocks.

    def _side_files(self, place: Place, answer: SliceAnswer | None, why: str) -> None:
        """Write the copy of the genesis record and the mark of the last commit again, out of the file of the slice."""
        with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
            start = Position(journal.start_seq, journal.start_link)
            end = Position(journal.info().last_seq, _checksum_at_end(journal))
            genesis = journal.genesis
        if answer is not None and answer.last_seq >= end.seq:
            with self._other.search(place.number, marks.decode_genesis(genesis)) as search:
                apart = search.apart([start, end])
            if apart:
                raise JournalsApart(f"{_name(place)} ends with another block than {apart} has there")
        tail = committed_mark(place, marks.decode_genesis(genesis).page_bytes)
        for name, content in (("genesis", genesis), (TAIL, tail)):
            slices.write_aside(place.journal / name, content)
        if place.is_marked_closed:
            mark_closed(place)
        self.done.sentences.append(f"{_name(place)}: {why}; it was written again")

    def _image(self, place: Place, answer: SliceAnswer) -> None:
        """Fetch the image that a slice starts from, and its record, where they are not right."""
        with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
            wrong, start = wrong_image(journal), journal.start
        if not wrong or start is None:
            return
        if answer.image_record:
            slices.write_aside(place.journal / IMAGE_RECORD, answer.image_record)

        def take(other: HistoryLink) -> str:
            self._file(other, place.folder / START_IMAGE, "image", slice=place.number)
            with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
                still = wrong_image(journal)
            if still:
                raise HistoryError(f"{other.where} has no sound image of slice {place.number} either: {still[0]}")
            return other.where

        where = self._other.first(take)
        self.done.sentences.append(f"{_name(place)}: {wrong[0]}; it was fetched from {where}")

    def _events(self, place: Place) -> None:
        """Fetch the kept events of a closed slice where they are damaged."""
        with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
            wrong = wrong_events(journal)
        if not wrong:
            return

        def take(other: HistoryLink) -> str:
            self._file(other, place.events, "file", slice=place.number, name=EVENTS)
            with suppress(HistoryError):
                self._file(other, place.verified, "file", slice=place.number, name=VERIFIED)
            with Journal.open(self._directory, readonly=True, slice_number=place.number) as journal:
                still = wrong_events(journal)
            if still:
                raise HistoryError(f"{other.where} has no sound events of slice {place.number} either: {still[0]}")
            return other.where

        where = self._other.first(take)
        self.done.sentences.append(f"{_name(place)}: {wrong[0]}; they were fetched from {where}")

    def _file(self, other: HistoryLink, path: Path, what: str, **fields: object) -> None:
        """Fetch one file and put it in its place; a file that is there is kept beside it."""
        self._clear()
        self._aside.mkdir(mode=0o700)
        got = other.files(what, (path.name,), self._aside, **fields)
        if not got:
            raise HistoryError(f"{other.where} has no file {path.name} of that slice")
        if path.exists() and not path.with_name(path.name + _DAMAGED).exists():
            self._keep(path)
        got[0].rename(path)
        sync_folder(path.parent)

    def _checkpoints(self, place: Place) -> None:
        """Mark damaged checkpoints, and fetch the newest one of the other node where that is of the same slice."""
        store = CheckpointStore(place.folder)
        wrong = []
        for info in store.list():
            try:
                if info.path.suffix == ".checkpoint":
                    store.verify(info.path)
            except CheckpointError as error:
                store.mark_invalid(info.path, str(error))
                wrong.append(str(error))
        if not wrong:
            return
        then = "a start uses an older one"
        for other in self._other.links:
            with suppress(CheckpointError):
                if fetched := self._newest_checkpoint(other, place, store):
                    then = f"checkpoint {fetched} was fetched from {other.where}"
                    break
        self.done.sentences += [f"{_name(place)}: {sentence}; {then}" for sentence in wrong]

    def _newest_checkpoint(self, other: HistoryLink, place: Place, store: CheckpointStore) -> int:
        """Fetch the newest checkpoint of a copy with the streams; its command, or 0 where it is of no use."""
        if place.number != other.end.slice_number:
            return 0
        self._clear()
        self._aside.mkdir(mode=0o700)
        paths = other.files("checkpoint", (".checkpoint", STREAMS_SUFFIX), self._aside)
        taken = next((path for path in paths if path.suffix == ".checkpoint"), None)
        with Journal.open(self._directory, readonly=True) as journal:
            last_seq = journal.last_seq
        newest = max((info.seq for info in store.list() if info.valid), default=0)
        if taken is None or not newest < (seq := load_checkpoint(taken).seq) <= last_seq:
            return 0
        streams = self._directory / STREAMS
        slices.make_folder(streams)
        for path in paths:
            if path is not taken:
                path.rename(streams / path.name)
        sync_folder(streams)
        taken.rename(store.folder / taken.name)  # last: it counts from its name on
        sync_folder(store.folder)
        return seq

    # Attestations.

    def _attestations(self) -> None:
        """Check the attestations beside closed slices against their blocks, and take those that are lost or damaged
        from the copies."""
        closed = beside.closed_places(self._directory)
        wanted = {place.number: self._left_of_attestation(place) for place in closed}
        try:
            signatures.check_library()
        except AttestationError as error:
            if any(wanted.values()):
                self.done.notes.append(f"attestations were not checked: {error}")
            return
        with History.open(self._directory) as history:
            known: dict[int, tuple[Path, str]] = {}
            why: dict[int, str] = {}
            for place in closed:
                for path in wanted[place.number]:
                    key, fault = _judged(path, history, place)
                    if not fault:
                        known[place.number] = path, key
                        break
                    why.setdefault(place.number, fault)
            keys = {key for _, key in known.values()}
            last_signed = max((number for number, paths in wanted.items() if paths), default=0)
            for place in closed:
                number = place.number
                if number in known:
                    self._put_attestation(known[number][0], place)
                elif number in why or number in self._anew or number < last_signed:
                    self._take_attestation(place, history, keys, why.get(number, ""))

    def _left_of_attestation(self, place: Place) -> list[Path]:
        """Files here of a slice's attestation: beside it, or where the slice was before it was fetched anew."""
        folder = self._directory / slices.SLICES / f"{place.number:06d}"
        paths = [place.attestation, folder.with_name(folder.name + _DAMAGED) / ATTESTATION]
        if place.number == 1:
            paths.append(self._directory / ATTESTATION)
        return [path for path in dict.fromkeys(paths) if path.exists()]

    def _put_attestation(self, path: Path, place: Place) -> None:
        """Put an attestation that is right beside its slice, and say that it is."""
        if path != place.attestation:
            slices.write_aside(place.attestation, path.read_bytes())
            if path.parent == self._directory:
                path.unlink()
        if place.number in self._anew:
            self.done.sentences.append(f"{_name(place)} is byte for byte what {place.attestation} attests")

    def _take_attestation(self, place: Place, history: History, keys: set[str], why: str) -> None:
        """Take the attestation of a slice from a copy that has it right, of a key that signed here already.

        keys: those that signed here; empty: any will do. why: fault of the one that is here; "": none is here.
        """
        refused = ""
        for other in self._other.links:
            self._clear()
            self._aside.mkdir(mode=0o700)
            with suppress(HistoryError):
                _take_file(self._aside, "file", ATTESTATION, place.number, other)
            got = self._aside / ATTESTATION
            if not got.exists():
                continue
            where = other.peer.name or other.where
            key, fault = _judged(got, history, place)
            if fault:
                refused = refused or f"the one of {where} {fault}"
            elif keys and key not in keys:
                refused = refused or f"the one of {where} is signed by another key than those here"
            else:
                if place.attestation.exists():
                    self._keep(place.attestation)
                slices.write_aside(place.attestation, got.read_bytes())
                keys.add(key)
                lost = f"its attestation {why}" if why else "its attestation was not there"
                self.done.sentences.append(
                    f"{_name(place)}: {lost}; it was taken from {where}, and is about these bytes"
                )
                break
        else:
            also = f", and {refused}" if refused else ""
            if why:
                then = f"run `lockstep attest verify {self._directory}`, and keep the directory as it is"
                self.done.left.append(f"{_name(place)}: its attestation {why}{also}; {then}")
            elif refused or keys:
                then = f"sign it again with `lockstep attest slices {self._directory} --key FILE`"
                self.done.notes.append(f"{_name(place)} has no attestation{also}; {then}")
        self._clear()

    # A slice that is not there at all.

    def _lost_slice(self, number: int) -> None:
        """Fetch a whole slice into its folder."""
        answer = self._answer(number)
        if answer is None:
            return
        if not answer.is_closed:
            mark_incomplete(self._directory, _END_UNKNOWN)
        self._clear()
        genesis = marks.decode_genesis(answer.genesis)
        with (
            Salvage(self._directory / _ASIDE / _DATA, genesis) as nothing,
            self._other.search(number, genesis) as search,
            Journal.create_copy(
                self._aside,
                answer.genesis,
                image_record=answer.image_record,
                prepare=lambda folder: self._start_image(number, answer, folder),
            ) as journal,
        ):
            given = self._append_all(journal, nothing, answer.last_seq, search)
            self._put_digests(journal, journal.place)
            made = journal.place
        if answer.is_closed:
            for name in (EVENTS, VERIFIED):
                with suppress(HistoryError):
                    self._other.first(partial(_take_file, made.folder, "file", name, number))
            mark_closed(made)
        self._place(made, number)
        self._anew.add(number)
        self.done.sentences.append(
            f"slice {number} of {self._directory} was not there; it was fetched whole from "
            f"{' and '.join(given) or self._other.where}"
        )

    def _start_image(self, number: int, answer: SliceAnswer, folder: Path) -> None:
        if marks.decode_genesis(answer.genesis).start is not None:
            self._other.first(partial(_take_file, folder, "image", START_IMAGE, number))

    def _place(self, made: Place, number: int) -> None:
        """Give a slice that was fetched its place in the directory, at once by a rename."""
        target = self._directory / slices.SLICES / f"{number:06d}"
        slices.make_folder(target.parent)
        for path in (target, self._directory / FOLDER) if number == 1 else (target,):
            if path.exists():  # what is left of it
                aside = path.with_name(path.name + _DAMAGED)
                _remove(aside)
                path.rename(aside)
        if made.folder == self._aside:  # the first slice
            folder = slices.new_folder(self._directory, number)
            for part in list(made.folder.iterdir()):
                if part.name in (FOLDER, EVENTS, VERIFIED):
                    part.rename(folder / part.name)
            sync_folder(folder)
            folder.rename(target)
        else:
            made.folder.rename(target)
        sync_folder(target.parent)
        with suppress(FileNotFoundError):
            slices.note_path(self._directory, number).unlink()


def _take_file(folder: Path, what: str, name: str, number: int, other: HistoryLink) -> None:
    """Fetch a file of a slice into a folder; what another copy gave of it is removed."""
    (folder / name).unlink(missing_ok=True)
    fields = {"name": name} if what == "file" else {}
    other.files(what, (name,), folder, slice=number, **fields)


def _judged(path: Path, history: History, place: Place) -> tuple[str, str]:
    """The key that signed the attestation of a slice, and its fault as the end of a sentence, "" where it is right: by
    its form, its signature, its slice and the slice's blocks."""
    try:
        statement, key = signed_slices.read_signed(path)
        fault = signed_slices.misfit(statement, history, place)
        if not fault and not beside.is_of_blocks(statement, history, place):
            fault = "is of other blocks than those that are here"
    except (AttestationError, JournalError) as error:
        return "", f"is not right ({error})"
    return key, fault


def _name(place: Place) -> str:
    return f"slice {place.number} in {place.folder}"


def _checksum_at_end(journal: Journal) -> bytes:
    last: Block | None = None
    last_seq = journal.info().last_seq
    if last_seq > journal.start_seq:
        (last,) = journal.blocks(last_seq, last_seq)
    return journal.start_link if last is None else last.checksum


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
