"""The register of users who are logged in: one login of a user at a time, whichever gateway has it.

The core of a node has the register. Its own connections ask it by a call (``OwnClaims``); a gateway in a process of its
own asks over its link, and whoever it has is free once that process is gone.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

#: Reason for which a login is refused where another one has the user.
HELD: Final = "the user is logged in already"
#: Reason for which a login ends where another one takes its place.
DISPLACED_BY_USER: Final = "the same user logged in again"


class Holder(Protocol):
    """Gateway that has logins of users. ``name``: "" of the core's own."""

    name: str

    def displace(self, user: int, why: str, /) -> None:
        """End a user's login, which another gateway has from now on. It is no disconnect."""
        ...


class Watcher(Protocol):
    """Listener to logins, in their order."""

    def on_login(self, user: int, holder: Holder, address: str, /) -> None:
        """A gateway has the login of a user, whose client has this address."""
        ...

    def on_logout(self, user: int, holder: Holder, /) -> None:
        """A gateway has the login of a user no more."""
        ...


class Claim(NamedTuple):
    """Answer to a claim. why: reason for which the user may not log in now; "": the gateway has the login.

    epoch: of the reign; 0: a node that is not of a pair.
    """

    why: str
    epoch: int = 0


class Claims(Protocol):
    """The register as one gateway sees it."""

    def ask(self, user: int, address: str, on_answer: Callable[[Claim], None], /, *, newest_wins: bool) -> None:
        """Claim a user; ``on_answer`` is called with the answer, at once or later. user: 0 for none, which asks whether
        logins are taken at all.
        """
        ...

    def give_back(self, user: int, /) -> None:
        """Give a user back that this gateway has, or may have."""
        ...


class UserRegister:
    """Which gateway has the login of each user. ``standing``: reason for which no login is taken now; "": they are."""

    def __init__(self, standing: Callable[[], str] = lambda: "", epoch: Callable[[], int] = lambda: 0) -> None:
        self.standing = standing
        self.epoch = epoch
        #: Listener to logins; None: there is none.
        self.watcher: Watcher | None = None
        self._holders: dict[int, Holder] = {}
        self._users: dict[Holder, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def __contains__(self, user: int) -> bool:
        return user in self._holders

    def holder(self, user: int) -> Holder | None:
        """The gateway that has a user's login."""
        return self._holders.get(user)

    def of(self, holder: Holder) -> list[int]:
        """Users whose login a gateway has."""
        return list(self._users.get(holder, ()))

    def count(self, holder: Holder) -> int:
        """Number of users whose login a gateway has."""
        return len(self._users.get(holder, ()))

    def claim(self, user: int, holder: Holder, *, newest_wins: bool, address: str = "") -> Claim:
        """Give a user's login to a gateway, unless another one has it; where the newest wins, that one loses it.

        address: of the client. A gateway that has the user already has a newer connection of the user.
        """
        if why := self.standing():
            return Claim(why)
        before = self._holders.get(user)
        if user and before is not holder:
            if before is not None and not newest_wins:
                return Claim(HELD)
            self._holders[user] = holder
            self._users.setdefault(holder, {})[user] = None
            if before is not None:
                self._remove(user, before)
                if self.watcher is not None:
                    self.watcher.on_logout(user, before)
                before.displace(user, DISPLACED_BY_USER)
        if user and self.watcher is not None:
            self.watcher.on_login(user, holder, address)
        return Claim("", self.epoch())

    def give_back(self, user: int, holder: Holder) -> bool:
        """Take a user's login from a gateway; False if it had it not, or not any more."""
        if self._holders.get(user) is not holder:
            return False
        del self._holders[user]
        self._remove(user, holder)
        if self.watcher is not None:
            self.watcher.on_logout(user, holder)
        return True

    def _remove(self, user: int, holder: Holder) -> None:
        users = self._users[holder]
        del users[user]
        if not users:
            del self._users[holder]


class OwnClaims:
    """Claims of the gateway in the core's own process."""

    def __init__(self, register: UserRegister, holder: Holder) -> None:
        self._register, self._holder = register, holder

    def ask(self, user: int, address: str, on_answer: Callable[[Claim], None], *, newest_wins: bool) -> None:
        """Claim a user; ``on_answer`` is called at once."""
        on_answer(self._register.claim(user, self._holder, newest_wins=newest_wins, address=address))

    def give_back(self, user: int) -> None:
        """Give a user back."""
        self._register.give_back(user, self._holder)
