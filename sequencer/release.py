"""Release: how far answers, feed messages and drop copies may leave.

One rule decides: ``released = policy(journaled, replicated)``. Each word is a sequence number; up to it, and no
further, a client may be told what became of a command.

- none: when it is applied. A crash can undo what was told.
- fsync: when it is on the disk of this node.
- replica: when each node that may take over has it in memory.
- both: when it is on the disk of this node and of each node that may take over.

Without such a node (``replicated`` None) `replica` and `both` mean `fsync`.
"""

from typing import Final, Literal, NamedTuple

ReleasePolicy = Literal["fsync", "replica", "both", "none"]
POLICIES: Final[tuple[ReleasePolicy, ...]] = ("fsync", "replica", "both", "none")
#: Policies under which another node can take over without loss.
REPLICATED: Final = frozenset({"replica", "both"})


class Replicated(NamedTuple):
    """Position of the node that may take over and is furthest behind: in its memory, and on its disk."""

    received_seq: int
    journaled_seq: int


def released_seq(policy: str, applied_seq: int, journaled_seq: int, replicated: Replicated | None) -> int:
    """Last command whose events may leave.

    >>> released_seq("both", 9, 7, Replicated(8, 5)), released_seq("replica", 9, 3, Replicated(8, 5))
    (5, 8)
    >>> released_seq("both", 9, 7, None), released_seq("none", 9, 0, None)
    (7, 9)
    """
    if policy not in POLICIES:
        raise ValueError(f"the release policy {policy!r} is unknown; use one of {', '.join(POLICIES)}")
    if policy == "none":
        return applied_seq
    if policy == "fsync" or replicated is None:
        return min(applied_seq, journaled_seq)
    if policy == "replica":
        return min(applied_seq, replicated.received_seq)
    return min(applied_seq, journaled_seq, replicated.journaled_seq)
