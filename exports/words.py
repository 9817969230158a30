"""Codes, ids and names of rows as words, a column at a time, and back.

A word says exactly what its number said, and a number has one word: ``keys`` of ``words`` are the numbers again, and
another word is refused. So a table that has words alone still proves the rows that it was made from, and tables are
numbers until they are written.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.names import EVERY, ID_CHARACTERS, pack

Ints = NDArray[np.int64]
Words = NDArray[Any]

_IS_ID: Final = np.zeros(256, np.bool_)
_IS_ID[[ord(character) for character in ID_CHARACTERS]] = True
_IS_ID_OR_ZERO: Final = _IS_ID.copy()
_IS_ID_OR_ZERO[0] = True
#: Eight bytes that are each True.
_ALL: Final = np.uint64(0x0101010101010101)
#: Characters of an id that is no word, ``~`` and 16 hexadecimal digits.
_LONGEST: Final = 17


class Vocabulary(Protocol):
    """The words of a column, a word a number; ``few``: few of them come often."""

    @property
    def few(self) -> bool:
        """True where a dictionary of the words is small."""
        ...

    def words(self, keys: Ints) -> Words:
        """Words of numbers. Raises KeyError for a number that has none."""
        ...

    def keys(self, words: Words) -> Ints:
        """Numbers of words. Raises KeyError or ValueError for another word."""
        ...


@dataclass(frozen=True)
class CodeWords:
    """The names of codes in small letters; "" for 0."""

    codes: type[IntEnum]
    few: bool = True

    def words(self, keys: Ints) -> Words:
        """Words of codes. Raises KeyError for a code that is none."""
        return code_words(keys, self.codes)

    def keys(self, words: Words) -> Ints:
        """Codes of words. Raises KeyError for a word that is none."""
        return code_keys(words, self.codes)


@dataclass(frozen=True)
class IdWords:
    """Ids or names; "" for 0, * for every."""

    few: bool

    def words(self, keys: Ints) -> Words:
        """Words of ids."""
        return id_words(keys)

    def keys(self, words: Words) -> Ints:
        """Numbers of ids. Raises ValueError for a word that is none."""
        return id_keys(words)


class Text(NamedTuple):
    """Words one behind the other: the number of characters of each, and the ASCII characters of all."""

    lengths: Ints
    octets: NDArray[np.uint8]


def id_text(values: Ints) -> Text:
    """Ids or names of numbers; "" for 0, * for every."""
    values = np.ascontiguousarray(values, np.int64)
    octets = values.astype(">i8").view(np.uint8).reshape(-1, 8)
    is_raw = ~(_is_plain(octets) | (values == EVERY) | (values == 0))
    if not is_raw.any():
        used = octets != 0
        return Text(used.sum(axis=1, dtype=np.int64), octets[used])
    if (is_raw | (values == 0)).all():
        return Text(np.where(is_raw, _LONGEST, 0), _raw_words(values[is_raw]).reshape(-1))
    whole = np.zeros((len(values), _LONGEST), np.uint8)
    whole[:, _LONGEST - 8 :] = octets
    whole[is_raw] = _raw_words(values[is_raw])
    used = whole != 0
    return Text(used.sum(axis=1, dtype=np.int64), whole[used])


def id_keys_of(text: Text) -> Ints:
    """Numbers of ids or names. Raises ValueError for a word that ``id_text`` does not give."""
    lengths, octets = text
    if int(lengths.sum()) != len(octets):
        raise ValueError("words of ids are not as long as they say")
    found = np.zeros(len(lengths), np.int64)
    starts = np.cumsum(lengths) - lengths
    for length in np.flatnonzero(np.bincount(lengths, minlength=1)).tolist():
        if not length:
            continue
        at = np.flatnonzero(lengths == length)
        alone = len(at) * length == len(octets)
        raw = octets.reshape(-1, length) if alone else octets[starts[at][:, None] + np.arange(length)]
        found[at] = _raw_keys(raw) if length == _LONGEST else _plain_keys(raw)
    return found


def id_words(values: Ints) -> Words:
    """Ids or names of numbers, a text each.

    >>> id_words(np.array([0x6131, 0, -2, 42])).tolist()
    ['a1', '', '~fffffffffffffffe', '*']
    """
    lengths, octets = id_text(values)
    whole = octets.tobytes().decode("ascii")
    found = np.empty(len(lengths), object)
    found[:] = [whole[begin:end] for begin, end in pairwise([0, *np.cumsum(lengths).tolist()])]
    return found


def id_keys(words: Words) -> Ints:
    """Numbers of ids or names. Raises ValueError for a word that is none.

    >>> id_keys(np.array(["a1", "", "~fffffffffffffffe", "*"])).tolist()
    [24881, 0, -2, 42]
    """
    texts: list[str] = np.asarray(words).tolist()
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return id_keys_of(Text(lengths, np.frombuffer("".join(texts).encode("ascii"), np.uint8)))


def _is_plain(octets: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True for numbers (rows of 8 bytes, big-endian) whose bytes are a word after leading zeros."""
    right = _IS_ID_OR_ZERO[octets].view(np.uint64).reshape(-1) == _ALL
    used = (octets != 0).view(">u8").reshape(-1).astype(np.uint64) * np.uint64(255)
    leading = (used & (used + np.uint64(1))) == 0  # its ones are the lowest bits, or all of them
    plain: NDArray[np.bool_] = right & leading & (used != 0)
    return plain


