"""What a node does when the room for its journal gets low: a journaled halt, and the market again once there is room.

Entries are then refused as in any halt, and cancels go on, out of the reserve. The phases that the halt ended are put
back by commands too, a call after another halt by a resume, which begins it anew. What an operator has changed
meanwhile stays as it is; a halt that was there before is not touched, and keeps its end. Which phases were ended is
kept in a small file, for a node that is started again before there is room.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import pack, unpack
from engine.records import COMMAND, CommandKind, Phase
from node.control import Submitted
from replay.engines import MarketEngine
from sequencer.room import RoomWatch, State

#: In a node's directory while its market is halted for want of room: symbols, and the phases they were in.
FILE: Final = "halted_for_room.json"

_OPEN: Final = (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION)


class Scarcity:
    """Looks at the room once in a while. ``submit``: takes rows of the node's own; ``say``, ``warn``: the log;
    ``directory``: the node's, where a halt is remembered."""

    def __init__(
        self,
        watch: RoomWatch,
        engine: MarketEngine,
        submit: Callable[[NDArray[Any]], Awaitable[Submitted]],
        say: Callable[..., None],
        warn: Callable[..., None],
        directory: Path,
    ) -> None:
        self._watch = watch
        self._engine = engine
        self._submit = submit
        self._say, self._warn = say, warn
        self._path = directory / FILE
        self._ended: dict[int, int] = self._remembered()  # symbol to the phase that the halt ended

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
        if state == "fine":
            if before != "fine" or self._ended:
                await self._go_on()
        elif state != before:
            self._warn("room", state=state, why=self._watch.sentence)
            if before == "fine":
                await self._halt()

    async def _halt(self) -> None:
        open_now = {
            int(row["symbol"]): int(row["phase"]) for row in self._engine.instruments() if row["phase"] in _OPEN
        }
        self._ended |= open_now
        self._remember()
        if open_now:
            rows = np.zeros(len(open_now), COMMAND)
            rows["kind"], rows["name"] = CommandKind.HALT, list(open_now)
            await self._submit(rows)

    async def _go_on(self) -> None:
        halted = {int(row["symbol"]) for row in self._engine.instruments() if row["phase"] == Phase.HALTED}
        back = [(symbol, phase) for symbol, phase in self._ended.items() if symbol in halted]
        self._say("room", state="fine", instruments=len(back))
        if back:
            rows = np.zeros(len(back), COMMAND)
            calls = np.array([phase == Phase.AUCTION for _, phase in back])
            rows["kind"] = np.where(calls, CommandKind.RESUME, CommandKind.PHASE)
            rows["name"] = [symbol for symbol, _ in back]
            rows["phase"] = np.where(calls, 0, [phase for _, phase in back])
            await self._submit(rows)
        self._ended = {}
        self._path.unlink(missing_ok=True)

    def _remember(self) -> None:
        try:
            self._path.write_text(json.dumps({unpack(symbol): Phase(at).name for symbol, at in self._ended.items()}))
        except OSError as error:
            self._warn("the phases that the halt ends are not kept for a restart", why=error.strerror or str(error))

    def _remembered(self) -> dict[int, int]:
        """Of a file that was cut short by a full disk, nothing: then the operator opens the market again."""
        try:
            kept = json.loads(self._path.read_text())
            return {pack(symbol): int(Phase[name]) for symbol, name in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            self._warn("the phases that a halt for want of room ended are lost", why=str(error))
            return {}
