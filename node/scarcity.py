"""What a node does when the room for its journal gets low: a journaled halt, and the market again once there is room.

Entries are then refused as in any halt, and cancels go on, out of the reserve. The phases that the halt ended are put
back by commands too, a call after another halt by a resume, which begins it anew. What an operator has changed
meanwhile stays as it is, and so does a halt that was there before; it has no end any more, since this one has none.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.names import EVERY
from engine.records import COMMAND, CommandKind, Phase
from node.control import Submitted
from replay.engines import MarketEngine
from sequencer.room import RoomWatch, State

_OPEN = (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION)


class Scarcity:
    """Looks at the room once in a while. ``submit``: takes rows of the node's own; ``say``, ``warn``: the log."""

    def __init__(
        self,
        watch: RoomWatch,
        engine: MarketEngine,
        submit: Callable[[NDArray[Any]], Awaitable[Submitted]],
        say: Callable[..., None],
        warn: Callable[..., None],
    ) -> None:
        self._watch = watch
        self._engine = engine
        self._submit = submit
        self._say, self._warn = say, warn
        self._ended: dict[int, int] = {}  # symbol to the phase that the halt ended

    @property
    def state(self) -> State:
        """How the room is."""
        return self._watch.state

    @property
    def sentence(self) -> str:
        """The room in words, and what to do."""
        return self._watch.sentence

    async def look(self) -> None:
        """Look, and halt the market or let it go on. Raises OSError where the disk cannot even be asked."""
        before = self._watch.state
        state = self._watch.look()
        if state == before:
            return
        if state == "fine":
            await self._go_on()
        else:
            self._warn("room", state=state, why=self._watch.sentence)
            if before == "fine":
                await self._halt()

    async def _halt(self) -> None:
        instruments = self._engine.instruments()
        self._ended = {int(row["symbol"]): int(row["phase"]) for row in instruments if row["phase"] in _OPEN}
        if self._ended:
            rows = np.zeros(1, COMMAND)
            rows["kind"], rows["name"] = CommandKind.HALT, EVERY
            await self._submit(rows)

    async def _go_on(self) -> None:
        halted = {int(row["symbol"]) for row in self._engine.instruments() if row["phase"] == Phase.HALTED}
        back = [(symbol, phase) for symbol, phase in self._ended.items() if symbol in halted]
        self._ended = {}
        self._say("room", state="fine", instruments=len(back))
        if back:
            rows = np.zeros(len(back), COMMAND)
            calls = np.array([phase == Phase.AUCTION for _, phase in back])
            rows["kind"] = np.where(calls, CommandKind.RESUME, CommandKind.PHASE)
            rows["name"] = [symbol for symbol, _ in back]
            rows["phase"] = np.where(calls, 0, [phase for _, phase in back])
            await self._submit(rows)
