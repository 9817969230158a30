"""Fetching the history of another node into a data directory that nobody writes: an empty one, or one that is behind.

Blocks are appended as the other node sealed them, slice by slice, each slice begun with the other node's genesis record
and image. Then its newest checkpoint and the users' streams are fetched, where a start would else replay much. So a
start replays only what comes after that checkpoint. Each step is on the disk before the next counts: a crash leaves
nothing, or a directory that can be opened, and the same call goes on where it stood.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from checkpoints import CheckpointError, CheckpointStore, load_checkpoint
from checkpoints.store import FOLDER as CHECKPOINTS
from directory.begin import FETCH_FOLDER
from directory.incomplete import BEGUN_EMPTY, mark_incomplete
from engine.digest import part_digest
from journal import BlockRefused, Journal, JournalError, marks, slices
from journal.slices import START_IMAGE, ArchiveNote, make_folder, make_private, places, sync_folder
from replication import link
from replication.history import HistoryError, Peer
from replication.history_link import TIMEOUT_S, HistoryLink, SliceAnswer
from replication.history_server import STREAMS, STREAMS_SUFFIX
from replication.link import Kind, Position

#: Commands behind the other node at which the link takes over.
BEHIND_MAX: Final = 1 << 16
#: Commands that a checkpoint of the other node must save a start, to be fetched.
GAIN_MIN: Final = 1 << 20
_POSITIONS: Final = 64

#: Called with the last command here, and that of the other node.
Progress = Callable[[int, int], None]


class JournalsApart(HistoryError):
    """This journal has blocks that the other node does not have: set them aside first (``find_common``)."""


@dataclass(frozen=True)
class Fetched:
    """Result of a fetch.

    ``peer``: name of the other node. ``commands``: number appended; ``slices``: number begun. ``last_seq``: of the
    journal now. ``checkpoint_seq``: of the checkpoint that was fetched, 0 for none.
    """

    peer: str
    commands: int
    slices: int
    last_seq: int
    checkpoint_seq: int


def fetch(
    address: tuple[str, int],
    secret: bytes,
    directory: Path | str,
    *,
    name: str,
    behind_max: int = BEHIND_MAX,
    gain_min: int = GAIN_MIN,
    timeout_s: float = TIMEOUT_S,
    progress: Progress = lambda _done, _end: None,
    where: str = "",
) -> Fetched:
    """Bring a closed data directory up to the history at ``address``, to within ``behind_max`` commands.

    ``secret``: of the pair. ``name``: of this node. ``directory``: empty, missing, or of the same journal.
    ``gain_min``: commands by which the other node's newest checkpoint must be newer than the own one to be fetched.
    ``where``: the other node in sentences; its address without. Raises JournalsApart where this journal has blocks of
    its own; other HistoryErrors; JournalError, CheckpointError, OSError. Then the directory can be opened as far as it
    goes, or is as empty as before; the same call resumes.
    """
    directory = Path(directory)
    own = Peer(name, _journal_id(directory))
    with HistoryLink(address, secret, own, timeout_s=timeout_s, where=where) as other:
        work = _Fetch(other, directory, progress)
        journal = work.first() if not own.journal_id else Journal.open(directory)
        with journal:
            return work.run(journal, behind_max, gain_min)


def _journal_id(directory: Path) -> bytes:
    """Id of the journal in a directory; empty where there is none."""
    if not places(directory):
        if (directory / "journal").exists():
            raise JournalError(f"{directory / 'journal'} is there and is no journal; move it away first")
        return b""
    with Journal.open(directory, readonly=True) as journal:
        return journal.journal_id


class _ImageAlone(Exception):
    """The image of a slice lacks the projections, so a directory cannot begin with it."""


class _Fetch:
    """A fetch under way."""

    def __init__(self, other: HistoryLink, directory: Path, progress: Progress) -> None:
        self._other, self._directory, self._progress = other, directory, progress
        self._commands = self._slices = 0
        self._end_seq = other.end.last_seq

    def first(self) -> Journal:
        """Begin an empty directory with the other node's open slice, without blocks yet.

        With the slice before that, where the image of the open one lacks the users' streams.
        """
        number = self._other.end.slice_number
        # While it is there, the directory counts as empty.
        make_folder(self._directory)  # it has the data of a market: for its owner alone, as a folder below it
        make_folder(self._directory / FETCH_FOLDER)
        sync_folder(self._directory)
        mark_incomplete(self._directory, BEGUN_EMPTY)
        while True:
            answer = self._other.slice(number)
            try:
                journal = Journal.create_copy(
                    self._directory,
                    answer.genesis,
                    image_record=answer.image_record,
                    prepare=partial(self._start_image, answer, is_first=True),
                )
            except _ImageAlone:
                number -= 1
                continue
            self._slices += 1
            return journal

    def _note_missing(self, journal: Journal) -> None:
        """Note where the slices are that are not fetched: with the other node, or where that one says."""
        there = {place.number for place in places(self._directory)}
        for number in range(1, journal.place.number):
            if number in there or slices.read_note(self._directory, number) is not None:
                continue
            other = self._other
            of = f"of {other.peer.name} at " if other.peer.name != other.where else ""
            where, answer = f"the data directory {of}{other.where}", None
            try:
                answer = self._other.slice(number)
            except HistoryError as error:
                where = str(error)
            slices.write_note(self._directory, _note(number, where, answer, journal))

    def _start_image(self, answer: SliceAnswer, folder: Path, *, is_first: bool = False) -> None:
        """Fetch the image that a slice starts from into the slice's new folder, and compare it with the record.

        ``is_first``: no slice before is there, which could give again what the image lacks; then raises _ImageAlone.
        """
        genesis = marks.decode_genesis(answer.genesis)
        start = genesis.start
        if start is None:
            return
        digests = start.image or marks.decode_image(answer.image_record, genesis, "the record of the slice's image")
        try:
            self._other.patiently(lambda: self._image_file(genesis.slice_number, folder))
            image = load_checkpoint(folder / START_IMAGE)
        except (OSError, CheckpointError) as error:
            raise JournalError(f"the image of slice {genesis.slice_number} could not be fetched: {error}") from error
        given = {part: part_digest(arrays) for part, arrays in image.parts.items()}
        if (image.seq, image.event_digest, given) != (start.last_seq, start.event_digest, digests):
            raise HistoryError(
                f"{self._other.where} sent another image than the genesis record of slice {genesis.slice_number} "
                "names; run `lockstep journal check` there"
            )
        if is_first and answer.has_streams and not image.projections:
            raise _ImageAlone
        # Before the slice has its name: a start from its image needs them.
        with self._aside() as aside:
            self._move(self._other.files("streams", (STREAMS_SUFFIX,), aside), self._directory / STREAMS)

    def _image_file(self, number: int, folder: Path) -> None:
        (folder / START_IMAGE).unlink(missing_ok=True)
        self._other.files("image", (START_IMAGE,), folder, slice=number)

    def run(self, journal: Journal, behind_max: int, gain_min: int) -> Fetched:
        """Append what is missing, slice by slice, then fetch the checkpoint, then what came meanwhile."""
        self._check_same(journal)
        shutil.rmtree(self._directory / FETCH_FOLDER, ignore_errors=True)
        self._note_missing(journal)
        self._to_the_end(journal, behind_max)
        checkpoint_seq = self._checkpoint(journal, gain_min)
        self._to_the_end(journal, behind_max)
        shutil.rmtree(self._directory / FETCH_FOLDER, ignore_errors=True)
        return Fetched(self._other.peer.name, self._commands, self._slices, journal.last_seq, checkpoint_seq)

    def _to_the_end(self, journal: Journal, behind_max: int) -> None:
        while not self._blocks(journal, behind_max):
            self._next_slice(journal)

    def _check_same(self, journal: Journal) -> None:
        """Raise JournalsApart unless the other node has this journal's open slice and its last block."""
        number = journal.place.number
        if number > self._other.end.slice_number:
            raise JournalsApart(
                f"{self._directory} is in slice {number} of the journal, and {self._other.where} in slice "
                f"{self._other.end.slice_number}"
            )
        answer = self._other.slice(number)
        if answer.genesis != journal.genesis:
            raise JournalsApart(f"slice {number} in {self._directory} is not the one that {self._other.where} has")
        end = Position(journal.last_seq, journal.link)
        if self._other.common(number, [end]) is None:
            raise JournalsApart(
                f"the journal in {self._directory} ends with a block at command {end.seq} that {self._other.where} "
                "does not have"
            )

    def _blocks(self, journal: Journal, behind_max: int) -> bool:
        """Append blocks of the open slice until it is closed at the other node (False) or nearly at its end (True)."""
        while True:
            before = journal.last_seq
            told = {"last_seq": before, "is_closed": False}
            asked = self._other.ask(
                "blocks",
                slice=journal.place.number,
                from_seq=before + 1,
                to_seq=0,
                after_digest_seq=max(journal.last_digest_seq, journal.start_seq),
            )
            for frame in asked:
                if frame.kind == Kind.BLOCK:
                    self._append(journal, frame.payload)
                elif frame.kind == Kind.RECORDED:
                    for seq, digest in link.unpack_positions(frame.payload):
                        self._put_digest(journal, seq, digest)
                elif frame.kind == Kind.DONE:
                    told = link.unpack_map(frame.payload, {"last_seq": int, "is_closed": bool})
            self._commands += journal.last_seq - before
            self._end_seq = max(self._end_seq, journal.last_seq)
            if journal.last_seq != told["last_seq"]:
                raise HistoryError(f"{self._other.where} announced blocks up to {told['last_seq']} and sent fewer")
            if told["is_closed"]:
                return False
            # The next request tells how far the other node has come meanwhile.
            if journal.last_seq - before <= behind_max:
                journal.wait_durable(journal.last_seq)
                return True

    def _append(self, journal: Journal, sealed: bytes) -> None:
        try:
            journal.append_block(sealed)
        except BlockRefused as error:
            raise HistoryError(f"a block of {self._other.where} does not fit: {error}") from error
        self._progress(journal.last_seq, max(self._end_seq, journal.last_seq))

    def _put_digest(self, journal: Journal, seq: int, digest: bytes) -> None:
        try:
            journal.put_digest(seq, digest)
        except ValueError as error:
            raise HistoryError(f"an event digest of {self._other.where} does not fit: {error}") from error

    def _next_slice(self, journal: Journal) -> None:
        answer = self._other.slice(journal.place.number + 1)
        try:
            journal.begin_same_slice(
                answer.genesis,
                image_record=answer.image_record,
                prepare=partial(self._start_image, answer),
            )
        except BlockRefused as error:
            raise HistoryError(f"{self._other.where}: {error}") from error
        self._slices += 1

    def _checkpoint(self, journal: Journal, gain_min: int) -> int:
        """Fetch the streams and the newest checkpoint where a start gains by it; gives its command, or 0."""
        store = CheckpointStore(journal.place.folder)
        known = [info.seq for info in store.list() if info.valid and info.seq <= journal.last_seq]
        newest = max(known, default=journal.start_seq)
        if journal.last_seq - newest < gain_min:
            return 0
        with self._aside() as aside:
            paths = self._other.files("checkpoint", (".checkpoint", STREAMS_SUFFIX), aside)
            # The streams first: the checkpoint counts from its name on.
            self._move([path for path in paths if path.suffix == STREAMS_SUFFIX], self._directory / STREAMS)
            taken = [path for path in paths if path.suffix == ".checkpoint"]
            seq = load_checkpoint(taken[0]).seq if taken else 0
            while journal.last_seq < seq:
                if not self._blocks(journal, BEHIND_MAX):
                    return 0  # it is of the next slice, whose image is as good
            if seq <= newest:
                return 0
            self._move(taken, journal.place.folder / CHECKPOINTS)
        return seq

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        """A folder for files under way."""
        aside = self._directory / FETCH_FOLDER / "files"
        shutil.rmtree(aside, ignore_errors=True)
        make_private(aside)
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _move(self, paths: list[Path], folder: Path) -> None:
        make_folder(folder)
        for path in paths:
            path.rename(folder / path.name)
        sync_folder(folder)


