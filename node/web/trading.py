"""Order entry of web clients: each user has one login at a gateway of native order entry, like any other client.

    POST /orders --> Trader.enter --> client.AsyncNativeClient --> gateway --> ring --> core
                                          reports of the user's stream --> marketdata.web.account

The order token follows from the client's own id, or from the signature of the request. So an order that is sent again,
whatever ended in between, is the order that is there: ids of a day are unique at the exchange, and after a restart the
user's stream is read from its beginning before anything is answered.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, Never, TypeVar

from client.async_client import AsyncNativeClient
from client.errors import ClientError, LoginRefused, NotConnected, OutcomeUnknown, RequestNotReceived, RequestRejected
from client.events import Side
from client.native import begins_day, report_in
from client.orders import NewOrder, Order
from marketdata.web import order_requests, words
from marketdata.web.account import Account, Held
from marketdata.web.answers import BadRequest
from marketdata.web.forms import OrderAnswer, Refusal
from marketdata.web.order_requests import Asked
from marketdata.web.product import Message
from node.programs.logs import Log
from node.web.keys import WINDOW_S, Key

#: Time for an answer of the exchange, and pause before another login after one that was refused or found nobody.
_ANSWER_S: Final = 10.0
_REFUSED_PAUSE_S: Final = 30.0
_AGAIN_S: Final = 1.0
_FOR_EVER_S: Final = 1e9
#: Requests of a user whose answers are remembered while their signature is valid.
_REMEMBERED_MAX: Final = 20_000
#: Statuses of answers that are not remembered: too many requests wait, and no order entry now.
_ASK_AGAIN: Final = frozenset({429, 503})
#: Requests of a user that wait for the exchange at once.
_WAITING_MAX: Final = 256
#: Orders that one request cancels.
_CANCELS_MAX: Final = 1_000

#: Messages that clients of this dialect know, by reason.
_KNOWN: Final = {
    "credit": "Insufficient funds",
    "position_limit": "Insufficient funds",
    "invalid_tick": "price too precise",
    "invalid_lot": "size is too small, or not a multiple of the lot",
    "unknown_instrument": "Product not found",
}

#: Callback for what channel user tells: the user, product ids and messages.
OnTold = Callable[[str, list[Message]], None]


Value_co = TypeVar("Value_co", covariant=True)


class Answer(NamedTuple, Generic[Value_co]):
    """Answer to a request: status of HTTP, and a value of JSON, a refusal where the status is not 200.

    places: of the first and last entry of a page that has any.
    """

    status: int
    value: Value_co | Refusal
    places: Sequence[int] = ()


class Trader:
    """A user: its login, which is made again whenever it ends, its account, and the answers to its requests whose
    signatures are valid yet."""

    def __init__(self, addresses: str, key: Key, log: Log, on_told: OnTold) -> None:
        self.account = Account(key.user)
        self._addresses, self._key, self._log, self._on_told = addresses, key, log, on_told
        self._client: AsyncNativeClient | None = None
        self._entering: dict[str, asyncio.Task[Answer[OrderAnswer]]] = {}
        self._waiting = 0
        self._told = ""
        self._done: OrderedDict[str, tuple[float, asyncio.Task[Answer[Any]]]] = OrderedDict()
        #: Session and number of the last message of the user's stream that channel user has told, or had no need to.
        self._told_to: tuple[str, int] | None = None
        self.why = "it has not logged in yet"

    @property
    def is_live(self) -> bool:
        """True if all that the exchange has answered so far is in the account."""
        return self._client is not None and self._client.is_live

    async def run(self) -> None:
        """Log in, and again after each end, until it is canceled."""
        while True:
            pause_s = _AGAIN_S
            try:
                pause_s = await self._serve()
            except Exception as error:  # a defect must not end the user's order entry for good
                kind = type(error).__name__
                self.why = f"it failed here ({kind}), see the log"
                self._log.error("order entry failed", user=self._key.user, error=kind, why=str(error), again_s=pause_s)
            await asyncio.sleep(pause_s)

    async def _serve(self) -> float:
        """Serve one login until it ends; gives the pause before the next, in seconds."""
        pause_s = _AGAIN_S
        client = AsyncNativeClient(
            self._addresses,
            None,
            self._key.user,
            self._key.password,
            timeout_s=_ANSWER_S,
            reconnect_for_s=_FOR_EVER_S,
            keep_closed=False,
            events_max=1,
        )
        self.account = Account(self._key.user, client_ids=self.account.client_ids)
        client.on_message = lambda seq, payload: self._on_message(client.core.session, seq, payload)
        try:
            await client.connect()
            self._client, self._told = client, ""
            self._told_to = self._told_to or (client.core.session, client.core.next_seq - 1)
            async for _ in client.events():
                pass
        except ClientError as error:
            self.why = str(error)
            if isinstance(error, LoginRefused) and error.code == "A":
                pause_s = _REFUSED_PAUSE_S
            if self.why != self._told:
                self._told = self.why
                self._log.warning("no order entry", user=self._key.user, why=self.why, again_s=pause_s)
        finally:
            self._client = None
            await client.close()
        return pause_s

    def _on_message(self, session: str, seq: int, payload: bytes) -> None:
        """Take a message of the user's stream, which is read from its beginning at each login.

        What was told is not told again, and what happened while the login was away is told then.
        """
        if begins_day(payload):
            self.account.begin_day()
        told = self._told_to
        is_new = told is not None and (session != told[0] or seq > told[1])
        if (report := report_in(payload)) is not None:
            messages = self.account.take(report)
            if messages and is_new:
                self._on_told(self._key.user, messages)
        if is_new:
            self._told_to = session, seq

    def live(self) -> Account:
        """The account, as long as it is complete. Raises BadRequest."""
        if not self.is_live:
            why = self._client.outage if self._client is not None else self.why
            raise BadRequest(f"there is no order entry now; ask again: {why or 'the exchange was lost'}", 503)
        return self.account

    async def once(self, signed: str, do: Callable[[], Awaitable[Answer[Value_co]]]) -> Answer[Value_co]:
        """Do a request once: with the same signature again, it gives the same answer, but for one of ``_ASK_AGAIN``."""
        now_s = time.monotonic()
        while self._done and next(iter(self._done.values()))[0] < now_s:
            self._done.popitem(last=False)
        found = self._done.get(signed)
        if found is None:
            if len(self._done) >= _REMEMBERED_MAX:
                return _refusal(429, "too many requests of this user within a minute; ask again later")
            task = asyncio.create_task(_answered(do))
            # Twice the window: a signature may be of the future by as much.
            found = self._done[signed] = (now_s + 2 * WINDOW_S + 1, task)
            task.add_done_callback(lambda task: self._forget(signed, task))
        return await asyncio.shield(found[1])

    def _forget(self, signed: str, task: asyncio.Task[Answer[Any]]) -> None:
        """Forget an answer that tells the client to ask again: the next request may be served."""
        if not task.cancelled() and task.exception() is None and task.result().status in _ASK_AGAIN:
            self._done.pop(signed, None)

    async def enter(self, asked: Asked, token: str) -> Answer[OrderAnswer]:
        """Enter an order; the one that has its token already, if it is the same."""
        while (task := self._entering.get(token)) is not None:
            await asyncio.wait({task})
        if (held := self.live().of_token(token)) is not None:
            return self._again(held, asked)
        task = self._entering[token] = asyncio.create_task(self._enter(asked, token))
        try:
            return await asyncio.shield(task)
        finally:
            if task.done():
                self._entering.pop(token, None)
            else:  # the client is gone; the order is not
                task.add_done_callback(lambda _: self._entering.pop(token, None))

    async def _enter(self, asked: Asked, token: str) -> Answer[OrderAnswer]:
        """Send an order and wait for its answer; for that of the request before, if that one has none yet."""
        client = self._client
        if client is None:
            return _refusal(503, "nothing was sent: there is no order entry now; ask again")
        side = Side.BUY if asked.side == "buy" else Side.SELL
        try:
            order = NewOrder(asked.symbol, side, asked.qty, asked.price, terms=asked.terms)
        except ValueError as error:
            return _refusal(400, str(error))
        if asked.client_id and asked.client_id != token:
            self.account.client_ids[token] = asked.client_id
        elif asked.client_id:
            self.account.client_ids[token] = token

        requests = client.core.day.requests
        sent_before = requests.of_token(token)

        async def send() -> Answer[OrderAnswer]:
            if sent_before is None:
                await client.submit(order, token)
            else:
                await client.outcome(sent_before)
            held = self.account.of_token(token)
            if held is None:
                return _refusal(504, f"the order was taken, and has no report yet; {_ask_for(asked)}")
            return Answer(200, self.account.order(held)) if sent_before is None else self._again(held, asked)

        answer = await self._sent(send, asked)
        if answer.status not in (200, 409, 504) and requests.of_token(token) is None:
            self.account.client_ids.pop(token, None)
        return answer

    async def cancel(self, order_id: str, client_id: str) -> Answer[str]:
        """Cancel an order of an id, or of a client's own id; it answers with the id that was asked for."""
        token = order_requests.token_of(self._key.user, client_id) if client_id else ""
        held = self.live().find(order_id, token)
        if held.closed_ns:
            return _refusal(400, f"Order already done: it was {self.account.order(held)['done_reason']}")
        client = self._client
        assert client is not None
        order = client.orders.get(held.report.order_token) or _bare(held)

        async def send() -> Answer[str]:
            await client.cancel(order)
            return Answer(200, client_id or words.order_id(held.report.order_number))

        answer = await self._sent(send, None)
        if answer.status == 400 and held.closed_ns:
            return _refusal(400, f"Order already done: it was {self.account.order(held)['done_reason']}")
        return answer

    async def cancel_all(self, product_id: str) -> Answer[list[str]]:
        """Cancel all open orders, of one product or of all; it answers with the ids of those that are canceled."""
        open_ones = [
            held
            for held in self.live().orders.values()
            if not held.closed_ns and (not product_id or words.product_id(held.report.symbol) == product_id)
        ][:_CANCELS_MAX]
        ids = [words.order_id(held.report.order_number) for held in open_ones]
        answers: list[Answer[str]] = []
        for first in range(0, len(ids), _WAITING_MAX // 4):
            some = ids[first : first + _WAITING_MAX // 4]
            answers += await asyncio.gather(*(self._canceled(each) for each in some))
        for answer in answers:
            if answer.status >= 500 and not isinstance(answer.value, str):
                return Answer(answer.status, answer.value)
        return Answer(200, [each for each, answer in zip(ids, answers, strict=True) if answer.status == 200])

    async def _canceled(self, order_id: str) -> Answer[str]:
        try:
            return await self.cancel(order_id, "")
        except BadRequest as refused:
            return _refusal(refused.status, str(refused))

    async def _sent(self, send: Callable[[], Awaitable[Answer[Value_co]]], asked: Asked | None) -> Answer[Value_co]:
        """Do what sends a request and waits for its answer; the answer to the client, whatever comes of it."""
        if self._waiting >= _WAITING_MAX:
            return _refusal(429, f"more than {_WAITING_MAX} requests of this user wait for the exchange; ask again")
        self._waiting += 1
        try:
            return await send()
        except RequestRejected as error:
            reason = error.reason
            sentence = _KNOWN.get(reason, str(error))
            return Answer(400, {"message": sentence, "reason": reason}) if reason else _refusal(400, sentence)
        except (NotConnected, RequestNotReceived) as error:
            return _refusal(503, str(error))
        except OutcomeUnknown as error:
            return _refusal(504, f"{error}; {_ask_for(asked)}")
        except (ClientError, ValueError) as error:
            return _refusal(400, str(error))
        finally:
            self._waiting -= 1

    def _again(self, held: Held, asked: Asked) -> Answer[OrderAnswer]:
        report, known = held.report, self.account.order(held)
        price = None if asked.price is None else words.price(_price_e4(asked.price))
        has = (report.symbol, known["side"], report.original_qty, known.get("price"))
        is_replaced = report.order_token != held.token
        wants = (asked.symbol, asked.side, asked.qty, known.get("price") if is_replaced else price)
        if has != wants:
            return _refusal(409, "client_oid names another order of today; give each order an id of its own")
        if asked.client_id:
            self.account.client_ids[held.token] = asked.client_id  # this process may not know it yet
        return Answer(200, self.account.order(held))


def _bare(held: Held) -> Order:
    """An open order of an earlier day, which is not among those of the client's day."""
    report = held.report
    side = Side.BUY if report.side > 0 else Side.SELL
    return Order(report.order_token, report.symbol, side, report.qty, report.price_e4, 0, 0, 0, 0)


def _price_e4(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 10_000 + int(part[:4].ljust(4, "0"))


def _refusal(status: int, sentence: str) -> Answer[Never]:
    return Answer(status, {"message": sentence})


def _ask_for(asked: Asked | None) -> str:
    if asked is None:
        return "ask for the order, or cancel it again"
    if asked.client_id:
        return f"ask for /orders/client:{asked.client_id}, or send it again: with the same client_oid it is one order"
    return "ask for the orders before you send it again"


class Trading:
    """All keys and their users."""

    def __init__(self, addresses: str, keys: Mapping[str, Key], log: Log, on_told: OnTold) -> None:
        self.keys = keys
        by_user = {key.user: key for key in keys.values()}
        self._traders = {user: Trader(addresses, key, log, on_told) for user, key in by_user.items()}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Log all users in."""
        self._tasks = [asyncio.create_task(trader.run()) for trader in self._traders.values()]

    async def close(self) -> None:
        """Log all users out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def of(self, key: Key) -> Trader:
        """The user of a key."""
        return self._traders[key.user]

    async def post(self, key: Key, signed: str, asked: Asked) -> Answer[OrderAnswer]:
        """Enter an order. signed: signature of the request."""
        if asked.client_id:
            token = order_requests.token_of(key.user, asked.client_id)
        else:
            token = order_requests.token_of(key.user, "signed:" + hashlib.sha256(signed.encode()).hexdigest())
        return await self.of(key).enter(asked, token)


async def _answered(do: Callable[[], Awaitable[Answer[Value_co]]]) -> Answer[Value_co]:
    try:
        return await do()
    except BadRequest as refused:
        return _refusal(refused.status, str(refused))
