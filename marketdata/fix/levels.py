"""Price levels of one side of a displayed book, and what a viewer of the best of them is told of a command.

A level is named by its key: its price, with a minus on the side of bids, so that the best key is the lowest. Changes
collect until ``settle``, so a level that a command changes and restores is not told.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from engine.records import Side


class Action(Enum):
    """Action on an entry: MDUpdateAction, field 279."""

    NEW = b"0"
    CHANGE = b"1"
    DELETE = b"2"


class Level(NamedTuple):
    """Displayed quantity and number of orders at a price."""

    qty: int
    orders: int


class Told(NamedTuple):
    """A level as a viewer is told of it. position: from 1, among the levels after the command; of a deleted one 0."""

    action: Action
    price_e4: int
    qty: int
    orders: int
    position: int


Touched = dict[int, Level | None]  # the level before the command, by key; None: there was none

_NOTHING: Final = Level(0, 0)


class Levels:
    """Levels of one side, best first."""

    def __init__(self, side: Side) -> None:
        self._sign = -1 if side == Side.BUY else 1
        self._keys: list[int] = []
        self._at: dict[int, Level] = {}
        self._before: Touched = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, price_e4: int, qty: int, orders: int) -> None:
        """Set a level; qty 0: it is gone."""
        key = self._sign * price_e4
        before = self._at.get(key)
        self._before.setdefault(key, before)
        if qty:
            if before is None:
                insort(self._keys, key)
            self._at[key] = Level(qty, orders)
        elif before is not None:
            del self._keys[bisect_left(self._keys, key)], self._at[key]

    def fill(self, levels: Iterable[tuple[int, int, int]]) -> None:
        """Set all levels: price_e4, qty and orders of each. Nobody is told."""
        self._at = {self._sign * price_e4: Level(qty, orders) for price_e4, qty, orders in levels}
        self._keys = sorted(self._at)
        self._before = {}

    def settle(self) -> Touched:
        """Levels that have changed since the last call, as they were before."""
        before, self._before = self._before, {}
        at = self._at.get
        return {key: level for key, level in before.items() if at(key) != level}

    def top(self, depth: int) -> list[Told]:
        """The best levels, as new."""
        at, sign = self._at, self._sign
        return [Told(Action.NEW, sign * key, *at[key], n) for n, key in enumerate(self._keys[:depth], 1)]

    def told(self, touched: Touched, depth: int) -> list[Told]:
        """Changes for a viewer of the best ``depth`` levels: deletions first, best prices first.

        Where levels come or go, others enter the view at its end, or leave it.
        """
        at, keys = self._at, self._keys
        gone = sorted(key for key, before in touched.items() if before is not None and key not in at)
        come = sorted(key for key, before in touched.items() if before is None)

        def rank_before(key: int, rank: int) -> int:
            return rank - bisect_left(come, key) + bisect_left(gone, key)

        deleted: list[int] = []
        others: list[tuple[int, Action, int]] = []
        for key, before in touched.items():
            rank = bisect_left(keys, key)
            was = before is not None and rank_before(key, rank) < depth
            sees = key in at and rank < depth
            if was and not sees:
                deleted.append(key)
            elif sees:
                others.append((key, Action.CHANGE if was else Action.NEW, rank))
        shift = max(len(come), len(gone))
        if shift and len(keys) + shift > depth:
            for rank in range(max(0, depth - shift), min(len(keys), depth + shift)):
                key = keys[rank]
                if key in touched:
                    continue
                before_rank = rank_before(key, rank)
                if before_rank < depth <= rank:
                    deleted.append(key)
                elif rank < depth <= before_rank:
                    others.append((key, Action.NEW, rank))
        sign = self._sign
        told = [Told(Action.DELETE, sign * key, *_NOTHING, 0) for key in sorted(deleted)]
        told += [Told(action, sign * key, *at[key], rank + 1) for key, action, rank in sorted(others, key=_key)]
        return told


def _key(other: tuple[int, Action, int]) -> int:
    return other[0]