def _raw_words(values: Ints) -> NDArray[np.uint8]:
    """Rows of ``~`` and 16 hexadecimal digits."""
    found = np.full((len(values), _LONGEST), ord("~"), np.uint8)
    digits = values.astype(">i8").tobytes().hex().encode("ascii")
    found[:, 1:] = np.frombuffer(digits, np.uint8).reshape(-1, 16)
    return found


def _raw_keys(rows: NDArray[np.uint8]) -> Ints:
    """Numbers of rows as ``_raw_words`` gives them. Raises ValueError for others."""
    digits = rows[:, 1:].tobytes()
    try:
        raw = bytes.fromhex(digits.decode("ascii"))
    except ValueError as error:
        raise ValueError("a word of 17 characters is no id") from error
    found = np.frombuffer(raw, ">i8").astype(np.int64)
    octets = np.frombuffer(raw, np.uint8).reshape(-1, 8)
    if (rows[:, 0] != ord("~")).any() or raw.hex().encode("ascii") != digits or _is_plain(octets).any():
        raise ValueError("a word of 17 characters is no id")
    return found


def _plain_keys(rows: NDArray[np.uint8]) -> Ints:
    """Numbers of rows with one word each. Raises ValueError for a word that is no id."""
    length = rows.shape[1]
    right = _IS_ID[rows].all(axis=1)
    if length == 1:
        right |= rows[:, 0] == EVERY
    if length > 8 or not right.all():
        raise ValueError(f"a word of {length} characters is no id")
    padded = np.zeros((len(rows), 8), np.uint8)
    padded[:, 8 - length :] = rows
    return padded.view(">i8").reshape(-1).astype(np.int64)


@cache
def _code_table(codes: type[IntEnum]) -> tuple[int, Words, NDArray[np.bool_]]:
    """The least code; the word of each number from it on; True for those that are codes."""
    known = {0: "", **{int(code): code.name.lower() for code in codes}}
    numbers = range(min(known), max(known) + 1)
    return min(known), np.array([known.get(each, "") for each in numbers], object), np.isin(numbers, list(known))


def code_words(values: NDArray[Any], codes: type[IntEnum]) -> Words:
    """Words of codes; "" for 0. Raises KeyError for a code that is none."""
    least, words, is_code = _code_table(codes)
    numbers = np.asarray(values, np.int64)
    places = numbers - least
    right = (places >= 0) & (places < len(words))
    right &= is_code[np.where(right, places, 0)]
    if not right.all():
        raise KeyError(int(numbers[~right][0]))
    found: Words = words[places]
    return found


def code_keys(words: Words, codes: type[IntEnum]) -> Ints:
    """Codes of words. Raises KeyError for a word that is none."""
    known = {"": 0, **{code.name.lower(): int(code) for code in codes}}
    # Sorting texts, to look each up once, would take ten times as long.
    return np.fromiter(map(known.__getitem__, words.tolist()), np.int64, len(words))


@cache
def _packed(names: tuple[str, ...]) -> Ints:
    return np.array([0, *map(pack, names)], np.int64)


def name_keys(numbers: NDArray[Any], names: tuple[str, ...]) -> Ints:
    """Names as ids, of numbers in order of definition, from 1; 0 for 0. Raises IndexError for a number beyond them."""
    found: Ints = _packed(names)[np.asarray(numbers, np.int64)]
    return found


def name_numbers(keys: Ints, names: tuple[str, ...]) -> Ints:
    """Numbers of names. Raises KeyError for a name that is not defined."""
    packed = _packed(names)
    order = np.argsort(packed)
    found: Ints = order[np.minimum(np.searchsorted(packed, keys, sorter=order), len(packed) - 1)]
    if not np.array_equal(packed[found], keys):
        raise KeyError(str(id_words(keys[packed[found] != keys][:1])[0]))
    return found
