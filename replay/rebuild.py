"""Rebuild of an engine from the newest good checkpoint and the tail of the journal.

Recovery is replay: a node that starts does what ``lockstep state`` does, and both check every block's event digest
against the one recorded when the block was first applied. A difference is a divergence, and the replay stops: either
another engine applied the journal, or one of the two runs was wrong.

Projections are restored from the same checkpoint. Those without a usable image are replayed alone, up to that
checkpoint, by a separate engine; then market and projections continue together. There are never two engines in memory.

All of it stays within one slice of the journal, which begins with an image of its own. Only where that image is missing
or damaged does the replay begin in the slice before.
"""

import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from checkpoints import (
    NO_PROJECTIONS,
    Checkpoint,
    CheckpointError,
    CheckpointGone,
    CheckpointStore,
    Origin,
    ProjectionForm,
    ProjectionImage,
    Projections,
    load_checkpoint,
)
from checkpoints.projections import NO_IMAGE
from engine.capacity import Capacity
from engine.digest import part_digest
from engine.interface import EngineKind, MarketEngine, new_engine, restore_engine
from engine.market_time import ends_extended
from engine.records import COMMAND, RULES_VERSION
from journal import Block, Durability, Journal, JournalError
from journal.history import History
from journal.slices import place_at, places
from replay.errors import Divergence, ReplayError

_UNSAID: Final = "was written by an earlier release and does not name its journal"
_OTHER_FORM: Final = "holds the state in another form"

#: Called for each block applied: first sequence number, COMMAND rows, EVENT rows.
Observe = Callable[[int, NDArray[Any], NDArray[Any]], None]
#: Called for each block applied: commands done, commands in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rebuild:
    """Result of a rebuild: an engine at ``seq``.

    ``checkpoint_seq``: of the checkpoint, 0 without one. ``blocks``: number applied from the journal, the last perhaps
    in part: then ``partial`` is true, and no journal records the engine's event digest. ``missing``: (first_seq,
    digest) of blocks without a recorded digest. ``notes``: sentences for the operator. ``divergence``: sentence on the
    first block whose recorded digest differs from the replay, if it was not raised; else "". ``replayed_alone``: names
    of the projections for which the slice before had to be replayed, since no image of them could be used in this one.
    """

    engine: MarketEngine
    seq: int
    checkpoint_seq: int
    blocks: int
    partial: bool
    missing: tuple[tuple[int, bytes], ...] = ()
    notes: tuple[str, ...] = field(default=())
    divergence: str = ""
    replayed_alone: tuple[str, ...] = ()


class ReplayedBlock(NamedTuple):
    """Applied block of the journal: ``commands`` and ``events`` from ``first_seq`` on; ``whole`` if no row was left
    out; ``extended`` if the EXTEND row before them waits for the first.
    """

    block: Block
    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    whole: bool
    extended: bool = False


def journal_of(
    directory: Path | str, *, readonly: bool = True, durability: Durability = "fsync", at: int | None = None
) -> Journal:
    """The journal of a data directory: its last slice, or for reading the one with command ``at``.

    Raises ReplayError when its rules are not ours, SliceMissing, other JournalErrors from the journal.
    """
    number = None if at is None else place_at(Path(directory), at).number
    journal = Journal.open(directory, readonly=readonly, durability=durability, slice_number=number)
    try:
        name = directory if at is None else name_of_slice(directory, journal.place.number)
        rules_version = int(journal.meta.get("rules_version", RULES_VERSION))
        if rules_version != RULES_VERSION and journal.place.is_marked_closed:
            raise ReplayError(
                f"{name} is closed and of rules version {rules_version}, which this release does not play, so its "
                "states are not shown; `lockstep commands` prints its commands, and `lockstep events` its events where "
                "they are kept"
            )
        check_rules(name, rules_version)
    except ReplayError:
        journal.close()
        raise
    return journal


def name_of(history: History, journal: Journal) -> str:
    """A slice in words: the directory where it is the only one."""
    if len(history.places) == 1 and journal.place.number == 1:
        return str(history.path)
    return name_of_slice(history.path, journal.place.number)


def name_of_slice(directory: Path | str, number: int) -> str:
    """A slice of a data directory in words."""
    return f"slice {number} of {directory}"


