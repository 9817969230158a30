"""Signals that ask a node, a gateway or a witness to end in order."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_end_signal(action: Callable[..., Any], *arguments: Any) -> None:
    """Have the running event loop call ``action`` at SIGTERM, Ctrl-C, and the SIGHUP of a terminal that is closed.

    A SIGHUP that is ignored, as by nohup, stays so.
    """
    loop = asyncio.get_running_loop()
    for number in _END_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, action, *arguments)


@contextmanager
def end_signals_as_before() -> Iterator[None]:
    """Context behind which these signals do what they did before it.

    An event loop that has ended leaves an action of its own, which does nothing: a program that goes on without it
    would not end.
    """
    before = {number: signal.getsignal(number) for number in _END_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, action in before.items():
                if action is not None:  # None: not set by Python
                    signal.signal(number, action)
