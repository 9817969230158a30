"""Upgrade of a data directory: its market goes on in a new slice under the rules, form and capacity of this release.

Where this release plays the rules of the open slice, the slice is verified by re-executing it, and the market and its
projections are what the replay gives. A slice of other rules cannot be re-executed: every byte of its chain is checked,
and the checkpoint at its last command is converted by named fields and compared with what comes of it.

All of that only reads. ``Upgrade.begin`` writes what the new slice needs beside what is there, and the slice is there
with one rename: before it the release before can go on, after it this one does. The old slice stays, read-only.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from checkpoints import Checkpoint, CheckpointError, CheckpointStore, ProjectionImage, load_checkpoint
from directory.image_comparison import differences
from directory.recover import image, stateful
from directory.roll import MakeProjections, Rolled, begin_slice, roll, room_for_slice
from directory.rules_changes import changes_between
from engine.capacity import Capacity
from engine.conversion import Conversion, convert
from engine.digest import part_digest
from engine.errors import InvariantError
from engine.interface import MarketEngine, StatefulEngine, restore_engine
from engine.records import RULES_VERSION
from journal import Durability, Journal, JournalBusy, JournalDamaged
from journal.lock import writer_pid
from journal.report import JournalInfo
from replay.difference import unlike
from replay.errors import Divergence, ReplayError
from replay.rebuild import Progress, capacity_of, rebuild, state_form
from replay.times import position_after
from replay.verify import VerifyReport, verify


class CarriedProjections(Protocol):
    """Projections of an earlier release that are whole and can go on. ``users``: that have streams among them."""

    users: int
    notes: tuple[str, ...]

    def write(self) -> dict[str, ProjectionImage]:
        """Write and sync their files in the form of this release, beside the old ones; their images by name."""
        ...


#: Called with the journal, the checkpoint of the earlier release, the engine in its state, and the capacity from then
#: on. Raises ReplayError where the projections cannot go on.
CarryOver = Callable[[Journal, Checkpoint, MarketEngine, Capacity], CarriedProjections]


@dataclass(frozen=True)
class Plan:
    """Content of an upgrade. ``verified``: a sentence on what was verified, and how.

    ``last_seq``, ``time_ns``: the last command of the slice that it closes, and the clock there. ``users``: None where
    no checkpoint says it. ``re_executed``: true where this release could compute the events of that slice. ``changes``:
    a sentence on the market for each rules version. ``notes``: sentences on what was converted.
    ``day_orders_that_end``: open orders good for an earlier trading day, which end with the present one.
    """

    directory: str
    slice_number: int
    rules_before: int
    rules: int
    capacity_before: Capacity
    capacity: Capacity
    journal_id: str
    has_own_id: bool
    last_seq: int
    time_ns: int
    orders_accepted: int
    trades: int
    open_orders: int
    participants: int
    users: int | None
    re_executed: bool
    verified: str
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    day_orders_that_end: int = 0


class Upgrade:
    """A prepared upgrade. ``plan``: None where there is nothing to do. Nothing is written before ``begin``."""

    def __init__(self, plan: Plan | None, begin: Callable[[], Rolled] | None) -> None:
        self.plan = plan
        self._begin = begin

    def begin(self) -> Rolled:
        """Begin the new slice. Raises as ``roll``; the directory is as it was then."""
        if self._begin is None:
            raise ReplayError("there is nothing to upgrade")
        return self._begin()


NOTHING: Final = Upgrade(None, None)


class _Outset:
    """A directory before its upgrade, as its open slice says."""

    def __init__(self, directory: Path, journal: Journal, capacity: Capacity | None) -> None:
        self.directory = directory
        self.before = capacity_of(journal)
        self.capacity = self.before if capacity is None else capacity
        self.rules = int(journal.meta.get("rules_version", RULES_VERSION))
        self.info: JournalInfo = journal.info()
        self.place = journal.place
        self.start_seq = journal.start_seq
        self.is_empty = journal.last_seq == journal.start_seq
        self.in_our_form = self.rules == RULES_VERSION and _starts_in_our_form(journal)
        # A derived id stays derived; the record of a further slice has the form of this release all the same.
        has_our_record = journal.has_own_id or journal.start is not None
        self.is_done = self.in_our_form and has_our_record and self.capacity == self.before
        if not self.is_done and journal.last_seq == 0:
            raise ReplayError(
                f"the journal in {directory} is empty, so there is nothing to upgrade; make a new directory instead"
            )
        if not self.is_done and position_after(journal, 0).extended:
            raise ReplayError(
                f"the journal in {directory} ends with an EXTEND row, which belongs to the next command; append that "
                "one first, with the release that wrote it"
            )

    def plan(
        self,
        engine: MarketEngine,
        *,
        users: int | None,
        verified: str,
        notes: tuple[str, ...] = (),
        day_orders_that_end: int = 0,
    ) -> Plan:
        venue = stateful(engine).parts()["venue"]["venue"][0]
        return Plan(
            directory=str(self.directory),
            slice_number=self.info.slice_number,
            rules_before=self.rules,
            rules=RULES_VERSION,
            capacity_before=self.before,
            capacity=self.capacity,
            journal_id=self.info.journal_id,
            has_own_id=self.info.has_own_id,
            last_seq=engine.seq,
            time_ns=engine.now_ns,
            orders_accepted=int(venue["last_order_number"]),
            trades=int(venue["last_trade_number"]),
            open_orders=int(venue["orders_open"]),
            participants=int(venue["participants"]),
            users=users,
            re_executed=self.in_our_form,
            verified=verified,
            changes=changes_between(self.rules, RULES_VERSION),
            notes=notes,
            day_orders_that_end=day_orders_that_end,
        )


def _starts_in_our_form(journal: Journal) -> bool:
    """False where a slice starts from an image whose state has another form than this release's."""
    if journal.start is None:
        return True
    try:
        origin = load_checkpoint(journal.place.start_image).origin
    except CheckpointError:
        return True  # the replay says what is to be done
    return (origin.state_version, origin.state_layout) == state_form()


