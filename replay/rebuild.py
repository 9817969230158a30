"""Rebuilding: the newest good checkpoint and the tail of the journal give the engine again.

Recovery is replay: a node that starts does what ``lockstep state`` does, and both check every block's event digest
against the one recorded when the block was first applied. A difference is a divergence, and nothing goes on from
it: either the journal was applied by another engine, or one of the two runs was wrong.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from checkpoints import Checkpoint, CheckpointStore, Origin
from engine.interface import EngineKind, MarketEngine, new_engine
from engine.limits import Capacity
from engine.records import COMMAND, RULES_VERSION
from journal import Block, Durability, Journal
from replay.errors import Divergence, ReplayError

_UNSAID: Final = "was written by an earlier release and does not say of which journal it is"
_OTHER_FORM: Final = "holds the state in another form"

#: Called for each block applied: first sequence number, COMMAND rows, EVENT rows.
Observe = Callable[[int, NDArray[Any], NDArray[Any]], None]
#: Called for each block applied: commands done, commands in all.
Progress = Callable[[int, int], None]


class Fold(Protocol):
    """A projection of commands and events beside the market, such as the streams of a gateway's users."""

    def restore(self, beside: Mapping[str, Mapping[str, NDArray[Any]]], seq: int, /) -> None:
        """Take the state at command ``seq`` out of the arrays that stand beside the market in a checkpoint.

        Raises ValueError when they do not hold it, or what else it needs is not there; the fold is then as before its
        first command. The arrays belong to the fold from then on.
        """
        ...

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], /) -> None:
        """A block from ``first_seq`` on, in order and none left out."""
        ...


@dataclass(frozen=True)
class Rebuilt:
    """An engine at ``seq``, and how it came there.

    ``checkpoint_seq``: where the checkpoint stood, 0 without one. ``blocks``: applied from the journal, the last
    perhaps in part: then ``partial`` is true and the engine's event digest is not one that any journal records.
    ``missing``: the (first_seq, digest) of blocks that had no recorded digest. ``notes``: what the operator should
    know, in sentences. ``divergence``: a sentence on the first block whose recorded digest the replay does not give,
    where that was not to be raised; else "".
    """

    engine: MarketEngine
    seq: int
    checkpoint_seq: int
    blocks: int
    partial: bool
    missing: tuple[tuple[int, bytes], ...] = ()
    notes: tuple[str, ...] = field(default=())
    divergence: str = ""


class Played(NamedTuple):
    """A block of the journal, applied: ``commands`` and ``events`` from ``first_seq`` on; ``whole`` if no row was
    left out."""

    block: Block
    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    whole: bool


def journal_of(directory: Path | str, *, readonly: bool = True, durability: Durability = "fsync") -> Journal:
    """The journal of a data directory. Raises ReplayError when its rules are not ours, JournalError from the
    journal."""
    journal = Journal.open(directory, readonly=readonly, durability=durability)
    try:
        check_rules(directory, int(journal.meta.get("rules_version", RULES_VERSION)))
    except ReplayError:
        journal.close()
        raise
    return journal


def check_rules(directory: Path | str, rules_version: int) -> None:
    """Raise ReplayError unless the rules are those that this release plays."""
    if rules_version != RULES_VERSION:
        raise ReplayError(
            f"{directory} was written under rules version {rules_version} and this release plays version "
            f"{RULES_VERSION}; replay it with the release that wrote it"
        )


def check_range(directory: Path | str, from_seq: int, to_seq: int | None, last_seq: int) -> int:
    """The last command of a range of a journal that ends at ``last_seq``: ``to_seq``, or the end.

    All of an empty journal, from 1 to None, is a range too. Raises ReplayError when there is no such range.
    """
    if from_seq < 1:
        raise ReplayError(f"commands {from_seq} to {to_seq} are no range: commands are numbered from 1")
    beyond = to_seq if to_seq is not None and to_seq > last_seq else from_seq
    if to_seq is not None and from_seq > to_seq:
        raise ReplayError(f"commands {from_seq} to {to_seq} are no range: the first comes after the last")
    if beyond > last_seq and (beyond > 1 or to_seq is not None):
        ends = f"its journal ends at {last_seq}" if last_seq else "its journal is empty"
        raise ReplayError(f"there is no command {beyond} in {directory}: {ends}")
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
            f"the journal does not say the capacity of its engine ({error}); create the directory anew"
        ) from error


def owned_rows(rows: bytes | memoryview) -> NDArray[Any]:
    """The COMMAND rows of a block as an owned, aligned, writable array: what a compiled kernel takes."""
    return np.frombuffer(rows, np.uint8).copy().view(COMMAND)


def gap(wanted_seq: int, found_seq: int) -> ReplayError:
    """The error for a block that is missing: the journal has one that begins at ``found_seq`` in its place."""
    return ReplayError(
        f"the block of the journal with command {wanted_seq} is missing or damaged: in its place is one that begins at "
        f"command {found_seq}; run `lockstep journal check DIR` to see what is left"
    )


def played(journal: Journal, engine: MarketEngine, to_seq: int) -> Iterator[Played]:
    """Apply the journal from the engine's position to ``to_seq``, one apply a block: a digest is recorded for each."""
    if engine.seq >= to_seq:
        return
    for block in journal.blocks(engine.seq + 1, to_seq):
        check_rules("the journal", block.rules_version)
        first_seq = engine.seq + 1
        if not block.first_seq <= first_seq <= block.last_seq:
            raise gap(first_seq, block.first_seq)
        last_seq = min(block.last_seq, to_seq)
        commands = owned_rows(block.rows)[first_seq - block.first_seq : last_seq - block.first_seq + 1]
        yield Played(block, first_seq, commands, engine.apply(commands), len(commands) == block.count)


