"""Logins of all connections, whatever the protocol: password, permission, session, one login of a user at a time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from engine.records import UserPermission
from gateway.logins import Logins, StoredPassword
from gateway.passwords import salt_and_hash
from gateway.protocol import Login, Refusal
from gateway.register import DISPLACED_BY_USER, HELD, Claim, Claims
from gateway.slots import Slots
from gateway.spool import Spool, SpoolError
from gateway.streams import Streams

if TYPE_CHECKING:
    from gateway.connection import Connection


class SignOnOwner(Protocol):
    """Gateway as its logins see it."""

    logged_in: "dict[int, Connection]"
    #: Reason for which every login is refused as for a session that is not here; "": logins are taken.
    elsewhere: str
    #: Reason for which this node may not be primary any more, "" if it certainly is.
    unsure: Callable[[], str]
    claims: Claims
    on_failed_login: Callable[[str, str], None]
    on_users_absent: Callable[[list[int]], None]

    def now_ns(self) -> int:
        """Monotonic time."""
        ...

    def end_past(self, user: int, why: str, /) -> None:
        """End a user's connection to a session that is over, if there is one."""
        ...

    def on_spool_error(self, connection: "Connection", spool: Spool, error: SpoolError, /) -> None:
        """Drop a past session whose stream cannot be read. Raises SpoolError for the present one."""
        ...


