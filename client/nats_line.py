"""A connection to a NATS server: the only file that imports nats-py (`pip install 'lockstep[nats]'`).

A line that breaks stays broken: who wants another connects again, and goes on where it is known that everything before
has reached the server. So nothing waits in a buffer for a server that is dead or stopped.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import nats
from nats.aio.msg import Msg
from nats.errors import Error

from client.errors import CannotConnect, ConnectionLost
from client.publication import checked_url

#: Time for a connection, and for its orderly end, in seconds.
CONNECT_S: Final = 2.0
_CLOSE_S: Final = 0.5
#: Interval of pings, and how many may stay without an answer.
_PING_S: Final = 2
_PINGS_MAX: Final = 2
#: Bytes that came and are not taken, beyond which they are left out: their reader asks the owner of the journal.
_WAITING_BYTES_MAX: Final = 32 << 20
_FAULTS: Final = (Error, OSError, TimeoutError, ssl.SSLError)

OnMessage = Callable[[dict[str, str], bytes], Awaitable[None]]


class NatsLine:
    """An open connection. ``is_open``: False once it has broken."""

    def __init__(self, connection: Any, shown: str) -> None:
        self._connection, self._shown = connection, shown

    @classmethod
    async def connect(cls, url: str, *, name: str, login: str = "") -> "NatsLine":
        """Connect to a server. login: "user:password", a token, or "" for none. Raises CannotConnect, ValueError."""
        shown = urlsplit(checked_url(url)).netloc
        user, colon, password = login.partition(":")
        words = {} if not login else {"user": user, "password": password} if colon else {"token": login}

        async def ignore(_error: Exception) -> None:
            """Leave it: who publishes or waits finds what is wrong."""

        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await nats.connect(
                    url,
                    name=name,
                    allow_reconnect=False,
                    connect_timeout=CONNECT_S,
                    ping_interval=_PING_S,
                    max_outstanding_pings=_PINGS_MAX,
                    error_cb=ignore,
                    **words,
                )
        except _FAULTS as error:
            why = str(error) or (f"nothing in {CONNECT_S:.0f} s" if isinstance(error, TimeoutError) else repr(error))
            raise CannotConnect(f"no NATS server answers at {shown}: {why}") from error
        return cls(connection, shown)

    @property
    def is_open(self) -> bool:
        """True until it breaks or is closed."""
        return bool(self._connection.is_connected)

    @property
    def payload_bytes_max(self) -> int:
        """Bytes of a payload with its headers that the server takes."""
        return int(self._connection.max_payload)

    async def publish(self, subject: str, headers: Mapping[str, str], payload: bytes) -> None:
        """Publish a message; ``flush`` tells that it has reached the server. Raises ConnectionLost."""
        try:
            await self._connection.publish(subject, payload, headers=dict(headers))
        except _FAULTS as error:
            raise self._lost(error) from error

    async def flush(self, seconds: float) -> None:
        """Wait until the server has all that was published. Raises ConnectionLost, also where it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._connection.flush(seconds)
        except _FAULTS as error:
            raise self._lost(error) from error
        if not self.is_open:
            raise self._lost(ConnectionError("it has ended the connection"))

    async def subscribe(self, subject: str, on_message: OnMessage) -> None:
        """Have ``on_message`` called with headers and payload of what is published under a subject from now on.

        Raises ConnectionLost.
        """

        async def taken(message: Msg) -> None:
            await on_message(dict(message.headers or {}), message.data)

        try:
            await self._connection.subscribe(subject, cb=taken, pending_bytes_limit=_WAITING_BYTES_MAX)
        except _FAULTS as error:
            raise self._lost(error) from error
        await self.flush(CONNECT_S)

    def _lost(self, error: Exception) -> ConnectionLost:
        why = str(error) or type(error).__name__
        return ConnectionLost(f"the connection to the NATS server at {self._shown} has broken: {why}")

    async def close(self) -> None:
        """End the connection; of a server that takes nothing, without waiting for it."""
        with contextlib.suppress(*_FAULTS):
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.close()
