"""The simulated traders' actions: COMMAND rows of ``load.traders`` as orders of the client library.

An order has a number of the traders' own, since its token is the library's. Nothing here knows of a connection.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from client import NewOrder, RequestKind, Side, TimeInForce
from client.prices import decimal
from engine.records import CommandKind
from engine.records import Side as MarketSide
from engine.records import TimeInForce as MarketTimeInForce
from load.traders import Traders

_FIELDS: Final = (
    "kind",
    "participant",
    "client_order_id",
    "new_client_order_id",
    "instrument",
    "side",
    "qty",
    "price_e4",
    "time_in_force",
)


class Action(NamedTuple):
    """One request of a trader: to enter, replace or cancel an order.

    user: place in the list of users. number: of the order. new: what is entered. new_number, qty, price: of a replace,
    the order's number from then on and what it asks for.
    """

    user: int
    kind: RequestKind
    number: int
    new: NewOrder | None = None
    new_number: int = 0
    qty: int = 0
    price: Decimal | None = None


class Actions:
    """A source of actions that never ends, for so many users. The same seed gives the same ones."""

    def __init__(self, seed: int, symbols: Sequence[tuple[str, int]], users: int) -> None:
        """symbols: with their reference prices (e4)."""
        self._symbols = [name for name, _ in symbols]
        self._traders = Traders(seed, symbols, users, lambda numbers: numbers + 1)

    def batch(self, count: int) -> list[Action]:
        """The next actions, in their order."""
        rows = self._traders.batch(count)
        columns = [rows[name].tolist() for name in _FIELDS]
        return [self._action(*row) for row in zip(*columns, strict=True)]

    def _action(
        self,
        kind: int,
        participant: int,
        number: int,
        new_number: int,
        instrument: int,
        side: int,
        qty: int,
        price_e4: int,
        time_in_force: int,
    ) -> Action:
        """The action of a row, whose fields are those of ``_FIELDS``."""
        if kind == CommandKind.CANCEL:
            return Action(participant - 1, RequestKind.CANCEL, number)
        price = decimal(price_e4)
        if kind == CommandKind.REPLACE:
            return Action(participant - 1, RequestKind.REPLACE, number, None, new_number, qty, price)
        immediate = time_in_force == MarketTimeInForce.IOC
        new = NewOrder(
            self._symbols[instrument - 1],
            Side.BUY if side == MarketSide.BUY else Side.SELL,
            qty,
            price,
            TimeInForce.IMMEDIATE_OR_CANCEL if immediate else TimeInForce.MARKET_HOURS,
        )
        return Action(participant - 1, RequestKind.ENTER, number, new)
