"""The shell of the compiled engine: class Engine owns the arrays and calls the kernel once a batch."""

from typing import Any

import numpy as np

from engine import jit
from engine.apply import apply_batch
from engine.bounds import COMMANDS_PER_CALL_MAX, MEMBERS_MAX, TIME_NS_MAX
from engine.capacity import Capacity, events_max, phase_changes_max
from engine.check import check_state
from engine.clock import clock_rows
from engine.digest import EventChain, part_digest, state_digest
from engine.errors import InvariantError
from engine.kernel_cache import cache_directory
from engine.listing import list_open_orders
from engine.names import Directory, unpack
from engine.parts import Arrays, adopted, fill_state, state_parts
from engine.pieces import Pieces
from engine.records import COMMAND, EVENT, Instruction, concatenate
from engine.state import (
    ASIDE,
    ENDING,
    EXPOSURE,
    IN_MIDPOINT,
    VENUE,
    State,
    new_state,
    prefault,
    with_room_for_ids,
)
from engine.views import (
    INDEX_STATE,
    INSTRUMENT_STATE,
    LIMITS_STATE,
    OPEN_ORDER,
    PARTICIPANT_STATE,
    POSITION,
    SCHEDULE_STATE,
    Waiting,
)

Rows = np.ndarray[Any, Any]


_apply = jit.quiet(apply_batch)


def _copy(rows: Rows) -> Rows:
    """A copy as bytes: NumPy copies structured rows field by field, thirty times slower."""
    return rows.view(f"V{rows.itemsize}").copy().view(rows.dtype)


