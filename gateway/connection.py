"""One connection: a buffered protocol that receives into its region of the gateway's buffer and sends the user's
stream.

Until the login is answered its bytes go to the session of its protocol. Then it is *live*: a kernel cuts its packets.
Messages come from the spool until the client has caught up, and then directly from each released block. A slow
reader falls back to the spool, so that at most ``BUFFER_BYTES_MAX`` waits in memory; a client that reads nothing for
``SLOW_NS``, or is too far behind, is disconnected.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import time_ns
from typing import Any, Final, Protocol, TypeVar, cast

from gateway.addresses import network_of
from gateway.arrivals import OTHER
from gateway.at_once import socket_of, write_at_once
from gateway.attention import Beat
from gateway.protocol import Entrance, Login, MassCancel, Refusal, RowSession, Taken
from gateway.session_faults import OF_ALL, READ_BYTES_MAX, WHY, SessionFault
from gateway.spool import Spool, SpoolError
from wire.errors import ProtocolError
from wire.session_state import Due, State

#: Size of a connection's region in bytes: it can send that much before the next turn of the gateway.
REGION_BYTES: Final = 131_072
#: Bytes from one region to the next. Regions at multiples of a power of two would share a few cache lines, and a turn
#: over a hundred connections would wait for memory at each.
REGION_PITCH: Final = REGION_BYTES + 192
#: Bytes in memory for a reader: above the first, the spool serves it; below the second, blocks serve it again.
BUFFER_BYTES_MAX: Final = 1 << 20
BUFFER_BYTES_LOW: Final = 1 << 18
#: Bytes read from the spool at once.
CHUNK_BYTES: Final = 1 << 18
#: The same of streams whose messages are made as they are sent: others have their turn between two such pieces.
PIECE_BYTES: Final = 1 << 16
#: Bounds of a slow reader, by time without reading and by bytes behind; beyond them it is disconnected.
SLOW_NS: Final = 10_000_000_000
LAG_BYTES_MAX: Final = 1 << 30
#: Longest waits for the login request of a new connection and for its answer, from the begin of the connection.
LOGIN_NS: Final = 5_000_000_000
CHECK_NS: Final = 15_000_000_000
#: Time for an ended connection to take its last bytes and to close.
LEAVE_NS: Final = 2_000_000_000

#: A region with less room is not received into.
LEAST_ROOM_BYTES: Final = 2_048

_Said = TypeVar("_Said")


class Owner(Protocol):
    """Gateway as its connections see it: what happens on a connection is reported here."""

    buffer: memoryview
    bytes_out: int
    slow_readers: int

    def now_ns(self) -> int:
        """Monotonic time."""
        ...

    def on_connect(self, connection: "Connection", /) -> bool:
        """Take a new connection; False if there is no room for it."""
        ...

    def on_strange_bytes(self, connection: "Connection", /) -> None:
        """Have the bytes read that came before a login, at once or soon."""
        ...

    def on_login_request(self, connection: "Connection", request: Login, /) -> None:
        """Check the password of a login request."""
        ...

    def on_login_timeout(self, connection: "Connection", /) -> None:
        """Reject a login request that has waited too long for its check."""
        ...

    def on_bytes(self, connection: "Connection", /) -> None:
        """Queue the bytes of a logged-in user for the next turn."""
        ...

    def on_spool_error(self, connection: "Connection", spool: Spool, error: SpoolError, /) -> None:
        """Drop a past session whose spool cannot be read. Raises SpoolError for the present one."""
        ...

    def on_login(self, connection: "Connection", /) -> None:
        """Treat the bytes of a connection as those of its user, from now on."""
        ...

    def on_fault(self, connection: "Connection", fault: SessionFault, /) -> None:
        """Tell the log of a fault of this side that ends a connection."""
        ...

    def end_login(self, connection: "Connection", /) -> bool:
        """End the login of a connection; True if it had one."""
        ...

    def on_closing(self, connection: "Connection", /) -> None:
        """End the login of a connection that closes. May be repeated."""
        ...

    def on_disconnect(self, connection: "Connection", /) -> None:
        """Free the slot of a connection that is gone."""
        ...

    def on_mass_cancel(self, connection: "Connection", asked: MassCancel, /) -> None:
        """Have the market cancel all orders of the user's participant, after all that the connection has sent."""
        ...

    def on_caught_up(self, connection: "Connection", /) -> None:
        """Serve a connection directly from now on, if it may be."""
        ...

    def send_direct(self, connection: "Connection", data: bytes, /) -> bytes:
        """Send bytes to a direct connection; gives those that it did not take."""
        ...

    def end_direct(self, connection: "Connection", /) -> None:
        """Let the event loop read and write a connection again."""
        ...


