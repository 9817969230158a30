"""Halts that the node orders itself: while room for its journal is low, and while it drains.

They are commands in the journal like any other halt: new orders are rejected `halted`, and cancels work. An instrument
that opens meanwhile is halted at the next look. ``put_back`` restores the phase of each instrument; a call after an
earlier halt begins anew, by a resume. Where a schedule came meanwhile, its phase is the one to restore: a halted
instrument does not follow schedules, and it was the node that halted it. An instrument that the operator halts
meanwhile stays halted until the operator resumes it.

The phases to restore stand in the journal too (``halts_in_journal``, ADR 89). So a node that begins to sequence finds
them (``recall``), whether it has started again or has taken over from a primary that was killed before it restored
them; the engine still has the schedules that came while nobody reigned.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.names import EVERY, pack, unpack
from engine.records import COMMAND, CommandKind, Phase
from journal import JournalError
from node.core.control import SubmissionResult
from node.core.halts_in_journal import RESUME, HaltSearch, halt_rows

#: File in which an earlier release kept the phases before its own halts, by symbol.
FILE: Final = "halted_by_node.json"

_OPEN: Final = (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION)
#: A schedule that comes so soon is in the list of phases already, since it may come before the next look, and this node
#: may be killed between the two; so phases are restored only once it has come. Three looks of the node.
_SOON_NS: Final = 1_500_000_000


class Suspension:
    """Halts by the node.

    ``submit``: takes COMMAND rows of the node; ``clock``: market time, ns; ``warn``: the log; ``directory``: of the
    data; ``past``: gives COMMAND rows of the journal, in parts, the newest part first.
    """

    def __init__(
        self,
        engine: MarketEngine,
        submit: Callable[[NDArray[Any]], Awaitable[SubmissionResult]],
        clock: Callable[[], int],
        warn: Callable[..., None],
        directory: Path,
        past: Callable[[], Iterator[NDArray[Any]]],
    ) -> None:
        self._engine = engine
        self._submit = submit
        self._clock = clock
        self._warn = warn
        self._path = directory / FILE
        self._past = past
        self._one_at_a_time = asyncio.Lock()
        #: Phase before the node's halt, or ``RESUME``, by symbol.
        self._ended: dict[int, int] = {}
        #: The same as the journal lists them.
        self._listed: dict[int, int] = {}
        #: Symbols that the operator halts while the journal is searched.
        self._halted_meanwhile: set[int] = set()
        self._before_reign()

    def _before_reign(self) -> None:
        #: Schedules that had not come when the phases in ``_ended`` were those to restore.
        self._to_come = self._engine.schedules()
        self._epoch_before = self._engine.epoch

    def succeed(self) -> None:
        """Note that a reign of this node is about to begin: schedules that come with it decide on phases to restore."""
        self._before_reign()

    async def recall(self) -> None:
        """Find the halts of earlier primaries, or of this node before it ended, in the journal: they count as its own.

        The market goes on meanwhile. Raises OperationRefused.
        """
        async with self._one_at_a_time:
            self._halted_meanwhile.clear()
            halted = self._halted_without_end() - self._ended.keys()
            found = await self._found(halted) if halted else {}
            earlier = self._of_earlier_release()
            found |= {symbol: earlier[symbol] for symbol in halted & earlier.keys() - found.keys()}
            if EVERY not in self._halted_meanwhile:
                self._ended |= {symbol: at for symbol, at in found.items() if symbol not in self._halted_meanwhile}
            self._listed |= found
            if earlier:
                if self._ended:
                    await self._submit(halt_rows([], self._ended))
                self._path.unlink(missing_ok=True)

    async def _found(self, halted: set[int]) -> dict[int, int]:
        """Phases to restore of those instruments among ``halted`` that a node has halted itself."""
        search = HaltSearch(halted)
        try:
            for commands in self._past():
                if search.take(commands):
                    break
                await asyncio.sleep(0)
        except JournalError as error:
            self._warn("phases before halts of this node may be lost", why=str(error))
        return search.phases

    def _halted_without_end(self) -> set[int]:
        rows = self._engine.instruments()
        return set(rows["symbol"][(rows["phase"] == Phase.HALTED) & (rows["due_ns"] == 0)].tolist())

    def left_halted(self) -> list[str]:
        """Symbols of the instruments that are halted without an end, and not by a node."""
        halted = self._halted_without_end() - self._ended.keys()
        return [unpack(symbol) for symbol in self._engine.instruments()["symbol"].tolist() if symbol in halted]

    def __bool__(self) -> bool:
        """True if there are phases to restore."""
        return bool(self._ended)

    async def halt(self) -> None:
        """Halt all instruments in which orders may be entered. Raises OperationRefused."""
        async with self._one_at_a_time:
            self._follow_schedules(self._engine.now_ns)
            open_now = {
                int(row["symbol"]): RESUME if row["due_ns"] else int(row["phase"])
                for row in self._engine.instruments()
                if row["phase"] in _OPEN
            }
            self._ended |= open_now
            soon = self._after_schedules(self._clock() + _SOON_NS)
            new = {symbol: phase for symbol, phase in soon.items() if phase != self._listed.get(symbol)}
            if open_now or new:
                listed = open_now | {symbol: soon[symbol] for symbol in open_now.keys() & soon.keys()} | new
                await self._submit(halt_rows(list(open_now), listed))
                self._listed |= listed

    async def put_back(self) -> int:
        """Restore the phases; gives their number. Raises OperationRefused; then it may be repeated."""
        async with self._one_at_a_time:
            await self._let_schedules_pass()
            self._follow_schedules(self._clock())
            halted = {int(row["symbol"]) for row in self._engine.instruments() if row["phase"] == Phase.HALTED}
            back = [(symbol, phase) for symbol, phase in self._ended.items() if symbol in halted]
            if back:
                rows = np.zeros(len(back), COMMAND)
                rows["name"], phases = (np.array(each) for each in zip(*back, strict=True))
                rows["kind"] = np.where(phases == RESUME, CommandKind.RESUME, CommandKind.PHASE)
                rows["phase"] = np.where(phases == RESUME, 0, phases)
                await self._submit(rows)
            self._ended, self._listed = {}, {}
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
        """Let schedules until ``now_ns`` give the phases to restore."""
        self._ended = self._after_schedules(now_ns)
        self._to_come = self._engine.schedules()

    def _after_schedules(self, until_ns: int) -> dict[int, int]:
        """Phases to restore once schedules until a time have come. What they close, the engine closes by itself."""
        ended = dict(self._ended)
        symbols = self._engine.instruments()["symbol"].tolist()
        for due_ns, instrument, phase in self._to_come.tolist():
            if due_ns > until_ns:
                break
            for symbol in ended.keys() & (symbols if instrument == 0 else {symbols[instrument - 1]}):
                ended[symbol] = phase
                if phase == Phase.CLOSED:
                    del ended[symbol]
        return ended

    def commanded(self, rows: NDArray[Any]) -> None:
        """Note the operator's commands: an instrument that they halt stays halted."""
        halted = set(rows["name"][rows["kind"] == CommandKind.HALT].tolist())
        self._halted_meanwhile |= halted
        if halted and self._ended:
            self._ended = {} if EVERY in halted else {s: at for s, at in self._ended.items() if s not in halted}

    def _of_earlier_release(self) -> dict[int, int]:
        """Phases that an earlier release kept in its file, if its own reign was the last one."""
        try:
            kept = json.loads(self._path.read_text())
            epoch = kept.get("epoch")
            if epoch not in (None, self._epoch_before):
                self._path.unlink(missing_ok=True)
                return {}
            phases = kept.get("phases", kept)
            return {pack(symbol): RESUME if at == "RESUME" else int(Phase[at]) for symbol, at in phases.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            self._warn("the phases before the node's halt are lost", why=str(error))
            return {}
