"""A disk that runs out halts the market, and room on it puts back the phases that the halt ended."""

import asyncio
from typing import Any

from numpy.typing import NDArray

from engine.records import CommandKind, Phase
from engine.reference import ReferenceEngine
from node.control import Submitted
from node.scarcity import Scarcity
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


def test_phases_come_back_and_a_call_after_a_halt_ends_again() -> None:
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

    scarcity = Scarcity(Watch(), engine, submit, say, say)  # type: ignore[arg-type]
    before = engine.instruments()["phase"].tolist()
    assert before == [Phase.CONTINUOUS, Phase.AUCTION, Phase.CLOSING_AUCTION, Phase.CLOSED]
    asyncio.run(scarcity.look())
    assert engine.instruments()["phase"].tolist() == [Phase.HALTED] * 3 + [Phase.CLOSED]
    asyncio.run(scarcity.look())
    assert engine.instruments()["phase"].tolist() == before
    assert [len(rows) for rows in taken] == [1, 3]
    engine.apply(clock(NANOSECONDS_2024_01_15_0930 + 60 * SECOND_NS))
    assert engine.instruments()["phase"].tolist()[:2] == [Phase.CONTINUOUS, Phase.CONTINUOUS]
