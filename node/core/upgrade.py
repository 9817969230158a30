"""An upgrade of a node's data directory: the market, and the users' streams beside it.

``directory.upgrade`` has the steps. This is what a node adds to them: the streams, made again by a replay where this
release plays the rules of the directory, else carried over from what the earlier release left.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from checkpoints import Checkpoint, ProjectionImage, Projections
from directory.upgrade import Upgrade, prepare_upgrade
from engine.capacity import Capacity
from engine.interface import MarketEngine
from engine.records import COMMAND, CommandKind
from gateway.ouch.earlier_streams import STREAMS, EarlierStreams, tables_without_users
from gateway.ouch.outbox import FOLDER, OuchOutbox
from gateway.ouch.streams import OuchStreams
from gateway.streams import session_of
from journal import Durability, Journal
from journal.history import History
from node.core import far_prices
from replay.errors import ReplayError
from replay.rebuild import Progress

#: All past days that the directory has are carried over; a start keeps those that it is told to keep.
_PAST_DAYS_MAX: Final = 366


@contextmanager
def upgrade(
    directory: Path,
    capacity: Capacity | None = None,
    *,
    durability: Durability = "fsync",
    progress: Progress | None = None,
) -> Iterator[Upgrade]:
    """Prepare the upgrade of a data directory that nobody writes; ``Upgrade.begin`` does it.

    ``capacity``: from then on; None: as before. Raises as ``directory.upgrade.prepare_upgrade``.
    """

    def make_projections(room: Capacity, journal_id: bytes) -> Projections:
        return Projections([_outbox(directory, room, journal_id)])

    def carry_over(journal: Journal, checkpoint: Checkpoint, engine: MarketEngine, room: Capacity) -> "_Carried":
        return _Carried(directory, journal, checkpoint, engine, room)

    with prepare_upgrade(
        directory,
        capacity,
        make_projections=make_projections,
        carry_over=carry_over,
        durability=durability,
        progress=progress,
    ) as prepared:
        yield prepared


def _outbox(directory: Path, capacity: Capacity, journal_id: bytes) -> OuchOutbox:
    return OuchOutbox(directory, capacity, journal_id, past_days=_PAST_DAYS_MAX, removes_files=False)


class _Carried:
    """The users' streams of an earlier release, found whole and ready to be written in the form of this one."""

    def __init__(
        self, directory: Path, journal: Journal, checkpoint: Checkpoint, engine: MarketEngine, capacity: Capacity
    ) -> None:
        """Raises ReplayError where they cannot go on."""
        self._directory = directory
        self._journal_id = journal.journal_id
        self._engine = engine
        self._capacity = capacity
        self._earlier: EarlierStreams | None = None
        self._image: ProjectionImage | None = checkpoint.projections.get(OuchOutbox.name)
        self._tables = {}
        try:
            if self._image is not None:
                self.users = self._check_image(self._image)
            elif STREAMS in checkpoint.projections or (directory / FOLDER).is_dir() or _defines_users(journal):
                self._earlier = EarlierStreams(directory, checkpoint.projections)
                self._tables = self._earlier.tables(engine)
                self.users = self._earlier.users
            else:
                self._tables = tables_without_users(engine)
                self.users = 0
            self._check_prices()
        except ValueError as error:
            raise ReplayError(f"the users' streams cannot go on: {error}") from error
        self.notes = () if self._earlier is None else tuple(self._earlier.notes)

    def _check_image(self, image: ProjectionImage) -> int:
        """Users in an image of a form that this release reads. Raises ValueError."""
        if image.version not in (OuchOutbox.version, *OuchOutbox.earlier_versions) or image.damage:
            raise ValueError(image.damage or f"the users' streams in the checkpoint have version {image.version}")
        return len(image.arrays["streams users"]) - 1

    def _check_prices(self) -> None:
        """Raise ReplayError where users have orders in an instrument whose prices OUCH cannot tell, ValueError where
        there is no room for the tables."""
        streams = OuchStreams(self._capacity, lambda _segment: None, lambda _session: None)
        if self._image is None:
            streams.restore(self._tables)
        else:
            tables = {name: array for name, array in self._image.arrays.items() if name.startswith("streams ")}
            streams.restore({name.removeprefix("streams "): array for name, array in tables.items()})
        far_prices.check_orders(streams, self._engine)

    def write(self) -> dict[str, ProjectionImage]:
        """Write the files of this release beside the old ones, and take the image. Raises OSError, ReplayError."""
        outbox = _outbox(self._directory, self._capacity, self._journal_id)
        try:
            if self._image is not None:
                arrays = self._image.arrays
            else:
                arrays = {f"streams {name}": array for name, array in self._tables.items()}
                for session, image in self._spools().items():
                    arrays |= {f"{session} {name}": array for name, array in image.items()}
            outbox.restore(arrays, self._engine.seq)
            outbox.flush()
            outbox.sync()
            return Projections([outbox]).images()
        except ValueError as error:
            raise ReplayError(f"the users' streams cannot go on: {error}") from error
        finally:
            outbox.close()

    def _spools(self) -> dict[str, dict[str, np.ndarray]]:
        if self._earlier is not None:
            return self._earlier.write(self._journal_id)
        empty = OuchOutbox(self._directory, self._capacity, self._journal_id, removes_files=False)
        try:
            return {session_of(self._engine.now_ns): empty.spool.image()}
        finally:
            empty.close()


def _defines_users(journal: Journal) -> bool:
    """True if a command of any slice defines a user. Raises SliceMissing where one is not there."""
    with History.open(journal.path) as history:
        return any((np.frombuffer(block.rows, COMMAND)["kind"] == CommandKind.USER).any() for block in history.blocks())
