"""Life of a data directory: creation, recovery at each start, and checkpoints.

A checkpoint may never be ahead of the journal: after a power cut it would have commands that the journal lacks. So it
is taken at a block boundary that is durable: by a fork of the node (``directory.checkpoint_fork``), by another process
(``checkpoint``), or by the pump itself (``CheckpointEvery``: simple, but the market stands still meanwhile).
"""

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from checkpoints import (
    NO_PROJECTIONS,
    Checkpoint,
    CheckpointError,
    CheckpointInfo,
    CheckpointStore,
    ProjectionImage,
    Projections,
    load_checkpoint,
    write_checkpoint,
)
from engine.capacity import Capacity
from engine.interface import EngineKind, MarketEngine, StatefulEngine, new_engine, restore_engine
from engine.records import RULES_VERSION
from journal import Durability, Journal, JournalDamaged, JournalError
from journal.frame import SEQ_MAX
from journal.history import History
from journal.slices import place_at, write_image_record
from replay.errors import Divergence, ReplayError
from replay.rebuild import (
    Observe,
    Progress,
    Rebuild,
    capacity_of,
    check_rules,
    journal_of,
    name_of_slice,
    rebuild,
    rebuild_from,
    source_digest,
    state_form,
    why_not,
)


@dataclass(frozen=True)
class Recovery:
    """Result of a recovery: the replay, and the number of event digests that a crash had left unwritten.

    ``start_image``: a sentence where the image that the slice starts from was missing, and was written again; else "".
    ``checkpoint``: a sentence where a checkpoint was taken, so that the next start need not replay so much; else "".
    """

    rebuilt: Rebuild
    digests_written: int
    start_image: str = ""
    checkpoint: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the operator, in sentences."""
        notes = (*filter(None, (self.start_image,)), *self.rebuilt.notes, *filter(None, (self.checkpoint,)))
        if not self.digests_written:
            return notes
        left = "a block without its" if self.digests_written == 1 else f"{self.digests_written} blocks without their"
        return (*notes, f"a crash had left {left} event digest; that is written now")


def create(
    directory: Path | str,
    capacity: Capacity,
    *,
    engine: EngineKind = "kernel",
    durability: Durability = "fsync",
    journal_id: bytes | None = None,
) -> tuple[Journal, MarketEngine]:
    """Create a data directory: a journal, open for writing, and an engine before its first command.

    ``durability``: "fsync", or "none" for benchmarks. ``journal_id``: as ``Journal.create`` takes it. Raises
    JournalError if the directory has a journal already or cannot be written.
    """
    machine = new_engine(engine, capacity)
    meta = {"capacity": asdict(capacity), "rules_version": RULES_VERSION, "source_digest": source_digest()}
    return Journal.create(directory, meta, durability=durability, journal_id=journal_id), machine


def recover(
    directory: Path | str,
    *,
    engine: EngineKind = "kernel",
    durability: Durability = "fsync",
    observe: Observe | None = None,
    projections: Projections = NO_PROJECTIONS,
    progress: Progress | None = None,
) -> tuple[Journal, MarketEngine, Recovery]:
    """Open a data directory for writing and bring the engine to the journal's end.

    ``observe``: sees every block from the first; then no checkpoint is used. ``projections``: as
    before their first command; each is restored and sees the blocks after that, as in ``rebuild_from``. Where one had
    to be replayed alone, as in a slice whose image was written again, a checkpoint with all of them is written.
    Raises Divergence when a recomputed event digest is not the recorded one (the node may not start), other
    ReplayErrors as ``rebuild`` does, JournalError from the journal. Whatever is raised, the journal is closed.
    """
    journal = journal_of(directory, readonly=False, durability=durability)
    try:
        journal.rules_version, journal.source_digest = RULES_VERSION, source_digest()
        again = _write_start_image(journal, directory)
        if observe is not None:
            _observe_slices_before(journal, directory, engine, observe)
        rebuilt = rebuild_from(
            journal,
            directory,
            engine=engine,
            use_checkpoints=observe is None,
            observe=observe,
            projections=projections,
            progress=progress,
        )
        _check_epoch(journal, rebuilt.engine, directory)
        # A crash leaves them out at the end only; one that is missing before others is for `verify` to report.
        missing = [(seq, digest) for seq, digest in rebuilt.missing if seq > journal.last_digest_seq]
        for first_seq, digest in missing:
            journal.put_digest(first_seq, digest)
        told = _write_with_projections(journal, rebuilt, projections)
    except BaseException:
        journal.close()
        raise
    return journal, rebuilt.engine, Recovery(rebuilt, len(missing), again, told)


def _write_with_projections(journal: Journal, rebuilt: Rebuild, projections: Projections) -> str:
    """Write a checkpoint that has the images of projections which none had: the next start need not replay them.

    A sentence for the operator, or "".
    """
    if not rebuilt.replayed_alone or rebuilt.seq == 0:
        return ""
    try:
        projections.flush()
        projections.sync()
        taken = image(stateful(rebuilt.engine), capacity_of(journal), journal.journal_id)
        store, path = CheckpointStore(journal.place.folder), journal.place.start_image
        is_start = rebuilt.seq == journal.start_seq
        known: dict[str, ProjectionImage] = {}  # of projections that this process does not have
        with suppress(CheckpointError):
            at_seq = load_checkpoint(path) if is_start else store.newest(rebuilt.seq)
            if at_seq is not None and at_seq.seq == rebuilt.seq and at_seq.event_digest == taken.event_digest:
                known = {name: each for name, each in at_seq.projections.items() if not each.damage}
        taken = replace(taken, projections={**known, **projections.images()})
        if is_start:
            write_checkpoint(path, taken)
        else:
            store.write(taken)
    except (ReplayError, CheckpointError, OSError) as error:
        return f"no checkpoint was taken at the start, so the next one replays as much: {error}"
    names = " and ".join(rebuilt.replayed_alone)
    return (
        f"a checkpoint with {names} was taken at command {rebuilt.seq:,}, so that the next start need not replay them"
    )


def _observe_slices_before(journal: Journal, directory: Path | str, engine: EngineKind, observe: Observe) -> None:
    """Have ``observe`` see every block before the open slice. Raises as ``rebuild``, SliceMissing where one is not
    there."""
    if journal.start is None:
        return
    with History.open(directory) as history:
        history.check_there(1, journal.start_seq)
        for place in history.places[:-1]:
            before = history.journal(place.number)
            check_rules(name_of_slice(directory, place.number), int(before.meta.get("rules_version", RULES_VERSION)))
            rebuild_from(before, directory, engine=engine, use_checkpoints=False, observe=observe)


def _check_epoch(journal: Journal, engine: MarketEngine, directory: Path | str) -> None:
    """Check that the market is in the epoch of the newest block, which an EPOCH row has begun. Raises Divergence."""
    if engine.epoch != journal.epoch:
        raise Divergence(
            f"the last block in {directory} is of epoch {journal.epoch}, and its commands end in epoch {engine.epoch}, "
            "so it was not written by the primary of either; compare it with a copy of the journal (`lockstep compare`)"
        )


def _write_start_image(journal: Journal, directory: Path | str) -> str:
    """Write the image that the slice starts from where a crash left none, as behind a roll of a running node.

    It is taken from the end of the slice before, and without images of projections: their files may hold more by now.
    A sentence for the operator, or "".
    """
    start = journal.start
    if start is None or journal.place.start_image.exists():
        return ""
    missing = f"the image that slice {start.number} starts from was missing"
    try:
        before = _with_capacity(stateful(rebuild(directory, at=start.last_seq).engine), capacity_of(journal))
        taken = image(before, capacity_of(journal), journal.journal_id)
        digests = dict(before.part_digests())
        if taken.event_digest != start.event_digest or digests != (start.image or digests):
            return f"{missing}, and slice {start.number - 1} gives another state: run `lockstep verify {directory}`"
        if not start.image:
            write_image_record(journal.place, digests)
            journal.start = start._replace(image=digests)
        write_checkpoint(journal.place.start_image, taken)
    except (ReplayError, JournalError, CheckpointError, OSError, ValueError) as error:
        return f"{missing}, and could not be written again: {error}"
    return f"{missing}, as after a crash; it was written again out of slice {start.number - 1}"


def _with_capacity(engine: StatefulEngine, capacity: Capacity) -> StatefulEngine:
    """The market of an engine in one of another capacity, as a roll makes it. Raises ValueError where it does not
    fit."""
    from engine.conversion import convert  # loads the kernels, which few starts need here

    if engine.capacity == capacity:
        return engine
    parts = {part: dict(arrays) for part, arrays in engine.parts().items()}
    conversion = convert(
        parts, rules_version=RULES_VERSION, state_version=state_form()[0], capacity=engine.capacity, to=capacity
    )
    return stateful(restore_engine("kernel", capacity, engine.seq, engine.event_digest, conversion.parts))


def image(engine: StatefulEngine, capacity: Capacity, journal_id: bytes) -> Checkpoint:
    """The engine's state as a checkpoint (its arrays are not copied). ``journal_id``: of the journal it applied."""
    state_version, state_layout = state_form()
    return Checkpoint(
        seq=engine.seq,
        event_digest=engine.event_digest,
        journal_id=journal_id,
        rules_version=RULES_VERSION,
        state_version=state_version,
        state_layout=state_layout,
        source_digest=source_digest(),
        capacity=asdict(capacity),
        parts={part: dict(arrays) for part, arrays in engine.parts().items()},
    )


