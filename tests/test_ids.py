"""Client order ids: whatever numbers participants choose, an id is used once a day and its order is found by it."""

from typing import Any

import numpy as np

from engine import Capacity, Engine
from engine.bounds import DAY_NS, ID_LINES_MAX
from engine.index import find_place
from engine.records import EventKind, Phase, Reason, TimeInForce
from engine.reference import ReferenceEngine
from tests.rows import BUY, Rows, batch, cancel, clock, enter, instrument, participant, phase

CAPACITY = Capacity(orders_max=68, ids_max=700, instruments_max=1, participants_max=2)
SETUP = batch(participant("ALPHA"), participant("BRAVO"), instrument("XYZ"), phase("XYZ", Phase.CONTINUOUS))


def order(client_order_id: int, time_in_force: TimeInForce = TimeInForce.DAY) -> Rows:
    """One share of ALPHA's to buy, at the price where all others are."""
    return enter(1, client_order_id, BUY, 1, 10_000, tif=time_in_force)


def both(*engines: Any, commands: Rows) -> Rows:
    """The events of every engine, which must be the same bytes."""
    answers = [engine.apply(commands) for engine in engines]
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)
    return answers[0]  # type: ignore[no-any-return]


def crowded_ids(engine: Engine, count: int) -> list[int]:
    """Ids of ALPHA that have no room in the table of this engine, so that they go to the tree."""
    state = engine._state
    draw = np.random.default_rng(5)
    found: list[int] = []
    for client_order_id in draw.integers(1, 2**62, 400_000).tolist():
        if find_place(state, np.int64(1), np.int64(client_order_id)) == -1 - len(state.ids):
            found.append(client_order_id)
            if len(found) == count:
                return found
    raise AssertionError("the table is not full enough for the test")


def filled() -> tuple[Engine, ReferenceEngine]:
    """Both engines with 680 of 700 ids used by orders that went at once."""
    engines = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    both(*engines, commands=SETUP)
    draw = np.random.default_rng(3)
    ids = draw.choice(1 << 40, 680, replace=False) + 1
    both(*engines, commands=batch(*(order(int(n), TimeInForce.IOC) for n in ids)))
    engines[0].check()
    return engines


def test_an_id_that_finds_no_room_in_the_table_is_as_good_as_any() -> None:
    engines = filled()
    ids = crowded_ids(engines[0], 12)
    entered = both(*engines, commands=batch(*(order(n) for n in ids)))
    assert (entered["kind"] == EventKind.ACCEPTED).all()
    engines[0].check()
    assert int(engines[0]._state.venue[0]["id_leaves"]) == 12, "the ids are in the tree, or this test tests nothing"
    again = both(*engines, commands=batch(*(order(n) for n in ids)))
    assert (again["reason"] == Reason.DUPLICATE_ID).all()
    others = both(*engines, commands=batch(*(cancel(1, n + 1) for n in ids), *(cancel(2, n) for n in ids)))
    assert (others["kind"] == EventKind.CANCEL_REJECTED).all()
    gone = both(*engines, commands=batch(*(cancel(1, n) for n in ids)))
    assert (gone["kind"] == EventKind.CANCELED).all()
    engines[0].check()


def test_ids_in_the_tree_are_carried_into_the_next_day_and_freed_when_their_order_goes() -> None:
    engines = filled()
    ids = crowded_ids(engines[0], 6)
    both(*engines, commands=batch(*(order(n, TimeInForce.GTC) for n in ids)))
    restored = Engine.restore(CAPACITY, engines[0].seq, engines[0].event_digest, engines[0].parts())
    assert restored.state_digest() == engines[0].state_digest()
    day = batch(clock(DAY_NS))
    all_three = (*engines, restored)
    both(*all_three, commands=day)
    engines[0].check()
    assert (both(*all_three, commands=batch(order(ids[0])))["reason"] == Reason.DUPLICATE_ID).all()
    both(*all_three, commands=batch(*(cancel(1, n) for n in ids)))
    assert (both(*all_three, commands=batch(*(order(n) for n in ids)))["kind"] == EventKind.ACCEPTED).all()
    for engine in (engines[0], restored):
        engine.check()
    assert restored.state_digest() == engines[0].state_digest()


def test_a_search_for_an_id_looks_at_no_more_lines_than_the_bound() -> None:
    engine, _ = filled()
    table = engine._state.ids
    table["participant"][:] = 2  # full, and of nobody who asks: the search must end by its bound alone
    assert find_place(engine._state, np.int64(1), np.int64(77)) == -1 - len(table)
    assert len(table) > 4 * ID_LINES_MAX


def test_dense_sparse_and_strided_ids_are_told_apart() -> None:
    engines = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    both(*engines, commands=SETUP)
    for ids in (range(1, 100), range(-50, 0), [n << 54 for n in range(1, 100)], [1024 * n + 5 for n in range(1, 100)]):
        both(*engines, commands=batch(*(order(n, TimeInForce.IOC) for n in ids)))
        answer = both(*engines, commands=batch(*(order(n) for n in ids)))
        assert (answer["reason"] == Reason.DUPLICATE_ID).all()
        engines[0].check()
