"""A disk that runs out halts the market, and room on it puts back the phases that the halts ended."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Engine
from engine.names import Directory, pack
from engine.records import COMMAND, CommandKind, EventKind, Phase
from engine.reference import ReferenceEngine
from engine.row_bytes import ROW
from node.core.control import OperationRefused, SubmissionResult
from node.core.halts_in_journal import LIST, RESUME, HaltSearch, halt_rows, is_list
from node.core.scarcity import FULL_TURN_NS, Scarcity
from node.core.suspension import FILE, Suspension
from notation.parse import parse
from notation.print import row_text
from replication.register import Register
from tests.limit_rows import resume
from tests.nodes import SMALL
from tests.rows import NANOSECONDS_2024_01_15_0930 as MORNING_NS
from tests.rows import batch, clock, halt, instrument, phase, row, schedule
from tests.test_node_pair import Member, start_rows, with_pair

SECOND_NS = 1_000_000_000
HALTED, CONTINUOUS, AUCTION = Phase.HALTED, Phase.CONTINUOUS, Phase.AUCTION


class Watch:
    """The room of a disk, as it is said to be."""

    state: Any = "fine"
    sentence = "the disk is said to be full"

    def sentence_for(self, then: str) -> str:
        return f"the disk is said to be full, so {then}"

    def __init__(self) -> None:
        self.next: Any = "fine"

    def look(self) -> Any:
        self.state = self.next
        return self.state


class Venue:
    """A market of instruments in given phases, a disk, and a node that starts again whenever it is asked to."""

    def __init__(self, directory: Path, **phases: Phase) -> None:
        self.directory, self.watch, self.engine = directory, Watch(), ReferenceEngine()
        self.warned: list[str] = []
        self.refusing = ""
        self.now_ns = MORNING_NS
        self.journal: list[NDArray[Any]] = []
        self.applies(batch(clock(), *(instrument(symbol) for symbol in phases)))
        for symbol, at in phases.items():
            self.applies(phase(symbol, at))
        self.restarts()

    def applies(self, rows: NDArray[Any]) -> NDArray[Any]:
        self.journal.append(rows)
        return self.engine.apply(rows)

    def restarts(self) -> None:
        self.starts()
        asyncio.run(self.suspension.recall())

    def starts(self) -> None:
        """Start again, and look for nothing in the journal yet."""

        def warn(word: str, **_: Any) -> None:
            self.warned.append(word)

        self.suspension = Suspension(
            self.engine, self._submit, lambda: self.now_ns, warn, self.directory, lambda: reversed(self.journal)
        )
        self.scarcity = Scarcity(
            self.watch,  # type: ignore[arg-type]
            self.engine,
            self.suspension,
            lambda *_, **__: None,
            warn,
        )

    async def _submit(self, rows: NDArray[Any]) -> SubmissionResult:
        if self.refusing:
            raise OperationRefused(self.refusing)
        return SubmissionResult(self.engine.seq + 1, rows, self.applies(batch(clock(self.now_ns), rows)))

    def looks(self, room: str, times: int = 2) -> list[int]:
        """The phases after as many looks at a disk that is so."""
        self.watch.next = room
        for _ in range(times):
            asyncio.run(self.scarcity.look())
        return self.phases()

    def commands(self, rows: NDArray[Any]) -> None:
        """An operator's."""
        self.suspension.commanded(rows)
        self.applies(rows)

    def passes(self, seconds: int) -> list[int]:
        self.now_ns += seconds * SECOND_NS
        self.applies(clock(self.now_ns))
        return self.phases()

    def schedules(self, symbol: str, **seconds: int) -> None:
        """Phases by name that come in so many seconds."""
        for name, after in seconds.items():
            self.applies(schedule(symbol, self.now_ns + after * SECOND_NS, Phase[name.upper()]))

    def phases(self) -> list[int]:
        phases: list[int] = self.engine.instruments()["phase"].tolist()
        return phases


