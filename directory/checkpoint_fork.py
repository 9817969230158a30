"""Checkpoints beside the market: a fork of the process has a copy of the state, and writes it.

The fork shares the memory, and the system copies a page when one of the two writes to it; so the pump stands still
for the few milliseconds of the fork, and afterwards pays some microseconds for each page that it changes. The child
touches neither journal nor network, only its memory and the checkpoint's file.

A checkpoint may never be ahead of the journal. So the child writes and syncs the file under a temporary name, and
renames it to a checkpoint only when the parent reports that the journal is durable up to there; if the node dies
before, the child removes the file.

The parent never waits without a limit for a child that may hang: on a disk, stopped by somebody, or for whatever cause.
One that has used no processor for ``STILL_S`` though nothing keeps it is killed, and its checkpoint has failed.
"""

import gc
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple, NoReturn, Protocol

from checkpoints import (
    NO_PROJECTIONS,
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    Projections,
    write_checkpoint,
)
from directory.recover import image, stateful
from engine.digest import part_digest
from engine.interface import MarketEngine, StatefulEngine
from journal import Journal
from journal.slices import write_image_record
from replay.errors import ReplayError
from replay.forking import (
    deaf_to_ctrl_c,
    drop_others,
    has_ended,
    kill_child,
    of_low_priority,
    processor_ns,
    undisturbed,
    wait_or_kill,
)
from replay.rebuild import capacity_of, why_not_origin

_DURABLE = b"1"
#: Begin of the child's last word, after which the digests follow.
_DONE = b"done "
#: Lower priority of the child: the market goes first.
_NICE = 10
#: Bytes of the child's last word at most. They fit into a pipe of one page, which a user with many pipes gets: the word
#: is read after the child's end, and one that does not fit would keep it from ending.
_SENTENCE_BYTES_MAX = 4_096
#: Interval of looks at a child that is waited for, in seconds.
_LOOK_S: Final = 0.001
#: Time without any use of the processor after which a child hangs, and the part of it that a look adds at most: a pause
#: of the node itself is no standstill of the child.
STILL_S: Final = 60.0
_LOOK_S_MAX: Final = 1.0
#: Patience with a child that was dropped, at the end of the node: it notices once it has written its file.
DROPPED_S: Final = 2.0


class _Write(Protocol):
    """Writer of a checkpoint, which gets its name once ``named_when`` returns True."""

    def __call__(self, checkpoint: Checkpoint, named_when: Callable[[], bool], /) -> object: ...


class _Child(NamedTuple):
    pid: int
    seq: int
    go: int  # written once: the journal is durable up to ``seq``
    said: int  # read here: that it is done, or the sentence of what went wrong
    writes: bool  # False: it computes digests alone


