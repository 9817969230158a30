"""The simulated traders' orders as OUCH: COMMAND rows of ``load.traders`` become requests of users.

Nothing here knows of a connection.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import CommandKind, Side
from engine.records import TimeInForce as MarketTimeInForce
from load.state import ALPHABET, TOKEN_DIGITS, token_base
from load.traders import Traders
from wire import ouch
from wire.ouch import client_rows
from wire.ouch_codes import (
    BuySell,
    Capacity,
    ClientMessage,
    CrossType,
    CustomerType,
    Display,
    IntermarketSweep,
    TimeInForce,
)

_DIGITS: Final = np.frombuffer(ALPHABET, np.uint8).astype(np.int64)
_MS_OF_DAY: Final = 86_400_000


class Request(NamedTuple):
    """A message of a user. user: its place in the list of users. token: of the order that it makes, or b"".

    existing: the token of the order that it changes, or b"".
    """

    user: int
    message: bytes
    token: bytes
    existing: bytes


class OuchTraders:
    """A source of requests that never ends, for so many users. The same seed and first token give the same ones."""

    def __init__(self, seed: int, symbols: Sequence[tuple[str, int]], users: int, first_token: int) -> None:
        """symbols: with their reference prices (e4). first_token: number of the first order's token, in base 64."""
        self._stocks = np.array([ouch.alpha(name, ouch.STOCK_CHARACTERS) for name, _ in symbols], "S8")
        self._first_token = first_token
        self._traders = Traders(seed, symbols, users, self._ids)

    def batch(self, count: int) -> list[Request]:
        """The next requests, in their order."""
        rows = self._traders.batch(count)
        kinds = rows["kind"]
        messages: list[bytes] = [b""] * len(rows)
        for kind, made in (
            (CommandKind.ENTER, self._enters),
            (CommandKind.REPLACE, self._replaces),
            (CommandKind.CANCEL, self._cancels),
        ):
            places = np.flatnonzero(kinds == kind)
            for place, row in zip(places.tolist(), made(rows[places]), strict=True):
                messages[place] = row.tobytes()
        tokens = _tokens(np.where(kinds == CommandKind.REPLACE, rows["new_client_order_id"], rows["client_order_id"]))
        existing = _tokens(rows["client_order_id"])
        return [
            Request(
                int(participant) - 1,
                message,
                b"" if kind == CommandKind.CANCEL else token,
                b"" if kind == CommandKind.ENTER else old,
            )
            for participant, kind, message, token, old in zip(
                rows["participant"], kinds, messages, tokens, existing, strict=True
            )
        ]

    def _enters(self, rows: NDArray[Any]) -> NDArray[Any]:
        out = client_rows(ClientMessage.ENTER_ORDER, len(rows))
        out["order_token"] = _tokens(rows["client_order_id"])
        out["buy_sell"] = np.where(rows["side"] == Side.BUY, BuySell.BUY, BuySell.SELL)
        out["shares"] = rows["qty"]
        out["stock"] = self._stocks[rows["instrument"].astype(np.int64) - 1]
        out["price_e4"] = rows["price_e4"]
        ioc = rows["time_in_force"] == MarketTimeInForce.IOC
        out["time_in_force_s"] = np.where(ioc, TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.MARKET_HOURS)
        out["display"] = Display.ANONYMOUS
        out["capacity"] = Capacity.PRINCIPAL
        out["intermarket_sweep"] = IntermarketSweep.NOT_ELIGIBLE
        out["cross_type"] = CrossType.NO_CROSS
        out["customer_type"] = CustomerType.NOT_RETAIL
        return out

    def _replaces(self, rows: NDArray[Any]) -> NDArray[Any]:
        out = client_rows(ClientMessage.REPLACE_ORDER, len(rows))
        out["existing_order_token"] = _tokens(rows["client_order_id"])
        out["replacement_order_token"] = _tokens(rows["new_client_order_id"])
        out["shares"] = rows["qty"]
        out["price_e4"] = rows["price_e4"]
        out["time_in_force_s"] = TimeInForce.MARKET_HOURS
        out["display"] = Display.ANONYMOUS
        out["intermarket_sweep"] = IntermarketSweep.NOT_ELIGIBLE
        return out

    def _cancels(self, rows: NDArray[Any]) -> NDArray[Any]:
        out = client_rows(ClientMessage.CANCEL_ORDER, len(rows))
        out["order_token"] = _tokens(rows["client_order_id"])
        return out

    def _ids(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Eight characters of base 64, so that there are enough for all runs of a day."""
        numbers = numbers + self._first_token
        ids = np.zeros(len(numbers), np.int64)
        for place in range(TOKEN_DIGITS):
            ids |= _DIGITS[(numbers >> (6 * place)) & 63] << (8 * place)
        return ids


def first_token_now() -> int:
    """A first token above those of earlier runs of the day (UTC)."""
    return token_base(0, int(time.time() * 1_000) % _MS_OF_DAY)


def _tokens(ids: NDArray[Any]) -> Any:
    """Client order ids of eight characters as tokens, padded."""
    raw = np.full((len(ids), ouch.TOKEN_CHARACTERS), ord(" "), np.uint8)
    raw[:, :8] = np.ascontiguousarray(ids).astype(">i8").view(np.uint8).reshape(-1, 8)
    return raw.view(f"S{ouch.TOKEN_CHARACTERS}").reshape(-1)