def test_phases_come_back_and_a_call_after_a_halt_ends_again(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=CONTINUOUS, DEF=Phase.CLOSING_AUCTION, GHI=Phase.CLOSED)
    venue.commands(batch(halt("ABC"), resume("ABC")))
    before = [CONTINUOUS, AUCTION, Phase.CLOSING_AUCTION, Phase.CLOSED]
    assert venue.phases() == before
    assert venue.looks("low") == [HALTED, HALTED, HALTED, Phase.CLOSED]
    assert venue.looks("fine") == before
    assert venue.passes(60)[:2] == [CONTINUOUS, CONTINUOUS]


def test_a_call_that_an_operator_began_comes_back_without_an_end(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=AUCTION)
    assert venue.looks("low") == [HALTED]
    assert venue.looks("fine") == [AUCTION]
    assert venue.passes(3_600) == [AUCTION]


def test_what_gets_open_while_room_is_low_is_halted_again_and_put_back_later(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=CONTINUOUS)
    venue.commands(halt("XYZ", duration_ns=60 * SECOND_NS))
    assert venue.looks("low") == [HALTED, HALTED]
    assert venue.passes(60) == [AUCTION, HALTED], "a halt that was there before keeps its end"
    assert venue.looks("low") == [HALTED, HALTED]
    venue.commands(phase("ABC", CONTINUOUS))
    assert venue.looks("low") == [HALTED, HALTED]
    assert venue.looks("fine") == [AUCTION, CONTINUOUS]
    assert venue.passes(60) == [CONTINUOUS, CONTINUOUS]


def test_what_an_operator_halts_meanwhile_stays_halted(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=CONTINUOUS)
    venue.looks("low")
    venue.commands(halt("XYZ"))
    venue.restarts()
    assert venue.looks("fine") == [HALTED, CONTINUOUS]
    venue.looks("low")
    venue.commands(halt("*"))
    assert venue.looks("fine") == [HALTED, HALTED]


def test_a_node_that_starts_again_before_there_is_room_still_puts_the_phases_back(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=Phase.PRE_OPEN)
    assert venue.looks("low") == [HALTED] * 2
    venue.restarts()
    assert venue.looks("low") == [HALTED] * 2
    venue.restarts()
    assert venue.looks("fine") == [CONTINUOUS, Phase.PRE_OPEN]
    assert not list(tmp_path.iterdir()), "what is remembered is for one shortage"
    assert set(venue.warned) == {"room"}


