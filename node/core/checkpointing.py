"""Checkpoints of a node, written by a fork, with the projections beside the market.

The projections must have seen all commands that the engine has applied. So before a fork the gateway takes nothing
until all commands are published: for the time of a commit, a few milliseconds.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from checkpoints import Projections
from directory.checkpoint_fork import CheckpointFork
from directory.recover import stateful
from directory.roll import begin_same_slice_live, begin_slice_live
from engine.interface import MarketEngine
from journal import BlockRefused, Journal, JournalError
from node.core.control import OperationRefused, RefusedForNow
from node.core.market import Market
from node.core.scarcity import Scarcity
from replay.errors import ReplayError

#: Blocks after which a checkpoint is due, however short they are: replay takes time for each block.
BLOCKS_MAX: Final = 40_000
#: Least time between checkpoints that nobody requested, in seconds: each stops the market for milliseconds.
APART_S: Final = 10.0
#: Longest wait for the last commands to be published, so that a checkpoint can begin, in seconds.
BEGIN_S: Final = 10.0
#: Interval of looks at a checkpoint for which an operator waits, in seconds.
_LOOK_S: Final = 0.005


class CheckpointSchedule:
    """Checkpoints of a node, on its event loop.

    Without room on the disk (``scarcity``) none is due: the rest of a nearly full disk is for the journal. ``report``
    logs each checkpoint that is done, ``warn`` each that failed. Set ``on_begin`` before the first: it is called once a
    checkpoint has begun, so that the gateway may take again.

    A new slice of the journal begins at the same kind of moment, with the image that it starts from.

    In a pair the copies are asked for the digests of all parts of the state at that moment (``ask_parts``, which gives
    True if a standby in sync takes the checkpoint there). Then the node computes its own digests alone, unless somebody
    requested a checkpoint of this node. ``on_digests`` gets the digests of each.
    """

    def __init__(
        self,
        journal: Journal,
        engine: MarketEngine,
        projections: Projections,
        commands: int,
        *,
        market: Market,
        scarcity: Scarcity,
        report: Callable[..., None],
        warn: Callable[..., None],
    ) -> None:
        self._journal, self._engine = journal, engine
        self._market, self._scarcity = market, scarcity
        self.on_begin: Callable[[], None] = _do_nothing
        #: Callback once a new slice has begun, before its first block.
        self.on_slice: Callable[[], None] = _do_nothing
        self.ask_parts: Callable[[int], bool] = _nobody
        self.on_digests: Callable[[int, dict[str, bytes]], None] = _ignore
        self._blocks_before = 0
        self._begun_s = time.monotonic()
        self._report, self._warn = report, warn
        #: Reason why no checkpoint may be written any more: the state may be wrong; "" for none.
        self.forbidden = ""
        #: True if a checkpoint must begin, for which the gateway stops taking.
        self.wanted = False
        #: True if a new slice is to be begun at that moment, and if somebody waits for the checkpoint of this node.
        self._slice_wanted = self._requested = False
        self._failure = ""
        #: Checkpoints that failed since the start.
        self.failed = 0
        self._aside = CheckpointFork(
            journal,
            commands,
            on_failure=self._on_failure,
            on_checkpoint=self._on_checkpoint,
            on_digests=self._on_own_digests,
            projections=projections,
        )

    @property
    def child_pid(self) -> int:
        """Number of the process that writes a checkpoint; 0: there is none."""
        return self._aside.child_pid

    @property
    def finished_seq(self) -> int:
        """Last command of the newest checkpoint; 0: none."""
        return self._aside.finished_seq

    def look(self) -> None:
        """Check the checkpoint under way, and begin one that is due or wanted. Never waits."""
        self._aside.tend()
        if self._is_due() and not self._aside.busy:
            self.wanted = True
        if self.wanted and self._market.published_seq == self._engine.seq and not self._aside.busy:
            self.wanted = False
            self._blocks_before, self._begun_s = self._market.pipeline.blocks, time.monotonic()
            if self._slice_wanted:
                self._begin_slice()
            elif self.ask_parts(self._engine.seq) and not self._requested:
                self._aside.digest(self._engine)
            else:
                self._requested = False
                self._aside.now(self._engine)
            self.on_begin()

    def follow(self, seq: int) -> bool:
        """Begin a checkpoint at once, for a primary that asks for the digests after command ``seq``; False if none can
        be begun now.
        """
        self._aside.tend()
        if self._aside.busy or self._scarcity.state != "fine" or self._engine.seq != seq:
            return False
        self._blocks_before, self._begun_s = self._market.pipeline.blocks, time.monotonic()
        return self._aside.now(self._engine)

    def want_slice(self) -> None:
        """Have the next checkpoint be the image of a new slice of the journal, soon."""
        self.wanted = self._slice_wanted = True

    def _begin_slice(self) -> None:
        self._slice_wanted = False
        began_s = time.monotonic()
        try:
            begin_slice_live(self._journal, stateful(self._engine))
        except (ReplayError, JournalError) as error:
            self._journal.raise_failure()
            if self._journal.is_closed:
                raise  # the node ends, and its next start finds one slice or the other
            self._on_failure(f"no new slice was begun: {error}", "no new slice")
            return
        self._go_on_in_slice(began_s)

    def begin_same_slice(self, genesis: bytes) -> None:
        """Begin the slice that the primary has begun after the last command, with the same genesis record.

        Engine and projections stand at that command. A checkpoint under way is dropped, since the image of the slice
        cannot wait for it. Raises BlockRefused, and the slice before stays open, where the slice does not follow or
        cannot be written now; JournalError where the journal has failed.
        """
        began_s = time.monotonic()
        self.drop("a new slice of the journal begins")
        try:
            begin_same_slice_live(self._journal, stateful(self._engine), genesis)
        except JournalError as error:
            self._journal.raise_failure()
            if self._journal.is_closed or isinstance(error, BlockRefused):
                raise
            raise BlockRefused(f"the slice that the primary has begun is refused: {error}") from error
        self._go_on_in_slice(began_s)

    def _go_on_in_slice(self, began_s: float) -> None:
        """Begin the image of a slice that was begun at the present command, and report the slice."""
        self._aside.start_image(self._engine)
        self.on_slice()
        self._report(
            "new slice",
            number=self._journal.place.number,
            seq=self._engine.seq,
            stopped_ms=round(1e3 * (time.monotonic() - began_s), 3),
        )

    def _is_due(self) -> bool:
        if self.forbidden or time.monotonic() - self._begun_s < APART_S or self._scarcity.state != "fine":
            return False
        return self._aside.due(self._engine.seq) or self._market.pipeline.blocks - self._blocks_before >= BLOCKS_MAX

    async def take(self) -> dict[str, Any]:
        """Write a checkpoint now; gives seq, path, bytes and seconds. Raises OperationRefused if it fails."""
        began_s = time.monotonic()
        if self.forbidden:
            raise OperationRefused(f"no checkpoint is written: {self.forbidden}")
        if self._engine.seq == 0:
            raise OperationRefused("there is no command yet, so there is nothing to write a checkpoint of")
        while self._aside.busy:
            await self._moment()
        self._requested = True
        await self._done()
        path = self._journal.place.folder / "checkpoints" / f"{self.finished_seq:020d}.checkpoint"
        seconds = round(time.monotonic() - began_s, 3)
        return {"seq": self.finished_seq, "path": str(path), "size_bytes": path.stat().st_size, "elapsed_s": seconds}

    async def roll(self) -> dict[str, Any]:
        """Begin a new slice now, and wait for its image: number, seq, path, bytes, seconds. Raises OperationRefused."""
        began_s = time.monotonic()
        while self._aside.busy:
            await self._moment()
        self._slice_wanted = True
        await self._done()
        place = self._journal.place
        return {
            "slice": place.number,
            "seq": self._journal.start_seq,
            "path": str(place.folder),
            "size_bytes": place.start_image.stat().st_size,
            "elapsed_s": round(time.monotonic() - began_s, 3),
        }

    async def _done(self) -> None:
        """Begin what is wanted, and wait for it. Raises OperationRefused when it fails, or cannot begin in time.

        The last commands may wait for long: for a disk, for another node, or for an arbiter that is gone.
        """
        self._failure = ""
        self.wanted = True
        self.look()
        deadline_s = time.monotonic() + BEGIN_S
        while self.wanted or self._aside.busy:
            if self.wanted and time.monotonic() > deadline_s:
                self.wanted = self._slice_wanted = self._requested = False
                self.on_begin()
                raise RefusedForNow(
                    "no checkpoint can begin, since the last commands wait for their release; see `lockstep status`"
                )
            await self._moment()
            self.look()
        if self._failure:
            raise RefusedForNow(self._failure)

    def give_up(self) -> None:
        """Drop the checkpoint that is wanted or under way, if any, at the end of the node; waits for its process."""
        self.drop("the node ends")
        self._aside.give_up()

    def drop(self, why: str) -> None:
        """Drop the checkpoint that is wanted or under way, if any. Never waits: the market goes on."""
        if self.wanted or (self._aside.busy and not self._aside.dropped):
            self._on_failure(f"the checkpoint was given up: {why}")
        self.wanted = self._slice_wanted = self._requested = False
        self._aside.drop()

    async def _moment(self) -> None:
        await asyncio.sleep(_LOOK_S)
        self._aside.tend()

    def _on_checkpoint(self, seq: int) -> None:
        self._report("checkpoint", seq=seq)

    def _on_own_digests(self, seq: int, digests: dict[str, bytes]) -> None:
        self.on_digests(seq, digests)

    def _on_failure(self, sentence: str, what: str = "checkpoint failed") -> None:
        self._failure = sentence
        self.failed += 1
        self._warn(what, why=sentence)


def _do_nothing() -> None:
    pass


def _nobody(_seq: int) -> bool:
    return False


def _ignore(_seq: int, _digests: dict[str, bytes]) -> None:
    pass
