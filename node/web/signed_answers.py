"""Answers to signed requests: accounts, orders, fills. The type that a method gives is the schema of its answer.

Nothing here knows of HTTP: ``node.web.app`` has the paths that ``node.web.paths`` names.
"""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from marketdata.web import answers, balances, forms, order_requests
from marketdata.web.account import Account
from marketdata.web.answers import BadRequest, Query
from marketdata.web.market import WebMarket
from node.web.keys import Key
from node.web.trading import Answer, Trader, Trading

#: Word before a client's own id in a path.
_OWN: Final = "client:"


class SignedQuestion(NamedTuple):
    """A request of a user. name: of the order or account in its path. states: of orders that are asked for."""

    key: Key
    signature: str
    name: str
    query: Query
    states: Sequence[str] = ()
    body: bytes = b""


class SignedAnswers:
    """Answers to the users of ``trading``. All raise BadRequest."""

    def __init__(self, market: WebMarket, trading: Trading) -> None:
        self._market, self._trading = market, trading

    def _of(self, asked: SignedQuestion) -> Trader:
        return self._trading.of(asked.key)

    def _account(self, asked: SignedQuestion) -> Account:
        return self._of(asked).live()

    def _own_profile(self, asked: SignedQuestion) -> None:
        """Hold the profile that is asked for against the one that each user has, which bears its name."""
        profile_id = asked.query.get("profile_id", asked.key.user)
        if profile_id != asked.key.user:
            raise BadRequest(f"there is no profile {profile_id[:40]!r} of yours; leave profile_id out", 404)

    def _product_id(self, text: str) -> str:
        """A product id as it is written here; "": none was asked for."""
        return answers.product_of(self._market, order_requests.product_id(text)).id if text else ""

    @staticmethod
    def _named(asked: SignedQuestion) -> tuple[str, str]:
        """Order id, or the client's own id, in a path."""
        own = asked.name.removeprefix(_OWN)
        return ("", order_requests.checked_id(own)) if asked.name.startswith(_OWN) else (asked.name, "")

    async def accounts(self, asked: SignedQuestion) -> Answer[list[forms.Balance]]:
        """Dollars and shares of all trades."""
        return Answer(200, balances.balances(self._market, self._account(asked)))

    async def account(self, asked: SignedQuestion) -> Answer[forms.Balance]:
        """One account."""
        return Answer(200, balances.balance(self._market, self._account(asked), asked.name))

    async def orders(self, asked: SignedQuestion) -> Answer[list[forms.OrderAnswer]]:
        """A page of orders."""
        self._own_profile(asked)
        product_id = self._product_id(asked.query.get("product_id", ""))
        return Answer(200, *self._account(asked).page(asked.query, list(asked.states), product_id))

    async def order(self, asked: SignedQuestion) -> Answer[forms.OrderAnswer]:
        """An order."""
        account = self._account(asked)
        order_id, own = self._named(asked)
        token = order_requests.token_of(asked.key.user, own) if own else ""
        return Answer(200, account.order(account.find(order_id, token)))

    async def fills(self, asked: SignedQuestion) -> Answer[list[forms.FillAnswer]]:
        """A page of fills."""
        self._own_profile(asked)
        query = asked.query
        product_id = self._product_id(query.get("product_id", ""))
        return Answer(200, *self._account(asked).fills_page(query, query.get("order_id", ""), product_id))

    async def enter(self, asked: SignedQuestion) -> Answer[forms.OrderAnswer]:
        """Enter an order."""
        order = order_requests.read_order(asked.body, self._market, time.time_ns())
        return await self._trading.post(asked.key, asked.signature, order)

    async def cancel(self, asked: SignedQuestion) -> Answer[str]:
        """Cancel an order; it answers with the id that was asked for."""
        return await self._of(asked).cancel(*self._named(asked))

    async def cancel_all(self, asked: SignedQuestion) -> Answer[list[str]]:
        """Cancel all open orders, or those of one product; it answers with the ids of those that are canceled."""
        self._own_profile(asked)
        named = {asked.query.get("product_id", ""), order_requests.product_of_body(asked.body)} - {""}
        product_ids = {self._product_id(each) for each in named}
        if len(product_ids) > 1:
            raise BadRequest("query and body name two products; give one, or send a request for each")
        return await self._of(asked).cancel_all(product_ids.pop() if product_ids else "")