@contextmanager
def prepare_upgrade(
    directory: Path,
    capacity: Capacity | None,
    *,
    make_projections: MakeProjections,
    carry_over: CarryOver,
    durability: Durability = "fsync",
    progress: Progress | None = None,
) -> Iterator[Upgrade]:
    """Verify a data directory that nobody writes, and prepare its upgrade.

    ``capacity``: from then on; None: as before. ``make_projections``: for a slice that is re-executed; ``carry_over``:
    for one that is not. Both leave the files of the release before as they are. Raises JournalBusy where somebody
    writes the directory, ReplayError and CheckpointError where it cannot be upgraded, Divergence where a replay gives
    other events, other JournalErrors from the journal. Nothing is changed then.
    """
    pid = writer_pid(directory)
    if pid is not None:
        raise JournalBusy(f"{directory} is being written by process {pid}; stop it first")
    with Journal.open(directory, readonly=True) as journal:
        outset = _Outset(directory, journal, capacity)
    if outset.is_done:
        yield NOTHING
    elif outset.in_our_form:
        yield _re_executed(outset, make_projections, durability, progress)
    else:
        with room_for_slice(directory, outset.place):
            journal = Journal.open(directory, durability=durability)
        with journal:
            yield _converted(outset, journal, carry_over, progress)


# A slice that this release can re-execute.


def _re_executed(
    outset: _Outset, make_projections: MakeProjections, durability: Durability, progress: Progress | None
) -> Upgrade:
    if outset.is_empty:
        verified = f"slice {outset.place.number} has no command, and the image that it starts from is whole"
    else:
        report = verify(outset.directory, workers=os.cpu_count() or 1, from_seq=outset.start_seq + 1, progress=progress)
        if not report.ok:
            raise _not_verified(report, outset)
        verified = (
            f"{report.commands:,} commands were executed again and gave the recorded digests of {report.events:,} "
            "events"
        )
    rebuilt = rebuild(outset.directory)
    if outset.is_empty and rebuilt.notes:
        verified = rebuilt.notes[0]  # the slice before gave what the image lacks
    plan = outset.plan(rebuilt.engine, users=_users_in(outset), verified=verified)

    def begin() -> Rolled:
        return roll(
            outset.directory,
            capacity=outset.capacity,
            make_projections=make_projections,
            durability=durability,
            progress=progress,
        )

    return Upgrade(plan, begin)


def _not_verified(report: VerifyReport, outset: _Outset) -> ReplayError:
    """The error for a slice whose replay does not agree with its record."""
    advice = f"run `lockstep verify {outset.directory}` with both engines"
    if report.differences:
        first = report.differences[0]
        return Divergence(
            f"nothing was changed: commands {first.first_seq:,} to {first.last_seq:,} give another {first.part} than "
            f"recorded; {advice}"
        )
    why = report.damage[0] if report.damage else f"the block at command {report.missing[0]} has no event digest"
    return ReplayError(f"the slice cannot be verified, so nothing was changed: {why}; {advice}")


def _users_in(outset: _Outset) -> int | None:
    """Users by the newest checkpoint that says it, of this release or the one before ids; None without one."""
    with Journal.open(outset.directory, readonly=True) as journal:
        store = CheckpointStore(journal.place.folder)
    for info in reversed(store.list()):
        for name, table in (("streams", "streams users"), ("gateway streams", "users")):
            if info.valid and name in info.projections:
                try:
                    image = store.load(info.path).projections[name]
                    return len(image.arrays[table]) - 1
                except (CheckpointError, KeyError):
                    continue
    return None


# A slice of other rules, or of another form.


