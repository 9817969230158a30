"""Long random streams through the reference engine: its invariants hold after every step; no bytes make it raise."""

import gc
import random
from collections.abc import Callable
from dataclasses import replace as altered
from typing import Any

import numpy as np
import pytest

from engine.capacity import Capacity
from engine.errors import InvariantError
from engine.records import (
    COMMAND,
    EVENT,
    EventKind,
    Instruction,
    Peg,
    Phase,
    Reason,
    SelfTrade,
    TimeInForce,
    concatenate,
)
from engine.reference import ReferenceEngine, consequences
from engine.reference.events import EventLog
from engine.reference.state import NOTHING_PAIRED, Instrument, Level, LitBook, Order
from engine.reference.venue import Venue
from tests.features import meeting_stream
from tests.limit_rows import OFF, limits, resume
from tests.rows import (
    BUY,
    DAY_NS,
    NANOSECONDS_2024_01_15_0930,
    SELL,
    Rows,
    batch,
    cancel,
    clock,
    enter,
    halt,
    instrument,
    market_of,
    mass_cancel,
    participant,
    phase,
    replace,
)

SMALL = Capacity(orders_max=40, ids_max=200, instruments_max=2, participants_max=6)
PHASES = (
    *[Phase.CONTINUOUS] * 5,
    *[Phase.PRE_OPEN] * 2,
    Phase.OPENING_AUCTION,
    Phase.AUCTION,
    *[Phase.CLOSING_AUCTION] * 2,
    Phase.CLOSED,
)
LIMITED = ("P1", "P2", "G1")
MINUTE = 60 * 1_000_000_000
MARKETS = batch(
    market_of(3),
    instrument("ABC", tick_e4=500, lot=5, reference_e4=100_700, adv_qty=1_000),
    *(participant(name, group="FUND", permissions=3) for name in ("G1", "G2")),
    phase("ABC", Phase.CONTINUOUS),
)


def _price(chance: random.Random) -> int | None:
    return None if chance.random() < 0.25 else 100_000 + 500 * chance.randint(-4, 4)


def _limits(chance: random.Random) -> Rows:
    """One or two limits, tight enough to be met now and then, or all of them off."""
    name, symbol = chance.choice(LIMITED), chance.choice((0, "XYZ", "ABC"))
    values: dict[str, Any] = {
        "max_order_qty": 5 * chance.randint(6, 12),
        "max_order_value_e4": 100_000 * chance.randint(30, 70),
        "max_position_qty": 5 * chance.randint(5, 60),
        "adv_share_bps": 100 * chance.randint(3, 8),
        "restricted": chance.random() < 0.2,
        "order_rate": (chance.randint(1, 4), chance.randint(1, MINUTE)),
        "credit_e4": 100_000 * chance.randint(0, 90),
        "margin_bps": 100 * chance.randint(0, 100),
        "max_open_orders": chance.randint(2, 12),
        "max_ids": chance.randint(10, 200),
    }
    if symbol:
        values = {
            name: value
            for name, value in values.items()
            if name not in ("order_rate", "credit_e4", "margin_bps", "max_open_orders", "max_ids")
        }
    if chance.random() < 0.2:
        return limits(name, symbol, **{each: False if each == "restricted" else OFF for each in values})
    chosen = chance.sample(sorted(values), chance.randint(1, 2))
    return limits(name, symbol, **{each: values[each] for each in chosen})


