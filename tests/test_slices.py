"""Work of an event loop in slices."""

import asyncio
import time

import pytest

from gateway.slices import Slices


def test_work_is_done_at_once_while_the_slice_lasts_and_then_in_order_between_other_work() -> None:
    said: list[str] = []

    def work(name: str) -> None:
        time.sleep(0.001)
        said.append(name)

    async def run() -> None:
        slices, loop = Slices(slice_ns=1_000_000), asyncio.get_running_loop()
        slices.do(lambda: work("first"))
        assert said == ["first"], "it waits for nothing"
        for name in ("second", "third"):
            slices.do(lambda name=name: work(name))  # type: ignore[misc]
        assert said == ["first"]
        loop.call_soon(said.append, "other")
        await asyncio.sleep(0)
        assert said == ["first", "second", "other"]
        slices.do(lambda: work("fourth"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert said == ["first", "second", "other", "third", "fourth"], "none overtakes another"
        slices.do(lambda: work("fifth"))
        assert said[-1] == "fifth", "the next slice is whole"

    asyncio.run(run())


def test_a_fault_of_a_piece_is_the_caller_s_or_the_loop_s_and_the_rest_is_done() -> None:
    said: list[object] = []

    def fails() -> None:
        raise ZeroDivisionError

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(type(context["exception"])))
        slices = Slices(slice_ns=1)
        slices.do(lambda: said.append("first"))
        slices.do(fails)
        slices.do(lambda: said.append("done"))
        for _ in range(4):
            await asyncio.sleep(0)
        slices = Slices()
        with pytest.raises(ZeroDivisionError):
            slices.do(fails)

    asyncio.run(run())
    assert said == ["first", ZeroDivisionError, "done"]
