"""Commands behind the reports of FIX: those of the block, and those that wait for the end of the venue's entry delay.

A command of FIX says more than its report: its EXTEND row, the row before it, has the texts of its ids, and its context
the session and the number of its message.
"""

from collections import deque
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, CommandKind
from engine.row_bytes import ROW
from gateway.fix import marks, names
from gateway.fix.kept_orders import Key
from gateway.fix.marks import Mark

_CANCEL, _REPLACE, _EXTEND = int(CommandKind.CANCEL), int(CommandKind.REPLACE), int(CommandKind.EXTEND)
_HAVE_EFFECT: Final = (int(CommandKind.ENTER), _CANCEL, _REPLACE, int(CommandKind.CROSS))
_WORDS: Final = 6
_NO_WORDS: Final = (0,) * _WORDS


class Behind(NamedTuple):
    """A command, and what the row before it says."""

    #: Places of the COMMAND row, as ``engine.row_bytes`` has them.
    command: tuple[int, ...]
    #: Words of the EXTEND row before it; zeros for none.
    words: tuple[int, ...]


class Commands:
    """The commands that reports are answers to."""

    def __init__(self, carried: NDArray[Any]) -> None:
        """carried: COMMAND[1]: last row of the block before; shared with kernels."""
        self.first_seq = 0
        #: COMMAND[n]: rows of the block that is taken.
        self.rows = np.zeros(0, COMMAND)
        self.carried = carried
        #: Commands that wait, each with the row before it, by context.
        self._waiting: dict[int, deque[bytes]] = {}

    def begin(self, first_seq: int, rows: NDArray[Any]) -> None:
        """Begin a block of COMMAND rows from ``first_seq`` on."""
        self.first_seq, self.rows = first_seq, rows

    def end(self) -> None:
        """End a block: its last row is the one before the next block."""
        if len(self.rows):
            self.carried[0] = self.rows[-1]

    def with_row_before(self, at: int) -> tuple[bytes, bytes]:
        """The row before a place of the block, and the row at that place."""
        return (self.rows[at - 1] if at else self.carried[0]).tobytes(), self.rows[at].tobytes()

    def keep_waiting(self, at: int, context: int) -> None:
        """Keep the command at a place of the block until the venue's entry delay ends."""
        self._waiting.setdefault(context, deque()).append(b"".join(self.with_row_before(at)))

    def behind(self, seq: int, context: int) -> Behind:
        """The command of a report. One that has waited is given once.

        seq: of the command, or of the clock value by which one that waited has its effect. Raises ValueError where none
        with this context waits.
        """
        before, row = self.with_row_before(seq - self.first_seq)
        if ROW.unpack(row)[8] not in _HAVE_EFFECT:
            waiting = self._waiting.get(context)
            if not waiting:
                raise ValueError(f"no command with context {context} waits for the clock value {seq}")
            before, row = _apart(waiting.popleft())
            if not waiting:
                del self._waiting[context]
        return _read(before, row)

    def replace_of(self, seq: int, participant: int, client_order_id: int) -> Behind | None:
        """The command that has replaced an order; it stays where it is if it has waited. None: it is not known, since
        it has waited, and came by another protocol."""
        found = [self.with_row_before(seq - self.first_seq)]
        found += [_apart(waiting[0]) for waiting in self._waiting.values()]
        for before, row in found:
            places = ROW.unpack(row)
            if places[8] == _REPLACE and (places[0], places[6]) == (client_order_id, participant):
                return _read(before, row)
        return None

    def long_id(self, user: int, client_order_id: int, protocols: tuple[int, ...]) -> bytes | None:
        """Text of a long id whose mark waits; None for no such mark. A cross does not wait."""
        if not self._waiting:
            return None
        text = b""
        contexts = (marks.context_of(user, 0, Mark.NAME, protocol) for protocol in protocols)
        for both in (each for context in contexts for each in self._waiting.get(context, ())):
            before, row = _apart(both)
            part, number = marks.text_in(ROW.unpack(before)[:_WORDS]), ROW.unpack(row)[3]
            size, place = number & 255, number >> 8
            text = part if place == 0 else text + part
            if len(text) >= size and names.id_of(text[:size]) == client_order_id:
                return text[:size]
        return None

    # Image.

    def waiting(self) -> dict[Key, bytes]:
        """The commands that wait, each behind the row before it, by context and place."""
        return {(of, n): each for of, all_of in self._waiting.items() for n, each in enumerate(all_of)}

    def restore(self, waiting: dict[Key, bytes], carried: NDArray[np.uint8]) -> None:
        """Continue from those that ``waiting`` gave, and the bytes of the last row of the block before."""
        for (context, _), both in waiting.items():
            self._waiting.setdefault(context, deque()).append(both)
        self.carried.view(np.uint8)[:] = carried


def context_in(places: tuple[int, ...]) -> int:
    """Context of an order command, from the places of its row."""
    return places[4] if places[8] == _REPLACE else places[1]


def _apart(both: bytes) -> tuple[bytes, bytes]:
    return both[: ROW.size], both[ROW.size :]


def _read(before: bytes, row: bytes) -> Behind:
    words = ROW.unpack(before)
    return Behind(ROW.unpack(row), words[:_WORDS] if words[8] == _EXTEND else _NO_WORDS)
