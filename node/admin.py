"""The operator's door: a server on the loopback interface that takes requests in JSON lines (``node.link``).

It runs on the node's event loop beside the market, so it is bounded in all it takes: length of a line, connections,
seconds without a token, seconds for a reader to take an answer. Whatever comes in is answered by one sentence; what
cannot be gone on with after that ends its own connection and nothing else.
"""

import asyncio
import hmac
import ipaddress
import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from engine.records import RULES_VERSION
from node.control import NodeControl
from node.link import LINE_BYTES_MAX, Place, new_token, remove_place, write_place
from node.logs import Log
from node.operations import Answer, Operations

CONNECTIONS_MAX: Final = 16
#: Connections that have not shown a token yet. They have room of their own, and so keep no operator out for long.
WAITING_MAX: Final = 8
#: All connections, those that are only being told that they are too many among them; beyond it they end without a word.
_TASKS_MAX: Final = 64
#: Seconds in which the token has to come, in which an answer has to be taken, and without a request.
LOGIN_S: Final = 5.0
WRITE_S: Final = 10.0
IDLE_S: Final = 600.0

#: A wrong token is answered after this, for each that was wrong within a minute, up to a bound.
_FAILED_S: Final = 0.1
_FAILED_S_MAX: Final = 2.0
#: Seconds that connections have at the end to send what is still to be said.
_CLOSE_S: Final = 1.0


class AdminError(ValueError):
    """The admin server cannot be started so; the message says why."""


class _Ended(Exception):
    """A connection that has to be ended; the message is what its peer is told, "" for nothing."""


