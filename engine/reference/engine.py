"""The shell: batches of COMMAND rows in, EVENT rows out, the chain of event digests, and views of the state."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Final

import numpy as np

from engine.capacity import Capacity
from engine.digest import EventChain
from engine.names import Directory, unpack
from engine.records import CommandKind, Reason
from engine.reference import views
from engine.reference.cancel import cancel, mass_cancel
from engine.reference.check import check_state
from engine.reference.clock import clock, clock_jump
from engine.reference.consequences import consequences
from engine.reference.copying import copied
from engine.reference.cross import cross
from engine.reference.definitions import define_instrument, define_participant
from engine.reference.delay import is_delayed, venue_command, wait_for_effect
from engine.reference.entry import enter
from engine.reference.epoch import epoch_command
from engine.reference.events import EventLog
from engine.reference.halts import halt_command, resume_command
from engine.reference.indices import define_index, members_command
from engine.reference.kill import emergency_close, kill_command, unkill_command
from engine.reference.limit_command import limits_command
from engine.reference.phases import phase_command
from engine.reference.replace import replace
from engine.reference.rows import Row, can_be_interpreted, rows_of
from engine.reference.schedules import schedule_command
from engine.reference.users import credential_command, user_command
from engine.reference.venue import Venue, Witness
from engine.views import Waiting

#: Of each kind but ``extend`` what it does: alone, or with the continuation row before it.
_RULES: Final[dict[int, Callable[[Venue, Row, EventLog], None]]] = {
    int(CommandKind.CLOCK): clock,
    int(CommandKind.VENUE): venue_command,
    int(CommandKind.PARTICIPANT): define_participant,
    int(CommandKind.ENTER): enter,
    int(CommandKind.CANCEL): cancel,
    int(CommandKind.REPLACE): replace,
    int(CommandKind.MASS_CANCEL): mass_cancel,
    int(CommandKind.CROSS): cross,
    int(CommandKind.PHASE): phase_command,
    int(CommandKind.SCHEDULE): schedule_command,
    int(CommandKind.MEMBERS): members_command,
    int(CommandKind.HALT): halt_command,
    int(CommandKind.RESUME): resume_command,
    int(CommandKind.KILL): kill_command,
    int(CommandKind.UNKILL): unkill_command,
    int(CommandKind.EMERGENCY_CLOSE): emergency_close,
    int(CommandKind.USER): user_command,
    int(CommandKind.CREDENTIAL): credential_command,
    int(CommandKind.CLOCK_JUMP): clock_jump,
    int(CommandKind.EPOCH): epoch_command,
}
_CONTINUED: Final[dict[int, Callable[[Venue, Row, Row | None, EventLog], None]]] = {
    int(CommandKind.LIMITS): limits_command,
    int(CommandKind.INSTRUMENT): define_instrument,
    int(CommandKind.INDEX): define_index,
}
#: The kinds that an ``extend`` may stand before, of which it is one itself (section 13, 12 and 29).
_CONTINUABLE: Final = frozenset(
    map(
        int,
        (
            CommandKind.EXTEND,
            CommandKind.LIMITS,
            CommandKind.INSTRUMENT,
            CommandKind.INDEX,
            CommandKind.ENTER,
            CommandKind.CANCEL,
            CommandKind.REPLACE,
            CommandKind.CROSS,
            CommandKind.EPOCH,
        ),
    ),
)


class ReferenceEngine:
    """A market of the rulebook, in plain Python. A pure function of the rows it was given and of ``capacity``."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity()
        self.seq = 0
        self._chain = EventChain()
        self._venue = Venue(self.capacity)

    def apply(self, commands: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Apply COMMAND rows, shape (n,), n from 0, and return their EVENT rows, shape (m,).

        Raises ValueError when ``commands`` is no such array, and never
        because of what its rows hold.
        """
        log = EventLog(self.seq)
        with _without_collector():
            for rows in rows_of(commands):
                for row in rows:
                    log.seq += 1
                    _apply_row(self._venue, row, log)
        self.seq = log.seq
        events = log.take()
        self._chain.add(events)
        return events

    def apply_before(self, commands: "np.ndarray[Any, Any]", witness: Witness) -> None:
        """Apply COMMAND rows before a witness; places of events are those among theirs."""
        self._venue.witness = witness
        try:
            self.apply(commands)
        finally:
            self._venue.witness = None

    def copy(self) -> "ReferenceEngine":
        """Another market in the same state."""
        made = copy(self)
        made._venue = copied(self._venue)
        made._chain = EventChain.from_arrays(self._chain.arrays())
        return made

    @classmethod
    def restore(
        cls, capacity: Capacity, seq: int, event_digest: bytes, parts: dict[str, dict[str, "np.ndarray[Any, Any]"]]
    ) -> "ReferenceEngine":
        """A market in the state of an image of the compiled engine, by named fields.

        Raises ValueError when the parts do not fit the capacity or the number, or when they are not whole.
        """
        from engine.reference.restore import restored_venue  # it loads what has kernels

        engine = cls(capacity)
        try:
            engine._venue, engine.seq = restored_venue(capacity, parts)
            engine._chain = EventChain.from_arrays(parts["events"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"the image is not of the compiled engine: {error}") from error
        if (engine.seq, engine.event_digest) != (seq, event_digest):
            raise ValueError(f"the image is of sequence {engine.seq}, or of other events, not of {seq}")
        return engine

    def rows_by_part(self) -> dict[str, dict[str, "np.ndarray[Any, Any]"]]:
        """The whole state as rows that both engines have: part, table, int64 rows (``engine.reference.rows_by_part``).

        ``image_rows`` gives those of the compiled engine.
        """
        from engine.reference.venue_rows import venue_rows

        return {**venue_rows(self._venue, self.seq), "events": self._chain.arrays()}

    @property
    def event_digest(self) -> bytes:
        """16 bytes: what all events so far come to, whatever blocks their commands came in."""
        return self._chain.digest()

    @property
    def now_ns(self) -> int:
        """The newest clock value; 0 before the first."""
        return self._venue.now_ns

    @property
    def epoch(self) -> int:
        """The epoch in force; 0 before the first reign."""
        return self._venue.epoch

    @property
    def directory(self) -> Directory:
        """The names defined so far, and the clock."""
        return Directory(
            symbols=tuple(unpack(instrument.symbol) for instrument in self._venue.instruments),
            participants=tuple(unpack(participant.name) for participant in self._venue.participants),
            now_ns=self._venue.now_ns,
        )

    @property
    def next_due_ns(self) -> int:
        """The earliest time of what a clock value makes due; 0: nothing waits for one."""
        return views.next_due_ns(self._venue)

    def open_orders(self, instrument: int = 0) -> "np.ndarray[Any, Any]":
        """OPEN_ORDER rows of one instrument by number, or of all (0): buys before sells, in the order of trading."""
        return views.open_orders(self._venue, instrument)

    def instruments(self) -> "np.ndarray[Any, Any]":
        """INSTRUMENT_STATE rows, in order of definition."""
        return views.instruments(self._venue)

    def schedules(self) -> "np.ndarray[Any, Any]":
        """SCHEDULE_STATE rows, in the order in which the clock meets them."""
        return views.schedules(self._venue)

    def indices(self) -> "np.ndarray[Any, Any]":
        """INDEX_STATE rows, in order of definition."""
        return views.indices(self._venue)

    def positions(self, participant: int = 0) -> "np.ndarray[Any, Any]":
        """POSITION rows of a participant by number, or of all (0), in order of participant and instrument."""
        return views.positions(self._venue, participant)

    @property
    def speed_bump_ns(self) -> int:
        """The entry delay; 0: none."""
        return self._venue.speed_bump_ns

    @property
    def day_start_ns(self) -> int:
        """When a trading day begins, after 00:00 UTC."""
        return self._venue.day_start_ns

    def waiting(self) -> Waiting:
        """Commands that wait for their effect, in the order in which they are due."""
        return views.waiting(self._venue)

    def participants(self) -> "np.ndarray[Any, Any]":
        """PARTICIPANT_STATE rows, in order of definition."""
        return views.participants(self._venue)

    def limits(self, participant: int = 0) -> "np.ndarray[Any, Any]":
        """LIMITS_STATE rows of a participant by number, or of all (0), in order of participant and instrument."""
        return views.limits(self._venue, participant)

    def check(self) -> None:
        """Check the state against the rules. Raises InvariantError with the first broken promise."""
        check_state(self._venue)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's collector of cycles off meanwhile.

    What leaves a market is in no cycle: it would find nothing, and look at every order that stays.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _apply_row(venue: Venue, row: Row, log: EventLog) -> None:
    kind, continuation = row.kind, venue.continuation
    venue.continuation = None
    if venue.speed_bump_ns and is_delayed(row):
        wait_for_effect(venue, row, log)
    elif not can_be_interpreted(row) or (continuation is not None and kind not in _CONTINUABLE):
        log.rejected(row.client_order_id, Reason.INVALID_COMMAND)
    elif (rule := _RULES.get(kind)) is not None:
        rule(venue, row, log)
        consequences(venue, log)
    elif kind in _CONTINUED:
        _CONTINUED[kind](venue, row, continuation, log)
    else:
        venue.continuation = row