def check_rules(directory: Path | str, rules_version: int) -> None:
    """Raise ReplayError unless the rules are those that this release plays."""
    if rules_version != RULES_VERSION:
        raise ReplayError(
            f"{directory} was written under rules version {rules_version} and this release plays version "
            f"{RULES_VERSION}; replay it with the release that wrote it, or let its market go on here with "
            "`lockstep upgrade`"
        )


def check_range(directory: Path | str, from_seq: int, to_seq: int | None, last_seq: int) -> int:
    """The last command of a range of a journal that ends at ``last_seq``: ``to_seq``, or the end.

    All of an empty journal, from 1 to None, is a range too. Raises ReplayError when there is no such range.
    """
    if from_seq < 1:
        raise ReplayError(f"commands {from_seq:,} on are no range: commands are numbered from 1")
    beyond = to_seq if to_seq is not None and to_seq > last_seq else from_seq
    if to_seq is not None and from_seq > to_seq:
        raise ReplayError(f"commands {from_seq:,} to {to_seq:,} are no range: the first comes after the last")
    if beyond > last_seq and (beyond > 1 or to_seq is not None):
        ends = f"its journal ends at {last_seq:,}" if last_seq else "its journal is empty"
        raise ReplayError(f"there is no command {beyond:,} in {directory}: {ends}")
    return last_seq if to_seq is None else to_seq


def source_digest() -> str:
    """The digest of this release's kernel sources: for the record in journal and checkpoints, never a reason to
    refuse."""
    from engine.kernel_cache import SOURCE_DIGEST

    return SOURCE_DIGEST


def state_form() -> tuple[int, bytes]:
    """Version and layout of the state of this release's engine: the form of its checkpoints."""
    from engine.state import STATE_LAYOUT, STATE_VERSION

    return STATE_VERSION, STATE_LAYOUT


