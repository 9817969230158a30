"""Steps of a command in a call, counted: ``python -m tests.call_steps kernel|reference LEVELS [replace|cancel]``.

A step is a line of Python under ``engine/``; the kernels run interpreted for it. Every price crosses: buys above sells.
"""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

from engine import COMMAND, Capacity
from engine.interface import EngineKind, MarketEngine, new_engine
from engine.names import pack
from engine.records import CommandKind, Phase, SelfTrade, TimeInForce
from tests.streams import LOT, TICK_E4, definitions

_HERE = str(Path(__file__).parent.parent / "engine")


def crossing(levels: int, first_id: int = 1) -> "np.ndarray[Any, Any]":
    """As many buys as sells at different prices in turn, each buy above each sell."""
    rows = np.zeros(levels, COMMAND)
    rows["kind"], rows["client_order_id"] = CommandKind.ENTER, first_id + np.arange(levels)
    rows["participant"], rows["instrument"] = 1, 1
    rows["side"] = np.where(np.arange(levels) % 2, 1, -1)
    far = np.where(np.arange(levels) % 4 < 2, 1, 100)  # in the window and outside of it
    rows["price_e4"] = (5_000 + rows["side"] * (1 + np.arange(levels)) * 4_000 // (levels + 1) * far // far) * TICK_E4
    rows["price_e4"] += np.where(far == 100, (rows["side"] == 1) * 40_000_000, 0)
    rows["qty"], rows["time_in_force"], rows["self_trade"] = LOT, TimeInForce.DAY, SelfTrade.NONE
    return rows


def storm(what: str, rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Two more orders, or the best two of those that stand replaced to the price of the worst, or canceled."""
    if what == "enter":
        return rows[-2:]
    changed = np.zeros(2, COMMAND)
    best = rows[[len(rows) - 4, len(rows) - 3]]
    changed["client_order_id"], changed["participant"] = best["client_order_id"], best["participant"]
    if what == "cancel":
        changed["kind"] = CommandKind.CANCEL
        return changed
    changed["kind"], changed["new_client_order_id"] = CommandKind.REPLACE, rows[-2:]["client_order_id"]
    changed["qty"], changed["price_e4"] = 2 * LOT, rows[:2]["price_e4"]
    return changed


def steps(kind: EngineKind, levels: int, what: str = "enter") -> int:
    """Steps of two commands after so many levels."""
    engine = new_engine(
        kind, Capacity(orders_max=levels + 2, ids_max=levels + 2, instruments_max=1, participants_max=4)
    )
    opening = np.zeros(1, COMMAND)
    opening["kind"], opening["name"], opening["phase"] = CommandKind.PHASE, pack("I1"), Phase.OPENING_AUCTION
    rows = crossing(levels + 2)
    engine.apply(np.concatenate([each.view("V64") for each in (definitions(1, 4), opening)]).view(COMMAND))
    engine.apply(rows[:-2])
    events, count = counted(engine, np.ascontiguousarray(storm(what, rows)))
    if len(events) < 3:
        raise ValueError("the orders changed no indicative")
    return count


def counted(engine: MarketEngine, commands: "np.ndarray[Any, Any]") -> "tuple[np.ndarray[Any, Any], int]":
    """Apply commands; gives their events and the number of steps."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename.startswith(_HERE):
            count += event == "line"
            return trace
        return None

    sys.settrace(trace)
    events = engine.apply(commands)
    sys.settrace(None)
    return events, count


if __name__ == "__main__":
    print(steps("kernel" if sys.argv[1] == "kernel" else "reference", int(sys.argv[2]), *sys.argv[3:4]))
