"""A small HTTP/1.1 server for monitors: GET of a few paths, one request a connection.

It has no bodies, no encodings and no persistent connections. A request has a few kilobytes and a deadline, since it
runs beside the market. Connections are bounded, in total and for one address; a new one ends the oldest, so that open
connections cannot lock a monitor out.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from node.operator.admin import check_loopback
from node.operator.seats import Seats

HEAD_BYTES_MAX: Final = 8_192
CONNECTIONS_MAX: Final = 32
#: #: Connections of one address at most.
PEER_CONNECTIONS_MAX: Final = 16
#: Connections that wait for their end among them at most; a further one ends without an answer.
_TASKS_MAX: Final = 128
#: Time for the head of a request, and for its reader to take the response, in seconds.
HEAD_S: Final = 5.0
WRITE_S: Final = 10.0

_CLOSE_S: Final = 1.0


class Response(NamedTuple):
    """Answer of a path."""

    status: HTTPStatus
    content_type: str
    body: bytes


class HttpServer:
    """Server of the paths in ``pages`` on a loopback address; a page makes its response at each request.

    port: 0 for any free port. Raises AdminError for a host that others can reach.
    """

    def __init__(
        self,
        pages: Mapping[str, Callable[[], Response]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        head_s: float = HEAD_S,
    ) -> None:
        check_loopback(host, "the metrics server")
        self._pages = dict(pages)
        self._host, self._port = host, port
        self._head_s = head_s
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._seats = Seats(CONNECTIONS_MAX, PEER_CONNECTIONS_MAX)

    @property
    def port(self) -> int:
        """Port on which it listens."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=HEAD_BYTES_MAX)
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End the server and its connections. May be repeated."""
        if self._server is not None:
            self._server.close()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2 * _CLOSE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this as a task"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        seat = None
        try:
            if len(self._tasks) <= _TASKS_MAX:
                peer = writer.get_extra_info("peername")
                seat = self._seats.take(str(peer[0]) if isinstance(peer, tuple) else "", task.cancel)
                await self._write(writer, await self._response(reader))
                await self._hear_out(reader)
        except (TimeoutError, OSError, RuntimeError, asyncio.CancelledError):
            pass  # the peer went away, reads nothing, has made room for another, or the node ends
        finally:
            if seat is not None:
                self._seats.leave(seat)
            try:
                writer.close()
                async with asyncio.timeout(_CLOSE_S):
                    await writer.wait_closed()
            except (TimeoutError, OSError, RuntimeError, asyncio.CancelledError):
                writer.transport.abort()

    async def _hear_out(self, reader: asyncio.StreamReader) -> None:
        """Discard what a peer still sends: closing the connection before would lose the response."""
        async with asyncio.timeout(_CLOSE_S):
            while await reader.read(HEAD_BYTES_MAX):
                pass

    async def _response(self, reader: asyncio.StreamReader) -> Response:
        try:
            async with asyncio.timeout(self._head_s):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _said(HTTPStatus.REQUEST_TIMEOUT, f"no complete request came within {self._head_s:g} seconds")
        except asyncio.LimitOverrunError:
            return _said(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has {HEAD_BYTES_MAX:,} bytes at most")
        except asyncio.IncompleteReadError:
            return _said(HTTPStatus.BAD_REQUEST, "the request has no end")
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _said(HTTPStatus.BAD_REQUEST, "the request is not HTTP/1.1")
        if words[0] != "GET":
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered")
        page = self._pages.get(words[1].partition("?")[0])
        if page is None:
            return _said(HTTPStatus.NOT_FOUND, f"there is {', '.join(self._pages)}")
        try:
            return page()
        except Exception as error:  # the monitor must see the fault, and the market must continue
            return _said(HTTPStatus.INTERNAL_SERVER_ERROR, f"the page failed: {type(error).__name__}")

    async def _write(self, writer: asyncio.StreamWriter, response: Response) -> None:
        head = [
            f"HTTP/1.1 {int(response.status)} {response.status.phrase}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            head.append("Allow: GET")
        writer.transport.set_write_buffer_limits(high=0)
        writer.write("\r\n".join([*head, "", ""]).encode("ascii") + response.body)
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


def json_response(status: HTTPStatus, value: Any) -> Response:
    """A JSON object as a response."""
    return Response(status, "application/json", json.dumps(value).encode() + b"\n")


def _said(status: HTTPStatus, sentence: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{sentence}\n".encode())
