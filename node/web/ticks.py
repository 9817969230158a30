"""Dates at one distance from each other, on a running event loop: a rate that holds whatever is done at each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable


async def ticks(
    interval_s: float,
    now_s: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Wait for each date, the first of which is an interval from now. now_s: clock; None: that of the loop.

    Who is late has the date at once, and the next one on time: so many come in an hour as it has intervals. Of dates
    that are over together only the last is given.
    """
    now_s = asyncio.get_running_loop().time if now_s is None else now_s
    due_s = now_s()
    while True:
        due_s += interval_s * max(1, (now_s() - due_s) // interval_s)
        await sleep(max(0.0, due_s - now_s()))
        yield
