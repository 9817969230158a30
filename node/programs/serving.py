"""Life of a program that serves beside the market, on an event loop of its own: feed, NATS, web, market data by FIX."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import uvloop

from node.programs.end_signals import on_end_signal
from node.programs.logs import Log


class Serving(Protocol):
    """A program between its making, which restores what it knew, and its end."""

    async def start(self) -> None:
        """Catch up with what is released now, or until the end is asked for."""
        ...

    def listening(self) -> Mapping[str, Any] | None:
        """Words of the log on where it listens; None: its end was asked for before it could."""
        ...

    async def run(self, on_listening: Callable[[], None]) -> None:
        """Serve until the node or the operator ends it. Raises the fault that ended it, if any."""
        ...

    def stop(self) -> None:
        """End in order."""
        ...


def serve(make: Callable[[], Serving], log: Log, on_listening: Callable[[], None]) -> None:
    """Make a program on a new event loop, and run it until its node, its operator, SIGTERM or SIGINT ends it.

    ``on_listening``: called once it listens. Raises NoNode, OSError, and the fault that ended it.
    """
    with log.adopted(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_served(make, log, on_listening))


async def _served(make: Callable[[], Serving], log: Log, on_listening: Callable[[], None]) -> None:
    program = make()
    on_end_signal(program.stop)
    await program.start()
    if (words := program.listening()) is not None:
        log.info("listening", **words, pid=os.getpid())
    await program.run(on_listening)
