"""Passwords of login requests: checked at their turn, remembered, and throttled where many are wrong."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gateway.admission import Admission
from gateway.hashing import Hashing, Question
from gateway.passwords import COST_DEFAULT, verify


class Stored(NamedTuple):
    """A user's password as the journal has it. ``cost`` is 0 where there is none."""

    salt: bytes
    hashed: bytes
    cost: int


class Logins:
    """Password checks of all connections, on a running event loop. ``now_ns``: a clock that does not go back."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._admission = Admission()
        self._hashing = Hashing()

    @property
    def failures(self) -> int:
        """Wrong users and passwords since the start."""
        return self._admission.refused

    def check(
        self, key: object, address: str, user: str, password: str, stored: Stored, on_check: Callable[[bool], None]
    ) -> None:
        """Check a password; ``on_check`` is called with the answer, at once or later, and not after ``withdraw``.

        key: who asks, once at a time. stored: of a user that does not exist or has no password, with cost 0; that takes
        as long to be refused as a wrong password.
        """
        sealed = stored.salt + stored.hashed
        remembered = self._admission.remembers(user, password, sealed) if stored.cost else None
        due_ns = partial(self._admission.due_ns, address, user, remembered=remembered is True)
        now_ns = self._now_ns()
        if remembered and due_ns(now_ns) <= now_ns:
            on_check(True)
            return
        if remembered is False:
            self._admission.failed(address, user, now_ns)

        def checked(right: bool) -> None:
            right = right and stored.cost > 0
            if right:
                self._admission.learn(user, password, sealed)
            elif remembered is None:
                self._admission.failed(address, user, self._now_ns())
            on_check(right)

        check = partial(verify, password, stored.salt, stored.hashed, stored.cost or COST_DEFAULT)
        self._hashing.ask(address, key, Question(check, due_ns, checked))

    def withdraw(self, key: object, address: str) -> None:
        """Drop the check of a connection that is gone. May be repeated."""
        self._hashing.withdraw(address, key)

    def close(self) -> None:
        """Check no more passwords."""
        self._hashing.close()
