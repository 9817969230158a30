"""Events of a FIX session, what is agreed with a peer, and the names by which a logon finds its session."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from wire.fix_codec import Cutter, Garbled, Message

#: Bytes that a connection may send before its logon is whole.
LOGON_BYTES_MAX: Final = 8_192


@dataclass(frozen=True)
class Terms:
    """Terms of a session with a peer. ``sender`` is this side. version: FIX.4.2, FIX.4.4 or FIXT.1.1."""

    version: str
    sender: str
    target: str
    #: Version of the messages where the session's does not say it: 9 for FIX 5.0 SP2.
    application_version: str | None = None
    #: True: each logon begins at 1.
    reset_on_logon: bool = False


class LogonAsked(NamedTuple):
    """A logon that waits for ``accept`` or ``refuse``. Field 554 of it is a password: nobody prints it."""

    message: Message


class Received(NamedTuple):
    """A message of the application, valid and in turn."""

    seq: int
    message: Message


class Restarted(NamedTuple):
    """Both numbers are 1 again, by wish of the peer."""


class LoggedOut(NamedTuple):
    """The session has ended; the connection is to be closed once what ``take`` gives is written. reason: for a log.

    logon: the one that cannot be accepted, where it has the right names; its password may be in it.
    """

    reason: str
    logon: Message | None = None


def begins_again(logon: Message) -> bool:
    """True for a logon by which both sides begin at 1, ResetSeqNumFlag (141): an answer to it disturbs no numbers."""
    return logon.get(b"141") == b"Y"


Event = LogonAsked | Received | Restarted | LoggedOut


class Identity(NamedTuple):
    """Names in a logon by which its session is found. ``target`` is this side."""

    version: str
    sender: str
    target: str


def identity(data: bytes) -> Identity | None:
    """Names in the first frame that arrived; None: it is not all there. Raises Garbled for what is no logon."""
    cutter = Cutter()
    cutter.feed(data)
    cut = cutter.next()
    if cut is None:
        if cutter.held_bytes > LOGON_BYTES_MAX or not data.startswith(b"8="[: len(data)]):
            raise Garbled("what came first is no logon")
        return None
    if not cut[1] or not data.startswith(b"8="):
        raise Garbled("the first frame has a wrong length or checksum")
    message = Message(cut[0])
    if message.msg_type != b"A":
        raise Garbled("the first message is no logon")
    names = [message.fields.get(tag, b"").decode("latin-1") for tag in (b"8", b"49", b"56")]
    return Identity(*names)
