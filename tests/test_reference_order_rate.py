"""The order rate: a window that slides, and what counts in it (section 8, section 13: 22), on the reference engine."""

import pytest

from engine.bounds import DAY_NS, RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX
from engine.records import Phase, TimeInForce
from engine.reference import ReferenceEngine
from tests.limit_rows import OFF, emergency_close, limits, told
from tests.rows import (
    BUY,
    NANOSECONDS_2024_01_15_0930,
    Rows,
    batch,
    cancel,
    clock,
    enter,
    extend,
    instrument,
    kill,
    market_of,
    participant,
    phase,
    replace,
    unkill,
)

IOC = TimeInForce.IOC
NOW = NANOSECONDS_2024_01_15_0930
SECOND = 1_000_000_000


def _market(limit: Rows) -> ReferenceEngine:
    """XYZ in continuous trading, P1 to P3, and the limit."""
    engine = ReferenceEngine()
    engine.apply(market_of(3))
    assert told(engine.apply(limit)) == []
    return engine


def _at(engine: ReferenceEngine, ns: int, entry: Rows) -> str:
    return told(engine.apply(batch(clock(NOW + ns), entry)))[-1]


def test_the_order_rate_is_of_a_window_that_slides_and_leaves_out_its_edge() -> None:
    engine = _market(limits("P1", order_rate=(2, SECOND)))
    assert _at(engine, 0, enter(1, "a1", BUY, 1, 100)) == "accepted a1"
    assert _at(engine, 400, enter(1, "a2", BUY, 1, 100)) == "accepted a2"
    assert _at(engine, SECOND - 1, enter(1, "a3", BUY, 1, 100)) == "rejected a3 order_rate"
    assert _at(engine, SECOND, enter(1, "a3", BUY, 1, 100)) == "accepted a3"
    assert _at(engine, SECOND + 399, enter(1, "a4", BUY, 1, 100)) == "rejected a4 order_rate"
    assert _at(engine, SECOND + 400, enter(1, "a4", BUY, 1, 100)) == "accepted a4"
    assert _at(engine, SECOND + 400, replace(1, "a4", "a5", 2, 100)) == "rejected a5 order_rate"
    assert _at(engine, SECOND + 400, cancel(1, "a4")) == "canceled a4 1 user"
    engine.check()


def test_those_refused_for_their_rate_do_not_count() -> None:
    engine = _market(limits("P1", order_rate=(1, 10)))
    assert _at(engine, 0, enter(1, "a1", BUY, 1, 100)) == "accepted a1"
    for ns in range(1, 10):
        assert _at(engine, ns, enter(1, "a2", BUY, 1, 100)) == "rejected a2 order_rate"
    assert _at(engine, 10, enter(1, "a2", BUY, 1, 100)) == "accepted a2"


# What counts, and what does not.
COUNTED: dict[str, tuple[Rows, bool]] = {
    "an entry": (enter(1, "b1", BUY, 1, 100), True),
    "an entry that is refused": (enter(1, "b1", BUY, 0, 100), True),
    "an entry refused for its limits": (enter(1, "b1", BUY, 51, 100), True),
    "an entry of an unknown instrument": (enter(1, "b1", BUY, 1, 100, 9), True),
    "an entry of a closed instrument": (batch(emergency_close(), enter(1, "b1", BUY, 1, 100)), True),
    "an entry of one that is killed": (batch(kill("P1"), enter(1, "b1", BUY, 1, 100), unkill("P1")), True),
    "an entry after a further row": (batch(extend(0, "NONE"), enter(1, "b1", BUY, 1, 100, 0)), True),
    "a replace": (replace(1, "a1", "a2", 5, 100), True),
    "a replace of an unknown order": (replace(1, "zz", "a2", 5, 100), True),
    "a replace that is refused": (replace(1, "a1", "a2", 0, 100), True),
    "a cancel": (cancel(1, "a1"), False),
    "a row that cannot be interpreted": (enter(1, 0, BUY, 1, 100), False),
    "a replace that cannot be interpreted": (replace(1, "a1", 0, 5, 100), False),
    "another's entry": (enter(2, "b1", BUY, 1, 100), False),
    "another's replace of it": (replace(2, "a1", "a2", 5, 100), False),
    "an unknown participant's": (enter(0, "b1", BUY, 1, 100), False),
}


@pytest.mark.parametrize(("rows", "counts"), COUNTED.values(), ids=COUNTED)
def test_every_entry_and_replace_of_a_known_participant_counts_whatever_the_answer(rows: Rows, counts: bool) -> None:
    engine = _market(limits("P1", max_order_qty=50))
    engine.apply(batch(enter(1, "a1", BUY, 5, 100), clock(NOW + 10)))
    engine.apply(rows)  # before a rate is set
    engine.apply(batch(phase("XYZ", Phase.CONTINUOUS), limits("P1", order_rate=(1, 10))))
    answer = told(engine.apply(enter(1, "last", BUY, 1, 100)))
    assert answer == (["rejected last order_rate"] if counts else ["accepted last"])
    engine.check()


@pytest.mark.slow
def test_a_rate_of_the_most_entries_looks_back_over_all_of_them() -> None:
    engine = _market(limits("P1", order_rate=(RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX)))
    for at in range(RATE_ORDERS_MAX):
        engine.apply(batch(clock(NOW + at), enter(1, f"a{at}", BUY, 1, 100, tif=IOC)))
    assert _at(engine, DAY_NS - 1, enter(1, "b", BUY, 1, 100, tif=IOC)) == "rejected b order_rate"
    assert _at(engine, DAY_NS, enter(1, "b", BUY, 1, 100, tif=IOC)) == "canceled b 1 ioc"
    assert _at(engine, DAY_NS, enter(1, "c", BUY, 1, 100)) == "rejected c order_rate"
    engine.apply(limits("P1", order_rate=(1, 1)))
    assert _at(engine, DAY_NS, enter(1, "c", BUY, 1, 100)) == "rejected c order_rate"
    engine.apply(limits("P1", order_rate=OFF))
    assert _at(engine, DAY_NS, enter(1, "c", BUY, 1, 100)) == "accepted c"
    engine.check()


def test_before_the_first_clock_value_the_time_is_zero_and_counts() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(instrument("XYZ"), participant("P1"), phase("XYZ", Phase.CONTINUOUS)))
    engine.apply(limits("P1", order_rate=(2, DAY_NS)))
    rows = batch(*(enter(1, f"a{n}", BUY, 1, 100) for n in range(3)))
    assert told(engine.apply(rows)) == ["accepted a0", "accepted a1", "rejected a2 order_rate"]
    engine.apply(clock(DAY_NS))
    assert told(engine.apply(enter(1, "a2", BUY, 1, 100))) == ["accepted a2"]
