"""Guard of users' orders against prices that do not fit OUCH (ADR 14).

OUCH's prices end at 199,999.9900, the market's at 999,999.9999. An instrument whose reference price or tick is higher,
or in which an order stands higher, is *far* (``gateway.ouch.tables.STOCK``): users enter no orders in it. In any other
instrument no trade is above all limit prices and the reference price, so every execution of a user fits OUCH.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.names import unpack
from engine.records import CommandKind
from gateway.ouch.streams import OuchStreams
from node.core.control import OperationRefused
from notation.words import price
from replay.errors import ReplayError
from wire.ouch import PRICE_E4_MAX


def check_commands(rows: NDArray[Any], streams: OuchStreams, engine: MarketEngine) -> None:
    """Raise OperationRefused for the operator's rows by which a user could trade at a price that does not fit OUCH."""
    ordering = (rows["kind"] == CommandKind.ENTER) | (rows["kind"] == CommandKind.REPLACE)
    for row in rows[ordering & (rows["price_e4"] > PRICE_E4_MAX)]:
        instrument = _instrument_of(row, engine)
        if not streams.tables.stocks[instrument]["far"]:
            raise OperationRefused(
                f"the price {price(int(row['price_e4']))} is above {price(PRICE_E4_MAX)}, the highest price of "
                "OUCH; nothing was entered: give a lower one"
            )


def _instrument_of(row: Any, engine: MarketEngine) -> int:
    """Number of the instrument of an enter or replace; 0 if it or the order is unknown."""
    if row["kind"] == CommandKind.ENTER:
        instrument = int(row["instrument"])
        return instrument if 0 < instrument <= len(engine.instruments()) else 0
    orders = engine.open_orders()
    same = orders["participant"] == row["participant"]
    found = orders["instrument"][same & (orders["client_order_id"] == row["client_order_id"])]
    return int(found[0]) if len(found) else 0


def check_orders(streams: OuchStreams, engine: MarketEngine) -> None:
    """Raise ReplayError if users have open orders in a far instrument: their executions might not fit OUCH."""
    for complaint in complaints(streams, engine):
        raise ReplayError(f"{complaint} first")


def complaints(streams: OuchStreams, engine: MarketEngine) -> Iterator[str]:
    """Sentences about far instruments in which users have open orders: executions that do not fit OUCH are not told.

    Commands added by other means than a node may do this, and a replace of an order that the operator has entered.
    """
    stocks, held = streams.tables.stocks, streams.tables.open
    for instrument in np.flatnonzero(stocks["far"]).tolist():
        for order in engine.open_orders(instrument):
            mine = (held["participant"] == order["participant"]) & (held["client_order_id"] == order["client_order_id"])
            if mine.any():
                yield (
                    f"{unpack(int(stocks[instrument]['symbol']))} has prices above {price(PRICE_E4_MAX)}, the highest "
                    "price of OUCH, and open orders of users; cancel those with `lockstep run --append`"
                )
                break


class UntoldMessages:
    """Word to the log of messages that were left out, since a number in them does not fit OUCH. ``warn``: the log."""

    def __init__(self, streams: OuchStreams, warn: Callable[..., None]) -> None:
        self._streams, self._warn = streams, warn
        self._said = 0

    def look(self) -> None:
        """Say it, at the first and whenever there are twice as many."""
        streams = self._streams
        if streams.untold >= max(2 * self._said, 1):
            self._said = streams.untold
            why = "a number does not fit its field of OUCH; tell the user what `lockstep events` shows"
            self._warn("messages to users left out", messages=streams.untold, seq=streams.untold_seq, why=why)
