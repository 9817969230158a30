"""Texts of long ClOrdIDs of FIX, read from the marks in the rows of a journal (``gateway.fix.marks``).

A ClOrdID of more than 14 characters is a client order id that is derived from it, and its text stands in the journal
before the first command that uses it: in the EXTEND rows before marks, 48 bytes each, in parts where it is longer.
"""

from collections.abc import Container
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, CommandKind
from gateway.fix import names
from gateway.fix.marks import PART_BYTES
from wire.fix_marks import NUMBERS, Mark

_WORDS: Final = PART_BYTES // 8
_KIND_SHIFT, _KIND_MASK = 48, 63
_PROTOCOL_SHIFT, _PROTOCOL_MASK = 60, 15


class LongNames:
    """Reader of the texts in rows that come block by block. A text whose first part was before them is left out."""

    def __init__(self, heads: Container[int] | None = None) -> None:
        """heads: first eight bytes, as a number, of the texts that are wanted; None: all."""
        self._heads = heads
        self._begun: dict[int, bytes] = {}  # texts that are not all there, by the context of their marks

    def read(self, rows: NDArray[Any]) -> dict[int, str]:
        """Texts that end in COMMAND rows, by their client order ids. The first row is the last one of the call before,
        or any: a mark is a pair of rows."""
        marks, contexts = rows[1:], rows["context"][1:]
        is_name = (contexts >> _KIND_SHIFT & _KIND_MASK) == Mark.NAME
        is_name &= np.isin(contexts >> _PROTOCOL_SHIFT & _PROTOCOL_MASK, NUMBERS)
        is_name &= (marks["kind"] == CommandKind.CANCEL) & (marks["client_order_id"] == 0)
        is_name &= rows["kind"][:-1] == CommandKind.EXTEND
        at = np.flatnonzero(is_name)
        words = np.frombuffer(rows[at].tobytes(), "<i8").reshape(-1, COMMAND.itemsize // 8)[:, :_WORDS]
        texts = words.astype(">i8").tobytes()
        found: dict[int, str] = {}
        numbers = zip(contexts[at].tolist(), marks["qty"][at].tolist(), words[:, 0].tolist(), strict=True)
        for place, (context, number, head) in enumerate(numbers):
            size, is_first = number & 255, number >> 8 == 0
            if is_first and self._heads is not None and head not in self._heads:
                self._begun.pop(context, None)
                continue
            before = b"" if is_first else self._begun.pop(context, None)
            if before is None:
                continue
            text = before + texts[place * PART_BYTES : (place + 1) * PART_BYTES]
            if len(text) < size:
                self._begun[context] = text
            else:
                found[names.id_of(text[:size])] = text[:size].decode("latin-1")
        return found
