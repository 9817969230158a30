"""A small exchange for tests of its clients, in this process: one price-time book a symbol, OUCH by ``wire``'s dtypes.

``Market`` is pure: messages in, streams out. ``Peer`` is its side of one connection, bytes in and out, and does what a
network does at the worst moment: a ``Fault`` for each message that arrives. ``serve`` puts peers behind a socket.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from wire import LoginRequest, RejectCode, ServerSession, State, ouch, soup
from wire.ouch_codes import (
    BuySell,
    CancelReason,
    ClientMessage,
    Display,
    Liquidity,
    OrderState,
    RejectReason,
    ServerMessage,
)
from wire.soup import Debug, Logout, Unsequenced

USER, PASSWORD, DAY = "ALICE", "secret", "20260302"


class Fault(Enum):
    """The reaction to a message."""

    NONE = "it is taken and answered"
    BEFORE = "the connection breaks before it is taken"
    AFTER = "the connection breaks after it was taken, before its answer is sent"
    MIDDLE = "the connection breaks in the middle of its answer"
    REFUSE = "an entry or replacement is rejected, then the connection breaks before the rejection is sent"


@dataclass
class Resting:
    """An order as the market has it."""

    user: str
    token: bytes
    stock: bytes
    side: int
    price_e4: int
    qty: int
    open: int
    executed: int = 0
    time_in_force_s: int = 99_998


@dataclass
class Market:
    """Streams of messages by user, and the orders behind them. ``log`` is what happened, for tests to look at."""

    session: str = DAY
    passwords: dict[str, str] = field(default_factory=lambda: {USER: PASSWORD, "BOB": PASSWORD})
    faults: Iterator[Fault] = field(default_factory=lambda: iter(()))
    streams: dict[str, list[bytes]] = field(default_factory=dict)
    orders: dict[tuple[str, bytes], Resting] = field(default_factory=dict)
    log: list[tuple[str, str, bytes]] = field(default_factory=list)
    peers: "list[Peer]" = field(default_factory=list)
    refuse_logins: int = 0
    refuse_code: RejectCode = RejectCode.NOT_AUTHORIZED
    trades: int = 0
    silent: bool = False
    says_end: bool = False
    why_refused: str = ""
    beats: int = 0

    def stream(self, user: str) -> list[bytes]:
        """A user's messages of the day; the first says that it began."""
        if user not in self.streams:
            self.streams[user] = []
            self.say(user, ServerMessage.SYSTEM_EVENT, event_code=ord("S"))
        return self.streams[user]

    def new_day(self, session: str) -> None:
        """Everything anew, under another name."""
        self.session = session
        self.streams.clear()
        self.orders.clear()
        self.break_all()

    def break_all(self) -> None:
        """Every connection breaks."""
        for peer in list(self.peers):
            peer.close()

    def say(self, user: str, kind: ServerMessage, **fields: object) -> None:
        """A message at the end of a user's stream."""
        rows = ouch.server_rows(kind)
        for name, value in fields.items():
            rows[name] = value
        if kind is not ServerMessage.SYSTEM_EVENT:
            self.log.append((user, kind.name.lower(), fields.get("order_token", fields.get("replacement_order_token"))))  # type: ignore[arg-type]
        self.stream(user).append(rows.tobytes())

    def take(self, user: str, payload: bytes, *, refuse: bool = False) -> None:
        """The effect of a user's message."""
        row = ouch.read_client(payload)[0]
        match row["kind"]:
            case ClientMessage.ENTER_ORDER:
                self._enter(user, row, refuse=refuse)
            case ClientMessage.REPLACE_ORDER:
                self._replace(user, row, refuse=refuse)
            case kind:
                self._cancel(user, row, kind)

    def open_order(self, user: str, token: bytes) -> Resting | None:
        order = self.orders.get((user, token))
        return order if order is not None and order.open else None

    def _enter(self, user: str, row: Any, *, refuse: bool) -> None:
        token = row["order_token"]
        if (user, token) in self.orders or refuse:
            reason = RejectReason.DUPLICATE_ID if (user, token) in self.orders else RejectReason.HALTED
            self.say(user, ServerMessage.REJECTED, order_token=token, reject_reason=reason)
            return
        qty = int(row["shares"])
        order = Resting(user, token, row["stock"], int(row["buy_sell"]), int(row["price_e4"]), qty, qty)
        order.time_in_force_s = int(row["time_in_force_s"])
        self.orders[user, token] = order
        self._say_placed(ServerMessage.ACCEPTED, order, row["stock"], qty, order_token=token)
        self._match(order)
        if row["time_in_force_s"] == 0 and order.open:
            self._lose(order, order.open, CancelReason.IMMEDIATE_OR_CANCEL)

    def _say_placed(self, kind: ServerMessage, order: Resting, stock: bytes, qty: int, **fields: object) -> None:
        self.say(
            order.user,
            kind,
            **fields,
            stock=stock,
            shares=qty,
            buy_sell=order.side,
            price_e4=order.price_e4,
            time_in_force_s=order.time_in_force_s,
            display=Display.ANONYMOUS,
            capacity=ord("P"),
            intermarket_sweep=ord("N"),
            cross_type=ord("N"),
            order_reference_number=len(self.orders),
            order_state=OrderState.LIVE,
        )

    def _match(self, order: Resting) -> None:
        buys = order.side == BuySell.BUY
        for other in [o for o in self.orders.values() if o.open and o.stock == order.stock and o is not order]:
            crosses = order.price_e4 >= other.price_e4 if buys else order.price_e4 <= other.price_e4
            if order.open and crosses and (other.side == BuySell.BUY) != buys:
                qty = min(order.open, other.open)
                self.trades += 1
                for side, liquidity in ((other, Liquidity.ADDED), (order, Liquidity.REMOVED)):
                    side.open -= qty
                    side.executed += qty
                    self.say(
                        side.user,
                        ServerMessage.EXECUTED,
                        order_token=side.token,
                        executed_shares=qty,
                        execution_price_e4=other.price_e4,
                        liquidity=liquidity,
                        match_number=self.trades,
                    )

    def _lose(self, order: Resting, qty: int, reason: CancelReason) -> None:
        order.open -= qty
        self.say(
            order.user,
            ServerMessage.CANCELED,
            order_token=order.token,
            decrement_shares=qty,
            cancel_reason=reason,
        )

    def _cancel(self, user: str, row: Any, kind: int) -> None:
        order, qty = self.open_order(user, row["order_token"]), int(row["shares"])
        if order is None or qty >= order.qty:
            self.say(user, ServerMessage.CANCEL_REJECT, order_token=row["order_token"])
            return
        lost = order.open - max(0, qty - order.executed)
        order.qty = qty or order.qty
        if kind == ClientMessage.MODIFY_ORDER and lost < order.open:
            order.open -= lost
            order.side = int(row["buy_sell"])
            self.say(
                user, ServerMessage.ORDER_MODIFIED, order_token=order.token, buy_sell=order.side, shares=order.open
            )
        else:
            self._lose(order, lost, CancelReason.USER)

    def _replace(self, user: str, row: Any, *, refuse: bool) -> None:
        token, new = row["existing_order_token"], row["replacement_order_token"]
        order = self.open_order(user, token)
        if order is None:
            self.say(user, ServerMessage.CANCEL_REJECT, order_token=token)
        elif (user, new) in self.orders or refuse:
            reason = RejectReason.DUPLICATE_ID if (user, new) in self.orders else RejectReason.OTHER
            self.say(user, ServerMessage.REJECTED, order_token=new, reject_reason=reason)
        elif row["shares"] <= order.executed:
            self._lose(order, order.open, CancelReason.USER)
        else:
            order.open = 0
            qty = int(row["shares"])
            made = Resting(
                user,
                new,
                order.stock,
                order.side,
                int(row["price_e4"]),
                qty,
                qty - order.executed,
                order.executed,
            )
            self.orders[user, new] = made
            self._say_placed(
                ServerMessage.REPLACED,
                made,
                order.stock,
                made.open,
                replacement_order_token=new,
                previous_order_token=token,
            )
            self._match(made)

    def flush(self) -> None:
        """Every stream goes on to who listens to it."""
        for peer in list(self.peers):
            peer.flush()


