"""Ids of the day before are forgotten a few with each command, and no command is told otherwise in the meantime."""

from dataclasses import replace as with_room

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.bounds import DAY_NS
from engine.jit import INTERPRETED
from engine.records import CommandKind, EventKind, Instruction, Phase, Reason, TimeInForce, VenueSetting
from engine.reference import ReferenceEngine
from engine.reference.image_rows import image_rows
from engine.reference.rows_by_part import first_difference
from engine.state import FORGETTING
from tests.conversions import converted, copied
from tests.crowds import crowd
from tests.rows import BUY, Rows, batch, cancel, clock, enter, instrument, participant, phase, replace, row
from tests.test_ids import both

SETUP = batch(participant("ALPHA"), participant("BRAVO"), instrument("XYZ"), phase("XYZ", Phase.CONTINUOUS))
#: Small tables, in which ids get into each other's way; the last is forgotten in many steps.
CAPACITIES = [
    Capacity(orders_max=68, ids_max=700, instruments_max=1, participants_max=2),
    Capacity(orders_max=300, ids_max=300, instruments_max=1, participants_max=2),
    Capacity(orders_max=3_000, ids_max=9_000, instruments_max=1, participants_max=2),
]


def order(owner: int, client_order_id: int, tif: TimeInForce) -> Rows:
    return enter(owner, client_order_id, BUY, 1, 10_000, tif=tif)


def is_forgetting(engine: Engine) -> bool:
    return bool(engine._state.venue[0]["special"] & FORGETTING)