class Connection(asyncio.BufferedProtocol):
    """One client connection of a protocol. ``user`` is 0 until the login is accepted."""

    def __init__(self, gateway: Owner, entrance: Entrance, number: int) -> None:
        self._gateway = gateway
        self.entrance = entrance
        self.number = number  # from 1 on since the node started
        self.transport: asyncio.Transport | None = None  # None before the TLS handshake is done
        self._socket: asyncio.Transport | None = None
        self._half_closes = True  # TLS ends both directions at once
        self._fd = -1  # that may be written to where nothing waits in the transport; -1: none
        self.session = entrance.protocol.session(gateway.now_ns())
        #: The session, where it makes the rows of its messages itself; None: a kernel does.
        self.row_session = cast(RowSession, self.session) if _makes_rows(self.session) else None
        self._pauses = False  # its session takes messages again later
        self._piecewise = False  # the next piece of the stream is due
        self.slot = -1
        self.region = self.begin = self.end = self._limit = 0
        self.user = 0
        self.participant = 0
        self.address = self.network = ""  # ``network``: counting key of the address
        self.since_ns = self._awaited_ns = gateway.now_ns()
        self.dirty = False
        self.received_ns = 0  # arrival time of the bytes that wait for a turn; since 1970
        self.closing = ""
        self._closing_ns = 0  # since when
        self.caught_up = False
        self.position = 0
        self.spool: Spool | None = None
        self._later: list[Spool] = []  # what follows ``spool`` where messages of past days are sent again
        self._ends_with_day = False  # its last word is in the stream of the new day
        self.past = False  # the session is over: the rest of its stream is sent, then End of Session
        self.holding = False  # reading is paused: the region is full
        self._is_told = False  # kernels have sent the next messages
        self.is_direct = False  # the compiled turn reads and writes it; reading is paused for the loop
        self._paused_ns = 0  # begin of the time in which the reader takes nothing

    def __repr__(self) -> str:
        return f"<Connection {self.address} user {self.user} {self.session.state.value}>"

    @property
    def live(self) -> bool:
        """True if a user is logged in and may send."""
        return self.user != 0 and not self.closing and not self.past

    @property
    def may_be_direct(self) -> bool:
        """True if nothing of the connection is left to the event loop."""
        return (
            self.live
            and self.caught_up
            and self._half_closes
            and not (self.dirty or self.holding or self._paused_ns)
            and self.transport is not None
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() == 0
        )

    # # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or refuse it where there is no room."""
        if self.admit(transport):
            self._serve(transport)

    def admit(self, transport: asyncio.BaseTransport) -> bool:
        """Give the connection a slot; False if there is none, and it is ended.

        With TLS, ``on_handshake`` or ``on_handshake_failure`` follows.
        """
        self._socket = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else "unknown"  # it is gone already
        self.network = network_of(self.address)
        if not self._gateway.on_connect(self):
            self.closing = "too many connections"
            self._socket.abort()
            return False
        self.region = self.begin = self.end = self.slot * REGION_PITCH
        self._limit = self.region + REGION_BYTES
        return True

    def on_handshake(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session after the TLS handshake; bytes may have come with its last message."""
        self._half_closes = False
        if self.closing:
            cast(asyncio.Transport, transport).abort()
            return
        self._serve(transport)
        if self.end > self.begin:
            self.buffer_updated(0)

    def on_handshake_failure(self, error: BaseException) -> None:
        """Close a connection whose TLS handshake failed."""
        if not self.closing:
            self.closing = f"no TLS handshake: {str(error) or 'the peer closed the connection'}"
        self._gateway.on_disconnect(self)

    def _serve(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(BUFFER_BYTES_MAX, BUFFER_BYTES_LOW)
        self._fd = socket_of(transport) if self._half_closes else -1

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Free part of the region."""
        if self.slot < 0:
            return memoryview(bytearray(1))
        return self._gateway.buffer[self.end : self._limit]

    def buffer_updated(self, nbytes: int) -> None:
        """Take received bytes; those of a closed connection are ignored."""
        if self.closing:
            return
        if self.past:
            self.session.heard_ns = self._gateway.now_ns()
            return
        self.end += nbytes
        if self.transport is None:
            return
        if not self.dirty:
            self.received_ns = time_ns()
        if self._limit - self.end < LEAST_ROOM_BYTES:
            self.holding = True
            self.transport.pause_reading()
        if self.user:
            self._gateway.on_bytes(self)
        elif self.session.state is State.LOGIN:
            self._gateway.on_strange_bytes(self)
        else:  # behind a login request: it is only kept
            self.ask()

    def ask(self) -> None:
        """Have the session read what came before the answer to a login."""
        if self.closing or self.end == self.begin:
            return
        data = bytes(self._gateway.buffer[self.begin : self.end])
        self.end = self.begin
        self.resume_reading()
        nothing: Sequence[Login | ProtocolError] = ()
        for event in self.of_session(self.session.ask, data, self._gateway.now_ns(), otherwise=nothing, read=data):
            if isinstance(event, ProtocolError):
                self.close(str(event), last=event.answer)
            else:
                self._gateway.on_login_request(self, event)

    def eof_received(self) -> bool:
        """End the connection: the client sends nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the connection is gone."""
        if not self.closing:
            self.closing = why_lost(exc)
        self._gateway.on_disconnect(self)

    def pause_writing(self) -> None:
        """Serve a slow reader from the spool from here on."""
        self._paused_ns = self._gateway.now_ns()
        if self.caught_up:
            self.caught_up = False
            self.position = self._end_of_stream()

    def resume_writing(self) -> None:
        """Send the rest of the stream: the reader takes bytes again."""
        self._paused_ns = 0
        if self.user and not self.closing:
            self.catch_up()

    # # Calls of the gateway.

    def of_session(
        self, step: Callable[..., _Said], *arguments: Any, otherwise: _Said, read: bytes | memoryview = b""
    ) -> _Said:
        """Outcome of a step of the session. A fault in it ends this connection, and no other: then it is ``otherwise``.

        read: bytes that the step reads, for the log. Raises what concerns all clients (``session_faults.OF_ALL``).
        """
        try:
            return step(*arguments)
        except OF_ALL:
            raise
        except Exception as error:
            self._fail(error, bytes(read[:READ_BYTES_MAX]))
            return otherwise

    def _fail(self, error: Exception, read: bytes) -> None:
        """End the connection at a fault of its session, whose state may be anything."""
        shown, secret = (f"{len(read)} bytes", True) if read else ("", not self.user)
        if read:
            with suppress(Exception):  # it has a fault: it may have more than one
                shown, secret = self.session.shown(read)
        self._gateway.on_fault(self, SessionFault(error, shown, secret or not self.user))
        self.close(WHY)

    def accept_login(self, session: str, next_seq: int, epoch: int, *, tells_end: bool = True) -> bytes:
        """Answer of the session to a login that is accepted; the connection is closing where it has none.

        The arguments are those of ``gateway.protocol.Session``. tells_end: the session is the present one.
        """
        now_ns = self._gateway.now_ns()
        accepted = self.of_session(self.session.accept_login, session, next_seq, epoch, now_ns, otherwise=b"")
        end = self.of_session(self.session.tell_end, next_seq, otherwise=b"") if tells_end else b""
        return accepted + end

    def refusal(self, refusal: Refusal, why: str) -> bytes:
        """Answer of the session to a login that is refused."""
        return self.of_session(self.session.refuse, refusal, why, otherwise=b"")

    def drop(self, count: int, now_ns: int) -> None:
        """Remove the first bytes of the region, which are complete packets."""
        buffer, begin, end = self._gateway.buffer, self.begin + count, self.end
        left = end - begin
        if left <= begin - self.region:
            buffer[self.region : self.region + left] = bytes(buffer[begin:end])
            begin, end = self.region, self.region + left
        self.begin, self.end = begin, end
        self.session.heard_ns = now_ns
        self.resume_reading()

    def resume_loop(self, owed: bytes) -> None:
        """Let the event loop read and write again after a compiled turn, which owes bytes of a packet to the client."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._limit - self.end < LEAST_ROOM_BYTES:
            self.holding = True  # until the turn has read what is in the region
        else:
            transport.resume_reading()
        if owed:
            transport.write(owed)

    def hold(self) -> None:
        """Leave reading to a kernel, until ``resume_reading``."""
        if self.transport is not None:
            self.holding = True
            self.transport.pause_reading()

    @property
    def limit(self) -> int:
        """End of the region."""
        return self._limit

    def resume_reading(self) -> None:
        """Read again, if it was paused and the region has room."""
        if self.holding and self._limit - self.end >= LEAST_ROOM_BYTES and self.transport is not None:
            self.holding = False
            self.transport.resume_reading()

    def enter(self, user: int, participant: int, accepted: bytes, position: int) -> None:
        """Log the user in: ``accepted`` is the answer, and the stream continues at ``position``."""
        self.user, self.participant, self.position = user, participant, position
        self.spool = self.entrance.outbox.spool
        self._gateway.on_login(self)
        self.write(accepted)
        self.catch_up()
        rest = self.of_session(self.session.release, otherwise=b"")
        if rest and not self.closing:
            self._gateway.buffer[self.begin : self.begin + len(rest)] = rest
            self.end = self.begin + len(rest)
            self._gateway.on_bytes(self)
        self.follow()

    def follow(self) -> None:
        """Do what a session that makes its rows itself wants now: be closed, read, or sent its stream again."""
        session = self.row_session
        if session is None or not self.live:
            return
        try:
            fault, over = session.take_fault(), session.over
            asked, resend_from = session.take_mass_cancel(), session.take_resend()
            pause_ns, asks = session.pause_ns, session.asks
        except OF_ALL:
            raise
        except Exception as error:
            self._fail(error, b"")
            return
        if fault is not None:
            self._gateway.on_fault(self, fault)
        if over:
            self.close(over, tells=False)
            return
        if asked is not None:
            self._gateway.on_mass_cancel(self, asked)
        if pause_ns:
            if not self._pauses:
                self._pauses = True
                asyncio.get_running_loop().call_later(pause_ns / 1e9, self._end_pause)
            if asks:
                self._gateway.on_bytes(self)
        elif asks or self.end > self.begin:
            self._gateway.on_bytes(self)
        if resend_from is not None:
            self.go_back(resend_from)

    def _end_pause(self) -> None:
        self._pauses = False
        if self.live:
            self._gateway.on_bytes(self)

    def catch_up(self) -> None:
        """Send from the spool while the reader takes it."""
        bytes_max = CHUNK_BYTES if self.row_session is None else PIECE_BYTES
        while not self._paused_ns and not self.closing:
            if self.spool is None or self.spool.is_closed:
                self.close(_NOT_KEPT)
                return
            try:
                stored = self.spool.read(self.user, self.position, bytes_max)
            except SpoolError as error:
                self._gateway.on_spool_error(self, self.spool, error)
                continue
            if not stored and self._later:
                self.spool, self.position = self._later.pop(0), 0
                continue
            if not stored:
                self.caught_up = True
                if self.past:
                    self._send_end()
                else:
                    self._gateway.on_caught_up(self)
                return
            taken, data = self.of_session(self.session.outgoing, stored, otherwise=(0, b""))
            self.position += taken
            self.write(data)
            if self.row_session is not None:
                self.follow()
                if not self._piecewise:
                    self._piecewise = True
                    asyncio.get_running_loop().call_soon(self._next_piece)
                return

    def _next_piece(self) -> None:
        self._piecewise = False
        if not self.caught_up:
            self.catch_up()

    def go_back(self, seq: int) -> None:
        """Send the stream again from a message on, at the client's request.

        seq: of the day's stream; a session that makes its rows itself has that of the days before too, as far as they
        are kept, the last message of the day before as 0.
        """
        if self.spool is None or self.closing:
            return
        spools = [self._later[-1] if self._later else self.spool]
        place = seq  # in the first of them
        for older in reversed(self.entrance.outbox.past.values()):
            count = older.end(self.user)[0] - 1
            if place < 1 and count and older.session < spools[0].session:
                spools.insert(0, older)
                place += count
        if self.row_session is not None:
            self.row_session.next_seq = seq - place + max(place, 1)
        try:
            self.position = spools[0].position_of(self.user, max(place, 1) if self.row_session is not None else seq)
        except ValueError as error:
            self.close(str(error))
            return
        except SpoolError as error:
            self._gateway.on_spool_error(self, spools[0], error)
            self.close(_NOT_KEPT)
            return
        self.spool, *self._later = spools
        self.caught_up = False
        self.catch_up()

    def deliver(self, data: bytes, count: int, now_ns: int) -> None:
        """Send the next messages of the stream, if the reader has all before them."""
        if self._is_told:
            self._is_told = False
            self.follow()
        elif self.caught_up and not self.closing and self.transport is not None:
            self.of_session(self.session.sent, count, now_ns, otherwise=None)
            told = self.of_session(self.session.outgoing, data, otherwise=(0, b""))[1]
            if not self.closing:
                self._write(self._send_at_once(told) if count == 1 and not self.is_direct else told)
                self.follow()

    def _send_at_once(self, data: bytes) -> bytes:
        """Send bytes before the event loop has done all that is ready, where nothing waits before them; gives the
        rest. For one message, since the transport joins several."""
        sent = write_at_once(self.transport, self._fd, data)
        self._gateway.bytes_out += sent
        return data[sent:]

    @property
    def open_fd(self) -> int:
        """Descriptor of the socket where messages may be written to it at once, since the client has all before them;
        else -1."""
        transport = self.transport
        if not self.caught_up or self.closing or self.is_direct or transport is None or transport.is_closing():
            return -1
        return -1 if transport.get_write_buffer_size() else self._fd

    def note_told(self, written: int, rest: bytes) -> None:
        """Note that kernels have written so many bytes, of the next messages that are to be delivered; rest: those that
        the socket has not taken."""
        if written:
            self._is_told = True
            self._gateway.bytes_out += written
            if rest and self.transport is not None:
                self.transport.write(rest)

    def deliver_rest(self, data: bytes) -> None:
        """Send the end of messages whose beginning was sent directly."""
        if self.is_direct:
            self._gateway.end_direct(self)
        if self.caught_up and not self.closing:
            self._write(data)

    def beat(self, beat: Beat) -> None:
        """Send a heartbeat that is due; disconnect a client that is silent, does not read, or does not close.

        Time while the node was stopped, or while the client's bytes sat unread, is not silence.
        """
        now_ns = beat.now_ns
        excused_ns = beat.passed_ns if self.dirty or self.holding or self._pauses else beat.away_ns
        self.of_session(self.session.shorten_silence, excused_ns, now_ns, otherwise=None)
        if self.closing:
            self._closing_ns = min(self._closing_ns + beat.away_ns, now_ns)
            if now_ns - self._closing_ns > LEAVE_NS and self.transport is not None:
                self.transport.abort()
            return
        if self._paused_ns:
            self._paused_ns = min(self._paused_ns + beat.away_ns, now_ns)
            behind = self._end_of_stream() - self.position
            if now_ns - self._paused_ns > SLOW_NS or behind > LAG_BYTES_MAX:
                self._gateway.slow_readers += 1
                self.close(f"a slow reader: {behind} bytes behind, and nothing taken for a while")
            return
        if not self.user and self._login_is_late(beat):
            return
        due = self.of_session(self.session.tick, now_ns, beat.read_ns, otherwise=Due.NOTHING)
        if due is Due.HEARTBEAT:
            self.write(self.of_session(self.session.heartbeat, now_ns, otherwise=b""))
        elif due is Due.TIMED_OUT:
            self.close("nothing was heard from the client, not even a heartbeat")
        self.follow()

    def _login_is_late(self, beat: Beat) -> bool:
        """End a connection without a login request in time, or with a login that waits too long."""
        self._awaited_ns += beat.away_ns
        waits = self.end > self.begin  # what came is read soon, in its turn
        if self.session.state is State.LOGIN and not waits and beat.read_ns - self._awaited_ns >= LOGIN_NS:
            self.close(f"no login came within {LOGIN_NS // 10**9} s")
        elif self.session.state is State.ASKED and beat.now_ns - self._awaited_ns >= CHECK_NS:
            self._gateway.on_login_timeout(self)
        return bool(self.closing)

    def take(self, stop: int, now_ns: int) -> None:
        """Have the session take the first packet in the region, which is not one for the kernels."""
        region = self._gateway.buffer[self.begin : self.end]
        taken = self.of_session(self.session.take, region, stop, now_ns, otherwise=_NOTHING_TAKEN, read=region)
        if taken.size:
            self.drop(taken.size, now_ns)
        if taken.answer:
            self.write(taken.answer)
        if taken.closes:
            self.close(taken.closes, tells=taken.tells)
        elif taken.resend_from:
            self.go_back(taken.resend_from)
        elif taken.mass_cancel is not None:
            self._gateway.on_mass_cancel(self, taken.mass_cancel)

    def take_waiting(self, now_ns: int) -> None:
        """Take packets before the client's first message while messages wait for room: heartbeats, a logout."""
        if not self.live:
            return
        region = self._gateway.buffer[self.begin : self.end]
        quiet, for_session = self.of_session(self.session.survey, region, otherwise=(0, False), read=region)
        if quiet:
            self.drop(quiet, now_ns)
        if for_session:
            self.take(OTHER, now_ns)

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection is closing."""
        if self.transport is not None and not self.closing:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._gateway.bytes_out += len(data)
        if self.is_direct:
            data = self._gateway.send_direct(self, data)
        if data and self.transport is not None:
            self.transport.write(data)

    def close(self, why: str, *, tells: bool = True, last: bytes = b"") -> None:
        """End the connection: send the reason, if the client is told one, then ``last``, as far as the client reads it.

        Further bytes of the user are read and ignored until it has closed its side too: closing a connection with
        unread bytes resets it, and the last messages would be lost.
        """
        if self.closing:
            return
        if self._ends_with_day:
            self._gateway.end_login(self)  # no disconnect: the user has time to come back
        if self.transport is None:
            self.closing, self._closing_ns = why, self._gateway.now_ns()
            if self._socket is not None:
                self._socket.abort()  # nothing can be sent before the handshake is done
            self._gateway.on_closing(self)
            return
        if self.is_direct:
            self._gateway.end_direct(self)
        if tells:
            with suppress(Exception):  # the reason is lost where the session cannot say it; the end is what counts
                self.write(self.session.notice(why))
        if last:
            self.write(last)
        self.closing = why
        self._closing_ns = self._gateway.now_ns()
        if self._paused_ns:
            self.transport.abort()  # it takes nothing, so its bytes would wait for ever
        elif self.user and self._half_closes and not self.transport.is_closing():
            self.end = self.begin
            if self.holding:
                self.holding = False
                self.transport.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
        self._gateway.on_closing(self)

    def leave(self, why: str) -> None:
        """End the connection by its side's own will while the market goes on. A session whose messages have numbers of
        the journal says so first, and is closed when that has come back, or does not come."""
        session = self.row_session
        if session is None or not self.live or self._paused_ns:
            self.close(why)
        elif self.of_session(session.leave, why, otherwise=False):
            self._gateway.on_bytes(self)

    def end_session(self) -> None:
        """End the session: refuse further orders, and send End of Session after the last message."""
        if not self.live:
            return
        if self._tells_in_new_day():
            return
        if self.is_direct:
            self._gateway.end_direct(self)
        self._gateway.end_login(self)
        self.past = True
        self.end = self.begin
        if self.holding and self.transport is not None:
            self.holding = False
            self.transport.resume_reading()
        if self.caught_up:
            self._send_end()

    def _tells_in_new_day(self) -> bool:
        """Have a session that has all of the day before say by the journal that it ends, which is in the stream of the
        day that begins; False for any other."""
        session, spool = self.row_session, self.entrance.outbox.spool
        if session is None or self.spool is spool or not self.caught_up or self._paused_ns:
            return False
        self._ends_with_day = True
        self.spool, self.position, session.next_seq = spool, 0, 1
        self.leave(_NEW_DAY)
        return True

    def enter_past(self, user: int, accepted: bytes, spool: Spool, position: int) -> None:
        """Log the user in to a past session: send its messages from ``position`` on, then its end."""
        self.user, self.spool, self.position = user, spool, position
        self.past = True
        self.of_session(self.session.release, otherwise=b"")
        self.write(accepted)
        self.catch_up()

    def _send_end(self) -> None:
        self.close("the session has ended", last=self.of_session(self.session.farewell, otherwise=b""))

    def _end_of_stream(self) -> int:
        """Length of the user's stream in bytes."""
        return self.spool.end(self.user)[1] if self.spool is not None else 0


_NOTHING_TAKEN: Final = Taken(0)
_NOT_KEPT: Final = "the session is not kept any longer"
_NEW_DAY: Final = "a new trading day begins; log on again"

#: Classes of sessions that were asked before: to look at an instance costs more than the rest of a connection's begin.
_MAKES_ROWS: Final[dict[type, bool]] = {}


def _makes_rows(session: object) -> bool:
    """True for a session that makes the rows of its messages."""
    kind = type(session)
    if kind not in _MAKES_ROWS:
        _MAKES_ROWS[kind] = isinstance(session, RowSession)
    return _MAKES_ROWS[kind]


def why_lost(error: Exception | None) -> str:
    """Reason in words for which a connection is gone.

    >>> why_lost(None), why_lost(ConnectionResetError(104, "Connection reset by peer"))
    ('the client closed the connection', 'the client broke the connection off')
    >>> why_lost(TimeoutError(110, "Connection timed out"))
    'the connection failed: connection timed out'
    """
    if error is None:
        return "the client closed the connection"
    if isinstance(error, ConnectionError):
        return "the client broke the connection off"
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"the connection failed: {said[:1].lower()}{said[1:]}"