class CheckpointFork:
    """Writer of checkpoints, as ``at_boundary`` of the pump: one each ``commands`` commands.

        with CheckpointFork(journal, 10_000_000) as every:
            pump(source, stamp, journal, engine, at_boundary=every)

    One at a time: one that is due while another is being written is taken after it; with ``waits`` the pump waits for
    that, so that none is late. ``keep``: how many of the newest checkpoints stay. At the end it waits for the one under
    way, or drops it after an exception.

    A node that takes its own time does the same by ``tend``, ``due`` and ``now``.

    ``start_image`` writes the image that a new slice of the journal starts from in the same way.

    A failed checkpoint does not stop the market: ``on_failure`` gets its sentence, and the next is taken when it is
    due. Without ``on_failure``, CheckpointError is raised at the end. Earlier checkpoints are unchanged.

    ``projections``: those whose images stand in the checkpoint. They must have seen the events of every command that
    the engine has applied, so with them a checkpoint is begun only where nothing is held. They are flushed before the
    fork. Their images are taken in the child, where nothing is open that was open in the parent; they are synced there
    when all is written and the journal is durable up to there, before the file gets its name. ``on_checkpoint``: called
    with the sequence number of each checkpoint that is done; ``finished_seq`` is the last. ``on_digests``: called with
    the sequence number of each and the digests of the parts of the state and of the projections, computed in the child;
    ``digest`` has them computed alone, without a checkpoint.
    """

    def __init__(
        self,
        journal: Journal,
        commands: int,
        *,
        keep: int = 8,
        waits: bool = False,
        on_failure: Callable[[str], object] | None = None,
        on_checkpoint: Callable[[int], object] | None = None,
        on_digests: Callable[[int, dict[str, bytes]], object] | None = None,
        projections: Projections = NO_PROJECTIONS,
    ) -> None:
        if commands < 1:
            raise ReplayError(f"a checkpoint every {commands} commands is not possible; give 1 or more")
        self._journal = journal
        self._capacity = capacity_of(journal)
        self._commands = commands
        self._keep = keep
        self._waits = waits
        self._failures: list[str] = []
        self._on_failure = self._failures.append if on_failure is None else on_failure
        self._on_checkpoint = on_checkpoint
        self._on_digests = on_digests
        self._projections = projections
        self._child: _Child | None = None
        self._told = self.dropped = False
        #: Processor time of the child at the last look, that look, and how long it has used none.
        self._used_ns: int | None = None
        self._looked_s = self._still_s = 0.0
        #: Processes of checkpoints that were dropped and that nobody waits for; those among them that were killed.
        self._left: list[int] = []
        self._killed: set[int] = set()
        # One beyond the journal's end is of another life of the directory.
        known = [
            info.seq
            for info in self._store().list()
            if info.valid and info.seq <= journal.last_seq and why_not_origin(info.origin, journal) is None
        ]
        self._last_seq = max(known, default=0)
        #: The last command of which there is a checkpoint that could be used; 0 before the first.
        self.finished_seq = self._last_seq

    def __enter__(self) -> "CheckpointFork":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.give_up()

    def __call__(self, _journal: Journal, engine: MarketEngine) -> None:
        """Check the checkpoint under way, and begin one that is due."""
        self.tend()
        if self.due(engine.seq):
            if self._waits:
                self._wait()
            self.now(engine)

    def tend(self) -> None:
        """Check the checkpoint under way; never waits."""
        self._left = [pid for pid in self._left if not has_ended(pid)]
        self._killed.intersection_update(self._left)
        if self._child is not None:
            self._report(self._child)
            self._reap(self._child)
        if self._child is not None:
            self._look(self._child)

    def _look(self, child: _Child) -> None:
        """Kill a child that stands still, and wait for it no more; its checkpoint has failed."""
        used_ns, now_s = processor_ns(child.pid), time.monotonic()
        if used_ns is None or used_ns != self._used_ns or not (self._told or self.dropped):
            self._still_s = 0.0  # it works, or waits for the journal, or nobody knows
        else:
            self._still_s += min(now_s - self._looked_s, _LOOK_S_MAX)
        self._used_ns, self._looked_s = used_ns, now_s
        if self._still_s > STILL_S:
            kill_child(child.pid)
            self._killed.add(child.pid)
            self._leave()
            self._on_failure(
                f"{_what_failed(child)}: its process stood still for {STILL_S:g} s and was killed; check the disk"
            )

    def due(self, seq: int) -> bool:
        """True if so many commands have passed at command ``seq`` that the next checkpoint is due."""
        return seq - self._last_seq >= self._commands

    def now(self, engine: MarketEngine) -> bool:
        """Begin a checkpoint, due or not; False, and nothing happens, while one is being written, and where one before
        hangs in the disk, which is reported.

        The engine must be at the end of the journal, and projections at the same command. A checkpoint that cannot be
        begun is reported like any failed one. Raises OSError if projections cannot be flushed.
        """
        self.tend()
        if self._child is not None:
            return False
        if self._killed:
            return self._hangs(engine.seq)
        store = self._store()

        def write(taken: Checkpoint, named_when: Callable[[], bool]) -> None:
            store.write(taken, named_when=named_when)

        self._begin(engine, write, lambda taken: self._prune(store, taken))
        return True

    def digest(self, engine: MarketEngine) -> bool:
        """Begin to compute the digests alone; otherwise as ``now``."""
        self.tend()
        if self._child is not None:
            return False
        if self._killed:
            return self._hangs(engine.seq)
        self._begin(engine, None)
        return True

    def _hangs(self, seq: int) -> bool:
        """Report that nothing is begun at command ``seq``: on a disk that hangs such processes would only add up."""
        self._last_seq = seq
        self._on_failure(
            f"the checkpoint of command {seq:,} was not taken: a process before it was killed and hangs in the disk"
        )
        return False

    def start_image(self, engine: MarketEngine) -> None:
        """Begin the image that the slice starts from, which was begun at this command; it counts as a checkpoint.

        One that is being written is dropped: the image cannot wait. Otherwise as ``now``.
        """
        self._leave()
        place = self._journal.place

        def write(taken: Checkpoint, named_when: Callable[[], bool]) -> None:
            write_image_record(place, {part: part_digest(arrays) for part, arrays in taken.parts.items()})
            write_checkpoint(place.start_image, taken, named_when=named_when)

        self._begin(engine, write)

    def _prune(self, store: CheckpointStore, taken: Checkpoint) -> None:
        versions = {name: each.version for name, each in taken.projections.items()}
        store.prune(self._keep, up_to=taken.seq, origin=taken.origin, versions=versions)

    @property
    def child_pid(self) -> int:
        """Number of the process that writes it; 0: there is none."""
        return 0 if self._child is None else self._child.pid

    @property
    def busy(self) -> bool:
        """True if a checkpoint is being written."""
        return self._child is not None

    def finish(self) -> None:
        """Wait for the checkpoint under way, if any; the journal must still be open."""
        self._wait()
        if self._failures:
            raise CheckpointError(self._failures[0])

    def _wait(self) -> None:
        if self._child is None:
            return
        try:
            if self._journal.wait_durable(self._child.seq):
                while self._child is not None:
                    time.sleep(_LOOK_S)
                    self.tend()
            else:
                self._on_failure(
                    f"the checkpoint of command {self._child.seq:,} was given up: it was not durable there"
                )
        finally:
            self.give_up()  # where something was raised, or it did not become durable

    def drop(self) -> None:
        """Drop the checkpoint under way, if any, unless it has its name already; never waits. It is ``busy`` until its
        process, which has a low priority, has noticed.
        """
        if self._child is not None and not self.dropped:
            self.dropped = True
            os.close(self._child.go)

    def _leave(self) -> None:
        """Drop the checkpoint under way, if any, and wait for its process no more; ``tend`` takes note of its end."""
        if self._child is not None:
            self._forget(self._child)
            self._left.append(self._child.pid)
            self._child = None

    def give_up(self) -> None:
        """Drop the checkpoint under way, if any, unless it has its name already. A process that does not end within
        ``DROPPED_S`` is killed.
        """
        if self._child is not None:
            self._forget(self._child)
            self._left.append(self._child.pid)
            self._child = None
        for pid in self._left:
            wait_or_kill(pid, DROPPED_S)
        self._left.clear()

    def _begin(
        self, engine: MarketEngine, write: _Write | None, after: Callable[[Checkpoint], object] = lambda _: None
    ) -> None:
        machine = stateful(engine)
        self._last_seq = engine.seq
        self._projections.flush()
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            hears, go, said, says = ends
            with undisturbed():
                pid = os.fork()
                if pid == 0:
                    # Views of the state are taken here, in the child, so that the parent spends no time on it.
                    _write_and_end(lambda: self._image(machine), write, after, hears, says, self._ready)
                self._child, self._told = _Child(pid, engine.seq, go, said, write is not None), False
                self._still_s = 0.0
            ends = [hears, says]
        except OSError as error:
            self._on_failure(f"the checkpoint of command {engine.seq:,} was not taken: no fork: {error.strerror}")
        finally:
            for end in ends:
                os.close(end)

    def _store(self) -> CheckpointStore:
        """The checkpoints of the slice that is open now."""
        return CheckpointStore(self._journal.place.folder)

    def _image(self, machine: StatefulEngine) -> Checkpoint:
        taken = image(machine, self._capacity, self._journal.journal_id)
        return replace(taken, projections=self._projections.images())

    def _ready(self) -> None:
        try:
            self._projections.sync()
        except OSError as error:
            raise CheckpointError(f"what goes with it could not be put on the disk: {error}") from error

    def _report(self, child: _Child) -> None:
        if not self.dropped and not self._told and self._journal.durable_seq >= child.seq:
            self._told = True
            with suppress(BrokenPipeError):  # it has failed already, and has reported it
                os.write(child.go, _DURABLE)

    def _reap(self, child: _Child) -> None:
        status = 0
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                return
        except ChildProcessError:
            pass  # it has ended; where SIGCHLD is ignored, the system keeps no status
        said = os.read(child.said, _SENTENCE_BYTES_MAX)
        dropped = self.dropped
        self._forget(child)
        self._child = None
        if said.startswith(_DONE):
            if child.writes:
                self.finished_seq = child.seq
                if self._on_checkpoint is not None:
                    self._on_checkpoint(child.seq)
            if self._on_digests is not None:
                digests = json.loads(said[len(_DONE) :])
                self._on_digests(child.seq, {name: bytes.fromhex(digest) for name, digest in digests.items()})
        elif not dropped:
            why = said.decode(errors="replace") or f"its process ended with status {status}"
            self._on_failure(f"{_what_failed(child)}: {why}")

    def _forget(self, child: _Child) -> None:
        if not self.dropped:
            os.close(child.go)
        os.close(child.said)
        self.dropped = False


