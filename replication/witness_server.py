"""Witness as a server: TCP, the clock and the disk around ``replication.witness``.

One thread does everything, in this order: read, decide, write the register and sync it, let the decision take effect,
answer. So nothing is answered that a crash could take back. A time in which the thread did not read, such as a slow
sync, does not count against those who hold a lease (``Witness.extend_leases``).

If a change cannot be written, as on a full disk, its request fails and the register stays; renewals need no disk. If a
change may be written or not, the server ends, and the next start reads what is there.
"""

import asyncio
import contextlib
import errno
import secrets
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from replication.arbiter import Acquire, Record, Reign, Release, Request, Won
from replication.lease import lease_clock_ns
from replication.register import Decision
from replication.register_file import MARKETS_MAX, RegisterFault, RegisterFiles, RegisterKept
from replication.witness import CHALLENGE_BYTES, Answered, Asked, ServerSession, Witness
from wire.errors import ProtocolError

#: Connections that have shown the secret, and that have not. The most silent one makes room for a new one.
CONNECTIONS_MAX: Final = 48
STRANGERS_MAX: Final = 16
#: Time for a connection to show the secret, in seconds.
HELLO_S: Final = 5.0
#: Bytes of answers that a peer may leave unread.
UNREAD_BYTES_MAX: Final = 65_536

_BEAT_S: Final = 0.02
#: The part of a time without a beat that is longer counts against no lease. Where a server is late all the time, leases
#: end later.
_LATE_NS: Final = 60_000_000
#: And one that is longer is noted in the log.
_LATE_NOTED_NS: Final = 250_000_000


class PortInUse(OSError):
    """The port of a witness is in use."""


class Notes(Protocol):
    """Log of the server."""

    def info(self, event: str, /, **fields: Any) -> None:
        """Log ordinary work."""

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log an event that needs attention later."""

    def error(self, event: str, /, **fields: Any) -> None:
        """Log an event that needs attention now."""


class WitnessServer:
    """Server of the registers in a folder. Raises RegisterError for a damaged one, and OSError.

    files: locked by this process; the caller closes it. port: 0 for any free one. clock_ns: monotonic.
    """

    def __init__(
        self,
        files: RegisterFiles,
        secret: bytes,
        notes: Notes,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock_ns: Callable[[], int] = lease_clock_ns,
    ) -> None:
        self._files = files
        self._secret = secret
        self._notes = notes
        self._host, self._port = host, port
        self._clock_ns = clock_ns
        self._alive_ns = clock_ns()
        self._witness = Witness(files.read(), self._alive_ns)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises PortInUse, or OSError."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self._host, self._port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUse(
                f"port {self._port} is in use; end the program that listens there (`ss -ltnp`), or give another port"
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])
        self._notes.info("listening", host=self._host, port=self._port, markets=len(self._witness))

    async def run(self) -> None:
        """Serve until ``stop``. Raises RegisterFault if a change may be on the disk or not."""
        if self._ended is None or self._server is None:
            raise RuntimeError("run before start")
        beating = asyncio.get_running_loop().create_task(self._beat())
        try:
            await self._ended
        finally:
            beating.cancel()
            self._server.close()
            for each in list(self._connections):
                each.cut()
            self._notes.info("ended")

    def stop(self) -> None:
        """End in order. May be repeated."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def _beat(self) -> None:
        while True:
            self.extend_for_time_away()
            await asyncio.sleep(_BEAT_S)

    def extend_for_time_away(self) -> int:
        """Extend the leases by a long time since the thread last looked, less what is usual; gives the time now."""
        now_ns = self._clock_ns()
        away_ns = now_ns - self._alive_ns
        if away_ns > _LATE_NS:
            self._witness.extend_leases(away_ns - _LATE_NS)
            if away_ns > _LATE_NOTED_NS:
                self._notes.warning(
                    "read no requests for a time, which counts against no lease", away_ms=away_ns // 10**6
                )
        self._alive_ns = now_ns
        return now_ns

    def answer(self, asked: Asked) -> Answered | None:
        """Decide a request, make it durable and let it take effect; None if the server ends instead."""
        now_ns = self.extend_for_time_away()
        try:
            decision = self._witness.decide(asked.market, asked.request, now_ns)
            self._keep(asked.market, decision)
        except (ValueError, RegisterKept) as error:
            self._notes.error(
                "a request failed", market=asked.market, request=type(asked.request).__name__, why=str(error)
            )
            return Answered(asked.request_id, str(error))
        except RegisterFault as error:
            self._fail(error)
            return None
        before = self._witness.reign(asked.market)
        self._witness.commit(asked.market, decision, now_ns)
        self.extend_for_time_away()
        self._note(asked.market, asked.request, decision, before)
        return Answered(asked.request_id, decision.answer)

    def _keep(self, market: str, decision: Decision) -> None:
        """Write a changed register. Raises RegisterKept, RegisterFault, or ValueError for a market too many."""
        if decision.stored is None:
            return
        if market not in self._witness and len(self._witness) >= MARKETS_MAX:
            raise ValueError(f"this witness has {MARKETS_MAX} markets already; start another one")
        self._files.write(market, decision.stored)

    def _note(self, market: str, request: Request, decision: Decision, before: Reign | None) -> None:
        if decision.stored is None or decision.stored.reign is None:
            return
        reign = decision.stored.reign
        fields = {"market": market, "epoch": reign.epoch, "primary": reign.primary}
        match request:
            case Acquire() if isinstance(decision.answer, Won):
                log = self._notes.warning if reign.forced else self._notes.info
                log("a reign began", **fields, forced=reign.forced)
            case Record() if before is None or set(before.in_sync) != set(reign.in_sync):
                self._notes.info("the nodes in sync changed", **fields, in_sync=list(reign.names_in_sync))
            case Release():
                self._notes.info("a lease was released", **fields, successor=request.successor)

    def _fail(self, error: RegisterFault) -> None:
        self._notes.error("the register failed", why=str(error))
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    @property
    def is_ending(self) -> bool:
        """True if no request may be decided any more."""
        return self._ended is None or self._ended.done()

    def session(self) -> ServerSession:
        """State machine of a new connection."""
        return ServerSession(self._secret, secrets.token_bytes(CHALLENGE_BYTES))

    def opened(self, connection: "_Connection") -> None:
        """Count a new connection, or one that has shown the secret; the most silent one makes room."""
        self._connections.add(connection)
        same = [each for each in self._connections if each.is_open == connection.is_open]
        if len(same) > (CONNECTIONS_MAX if connection.is_open else STRANGERS_MAX):
            min((each for each in same if each is not connection), key=lambda each: each.heard_ns).cut()

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def refused(self, peer: str, why: str) -> None:
        """Note a connection that ended with an error."""
        self._notes.warning("a connection was refused", peer=peer, why=why)

    def now_ns(self) -> int:
        """Time of the server's clock."""
        return self._clock_ns()


