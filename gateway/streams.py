"""Users and their streams as a projection of the journal, whatever the protocol: blocks in, messages out.

A stream lasts a trading day, whose name is that of the session; the first clock value of another day ends one and
begins the other, for each user. Users, their passwords and permissions come from definitions in the journal. So all of
it is a function of commands and events: replay makes the same messages with the same numbers.

A protocol that writes its messages from events itself is a subclass (``gateway.ouch.streams``); for others
``gateway.report_streams`` frames one report after the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS, PRICE_E4_MAX
from engine.jit import Packed
from engine.market_time import session_day_of
from engine.names import unpack
from engine.records import UserPermission
from gateway.symbols import new_symbols
from tape.blocks import Tape

#: Users of a node at most.
USERS_MAX: Final = 4_096

_CREDENTIAL_FIELDS: Final = ("salt_0", "salt_1", "hash_0", "hash_1", "hash_2", "cost")


class Segment(NamedTuple):
    """Messages ``first_seq`` on of one user, ``messages`` of them, one behind the other.

    ``position``: in bytes from the beginning of the stream.
    """

    user: int
    first_seq: int
    messages: int
    position: int
    data: bytes


#: Called with each segment, in order.
Deliver = Callable[[Segment], None]
#: Called when a trading day begins, with its session name, before the messages of that day.
NewSessionCallback = Callable[[str], None]
#: Called with a user whose login must end, and the reason, after the messages of the block.
LoginEndCallback = Callable[[int, str], None]


def session_of(time_ns: int) -> str:
    """Name of the session of a trading day.

    >>> session_of(1_705_311_000_000_000_000)
    '20240115'
    """
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y%m%d")


class Streams(ABC):
    """Users and the streams of messages to them. ``deliver`` takes the bytes to send."""

    def __init__(
        self,
        users: NDArray[Any],
        instruments_max: int,
        deliver: Deliver,
        on_new_session: NewSessionCallback,
        on_login_end: LoginEndCallback,
    ) -> None:
        """``users``: USER rows, all free, the first of which stays so; filled in place."""
        self._user_rows = users
        self._deliver = deliver
        self._on_new_session = on_new_session
        self._on_login_end = on_login_end
        self._revoked: dict[int, str] = {}
        self._participants: dict[int, int] = {}
        self._by_name: dict[str, int] = {}
        #: SYMBOL rows, for the kernel that reads orders.
        self.symbols: NDArray[Any] = new_symbols(instruments_max)
        #: int64[instruments + 1]: highest price of users' orders in each instrument, in 1/10,000; 0: they have none in
        #: it. At 0 that of an order in whichever instrument.
        self.price_max_e4: NDArray[np.int64] = np.full(instruments_max + 1, PRICE_E4_MAX, np.int64)
        self.now_ns = 0
        #: True if the last block of ``take_taped`` ended with an EXTEND row, which belongs to the row behind it.
        self.ends_extended = False
        #: When a trading day begins, ns after 00:00 UTC.
        self.day_start_ns = 0
        self._session_ns = 0  # 00:00 of the date that names the session; 0 before the first

    @abstractmethod
    def __call__(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""

    def take_taped(self, tape: Packed[Tape], seq: int) -> int:
        """Take the next block by a kernel, where there is one (``gateway.fix.streams``); gives its commands, here 0."""
        del tape, seq
        return 0

    @abstractmethod
    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: copies and views; write them before the next block."""

    @abstractmethod
    def restore(self, image: Mapping[str, NDArray[Any]], seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in fresh streams. Raises ValueError for one of another kind."""

    @abstractmethod
    def _begin_stream(self, user: int) -> None:
        """Begin the stream of a user: its first message has number 1."""

    @property
    def session(self) -> str:
        """Name of the present session; of none before the first clock value."""
        return session_of(self._session_ns)

    def _begin_session(self) -> None:
        """A trading day begins at the clock in force. Its session has a later name than the one before, even where the
        venue's ``day_start`` has changed meanwhile."""
        by_clock_ns = session_day_of(self.now_ns, self.day_start_ns) * DAY_NS
        self._session_ns = max(by_clock_ns, self._session_ns + DAY_NS) if self._session_ns else by_clock_ns

    def _day_of_image(self) -> NDArray[np.int64]:
        """When trading days begin, and the session, for an image."""
        return np.array([self.day_start_ns, self._session_ns], np.int64)

    def _restore_day(self, image: Mapping[str, NDArray[Any]]) -> None:
        """Take both from an image."""
        self.day_start_ns, self._session_ns = map(int, image["day"])

    def user(self, name: str) -> int:
        """Number of a user, 0 where there is none."""
        return self._by_name.get(name.upper(), 0)

    def row(self, user: int) -> Any:
        """The USER row of a number."""
        return self._user_rows[user]

    def users(self) -> Iterator[tuple[int, Any]]:
        """Number and USER row of each user."""
        for user in self._by_name.values():
            yield user, self._user_rows[user]

    def name(self, user: int) -> str:
        """A user's name."""
        return unpack(int(self._user_rows[user]["name"]))

    def may(self, user: int, permission: UserPermission) -> bool:
        """True if a user has a permission."""
        return bool(int(self._user_rows[user]["permissions"]) & permission)

    # Definitions.

    def _define_participant(self, command: Any) -> None:
        self._participants[int(command["name"])] = len(self._participants) + 1

    def _define_user(self, command: Any) -> None:
        name = unpack(int(command["name"]))
        user = self._by_name.get(name, 0)
        if user == 0 and len(self._by_name) + 1 >= len(self._user_rows):
            return  # no room for more users: this one cannot log in
        fresh = user == 0
        if fresh:
            user = self._by_name[name] = len(self._by_name) + 1
        row = self._user_rows[user]
        if not fresh and row["participant_name"] != command["participant_name"]:
            self._revoked[user] = "the user belongs to another participant now; log in again"
        if not fresh and not int(command["permissions"]) & UserPermission.ENABLED:
            self._revoked[user] = "the user may not log in any more; ask the operator"
        row["name"] = command["name"]
        row["participant_name"] = command["participant_name"]
        row["participant"] = self._participants[int(command["participant_name"])]
        row["firm"] = command["firm"]
        row["permissions"] = int(command["permissions"])
        if fresh:
            self._begin_stream(user)

    def _define_credential(self, command: Any) -> None:
        user = self._by_name.get(unpack(int(command["name"])), 0)
        if user:
            self._revoked.setdefault(user, "the user has a new password; log in with it")
            for field in _CREDENTIAL_FIELDS:
                self._user_rows[user][field] = command[field]

    def _end_revoked(self) -> None:
        """End the logins that definitions of a block have revoked, after its messages."""
        ending, self._revoked = self._revoked, {}
        for user, why in ending.items():
            self._on_login_end(user, why)

    # The part of an image that users are.

    def _users_of_image(self) -> NDArray[Any]:
        return self._user_rows[: len(self._by_name) + 1]

    def _participants_of_image(self) -> list[int]:
        return list(self._participants)

    def _restore_users(self, users: NDArray[Any], participants: list[int]) -> None:
        """Restore users and participants. Raises ValueError where they have no room."""
        if len(users) > len(self._user_rows):
            raise ValueError("they have more users than there is room for")
        self._user_rows[: len(users)] = users
        self._participants = {name: number for number, name in enumerate(participants, 1)}
        self._by_name = {unpack(int(row["name"])): user for user, row in enumerate(users) if user}
