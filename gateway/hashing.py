"""Passwords checked in one thread, away from the event loop, and address by address in turn.

A check takes 50 ms on purpose. Were they done as they come, a flood of wrong logins from one address would keep all
others waiting for a minute; in turn, they wait for one check of each address that asks. What nobody waits for any more
when its turn comes is not checked at all.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple


class Question(NamedTuple):
    """``check``: called in the thread. ``wanted``: whether it is still to be. ``decided``: told what came of it, once;
    False where it was not wanted or has failed."""

    check: Callable[[], bool]
    wanted: Callable[[], bool]
    decided: Callable[[bool], None]


class Hashing:
    """One check at a time. All calls are of the event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "login")
        self._waiting: dict[str, deque[Question]] = {}  # by address, in the order of their turns
        self._busy = False
        self._closed = False

    def ask(self, address: str, question: Question) -> None:
        """Have a question of an address answered."""
        self._waiting.setdefault(address, deque()).append(question)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        while self._waiting and not self._closed:
            address = next(iter(self._waiting))
            queue = self._waiting.pop(address)
            question = queue.popleft()
            if queue:
                self._waiting[address] = queue  # behind the others
            if question.wanted():
                self._busy = True
                future = self._loop.run_in_executor(self._thread, question.check)
                future.add_done_callback(lambda done, question=question: self._done(question, done))  # type: ignore[misc]
                return
            question.decided(False)

    def _done(self, question: Question, done: "asyncio.Future[bool]") -> None:
        self._busy = False
        question.decided(not done.cancelled() and done.exception() is None and done.result())
        self._next()

    def close(self) -> None:
        """Nothing more is checked."""
        self._closed = True
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)
