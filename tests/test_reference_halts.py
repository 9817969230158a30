"""Halts with and without an end, ``resume``, timers, ``clock_jump`` (section 9, section 13: 24, 26): the reference."""

import itertools

import pytest

from engine.bounds import CALL_AFTER_HALT_NS, DAY_NS, TIME_NS_MAX
from engine.names import pack
from engine.records import Phase, TimeInForce
from engine.reference import ReferenceEngine
from tests.limit_rows import clock_jump, emergency_close, limits, resume, told
from tests.rows import (
    BUY,
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
    phase,
)

NOW = NANOSECONDS_2024_01_15_0930
MINUTE = CALL_AFTER_HALT_NS
AUCTION, CONTINUOUS, HALTED = ["phase 1 auction"], ["phase 1 continuous"], ["halted 1 command"]


def _market(opening: int = Phase.CONTINUOUS) -> ReferenceEngine:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(2, opening=opening), instrument("ABC")))
    return engine


def _at(engine: ReferenceEngine, ns: int) -> list[str]:
    answers = told(engine.apply(clock(NOW + ns)))
    engine.check()
    return answers


def _due(engine: ReferenceEngine) -> int:
    """From the beginning; 0 where nothing is due."""
    return engine.next_due_ns and engine.next_due_ns - NOW


def test_at_its_end_a_halt_becomes_a_call_and_a_minute_after_that_clock_value_continuous() -> None:
    engine = _market()
    assert _due(engine) == 0
    assert told(engine.apply(halt("XYZ", 500))) == HALTED
    assert (_at(engine, 499), _due(engine)) == ([], 500)
    assert _at(engine, 510) == AUCTION
    assert _due(engine) == 510 + MINUTE
    assert _at(engine, 509 + MINUTE) == []
    assert _at(engine, 510 + MINUTE) == CONTINUOUS
    assert (_due(engine), _at(engine, 10 * MINUTE)) == (0, [])


def test_an_end_is_met_by_the_clock_value_that_is_at_it() -> None:
    engine = _market()
    engine.apply(halt("XYZ", 1))
    assert (_at(engine, 0), _at(engine, 1)) == ([], AUCTION)
    assert (_at(engine, MINUTE), _at(engine, 1 + MINUTE)) == ([], CONTINUOUS)


def test_a_clock_value_far_beyond_both_ends_meets_only_the_first() -> None:
    engine = _market()
    engine.apply(halt("XYZ", 1))
    assert _at(engine, DAY_NS) == AUCTION
    assert (_at(engine, DAY_NS), _due(engine)) == ([], DAY_NS + MINUTE)
    assert _at(engine, 2 * DAY_NS) == CONTINUOUS


def test_the_call_after_a_halt_ends_with_the_uncross() -> None:
    engine = _market()
    engine.apply(halt("XYZ", 5))
    assert _at(engine, 5) == AUCTION
    rows = batch(enter(1, "m", BUY, 9, None), enter(2, "s", SELL, 5, 101_000), enter(1, "b", BUY, 5, 90_000))
    assert told(engine.apply(rows)) == [
        "accepted m",
        "accepted s",
        "indicative 1 5 @ 101000 4 buy",
        "accepted b",
    ]
    assert _at(engine, 5 + MINUTE) == [*CONTINUOUS, "trade 5 @ 101000 m s", "canceled m 4 auction"]


@pytest.mark.parametrize("first", [0, 100, 300])
@pytest.mark.parametrize("second", [0, 100, 200, 300])
def test_of_a_halt_of_a_halted_instrument_the_later_end_counts_and_none_is_the_latest(first: int, second: int) -> None:
    """The second is 50 ns after the first, and its end is counted from then."""
    engine = _market()
    assert told(engine.apply(halt("XYZ", first))) == HALTED
    assert _at(engine, 50) == []
    assert told(engine.apply(halt("XYZ", second))) == HALTED
    engine.check()
    later = max(first, 50 + second) if first and second else 0
    assert _due(engine) == later
    if later:
        assert (_at(engine, later - 1), _at(engine, later)) == ([], AUCTION)
    else:
        engine.apply(halt("XYZ", DAY_NS))
        assert _at(engine, 5 * DAY_NS) == []
        assert told(engine.apply(resume("XYZ"))) == AUCTION
        assert _due(engine) == 5 * DAY_NS + MINUTE


