"""Core of the client library: bytes in, events out, and orders by the exchange's stream. No socket, no clock.

    DOWN -- connected() --> LOGIN -- accepted --> CATCHING_UP -- the end, or the marker's answer --> LIVE
      ^------------------------- lost(), or the exchange ends the connection -----------------------'

**End of the missed messages.** SoupBinTCP gives the number with which the stream continues, but not its end. A node
says it in a debug packet (``end N``: N is next) behind Login Accepted, if it was asked (``wire.soup.TELL``): a client
all of whose requests are answered is live when it has what is before N. Where one has no answer by then, or nobody
has said the end, the client sends a *marker*: the cancel of an order that does not exist. Its Cancel Reject follows
the answers to all that the exchange had taken from this user before, also those that an entry delay holds back, since
it takes nothing more from an earlier connection once it has accepted a new login. A request without an answer by then
has never arrived, and is sent again, or reported as not received. The wait matters: a rejected order uses no token.
Sent again before its reject is read, it could be accepted the second time and have two outcomes. If an exchange takes
an order twice all the same, the token is equal, so the second is rejected as a duplicate and not reported: an order
is never doubled.

**End of a day while disconnected.** The client names its old session, gets the rest of that day, then its end; the
answer to the marker never comes. Then it logs in to the present session, whose stream it reads from the first message
on. Requests without an answer on the old day end as unknown for good.

**Takeover.** A market with a standby has several addresses; the shell tries one after the other. Both nodes have the
same sessions and numbers, so the rest is as after any other loss. A node of a pair sends its epoch in a debug packet
(``epoch N``) right after Login Accepted. A server with a lower epoch than one seen before, or with none, is no longer
primary: nothing more of it is read.

Requests can be made only when LIVE (``NotConnected`` otherwise): a new request could overtake those that are sent
again.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, Generic

from client.day import OrderT, TradingDay
from client.errors import LoginRefused, NotConnected, StaleServer, StreamLost, WrongProtocol
from client.events import (
    CancelRejected,
    CaughtUp,
    Connected,
    DebugText,
    Disconnected,
    Event,
    MassCanceled,
    NewSession,
    RequestLost,
    RequestUnanswered,
    SessionEnded,
    Side,
    SystemEvent,
)
from client.language import language
from client.orders import NewOrder, Order, OrderState, Request, RequestKind, RequestState, checked_qty
from client.prices import KEEP, Keep, Price, price_e4
from client.tokens import Tokens, checked
from wire import ClientSession, Due, LoginRequest, ProtocolError, RejectCode
from wire.errors import OtherProtocol
from wire.ouch_codes import EventCode
from wire.soup import (
    TELL,
    TOLD_END,
    TOLD_REFUSED,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    Sequenced,
)
from wire.soup_session import HEARTBEAT_NS, SILENCE_NS, ClientEvent

#: Text of the debug packet with the epoch of a node of a pair.
_EPOCH: Final = re.compile(r"epoch (\d{1,18})", re.ASCII)
#: Text of the debug packet with the end of the stream at the login.
_END: Final = re.compile(rf"{TOLD_END}(\d{{1,18}})", re.ASCII)
#: Time for which logins that name the session are refused before the present session is asked for, where one of
#: several nodes is primary: a copy refuses each, and a takeover is over by then.
_ASK_AGAIN_NS: Final = 3_000_000_000


class Phase(Enum):
    """State of the connection."""

    DOWN = "not there"
    LOGIN = "logging in"
    CATCHING_UP = "catching up"
    LIVE = "live"


class OrderEntry(Generic[OrderT]):
    """Order entry of one user, over any number of connections.

    A shell makes connections, calls ``connected``, gives ``receive`` what arrives, sends what ``take`` gives, calls
    ``tick`` at ``due_ns``, and closes and calls ``lost`` when the connection is ``over``. Then it makes another:
    without delay if ``at_once``, and not at all if ``failed``.
    """

    def __init__(
        self,
        user: str,
        password: str,
        make_order: Callable[..., OrderT],
        *,
        session: str = "",
        next_seq: int = 1,
        resend: bool = True,
        tokens: Tokens | None = None,
        on_message: Callable[[int, bytes], object] | None = None,
        keep_closed: bool = True,
        several: bool = False,
        epoch: int = 0,
        silence_ns: int | None = None,
    ) -> None:
        """next_seq: the first message wanted; 1: the day from its beginning, 0: from now on.

        on_message: called with the number and the bytes of each message of the stream, once and in order, before
        ``receive`` gives its event; it must be quick and raise nothing. The answer to the marker is among them,
        ``CaughtUp.seq`` is its number. After ``NewSession`` the numbers begin with 1 again. keep_closed: False to
        forget an order when it is closed, for a program that enters more of them than its memory holds. several: the
        market has more nodes than one, and a login that is refused may be right at another. epoch: the highest that the
        program has seen. silence_ns: bound of the exchange's silence, None for the protocol's. Raises ValueError for a
        login that does not fit.
        """
        LoginRequest(user, password, session, next_seq).packet()
        #: Protocol of the port, ``ouch`` or ``native`` (``speak``).
        self.protocol = "ouch"
        self._language = language(self.protocol)
        self.user = user
        self.session = session
        self.next_seq = next_seq
        self.resend = resend
        self.phase = Phase.DOWN
        self.day = TradingDay(make_order, keep_closed=keep_closed)
        self.refused: LoginRefused | None = None  # the last login
        self.failed: StreamLost | WrongProtocol | None = None
        self.at_once = False
        #: Highest epoch of the market that a server has named; 0: none has.
        self.epoch = epoch
        self.address = ""
        self._several = several
        self._silence_ns = silence_ns
        self._epoch_is_due = False
        self._refused_since_ns: int | None = None
        self._lost_ns: int | None = None
        self._is_silent = False  # the connection is over since nothing was heard
        self._told_ns = 0  # time of the last message of the stream
        self._password = password
        self._tokens = tokens or Tokens(user)
        self._soup: ClientSession | None = None
        self._out: list[bytes] = []
        self.on_message = on_message
        #: Called with the event when a connection that had been accepted is lost, and when the stream has caught up.
        self.on_disconnect: Callable[[Disconnected], object] | None = None
        self.on_caught_up: Callable[[CaughtUp], object] | None = None
        #: Mass cancels that were answered, over native order entry.
        self.mass_cancels = 0
        self._end_seq = 0  # the message after those that were there at the login; 0: not known
        self._why_refused = ""
        #: False: a marker follows each login, so that what the user has under way has its answer before LIVE.
        self.asks_end = True
        self._markers: set[str] = set()  # without an answer
        self._marker = ""
        self._why = ""
        self._now_ns = 0
        self._day_ended = False  # the stream said so: no message of this session comes any more

    def __repr__(self) -> str:
        return f"<OrderEntry of {self.user}: {self.phase.value}, message {self.next_seq} next>"

    # The connection

    def speak(self, protocol: str) -> None:
        """Speak another protocol than OUCH from the first connection on. Raises ValueError."""
        self.protocol, self._language = protocol, language(protocol)

    @property
    def over(self) -> bool:
        """True if the connection must be closed; ``take`` may have last bytes."""
        return self._soup is not None and (self._soup.ended or bool(self._why))

    def connected(self, now_ns: int, address: str = "") -> None:
        """Connection made: send a login request. ``address``: of the node, for events and errors."""
        self._now_ns = now_ns
        self.address = address
        self._epoch_is_due = False
        self._why_refused = ""
        self._soup = ClientSession(now_ns)
        self._soup.silence_ns = self._silence_ns
        self._why = ""
        self.refused = None
        session, seq = ("", 1) if self.at_once or self._day_ended else (self.session, self.next_seq)
        self._out = [
            *([Debug(TELL).packet()] if self.asks_end else []),
            self._soup.login(LoginRequest(self.user, self._password, session, seq), now_ns),
        ]
        self.phase = Phase.LOGIN

    def take(self) -> bytes:
        """The bytes to send now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now_ns: int) -> list[Event]:
        """The events that the bytes hold, in order."""
        self._now_ns = now_ns
        events: list[Event] = []
        if self._soup is None or self._why:
            return events
        try:
            for heard in self._soup.receive(data, now_ns):
                if isinstance(heard, Sequenced):
                    self._sequenced(heard.seq, heard.payload, events)
                else:
                    for event in self._on_session_event(heard):
                        events.append(event)  # one by one: what came before an error counts
            if self.phase is Phase.CATCHING_UP and not self._end_seq and not self._marker:
                self._send_marker()  # nobody has said the end: it comes with the accepted login
        except (ProtocolError, StreamLost, StaleServer) as error:
            self._why = str(error)
            if type(error) is ProtocolError and self.phase is Phase.LOGIN and self.refused is None:
                self._why = f"what answers there speaks no SoupBinTCP; check the port ({error})"
            if isinstance(error, StreamLost):
                self.failed = error
            elif isinstance(error, OtherProtocol):
                self.failed = WrongProtocol(str(error))
        return events

    def tick(self, now_ns: int) -> None:
        """The action that is due: a heartbeat, or the end of a silent connection."""
        self._now_ns = now_ns
        if self._soup is None:
            return
        late_ns = now_ns - (self._soup.due_ns() or now_ns)
        if late_ns > HEARTBEAT_NS:  # this process did not run, so it did not read either
            self._soup.shorten_silence(late_ns, now_ns)
        match self._soup.tick(now_ns):
            case Due.HEARTBEAT:
                self._out.append(self._soup.heartbeat(now_ns))
            case Due.TIMED_OUT:
                silence_ns = SILENCE_NS if self._silence_ns is None else self._silence_ns
                self._is_silent = True
                self._why = f"the exchange said nothing for {silence_ns // 10**9} seconds"

    def due_ns(self) -> int | None:
        """Time of the next ``tick`` with an action; None: never."""
        return self._soup.due_ns() if self._soup else None

    def lost(self, why: str = "the exchange closed the connection") -> list[Event]:
        """Connection lost: requests that were sent and not answered have an unknown outcome from here on."""
        was, self.phase = self.phase, Phase.DOWN
        heard_ns = self._soup.heard_ns if self._soup is not None and self._is_silent else self._now_ns
        self._soup, self._is_silent = None, False
        self._out.clear()
        events: list[Event] = []
        if was in (Phase.CATCHING_UP, Phase.LIVE):
            disconnected = Disconnected(self._why or why, self.address)
            events.append(disconnected)
            if self.on_disconnect is not None:
                self.on_disconnect(disconnected)
            if was is Phase.LIVE:
                self._lost_ns = self._market_was_heard_ns(heard_ns)
        for request in self.day.requests:
            if request.state is RequestState.SENT:
                request.state = RequestState.UNKNOWN
                events.append(_unanswered(request, final=False))
        return events

    def _market_was_heard_ns(self, heard_ns: int) -> int:
        """Time at which the market was certainly there last, as the connection ends; heard_ns: the exchange itself.

        Heartbeats are no sign of it where a request has no answer: it was there when it told something last, or as the
        first such request went out, whichever is later.
        """
        sent_ns = [request.sent_ns for request in self.day.requests if request.state is RequestState.SENT]
        return min(heard_ns, max(min(sent_ns), self._told_ns)) if sent_ns else heard_ns

    @property
    def why(self) -> str:
        """Reason why the client ended the last connection; "" if the exchange or the network ended it."""
        return self._why

    def release(self) -> bytes:
        """Hand the live connection over to a caller that reads its stream and makes its messages without this object.

        Gives the bytes that arrived behind what was read. Only ``tick``, ``logout`` and ``lost`` are of use after it,
        and silence of the exchange is the caller's to notice. Raises NotConnected.
        """
        return self._must_be_live().release()

    def logout(self, now_ns: int) -> None:
        """Log out, if there is a live connection."""
        if self._soup is not None and not self.over and self.phase in (Phase.CATCHING_UP, Phase.LIVE):
            self._out.append(self._soup.logout(now_ns))

    def give_up(self) -> list[Event]:
        """End the open requests as unknown for good: a new day has begun, or no connection follows."""
        events: list[Event] = []
        for request in self.day.requests:
            self._end_unanswered(request, RequestState.GIVEN_UP, OrderState.UNKNOWN)
            events.append(_unanswered(request, final=True))
        return events

    # Requests

    def enter(self, new: NewOrder, token: str | None = None) -> tuple[OrderT, Request]:
        """Enter an order. Raises NotConnected, and ValueError for a token that was used this trading day."""
        self._must_be_live()
        own = self._own_token(token)
        request = self._ask(RequestKind.ENTER, own, "", self._language.enter(new, own))
        order = self.day.new_order(
            own,
            symbol=new.symbol,
            side=new.side,
            qty=new.qty,
            price_e4=new.price_e4,
            time_in_force_s=new.time_in_force_s,
            display=new.display,
            intermarket_sweep=int(new.intermarket_sweep),
            min_qty=new.min_qty,
            terms=self._language.terms(new),
        )
        return order, request

    def cancel(self, order: Order, qty: int = 0) -> Request:
        """Cancel the open quantity; or reduce the order to a total of ``qty``, the executed included.

        Right behind a replace, this and the next two are about what the replace makes of the order: they are refused if
        it is.
        """
        checked_qty(qty, 0)
        token = self._as_it_will_be(order)[0]
        return self._ask(RequestKind.CANCEL, token, "", self._language.cancel(token, qty))

    def replace(
        self,
        order: Order,
        qty: int | None = None,
        price: Price | Keep = KEEP,
        token: str | None = None,
        terms: str = "",
    ) -> Request:
        """Replace an order: a new token, and a new total quantity (the executed included) or price, or both.

        terms: over native order entry, ``display=N`` or ``stop=PRICE`` of an order that has one.
        """
        old, qty_now, price_e4_now = self._as_it_will_be(order)
        qty = checked_qty(qty_now if qty is None else qty)
        number = price_e4_now if isinstance(price, Keep) else price_e4(price)
        self._must_be_live()
        new = self._own_token(token)
        return self._ask(RequestKind.REPLACE, old, new, self._language.replace(order, old, new, qty, number, terms))

    def modify(self, order: Order, side: Side, qty: int | None = None) -> Request:
        """Change the kind of a sale, or reduce the order: ``qty`` as in ``cancel``."""
        token, qty_now, _ = self._as_it_will_be(order)
        qty = checked_qty(qty_now if qty is None else qty)
        return self._ask(RequestKind.MODIFY, token, "", self._language.modify(token, Side(side), qty))

    def mass_cancel(self, symbol: str = "", side: Side | None = None) -> None:
        """Cancel all open orders of the user's participant, those of its other users too, over native order entry.

        symbol: in one instrument; side: of one side. ``MassCanceled`` answers it. It is sent once: repeat one whose
        answer does not come. Orders entered behind it, before its answer, may be among them.
        """
        self._out.append(self._must_be_live().unsequenced([self._language.mass_cancel(symbol, side)], self._now_ns))

    def find(self, token: str) -> OrderT:
        """The order that has or had a token. Raises ValueError."""
        order = self.day.orders.get(token)
        if order is None:
            raise ValueError(f"there is no order {token!r} today")
        return order

    def open_orders(self) -> list[OrderT]:
        """Orders that may yet trade, as their tokens came."""
        return [order for token, order in self.day.orders.items() if order.is_open and order.token == token]

    def _as_it_will_be(self, order: Order) -> tuple[str, int, int]:
        """Token, quantity and price_e4 of an order when a request made now reaches the exchange: behind all others."""
        replacing = self.day.requests.last_replace(order.token)
        if replacing is None:
            return order.token, order.qty, order.price_e4
        return replacing.new_token, *self._language.terms_of_replace(replacing.payload)

    def _own_token(self, token: str | None) -> str:
        if token is not None:
            if self._used(checked(token)):
                raise ValueError(f"the token {token!r} was used today; give another, or none")
            return token
        while self._used(made := self._tokens.next()):
            pass
        return made

    def _used(self, token: str) -> bool:
        return token in self.day.orders or self.day.requests.of_token(token) is not None

    def _must_be_live(self) -> ClientSession:
        if self.phase is not Phase.LIVE or self._soup is None or self.over:
            raise NotConnected(f"nothing was sent: the connection to the exchange is {self.phase.value}; wait for it")
        return self._soup

    def _ask(self, kind: RequestKind, token: str, new_token: str, payload: bytes) -> Request:
        self._out.append(self._must_be_live().unsequenced([payload], self._now_ns))
        return self.day.requests.add(kind, token, new_token, payload, resend=self.resend, now_ns=self._now_ns)

    # # Messages of the exchange

    def _on_session_event(self, heard: ClientEvent) -> Iterator[Event]:
        match heard:
            case LoginAccepted(session, next_seq):
                yield from self._accepted(session, next_seq)
            case LoginRejected(code):
                self._refused(code)
            case EndOfSession():
                self._why = "the exchange ended the session"
                # A session that is over has no answer to the marker: all that was missed has come, the next day waits.
                self._day_ended |= self.phase is Phase.CATCHING_UP
                self.at_once = self._day_ended
                yield SessionEnded()
            case Debug(text):
                if self._epoch_is_due and (named := _EPOCH.fullmatch(text)) is not None:
                    self._on_epoch(int(named[1]))
                elif self.phase is Phase.CATCHING_UP and (named := _END.fullmatch(text)) is not None:
                    if self._epoch_is_due:
                        self._on_epoch(0)
                    self._end_seq = int(named[1])
                    if self._end_seq < self.next_seq:
                        raise self._lost_messages(self._end_seq - 1)
                    yield from self._at_end()
                elif self.phase is Phase.LOGIN and text.startswith(TOLD_REFUSED):
                    self._why_refused = text.removeprefix(TOLD_REFUSED)
                else:
                    yield DebugText(text)
            case ProtocolError():
                raise heard

    def _on_epoch(self, epoch: int) -> None:
        """Take the epoch of the server; 0: it named none before its first message. Raises StaleServer."""
        self._epoch_is_due = False
        if epoch < self.epoch:
            of = f"epoch {epoch}" if epoch else "no epoch"
            raise StaleServer(f"the server is of {of}, and epoch {self.epoch} of the market has begun before")
        self.epoch = epoch

    def _accepted(self, session: str, next_seq: int) -> Iterator[Event]:
        """Login accepted. Another session's name means another day."""
        self._epoch_is_due = True
        self._refused_since_ns = None
        self.at_once = self._day_ended = False
        if self.session and session != self.session:
            yield from self.give_up()
            yield NewSession(session, self.session)
            self.day.begin()
            self._markers.clear()
            self.next_seq = 1
        self.session = session
        self.next_seq = self.next_seq or next_seq
        if next_seq > self.next_seq:
            raise StreamLost(f"the exchange continues with message {next_seq}, but {self.next_seq} is the next one")
        self.phase = Phase.CATCHING_UP
        self._end_seq, self._marker = 0, ""
        yield Connected(session, next_seq, self.address)

    def _at_end(self) -> Iterator[Event]:
        """Look whether all messages have come that were there at the login. With a request without an answer that is
        not all: its answer may be under way.
        """
        if self.phase is not Phase.CATCHING_UP or not 0 < self._end_seq <= self.next_seq:
            return
        if not len(self.day.requests):
            yield from self._caught_up(self.next_seq - 1)
        elif not self._marker:
            self._send_marker()

    def _lost_messages(self, seq: int) -> StreamLost:
        """Error of an exchange whose stream ends with message ``seq``, before what came here."""
        return StreamLost(
            f"the exchange is at message {seq} of session {self.session}, and message {self.next_seq - 1} came "
            "here before: it has lost some; compare your orders with what it has"
        )

    def _send_marker(self) -> None:
        self._marker = self._tokens.next_marker()
        self._markers.add(self._marker)
        self._send(self._language.cancel(self._marker))

    def _refused(self, code: RejectCode) -> None:
        """Login rejected. A session that is gone is asked for once more, without its name: it may be another day."""
        asked, self.at_once = self.at_once, False
        if code is RejectCode.SESSION_NOT_AVAILABLE and not asked and (self.session or self.next_seq > 1):
            if self._refused_since_ns is None:
                self._refused_since_ns = self._now_ns
            if not self._several or self._now_ns - self._refused_since_ns >= _ASK_AGAIN_NS:
                self.at_once = True
                return
        why = self._why_refused or "user or password is wrong, or the user may not log in now"
        if code is RejectCode.SESSION_NOT_AVAILABLE and not self._why_refused:
            both = "" if self._several else " (then give the addresses of both nodes)"
            why = (
                f"this node is not primary{both}, or the user is logged in already, or there is no such session with "
                "so many messages"
            )
        self.refused = LoginRefused(chr(code), f"the exchange refused the login of {self.user!r}: {why}")

    def _sequenced(self, seq: int, payload: bytes, events: list[Event]) -> None:
        """A message of the stream; its events are added to what came before, which counts if it raises."""
        self._told_ns = self._now_ns
        if self._epoch_is_due:
            self._on_epoch(0)
        message = self._language.read(seq, payload)
        is_new = seq >= self.next_seq
        if isinstance(message, CancelRejected) and message.token in self._markers:
            self._markers.discard(message.token)
            if message.token == self._marker:
                if seq < self.next_seq:
                    raise self._lost_messages(seq)
                for event in self._caught_up(seq):
                    events.append(event)
        elif is_new:
            self.mass_cancels += isinstance(message, MassCanceled)
            if self.day.apply(message):
                events.append(message)  # type: ignore[arg-type]  # whatever ``read`` gives is an Event
            self._day_ended |= isinstance(message, SystemEvent) and message.code == EventCode.END_OF_DAY
        if is_new:
            self.next_seq = seq + 1
            if self.on_message is not None:
                self.on_message(seq, payload)
            for event in self._at_end():
                events.append(event)

    def _caught_up(self, seq: int) -> Iterator[Event]:
        """Stream caught up: the answered requests are known. The rest goes out again, or is given up as lost.

        seq: the last message.
        """
        self._marker = ""
        self.phase = Phase.LIVE
        lost_ns, self._lost_ns = self._lost_ns, None
        outage_ns = 0 if lost_ns is None else self._now_ns - lost_ns
        resent = sum(request.resend for request in self.day.requests)
        caught_up = CaughtUp(seq, self.address, self.epoch, outage_ns, resent)
        if self.on_caught_up is not None:
            self.on_caught_up(caught_up)
        yield caught_up
        for request in self.day.requests:
            if request.resend:
                if self._send(request.payload):
                    request.state = RequestState.SENT
                    request.sends += 1
                    request.sent_ns = self._now_ns
            else:
                self._end_unanswered(request, RequestState.NOT_RECEIVED, OrderState.NOT_RECEIVED)
                yield RequestLost(request.number, request.kind.value, request.token)

    def _send(self, payload: bytes) -> bool:
        """Send a message, unless the end of the connection came together with what is being heard."""
        if self._soup is None or self._soup.ended:
            return False
        self._out.append(self._soup.unsequenced([payload], self._now_ns))
        return True

    def _end_unanswered(self, request: Request, state: RequestState, order_state: OrderState) -> None:
        order = self.day.orders.get(request.token)
        if request.kind is RequestKind.ENTER and order is not None and order.state is OrderState.PENDING:
            order.state = order_state
            self.day.forget_closed(request.token)
        self.day.requests.settle(request, state)


def _unanswered(request: Request, *, final: bool) -> RequestUnanswered:
    return RequestUnanswered(request.number, request.kind.value, request.token, final)