def _note(number: int, where: str, answer: SliceAnswer | None, journal: Journal) -> ArchiveNote:
    genesis = None if answer is None else marks.decode_genesis(answer.genesis)
    meta = {} if genesis is None else genesis.meta
    return ArchiveNote(
        number=number,
        path=where,
        first_seq=0 if genesis is None else genesis.start_seq + 1,
        last_seq=0 if answer is None else answer.last_seq,
        first_time_ns=0,
        last_time_ns=0,
        rules_version=int(meta.get("rules_version", 0)),
        capacity=dict(meta.get("capacity", {})),
        bytes=0,
        journal_id=journal.journal_id.hex(),
        archived_at="",
        has_events=False,
    )


def find_common(
    address: tuple[str, int], secret: bytes, directory: Path | str, *, name: str, timeout_s: float = TIMEOUT_S
) -> Position:
    """The last position that the journal in a closed data directory and the history at ``address`` have in common.

    For ``directory.set_aside``: its sequence number and checksum. Raises HistoryError where there is none.
    """
    directory = Path(directory)
    with HistoryLink(address, secret, Peer(name, _journal_id(directory)), timeout_s=timeout_s) as other:
        for place in reversed(places(directory)):
            with Journal.open(directory, readonly=True, slice_number=place.number) as journal:
                if place.number > other.end.slice_number or other.slice(place.number).genesis != journal.genesis:
                    continue
                return _newest_common(journal, other)
    raise HistoryError(f"{directory} and {other.where} have no slice of the journal in common")


