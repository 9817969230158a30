"""Kernels between columns and rows as COPY of PostgreSQL has them: the number of fields (2 bytes), then each with its
length (4 bytes), big-endian.

Texts are words one behind the other, as ``exports.words.Text`` has them.
"""

from typing import Final

import numpy as np

from engine.jit import called, lshr, shl

#: Bytes of a text at most: the longest word is shorter.
TEXT_MAX: Final = 64
#: Reasons why ``cut_fields`` ended: the bytes or the room did, at the mark behind the last row, at a row with another
#: number of fields, at a field of another length.
MORE, END, OTHER_FIELDS, OTHER_LENGTH = range(4)


@called
def put_big(raw, at, values, octets):
    """Write int64[n] as big-endian numbers of ``octets`` bytes at places ``at`` of ``raw``, and move these behind."""
    for n in range(len(at)):
        place = at[n]
        value = np.int64(values[n])
        for octet in range(octets):
            raw[place + octet] = lshr(value, 8 * (octets - 1 - octet)) & 255
        at[n] = place + octets


@called
def put_texts(raw, at, lengths, octets):
    """Write each text with its length at the places ``at`` of ``raw``, and move these behind."""
    begin = np.int64(0)
    for n in range(len(at)):
        place, length = at[n], np.int64(lengths[n])
        raw[place] = raw[place + 1] = raw[place + 2] = 0
        raw[place + 3] = length
        for octet in range(length):
            raw[place + 4 + octet] = octets[begin + octet]
        begin += length
        at[n] = place + 4 + length


@called
def put_codes(codes, least, word_lengths, words, lengths, octets):
    """Write the words of int64[n] into ``octets`` (``TEXT_MAX`` a word at most), and the length of each in ``lengths``.

    word_lengths: int64[c], of the words of codes from ``least`` on, -1 for a number that is no code. words: uint8[c,
    longest]. Gives the number of all characters, or -1 less the place of the first that is no code.
    """
    at = np.int64(0)
    for n in range(len(codes)):
        code = np.int64(codes[n])
        if code < least or code >= least + len(word_lengths):
            return -1 - np.int64(n)
        code -= least
        if word_lengths[code] < 0:
            return -1 - np.int64(n)
        length = word_lengths[code]
        for octet in range(length):
            octets[at + octet] = words[code, octet]
        lengths[n] = length
        at += length
    return at


@called
def take_codes(lengths, octets, least, word_lengths, words, codes):
    """Read words of codes, one behind the other, into ``codes``; gives the place of the first that is none, or -1."""
    begin = np.int64(0)
    code = np.int64(0)
    for n in range(len(lengths)):
        length = np.int64(lengths[n])
        for _ in range(len(word_lengths)):  # most often it is the word before
            if word_lengths[code] == length:
                same = True
                for octet in range(length):
                    same = same and words[code, octet] == octets[begin + octet]
                if same:
                    break
            code = (code + 1) % len(word_lengths)
        else:
            return np.int64(n)
        codes[n] = code + least
        begin += length
    return np.int64(-1)


@called
def cut_fields(raw, at, is_text, starts, lengths, found):
    """Find the fields of whole rows from place ``at`` on: the places of their bytes, and their lengths.

    is_text: bool[f]; a field that is none has 8 bytes. starts, lengths: int64[f, rows at most]. found: int64[3], the
    rows, the place behind the last of them, and why there is no other.
    """
    fields, rows = len(is_text), np.int64(0)
    found[2] = MORE
    while rows < starts.shape[1] and at + 2 <= len(raw) and found[2] == MORE:
        count = np.int64(raw[at]) << 8 | np.int64(raw[at + 1])
        if count != fields:
            found[2] = END if count == 0xFFFF else OTHER_FIELDS
            break
        place, whole = at + 2, True
        for field in range(fields):
            if place + 4 > len(raw):
                whole = False
                break
            length = np.int64(0)
            for octet in range(4):
                length = shl(length, 8) | np.int64(raw[place + octet])
            if length > TEXT_MAX or (not is_text[field] and length != 8):
                found[2] = OTHER_LENGTH
                whole = False
                break
            place += 4
            if place + length > len(raw):
                whole = False
                break
            starts[field, rows] = place
            lengths[field, rows] = length
            place += length
        if not whole:
            break
        at = place
        rows += 1
    found[0] = rows
    found[1] = at


@called
def take_numbers(raw, starts, values):
    """Read the big-endian numbers of 8 bytes at the places ``starts`` into int64[n]."""
    for n in range(len(starts)):
        value = np.int64(0)
        for octet in range(8):
            value = shl(value, 8) | np.int64(raw[starts[n] + octet])
        values[n] = value


@called
def take_texts(raw, starts, lengths, octets):
    """Copy the texts at the places ``starts`` into ``octets``, one behind the other."""
    at = np.int64(0)
    for n in range(len(starts)):
        for octet in range(lengths[n]):
            octets[at + octet] = raw[starts[n] + octet]
        at += lengths[n]
