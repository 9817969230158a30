"""Messages of a block as any protocol makes them: users, their messages, and segments of all messages of one user.

A protocol writes the messages of a block one behind the other into ``out``, and notes each with ``sent``. ``group``
puts them together user by user: a segment is what a user gets at once. The tables are those of the protocol, with at
least the arrays of ``Outgoing`` and ``users``, ``messages`` and ``counts``.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers

#: Row of a user; row 0 is none. ``participant``: its number. ``next_seq``, ``bytes``: of its stream of the day.
USER: Final = np.dtype(
    [
        ("name", "<i8"),
        ("participant_name", "<i8"),
        ("participant", "<i8"),
        ("firm", "<i8"),
        ("permissions", "<i8"),
        ("next_seq", "<i8"),
        ("bytes", "<i8"),
        ("salt_0", "<i8"),
        ("salt_1", "<i8"),
        ("hash_0", "<i8"),
        ("hash_1", "<i8"),
        ("hash_2", "<i8"),
        ("cost", "<i8"),  # 0: no password yet
        ("reserved", "<i8", (3,)),
    ]
)
#: Written message, and segment of all messages of one user. ``begin``: of its bytes. ``position``: in its stream.
MESSAGE: Final = np.dtype([("user", "<i8"), ("begin", "<i8"), ("bytes", "<i8")])
SEGMENT: Final = np.dtype(
    [("user", "<i8"), ("first_seq", "<i8"), ("count", "<i8"), ("begin", "<i8"), ("bytes", "<i8"), ("position", "<i8")]
)


class Outgoing(NamedTuple):
    """Segments of the messages that were just made, and the room for their bytes."""

    segments: np.ndarray[Any, Any]  # SEGMENT[users_max + 1]
    out: np.ndarray[Any, Any]  # uint8[n]: messages in the order of events
    grouped: np.ndarray[Any, Any]  # uint8[n]: the same, user by user


#: Unpack the arrays in a kernel, from the pointers of a ``Packed``.
unpack_outgoing = unpack_pointers(Outgoing(np.zeros(1, SEGMENT), np.zeros(1, np.uint8), np.zeros(1, np.uint8)))

#: Flags of a block, from the kernel that answers it: it ends with an EXTEND row; it has definitions; a trading day
#: begins in it. With one of the last two nothing is answered yet. Further flags are the protocol's own; Python looks at
#: them before a message leaves.
EXTENDS: Final = 1
DEFINES: Final = 2
NEW_DAY: Final = 4


@inlined
def sent(tables, m, user, begin, end):
    """Record message m for a user; gives m + 1."""
    message = tables.messages[m]
    message["user"] = user
    message["begin"] = begin
    message["bytes"] = end - begin
    tables.counts[user, 0] += 1
    tables.counts[user, 1] += end - begin
    return m + 1


@inlined
def end_of_messages(tables, m):
    """Position of the next message."""
    return tables.messages[m - 1]["begin"] + tables.messages[m - 1]["bytes"] if m > 0 else np.int64(0)


@called
def group(tables, m):
    """Group m messages by user; gives the number of segments. With one user they are in ``out`` already."""
    count = np.int64(0)
    at = np.int64(0)
    for number in range(m):
        user = tables.messages[number]["user"]
        if tables.counts[user, 0] > 0:
            segment = tables.segments[count]
            count += 1
            segment["user"] = user
            segment["first_seq"] = tables.users[user]["next_seq"]
            segment["count"] = tables.counts[user, 0]
            segment["begin"] = at
            segment["bytes"] = tables.counts[user, 1]
            segment["position"] = tables.users[user]["bytes"]
            tables.users[user]["next_seq"] += tables.counts[user, 0]
            tables.users[user]["bytes"] += tables.counts[user, 1]
            at += tables.counts[user, 1]
            # From here on a negative counter is the place of the user's next message.
            tables.counts[user, 0] = -1
            tables.counts[user, 1] = segment["begin"]
    for number in range(m):
        message = tables.messages[number]
        user = message["user"]
        if count > 1:
            to = tables.counts[user, 1]
            begin = message["begin"]
            for byte in range(message["bytes"]):
                tables.grouped[to + byte] = tables.out[begin + byte]
            tables.counts[user, 1] = to + message["bytes"]
    for number in range(count):
        user = tables.segments[number]["user"]
        tables.counts[user, 0] = 0
        tables.counts[user, 1] = 0
    return count
