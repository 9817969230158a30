"""The link between the core of a node and its gateway processes: lines of JSON on DIR/gateways.sock.

The link carries what is rare: logins, disconnects, the ends of sessions. Commands go through the ring of the gateway,
and what happened comes from the tape. The process at the other end of a link is gone once the link is, so nothing has
to be timed. A user who is gone and does not cancel by that, as at the end of a day or where the login that displaced
another was refused, is absent: the core cancels its orders after the time in which users come back. ``past`` has the
users who read a past session there, from now on.

    gateway to core                             core to gateway
    {"gateway": name, "protocol": n, "pid": n}  {"seq": n, "elsewhere": w}     or  {"refused": sentence}
    {"ask": id, "user": n, "address": a,        {"claim": id, "why": w, "epoch": n, "seq": n}
     "newest_wins": b}
    {"gone": user, "cancels": b}                {"displace": user, "why": w}   another gateway has the user
    {"past": [user]}                            {"disconnect": user, "why": w} by the operator, to all gateways
    {"failed": user, "network": a}              {"failed": user, "network": a} a wrong password, there or elsewhere
    empty line: read the ring                   {"elsewhere": w}               logins are refused; "": taken
                                                {"away": w}                    end all connections
                                                {"end": seq}                   end the sessions after command seq
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, cast

from gateway.at_once import socket_of, write_at_once

#: Name of the socket in the data directory.
NAME: Final = "gateways.sock"
#: Longest line, and most bytes that wait for a gateway which does not read.
LINE_BYTES_MAX: Final = 1 << 16
WAITING_BYTES_MAX: Final = 1 << 20
#: Longest text that a gateway says: a name, an address.
TEXT_CHARACTERS_MAX: Final = 128
#: Highest number that a line may have: those of logins and processes are far below, and 64 bits hold it.
NUMBER_MAX: Final = 2**53


class LinkError(Exception):
    """An object or a line that no other end of a link sends; a sentence."""


def object_of(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None for an empty one. Raises LinkError, and nothing else."""
    if not line:
        return None
    try:
        found = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise LinkError("a line is no JSON") from None
    if not isinstance(found, dict):
        raise LinkError("a line is no object")
    return found


def _no_number(name: str) -> None:
    raise ValueError(name)


def number_in(told: dict[str, Any], key: str, most: int = NUMBER_MAX) -> int:
    """A whole number from 0 to ``most`` of an object. Raises LinkError."""
    return _number(told.get(key), key, most)


def numbers_in(told: dict[str, Any], key: str, most: int = NUMBER_MAX) -> list[int]:
    """A list of such numbers. Raises LinkError."""
    found = told.get(key)
    if not isinstance(found, list):
        raise LinkError(f"{key} is no list")
    return [_number(each, key, most) for each in found]


def _number(found: object, key: str, most: int) -> int:
    if type(found) is not int or not 0 <= found <= most:
        raise LinkError(f"{key} is no number from 0 to {most}")
    return found


def text_in(told: dict[str, Any], key: str) -> str:
    """A text of an object, printable and bounded: it is logged, shown, and passed on. Raises LinkError."""
    found = told.get(key)
    if not isinstance(found, str) or len(found) > TEXT_CHARACTERS_MAX or not found.isprintable():
        raise LinkError(f"{key} is no text of {TEXT_CHARACTERS_MAX} printable characters at most")
    return found


def text_of(text: str) -> str:
    """A text as ``text_in`` takes it, whatever a client has sent: without what is not printable, and cut.

    >>> text_of("AL\\nPHA"), len(text_of("é" * 20_000))
    ('ALPHA', 128)
    """
    return "".join(filter(str.isprintable, text[: 4 * TEXT_CHARACTERS_MAX]))[:TEXT_CHARACTERS_MAX]


def flag_in(told: dict[str, Any], key: str) -> bool:
    """A true or false of an object. Raises LinkError."""
    found = told.get(key)
    if not isinstance(found, bool):
        raise LinkError(f"{key} is neither true nor false")
    return found


class LinkLines(asyncio.Protocol):
    """One end of a link: whole lines as objects. ``on_object`` gets None for an empty line, and raises LinkError for an
    object that nobody sends; whatever else it raises is a fault of this end, and goes on to the event loop.
    """

    def __init__(
        self, on_object: Callable[[dict[str, Any] | None], None], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._on_object, self._on_end = on_object, on_end
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._rest = b""
        #: Reason for which the link has ended; "": the other end has closed it, or it lives. By this end, or the other.
        self.why = ""
        self.ended_here = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._fd = socket_of(transport)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport; None once the link has ended."""
        return self._transport

    def data_received(self, data: bytes) -> None:
        """Take whole lines, until one ends the link; what nobody sends ends it."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            if max(map(len, (*lines, self._rest))) > LINE_BYTES_MAX:
                raise LinkError(f"a line is longer than {LINE_BYTES_MAX} bytes")
            for line in lines:
                if self._transport is None or self._transport.is_closing():
                    return
                self._on_object(object_of(line))
        except LinkError as error:
            self.end(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end, once."""
        if self._transport is not None:
            if error is not None and not self.why:
                self.why = f"the link has failed: {error}"
            self._transport = None
            self._on_end()

    def send(self, **fields: object) -> None:
        """Send an object; a peer that reads nothing for too long is given up."""
        transport = self._transport
        if transport is None:
            return
        transport.write(json.dumps(fields).encode("ascii") + b"\n")
        if transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            self.why, self.ended_here = self.why or "it does not read what it is told", True
            transport.abort()

    def wake(self) -> None:
        """Send an empty line."""
        if self._transport is not None and not write_at_once(self._transport, self._fd, b"\n"):
            self._transport.write(b"\n")

    def end(self, why: str = "") -> None:
        """End the link, once all is sent."""
        if self._transport is not None:
            self.why, self.ended_here = self.why or why, True
            self._transport.close()
