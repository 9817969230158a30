"""Connections between the nodes of a pair: TCP on the event loop, and nothing else; ``node.pair.member`` decides."""

import asyncio
import os
from typing import Final, Protocol, cast

from replication.copy_connection import Copy


class _Copy(Protocol):
    """The side of a copy."""

    def on_connect(self, connection: "ToPrimary", /) -> bool:
        """Begin a greeting; False if the connection is not wanted any more."""
        ...

    def on_bytes(self, data: bytes, /) -> None:
        """Take bytes of the primary."""
        ...

    def on_disconnect(self, connection: "ToPrimary", /) -> None:
        """Note that the connection is gone."""
        ...


class _Primary(Protocol):
    """The side of the primary."""

    def on_copy(self, connection: "FromCopy", /) -> Copy | None:
        """Take a new connection; None if this node is not primary."""
        ...

    def on_copy_bytes(self, copy: Copy, data: bytes, /) -> None:
        """Take bytes of a copy."""
        ...

    def on_copy_disconnect(self, copy: Copy, /) -> None:
        """Note that the connection is gone."""
        ...


#: Buffers that one call of the system takes.
_BUFFERS_MAX: Final = 1_024
#: Time for a copy to take the last bytes of a connection that is closed: one that is stopped never does.
LINGER_S: Final = 2.0


def _write(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    """Send bytes now, if nothing waits before them.

    The transport itself would send them after all calls of this turn of the loop, and a client waits for them.
    """
    if transport.is_closing():
        return
    if transport.get_write_buffer_size() or len(pieces) > _BUFFERS_MAX:
        transport.writelines(pieces)
        return
    try:
        sent = os.writev(transport.get_extra_info("socket").fileno(), pieces)
    except BlockingIOError:
        sent = 0
    except OSError:
        transport.writelines(pieces)  # it finds the same fault, and ends the connection
        return
    for at, piece in enumerate(pieces):
        if sent < len(piece):
            transport.writelines([piece[sent:], *pieces[at + 1 :]])
            return
        sent -= len(piece)


def _lend(transport: asyncio.Transport) -> int:
    """Descriptor of a connection that the event loop does not read from now on; -1 if it has none."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        return -1
    transport.pause_reading()
    return int(sock.fileno())


class ToPrimary(asyncio.Protocol):
    """Connection of a copy to the primary. ``paused``: nothing is read for now.

    Its end is reported once, by the transport or by ``give_up``, and nothing is heard of it after that.
    """

    def __init__(self, pair: _Copy) -> None:
        self._pair = pair
        self.paused = False
        self._ended = False
        #: Somebody else reads the descriptor.
        self._lent = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the greeting."""
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is no subclass
        if not self._pair.on_connect(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if not self._ended:
            self._pair.on_bytes(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end."""
        if not self._ended:
            self._ended = True
            self._pair.on_disconnect(self)

    def pause(self) -> None:
        """Read nothing more for now: the primary's bytes wait on the connection."""
        if not self.paused and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.paused and self._transport is not None:
            self.paused = False
            if not self._lent:
                self._transport.resume_reading()

    @property
    def is_idle(self) -> bool:
        """True if it is read, and all that was sent is on its way."""
        transport = self._transport
        return not (self.paused or transport is None or transport.is_closing() or transport.get_write_buffer_size())

    def lend(self) -> int:
        """Descriptor, which somebody else reads from now on; -1 if there is none."""
        fd = -1 if self._transport is None else _lend(self._transport)
        self._lent = fd >= 0
        return fd

    def take_back(self) -> None:
        """Read it here again."""
        self._lent = False
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def give_up(self) -> None:
        """End the connection at once, and report the end, which the transport may never do.

        That of uvloop is silent where an attempt to connect is canceled just after ``connection_made``.
        """
        if self._transport is not None:
            self._transport.abort()
            self.connection_lost(None)

    def send(self, pieces: list[bytes]) -> None:
        """Send bytes."""
        if pieces and self._transport is not None:
            _write(self._transport, pieces)

    def close(self) -> None:
        """End the connection after what was sent."""
        if self._transport is not None:
            self._transport.close()


class FromCopy(asyncio.Protocol):
    """Connection of a copy, at the primary."""

    def __init__(self, pair: _Primary) -> None:
        self._pair = pair
        #: Descriptor while somebody else reads it; -1: the event loop does.
        self._lent = -1
        self._copy: Copy | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the challenge; a node that is not primary just hangs up."""
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop is no subclass
        self._copy = self._pair.on_copy(self)
        if self._copy is None:
            self._transport.abort()
            return
        self.send()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._copy is not None:
            self._pair.on_copy_bytes(self._copy, data)
            self.send(urgent=True)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end."""
        if self._copy is not None:
            self._pair.on_copy_disconnect(self._copy)

    def send(self, *, urgent: bool = False) -> None:
        """Send what the core has for this copy, and hang up once it is closed. ``urgent``: what clients wait for."""
        if self._copy is None or self._transport is None:
            return
        pieces = self._copy.take_urgent() if urgent else self._copy.take_out()
        if pieces:
            _write(self._transport, pieces)
        self._copy.unsent_bytes = self._transport.get_write_buffer_size()
        if self._copy.state == "closed":
            self.close()

    def close(self) -> None:
        """Hang up once all is sent, ``LINGER_S`` from now at the latest. May be repeated."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)

    @property
    def is_open(self) -> bool:
        """True until it closes."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_idle(self) -> bool:
        """True if all that was sent is on its way."""
        return self._transport is not None and not self._transport.get_write_buffer_size()

    def lend(self) -> int:
        """Descriptor, which somebody else reads from now on; -1 if there is none. May be repeated."""
        if self._lent < 0 and self._transport is not None:
            self._lent = _lend(self._transport)
        return self._lent

    def take_back(self) -> None:
        """Read it here again."""
        lent, self._lent = self._lent, -1
        if lent >= 0 and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes before anything else."""
        if self._transport is not None:
            _write(self._transport, [data])
