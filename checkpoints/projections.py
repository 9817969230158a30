"""Projections: results of the released blocks that are kept beside the market, such as the users' streams.

A projection sees every block once it is durable, in order, and never decides what the market does. A checkpoint holds
an image of each beside the state. All of them restart in the same way: from their image, then from the blocks after it.
One whose image cannot be used is replayed alone (``replay.rebuild``); the market and the others keep their checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from checkpoints.image import ProjectionImage

Arrays = Mapping[str, NDArray[Any]]
#: Called with a block: first sequence number, COMMAND rows, EVENT rows.
Observer = Callable[[int, NDArray[Any], NDArray[Any]], None]


class Projection(ABC):
    """A function of commands and events, from the first on. Block boundaries, clock and hash seed change nothing in it.

    ``name``: of its image in checkpoints, unique in a node. ``version``: of the meaning of that image; increment it
    with any change after which an image of before would be restored into something else.
    """

    name: str
    version: int

    @abstractmethod
    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and their EVENT rows. Blocks come in order, none is left
        out."""

    @abstractmethod
    def image(self) -> Arrays:
        """Arrays that ``restore`` takes; they are written before the next block comes, so views are enough.

        Called in a fork of the node, after ``flush``: nothing that is open in the node is open there.
        """

    @abstractmethod
    def digest(self) -> bytes:
        """16 bytes: equal where two projections saw the same commands, in whatever blocks, files or processes."""

    @abstractmethod
    def restore(self, arrays: Arrays, seq: int, /) -> None:
        """Take the state after command ``seq`` out of an image of the same version. Owns the arrays from then on.

        Raises ValueError or KeyError where that cannot be; ``clear`` is called then.
        """

    @abstractmethod
    def clear(self) -> None:
        """Be as before the first command."""

    def flush(self) -> None:  # noqa: B027  a projection without files has nothing to do
        """Write what is still in memory to the projection's own files, if it has any. Raises OSError."""

    def sync(self) -> None:  # noqa: B027  a projection without files has nothing to do
        """Put the files that an image speaks of on the disk; called in the fork, before the checkpoint has its name.
        Raises OSError."""

    def close(self) -> None:  # noqa: B027  a projection without files has nothing to do
        """Write what is in memory and close the projection's own files. Raises OSError."""


class Projections:
    """The projections of a node, in the order in which they see a block. Raises ValueError for two of one name."""

    def __init__(self, projections: Iterable[Projection] = ()) -> None:
        self._all = tuple(projections)
        #: Takers of a block, one a projection, for a caller that has no time for another call.
        self.observers: tuple[Observer, ...] = tuple(each.observe for each in self._all)
        names = [each.name for each in self._all]
        if len(set(names)) < len(names):
            raise ValueError(f"two projections have the same name: {', '.join(sorted(names))}")

    def __iter__(self) -> Iterator[Projection]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def only(self, names: Container[str]) -> "Projections":
        """Those of the given names."""
        return Projections(each for each in self._all if each.name in names)

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Show each of them a block."""
        for observer in self.observers:
            observer(first_seq, commands, events)

    def images(self) -> dict[str, ProjectionImage]:
        """Image of each, by name, for a checkpoint; call ``flush`` first."""
        return {each.name: ProjectionImage(each.version, each.digest(), dict(each.image())) for each in self._all}

    def restore(self, images: Mapping[str, ProjectionImage], seq: int) -> dict[str, str]:
        """Restore each that can be, as after command ``seq``. The others are as before the first command: why, by
        name."""
        reasons = {each.name: _restored(each, images.get(each.name), seq) for each in self._all}
        return {name: why for name, why in reasons.items() if why}

    def flush(self) -> None:
        """Write what is still in memory to the files of each. Raises OSError."""
        for each in self._all:
            each.flush()

    def sync(self) -> None:
        """Put the files of each on the disk. Raises OSError."""
        for each in self._all:
            each.sync()

    def close(self) -> None:
        """Close the files of each, whatever one of them raises. Raises the first OSError."""
        failures = []
        for each in self._all:
            try:
                each.close()
            except OSError as error:
                failures.append(error)
        if failures:
            raise failures[0]


#: For a node, or a replay, without any.
NO_PROJECTIONS = Projections()


def _restored(projection: Projection, image: ProjectionImage | None, seq: int) -> str:
    """Reason why a projection could not be restored; "" if it was."""
    if image is None:
        return "there is none"
    if image.version != projection.version:
        return f"it has version {image.version}, and this release's has {projection.version}"
    if image.damage:
        return image.damage
    try:
        projection.restore(image.arrays, seq)
        if projection.digest() == image.digest:
            return ""
        why = "restored, it has another digest than the checkpoint records"
    except ValueError as error:
        why = str(error)
    except KeyError as error:
        why = f"it has no {error.args[0]}"
    projection.clear()
    return why
