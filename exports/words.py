"""Codes, ids and names of rows as words, a column at a time, and back.

A word says exactly what the number said: ``keys`` of ``words`` are the numbers again. So a table that has words alone
still proves the rows that it was made from.
"""

from enum import IntEnum
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import EVERY, ID_CHARACTERS
from notation.words import id_number

Ints = NDArray[np.int64]
Words = NDArray[Any]

_IS_ID: Final = np.zeros(256, np.bool_)
_IS_ID[[ord(character) for character in ID_CHARACTERS]] = True
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
#: Value of each hexadecimal digit, 255 of what is none.
_NIBBLE: Final = np.full(256, 255, np.uint8)
_NIBBLE[_HEX] = np.arange(16)
#: Characters of an id that is none, ``~`` and 16 hexadecimal digits.
_LONGEST: Final = 17


def id_words(values: Ints) -> Words:
    """Ids or names of numbers; "" for 0, * for every.

    >>> id_words(np.array([0x6131, 0, -2, 42])).tolist()
    ['a1', '', '~fffffffffffffffe', '*']
    """
    values = np.ascontiguousarray(values, np.int64)
    found = np.zeros(len(values), f"U{_LONGEST}")
    octets = values.astype(">i8").view(np.uint8).reshape(-1, 8)
    used = octets != 0
    lengths = np.where(used.any(axis=1), 8 - used.argmax(axis=1), 0)
    inner = np.arange(8) >= 8 - lengths[:, None]
    plain = (_IS_ID[octets] | ~inner).all(axis=1) & (lengths > 0)
    for length in range(1, 9):
        at = np.flatnonzero(plain & (lengths == length))
        if len(at):
            found[at] = np.ascontiguousarray(octets[at, 8 - length :]).view(f"S{length}").ravel().astype("U8")
    others = np.flatnonzero(~plain & (lengths > 0))
    if len(others):
        nibbles = np.stack((octets[others] >> 4, octets[others] & 15), axis=2).reshape(-1, 16)
        words = np.full((len(others), _LONGEST), ord("~"), np.uint8)
        words[:, 1:] = _HEX[nibbles]
        found[others] = words.view(f"S{_LONGEST}").ravel().astype(f"U{_LONGEST}")
        found[others[values[others] == EVERY]] = "*"
    return found


def id_keys(words: Words) -> Ints:
    """Numbers of ids or names. Raises ValueError for a word that is none.

    >>> id_keys(np.array(["a1", "", "~fffffffffffffffe", "*"])).tolist()
    [24881, 0, -2, 42]
    """
    octets = np.asarray(words, f"S{_LONGEST}")
    lengths = np.char.str_len(octets)
    raw = octets.view(np.uint8).reshape(-1, _LONGEST)
    found = np.zeros(len(octets), np.int64)
    plain = (lengths > 0) & (lengths <= 8) & _IS_ID[raw[:, 0]]
    for length in range(1, 9):
        at = np.flatnonzero(plain & (lengths == length))
        padded = np.zeros((len(at), 8), np.uint8)
        padded[:, 8 - length :] = raw[at, :length]
        found[at] = padded.view(">i8").ravel()
    nibbles = _NIBBLE[raw[:, 1:]]
    hexadecimal = (raw[:, 0] == ord("~")) & (lengths == _LONGEST) & (nibbles < 16).all(axis=1)
    digits = nibbles[hexadecimal]
    found[hexadecimal] = np.ascontiguousarray(digits[:, ::2] << 4 | digits[:, 1::2]).view(">i8").ravel()
    for place in np.flatnonzero(~plain & ~hexadecimal & (lengths > 0)).tolist():
        word = bytes(octets[place]).decode()
        found[place] = EVERY if word == "*" else id_number(word, "an id")
    return found


def few_words(values: Ints) -> Words:
    """Ids or names as ``id_words`` gives them, for columns in which few come often."""
    distinct, inverse = np.unique(np.ascontiguousarray(values, np.int64), return_inverse=True)
    return id_words(distinct).astype(object)[inverse.reshape(-1)]


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
    return _keys(words, {"": 0, **{code.name.lower(): int(code) for code in codes}})


def name_words(numbers: NDArray[Any], names: tuple[str, ...]) -> Words:
    """Names of numbers in order of definition, from 1; "" for 0."""
    found: Words = np.array(["", *names], object)[np.asarray(numbers, np.int64)]
    return found


def name_keys(words: Words, names: tuple[str, ...]) -> Ints:
    """Numbers of names. Raises KeyError for a name that is not defined."""
    return _keys(words, {"": 0, **{name: number for number, name in enumerate(names, 1)}})


def _keys(words: Words, known: dict[str, int]) -> Ints:
    # Sorting texts, to look each up once, would take ten times as long.
    return np.fromiter(map(known.__getitem__, words.tolist()), np.int64, len(words))
