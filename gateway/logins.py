"""Password checks of login requests, in turn, with memory of correct passwords and throttling of wrong ones."""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from gateway.admission import Admission
from gateway.password_queue import PasswordCheck, PasswordThreads
from gateway.passwords import COST_DEFAULT, verify

#: A password of at most this cost is checked in 0.3 ms: by the event loop, since a thread waits longer to begin and to
#: end. Generated ones have it, those that people chose do not.
COST_QUICK: Final = 6


class StoredPassword(NamedTuple):
    """Password of a user as stored in the journal. ``cost`` is 0 if there is none."""

    salt: bytes
    hashed: bytes
    cost: int


class Logins:
    """Password checks of all connections, on a running event loop. ``now_ns``: a clock that does not go back.

    on_failure: called with address and user of a wrong password, so that other gateways count it too.
    """

    def __init__(self, now_ns: Callable[[], int], on_failure: Callable[[str, str], None] = lambda *_: None) -> None:
        self._now_ns, self._on_failure = now_ns, on_failure
        self._admission = Admission()
        self._hashing = PasswordThreads()

    @property
    def failures(self) -> int:
        """Wrong users and passwords since the start."""
        return self._admission.refused

    def check(
        self,
        key: object,
        address: str,
        user: str,
        password: str,
        stored: StoredPassword,
        on_check: Callable[[bool], None],
    ) -> None:
        """Check a password; ``on_check`` is called with the answer, at once or later, and not after ``withdraw``.

        key: the asking connection, once at a time. stored: with cost 0 for an unknown user or one without a password,
        whose refusal takes as long as that of a wrong password.
        """
        sealed = stored.salt + stored.hashed
        remembered = self._admission.remembers(user, password, sealed) if stored.cost else None
        due_ns = partial(self._admission.due_ns, address, user, remembered=remembered is True)
        now_ns = self._now_ns()
        if remembered and due_ns(now_ns) <= now_ns:
            on_check(True)
            return
        if remembered is False:
            self._failed(address, user)

        def checked(right: bool) -> None:
            right = right and stored.cost > 0
            if right:
                self._admission.learn(user, password, sealed)
            elif remembered is None:
                self._failed(address, user)
            on_check(right)

        cost = stored.cost or COST_DEFAULT
        check = partial(verify, password, stored.salt, stored.hashed, cost)
        self._hashing.ask(address, key, PasswordCheck(check, due_ns, checked, cost <= COST_QUICK))

    def _failed(self, address: str, user: str) -> None:
        """Count a failure here, and tell of it; not of those that come faster than passwords are checked anyway."""
        now_ns = self._now_ns()
        is_told = self._admission.due_ns(address, user, now_ns) <= now_ns
        self._admission.failed(address, user, now_ns)
        if is_told:
            self._on_failure(address, user)

    def fail(self, address: str, user: str) -> None:
        """Count a wrong signature, as a wrong password is counted."""
        self._failed(address, user)

    def note_failure(self, address: str, user: str) -> None:
        """Count a failure at another gateway of the node, which has counted it among the refused."""
        self._admission.note(address, user, self._now_ns())

    def withdraw(self, key: object, address: str) -> None:
        """Drop the check of a connection that is gone. May be repeated."""
        self._hashing.withdraw(address, key)

    def close(self) -> None:
        """Check no more passwords."""
        self._hashing.close()
