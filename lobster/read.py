"""LOBSTER files as arrays (format: the readme that comes with the data, version 01 Sept 2013).

A message file has six columns: seconds after midnight, type, order id, size, price in 1/10000, direction of the order;
a seventh is not used.
A book file has four columns a level, after each message: ask price, ask size, bid price, bid size; empty levels have
the price 9999999999 or -9999999999 and size 0. Midnight is the exchange's own, and is taken as midnight UTC.

Vendors and tools pack files with gzip, begin them with a byte order mark or a line of column names, end lines with
carriage returns and files with blank lines, and add a seventh column (the participant, MPID) to messages.

A file is read whole before any of it is used. NumPy reads it; a file that NumPy refuses is gone through again line by
line, to say which line is wrong.
"""

import datetime
import gzip
import io
import re
import zlib
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS, PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.names import is_name, pack

ENTER: Final = 1
REDUCE: Final = 2
DELETE: Final = 3
EXECUTE: Final = 4
EXECUTE_HIDDEN: Final = 5
CROSS: Final = 6
HALT: Final = 7
#: The price of an empty level: this on the ask side, minus this on the bid side.
EMPTY_E4: Final = 9_999_999_999

_GZIP: Final = b"\x1f\x8b"
_DAY_S: Final = 86_400
_NS: Final = 1_000_000_000
_MESSAGE: Final = np.dtype(
    [("time_s", "f8"), ("type", "i8"), ("order_id", "i8"), ("qty", "i8"), ("price_e4", "i8"), ("side", "i8")]
)
_MESSAGE_LINE: Final = re.compile(r"\s*\d+(\.\d+)?\s*(,\s*-?\d{1,18}\s*){5}(,[^,]*)?", re.ASCII)
_WHOLE: Final = re.compile(r"\s*-?\d{1,18}\s*", re.ASCII)
_FILE_NAME: Final = re.compile(r"([A-Za-z0-9.-]{1,8})_(\d{4}-\d\d-\d\d)_")
_SYMBOL_IN_NAME: Final = re.compile(r"([A-Z0-9.-]{1,8})_(message|orderbook|book|top)")
_LEVELS_IN_NAME: Final = re.compile(r"_message_(\d{1,4})\.")


class UnreadableRow(ValueError):
    """Bytes that are no text; the message says why."""


class Rows(NamedTuple):
    """The rows of a file, one a line, and the number of the file's line that the first of them stands on."""

    text: str
    first_line: int


def decoded(raw: bytes) -> str:
    """The text of a file's bytes, packed by gzip or not. Raises UnreadableRow."""
    if raw.startswith(_GZIP):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise UnreadableRow(f"it cannot be unpacked ({error}); get the file again") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableRow(f"it is no text: byte {error.start} is not UTF-8; give a LOBSTER file") from error


def rows_of(text: str) -> Rows:
    """The rows without a line of column names before them and blank lines behind them.

    >>> rows_of("Time,Type\\r\\n1,2\\r\\n\\r\\n")
    Rows(text='1,2\\n', first_line=2)
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip()
    head, _, rest = text.partition("\n")
    words = [word.strip().strip('"') for word in head.split(",")]
    if rest and len(words) > 1 and all(word[:1].isalpha() for word in words):
        return Rows(rest + "\n", 2)
    return Rows(text + "\n" if text else "", 1)


class LobsterError(ValueError):
    """A LOBSTER file that cannot be used: one sentence with file and line, what is wrong and what to do."""


class Messages(NamedTuple):
    """The columns of a message file, one entry a row (int64). ``name`` is the file's, for errors."""

    name: str
    first_line: int  # of the file, on which the first row stands
    time_ns: NDArray[np.int64]  # since 1970
    type: NDArray[np.int64]
    order_id: NDArray[np.int64]
    qty: NDArray[np.int64]
    price_e4: NDArray[np.int64]
    side: NDArray[np.int64]  # 1 buy, -1 sell: of the resting order


class FileName(NamedTuple):
    """Content of a LOBSTER file name; empty or 0 where it says nothing. levels: the number before ``.csv``."""

    symbol: str
    date: str
    levels: int


