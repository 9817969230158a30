"""Order entry of a primary whose lease is not confirmed, so that it may not answer.

It cannot know whether another node is primary by now. Logins are rejected at once, as at a copy. Clients that are
logged in are sent away after ``PATIENCE_NS``: nothing else would tell them to try the other address, since heartbeats
go on. Orders of users that cancel on disconnect stay meanwhile. If the lease is confirmed again, those users have the
same time to log in as after a start.
"""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.server import Gateway
from node.core.control import RefusedForNow

#: Time without a confirmed lease after which clients are sent away; a renewal that is a little late ends before.
PATIENCE_NS: Final = 1_000_000_000


class OfPair(Protocol):
    """Replication of a node (``node.core.control.PairControl``)."""

    def lapsed(self) -> str:
        """Reason for which nothing is taken; "" if the lease holds, or on a copy."""
        ...


def check(pair: OfPair) -> None:
    """Raise RefusedForNow for a request of the operator while the lease is not confirmed for long."""
    if lapsed := pair.lapsed():
        raise RefusedForNow(f"nothing was done: {lapsed}; repeat the command once `lockstep status` says reigning")


class Lapse:
    """Times in which the lease does not hold. ``on_return``: called when it holds again."""

    def __init__(self, gateway: Gateway, on_return: Callable[[], None]) -> None:
        self._gateway = gateway
        self._on_return = on_return
        self._since_ns: int | None = None
        self._sent_away = False

    @property
    def is_long(self) -> bool:
        """True once clients were sent away, until the lease is confirmed again."""
        return self._sent_away

    def look(self, holds: bool, now_ns: int) -> None:
        """Note whether the lease holds now."""
        if holds:
            if self._since_ns is not None:
                self._since_ns, self._sent_away = None, False
                self._gateway.elsewhere = ""
                self._on_return()
            return
        if self._since_ns is None:
            self._since_ns = now_ns
            self._gateway.elsewhere = "the arbiter does not confirm that this node is primary"
        elif not self._sent_away and now_ns - self._since_ns >= PATIENCE_NS:
            self._sent_away = True
            self._gateway.send_away("the arbiter does not confirm that this node is primary")
