"""Order tokens of OUCH in a journal: the client order ids of a token, and the token of a client order id.

A token of 1 to 8 characters is the client order id itself. A longer token stands in the EXTEND row before its command,
whose client order id is a hash of it. Those rows are read here directly, without an engine. The id of a ClOrdID of FIX
that is too long to be a token follows from its text alone; its text, from marks (``cli.questions.long_names``): the
EXTEND row before its command has the first 14 characters.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import screen
from cli.errors import WrongUse
from cli.questions.long_names import LongNames
from engine.records import COMMAND, CommandKind
from gateway.fix import names
from gateway.ouch.context import token_of as token_bytes
from journal import JournalError
from journal.history import History
from notation.words import Fault, id_number, token_of, token_word

_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_SHORT: Final = re.compile(r"[!-~]{1,8}")
_RAW: Final = re.compile(r"~[0-9a-f]{16}\b")
#: Tokens that are kept for a print of events: a gigabyte with what sorts them.
_TOKENS_MAX: Final = 1 << 24
#: Tokens for which a long ClOrdID counts among them: it is kept as a text.
_PER_TEXT: Final = 16
#: Tokens of rows that passed by that are kept, before the journal is read again.
_PASSED_MAX: Final = 1 << 20


class _NamedOrder(NamedTuple):
    """Tokens of a block and the client order ids of their commands, row by row."""

    heads: NDArray[np.int64]
    tails: NDArray[np.int64]
    ids: NDArray[np.int64]


def order_ids(directory: Path, word: str) -> set[int]:
    """Client order ids that a word may mean: an id, an order token of 1 to 14 characters, or a longer ClOrdID of FIX.

    Raises WrongUse for a word that is neither, and JournalError.
    """
    try:
        found = {id_number(word, "the client order id")}
    except Fault:
        return token_ids(directory, word)
    return found | token_ids(directory, word) if word.startswith("~") else found


def token_ids(directory: Path, word: str) -> set[int]:
    """Client order ids of an order token of 1 to 14 characters, or a longer ClOrdID of FIX. Raises as ``order_ids``."""
    text = word.encode("ascii", "replace")
    found = {names.id_of(text)} if word.isascii() and names.is_name(text) else set()
    try:
        head, tail = token_of(word, "the order token")
    except (Fault, IndexError) as error:
        if found:
            return found
        raise WrongUse(
            f"{word[:60]!r} is neither a client order id, as a17, nor an order token; an id has 1 to 8 characters of "
            f"A-Z a-z 0-9 . -, a token 1 to 14 printable ones, a ClOrdID of FIX up to 64; the form that `lockstep "
            f"events` prints is valid too"
        ) from error
    for _, named, _ in _named(directory, "looking for the token"):
        found.update(named.ids[(named.heads == head) & (named.tails == tail)].tolist())
    return found


class Tokens:
    """Tokens of client order ids, shown in place of ``~`` and 16 digits."""

    def __init__(self, directory: Path, wanted: set[int]) -> None:
        """Read the tokens of the ``wanted`` ids from the journal, if any of them has a longer token."""
        self._words: dict[int, str] = {}
        mixed = np.array(sorted(order_id for order_id in wanted if order_id < 0), np.int64)
        if len(mixed):
            heads: set[int] = set()  # of ids that are those of no token, but of a longer text
            for _, named, _ in _named(directory, "reading the tokens"):
                for at in np.flatnonzero(np.isin(named.ids, mixed)).tolist():
                    order_id, words = int(named.ids[at]), (int(named.heads[at]), int(named.tails[at]))
                    self._words[order_id] = _word(*words)
                    if names.id_of(token_bytes(*words)) != order_id:
                        heads.add(words[0])
            if heads:
                texts = LongNames(heads)
                for _, _, rows in _named(directory, "reading the long ids"):
                    self._words.update((each, text) for each, text in texts.read(rows).items() if each in wanted)

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
    """Tokens of the raw ids in lines that must stay as they are, since the notation can be read again.

    Those of rows that pass by are learned (``learn``), all others are read from the journal when the first is wanted.
    """

    def __init__(self, directory: Path, what: str = "reading the tokens") -> None:
        """``what``: the words of the progress bar of that reading; "" for none."""
        self._directory, self._what = directory, what
        #: Ids that are the hash of a token, in rising order, and those tokens; None until the first is wanted.
        self._known: _NamedOrder | None = None
        #: Words of the tokens of ids in rows that passed by, the newest behind the others.
        self._passed: dict[int, tuple[int, int]] = {}
        #: Texts of long ClOrdIDs, of the journal and of rows that passed by, and what reads these.
        self._texts: dict[int, str] = {}
        self._passing = LongNames()
        self._last = np.zeros(1, COMMAND)  # the row before those that come next: it may be an EXTEND row
        self._read_seq = 0
        self._ended = False  # by a damage, or by so many tokens: no more are read

    def learn(self, rows: NDArray[Any]) -> None:
        """Take COMMAND rows of a running market, in order: the journal that was read has them not yet."""
        with_last = np.frombuffer(self._last.tobytes() + rows.tobytes(), COMMAND)
        named, texts = _with_hash(_tokens_of(with_last)), self._passing.read(with_last)
        self._last = rows[-1:].copy() if len(rows) else self._last
        if len(self._passed) + len(named.ids) + len(self._texts) > _PASSED_MAX:
            self._passed.clear()
            self._texts.clear()
            self._known = None  # the journal has by now what is left out here
        words = zip(named.heads.tolist(), named.tails.tolist(), strict=True)
        self._passed.update(zip(named.ids.tolist(), words, strict=True))
        self._texts.update(texts)

    def of(self, line: str) -> str:
        """Tokens of the raw ids of a line, in order, with commas; "" where none of them is of a token."""
        if "~" not in line:
            return ""
        raw = _RAW.findall(line)
        named = [self._of(each) for each in raw]
        return ", ".join(named) if named != raw else ""

    def of_command(self, line: str) -> str:
        """As ``of``, for the line of a command: "" where it says its tokens by itself."""
        return "" if "token=" in line else self.of(line)

    def _of(self, raw: str) -> str:
        order_id = id_number(raw, "")
        if self._known is None and order_id < 0 and order_id not in self._passed:
            self.read()
        return self.token(order_id) or raw

    def token(self, order_id: int) -> str | None:
        """Token of an id, as far as it is known by now; None for another."""
        if order_id >= 0:
            return _short(order_id)
        if order_id in self._texts:
            return self._texts[order_id]
        words = self._passed.get(order_id)
        if words is None and self._known is not None:
            heads, tails, ids = self._known
            at = int(np.searchsorted(ids, order_id))
            if at < len(ids) and ids[at] == order_id:
                words = int(heads[at]), int(tails[at])
        return None if words is None else _word(*words)

    def shown(self, text: str) -> str:
        """A text with tokens in place of raw ids, as far as they are known by now."""
        return _RAW.sub(lambda raw: self.token(id_number(raw[0], "")) or raw[0], text)

    def pairs(self, texts: Iterable[str]) -> list[dict[str, str]]:
        """Raw ids in texts, each once, with their tokens as JSON has them; those of no token are left out."""
        named = {raw: self._of(raw) for text in texts for raw in _RAW.findall(text)}
        return [{"client_order_id": raw, "token": token} for raw, token in named.items() if token != raw]

    def lacks(self, texts: Iterable[str], last_seq: int) -> bool:
        """True if texts have raw ids whose tokens may be in the part of the journal that was not read, which ends with
        ``last_seq``."""
        if self._ended or self._read_seq >= last_seq:
            return False
        ids = {id_number(raw, "") for text in texts for raw in _RAW.findall(text)}
        return any(order_id < 0 and self.token(order_id) is None for order_id in ids)

    def read(self) -> None:
        """Read what the journal has, or has more by now; about ``_TOKENS_MAX`` tokens at most. Of a damaged journal
        those before the damage."""
        if self._known is None:
            nothing = np.zeros(0, np.int64)
            self._known, self._read_seq, self._ended = _NamedOrder(nothing, nothing, nothing), 0, False
        found, texts = [self._known], LongNames()
        count = len(self._known.ids) + _PER_TEXT * len(self._texts)
        try:
            for last_seq, named, rows in _named(self._directory, self._what, self._read_seq):
                found.append(_with_hash(named))
                ended = texts.read(rows)
                self._texts.update(ended)
                self._read_seq = last_seq
                count += len(found[-1].ids) + _PER_TEXT * len(ended)
                if count > _TOKENS_MAX:
                    self._ended = True
                    break
        except JournalError:  # the print itself tells of it
            self._ended = True
        heads, tails, ids = (np.concatenate([each[place] for each in found]) for place in range(3))
        ids, places = np.unique(ids, return_index=True)
        self._known = _NamedOrder(heads[places], tails[places], ids)


def _with_hash(named: _NamedOrder) -> _NamedOrder:
    """Those whose id is the hash of their token."""
    mixed = named.ids < 0
    return _NamedOrder(named.heads[mixed], named.tails[mixed], named.ids[mixed])


def _short(order_id: int) -> str | None:
    text = order_id.to_bytes(8, "big").lstrip(b"\0").decode("latin-1") if order_id > 0 else ""
    return text if _SHORT.fullmatch(text) else None


def _word(head: int, tail: int) -> str:
    """A token as its client wrote it; one that cannot be written so, in digits."""
    raw = token_bytes(head, tail).rstrip(b" \0")
    return raw.decode("ascii") if names.is_name(raw) else token_word(head, tail)


def _named(directory: Path, what: str, after_seq: int = 0) -> Iterator[tuple[int, _NamedOrder, NDArray[Any]]]:
    """Last command, tokens and rows of the journal's blocks. An EXTEND row gives tokens to the enter, cancel or replace
    after it. The rows of a block begin with the last one of the block before.

    Begins at the first command after which no slice is missing, or with the block that has ``after_seq``. ``what``:
    words of a progress bar; "" for none.
    """
    with History.open(directory) as history, screen.Bar(what) if what else contextlib.nullcontext() as bar:
        last = np.zeros(1, COMMAND)  # the row before the block: it may be the EXTEND row of the first command
        for block in history.blocks(max(history.there_from_seq, after_seq)):
            # As bytes: NumPy would pack rows whose places overlap.
            rows = np.frombuffer(last.tobytes() + bytes(block.rows), COMMAND)
            last = rows[-1:]
            yield block.last_seq, _tokens_of(rows), rows
            if bar is not None:
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
