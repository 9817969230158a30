"""A process that has long to catch up ends at once when it is asked to, in order, and its next start goes on."""

import asyncio
import io
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="pip install 'lockstep[web]'")
pytest.importorskip("nats", reason="pip install 'lockstep[nats]'")

from node.feeds.fix_data_process import FixDataOptions, FixDataProcess
from node.nats.process import NatsOptions, NatsProcess
from node.programs.logs import Log
from node.web.process import WebOptions, WebProcess
from tape.places import Place
from tests.running import started

#: Time in which a process ends, in seconds.
WITHIN_S = 2.0


def web(data: Path, listens: socket.socket, log: Log) -> tuple[Any, Any]:
    made = WebProcess(WebOptions(data, listens, 0), log)
    return made, made.follower.tape


def nats(data: Path, listens: socket.socket, log: Log) -> tuple[Any, Any]:
    made = NatsProcess(NatsOptions(data, "nats", "nats://127.0.0.1:1", "test", listens), log)
    return made, made.follower.tape


def fix_data(data: Path, listens: socket.socket, log: Log) -> tuple[Any, Any]:
    made = FixDataProcess(FixDataOptions(data, listens), log)
    return made, made.follower.tape


@pytest.mark.parametrize("made", [web, nats, fix_data])
def test_a_process_that_catches_up_ends_within_two_seconds(
    tmp_path: Path, made: Callable[[Path, socket.socket, Log], tuple[Any, Any]]
) -> None:
    node = started(tmp_path)
    listens = socket.create_server(("127.0.0.1", 0))

    async def ended() -> float:
        process, tape = made(node.data, listens, Log(io.StringIO()))
        loaded = tape.load
        tape.load = lambda place: 2**60 if place == Place.RELEASED else loaded(place)  # what never comes

        async def life() -> None:
            await process.start()
            await process.run(lambda: None)

        living = asyncio.create_task(life())
        await asyncio.sleep(1.0)
        assert not living.done()  # control: it catches up
        began_s = time.monotonic()
        process.stop()
        await asyncio.wait_for(living, 60.0)
        return time.monotonic() - began_s

    try:
        assert asyncio.run(ended()) < WITHIN_S
    finally:
        listens.close()
        node.stop()
