"""Texts of long ClOrdIDs, and of routes, as marks have brought them: those before the command that uses them.

A text longer than the words of a mark comes in parts, one mark each, in turn. A user has one text at a time that is not
all there, and one route: that of the message whose command comes next.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.fix import marks, names
from gateway.fix.kept_orders import Key

#: Id in the table at which the last ROUTE of a user is, and that at which a text is that is not all there.
_ROUTE: Final = 1
_PART: Final = 0


class KeptNames:
    """Texts of the users."""

    def __init__(self, table: dict[Key, bytes] | None = None) -> None:
        """table: that of an image."""
        #: Texts by user and id; of one that is not all there at id 0, of a route at 1.
        self.table: dict[Key, bytes] = {} if table is None else table
        self._held = _counted(self.table)

    def take(self, user: int, number: int, part: bytes, *, routes: bool = False) -> None:
        """Take a part of a text. number: as of its mark: place of the part and size of the text."""
        size, place = number & 255, number >> 8
        text = part if place == 0 else self.table.pop((user, _PART), b"") + part
        if len(text) < size:
            self.table[user, _PART] = text
        elif routes:
            self.table[user, _ROUTE] = text[:size]
        else:
            self._keep(user, names.id_of(text[:size]), text[:size])

    def _keep(self, user: int, client_order_id: int, text: bytes) -> None:
        self._held[user] += (user, client_order_id) not in self.table
        self.table[user, client_order_id] = text

    def held(self, user: int) -> int:
        """Number of the long ClOrdIDs of a user."""
        return self._held[user]

    def route(self, context: int) -> bytes:
        """Fields of the header by which what a command causes goes back to a third party; nothing for most."""
        if not marks.flags_of(context) & marks.ROUTED:
            return b""
        number, _, route = self.table.get((context & 0xFFFF, _ROUTE), b"").partition(b"\x01")
        return route if number == b"%d" % marks.next_in_of(context) else b""

    def begin_day(self, is_open: Callable[[Key], bool]) -> None:
        """Forget the texts of the days before but those of open orders: ids are used once a day."""
        self.table = {key: text for key, text in self.table.items() if is_open(key) or key[1] >= 0}
        self._held = _counted(self.table)


def _counted(table: dict[Key, bytes]) -> "Counter[int]":
    return Counter(user for user, client_order_id in table if client_order_id < 0)


def packed(name: str, table: dict[Key, bytes]) -> dict[str, NDArray[Any]]:
    """A table as arrays: keys with the end of each value, and the values."""
    ends = np.cumsum([len(value) for value in table.values()], dtype=np.int64)
    keys = np.array(list(table), np.int64).reshape(-1, 2)
    return {
        f"{name} keys": np.column_stack([keys, ends]),
        f"{name} values": np.frombuffer(b"".join(table.values()), np.uint8).copy(),
    }


def unpacked(name: str, image: dict[str, Any]) -> dict[Key, bytes]:
    """A table from the arrays that ``packed`` gave, which are taken out of an image. Raises KeyError."""
    keys, values = image.pop(f"{name} keys"), image.pop(f"{name} values").tobytes()
    table, begin = {}, 0
    for user, client_order_id, end in keys.tolist():
        table[user, client_order_id] = values[begin:end]
        begin = end
    return table
