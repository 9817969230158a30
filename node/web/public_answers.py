"""Answers to requests that need no signature. The type that a method gives is the schema of its answer.

Nothing here knows of HTTP: ``node.web.app`` has the paths that ``node.web.paths`` names.
"""

import time
from typing import NamedTuple

from marketdata.web import answers, forms
from marketdata.web.answers import Query
from marketdata.web.market import WebMarket
from marketdata.web.product import Product


class Question(NamedTuple):
    """A request. name: of the product or currency in its path."""

    name: str
    query: Query


class PublicAnswers:
    """The answers about a market. described: the description of all paths."""

    def __init__(self, market: WebMarket, described: forms.Description) -> None:
        self._market, self._described = market, described

    def _product(self, asked: Question) -> Product:
        return answers.product_of(self._market, asked.name)

    def root(self, _asked: Question) -> forms.Root:
        """The way to the description."""
        return {"openapi": "/openapi.json"}

    def description(self, _asked: Question) -> forms.Description:
        """The description of all paths."""
        return self._described

    def time(self, _asked: Question) -> forms.Clocks:
        """The clock of this machine, and that of the market."""
        return answers.time_now(self._market, time.time_ns())

    def currencies(self, _asked: Question) -> list[forms.Currency]:
        """The dollar and each instrument."""
        return answers.currencies(self._market)

    def currency(self, asked: Question) -> forms.Currency:
        """One of them. Raises BadRequest, as all do that follow."""
        return answers.currency(self._market, asked.name)

    def products(self, _asked: Question) -> list[forms.Listed]:
        """All products."""
        return answers.products(self._market)

    def product(self, asked: Question) -> forms.Listed:
        """A product and its state."""
        return answers.product(self._market, self._product(asked))

    def book(self, asked: Question) -> forms.Book:
        """The displayed book."""
        return answers.book(self._market, self._product(asked), asked.query)

    def trades(self, asked: Question) -> list[forms.PublicTrade]:
        """Recent trades."""
        return answers.trades(self._product(asked), asked.query)

    def candles(self, asked: Question) -> list[forms.Candle]:
        """Bars."""
        return answers.candles(self._market, self._product(asked), asked.query)

    def ticker(self, asked: Question) -> forms.Ticker:
        """Last trade and best prices."""
        return answers.ticker(self._market, self._product(asked))

    def stats(self, asked: Question) -> forms.Stats:
        """The last 24 hours, and the volume of 30 days."""
        return answers.stats(self._market, self._product(asked))
