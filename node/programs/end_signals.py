"""Signals that ask a node, a gateway or a witness to end in order."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any


def on_end_signal(action: Callable[..., Any], *arguments: Any) -> None:
    """Have the running event loop call ``action`` at SIGTERM, Ctrl-C, and the SIGHUP of a terminal that is closed.

    A SIGHUP that is ignored, as by nohup, stays so.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, action, *arguments)
