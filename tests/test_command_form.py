"""Form of COMMAND rows: a place that a kind does not use must be zero, in both engines and for every kind."""

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.records import COMMAND, COMMAND_FIELDS, COMMAND_PLACES, CommandKind, EventKind, Reason
from engine.reference import ReferenceEngine
from tests.rows import Rows, batch, market_of

CAPACITY = Capacity(orders_max=8, ids_max=16, instruments_max=2, participants_max=2)
UNUSED = [
    (kind, names[0])
    for kind in COMMAND_FIELDS
    for names in COMMAND_PLACES.values()
    if {*COMMAND_FIELDS[kind], "kind"}.isdisjoint(names)
]


def rows_with(kind: CommandKind, name: str) -> Rows:
    """Rows of a kind with one place set that it does not use, to each power of two and to all bits."""
    bits = 8 * COMMAND[name].itemsize
    rows = np.zeros(bits + 1, COMMAND)
    rows["kind"] = kind
    values = [1 << bit for bit in range(bits)] + [(1 << bits) - 1]
    rows[name] = np.array(values, np.uint64).astype(f"u{bits // 8}").view(COMMAND[name])
    return rows


@pytest.mark.parametrize(("kind", "name"), UNUSED, ids=lambda value: getattr(value, "name", value))
def test_a_row_with_any_bit_of_an_unused_place_is_refused_by_both_engines(kind: CommandKind, name: str) -> None:
    rows = rows_with(kind, name)
    answers = []
    for engine in (Engine(CAPACITY), ReferenceEngine(CAPACITY)):
        engine.apply(batch(market_of(1)))
        answers.append(engine.apply(rows))
    ours, theirs = answers
    np.testing.assert_array_equal(ours, theirs)
    assert len(ours) == len(rows)
    assert set(ours["kind"]) == {EventKind.REJECTED}
    assert set(ours["reason"]) == {Reason.INVALID_COMMAND}


def test_every_kind_that_is_built_leaves_a_place_unused() -> None:
    """Control: or the test above would test nothing of a kind. An enter has a use for every place."""
    assert {kind for kind, _ in UNUSED} == set(COMMAND_FIELDS) - {CommandKind.ENTER}