def test_phases_that_may_not_be_put_back_yet_are_tried_again_and_told_once(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.looks("low")
    venue.warned.clear()
    venue.refusing = "nothing is opened: the clock is not kept"
    assert venue.looks("fine", 5) == [HALTED]
    venue.restarts()
    assert venue.looks("fine", 5) == [HALTED]
    assert venue.warned == ["phases are not restored yet"] * 2
    venue.refusing = ""
    assert venue.looks("fine") == [CONTINUOUS]


def test_what_a_full_disk_cut_short_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"XYZ": "CONT')
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    assert venue.warned == ["the phases before the node's halt are lost"]
    assert venue.looks("fine") == [CONTINUOUS]


def test_while_it_drains_whatever_opens_is_halted_again_and_all_phases_come_back_at_its_end(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=CONTINUOUS, DEF=Phase.CLOSED)
    venue.commands(halt("ABC", duration_ns=60 * SECOND_NS))
    venue.scarcity.draining = True
    assert venue.looks("fine") == [HALTED, HALTED, Phase.CLOSED]
    assert venue.passes(60) == [HALTED, AUCTION, Phase.CLOSED]
    assert venue.looks("fine") == [HALTED, HALTED, Phase.CLOSED]
    asyncio.run(venue.suspension.put_back())
    assert venue.phases() == [CONTINUOUS, AUCTION, Phase.CLOSED]


def test_a_node_that_was_killed_while_it_drained_puts_the_phases_back_at_its_next_start(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.scarcity.draining = True
    assert venue.looks("fine") == [HALTED]
    venue.restarts()
    assert venue.looks("fine") == [CONTINUOUS]


def test_a_halt_that_comes_while_phases_are_put_back_is_put_back_too(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)

    async def both() -> None:
        await venue.suspension.halt()
        await asyncio.gather(venue.suspension.put_back(), venue.suspension.halt())
        await venue.suspension.put_back()

    asyncio.run(both())
    assert venue.phases() == [CONTINUOUS]


def test_a_schedule_that_came_while_the_node_had_halted_is_made_up_for(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=Phase.PRE_OPEN, ABC=Phase.PRE_OPEN, DEF=CONTINUOUS)
    venue.schedules("*", opening_auction=60, continuous=120)
    venue.schedules("ABC", closing_auction=130)
    venue.looks("low")
    assert venue.passes(90) == [HALTED] * 3
    assert venue.looks("fine") == [Phase.OPENING_AUCTION] * 3
    assert venue.looks("low") == [HALTED] * 3
    assert venue.passes(60) == [HALTED] * 3
    venue.looks("low")
    venue.restarts()
    assert venue.looks("fine") == [CONTINUOUS, Phase.CLOSING_AUCTION, CONTINUOUS]


def test_a_node_that_was_killed_while_it_drained_follows_the_schedules_that_came_while_it_was_down(
    tmp_path: Path,
) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=Phase.PRE_OPEN)
    venue.schedules("XYZ", closing_auction=60, closed=120, pre_open=180)
    venue.schedules("ABC", opening_auction=60, continuous=120)
    venue.scarcity.draining = True
    venue.looks("fine")
    venue.restarts()
    venue.now_ns += 200 * SECOND_NS
    assert venue.looks("fine") == [Phase.PRE_OPEN, CONTINUOUS], "the day is over for XYZ, and its next one begins"


@pytest.mark.parametrize("looked_s", [0.0, 59.0, 59.5, 59.9])
def test_a_schedule_that_came_between_a_look_of_the_node_and_its_end_is_made_up_for(
    tmp_path: Path, looked_s: float
) -> None:
    """The engine has forgotten it, and the node was killed before it saw the phase that it brought."""
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=Phase.PRE_OPEN, DEF=CONTINUOUS)
    venue.schedules("XYZ", closing_auction=60)
    venue.schedules("ABC", opening_auction=59, continuous=60)
    venue.schedules("DEF", closed=60)
    venue.looks("low")
    began_ns = venue.now_ns
    for at_s in (30.0, 58.5, 59.0, 59.5, looked_s):
        if at_s <= looked_s:
            venue.now_ns = began_ns + int(at_s * SECOND_NS)
            venue.applies(clock(venue.now_ns))
            venue.looks("low", 1)
    if looked_s:
        venue.now_ns = began_ns + 60 * SECOND_NS
        venue.applies(clock(venue.now_ns))
    venue.restarts()
    venue.now_ns = began_ns + 61 * SECOND_NS
    assert venue.looks("fine") == [Phase.CLOSING_AUCTION, CONTINUOUS, Phase.CLOSED]


