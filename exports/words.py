"""Codes, ids and names of rows as words, a column at a time, and back.

A word says exactly what its number said, and a number has one word: ``keys`` of ``words`` are the numbers again, and
another word is refused. So a table that has words alone still proves the rows that it was made from, and tables are
numbers until they are written.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.names import pack
from exports.copy_fields import TEXT_MAX, put_codes, take_codes
from exports.id_text import IS_ID, RAW_LENGTH, put_ids, put_names, take_ids, take_names
from reports.projection import read_only

Ints = NDArray[np.int64]
Words = NDArray[Any]


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

    def text(self, keys: Ints) -> "Text":
        """Words of numbers, one behind the other. Raises KeyError for a number that has none."""
        ...

    def text_keys(self, text: "Text") -> Ints:
        """Numbers of words, one behind the other. Raises KeyError or ValueError for another word."""
        ...


@dataclass(frozen=True)
class CodeWords:
    """The names of codes in small letters; "" for 0."""

    codes: type[IntEnum]
    few: bool = True

    @property
    def least(self) -> int:
        """The least code, or 0."""
        return _code_table(self.codes)[0]

    def words(self, keys: Ints) -> Words:
        """Words of codes. Raises KeyError for a code that is none."""
        return code_words(keys, self.codes)

    def keys(self, words: Words) -> Ints:
        """Codes of words. Raises KeyError for a word that is none."""
        return code_keys(words, self.codes)

    def text(self, keys: Ints) -> "Text":
        """Words of codes, one behind the other. Raises KeyError for a code that is none."""
        return code_text(keys, self.codes)

    def text_keys(self, text: "Text") -> Ints:
        """Codes of words, one behind the other. Raises ValueError for a word that is none."""
        return code_keys_of(text, self.codes)


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

    def text(self, keys: Ints) -> "Text":
        """Words of ids, one behind the other."""
        return id_text(keys)

    def text_keys(self, text: "Text") -> Ints:
        """Numbers of ids, one behind the other. Raises ValueError for a word that is none."""
        return id_keys_of(text)


class Text(NamedTuple):
    """Words one behind the other: the number of characters of each, and the ASCII characters of all."""

    lengths: Ints
    octets: NDArray[np.uint8]


def id_text(values: Ints) -> Text:
    """Ids or names of numbers; "" for 0, * for every."""
    lengths = np.empty(len(values), np.int64)
    octets = np.empty(RAW_LENGTH * len(values), np.uint8)
    end = put_ids(read_only(np.ascontiguousarray(values, np.int64)), IS_ID, lengths, octets)
    return Text(lengths, octets[:end])


def id_keys_of(text: Text) -> Ints:
    """Numbers of ids or names. Raises ValueError for a word that ``id_text`` does not give."""
    lengths, octets = text
    if int(lengths.sum()) != len(octets):
        raise ValueError("words of ids are not as long as they say")
    found = np.empty(len(lengths), np.int64)
    wrong = take_ids(read_only(lengths), read_only(octets), IS_ID, found)
    if wrong >= 0:
        raise ValueError(f"a word of {lengths[wrong]} characters is no id")
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


@cache
def _code_table(codes: type[IntEnum]) -> tuple[int, Words, NDArray[np.bool_]]:
    """The least code; the word of each number from it on; True for those that are codes."""
    known = {0: "", **{int(code): code.name.lower() for code in codes}}
    numbers = range(min(known), max(known) + 1)
    return min(known), np.array([known.get(each, "") for each in numbers], object), np.isin(numbers, list(known))


@cache
def _code_texts(codes: type[IntEnum]) -> tuple[int, Ints, NDArray[np.uint8]]:
    """The least code; for each number from it on the length of its word, -1 for no code; uint8[numbers, longest]."""
    least, words, is_code = _code_table(codes)
    lengths = np.where(is_code, [len(word) for word in words], -1)
    octets = np.zeros((len(words), int(lengths.max())), np.uint8)
    for at, word in enumerate(words):
        octets[at, : len(word)] = np.frombuffer(word.encode("ascii"), np.uint8)
    return least, read_only(lengths), read_only(octets)


def code_text(values: NDArray[Any], codes: type[IntEnum]) -> Text:
    """Words of codes, one behind the other; "" for 0. Raises KeyError for a code that is none."""
    numbers = read_only(np.ascontiguousarray(values, np.int64))
    lengths, octets = np.empty(len(numbers), np.int64), np.empty(TEXT_MAX * len(numbers), np.uint8)
    end = put_codes(numbers, *_code_texts(codes), lengths, octets)
    if end < 0:
        raise KeyError(int(numbers[-1 - end]))
    return Text(lengths, octets[:end])


def code_keys_of(text: Text, codes: type[IntEnum]) -> Ints:
    """Codes of words, one behind the other. Raises ValueError for a word that is none."""
    found = np.empty(len(text.lengths), np.int64)
    wrong = take_codes(read_only(text.lengths), read_only(text.octets), *_code_texts(codes), found)
    if wrong >= 0:
        raise ValueError(f"a word of {text.lengths[wrong]} characters is no {codes.__name__}")
    return found


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


@lru_cache(maxsize=4)
def _numbered(names: tuple[str, ...]) -> tuple[Ints, Ints]:
    """Table of the numbers of names, for ``take_names``."""
    size = 2 << (2 * len(names) + 1).bit_length()
    keys, numbers = np.zeros(size, np.int64), np.full(size, -1, np.int64)
    put_names(read_only(_packed(names)), keys, numbers)
    return read_only(keys), read_only(numbers)


def name_numbers(keys: Ints, names: tuple[str, ...]) -> Ints:
    """Numbers of names. Raises KeyError for a name that is not defined."""
    found = np.empty(len(keys), np.int64)
    unknown = take_names(read_only(np.ascontiguousarray(keys, np.int64)), *_numbered(names), found)
    if unknown >= 0:
        raise KeyError(str(id_words(keys[unknown : unknown + 1])[0]))
    return found
