"""Books of a market data feed: every displayed order, kept from messages of TotalView-ITCH 5.0, without a socket.

    books = Books()
    for message in messages:  # in order, from the first of a session or of a snapshot
        books.take(message)
    print(books.book("XYZ").best(Side.BUY))

A message that cannot be, after those before it, raises ``FeedFault``: then a message is missing, and the books are
wrong until they are built anew. ``client.book_feed`` receives a feed, finds what is missing and does all that by
itself; ``client.level_feed`` has the book of a product from a WebSocket. Nothing here needs more than the standard
library.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from struct import Struct
from typing import Any, Final, NamedTuple

from client import prices
from client.errors import FeedFault
from client.events import Side
from wire.itch_layout import LAYOUTS, ItchMessage, TradingState, bytes_of

_CODES: Final = {"B": "B", "H": "H", "I": "I", "Q": "Q", "T": "HI"}


def _struct(kind: ItchMessage) -> Struct:
    # The first byte is known by then. A time of six bytes is read as two numbers.
    return Struct(">x" + "".join(_CODES.get(form, form) for _, form in LAYOUTS[kind][1:]))


_ADD: Final = _struct(ItchMessage.ADD)
_EXECUTED: Final = _struct(ItchMessage.EXECUTED)
_CANCEL: Final = _struct(ItchMessage.CANCEL)
_DELETE: Final = _struct(ItchMessage.DELETE)
_REPLACE: Final = _struct(ItchMessage.REPLACE)
_STATE: Final = _struct(ItchMessage.TRADING_ACTION)
_NOII: Final = _struct(ItchMessage.NOII)
_HEAD: Final = Struct(">xHHHI")
_STATES: Final[Mapping[int, TradingState]] = {int(state): state for state in TradingState}
_SIZES: Final[Mapping[int, int]] = {int(kind): bytes_of(layout) for kind, layout in LAYOUTS.items()}


class Quote(NamedTuple):
    """Best price of a side, and the displayed quantity at it, in shares.

    >>> str(Quote(Decimal("5.10"), 7))
    '7 at 5.10'
    """

    price: Decimal
    qty: Decimal | int

    def __str__(self) -> str:
        return f"{self.qty} at {self.price}"


class BestPrices(NamedTuple):
    """Best bid and offer of a symbol; None for a side that is empty."""

    symbol: str
    bid: Quote | None
    offer: Quote | None


@dataclass(frozen=True, slots=True)
class PriceLevel:
    """Displayed quantity of a price. qty: shares; orders: their number."""

    price_e4: int
    qty: int
    orders: int

    @property
    def price(self) -> Decimal:
        """The price as a decimal."""
        return prices.decimal(self.price_e4) or Decimal(0)


@dataclass(frozen=True, slots=True)
class BookOrder:
    """A displayed order. reference: its number in the feed; qty: shares that it shows."""

    reference: int
    side: Side
    price_e4: int
    qty: int


@dataclass(frozen=True, slots=True)
class AuctionState:
    """Auction as a call would end now. price_e4: 0 where nothing can be paired. direction: B, S, N; O: no pair."""

    price_e4: int
    paired_qty: int
    imbalance_qty: int
    direction: str


class _Level:
    __slots__ = ("orders", "qty")

    def __init__(self) -> None:
        self.qty = 0
        #: Shares by reference, in the order of their places.
        self.orders: dict[int, int] = {}


class _Ladder:
    """Levels of a side. ``keys``: prices in ascending order, of buys negated, so that the best is the first."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, side: Side) -> None:
        self.sign = -1 if side is Side.BUY else 1
        self.keys: list[int] = []
        self.levels: dict[int, _Level] = {}

    def level(self, price_e4: int) -> _Level:
        level = self.levels.get(price_e4)
        if level is None:
            level = self.levels[price_e4] = _Level()
            insort(self.keys, self.sign * price_e4)
        return level

    def drop(self, price_e4: int) -> None:
        del self.levels[price_e4]
        key = self.sign * price_e4
        del self.keys[bisect_left(self.keys, key)]


