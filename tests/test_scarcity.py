"""A disk that runs out halts the market, and room on it puts back the phases that the halt ended."""

import asyncio
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engine.records import CommandKind, Phase
from engine.reference import ReferenceEngine
from node.control import Submitted
from node.scarcity import FILE, Scarcity
from tests.rows import NANOSECONDS_2024_01_15_0930, batch, clock, halt, instrument, phase, row

SECOND_NS = 1_000_000_000


class Watch:
    """The room of a disk, as it is said to be."""

    state: Any = "fine"
    following: Any = "low"
    sentence = "the disk is said to be full"

    def look(self) -> Any:
        self.state, self.following = self.following, self.state
        return self.state


def test_phases_come_back_and_a_call_after_a_halt_ends_again(tmp_path: Path) -> None:
    engine = ReferenceEngine()
    symbols = ("XYZ", "ABC", "DEF", "GHI")
    phases = (Phase.CONTINUOUS, Phase.CONTINUOUS, Phase.CLOSING_AUCTION)
    engine.apply(batch(clock(), *(instrument(symbol) for symbol in symbols)))
    engine.apply(batch(*(phase(symbol, to) for symbol, to in zip(symbols, phases, strict=False))))
    engine.apply(batch(halt("ABC"), row(CommandKind.RESUME, name=instrument("ABC")["name"][0])))
    taken: list[NDArray[Any]] = []

    async def submit(rows: NDArray[Any]) -> Submitted:
        taken.append(rows)
        return Submitted(engine.seq + 1, rows, engine.apply(rows))

    def say(*_: object, **__: object) -> None:
        pass

    scarcity = Scarcity(Watch(), engine, submit, say, say, tmp_path)  # type: ignore[arg-type]
    before = engine.instruments()["phase"].tolist()
    assert before == [Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION, Phase.CLOSED]
    asyncio.run(scarcity.look())
    assert engine.instruments()["phase"].tolist() == [Phase.HALTED] * 3 + [Phase.CLOSED]
    asyncio.run(scarcity.look())
    assert engine.instruments()["phase"].tolist() == before
    assert [len(rows) for rows in taken] == [3, 3]
    engine.apply(clock(NANOSECONDS_2024_01_15_0930 + 60 * SECOND_NS))
    assert engine.instruments()["phase"].tolist()[:2] == [Phase.CONTINUOUS, Phase.CONTINUOUS]


def test_a_node_that_starts_again_before_there_is_room_still_puts_the_phases_back(tmp_path: Path) -> None:
    engine = ReferenceEngine()
    engine.apply(batch(clock(), instrument("XYZ"), instrument("ABC"), instrument("DEF")))
    engine.apply(batch(phase("XYZ", Phase.CONTINUOUS), phase("ABC", Phase.PRE_OPEN), phase("DEF", Phase.CONTINUOUS)))
    engine.apply(halt("DEF", duration_ns=60 * SECOND_NS))
    warned: list[object] = []

    async def submit(rows: NDArray[Any]) -> Submitted:
        return Submitted(engine.seq + 1, rows, engine.apply(rows))

    def node(watch: Watch) -> Scarcity:
        return Scarcity(watch, engine, submit, lambda *_, **__: None, lambda *_, **k: warned.append(k), tmp_path)  # type: ignore[arg-type]

    asyncio.run(node(Watch()).look())
    assert engine.instruments()["phase"].tolist() == [Phase.HALTED] * 3
    again, watch = None, Watch()
    again = node(watch)
    asyncio.run(again.look())  # low still
    assert engine.instruments()["phase"].tolist() == [Phase.HALTED] * 3
    watch.following = "fine"
    asyncio.run(again.look())
    assert engine.instruments()["phase"].tolist() == [Phase.CONTINUOUS, Phase.PRE_OPEN, Phase.HALTED]
    assert not list(tmp_path.iterdir()), "what is remembered is for one halt"
    engine.apply(clock(NANOSECONDS_2024_01_15_0930 + 60 * SECOND_NS))
    assert engine.instruments()["phase"].tolist()[2] == Phase.AUCTION, "a halt that was there before keeps its end"
    assert len(warned) == 2


def test_what_a_full_disk_cut_short_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"XYZ": "CONT')
    warned: list[str] = []
    engine = ReferenceEngine()
    Scarcity(Watch(), engine, None, lambda *_, **__: None, lambda word, **_: warned.append(word), tmp_path)  # type: ignore[arg-type]
    assert warned == ["the phases that a halt for want of room ended are lost"]
