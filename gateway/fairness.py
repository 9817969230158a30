"""Check of arrival records: connections took turns by message. Pure.

Within a turn no message of a connection waits for more than one message of each other connection: between two messages
of a connection, and before its first, each other connection has one message at most (PROTOCOL.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def messages_of(arrivals: NDArray[Any]) -> NDArray[Any]:
    """The ARRIVAL row of each message, without that of its second journal row."""
    if not len(arrivals):
        return arrivals
    same = arrivals["place"][1:] == arrivals["place"][:-1]
    same &= (arrivals["turn"][1:] == arrivals["turn"][:-1]) & (arrivals["seq"][1:] == arrivals["seq"][:-1] + 1)
    return arrivals[np.concatenate(([True], ~same))]


def turn_numbers(messages: NDArray[Any]) -> NDArray[np.int64]:
    """Number of the turn of each message, from 0, across restarts of the node."""
    if not len(messages):
        return np.zeros(0, np.int64)
    begins = messages["turn"][1:] != messages["turn"][:-1]
    begins |= messages["place"][1:] <= messages["place"][:-1]
    return np.concatenate(([0], np.cumsum(begins)))


def unfair(messages: NDArray[Any]) -> NDArray[np.int64]:
    """Indexes of messages that waited for two messages of one other connection, in order.

    ``messages``: rows of ``messages_of``, whole turns. For each message let ``before`` be the index of the last message
    of its connection in this turn, or of the place before the turn. A message at p waited for two of another
    connection if that one has a message x < p whose ``before`` is later than that of p.
    """
    if not len(messages):
        return np.zeros(0, np.int64)
    turns, at = turn_numbers(messages), np.arange(len(messages))
    first = np.concatenate(([True], turns[1:] != turns[:-1]))
    before = np.maximum.accumulate(np.where(first, at, 0)) - 1  # the place before the turn
    order = np.lexsort((at, messages["connection"], turns))
    follows = (turns[order][1:] == turns[order][:-1]) & (
        messages["connection"][order][1:] == messages["connection"][order][:-1]
    )
    before[order[1:][follows]] = order[:-1][follows]
    return np.flatnonzero(before < np.maximum.accumulate(before))