def _control(chance: random.Random, engine: ReferenceEngine | None, day: int) -> Rows:
    """A change of phase, halt, limit or clock value; the clock goes on by up to a minute, or to the day."""
    kind, symbol = chance.random(), chance.choice(("XYZ", "ABC", "*"))
    if kind < 0.35:
        return phase(symbol, chance.choice(PHASES))
    if kind < 0.45:
        return halt(symbol, chance.choice((0, 1, MINUTE // 2, 2 * MINUTE)))
    if kind < 0.5:
        return resume(symbol)
    if kind < 0.7:
        return _limits(chance)
    if kind < 0.75:
        return mass_cancel(f"P{chance.randint(1, 5)}", chance.choice((0, "XYZ")), chance.choice((0, BUY, SELL)))
    if kind < 0.95 and engine is not None:
        return clock(engine.now_ns + chance.choice((1, MINUTE // 4, MINUTE)))
    return clock(NANOSECONDS_2024_01_15_0930 + day * DAY_NS)


def _command(chance: random.Random, day: int, engine: ReferenceEngine | None = None) -> Rows:
    """A command that may well be refused; with an engine, cancels and replaces are mostly of its open orders."""
    number = chance.randint(1, 5)
    one: str | int = f"i{chance.randint(1, 400)}"
    two = f"i{chance.randint(1, 400)}"
    kind = chance.random()
    live = engine.open_orders() if engine is not None and 0.6 <= kind < 0.86 else None
    if live is not None and len(live) and chance.random() < 0.8:
        chosen = live[chance.randrange(len(live))]
        number, one = int(chosen["participant"]), int(chosen["client_order_id"])
    if kind < 0.6:
        tif = chance.choice((TimeInForce.DAY, TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK))
        minimum = chance.randint(1, 20) if tif == TimeInForce.IOC and chance.random() < 0.5 else None
        post_only = chance.random() < 0.1
        stp = chance.choice(tuple(SelfTrade))
        side, qty, price_e4 = chance.choice((BUY, SELL)), 5 * chance.randint(1, 12), _price(chance)
        listed = chance.randint(1, 2)
        return enter(number, one, side, qty, price_e4, listed, tif, stp, post_only=post_only, min_qty=minimum)
    if kind < 0.73:
        return replace(number, one, two, 5 * chance.randint(1, 12), _price(chance))
    if kind < 0.86:
        return cancel(number, one)
    return _control(chance, engine, day)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_every_invariant_holds_after_every_command_of_a_random_stream(seed: int) -> None:
    chance = random.Random(seed)
    engine = ReferenceEngine(SMALL)
    engine.apply(MARKETS)
    seen = []
    for step in range(2_500):
        seen.append(engine.apply(_command(chance, step // 600, engine)))
        engine.check()
    kinds = set(concatenate(seen, EVENT)["kind"].tolist())
    assert kinds >= {
        EventKind.TRADE,
        EventKind.CANCELED,
        EventKind.REPLACED,
        EventKind.REJECTED,
        EventKind.CANCEL_REJECTED,
        EventKind.HALTED,
        EventKind.INDICATIVE,
    }


@pytest.mark.slow
def test_those_streams_reach_every_reason_that_they_are_there_for() -> None:
    seen = []
    for seed in range(6):
        chance = random.Random(seed)
        engine = ReferenceEngine(SMALL)
        engine.apply(MARKETS)
        seen += [engine.apply(_command(chance, step // 600, engine)) for step in range(2_500)]
    reasons = set(concatenate(seen, EVENT)["reason"].tolist())
    assert reasons >= {
        Reason.DUPLICATE_ID,
        Reason.SELF_TRADE,
        Reason.FOK,
        Reason.MIN_QTY,
        Reason.CAPACITY,
        Reason.AUCTION,
        Reason.END_OF_DAY,
        *range(Reason.MAX_ORDER_QTY, Reason.CREDIT + 1),
        Reason.RESTRICTED,
    }


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", range(3))
def test_quantity_is_conserved(seed: int) -> None:
    """Accepted quantity, and that added by replaces, is traded, canceled, taken off by replaces, or open."""
    chance = random.Random(100 + seed)
    engine = ReferenceEngine(SMALL)
    engine.apply(MARKETS)
    open_qty: dict[int, int] = {}
    by_id: dict[tuple[int, int], int] = {}
    for step in range(3_000):
        for event in engine.apply(_command(chance, step // 900, engine)):
            number, qty, whose = (
                int(event["order_number"]),
                int(event["qty"]),
                (int(event["participant"]), int(event["client_order_id"])),
            )
            if event["kind"] == EventKind.ACCEPTED:
                open_qty[number], by_id[whose] = qty, number
            elif event["kind"] == EventKind.CANCELED:
                open_qty[number] -= qty
            elif event["kind"] == EventKind.REPLACED:
                open_qty[number], by_id[whose[0], int(event["contra_client_order_id"])] = qty, number
            elif event["kind"] == EventKind.TRADE:
                open_qty[by_id[whose]] -= qty
                open_qty[by_id[int(event["contra_participant"]), int(event["contra_client_order_id"])]] -= qty
    left = {number: qty for number, qty in open_qty.items() if qty}
    assert left == {int(order["order_number"]): int(order["leaves_qty"]) for order in engine.open_orders()}


@pytest.mark.parametrize("seed", range(4))
def test_no_bytes_make_the_engine_raise(seed: int) -> None:
    bytes_of = np.random.default_rng(seed)
    engine = ReferenceEngine(SMALL)
    engine.apply(MARKETS)
    for _ in range(20):
        rows = bytes_of.integers(0, 256, (500, 64), np.uint8)
        rows[:, 56] = bytes_of.integers(0, 21, 500)  # mostly kinds that exist
        rows[bytes_of.random((500, 64)) < 0.6] = 0
        events = engine.apply(rows.reshape(-1).view(COMMAND))
        assert set(events["kind"].tolist()) <= {EventKind.REJECTED, EventKind.CANCEL_REJECTED}
        engine.check()


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_with_flipped_bits_and_hostile_values_does_not_raise(seed: int) -> None:
    chance, bytes_of = random.Random(seed), np.random.default_rng(seed)
    extremes = (0, 1, -1, 2**63 - 1, -(2**63), 2**62, 99_999_999, 9_999_999_999)
    engine = ReferenceEngine(SMALL)
    engine.apply(MARKETS)
    for step in range(40):
        rows = batch(*(_command(chance, day=step // 10) for _ in range(60)))
        raw = rows.view(np.uint8).reshape(-1, 64)
        for at in bytes_of.choice(60, 20, replace=False):
            raw[at, bytes_of.integers(64)] ^= 1 << bytes_of.integers(8)
        for at in bytes_of.choice(60, 10, replace=False):
            raw[at, :48].view(np.int64)[bytes_of.integers(6)] = chance.choice(extremes)
        engine.apply(rows)
        engine.check()


def test_a_batch_longer_than_one_piece_gives_the_bytes_of_its_rows_one_by_one() -> None:
    chance = random.Random(7)
    rows = batch(MARKETS, *(_command(chance, day=0) for _ in range(1_500)))
    whole, single = ReferenceEngine(SMALL), ReferenceEngine(SMALL)
    together = whole.apply(rows)
    one_by_one = concatenate([single.apply(rows[at : at + 1]) for at in range(len(rows))], EVENT)
    assert together.tobytes() == one_by_one.tobytes()
    every_other = np.repeat(rows.view(np.uint8).reshape(-1, 64), 2, axis=0).reshape(-1).view(COMMAND)[::2]
    assert ReferenceEngine(SMALL).apply(every_other).tobytes() == together.tobytes()


def test_what_goes_out_of_a_market_leaves_nothing_to_the_collector_of_cycles() -> None:
    """So the engine may keep it off while it works."""
    roomy = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=8, participants_max=16)
    engine, rows = ReferenceEngine(roomy), meeting_stream(3, 3_000, delayed=True)
    engine.apply(rows[:1_000])
    gc.collect()
    gc.disable()
    try:
        engine.apply(rows[1_000:])
        assert gc.collect() == 0
        del engine
        assert gc.collect() > 0, "a market is full of cycles"
    finally:
        gc.enable()


def test_the_collector_of_cycles_is_off_while_the_engine_works_and_then_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = ReferenceEngine(SMALL)
    seen: list[bool] = []
    monkeypatch.setattr("engine.reference.engine.consequences", lambda *_: seen.append(gc.isenabled()))
    engine.apply(MARKETS)
    assert seen
    assert not any(seen)
    assert gc.isenabled()
    gc.disable()
    try:
        engine.apply(MARKETS)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_command_behind_the_best_prices_has_no_consequences_to_look_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a peg and a stop: only a new best price, a trade, and orders of those kinds have any."""
    engine = ReferenceEngine(SMALL)
    engine.apply(MARKETS)
    looked: list[int] = []
    look_after = consequences._look_after

    def counted(venue: Venue, of: Instrument, events: EventLog) -> None:
        looked.append(events.seq - first)
        look_after(venue, of, events)

    monkeypatch.setattr(consequences, "_look_after", counted)
    commands = [
        enter(1, "best", BUY, 10, 99_000),
        enter(1, "peg", BUY, 10, None, instructions=Instruction.PEG, peg=Peg.PRIMARY),
        enter(2, "stop", SELL, 10, None, instructions=Instruction.STOP, stop_e4=90_000),
        enter(2, "offer", SELL, 10, 101_000),
        enter(1, "beside", BUY, 10, 99_000),
        enter(1, "behind", BUY, 10, 98_000),
        enter(2, "hidden", SELL, 10, 100_000, instructions=Instruction.HIDDEN),
        cancel(1, "beside"),
        cancel(1, "behind"),
        cancel(2, "nothing"),
        enter(1, "better", BUY, 10, 99_500),
        cancel(1, "better"),
        enter(1, "taker", BUY, 5, 100_000),
    ]
    first = engine.seq + 1
    for each in commands:
        engine.apply(each)
        engine.check()
    assert looked == [0, 1, 2, 3, 10, 11, 12]


def test_a_broken_promise_is_named() -> None:
    """A negative control of check(): each way of breaking the state is noticed."""

    def fresh() -> ReferenceEngine:
        engine = ReferenceEngine(SMALL)
        engine.apply(MARKETS)
        engine.apply(
            batch(enter(1, "a1", BUY, 10, 99_000), enter(1, "a2", BUY, 10, 99_000), enter(2, "b1", SELL, 10, 101_000))
        )
        engine.apply(batch(limits("P1", "XYZ", max_order_qty=50), phase("ABC", Phase.AUCTION)))
        engine.check()
        return engine

    def first(engine: ReferenceEngine) -> Order:
        return engine._venue.participants[0].open_orders[1]

    def level(engine: ReferenceEngine) -> Level:
        return next(engine._venue.instruments[0].book.levels(BUY))

    def crossed(engine: ReferenceEngine) -> None:
        engine.apply(batch(phase("XYZ", Phase.PRE_OPEN), enter(1, "c", BUY, 1, 101_000)))
        engine._venue.instruments[0].phase = Phase.CONTINUOUS

    def published(engine: ReferenceEngine) -> None:
        engine.apply(batch(phase("XYZ", Phase.AUCTION), enter(3, "c", BUY, 1, 101_000)))
        engine._venue.instruments[0].published = NOTHING_PAIRED

    breaks: dict[str, Callable[[ReferenceEngine], None]] = {
        "wrong sum": lambda engine: setattr(level(engine), "leaves_qty", 19),
        "stands before its time": lambda engine: engine._venue.instruments[0].book.replenish(first(engine)),
        "is open with 0": lambda engine: setattr(first(engine), "leaves_qty", 0),
        "more than its quantity": lambda engine: setattr(first(engine), "cum_qty", 1),
        "is not found by its id": lambda engine: setattr(first(engine), "client_order_id", 5),
        "with an instruction that cannot": lambda engine: setattr(
            first(engine), "instructions", int(Instruction.MIN_QTY)
        ),
        "off the tick": lambda engine: setattr(first(engine), "price_e4", 99_001),
        "has number": lambda engine: engine._venue.instruments.reverse(),
        "orders rest": lambda engine: setattr(engine._venue.instruments[0], "book", LitBook()),
        "ids are in use": lambda engine: setattr(engine._venue, "id_count", 9),
        "room for": lambda engine: setattr(engine._venue, "capacity", altered(SMALL, orders_max=2, ids_max=2)),
        "that of the clock": lambda engine: setattr(engine._venue, "trading_day", 3),
        "crossed in continuous": crossed,
        "told is": published,
        "1980000 are counted": lambda engine: setattr(engine._venue.participants[0].open_orders[2], "price_e4", 98_000),
        "moves another holding": lambda engine: engine._venue.participants[1].holdings.clear(),
        "open quantity is": lambda engine: setattr(first(engine).holding, "open_buy_qty", 21),
        "positions sum to": lambda engine: setattr(engine._venue.participants[0].holdings[1], "position_qty", 1),
        "has a timer in continuous": lambda engine: setattr(engine._venue.instruments[0], "due_ns", 2**62),
        "a timer that was due": lambda engine: engine._venue.set_phase(engine._venue.instruments[0], Phase.HALTED, 1),
        "by their list": lambda engine: engine._venue.calls.clear(),
        "limit out of bounds": lambda engine: setattr(engine._venue.participants[0].limits, "margin_bps", -1),
        "in all only": lambda engine: setattr(engine._venue.participants[0].limits_in[1], "credit_e4", 1),
        "entry is counted later": lambda engine: engine._venue.participants[0].counted_ns.append(2**62),
        "the reference price is not": lambda engine: setattr(engine._venue.instruments[0], "reference_e4", 5),
        "is closed and day order": lambda engine: setattr(engine._venue.instruments[0], "phase", Phase.CLOSED),
    }
    for promise, broken in breaks.items():
        engine = fresh()
        broken(engine)
        with pytest.raises(InvariantError, match=promise):
            engine.check()
