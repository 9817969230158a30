"""Work that is ended or disturbed in its middle, at any call of compiled code, system calls too.

``killed`` is a SIGKILL, ``interrupted`` a Ctrl-C, ``full_disk`` a disk that takes no more at one call of the system.
"""

import contextlib
import io
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cli import interrupts
from cli.main import run_line


def calls_of(action: Callable[[], object]) -> int:
    """Number of calls of compiled code that an action makes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "c_call"

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def places_among(calls: int, count: int, seed: int) -> list[int]:
    """Sample of the calls at which to disturb an action that makes about so many, with the first and one never reached.

    With those two, each outcome shows: what was there before, and what is there after it.
    """
    return [1, *sorted(random.Random(seed).sample(range(calls), min(count, calls))), 2 * calls]


def killed(action: Callable[[], object], at_call: int) -> None:
    """Run an action in a process that ends at its n-th call of compiled code."""
    pid = os.fork()
    if pid == 0:
        calls = 0

        def count(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event == "c_call"
            if calls == at_call:
                os._exit(9)

        try:
            sys.setprofile(count)
            action()
        finally:
            sys.setprofile(None)
            os._exit(0)
    os.waitpid(pid, 0)


def interrupted(arguments: Sequence[object], at_call: int) -> tuple[int, str]:
    """Run a command line in a process that gets a Ctrl-C at its n-th call of compiled code: status and its message."""
    hears, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hears)
        status, calls = 99, 0

        def count(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event == "c_call"
            if calls == at_call:
                sys.setprofile(None)
                os.kill(os.getpid(), signal.SIGINT)

        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = interrupts._on_unraisable
            sys.setprofile(count)
            status = run_line([str(each) for each in arguments])
        finally:
            sys.setprofile(None)
            os.write(says, sys.stderr.getvalue().encode()[-4_096:])
            os._exit(status)
    os.close(says)
    with os.fdopen(hears, "rb") as said:
        message = said.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), message


def ends_as_interrupted(status: int, message: str, *, is_complete: bool) -> bool:
    """True for a Ctrl-C that ended a command, or that came too late for work that is complete.

    An interrupt in a finalizer is repeated 10 ms later (``cli/interrupts.py``); the work may be done by then.
    """
    told = "".join(line for line in message.splitlines(keepends=True) if not line.startswith("note: "))
    return (status, told) == (130, "lockstep: interrupted\n") or (is_complete and (status, told) == (0, ""))


class FullDisk:
    """A disk that takes nothing at call number ``at_call`` of the functions ``names`` of ``os``; ``calls``: made."""

    def __init__(self, names: Sequence[str], at_call: int) -> None:
        self._real = {name: getattr(os, name) for name in names}
        self._at_call = at_call
        self.calls = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Context in which the functions are replaced."""
        with pytest.MonkeyPatch.context() as patch:
            for name in self._real:
                patch.setattr(os, name, self._counted(name))
            yield

    def _counted(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self._at_call:
                raise OSError(28, "No space left on device")
            return self._real[name](*arguments, **named)

        return call
