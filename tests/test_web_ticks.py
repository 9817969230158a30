"""Rate of what a web client gets ten times a second, which holds whatever the work at each time takes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from typing import Any
from unittest.mock import Mock

import pytest

from node.web.hub import TICK_S
from node.web.process import WebProcess
from node.web.replay_web import ReplayWeb
from node.web.ticks import ticks


def dates(work_s: Iterator[float], count: int, late_s: float = 0.001) -> list[float]:
    """Times of so many ticks of 0.1 s, behind each of which there is work, and each of which wakes late."""
    now = 5.0

    def now_s() -> float:
        return now

    async def sleep(wait_s: float) -> None:
        nonlocal now
        now += wait_s + (late_s if wait_s else 0.0)

    async def found() -> list[float]:
        nonlocal now
        made: list[float] = []
        async for _ in ticks(0.1, now_s, sleep):
            made.append(now - 5.0)
            if len(made) == count:
                break
            now += next(work_s)
        return made

    return asyncio.run(found())


@pytest.mark.parametrize("work_s", [[0.0], [0.05], [0.099], [0.0, 0.15], [0.0, 0.0, 0.19]])
def test_a_rate_holds_while_work_and_waking_take_less_than_the_interval_on_average(work_s: list[float]) -> None:
    made = dates(cycle(work_s), 1_000)
    assert 99.99 < made[-1] < 100.2
    # Control: who sleeps for the interval behind the work has lost ticks by then.
    assert 1_000 * (0.1 + 0.001 + sum(work_s) / len(work_s)) > 100.9


def test_dates_that_are_over_together_are_one_and_the_next_is_on_time() -> None:
    work_s = iter([0.0, 0.45, 0.0, 0.0])
    assert dates(work_s, 5, 0.0) == pytest.approx([0.1, 0.2, 0.65, 0.7, 0.8])


@pytest.mark.parametrize("program", [ReplayWeb, WebProcess])
def test_the_programs_for_web_clients_tick_by_it(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    intervals_s: list[float] = []

    async def three(interval_s: float) -> AsyncIterator[None]:
        intervals_s.append(interval_s)
        for _ in range(3):
            yield

    monkeypatch.setattr(f"{program.__module__}.ticks", three)
    made = program.__new__(program)
    made.hub, made._unread, made.options = Mock(), Mock(), Mock()
    made._look_at_age = made._look_at_readers = Mock()
    asyncio.run(made._tick())
    assert intervals_s == [TICK_S]
    assert made.hub.tick.call_count == 3