class Book:
    """Displayed orders of one symbol, buys and sells. Only ``Books`` changes it."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        #: State of trading, as the feed told it last; None before it did.
        self.state: TradingState | int | None = None
        #: The call in progress, as it would end now; None outside of calls, and before the feed has told what it gives.
        self.auction: AuctionState | None = None
        #: Time of the last message of the symbol, in nanoseconds since midnight at the exchange.
        self.time_ns = 0
        self._ladders = {side: _Ladder(side) for side in (Side.BUY, Side.SELL)}

    def best(self, side: Side) -> PriceLevel | None:
        """The best level of a side; None if it is empty."""
        return next(self.levels(side), None)

    @property
    def best_prices(self) -> BestPrices:
        """Best bid and offer."""
        bid, offer = (Quote(best.price, best.qty) if best else None for best in map(self.best, (Side.BUY, Side.SELL)))
        return BestPrices(self.symbol, bid, offer)

    def levels(self, side: Side) -> Iterator[PriceLevel]:
        """Levels of a side, best first."""
        ladder = self._ladders[side]
        for key in ladder.keys:
            price_e4 = ladder.sign * key
            level = ladder.levels[price_e4]
            yield PriceLevel(price_e4, level.qty, len(level.orders))

    def orders(self, side: Side) -> Iterator[BookOrder]:
        """Orders of a side in the order in which they would trade."""
        ladder = self._ladders[side]
        for key in ladder.keys:
            price_e4 = ladder.sign * key
            for reference, qty in ladder.levels[price_e4].orders.items():
                yield BookOrder(reference, side, price_e4, qty)

    def _add(self, reference: int, side: Side, price_e4: int, qty: int) -> None:
        level = self._ladders[side].level(price_e4)
        level.orders[reference] = qty
        level.qty += qty

    def _reduce(self, reference: int, side: Side, price_e4: int, qty: int) -> bool:
        """Take shares from an order; True if it is gone with them."""
        ladder = self._ladders[side]
        level = ladder.levels[price_e4]
        left = level.orders[reference] - qty
        if left < 0:
            raise FeedFault(f"order {reference} of {self.symbol} loses {qty} shares and has {left + qty}")
        level.qty -= qty
        if left:
            level.orders[reference] = left
            return False
        del level.orders[reference]
        if not level.orders:
            ladder.drop(price_e4)
        return True


class Books:
    """Books of all symbols of a feed's session."""

    def __init__(self) -> None:
        self._books: dict[int, Book] = {}
        self._by_symbol: dict[str, Book] = {}
        self._places: dict[int, tuple[Book, Side, int]] = {}
        self._by_kind = {
            ord("R"): self._take_stock,
            ord("H"): self._take_state,
            ord("A"): self._take_add,
            ord("F"): self._take_add,
            ord("E"): self._take_executed,
            ord("C"): self._take_executed,
            ord("X"): self._take_cancel,
            ord("D"): self._take_delete,
            ord("U"): self._take_replace,
            ord("I"): self._take_auction,
        }

    @property
    def symbols(self) -> list[str]:
        """Symbols of the session, in the order in which they were told."""
        return list(self._by_symbol)

    def book(self, symbol: str) -> Book:
        """The book of a symbol. Raises KeyError for one that the session has not (yet)."""
        return self._by_symbol[symbol]

    def take(self, message: bytes) -> Book | None:
        """Take the next message; gives the book that it is of, None where it is of none.

        Raises FeedFault for a message that cannot be here.
        """
        if not message or _SIZES.get(message[0]) != len(message):
            raise FeedFault(f"a message {message[:1]!r} of {len(message)} bytes came, which ITCH 5.0 has not")
        take = self._by_kind.get(message[0])
        book = self._books.get(_HEAD.unpack_from(message)[0]) if take is None else take(message)
        if book is not None:
            _, _, high, low = _HEAD.unpack_from(message)
            book.time_ns = high << 32 | low
        return book

    def _take_stock(self, message: bytes) -> Book:
        locate, symbol = int.from_bytes(message[1:3], "big"), message[11:19].decode("ascii", "replace").rstrip()
        if locate in self._books or symbol in self._by_symbol:
            raise FeedFault(f"symbol {symbol} came twice in a session")
        book = self._books[locate] = self._by_symbol[symbol] = Book(symbol)
        return book

    def _take_state(self, message: bytes) -> Book:
        locate, _, _, _, _, state, _, _ = _STATE.unpack(message)
        book = self._book(locate)
        book.state = _STATES.get(state, state)
        book.auction = None  # what a call would give is told behind its state, and this may be its end
        return book

    def _take_auction(self, message: bytes) -> Book:
        locate, _, _, _, paired, imbalance, direction, _, _, near, *_ = _NOII.unpack(message)
        book = self._book(locate)
        book.auction = AuctionState(near, paired, imbalance, chr(direction))
        return book

    def _take_add(self, message: bytes) -> Book:
        locate, _, _, _, reference, side, shares, _, price_e4 = _ADD.unpack_from(message)
        return self._enter(self._book(locate), reference, Side.BUY if side == ord("B") else Side.SELL, price_e4, shares)

    def _take_executed(self, message: bytes) -> Book:
        # An execution with a price begins as one without.
        _, _, _, _, reference, shares, _ = _EXECUTED.unpack_from(message)
        return self._reduce(reference, shares)

    def _take_cancel(self, message: bytes) -> Book:
        _, _, _, _, reference, shares = _CANCEL.unpack(message)
        return self._reduce(reference, shares)

    def _take_delete(self, message: bytes) -> Book:
        return self._delete(_DELETE.unpack(message)[-1])[0]

    def _take_replace(self, message: bytes) -> Book:
        _, _, _, _, reference, following, shares, price_e4 = _REPLACE.unpack(message)
        book, side = self._delete(reference)
        return self._enter(book, following, side, price_e4, shares)

    def _book(self, locate: int) -> Book:
        book = self._books.get(locate)
        if book is None:
            raise FeedFault(f"a message of stock {locate} came, of which nothing was told")
        return book

    def _place(self, reference: int) -> tuple[Book, Side, int]:
        place = self._places.get(reference)
        if place is None:
            raise FeedFault(f"a message of order {reference} came, which is not in the book")
        return place

    def _enter(self, book: Book, reference: int, side: Side, price_e4: int, shares: int) -> Book:
        if reference in self._places:
            raise FeedFault(f"order {reference} came twice")
        if not shares or not price_e4:
            raise FeedFault(f"order {reference} came without shares or price")
        self._places[reference] = book, side, price_e4
        book._add(reference, side, price_e4, shares)
        return book

    def _reduce(self, reference: int, shares: int) -> Book:
        book, side, price_e4 = self._place(reference)
        if book._reduce(reference, side, price_e4, shares):
            del self._places[reference]
        return book

    def _delete(self, reference: int) -> tuple[Book, Side]:
        book, side, price_e4 = self._place(reference)
        book._reduce(reference, side, price_e4, book._ladders[side].levels[price_e4].orders[reference])
        del self._places[reference]
        return book, side


