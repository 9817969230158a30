"""Snapshots of the feed over SoupBinTCP, as GLIMPSE 5.0 gives them.

A client logs in, gets the messages that rebuild the books, and message G with the number of the feed's message behind
them; then it goes on with the feed. Any user name and password are taken: whoever reaches the port may see the market.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from marketdata.itch import session_name
from marketdata.itch.snapshot import end_of_snapshot
from marketdata.itch.stream import ItchStream
from node.feeds.snapshot_fork import SnapshotFork
from node.programs.child_work import WorkFailed
from wire import LoginRequest, ProtocolError, RejectCode, ServerSession, State
from wire.soup import Logout

#: Clients at once; one more is turned away.
CLIENTS_MAX: Final = 64
#: Bytes of the snapshots that are being taken; while there are more, one more client is turned away.
HELD_BYTES_MAX: Final = 512 << 20
#: Time for a client to log in, to take a part of its snapshot, and to take all of it, in seconds.
_LOGIN_S: Final = 10.0
_PART_S: Final = 30.0
_TAKE_S: Final = 120.0
_LOGIN_BYTES_MAX: Final = 256
#: Bytes of a snapshot that are written at a time.
_PART_BYTES: Final = 64 << 10


class SnapshotServer:
    """Clients of snapshots. ``given``: snapshots so far. ``held_bytes``: of the snapshots that are being taken."""

    def __init__(
        self,
        stream: ItchStream,
        on_slow: Callable[[str], None] = lambda _address: None,
        on_failure: Callable[[str], None] = lambda _why: None,
    ) -> None:
        """on_slow: told the address of a client that took nothing for too long, and was ended. on_failure: told why a
        snapshot could not be made; its clients were ended."""
        self._stream, self._on_slow, self._on_failure = stream, on_slow, on_failure
        self._fork = SnapshotFork(stream)
        self._clients = 0
        self.given = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of the snapshots that are being taken; clients share them."""
        return self._fork.held_bytes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client, until it has its snapshot, leaves, or breaks the protocol."""
        self._clients += 1
        writer.transport.set_write_buffer_limits(0)  # what was drained is the kernel's
        try:
            async with asyncio.timeout(_TAKE_S):
                await self._serve(reader, writer)
        except TimeoutError:
            self._on_slow(str((writer.get_extra_info("peername") or [""])[0]))
            writer.transport.abort()  # a close waits until it has taken what is due
        except WorkFailed as error:
            self._on_failure(str(error))
            writer.transport.abort()
        except OSError:
            writer.transport.abort()  # it has left
        finally:
            self._clients -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ServerSession(time.monotonic_ns(), _LOGIN_BYTES_MAX)
        while session.state is State.LOGIN:
            async with asyncio.timeout(_LOGIN_S):
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
        if self._clients > CLIENTS_MAX or self.held_bytes > HELD_BYTES_MAX:
            writer.write(session.reject(RejectCode.NOT_AUTHORIZED))
            return
        if not self._has(asked, self._stream.feed.day, self._stream.feed.messages):
            writer.write(session.reject(RejectCode.SESSION_NOT_AVAILABLE))
            return
        async with self._fork.taken() as snapshot:
            if not self._has(asked, snapshot.day, snapshot.next_number - 1):  # a new day has begun meanwhile
                writer.write(session.reject(RejectCode.SESSION_NOT_AVAILABLE))
                return
            writer.write(session.accept(session_name(snapshot.day), 1, time.monotonic_ns()))
            for at in range(0, snapshot.size_bytes, _PART_BYTES):
                await self._part(writer, snapshot.read(at, min(_PART_BYTES, snapshot.size_bytes - at)))
            end = session.sequenced([end_of_snapshot(snapshot.next_number)], time.monotonic_ns())
            await self._part(writer, end + session.end_session(time.monotonic_ns()))
        self.given += 1

    @staticmethod
    def _has(asked: LoginRequest, day: int, messages: int) -> bool:
        """True if a session with so many messages has what is asked for."""
        return messages > 0 and asked.session in ("", session_name(day)) and asked.requested_seq <= 1

    @staticmethod
    async def _part(writer: asyncio.StreamWriter, octets: bytes) -> None:
        writer.write(octets)
        async with asyncio.timeout(_PART_S):
            await writer.drain()
        await asyncio.sleep(0)  # a drain of what the system took at once is no turn of the loop
