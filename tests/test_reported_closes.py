"""The cause of a close behind a command that waited, as reports have it: the schedule or the breaker."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity
from engine.records import CommandKind, EventKind, Phase
from engine.reference import ReferenceEngine
from engine.reference.venue import Witness
from notation.parse import parse
from notation.translate import Translator
from reports import ReportKind, Reports
from reports.reference import ReferenceReports

CAPACITY = Capacity(orders_max=64, ids_max=4_096, instruments_max=4, participants_max=4)
BEGINNING = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
{index}
phase * continuous
venue speed_bump=100ms
"""


def stream(seed: int) -> str:
    """A scenario of a market whose commands wait, where schedules and, with even seeds, a breaker close instruments."""
    rng = random.Random(seed)
    index = "index IDX members=XYZ:1,ABC:1 levels=5%/close" if seed % 2 == 0 else "# none"
    lines, day, now_ms = [BEGINNING.format(index=index)], 15, 0
    for turn in range(400):
        for _ in range(rng.randrange(1, 4)):
            name, symbol = rng.choice(("ALPHA", "BETA")), rng.choice(("XYZ", "XYZ", "ABC"))
            side, price = rng.choice(("buy", "sell")), rng.choice((8.8, 9.9, 10.0, 10.1))
            tif = rng.choice(("", " tif=gtc"))
            lines.append(f"enter {name} o{turn}-{len(lines) % 97} {side} {rng.randrange(1, 9)} {symbol} @ {price}{tif}")
        for _ in range(rng.choice((0, 1, 1, 2))):
            due_ms = now_ms + rng.choice((20, 100, 101, 130, 160))
            phase = rng.choice(("closed", "closed", "closed", "continuous", "pre_open"))
            at = f"2024-01-{day:02}T09:{30 + due_ms // 60_000}:{due_ms % 60_000 / 1_000:06.3f}"
            lines.append(f"schedule {rng.choice(('*', 'XYZ', 'XYZ', 'ABC'))} {at} {phase}")
        if rng.random() < 0.1:
            lines.append(f"halt {rng.choice(('XYZ', 'ABC'))} for={rng.choice((50, 150))}ms")
        if turn % 40 == 39:
            day, now_ms = day + 1, 0
            lines.append(f"at 2024-01-{day:02}T09:30:00")
        else:
            step_ms = rng.choice((10, 20, 200, 250))
            now_ms += step_ms
            lines.append(f"at +{step_ms}ms")
        if rng.random() < 0.6:
            lines.append("phase * continuous")
    return "\n".join(lines)


class Told(NamedTuple):
    """Kinds of the commands that caused each phase: as the market knows it, and as each of two folds reports it.

    ``closed``: of closes in clock values, those by a command that waited and those that are the clock's own.
    """

    kinds: list[int]
    kernel: list[int]
    reference: list[int]
    closed: Counter[int]


def phases_of(reports: NDArray[Any]) -> list[int]:
    return [int(kind) for kind in reports["command_kind"][reports["kind"] == ReportKind.PHASE]]


