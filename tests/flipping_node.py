"""`lockstep` with a switch that tests alone have: it flips one bit of this node's state.

Run it as ``python -m tests.flipping_node serve ...``. Once DIR/flip names a part of the state, the node flips a bit of
that part between two blocks, and writes DIR/flipped: the part, its command and the time. ``LOCKSTEP_TEST_SKIP=1``
leaves the comparison of states out, for the control.
"""

import json
import os
import time
from typing import Any

import numpy as np

from cli.main import main
from engine.parts import regions
from node.pair.member import Pair
from replication.standby import Standby
from tests import roomy_disk

#: Place of a bit of each part that no command of the test touches, so that no event shows it: region, row and field.
#: None of ``continuation``: the token of each order comes in an EXTEND row, which writes all of these anew.
PLACES = {
    "venue": ("venue", 0, "last_trade_number"),
    "reference": ("instruments", 0, "volatility_window_s"),
    "orders": ("orders", 1, "order_number"),
    "ids": ("ids", 0, "client_order_id"),
    "books": ("books", 0, "pegs_tick"),
    "risk": ("exposures", 1, "position_qty"),
}
EVENTS = "events"


def flip(engine: Any, part: str) -> None:
    """Flip the lowest bit of the place of a part; of the events, one in the tail or the link of their chain."""
    if part == EVENTS:
        chain = engine._chain
        if chain._tail:
            chain._tail[0] ^= 1
        else:
            chain._link = bytes([chain._link[0] ^ 1]) + chain._link[1:]
        return
    name, row, field = PLACES[part]
    region = next(each for each in regions(engine._state) if each.name == name)
    offset = region.rows.dtype.fields[field][1]  # type: ignore[index]
    region.rows[row : row + 1].view(np.uint8)[offset] ^= 1


def install() -> None:
    """Put the switch into the node."""
    roomy_disk.assume()
    tick = Pair._tick

    def tick_and_flip(pair: Pair) -> None:
        directory = pair._node.options.data
        order = directory / "flip"
        if order.exists() and (part := order.read_text(encoding="ascii")):  # it is made first, and then written
            order.unlink()
            flip(pair._node.engine, part)
            told = {"part": part, "seq": pair._node.engine.seq, "time_ns": time.time_ns()}
            (directory / "flipped.new").write_text(json.dumps(told), encoding="ascii")
            (directory / "flipped.new").rename(directory / "flipped")
        tick(pair)

    Pair._tick = tick_and_flip  # type: ignore[method-assign]
    if os.environ.get("LOCKSTEP_TEST_SKIP"):
        Standby.compare_part = lambda *_: None  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    install()
    main()
