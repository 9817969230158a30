"""A lockstep process of `lockstep demo`, which ends with its parent, and one bit of whose state can be flipped.

    python -m cli.demo.child WORDS      runs `lockstep WORDS`

Standard input is its lifeline: at its end the parent is dead, and the process ends in order, as by a SIGTERM. The line
``flip`` flips one bit in the memory of this process, as a fault of the machine would, and prints a JSON object that
names it. No command of lockstep does that.
"""

import gc
import json
import os
import signal
import sys
import threading
from typing import Any, Final

from cli.main import main

#: Number of the bit of a position that is flipped: 16 shares more, or fewer.
_BIT: Final = 4


def flip(engine: Any) -> dict[str, Any]:
    """Flip one bit of the first position that is not zero; gives what was changed.

    ``engine``: a kernel engine. No event shows a position where no limit is set on it. Empty if nothing has traded.
    """
    from engine.state import EXPOSURE

    positions = engine.positions()
    traded = positions[positions["position_qty"] != 0]
    if not len(traded):
        return {}
    participant, instrument = int(traded[0]["participant"]), int(traded[0]["instrument"])
    exposures = engine._state.exposures.view(EXPOSURE)
    row = exposures[participant * (engine.capacity.instruments_max + 1) + instrument]
    before_qty = int(row["position_qty"])
    row["position_qty"] = before_qty ^ 1 << _BIT
    return {
        "seq": engine.seq,
        "participant": engine.directory.participants[participant - 1],
        "symbol": engine.directory.symbols[instrument - 1],
        "part": "risk",
        "position_qty": before_qty,
        "flipped_qty": int(row["position_qty"]),
    }


def _engine() -> Any:
    """The engine of this process; a node that was opened again may have an older one beside it."""
    from engine.engine import Engine

    gc.unfreeze()  # a node has frozen what it began with, and frozen objects are not listed
    engines = [each for each in gc.get_objects() if type(each) is Engine]
    gc.freeze()
    return max(engines, key=lambda engine: engine.seq)


def _listen() -> None:
    """Do what standard input says, until it ends."""
    with open(0, encoding="ascii", closefd=False) as words:
        for word in words:
            if word == "flip\n":
                line = json.dumps({"flipped": flip(_engine())}) + "\n"
                os.write(1, line.encode("ascii"))
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.argv[0] = "lockstep"
    threading.Thread(target=_listen, daemon=True).start()
    main()
