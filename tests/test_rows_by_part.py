"""Rows that both engines have for the same state, and a changed bit in them: found, in the right part."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.reference import ReferenceEngine
from engine.reference.image_rows import image_rows
from engine.reference.rows import rows_of
from engine.reference.rows_by_part import first_difference
from engine.reference.venue import Waiting
from engine.state import EXPOSURE
from tests.conversions import STREAMS, copied, ids_in_the_tree, stream
from tests.rows import clock
from tests.streams import call_stream, random_stream

SMALL = Capacity(orders_max=200, ids_max=1_000, instruments_max=8, participants_max=12)
TIGHT = Capacity(orders_max=60, ids_max=300, instruments_max=3, participants_max=6)


def market(rows: NDArray[Any], capacity: Capacity = SMALL) -> tuple[Engine, ReferenceEngine]:
    """Both engines after the same commands."""
    kernel, reference = Engine(capacity), ReferenceEngine(capacity)
    kernel.apply(rows)
    reference.apply(rows)
    return kernel, reference


def difference(kernel: Engine, reference: ReferenceEngine) -> str:
    """First part that differs, "" for none."""
    found = first_difference(reference.rows_by_part(), image_rows(kernel.capacity, kernel.parts()))
    return "" if found is None else found.part


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("capacity", [SMALL, TIGHT], ids=["small", "tight"])
@pytest.mark.parametrize("seed", range(4))
def test_both_engines_have_the_same_rows_after_any_command(seed: int, capacity: Capacity) -> None:
    hostile, garbage, control = [(0.0, 0.0, 0.002), (0.05, 0.02, 0.02), (0.3, 0.1, 0.05), (0.1, 0.0, 0.2)][seed]
    rows = random_stream(
        80 + seed,
        3_000,
        hostile=hostile,
        garbage=garbage,
        control=control,
        participants=4 + seed,
        delayed=seed % 2 == 1,
    )
    kernel, reference = Engine(capacity), ReferenceEngine(capacity)
    for start in range(0, len(rows), 150):
        for engine in (kernel, reference):
            engine.apply(rows[start : start + 150])
        assert difference(kernel, reference) == "", start


@pytest.mark.parametrize("number", STREAMS)
def test_both_engines_have_the_same_rows_after_calls_halts_and_days(number: int) -> None:
    capacity, rows = stream(number)
    kernel, reference = Engine(capacity), ReferenceEngine(capacity)
    for start in range(0, len(rows), 400):
        for engine in (kernel, reference):
            engine.apply(rows[start : start + 400])
        assert difference(kernel, reference) == "", start


@pytest.mark.slow
def test_both_engines_have_the_same_rows_of_far_prices_and_of_ids_in_the_tree() -> None:
    for rows in (call_stream(72, 400, far=0.3, delayed=True), ids_in_the_tree()):
        assert difference(*market(rows)) == ""


#: Table, row and column of the compiled engine's arrays that a market of ``trading`` uses, by part.
FIELDS = [
    *(
        ("venue", "venue", name)
        for name in ("now_ns", "epoch", "last_trade_number", "orders_open", "ids_used", "calls")
    ),
    *(("reference", "instruments", name) for name in ("symbol", "lot", "last_trade_e4", "phase", "adv_qty", "touched")),
    *(("reference", "participants", name) for name in ("name", "group", "permissions", "open_notional_e4", "ids_used")),
    *(("orders", "orders", name) for name in ("order_number", "client_order_id", "price_e4", "qty", "cum_qty")),
    *(("orders", "orders", name) for name in ("leaves_qty", "participant", "time_in_force", "id_day")),
    *(("ids", "ids", name) for name in ("client_order_id", "slot")),
    *(("books", "books", name) for name in ("best_tick",)),
    *(("books", "levels", name) for name in ("head", "qty")),
    *(("risk", "exposures", name) for name in ("position_qty", "open_buy_qty", "open_sell_qty", "limits")),
    *(("risk", "limits", name) for name in ("max_order_qty",)),
]


def trading() -> tuple[Engine, ReferenceEngine]:
    return market(random_stream(90, 3_000, control=0.01))


@pytest.mark.slow_after(4)
@pytest.mark.parametrize(("part", "name", "column"), FIELDS)
def test_a_changed_bit_of_the_compiled_engine_is_named_by_its_part(part: str, name: str, column: str) -> None:
    kernel, reference = trading()
    assert difference(kernel, reference) == ""
    rows = getattr(kernel._state, name)
    if name == "exposures":
        rows = rows.view(EXPOSURE)
    place = 0
    if name == "orders":
        place = int(np.flatnonzero(rows["participant"])[0])
    elif name == "ids":
        slots = rows["slot"] % 2**31
        bears = kernel._state.orders["client_order_id"][slots] == rows["client_order_id"]
        place = int(np.flatnonzero(bears & (rows["participant"] != 0))[0])
    elif name == "levels":
        place = int(np.flatnonzero(rows["head"])[0])
    elif name in ("exposures", "limits"):
        place = kernel.capacity.instruments_max + 2
    rows[place : place + 1][column] ^= 1
    assert difference(kernel, reference) == part


@pytest.mark.parametrize("part", ["venue", "reference", "orders", "ids", "books", "risk", "waiting", "events"])
def test_a_changed_value_of_the_reference_engine_is_named_by_its_part(part: str) -> None:
    kernel, reference = trading()
    bend(reference, part)
    assert difference(kernel, reference) == part


def bend(reference: ReferenceEngine, part: str) -> None:
    """Change one bit of a part of the reference engine's state."""
    venue = reference._venue
    order = next(order for each in venue.participants for order in each.open_orders.values())
    if part == "venue":
        venue.last_trade_number ^= 1
    elif part == "reference":
        venue.instruments[0].lot ^= 1
    elif part == "orders":
        order.qty ^= 1
    elif part == "ids":
        del venue.participants[0].ids[min(venue.participants[0].ids)]
    elif part == "books":
        assert order.level is not None
        order.level.leaves_qty ^= 1
    elif part == "risk":
        venue.participants[0].holding(venue.instruments[0]).position_qty ^= 1
    elif part == "waiting":
        venue.waiting.append(Waiting(1, venue.now_ns + 1, next(rows_of(clock(1)))[0]))
    else:
        reference._chain._tail[0] ^= 1


def test_an_image_whose_links_lead_nowhere_differs_and_ends() -> None:
    kernel, reference = market(random_stream(3, 200))
    parts = copied(kernel.parts())
    parts["orders"]["orders"]["next"][:] = 1
    parts["ids"]["ids_pages"][:] = -1
    found = first_difference(reference.rows_by_part(), image_rows(kernel.capacity, parts))
    assert found is not None