def file_name(name: str) -> FileName:
    """Parse a name such as ``AAPL_2012-06-21_34200000_57600000_message_10.csv``, or one that has only the symbol.

    >>> file_name("AAPL_2012-06-21_34200000_57600000_message_10.csv")
    FileName(symbol='AAPL', date='2012-06-21', levels=10)
    """
    found = _FILE_NAME.match(name)
    symbol = found or _SYMBOL_IN_NAME.match(name)
    levels = _LEVELS_IN_NAME.search(name)
    return FileName(symbol[1] if symbol else "", found[2] if found else "", int(levels[1]) if levels else 0)


def check_symbol(symbol: str, name: str) -> str:
    """The symbol, when an instrument may have it. Raises LobsterError."""
    if not 1 <= len(symbol) <= 8 or not symbol.isascii() or not symbol.isprintable() or not is_name(pack(symbol)):
        raise LobsterError(f"{name}: the symbol is {symbol!r}; give one of 1 to 8 characters A-Z 0-9 . -.")
    return symbol


def midnight_ns(date: str, name: str) -> int:
    """Midnight UTC of a date such as ``2012-06-21``. Raises LobsterError, also for one that no clock of ours shows."""
    try:
        days = (datetime.date.fromisoformat(date) - datetime.date(1970, 1, 1)).days
    except ValueError:
        raise LobsterError(f"{name}: the date is {date!r}; give one such as 2012-06-21.") from None
    if not 0 <= days * DAY_NS <= TIME_NS_MAX - DAY_NS:
        raise LobsterError(f"{name}: the date is {date}; give one from 1970-01-01 to 2116-02-19.")
    return days * DAY_NS


def read_messages(text: str, name: str, *, date: str, tick_e4: int = 100) -> Messages:
    """The rows of a message file. Times are rounded to the nanosecond.

    Raises LobsterError, naming file and line, for a row that is not six numbers, a type, side, size or price that no
    message has, a price off the tick, and a time before the one above it. Types 5, 6 and 7 need only be numbers.
    """
    text, first_line = rows_of(text)
    rows = _table(text, name, first_line, _MESSAGE, 6, _message_line)
    _refuse(name, (rows["time_s"] < 0) | ~(rows["time_s"] < _DAY_S), "the time is not within a day", first_line)
    seconds = np.floor(rows["time_s"])
    time_ns = seconds.astype(np.int64) * _NS + np.rint((rows["time_s"] - seconds) * 1e9).astype(np.int64)
    _refuse(
        name,
        np.diff(time_ns, prepend=time_ns[:1]) < 0,
        "the time is before the one above; put the rows in order",
        first_line,
    )
    kind, price = rows["type"], rows["price_e4"]
    _refuse(name, (kind < ENTER) | (kind > HALT), "the type is not 1 to 7", first_line)
    book = kind <= EXECUTE
    _refuse(name, book & (abs(rows["side"]) != 1), "the direction is neither 1 nor -1", first_line)
    _refuse(
        name, book & ((rows["qty"] < 1) | (rows["qty"] > QTY_MAX)), f"the size is not from 1 to {QTY_MAX}", first_line
    )
    _refuse(
        name, book & ((price < 1) | (price > PRICE_E4_MAX)), f"the price is not from 1 to {PRICE_E4_MAX}", first_line
    )
    _refuse_off_tick(name, np.where(book, price, 0), tick_e4, first_line)
    columns = (np.ascontiguousarray(rows[column]) for column in ("type", "order_id", "qty", "price_e4", "side"))
    return Messages(name, first_line, time_ns + midnight_ns(date, name), *columns)


