"""A standby takes over in each phase: what waits, rests or sleeps then is at the new primary as it was, and goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from engine.interface import MarketEngine
from engine.records import Phase
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.translate import Translator
from replay.difference import VIEWS
from replay.rebuild import rebuild
from replication.register import Register
from tests.rows import Rows, events_of
from tests.test_node_pair import CAPACITY, Member, until, with_pair

#: One order of each kind that may wait, rest or sleep.
_BEGUN: Final = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint volatility=10%/1m/5m
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA q1 buy 10 XYZ @ 9.90 tif=gtc
enter BETA q2 sell 10 XYZ @ 10.10 tif=gtc
enter ALPHA i1 sell 20 XYZ @ 10.10 display=4 tif=gtc
enter ALPHA h1 buy 6 XYZ @ 9.90 hidden tif=gtc
enter ALPHA s1 buy 3 XYZ @ 10.20 stop=10.10 tif=gtc
enter BETA p1 buy 5 XYZ @ market peg=primary tif=gtc
enter ALPHA m1 buy 2 XYZ @ market book=midpoint tif=gtc
enter BETA c1 sell 4 XYZ @ 9.95 tif=closing
"""
_CROSSING: Final = "enter BETA x1 sell 8 XYZ @ 9.90 tif=gtc\nenter ALPHA x2 buy 1 XYZ @ market\n"
#: Commands that wait for their effect when the standby takes over; no clock value of the test is as late.
_DELAYED: Final = "venue speed_bump=10h\nenter BETA d1 sell 1 XYZ @ 10.10 tif=gtc\ncancel ALPHA q1\n"
#: Commands to the new primary: an uncross, where there is one, with all that it causes; and the end of every order.
_AFTER: Final = "phase XYZ continuous\ncross ALPHA y1 1 XYZ @ 10.00 buyer=ALPHA seller=BETA\nemergency_close\n"
#: Commands that bring each phase.
_PHASES: Final = {
    "pre_open": "phase XYZ pre_open\n" + _CROSSING,
    "opening_auction": "phase XYZ opening_auction\n" + _CROSSING,
    "continuous": "",
    "halted": "halt XYZ for=10h\n",
    "auction": "phase XYZ auction\n" + _CROSSING,
    "closing_auction": "phase XYZ closing_auction\n" + _CROSSING,
    "closed": "phase XYZ closed\n",
}


def batches(text: str, engine: MarketEngine) -> Iterator[Rows]:
    """Rows of a text, as far as the names that the engine knows reach, again and again."""
    translator = Translator(parse(text, "story"), engine.directory)
    while (found := translator.next_batch(engine.directory)) is not None:
        yield found.rows


def without_a_break(*texts: str) -> list[str]:
    """Events that the last of the texts causes in a market without a pair."""
    engine, told = ReferenceEngine(CAPACITY), list[str]()
    for text in texts:
        told = [line for rows in batches(text, engine) for line in events_of(engine.apply(rows))]
    return told


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("phase", _PHASES)
def test_a_standby_takes_over_in_each_phase(phase: str, tmp_path: Path) -> None:
    before = _BEGUN + _PHASES[phase] + _DELAYED
    wanted = without_a_break(before, _AFTER)
    assert any(line.startswith("trade ") for line in wanted)
    assert sum(line.startswith("canceled ") for line in wanted) >= 6, "each kind of order is still there"
    digests: list[bytes] = []

    async def story(_: Register, a: Member, b: Member) -> None:
        for rows in batches(before, a.node.engine):
            await a.node.submit(rows)
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        a.kill()
        await until(lambda: b.node.reigns)
        assert int(b.node.engine.instruments()["phase"][0]) == Phase[phase.upper()]
        assert [len(waiting) for waiting in (a.node.engine.waiting().seq, b.node.engine.waiting().seq)] == [2, 2]
        for view in VIEWS:
            shown = [getattr(member.node.engine, view)().tobytes() for member in (a, b)]
            assert shown[0] == shown[1], view
        told = [
            line for rows in batches(_AFTER, b.node.engine) for line in events_of((await b.node.submit(rows)).events)
        ]
        assert told == wanted
        b.node.engine.check()
        digests.append(b.node.engine.event_digest)

    with_pair(tmp_path, story)
    replayed = rebuild(tmp_path / "b", engine="reference", use_checkpoints=False).engine
    assert [replayed.event_digest] == digests


@pytest.mark.parametrize("lost", ["q1", "q2", "i1", "h1", "s1", "p1", "m1", "c1", "x1", "x2"])
def test_an_order_that_a_takeover_lost_would_show(lost: str) -> None:
    """The control: what follows the takeover tells each order apart."""
    lines = (_BEGUN + _PHASES["closing_auction"]).splitlines(keepends=True)
    rest = "".join(line for line in lines if f" {lost} " not in line)
    assert without_a_break(rest, _AFTER) != without_a_break("".join(lines), _AFTER)
