"""A node's checkpoints: begun where nothing is held, written by a fork, with the projections beside the market.

What the projections have seen must be what the engine has applied, so before a fork the gateway stops taking until all
that was taken is published: as long as a commit takes, a few milliseconds.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from checkpoints import Projections
from directory.aside import CheckpointAside
from engine.interface import MarketEngine
from journal import Journal
from node.control import Refused

#: Blocks after which one is taken whatever is in them: replay takes its time for each, so they bound a restart.
BLOCKS_MAX: Final = 40_000
#: The least time from one to the next that nobody asked for, in seconds: each stops the market for milliseconds.
APART_S: Final = 10.0
#: Interval at which a checkpoint under way is looked after while somebody waits for it, in seconds.
_LOOK_S = 0.005


class Images:
    """Checkpoints of a node, on its event loop.

    ``blocks``: how many were taken so far. ``has_room``: whether the disk has room for one that nobody asked for; what
    is left of a disk that is nearly full is for the journal. ``settled``: whether all that was taken is published;
    ``resume``: called once the gateway may take again; ``report``: told of each that is done, and ``warn`` of each that
    failed.
    """

    def __init__(
        self,
        journal: Journal,
        engine: MarketEngine,
        projections: Projections,
        directory: Path,
        commands: int,
        *,
        blocks: Callable[[], int],
        has_room: Callable[[], bool],
        settled: Callable[[], bool],
        resume: Callable[[], None],
        report: Callable[..., None],
        warn: Callable[..., None],
    ) -> None:
        self._journal, self._engine = journal, engine
        self._directory = directory
        self._blocks = blocks
        self._blocks_before = 0
        self._begun_s = time.monotonic()
        self._has_room = has_room
        self._settled = settled
        self._resume = resume
        self._report, self._warn = report, warn
        #: True if a checkpoint is to be begun, for which the gateway must stop taking.
        self.wanted = False
        self._failure = ""
        #: Checkpoints that failed since the start.
        self.failed = 0
        self._aside = CheckpointAside(
            journal,
            directory,
            commands,
            failed=self._failed,
            finished=lambda seq: report("checkpoint", seq=seq),
            projections=projections,
        )

    @property
    def finished_seq(self) -> int:
        """The last command of which there is a checkpoint; 0: none."""
        return self._aside.finished_seq

    def look(self) -> None:
        """Look after one that is being written, and begin one that is due or wanted. Never waits."""
        self._aside.tend()
        if self._is_due() and not self._aside.busy:
            self.wanted = True
        if self.wanted and self._settled() and not self._aside.busy:
            self.wanted = False
            self._blocks_before, self._begun_s = self._blocks(), time.monotonic()
            self._aside.now(self._engine)
            self._resume()

    def _is_due(self) -> bool:
        if time.monotonic() - self._begun_s < APART_S or not self._has_room():
            return False
        return self._aside.due(self._engine.seq) or self._blocks() - self._blocks_before >= BLOCKS_MAX

    async def take(self) -> dict[str, Any]:
        """Begin one now, and wait for it: seq, path, bytes, seconds. Raises Refused when it fails."""
        began_s = time.monotonic()
        if self._engine.seq == 0:
            raise Refused("there is no command yet, so there is nothing to take a checkpoint of")
        while self._aside.busy:
            await self._moment()
        self._failure = ""
        self.wanted = True
        self.look()
        while self.wanted or self._aside.busy:
            await self._moment()
            self.look()
        if self._failure:
            raise Refused(self._failure)
        path = self._directory / "checkpoints" / f"{self.finished_seq:020d}.checkpoint"
        seconds = round(time.monotonic() - began_s, 3)
        return {"seq": self.finished_seq, "path": str(path), "size_bytes": path.stat().st_size, "elapsed_s": seconds}

    def give_up(self, why: str = "the node ends") -> None:
        """Drop the one that is wanted or being written, if there is one."""
        if self.wanted or self._aside.busy:
            self._failed(f"the checkpoint was given up: {why}")
        self.wanted = False
        self._aside.give_up()

    async def _moment(self) -> None:
        await asyncio.sleep(_LOOK_S)
        self._aside.tend()

    def _failed(self, sentence: str) -> None:
        self._failure = sentence
        self.failed += 1
        self._warn("checkpoint failed", why=sentence)
