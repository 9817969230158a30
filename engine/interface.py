"""The interface that both engines have, and the choice of one by name."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.names import Directory
from engine.views import Waiting

if TYPE_CHECKING:
    from engine.pieces import Pieces

EngineKind = Literal["kernel", "reference"]


class MarketEngine(Protocol):
    """The engine as the pump and every replay use it."""

    @property
    def seq(self) -> int:
        """The last command applied; 0 before the first."""
        ...

    @property
    def event_digest(self) -> bytes:
        """The digest of all events so far, whatever blocks they came in."""
        ...

    @property
    def directory(self) -> Directory:
        """Names defined so far."""
        ...

    @property
    def capacity(self) -> Capacity:
        """Capacity of the venue."""
        ...

    @property
    def now_ns(self) -> int:
        """The clock in force, ns since 1970."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch in force; 0 before the first reign."""
        ...

    def apply(self, commands: NDArray[Any], /) -> NDArray[Any]:
        """Apply COMMAND rows as one block; the EVENT rows that they cause."""
        ...

    def open_orders(self, instrument: int = 0, /) -> NDArray[Any]:
        """OPEN_ORDER rows, in the order in which the book would trade them."""
        ...

    def instruments(self) -> NDArray[Any]:
        """INSTRUMENT_STATE rows, in order of definition."""
        ...

    def indices(self) -> NDArray[Any]:
        """INDEX_STATE rows, in order of definition."""
        ...

    def schedules(self) -> NDArray[Any]:
        """SCHEDULE_STATE rows, in the order in which the clock meets them."""
        ...

    def positions(self, participant: int = 0) -> NDArray[Any]:
        """POSITION rows of a participant by number, or of all (0), in order of both; none where all is zero."""
        ...

    def participants(self) -> NDArray[Any]:
        """PARTICIPANT_STATE rows, in order of definition."""
        ...

    def limits(self, participant: int = 0) -> NDArray[Any]:
        """LIMITS_STATE rows of a participant by number, or of all (0), in order of both; none where no limit is set."""
        ...

    @property
    def next_due_ns(self) -> int:
        """The earliest time of what a clock value would make due, ns: ends of halts, calls and orders, schedules,
        commands that wait; 0: none."""
        ...

    @property
    def speed_bump_ns(self) -> int:
        """Entry delay of the venue, ns; 0: none."""
        ...

    @property
    def day_start_ns(self) -> int:
        """When a trading day begins, ns after 00:00 UTC."""
        ...

    def waiting(self) -> Waiting:
        """Commands that wait for their effect, in the order in which they are due."""
        ...

    def check(self) -> None:
        """Raise InvariantError when an invariant is broken."""
        ...


class StatefulEngine(MarketEngine, Protocol):
    """The compiled engine: its state is arrays, so that it can be imaged, digested by part and restored."""

    def apply(self, commands: NDArray[Any], /, *, copy: bool = True) -> NDArray[Any]:
        """As every engine's; without ``copy`` the events are written over by the next call."""
        ...

    def parts(self) -> Mapping[str, Mapping[str, NDArray[Any]]]:
        """The whole state: part, array name, array."""
        ...

    def part_digests(self) -> Mapping[str, bytes]:
        """One digest for each part."""
        ...

    def pieces(self) -> "Pieces":
        """The state as it stands, cut into pieces for comparison with another engine at the same command."""
        ...


def prefault(engine: MarketEngine) -> None:
    """Have the memory of an engine found before its first command, if it is one that waits for memory otherwise."""
    ready = getattr(engine, "prefault", None)
    if ready is not None:
        ready()


def new_engine(kind: EngineKind, capacity: Capacity) -> MarketEngine:
    """An engine before its first command. Raises ValueError for an unknown kind."""
    if kind == "kernel":
        from engine import Engine

        return Engine(capacity)
    if kind == "reference":
        from engine.reference import ReferenceEngine

        return ReferenceEngine(capacity)
    raise ValueError(f"engine {kind!r} is not known; use kernel or reference")


def restore_engine(
    kind: EngineKind,
    capacity: Capacity,
    seq: int,
    event_digest: bytes,
    parts: dict[str, dict[str, NDArray[Any]]],
    *,
    adopts: bool = False,
) -> MarketEngine:
    """An engine in the state of an image (``StatefulEngine.parts``) after command ``seq``. Raises ValueError where they
    do not fit, and for an unknown kind. ``adopts``: the caller gives the arrays away."""
    if kind == "kernel":
        from engine import Engine

        machine: MarketEngine = Engine.restore(capacity, seq, event_digest, parts, adopts=adopts)
        return machine
    if kind == "reference":
        from engine.reference import ReferenceEngine

        return ReferenceEngine.restore(capacity, seq, event_digest, parts)
    raise ValueError(f"engine {kind!r} is not known; use kernel or reference")


def sketch_of(engine: MarketEngine) -> dict[str, NDArray[Any]] | None:
    """The state of an engine without the ids of orders that are gone; None of one that cannot give it, or not now."""
    given: Callable[[], dict[str, NDArray[Any]] | None] | None = getattr(engine, "sketch", None)
    return None if given is None else given()


def engine_of_sketch(
    capacity: Capacity, seq: int, event_digest: bytes, arrays: dict[str, NDArray[Any]], following: int
) -> MarketEngine:
    """A compiled engine out of a sketch, for about ``following`` commands: its events have to be compared with recorded
    ones. Raises ValueError where it does not fit."""
    from engine import Engine

    machine: MarketEngine = Engine.of_sketch(capacity, seq, event_digest, arrays, following)
    return machine
