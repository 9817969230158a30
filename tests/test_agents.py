"""Agents (`tape.agents`): what works in a program, with counters that who measures it reads."""

import pytest

from tape.agents import Always, Call, Measured


def test_counters_have_turns_work_and_the_time_of_turns_that_found_some() -> None:
    left = [3, 0, 2]
    measured = Measured(Call("taker", lambda: left.pop() if left else 0))
    assert [measured.turn() for _ in range(5)] == [2, 0, 3, 0, 0]
    counters = measured.counters
    assert (measured.agent.name, counters.turns, counters.worked) == ("taker", 5, 5)
    assert counters.busy_ns > 0
    idle = Measured(Call("idle", lambda: 0))
    idle.turn()
    assert (idle.counters.turns, idle.counters.worked, idle.counters.busy_ns) == (1, 0, 0)


def test_an_agent_that_always_works_counts_its_calls() -> None:
    called: list[int] = []
    measured = Measured(Always("clock", lambda: called.append(1)))
    assert [measured.turn() for _ in range(7)] == [1] * 7
    assert (measured.counters.worked, len(called)) == (7, 7)


def test_what_an_agent_raises_reaches_who_calls_it() -> None:
    def fail() -> int:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        Measured(Call("faulty", fail)).turn()
