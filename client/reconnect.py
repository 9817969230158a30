"""Reconnection: time of the next try after a connection broke, and the sentence for a failure."""

import random
import socket
import ssl
from collections.abc import Callable
from typing import Final

from client.addresses import Address, Rotation
from client.day import OrderT
from client.errors import CannotConnect, ClientError, ConnectionLost, LoginRefused
from client.order_entry import OrderEntry, Phase

#: Delays where there are several addresses: a takeover is a matter of a second or two, so the bound is low at first.
_QUICK_FIRST_S: Final = 0.02
_QUICK_TOP_S: Final = 0.15
_QUICK_FOR_S: Final = 3.0
#: Longest attempt to connect where there are several addresses, and longest silence of a node that is to beat.
CONNECT_S: Final = 3.0
SILENCE_NS: Final = 3_000_000_000


class Backoff:
    """Delays that double up to a bound, and vary at random so that clients do not reconnect all at once.

    for_s: time for tries from the first failure on; a success restarts it (``reset``). quick_for_s: time at the begin
    of it in which the bound is ``quick_top_s``.
    """

    def __init__(
        self,
        for_s: float,
        first_s: float = 0.05,
        top_s: float = 5.0,
        chance: Callable[[], float] = random.random,
        quick_top_s: float = 5.0,
        quick_for_s: float = 0.0,
    ) -> None:
        self._for_s = for_s
        self._first_s = first_s
        self._top_s = top_s
        self._chance = chance
        self._quick_top_s, self._quick_for_s = quick_top_s, quick_for_s
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
        is_quick = now_s - self._since_s < self._quick_for_s
        top_s = min(self._top_s, self._quick_top_s) if is_quick else self._top_s
        delay_s = min(top_s, self._first_s * 2.0 ** min(self._tries, 30)) * (0.5 + self._chance() / 2)
        # While the bound is low the doubling rests there, so that the next delay is twice the bound and no more.
        self._tries += not is_quick or self._first_s * 2.0**self._tries < top_s
        return min(delay_s, left_s)


class Retry:
    """Decision after the end of a connection: when to make another, and to which address, or why not."""

    def __init__(self, for_s: float, addresses: tuple[Address, ...]) -> None:
        self.rotation = Rotation(addresses)
        self._for_s = for_s
        self._backoff = Backoff(for_s)
        if self.rotation.has_several:
            self._backoff = Backoff(for_s, _QUICK_FIRST_S, quick_top_s=_QUICK_TOP_S, quick_for_s=_QUICK_FOR_S)
        self._ever_live = False
        #: Last error at each address since the last live connection.
        self._errors: dict[Address, ClientError] = {}

    @property
    def address(self) -> Address:
        """The address of the next connection."""
        return self.rotation.now

    @property
    def has_several(self) -> bool:
        """True if there are several addresses."""
        return self.rotation.has_several

    @property
    def why(self) -> str:
        """Sentence on the last failure, at each address that was tried since the last live connection; "" for none."""
        errors = list(self._errors.values())  # at once: another thread may clear them
        return str(self._of_all(errors[-1])) if errors else ""

    def on_live(self) -> None:
        """Note that a connection is live: the failures before it are over."""
        self._errors.clear()

    def connect_s(self, timeout_s: float) -> float:
        """Longest attempt to connect."""
        return min(timeout_s, CONNECT_S) if self.has_several else timeout_s

    def delay_s(self, core: OrderEntry[OrderT], *, was_live: bool, error: ClientError, now_s: float) -> float:
        """Time until the next connection. Raises the error that rules out another.

        error: how the connection ended, or could not be made. The very first is not made again, since then it is
        probably host, port, user or password that is wrong; each address is tried once. Only where a node answers that
        it is not primary may the login wait, whatever the other address says: a takeover may be under way. Later, a
        refused login may be the exchange that has not noticed yet that the connection before is gone.
        """
        if was_live:
            self._ever_live = True
            self._backoff.reset()
            self.rotation.restart()
            self._errors.clear()
        self._errors.pop(self.address, None)  # the last one comes last
        self._errors[self.address] = error
        if core.failed is not None:
            raise core.failed
        if core.at_once and not isinstance(error, CannotConnect):
            return 0.0
        may_wait = self._ever_live or (self.has_several and any(map(_is_no_primary, self._errors.values())))
        if isinstance(error, LoginRefused) and not (self._ever_live or (self.has_several and _is_no_primary(error))):
            raise error
        if self.rotation.move_on() and not was_live:
            return 0.0
        if not may_wait:
            raise self._of_all(error)
        delay_s = self._backoff.next_s(now_s)
        if delay_s is None:
            within = f" within {self._for_s:g} s" if self._for_s else ""
            every = self._of_all(error)
            if not self._ever_live:
                raise every
            raise ConnectionLost(f"the connection was lost and did not come back{within}: {every}") from error
        return delay_s

    def _of_all(self, error: ClientError) -> ClientError:
        """The last error, with those at the other addresses in its sentence."""
        errors = list(self._errors.items())
        if len(errors) < 2:
            return error
        said = "; ".join(f"{address}: {each}" for address, each in errors)
        every = f"no address takes the login: {said}"
        if isinstance(error, LoginRefused):
            return LoginRefused(error.code, every)
        return CannotConnect(every) if isinstance(error, CannotConnect) else ConnectionLost(every)


def _is_no_primary(error: ClientError) -> bool:
    """True for a refusal by a node that is there, and not primary now."""
    return isinstance(error, LoginRefused) and error.code == "S"


def cannot_connect(error: OSError, host: str, port: int) -> CannotConnect:
    """Sentence that says why there is no connection."""
    where = str(Address(host, port))
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
    """Reason for the end of a connection; before any answer to a login in plain text, TLS or another protocol is a
    likely cause."""
    unanswered = core.phase is Phase.LOGIN and core.refused is None and not core.why
    return (
        f"{why}; perhaps it expects TLS (give --tls), or another protocol: check the port"
        if unanswered and not tls
        else why
    )