class LevelBook:
    """Price levels of one product, kept from messages of channel ``level2`` (level 2), as JSON gives them.

    It is whole from a snapshot on. A connection that ends takes messages with it: call ``lose`` then, and the next
    snapshot makes the book whole again. Prices and sizes are exact decimals.
    """

    def __init__(self, product_id: str) -> None:
        self.product_id = product_id
        #: False before the first snapshot, and while messages may be missing.
        self.is_whole = False
        #: Sequence number of the last message.
        self.sequence = 0
        self._sides: dict[str, dict[Decimal, Decimal]] = {"buy": {}, "sell": {}}

    def lose(self) -> None:
        """Count the book as not whole until the next snapshot."""
        self.is_whole = False

    def take(self, message: Mapping[str, Any]) -> bool:
        """Take a message; True if it was of this book. Raises FeedFault for one that cannot be here; the book is not
        whole then.
        """
        if message.get("product_id") != self.product_id or message.get("type") not in {"snapshot", "l2update"}:
            return False
        try:
            self._take(message)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            self.is_whole = False
            raise FeedFault(f"a message of {self.product_id} came that cannot be read: {error!r}") from error
        except FeedFault:
            self.is_whole = False
            raise
        return True

    def best(self, side: Side) -> tuple[Decimal, Decimal] | None:
        """Price and size of the best level of a side; None if it is empty."""
        return next(iter(self.levels(side)), None)

    @property
    def best_prices(self) -> BestPrices:
        """Best bid and offer of the product."""
        bid, offer = (Quote(*best) if best else None for best in map(self.best, (Side.BUY, Side.SELL)))
        return BestPrices(self.product_id, bid, offer)

    def levels(self, side: Side) -> list[tuple[Decimal, Decimal]]:
        """Price and size of each level of a side, best first."""
        found = self._sides["buy" if side is Side.BUY else "sell"]
        return sorted(found.items(), reverse=side is Side.BUY)

    def _take(self, message: Mapping[str, Any]) -> None:
        sequence = int(message["sequence"])
        if message["type"] == "snapshot":
            for name, side in (("bids", "buy"), ("asks", "sell")):
                self._sides[side] = {Decimal(price): Decimal(size) for price, size in message[name]}
            self.is_whole = True
        else:
            if not self.is_whole:
                raise FeedFault(f"a change of {self.product_id} came before a snapshot")
            if sequence <= self.sequence:
                raise FeedFault(f"message {sequence} of {self.product_id} came after message {self.sequence}")
            for side, price, size in message["changes"]:
                if Decimal(size):
                    self._sides[side][Decimal(price)] = Decimal(size)
                else:
                    self._sides[side].pop(Decimal(price), None)
        self.sequence = sequence