class _Connection(asyncio.Protocol):
    """Connection of a node."""

    def __init__(self, server: WitnessServer) -> None:
        self._server = server
        self._session = server.session()
        self._transport: asyncio.Transport | None = None
        self._hello: asyncio.TimerHandle | None = None
        self._peer = ""
        self.heard_ns = server.now_ns()

    @property
    def is_open(self) -> bool:
        """True once the peer has shown the secret."""
        return self._session.is_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a witness listens on TCP")
        self._transport = transport
        self._peer = "{}:{}".format(*(transport.get_extra_info("peername") or ("?", "?"))[:2])
        self._set_up(transport)
        self._hello = asyncio.get_running_loop().call_later(HELLO_S, self._refuse, "the secret was not shown in time")
        self._server.opened(self)
        transport.write(self._session.greeting)

    def _set_up(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(UNREAD_BYTES_MAX)
        with contextlib.suppress(OSError):  # a node that lost its power never says goodbye
            made = transport.get_extra_info("socket")
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        was_open = self.is_open
        try:
            reply, requests = self._session.receive(data)
        except ProtocolError as error:
            self._refuse(str(error))
            return
        self.heard_ns = self._server.now_ns()
        self._write(reply)
        if self.is_open and not was_open:
            self._opened()
        for asked in requests:
            answered = None if self._server.is_ending else self._server.answer(asked)
            if answered is None:
                return
            self._write(self._session.answer(answered))

    def _opened(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
        self._server.opened(self)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data and not self._transport.is_closing():
            self._transport.write(data)

    def _refuse(self, why: str) -> None:
        self._server.refused(self._peer, why)
        self._write(self._session.refusal(why))
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        self._server.refused(self._peer, f"it left {UNREAD_BYTES_MAX:,} bytes of answers unread")
        self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # how a node goes away makes no difference
        if self._hello is not None:
            self._hello.cancel()
        self._server.closed(self)

    def cut(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
