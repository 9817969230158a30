"""Form of a COMMAND row: the places that its kind does not use are zero (rulebook section 13, 1).

A row is eight words of 8 bytes. ``UNUSED`` has, for each kind, the bits of each word that must be zero. It is built
from ``COMMAND_FIELDS``, so one comparison checks every kind, and a new kind needs no check of its own.
"""

from typing import Any, Final

import numpy as np

from engine.jit import inlined, word_of
from engine.records import COMMAND, COMMAND_FIELDS, Instruction

ROW_WORDS: Final = COMMAND.itemsize // 8

_DISPLAY: Final = int(Instruction.DISPLAY)
_MARKET: Final = int(Instruction.MARKET)
_STOP: Final = int(Instruction.STOP)
_OFFSET: Final = int(Instruction.OFFSET)


def _unused_words() -> "np.ndarray[Any, Any]":
    words = np.zeros((256, ROW_WORDS), np.int64)
    for kind, fields in COMMAND_FIELDS.items():
        octets = np.full(COMMAND.itemsize, 255, np.uint8)
        for name in (*fields, "kind"):
            dtype, offset = (COMMAND.fields or {})[name][:2]
            octets[offset : offset + dtype.itemsize] = 0
        words[kind] = octets.view(np.int64)
    return words


#: Bits that must be zero: int64[256, 8], by kind and word. All zero for a kind that is not built: no form saves it.
UNUSED: Final = _unused_words()


@inlined
def has_form(command, kind):
    """True if the places of a row that its kind does not use are zero."""
    bits = np.int64(0)
    for n in range(ROW_WORDS):
        bits |= word_of(command, n) & UNUSED[kind, n]
    return bits == 0


@inlined
def terms_fit(command, instructions):
    """True if an enter or replace has a display quantity, a stop, an offset and a price only where its instructions use
    them."""
    if command["display_qty"] != 0 and not instructions & (_DISPLAY | _STOP | _OFFSET):
        return False
    return not (instructions & _MARKET and command["price_e4"] != 0)
