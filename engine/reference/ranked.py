"""Things in order of a rank, one for each, with the first of them at hand."""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from sortedcontainers import SortedList

from engine.bounds import INT64_MAX

Thing = TypeVar("Thing")

#: Rank of the first where there is none: above every rank.
NO_RANK: Final = INT64_MAX


class Ranked(Generic[Thing]):
    """Things by rank, the lowest first.

    ``first`` is the thing of the lowest rank (None: there is none) and ``first_rank`` its rank. It is asked for
    at every command and changes seldom, so it is kept instead of looked for. ``by_rank``, in no order, is for
    looking only.

    >>> queues: Ranked[str] = Ranked()
    >>> queues.put(20, "behind")
    >>> queues.put(10, "ahead")
    >>> queues.first, queues.first_rank, list(queues.values())
    ('ahead', 10, ['ahead', 'behind'])
    >>> queues.drop(10)
    >>> queues.first
    'behind'
    """

    __slots__ = ("_ranks", "by_rank", "first", "first_rank")

    def __init__(self) -> None:
        self._ranks: SortedList[int] = SortedList()
        self.by_rank: dict[int, Thing] = {}
        self.first: Thing | None = None
        self.first_rank = NO_RANK

    def __len__(self) -> int:
        return len(self.by_rank)

    def get(self, rank: int) -> Thing | None:
        """The thing of a rank, or None."""
        return self.by_rank.get(rank)

    def put(self, rank: int, thing: Thing) -> None:
        """Put a thing under a rank that none has."""
        self.by_rank[rank] = thing
        self._ranks.add(rank)
        if rank < self.first_rank:
            self.first, self.first_rank = thing, rank

    def drop(self, rank: int) -> None:
        """Take out the thing of a rank. Raises KeyError where there is none."""
        del self.by_rank[rank]
        self._ranks.remove(rank)
        if rank == self.first_rank:
            self.first_rank = self._ranks[0] if self.by_rank else NO_RANK
            self.first = self.by_rank.get(self.first_rank)

    def values(self) -> Iterator[Thing]:
        """The things in order of rank."""
        return (self.by_rank[rank] for rank in self._ranks)

    def items(self) -> Iterator[tuple[int, Thing]]:
        """Ranks and things, in order of rank."""
        return ((rank, self.by_rank[rank]) for rank in self._ranks)

    def at_or_above(self, rank: int) -> Thing | None:
        """The first thing whose rank is that or a higher one, or None."""
        return self._at(self._ranks.bisect_left(rank))

    def below(self, rank: int) -> Thing | None:
        """The last thing whose rank is lower, or None."""
        return self._at(self._ranks.bisect_left(rank) - 1)

    def _at(self, place: int) -> Thing | None:
        return self.by_rank[self._ranks[place]] if 0 <= place < len(self._ranks) else None