def checkpoint(directory: Path | str, *, progress: Progress | None = None) -> tuple[int, Path | None]:
    """Write a checkpoint at the last durable command: (its sequence number, its file; None if there was one already).

    For another process than the node's. Raises as ``rebuild`` does, and ReplayError on an empty journal.
    """
    rebuilt = rebuild(directory, progress=progress)
    if rebuilt.seq == 0:
        raise ReplayError(f"the journal in {directory} is empty, so there is nothing to write a checkpoint of")
    if rebuilt.blocks == 0 and rebuilt.checkpoint_seq == rebuilt.seq:
        return rebuilt.seq, None  # of a checkpoint, or of the image that the slice starts from
    with journal_of(directory) as journal:
        taken = image(stateful(rebuilt.engine), capacity_of(journal), journal.journal_id)
        store = CheckpointStore(journal.place.folder)
    return rebuilt.seq, store.write(taken)


def open_store(directory: Path | str) -> CheckpointStore:
    """The checkpoints of the open slice of a data directory. Raises JournalForeign where there is no journal."""
    return CheckpointStore(place_at(Path(directory), SEQ_MAX).folder)


def usable(directory: Path | str, keep: int | None = None) -> tuple[list[CheckpointInfo], dict[Path, str]]:
    """Checkpoints from which a recovery can start, newest first, and the reasons for those from which it cannot.

    Every byte of each is read, from the newest on, until ``keep`` were found good. Raises JournalError, ReplayError,
    CheckpointError.
    """
    store = open_store(directory)
    infos = store.list()  # before the journal is opened, which then has every command that they hold
    good: list[CheckpointInfo] = []
    wrong: dict[Path, str] = {}
    with journal_of(directory) as journal:
        capacity = capacity_of(journal)
        for info in reversed(infos):
            if len(good) == keep:
                break
            why = info.why or _why_unusable(store, info, journal, capacity)
            if why is None:
                good.append(info)
            elif info.path.exists():  # else a node has pruned it meanwhile
                wrong[info.path] = why
    return good, wrong


