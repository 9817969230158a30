"""Projections: results derived from the released blocks beside the market, such as the users' streams.

A projection sees every block once it is durable, in order, and never influences the market. A checkpoint holds an image
of each beside the state. All of them restart in the same way: from their image, then from the blocks after it. One
whose image cannot be used is replayed alone (``replay.rebuild``); the market and the others keep their checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, Final

from numpy.typing import NDArray

from checkpoints.image import ProjectionImage

Arrays = Mapping[str, NDArray[Any]]
#: Callback for a block: first sequence number, COMMAND rows, EVENT rows.
Observer = Callable[[int, NDArray[Any], NDArray[Any]], None]


class Projection(ABC):
    """A function of commands and events, from the first on. Block boundaries, clock and hash seed change nothing in it.

    ``name``: of its image in checkpoints, unique in a node. ``version``: of the meaning of that image; increment it
    with any change after which an older image would be restored into another state.
    """

    name: str
    version: int
    #: Versions whose images ``restore`` reads too; their digests are of another kind and are not compared.
    earlier_versions: tuple[int, ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions whose images can be restored."""
        return self.version, *self.earlier_versions

    @abstractmethod
    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and their EVENT rows. Blocks come without gaps."""

    @abstractmethod
    def image(self) -> Arrays:
        """Image for ``restore``; its arrays are written before the next block comes, so views are enough.

        Called in a fork of the node, after ``flush``; files of the node are closed there.
        """

    @abstractmethod
    def digest(self) -> bytes:
        """Digest (16 bytes): equal for the same commands, whatever the blocks, files or processes."""

    @abstractmethod
    def restore(self, arrays: Arrays, seq: int, /) -> None:
        """Restore the state after command ``seq`` from an image of the same version. Owns the arrays from then on.

        Raises ValueError or KeyError for an unusable image; ``clear`` is called then.
        """

    @abstractmethod
    def clear(self) -> None:
        """Reset to the state before the first command."""

    def flush(self) -> None:  # noqa: B027  a projection without files has nothing to do
        """Write data in memory to the projection's own files, if it has any. Raises OSError."""

    def sync(self) -> None:  # noqa: B027  a projection without files has nothing to do
        """Sync the files of an image; called in the fork, before the checkpoint gets its name. Raises OSError."""

    def close(self) -> None:  # noqa: B027  a projection without files has nothing to do
        """Write data in memory and close the projection's own files. Raises OSError."""


class Projections:
    """Projections of a node, in the order in which they see a block. Raises ValueError for two of one name."""

    def __init__(self, projections: Iterable[Projection] = ()) -> None:
        self._all = tuple(projections)
        #: ``observe`` of each projection, for callers that save a call.
        self.observers: tuple[Observer, ...] = tuple(each.observe for each in self._all)
        names = [each.name for each in self._all]
        if len(set(names)) < len(names):
            raise ValueError(f"two projections have the same name: {', '.join(sorted(names))}")

    def __iter__(self) -> Iterator[Projection]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def only(self, names: Container[str]) -> "Projections":
        """Projections with the given names."""
        return Projections(each for each in self._all if each.name in names)

    def observers_beside(self, name: str) -> tuple[Observer, ...]:
        """``observe`` of each projection but that of a name."""
        return tuple(each.observe for each in self._all if each.name != name)

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Pass a block to each projection."""
        for observer in self.observers:
            observer(first_seq, commands, events)

    def images(self) -> dict[str, ProjectionImage]:
        """Images by name, for a checkpoint; call ``flush`` first."""
        return {each.name: ProjectionImage(each.version, each.digest(), dict(each.image())) for each in self._all}

    def restore(self, images: Mapping[str, ProjectionImage], seq: int) -> dict[str, str]:
        """Restore projections to command ``seq``. Gives the reasons for those that could not be restored, by name; they
        are reset.
        """
        reasons = {each.name: _restored(each, images.get(each.name), seq) for each in self._all}
        return {name: why for name, why in reasons.items() if why}

    def flush(self) -> None:
        """Write data in memory to the files of all. Raises OSError."""
        for each in self._all:
            each.flush()

    def sync(self) -> None:
        """Sync the files of all. Raises OSError."""
        for each in self._all:
            each.sync()

    def close(self) -> None:
        """Close the files of all, even if one fails. Raises the first OSError."""
        failures = []
        for each in self._all:
            try:
                each.close()
            except OSError as error:
                failures.append(error)
        if failures:
            raise failures[0]


#: Reason where a checkpoint was taken without a projection.
NO_IMAGE: Final = "there is none"
#: Empty list of projections.
NO_PROJECTIONS = Projections()


def _restored(projection: Projection, image: ProjectionImage | None, seq: int) -> str:
    """Reason why a projection could not be restored; "" if it was."""
    if image is None:
        return NO_IMAGE
    if image.version not in projection.versions:
        return f"it has version {image.version}, and this release's has {projection.version}"
    if image.damage:
        return image.damage
    try:
        projection.restore(image.arrays, seq)
        if image.version != projection.version or projection.digest() == image.digest:
            return ""
        why = "restored, it has another digest than the checkpoint records"
    except ValueError as error:
        why = str(error)
    except KeyError as error:
        why = f"it has no {error.args[0]}"
    projection.clear()
    return why
