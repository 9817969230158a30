"""Password checks in threads, off the event loop, address by address in turn.

A check takes 50 ms by design. In order of arrival, a flood of wrong logins from one address would delay all others for
a minute; in turn, a login waits for one check of each other address. Of the logins of one address the newest is checked
first: under a flood the clients of the oldest have given up.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

#: Threads at most. They are half as many as the processors: a flood of wrong passwords leaves the others to the market.
THREADS_MAX: Final = 8
#: Time for quick checks between other work of the event loop, in ns.
QUICK_NS: Final = 2_000_000


class PasswordCheck(NamedTuple):
    """Check of one password. ``check``: called in the thread. ``due_ns``: gives the earliest time of the check, from
    the present time. ``on_check``: called once with the answer; False if the check failed. is_quick: it takes less time
    than a change of threads.
    """

    check: Callable[[], bool]
    due_ns: Callable[[int], int]
    on_check: Callable[[bool], None]
    is_quick: bool = False


class CheckQueue:
    """Queue of checks. Pure: times are given. A key names the asking connection, which has one check at a time."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[object, PasswordCheck]] = {}  # by address, in the order of their turns

    def __len__(self) -> int:
        return sum(len(questions) for questions in self._waiting.values())

    def add(self, address: str, key: object, question: PasswordCheck) -> None:
        """Queue a check of an address."""
        self._waiting.setdefault(address, {})[key] = question

    def withdraw(self, address: str, key: object) -> None:
        """Drop the check of a key that no longer waits. May be repeated."""
        questions = self._waiting.get(address)
        if questions is not None and questions.pop(key, None) is not None and not questions:
            del self._waiting[address]

    def next(self, now_ns: int) -> tuple[PasswordCheck | None, int | None]:
        """Next check in turn, or None and the time to try again (None: after another ``add``)."""
        again_ns: int | None = None
        for address, questions in self._waiting.items():
            for key in reversed(questions):
                due_ns = questions[key].due_ns(now_ns)
                if due_ns <= now_ns:
                    question = questions.pop(key)
                    del self._waiting[address]
                    if questions:
                        self._waiting[address] = questions  # behind the others
                    return question, None
                again_ns = due_ns if again_ns is None else min(again_ns, due_ns)
        return None, again_ns


class PasswordThreads:
    """Threads of password checks, each one at a time. All calls come from the event loop's thread.

    Quick checks are made by the event loop, in turns of their own: they wait for no thread, so programs log in at once
    though people's passwords keep all threads busy for minutes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._free = threads()
        self._threads = ThreadPoolExecutor(self._free, "login")
        self._turns, self._quick_turns = CheckQueue(), CheckQueue()
        self._closed = self._due = False
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}

    def ask(self, address: str, key: object, question: PasswordCheck) -> None:
        """Queue a check of an address."""
        if question.is_quick:
            self._quick_turns.add(address, key, question)
            self._next_quick()
        else:
            self._turns.add(address, key, question)
            self._next()

    def withdraw(self, address: str, key: object) -> None:
        """Drop the check of a key that no longer waits; a check under way is finished. May be repeated."""
        self._turns.withdraw(address, key)
        self._quick_turns.withdraw(address, key)

    def _next(self) -> None:
        """Begin as many checks as there are threads."""
        while self._free and not self._closed:
            question = self._next_of(self._turns, self._next)
            if question is None:
                return
            self._free -= 1
            future = self._loop.run_in_executor(self._threads, question.check)
            future.add_done_callback(partial(self._done, question))

    def _next_quick(self) -> None:
        """Make quick checks, once other work of the loop has had its turn."""
        if not self._due and not self._closed:
            self._due = True
            self._loop.call_soon(self._check_quick)

    def _next_of(self, turns: CheckQueue, again: Callable[[], None]) -> PasswordCheck | None:
        """Next check in turn; None where none is due, and then ``again`` is called when one is."""
        if (timer := self._timers.pop(again, None)) is not None:
            timer.cancel()
        now_ns = time.monotonic_ns()
        question, again_ns = turns.next(now_ns)
        if again_ns is not None:
            self._timers[again] = self._loop.call_later((again_ns - now_ns) / 1e9, again)
        return question

    def _check_quick(self) -> None:
        """Make quick checks for a while: many logins at once go on together."""
        self._due = False
        until_ns = time.monotonic_ns() + QUICK_NS
        while not self._closed and (question := self._next_of(self._quick_turns, self._next_quick)) is not None:
            try:
                right = question.check()
            except Exception:  # as of a thread: a password that cannot be checked is not right
                right = False
            question.on_check(right)
            if time.monotonic_ns() >= until_ns:
                self._next_quick()
                return

    def _done(self, question: PasswordCheck, done: "asyncio.Future[bool]") -> None:
        self._free += 1
        question.on_check(not done.cancelled() and done.exception() is None and done.result())
        self._next()

    def close(self) -> None:
        """Check no more passwords."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._turns, self._quick_turns = CheckQueue(), CheckQueue()
        self._threads.shutdown(wait=False, cancel_futures=True)


def threads() -> int:
    """Number of threads on this machine: half as many as the processors that the process may use, and one at least."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors // 2, THREADS_MAX))