def read_book(text: str, name: str, *, tick_e4: int = 100) -> NDArray[np.int64]:
    """The rows of a book file, shape (rows, 4 x levels), int64.

    Raises LobsterError, naming file and line, for rows that are not 4 whole numbers a level, all of one length, for
    levels that are not in order, and for prices and sizes out of bounds or off the tick; and for an empty file.
    """
    text, first_line = rows_of(text)
    columns = text.partition("\n")[0].count(",") + 1
    if columns % 4 and text.strip():
        raise LobsterError(
            f"{name}:{first_line}: a row of a book has 4 numbers a level, this one has {columns}; give a book file."
        )
    rows: NDArray[np.int64] = _table(text, name, first_line, np.dtype("i8"), columns, _book_line)
    for side, first in ((-1, 0), (1, 2)):
        price, qty = rows[:, first::4], rows[:, first + 1 :: 4]
        empty = (price == -side * EMPTY_E4) & (qty == 0)
        bad = ~empty & ((price < 1) | (price > PRICE_E4_MAX) | (qty < 1))
        _refuse(name, bad.any(axis=1), f"a price is not from 1 to {PRICE_E4_MAX}, or a size is below 1", first_line)
        worse = side * np.diff(price, axis=1) < 0
        _refuse(
            name,
            (~worse & ~empty[:, 1:]).any(axis=1),
            "the levels do not go from the best price to worse ones",
            first_line,
        )
        _refuse_off_tick(name, np.where(empty, 0, price), tick_e4, first_line)
    return rows


def _table(
    text: str, name: str, first_line: int, dtype: "np.dtype[Any]", columns: int, check_line: Any
) -> NDArray[Any]:
    """The file as one array, a row a line. Raises LobsterError at the first line that is none."""
    lines = text.count("\n") + (not text.endswith("\n"))
    if not text.strip():
        raise LobsterError(f"{name}: the file is empty; give one with rows.")
    commas = text.partition("\n")[0].count(",")
    try:
        rows: NDArray[Any] = np.loadtxt(
            io.StringIO(text),
            dtype,
            delimiter=",",
            comments=None,
            ndmin=1 if dtype.names else 2,
            usecols=range(columns),
        )
        # As many rows as lines, and no row with more or fewer columns than the others.
        if len(rows) == lines and text.count(",") == commas * lines and commas <= columns:
            return rows
    except (ValueError, OverflowError):
        pass  # Said below, with the line.
    for number, line in enumerate(text.split("\n")[:lines], first_line):
        fault = check_line(line, columns)
        if not fault and line.count(",") != commas:
            fault = f"the row has {line.count(',') + 1} columns and the first has {commas + 1}; all rows have as many"
        if fault:
            raise LobsterError(f"{name}:{number}: {fault}.")
    raise LobsterError(f"{name}: the file is not one of numbers and commas; give a LOBSTER file.")


def _message_line(line: str, columns: int) -> str:
    if _MESSAGE_LINE.fullmatch(line):
        return ""
    return f"{line[:60]!r} is not a message; a row is time, type, order id, size, price, direction: {columns} numbers"


def _book_line(line: str, columns: int) -> str:
    words = line.split(",")
    if len(words) != columns:
        return f"the row has {len(words)} numbers and the first has {columns}; all rows have as many"
    wrong = [word for word in words if not _WHOLE.fullmatch(word)]
    return f"{wrong[0][:60]!r} is not a whole number" if wrong else ""


def _refuse(name: str, wrong: NDArray[np.bool_], fault: str, first_line: int = 1) -> None:
    """Raise LobsterError for the first wrong row."""
    if wrong.any():
        raise LobsterError(f"{name}:{int(np.argmax(wrong)) + first_line}: {fault}.")


def _refuse_off_tick(name: str, price_e4: NDArray[np.int64], tick_e4: int, first_line: int) -> None:
    """Raise LobsterError for the first price that is no multiple of the tick, with a tick that fits all."""
    off = price_e4 % tick_e4 != 0
    if off.any():
        row = off if off.ndim == 1 else off.any(axis=1)
        fits = int(np.gcd.reduce(price_e4, axis=None))
        price = int(price_e4[off][0])
        _refuse(
            name,
            row,
            f"the price {price} is off the tick of {tick_e4}; all prices of the file fit --tick {_decimal(fits)}",
            first_line,
        )


def _decimal(price_e4: int) -> str:
    """A tick as people give it."""
    return f"{price_e4 / 10_000:.4f}".rstrip("0").rstrip(".")