@pytest.mark.parametrize("duration_ns", [0, 500])
def test_resume_does_at_once_what_the_end_would_do(duration_ns: int) -> None:
    engine = _market(Phase.PRE_OPEN)
    engine.apply(batch(enter(1, "b", BUY, 5, 100_000), enter(2, "s", SELL, 5, 100_000)))
    engine.apply(halt("XYZ", duration_ns))
    _at(engine, 100)
    assert told(engine.apply(resume("XYZ"))) == [*AUCTION, "indicative 1 5 @ 100000 0 none"]
    assert _at(engine, 500) == []
    assert told(engine.apply(resume("XYZ"))) == ["rejected XYZ not_halted"]
    assert _at(engine, 100 + MINUTE) == [*CONTINUOUS, "trade 5 @ 100000 b s"]


def test_resume_of_what_is_not_halted_is_refused_and_with_a_star_skipped() -> None:
    engine = _market()
    rows = batch(resume("XYZ"), resume("ABC"), resume("NONE"), resume(0), resume("*"))
    answers = engine.apply(rows)
    assert told(answers) == [
        "rejected XYZ not_halted",
        "rejected ABC not_halted",
        "rejected NONE unknown_instrument",
        "rejected ~0000000000000000 unknown_instrument",
    ]
    assert not answers["instrument"].any()
    engine.apply(batch(phase("ABC", Phase.PRE_OPEN), halt("ABC")))
    assert told(engine.apply(resume("*"))) == ["phase 2 auction"]
    assert told(ReferenceEngine().apply(resume("*"))) == []


@pytest.mark.parametrize("left", [Phase.PRE_OPEN, Phase.CONTINUOUS, *(Phase(each) for each in (3, 6, 7))])
def test_any_phase_but_closed_may_be_halted(left: Phase) -> None:
    engine = _market(left)
    assert told(engine.apply(halt("XYZ", 7))) == HALTED
    assert engine.instruments()["phase"].tolist() == [Phase.HALTED, Phase.CLOSED]
    assert (_at(engine, 6), _at(engine, 7)) == ([], AUCTION)


def test_with_a_star_each_that_is_not_closed_is_halted_alike() -> None:
    engine = _market()
    assert told(engine.apply(halt("*", 5))) == HALTED
    engine.apply(batch(phase("ABC", Phase.PRE_OPEN), halt("*", 9)))
    assert _at(engine, 9) == ["phase 1 auction", "phase 2 auction"]
    assert told(engine.apply(batch(halt("XYZ", 1), phase("ABC", Phase.CLOSED), halt("ABC", 1)))) == [
        *HALTED,
        "phase 2 closed",
        "rejected ABC closed",
    ]


@pytest.mark.parametrize("new", [each for each in Phase if each != Phase.HALTED])
@pytest.mark.parametrize("from_call", [False, True])
def test_another_phase_drops_the_timer_and_a_call_by_command_stays(new: Phase, from_call: bool) -> None:
    engine = _market()
    engine.apply(halt("XYZ", 5))
    if from_call:
        _at(engine, 5)
        if new == Phase.AUCTION:  # the present phase
            engine.apply(phase("XYZ", Phase.OPENING_AUCTION))
    assert told(engine.apply(phase("XYZ", new))) == [f"phase 1 {new.name.lower()}"]
    assert _due(engine) == 0
    assert _at(engine, 5) == _at(engine, 5 + MINUTE) == _at(engine, DAY_NS) == []
    assert engine.instruments()["phase"][0] == new


