"""Orders that one command cancels: looked for the shorter of two ways, and canceled in order of acceptance."""

import random

import pytest

from engine import Capacity, Engine
from engine.records import EventKind, Instruction, Peg, Phase, TimeInForce
from engine.reference import ReferenceEngine
from replay.audit import first_difference
from tests.limit_rows import emergency_close
from tests.rows import BUY, SELL, Rows, batch, clock, enter, instrument, kill, mass_cancel, participant, phase

CAPACITY = Capacity(orders_max=16_384, ids_max=65_536, instruments_max=2, participants_max=4)
SETUP = batch(
    clock(),
    instrument("XYZ"),
    instrument("ABC"),
    participant("LASTS"),
    participant("MANY"),
    participant("BOTH"),
    phase("*", Phase.CONTINUOUS),
)
GTC, DAY = TimeInForce.GTC, TimeInForce.DAY


def resting(rng: random.Random, count: int, owner: int, number: int, tif: int, letter: str) -> list[Rows]:
    """Orders of an instrument that trade with nobody: near and far, hidden, dormant, pegged, at few and many prices."""
    rows = []
    for at in range(count):
        side = rng.choice((BUY, SELL))
        away = rng.choice((rng.randrange(1, 30), rng.randrange(30, 900)))
        price_e4 = 100_000 - side * away * 100 if side == BUY else 100_000 + away * rng.choice((100, 50_000))
        order_id = f"{letter}{at}"
        kind = rng.random()
        if kind < 0.1:
            stop_e4 = 100_000 + side * away * 100
            rows.append(
                enter(owner, order_id, side, 5, stop_e4, number, tif, instructions=Instruction.STOP, stop_e4=stop_e4)
            )
        elif kind < 0.2:
            pegged = {"instructions": Instruction.PEG, "peg": int(Peg.PRIMARY)}
            rows.append(enter(owner, order_id, side, 5, price_e4, number, tif, **pegged))
        else:
            hidden = int(Instruction.HIDDEN) if kind < 0.35 else 0
            rows.append(enter(owner, order_id, side, 5, price_e4, number, tif, instructions=hidden))
    return rows


def day(seed: int, *, here: int, lasting: int, elsewhere: int) -> Rows:
    """Orders in XYZ that stay (``lasting``), others there, and those of their owners in ABC (``elsewhere``)."""
    rng = random.Random(seed)
    rows = (
        resting(rng, lasting, 1, 1, GTC, "l") + resting(rng, here, 2, 1, DAY, "d") + resting(rng, here, 3, 1, DAY, "e")
    )
    rows += resting(rng, here, 3, 1, GTC, "g")
    rows += resting(rng, elsewhere, 2, 2, DAY, "f") + resting(rng, elsewhere, 3, 2, GTC, "h")
    rng.shuffle(rows)
    return batch(SETUP, *rows)


LAST = {
    "close": phase("XYZ", Phase.CLOSED),
    "mass cancel": batch(mass_cancel("BOTH", "XYZ", side=SELL), mass_cancel("MANY", "XYZ"), mass_cancel("BOTH", "XYZ")),
    "mass cancel of nothing": batch(mass_cancel("LASTS", "ABC"), mass_cancel("MANY", side=BUY)),
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("what", LAST)
@pytest.mark.parametrize(
    ("here", "lasting", "elsewhere"),
    [(3, 2_000, 1_500), (3, 2_000, 20), (3, 20, 2_000), (300, 1_200, 600), (0, 1_500, 700), (0, 3, 3)],
)
def test_both_engines_cancel_the_same_orders_in_the_same_order(
    what: str, here: int, lasting: int, elsewhere: int
) -> None:
    rows = day(here + lasting, here=here, lasting=lasting, elsewhere=elsewhere)
    engine, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    assert first_difference(engine.apply(rows), reference.apply(rows)) is None
    assert len(engine.open_orders()) == 3 * here + lasting + 2 * elsewhere
    events = engine.apply(LAST[what])
    assert first_difference(events, reference.apply(LAST[what])) is None
    canceled = int((events["kind"] == EventKind.CANCELED).sum())
    assert canceled >= {"close": 2 * here, "mass cancel": 3 * here, "mass cancel of nothing": elsewhere // 4}[what]
    engine.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_many_orders_are_canceled_in_order_of_acceptance(seed: int) -> None:
    """Slots of orders that went are used again in another order, so that neither slots nor prices are in it."""
    rng = random.Random(seed)
    rows = [SETUP, *resting(rng, 6_000, 1 + seed, 1, DAY, "a")]
    rows += [kill("MANY")] if seed else []
    rows += resting(rng, 9_000, 3, 1, GTC, "b")
    engine, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    assert first_difference(engine.apply(batch(*rows)), reference.apply(batch(*rows))) is None
    events = engine.apply(emergency_close())
    assert first_difference(events, reference.apply(emergency_close())) is None
    numbers = events["order_number"][events["kind"] == EventKind.CANCELED].tolist()
    assert len(numbers) == (9_000 if seed else 15_000)
    assert numbers == sorted(numbers)
    engine.check()
