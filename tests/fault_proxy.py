"""A proxy for TCP on loopback that does what a network does: cut, half-open, one direction only, late."""

import asyncio
import contextlib
import socket
from typing import Literal

#: pass; held: bytes wait here, and nobody hears of it; late: each piece comes ``LATE_S`` later.
Passage = Literal["pass", "held", "late"]
LATE_S = 0.15


class _Direction:
    """Passage of the bytes of one direction, of all connections."""

    def __init__(self) -> None:
        self.passage: Passage = "pass"
        self._changed = asyncio.Event()

    def set(self, passage: Passage) -> None:
        self.passage = passage
        self._changed.set()
        self._changed = asyncio.Event()

    async def through(self) -> None:
        """Wait until a piece may pass."""
        if self.passage == "late":
            await asyncio.sleep(LATE_S)
        while self.passage == "held":
            await self._changed.wait()


class FaultProxy:
    """Connections to ``port`` go on to ``to_port``. ``there``: bytes of who connects; ``back``: the answers."""

    def __init__(self, port: int, to_port: int) -> None:
        self.port = port
        self._to_port = to_port
        self.there, self.back = _Direction(), _Direction()
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        #: Connections and pieces that came to it.
        self.connections = self.pieces = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def heal(self) -> None:
        """Let everything pass; what was held comes now."""
        self._is_cut = False
        self.there.set("pass")
        self.back.set("pass")

    def hold(self, *, there: bool = True, back: bool = True) -> None:
        """Hold bytes: the ends believe that they are connected."""
        if there:
            self.there.set("held")
        if back:
            self.back.set("held")

    def delay(self) -> None:
        """Let every piece come late."""
        self.there.set("late")
        self.back.set("late")

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self._is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def point_to(self, port: int) -> None:
        """Break all connections; later ones go on to another port. From any thread."""
        self._to_port = port
        for writer in list(self._writers):
            writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, to, direction in ((reader, far_writer, self.there), (far_reader, writer, self.back)):
            task = asyncio.get_running_loop().create_task(self._pass(source, to, direction))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: _Direction) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65_536):
                    self.pieces += 1
                    await direction.through()
                    writer.write(data)
                    await writer.drain()
            await direction.through()  # the end of a connection is held like bytes
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def stop(self) -> None:
        """End it, and all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
