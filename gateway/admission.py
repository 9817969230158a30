"""Who is let in: what a login request is answered, and how often one may be tried. Pure: times are given.

A hash of a password takes long on purpose, so it is worked out elsewhere, and only for as many requests at once as
``PENDING_MAX``. Who fails is made to wait: after ``FAILURES_MAX`` failures of a user from an address, or
``ADDRESS_FAILURES_MAX`` of an address, its requests are refused unseen until the failures are ``WINDOW_NS`` old. A
password that was right is remembered, as a keyed digest that is of no use outside of this process, so that a thousand
clients that come back after a restart of the network need a thousand hashes once, not each time.
"""

import hashlib
import hmac
import secrets
from collections import deque
from typing import Final

FAILURES_MAX: Final = 5
ADDRESS_FAILURES_MAX: Final = 100
WINDOW_NS: Final = 30_000_000_000
PENDING_MAX: Final = 2_048
#: Addresses and users whose failures are remembered at most.
REMEMBERED_MAX: Final = 10_000


class Admission:
    """Failures of the last while, and passwords that were right."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], deque[int]] = {}
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        self.pending = 0
        self.refused = 0

    def may_try(self, address: str, user: str, now_ns: int) -> bool:
        """Whether a request is looked at now, or waits to be."""
        return self.pending < PENDING_MAX and not self.barred(address, user, now_ns)

    def barred(self, address: str, user: str, now_ns: int) -> bool:
        """Whether too many failed of late; asked again when a request's turn has come."""
        return not (
            self._count((address, user), now_ns) < FAILURES_MAX
            and self._count((address, ""), now_ns) < ADDRESS_FAILURES_MAX
        )

    def failed(self, address: str, user: str, now_ns: int) -> None:
        """A request was refused for its user or password."""
        self.refused += 1
        if len(self._failures) > REMEMBERED_MAX:
            self._failures = {key: times for key, times in self._failures.items() if self._count(key, now_ns)}
        if len(self._failures) <= REMEMBERED_MAX:
            for key, bound in (((address, user), FAILURES_MAX), ((address, ""), ADDRESS_FAILURES_MAX)):
                self._failures.setdefault(key, deque(maxlen=bound)).append(now_ns)

    def _count(self, key: tuple[str, str], now_ns: int) -> int:
        times = self._failures.get(key)
        if times is None:
            return 0
        while times and now_ns - times[0] >= WINDOW_NS:
            times.popleft()
        return len(times)

    def _digest(self, user: str, password: str, stored: bytes) -> bytes:
        return hmac.digest(self._key, f"{user}\0{password}\0".encode() + stored, hashlib.sha256)

    def knows(self, user: str, password: str, stored: bytes) -> bool:
        """Whether this password was right for the stored hash before."""
        known = self._known.get(user)
        return known is not None and hmac.compare_digest(known, self._digest(user, password, stored))

    def learn(self, user: str, password: str, stored: bytes) -> None:
        """A password was found right for a stored hash."""
        self._known[user] = self._digest(user, password, stored)
