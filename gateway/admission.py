"""Login throttling: time of the next password check, and memory of correct passwords. Pure: times are given.

Every login is checked: after ``FAILURES_MAX`` failures of a user from an address, further ones of that pair are checked
once in ``PAIR_PACE_NS``; after ``ADDRESS_FAILURES_MAX`` failures of an address, its logins are checked once in
``ADDRESS_PACE_NS``, until the failures are ``WINDOW_NS`` old. So passwords cannot be guessed quickly, and a user with
the right password always gets in.

A correct password is remembered, as a keyed digest that is useless outside this process: a thousand clients that
reconnect after a network failure need a thousand hashes once, not each time. It passes at once, whatever else fails at
the address. A wrong password of a remembered user counts as a failure at once, before its hash is computed; otherwise
many guesses could be made while the first hashes are computed.

The gateways of a node tell each other of failures, so that an address has no more attempts at several than at one.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from typing import Final

from gateway.passwords import folded

FAILURES_MAX: Final = 5
ADDRESS_FAILURES_MAX: Final = 100
WINDOW_NS: Final = 30_000_000_000
#: Least time between two checks after too many failures.
PAIR_PACE_NS: Final = 1_000_000_000
ADDRESS_PACE_NS: Final = 250_000_000
#: Addresses and users whose failures are remembered at most.
REMEMBERED_MAX: Final = 10_000


class Admission:
    """Failures within the window, and correct passwords."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()  # the last failure of each is later
        self._key = secrets.token_bytes(32)
        self._known: dict[str, tuple[bytes, bytes]] = {}
        self.refused = 0

    def due_ns(self, address: str, user: str, now_ns: int, *, remembered: bool = False) -> int:
        """Time of the next password check of a user from an address; ``now_ns`` or earlier: now.

        remembered: the password is known to be right, so that only failures of the pair count.
        """
        due_ns = self._due((address, user), FAILURES_MAX, PAIR_PACE_NS, now_ns)
        if not remembered:
            due_ns = max(due_ns, self._due((address, ""), ADDRESS_FAILURES_MAX, ADDRESS_PACE_NS, now_ns))
        return due_ns

    def failed(self, address: str, user: str, now_ns: int) -> None:
        """Count a wrong user or password."""
        self.refused += 1
        self.note(address, user, now_ns)

    def note(self, address: str, user: str, now_ns: int) -> None:
        """Count a wrong user or password of another process towards the time of the next check."""
        for key, bound in (((address, user), FAILURES_MAX), ((address, ""), ADDRESS_FAILURES_MAX)):
            times = self._failures.pop(key, None)
            if times is None:
                times = deque(maxlen=bound)
                self._forget_old(now_ns)
                if len(self._failures) >= REMEMBERED_MAX:
                    continue
            times.append(now_ns)
            self._failures[key] = times

    def _forget_old(self, now_ns: int) -> None:
        """Forget those whose last failure is too old to count: they come first, and each is gone through once."""
        while self._failures:
            times = self._failures[next(iter(self._failures))]
            if times and now_ns - times[-1] < WINDOW_NS:
                return
            self._failures.popitem(last=False)

    def _due(self, key: tuple[str, str], failures_max: int, pace_ns: int, now_ns: int) -> int:
        if self._count(key, now_ns) < failures_max:
            return now_ns
        return self._failures[key][-1] + pace_ns

    def _count(self, key: tuple[str, str], now_ns: int) -> int:
        times = self._failures.get(key)
        if times is None:
            return 0
        while times and now_ns - times[0] >= WINDOW_NS:
            times.popleft()
        return len(times)

    def _digest(self, user: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{user}\0{folded(password)}".encode(), hashlib.sha256)

    def remembers(self, user: str, password: str, stored: bytes) -> bool | None:
        """True if a password is the remembered one for the stored hash, False if not; None if none is remembered."""
        known = self._known.get(user)
        if known is None or known[0] != stored:
            return None
        return hmac.compare_digest(known[1], self._digest(user, password))

    def learn(self, user: str, password: str, stored: bytes) -> None:
        """Remember a correct password for its stored hash."""
        self._known[user] = (stored, self._digest(user, password))
