"""Low disk: a journaled halt when the room for the journal gets low, and the market again once there is room.

Entries are then refused as in any halt, and cancels go on, out of the reserve. As long as room is low, whatever gets
open is halted at the next look. The phases that these halts ended are put back by commands too, a call after another
halt by a resume, which begins it anew. An instrument that an operator halts meanwhile stays halted until that operator
resumes it. What is to be put back is kept in a small file, for a node that is started again before there is room.
"""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import EVERY, pack, unpack
from engine.records import COMMAND, CommandKind, Phase
from node.control import Refused, Submitted
from replay.engines import MarketEngine
from sequencer.room import RoomWatch, State

#: In a node's directory while its market is halted for want of room: symbols, and what puts each back.
FILE: Final = "halted_for_room.json"

_OPEN: Final = (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION)
#: In place of a phase: the call after a halt, which ends by the clock, so that ``resume`` begins it again.
_RESUME: Final = 0


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
        self._refused = ""
        #: Symbol to the phase that a halt for want of room ended, or ``_RESUME``.
        self._ended: dict[int, int] = self._remembered()

    @property
    def state(self) -> State:
        """State of the free room."""
        return self._watch.state

    @property
    def sentence(self) -> str:
        """The room in words, and what to do."""
        return self._watch.sentence

    async def look(self) -> None:
        """Look, and halt the market or let it go on. Raises OSError where the disk cannot even be asked."""
        before = self._watch.state
        state = self._watch.look()
        if state not in (before, "fine"):
            self._warn("room", state=state, why=self._watch.sentence)
        try:
            if state == "low" or (state == "full" and before == "fine"):
                await self._halt()
            elif state == "fine" and (before != "fine" or self._ended):
                await self._go_on()
            self._refused = ""
        except Refused as refused:  # such as by a clock that is not kept: it is tried again at the next look
            if self._refused != str(refused):
                self._refused = str(refused)
                self._warn("phases are not put back yet", why=self._refused)

    def commanded(self, rows: NDArray[Any]) -> None:
        """Somebody else's commands go in: what they halt is theirs, and is not put back."""
        halted = rows["name"][rows["kind"] == CommandKind.HALT].tolist() if self._ended else []
        if halted:
            self._ended = {} if EVERY in halted else {s: at for s, at in self._ended.items() if s not in halted}
            self._remember()

    async def _halt(self) -> None:
        open_now = {
            int(row["symbol"]): _RESUME if row["due_ns"] else int(row["phase"])
            for row in self._engine.instruments()
            if row["phase"] in _OPEN
        }
        if not open_now:
            return
        self._ended |= open_now
        self._remember()
        rows = np.zeros(len(open_now), COMMAND)
        rows["kind"], rows["name"] = CommandKind.HALT, list(open_now)
        await self._submit(rows)

    async def _go_on(self) -> None:
        halted = {int(row["symbol"]) for row in self._engine.instruments() if row["phase"] == Phase.HALTED}
        back = [(symbol, phase) for symbol, phase in self._ended.items() if symbol in halted]
        if back:
            rows = np.zeros(len(back), COMMAND)
            rows["name"], rows["phase"] = zip(*back, strict=True)
            rows["kind"] = np.where(rows["phase"] == _RESUME, CommandKind.RESUME, CommandKind.PHASE)
            await self._submit(rows)
        self._say("room", state="fine", instruments=len(back))
        self._ended = {}
        self._remember()

    def _remember(self) -> None:
        """Written aside and renamed, so that a full disk does not take what was there."""
        aside = self._path.with_suffix(".new")
        try:
            if not self._ended:
                self._path.unlink(missing_ok=True)
                return
            words = {unpack(symbol): Phase(at).name if at else "RESUME" for symbol, at in self._ended.items()}
            with open(aside, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                json.dump(words, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except OSError as error:
            self._warn("which phases are to be put back is not kept for a restart", why=error.strerror or str(error))

    def _remembered(self) -> dict[int, int]:
        try:
            kept = json.loads(self._path.read_text())
            return {pack(symbol): _RESUME if at == "RESUME" else int(Phase[at]) for symbol, at in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            self._warn("the phases that a halt for want of room ended are lost", why=str(error))
            return {}