def test_a_schedule_that_is_listed_before_it_comes_is_waited_for(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.schedules("XYZ", closing_auction=60)
    venue.looks("low")
    venue.passes(59)
    venue.looks("low")
    venue.restarts()
    assert list(venue.suspension._ended.values()) == [Phase.CLOSING_AUCTION], "the control: it is listed"
    clocks = iter((0.2, 0.9, 1.1))
    venue.suspension._clock = lambda: venue.now_ns + int(next(clocks, 1.1) * SECOND_NS)
    with pytest.MonkeyPatch.context() as patch:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(round(seconds, 3))

        patch.setattr("node.core.suspension.asyncio.sleep", sleep)
        venue.watch.next = "fine"
        asyncio.run(venue.scarcity.look())
    assert slept[-2:] == [0.8, 0.1]
    assert venue.phases() == [Phase.CLOSING_AUCTION]


def test_phases_that_could_not_be_listed_are_listed_later(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.schedules("XYZ", closing_auction=60)
    venue.looks("low")
    venue.refusing = "the clock is not synchronized"
    venue.passes(60)
    venue.looks("low")
    venue.refusing = ""
    venue.looks("low")
    venue.restarts()
    assert venue.looks("fine") == [Phase.CLOSING_AUCTION]


def test_phases_are_not_put_back_in_the_moment_in_which_a_schedule_comes(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.schedules("XYZ", closing_auction=60)
    venue.looks("low")
    venue.passes(59)
    began_s = time.monotonic()
    venue.suspension._clock = lambda: venue.now_ns + int((0.9 + time.monotonic() - began_s) * SECOND_NS)
    assert venue.looks("fine") == [Phase.CLOSING_AUCTION]
    assert time.monotonic() - began_s >= 0.1


def test_halts_of_a_reign_count_in_every_later_one_and_those_of_an_operator_stay(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=Phase.CLOSING_AUCTION, DEF=CONTINUOUS)
    venue.looks("low")
    venue.commands(halt("DEF"))
    assert venue.suspension.left_halted() == ["DEF"]
    for name in ("A", "B", "A"):
        venue.starts()
        venue.suspension.succeed()
        venue.applies(row(CommandKind.EPOCH, epoch=venue.engine.epoch + 1, name=pack(name)))
        assert venue.suspension.left_halted() == ["XYZ", "ABC", "DEF"], "nothing was looked for yet"
        asyncio.run(venue.suspension.recall())
        assert venue.suspension.left_halted() == ["DEF"]
    assert venue.looks("fine") == [CONTINUOUS, Phase.CLOSING_AUCTION, HALTED]
    assert not list(tmp_path.iterdir()), "the journal has it all"


def test_a_schedule_that_comes_with_a_reign_decides_on_the_phase_to_restore(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=Phase.PRE_OPEN, DEF=Phase.PRE_OPEN)
    venue.schedules("XYZ", closing_auction=60)
    venue.schedules("ABC", opening_auction=10, continuous=60)
    venue.schedules("DEF", opening_auction=10)
    venue.looks("low")
    venue.passes(20)
    venue.looks("low")  # the list has what the schedules of ABC and DEF have come to
    venue.starts()
    venue.suspension.succeed()
    assert venue.passes(60) == [HALTED] * 3
    asyncio.run(venue.suspension.recall())
    assert venue.looks("fine") == [Phase.CLOSING_AUCTION, CONTINUOUS, Phase.OPENING_AUCTION]


def test_what_the_successor_of_a_primary_must_not_restore(tmp_path: Path) -> None:
    """Halts with an end, halts that came behind the node's, and instruments that were opened meanwhile."""
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=CONTINUOUS, DEF=CONTINUOUS, GHI=CONTINUOUS)
    venue.looks("low")
    venue.commands(batch(phase("XYZ", CONTINUOUS), halt("XYZ", duration_ns=60 * SECOND_NS)))
    venue.commands(halt("ABC"))
    venue.commands(phase("DEF", Phase.PRE_OPEN))
    venue.restarts()
    assert venue.looks("fine") == [HALTED, HALTED, Phase.PRE_OPEN, CONTINUOUS]
    assert venue.passes(60) == [AUCTION, HALTED, Phase.PRE_OPEN, CONTINUOUS]


def test_what_an_operator_halts_while_the_journal_is_searched_stays_halted(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS, ABC=CONTINUOUS)
    venue.looks("low")
    venue.starts()

    def past() -> Iterator[NDArray[Any]]:
        yield clock()
        venue.commands(halt("XYZ"))
        yield from reversed(venue.journal[:-1])  # the search began before it

    venue.suspension._past = past
    asyncio.run(venue.suspension.recall())
    assert venue.looks("fine") == [HALTED, CONTINUOUS]


def test_without_the_list_a_halt_is_of_somebody_else(tmp_path: Path) -> None:
    """Negative control: it is the list that says whose a halt is."""
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.looks("low", 1)
    halts = venue.journal[-1]
    assert is_list(halts).any()
    venue.journal[-1] = halts[halts["kind"] != CommandKind.MEMBERS]
    venue.restarts()
    assert venue.looks("fine") == [HALTED]
    assert venue.suspension.left_halted() == ["XYZ"]


@pytest.mark.parametrize("count", [1, 2, 3, 64, 130])
def test_a_list_of_any_length_is_read_as_it_was_written_and_as_its_text_is(count: int) -> None:
    phases = {
        pack(f"S{number}"): (int(Phase.CONTINUOUS), int(Phase.PRE_OPEN), RESUME)[number % 3] for number in range(count)
    }
    rows = halt_rows(list(phases), phases)
    assert is_list(rows).any()
    assert not is_list(rows[:count]).any()
    search = HaltSearch({*phases, pack("OTHER")})
    assert not search.take(rows)
    assert search.phases == phases
    text = [row_text(ROW.unpack(each.tobytes()), Directory()) for each in rows]
    assert text[0] == "halt S0"
    assert text[count] == ("members halted S0:4,S1:2" if count > 1 else "members halted S0:4")
    again = [np.frombuffer(line.row, COMMAND) for line in parse("\n".join(text), "list")]
    assert batch(*again).tobytes() == rows.tobytes()


def test_a_list_causes_no_event_in_either_engine_and_is_no_index() -> None:
    for engine in (ReferenceEngine(), Engine(SMALL)):
        engine.apply(batch(clock(), instrument("XYZ"), phase("XYZ", CONTINUOUS), halt("XYZ")))
        assert len(engine.apply(halt_rows([], {pack("XYZ"): int(CONTINUOUS)}))) == 0
        index = row(CommandKind.INDEX, name=LIST)
        extend = row(CommandKind.EXTEND, level_1_bps=700, level_1_ns=0)
        assert engine.apply(batch(extend, index))["kind"].tolist() == [EventKind.REJECTED]


def test_a_search_ends_once_each_halt_was_found() -> None:
    search = HaltSearch({pack("XYZ"), pack("ABC")})
    assert not search.take(halt("ABC"))
    assert search.take(batch(halt("*"), clock()))
    assert search.phases == {}


@pytest.mark.parametrize(
    ("kept", "after"),
    [
        ('{"XYZ": "CONTINUOUS"}', [CONTINUOUS]),
        ('{"epoch": 0, "phases": {"XYZ": "AUCTION"}}', [AUCTION]),
        ('{"epoch": 7, "phases": {"XYZ": "AUCTION"}}', [HALTED]),
    ],
)
def test_phases_that_an_earlier_release_wrote_are_put_back_and_journaled(
    tmp_path: Path, kept: str, after: list[int]
) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.applies(halt("XYZ"))
    (tmp_path / FILE).write_text(kept)
    for _ in range(2):
        venue.restarts()
        assert not (tmp_path / FILE).exists()
    assert venue.looks("fine") == after


def test_with_a_full_disk_turns_come_one_by_one_with_a_pause_and_none_when_the_room_is_gone(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    assert venue.looks("full") == [HALTED], "new orders are refused"
    assert not venue.scarcity.takes_all
    seq = venue.engine.seq

    def may_take(durable_seq: int, now_ns: int) -> bool:
        return venue.scarcity.may_take(durable_seq, now_ns)

    now_ns = SECOND_NS
    assert not may_take(seq - 1, now_ns), "the last turn is on its way to the disk"
    assert not may_take(seq, now_ns + FULL_TURN_NS - 1)
    assert may_take(seq, now_ns + FULL_TURN_NS)
    venue.passes(1)
    now_ns += FULL_TURN_NS
    assert not may_take(seq + 1, now_ns)
    assert may_take(seq + 1, now_ns + FULL_TURN_NS)
    venue.watch.next = "gone"
    assert not may_take(seq + 1, now_ns + 2 * FULL_TURN_NS), "the room is looked at for each"
    venue.watch.next = "low"
    assert may_take(seq + 1, now_ns + 2 * FULL_TURN_NS)
    assert may_take(0, 0), "with more room nothing is counted"
    assert venue.scarcity.takes_all


def test_a_copy_whose_disk_runs_out_does_not_say_that_it_rejects_orders(tmp_path: Path) -> None:
    venue = Venue(tmp_path, XYZ=CONTINUOUS)
    venue.watch.next = "low"
    venue.scarcity.follows = True
    asyncio.run(venue.scarcity.look())
    assert venue.warned == ["room"]
    assert "would reject new orders after a takeover" in venue.scarcity.sentence
    venue.scarcity.follows = False
    assert venue.scarcity.sentence == venue.watch.sentence


def test_the_report_of_a_pair_says_that_the_disk_of_a_node_is_low(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        for each in (a, b):
            assert each.node.pair_status()["warnings"] == []
            each.node.scarcity._watch.state = "low"
        (of_primary,), (of_copy,) = (each.node.pair_status()["warnings"] for each in (a, b))
        assert "new orders are rejected and cancels work" in of_primary
        assert "would reject new orders after a takeover" in of_copy
        assert a.node.pair_status()["state"] == "reigning"

    with_pair(tmp_path, story)
