"""Client order ids that were chosen to crowd: lines of the table that ids fill, and ids that find only those.

1,024 neighbouring ids of a participant share the rows of eight blocks, one after the other (``engine.index``). With
half of the blocks full, one in 256 such groups finds a full one each time, and all its ids go to the tree.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import ID_LINES_MAX
from engine.index import first_place

NEIGHBOURS = 1_024


class Crowd(NamedTuple):
    """Ids that fill half of the table, and ids that go to the tree when those are used."""

    filling: NDArray[Any]
    crowded: NDArray[Any]


def crowd(state: Any, participant: int, count: int) -> Crowd:
    """So many crowded ids of a participant in the table of a state, and those that fill its half."""
    draw = np.random.default_rng(count)

    def block(group: int, line: int) -> int:
        start = np.int64(group * NEIGHBOURS)
        return int(first_place(state, np.int64(participant), start, np.int64(line))) // NEIGHBOURS

    filling: dict[int, int] = {}
    while 2 * len(filling) < len(state.ids) // NEIGHBOURS:
        group = int(draw.integers(1, 2**50))
        filling.setdefault(block(group, 0), group)
    groups: list[int] = []
    while len(groups) * NEIGHBOURS < count:
        group = int(draw.integers(1, 2**50))
        if group not in filling.values() and all(block(group, line) in filling for line in range(ID_LINES_MAX)):
            groups.append(group)
    return Crowd(_ids(list(filling.values())), _ids(groups)[:count])


def _ids(groups: list[int]) -> NDArray[Any]:
    ids: NDArray[Any] = (np.array(groups, np.int64)[:, None] * NEIGHBOURS + np.arange(NEIGHBOURS)).reshape(-1)
    return ids