class Engine:
    """A venue: commands in, events out, and nothing else: no clock, no input or output, no randomness.

    >>> from engine.names import pack
    >>> engine = Engine(Capacity(orders_max=8, ids_max=8, instruments_max=1, participants_max=1))
    >>> rows = np.zeros(1, COMMAND)
    >>> rows["kind"], rows["name"], rows["permissions"] = 4, pack("ALPHA"), 1
    >>> len(engine.apply(rows)), engine.seq, engine.directory.participants
    (0, 1, ('ALPHA',))
    """

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity()
        self._chain = EventChain()
        self._packed = jit.Packed(new_state(self.capacity))
        self._timers_first: Rows = self._state.venue["timers_first"]
        self._expiries: Rows = self._state.venue["expiries"]
        self._schedules: Rows = self._state.venue["schedules"]
        self._waiting: Rows = self._state.venue["waiting"]
        # Room for what one command may cause at most, and for a batch of ordinary ones.
        room = self.capacity
        worst = events_max(
            room.orders_max,
            room.orders_max,
            phase_changes_max(room.instruments_max),
            room.participants_max,
            room.orders_max,
        )
        self._events: Rows = np.empty(worst + 4 * COMMANDS_PER_CALL_MAX, EVENT)
        self._event_bytes = self._events.view(np.uint8).data
        self._pieces: Pieces | None = None

    @property
    def _state(self) -> State:
        return self._packed.arrays

    def prefault(self) -> None:
        """Have the system allocate now the memory that commands touch: about 300 MB at the default capacity.

        Without it the first commands of a new engine wait for memory, each up to a tenth of a millisecond.
        """
        prefault(self._state)
        self._events[: 4 * COMMANDS_PER_CALL_MAX].view(np.uint8)[:] = 0

    @property
    def seq(self) -> int:
        """Sequence number of the last command applied; 0 before the first."""
        return int(self._state.venue[0]["seq"])

    @property
    def event_digest(self) -> bytes:
        """16 bytes: what all events so far come to, whatever blocks their commands came in."""
        return self._chain.digest()

    @property
    def now_ns(self) -> int:
        """The clock in force, nanoseconds since 1970 UTC; 0 before the first value."""
        return int(self._state.venue[0]["now_ns"])

    @property
    def epoch(self) -> int:
        """Epoch in force: of the primary whose reign it is; 0 before the first."""
        return int(self._state.venue[0]["epoch"])

    @property
    def next_due_ns(self) -> int:
        """The earliest time of what a clock value would meet, 0 for nothing.

        That is the end of a halt, of the call after one or of an order, a schedule, or the effect of a command.
        """
        first = self._timers_first.item()
        due_ns = int(self._state.instruments[first - 1]["due_ns"]) if first else 0
        if self._expiries.item():
            until_ns = int(self._state.terms[int(self._state.expiries[1])]["until_ns"])
            due_ns = min(due_ns, until_ns) if due_ns else until_ns
        if self._schedules.item():
            scheduled_ns = max(int(self._state.schedules[0]["due_ns"]), 1)
            due_ns = min(due_ns, scheduled_ns) if due_ns else scheduled_ns
        if self._waiting.item():
            delayed_ns = int(self._state.waits[int(self._state.venue[0]["waiting_first"])]["due_ns"])
            due_ns = min(due_ns, delayed_ns) if due_ns else delayed_ns
        return due_ns if due_ns <= TIME_NS_MAX else 0

    @property
    def directory(self) -> Directory:
        """Symbols and participants defined so far."""
        venue = self._state.venue[0]
        return Directory(
            tuple(unpack(int(n)) for n in self._state.instruments["symbol"][: venue["instruments"]]),
            tuple(unpack(int(n)) for n in self._state.participants["name"][: venue["participants"]]),
            self.now_ns,
        )

    def apply(self, commands: Rows, *, copy: bool = True) -> Rows:
        """Apply a block of COMMAND rows and return its EVENT rows.

        commands: one-dimensional, any length. With ``copy=False`` the events are a view that the next call
        overwrites. Never raises for what a row holds.
        """
        if commands.dtype != COMMAND or commands.ndim != 1:
            raise TypeError("commands is not a one-dimensional array of COMMAND rows")
        if not commands.flags.carray:
            commands = _copy(np.ascontiguousarray(commands))
        start, count = _apply(self._packed.pointers, commands, 0, self._events, 0)
        if start < len(commands):
            return self._apply_rest(commands, start, count)
        events = self._event_bytes[: EVENT.itemsize * count]
        self._chain.add(events)
        # A block of a few rows is copied as bytes: asking NumPy for it takes longer than the commands do.
        return np.frombuffer(bytearray(events), EVENT) if copy and count else self._events[:count]

    def _apply_rest(self, commands: Rows, start: int, count: int) -> Rows:
        """A batch whose events do not fit at once."""
        full = [_copy(self._events[:count])]
        while start < len(commands):
            before = start
            start, count = _apply(self._packed.pointers, commands, start, self._events, 0)
            if start == before and not count:
                raise InvariantError(
                    f"room for {len(self._events)} events is less than command {self.seq + 1} may cause"
                )
            full.append(_copy(self._events[:count]))
        rows = concatenate(full, EVENT)
        self._chain.add(rows)
        return rows

    @property
    def pointers(self) -> Any:
        """Pointers of the packed state, for kernels that call ``apply_batch`` themselves; ``adopt`` ends their work."""
        return self._packed.pointers

    @property
    def events(self) -> Rows:
        """Room for the events of one call of ``apply_batch``: EVENT rows, overwritten by each."""
        return self._events

    def adopt(self, events: Rows) -> None:
        """Take the events of commands that a kernel has applied into the event digest."""
        self._chain.add(events)

    def complete(self, commands: Rows, start: int, count: int) -> Rows:
        """Apply the rest of a block that a kernel has applied up to row ``start``; gives the events of the rest.

        Before them come the last ``count`` events in ``events``, which did not fit where the kernel copies them to.
        """
        return self._apply_rest(commands, start, count)

    def instruments(self) -> Rows:
        """INSTRUMENT_STATE rows, in order of definition."""
        here = self._state.instruments[: self._state.venue[0]["instruments"]]
        rows = np.zeros(len(here), INSTRUMENT_STATE)
        for name in INSTRUMENT_STATE.names or ():
            if name != "reserved":
                rows[name] = here[name]
        rows["due_ns"][rows["due_ns"] > TIME_NS_MAX] = 0
        return rows

    def schedules(self) -> Rows:
        """SCHEDULE_STATE rows, in the order in which the clock meets them."""
        here = self._state.schedules[: self._state.venue[0]["schedules"]]
        rows = np.zeros(len(here), SCHEDULE_STATE)
        for name in ("due_ns", "instrument", "phase"):
            rows[name] = here[name]
        return rows

    def indices(self) -> Rows:
        """INDEX_STATE rows, in order of definition."""
        here = self._state.indices[: self._state.venue[0]["indices"]]
        rows = np.zeros(len(here), INDEX_STATE)
        for name in ("name", "opening_e4", "members", "reached"):
            rows[name] = here[name]
        for number, row in enumerate(rows, 1):
            members = self._state.members[number * MEMBERS_MAX :][: row["members"]]
            of_members = self._state.instruments[members["instrument"] - 1]
            last_e4 = of_members["last_trade_e4"]
            prices_e4 = np.where(last_e4 != 0, last_e4, of_members["reference_e4"])
            row["value_e4"] = (members["weight"] * prices_e4).sum()
        return rows

    @property
    def speed_bump_ns(self) -> int:
        """Entry delay of the venue; 0: none."""
        return int(self._state.venue[0]["speed_bump_ns"])

    @property
    def day_start_ns(self) -> int:
        """When a trading day begins, after 00:00 UTC."""
        return int(self._state.venue[0]["day_start_ns"])

    def waiting(self) -> Waiting:
        """Commands that wait for their effect, in the order in which they are due."""
        venue = self._state.venue[0]
        places = (int(venue["waiting_first"]) + np.arange(int(venue["waiting"]))) & (len(self._state.waits) - 1)
        waits = self._state.waits[places]
        words = self._state.waiting_words.reshape(-1, COMMAND.itemsize // 8)[places]
        return Waiting(waits["seq"].copy(), waits["due_ns"].copy(), words.view(COMMAND).reshape(-1))

    def participants(self) -> Rows:
        """PARTICIPANT_STATE rows, in order of definition."""
        here = self._state.participants[: self._state.venue[0]["participants"]]
        rows = np.zeros(len(here), PARTICIPANT_STATE)
        for name in ("name", "open_notional_e4", "orders_open", "ids_used", "permissions", "killed"):
            rows[name] = here[name]
        return rows

    def positions(self, participant: int = 0) -> Rows:
        """POSITION rows of a participant (0: of all), in order of participant and instrument, where there is any."""
        pairs = self._pairs(participant)
        here = self._state.exposures.view(EXPOSURE)[pairs]
        held = here["position_qty"] | here["open_buy_qty"] | here["open_sell_qty"]
        return self._shown(here, held, pairs.start, POSITION)

    def limits(self, participant: int = 0) -> Rows:
        """LIMITS_STATE rows of a participant (0: of all), in order of participant and instrument (0: in all)."""
        pairs = self._pairs(participant)
        here = self._state.limits[pairs]
        return self._shown(here, here["limits"], pairs.start, LIMITS_STATE)

    def _pairs(self, participant: int) -> slice:
        """Index of the rows of a participant (0: of all participants) with each instrument."""
        stride = len(self._state.instruments) + 1
        first, last = (participant, participant) if participant else (0, int(self._state.venue[0]["participants"]))
        return slice(first * stride, (last + 1) * stride)

    def _shown(self, here: Rows, number: Rows, start: int, kind: "np.dtype[Any]") -> Rows:
        """Rows of a kind out of those of pairs, of which ``start`` is the first, whose number is not 0."""
        held = np.flatnonzero(number)
        stride = len(self._state.instruments) + 1
        rows = np.zeros(len(held), kind)
        places = start + held
        rows["participant"] = places // stride
        rows["instrument"] = places % stride
        for name in (kind.names or ())[2:]:
            rows[name] = here[name][held]
        return rows

    def open_orders(self, instrument: int = 0) -> Rows:
        """OPEN_ORDER rows of an instrument (0: of all), buys before sells, in the order in which they would trade.

        An instrument that is not defined has none.
        """
        state = self._state
        defined = range(1, int(state.venue[0]["instruments"]) + 1)
        numbers = [number for number in defined if instrument in (0, number)]
        out = np.empty(int(state.venue[0]["orders_open"]), np.int64)
        slots = [out[: list_open_orders(state, number, out)].copy() for number in numbers]
        here = state.orders[np.concatenate(slots)] if slots else state.orders[:0]
        rows = np.zeros(len(here), OPEN_ORDER)
        for name in OPEN_ORDER.names or ():
            if name in here.dtype.names and not name.startswith("reserved"):
                rows[name] = here[name]
        rows["instructions"] &= ~np.uint16(ASIDE | ENDING)
        if slots:
            terms = state.terms[np.concatenate(slots)]
            rows["stop_e4"] = terms["stop_tick"] * state.instruments["tick_e4"][here["instrument"].astype(np.int64) - 1]
            rows["display_qty"] = terms["display_qty"]
            for name in ("peg", "offset_e4", "peg_e4"):
                rows[name] = terms[name]
            rows["until_ns"] = terms["until_ns"]
            rows["book"] = here["instructions"] & IN_MIDPOINT != 0
            rows["instructions"] &= np.uint16(~IN_MIDPOINT & 0xFFFF)
            undisplayed = Instruction.HIDDEN | Instruction.PEG | Instruction.STOP
            dark = here["instructions"] & (undisplayed | IN_MIDPOINT | ASIDE) != 0
            rows["shown_qty"] = np.where(terms["display_qty"] != 0, terms["shown_qty"], here["leaves_qty"]) * ~dark
        return rows

    def parts(self) -> dict[str, Arrays]:
        """The whole state: part name to array name to array. Views: copy what is to outlive the next ``apply``."""
        return {**state_parts(self._state), "events": self._chain.arrays()}

    def part_digests(self) -> dict[str, bytes]:
        """xxh3-128 of each part."""
        return {part: part_digest(arrays) for part, arrays in self.parts().items()}

    def state_digest(self) -> bytes:
        """xxh3-128 over the digests of the parts."""
        return state_digest(self.part_digests())

    def pieces(self) -> Pieces:
        """The state as it stands, cut into pieces for comparison with another engine at the same command.

        The next call gives the same object, which then looks at the state anew.
        """
        if self._pieces is None or self._pieces.chain is not self._chain:
            self._pieces = Pieces(self._state, self._chain)
        else:
            self._pieces.look()
        return self._pieces

    @classmethod
    def restore(
        cls, capacity: Capacity, seq: int, event_digest: bytes, parts: dict[str, Arrays], *, adopts: bool = False
    ) -> "Engine":
        """An engine in the state of ``parts``. Raises ValueError when they do not fit the capacity or the number.

        ``adopts``: large arrays of ``parts`` may become those of the engine, so the caller gives them away.
        """
        engine = cls(capacity)
        try:
            if adopts:
                engine._packed = jit.Packed(adopted(engine._state, parts))
            fill_state(engine._state, parts)
            engine._chain = EventChain.from_arrays(parts["events"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"the image is not of this engine: {error}") from error
        if (engine.seq, engine.event_digest) != (seq, event_digest):
            raise ValueError(f"the image is of sequence {engine.seq}, or of other events, not of {seq}")
        return engine

    def sketch(self) -> Arrays | None:
        """The state without the ids of orders that are gone, as arrays of their own (``engine.sketch``); None at the
        begin of a trading day, while those of the day before are forgotten."""
        from engine.sketch import sketch_of

        arrays = sketch_of(self._state)
        if arrays is None:
            return None
        return arrays | {f"chain_{name}": array.copy() for name, array in self._chain.arrays().items()}

    @classmethod
    def of_sketch(
        cls, capacity: Capacity, seq: int, event_digest: bytes, arrays: Arrays, following: int = 0
    ) -> "Engine":
        """An engine out of a sketch: its events have to be compared with recorded ones.

        following: number of commands that it will apply, about. Raises ValueError when the sketch does not fit the
        capacity, the number or the digest.
        """
        from engine.sketch import fill_from_sketch

        engine = cls(capacity)
        try:
            # A table for all ids of a day is hundreds of megabytes, and the rows of an id are anywhere in it.
            open_orders = int(arrays["venue"].view(VENUE)["orders_open"][0])
            engine._packed = jit.Packed(with_room_for_ids(engine._state, open_orders + following))
            fill_from_sketch(engine._state, engine.pointers, arrays)
            engine._chain = EventChain(arrays["chain_link"].tobytes(), arrays["chain_tail"].tobytes())
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"the sketch is not of this engine: {error}") from error
        if (engine.seq, engine.event_digest) != (seq, event_digest):
            raise ValueError(f"the sketch is of sequence {engine.seq}, or of other events, not of {seq}")
        return engine

    def check(self) -> None:
        """Check all invariants. Raises InvariantError with the first that does not hold."""
        check_state(self._state)


def is_compiled() -> bool:
    """True when the kernels are in the cache of this machine."""
    return jit.INTERPRETED or any(cache_directory().rglob("listing.list_open_orders*.nbc"))


def compile_kernels() -> None:
    """Compile what is not in the cache: up to a minute on a new machine. The listing comes last."""
    engine = Engine(Capacity(orders_max=1, ids_max=1, instruments_max=1, participants_max=1))
    rows = np.zeros(1, COMMAND)
    engine.apply(rows)
    clock_rows(rows, 0, 0, np.empty(1, np.int64), np.empty(1, np.int64))
    sketch = engine.sketch()
    assert sketch is not None, "an empty venue forgets no ids"
    Engine.of_sketch(engine.capacity, engine.seq, engine.event_digest, sketch)
    list_open_orders(engine._state, 1, np.empty(1, np.int64))
