"""Silence of the core of a node as a gateway process sees it: that the gateway lives says nothing of its core. Pure.

The core stores a pulse on its tape wherever it would send heartbeats to clients of its own. A gateway beside a core
without one goes on for ``PATIENCE_NS`` of its own running time, as long as a client bears silence of a node of a pair.
A gateway that was stopped itself, or with the whole machine, has not seen a silence in that time.
"""

from collections.abc import Callable
from typing import Final

#: Silence of the core after which clients are sent away, in ns of the gateway's running time.
PATIENCE_NS: Final = 3_000_000_000
#: Reason that clients are told then.
SILENT: Final = "the node behind this gateway does not answer; log in at the other node, or here later"


class CoreSilence:
    """Silence of a core. pulse_ns: function that gives its last pulse, 0 for none ever; present_ns: running time of the
    gateway at the start."""

    def __init__(self, pulse_ns: Callable[[], int], present_ns: int) -> None:
        self._pulse_ns = pulse_ns
        self._last_ns, self._heard_ns = pulse_ns(), present_ns
        self.lasts = False

    def look(self, present_ns: int) -> bool:
        """Look at the pulse; True if ``lasts``, which says that the silence is too long, has changed."""
        was, pulse_ns = self.lasts, self._pulse_ns()
        if pulse_ns != self._last_ns or not pulse_ns:
            self._last_ns, self._heard_ns = pulse_ns, present_ns
        self.lasts = present_ns - self._heard_ns >= PATIENCE_NS
        return self.lasts != was
