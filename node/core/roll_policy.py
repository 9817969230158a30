"""When a new slice of the journal begins: at a size of the open one, and once the market has closed for the day."""

from typing import Final

from engine.interface import MarketEngine
from engine.records import EventKind, Phase
from gateway.ouch.streams import OuchStreams
from journal import Journal

#: Bytes of a unit of --roll-at-gb.
GB: Final = 1_000_000_000


class RollPolicy:
    """``bytes_max``: size of the open slice's file at which the next one begins; None: any. ``daily``: begin one when
    all instruments are closed and orders were accepted in the open one."""

    def __init__(
        self, journal: Journal, engine: MarketEngine, streams: OuchStreams, bytes_max: int | None, daily: bool
    ) -> None:
        self._journal, self._engine, self._streams = journal, engine, streams
        self._bytes_max = bytes_max
        self._daily = daily
        # What the slice holds from before the start counts as a day's orders: nobody counts them again.
        self._accepted_before = -1 if journal.last_seq > journal.start_seq else self._accepted()
        self._slice_number = journal.place.number

    def is_due(self) -> bool:
        """True if a new slice is to begin now. Call it about once a second."""
        if self._journal.place.number != self._slice_number:
            self._slice_number, self._accepted_before = self._journal.place.number, self._accepted()
        if self._journal.last_seq == self._journal.start_seq:
            return False
        if self._bytes_max is not None and self._journal.room()[0] >= self._bytes_max:
            return True
        if not self._daily or self._accepted() == self._accepted_before:
            return False
        phases = self._engine.instruments()["phase"]
        return len(phases) > 0 and bool((phases == Phase.CLOSED).all())

    def _accepted(self) -> int:
        """Orders that were accepted since the node began."""
        return int(self._streams.tallies[0, EventKind.ACCEPTED])