def _converted(outset: _Outset, journal: Journal, carry_over: CarryOver, progress: Progress | None) -> Upgrade:
    checked = journal.check(progress)
    if not checked.ok:
        raise JournalDamaged(
            f"the journal in {outset.directory} is damaged, so nothing was changed: {checked.problems[0].sentence}; "
            f"see `lockstep journal check {outset.directory}`"
        )
    checkpoint = _last_image(outset, journal)
    engine, conversion = _converted_engine(checkpoint, outset)
    try:
        carried = carry_over(journal, checkpoint, engine, outset.capacity)
    except ReplayError as error:
        raise ReplayError(f"{error}; {_advice(outset.directory)}") from error
    verified = (
        f"{checked.blocks:,} blocks with {checked.rows:,} commands are whole, byte for byte; the checkpoint at command "
        f"{checkpoint.seq:,} has the event digest that the journal records there, and orders, positions, limits and "
        "numbers that come of it are those in it"
    )
    plan = outset.plan(
        engine,
        users=carried.users,
        verified=verified,
        notes=(*conversion.notes, *carried.notes),
        day_orders_that_end=conversion.day_orders_that_end,
    )

    def begin() -> Rolled:
        taken = image(engine, outset.capacity, journal.journal_id)
        with room_for_slice(outset.directory, outset.place):
            return begin_slice(journal, replace(taken, projections=carried.write()))

    return Upgrade(plan, begin)


def _advice(directory: Path) -> str:
    return (
        "nothing was changed: start and stop the node once with the release that wrote it, which takes a checkpoint as "
        f"it ends, then repeat `lockstep upgrade {directory}`"
    )


def _last_image(outset: _Outset, journal: Journal) -> Checkpoint:
    """The image of the market after the last command of a journal, every byte of it verified."""
    place, last = journal.place, journal.last_seq
    if journal.start is not None and last == journal.start_seq:
        checkpoint = load_checkpoint(place.start_image)
        given = {part: part_digest(arrays) for part, arrays in checkpoint.parts.items()}
        recorded: bytes | None = journal.start.event_digest
        same = given == journal.start.image
    else:
        infos = [info for info in CheckpointStore(place.folder).list() if info.path.suffix == ".checkpoint"]
        if not infos:
            raise ReplayError(f"there is no checkpoint in {place.folder}; {_advice(outset.directory)}")
        newest = infos[-1]
        if newest.seq != last:
            raise ReplayError(
                f"the newest checkpoint in {place.folder} is of command {newest.seq:,}, and the journal goes to "
                f"command {last:,}; {_advice(outset.directory)}"
            )
        try:
            checkpoint = CheckpointStore(place.folder).verify(newest.path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {_advice(outset.directory)}") from error
        recorded, same = _recorded_digest(journal), True
    if recorded is None:
        raise ReplayError(
            f"the last block of the journal in {outset.directory} has no event digest, as after a crash; "
            f"{_advice(outset.directory)}"
        )
    known = checkpoint.journal_id in (b"", journal.journal_id)
    if not same or not known or checkpoint.seq != last or checkpoint.event_digest != recorded:
        raise ReplayError(
            f"the checkpoint at command {checkpoint.seq:,} is not of the journal in {outset.directory}, which records "
            f"other events; {_advice(outset.directory)}"
        )
    if (checkpoint.rules_version, Capacity(**checkpoint.capacity)) != (outset.rules, outset.before):
        raise ReplayError(
            f"the checkpoint at command {checkpoint.seq:,} has other rules or another capacity than the journal in "
            f"{outset.directory}; {_advice(outset.directory)}"
        )
    return checkpoint


def _recorded_digest(journal: Journal) -> bytes | None:
    """Event digest that the journal records of its last block."""
    for block in journal.blocks(journal.last_seq, journal.last_seq):
        return journal.digest(block.first_seq)
    return None


def _converted_engine(checkpoint: Checkpoint, outset: _Outset) -> tuple[StatefulEngine, Conversion]:
    """The market of a checkpoint under this release and with the new capacity; and its conversion. Raises
    ReplayError."""
    engine, conversion = _engine_of(checkpoint, outset.before)
    try:
        differing = differences(
            checkpoint.parts, checkpoint.rules_version, checkpoint.state_version, outset.before, engine
        )
    except ValueError as error:
        raise ReplayError(f"the market cannot be compared with its image, so nothing was changed: {error}") from error
    if outset.capacity != outset.before:
        unsized = engine
        engine, conversion = _engine_of(checkpoint, outset.capacity)
        differing += unlike(unsized, engine)
    if differing:
        raise ReplayError(
            f"the conversion of checkpoint {checkpoint.seq:,} has other {', '.join(differing)} than the image, so "
            "nothing was changed; this is a defect of lockstep: please report it with a copy of the checkpoint"
        )
    return engine, conversion


def _engine_of(checkpoint: Checkpoint, capacity: Capacity) -> tuple[StatefulEngine, Conversion]:
    try:
        conversion = convert(
            checkpoint.parts,
            rules_version=checkpoint.rules_version,
            state_version=checkpoint.state_version,
            capacity=Capacity(**checkpoint.capacity),
            to=capacity,
        )
        engine = restore_engine("kernel", capacity, checkpoint.seq, checkpoint.event_digest, conversion.parts)
        engine.check()
    except (ValueError, InvariantError) as error:
        raise ReplayError(f"the market cannot go on under this release, so nothing was changed: {error}") from error
    return stateful(engine), conversion
