"""Protocols of order entry, as the gateway sees them: five functions, and what must be kept between two of them.

    session    a state machine over bytes and time: logins, logouts, whatever is no message          ``Session``
    cut        the packets in what arrived                  (kernel)                                  ``read_streams``
    explain    a message as COMMAND rows                    (kernel)                                  ``read_streams``
    frame      what happened as messages to the users       (kernel, or one report after the other)   ``outbox``
    heartbeat  the packet that says that this side is there                                           ``Session``

Connections, logins, passwords, the turn, the spool, slow readers and cancels after a disconnect are the gateway's, once
for all protocols. ``gateway.ouch.protocol`` is one; ``tests/line_protocol`` another, as small as can be.
"""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from engine.capacity import Capacity
from engine.jit import Kernel, Packed
from gateway.outbox import Outbox
from gateway.session_faults import SessionFault
from wire.errors import ProtocolError
from wire.session_state import Due, State


class Login(Protocol):
    """Request to log in. ``session``: a trading day, "" for the present one. ``requested_seq``: the first message that
    is wanted, from 1; 0 for none of the past.
    """

    @property
    def user(self) -> str: ...

    @property
    def password(self) -> str: ...

    @property
    def session(self) -> str: ...

    @property
    def requested_seq(self) -> int: ...


class Refusal(Enum):
    """Reason for which a login is refused, as far as a client learns it."""

    NOT_AUTHORIZED = "user or password is wrong, or the user may not log in"
    NOT_AVAILABLE = "the user is logged in already, this node takes no logins now, or it has no such session"


class MassCancel(NamedTuple):
    """Request to cancel all open orders of the user's participant. symbol: in one instrument; "": in each. side: 1 buy,
    -1 sell, 0 both."""

    symbol: str
    side: int


class Taken(NamedTuple):
    """Outcome of the packet at the front of a region, by its session.

    size: its bytes, which are removed. closes: reason for which the connection ends; "": it goes on. tells: the client
    gets the reason. answer: bytes to send. resend_from: message from which the stream is sent again; 0: it goes on.
    mass_cancel: asked for, after all that the client sent before.
    """

    size: int
    closes: str = ""
    tells: bool = True
    answer: bytes = b""
    resend_from: int = 0
    mass_cancel: MassCancel | None = None


class Session(Protocol):
    """The session of one connection. Pure: bytes and times are given, bytes are returned."""

    next_seq: int  # of the next message of the stream
    heard_ns: int  # time of the last whole packet of the client; the gateway sets it for packets that kernels read
    sent_ns: int  # time of the last packet to the client

    @property
    def state(self) -> State:
        """State of the session."""
        ...

    def ask(self, data: bytes, now_ns: int, /) -> Sequence["Login | ProtocolError"]:
        """Take bytes before the login is answered; gives the login that they ask for. An error ends the session; its
        ``answer`` is sent.
        """
        ...

    def accept_login(self, session: str, end_seq: int, epoch: int, now_ns: int, /) -> bytes:
        """Accept the login to a session whose next message is ``end_seq``. epoch: of the reign; 0: no pair."""
        ...

    def tell_end(self, end_seq: int, /) -> bytes:
        """Say how far the stream of the present session goes now, behind the accepted login: ``end_seq`` is next."""
        ...

    def refuse(self, refusal: Refusal, why: str, /) -> bytes:
        """Refuse the login. why: a sentence that the client may read."""
        ...

    def release(self) -> bytes:
        """Bytes that came behind the login, for the kernels."""
        ...

    def take(self, region: memoryview, stop: int, now_ns: int, /) -> Taken:
        """Take the packet at which the kernels stopped. stop: ``arrivals.OTHER`` or ``BROKEN``."""
        ...

    def survey(self, region: memoryview, /) -> tuple[int, bool]:
        """(bytes of heartbeats at the front, True if a packet for the session follows) while messages have to wait."""
        ...

    def outgoing(self, stored: bytes, /) -> tuple[int, bytes]:
        """Whole messages of the stream as they are sent: how many of the stored bytes, and the bytes on the line."""
        ...

    def sent(self, messages: int, now_ns: int, /) -> None:
        """Count messages of the stream that were sent."""
        ...

    def shorten_silence(self, away_ns: int, now_ns: int, /) -> None:
        """Subtract time that ends now from the client's silence: this side was not reading."""
        ...

    def tick(self, now_ns: int, read_ns: int | None = None, /) -> Due:
        """The action that is due now; what arrived before ``read_ns`` was read."""
        ...

    def heartbeat(self, now_ns: int, /) -> bytes:
        """Heartbeat of this side."""
        ...

    def notice(self, why: str, /) -> bytes:
        """Reason for the end of the connection, where the protocol has a packet for that."""
        ...

    def farewell(self) -> bytes:
        """End of the session, after its last message."""
        ...

    def shown(self, data: bytes, /) -> tuple[str, bool]:
        """Bytes of the client as text for the log, without passwords; True if there was one, or may have been."""
        ...


