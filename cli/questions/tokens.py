"""Order tokens of OUCH in a journal: the client order ids of a token, and the token of a client order id.

A token of 1 to 8 characters is the client order id itself. A longer token stands in the EXTEND row before its command,
whose client order id is a hash of it. Those rows are read here directly, without an engine.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import screen
from cli.errors import WrongUse
from engine.records import COMMAND, CommandKind
from journal import JournalError
from journal.history import History
from notation.words import Fault, id_number, token_of, token_word

_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_SHORT: Final = re.compile(r"[!-~]{1,8}")
_RAW: Final = re.compile(r"~[0-9a-f]{16}\b")
#: Tokens that are kept for a print of events: a gigabyte with what sorts them.
_TOKENS_MAX: Final = 1 << 24


class _NamedOrder(NamedTuple):
    """Tokens of a block and the client order ids of their commands, row by row."""

    heads: NDArray[np.int64]
    tails: NDArray[np.int64]
    ids: NDArray[np.int64]


def order_ids(directory: Path, word: str) -> set[int]:
    """Client order ids that a word may mean: an id, or an order token of 1 to 14 characters.

    Raises WrongUse for a word that is neither, and JournalError.
    """
    try:
        return {id_number(word, "the client order id")}
    except Fault:
        pass
    return token_ids(directory, word)


def token_ids(directory: Path, word: str) -> set[int]:
    """Client order ids of an order token of 1 to 14 characters. Raises as ``order_ids``."""
    try:
        head, tail = token_of(word, "the order token")
    except (Fault, IndexError) as error:
        raise WrongUse(
            f"{word[:60]!r} is neither a client order id, as a17, nor an order token; an id has 1 to 8 characters of "
            f"A-Z a-z 0-9 . -, a token 1 to 14 printable ones; the form that `lockstep events` prints is valid too"
        ) from error
    found = {int.from_bytes(word.encode("ascii"), "big")} if _SHORT.fullmatch(word) else set()
    for named in _named(directory, "looking for the token"):
        found.update(named.ids[(named.heads == head) & (named.tails == tail)].tolist())
    return found


class Tokens:
    """Tokens of client order ids, shown in place of ``~`` and 16 digits."""

    def __init__(self, directory: Path, wanted: set[int]) -> None:
        """Read the tokens of the ``wanted`` ids from the journal, if any of them has a longer token."""
        self._words: dict[int, str] = {}
        mixed = np.array(sorted(order_id for order_id in wanted if order_id < 0), np.int64)
        if len(mixed):
            for named in _named(directory, "reading the tokens"):
                for at in np.flatnonzero(np.isin(named.ids, mixed)).tolist():
                    self._words[int(named.ids[at])] = token_word(int(named.heads[at]), int(named.tails[at]))

    def of(self, order_id: int) -> str | None:
        """Token of an id; None if the journal has none."""
        return self._words.get(order_id) or _short(order_id)

    def shown(self, text: str) -> str:
        """Printed event with tokens in place of raw ids."""
        return _RAW.sub(self._instead, text)

    def _instead(self, raw: re.Match[str]) -> str:
        return self.of(id_number(raw[0], "")) or raw[0]


def with_tokens(directory: Path, texts: list[str]) -> Callable[[str], str]:
    """A function that puts tokens in place of the raw ids in any of ``texts``. Reads the journal if there are any.

    Of a damaged journal the ids stay as they are: what was asked is answered all the same.
    """
    wanted = {id_number(raw, "") for text in texts for raw in _RAW.findall(text)}
    try:
        return Tokens(directory, wanted).shown if wanted else str
    except JournalError:
        return str


class TokensBeside:
    """Tokens of the raw ids in lines that must stay as they are, since the notation can be read again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: Ids that are the hash of a token, in rising order, and those tokens; None until the first is wanted.
        self._known: _NamedOrder | None = None

    def of(self, line: str) -> str:
        """Tokens of the raw ids of a line, in order, with commas; "" where none of them is of a token."""
        if "~" not in line:
            return ""
        raw = _RAW.findall(line)
        named = [self._of(each) for each in raw]
        return ", ".join(named) if named != raw else ""

    def _of(self, raw: str) -> str:
        order_id = id_number(raw, "")
        if order_id >= 0:
            return _short(order_id) or raw
        if self._known is None:
            self._known = _all_named(self._directory)
        heads, tails, ids = self._known
        at = int(np.searchsorted(ids, order_id))
        return token_word(int(heads[at]), int(tails[at])) if at < len(ids) and ids[at] == order_id else raw


def _all_named(directory: Path) -> _NamedOrder:
    """Ids that are the hash of a token, each once, rising, and those tokens; about ``_TOKENS_MAX`` at most."""
    found: list[_NamedOrder] = []
    count = 0
    with contextlib.suppress(JournalError):  # those before a damage are good; the print itself tells of it
        for named in _named(directory, "reading the tokens"):
            mixed = named.ids < 0
            found.append(_NamedOrder(named.heads[mixed], named.tails[mixed], named.ids[mixed]))
            count += int(mixed.sum())
            if count > _TOKENS_MAX:
                break
    if not count:
        nothing = np.zeros(0, np.int64)
        return _NamedOrder(nothing, nothing, nothing)
    heads, tails, ids = (np.concatenate([each[place] for each in found]) for place in range(3))
    ids, places = np.unique(ids, return_index=True)
    return _NamedOrder(heads[places], tails[places], ids)


def _short(order_id: int) -> str | None:
    text = order_id.to_bytes(8, "big").lstrip(b"\0").decode("latin-1") if order_id > 0 else ""
    return text if _SHORT.fullmatch(text) else None


def _named(directory: Path, what: str) -> Iterator[_NamedOrder]:
    """Tokens of the journal block by block: those that an EXTEND row gives to the enter, cancel or replace after it.

    Begins at the first command after which no slice is missing.
    """
    with History.open(directory) as history, screen.Bar(what) as bar:
        last = np.zeros(1, COMMAND)  # the row before the block: it may be the EXTEND row of the first command
        for block in history.blocks(history.there_from_seq):
            # As bytes: NumPy would pack rows whose places overlap.
            rows = np.frombuffer(last.tobytes() + bytes(block.rows), COMMAND)
            last = rows[-1:]
            yield _tokens_of(rows)
            bar.to(block.first_seq + len(rows) - 2, history.last_seq)


def _tokens_of(rows: NDArray[Any]) -> _NamedOrder:
    at = np.flatnonzero((rows["kind"][:-1] == CommandKind.EXTEND) & np.isin(rows["kind"][1:], _ORDERS))
    extends, commands = rows[at], rows[at + 1]
    replaces = commands["kind"] == CommandKind.REPLACE
    heads = np.concatenate((extends["token_head"], extends["new_token_head"][replaces]))
    tails = np.concatenate((extends["token_tail"], extends["new_token_tail"][replaces]))
    ids = np.concatenate((commands["client_order_id"], commands["new_client_order_id"][replaces]))
    given = (heads != 0) | (tails != 0)
    return _NamedOrder(heads[given], tails[given], ids[given])
