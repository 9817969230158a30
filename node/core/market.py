"""Market of a node: pipeline and projections, with the time of each stage.

One thread, that of the event loop, calls everything here. A batch is taken as a whole; once it is durable, its events
come back through ``_published``, in order, and go to the projections and to the submitter.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpoints import Projections
from engine.interface import MarketEngine
from engine.market_time import ends_extended
from engine.records import COMMAND
from gateway.direct import MadeBlock
from gateway.latency_log import LatencyLog
from journal import Block, Durability, Journal, JournalError
from node.core.control import OperationUnfinished, SubmissionResult
from node.core.market_tape import MarketTape
from node.core.merged_blocks import MergedBlocks
from node.core.stages import StageClock
from sequencer.pump import Pipeline, Replication
from sequencer.stamp import LiveStamp
from tape.places import Place

#: Longest time in which answers leave before the loop has its turn: a lease has to be renewed meanwhile.
RELEASE_NS: Final = 20_000_000
#: Answer to submitters whose commands were taken, but not answered when the node ended.
UNANSWERED: Final = (
    "the node ends and does not know what becomes of the commands; see what the next primary, or its next start, has "
    "of them before you repeat them"
)

#: Turns of a block: last command and rows of each, and int64[n, 6] times as in ``LatencyLog.add``.
_Turns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
#: Times of a turn in its moments, and those of its answer.
_TIMES: Final = slice(0, 6)
_ANSWER: Final = slice(4, 6)


class _TimedEngine:
    """Engine for the pipeline, which notes the time of each block."""

    def __init__(self, engine: MarketEngine, on_applied: Callable[[NDArray[Any], NDArray[Any]], None]) -> None:
        self._engine = engine
        self._on_applied = on_applied
        self.read_ns = self.taken_ns = 0  # of the present batch: begin of reading, and rows complete
        #: Times of each unpublished block: read, taken, apply begun, applied; and its turns, where there are several.
        self.times: deque[tuple[int, int, int, int, _Turns | None]] = deque()

    @property
    def seq(self) -> int:
        """Sequence number of the engine."""
        return self._engine.seq

    @property
    def event_digest(self) -> bytes:
        """Event digest of the engine."""
        return self._engine.event_digest

    def apply(self, commands: NDArray[Any]) -> NDArray[Any]:
        """Apply commands and note the time."""
        began_ns = time.perf_counter_ns()
        events = self._engine.apply(commands)
        self.times.append((self.read_ns, self.taken_ns, began_ns, time.perf_counter_ns(), None))
        self._on_applied(commands, events)
        return events


class _Submission:
    """Submitted rows, with their commands and events so far."""

    def __init__(self, first_seq: int, done: "asyncio.Future[SubmissionResult]") -> None:
        self.first_seq = first_seq
        self.last_seq: int | None = None
        self.done = done
        self.commands: list[NDArray[Any]] = []
        self.events: list[NDArray[Any]] = []


class Market:
    """Pipeline of a node with its projections.

    Set before the first batch: ``on_failure``, called once, when the journal cannot be written any more;
    ``on_release``, called when blocks were published, so that there may be room again.
    """

    def __init__(
        self,
        journal: Journal,
        engine: MarketEngine,
        projections: Projections,
        stamp: LiveStamp,
        *,
        durability: Durability,
        stages: StageClock,
        served: str,
        tape: MarketTape | None = None,
        latencies: LatencyLog | None = None,
        alone: bool = False,
    ) -> None:
        """``served``: name of the projection that direct turns serve by themselves. ``tape``: what all blocks are
        written to, ``latencies``: where the moments of all turns are recorded; None: there is none. alone: no other
        node has a part in what may be told.
        """
        self.journal = journal
        self.engine = engine
        self._observers = projections.observers
        #: Those beside the streams that a direct turn has served already.
        self._beside = projections.observers_beside(served)
        self._tape = tape
        self._latencies = latencies
        self._follows = False
        self.published_seq = engine.seq
        #: The disk alone decides on what may be told, so the journal's thread tells the readers of the tape at once.
        self._tells_durable = alone and durability == "fsync"
        self._told_seq = 0  # last command that readers of the tape were told of since the start
        self._taped_seq = engine.seq
        self._telling = threading.Lock()
        self.stamp = stamp
        self._stages = stages
        self.on_failure: Callable[[JournalError], None] = _raise
        self.on_release: Callable[[], None] = _do_nothing
        self._loop = asyncio.get_running_loop()
        self._waits = durability == "fsync"
        self._submissions: deque[_Submission] = deque()
        self._broken = False
        self._timed = _TimedEngine(engine, self._put_on_tape)
        self._merged = MergedBlocks(engine)
        timed: Any = self._timed
        self.pipeline = Pipeline(stamp, journal, timed, publishers=[self._published], durability=durability)
        self.pipeline.bound_release(RELEASE_NS, self._release_soon)
        self._releasing = False
        journal.on_durable = self._durable

    @property
    def told_seq(self) -> int:
        """Last command of which somebody may have been told, here or by a reader of the tape."""
        return max(self.published_seq, self._told_seq)

    @property
    def has_room(self) -> bool:
        """True if a batch may be taken now."""
        return not self._broken and not self.pipeline.full

    @property
    def durable_lag_s(self) -> float:
        """Age of the oldest command that is not durable, in seconds; 0 where all are."""
        times = self._timed.times
        return max(time.perf_counter_ns() - times[0][1], 0) / 1e9 if times else 0.0

    def take(self, rows: NDArray[Any], began_ns: int) -> None:
        """Take a batch from the gateway; ``began_ns``: time (``perf_counter_ns``) at which reading it began."""
        timed = self._timed
        timed.read_ns, timed.taken_ns = began_ns, time.perf_counter_ns()
        try:
            self.pipeline.take(rows)
        except JournalError as error:
            self._break(error)

    def take_own(self, rows: NDArray[Any]) -> None:
        """Take a batch of the node's own, which nobody waits for."""
        self.take(rows, time.perf_counter_ns())

    def tick(self) -> None:
        """Sequence a clock value alone, so that timers that are due fire."""
        self._timed.read_ns = self._timed.taken_ns = time.perf_counter_ns()
        try:
            self.pipeline.sequence(self.stamp.alone())
        except JournalError as error:
            self._break(error)

    @property
    def epoch(self) -> int:
        """Epoch of the blocks."""
        return self.journal.epoch

    @property
    def answers_at_once(self) -> bool:
        """True if answers leave before their block is journaled."""
        return not self._waits

    def adopt(self, block: MadeBlock) -> None:
        """Journal a block of direct turns, and answer it, unless it is answered, as soon as it may be answered.

        Its events are in the engine's event digest.
        """
        moments = block.moments
        if block.taped:
            self._taped_seq = block.first_seq + len(block.commands) - 1
        else:
            self._put_on_tape(block.commands, block.events)
        if not block.answered:
            read_ns, taken_ns, applying_ns, applied_ns = moments[0, :4].tolist()
            turns = None if self._latencies is None else _turns_of(block)
            self._timed.times.append((read_ns, taken_ns, applying_ns, applied_ns, turns))
        try:
            self.pipeline.adopt(
                block.commands, block.time_ns, block.events, self.engine.event_digest, held=not block.answered
            )
        except JournalError as error:
            self._break(error)
            return
        if block.answered:
            for observer in self._beside:
                observer(block.first_seq, block.commands, block.events)
            self._note_published(block.first_seq + len(block.commands) - 1)
            self._stages.passed_many(moments)
            if self._latencies is not None:
                self._latencies.add(block.last_seqs, block.rows, moments[:, _TIMES])

    def submit(self, rows: NDArray[Any]) -> "asyncio.Future[SubmissionResult]":
        """Submit a batch of the node or the operator; gives its outcome once it is durable."""
        submission = _Submission(self.engine.seq + 1, self._loop.create_future())
        self._submissions.append(submission)
        self.take_own(rows)
        submission.last_seq = self.engine.seq
        self._settle()
        return submission.done

    def replicate(self, replication: Replication | None) -> None:
        """Show each further block to ``replication``, which then decides on the release."""
        self._waits = self._waits or replication is not None
        self._tells_durable = False
        self._follows = self._follows and replication is None
        self.pipeline.replicate(replication)

    def journal_block(self, sealed: bytes) -> Block:
        """Queue a sealed block of the primary for the journal, as it is; ``apply_block`` applies it.

        Raises BlockRefused if it does not come next, and JournalError if the journal fails.
        """
        return self.journal.take_block(sealed)

    def apply_block(self, block: Block) -> None:
        """Apply the next block of the primary, and show it to the projections. Raises JournalError."""
        commands = np.frombuffer(bytearray(block.rows), COMMAND)
        events = self.engine.apply(commands)
        self.journal.put_digest(block.first_seq, self.engine.event_digest)
        self._show(block.first_seq, commands, events)
        self._note_applied(block, commands, events)

    def apply_run(self, blocks: Sequence[Block]) -> list[bytes]:
        """Apply blocks of the primary that follow each other, as ``apply_block`` each, in less time; gives the event
        digest after each. Raises JournalError.
        """
        commands, events, digests = self._merged.apply(blocks)
        for block, digest in zip(blocks, digests, strict=True):
            self.journal.put_digest(block.first_seq, digest)
        self._show(blocks[0].first_seq, commands, events)
        self._note_applied(blocks[-1], commands, events)
        return digests

    def _show(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        for observer in self._observers:
            observer(first_seq, commands, events)

    def _note_applied(self, block: Block, commands: NDArray[Any], events: NDArray[Any]) -> None:
        self._follows = True
        self._put_on_tape(commands, events)
        self._note_published(block.last_seq)
        self.stamp.go_on(self.engine.now_ns, extended=ends_extended(commands))

    # The tape.

    def _put_on_tape(self, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Write a block that the engine has just applied."""
        if self._tape is not None:
            first_seq = self.engine.seq + 1 - len(commands)
            self._tape.write(first_seq, self.journal.epoch, self.engine.now_ns, commands, events)
            self._taped_seq = self.engine.seq

    def _note_published(self, seq: int) -> None:
        """Note how far answers have left. A copy gives none: what it shows is on its disk."""
        self.published_seq = seq
        self._tell_readers(min(seq, self.journal.durable_seq) if self._follows else seq)

    def _tell_readers(self, seq: int) -> None:
        """Tell readers of the tape how far they may tell; two threads do, and the word does not fall."""
        if self._tape is not None:
            with self._telling:
                self._told_seq = max(self._told_seq, seq)
                self._tape.store(Place.RELEASED, self._told_seq)

    def note_following(self) -> None:
        """Tell readers of the tape what this copy has on its disk: the primary has found it in its own journal."""
        self._follows = True
        self._note_published(self.published_seq)

    def note_replicated(self, seq: int) -> None:
        """Tell readers of the tape the last command that a copy has."""
        if self._tape is not None:
            self._tape.store(Place.REPLICATED, seq)

    def _release_soon(self) -> None:
        if not self._releasing:
            self._releasing = True
            self._loop.call_soon(self.release)

    def release(self) -> None:
        """Publish what is durable now; what takes longer goes on in the next turn of the loop."""
        self._releasing = False
        try:
            self.pipeline.release()
        except JournalError as error:
            self._break(error)
            return
        if self._follows:
            self._note_published(self.published_seq)
        self.on_release()

    def finish(self) -> None:
        """Wait until all commands taken are durable, and publish them. Raises JournalError."""
        self.pipeline.all()

    def _durable(self) -> None:
        """Note in the journal's thread that the durable mark has moved, or that writing has failed."""
        if self._latencies is not None and not self._follows:
            self._latencies.on_journaled(self.journal.durable_seq)
        if self._tape is not None:
            self._tape.store(Place.JOURNALED, self.journal.durable_seq)
        if not self._waits:
            try:
                self.journal.raise_failure()
            except JournalError:
                pass
            else:
                return
        # A node that was deposed ends while blocks are on their way to the disk: nobody waits for them any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.release)
        # Behind that call: whoever hears of a command by the tape and comes here finds that it was published here too.
        if self._tells_durable and not self._follows:
            self._tell_readers(min(self.journal.durable_seq, self._taped_seq))

    def _break(self, error: JournalError) -> None:
        if not self._broken:
            self._broken = True
            self._fail_submissions(error)
            self.on_failure(error)

    def leave(self) -> None:
        """End the wait of all who have submitted rows: the node ends, and nothing more is published here."""
        self._fail_submissions(OperationUnfinished(UNANSWERED))

    def _fail_submissions(self, error: Exception) -> None:
        for submission in self._submissions:
            if not submission.done.done():
                submission.done.set_exception(error)
        self._submissions.clear()

    def _published(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        began_ns = time.perf_counter_ns()
        for observer in self._observers:
            observer(first_seq, commands, events)
        self._note_published(first_seq + len(commands) - 1)
        read_ns, taken_ns, applying_ns, applied_ns, turns = self._timed.times.popleft()
        answered_ns = time.perf_counter_ns()
        # The CLOCK row that begins a block is no order.
        orders = max(len(commands) - 1, 1)
        self._stages.passed(read_ns, taken_ns, applying_ns, applied_ns, began_ns, answered_ns, orders)
        if self._latencies is not None and turns is None:
            times = (read_ns, taken_ns, applying_ns, applied_ns, began_ns, answered_ns)
            self._latencies.add_one(first_seq + len(commands) - 1, len(commands), times)
        elif self._latencies is not None and turns is not None:
            turns[2][:, _ANSWER] = began_ns, answered_ns
            self._latencies.add(*turns)
        if self._submissions:
            self._collect(first_seq, commands, events)

    def _collect(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        for submission in self._submissions:
            if first_seq < submission.first_seq:
                break
            if submission.last_seq is None or first_seq <= submission.last_seq:
                submission.commands.append(commands)
                submission.events.append(events)
                break
        self._settle()

    def _settle(self) -> None:
        while self._submissions:
            first = self._submissions[0]
            if first.last_seq is None or first.last_seq > self.published_seq:
                return
            self._submissions.popleft()
            if not first.done.done():
                first.done.set_result(_submitted(first))


def _raise(error: JournalError) -> None:
    raise error


def _do_nothing() -> None:
    pass


def _turns_of(block: MadeBlock) -> _Turns:
    """The turns of a block that is not answered yet, in memory of their own."""
    return block.last_seqs, block.rows.copy(), block.moments[:, _TIMES].copy()


def _submitted(submission: _Submission) -> SubmissionResult:
    def joined(batches: list[NDArray[Any]]) -> NDArray[Any]:
        raw = [np.ascontiguousarray(batch).view(np.uint8) for batch in batches]
        return np.concatenate(raw).view(batches[0].dtype)

    return SubmissionResult(submission.first_seq, joined(submission.commands), joined(submission.events))