def _why_unusable(store: CheckpointStore, info: CheckpointInfo, journal: Journal, capacity: Capacity) -> str | None:
    if info.seq > journal.last_seq:
        return f"it is beyond the end of the journal ({journal.last_seq:,})"
    from engine import Engine

    try:
        checkpoint = store.verify(info.path)
        wrong = why_not(checkpoint, journal)
        if wrong is None:
            Engine.restore(capacity, checkpoint.seq, checkpoint.event_digest, checkpoint.parts)
    except (CheckpointError, JournalDamaged) as error:
        return str(error)
    except ValueError as error:
        return f"it cannot be restored: {error}"
    return wrong


def prune(directory: Path | str, keep: int) -> tuple[list[int], list[int]]:
    """Remove all checkpoints that are older than the newest ``keep`` usable ones: (seqs removed, seqs kept).

    Only usable ones count, so neither a damaged one nor one of another journal ever pushes out one that recovery needs.
    Beside a running node, what that one writes meanwhile is newer and stays. Raises as ``usable``.
    """
    if keep < 1:
        raise ReplayError(f"at least one checkpoint must be kept, not {keep}")
    good, _ = usable(directory, keep)
    if not good:
        return [], []
    removed = open_store(directory).remove_before(good[-1].seq)
    return removed, sorted(info.seq for info in good)


class CheckpointEvery:
    """For the pump's ``at_boundary``: a checkpoint once at least ``commands`` have passed since the last one.

    It waits until the block is durable and then writes in the pump's own thread, so the market stands still meanwhile.
    For benchmarks and tests, which want them at known places; a node forks instead (``directory.checkpoint_fork``).
    ``keep``: how many of the newest checkpoints stay.
    """

    def __init__(self, commands: int, *, keep: int = 8) -> None:
        if commands < 1:
            raise ReplayError(f"a checkpoint every {commands} commands is not possible; give 1 or more")
        self._commands = commands
        self._keep = keep
        self._last_seq: int | None = None

    def __call__(self, journal: Journal, engine: MarketEngine) -> None:
        """Take a checkpoint if it is due. The engine must be at the end of the journal."""
        store = CheckpointStore(journal.place.folder)
        if self._last_seq is None:
            # A checkpoint beyond the journal's end is from before the directory was replaced.
            known = [info.seq for info in store.list() if info.valid and info.seq <= engine.seq]
            self._last_seq = max(known, default=0)
        if engine.seq - self._last_seq < self._commands:
            return
        if not journal.wait_durable(engine.seq):
            raise ReplayError(f"command {engine.seq:,} did not become durable, so no checkpoint was taken there")
        taken = image(stateful(engine), capacity_of(journal), journal.journal_id)
        store.write(taken)
        store.prune(self._keep, up_to=engine.seq, origin=taken.origin)
        self._last_seq = engine.seq


def stateful(engine: MarketEngine) -> StatefulEngine:
    """Check that an engine has an image. Raises ReplayError."""
    if not (hasattr(engine, "parts") and hasattr(engine, "part_digests")):
        raise ReplayError("the reference engine has no image; checkpoints need the compiled engine")
    return cast(StatefulEngine, engine)