def capacity_of(journal: Journal) -> Capacity:
    """The capacity that the node was created with. Raises ReplayError when the journal does not say."""
    try:
        return Capacity(**journal.meta["capacity"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(
            f"the journal does not say the capacity of its engine ({error}); create a new directory"
        ) from error


def owned_rows(rows: bytes | memoryview) -> NDArray[Any]:
    """COMMAND rows of a block as an owned, aligned, writable array, for a compiled kernel."""
    return np.frombuffer(rows, np.uint8).copy().view(COMMAND)


def extends_next(journal: Journal, seq: int) -> bool:
    """True if a command is an EXTEND row that waits for the next one; False for one that cannot be read."""
    if seq <= journal.start_seq:
        return False
    with suppress(JournalError):
        for block in journal.blocks(seq, seq):
            return ends_extended(owned_rows(block.rows)[: seq - block.first_seq + 1])
    return False


def gap(wanted_seq: int, found_seq: int) -> ReplayError:
    """Error for a missing block, in whose place is one that begins at ``found_seq``."""
    return ReplayError(
        f"the block of the journal with command {wanted_seq:,} is missing or damaged: in its place is one that "
        f"begins at command {found_seq:,}; run `lockstep journal check DIR` to see what is left"
    )


def played(journal: Journal, engine: MarketEngine, to_seq: int) -> Iterator[ReplayedBlock]:
    """Apply the journal from the engine's position to ``to_seq``, one apply a block: a digest is recorded for each."""
    if engine.seq >= to_seq:
        return
    extended = extends_next(journal, engine.seq)
    for block in journal.blocks(engine.seq + 1, to_seq):
        check_rules("the journal", block.rules_version)
        first_seq = engine.seq + 1
        if not block.first_seq <= first_seq <= block.last_seq:
            raise gap(first_seq, block.first_seq)
        last_seq = min(block.last_seq, to_seq)
        commands = owned_rows(block.rows)[first_seq - block.first_seq : last_seq - block.first_seq + 1]
        events = engine.apply(commands)
        yield ReplayedBlock(block, first_seq, commands, events, len(commands) == block.count, extended)
        extended = ends_extended(commands)


def rebuild(
    directory: Path | str,
    *,
    at: int | None = None,
    engine: EngineKind = "kernel",
    use_checkpoints: bool = True,
    observe: Observe | None = None,
    progress: Progress | None = None,
    on_divergence: Literal["raise", "note"] = "raise",
) -> Rebuild:
    """Rebuild the engine after command ``at`` (default: the last one of the journal).

    ``observe`` sees only the blocks applied from the journal, so it starts after the checkpoint. The reference engine
    has no restore and starts at 1. Raises ReplayError for rules that are not ours or an ``at`` beyond the end,
    Divergence (a ReplayError) when a recomputed event digest is not the recorded one, JournalError from the journal.
    """
    with journal_of(directory, at=at) as journal:
        return rebuild_from(
            journal,
            directory,
            at=at,
            engine=engine,
            use_checkpoints=use_checkpoints,
            observe=observe,
            progress=progress,
            on_divergence=on_divergence,
        )


def rebuild_from(
    journal: Journal,
    directory: Path | str,
    *,
    at: int | None = None,
    engine: EngineKind = "kernel",
    use_checkpoints: bool = True,
    observe: Observe | None = None,
    projections: Projections = NO_PROJECTIONS,
    progress: Progress | None = None,
    on_divergence: Literal["raise", "note"] = "raise",
) -> Rebuild:
    """``rebuild`` with a journal that is open already.

    ``projections``: as before their first command; at the end they stand where the engine does. Each begins at the
    newest checkpoint that has a usable image of it, else at command 1; the engine begins at the newest good one.
    """
    to_seq = journal.last_seq if at is None else at
    if to_seq != journal.start_seq:
        check_range(directory, journal.start_seq + 1, to_seq, journal.last_seq)
    notes: list[str] = []
    machine, images = _started(journal, directory, to_seq, engine, use_checkpoints, notes)
    started = first = machine.seq
    reasons = projections.restore(images, started) if started else {}
    absent: tuple[str, ...] = ()
    if reasons:
        forms = {name: ProjectionForm(image.version, image.digest) for name, image in images.items()}
        del machine, images
        first, told, absent = _replay_alone(
            journal, directory, projections.only(reasons), reasons, started, progress, to_seq
        )
        notes += [*told, *_other_digests(projections.only(reasons), forms, started)]
        machine, _ = _started(journal, directory, started, engine, use_checkpoints, [])
    # A crash may come between a checkpoint and the digest of the block it stands at the end of; nobody else has it.
    missing = [
        (block.first_seq, machine.event_digest)
        for block in (journal.blocks(started, started) if started > journal.start_seq else ())
        if journal.digest(block.first_seq) is None
    ]
    blocks, partial, divergence = 0, False, ""
    others: dict[str, int] = {}
    for play in played(journal, machine, to_seq):
        blocks += 1
        partial = not play.whole
        others.setdefault(play.block.source_digest, play.first_seq)
        if play.whole and not divergence:
            recorded = journal.digest(play.block.first_seq)
            if recorded is None:
                missing.append((play.block.first_seq, machine.event_digest))
            elif recorded != machine.event_digest:
                divergence = _divergence(directory, play.block, recorded, machine.event_digest)
                if on_divergence == "raise":
                    raise Divergence(divergence)
        if play.first_seq > started:
            projections.observe(play.first_seq, play.commands, play.events)
        if observe is not None:
            observe(play.first_seq, play.commands, play.events)
        if progress is not None:
            progress(machine.seq - first, to_seq - first)
    notes += notes_of_releases(others, is_proven=not divergence and not missing)
    if partial:
        notes.append(f"command {to_seq:,} is inside a block, so the journal has no event digest to compare")
    return Rebuild(machine, machine.seq, started, blocks, partial, tuple(missing), tuple(notes), divergence, absent)


def notes_of_releases(first_seqs: Mapping[str, int], *, is_proven: bool) -> list[str]:
    """A sentence for each other release that executed commands first. ``first_seqs``: the first of them, by the digest
    of its kernels. ``is_proven``: the replay gave the events that it had recorded."""
    return [
        f"commands from {seq:,} on were first executed by another release (kernels {other[:16]})"
        + ("; the replay gave the same events" if is_proven else "")
        for other, seq in first_seqs.items()
        if other != source_digest()
    ]


def start(
    journal: Journal,
    directory: Path | str,
    to_seq: int,
    kind: EngineKind,
    use_checkpoints: bool,
    notes: list[str],
) -> MarketEngine:
    """An engine at the newest good checkpoint not after ``to_seq``, else a new one; what was odd is added to
    ``notes``."""
    return _started(journal, directory, to_seq, kind, use_checkpoints, notes)[0]


def _started(
    journal: Journal,
    directory: Path | str,
    to_seq: int,
    kind: EngineKind,
    use_checkpoints: bool,
    notes: list[str],
) -> tuple[MarketEngine, dict[str, ProjectionImage]]:
    """``start``, and the images of projections in the checkpoint that was used."""
    if kind != "kernel" or not use_checkpoints:
        return _at_start(journal, directory, kind, use_checkpoints, notes)
    store = CheckpointStore(journal.place.folder)
    at_or_before, machine = to_seq, None
    images: dict[str, ProjectionImage] = {}
    while machine is None and (checkpoint := store.newest(at_or_before, mapped=journal.readonly)) is not None:
        wrong = why_not(checkpoint, journal)
        if wrong is None:
            try:
                if checkpoint.mapping is not None and _writes_most(checkpoint.mapping, to_seq - checkpoint.seq):
                    checkpoint.copy_pages("ids", "ids_pages")  # the engine copies the other arrays
                machine = restored(kind, checkpoint, adopts=True)
                images = checkpoint.projections
            except ValueError as error:
                wrong = f"cannot be restored: {error}"
        if wrong is not None:
            notes.append(
                f"checkpoint {checkpoint.seq:,} {wrong}, so the replay begins at an older one or "
                f"{begins(journal.start_seq, journal)}"
            )
            at_or_before = checkpoint.seq - 1
    started = journal.start_seq if machine is None else machine.seq
    _note_unusable(store, started, to_seq, journal, notes)
    return _at_start(journal, directory, kind, use_checkpoints, notes) if machine is None else (machine, images)


def _writes_most(mapping: mmap.mmap, commands: int) -> bool:
    """True if a replay of so many commands writes most pages of an image: with a day's ids, each third takes a page."""
    return commands >= 3 * len(mapping) // mmap.PAGESIZE


def restored(kind: EngineKind, checkpoint: Checkpoint, *, adopts: bool = False) -> MarketEngine:
    """An engine in the state of a checkpoint. Raises ValueError where the two do not fit. ``adopts``: its arrays may
    become the engine's."""
    capacity, parts = Capacity(**checkpoint.capacity), checkpoint.parts
    return restore_engine(kind, capacity, checkpoint.seq, checkpoint.event_digest, parts, adopts=adopts)


def _at_start(
    journal: Journal, directory: Path | str, kind: EngineKind, use_checkpoints: bool, notes: list[str]
) -> tuple[MarketEngine, dict[str, ProjectionImage]]:
    """An engine at the beginning of a slice: empty in the first one, then out of the image that the slice starts from.

    Where that image is missing or damaged, the slice before gives it once more. Raises ReplayError where it cannot.
    """
    if journal.start is None:
        return new_engine(kind, capacity_of(journal)), {}
    try:
        checkpoint = start_image(journal)
        return restored(kind, checkpoint), checkpoint.projections
    except (CheckpointError, ValueError) as error:
        why = str(error)
    if _OTHER_FORM in why:  # a replay of the slice before would give that state in our form, under other digests
        is_open = not journal.place.is_marked_closed
        then = (
            f"let its market go on here with `lockstep upgrade {directory}`" if is_open else "its states are not shown"
        )
        raise ReplayError(f"{why}; {then}")
    with _slice_before(journal, directory, why) as before:
        rebuilt = rebuild_from(before, directory, engine=kind, use_checkpoints=use_checkpoints)
    machine = rebuilt.engine
    start = journal.start
    given = getattr(machine, "part_digests", lambda: start.image)() if start.image else {}
    if (machine.seq, machine.event_digest, given) != (
        journal.start_seq,
        journal.start.event_digest,
        journal.start.image,
    ):
        raise Divergence(
            f"slice {start.number - 1} of {directory} does not give the state that slice {start.number} starts from, "
            f"and {why}; restore the directory from a copy"
        )
    notes.append(f"{why}; slice {journal.place.number - 1} was replayed to its end for it")
    return machine, {}


def start_image(journal: Journal) -> Checkpoint:
    """The image that a slice starts from, verified against the slice's genesis record.

    Raises CheckpointError where it is missing, damaged or another one, and where this release cannot use it.
    """
    path, start = journal.place.start_image, journal.start
    if start is None:
        raise CheckpointError(f"slice 1 of {journal.path} starts from nothing")
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointGone:
        raise CheckpointError(f"the image {path} that slice {start.number} starts from is missing") from None
    digests = {part: part_digest(arrays) for part, arrays in checkpoint.parts.items()}
    if (checkpoint.seq, checkpoint.event_digest, digests) != (start.last_seq, start.event_digest, start.image):
        raise CheckpointError(f"{path} is not the image that the genesis record of slice {start.number} names")
    wrong = why_not_origin(checkpoint.origin, journal)
    if wrong is not None:
        raise CheckpointError(f"the image {path} that slice {start.number} starts from {wrong}")
    return checkpoint


def _slice_before(journal: Journal, directory: Path | str, why: str, of: Projections = NO_PROJECTIONS) -> Journal:
    """The slice before, which must give the state that this one starts from, or projections ``of`` there.

    Projections have no image of the other capacity, so it may be smaller there. Raises ReplayError, JournalError.
    """
    number = journal.place.number - 1
    if number not in {place.number for place in places(Path(directory))}:
        raise ReplayError(f"{why}, and slice {number} that would give it again is not in {directory}; copy it back")
    before = Journal.open(directory, readonly=True, slice_number=number)
    if int(before.meta.get("rules_version", 0)) != RULES_VERSION or not _has_room_of(before, journal, len(of) > 0):
        before.close()
        lost = f"the files of {_names(of)} in {directory}" if len(of) else str(journal.place.start_image)
        raise ReplayError(
            f"{why}, and slice {number} cannot give it again, since it has other rules or another capacity; restore "
            f"{lost} from a copy"
        )
    return before


def _has_room_of(before: Journal, journal: Journal, more: bool) -> bool:
    """True if a slice has the capacity of the one before; ``more``: at least that."""
    rooms = [asdict(capacity_of(each)) for each in (before, journal)]
    return rooms[0] == rooms[1] or (more and all(rooms[0][name] <= room for name, room in rooms[1].items()))


def _replay_alone(
    journal: Journal,
    directory: Path | str,
    behind: Projections,
    reasons: Mapping[str, str],
    to_seq: int,
    progress: Progress | None,
    last_seq: int,
) -> tuple[int, list[str], tuple[str, ...]]:
    """Bring projections to the checkpoint at ``to_seq``, whose images of them cannot be used for ``reasons``.

    Gives the command after which the replay began, notes, and names of those for which the slice before was replayed
    too. ``progress``: of a rebuild that ends at ``last_seq``.
    Raises Divergence as ``rebuild`` does: events that are not the recorded ones are nothing to make a projection of.
    """
    stands = _restored_earlier(journal, behind, to_seq)
    left = behind.only([each.name for each in behind if each.name not in stands])
    if len(left) and journal.start is not None:
        why = f"no image of {_names(left)} can be used in {directory}"
        with _slice_before(journal, directory, why, left) as before:
            _replay_alone(before, directory, left, {}, before.last_seq, progress, before.last_seq)
    stands |= {each.name: journal.start_seq for each in left}
    engine, _ = _started(journal, directory, min(stands.values()), "kernel", True, [])
    first = engine.seq
    for play in played(journal, engine, to_seq):
        recorded = journal.digest(play.block.first_seq)
        if recorded not in (None, engine.event_digest):
            raise Divergence(_divergence(directory, play.block, recorded, engine.event_digest))
        for each in behind:
            if play.first_seq > stands[each.name]:
                each.observe(play.first_seq, play.commands, play.events)
        if progress is not None:
            progress(engine.seq - first, last_seq - first)
    notes = [
        f"{_why_alone(name, why, to_seq)}; the projection was replayed alone {begins(stands[name], journal)}"
        for name, why in reasons.items()
    ]
    return first, notes, () if journal.start is None else tuple(each.name for each in left)


def _why_alone(name: str, why: str, seq: int) -> str:
    """Beginning of a sentence: the image of a projection cannot be used, or there is none, which is no fault."""
    if why == NO_IMAGE:
        return f"checkpoint {seq:,} was taken without the projection {name}"
    return f"the image of the projection {name} in checkpoint {seq:,} was not used: {why}"


def _other_digests(replayed: Projections, forms: Mapping[str, ProjectionForm], seq: int) -> list[str]:
    """Notes on projections that the replay gives another digest than a checkpoint records for the same version."""
    return [
        f"the projection {each.name} has digest {each.digest().hex()} after command {seq:,} and the checkpoint there "
        f"records {forms[each.name].digest.hex()} for the same version: its rules changed and its version did not"
        for each in replayed
        if each.name in forms and forms[each.name].version == each.version and forms[each.name].digest != each.digest()
    ]


def _names(projections: Projections) -> str:
    return " and ".join(each.name for each in projections)


def _restored_earlier(journal: Journal, behind: Projections, before_seq: int) -> dict[str, int]:
    """Restore each projection from the newest of the checkpoints before ``before_seq`` that has a usable image of it,
    or from the image that the slice starts from. Gives the command that each stands at; one without is left out."""
    store = CheckpointStore(journal.place.folder)
    stands: dict[str, int] = {}
    for info in reversed(store.list()):
        left = behind.only([each.name for each in behind if each.name not in stands])
        held = [version for each in left for version in each.versions if info.holds(each.name, version)]
        if info.seq >= before_seq or not info.valid or not held:
            continue
        try:
            checkpoint = store.load(info.path)
        except CheckpointError:
            continue  # the market did not need it, so nobody is to be told here
        if why_not(checkpoint, journal) is None:
            reasons = left.restore(checkpoint.projections, checkpoint.seq)
            stands |= {each.name: checkpoint.seq for each in left if each.name not in reasons}
    left = behind.only([each.name for each in behind if each.name not in stands])
    if len(left) and journal.start is not None and journal.start_seq < before_seq:
        with suppress(CheckpointError):
            checkpoint = start_image(journal)
            reasons = left.restore(checkpoint.projections, checkpoint.seq)
            stands |= {each.name: checkpoint.seq for each in left if each.name not in reasons}
    return stands


def why_not(checkpoint: Checkpoint, journal: Journal) -> str | None:
    """Reason why an undamaged checkpoint is not of this journal; None if it is."""
    wrong = why_not_origin(checkpoint.origin, journal)
    if wrong is not None:
        return wrong
    if checkpoint.seq <= journal.start_seq:
        return None if checkpoint.seq == journal.start_seq else "is of an earlier slice of the journal"
    for block in journal.blocks(checkpoint.seq, checkpoint.seq):
        if block.last_seq != checkpoint.seq:
            return "is not at the end of a block of the journal"
        recorded = journal.digest(block.first_seq)
        if recorded is not None and recorded != checkpoint.event_digest:
            return "has another event digest than the journal recorded there"
    return None


def why_not_origin(origin: Origin | None, journal: Journal) -> str | None:
    """Reason why this release's engine cannot start from a checkpoint and go on with a journal; None if it can.

    The kernels that wrote it do not count, only the form of the state: an edit in a kernel that keeps the form leaves
    checkpoints usable, and the event digests find a kernel that is wrong.
    """
    if origin is None or not origin.journal_id:
        return _UNSAID
    if origin.journal_id != journal.journal_id:
        return "was taken from another journal"
    if origin.rules_version != RULES_VERSION:
        return f"was written under rules version {origin.rules_version}"
    version, layout = state_form()
    if (origin.state_version, origin.state_layout) != (version, layout):
        return (
            f"{_OTHER_FORM} (version {origin.state_version}, layout "
            f"{origin.state_layout.hex()[:16]}) than this release's (version {version}, layout {layout.hex()[:16]})"
        )
    if origin.capacity != asdict(capacity_of(journal)):
        return "is of an engine of another capacity"
    return None


def is_of_another_release(why: str) -> bool:
    """True if a reason of ``why_not_origin`` comes of an upgrade: nothing is damaged or in the wrong place."""
    return why.startswith((_UNSAID, _OTHER_FORM))


def _note_unusable(store: CheckpointStore, started: int, to_seq: int, journal: Journal, notes: list[str]) -> None:
    """Note the checkpoints that would have been nearer than where the replay started."""
    last_seq = journal.last_seq
    for info in store.list():
        if not info.valid and started < info.seq <= to_seq:
            notes.append(
                f"checkpoint {info.seq:,} is damaged: {info.why}; the replay started {begins(started, journal)}"
            )
        elif info.seq > last_seq:
            notes.append(f"checkpoint {info.seq:,} is beyond the end of the journal ({last_seq:,}); it was not used")


def begins(checkpoint_seq: int, journal: Journal | None = None) -> str:
    """Start of a replay, in words; 0, or the start of the slice: without a checkpoint."""
    if checkpoint_seq and (journal is None or checkpoint_seq > journal.start_seq):
        return f"from checkpoint {checkpoint_seq:,}"
    return f"from command {checkpoint_seq + 1:,}"


def _divergence(directory: Path | str, block: Block, recorded: bytes, got: bytes) -> str:
    return (
        f"the replay of {directory} differs from the record in commands {block.first_seq:,} to {block.last_seq:,}: "
        f"event digest {got.hex()} instead of {recorded.hex()}; "
        "run `lockstep verify` with both engines, and do not trade on it"
    )
