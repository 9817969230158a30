"""Reconnection: time of the next try after a connection broke, and the sentence for a failure."""

import random
import socket
import ssl
from collections.abc import Callable

from client.day import OrderT
from client.errors import CannotConnect, ClientError, ConnectionLost
from client.order_entry import OrderEntry, Phase


class Backoff:
    """Delays that double up to a bound, and vary at random so that clients do not reconnect all at once.

    for_s: time for tries from the first failure on; a success restarts it (``reset``).
    """

    def __init__(
        self,
        for_s: float,
        first_s: float = 0.05,
        top_s: float = 5.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._for_s = for_s
        self._first_s = first_s
        self._top_s = top_s
        self._chance = chance
        self._tries = 0
        self._since_s = 0.0

    def reset(self) -> None:
        """Note a success: the next delay is the shortest again."""
        self._tries = 0

    def next_s(self, now_s: float) -> float | None:
        """Wait before the next try, in seconds; None: give up.

        >>> backoff = Backoff(for_s=1.0, first_s=0.5, chance=lambda: 1.0)
        >>> backoff.next_s(10.0), backoff.next_s(10.5), backoff.next_s(11.0)
        (0.5, 0.5, None)
        """
        if not self._tries:
            self._since_s = now_s
        left_s = self._since_s + self._for_s - now_s
        if left_s < 0.001:
            return None
        delay_s = min(self._top_s, self._first_s * 2.0 ** min(self._tries, 30)) * (0.5 + self._chance() / 2)
        self._tries += 1
        return min(delay_s, left_s)


class Retry:
    """Decision after the end of a connection: when to make another, or why not."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._backoff = Backoff(for_s)
        self._ever_live = False

    def delay_s(self, core: OrderEntry[OrderT], *, was_live: bool, error: ClientError, now_s: float) -> float:
        """Time of the next connection. Raises the error that rules out another.

        error: how the connection ended, or could not be made. The very first is not made again, since then it is
        probably host, port, user or password that is wrong; later, a refused login may be the exchange that has not
        noticed yet that the connection before is gone.
        """
        if was_live:
            self._ever_live = True
            self._backoff.reset()
        if core.failed is not None:
            raise core.failed
        if core.at_once and not isinstance(error, CannotConnect):
            return 0.0
        if not self._ever_live:
            raise error
        delay_s = self._backoff.next_s(now_s)
        if delay_s is None:
            within = f" within {self._for_s:g} s" if self._for_s else ""
            raise ConnectionLost(f"the connection was lost and did not come back{within}: {error}") from error
        return delay_s


def cannot_connect(error: OSError, host: str, port: int) -> CannotConnect:
    """Sentence that says why there is no connection."""
    where = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        return CannotConnect(f"the host {host!r} is unknown; check its name")
    if isinstance(error, ConnectionRefusedError):
        return CannotConnect(f"nothing listens on {where}; check the port, and that the exchange runs")
    if isinstance(error, TimeoutError):
        return CannotConnect(f"{where} does not answer; check host and port, and the network between")
    if isinstance(error, ssl.SSLCertVerificationError):
        return CannotConnect(
            f"the certificate of {where} is not to be trusted: {error.verify_message}; check the host name, and give "
            "the certificate of its authority"
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return CannotConnect(f"no TLS with {where} ({reason}); check whether the exchange speaks TLS on that port")
    return CannotConnect(f"no connection to {where}: {(error.strerror or str(error)).lower()}")


def closed_early(why: str, core: OrderEntry[OrderT], *, tls: bool) -> str:
    """Reason for the end of a connection; before any answer to a login in plain text, TLS is a likely cause."""
    unanswered = core.phase is Phase.LOGIN and core.refused is None and not core.why
    return f"{why}; perhaps it expects TLS: give --tls" if unanswered and not tls else why
