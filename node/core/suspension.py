"""Halts that the node orders itself: while room for its journal is low, and while it drains.

They are commands in the journal like any other halt: new orders are rejected `halted`, and cancels work. An instrument
that opens meanwhile is halted at the next look. ``put_back`` restores the phase of each instrument; a call after an
earlier halt begins anew, by a resume. Where a schedule came meanwhile, its phase is the one to restore: a halted
instrument does not follow schedules, and it was the node that halted it. An instrument that the operator halts
meanwhile stays halted until the operator resumes it. The phases to restore stand in a small file, for a node that
restarts before it restored them; the engine still has the schedules that came while it was down. Of a pair the primary
restores them before it hands over; where another node was primary since, what stands in the file is over.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from directory.small_file import write_whole
from engine.interface import MarketEngine
from engine.names import EVERY, pack, unpack
from engine.records import COMMAND, CommandKind, Phase
from node.core.control import SubmissionResult

#: File in a node's directory while the node has instruments halted: their symbols, and the phase of each.
FILE: Final = "halted_by_node.json"

_OPEN: Final = (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION)
#: In place of a phase: the call after a halt, which the clock ends, so that ``resume`` begins it anew.
_RESUME: Final = 0
#: A schedule that comes so soon is waited for: the clock value of the commands that restore phases might meet it.
_SOON_NS: Final = 250_000_000


class Suspension:
    """Halts by the node.

    ``submit``: takes COMMAND rows of the node; ``clock``: market time, ns; ``warn``: the log; ``directory``: of the
    data.
    """

    def __init__(
        self,
        engine: MarketEngine,
        submit: Callable[[NDArray[Any]], Awaitable[SubmissionResult]],
        clock: Callable[[], int],
        warn: Callable[..., None],
        directory: Path,
    ) -> None:
        self._engine = engine
        self._submit = submit
        self._clock = clock
        self._warn = warn
        self._path = directory / FILE
        self._one_at_a_time = asyncio.Lock()
        #: Epoch of the reign in which the phases ended; None in a file of an earlier release.
        self._epoch: int | None = engine.epoch
        #: Phase before the node's halt, or ``_RESUME``, by symbol.
        self._ended: dict[int, int] = self._remembered()
        #: Schedules that had not come when the phases in ``_ended`` were those to restore.
        self._to_come = engine.schedules()

    def succeed(self, epoch: int) -> None:
        """Note that this node's reign has begun, after that of ``epoch``: its own halts count if that was its own."""
        if self._ended and self._epoch not in (None, epoch):
            self._warn("phases before this node's halt are not restored", why="another node was primary since")
            self._ended = {}
        self._epoch = self._engine.epoch
        self._remember()

    def left_halted(self) -> list[str]:
        """Symbols of the instruments that are halted without an end, and not by this node."""
        rows = self._engine.instruments()
        halted = rows["symbol"][(rows["phase"] == Phase.HALTED) & (rows["due_ns"] == 0)]
        return [unpack(symbol) for symbol in halted.tolist() if symbol not in self._ended]

    def __bool__(self) -> bool:
        """True if there are phases to restore."""
        return bool(self._ended)

    async def halt(self) -> None:
        """Halt all instruments in which orders may be entered. Raises OperationRefused."""
        async with self._one_at_a_time:
            self._follow_schedules(self._engine.now_ns)
            open_now = {
                int(row["symbol"]): _RESUME if row["due_ns"] else int(row["phase"])
                for row in self._engine.instruments()
                if row["phase"] in _OPEN
            }
            if not open_now:
                return
            self._ended |= open_now
            self._epoch = self._engine.epoch
            self._remember()
            rows = np.zeros(len(open_now), COMMAND)
            rows["kind"], rows["name"] = CommandKind.HALT, list(open_now)
            await self._submit(rows)

    async def put_back(self) -> int:
        """Restore the phases; gives their number. Raises OperationRefused; then it may be repeated."""
        async with self._one_at_a_time:
            await self._let_schedules_pass()
            self._follow_schedules(self._clock())
            halted = {int(row["symbol"]) for row in self._engine.instruments() if row["phase"] == Phase.HALTED}
            back = [(symbol, phase) for symbol, phase in self._ended.items() if symbol in halted]
            if back:
                rows = np.zeros(len(back), COMMAND)
                rows["name"], rows["phase"] = zip(*back, strict=True)
                rows["kind"] = np.where(rows["phase"] == _RESUME, CommandKind.RESUME, CommandKind.PHASE)
                await self._submit(rows)
            self._ended = {}
            self._remember()
            return len(back)

    async def _let_schedules_pass(self) -> None:
        """Wait while a schedule is about to come."""
        while self._ended:
            now_ns = self._clock()
            waits_ns = [due_ns - now_ns for due_ns in self._to_come["due_ns"].tolist() if due_ns > now_ns]
            if not waits_ns or min(waits_ns) > _SOON_NS:
                return
            await asyncio.sleep(min(waits_ns) / 1e9)

    def _follow_schedules(self, now_ns: int) -> None:
        """Let schedules until ``now_ns`` give the phases to restore. What they close, the engine closes by itself."""
        ended = dict(self._ended)
        symbols = self._engine.instruments()["symbol"].tolist()
        for due_ns, instrument, phase in self._to_come.tolist():
            if due_ns > now_ns:
                break
            for symbol in ended.keys() & (symbols if instrument == 0 else {symbols[instrument - 1]}):
                ended[symbol] = phase
                if phase == Phase.CLOSED:
                    del ended[symbol]
        self._to_come = self._engine.schedules()
        if ended != self._ended:
            self._ended = ended
            self._remember()

    def commanded(self, rows: NDArray[Any]) -> None:
        """Note the operator's commands: an instrument that they halt stays halted."""
        halted = rows["name"][rows["kind"] == CommandKind.HALT].tolist() if self._ended else []
        if halted:
            self._ended = {} if EVERY in halted else {s: at for s, at in self._ended.items() if s not in halted}
            self._remember()

    def _remember(self) -> None:
        """Write the file, or remove it if there is no phase to restore."""
        try:
            if not self._ended:
                self._path.unlink(missing_ok=True)
                return
            words = {unpack(symbol): Phase(at).name if at else "RESUME" for symbol, at in self._ended.items()}
            write_whole(self._path, json.dumps({"epoch": self._epoch, "phases": words}))
        except OSError as error:
            self._warn("the phases to restore are not kept for a restart", why=error.strerror or str(error))

    def _remembered(self) -> dict[int, int]:
        try:
            kept = json.loads(self._path.read_text())
            if "phases" in kept:
                self._epoch, kept = kept["epoch"], kept["phases"]
            else:  # of an earlier release
                self._epoch = None
            return {pack(symbol): _RESUME if at == "RESUME" else int(Phase[at]) for symbol, at in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            self._warn("the phases before the node's halt are lost", why=str(error))
            return {}
