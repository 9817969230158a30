"""The session of ``wire`` as a gateway has it: what it says goes by the journal before it goes out.

It keeps no message and no number of its own. Each message that it would send is owed until its mark has come back from
the journal, with the number that it has (``gateway.fix.session``).
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, Protocol

from gateway.session_faults import OF_ALL
from wire.fix_codec import Message, body
from wire.fix_events import Event, Terms
from wire.fix_session import Session
from wire.fix_table import own
from wire.fix_validation import Fault, Validator
from wire.session_state import State

_TEST_REQUEST: Final = b"1"
#: Types for which there is nothing to be done, and why: replaces and cancels of a cross.
_NEVER_SERVED: Final = dict.fromkeys((b"t", b"u"), "a cross is executed at once")


class Owner(Protocol):
    """The gateway's side of a connection: it has what the session says in the journal."""

    def act(self, event: Event) -> None:
        """Act upon an event of the session."""
        ...

    def ask_logon(self) -> None:
        """Have the logon marked that waits for its answer."""
        ...

    def mark_business_reject(self, message: Message, reason: int, text: str, next_in: int) -> None:
        """Have a BusinessMessageReject marked."""
        ...

    def owe(self, msg_type: bytes, fields: bytes, header: tuple[tuple[int, bytes], ...], next_in: int) -> None:
        """Have a message marked, and sent when its mark has come back."""
        ...

    def resend(self, begin: int, end: int) -> None:
        """Send messages again."""
        ...

    def begin(self) -> None:
        """Note what waits for the market, before a message is acted upon."""
        ...

    def undo(self) -> None:
        """Leave out all that the message has come to that was begun last."""
        ...

    def give_up(self, error: Exception, read: bytes, expected: int, now_ns: int) -> None:
        """End the session for a fault of this side. read: the message, or bytes, in which it was found. expected: the
        number from which on nothing is taken."""
        ...


class _Numbers:
    """The numbers of a session, for the core: messages are in the stream, and are not kept here."""

    def __init__(self) -> None:
        self.in_seq = self.out_seq = 1

    def keep(self, sent: Any) -> None:
        """Keep nothing."""

    def messages(self, begin: int, end: int) -> Iterable[Any]:
        """No message: ``FixSession`` has them from the stream."""
        del begin, end
        return ()

    def reset(self) -> None:
        """Begin again."""
        self.in_seq = self.out_seq = 1


class _Acts(list[Event]):
    """Events that are acted upon as they come, so that rows stand in the order of the messages."""

    def __init__(self, act: Callable[[Event], None]) -> None:
        super().__init__()
        self._act = act

    def append(self, event: Event) -> None:
        """Act upon an event."""
        self._act(event)


