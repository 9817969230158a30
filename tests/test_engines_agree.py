"""The compiled engine and the reference give the same event bytes and the same books for every input.

They share only the row layouts, so what both do is what the rulebook says, or both misread it. Seeded streams go
far (days, full tables, garbage); Hypothesis goes where a few rows decide, and shrinks what it finds.
"""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import COMMAND, Capacity, Engine
from engine.bounds import DAY_NS, EPOCH_MAX, PRICE_E4_MAX, QTY_MAX
from engine.epochs import epoch_after
from engine.names import EVERY, pack
from engine.records import CommandKind, Instruction, Limit, Phase, Reason, SelfTrade, TimeInForce, limit_places
from engine.reference import ReferenceEngine
from replay.audit import first_difference
from tests.limit_rows import limits
from tests.streams import LOT, OPEN_NS, REFERENCE_E4, TICK_E4, call_stream, definitions, random_stream

ROOMY = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=8, participants_max=16)
TIGHT = Capacity(orders_max=60, ids_max=300, instruments_max=3, participants_max=6)
FULL = Capacity(orders_max=64, ids_max=64, instruments_max=2, participants_max=5)


def same(kernel: Engine, reference: ReferenceEngine, rows: NDArray[Any], where: str) -> None:
    """Apply the rows to both; fails with the command and the first event that differs."""
    before = kernel.seq
    found = first_difference(kernel.apply(rows), reference.apply(rows))
    if found is not None:
        command = rows[found.seq - before - 1]
        used = {name: int(command[name]) for name in COMMAND.names or () if command[name]}
        pytest.fail(f"{where}, command {found.seq}: {used}\nkernel    {found.a}\nreference {found.b}")
    assert kernel.event_digest == reference.event_digest


def same_state(kernel: Engine, reference: ReferenceEngine) -> None:
    """Books, instruments, names and clock of both are the same, and each finds its own invariants whole."""
    kernel.check()
    reference.check()
    assert kernel.open_orders().tobytes() == reference.open_orders().tobytes()
    assert kernel.instruments().tobytes() == reference.instruments().tobytes()
    assert kernel.indices().tobytes() == reference.indices().tobytes()
    assert kernel.schedules().tobytes() == reference.schedules().tobytes()
    assert kernel.positions().tobytes() == reference.positions().tobytes()
    assert kernel.participants().tobytes() == reference.participants().tobytes()
    assert kernel.limits().tobytes() == reference.limits().tobytes()
    assert kernel.next_due_ns == reference.next_due_ns
    assert kernel.directory == reference.directory
    assert kernel.now_ns == reference.now_ns
    assert kernel.epoch == reference.epoch


#: In all, over five seeds and three capacities; ``LOCKSTEP_COMMANDS`` sets another number.
COMMANDS = int(os.environ.get("LOCKSTEP_COMMANDS", "150000"))


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT, FULL], ids=["roomy", "tight", "full"])
@pytest.mark.parametrize("seed", range(5))
def test_both_engines_agree_on_seeded_streams(seed: int, capacity: Capacity) -> None:
    hostile, garbage, control = [
        (0.0, 0.0, 0.002),
        (0.05, 0.02, 0.003),
        (0.3, 0.1, 0.01),
        (0.05, 0.5, 0.05),
        (0.1, 0.0, 0.1),
    ][seed]
    rows = random_stream(
        seed,
        COMMANDS // 15,
        hostile=hostile,
        garbage=garbage,
        control=control,
        participants=4 + seed,
        delayed=seed % 2 == 1,
    )
    kernel, reference = Engine(capacity), ReferenceEngine(capacity)
    for start in range(0, len(rows), 250):
        same(kernel, reference, rows[start : start + 250], f"seed {seed}")
        if start % 2_500 == 0:
            same_state(kernel, reference)
    same_state(kernel, reference)


