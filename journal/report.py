"""Reports on a journal: ``info`` describes it, ``check`` lists all its faults."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from journal import frame, marks
from journal.errors import JournalDamaged
from journal.pages import PageDamage, check_file
from journal.reading import TREES, Pin, seq_of

_PIN_BLOCKS: Final = 64


@dataclass(frozen=True)
class JournalInfo:
    """Description of a slice of a journal, and its range. ``first_seq`` is 0 and the times are None while it is empty.

    ``slice_number``: from 1. ``rules_version`` and ``capacity``: those of the slice.

    ``journal_id``: in hexadecimal; where ``has_own_id`` is false the journal is older than ids, and its id is derived
    from its genesis record.
    ``readers``: how reading is kept apart from a writer. ``problem``: what was found on opening, or None.
    """

    path: str
    slice_number: int
    journal_id: str
    has_own_id: bool
    bytes: int
    blocks: int
    first_seq: int
    last_seq: int
    first_time_ns: int | None
    last_time_ns: int | None
    rules_versions: tuple[int, ...]
    source_digests: tuple[str, ...]
    digests: int
    durability: str
    lmdb_version: str
    readers: str
    problem: str | None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. ``seq``: of the block, 0 where it is not about one."""

    seq: int
    sentence: str


@dataclass
class CheckReport:
    """Result of a check: counts of what was verified, and every problem."""

    blocks: int = 0
    rows: int = 0
    digests: int = 0
    last_seq: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


Progress = Callable[[int, int], None]


class Checker:
    """Check of all blocks, a bounded number in each snapshot; it continues after a problem."""

    def __init__(self, pin: Pin, genesis: marks.Genesis, progress: Progress | None) -> None:
        self._pin = pin
        self._genesis = genesis
        self._progress = progress
        self._next_seq = genesis.start_seq + 1
        self._previous: bytes | None = genesis.checksum
        self._epoch, self._time_ns = (0, 0) if genesis.start is None else (genesis.start.epoch, genesis.start.time_ns)
        self._first_seqs: set[int] = set()
        self.report = CheckReport()

    def run(self) -> CheckReport:
        """Fill the report. Damage never raises here."""
        for step in (self._mark, self._structure, self._blocks, self._digests):
            try:
                step()
            except PageDamage as error:
                self._add(self._next_seq if step == self._blocks else 0, str(error))
            except JournalDamaged as error:
                self._add(0, str(error))
        return self.report

    def _add(self, seq: int, sentence: str) -> None:
        problem = Problem(seq, sentence)
        if problem not in self.report.problems:
            self.report.problems.append(problem)

    def _mark(self) -> None:
        with self._pin() as snapshot:
            snapshot.verify()

    def _structure(self) -> None:
        with self._pin() as snapshot:
            check_file(snapshot.file, snapshot.meta, TREES)

    def _blocks(self) -> None:
        with self._pin() as snapshot:
            mark = snapshot.mark
        self.report.last_seq = mark.last_seq
        start = b""
        while self._next_seq <= mark.last_seq:
            looked_at = 0
            with self._pin() as snapshot:
                for node in snapshot.file.items(snapshot.blocks, start):
                    start = node.key + b"\0"
                    looked_at += 1
                    self._block(seq_of(node.key), snapshot.file.value(node))
                    if looked_at >= _PIN_BLOCKS:
                        break
            if self._progress is not None:
                self._progress(min(self._next_seq - 1, mark.last_seq), mark.last_seq)
            if not looked_at:
                self._add(self._next_seq, f"the blocks from seq {self._next_seq:,} to {mark.last_seq:,} are missing")
                return

    def _block(self, first_seq: int, value: bytes) -> None:
        self._first_seqs.add(first_seq)
        try:
            block = frame.decode(value, first_seq, self._genesis.row_bytes)
        except JournalDamaged as error:
            if first_seq > self._next_seq and self._previous is not None:
                self._add(self._next_seq, f"the blocks from seq {self._next_seq:,} to {first_seq - 1:,} are missing")
            self._add(first_seq, str(error))
            self._previous, self._next_seq = None, first_seq + 1
            return
        try:
            # After a damaged block neither its length nor its link is known.
            next_seq = block.first_seq if self._previous is None else self._next_seq
            frame.check_link(block, next_seq, self._previous, self._genesis.start_seq)
        except JournalDamaged as error:
            self._add(block.first_seq, str(error))
        self._check_order(block)
        self.report.blocks += 1
        self.report.rows += block.count
        self._next_seq, self._previous = block.last_seq + 1, block.checksum

    def _check_order(self, block: frame.Block) -> None:
        """Check that neither epoch nor time decreases."""
        if block.epoch < self._epoch:
            self._add(
                block.first_seq,
                f"the block at seq {block.first_seq:,} is of epoch {block.epoch}, and a block before it is of epoch "
                f"{self._epoch}; two nodes may have written it at once: compare it with a copy",
            )
        if block.time_ns < self._time_ns:
            self._add(
                block.first_seq,
                f"the time of the block at seq {block.first_seq:,} is before that of the block before it; compare it "
                "with a copy",
            )
        self._epoch, self._time_ns = max(block.epoch, self._epoch), max(block.time_ns, self._time_ns)

    def _digests(self) -> None:
        start, last = b"", 0
        while True:
            looked_at = 0
            with self._pin() as snapshot:
                for node in snapshot.file.items(snapshot.digests, start):
                    start = node.key + b"\0"
                    looked_at += 1
                    last = self._digest(seq_of(node.key), snapshot.file.value(node), last, snapshot.mark.last_seq)
                    if looked_at >= _PIN_BLOCKS * 1_024:
                        break
                else:
                    if last != snapshot.mark.last_digest_seq:
                        self._add(last, f"event digests after seq {last:,} are missing")
                    return

    def _digest(self, first_seq: int, value: bytes, last: int, last_seq: int) -> int:
        try:
            _, previous_seq = marks.decode_digest(first_seq, value)
        except JournalDamaged as error:
            self._add(first_seq, str(error))
            return first_seq
        if previous_seq != last:
            self._add(first_seq, f"the event digests between seq {last:,} and {first_seq:,} are missing")
        # A writer may go on meanwhile: of its newest blocks, up to last_seq, only the digests are seen.
        known = first_seq in self._first_seqs or self._next_seq <= first_seq <= last_seq
        if not known and not self.report.problems:
            self._add(first_seq, f"there is an event digest for seq {first_seq:,}, where no block begins")
        self.report.digests += 1
        return first_seq
