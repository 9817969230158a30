"""ITCH 5.0 files as LOBSTER messages: what Nasdaq gives out of a day, one stock at a time.

LOBSTER's own files are made of ITCH, so the rest is the same translation: an added order is an entry, a replace the end
of one order and the entry of another, an execution what a taker traded. An execution of a cross, which does not count
by itself, ends its shares as a cancel does: the cross itself is between orders that the file does not show, and is
counted and skipped. A day begins with no order, so no book is needed beside it.
"""

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import PRICE_E4_MAX, QTY_MAX
from lobster.files import LobsterFile
from lobster.read import (
    CROSS,
    DELETE,
    EMPTY_E4,
    ENTER,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    REDUCE,
    LobsterError,
    Messages,
    check_symbol,
    midnight_ns,
)
from wire.errors import ProtocolError
from wire.itch import cut, read
from wire.itch_layout import LAYOUTS, ItchMessage, Printable, offsets

_GZIP: Final = b"\x1f\x8b"
#: First bytes of captures (pcap of either order, in us or ns, and pcapng) and of tables in Parquet.
_OTHER_FORMS: Final = tuple(
    bytes.fromhex(each) for each in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a", "50415231")
)
#: Dates in names, as Nasdaq writes them (06212012.NASDAQ_ITCH50) and as `lockstep replay` does (20120621.itch).
_NASDAQ_NAME: Final = re.compile(r"(\d\d)(\d\d)(\d{4})[._]")
_OWN_NAME: Final = re.compile(r"(\d{4})(\d\d)(\d\d)[._]")
_EXECUTED: Final = Struct(">QI")
_ADDED: Final = Struct(">QcI8sI")
_REPLACED: Final = Struct(">QQII")
_AT: Final = offsets(LAYOUTS[ItchMessage.DELETE]).reference
_PRINTABLE: Final = offsets(LAYOUTS[ItchMessage.EXECUTED_WITH_PRICE]).printable
_SIZES: Final = {int(kind): offsets(layout).end for kind, layout in LAYOUTS.items()}
#: Types of the messages that no order book needs, as a file of LOBSTER has them.
_SKIPPED: Final = {
    int(ItchMessage.TRADE): EXECUTE_HIDDEN,
    int(ItchMessage.CROSS_TRADE): CROSS,
    int(ItchMessage.TRADING_ACTION): HALT,
}


class _Order(NamedTuple):
    """Order of the file that is open. ``shares``: what is left of it."""

    stock: int
    side: int
    price_e4: int
    shares: int


def date_of(name: str) -> str:
    """Date that the name of a file tells; "" if none.

    >>> date_of("06212012.NASDAQ_ITCH50"), date_of("20120621.itch")
    ('2012-06-21', '2012-06-21')
    """
    if (found := _OWN_NAME.match(name)) and found[1].startswith(("19", "20", "21")) and int(found[2]) <= 12:
        return f"{found[1]}-{found[2]}-{found[3]}"
    found = _NASDAQ_NAME.match(name)
    return f"{found[3]}-{found[1]}-{found[2]}" if found else ""


def read_itch(path: Path, *, symbols: Sequence[str], date: str | None, tick_e4: int) -> list[LobsterFile]:
    """The stocks of an ITCH file that have orders, as message files, by their numbers in it.

    symbols: those that are wanted; none: all. Raises LobsterError, naming the message, for one that cannot be.
    """
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if raw.startswith(_GZIP) else raw
    except (EOFError, zlib.error) as error:
        raise LobsterError(f"{path} cannot be unpacked ({error}); get the file again") from error
    except IsADirectoryError:
        raise LobsterError(f"{path} is a folder; name one file in it, of one day") from None
    except OSError as error:
        raise LobsterError(f"{path} cannot be read: {error.strerror}; check the path") from error
    if data.startswith(_OTHER_FORMS):
        raise LobsterError(f"{path} is a capture or a table; give a file of ITCH 5.0, as `lockstep replay` writes it")
    day = date or date_of(path.name)
    if not day:
        raise LobsterError(f"the name {path.name} tells no date; give --date 2012-06-21")
    found = _Reading(str(path), midnight_ns(day, str(path)), frozenset(symbols), tick_e4)
    found.take(data)
    if missing := [symbol for symbol in symbols if symbol not in found.symbols.values()]:
        raise LobsterError(f"{path} has no stock {missing[0]}; leave out --symbol for all of its stocks")
    files = [
        LobsterFile(path, found.symbols[stock], 10_000, _messages(str(path), rows), path, _opening(rows), None, None)
        for stock, rows in sorted(found.rows.items())
        if any(row[1] <= EXECUTE for row in rows)
    ]
    if not files:
        raise LobsterError(f"{path} has no order{' of these symbols' if symbols else ''}; give a file with orders.")
    return files


_Row = tuple[int, int, int, int, int, int]


