"""Several LOBSTER flows of one day as one stream of commands, by time and, at the same time, in the order given.

Each flow was translated for the venue that the flows before it have set up, with participants of its own: client order
ids are unique a participant, and two files may have the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.names import Directory
from engine.records import COMMAND, CommandKind
from engine.row_bytes import clock_row
from lobster.translate import Flow
from lobster.write import MAKER, TAKER


def participants_of(number: int) -> tuple[str, str]:
    """Maker and taker of a file, by its number from 1.

    >>> participants_of(1), participants_of(2)
    (('MAKER', 'TAKER'), ('MAKER2', 'TAKER2'))
    """
    return (MAKER, TAKER) if number == 1 else (f"{MAKER}{number}", f"{TAKER}{number}")


def with_flow(directory: Directory, symbol: str, number: int) -> Directory:
    """The names of a venue once the flow of a file, by its number from 1, has set up its instrument."""
    participants = (*directory.participants, *participants_of(number))
    return Directory((*directory.symbols, symbol), participants, directory.now_ns)


def merged(flows: Sequence[Flow], now_ns: int) -> list[Flow]:
    """The flows again, each with the rows of all and its own places in them.

    now_ns: the venue's clock before the first row.
    """
    if len(flows) == 1:
        return list(flows)
    kept = [flow.rows["kind"] != CommandKind.CLOCK for flow in flows]
    times = np.concatenate([_times(flow.rows, keep, now_ns) for flow, keep in zip(flows, kept, strict=True)])
    rows = np.concatenate([flow.rows[keep] for flow, keep in zip(flows, kept, strict=True)])
    order = np.argsort(times, kind="stable")
    moves = np.diff(times[order], prepend=now_ns) != 0
    position = np.arange(len(order)) + np.cumsum(moves)  # of each row, behind the clocks
    stream = np.empty(len(order) + int(moves.sum()), COMMAND)
    stream[position] = rows[order]
    clocks = b"".join(clock_row(time_ns) for time_ns in times[order][moves].tolist())
    stream[position[moves] - 1] = np.frombuffer(clocks, COMMAND)
    place = np.empty(len(order), np.int64)
    place[order] = position
    ends = np.cumsum([int(keep.sum()) for keep in kept])
    placed = zip(flows, kept, np.split(place, ends[:-1]), strict=True)
    return [_moved(flow, stream, keep, own) for flow, keep, own in placed]


def _times(rows: NDArray[Any], keep: NDArray[np.bool_], now_ns: int) -> NDArray[np.int64]:
    """The time of each row that is kept: that of the CLOCK row before it."""
    clocks = np.concatenate([np.array([now_ns]), rows["time_ns"][~keep]])
    times: NDArray[np.int64] = clocks[np.cumsum(~keep)][keep]
    return times


def _moved(flow: Flow, stream: NDArray[Any], keep: NDArray[np.bool_], place: NDArray[np.int64]) -> Flow:
    """A flow with its places in the stream. place: of each of its rows that is kept."""
    number = np.cumsum(keep) - 1
    # The last row of a message is never a clock.
    rows_after = place[number[flow.rows_after - 1]] + 1
    fills = [fill._replace(row=int(place[number[fill.row]])) for fill in flow.fills]
    return flow._replace(rows=stream, rows_after=rows_after, fills=fills)