@runtime_checkable
class RowSession(Session, Protocol):
    """Session of a protocol whose messages become rows in Python and not in a kernel, each when it is its turn.

    It may have rows of its own for the market, and it learns from its stream what has become of them.
    """

    @property
    def asks(self) -> bool:
        """True if rows wait for the next turn."""
        ...

    @property
    def pause_ns(self) -> int:
        """Time for which it takes no bytes and gives no rows of messages, since its user has sent too many; 0: none."""
        ...

    @property
    def over(self) -> str:
        """Reason for which the connection is to be closed now; "": it goes on."""
        ...

    def take_fault(self) -> SessionFault | None:
        """Fault at which it ends by itself, with all that it has to say of that, once; None: there is none."""
        ...

    def read(
        self, region: memoryview, rows_max: int, streams: Any, user: int, participant: int, /
    ) -> tuple[int, list[bytes], int]:
        """Take messages: bytes taken, COMMAND rows as bytes, ``rows_max`` at most, and the messages that these are."""
        ...

    def take_resend(self) -> int | None:
        """Message from which the stream is to be sent again, once; None: none. The day before ends with 0."""
        ...

    def take_mass_cancel(self) -> MassCancel | None:
        """Mass cancel that is to be carried out, once."""
        ...

    def leave(self, why: str, /) -> bool:
        """Have the client told that its session ends, by rows of the session, and take no more of its messages; it is
        over then. False where nothing can be told, or that is under way."""
        ...


class OrderProtocol(Protocol):
    """One protocol. ``number``: in the contexts of its commands (``reports.contexts``), never used for another."""

    name: str
    number: int
    #: Name of its projection (``outbox``).
    outbox_name: str
    #: Longest password that a login carries.
    password_characters_max: int
    #: Heartbeat of a compiled turn, and the times of silence after which it is sent, and after which a client is gone.
    heartbeat: bytes
    heartbeat_ns: int
    silence_ns: int

    @property
    def read_streams(self) -> Kernel:
        """Kernel ``read_streams(arrivals, known, count, rows_max, first, record_at)``: ``arrivals.read_all`` with the
        cut and explain of the protocol. arrivals, known: pointers of the packed arrays.
        """
        ...

    @property
    def answer_block(self) -> Kernel | None:
        """Kernel that answers a block in a compiled turn (``gateway.turn``); None: the loop serves all connections."""
        ...

    def session(self, now_ns: int, /) -> Session:
        """Session of a new connection."""
        ...

    def outbox(self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int) -> Outbox[Any]:
        """Streams of the users in this protocol, as before the first command."""
        ...

    def known(self, outbox: Outbox[Any], /) -> Packed[Any]:
        """Arrays with which messages are explained."""
        ...


class Entrance:
    """A protocol of a node with its streams. ``port``: on which its clients connect; 0: any."""

    def __init__(self, protocol: OrderProtocol, outbox: Outbox[Any], port: int = 0) -> None:
        self.protocol = protocol
        self.outbox = outbox
        self.port = port
        #: Arrays for ``read_streams``; those of the outbox, so it must not be restored any more.
        self.known = protocol.known(outbox)

    @property
    def name(self) -> str:
        """Name of the protocol."""
        return self.protocol.name