def test_a_command_to_the_present_phase_keeps_the_timer_that_runs() -> None:
    engine = _market()
    engine.apply(halt("XYZ", 5))
    assert told(engine.apply(phase("XYZ", Phase.HALTED))) == ["rejected XYZ invalid_command"]
    assert (_at(engine, 5), told(engine.apply(phase("XYZ", Phase.AUCTION)))) == (AUCTION, AUCTION)
    assert _due(engine) == 5 + MINUTE
    assert _at(engine, 5 + MINUTE) == CONTINUOUS


@pytest.mark.parametrize("duration_ns", [0, 5, 2 * MINUTE])
def test_a_halt_in_the_call_after_a_halt_ends_that_call(duration_ns: int) -> None:
    """Its own end counts, be it before or after that of the call."""
    engine = _market()
    engine.apply(halt("XYZ", 5))
    assert _at(engine, 5) == AUCTION
    assert told(engine.apply(halt("XYZ", duration_ns))) == HALTED
    assert _due(engine) == (5 + duration_ns if duration_ns else 0)
    if duration_ns == 0:
        assert _at(engine, DAY_NS) == []
    else:
        assert _at(engine, 5 + duration_ns) == AUCTION
        assert _at(engine, 5 + duration_ns + MINUTE) == CONTINUOUS


def test_emergency_close_drops_timers_too() -> None:
    engine = _market()
    engine.apply(batch(phase("ABC", Phase.PRE_OPEN), halt("*", 5), clock(NOW + 5), halt("ABC", 5), emergency_close()))
    assert (_due(engine), _at(engine, DAY_NS)) == (0, [])
    assert engine.instruments()["phase"].tolist() == [Phase.CLOSED] * 2


@pytest.mark.parametrize("ends", sorted(set(itertools.permutations((10, 20, 20)))))
def test_what_is_due_happens_in_order_of_due_time_then_of_definition(ends: tuple[int, int, int]) -> None:
    engine = _market()
    engine.apply(batch(instrument("DEF"), *(phase(each, Phase.CONTINUOUS) for each in ("ABC", "DEF"))))
    symbols = ("XYZ", "ABC", "DEF")
    engine.apply(batch(*(halt(symbol, end) for symbol, end in zip(symbols, ends, strict=True))))
    assert _due(engine) == 10
    order = sorted(range(3), key=lambda at: (ends[at], at))
    assert _at(engine, 30) == [f"phase {1 + at} auction" for at in order]
    assert _at(engine, 30 + MINUTE) == [f"phase {n} continuous" for n in (1, 2, 3)]


def test_ends_of_halts_and_of_calls_are_one_order() -> None:
    engine = _market()
    engine.apply(batch(phase("ABC", Phase.CONTINUOUS), halt("XYZ", 10), clock(NOW + 10), halt("ABC", MINUTE - 1)))
    assert _due(engine) == 10 + MINUTE - 1
    assert _at(engine, 10 + MINUTE) == ["phase 2 auction", "phase 1 continuous"]
    engine = _market()
    engine.apply(batch(phase("ABC", Phase.CONTINUOUS), halt("XYZ", 10), clock(NOW + 10), halt("ABC", MINUTE)))
    assert _at(engine, 10 + MINUTE) == ["phase 1 continuous", "phase 2 auction"]


def test_a_new_day_begins_before_what_is_due() -> None:
    """An id of the day before is free again when an uncross that the same clock value brings has ended its order."""
    engine = _market()
    engine.apply(halt("XYZ", 5))
    assert _at(engine, 5) == AUCTION
    gtc = TimeInForce.GTC
    engine.apply(batch(*(enter(n, i, s, 5, 100_000, tif=gtc) for n, i, s in ((1, "b", BUY), (2, "s", SELL)))))
    assert _at(engine, DAY_NS) == [*CONTINUOUS, "trade 5 @ 100000 b s"]
    assert told(engine.apply(batch(enter(1, "b", BUY, 1, 90_000), enter(2, "s", SELL, 1, 110_000)))) == [
        "accepted b",
        "accepted s",
    ]
    engine.check()


