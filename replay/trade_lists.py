"""Trades of two markets that only one of them has, whatever their numbers."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import EventKind

#: Fields by which two trades are the same.
_FIELDS: Final = (
    "instrument", "price_e4", "qty", "side", "participant", "contra_participant", "client_order_id",
    "contra_client_order_id",
)  # fmt: skip
_TRADE: Final = np.dtype([(name, "<i8") for name in _FIELDS])


class OnlyTrades(NamedTuple):
    """Trades that only one market has: how many, their shares, and EVENT rows of the first of them."""

    number: int
    shares: int
    first: NDArray[Any]


class TradeList:
    """Trades from a command on. ``from_seq``: earlier ones are left out, since they are equal."""

    def __init__(self, from_seq: int) -> None:
        self._from_seq = from_seq
        self._rows: list[NDArray[Any]] = []

    def take(self, events: NDArray[Any]) -> None:
        """Take EVENT rows, in order."""
        chosen = (events["kind"] == EventKind.TRADE) & (events["seq"] >= self._from_seq)
        if chosen.any():
            self._rows.append(events.view("V64")[chosen])

    def _all(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """EVENT rows, and their keys as bytes."""
        from engine.records import EVENT, concatenate

        events = concatenate(self._rows, EVENT)
        keys = np.zeros(len(events), _TRADE)
        for name in _FIELDS:
            keys[name] = events[name]
        return events, keys.view(f"V{_TRADE.itemsize}")

    def only(self, other: "TradeList", most: int) -> OnlyTrades:
        """Trades that ``other`` has not, or has less often; the first ``most`` of them as rows."""
        events, keys = self._all()
        _, theirs = other._all()
        _, inverse = np.unique(np.concatenate((keys, theirs)), return_inverse=True)
        inverse = inverse.reshape(-1)
        mine = inverse[: len(keys)]
        # The n-th of equal trades is the other's n-th.
        order = np.argsort(mine, kind="stable")
        begins = np.searchsorted(mine[order], mine[order])
        nth = np.empty(len(mine), np.int64)
        nth[order] = np.arange(len(mine)) - begins
        have = np.bincount(inverse[len(keys) :], minlength=int(inverse.max()) + 1 if len(inverse) else 0)
        alone = nth >= have[mine] if len(mine) else np.zeros(0, np.bool_)
        found = events.view("V64")[alone].view(events.dtype)
        return OnlyTrades(len(found), int(found["qty"].sum()), found[:most])
