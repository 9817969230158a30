"""`lockstep` that notes the times of each step of replication, for ``benchmarks.pair_profile``.

Run it as ``python -m benchmarks.stamped_node serve ...`` with the name of a folder in ``LOCKSTEP_STAMPS``: when it ends
it writes there what it noted, one file a process. Each stamp costs about half a microsecond.
"""

import atexit
import os
import runpy
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.direct import MadeBlock
from node.core.market import Market
from node.pair.connections import FromCopy, ToPrimary
from node.pair.member import Pair
from replication.primary import Primary
from replication.standby import Standby

#: Steps, by the order in which an order passes them. Those of a copy begin with ``copy``.
STEPS: Final = (
    "bytes read",
    "rows complete",
    "block sealed",
    "block sent",
    "block applied",
    "turn over",
    "copy woke",
    "copy checked",
    "copy acknowledged",
    "copy applied",
    "acknowledgement read",
    "answers begun",
    "answers sent",
)
_MOST: Final = 3 * 1_000_000
_found = array("q")


def note(step: str, seq: int) -> None:
    """Note the time of a step; ``seq``: last command of its block, 0 where the block is not known yet."""
    if len(_found) < _MOST:
        _found.extend((STEPS.index(step), seq, time.perf_counter_ns()))


def _before(owner: Any, name: str, step: str, seq_of: Callable[..., int]) -> None:
    plain = getattr(owner, name)

    def stamped(self: Any, *given: Any, **named: Any) -> Any:
        note(step, seq_of(self, *given))
        return plain(self, *given, **named)

    setattr(owner, name, stamped)


def _after(owner: Any, name: str, step: str, seq_of: Callable[..., int]) -> None:
    plain = getattr(owner, name)

    def stamped(self: Any, *given: Any, **named: Any) -> Any:
        found = plain(self, *given, **named)
        note(step, seq_of(self, *given))
        return found

    setattr(owner, name, stamped)


def _unknown(*_given: Any) -> int:
    return 0


def _stamp_turns() -> None:
    """Note the times that the compiled turn has measured by itself, as it hands a block to the market."""
    plain = Market.adopt

    def stamped(self: Market, block: MadeBlock) -> None:
        if len(_found) < _MOST:
            for step, time_ns in zip(STEPS[:2], block.moments[0, :2].tolist(), strict=True):
                _found.extend((STEPS.index(step), 0, time_ns))
        plain(self, block)

    Market.adopt = stamped  # type: ignore[method-assign]


def _stamp_all() -> None:
    _stamp_turns()
    _before(Pair, "on_block", "block sealed", lambda _self, _first_seq, last_seq, _sealed: last_seq)
    _after(Pair, "on_block", "block sent", lambda _self, _first_seq, last_seq, _sealed: last_seq)
    _before(Pair, "on_applied", "block applied", lambda _self, _first_seq, last_seq, _digest: last_seq)
    _after(Market, "adopt", "turn over", lambda self, *_given: self.journal.last_seq)
    _before(ToPrimary, "data_received", "copy woke", _unknown)
    _after(Standby, "on_taken", "copy checked", lambda _self, last_seq, *_given: last_seq)
    _after(Pair, "on_bytes", "copy acknowledged", lambda self, _data: self.standby.taken_seq)
    _after(Standby, "on_applied", "copy applied", lambda _self, _first_seq, last_seq, _digest: last_seq)
    _before(FromCopy, "data_received", "acknowledgement read", _unknown)
    _before(Primary, "_acknowledged", "acknowledgement read", lambda _self, _copy, received_seq, *_given: received_seq)
    _before(Market, "_published", "answers begun", lambda _self, first_seq, rows, _events: first_seq + len(rows) - 1)
    _after(Market, "_published", "answers sent", lambda _self, first_seq, rows, _events: first_seq + len(rows) - 1)


def _write() -> None:
    folder = Path(os.environ["LOCKSTEP_STAMPS"])
    (folder / f"{os.getpid()}.stamps").write_bytes(_found.tobytes())


if __name__ == "__main__":
    _stamp_all()
    atexit.register(_write)
    runpy.run_module("cli.main", run_name="__main__")