class JournaledCore(Session):
    """Session whose messages go by the journal before they go out."""

    def __init__(self, terms: Terms, validator: Validator, owner: Owner) -> None:
        super().__init__(terms, validator, _Numbers())
        self._owner = owner
        self._acts = _Acts(owner.act)
        #: Number of the message that is said now: its mark has come back. 0: none.
        self.granted = 0
        self._fed = b""  # bytes that came last
        self._begun: Message | None = None  # the message that is acted upon
        self._begun_seq = 0  # number that was expected before it

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take bytes of a live session."""
        self._fed = data
        self._cutter.feed(data)
        self._go_on(self._acts, now_ns)

    def _live(self, step: Callable[[list[Event], int], None], now_ns: int) -> None:
        """Take a step of a session whose logon was accepted.

        A fault of this side in a message ends the session with a Logout, as if that message had not come: its number is
        expected, and asked for again at the next logon. What came before it stands.
        """
        try:
            step(self._acts, now_ns)
        except OF_ALL:
            raise
        except Exception as error:
            self._give_up(error, now_ns)

    def _give_up(self, error: Exception, now_ns: int) -> None:
        data, message = self._fed, self._begun
        if message is not None:
            self._owner.undo()
            self.store.in_seq, data, self._begun = self._begun_seq, message.frame, None
        self._cutter.clear()
        self._early.clear()
        self._gap = None
        self._owner.give_up(error, data, self.store.in_seq, now_ns)

    def _message(self, message: Message, fault: Fault | None, events: list[Event], now_ns: int) -> None:
        self._begun, self._begun_seq = message, self.store.in_seq
        self._owner.begin()
        super()._message(message, fault, events, now_ns)
        self._begun = None

    @property
    def takes_plain(self) -> bool:
        """True if the next message in turn may become a command: nothing is missing before it, and nothing waits."""
        return self.state is State.LIVE and self._gap is None and not self._early

    @property
    def holds(self) -> bool:
        """True if the beginning of a message waits for the rest."""
        return self._cutter.held_bytes > 0

    def take_held(self) -> bytes:
        """Bytes of a message that is not all there yet; they are to be fed again."""
        return self._cutter.take_held()

    def hold(self, data: bytes) -> None:
        """Keep the beginning of a message."""
        self._cutter.feed(data)

    def took(self, messages: int, now_ns: int) -> None:
        """Count messages in turn that have become commands."""
        self.store.in_seq += messages
        self.heard_ns = now_ns
        self._tests = 0

    def _go_on(self, events: list[Event], now_ns: int) -> None:
        if self.state is State.LOGIN:
            super()._go_on(events, now_ns)
        else:
            self._live(super()._go_on, now_ns)

    def _filled(self, events: list[Event], now_ns: int) -> None:
        if self.state is State.LOGIN:
            super()._filled(events, now_ns)
        else:
            self._live(super()._filled, now_ns)

    @property
    def logon(self) -> Message | None:
        """The logon that waits for its answer."""
        return self._logon

    def accept(self, now_ns: int, more: Iterable[tuple[int, bytes | str | int]] = ()) -> list[Event]:
        """Accept the logon whose mark has come back; one that begins the numbers again has to be marked first."""
        if not self.granted:
            self.state = State.ASKED
            self._owner.ask_logon()
            return []
        return super().accept(now_ns, more)

    def refuse_logon(self, now_ns: int, why: str = "") -> list[Event]:
        """End with a logon that is not accepted; its mark has come back. why: "": its number was used before."""
        message = self._asked()
        low = f"MsgSeqNum too low, expecting {self.store.in_seq} but received {message.number(b'34') or 0}"
        text = why or low
        events: list[Event] = []
        self._say_goodbye(text, now_ns)
        self._end(events, text)
        return events

    def ask(self, text: str, now_ns: int) -> None:
        """Have a test request sent."""
        self._send_admin(_TEST_REQUEST, body([(112, text)]), now_ns)

    def business_reject(
        self,
        message: Message,
        reason: int,
        text: str,
        now_ns: int,
        more: Iterable[tuple[int, bytes | str | int]] = (),
    ) -> int:
        """Have a BusinessMessageReject sent."""
        del now_ns, more
        text = _NEVER_SERVED.get(message.msg_type, text)
        self._owner.mark_business_reject(message, reason, text, self.store.in_seq)
        return 0

    def _begin_resend(self, begin: int, end: int, now_ns: int) -> None:
        del now_ns
        self._owner.resend(begin, end)

    def _send_admin(
        self, msg_type: bytes, fields: bytes, now_ns: int, header: Iterable[tuple[int, bytes]] = ()
    ) -> None:
        if not self.granted:
            self._owner.owe(msg_type, fields, tuple(header), self.store.in_seq)
            self.sent_ns = now_ns
            return
        number, self.granted = self.granted, 0
        self.store.out_seq = number + 1
        self._put(self._writer.routed(msg_type, number, now_ns, fields, header=tuple(header)), now_ns)


@cache
def validator_of(version: str) -> Validator:
    """Validator of a version's messages, made once."""
    return Validator(own(version))
