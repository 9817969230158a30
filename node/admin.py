"""The operator's door: JSON lines (``node.link``) on a unix socket in the data directory, and on TCP where asked for.

It runs on the node's event loop beside the market, so it is bounded in all it takes: length of a line, connections,
seconds without a token, seconds for a reader to take an answer. A connection that is idle makes room for a new one, so
that nobody keeps the operator out; the two ways in have bounds of their own. Each request gets an answer of one line;
an error that leaves the connection unusable ends that connection and nothing else.
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
from node.link import LINE_BYTES_MAX, Place, discard_place, new_token, remove_place, write_place
from node.logs import Log
from node.operations import Answer, Operations
from node.operator_socket import BoundSocket, peer_uid
from node.seats import Seat, Seats

#: Connections on the unix socket, and on TCP.
CONNECTIONS_MAX: Final = 16
#: TCP connections that have not shown a token yet.
WAITING_MAX: Final = 8
#: Connections of one way in, those that are only being told why they end among them; beyond it they end without a word.
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


class _ConnectionEnded(Exception):
    """A connection that has to be ended; the message is what its peer is told, "" for nothing."""


class _Door:
    """One way in: its connections, and how many there may be."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.seats = Seats(CONNECTIONS_MAX)


class AdminServer:
    """Serves the operator of ``node`` on ``directory``/operator.sock.

    port: of TCP on loopback beside it, with a token that ``admin.json`` in the directory carries; 0 for any that is
    free, None for no TCP. Raises AdminError for a host that others can reach; nothing is bound yet then.
    """

    def __init__(
        self,
        node: NodeControl,
        operations: Operations,
        directory: Path,
        log: Log,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
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
        self._bound: BoundSocket | None = None
        self._servers: list[asyncio.Server] = []
        self._local, self._tcp = _Door(), _Door()
        self._waiting = Seats(WAITING_MAX)
        self._failed_s: deque[float] = deque(maxlen=int(_FAILED_S_MAX / _FAILED_S))

    @property
    def port(self) -> int | None:
        """The TCP port; None where there is none."""
        return self._port

    async def start(self) -> None:
        """Listen, then write ``admin.json`` where there is a TCP port. Raises OSError."""
        self._bound = BoundSocket(self._directory)
        try:
            self._servers.append(
                await asyncio.start_unix_server(self._serve_local, sock=self._bound.socket, limit=LINE_BYTES_MAX)
            )
            if self._port is None:
                discard_place(self._directory)  # of a node that was killed: its port may be anybody's by now
                return
            self._servers.append(
                await asyncio.start_server(self._serve_tcp, self._host, self._port, limit=LINE_BYTES_MAX)
            )
            self._port = int(self._servers[-1].sockets[0].getsockname()[1])
            write_place(self._directory, Place(self._host, self._port, self._token, os.getpid(), *self._bound.identity))
        except OSError:
            self._stop_listening()
            raise

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        if self._bound is not None:
            self._bound.close()

    async def close(self) -> None:
        """Stop listening, finish answers that are under way, and end every connection. May be repeated."""
        if self._port is not None:
            remove_place(self._directory, self._token)
        self._stop_listening()
        own = asyncio.current_task()
        tasks = {task for way in (self._local, self._tcp) for task in way.tasks if task is not own}
        for task in tasks:
            task.cancel()  # between two requests; within one, the answer is shielded
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S + self._write_s)
        self._operations.close()

    async def _serve_local(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(self._local, reader, writer)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(self._tcp, reader, writer)

    async def _serve(self, way: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            way.tasks.add(task)
            task.add_done_callback(way.tasks.discard)
        transport = writer.transport
        transport.set_write_buffer_limits(high=0)  # a peer that reads no answer gets no second one
        try:
            if len(way.tasks) <= _TASKS_MAX:
                await self._let_in(way, reader, writer)
        except (TimeoutError, OSError, asyncio.CancelledError):
            pass  # the peer went away, reads nothing, has made room for another, or the node ends
        except Exception as error:  # of one connection, and none of the market's business
            self._log.error("a connection of the operator failed", error=type(error).__name__)
        finally:
            await self._end(writer)

    async def _let_in(self, way: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection until it ends; one that has to end is told why."""
        try:
            if way is self._local:
                self._check_user(writer)
            else:
                await self._check_login(reader, writer)
            await self._answer_requests(way, reader, writer)
        except _ConnectionEnded as end:
            if str(end):
                await self._say(writer, {"ok": False, "error": str(end)})
                await self._hear_out(reader, writer)

    def _check_user(self, writer: asyncio.StreamWriter) -> None:
        """Let in the user who runs the node, and root. Raises _ConnectionEnded."""
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in (0, os.geteuid()):
            self._log.warning("a connection to the operator's socket was refused", uid=uid)
            raise _ConnectionEnded(
                f"user {os.geteuid()} runs this node, not user {uid}; run this as that user, or with sudo."
            )

    async def _check_login(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seat = self._seat(self._waiting, writer, "it has shown no token yet")
        try:
            await self._check_token(reader)
        finally:
            self._waiting.leave(seat)

    def _seat(self, seats: Seats, writer: asyncio.StreamWriter, why: str) -> Seat:
        """A seat for the connection of the current task. Raises _ConnectionEnded if all are busy."""
        task = asyncio.current_task()

        def end() -> None:
            told = {"ok": False, "error": f"this connection was ended to make room for another: {why}."}
            writer.write(json.dumps(told).encode("ascii") + b"\n")
            if task is not None:
                task.cancel()

        seat = seats.take("", end)
        if seat is None:
            raise _ConnectionEnded(
                f"{CONNECTIONS_MAX} connections wait for an answer already; try again in some seconds."
            )
        return seat

    async def _answer_requests(self, way: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seat = self._seat(way.seats, writer, "it was idle the longest")
        try:
            status = self._node.status()
            known: dict[str, Any] = {
                key: status[key] for key in ("pid", "data", "journal_id", "durability", "uptime_s") if key in status
            }
            if self._bound is not None:
                known["directory"] = self._bound.identity._asdict()
            await self._say(writer, {"ok": True, "node": {**known, "rules_version": RULES_VERSION}})
            while True:
                request = _json(await self._line(reader, IDLE_S))
                way.seats.work(seat)
                await self._unbroken(self._reply(request, writer))
                way.seats.rest(seat)
        finally:
            way.seats.leave(seat)

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

    async def _reply(self, request: object, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, _UnreadableLine):
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
        """Return when the first line bears the token. Raises _ConnectionEnded."""
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
            raise _ConnectionEnded('the first line is to be {"token": "..."} with the token of admin.json.')
        raise _ConnectionEnded("the token is not the one of this node; read admin.json again.")

    async def _line(self, reader: asyncio.StreamReader, seconds: float) -> bytes:
        """The next line. Raises _ConnectionEnded when none comes."""
        try:
            async with asyncio.timeout(seconds):
                return await reader.readuntil(b"\n")
        except TimeoutError:
            raise _ConnectionEnded(f"no whole line came within {seconds:g} seconds.") from None
        except asyncio.LimitOverrunError:
            raise _ConnectionEnded(f"a line is longer than {LINE_BYTES_MAX:,} bytes; send less at once.") from None
        except asyncio.IncompleteReadError as error:
            raise _ConnectionEnded(
                "the last line has no end; end each with a newline." if error.partial else ""
            ) from None

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


class _UnreadableLine:
    """A line that is no JSON: what to tell its sender."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence


def _json(line: bytes) -> Any:
    """The value of a line, or an ``_UnreadableLine``."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        return _UnreadableLine("the line is not UTF-8; send one JSON object a line.")
    except RecursionError:
        return _UnreadableLine("the line is nested too deeply; send one flat JSON object a line.")
    except ValueError:
        return _UnreadableLine("the line is not JSON; send one JSON object a line.")


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
