"""Sides of a comparison of states: a market that goes through the commands of a history, and shows its state by part.

A copy begins again at each image that its directory has, so that its state is the one that the node kept; a replay goes
on from the first one. Either is of the compiled engine; a replay may be of the reference engine, or of another release
(``replay.release``).
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from checkpoints import Checkpoint, CheckpointError, CheckpointStore
from engine.capacity import Capacity
from engine.digest import part_digest
from engine.errors import InvariantError
from engine.interface import EngineKind, MarketEngine, StatefulEngine, new_engine, restore_engine
from engine.names import Directory
from engine.records import COMMAND, EVENT, RULES_VERSION, concatenate
from journal.history import History
from journal.slices import START_IMAGE
from replay.difference import VIEWS
from replay.rebuild import capacity_of, check_rules, gap, name_of, owned_rows, restored, start, start_image, why_not

if TYPE_CHECKING:
    from engine.reference import ReferenceEngine

#: Part name to table name to rows, of fields with names.
Tables = dict[str, dict[str, NDArray[Any]]]


class Played(NamedTuple):
    """Commands that a side applied, and their events."""

    commands: NDArray[Any]
    events: NDArray[Any]


class Recorded(NamedTuple):
    """First block whose recorded event digest is not the one that the replay gives."""

    first_seq: int
    last_seq: int
    recorded: bytes
    replayed: bytes


class Side(Protocol):
    """A market after a command. ``name``: in words, after "the state of"."""

    name: str

    @property
    def seq(self) -> int:
        """The last command applied."""
        ...

    @property
    def form(self) -> bytes:
        """Form of its state; the digests of two sides of one form can be compared."""
        ...

    @property
    def directory(self) -> Directory:
        """Names defined so far."""
        ...

    def play(self, to_seq: int) -> Played:
        """Apply the commands up to ``to_seq``."""
        ...

    def digests(self) -> Mapping[str, bytes]:
        """Digest of each part."""
        ...

    def tables(self, *, without: Collection[str] = ()) -> Tables:
        """The rows that any engine can show, by part; ``without``: of "ids" and "risk", those that need not be made."""
        ...

    def arrays(self) -> Tables:
        """The arrays of the state, by part; none of a side that has no arrays to compare."""
        ...

    def keep(self) -> object:
        """The state, for ``back``."""
        ...

    def back(self, kept: Any) -> None:
        """Begin again at a state that was kept, and begin at no further image of the directory."""
        ...


#: Form of a state of which only what any engine shows is compared.
VIEWS_FORM: Final = b"views"


def form_of(kind: EngineKind, capacity: Capacity) -> bytes:
    """Form of the state of an engine of this release."""
    from engine.state import STATE_LAYOUT, STATE_VERSION

    return f"{kind} {STATE_VERSION} {STATE_LAYOUT.hex()} {asdict(capacity)}".encode()


class Replayed:
    """Compiled or reference engine that goes through a history.

    ``from_seq``: the first command, with which a slice begins. ``kept_images``: begin again at each checkpoint of the
    directory, and at each image that a slice starts from. ``images``: their sequence numbers. ``notes``: sentences on
    images that cannot be used. ``broken``: of the last image, why no engine can go on
    from it. ``recorded``: the first block that was recorded otherwise than this engine replays it.
    Raises ReplayError, CheckpointError, JournalError.
    """

    def __init__(
        self, history: History, kind: EngineKind, from_seq: int, *, name: str = "", kept_images: bool = False
    ) -> None:
        self.name = name or f"{history.path}, replayed by the {kind} engine"
        self.notes: list[str] = []
        self.recorded: Recorded | None = None
        self.image = self.broken = ""
        #: Set where the other side has a state of another form.
        self.shows_views = False
        self._history, self._kind = history, kind
        self._goes_on, self._kept_images = False, kept_images
        self._shown: Mapping[str, Mapping[str, NDArray[Any]]] | None = None
        self._rooms = {
            journal.start_seq: capacity_of(journal)
            for journal in (history.journal(place.number) for place in history.places)
            if journal.start_seq >= from_seq - 1
        }
        self._files = _images(history, from_seq, self.notes) if kept_images else {}
        self.images: Final = tuple(sorted(self._files))
        self._engine = self._begin(from_seq - 1)

    def _begin(self, seq: int) -> MarketEngine:
        journal = self._history.slice_of(seq + 1)
        check_rules(name_of(self._history, journal), int(journal.meta.get("rules_version", RULES_VERSION)))
        if journal.start is None:
            return new_engine(self._kind, capacity_of(journal))
        if not journal.place.start_image.exists():  # a running node writes it right after it began the slice
            return start(journal, journal.path, journal.start_seq, self._kind, True, self.notes)
        return restored(self._kind, start_image(journal))

    @property
    def seq(self) -> int:
        """The last command applied."""
        return self._engine.seq

    @property
    def form(self) -> bytes:
        """Form of its state."""
        # Digests of what is shown are of different sides, so the form of one is not that of the other.
        return b"our " + VIEWS_FORM if self.shows_views else form_of(self._kind, self._engine.capacity)

    @property
    def directory(self) -> Directory:
        """Names defined so far."""
        return self._engine.directory

    @property
    def engine(self) -> MarketEngine:
        """The engine as it stands."""
        return self._engine

    @property
    def is_kernel(self) -> bool:
        """True if the compiled engine plays."""
        return self._kind == "kernel"

    def play(self, to_seq: int) -> Played:
        """Apply the commands up to ``to_seq``, past the images on the way."""
        commands: list[NDArray[Any]] = []
        events: list[NDArray[Any]] = []
        while self.seq < to_seq:
            self._at_slice()
            end = min([to_seq, *(seq for seq in self._stops() if seq > self.seq)])
            for block in self._history.blocks(self.seq + 1, end):
                first_seq = self.seq + 1
                if not block.first_seq <= first_seq <= block.last_seq:
                    raise gap(first_seq, block.first_seq)
                rows = owned_rows(block.rows)[first_seq - block.first_seq : end - block.first_seq + 1]
                commands.append(rows)
                events.append(self._engine.apply(rows))
                self._shown = None
                if self._kept_images and self.recorded is None and self.seq == block.last_seq:
                    recorded = self._history.digest(block.first_seq)
                    if recorded not in (None, self._engine.event_digest):
                        self.recorded = Recorded(
                            block.first_seq, block.last_seq, recorded or b"", self._engine.event_digest
                        )
            if self.seq < end:
                raise gap(self.seq + 1, end)
            self._at_image()
        return Played(concatenate(commands, COMMAND), concatenate(events, EVENT))

    def _stops(self) -> list[int]:
        return [*self._rooms, *(() if self._goes_on else self._files)]

    def _at_slice(self) -> None:
        """Before the first command of a slice of another capacity: begin with the image that the slice starts from."""
        room = self._rooms.get(self.seq)
        if room is not None and room != self._engine.capacity:
            self._engine = self._begin(self.seq)
            self._shown = None

    def _at_image(self) -> None:
        """At a command after which the directory has an image: begin again there."""
        path = None if self._goes_on else self._files.get(self.seq)
        if path is None:
            return
        found = _loaded(path, self._history, self.seq)
        if isinstance(found, str):
            self.notes.append(found)
            return
        self.image = str(path)
        given = cast(StatefulEngine, self._engine).part_digests()
        if {part: part_digest(arrays) for part, arrays in found.parts.items()} == given:
            return
        self._shown = found.parts
        # Kernels trust the state: in one that breaks an invariant they may lose their way.
        try:
            engine = restored(self._kind, found, adopts=True)  # what is shown is right until it plays on
            engine.check()
        except (InvariantError, ValueError, LookupError, ArithmeticError) as error:
            self.broken = f"{path} is no whole state, and no engine can go on from it: {error}"
            self.notes.append(self.broken)
        else:
            self._engine = engine

    def digests(self) -> Mapping[str, bytes]:
        """Digest of each part of the state, of the reference engine of its rows."""
        if self._shown is not None:
            return {part: part_digest(dict(arrays)) for part, arrays in self._shown.items()}
        if self._kind == "kernel":
            return cast(StatefulEngine, self._engine).part_digests()
        return {part: part_digest(each) for part, each in self.tables().items()}

    def tables(self, *, without: Collection[str] = ()) -> Tables:
        """The rows that either engine has; ``without``: of "ids" and "risk", those that need not be made.

        Raises KeyError or ValueError where an image is not whole.
        """
        from engine.reference.image_rows import image_rows
        from engine.reference.rows_by_part import with_names

        if self.shows_views:
            views = {name: getattr(self._engine, name)() for name in VIEWS}
            return {"views": views, "events": {"digest": digest_rows(self._engine.event_digest)}}
        if self._kind == "kernel":
            return with_names(image_rows(self._engine.capacity, self._parts(), without=without))
        return with_names(cast("ReferenceEngine", self._engine).rows_by_part())

    def arrays(self) -> Tables:
        """The arrays of the state, by part; those of an image where the side stands at one."""
        return {} if self._kind != "kernel" or self.shows_views else self._parts()

    def _parts(self) -> Tables:
        parts = self._shown if self._shown is not None else cast(StatefulEngine, self._engine).parts()
        return {part: dict(each) for part, each in parts.items()}

    def keep(self) -> object:
        """A copy of the state."""
        if self._kind == "kernel":
            parts = cast(StatefulEngine, self._engine).parts()
            parts = {part: {name: array.copy() for name, array in each.items()} for part, each in parts.items()}
            return self._engine.capacity, self.seq, self._engine.event_digest, parts
        return cast("ReferenceEngine", self._engine).copy()

    def back(self, kept: Any) -> None:
        """Begin again at a copy; images on the way do not count any more."""
        self._goes_on, self._shown = True, None
        del self._engine  # a state of a large market is several hundred MB: two at once are too many
        if self._kind == "kernel":
            self._engine = restore_engine("kernel", *kept)
        else:
            self._engine = kept.copy()

    def commands(self, from_seq: int, to_seq: int) -> NDArray[Any]:
        """COMMAND rows of a range, which are not applied."""
        return self.rows_of(self._history, from_seq, to_seq)

    @staticmethod
    def rows_of(history: History, from_seq: int, to_seq: int) -> NDArray[Any]:
        """COMMAND rows of a range of a history."""
        rows = [
            owned_rows(block.rows)[max(0, from_seq - block.first_seq) : to_seq - block.first_seq + 1]
            for block in history.blocks(from_seq, to_seq)
        ]
        return concatenate(rows, COMMAND)

    def go_on(self) -> None:
        """Begin at no further image of the directory."""
        self._goes_on, self._shown = True, None

    def meet_images(self) -> None:
        """Begin at the images of the directory again, after ``back``."""
        self._goes_on = False


def digest_rows(digest: bytes) -> NDArray[Any]:
    """A digest as rows of a table."""
    return np.frombuffer(digest, np.uint8)


def _images(history: History, from_seq: int, notes: list[str]) -> dict[int, Path]:
    """Files of images by sequence number, from the one after ``from_seq`` on; of two after one command a
    checkpoint."""
    found: dict[int, Path] = {}
    for place in history.places:
        journal = history.journal(place.number)
        if journal.start_seq >= from_seq and place.start_image.exists():
            found.setdefault(journal.start_seq, place.start_image)
        for info in CheckpointStore(place.folder).list():
            if not info.valid:
                notes.append(f"{info.path} is damaged: {info.why}")
            elif from_seq <= info.seq <= journal.last_seq:
                found[info.seq] = info.path
    return found


def _loaded(path: Path, history: History, seq: int) -> Checkpoint | str:
    """The image in a file, or a sentence why it is not used."""
    journal = history.slice_of(seq)
    try:
        if path.name == START_IMAGE:
            return start_image(history.slice_of(seq + 1))
        checkpoint = CheckpointStore(journal.place.folder).load(path, mapped=True)
    except CheckpointError as error:
        return str(error)
    wrong = why_not(checkpoint, journal)
    # Another event digest than the recorded one is a difference to be found, not a reason to look away.
    if wrong is not None and "event digest" not in wrong:
        return f"{path} {wrong}"
    return checkpoint