@pytest.mark.slow
@pytest.mark.parametrize("far", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_both_engines_agree_on_markets_in_calls(seed: int, far: float) -> None:
    rows = call_stream(200 + seed, COMMANDS // 100, far=far, delayed=seed % 2 == 0)
    kernel, reference = Engine(ROOMY), ReferenceEngine(ROOMY)
    for start in range(0, len(rows), 50):
        same(kernel, reference, rows[start : start + 50], f"calls {200 + seed}")
        if start % 250 == 0:
            same_state(kernel, reference)
    same_state(kernel, reference)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_invariants_hold_after_every_single_command(seed: int) -> None:
    rows = random_stream(100 + seed, COMMANDS // 1_000, hostile=0.1, garbage=0.05, control=0.03, delayed=True)
    kernel, reference = Engine(TIGHT), ReferenceEngine(TIGHT)
    for start in range(len(rows)):
        same(kernel, reference, rows[start : start + 1], f"seed {100 + seed}")
        same_state(kernel, reference)


def test_a_clock_at_the_end_of_time_leaves_both_engines_alike() -> None:
    rows = random_stream(9, 4_000)
    rows["time_ns"][np.flatnonzero(rows["kind"] == CommandKind.CLOCK)[::7]] = 2**62
    kernel, reference = Engine(ROOMY), ReferenceEngine(ROOMY)
    same(kernel, reference, rows, "the end of time")
    same_state(kernel, reference)


@given(st.integers(0, 2**32), st.integers(1, 2_000))
@settings(max_examples=10, deadline=None)
def test_both_engines_agree_on_bytes_that_mean_nothing(seed: int, rows_count: int) -> None:
    octets = np.random.default_rng(seed).integers(0, 256, (rows_count, COMMAND.itemsize)).astype(np.uint8)
    octets[:, 56] %= 24  # every kind, built or not
    rows = np.concatenate((definitions(2, 4).view(np.uint8), octets.reshape(-1))).view(COMMAND)
    kernel, reference = Engine(TIGHT), ReferenceEngine(TIGHT)
    same(kernel, reference, rows, "noise")
    same_state(kernel, reference)


PRICES = st.one_of(
    st.integers(-3, 3).map(lambda ticks: REFERENCE_E4 + ticks * TICK_E4),
    st.sampled_from([0, 1, -1, TICK_E4, PRICE_E4_MAX, PRICE_E4_MAX + 1, 9_999_999_900, REFERENCE_E4 + 1]),
)
QUANTITIES = st.one_of(
    st.integers(1, 5).map(lambda lots: lots * LOT), st.sampled_from([0, 1, -1, QTY_MAX, QTY_MAX + 1])
)
IDS = st.integers(1, 12)


#: After the opening, and durations of halts: such that clock values meet their ends, and those of the calls after them.
TIMES = [0, 1, 2, 3, 10**10, 60 * 10**9, 60 * 10**9 + 1, 60 * 10**9 + 3, 130 * 10**9, DAY_NS, 2 * DAY_NS]
DURATIONS = [0, 0, 1, 2, 3, 10**10, 2**62 - OPEN_NS, 2**62 - OPEN_NS + 1, -1]


@st.composite
def limit_rows(draw: st.DrawFn) -> NDArray[Any]:
    """``limits``, most of them well formed, with what an EXTEND row before it says."""
    chosen: dict[str, Any] = {}
    symbol = draw(st.sampled_from([0, 0, 0, pack("I1"), pack("I2"), pack("I3")]))
    choices = {
        "max_order_qty": [10, 30, 50, QTY_MAX, 0, QTY_MAX + 1],
        "max_order_value_e4": [30 * REFERENCE_E4, 1, 2**63 - 1, 0],
        "max_position_qty": [0, 20, 50, 10**9, -1],
        "adv_share_bps": [1, 20, 100, 10_000, 10_001],
    }
    if not symbol:
        choices |= {
            "order_rate": [(1, 1), (2, 10**10), (3, DAY_NS), (4_096, 5), (4_097, 5), (0, 5), (1, 0)],
            "credit_e4": [0, 40 * REFERENCE_E4, 100 * REFERENCE_E4, 2**63 - 1, -1],
            "margin_bps": [0, 1, 5_000, 10_000, 10_001],
            "max_open_orders": [1, 2, 5, 2**29, 0, 2**29 + 1],
            "max_ids": [1, 3, 8, 2**30, 0, 2**30 + 1],
        }
    for name in draw(st.lists(st.sampled_from(sorted(choices)), max_size=3)):
        chosen[name] = draw(st.sampled_from(choices[name]))  # type: ignore[arg-type]
    off = int(draw(st.sampled_from([0, 0, 0, 0, *Limit, int(~Limit(0))])))
    restricted = draw(st.sampled_from([None, None, None, True]))
    rows = limits(f"P{draw(st.integers(1, 5))}", symbol, restricted=restricted, **chosen)
    for place, bits in limit_places(off, off).items():
        rows[place][-1] |= bits
    return rows


def _stop(draw: st.DrawFn, row: NDArray[Any]) -> None:
    """A stop, with the limit that the row has or without one."""
    row["instructions"], row["stop_e4"] = Instruction.STOP, draw(PRICES)
    if draw(st.booleans()):
        row["instructions"], row["price_e4"] = Instruction.STOP | Instruction.MARKET, 0


@st.composite
def commands(draw: st.DrawFn) -> NDArray[Any]:  # noqa: PLR0915 - a table of kinds
    """One command of a market with two instruments, four participants and a dozen ids, most of them well formed."""
    row = np.zeros(1, COMMAND)
    kind = draw(
        st.sampled_from(
            [CommandKind.ENTER] * 8
            + [CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CLOCK, CommandKind.LIMITS] * 2
            + [*CommandKind]
        )
    )
    row["kind"] = kind
    if kind in (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE):
        row["client_order_id"], row["participant"] = draw(IDS), draw(st.integers(1, 4))
        row["new_context" if kind == CommandKind.REPLACE else "context"] = draw(st.sampled_from([0, 1, -(2**63)]))
    if kind in (CommandKind.ENTER, CommandKind.REPLACE):
        row["qty"], row["price_e4"] = draw(QUANTITIES), draw(PRICES)
    if kind == CommandKind.ENTER:
        row["instrument"], row["side"] = draw(st.integers(1, 2)), draw(st.sampled_from([1, -1]))
        row["time_in_force"], row["self_trade"] = (
            draw(st.sampled_from([*TimeInForce])),
            draw(st.sampled_from([*SelfTrade])),
        )
        row["instructions"] = draw(st.sampled_from([0, 0, 0, Instruction.STOP, *Instruction]))
        if row["instructions"][0] == Instruction.MARKET:
            row["price_e4"] = draw(st.sampled_from([0, 0, 0, 1]))
        if row["instructions"][0] == Instruction.STOP:
            _stop(draw, row)
            row["time_in_force"] = draw(st.sampled_from([TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC]))
        if row["instructions"][0] == Instruction.MIN_QTY:
            row["time_in_force"], row["min_qty"] = TimeInForce.IOC, draw(QUANTITIES)
    elif kind == CommandKind.CANCEL:
        row["qty"] = draw(st.one_of(st.just(0), QUANTITIES))
    elif kind == CommandKind.REPLACE:
        row["new_client_order_id"] = draw(IDS)
        if draw(st.integers(0, 3)) == 0:
            _stop(draw, row)
    elif kind == CommandKind.CLOCK:
        row["time_ns"] = OPEN_NS + draw(st.sampled_from(TIMES))
    elif kind in (CommandKind.PHASE, CommandKind.HALT, CommandKind.RESUME):
        row["name"] = draw(st.sampled_from([EVERY, pack("I1"), pack("I2"), pack("I3")]))
        row["phase"] = draw(st.sampled_from([*Phase])) if kind == CommandKind.PHASE else 0
        row["duration_ns"] = draw(st.sampled_from(DURATIONS)) if kind == CommandKind.HALT else 0
    elif kind == CommandKind.CLOCK_JUMP:
        row["time_ns"], row["jump_ns"] = draw(st.sampled_from([0, -1, 2**62 + 1])), draw(st.sampled_from([0, -1, 1]))
    elif kind == CommandKind.EPOCH:
        row["name"] = draw(st.sampled_from([pack("A"), pack("NODE-1.A"), pack("B"), pack("a"), 0, -1]))
        row["epoch"] = draw(st.one_of(st.integers(0, 6), st.sampled_from([-1, 2**62, 2**62 + 1, 2**63 - 1, -(2**63)])))
    elif kind == CommandKind.LIMITS:
        return draw(limit_rows())
    elif kind in (CommandKind.KILL, CommandKind.UNKILL):
        row["name"] = draw(st.sampled_from([EVERY, pack("P1"), pack("P2"), pack("P5")]))
    elif kind == CommandKind.USER:
        row["name"] = draw(st.sampled_from([pack("USER-1"), pack("USER-11"), pack("u"), 0, -1]))
        row["participant_name"] = draw(st.sampled_from([pack("P1"), pack("P5"), 0, -1]))
        row["firm"] = draw(st.sampled_from([0, pack("F"), pack("FIRM"), pack("FIRMS"), pack("A.B"), pack("a"), -1]))
        row["permissions"] = draw(st.sampled_from([0, 7, 8]))
    elif kind == CommandKind.CREDENTIAL:
        row["name"], row["cost"] = draw(st.sampled_from([pack("U"), pack("USER-11"), 0])), draw(st.integers(3, 21))
        row["hash_2"] = draw(st.sampled_from([0, -1]))
    elif kind == CommandKind.EXTEND:
        row["token_tail"], row["new_token_tail"] = draw(st.sampled_from([0, 1])), draw(st.sampled_from([0, -1]))
    elif kind == CommandKind.MASS_CANCEL:
        row["name"], row["side"] = pack(f"P{draw(st.integers(1, 5))}"), draw(st.integers(-1, 1))
        row["symbol"] = draw(st.sampled_from([0, pack("I1"), pack("I3")]))
        row["reason"] = draw(st.sampled_from([Reason.MASS_CANCEL, Reason.DISCONNECT, Reason.USER]))
    return row


@pytest.mark.slow
@given(st.lists(commands(), min_size=1, max_size=60))
@settings(
    max_examples=COMMANDS // 1_500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_both_engines_agree_wherever_a_few_commands_lead(rows: list[NDArray[Any]]) -> None:
    kernel, reference = Engine(FULL), ReferenceEngine(FULL)
    same(kernel, reference, definitions(2, 4), "opening")
    for row in rows:
        same(kernel, reference, row, "few commands")
    same_state(kernel, reference)


@st.composite
def epochs(draw: st.DrawFn) -> NDArray[Any]:
    """A row that begins a reign, or nearly so, or another kind that may stand before it."""
    row = np.zeros(1, COMMAND)
    row["kind"] = draw(st.sampled_from([CommandKind.EPOCH] * 6 + [CommandKind.EXTEND, CommandKind.CLOCK]))
    if row["kind"][0] == CommandKind.EPOCH:
        row["name"] = draw(st.sampled_from([pack("A"), pack("NODE-1.A"), pack("a"), 0, -1]))
        near = [st.integers(-1, 40), st.integers(EPOCH_MAX - 2, EPOCH_MAX + 1)]
        row["epoch"] = draw(st.one_of(near[0], near[0], near[0], near[1]))
        row[draw(st.sampled_from(["name", "name", "name", "price_e4", "phase"]))] |= draw(st.sampled_from([0, 0, 1]))
    return row


@pytest.mark.slow
@given(st.lists(epochs(), min_size=1, max_size=40))
@settings(max_examples=COMMANDS // 1_500, deadline=None)
def test_the_epoch_in_force_never_goes_back_and_is_the_one_that_its_rows_alone_tell(rows: list[NDArray[Any]]) -> None:
    kernel, reference = Engine(FULL), ReferenceEngine(FULL)
    told = 0
    for row in rows:
        before = kernel.epoch
        same(kernel, reference, row, "epochs")
        told = epoch_after(row, told)
        assert before <= kernel.epoch == reference.epoch == told <= EPOCH_MAX
    assert epoch_after(np.concatenate([row.view(np.uint8) for row in rows]).view(COMMAND), 0) == told
    same_state(kernel, reference)


@pytest.mark.parametrize("number", [-1, 3, 9, 257, 5_000, 2**40])
def test_an_instrument_that_is_not_defined_has_no_orders(number: int) -> None:
    rows = random_stream(1, 400)
    for engine in (Engine(ROOMY), ReferenceEngine(ROOMY)):
        engine.apply(rows)
        assert len(engine.open_orders()) > 0
        assert len(engine.open_orders(number)) == 0
