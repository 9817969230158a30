"""Memory of a refused wall clock over a restart: a small file in the data directory while a clock is refused.

Without it the first reading of the next start would be believed, since after a weekend the clock is days ahead of the
journal. On the same boot of the machine the time that passed since is known, so the lead of the clock is measured
anew. After a reboot it is not: the clock is then refused where it can still be ahead by what it was.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from node.small_file import write_whole

FILE: Final = "clock_refused.json"


class RefusedClock:
    """The file of a data directory. ``passed``: ns since the machine's boot, with its sleep; ``boot``: names it."""

    def __init__(
        self,
        directory: Path,
        warn: Callable[..., None],
        *,
        passed: Callable[[], int] | None = None,
        boot: str | None = None,
    ) -> None:
        self._path = directory / FILE
        self._warn = warn
        self._passed = passed or _since_boot_ns
        self._boot = _boot_id() if boot is None else boot

    def lead_ns(self, journal_ns: int, wall_ns: int, ahead_max_ns: int) -> int:
        """Lead of a wall clock that is still to be refused over the time that it should show; 0: it is believed.

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
        """Note that the wall clock is refused, which is ahead of market time by ``lead_ns``."""
        told = {"boot": self._boot, "passed_ns": self._passed(), "market_ns": market_ns, "lead_ns": lead_ns}
        try:
            write_whole(self._path, json.dumps(told))
        except OSError as error:
            self._warn("that the clock is refused is not kept for a restart", why=error.strerror or str(error))

    def forget(self) -> None:
        """The wall clock is believed."""
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
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._warn("the note of a refused clock cannot be read, so the clock is believed", why=str(error))
            return None


def _since_boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
