"""A reader of ITCH messages that keeps the books, written from the specification alone, and strict.

It shares the table of fields with nothing: each message is cut with ``struct``. Whatever cannot be, it refuses: an
unknown reference, one that comes twice, more shares than there are, and an execution that passes over an order that
stands before it.
"""

import struct
from bisect import insort
from collections import Counter

_ADD = struct.Struct(">xHHHIQcI8sI")
_EXECUTED = struct.Struct(">xHHHIQIQ")
_WITH_PRICE = struct.Struct(">xHHHIQIQcI")
_CANCEL = struct.Struct(">xHHHIQI")
_DELETE = struct.Struct(">xHHHIQ")
_REPLACE = struct.Struct(">xHHHIQQII")
_TRADE = struct.Struct(">xHHHIQcI8sIQ")
_CROSS = struct.Struct(">xHHHIQ8sIQc")
_STOCK = struct.Struct(">xHHHI8s")


class FeedError(Exception):
    """A message that cannot be, after those before it."""


class Level:
    """Queue of an instrument's side at a price: shares by reference, in order of arrival."""

    def __init__(self) -> None:
        self.queue: dict[int, int] = {}


class Reader:
    """Books of a session. ``volume``: shares traded by instrument; ``kinds``: messages by kind."""

    def __init__(self) -> None:
        self.places: dict[int, tuple[int, int, int]] = {}
        self.levels: dict[tuple[int, int, int], Level] = {}
        self.prices: dict[tuple[int, int], list[int]] = {}
        self.references: set[int] = set()
        self.symbols: dict[int, str] = {}
        self.states: dict[int, str] = {}
        self.events = ""
        self.volume: Counter[int] = Counter()
        self.matches: set[int] = set()
        self.kinds: Counter[str] = Counter()
        self.market_levels: tuple[int, ...] = ()  # values with eight decimals, of the first index
        self.market_reached = 0

    def take(self, message: bytes) -> None:
        """Take the next message."""
        kind = chr(message[0])
        self.kinds[kind] += 1
        if not self.events and kind != "S":
            raise FeedError(f"{kind} comes before the start of messages")
        if self.events.endswith("C"):
            raise FeedError(f"{kind} comes behind the end of messages")
        match kind:
            case "S":
                self.events += chr(message[11])
            case "R":
                self.symbols[int.from_bytes(message[1:3], "big")] = message[11:19].decode().rstrip()
            case "H":
                locate, _, _, _, stock = _STOCK.unpack_from(message)
                if self.symbols.get(locate) != stock.decode().rstrip():
                    raise FeedError(f"the state of {stock!r} comes, whose number is another's")
                self.states[locate] = chr(message[19])
            case "A" | "X" | "D" | "U":
                self._of_order(kind, message)
            case "E" | "C" | "P" | "Q":
                self._of_trade(kind, message)
            case "I":
                pass
            case "V":
                self.market_levels = struct.unpack_from(">QQQ", message, 11)
            case "W":
                level = int(chr(message[11]))
                if not self.market_levels or not self.market_levels[level - 1]:
                    raise FeedError(f"level {level} is reached, which no message has told")
                self.market_reached = level
            case _:
                raise FeedError(f"message {kind} is not of this feed")

    def _of_order(self, kind: str, message: bytes) -> None:
        match kind:
            case "A":
                locate, _, _, _, reference, side, shares, stock, price_e4 = _ADD.unpack(message)
                if self.symbols.get(locate) != stock.decode().rstrip():
                    raise FeedError(f"an order of {stock!r} comes, whose number is another's")
                self._add(reference, locate, 1 if side == b"B" else -1, price_e4, shares)
            case "X":
                _, _, _, _, reference, shares = _CANCEL.unpack(message)
                self._less(reference, shares, whole=False)
            case "D":
                (_, _, _, _, reference) = _DELETE.unpack(message)
                self._remove(reference)
            case "U":
                _, _, _, _, reference, new, shares, price_e4 = _REPLACE.unpack(message)
                locate, side, _ = self._place(reference)
                self._remove(reference)
                self._add(new, locate, side, price_e4, shares)

    def _of_trade(self, kind: str, message: bytes) -> None:
        match kind:
            case "E":
                locate, _, _, _, reference, shares, match = _EXECUTED.unpack(message)
                self._in_turn(reference)
                self._less(reference, shares)
                self._match(locate, shares, match)
            case "C":
                _, _, _, _, reference, shares, _, printable, _ = _WITH_PRICE.unpack(message)
                if printable != b"N":
                    raise FeedError("an execution with a price counts, which only those of a cross trade have here")
                self._in_turn(reference)
                self._less(reference, shares)
            case "P":
                locate, _, _, _, reference, side, shares, _, _, match = _TRADE.unpack(message)
                if (reference, side) != (0, b"B"):
                    raise FeedError("a trade tells of the order that rested")
                self._match(locate, shares, match)
            case "Q":
                locate, _, _, _, shares, _, _, match, _ = _CROSS.unpack(message)
                self._match(locate, shares, match)

    def side(self, locate: int, side: int) -> list[tuple[int, int]]:
        """(price_e4, shares) of each order of a side, best price and first come first."""
        prices = self.prices.get((locate, side), [])
        best_first = prices[::-1] if side > 0 else prices
        return [(price, shares) for price in best_first for shares in self.levels[locate, side, price].queue.values()]

    def _place(self, reference: int) -> tuple[int, int, int]:
        if reference not in self.places:
            raise FeedError(f"reference {reference} is unknown")
        return self.places[reference]

    def _add(self, reference: int, locate: int, side: int, price_e4: int, shares: int) -> None:
        if reference in self.references:
            raise FeedError(f"reference {reference} comes twice")
        if not shares or not price_e4:
            raise FeedError(f"order {reference} shows no shares, or has no price")
        self.references.add(reference)
        place = self.places[reference] = (locate, side, price_e4)
        if place not in self.levels:
            self.levels[place] = Level()
            insort(self.prices.setdefault((locate, side), []), price_e4)
        self.levels[place].queue[reference] = shares

    def _remove(self, reference: int) -> None:
        place = self._place(reference)
        del self.places[reference]
        del self.levels[place].queue[reference]
        if not self.levels[place].queue:
            del self.levels[place]
            self.prices[place[:2]].remove(place[2])

    def _less(self, reference: int, shares: int, *, whole: bool = True) -> None:
        place = self._place(reference)
        left = self.levels[place].queue[reference] - shares
        if left < 0 or (left == 0 and not whole) or shares == 0:
            raise FeedError(f"order {reference} would show {left} shares after {shares} less")
        if left:
            self.levels[place].queue[reference] = left
        else:
            self._remove(reference)

    def _in_turn(self, reference: int) -> None:
        locate, side, price_e4 = self._place(reference)
        best = self.prices[locate, side][-1 if side > 0 else 0]
        if price_e4 != best:
            raise FeedError(f"order {reference} trades at {price_e4} before one at {best}")
        first = next(iter(self.levels[locate, side, price_e4].queue))
        if first != reference:
            raise FeedError(f"order {reference} trades before {first}, which came first")

    def _match(self, locate: int, shares: int, match: int) -> None:
        if match in self.matches:
            raise FeedError(f"match {match} comes twice")
        self.matches.add(match)
        self.volume[locate] += shares
