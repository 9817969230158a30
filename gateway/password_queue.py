"""Password checks in one thread, off the event loop, address by address in turn.

A check takes 50 ms by design. In order of arrival, a flood of wrong logins from one address would delay all others for
a minute; in turn, a login waits for one check of each other address. Of the logins of one address the newest is checked
first: under a flood the clients of the oldest have given up.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple


class PasswordCheck(NamedTuple):
    """Check of one password. ``check``: called in the thread. ``due_ns``: gives the earliest time of the check, from
    the present time. ``on_check``: called once with the answer; False if the check failed.
    """

    check: Callable[[], bool]
    due_ns: Callable[[int], int]
    on_check: Callable[[bool], None]


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


class PasswordThread:
    """Thread of password checks, one at a time. All calls come from the event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "login")
        self._turns = CheckQueue()
        self._busy = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, address: str, key: object, question: PasswordCheck) -> None:
        """Queue a check of an address."""
        self._turns.add(address, key, question)
        self._next()

    def withdraw(self, address: str, key: object) -> None:
        """Drop the check of a key that no longer waits; a check under way is finished. May be repeated."""
        self._turns.withdraw(address, key)

    def _next(self) -> None:
        if self._busy or self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_ns = time.monotonic_ns()
        question, again_ns = self._turns.next(now_ns)
        if question is not None:
            self._busy = True
            future = self._loop.run_in_executor(self._thread, question.check)
            future.add_done_callback(lambda done: self._done(question, done))
        elif again_ns is not None:
            self._timer = self._loop.call_later((again_ns - now_ns) / 1e9, self._next)

    def _done(self, question: PasswordCheck, done: "asyncio.Future[bool]") -> None:
        self._busy = False
        question.on_check(not done.cancelled() and done.exception() is None and done.result())
        self._next()

    def close(self) -> None:
        """Check no more passwords."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._turns = CheckQueue()
        self._thread.shutdown(wait=False, cancel_futures=True)
