"""Beginning a new slice of a journal: at a size, at a close, for another capacity or for new rules.

A slice begins with a complete image, so that a start reads no slice before it. The image is the state at the last
command of the slice before; with another capacity it is the same market in larger or smaller tables.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from checkpoints import NO_PROJECTIONS, Checkpoint, CheckpointStore, Projections, write_checkpoint
from directory.disk_room import room_for
from directory.recover import image, recover, stateful
from engine.capacity import Capacity
from engine.conversion import convert
from engine.digest import part_digest
from engine.interface import StatefulEngine, restore_engine
from engine.market_time import ClockPosition
from engine.records import RULES_VERSION
from journal import BlockRefused, Durability, Journal
from journal.marks import decode_genesis
from journal.slices import START_IMAGE, Place, places
from replay.errors import ReplayError
from replay.rebuild import Progress, capacity_of, source_digest
from replay.times import position_after

#: Room of a slice beside its image: an empty journal, and streams of users that were not written yet.
_SLICE_BYTES: Final = 1 << 20

#: Projections of a node in a data directory, as before their first command, for a capacity.
MakeProjections = Callable[[Capacity, bytes], Projections]


def no_projections(_capacity: Capacity, _journal_id: bytes) -> Projections:
    """Projections of a directory that no node serves."""
    return NO_PROJECTIONS


@dataclass(frozen=True)
class Rolled:
    """Result of a roll: ``number`` of the slice that is open now, which begins after command ``seq``.

    ``image_bytes``: size of the image that it starts from. ``notes``: sentences for the operator.
    """

    number: int
    seq: int
    image_bytes: int
    notes: tuple[str, ...]


def meta_of(capacity: Capacity) -> dict[str, object]:
    """The meta record of a slice of this release."""
    return {"capacity": asdict(capacity), "rules_version": RULES_VERSION, "source_digest": source_digest()}


def check_can_roll(journal: Journal, now_ns: int, *, resizes: bool = False) -> None:
    """Raise ReplayError where no slice can begin after the last command of a journal. ``now_ns``: the clock there.

    A slice without commands is followed by another one only where that ``resizes`` the market.
    """
    if journal.last_seq == journal.start_seq and not (resizes and journal.start is not None):
        raise ReplayError(f"slice {journal.place.number} of {journal.path} is empty; there is nothing to close")
    position: ClockPosition = position_after(journal, now_ns)
    if position.extended:
        raise ReplayError(
            f"the journal in {journal.path} ends with an EXTEND row, which belongs to the next command; append that "
            "one first"
        )


def roll(
    directory: Path | str,
    *,
    capacity: Capacity | None = None,
    make_projections: MakeProjections = no_projections,
    durability: Durability = "fsync",
    progress: Progress | None = None,
) -> Rolled:
    """Close the open slice of a data directory that nobody writes, and begin the next one.

    ``capacity``: of the new slice; None: as before. Raises as ``recover``; ReplayError where no slice can begin, or the
    market does not fit into ``capacity``. Then the directory is as it was.
    """
    with Journal.open(directory, readonly=True) as known:
        before, journal_id, place = capacity_of(known), known.journal_id, known.place
    with room_for_slice(Path(directory), place):
        projections = make_projections(before, journal_id)
        try:
            journal, engine, recovered = recover(
                directory, projections=projections, durability=durability, progress=progress
            )
        except BaseException:
            projections.close()
            raise
        with journal:
            try:
                check_can_roll(journal, engine.now_ns, resizes=capacity not in (None, before))
                projections.flush()
                projections.sync()
                checkpoint = image(stateful(engine), before, journal_id)
                checkpoint = replace(checkpoint, projections=projections.images())
                notes: tuple[str, ...] = recovered.notes
                if capacity is not None and capacity != before:
                    checkpoint, told = resized(checkpoint, capacity, make_projections)
                    notes += told
                return begin_slice(journal, checkpoint, notes)
            finally:
                projections.close()


def room_for_slice(directory: Path, before: Place, image_bytes: int | None = None) -> AbstractContextManager[None]:
    """Context in which the slice after ``before`` is begun, and that needs room (``room_for``).

    ``image_bytes``: size of its image; None: that of the newest one of ``before``, if there is any.
    """
    if image_bytes is None:
        sizes = [info.bytes for info in CheckpointStore(before.folder).list()]
        sizes += [before.start_image.stat().st_size] if before.start_image.exists() else []
        image_bytes = max(sizes, default=0)
    number = before.number + 1
    return room_for(
        f"slice {number} of {directory}",
        directory,
        image_bytes + _SLICE_BYTES,
        lambda: any(place.number == number for place in places(directory)),
    )


def begin_slice(journal: Journal, checkpoint: Checkpoint, notes: tuple[str, ...] = ()) -> Rolled:
    """Go on in a new slice that starts from a checkpoint, which stands at the journal's last command.

    Raises JournalFault where the disk has no room for it, other JournalErrors, CheckpointError.
    """
    digests = {part: part_digest(arrays) for part, arrays in checkpoint.parts.items()}
    image_bytes = 0

    def prepare(folder: Path) -> None:
        nonlocal image_bytes
        write_checkpoint(folder / START_IMAGE, checkpoint)
        image_bytes = (folder / START_IMAGE).stat().st_size

    arrays = [*checkpoint.parts.values(), *(each.arrays for each in checkpoint.projections.values())]
    with room_for_slice(journal.path, journal.place, sum(each.nbytes for named in arrays for each in named.values())):
        journal.begin_slice(
            meta_of(Capacity(**checkpoint.capacity)),
            event_digest=checkpoint.event_digest,
            image=digests,
            prepare=prepare,
        )
    return Rolled(journal.place.number, checkpoint.seq, image_bytes, notes)


def begin_slice_live(journal: Journal, engine: StatefulEngine) -> None:
    """Go on in a new slice while the market runs; the caller then has its image written (``CheckpointFork``).

    Engine and journal stand at the same command, and nothing is in flight between them. The market waits for some
    syncs of the disk. The digests of the state would take longer, so they are recorded with the image; until that is
    there, a start replays the slice before. Raises ReplayError where no slice can begin here, JournalError; the slice
    before goes on then.
    """
    check_can_roll(journal, engine.now_ns)
    capacity = capacity_of(journal)
    journal.begin_slice(meta_of(capacity), event_digest=engine.event_digest, image={})


def begin_same_slice_live(journal: Journal, engine: StatefulEngine, genesis: bytes) -> None:
    """Go on in the slice that another node has begun after the same command; otherwise as ``begin_slice_live``.

    ``genesis``: the other node's record. Raises BlockRefused, and nothing changes, where the slice does not follow, or
    was begun from other events or with another capacity; JournalError.
    """
    wanted = decode_genesis(genesis)
    if wanted.start is None or wanted.start.event_digest != engine.event_digest:
        raise BlockRefused(f"slice {wanted.slice_number} is refused: the events before it are not those of this node")
    if wanted.meta.get("capacity") != journal.meta.get("capacity"):
        raise BlockRefused(f"slice {wanted.slice_number} is refused: it has another capacity")
    journal.begin_same_slice(genesis)


def resized(
    checkpoint: Checkpoint, capacity: Capacity, make_projections: MakeProjections
) -> tuple[Checkpoint, tuple[str, ...]]:
    """A checkpoint of the same market with another capacity, and notes. Raises ReplayError where it does not fit."""
    try:
        conversion = convert(
            checkpoint.parts,
            rules_version=checkpoint.rules_version,
            state_version=checkpoint.state_version,
            capacity=Capacity(**checkpoint.capacity),
            to=capacity,
        )
        engine = restore_engine("kernel", capacity, checkpoint.seq, checkpoint.event_digest, conversion.parts)
    except ValueError as error:
        raise ReplayError(f"the market cannot go on with this capacity: {error}") from error
    engine.check()
    taken = image(stateful(engine), capacity, checkpoint.journal_id)
    others = make_projections(capacity, checkpoint.journal_id)
    try:
        for each in others:
            each.restore(checkpoint.projections[each.name].arrays, checkpoint.seq)
        images = others.images()
    except ValueError as error:
        raise ReplayError(f"the users' streams cannot go on with this capacity: {error}") from error
    finally:
        others.close()
    return replace(taken, projections=images), conversion.notes
