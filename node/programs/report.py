"""Reports of a program about itself to the supervisor of its node: JSON objects on standard output, one a line.

The program never waits for its node: what has no room in the pipe is left out, and the next report has all of it again.
Keys: ``listening`` (an object with ``port``), ``figures`` (numbers, keys of ``node.core.control.STATUS_KEYS``),
``agents`` and ``rings`` (lists under the keys of ``node.operator.workings``).
"""

import json
import os
import select
from collections.abc import Iterable
from typing import Any, Final

from tape.agents import Measured

#: Bytes that a pipe takes whole or not at all, once it is ready for any.
_PIECE_BYTES: Final = select.PIPE_BUF


class ProgramReport:
    """Reports of this program, on a descriptor: that of standard output."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._rest = b""
        #: Reports that were left out.
        self.left_out = 0

    def write(self, **values: Any) -> bool:
        """Report values by key; False if there is no room for it now. Raises OSError once the node is gone."""
        self._flush()
        if self._rest:
            self.left_out += 1
            return False
        self._rest = json.dumps(values, separators=(",", ":")).encode() + b"\n"
        self._flush()
        return True

    def _flush(self) -> None:
        """Write what is left of the last report, as far as there is room."""
        ready = select.poll()
        ready.register(self._fd, select.POLLOUT)
        while self._rest and any(found & select.POLLOUT for _, found in ready.poll(0)):
            self._rest = self._rest[os.write(self._fd, self._rest[:_PIECE_BYTES]) :]


def agent_values(agents: Iterable[Measured]) -> list[dict[str, Any]]:
    """Agents with their counters, for the key ``agents``."""
    return [
        {
            "agent": each.agent.name,
            "turns": each.counters.turns,
            "worked": each.counters.worked,
            "busy_s": round(each.counters.busy_ns / 1e9, 6),
        }
        for each in agents
    ]
