"""Replay of a journal at a chosen speed, on a running event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from typing import Final

from replay.pacing import Moment, Pace, moments
from replay.past import PlayedBlock

#: Rows that are taken between two turns of the event loop, at most.
ROWS_MAX: Final = 512
_LOOK_S: Final = 0.001


class PacedReplay:
    """Blocks of a journal from its first command on, each at its time.

    What is before ``from_seq`` comes at once, the rest in its time. speed: times as fast as it was; None: as fast as
    can be. ``is_ready``: called before each part at full speed; while it says False, nothing goes on. ``is_paced``:
    called before each part; where it says False, the part comes at once.
    """

    def __init__(
        self,
        blocks: Generator[PlayedBlock, None, None],
        from_seq: int,
        speed: float | None,
        *,
        is_ready: Callable[[], bool] = lambda: True,
        is_paced: Callable[[], bool] = lambda: True,
    ) -> None:
        self._blocks, self._from_seq, self._is_ready, self._is_paced = blocks, from_seq, is_ready, is_paced
        self._pace = Pace(speed)
        self._ends = asyncio.Event()
        #: The last command that was given.
        self.seq = 0

    def stop(self) -> None:
        """End before the next part."""
        self._ends.set()

    @property
    def is_stopped(self) -> bool:
        """True once its end was asked for."""
        return self._ends.is_set()

    def postpone(self, seconds: float) -> None:
        """Shift the rest of the replay by some seconds, which were spent waiting for a reader."""
        self._pace.postpone(seconds)

    async def moments(self) -> AsyncIterator[Moment]:
        """Give the parts, each when it is due. Raises what the blocks raise."""
        loop = asyncio.get_running_loop()
        try:
            while (block := await asyncio.to_thread(next, self._blocks, None)) is not None:
                for moment in moments(block, self._from_seq, self._pace.speed, ROWS_MAX):
                    if not moment.is_before and self._is_paced():
                        await self._wait(self._pace.due_s(moment.time_ns, loop.time()) - loop.time())
                    if self._ends.is_set():
                        return
                    yield moment
                    self.seq = moment.rows.first_seq + len(moment.rows.commands) - 1
                    await asyncio.sleep(0)
        finally:
            await asyncio.to_thread(self._blocks.close)

    async def _wait(self, seconds: float) -> None:
        if seconds > 0.0:
            await self.rest(seconds)
        while self._pace.speed is None and not self._is_ready() and not self._ends.is_set():
            await asyncio.sleep(_LOOK_S)

    async def rest(self, seconds: float) -> None:
        """Wait, or until the end is asked for."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ends.wait(), seconds)