def of_a_market(capacity: Capacity, seed: int, count: int) -> Rows:
    """Orders, cancels and replaces of few ids, again and again, and days that begin after any number of them."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(1, 2**40, capacity.ids_max // 2)
    if seed % 2:
        ids = np.arange(1, capacity.ids_max)
    tifs = (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)
    rows, day = [SETUP], 0
    for what in draw.random(count).tolist():
        one, two = (int(n) for n in draw.choice(ids, 2))
        owner = int(draw.integers(1, 3))
        if what < 0.6:
            rows.append(order(owner, one, tifs[int(draw.integers(4))]))
        elif what < 0.8:
            rows.append(cancel(owner, one))
        elif what < 0.98:
            rows.append(replace(owner, one, two, 1, 10_000))
        else:
            day += 1
            rows.extend(clock(day * DAY_NS + more) for more in range(int(draw.integers(1, 3))))
    return batch(*rows)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("capacity", CAPACITIES, ids=["many ids", "many orders", "large"])
@pytest.mark.parametrize("seed", range(2 if INTERPRETED else 6))
def test_both_engines_agree_while_days_begin_at_any_time(capacity: Capacity, seed: int) -> None:
    engines = Engine(capacity), ReferenceEngine(capacity)
    commands = of_a_market(capacity, seed, 2_000 if INTERPRETED else 8_000)
    met = {"forgetting": 0, "stale": 0, "tree": 0, "old tree": 0}
    for start in range(0, len(commands), 97):
        both(*engines, commands=commands[start : start + 97])
        if start % (97 * 7) and not is_forgetting(engines[0]):
            continue
        if start % (97 * 4) == 0:  # takes longer than all the rest
            engines[0].check()
        state = engines[0]._state
        met["forgetting"] += is_forgetting(engines[0])
        met["stale"] += bool(state.stale_lines.any())
        met["tree"] += int(state.venue[0]["id_leaves"]) != 0
        met["old tree"] += int(state.venue[0]["old_id_leaves"]) != 0
        assert engines[0].participants()["ids_used"].tolist() == engines[1].participants()["ids_used"].tolist()
    assert min(met["forgetting"], met["stale"]) > 0, met


@pytest.mark.slow
@pytest.mark.parametrize("capacity", CAPACITIES, ids=["many ids", "many orders", "large"])
def test_an_image_of_a_venue_that_is_forgetting_goes_on_as_the_venue_does(capacity: Capacity) -> None:
    engine, reference = Engine(capacity), ReferenceEngine(capacity)
    commands = of_a_market(capacity, 4, 1_500 if INTERPRETED else 6_000)
    images = 0
    for start in range(0, len(commands) - 5, 5):
        both(engine, reference, commands=commands[start : start + 5])
        if not is_forgetting(engine) or images > 8:
            continue
        images += 1
        parts = {part: {name: rows.copy() for name, rows in each.items()} for part, each in engine.parts().items()}
        restored = Engine.restore(capacity, engine.seq, engine.event_digest, parts)
        assert restored.state_digest() == engine.state_digest()
        restored.check()
        assert first_difference(reference.rows_by_part(), image_rows(capacity, engine.parts())) is None
        of_reference = ReferenceEngine.restore(capacity, engine.seq, engine.event_digest, parts)
        after = commands[start + 5 : start + 200]
        copy = Engine.restore(capacity, engine.seq, engine.event_digest, parts)
        both(restored, of_reference, copy, commands=after)
        assert restored.state_digest() == copy.state_digest()
        restored.check()
    assert images > 3


@pytest.mark.slow
def test_an_id_of_an_earlier_day_is_in_use_until_its_order_goes_however_far_the_venue_is() -> None:
    capacity = CAPACITIES[2]
    ids = list(range(1, 1_001))
    for commands_between in (0, 1, 3, 20):
        engines = Engine(capacity), ReferenceEngine(capacity)
        both(*engines, commands=batch(SETUP, *(order(1, n, TimeInForce.GTC) for n in ids)))
        both(*engines, commands=batch(clock(DAY_NS), *(cancel(2, 1) for _ in range(commands_between))))
        assert is_forgetting(engines[0]) == (commands_between < 20)
        again = both(*engines, commands=batch(*(order(1, n, TimeInForce.DAY) for n in reversed(ids))))
        assert (again["reason"] == Reason.DUPLICATE_ID).all()
        gone = both(*engines, commands=batch(*(cancel(1, n) for n in ids)))
        assert (gone["kind"] == EventKind.CANCELED).all()
        anew = both(*engines, commands=batch(*(order(1, n, TimeInForce.DAY) for n in ids)))
        assert (anew["kind"] == EventKind.ACCEPTED).all()
        engines[0].check()
        assert not is_forgetting(engines[0])


def test_three_hundred_days_pass_without_another_command() -> None:
    """The number of a day is used again after 255 of them."""
    engines = Engine(CAPACITIES[2]), ReferenceEngine(CAPACITIES[2])
    both(*engines, commands=batch(SETUP, *(order(1, n, TimeInForce.GTC) for n in range(1, 201))))
    for day in range(1, 301):
        both(*engines, commands=batch(clock(day * DAY_NS)))
        if day % 60 == 0 or day in (254, 255, 256):
            engines[0].check()
    assert (engines[0]._state.orders["id_day"][1:201] != engines[0]._state.venue[0]["id_day"]).all()
    gone = both(*engines, commands=batch(*(cancel(1, n) for n in range(1, 201))))
    assert (gone["kind"] == EventKind.CANCELED).all()
    assert int(engines[0]._state.venue[0]["ids_used"]) == 0


def test_a_command_that_waits_for_its_effect_finds_its_id_the_next_day() -> None:
    delay = row(CommandKind.VENUE, settings=int(VenueSetting.SPEED_BUMP), speed_bump_ns=1_000)
    engines = Engine(CAPACITIES[2]), ReferenceEngine(CAPACITIES[2])
    both(*engines, commands=batch(SETUP, delay))
    both(*engines, commands=batch(*(order(1, n, TimeInForce.GTC) for n in range(1, 1_001)), clock(2_000)))
    both(*engines, commands=batch(*(cancel(1, n) for n in range(1, 1_001))))
    gone = both(*engines, commands=batch(clock(DAY_NS)))
    assert (gone["kind"] == EventKind.CANCELED).sum() == 1_000
    engines[0].check()


def test_orders_that_end_with_the_day_are_canceled_in_order_of_acceptance_among_others() -> None:
    engines = Engine(CAPACITIES[1]), ReferenceEngine(CAPACITIES[1])
    tifs = [TimeInForce.DAY, TimeInForce.GTC]
    rows = [order(n % 2 + 1, n, tifs[n // 2 % 2]) for n in range(1, 101)]
    hidden = rows[3].copy()
    hidden["client_order_id"], hidden["instructions"] = 500, Instruction.HIDDEN
    both(*engines, commands=batch(SETUP, *rows, hidden))
    ended = both(*engines, commands=batch(clock(DAY_NS)))
    numbers = ended["order_number"][ended["reason"] == Reason.END_OF_DAY].tolist()
    assert numbers == sorted(numbers)
    assert len(numbers) == sum(int(each["time_in_force"][0]) == TimeInForce.DAY for each in (*rows, hidden)) == 51
    engines[0].check()


def days_of_crowded_ids(seed: int, cycles: int) -> tuple[Capacity, list[tuple[Rows, Rows]]]:
    """Each cycle in two parts: orders whose ids are in the tree, and days that begin again while that is not empty."""
    capacity = Capacity(orders_max=600, ids_max=2_472, instruments_max=1, participants_max=2)
    draw = np.random.default_rng(seed)
    chosen = crowd(Engine(capacity)._state, 1, 400)
    ids = np.concatenate((chosen.crowded, chosen.filling[:60]))
    found, day = [], 0
    for _ in range(cycles):
        day += 1
        # Nothing is open, and what was is forgotten.
        before = [SETUP, *(cancel(1, int(n)) for n in ids), clock(day * DAY_NS), *(cancel(2, 1) for _ in range(150))]
        before.extend(order(1, int(n), TimeInForce.IOC) for n in chosen.filling)
        before.extend(order(1, int(n), TimeInForce.GTC) for n in chosen.crowded)
        rows = []
        for _ in range(30):
            day += 1
            rows.append(clock(day * DAY_NS))
            for what in draw.random(int(draw.choice([0, 0, 1, 2, 4]))).tolist():
                one, two = (int(n) for n in draw.choice(ids, 2))
                if what < 0.4:
                    rows.append(order(1, one, TimeInForce.GTC if what < 0.3 else TimeInForce.IOC))
                elif what < 0.6:
                    rows.append(cancel(1, one))
                else:
                    rows.append(replace(1, one, two, 1, 10_000))
        found.append((batch(*before), batch(*rows, *(cancel(2, 1) for _ in range(40)))))
    return capacity, found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1 if INTERPRETED else 2))
def test_a_day_that_begins_before_the_tree_of_the_day_before_is_empty_finds_each_id(seed: int) -> None:
    capacity, cycles = days_of_crowded_ids(seed, 1 if INTERPRETED else 3)
    engines = Engine(capacity), ReferenceEngine(capacity)
    stale, images = 0, 0
    for before, commands in cycles:
        both(*engines, commands=before)
        for start in range(len(commands)):
            both(*engines, commands=commands[start : start + 1])
            state = engines[0]._state
            venue = state.venue[0]
            tree = state.id_tree[len(state.id_tree) // 2 * int(venue["id_half"]) :]
            days = tree["day"][1 : int(venue["id_leaves"]) + 1]
            is_stale = bool((days != venue["days"]).any())
            stale += is_stale
            assert is_forgetting(engines[0]) or not is_stale
            assert int(venue["id_leaves"]) < len(state.id_tree) // 2
            if start % 12 == 0:
                engines[0].check()
            if is_stale and start > 20 and images < len(cycles):
                images += 1
                _goes_on_from_images(engines[0], capacity, commands[start + 1 :])
    assert stale > (10 if INTERPRETED else 40)
    assert images


def _goes_on_from_images(engine: Engine, capacity: Capacity, after: Rows) -> None:
    """Engines out of an image, of the same capacity and of a larger one, go on as the reference engine does."""
    parts = copied(engine.parts())
    reference = ReferenceEngine.restore(capacity, engine.seq, engine.event_digest, copied(parts))
    assert first_difference(reference.rows_by_part(), image_rows(capacity, parts)) is None
    larger = with_room(capacity, orders_max=700, ids_max=5_000)
    others = [Engine.restore(capacity, engine.seq, engine.event_digest, copied(parts))]
    others.append(Engine.restore(larger, engine.seq, engine.event_digest, converted(parts, capacity, larger).parts))
    answers = reference.apply(after).tobytes()
    for other in others:
        other.check()
        assert other.apply(after).tobytes() == answers
        other.check()
