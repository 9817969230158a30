"""A full midpoint book: what one order costs there does not grow with the square of the orders."""

import time

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


@pytest.mark.parametrize(("qty", "kind"), [(ORDERS, EventKind.TRADE), (ORDERS + 1, EventKind.CANCELED)])
def test_an_order_that_trades_in_full_or_not_at_all_is_decided_in_time(qty: int, kind: EventKind) -> None:
    """With a walk through all of them for each, 60,000 orders took more than ten seconds; the bound is generous."""
    resting = "".join(f"enter ALPHA r{at} sell 1 XYZ @ {10 - at % 7 / 100:.2f} book=midpoint\n" for at in range(ORDERS))
    last = f"enter BETA b1 buy {qty} XYZ @ 10.00 book=midpoint tif=fok\n"
    engine = Engine(Capacity(orders_max=2 * ORDERS, ids_max=4 * ORDERS, instruments_max=1, participants_max=2))
    translator = Translator(parse(_MARKET + resting, "market"), engine.directory)
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)
    batch = Translator(parse(last, "last"), engine.directory).next_batch(engine.directory)
    assert batch is not None
    began_s = time.monotonic()
    events = engine.apply(batch.rows)
    assert time.monotonic() - began_s < 3
    assert int(events[-1]["kind"]) == kind
    assert int((events["kind"] == EventKind.TRADE).sum()) == (ORDERS if kind == EventKind.TRADE else 0)
    engine.check()
