"""Steps of one command beside many orders, counted: ``python -m tests.work_steps kernel|reference WHAT ORDERS...``.

A step is a line of Python under ``engine/``; the kernels run interpreted for it (``call_steps``).
"""

import os
import sys
from typing import Any, Final, NamedTuple

os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

from engine import Capacity, Engine
from engine.bounds import DAY_NS
from engine.interface import EngineKind, MarketEngine, new_engine
from engine.records import Phase, TimeInForce
from notation.parse import parse
from notation.translate import Translator
from tests.call_steps import counted
from tests.crowds import crowd
from tests.rows import BUY, batch, clock, enter, instrument, participant, phase

MARKET: Final = """instrument XYZ tick=0.01 lot=1 reference=1000 books=lit,midpoint
instrument ABC tick=0.01 lot=1 reference=1000
participant MANY
participant FEW
phase XYZ continuous
phase ABC continuous
enter FEW bid buy 1 XYZ @ 900
enter FEW offer sell 1 XYZ @ 1100
"""


class Case(NamedTuple):
    """A command beside orders: the line of each by its number, what comes after them, the command and its events (below
    0: one of each order, and more)."""

    each: str
    after: str
    command: str
    events: int


def _limit(number: int) -> str:
    """As many limits as orders: every second one above the midpoint, the others within it."""
    return f"{1000 + number / 100 * (-1) ** number:.2f}"


CASES: Final = {
    "trade at the midpoint": Case(
        "enter MANY m{number} sell 1 XYZ @ {limit} book=midpoint",
        "",
        "enter FEW f1 buy 1 XYZ @ 1200 book=midpoint tif=ioc",
        2,
    ),
    "fok at the midpoint": Case(
        "enter MANY m{number} sell 1 XYZ @ {limit} book=midpoint",
        "",
        "enter FEW f1 buy 2 XYZ @ 1200 book=midpoint tif=fok",
        3,
    ),
    "quote that lets two meet": Case(
        "enter MANY m{number} sell 1 XYZ @ {above} book=midpoint",
        "enter FEW f1 buy 1 XYZ @ 2000 book=midpoint",
        "replace FEW offer offer2 1 @ 1100.04",
        2,
    ),
    "quote that lets none meet": Case(
        "enter MANY m{number} sell 1 XYZ @ {above} book=midpoint",
        "enter FEW f1 buy 1 XYZ @ 2000 book=midpoint",
        "replace FEW offer offer2 1 @ 1099.98",
        1,
    ),
    "mass cancel": Case(
        "enter MANY m{number} sell 1 ABC @ {above}", "enter FEW f1 buy 1 ABC @ 1000", "mass_cancel FEW", 3
    ),
    "quote beside pegs of the other side": Case(
        "enter MANY m{number} sell 1 XYZ @ {above} peg=primary", "", "enter FEW f1 buy 1 XYZ @ 950", 1
    ),
    "enter of one more peg": Case(
        "enter MANY m{number} sell 1 XYZ @ {above} peg=primary", "", "enter FEW f1 sell 1 XYZ @ market peg=primary", 2
    ),
    "quote that moves pegs": Case(
        "enter MANY m{number} buy 1 XYZ @ market peg=primary", "", "enter FEW f1 buy 1 XYZ @ 950", -1
    ),
    "quote that moves pegs to as many prices": Case(
        "enter MANY m{number} buy 1 XYZ @ market peg=primary offset={away}", "", "enter FEW f1 buy 1 XYZ @ 950", -1
    ),
    "trade beside pegs whose quote stays": Case(
        "enter MANY m{number} buy 1 XYZ @ market peg=primary offset={away}",
        "enter FEW bid2 buy 1 XYZ @ 900",
        "enter FEW f1 sell 1 XYZ @ 900",
        2,
    ),
    "cancel of one peg": Case(
        "enter MANY m{number} buy 1 XYZ @ market peg=primary offset={away}", "", "cancel MANY m32", 1
    ),
    "begin of a call": Case("enter MANY m{number} sell 1 ABC @ {far}", "", "phase ABC auction", 1),
    "end of a call": Case("enter MANY m{number} sell 1 ABC @ {far}", "phase ABC auction", "phase ABC continuous", 1),
    "end of a call of opening orders": Case(
        "enter MANY m{number} sell 1 ABC @ {far}",
        "phase ABC opening_auction\nenter FEW f1 buy 1 ABC @ 9 tif=opening\nenter FEW f2 buy 1 ABC @ 8 tif=opening",
        "phase ABC continuous",
        3,
    ),
    "kill": Case("enter MANY m{number} sell 1 ABC @ {above}", "enter FEW f1 buy 1 ABC @ 1000", "kill FEW", 4),
}


NEXT_DAY: Final = "begin of the next day at once"
#: Room for ids in whose table half of four blocks of rows is full (``tests.crowds``).
CROWDED: Final = Capacity(orders_max=512, ids_max=2_560, instruments_max=1, participants_max=1)


def steps_of_next_day(orders: int) -> int:
    """Steps of a clock value that begins the next day at once, beside so many orders whose ids crowd in the tree."""
    engine = Engine(CROWDED)
    chosen = crowd(engine._state, 1, orders)
    opening = batch(participant("MANY"), instrument("XYZ"), phase("XYZ", Phase.CONTINUOUS), clock(0))
    engine.apply(opening)
    for ids, tif in ((chosen.filling, TimeInForce.IOC), (chosen.crowded, TimeInForce.GTC)):
        rows = np.repeat(enter(1, 1, BUY, 1, 10_000, tif=tif), len(ids))
        rows["client_order_id"] = ids
        engine.apply(rows)
    engine.apply(clock(DAY_NS))
    if int(engine._state.venue[0]["old_id_leaves"]) != orders:
        raise ValueError("the ids are not in the tree")
    _, count = counted(engine, clock(2 * DAY_NS))
    engine.check()
    return count


def _applied(engine: MarketEngine, text: str) -> None:
    translator = Translator(parse(text, "orders"), engine.directory)
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)


def steps(kind: EngineKind, what: str, orders: int) -> int:
    """Steps of the command of a case beside so many orders. Raises ValueError where it has not the events it should."""
    case = CASES[what]
    engine = new_engine(
        kind, Capacity(orders_max=orders + 64, ids_max=2 * orders + 64, instruments_max=2, participants_max=4)
    )
    lines = (
        case.each.format(
            number=number,
            limit=_limit(number),
            above=f"{1000.01 + number / 100:.2f}",
            away=f"{number / 100:.2f}",
            far=2000 + number,
        )
        for number in range(1, orders + 1)
    )
    _applied(engine, MARKET + "\n".join(lines) + "\n" + case.after + "\n")
    batch = Translator(parse(case.command + "\n", "command"), engine.directory).next_batch(engine.directory)
    if batch is None:
        raise ValueError(f"no command of {what}")
    events, count = counted(engine, batch.rows)
    if (case.events >= 0 and len(events) != case.events) or (case.events < 0 and len(events) <= orders):
        raise ValueError(f"{what}: {len(events)} events instead of {case.events}")
    engine.check()
    return count


if __name__ == "__main__":
    kind: Any = sys.argv[1]
    what = sys.argv[2]
    for count in map(int, sys.argv[3:]):
        print(steps_of_next_day(count) if what == NEXT_DAY else steps(kind, what, count))