class AdminServer:
    """Serves the operator of ``node``; ``directory`` gets ``admin.json``.

    port: 0 for any that is free. Raises AdminError for a host that others can reach; nothing is bound yet then.
    """

    def __init__(
        self,
        node: NodeControl,
        operations: Operations,
        directory: Path,
        log: Log,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        login_s: float = LOGIN_S,
        write_s: float = WRITE_S,
    ) -> None:
        check_loopback(host, "the admin server")
        self._node = node
        self._operations = operations
        self._directory = directory
        self._log = log
        self._host, self._port = host, port
        self._login_s, self._write_s = login_s, write_s
        self._token = new_token()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._open = 0
        self._failed_s: deque[float] = deque(maxlen=int(_FAILED_S_MAX / _FAILED_S))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def start(self) -> None:
        """Listen, then write ``admin.json``. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=LINE_BYTES_MAX)
        self._port = int(self._server.sockets[0].getsockname()[1])
        try:
            write_place(self._directory, Place(self._host, self._port, self._token, os.getpid()))
        except OSError:
            self._server.close()
            raise

    async def close(self) -> None:
        """Remove ``admin.json``, let what is being answered be said, and end every connection. May be repeated."""
        remove_place(self._directory, self._token)
        if self._server is not None:
            self._server.close()
        own = asyncio.current_task()
        tasks = {task for task in self._tasks if task is not own}
        for task in tasks:
            task.cancel()  # between two requests; within one, the answer is shielded
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S + self._write_s)
        self._operations.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        transport = writer.transport
        transport.set_write_buffer_limits(high=0)  # a peer that reads no answer gets no second one
        try:
            if len(self._tasks) <= _TASKS_MAX:
                await self._let_in(reader, writer)
        except (TimeoutError, OSError, asyncio.CancelledError):
            pass  # the peer went away, reads nothing, or the node ends
        except Exception as error:  # of one connection, and none of the market's business
            self._log.error("a connection of the operator failed", error=type(error).__name__)
        finally:
            await self._end(writer)

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection until it ends; one that has to end is told why."""
        try:
            await self._answered(reader, writer)
        except _Ended as end:
            if str(end):
                await self._say(writer, {"ok": False, "error": str(end)})
                await self._hear_out(reader, writer)

    async def _hear_out(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let go unread what a peer still sends: a connection closed before it would take the last answer along."""
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
        async with asyncio.timeout(_CLOSE_S):
            while await reader.read(LINE_BYTES_MAX):
                pass

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        try:
            writer.close()
            async with asyncio.timeout(_CLOSE_S):
                await writer.wait_closed()
        except (TimeoutError, OSError, RuntimeError, asyncio.CancelledError):
            writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._waiting >= WAITING_MAX:
            raise _Ended(f"{WAITING_MAX} connections have not shown a token yet; try again in some seconds.")
        self._waiting += 1
        try:
            await self._check_token(reader)
        finally:
            self._waiting -= 1
        if self._open >= CONNECTIONS_MAX:
            raise _Ended(f"{CONNECTIONS_MAX} connections are open already; end one of them.")
        self._open += 1
        try:
            status = self._node.status()
            known = {key: status[key] for key in ("pid", "data", "durability", "uptime_s") if key in status}
            await self._say(writer, {"ok": True, "node": {**known, "rules_version": RULES_VERSION}})
            while True:
                request = _json(await self._line(reader, IDLE_S))
                await self._unbroken(self._reply(request, writer))
        finally:
            self._open -= 1

    async def _reply(self, request: object, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, _Unreadable):
            await self._say(writer, {"ok": False, "error": request.sentence})
        else:
            await self._say(writer, await self._operations.answer(request))

    async def _unbroken(self, reply: Any) -> None:
        """Carry a request to its answer, even when the node ends meanwhile: what was done is to be said."""
        work = asyncio.ensure_future(reply)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work], timeout=_CLOSE_S)
            work.cancel()
            raise

    async def _check_token(self, reader: asyncio.StreamReader) -> None:
        """Return when the first line bears the token. Raises _Ended."""
        first = _json(await self._line(reader, self._login_s))
        token = first.get("token") if isinstance(first, dict) else None
        shown = token if isinstance(token, str) else ""
        if hmac.compare_digest(shown.encode("utf-8", "backslashreplace"), self._token.encode()):
            return
        now_s = time.monotonic()
        while self._failed_s and now_s - self._failed_s[0] > 60:
            self._failed_s.popleft()
        if not self._failed_s or now_s - self._failed_s[-1] > 1:  # a line a second, however many there are
            self._log.warning(
                "a connection to the admin server showed no valid token", within_a_minute=len(self._failed_s)
            )
        self._failed_s.append(now_s)
        await asyncio.sleep(min(_FAILED_S * len(self._failed_s), _FAILED_S_MAX))
        if not isinstance(token, str):
            raise _Ended('the first line is to be {"token": "..."} with the token of admin.json.')
        raise _Ended("the token is not the one of this node; read admin.json again.")

    async def _line(self, reader: asyncio.StreamReader, seconds: float) -> bytes:
        """The next line. Raises _Ended when none comes."""
        try:
            async with asyncio.timeout(seconds):
                return await reader.readuntil(b"\n")
        except TimeoutError:
            raise _Ended(f"no whole line came within {seconds:g} seconds.") from None
        except asyncio.LimitOverrunError:
            raise _Ended(f"a line is longer than {LINE_BYTES_MAX:,} bytes; send less at once.") from None
        except asyncio.IncompleteReadError as error:
            raise _Ended("the last line has no end; end each with a newline." if error.partial else "") from None

    async def _say(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        """Write an answer. Raises TimeoutError when its reader does not take it."""
        line = json.dumps(answer, default=_plain).encode("ascii") + b"\n"
        if len(line) > LINE_BYTES_MAX:
            told = {"ok": False, "error": f"the answer has {len(line):,} bytes, {LINE_BYTES_MAX:,} fit; ask for less."}
            line = json.dumps(told).encode("ascii") + b"\n"
        writer.write(line)
        async with asyncio.timeout(self._write_s):
            await writer.drain()


def _plain(value: Any) -> Any:
    """A NumPy number as JSON has it; anything else that JSON does not know, as text."""
    return value.item() if hasattr(value, "item") else str(value)


class _Unreadable:
    """A line that is no JSON: what to tell its sender."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence


def _json(line: bytes) -> Any:
    """The value of a line, or an ``_Unreadable``."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        return _Unreadable("the line is not UTF-8; send one JSON object a line.")
    except RecursionError:
        return _Unreadable("the line is nested too deeply; send one flat JSON object a line.")
    except ValueError:
        return _Unreadable("the line is not JSON; send one JSON object a line.")


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def check_loopback(host: str, what: str) -> None:
    """Raise AdminError unless ``host`` is an address of the loopback interface."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise AdminError(f"{what} is to listen on {host[:60]!r}, which others can reach; give 127.0.0.1 or ::1")
