"""Processes that end in the middle of what they do, as by SIGKILL: at any call of compiled code, system calls too."""

import os
import sys
from collections.abc import Callable
from typing import Any


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