def _what_failed(child: _Child) -> str:
    """The loss with a child that failed, in words.

    >>> _what_failed(_Child(1, 2_000, 3, 4, writes=False))
    'the digests of command 2,000 were not computed'
    """
    what, fate = ("the checkpoint", "was not taken") if child.writes else ("the digests", "were not computed")
    return f"{what} of command {child.seq:,} {fate}"


def _write_and_end(
    take: Callable[[], Checkpoint],
    write: _Write | None,
    after: Callable[[Checkpoint], object],
    hears: int,
    says: int,
    ready: Callable[[], None],
) -> NoReturn:
    """Work of the child. It ends without the interpreter's cleanup, which belongs to its parent."""
    try:
        gc.disable()
        deaf_to_ctrl_c()
        drop_others(hears, says)
        of_low_priority(_NICE)
        taken = take()

        def may_be_named() -> bool:
            durable = os.read(hears, 1) == _DURABLE
            if durable:
                ready()
            return durable

        if write is not None:
            write(taken, may_be_named)
        after(taken)
        os.write(says, _DONE + json.dumps(_digests(taken)).encode())
    except BaseException as error:  # the parent must get any error, and the child must end
        with suppress(OSError):
            os.write(says, (str(error) or type(error).__name__).encode()[:_SENTENCE_BYTES_MAX])
    finally:
        os._exit(0)


def _digests(taken: Checkpoint) -> dict[str, str]:
    """Digests of the parts of the state, and of the projections, in hexadecimal."""
    parts = {part: part_digest(arrays).hex() for part, arrays in taken.parts.items()}
    return parts | {name: each.digest.hex() for name, each in taken.projections.items()}
