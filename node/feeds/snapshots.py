"""Snapshots of the feed over SoupBinTCP, as GLIMPSE 5.0 gives them.

A client logs in, gets the messages that rebuild the books, and message G with the number of the feed's message behind
them; then it goes on with the feed. Any user name and password are taken: whoever reaches the port may see the market.
"""

import asyncio
import time
from typing import Final

from marketdata.itch import session_name
from marketdata.itch.snapshot import Snapshot, end_of_snapshot, packets
from marketdata.itch.stream import ItchStream
from wire import LoginRequest, ProtocolError, RejectCode, ServerSession, State
from wire.soup import Logout

#: Clients at once; one more is turned away.
CLIENTS_MAX: Final = 64
#: Time for a client to take its snapshot, in seconds.
_TAKE_S: Final = 120.0
_LOGIN_BYTES_MAX: Final = 256


class SnapshotServer:
    """Clients of snapshots. ``given``: snapshots so far."""

    def __init__(self, stream: ItchStream) -> None:
        self._stream = stream
        self._clients = 0
        self.given = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client, until it has its snapshot, leaves, or breaks the protocol."""
        self._clients += 1
        try:
            async with asyncio.timeout(_TAKE_S):
                await self._serve(reader, writer)
        except (OSError, TimeoutError):
            pass  # it has left, or takes nothing
        finally:
            self._clients -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ServerSession(time.monotonic_ns(), _LOGIN_BYTES_MAX)
        while session.state is State.LOGIN:
            data = await reader.read(_LOGIN_BYTES_MAX)
            if not data:
                return
            for event in session.receive(data, time.monotonic_ns()):
                if isinstance(event, ProtocolError):
                    writer.write(event.answer)
                    return
                if isinstance(event, Logout):
                    return
                if isinstance(event, LoginRequest):
                    await self._give(session, event, writer)

    async def _give(self, session: ServerSession, asked: LoginRequest, writer: asyncio.StreamWriter) -> None:
        if self._clients > CLIENTS_MAX:
            writer.write(session.reject(RejectCode.NOT_AUTHORIZED))
            return
        snapshot = Snapshot(self._stream.feed)
        name, now_ns = session_name(snapshot.day), self._stream.now_ns
        if asked.session not in ("", name) or asked.requested_seq > 1 or snapshot.next_number == 1:
            writer.write(session.reject(RejectCode.SESSION_NOT_AVAILABLE))
            return
        writer.write(session.accept(name, 1, time.monotonic_ns()))
        for piece in await asyncio.to_thread(snapshot.framed, now_ns):
            writer.write(packets(piece))
            await writer.drain()
        writer.write(session.sequenced([end_of_snapshot(snapshot.next_number)], time.monotonic_ns()))
        writer.write(session.end_session(time.monotonic_ns()))
        await writer.drain()
        self.given += 1
