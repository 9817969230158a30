"""Kernels that take rows apart: places of a row as columns of int64, and reports of an order as its row of ``orders``.

Rows are read while they are in a near cache; NumPy would go through all rows once for each place.
"""

from typing import Final

import numpy as np

from engine.jit import called, lshr, shl

#: Facts of a place in a row of ``places``: the word of 8 bytes that it is in, the bits above it there, the bits that it
#: has less than a word, 1 for a signed one, and its table of ``codes`` or -1.
WORD, ABOVE, LESS, SIGNED, CODES = range(5)
#: Rows that are taken apart before the next ones: the nearest cache holds them, and a line of each column.
NEAR_ROWS: Final = 32


@called
def put_columns(words, places, kinds, uses, codes, columns, at):
    """Write n rows, as int64[n, words of a row], into ``columns`` (int64[places, room]) from ``at`` on.

    places: int64[p, 5], see above. kinds: number of the place that is the kind of a row. uses: bool[p, 256], the
    kinds that use a place; in others it is 0. codes: int64[t, 256], by which numbers of one byte are replaced.
    """
    kind_word, kind_above, kind_less = places[kinds, WORD], places[kinds, ABOVE], places[kinds, LESS]
    for begin in range(0, len(words), NEAR_ROWS):
        end = min(begin + NEAR_ROWS, len(words))
        for place in range(len(places)):
            word, above, less = places[place, WORD], places[place, ABOVE], places[place, LESS]
            signed, table = places[place, SIGNED], places[place, CODES]
            for row in range(begin, end):
                value = np.int64(0)
                if uses[place, lshr(shl(words[row, kind_word], kind_above), kind_less) & 255]:
                    value = shl(words[row, word], above)
                    value = value >> less if signed else lshr(value, less)
                    if table >= 0:
                        value = codes[table, value & 255]
                columns[place, at + row] = value


@called
def put_orders(columns, n, about, first, newest, last, first_of, newest_of, last_of):
    """Take ``n`` reports, as ``put_columns`` gives them, into the rows of their orders, by order number.

    A row is as the report that ends its order leaves it, and its entry is the first one: a report behind these, of
    which no engine gives any, changes no row. about: int64[6], the column of the kind, where it is about an order, else
    0; those of the order number and the open quantity; the kinds of a new order and of a trade; the place of the number
    of its command in a row of ``first_of``. first, newest, last: int64[f], the columns that make up a row of
    ``first_of``, ``newest_of`` and ``last_of`` (int64[orders, f]); the first of ``last`` is the number of a command,
    its last a reason, and 0 for a trade.
    """
    kinds, numbers, leaves, new, trade, entry = about[0], about[1], about[2], about[3], about[4], about[5]
    for row in range(n):
        kind, number = columns[kinds, row], columns[numbers, row]
        if kind == 0 or number <= 0 or number >= len(first_of):
            continue
        if last_of[number, 0] != 0 or (kind == new and first_of[number, entry] != 0):
            continue
        if kind == new:
            for place in range(len(first)):
                first_of[number, place] = columns[first[place], row]
        for place in range(len(newest)):
            newest_of[number, place] = columns[newest[place], row]
        if columns[leaves, row] == 0:
            for place in range(len(last)):
                last_of[number, place] = columns[last[place], row]
            if kind == trade:
                last_of[number, len(last) - 1] = 0
