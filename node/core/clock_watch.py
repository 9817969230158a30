"""Market time of a node, and the state of the wall clock behind it.

Four things concern the wall clock: it may jump, it may be refused because it is too far ahead (``sequencer.clock``), it
may be behind the journal, and the system may or may not synchronize it (``sequencer.discipline``). All are logged here
and reported to the operator, as warnings or as a reason to open no phase.

A refused clock is remembered over a restart in a small file. Without it the first reading of the next start would be
believed, since after a weekend the clock is days ahead of the journal. On the same boot of the machine the time that
has passed since is known, so the lead of the clock is measured anew. After a reboot it is not known: then the clock is
refused where it can still be ahead by as much as before.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from directory.small_file import write_whole
from engine.interface import MarketEngine
from node.core import health
from node.core.control import OperationRefused
from node.programs.logs import Log
from notation.words import time as shown_time
from sequencer import discipline
from sequencer.clock import MarketClock

#: Jumps that are kept until they can be journaled; of more, the newest.
JUMPS_MAX: Final = 16
#: In the data directory while the wall clock is refused.
REFUSED_FILE: Final = "clock_refused.json"


class ClockWatch:
    """Clock of a node with its warnings. Make it on a running event loop.

    ahead_max_ns: largest step of the wall clock ahead that is believed. accept: believe a clock that was refused before
    the start. error_max_ns: largest error of the wall clock with which a phase may be opened; None: no bound.
    """

    def __init__(
        self,
        engine: MarketEngine,
        directory: Path,
        log: Log,
        *,
        ahead_max_ns: int,
        accept: bool = False,
        error_max_ns: int | None = None,
    ) -> None:
        self._log = log
        self._ahead_max_ns = ahead_max_ns
        self._error_max_ns = error_max_ns
        self._loop = asyncio.get_running_loop()
        #: Jumps that are not in the journal yet: time after the jump, and its length (< 0: backwards), in ns.
        self.jumps: deque[tuple[int, int]] = deque(maxlen=JUMPS_MAX)
        self._refused_clock = RefusedClock(directory, log.warning)
        lead_ns = self._refused_clock.lead_ns(engine.now_ns, time.time_ns(), ahead_max_ns)
        if accept or not lead_ns:
            self._refused_clock.forget()
            lead_ns = 0
        self._refused = False
        self.clock = MarketClock(engine.now_ns, on_jump=self._on_jump, ahead_max_ns=ahead_max_ns, refused_ns=lead_ns)
        self.discipline = discipline.read()
        behind = health.clock_behind(engine.now_ns - time.time_ns(), ahead_max_ns)
        if behind is not None:
            log.error("the clock is behind the journal", why=behind)

    def read_discipline(self) -> None:
        """Read anew how well the system keeps the wall clock. Call it once a second."""
        self.discipline = discipline.read()

    def look(self) -> None:
        """Log when the wall clock begins to be refused, and when it is believed again."""
        refused = health.clock_refused(self.clock.refused_ns)
        if bool(refused) != self._refused:
            self._refused = bool(refused)
            if refused:
                self._log.error("the clock is refused", why=refused[0])
                self._refused_clock.keep(self.clock(), self.clock.refused_ns)
            else:
                self._log.warning("the clock is believed again")
                self._refused_clock.forget()

    def accept(self) -> None:
        """Let market time take the time of a wall clock that was refused. Raises OperationRefused where none was."""
        if not self.clock.refused_ns:
            raise OperationRefused("the clock is not refused, so there is nothing to accept")
        self.clock.accept()
        self.look()

    def market_time_ns(self) -> int:
        """Market time now, in ns since 1970, without a move of ``clock``, which is the sequencer's."""
        return time.time_ns() + self.clock.ahead_ns - self.clock.refused_ns

    def complaint(self) -> str | None:
        """Reason why no phase may be opened by this clock, in a sentence; None where it may."""
        return None if self._error_max_ns is None else discipline.complaint(self.discipline, self._error_max_ns)

    def warnings(self) -> list[str]:
        """Warnings for the operator while orders are taken and answered."""
        behind = health.clock_behind(self.clock.ahead_ns, self._ahead_max_ns)
        return health.clock_refused(self.clock.refused_ns) + ([behind] if behind is not None else [])

    def _on_jump(self, was_ns: int, now_ns: int, expected_ns: int) -> None:
        """Log a jump of the wall clock. It may be noticed in the middle of a turn, so it is journaled later."""
        self._log.warning(
            "clock jumped", was=shown_time(was_ns), now=shown_time(now_ns), by_s=(now_ns - expected_ns) / 1e9
        )
        self.jumps.append((now_ns, now_ns - expected_ns))
        self._loop.call_soon(self.look)


class RefusedClock:
    """File of a data directory about a refused clock. ``passed``: ns since the machine's boot, sleep included;
    ``boot``: id of the boot.
    """

    def __init__(
        self,
        directory: Path,
        warn: Callable[..., None],
        *,
        passed: Callable[[], int] | None = None,
        boot: str | None = None,
    ) -> None:
        self._path = directory / REFUSED_FILE
        self._warn = warn
        self._passed = passed or _since_boot_ns
        self._boot = _boot_id() if boot is None else boot

    def lead_ns(self, journal_ns: int, wall_ns: int, ahead_max_ns: int) -> int:
        """Lead of a wall clock that must still be refused; 0: it is believed.

        journal_ns: the last time in the journal. ahead_max_ns: the bound beyond which a step ahead is refused.
        """
        kept = self._read()
        if kept is None:
            return 0
        if self._boot and kept["boot"] == self._boot:
            lead_ns = wall_ns - (kept["market_ns"] + self._passed() - kept["passed_ns"])
        else:
            lead_ns = kept["lead_ns"] if wall_ns - kept["lead_ns"] >= journal_ns - ahead_max_ns else 0
        return lead_ns if lead_ns > ahead_max_ns else 0

    def keep(self, market_ns: int, lead_ns: int) -> None:
        """Write the file: the wall clock is refused, ``lead_ns`` ahead of market time."""
        values = {"boot": self._boot, "passed_ns": self._passed(), "market_ns": market_ns, "lead_ns": lead_ns}
        try:
            write_whole(self._path, json.dumps(values))
        except OSError as error:
            self._warn("the refusal of the clock is not kept for a restart", why=error.strerror or str(error))

    def forget(self) -> None:
        """Remove the file: the wall clock is believed."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._warn("a restart may refuse the clock again", why=error.strerror or str(error))

    def _read(self) -> dict[str, Any] | None:
        try:
            kept = json.loads(self._path.read_text())
            numbers = {name: int(kept[name]) for name in ("passed_ns", "market_ns", "lead_ns")}
            return {"boot": str(kept["boot"]), **numbers}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._warn("the note of a refused clock cannot be read, so the clock is believed", why=str(error))
            return None


def _since_boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
