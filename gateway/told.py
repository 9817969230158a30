"""Messages that compiled turns have sent and that the spool has yet to take, in one memory: rows of TOLD, and bytes.

A turn only writes behind what is there. The spool takes all at once when there is enough of it, or when somebody asks
for a stream: then a kernel puts the messages of each user together, so that Python runs once a user and not once a
turn.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.jit import called
from sequencer import system_calls as system

#: Messages to one user, as SEGMENT. ``sent``: bytes that the connection took; -1: it is not direct.
TOLD: Final = np.dtype(
    [
        ("user", "<i8"),
        ("first_seq", "<i8"),
        ("count", "<i8"),
        ("position", "<i8"),
        ("begin", "<i8"),
        ("bytes", "<i8"),
        ("sent", "<i8"),
    ]
)
#: Bytes that wait for the spool: so many of each user who had some when the spool last took them, within bounds.
BYTES_OF_USER: Final = 32_768
BYTES_MIN: Final = 131_072
BYTES_MAX: Final = 16 << 20
#: Rows that wait at most.
ROWS_MAX: Final = 65_536
#: A user's messages are one piece up to about so many bytes: as many as an extent of a spool has.
_PIECE_BYTES: Final = 65_536

_memcpy: Final = system.memcpy


@called
def group_told(told, count, address, pieces, piece_of, grouped_address):
    """Put the messages of the first ``count`` rows together, user by user; gives the number of ``pieces``.

    address, grouped_address: of the bytes, and of as much room. pieces: TOLD rows, as many as ``count``, whose
    ``begin`` is in that room. piece_of: int64[users_max + 1], zeros before and after.
    """
    made = np.int64(0)
    for number in range(count):
        row = told[number]
        user = row["user"]
        at = piece_of[user] - 1
        if at < 0 or pieces[at]["bytes"] >= _PIECE_BYTES:
            at = made
            made += 1
            piece_of[user] = made
            piece = pieces[at]
            piece["user"], piece["first_seq"], piece["position"] = user, row["first_seq"], row["position"]
            piece["count"] = piece["bytes"] = 0
        pieces[at]["count"] += row["count"]
        pieces[at]["bytes"] += row["bytes"]
        row["sent"] = at  # nobody needs it any more
    to = np.int64(0)
    for number in range(made):
        piece = pieces[number]
        piece_of[piece["user"]] = 0
        piece["begin"] = piece["sent"] = to
        to += piece["bytes"]
    for number in range(count):
        row = told[number]
        piece = pieces[row["sent"]]
        _memcpy(grouped_address + piece["sent"], address + row["begin"], row["bytes"])
        piece["sent"] += row["bytes"]
    return made


class Told:
    """The memory, and how much of it waits for the spool.

    ``counts``: int64[2], rows and bytes that wait; of the turns. ``limit_bytes``: enough for the spool to take them.
    """

    def __init__(self, users: int, call_bytes: int) -> None:
        """``users``: rows of the table of users. ``call_bytes``: bytes that one call of the turns may add at least."""
        rows_max = ROWS_MAX + 4 * users
        self.rows: NDArray[Any] = np.zeros(rows_max, TOLD)
        self.data: NDArray[np.uint8] = np.zeros(BYTES_MAX + call_bytes, np.uint8)
        self.limit_bytes = BYTES_MIN
        self._pieces: NDArray[Any] = np.zeros(rows_max, TOLD)
        self._piece_of = np.zeros(users, np.int64)
        self._grouped: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.counts: NDArray[np.int64] = np.zeros(2, np.int64)

    def __len__(self) -> int:
        return int(self.counts[0])

    @property
    def is_full(self) -> bool:
        """True if the spool is to take what waits."""
        return int(self.counts[1]) >= self.limit_bytes or int(self.counts[0]) >= ROWS_MAX

    def take(self, *, reuse: bool) -> Iterator[tuple[int, int, int, memoryview]]:
        """Take all that waits: user, first_seq, messages and bytes, in order for each user.

        reuse: the bytes of the last ones that were taken are not used any more.
        """
        rows, size = int(self.counts[0]), int(self.counts[1])
        if not reuse or len(self._grouped) < size:
            self._grouped = np.empty(size, np.uint8)
        made = int(
            group_told(self.rows, rows, self.data.ctypes.data, self._pieces, self._piece_of, self._grouped.ctypes.data)
        )
        self.counts[:] = 0
        pieces = self._pieces[:made].tolist()
        users = len({piece[0] for piece in pieces})
        self.limit_bytes = min(max(BYTES_OF_USER * users, BYTES_MIN), BYTES_MAX)
        view = self._grouped.data
        for user, first_seq, count, _, begin, number, _ in pieces:
            yield user, first_seq, count, view[begin : begin + number]
