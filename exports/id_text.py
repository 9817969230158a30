"""Kernels between numbers of ids and their words, one behind the other, as ``exports.words`` says what a word is; and
from names to their numbers."""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, shl, wrapping_multiply
from engine.names import EVERY, ID_CHARACTERS

#: Characters of an id that is no word, ``~`` and 16 hexadecimal digits.
RAW_LENGTH: Final = 17
#: Characters of a word at most, otherwise.
_PLAIN_LENGTH: Final = 8
_EVERY: Final = EVERY
_TILDE: Final = ord("~")
_ZERO: Final = ord("0")
_A_LESS_10: Final = ord("a") - 10

#: True for characters of ids.
IS_ID: Final = np.zeros(256, np.bool_)
IS_ID[[ord(character) for character in ID_CHARACTERS]] = True
IS_ID.flags.writeable = False


@inlined
def _plain_length(number, is_id):
    """Characters of a number that is a word, 0 of one that is none, or is 0."""
    if number == _EVERY:
        return np.int64(1)
    length = np.int64(0)
    left = number
    while left != 0:
        if not is_id[left & 255]:
            return np.int64(0)
        left = lshr(left, 8)
        length += 1
    return length


@called
def put_ids(numbers, is_id, lengths, octets):
    """Write the words of int64[n] into ``octets`` (17 a number, at most) and the length of each into ``lengths``.

    Gives the number of all characters. is_id: ``IS_ID``.
    """
    at = np.int64(0)
    for n in range(len(numbers)):
        number = np.int64(numbers[n])
        length = _plain_length(number, is_id)
        if length:
            for place in range(length):
                octets[at + place] = lshr(number, 8 * (length - 1 - place)) & 255
        elif number != 0:
            length = np.int64(RAW_LENGTH)
            octets[at] = _TILDE
            for place in range(16):
                digit = lshr(number, 4 * (15 - place)) & 15
                octets[at + 1 + place] = digit + (_ZERO if digit < 10 else _A_LESS_10)
        lengths[n] = length
        at += length
    return at


@called
def take_ids(lengths, octets, is_id, numbers):
    """Read words, one behind the other, into ``numbers``; gives the place of the first that is none, or -1.

    A number has one word: another one for it is none. So is one that reaches beyond the octets.
    """
    at = np.int64(0)
    for n in range(len(lengths)):
        length = np.int64(lengths[n])
        if length < 0 or length > RAW_LENGTH or at + length > len(octets):
            return np.int64(n)
        number = np.int64(0)
        if length == RAW_LENGTH:
            if octets[at] != _TILDE:
                return np.int64(n)
            for place in range(1, RAW_LENGTH):
                octet = np.int64(octets[at + place])
                if _ZERO <= octet < _ZERO + 10:
                    digit = octet - _ZERO
                elif _A_LESS_10 + 10 <= octet < _A_LESS_10 + 16:
                    digit = octet - _A_LESS_10
                else:
                    return np.int64(n)
                number = shl(number, 4) | digit
            if number == 0 or _plain_length(number, is_id) != 0:
                return np.int64(n)
        elif length > _PLAIN_LENGTH:
            return np.int64(n)
        elif length != 0:
            for place in range(length):
                number = shl(number, 8) | np.int64(octets[at + place])
            if _plain_length(number, is_id) != length:
                return np.int64(n)
        numbers[n] = number
        at += length
    return np.int64(-1)


#: Odd number whose product spreads names over a table.
_SPREAD: Final = 0x9E3779B97F4A7C15 - 2**64


@inlined
def _place_of(key, keys, numbers):
    """Place of a name in a table of names by their products, or of the free place where it would stand."""
    place = lshr(wrapping_multiply(key, _SPREAD), 32) & (len(keys) - 1)
    while numbers[place] >= 0 and keys[place] != key:  # more than half of the places are free
        place = (place + 1) & (len(keys) - 1)
    return place


@called
def put_names(names, keys, numbers):
    """Fill a table with names, numbered from 0: ``keys`` and ``numbers`` have 2^k places, more than twice as many as
    there are names, and all ``numbers`` are -1."""
    for n in range(len(names)):
        place = _place_of(np.int64(names[n]), keys, numbers)
        if numbers[place] < 0:
            keys[place] = names[n]
            numbers[place] = n


@called
def take_names(names, keys, numbers, found):
    """Look names up in a table of ``put_names``, and write their numbers into ``found``.

    Gives the place of the first that is not there, or -1.
    """
    for n in range(len(names)):
        number = numbers[_place_of(np.int64(names[n]), keys, numbers)]
        if number < 0:
            return np.int64(n)
        found[n] = number
    return np.int64(-1)