def _newest_common(journal: Journal, other: HistoryLink) -> Position:
    """Search in a slice that both have, between what is common and what is not, with many positions a question."""
    number = journal.place.number
    common = Position(journal.start_seq, journal.start_link)
    end_seq = journal.last_seq
    while common.seq < end_seq:
        tail = _spread(journal, common.seq, end_seq)
        found = other.common(number, tail)
        if found == tail[0]:
            return found
        at = len(tail) if found is None else tail.index(found)
        common = common if found is None else found
        # The position after the common one is not common: what is left lies before its block.
        end_seq = _start_of(journal, tail[at - 1].seq) - 1
    return common


def _spread(journal: Journal, after_seq: int, to_seq: int) -> list[Position]:
    """Positions after ``after_seq`` up to ``to_seq``, the newest first, evenly apart."""
    step = max((to_seq - after_seq) // _POSITIONS, 1)
    found: dict[int, Position] = {}
    for seq in range(to_seq, after_seq, -step):
        if not found or seq < min(found):
            for block in journal.blocks(seq, seq):
                found[block.last_seq] = Position(block.last_seq, block.checksum)
    return [found[seq] for seq in sorted(found, reverse=True)]


def _start_of(journal: Journal, seq: int) -> int:
    return next(journal.blocks(seq, seq)).first_seq
