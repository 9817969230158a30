"""Session of a subscriber: what it asks for, and the messages that it gets. Bytes and time in, bytes out; no socket.

Numbers begin at 1 with each logon, and market data that was sent is kept nowhere: a resend has gap fills in its place,
since an old quote is of no use. What has a number beyond the session is in the messages: updates of an instrument count
(RptSeq), and go on after every end of the process.

A subscriber that reads slowly is *paused* by whoever writes to its socket. Changes are not told to it meanwhile; each
instrument that changed is noted, and told as a whole (W) once it reads again. So what it has is late at times, and
never wrong.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final

from marketdata.fix import encoding, requests
from marketdata.fix.encoding import FIX_4_2, Made, View
from marketdata.fix.market import Change, FixMarket, Instrument
from marketdata.fix.requests import ONCE, SUBSCRIBE, UNSUBSCRIBE, Refused, Wish
from wire.fix_codec import Garbled, Message
from wire.fix_data_table import market_data
from wire.fix_events import Event, LoggedOut, LogonAsked, Received, Terms, identity
from wire.fix_session import Session
from wire.fix_table import VERSIONS
from wire.fix_validation import Validator
from wire.session_state import State

#: CompID of the exchange, as of order entry.
COMP_ID: Final = "LOCKSTEP"
#: Version of the messages in a session of FIXT.1.1: FIX 5.0 SP2.
_APPLICATION_VERSION: Final = "9"
#: Pairs of request and instrument, and requests for status, that a session has at most.
SUBSCRIPTIONS_MAX: Final = 4_096
#: The same of all sessions, and those of one session that follow one instrument, or the day.
ALL_SUBSCRIPTIONS_MAX: Final = 65_536
PER_INSTRUMENT_MAX: Final = 8
#: Instruments in one message of a list.
_LIST_MAX: Final = 100
_X, _W, _Y = b"X", b"W", b"Y"
_FIRST: Final = "market data begins at 1 with each logon; log on with MsgSeqNum 1 and ResetSeqNumFlag (141) Y"
_OTHER: Final = 0  # BusinessRejectReason
_DAY: Final = 0  # in place of the number of an instrument
_CANNOT_MATCH, _REJECTED, _AS_IS, _LIST = 6, 5, 1, 4
_INVALID, _NONE_FOUND = 1, 2


class _NothingKept:
    """Numbers of a session whose messages are not kept (``wire.fix_store.Store``)."""

    def __init__(self) -> None:
        self.in_seq = self.out_seq = 1

    def keep(self, sent: Any) -> None:
        """Keep nothing."""

    def messages(self, begin: int, end: int) -> Iterable[Any]:
        """No message."""
        del begin, end
        return ()

    def reset(self) -> None:
        """Begin again."""
        self.in_seq = self.out_seq = 1


@cache
def _validator(version: str) -> Validator:
    return Validator(market_data(version))


def _raised(_session: "DataSession", error: Exception) -> None:
    """Have a fault of one session end what goes on, as where nobody says what else to do."""
    raise error


class Subscription:
    """A MarketDataRequest that is followed. ``due``: instruments whose whole W comes next, in order."""

    def __init__(self, session: "DataSession", wish: Wish) -> None:
        self.session = session
        self.wish = wish
        self.numbers = [each.number for each in wish.instruments]
        self.due: dict[int, None] = dict.fromkeys(self.numbers)


class Subscribers:
    """All sessions of a market, and who gets what.

    A change goes at once to those that follow an instrument by increments; whole books (W) are made by ``refresh``,
    some at a time.
    """

    def __init__(self, market: FixMarket, on_fault: Callable[["DataSession", Exception], None] = _raised) -> None:
        """on_fault: called where the code of one session has raised what it never should; it ends that session."""
        self.market, self.on_fault = market, on_fault
        self.sessions: set[DataSession] = set()
        self.written: set[DataSession] = set()  # those with something to be written
        self.count = 0  # of the subscriptions of all sessions
        #: Subscriptions with a whole book that is to be sent to a session that reads, in order.
        self.due: dict[Subscription, None] = {}
        self._by: dict[int, dict[Subscription, None]] = {}
        self._status: dict[int, dict[tuple[DataSession, bytes], None]] = {}
        self._day: dict[tuple[DataSession, bytes], None] = {}
        self._state = 0  # TradSesStatus that was told last
        self.conflated = 0

    # Who subscribes.

    def add(self, subscription: Subscription) -> None:
        """Begin a subscription, or give one answer."""
        if subscription.wish.kind == SUBSCRIBE:
            for number in subscription.numbers:
                self._by.setdefault(number, {})[subscription] = None
        if not subscription.session.paused:
            self.due[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """End a subscription."""
        for number in subscription.numbers:
            followers = self._by.get(number)
            if followers is not None:
                followers.pop(subscription, None)
                if not followers:
                    del self._by[number]
        self.due.pop(subscription, None)

    def pause(self, subscriptions: Iterable[Subscription]) -> None:
        """Send no whole books to subscriptions of a session that reads slowly."""
        for each in subscriptions:
            self.due.pop(each, None)

    def resume(self, subscriptions: Iterable[Subscription]) -> None:
        """Send the whole books that are due to subscriptions of a session that reads again."""
        for each in subscriptions:
            if each.due:
                self.due[each] = None

    def add_status(self, session: "DataSession", request_id: bytes, number: int) -> None:
        """Have a session told of the phases of an instrument."""
        self._status.setdefault(number, {})[session, request_id] = None

    def remove_status(self, session: "DataSession", request_id: bytes, number: int) -> None:
        """Tell a session no more of the phases of an instrument."""
        followers = self._status.get(number, {})
        followers.pop((session, request_id), None)
        if not followers:
            self._status.pop(number, None)

    def add_day(self, session: "DataSession", request_id: bytes) -> None:
        """Have a session told of the state of the trading day."""
        self._state = self._state if self._day else self.state()
        self._day[session, request_id] = None

    def remove_day(self, session: "DataSession", request_id: bytes) -> None:
        """Tell a session no more of the trading day."""
        self._day.pop((session, request_id), None)

    def state(self) -> int:
        """TradSesStatus now."""
        return encoding.session_state(each.phase for each in self.market.instruments.values())

    # What they are told.

    def tell(self, changes: list[Change], now_ns: int) -> None:
        """Tell the changes of a command."""
        for change in changes:
            followers = self._by.get(change.instrument.number)
            if followers:
                self._tell(change, followers, now_ns)
            if change.phase:
                self._tell_phase(change, now_ns)

    def _tell(self, change: Change, followers: Iterable[Subscription], now_ns: int) -> None:
        made: dict[View, Made] = {}
        for each in list(followers):  # a fault takes one away
            try:
                self._tell_one(change, each, made, now_ns)
            except Exception as error:
                self.on_fault(each.session, error)

    def _tell_one(self, change: Change, follower: Subscription, made: dict[View, Made], now_ns: int) -> None:
        """Tell a change to a follower. made: what was made of the change already, by view."""
        number, session, wish = change.instrument.number, follower.session, follower.wish
        if number in follower.due:
            return
        if session.paused or wish.refreshes:
            follower.due[number] = None
            if session.paused:
                self.conflated += 1
            else:
                self.due[follower] = None
            return
        told = made.get(wish.view)
        if told is None:
            told = made[wish.view] = encoding.entries_of_change(wish.view, change)
        if told.entries:
            session.send(_X, encoding.incremental(wish.view, wish.request_id, told), now_ns)

    def _tell_phase(self, change: Change, now_ns: int) -> None:
        for session, request_id in list(self._status.get(change.instrument.number, ())):
            try:
                session.send_status(request_id, change.instrument, change.time_ns, now_ns, unsolicited=True)
            except Exception as error:
                self.on_fault(session, error)
        if self._day and (state := self.state()) != self._state:
            self._state = state
            for session, request_id in list(self._day):
                try:
                    session.send(b"h", encoding.trading_session(request_id, state, unsolicited=True), now_ns)
                except Exception as error:
                    self.on_fault(session, error)

    def refresh(self, now_ns: int) -> bool:
        """Send the next whole book that is due to a session that reads; False where there is none."""
        if not self.due:
            return False
        subscription = next(iter(self.due))
        del self.due[subscription]
        number = next(iter(subscription.due))
        del subscription.due[number]
        session, wish = subscription.session, subscription.wish
        try:
            session.send(_W, encoding.snapshot(wish.view, wish.request_id, self.market.instruments[number]), now_ns)
            if subscription.due:
                self.due[subscription] = None  # behind the others
            elif wish.kind == ONCE:
                session.on_answered(subscription)
        except Exception as error:
            self.on_fault(session, error)
        return True

    def leave(self, session: "DataSession") -> None:
        """Forget a session whose connection is gone."""
        session.end_subscriptions()
        self.sessions.discard(session)
        self.written.discard(session)


class DataSession:
    """One connection of a subscriber."""

    def __init__(self, subscribers: Subscribers, now_ns: int) -> None:
        self._paused = False
        self.began_ns = now_ns
        self.ends = ""  # reason for which the connection is to be closed, once all is written
        self.name = ""
        self._subscribers = subscribers
        self._market = subscribers.market
        self._first = b""
        self._core: Session | None = None
        self._version = VERSIONS[0]
        self._requests: dict[bytes, Subscription] = {}
        self._statuses: dict[bytes, Instrument] = {}
        self._days: set[bytes] = set()
        self._count = 0
        self._followed: Counter[int] = Counter()  # subscriptions by instrument, and of the day
        self._responses = 0
        self._lists: list[Iterator[tuple[bytes, bytes]]] = []
        subscribers.sessions.add(self)

    @property
    def paused(self) -> bool:
        """True while it reads slowly. Whoever writes to it says so."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            (self._subscribers.pause if paused else self._subscribers.resume)(self._requests.values())

    @property
    def live(self) -> bool:
        """True once it is logged on, until it has ended."""
        return self._core is not None and self._core.state is State.LIVE

    @property
    def has_more(self) -> bool:
        """True if an answer in parts goes on, or a resend."""
        return bool(self._lists) or (self._core is not None and self._core.resending)

    # What arrives.

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes. now_ns: since 1970."""
        if self.ends:
            return
        core = self._core
        if core is None:
            core = self._begin(data, now_ns)
            if core is None:
                return
            data, self._first = self._first, b""
        self._act(core, core.receive(data, now_ns), now_ns)
        self._subscribers.written.add(self)

    def _begin(self, data: bytes, now_ns: int) -> Session | None:
        """The session that the first frame names; None where it is not all there, or names none."""
        self._first += data
        try:
            found = identity(self._first)
        except Garbled as error:
            self.ends = str(error)
            return None
        if found is None:
            return None
        if found.version not in VERSIONS:
            self.ends = f"a logon of another version than {', '.join(VERSIONS)} came"
        elif found.target != COMP_ID:
            self.ends = f"the TargetCompID of a logon is not {COMP_ID}"
        elif not found.sender:
            self.ends = "a logon without a SenderCompID came"
        else:
            version = _APPLICATION_VERSION if found.version == VERSIONS[-1] else None
            terms = Terms(found.version, COMP_ID, found.sender, version, reset_on_logon=True)
            self._core = Session(terms, _validator(found.version), _NothingKept())
            self._core.connected(now_ns)
            self._version, self.name = found.version, found.sender
        return self._core

    def _act(self, core: Session, events: list[Event], now_ns: int) -> None:
        for event in events:
            match event:
                case LogonAsked(message):
                    if message.get(b"141") == b"Y" or message.number(b"34") == 1:
                        self._act(core, core.accept(now_ns), now_ns)
                    else:
                        self._act(core, core.refuse(_FIRST, now_ns), now_ns)
                case Received(_, message):
                    self._answer(core, message, now_ns)
                case LoggedOut(reason):
                    self.ends = self.ends or reason
                    self.end_subscriptions()

    def _answer(self, core: Session, message: Message, now_ns: int) -> None:
        match message.msg_type:
            case b"V":
                self._on_request(message, now_ns)
            case b"e":
                self._on_status_request(core, message, now_ns)
            case b"g":
                self._on_day_request(core, message, now_ns)
            case b"c":
                self._on_definition_request(message, now_ns)
            case _:
                self._on_list_request(message, now_ns)

    def _on_request(self, message: Message, now_ns: int) -> None:
        request_id = message.fields[b"262"]
        try:
            wish = requests.read(message, self._version, self._market.by_symbol)
            if wish.kind == UNSUBSCRIBE:
                self._unsubscribe(request_id)
                return
            if request_id in self._requests:
                raise Refused(requests.DUPLICATE_ID, "a request of this MDReqID (262) is under way; give another")
            numbers = [each.number for each in wish.instruments]
            if why := self._no_room(len(numbers), numbers if wish.kind == SUBSCRIBE else ()):
                raise Refused(requests.BANDWIDTH, why)
        except Refused as refused:
            self.send(_Y, encoding.reject(request_id, refused.reason, str(refused)), now_ns)
            return
        subscription = Subscription(self, wish)
        self._requests[request_id] = subscription
        self._count_in(len(numbers), numbers if wish.kind == SUBSCRIBE else (), 1)
        self._subscribers.add(subscription)

    def _no_room(self, count: int, numbers: Iterable[int]) -> str:
        """Reason for which there is no room for so many subscriptions, which follow ``numbers``; "": there is."""
        if self._count + count > SUBSCRIPTIONS_MAX:
            return f"more than {SUBSCRIPTIONS_MAX} subscriptions; end some first"
        if any(self._followed[number] >= PER_INSTRUMENT_MAX for number in numbers):
            return f"more than {PER_INSTRUMENT_MAX} subscriptions that follow the same; end some first"
        if self._subscribers.count + count > ALL_SUBSCRIPTIONS_MAX:
            return f"more than {ALL_SUBSCRIPTIONS_MAX} subscriptions of all sessions; ask again later"
        return ""

    def _count_in(self, count: int, numbers: Iterable[int], sign: int) -> None:
        """Count subscriptions, which follow ``numbers``. sign: 1 as they begin, -1 as they end."""
        self._count += sign * count
        self._subscribers.count += sign * count
        for number in numbers:
            self._followed[number] += sign
            if not self._followed[number]:
                del self._followed[number]

    def _unsubscribe(self, request_id: bytes) -> None:
        subscription = self._requests.get(request_id)
        if subscription is None:
            raise Refused(requests.NO_REASON, "no request of this MDReqID (262) is under way")
        self.on_answered(subscription)

    def on_answered(self, subscription: Subscription) -> None:
        """Forget a request: it has had its answer, or is ended."""
        del self._requests[subscription.wish.request_id]
        numbers = subscription.numbers
        self._count_in(len(numbers), numbers if subscription.wish.kind == SUBSCRIBE else (), -1)
        self._subscribers.remove(subscription)

    def _on_status_request(self, core: Session, message: Message, now_ns: int) -> None:
        request_id, kind = message.fields[b"324"], message.fields[b"263"]
        if kind == UNSUBSCRIBE:
            known = self._statuses.pop(request_id, None)
            if known is None:
                core.business_reject(message, _OTHER, "no request of this SecurityStatusReqID is under way", now_ns)
            else:
                self._count_in(1, [known.number], -1)
                self._subscribers.remove_status(self, request_id, known.number)
            return
        symbol = message.fields[b"55"]
        instrument = self._market.by_symbol.get(symbol.decode("latin-1"))
        numbers = [] if instrument is None else [instrument.number]
        if why := self._refusal(kind, request_id in self._statuses, numbers):
            core.business_reject(message, _OTHER, why, now_ns)
            return
        if instrument is None:
            said = encoding.unknown_status(self._version, request_id, symbol, self._market.now_ns)
            self.send(b"f", said, now_ns)
            return
        if kind == SUBSCRIBE:
            self._statuses[request_id] = instrument
            self._count_in(1, numbers, 1)
            self._subscribers.add_status(self, request_id, instrument.number)
        self.send_status(request_id, instrument, self._market.now_ns, now_ns, unsolicited=False)

    def _refusal(self, kind: bytes, known: bool, numbers: Iterable[int]) -> str:
        """Reason for which a request for status cannot be followed; "": it can."""
        if kind not in (ONCE, SUBSCRIBE):
            return "SubscriptionRequestType (263) is 0, 1 or 2"
        if known:
            return "a request of this id is under way; give another"
        return self._no_room(1, numbers) if kind == SUBSCRIBE else ""

    def _on_day_request(self, core: Session, message: Message, now_ns: int) -> None:
        request_id, kind = message.fields[b"335"], message.fields[b"263"]
        if kind == UNSUBSCRIBE:
            if request_id not in self._days:
                core.business_reject(message, _OTHER, "no request of this TradSesReqID is under way", now_ns)
            else:
                self._days.discard(request_id)
                self._count_in(1, [_DAY], -1)
                self._subscribers.remove_day(self, request_id)
            return
        if why := self._refusal(kind, request_id in self._days, [_DAY]):
            core.business_reject(message, _OTHER, why, now_ns)
            return
        session = message.get(b"336")
        if session is not None and session != encoding.DAY:
            if self._version == FIX_4_2:
                core.business_reject(message, _OTHER, "TradingSessionID (336) is 1, the day", now_ns)
            else:
                self.send(b"h", encoding.unknown_session(request_id, session), now_ns)
            return
        if kind == SUBSCRIBE:
            self._days.add(request_id)
            self._count_in(1, [_DAY], 1)
            self._subscribers.add_day(self, request_id)
        said = encoding.trading_session(request_id, self._subscribers.state(), unsolicited=False)
        self.send(b"h", said, now_ns)

    def _reply(self, msg_type: bytes, fields: bytes, now_ns: int) -> None:
        """Send an answer behind those in parts that go on."""
        if self._lists:
            self._lists.append(iter([(msg_type, fields)]))
        else:
            self.send(msg_type, fields, now_ns)

    def _next_response(self) -> int:
        self._responses += 1
        return self._responses

    def _on_definition_request(self, message: Message, now_ns: int) -> None:
        request_id, kind, symbol = message.fields[b"320"], message.number(b"321"), message.get(b"55")
        version = self._version
        lists = kind == 3 or (kind == 8 and version == VERSIONS[-1])
        if not lists and kind not in (0, 1) and not (kind == 4 and version == VERSIONS[-1]):
            text = "this SecurityRequestType (321) is not served"
            said = encoding.no_definition(version, request_id, self._next_response(), _REJECTED, text)
            self._reply(b"d", said, now_ns)
            return
        found = self._chosen(None if lists else symbol or b"")
        if not found:
            text = "there is no instrument yet" if lists else "there is no such symbol"
            said = encoding.no_definition(version, request_id, self._next_response(), _CANNOT_MATCH, text)
            self._reply(b"d", said, now_ns)
            return
        response = _LIST if lists and version != encoding.FIX_4_4 else _AS_IS
        self._lists.append(
            (
                b"d",
                encoding.security_definition(version, request_id, self._next_response(), response, each, len(found)),
            )
            for each in found
        )

    def _on_list_request(self, message: Message, now_ns: int) -> None:
        request_id, kind, symbol = message.fields[b"320"], message.number(b"559"), message.get(b"55")
        if kind not in (0, 4) or message.get(b"263") not in (None, ONCE):
            self._reply(b"y", encoding.no_securities(request_id, self._next_response(), _INVALID), now_ns)
            return
        found = self._chosen(None if kind == 4 else symbol or b"")
        if not found:
            self._reply(b"y", encoding.no_securities(request_id, self._next_response(), _NONE_FOUND), now_ns)
            return
        parts = [found[at : at + _LIST_MAX] for at in range(0, len(found), _LIST_MAX)]
        response_id = self._next_response()
        self._lists.append(
            (
                b"y",
                encoding.security_list(
                    self._version, request_id, response_id, part, len(found), last=part is parts[-1]
                ),
            )
            for part in parts
        )

    def _chosen(self, symbol: bytes | None) -> list[Instrument]:
        """All instruments, or that of a symbol."""
        if symbol is None:
            return [each for _, each in sorted(self._market.instruments.items())]
        found = self._market.by_symbol.get(symbol.decode("latin-1"))
        return [] if found is None else [found]

    # What is sent.

    def send(self, msg_type: bytes, fields: bytes, now_ns: int) -> None:
        """Send a message."""
        if self._core is not None:
            self._core.send(msg_type, fields, now_ns)
            self._subscribers.written.add(self)

    def send_status(
        self, request_id: bytes, instrument: Instrument, time_ns: int, now_ns: int, *, unsolicited: bool
    ) -> None:
        """Send the phase of an instrument."""
        said = encoding.security_status(self._version, request_id, instrument, time_ns, unsolicited=unsolicited)
        self.send(b"f", said, now_ns)

    def go_on(self, now_ns: int) -> None:
        """Send the next part of an answer, or of a resend."""
        if self._core is not None and self._core.resending:
            self._core.resend_more(now_ns)
            self._subscribers.written.add(self)
        if self._lists:
            part = next(self._lists[0], None)
            if part is None:
                del self._lists[0]
            else:
                self.send(*part, now_ns)

    def take(self) -> bytes:
        """Bytes to be written now."""
        return b"" if self._core is None else b"".join(self._core.take())

    def note_not_reading(self, now_ns: int) -> None:
        """Count the peer as heard: this side does not read."""
        if self._core is not None:
            self._core.heard_ns = now_ns

    def tick(self, now_ns: int) -> None:
        """Do what is due: heartbeats, the end of a peer that is silent."""
        if self._core is not None:
            self._act(self._core, self._core.tick(now_ns), now_ns)
            self._subscribers.written.add(self)

    def log_out(self, text: str, now_ns: int) -> None:
        """End the session with a Logout."""
        if self._core is not None and self.live:
            self._core.logout(text, now_ns)
            self._subscribers.written.add(self)
        self.ends = self.ends or text
        self.end_subscriptions()

    def end_subscriptions(self) -> None:
        """Forget what was asked for."""
        for subscription in self._requests.values():
            self._subscribers.remove(subscription)
        for request_id, instrument in self._statuses.items():
            self._subscribers.remove_status(self, request_id, instrument.number)
        for request_id in self._days:
            self._subscribers.remove_day(self, request_id)
        self._subscribers.count -= self._count
        self._requests, self._statuses, self._days, self._count = {}, {}, set(), 0
        self._followed.clear()
        self._lists = []
