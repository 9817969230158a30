"""One command beside many orders: what it costs follows what it touches, not what is there. Steps are counted."""

import subprocess
import sys

import pytest

from engine import Capacity, Engine
from engine.jit import INTERPRETED
from engine.records import EventKind
from notation.parse import parse
from notation.translate import Translator

_MARKET = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA bid buy 1 XYZ @ 9.99
enter ALPHA offer sell 1 XYZ @ 10.01
"""
ORDERS = 2_000 if INTERPRETED else 60_000


@pytest.mark.slow
@pytest.mark.parametrize(("qty", "kind"), [(ORDERS, EventKind.TRADE), (ORDERS + 1, EventKind.CANCELED)])
def test_a_fok_order_meets_a_full_midpoint_book(qty: int, kind: EventKind) -> None:
    resting = "".join(f"enter ALPHA r{at} sell 1 XYZ @ {10 - at % 7 / 100:.2f} book=midpoint\n" for at in range(ORDERS))
    last = f"enter BETA b1 buy {qty} XYZ @ 10.00 book=midpoint tif=fok\n"
    engine = Engine(Capacity(orders_max=2 * ORDERS, ids_max=4 * ORDERS, instruments_max=1, participants_max=2))
    translator = Translator(parse(_MARKET + resting, "market"), engine.directory)
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)
    batch = Translator(parse(last, "last"), engine.directory).next_batch(engine.directory)
    assert batch is not None
    events = engine.apply(batch.rows)
    assert int(events[-1]["kind"]) == kind
    assert int((events["kind"] == EventKind.TRADE).sum()) == (ORDERS if kind == EventKind.TRADE else 0)
    engine.check()


def steps(kind: str, what: str, *orders: int) -> list[int]:
    """Steps of a command beside each of so many orders (``tests.work_steps``)."""
    command = [sys.executable, "-m", "tests.work_steps", kind, what, *map(str, orders)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    return [int(line) for line in said.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("kernel", "trade at the midpoint"),
        ("kernel", "fok at the midpoint"),
        ("kernel", "quote that lets two meet"),
        ("kernel", "quote that lets none meet"),
        ("kernel", "mass cancel"),
        ("kernel", "begin of a call"),
        ("kernel", "end of a call"),
        ("kernel", "end of a call of opening orders"),
        ("kernel", "begin of the next day at once"),
        ("kernel", "kill"),
        ("reference", "quote that lets two meet"),
        ("reference", "quote that lets none meet"),
        ("reference", "mass cancel"),
        ("reference", "kill"),
    ],
)
def test_a_command_takes_hardly_more_steps_beside_more_orders(kind: str, what: str) -> None:
    """Eight times the orders add a few steps down a tree; orders or limits gone through would multiply them."""
    fewer, more = steps(kind, what, 64, 512)
    assert more < 1.5 * fewer + 100, (fewer, more)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["trade at the midpoint", "fok at the midpoint"])
def test_the_reference_looks_once_at_each_limit_that_takes_part(what: str) -> None:
    fewer, more = steps("reference", what, 64, 512)
    assert more < 8 * fewer, (fewer, more)
