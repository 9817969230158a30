"""The link between the core of a node and its gateway processes: lines of JSON on DIR/gateways.sock.

The link carries what is rare: logins, disconnects, the ends of sessions. Commands go through the ring of the gateway,
and what happened comes from the tape. The process at the other end of a link is gone once the link is, so nothing has
to be timed.

    gateway to core                             core to gateway
    {"gateway": name, "protocol": n, "pid": n}  {"ring": path, "seq": n}   or  {"refused": sentence}
    {"ask": id, "user": n, "address": a,        {"claim": id, "why": w, "epoch": n, "seq": n}
     "newest_wins": b}
    {"gone": user, "cancels": b}                {"displace": user, "why": w}   another gateway has the user
    {"absent": [user]}                          {"disconnect": user, "why": w} by the operator
    empty line: read the ring                   {"elsewhere": w}               logins are refused; "": taken
                                                {"away": w}                    end all connections
                                                {"end": seq}                   end the sessions after command seq
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, cast

#: Name of the socket in the data directory.
NAME: Final = "gateways.sock"
#: Longest line, and most bytes that wait for a gateway which does not read.
LINE_BYTES_MAX: Final = 1 << 16
WAITING_BYTES_MAX: Final = 1 << 20


class LinkLines(asyncio.Protocol):
    """One end of a link: whole lines as objects. ``on_object`` gets None for an empty line."""

    def __init__(
        self, on_object: Callable[[dict[str, Any] | None], None], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._on_object, self._on_end = on_object, on_end
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport; None once the link has ended."""
        return self._transport

    def data_received(self, data: bytes) -> None:
        """Take whole lines; what is no object ends the link."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            if len(self._rest) > LINE_BYTES_MAX:
                raise ValueError("a line is too long")
            for line in lines:
                found = json.loads(line) if line else None
                if found is not None and not isinstance(found, dict):
                    raise ValueError("a line is no object")
                self._on_object(found)
        except (ValueError, KeyError, TypeError):
            self.end()

    def connection_lost(self, _error: Exception | None) -> None:
        """Report the end, once."""
        if self._transport is not None:
            self._transport = None
            self._on_end()

    def send(self, **fields: object) -> None:
        """Send an object; a peer that reads nothing for too long is given up."""
        transport = self._transport
        if transport is None:
            return
        transport.write(json.dumps(fields).encode("ascii") + b"\n")
        if transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            transport.abort()

    def wake(self) -> None:
        """Send an empty line."""
        if self._transport is not None:
            self._transport.write(b"\n")

    def end(self) -> None:
        """End the link, once all is sent."""
        if self._transport is not None:
            self._transport.close()