class SignOn:
    """Login requests of the connections of a gateway, on a running event loop."""

    def __init__(self, owner: SignOnOwner, slots: "Slots[Connection]", report: Callable[..., None]) -> None:
        self._owner = owner
        self._slots = slots
        self._report = report
        self._logins = Logins(owner.now_ns, self._on_failure)
        # The newest connection of a user and what logs it in, by the one before, which is told first that it ends.
        self._next: dict[Connection, tuple[Connection, Callable[[], None]]] = {}

    @property
    def failures(self) -> int:
        """Wrong users and passwords since the start."""
        return self._logins.failures

    def ask(self, connection: "Connection", login: Login) -> None:
        """Queue the check of the password of a login request."""
        owner = self._owner
        if away := owner.elsewhere or owner.unsure():
            self._refuse(connection, login, Refusal.NOT_AVAILABLE, away)
            return
        self._slots.on_login_request(connection)
        streams = connection.entrance.outbox.streams
        user = streams.user(login.user)
        stored = _password_of(streams, user)
        proved: bool | None = getattr(login, "proved", None)  # by a signature in place of a password

        def on_check(right: bool) -> None:
            if connection.closing:
                return
            if not right or not user:
                wrong = "user or password is wrong" if proved is None else "user or signature is wrong"
                self._refuse(connection, login, Refusal.NOT_AUTHORIZED, wrong)
            elif away := owner.elsewhere or owner.unsure():
                self._refuse(connection, login, Refusal.NOT_AVAILABLE, away)
            elif _password_of(streams, user) != stored:
                self._refuse(connection, login, Refusal.NOT_AUTHORIZED, "the user has a new password")
            else:
                self._log_in(connection, login, user, stored)

        if proved is not None:
            if not proved:
                self._logins.fail(connection.network, login.user.upper())
            on_check(proved)
            return
        self._logins.check(connection, connection.network, login.user.upper(), login.password, stored, on_check)

    def _on_failure(self, address: str, user: str) -> None:
        self._owner.on_failed_login(address, user)  # set after this was made

    def note_failure(self, address: str, user: str) -> None:
        """Count a wrong password that another gateway of the node was given."""
        self._logins.note_failure(address, user)

    def withdraw(self, connection: "Connection") -> None:
        """Drop the check of a connection that is gone. May be repeated."""
        self._logins.withdraw(connection, connection.network)

    def time_out(self, connection: "Connection") -> None:
        """Refuse a login request that has waited too long for its check."""
        why = "too many logins wait"
        connection.close(why, tells=False, last=connection.refusal(Refusal.NOT_AUTHORIZED, why))

    def close(self) -> None:
        """Check no more passwords."""
        self._logins.close()

    def _refuse(self, connection: "Connection", login: Login, refusal: Refusal, why: str) -> None:
        self._report("login refused", user=login.user, address=connection.address, why=why)
        connection.close(why, tells=False, last=connection.refusal(refusal, why))

    def _log_in(self, connection: "Connection", login: Login, user: int, stored: StoredPassword) -> None:
        """Claim the login of a user whose password is right; a past session needs none, but logins must be taken.

        The answer can come later, and what a login needs is looked at again then.
        """
        owner, outbox = self._owner, connection.entrance.outbox
        participant = int(outbox.streams.row(user)["participant"])
        if not outbox.streams.may(user, UserPermission.ENABLED):
            self._refuse(connection, login, Refusal.NOT_AUTHORIZED, "the user may not log in")
            return
        spool = outbox.spool_of(login.session)
        claimed = user if spool is outbox.spool else 0
        newest_wins = outbox.streams.may(user, UserPermission.NEWEST_WINS)
        if claimed and user in owner.logged_in and not newest_wins:
            self._refuse(connection, login, Refusal.NOT_AVAILABLE, HELD)
            return

        def on_answer(claim: Claim) -> None:
            if connection.closing:
                self._give_back(outbox.streams, claimed)
            elif claim.why:
                self._refuse(connection, login, Refusal.NOT_AVAILABLE, claim.why)
            elif away := owner.elsewhere or owner.unsure():
                self._give_back(outbox.streams, claimed)
                self._refuse(connection, login, Refusal.NOT_AVAILABLE, away)
            elif revoked := _revoked(outbox.streams, user, stored, participant):
                self._give_back(outbox.streams, claimed)
                self._refuse(connection, login, Refusal.NOT_AUTHORIZED, revoked)
            elif (before := self._told_first(user, claimed)) is not None:
                self._next[before] = connection, lambda: on_answer(claim)
                before.leave(DISPLACED_BY_USER)
            else:
                why = self._admitted(connection, login, user, claimed, claim.epoch)
                if why:
                    self._give_back(outbox.streams, claimed)
                    self._refuse(connection, login, Refusal.NOT_AVAILABLE, why)

        owner.claims.ask(claimed, connection.address, on_answer, newest_wins=newest_wins)

    def _told_first(self, user: int, claimed: int) -> "Connection | None":
        """The user's connection here, where its session tells by the journal that it ends: a newer one waits until it
        has told it. Of those that wait the newest stays."""
        before = self._owner.logged_in.get(user) if claimed else None
        if before is None or before.row_session is None or not before.live:
            return None
        if before in self._next:
            waiting, _ = self._next.pop(before)
            waiting.close(DISPLACED_BY_USER, tells=False)
        return before

    def succeed(self, before: "Connection") -> bool:
        """Log the next connection of a user in, which waited for the end of this one; False where none does, or it may
        not any more. It is no disconnect of the user."""
        if before not in self._next:
            return False
        _, log_in = self._next.pop(before)
        log_in()
        return self._owner.logged_in.get(before.user) is not before

    def _give_back(self, streams: Streams, user: int) -> None:
        """Give a claim back, unless a connection here has the login.

        The claim may have displaced a login at another gateway. That was no disconnect, and the user is nowhere now: it
        is absent.
        """
        if user and user not in self._owner.logged_in:
            self._owner.claims.give_back(user)
            if streams.may(user, UserPermission.CANCEL_ON_DISCONNECT):
                self._owner.on_users_absent([user])

    def _admitted(self, connection: "Connection", login: Login, user: int, claimed: int, epoch: int) -> str:
        """Log a user in; gives the reason where that cannot be, "" otherwise. claimed: 0 for a past session."""
        outbox, owner = connection.entrance.outbox, self._owner
        spool = outbox.spool_of(login.session)
        if spool is None:
            return "there is no such session"
        next_seq, end = spool.end(user)
        if login.requested_seq > next_seq:
            return "the stream does not go so far"
        if spool is not outbox.spool:
            self._give_back(outbox.streams, claimed)
            self._enter_past(connection, login, user, spool, epoch)
            return ""
        before = owner.logged_in.get(user)
        if before is not None and not outbox.streams.may(user, UserPermission.NEWEST_WINS):
            return HELD
        owner.logged_in[user] = connection
        self._slots.on_login(connection)
        if before is not None:
            before.close(DISPLACED_BY_USER)
        accepted = connection.accept_login(outbox.streams.session, next_seq, epoch)
        if connection.closing:  # at a fault; it is no user's yet
            if owner.logged_in.get(user) is connection:
                del owner.logged_in[user]
            self._give_back(outbox.streams, user)
            return ""
        try:
            position = spool.position_of(user, connection.session.next_seq) if login.requested_seq else end
        except SpoolError as error:
            owner.on_spool_error(connection, spool, error)
            return ""
        self._report("login", user=login.user, address=connection.address, from_seq=connection.session.next_seq)
        connection.since_ns = owner.now_ns()
        connection.enter(user, int(outbox.streams.row(user)["participant"]), accepted, position)
        return ""

    def _enter_past(self, connection: "Connection", login: Login, user: int, spool: Spool, epoch: int) -> None:
        """Log a user in to a past session, to one at a time; a login to the present one may exist beside it."""
        owner = self._owner
        owner.end_past(user, "the same user logged in again")
        self._slots.on_login(connection)
        next_seq, end = spool.end(user)
        try:
            spool.check(user)
            position = spool.position_of(user, login.requested_seq) if login.requested_seq else end
        except SpoolError as error:
            owner.on_spool_error(connection, spool, error)
            self._refuse(connection, login, Refusal.NOT_AVAILABLE, "the session cannot be read any more")
            return
        accepted = connection.accept_login(spool.session, next_seq, epoch, tells_end=False)
        if connection.closing:
            return
        from_seq = connection.session.next_seq
        self._report("login", user=login.user, address=connection.address, from_seq=from_seq, session=spool.session)
        connection.since_ns = owner.now_ns()
        connection.enter_past(user, accepted, spool, position)


def _revoked(streams: Streams, user: int, stored: StoredPassword, participant: int) -> str:
    """Reason for which a user whose password was right may not log in any more; "": it may."""
    if not streams.may(user, UserPermission.ENABLED):
        return "the user may not log in any more"
    if _password_of(streams, user) != stored:
        return "the user has a new password"
    if int(streams.row(user)["participant"]) != participant:
        return "the user belongs to another participant now"
    return ""


def _password_of(streams: Streams, user: int) -> StoredPassword:
    """A user's password, as it is now."""
    row = streams.row(user)
    return StoredPassword(*salt_and_hash(row), int(row["cost"]))
