"""Message files and books of a LOBSTER run: read, and matched by symbol or order."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import screen
from cli.begin import RunOptions
from cli.errors import WrongUse
from cli.scenario import read_text
from engine.limits import DAY_NS
from lobster.read import LobsterError, Messages, check_symbol, file_name, read_book, read_messages
from lobster.text import Unreadable, decoded
from notation.words import Fault, price_e4


class LobsterFile(NamedTuple):
    """A message file with its books. levels: a side, that the messages are about; 0: as many as the book has.
    published: rows to compare with, None without ``--check``."""

    path: Path
    symbol: str
    levels: int
    messages: Messages
    book_path: Path
    book: NDArray[np.int64]
    check_path: Path | None
    published: NDArray[np.int64] | None


def read_files(options: RunOptions) -> list[LobsterFile]:
    """Every file of the command line. Raises LobsterError and WrongUse, also for files that do not go together."""
    symbols = _symbols(options)
    books = match("--book", options.books, options.files, symbols)
    checks = match("--check", options.checks, options.files, symbols)
    tick_e4 = tick_of(options.tick)
    read = []
    with screen.Bar("reading the files"):
        for path, symbol, book_path, check_path in zip(options.files, symbols, books, checks, strict=True):
            if book_path is None:
                raise WrongUse(f"{path} has no order book to seed the opening from; give --book BOOK for each file")
            told = file_name(path.name)
            date = options.date or told.date
            if not date:
                raise WrongUse(f"the name {path.name} tells no date; give --date 2012-06-21")
            messages = read_messages(_text(path), str(path), date=date, tick_e4=tick_e4)
            book = read_book(_text(book_path), str(book_path), tick_e4=tick_e4)
            published = None
            if check_path is not None:
                published = read_book(_text(check_path), str(check_path), tick_e4=tick_e4)
                if published.shape[1] >= book.shape[1]:
                    # Where the book file ends first, the other one reveals what comes into sight.
                    book = np.concatenate([book, published[len(book) :, : book.shape[1]]])
            read.append(LobsterFile(path, symbol, told.levels, messages, book_path, book, check_path, published))
    for file in read[1:]:
        if file.messages.time_ns[0] // DAY_NS != read[0].messages.time_ns[0] // DAY_NS:
            raise WrongUse(
                f"{read[0].path} and {file.path} are of different days, and orders good for the day do not outlive "
                "it; run each day into a directory of its own"
            )
    return read


def _symbols(options: RunOptions) -> list[str]:
    """The symbol of each message file, all different."""
    symbols = options.symbols or [file_name(path.name).symbol for path in options.files]
    if len(symbols) != len(options.files):
        raise WrongUse(
            f"there are {len(options.files)} files and {len(symbols)} symbols; give --symbol once for each file, in "
            "their order"
        )
    for at, (symbol, path) in enumerate(zip(symbols, options.files, strict=True)):
        if not symbol:
            raise WrongUse(f"the name {path.name} tells no symbol; give --symbol AAPL, and --date 2012-06-21")
        check_symbol(symbol, str(path))
        if symbol in symbols[:at]:
            raise WrongUse(
                f"{options.files[symbols.index(symbol)]} and {path} are both of {symbol}; give one file a symbol"
            )
    return symbols


def match(option: str, paths: Sequence[Path], files: Sequence[Path], symbols: Sequence[str]) -> list[Path | None]:
    """The path of an option for each message file: by the symbol in its name, the others in order. Raises WrongUse."""
    matched: list[Path | None] = [None] * len(files)
    others = []
    for path in paths:
        symbol = file_name(path.name).symbol
        if symbol not in symbols:
            if symbol and len(files) > 1:
                raise WrongUse(f"{option} {path} is of {symbol}, and no message file is; give files of one symbol")
            others.append(path)
            continue
        at = symbols.index(symbol)
        if matched[at] is not None:
            raise WrongUse(f"{option} {path} and {matched[at]} are both of {symbol}; give one")
        matched[at] = path
    free = [at for at, path in enumerate(matched) if path is None]
    if len(others) > len(free):
        raise WrongUse(f"{option} {others[len(free)]} goes with no message file; give at most one for each")
    for at, path in zip(free, others, strict=False):
        matched[at] = path
    return matched


def _text(path: Path) -> str:
    """The text of a LOBSTER file, packed by gzip or not. Raises LobsterError and WrongUse."""
    if not path.is_file():  # a pipe, of which a look at its beginning would leave only the rest
        return read_text(path)
    try:
        return decoded(path.read_bytes())
    except Unreadable as error:
        raise LobsterError(f"{path}: {error}.") from error


def tick_of(tick: str) -> int:
    """The tick that the command line gave, in 1/10000. Raises WrongUse."""
    try:
        tick_e4 = price_e4(tick, "--tick")
    except Fault as error:
        raise WrongUse(f"{error}") from error
    if tick_e4 < 1:
        raise WrongUse(f"--tick is {tick}; give one from 0.0001 up, as 0.01")
    return tick_e4
