"""Work of an event loop in slices: when much comes at once, other work of the loop has its turn in between."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: Time for such work between other work of the loop, in ns.
SLICE_NS: Final = 2_000_000


class Slices:
    """Pieces of work, in the order in which they come. A piece is done at once while the slice lasts, and else waits.

    On a running event loop, whose thread makes all calls.
    """

    def __init__(self, slice_ns: int = SLICE_NS) -> None:
        self._loop = asyncio.get_running_loop()
        self._slice_ns = slice_ns
        self._left_ns = slice_ns  # of this slice
        self._waiting: deque[Callable[[], None]] = deque()
        self._due = False

    def do(self, work: Callable[[], None]) -> None:
        """Do a piece of work, at once or later."""
        if not self._due:  # the first of this pass of the loop
            self._due = True
            self._loop.call_soon(self._go_on)
        if self._waiting or self._left_ns <= 0:
            self._waiting.append(work)
        else:
            self._timed(work)

    def _timed(self, work: Callable[[], None]) -> None:
        began_ns = time.perf_counter_ns()
        try:
            work()
        finally:
            self._left_ns -= time.perf_counter_ns() - began_ns

    def _go_on(self) -> None:
        """Begin a slice, with what waits."""
        self._due = False
        self._left_ns = self._slice_ns
        if self._waiting:
            self._due = True
            self._loop.call_soon(self._go_on)
        while self._waiting and self._left_ns > 0:
            self._timed(self._waiting.popleft())