@dataclass
class Door:
    """A node of a market with several: its epoch, and whether it is a copy, which rejects each login."""

    market: Market
    epoch: int = 0
    is_copy: bool = False
    logins: int = 0


class Peer:
    """The market's side of one connection. ``out`` is what it has to send; closed: the connection is no more."""

    def __init__(self, market: Market | Door, notify: Any = lambda: None) -> None:
        self.door = market if isinstance(market, Door) else Door(market)
        self.market = market = self.door.market
        self.session = ServerSession(time.monotonic_ns())
        self.user = ""
        self.asks = False
        self.out = bytearray()
        self.closed = False
        self._notify = notify
        market.peers.append(self)

    def close(self) -> None:
        self.closed = True
        if self in self.market.peers:
            self.market.peers.remove(self)
        self._notify()

    def receive(self, data: bytes) -> None:
        self.market.beats += data == b"\0\1R"  # a heartbeat of the client, alone
        for event in self.session.receive(data, time.monotonic_ns()):
            if self.closed:
                return
            match event:
                case Debug(text=soup.TELL):
                    self.asks = True
                case LoginRequest():
                    self._login(event)
                case Unsequenced(payload):
                    self._message(payload)
                case Logout():
                    self.close()
                    return
                case Exception():
                    raise event
            self.market.flush()

    def flush(self) -> None:
        self._frame()
        self._notify()

    def _frame(self) -> None:
        """The part of the stream that is not framed yet."""
        if self.session.state is State.LIVE and not self.closed and not self.market.silent:
            messages = self.market.stream(self.user)[self.session.next_seq - 1 :]
            self.out += self.session.sequenced(messages, time.monotonic_ns())

    def _login(self, asked: LoginRequest) -> None:
        self.door.logins += 1
        if self.door.is_copy:
            self.out += self.session.reject(RejectCode.SESSION_NOT_AVAILABLE)
            self.close()
            return
        if self.market.passwords.get(asked.user) != asked.password or self.market.refuse_logins:
            code = self.market.refuse_code if self.market.refuse_logins else RejectCode.NOT_AUTHORIZED
            self.market.refuse_logins -= self.market.refuse_logins > 0
            if self.market.why_refused and self.asks:
                self.out += Debug(f"refused: {self.market.why_refused}").packet()
            self.out += self.session.reject(code)
            self.close()
            return
        end_seq = len(self.market.stream(asked.user)) + 1
        if asked.session not in ("", self.market.session) or asked.requested_seq > end_seq:
            self.out += self.session.reject(RejectCode.SESSION_NOT_AVAILABLE)
            self.close()
            return
        for other in list(self.market.peers):  # the newest wins, and nothing more is taken from the other
            if other.user == asked.user:
                other.close()
        self.user = asked.user
        self.out += self.session.accept(self.market.session, end_seq, time.monotonic_ns())
        if self.door.epoch:
            self.out += Debug(f"epoch {self.door.epoch}").packet()
        if self.market.says_end and self.asks:
            self.out += Debug(f"end {end_seq}").packet()

    def _message(self, payload: bytes) -> None:
        fault = next(self.market.faults, Fault.NONE)
        if fault is not Fault.BEFORE:
            self.market.take(self.user, payload, refuse=fault is Fault.REFUSE)
        if fault is Fault.MIDDLE:
            kept = len(self.out)
            self._frame()
            del self.out[kept + max(1, (len(self.out) - kept) // 2) :]
        if fault is not Fault.NONE:
            self.close()


class _Connection(asyncio.Protocol):
    def __init__(self, market: Market | Door) -> None:
        self.peer = Peer(market, self.notify)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.peer.receive(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.peer.closed = True
        if self.peer in self.peer.market.peers:
            self.peer.market.peers.remove(self.peer)

    def notify(self) -> None:
        if self.peer.out:
            self.transport.write(bytes(self.peer.out))
            self.peer.out.clear()
        if self.peer.closed:
            self.transport.close()


@contextlib.asynccontextmanager
async def serve(door: Market | Door) -> AsyncIterator[int]:
    """The market behind a port of this machine, on this loop."""
    market = door.market if isinstance(door, Door) else door
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(door), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        market.break_all()
        await server.wait_closed()


@contextlib.contextmanager
def serve_aside(market: Market) -> Iterator["Aside"]:
    """The market behind a port, on a loop in a thread of its own."""
    aside = Aside(market)
    thread = threading.Thread(target=asyncio.run, args=(aside.main(),))
    thread.start()
    try:
        aside.ready.wait(120)
        yield aside
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            aside.loop.call_soon_threadsafe(aside.done.set)
        thread.join(10)


class Aside:
    """A market in a thread. ``port`` is where; ``do`` runs something there and waits."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.ready = threading.Event()
        self.port = 0

    async def main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        async with serve(self.market) as self.port:
            self.ready.set()
            await self.done.wait()

    def do(self, what: Any) -> None:
        async def run() -> None:
            what()
            self.market.flush()

        asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


def after(count: int, fault: Fault) -> Iterator[Fault]:
    """``count`` messages without a fault, then this one, then none."""
    return iter([Fault.NONE] * count + [fault])


def faults_of(letters: Iterable[str]) -> Iterator[Fault]:
    """Faults by the first letter of their names."""
    return iter([next(fault for fault in Fault if fault.name[0] == letter) for letter in letters])