class _Reading:
    """The messages of a file, one after the other. rows: columns of LOBSTER messages by number of the stock."""

    def __init__(self, name: str, midnight: int, wanted: frozenset[str], tick_e4: int) -> None:
        self._name, self._midnight_ns, self._wanted, self._tick_e4 = name, midnight, wanted, tick_e4
        self._orders: dict[int, _Order] = {}
        self._number = self._last_ns = 0
        self.symbols: dict[int, str] = {}
        self.rows: dict[int, list[_Row]] = {}

    def take(self, data: bytes) -> None:
        at = 0
        for behind, message in cut(data):
            self._number, at = self._number + 1, behind
            self._message(message)
        # Nasdaq ends a file by an empty message.
        if at != len(data) and data[at:] != b"\0\0":
            raise LobsterError(f"{self._name}: the file ends within message {self._number + 1}; get the file again")

    def _refuse(self, fault: str) -> LobsterError:
        return LobsterError(f"{self._name}: message {self._number}: {fault}.")

    def _message(self, message: bytes) -> None:
        if not message:
            return
        kind = message[0]
        if _SIZES.get(kind) != len(message):
            try:
                read(message)
            except ProtocolError as error:
                raise self._refuse(str(error)) from error
        stock = message[1] << 8 | message[2]
        time_ns = self._midnight_ns + int.from_bytes(message[5:11], "big")
        if time_ns < self._last_ns:
            raise self._refuse("its time is before that of the message before; get the file again")
        self._last_ns = time_ns
        match kind:
            case ItchMessage.STOCK_DIRECTORY:
                symbol = message[11:19].decode("ascii", "backslashreplace").rstrip()
                if not self._wanted or symbol in self._wanted:
                    self.symbols[stock] = check_symbol(symbol, self._name)
                    self.rows.setdefault(stock, [])
            case ItchMessage.ADD | ItchMessage.ADD_ATTRIBUTED if stock in self.rows:
                reference, side, shares, _, price_e4 = _ADDED.unpack_from(message, _AT)
                self._add(stock, time_ns, reference, 1 if side == b"B" else -1, shares, price_e4)
            case ItchMessage.EXECUTED | ItchMessage.EXECUTED_WITH_PRICE | ItchMessage.CANCEL if stock in self.rows:
                reference, shares = _EXECUTED.unpack_from(message, _AT)
                counts = kind == ItchMessage.EXECUTED or (
                    kind == ItchMessage.EXECUTED_WITH_PRICE and message[_PRINTABLE] == Printable.YES
                )
                self._less(time_ns, reference, shares, EXECUTE if counts else REDUCE)
            case ItchMessage.DELETE if stock in self.rows:
                reference = int.from_bytes(message[_AT : _AT + 8], "big")
                self._less(time_ns, reference, self._order(reference).shares, DELETE)
            case ItchMessage.REPLACE if stock in self.rows:
                reference, new, shares, price_e4 = _REPLACED.unpack_from(message, _AT)
                order = self._order(reference)
                self._less(time_ns, reference, order.shares, DELETE)
                self._add(stock, time_ns, new, order.side, shares, price_e4)
            case ItchMessage.TRADE | ItchMessage.CROSS_TRADE | ItchMessage.TRADING_ACTION if stock in self.rows:
                self.rows[stock].append((time_ns, _SKIPPED[kind], 0, 0, 0, 0))

    def _order(self, reference: int) -> _Order:
        if reference not in self._orders:
            raise self._refuse(f"the order {reference} was not added, or is gone; give the file of a whole day")
        return self._orders[reference]

    def _add(self, stock: int, time_ns: int, reference: int, side: int, shares: int, price_e4: int) -> None:
        if reference in self._orders or not 1 <= shares <= QTY_MAX or not 1 <= price_e4 <= PRICE_E4_MAX:
            raise self._refuse(f"the order {reference} comes twice, or its shares or price are out of bounds")
        if price_e4 % self._tick_e4:
            raise self._refuse(f"the price {price_e4} is off the tick of {self._tick_e4}; give --tick 0.0001")
        self._orders[reference] = _Order(stock, side, price_e4, shares)
        self.rows[stock].append((time_ns, ENTER, reference, shares, price_e4, side))

    def _less(self, time_ns: int, reference: int, shares: int, kind: int) -> None:
        order = self._order(reference)
        left = order.shares - shares
        if left < 0 or shares < 1:
            raise self._refuse(f"the order {reference} has {order.shares} shares, and loses {shares}")
        if left:
            self._orders[reference] = order._replace(shares=left)
        else:
            del self._orders[reference]
        kind = DELETE if kind == REDUCE and not left else kind
        self.rows[order.stock].append((time_ns, kind, reference, shares, order.price_e4, order.side))


def _messages(name: str, rows: list[_Row]) -> Messages:
    columns = np.array(rows, np.int64).T
    return Messages(name, 1, *(np.ascontiguousarray(column) for column in columns))


def _opening(rows: list[_Row]) -> NDArray[np.int64]:
    """The book after the first message, as a row of a book file with two levels; no order was there before it."""
    _, kind, _, qty, price_e4, side = rows[0]
    empty = (EMPTY_E4, 0, -EMPTY_E4, 0)
    first = list(empty)
    if kind == ENTER:
        at = 0 if side < 0 else 2
        first[at : at + 2] = price_e4, qty
    return np.array([[*first, *empty]], np.int64)