def told(text: str, *, images: bool = False) -> Told:
    """images: the compiled fold goes on from an image of itself after each block."""
    engine, knowing = ReferenceEngine(CAPACITY), ReferenceEngine(CAPACITY)
    kernel, reference = Reports(CAPACITY), ReferenceReports()
    found, kinds_of = Told([], [], [], Counter()), {}
    translator = Translator(parse(text, "closes.txt"), engine.directory, "closes.txt")
    while (batch := translator.next_batch(engine.directory)) is not None:
        for begin in range(0, len(batch.rows), 3):
            rows = batch.rows[begin : begin + 3]
            first_seq, witness = engine.seq + 1, Witness()
            events = engine.apply(rows)
            knowing.apply_before(rows, witness)
            kinds_of |= {seq: int(kind) for seq, kind in enumerate(rows["kind"], first_seq)}
            causes = [kinds_of[int(seq)] for seq in events["seq"]]
            for seq, first, end in witness.effects:
                causes[first:end] = [kinds_of[seq]] * (end - first)
            at = np.flatnonzero(events["kind"] == EventKind.PHASE)
            found.kinds.extend(causes[each] for each in at)
            clocks = [each for each in at if kinds_of[int(events["seq"][each])] == CommandKind.CLOCK]
            found.closed.update(causes[each] for each in clocks if events["phase"][each] == Phase.CLOSED)
            one, other = kernel.make(first_seq, rows, events), reference.make(first_seq, rows, events)
            assert one.tobytes() == other.tobytes()
            found.kernel.extend(phases_of(one))
            found.reference.extend(phases_of(other))
            if images:
                image, kernel = kernel.image(), Reports(CAPACITY)
                kernel.restore({name: array.copy() for name, array in image.items()}, first_seq + len(rows) - 1)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_close_is_told_with_the_kind_of_the_command_or_clock_value_that_caused_it(seed: int) -> None:
    found = told(stream(seed))
    assert found.kernel == found.kinds
    assert found.reference == found.kinds
    assert found.closed[CommandKind.CLOCK] > 20
    assert (found.closed[CommandKind.ENTER] > 5) == (seed % 2 == 0), "a breaker closes with even seeds alone"


@pytest.mark.slow
def test_a_fold_that_goes_on_from_images_tells_closes_the_same() -> None:
    found = told(stream(2), images=True)
    assert found.kernel == found.kinds


def test_a_scheduled_close_behind_a_trade_of_a_delayed_command_is_the_clock_s_own() -> None:
    path = Path(__file__).parent / "scenarios" / "schedule-closes-behind-a-delayed-trade.txt"
    found = told(path.read_text())
    assert found.kernel == found.reference == found.kinds
    assert found.closed == {CommandKind.CLOCK: 2}


def test_a_breaker_and_then_a_schedule_close_behind_one_trade() -> None:
    text = BEGINNING.format(index="index IDX members=XYZ:1 levels=5%/close")
    text += """\
schedule XYZ 2024-01-15T09:30:00.15 closed
enter ALPHA a1 sell 50 XYZ @ 9.00
enter BETA b1 buy 50 XYZ @ 9.00
at +200ms
"""
    found = told(text)
    assert found.kernel == found.reference == found.kinds
    assert found.closed == {CommandKind.ENTER: 2, CommandKind.CLOCK: 1}


#: Schedules of an instrument that was halted, due behind the trade of a delayed command.
HALTED = """\
halt ABC
{schedules}
enter ALPHA a1 sell 50 XYZ @ 9.00
enter BETA b1 buy 50 XYZ @ 9.00
at +200ms
"""


def of_a_halted_instrument(phases: list[str], *, breaker: bool) -> Told:
    schedules = (f"schedule ABC 2024-01-15T09:30:00.{12 + at} {phase}" for at, phase in enumerate(phases))
    index = "index IDX members=XYZ:1 levels=5%/close" if breaker else "# none"
    return told(BEGINNING.format(index=index) + HALTED.format(schedules="\n".join(schedules)))


@pytest.mark.parametrize("breaker", [True, False])
@pytest.mark.parametrize(
    "phases",
    [
        ["closed"],
        ["pre_open", "closed"],
        ["pre_open", "continuous", "closed"],
        ["pre_open", "closed", "closed"],
        ["pre_open", "closed", "pre_open"],
        ["pre_open", "closed", "opening_auction", "closed"],
        ["pre_open", "closed", "pre_open", "closed"],
    ],
    ids=" ".join,
)
def test_a_breaker_or_a_schedule_closes_a_halted_instrument(phases: list[str], breaker: bool) -> None:
    found = of_a_halted_instrument(phases, breaker=breaker)
    assert found.kernel == found.reference == found.kinds
    assert found.closed[CommandKind.CLOCK] == phases.count("closed")
    assert found.closed[CommandKind.ENTER] == 2 * breaker
