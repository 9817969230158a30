"""Connections of programs beside the node, by lines in shared memory (``tape.lines``) in place of sockets.

A line has a transport, so that all else is as on a socket: login, turns, spool, slow readers, cancels on disconnect.
While such a connection is direct, the compiled turn takes and puts its bytes itself. Else they are moved here: when
a client has woken the node, at each beat, and each millisecond while a connection is not direct.

A client's end shows by its lock, at the next beat at the latest.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from gateway.connection import Connection
from tape.line_kernels import BROKEN, LINES_MAX
from tape.lines import MarketLines

#: Wait between two looks at connections that are not direct, in seconds.
_LOOK_S: Final = 0.001
#: Name under which a transport gives the number of its line (``get_extra_info``).
LINE: Final = "line"


class LineTransport(asyncio.Transport):
    """Transport of one client on a line."""

    def __init__(self, door: "LocalDoor", line: int, number: int, connection: Connection) -> None:
        super().__init__({"peername": ("local", line), LINE: line})
        self._door, self.line, self.number = door, line, number
        self.connection = connection
        self._unsent = bytearray()
        self._high, self._low = 1 << 16, 1 << 14
        self._reads = True
        self._writing_paused = self._ending = self._half_closed = False
        self._lost = False

    def look(self) -> None:
        """Move what there is to move."""
        self.flush()
        if self._reads and not self._ending and not self._lost:
            view = self.connection.get_buffer(-1)
            room = np.frombuffer(view, np.uint8)
            count = self._door.lines.take(self.line, room) if len(room) else 0
            if count == BROKEN:
                self.lose("it counts bytes that cannot be")
            elif count:
                self.connection.buffer_updated(count)

    @property
    def needs_looks(self) -> bool:
        """True while the compiled turn does not serve it."""
        return not self.connection.is_direct or bool(self._unsent)

    def flush(self) -> None:
        """Put what waits, as far as there is room."""
        if self._unsent and not self._lost:
            count = self._door.lines.put(self.line, bytes(self._unsent))
            if count == BROKEN:
                self.lose("it counts bytes that cannot be")
                return
            del self._unsent[:count]
        if self._writing_paused and len(self._unsent) <= self._low:
            self._writing_paused = False
            self.connection.resume_writing()
        if not self._unsent and self._half_closed:
            self._door.lines.end(self.line, self.number)
        if not self._unsent and self._ending:
            self.lose("")

    def lose(self, why: str) -> None:
        """End the connection."""
        if not self._lost:
            self._lost = self._ending = True
            self._unsent.clear()
            self._door.lines.end(self.line, self.number)
            self._door.forget(self)
            self.connection.connection_lost(ConnectionError(why) if why else None)

    # The transport of asyncio.

    def write(self, data: Any) -> None:
        """Put bytes, and keep what has no room."""
        if self._lost:
            return
        self._unsent += data
        self.flush()
        if self._unsent:
            self._door.look_soon()
            if len(self._unsent) > self._high and not self._writing_paused:
                self._writing_paused = True
                self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that had no room."""
        return len(self._unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bounds of the bytes that had no room."""
        self._high = self._high if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self) -> None:
        """Leave the client's bytes where they are."""
        self._reads = False

    def resume_reading(self) -> None:
        """Take the client's bytes again."""
        self._reads = True
        self._door.look_soon()

    def can_write_eof(self) -> bool:
        """True: a line ends each way by itself."""
        return True

    def write_eof(self) -> None:
        """Say that nothing follows, once all is put."""
        self._half_closed = True
        self.flush()
        self._door.look_soon()

    def is_closing(self) -> bool:
        """True once it ends."""
        return self._ending

    def close(self) -> None:
        """End it once all is put."""
        if not self._ending:
            self._ending = True
            self._door.loop.call_soon(self.flush)
            self._door.look_soon()

    def abort(self) -> None:
        """End it now."""
        self._ending = True
        self._door.loop.call_soon(self.lose, "")


class LocalDoor:
    """The lines of a node, on its event loop. make: a protocol for a new connection."""

    def __init__(self, lines: MarketLines, make: Callable[[], Connection]) -> None:
        self.lines, self._make = lines, make
        self.loop = asyncio.get_running_loop()
        self._transports: list[LineTransport | None] = [None] * LINES_MAX
        self._looks = False
        self._open = True
        self.loop.add_reader(lines.fd, self._on_wake)

    def __len__(self) -> int:
        return sum(each is not None for each in self._transports)

    def users(self) -> dict[int, int]:
        """Number of the user on each line with a client; 0 before the login."""
        return {each.line: each.connection.user for each in self._transports if each is not None}

    def _on_wake(self) -> None:
        self.lines.drain()
        self.beat()

    def beat(self) -> None:
        """Begin and end connections as their clients come and go."""
        for line in range(LINES_MAX):
            transport, number = self._transports[line], self.lines.client_of(line)
            if transport is not None and transport.number != number:
                if not transport.connection.is_direct:
                    transport.look()  # what it has put before its end
                transport.lose("")
            if self._transports[line] is None and number and self._open:
                self._begin(line, number)
        self._look()

    def _begin(self, line: int, number: int) -> None:
        if self.lines.is_served(line, number):  # it was ended, and has not gone yet
            return
        connection = self._make()
        transport = LineTransport(self, line, number, connection)
        self._transports[line] = transport
        self.lines.serve(line, number)
        connection.connection_made(transport)

    def look_soon(self) -> None:
        """Look at connections that are not direct from now on, until there are none."""
        if not self._looks and self._open:
            self._looks = True
            self.loop.call_later(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._looks = False
        self._look()

    def _look(self) -> None:
        for transport in self._transports:
            if transport is not None and transport.needs_looks:
                transport.look()
        if any(each is not None and each.needs_looks for each in self._transports):
            self.look_soon()

    def forget(self, transport: LineTransport) -> None:
        """Give the line of an ended connection to the next client."""
        if self._transports[transport.line] is transport:
            self._transports[transport.line] = None

    def close(self) -> None:
        """End all connections, and remove the file."""
        if self._open:
            self._open = False
            self.loop.remove_reader(self.lines.fd)
            for transport in self._transports:
                if transport is not None:
                    transport.lose("")
            self.lines.close()
