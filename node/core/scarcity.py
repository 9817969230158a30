"""Scarce room on the disk, and the node's measures stage by stage.

`low`: a journaled halt. New orders are rejected, cancels work, from the reserve. `full`: the same in small turns, so
that a flood of rejected orders does not use up the reserve for cancels. `gone`: the node ends with the reason, since
the next commit could fail and leave the journal in an unknown state. With room again, commands restore the phases.
"""

from collections.abc import Callable
from typing import Final

from engine.interface import MarketEngine
from node.core.control import OperationRefused
from node.core.suspension import Suspension
from sequencer.room import RoomWatch, State

#: In `full`: rows of a turn at most, and the least time between turns.
FULL_ROWS: Final = 256
FULL_TURN_NS: Final = 50_000_000
_OF_A_COPY: Final = "this node would reject new orders after a takeover, and ends once there is none"


class Scarcity:
    """Watch over the room on the disk. ``report``, ``warn``: the log. ``draining``: True if the halts must stay."""

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
        self._reported: State = "fine"
        self._refused = ""
        self._seq = self._seq_since_ns = 0
        self.draining = False
        #: True on a node that is not primary: it halts nothing.
        self.follows = False

    @property
    def state(self) -> State:
        """State of the free room."""
        return self._watch.state

    @property
    def sentence(self) -> str:
        """The room in words, with advice."""
        return self._watch.sentence_for(_OF_A_COPY) if self.follows else self._watch.sentence

    @property
    def takes_all(self) -> bool:
        """True if every turn may be taken, without ``may_take``."""
        return self._watch.state in ("fine", "low")

    def has_room_for_cancels(self) -> bool:
        """True while the disk has room for the node's own cancels."""
        return self.state != "gone"

    def may_take(self, durable_seq: int, now_ns: int) -> bool:
        """True if a turn may be taken. In `full` turns come one by one after a pause, and each measures the room.

        Raises OSError if the room cannot be measured.
        """
        if self.takes_all:
            return True
        if self._seq != self._engine.seq:
            self._seq, self._seq_since_ns = self._engine.seq, now_ns
        if durable_seq < self._seq or now_ns - self._seq_since_ns < FULL_TURN_NS:
            return False
        return self._watch.look() != "gone"

    async def look(self) -> None:
        """Measure the room, then halt or resume the market. Raises OSError if the room cannot be measured."""
        before, state = self._reported, self._watch.look()
        self._reported = state
        if state not in (before, "fine"):
            self._warn("room", state=state, why=self.sentence)
        if self.follows:
            return
        try:
            if state in ("low", "full") or self.draining:
                await self._suspension.halt()
            elif state == "fine" and (before != "fine" or self._suspension):
                self._report("room", state="fine", instruments=await self._suspension.put_back())
            self._refused = ""
        except (
            OperationRefused
        ) as refused:  # for example for a clock that is not synchronized; the next look tries again
            if self._refused != str(refused):
                self._refused = str(refused)
                self._warn("phases are not restored yet", why=self._refused)
