"""Requests for publications: a reader that takes nothing keeps neither its socket nor what it is due."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from client.publication import Publication, Request
from node import published_requests
from node.published_requests import RequestServer


class Endless:
    """Large publications without an end."""

    async def answers(self, asked: Request) -> AsyncIterator[Publication]:
        while True:
            yield Publication(0, "20240115", asked.first, 1, payload=bytes(8 << 20))


def test_a_reader_that_takes_nothing_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_requests, "_TAKE_S", 0.2)

    async def ask() -> None:
        requests, writers = RequestServer(Endless()), list[asyncio.StreamWriter]()
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await requests.serve(reader, writer)
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(b"itch 20240115 1\n")
            async with asyncio.timeout(20.0):
                await ended.wait()
            await asyncio.sleep(0.1)
            assert writers[0].transport.get_write_buffer_size() == 0
            async with asyncio.timeout(5.0):
                await writers[0].wait_closed()
        server.close()

    asyncio.run(ask())
