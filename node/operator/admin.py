"""Admin server: JSON lines (``node.operator.link``) on a unix socket in the data directory, and on TCP if asked.

It runs on the node's event loop beside the market, so all is bounded: length of a line, connections, time for the
token, time for a reader to take an answer. An idle connection makes room for a new one, so that the operator can always
connect; the two sockets have separate bounds. Each request gets an answer of one line. An error that leaves the
connection unusable ends that connection only.
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
from node.core.control import NodeControl
from node.operator.link import LINE_BYTES_MAX, Place, discard_place, new_token, remove_place, write_place
from node.operator.operations import Answer, Operations
from node.operator.seats import Seat, Seats
from node.programs.logs import Log
from node.programs.operator_socket import BoundSocket, peer_uid
from notation.strict_json import NameTwice, TooDeep, read_json

#: Connections on the unix socket, and on TCP.
CONNECTIONS_MAX: Final = 16
#: TCP connections that have not shown a token yet.
WAITING_MAX: Final = 8
#: Connections of one socket, including those that only wait for the reason of their end; further ones end without one.
_TASKS_MAX: Final = 64
#: Longest waits in seconds: for the token, for the reader of an answer, and for a request.
LOGIN_S: Final = 5.0
WRITE_S: Final = 10.0
IDLE_S: Final = 600.0

#: Delay of the answer to a wrong token, for each wrong one within a minute, and its bound, in seconds.
_FAILED_S: Final = 0.1
_FAILED_S_MAX: Final = 2.0
#: Time for connections at the end to send their last answers, in seconds.
_CLOSE_S: Final = 1.0


class AdminError(ValueError):
    """The admin server cannot start with these options; the message says why."""


class _ConnectionEnded(Exception):
    """End of a connection; the message goes to its peer, unless it is ""."""


class _Door:
    """One socket with its connections and their bounds."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.seats = Seats(CONNECTIONS_MAX)


class AdminServer:
    """Server for the operator of ``node`` on ``directory``/operator.sock.

    port: of TCP on loopback, with the token in ``admin.json`` of the directory; 0 for any free port, None for no TCP.
    Raises AdminError for a host that others can reach.
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
        """The TCP port; None without TCP."""
        return self._port

    async def start(self) -> None:
        """Listen, then write ``admin.json`` if there is a TCP port. Raises OSError."""
        self._bound = BoundSocket(self._directory)
        try:
            self._servers.append(
                await asyncio.start_unix_server(self._serve_local, sock=self._bound.socket, limit=LINE_BYTES_MAX)
            )
            if self._port is None:
                discard_place(self._directory)  # of a killed node: another program may have its port now
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
        """Stop listening, finish the answers under way, and end all connections. May be repeated."""
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
        except Exception as error:  # concerns one connection, not the market
            self._log.error("a connection of the operator failed", error=type(error).__name__)
        finally:
            await self._end(writer)

    async def _let_in(self, way: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until it ends, with a reason where it is ended."""
        try:
            if way is self._local:
                self._check_user(writer)
            else:
                await self._check_login(reader, writer)
            await self._answer_requests(way, reader, writer)
        except _ConnectionEnded as end:
            if str(end):
                await self._send_answer(writer, {"ok": False, "error": str(end)})
                await self._hear_out(reader, writer)

    def _check_user(self, writer: asyncio.StreamWriter) -> None:
        """Admit the user who runs the node, and root. Raises _ConnectionEnded."""
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
            await self._send_answer(writer, {"ok": True, "node": {**known, "rules_version": RULES_VERSION}})
            while True:
                request = _json(await self._line(reader, IDLE_S))
                way.seats.work(seat)
                await self._unbroken(self._reply(request, writer))
                way.seats.rest(seat)
        finally:
            way.seats.leave(seat)

    async def _hear_out(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Discard what a peer still sends: closing the connection before would lose the last answer."""
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
            await self._send_answer(writer, {"ok": False, "error": request.sentence})
        else:
            await self._send_answer(writer, await self._operations.answer(request))

    async def _unbroken(self, reply: Any) -> None:
        """Answer a request even if the node ends meanwhile, so that its outcome is reported."""
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
        if not self._failed_s or now_s - self._failed_s[-1] > 1:  # one line a second at most
            self._log.warning(
                "a connection to the admin server showed no valid token", within_a_minute=len(self._failed_s)
            )
        self._failed_s.append(now_s)
        await asyncio.sleep(min(_FAILED_S * len(self._failed_s), _FAILED_S_MAX))
        if not isinstance(token, str):
            raise _ConnectionEnded('the first line must be {"token": "..."} with the token of admin.json.')
        raise _ConnectionEnded("the token is not the one of this node; read admin.json again.")

    async def _line(self, reader: asyncio.StreamReader, seconds: float) -> bytes:
        """Read the next line. Raises _ConnectionEnded if none comes."""
        try:
            async with asyncio.timeout(seconds):
                return await reader.readuntil(b"\n")
        except TimeoutError:
            raise _ConnectionEnded(f"no complete line came within {seconds:g} seconds.") from None
        except asyncio.LimitOverrunError:
            raise _ConnectionEnded(f"a line is longer than {LINE_BYTES_MAX:,} bytes; send less at once.") from None
        except asyncio.IncompleteReadError as error:
            raise _ConnectionEnded(
                "the last line has no end; end each with a newline." if error.partial else ""
            ) from None

    async def _send_answer(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        """Write an answer. Raises TimeoutError if its reader does not take it."""
        line = json.dumps(answer, default=_plain).encode("ascii") + b"\n"
        if len(line) > LINE_BYTES_MAX:
            told = {"ok": False, "error": f"the answer has {len(line):,} bytes, {LINE_BYTES_MAX:,} fit; ask for less."}
            line = json.dumps(told).encode("ascii") + b"\n"
        writer.write(line)
        async with asyncio.timeout(self._write_s):
            await writer.drain()


def _plain(value: Any) -> Any:
    """A NumPy number as a JSON number; other values that JSON lacks, as text."""
    return value.item() if hasattr(value, "item") else str(value)


class _UnreadableLine:
    """A line that is no JSON, with the sentence for its sender."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence


def _json(line: bytes) -> Any:
    """The value of a line, or an ``_UnreadableLine``."""
    try:
        return read_json(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        return _UnreadableLine("the line is not UTF-8; send one JSON object a line.")
    except NameTwice as twice:
        return _UnreadableLine(f"the line cannot be followed: {twice}.")
    except TooDeep:
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
