"""The timer of the async client, on each kind of event loop that it runs on."""

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from client import AsyncClient


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_timer_that_is_due_at_once_is_followed_by_another(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handle of uvloop that is due at once has no time: the connection was lost over it, and orders with it."""
    client = AsyncClient("127.0.0.1", 1, "UA", "secret")
    due_ns = [0]
    monkeypatch.setattr(client.core, "due_ns", lambda: due_ns[0])

    async def schedule() -> None:
        client._loop = asyncio.get_running_loop()
        client._schedule()  # long due
        at_once = client._timer
        client._schedule()
        assert client._timer is not None
        assert not client._timer.cancelled()
        client._timer.cancel()
        # Control: a later one does not take the place of the first.
        client._timer = at_once
        due_ns[0] = time.monotonic_ns() + 60_000_000_000
        client._schedule()
        assert client._timer is at_once

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(schedule())
