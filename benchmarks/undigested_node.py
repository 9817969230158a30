"""`lockstep` with a pair that compares no digests, for measurements of their cost alone (``benchmarks.pair_cost``)."""

import runpy
from collections.abc import Callable
from typing import Any, Final

from replication.pieces import PieceWalk
from replication.primary import Primary
from replication.standby import Standby

_acknowledge = Standby.acknowledge


def _acknowledge_positions(standby: Standby, now_ns: int) -> None:
    standby._digests.clear()
    _acknowledge(standby, now_ns)


def _nothing(*_: Any) -> None:
    pass


#: Methods that compare or send digests, and what takes their place.
REPLACED: Final[tuple[tuple[type, str, Callable[..., Any]], ...]] = (
    (PieceWalk, "is_due", _nothing),
    (Primary, "_put_digest", _nothing),
    (Primary, "_put_digests", _nothing),
    (Standby, "acknowledge", _acknowledge_positions),
)

if __name__ == "__main__":
    for owner, name, function in REPLACED:
        setattr(owner, name, function)
    runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
