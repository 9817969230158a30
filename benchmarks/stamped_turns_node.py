"""`lockstep` that notes when its core read and answered the commands of one participant, for ``benchmarks.fix_flood``.

Run it as ``python -m benchmarks.stamped_turns_node serve ...`` with the number of the participant in
``LOCKSTEP_PARTICIPANT``, and the name of a folder in ``LOCKSTEP_STAMPS``: at its end it writes there what it noted, of
each command when its turn began to read, and when it had answered, by the monotonic clock.
"""

import atexit
import os
import runpy
from array import array
from pathlib import Path
from typing import Final

import numpy as np

from gateway.direct import MadeBlock
from node.core.market import Market

#: Places of both times among those of a turn (``node.core.stages``).
_TIMES: Final = [0, 5]
_found = array("q")


def _stamp_turns(participant: int) -> None:
    plain = Market.adopt

    def stamped(self: Market, block: MadeBlock) -> None:
        own = np.flatnonzero(block.commands["participant"] == participant)
        turns = np.searchsorted(np.cumsum(block.rows), own, side="right")
        _found.frombytes(np.ascontiguousarray(block.moments[turns][:, _TIMES]).tobytes())
        plain(self, block)

    Market.adopt = stamped  # type: ignore[method-assign]


def _write() -> None:
    folder = Path(os.environ["LOCKSTEP_STAMPS"])
    (folder / f"{os.getpid()}.stamps").write_bytes(_found.tobytes())


if __name__ == "__main__":
    _stamp_turns(int(os.environ["LOCKSTEP_PARTICIPANT"]))
    atexit.register(_write)
    runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
