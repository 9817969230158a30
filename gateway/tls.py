"""TLS for order entry: the certificate, and the handshake of a connection.

A connection has its slot before its handshake, so that connections without a handshake are bounded, and make room like
silent ones.
"""

import asyncio
import ssl
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from gateway.connection import LOGIN_NS
from gateway.protocol import Entrance

if TYPE_CHECKING:
    from gateway.server import Gateway

#: Time for a peer to close its side of an ended connection.
_SHUTDOWN_S: Final = 2.0


class TlsError(ValueError):
    """A certificate or key that cannot be used; the message says which, and what to do."""


class TlsFiles(NamedTuple):
    """Files of TLS: certificate chain, its key, and the certificates that those of clients go back to; all PEM.

    client_ca: None where clients show no certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Context of TLS 1.2 and later with the files of ``TlsFiles``. Raises TlsError."""
    files = [(certificate, "certificate"), (key, "key")]
    files += [] if client_ca is None else [(client_ca, "client CA")]
    for path, what in files:
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsError(f"the TLS {what} {path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase would prompt on the terminal; it is refused instead.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise TlsError(
            f"{certificate} and {key} are no TLS certificate and key ({reason}); give a PEM chain, and its key without "
            "a passphrase"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise TlsError(f"{client_ca} has no certificates of clients; give those of their CA, PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class TlsDoor(asyncio.Protocol):
    """Protocol of a connection until its handshake is done; then the gateway's ``Connection`` replaces it."""

    def __init__(self, gateway: "Gateway", entrance: Entrance, context: ssl.SSLContext) -> None:
        self._connection = gateway.connection(entrance)
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake of a new connection if there is room."""
        if not self._connection.admit(transport):
            return
        stream, loop = cast(asyncio.Transport, transport), asyncio.get_running_loop()
        starting = loop.start_tls(
            stream,
            self._connection,
            self._context,
            server_side=True,
            ssl_handshake_timeout=LOGIN_NS / 1e9,
            ssl_shutdown_timeout=_SHUTDOWN_S,
        )
        # A task begins in the loop's next turn, and by then this protocol may have received the client's first bytes.
        # So TLS gets the transport at once.
        begun = _StartedAwaitable(starting)
        # Kept, since the loop alone does not protect a task from collection.
        self._task = loop.create_task(self._shake_hands(begun, stream))

    async def _shake_hands(self, begun: "_StartedAwaitable", transport: asyncio.Transport) -> None:
        try:
            secured = await begun
        except OSError as error:  # SSLError included, and a handshake that takes too long
            transport.abort()
            self._connection.on_handshake_failure(error)
            return
        if secured is not None:
            self._connection.on_handshake(secured)


class _StartedAwaitable:
    """Awaitable that continues a coroutine which has run to its first wait."""

    def __init__(self, coroutine: Coroutine[Any, Any, asyncio.Transport | None]) -> None:
        self._coroutine = coroutine
        self._waits_for = coroutine.send(None)

    def __await__(self) -> Generator[Any, Any, asyncio.Transport | None]:
        waits_for = self._waits_for
        while True:
            try:
                try:
                    given = yield waits_for
                except BaseException as error:
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(given)
            except StopIteration as done:
                return cast("asyncio.Transport | None", done.value)
