"""Low disk: what the node does about it, stage by stage.

`low`: a journaled halt. New orders are refused, cancels work, out of the reserve. `full`: the same, a little at a
time, so that a flood of refused orders does not use up what is kept for cancels. `gone`: the node ends with the reason,
since one commit more could fail and leave the journal unknown. With room again the phases are put back by commands.
"""

from collections.abc import Callable
from typing import Final

from engine.interface import MarketEngine
from node.control import OperationRefused
from node.suspension import Suspension
from sequencer.room import RoomWatch, State

#: In `full`: rows of a turn at most, and the time from one turn to the next.
FULL_ROWS: Final = 256
FULL_TURN_NS: Final = 50_000_000


class Scarcity:
    """Watch over the room on the disk. ``report``, ``warn``: the log. ``draining``: the node's halts are to stay."""

    def __init__(
        self,
        watch: RoomWatch,
        engine: MarketEngine,
        suspension: Suspension,
        report: Callable[..., None],
        warn: Callable[..., None],
    ) -> None:
        self._watch = watch
        self._engine = engine
        self._suspension = suspension
        self._report, self._warn = report, warn
        self._told: State = "fine"
        self._refused = ""
        self._seq = self._seq_since_ns = 0
        self.draining = False

    @property
    def state(self) -> State:
        """State of the free room."""
        return self._watch.state

    @property
    def sentence(self) -> str:
        """The room in words, and what to do."""
        return self._watch.sentence

    @property
    def takes_all(self) -> bool:
        """True where every turn may be taken, so that there is nothing to ask ``may_take``."""
        return self.state in ("fine", "low")

    def has_room_for_cancels(self) -> bool:
        """True while the disk has room for the node's own cancels."""
        return self.state != "gone"

    def may_take(self, durable_seq: int, now_ns: int) -> bool:
        """True if a turn may be taken. In `full` the room is looked at for each, which comes alone, after a pause.

        Raises OSError where the disk cannot even be asked.
        """
        if self.takes_all:
            return True
        if self._seq != self._engine.seq:
            self._seq, self._seq_since_ns = self._engine.seq, now_ns
        if durable_seq < self._seq or now_ns - self._seq_since_ns < FULL_TURN_NS:
            return False
        return self._watch.look() != "gone"

    async def look(self) -> None:
        """Look, and halt the market or let it go on. Raises OSError where the disk cannot even be asked."""
        before, state = self._told, self._watch.look()
        self._told = state
        if state not in (before, "fine"):
            self._warn("room", state=state, why=self._watch.sentence)
        try:
            if state in ("low", "full") or self.draining:
                await self._suspension.halt()
            elif state == "fine" and (before != "fine" or self._suspension):
                self._report("room", state="fine", instruments=await self._suspension.put_back())
            self._refused = ""
        except OperationRefused as refused:  # such as by a clock that is not kept: it is tried again at the next look
            if self._refused != str(refused):
                self._refused = str(refused)
                self._warn("phases are not put back yet", why=self._refused)
