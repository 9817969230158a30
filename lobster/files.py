"""Message files and books that go together: read, and matched by symbol or order."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from lobster.read import (
    LobsterError,
    Messages,
    UnreadableRow,
    check_symbol,
    decoded,
    file_name,
    read_book,
    read_messages,
)


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


def read_files(
    paths: Sequence[Path],
    books: Sequence[Path],
    checks: Sequence[Path],
    *,
    symbols: Sequence[str] = (),
    date: str | None = None,
    tick_e4: int,
) -> list[LobsterFile]:
    """The message files with the books to seed them from and those to compare them with, in the order of ``paths``.

    symbols, date: where the names of the files do not tell them. Raises LobsterError, also for files that do not go
    together.
    """
    symbols = _symbols(paths, symbols)
    read = []
    for path, symbol, book_path, check_path in zip(
        paths,
        symbols,
        match("--book", books, paths, symbols),
        match("--check", checks, paths, symbols),
        strict=True,
    ):
        text = _text(path)  # first: what is not there has no name to speak of
        if book_path is None:
            raise LobsterError(f"{path} has no order book to seed the opening from; give --book BOOK for each file")
        known = file_name(path.name)
        day = date or known.date
        if not day:
            raise LobsterError(f"the name {path.name} tells no date; give --date 2012-06-21")
        messages = read_messages(text, str(path), date=day, tick_e4=tick_e4)
        book = read_book(_text(book_path), str(book_path), tick_e4=tick_e4)
        published = None
        if check_path is not None:
            published = read_book(_text(check_path), str(check_path), tick_e4=tick_e4)
            if published.shape[1] >= book.shape[1]:
                # Where the book file ends first, the other one reveals what comes into sight.
                book = np.concatenate([book, published[len(book) :, : book.shape[1]]])
        read.append(LobsterFile(path, symbol, known.levels, messages, book_path, book, check_path, published))
    for file in read[1:]:
        if file.messages.time_ns[0] // DAY_NS != read[0].messages.time_ns[0] // DAY_NS:
            raise LobsterError(
                f"{read[0].path} and {file.path} are of different days, and orders good for the day do not outlive "
                "it; run each day into a directory of its own"
            )
    return read


def _symbols(paths: Sequence[Path], given: Sequence[str]) -> list[str]:
    """The symbol of each message file, all different."""
    symbols = list(given) or [file_name(path.name).symbol for path in paths]
    if len(symbols) != len(paths):
        raise LobsterError(
            f"there are {len(paths)} files and {len(symbols)} symbols; give --symbol once for each file, in their order"
        )
    for at, (symbol, path) in enumerate(zip(symbols, paths, strict=True)):
        if not symbol:
            raise LobsterError(f"the name {path.name} tells no symbol; give --symbol AAPL, and --date 2012-06-21")
        check_symbol(symbol, str(path))
        if symbol in symbols[:at]:
            raise LobsterError(
                f"{paths[symbols.index(symbol)]} and {path} are both of {symbol}; give one file a symbol"
            )
    return symbols


def match(option: str, paths: Sequence[Path], files: Sequence[Path], symbols: Sequence[str]) -> list[Path | None]:
    """The path of an option for each message file: by the symbol in its name, the others in order.

    Raises LobsterError for paths that go with no file.
    """
    matched: list[Path | None] = [None] * len(files)
    others = []
    for path in paths:
        symbol = file_name(path.name).symbol
        if symbol not in symbols:
            if symbol and len(files) > 1:
                raise LobsterError(f"{option} {path} is of {symbol}, and no message file is; give files of one symbol")
            others.append(path)
            continue
        at = symbols.index(symbol)
        if matched[at] is not None:
            raise LobsterError(f"{option} {path} and {matched[at]} are both of {symbol}; give one")
        matched[at] = path
    free = [at for at, path in enumerate(matched) if path is None]
    if len(others) > len(free):
        raise LobsterError(f"{option} {others[len(free)]} goes with no message file; give at most one for each")
    for at, path in zip(free, others, strict=False):
        matched[at] = path
    return matched


def _text(path: Path) -> str:
    """The text of a LOBSTER file or pipe, packed by gzip or not. Raises LobsterError, OSError as the system does."""
    if path.exists() and not (path.is_file() or path.is_fifo() or path.is_dir() or path.samefile(os.devnull)):
        raise LobsterError(f"{path} is a device; name a LOBSTER file")
    try:
        return decoded(path.read_bytes())
    except UnreadableRow as error:
        raise LobsterError(f"{path}: {error}.") from error