TO_THE_LAST = TIME_NS_MAX - NOW
BEYOND = (-1, -(2**63), TO_THE_LAST + 1, TIME_NS_MAX, 2**63 - 1)


@pytest.mark.parametrize("symbol", ["XYZ", "ABC", "NONE", "*"])
@pytest.mark.parametrize("duration_ns", BEYOND)
def test_a_duration_below_zero_or_beyond_the_last_time_cannot_be_interpreted(symbol: str, duration_ns: int) -> None:
    engine = _market()
    assert told(engine.apply(halt(symbol, duration_ns)))[0].endswith("invalid_command")
    assert engine.instruments()["phase"].tolist() == [Phase.CONTINUOUS, Phase.CLOSED]
    assert _due(engine) == 0


def test_a_halt_may_end_at_the_last_time_and_its_call_then_never_ends_by_itself() -> None:
    engine = _market()
    engine.apply(halt("XYZ", TO_THE_LAST))
    assert engine.next_due_ns == TIME_NS_MAX
    assert told(engine.apply(clock(TIME_NS_MAX))) == AUCTION
    assert engine.next_due_ns == 0
    assert told(engine.apply(clock(TIME_NS_MAX))) == []
    assert told(engine.apply(halt("XYZ", 1))) == ["rejected XYZ invalid_command"]
    assert told(engine.apply(batch(halt("XYZ"), resume("XYZ"), phase("XYZ", Phase.CONTINUOUS)))) == [
        *HALTED,
        *AUCTION,
        *CONTINUOUS,
    ]
    engine.check()


def test_a_clock_value_that_is_refused_meets_nothing() -> None:
    engine = _market()
    engine.apply(halt("XYZ", 5))
    rows = batch(clock(NOW - 1), clock(TIME_NS_MAX + 1), clock(2**63 - 1))
    assert all(each.endswith("invalid_command") for each in told(engine.apply(rows)))
    assert (_due(engine), _at(engine, 5)) == (5, AUCTION)


JUMPS: list[Rows] = [
    clock_jump(to_ns, by_ns)
    for to_ns, by_ns in ((0, 0), (NOW + DAY_NS, DAY_NS), (NOW - 1, -1), (-1, 2**63 - 1), (2**63 - 1, -(2**63)))
]


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_of_the_clock_changes_nothing_in_the_market(jump: Rows) -> None:
    engine = _market()
    engine.apply(batch(enter(1, "b", BUY, 5, 100_000), halt("XYZ", 5), limits("P1", order_rate=(1, 5))))

    def seen() -> list[object]:
        views = (engine.open_orders(), engine.instruments(), engine.positions(), engine.participants(), engine.limits())
        return [*(each.tobytes() for each in views), engine.directory, engine.now_ns, engine.next_due_ns]

    before = seen()
    assert len(engine.apply(jump)) == 0
    assert seen() == before
    assert (_at(engine, 4), _at(engine, 5)) == ([], AUCTION)


def test_a_halted_instrument_takes_cancels_only_until_its_end() -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a", BUY, 5, 100_000), enter(1, "b", BUY, 5, 100_000), halt("XYZ", 5)))
    rows = batch(enter(2, "s", SELL, 5, 100_000), cancel(1, "a"))
    assert told(engine.apply(rows)) == ["rejected s halted", "canceled a 5 user"]
    assert _at(engine, 5) == AUCTION
    assert told(engine.apply(rows[:1])) == ["accepted s", "indicative 1 5 @ 100000 0 none"]
    assert engine.open_orders()["client_order_id"].tolist() == [pack("b"), pack("s")]