def rebuild(
    directory: Path | str,
    *,
    at: int | None = None,
    engine: EngineKind = "kernel",
    use_checkpoints: bool = True,
    observe: Observe | None = None,
    progress: Progress | None = None,
    on_divergence: Literal["raise", "note"] = "raise",
) -> Rebuilt:
    """The engine as it stood after command ``at`` (default: the last one of the journal).

    ``observe`` sees only the blocks applied from the journal, so it starts after the checkpoint. The reference engine
    has no restore and starts at 1. Raises ReplayError for rules that are not ours or an ``at`` beyond the end,
    Divergence (a ReplayError) when a recomputed event digest is not the recorded one, JournalError from the journal.
    """
    with journal_of(directory) as journal:
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
    fold: Fold | None = None,
    progress: Progress | None = None,
    on_divergence: Literal["raise", "note"] = "raise",
) -> Rebuilt:
    """``rebuild`` with a journal that is open already.

    ``fold``: restored from the newest good checkpoint that it accepts, and shown the blocks after that; where it
    accepts none, all from command 1.
    """
    to_seq = journal.last_seq if at is None else at
    if to_seq != 0:
        check_range(directory, 1, to_seq, journal.last_seq)
    notes: list[str] = []
    machine = start(journal, directory, to_seq, engine, use_checkpoints, notes, fold)
    started = machine.seq
    # A crash may come between a checkpoint and the digest of the block it stands at the end of; nobody else has it.
    missing = [
        (block.first_seq, machine.event_digest)
        for block in (journal.blocks(started, started) if started else ())
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
        if fold is not None:
            fold.observe(play.first_seq, play.commands, play.events)
        if observe is not None:
            observe(play.first_seq, play.commands, play.events)
        if progress is not None:
            progress(machine.seq - started, to_seq - started)
    others.pop(source_digest(), None)
    notes += [
        f"from command {seq} on, kernels {other[:16]} were at work, not those of this release"
        for other, seq in others.items()
    ]
    if partial:
        notes.append(f"command {to_seq} is inside a block, so the event digest is not one that the journal records")
    return Rebuilt(machine, machine.seq, started, blocks, partial, tuple(missing), tuple(notes), divergence)


def start(
    journal: Journal,
    directory: Path | str,
    to_seq: int,
    kind: EngineKind,
    use_checkpoints: bool,
    notes: list[str],
    fold: Fold | None = None,
) -> MarketEngine:
    """An engine at the newest good checkpoint not after ``to_seq``, which ``fold`` then was restored from too, else a
    new one; what was odd is added to ``notes``."""
    capacity = capacity_of(journal)
    if kind != "kernel" or not use_checkpoints:
        return new_engine(kind, capacity)
    from engine import Engine

    store = CheckpointStore(Path(directory))
    at_or_before, machine = to_seq, None
    while machine is None and (checkpoint := store.newest(at_or_before)) is not None:
        wrong = why_not(checkpoint, journal)
        if wrong is None:
            try:
                machine = Engine.restore(capacity, checkpoint.seq, checkpoint.event_digest, checkpoint.parts)
            except ValueError as error:
                wrong = f"cannot be restored: {error}"
        # The fold comes last: once it has taken a checkpoint, nothing refuses that one any more.
        if wrong is None and fold is not None:
            try:
                fold.restore(checkpoint.beside, checkpoint.seq)
            except ValueError as error:
                machine, wrong = None, f"holds the market but not all of the users' streams: {error}"
        if wrong is not None:
            notes.append(
                f"checkpoint {checkpoint.seq} {wrong}; it was not used: replay begins at an older one or at command 1"
            )
            at_or_before = checkpoint.seq - 1
    started = 0 if machine is None else machine.seq
    _note_unusable(store, started, to_seq, journal.last_seq, notes)
    return new_engine(kind, capacity) if machine is None else machine


def why_not(checkpoint: Checkpoint, journal: Journal) -> str | None:
    """Reason why an undamaged checkpoint does not belong to this journal; None if it does."""
    wrong = why_not_origin(checkpoint.origin, journal)
    if wrong is not None:
        return wrong
    if checkpoint.seq == 0:
        return None
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


def _note_unusable(store: CheckpointStore, started: int, to_seq: int, last_seq: int, notes: list[str]) -> None:
    """Note the checkpoints that would have been nearer than where the replay started."""
    for info in store.list():
        if not info.valid and started < info.seq <= to_seq:
            notes.append(f"checkpoint {info.seq} is damaged: {info.why}; the replay started {begins(started)}")
        elif info.seq > last_seq:
            notes.append(f"checkpoint {info.seq} is beyond the end of the journal ({last_seq}); it was not used")


def begins(checkpoint_seq: int) -> str:
    """Start of a replay, in words; 0: without a checkpoint."""
    return f"from checkpoint {checkpoint_seq}" if checkpoint_seq else "from command 1"


def _divergence(directory: Path | str, block: Block, recorded: bytes, got: bytes) -> str:
    return (
        f"the replay of {directory} parts from the record in commands {block.first_seq} to {block.last_seq}: "
        f"event digest {got.hex()} instead of {recorded.hex()}; "
        "run `lockstep verify` with both engines, and do not trade on it"
    )
