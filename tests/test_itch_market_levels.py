"""Levels of market-wide halts in the ITCH feed: V, W and the reasons of halts are those of the market itself.

No report says which level acted, so the feed finds it by itself. After each command of random markets its opening
values and levels are those in the engine's state, and each act of a level is told once, before the halts it causes.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Engine
from engine.records import CommandKind
from marketdata.itch.snapshot import Snapshot
from notation.parse import parse
from notation.translate import Translator
from tests.itch_reader import FeedError, Reader
from tests.report_streams import CAPACITY, Block
from tests.streams import LEVEL_PLACES, random_stream
from tests.test_itch_feed import Market, with_days
from wire import itch

#: Falls in hundredths of a percent and halts of levels that act in a random market: all halt, or the deepest closes.
HALTS = (2, 10**6, 4, 10**6, 7, 10**6)
CLOSES = (2, 10**6, 4, 10**6, 6, 0)


def index_stream(seed: int, levels: tuple[int, ...], count: int = 1_500) -> NDArray[Any]:
    """A market of some days with an index that falls to its levels; others are defined and refused in it."""
    rows = with_days(random_stream(seed, count, control=0.1, garbage=0.05), seed)
    extend = rows[int(np.flatnonzero(rows["kind"] == CommandKind.INDEX)[0]) - 1]
    for place, number in zip(LEVEL_PLACES, levels, strict=True):
        extend[place] = number
    return rows


@pytest.mark.parametrize(("seed", "levels"), [(17, CLOSES), (4, HALTS), (43, CLOSES), (59, HALTS)])
def test_levels_and_opening_values_are_those_of_the_market_after_every_command(
    seed: int, levels: tuple[int, ...]
) -> None:
    engine, market, rows = Engine(CAPACITY), Market(), index_stream(seed, levels)
    acts, reached = 0, np.zeros(0, np.int64)
    for at in range(len(rows)):
        command = rows[at : at + 1]
        events = engine.apply(command)
        before = {day: len(octets) for day, octets in market.sink.sessions.items()}
        market.take(Block(at + 1, command, events))
        of_market, tables = engine._state, market.feed.tables
        count = int(of_market.venue[0]["indices"])
        assert tables.feed[0]["indices"] == count
        for name in ("members", "opening_e4", "reached"):
            assert tables.indices[name][:count].tolist() == of_market.indices[name][:count].tolist(), f"{name} at {at}"
        day = max(market.sink.sessions, default=0)
        made = [message for _, message in itch.cut(market.sink.sessions.get(day, b""), before.get(day, 0))]
        told = [n for n, message in enumerate(made) if message[0] == ord("W")]
        reached, reached_before = of_market.indices["reached"][:count].copy(), reached
        if (reached[: len(reached_before)] > reached_before).any():
            acts += 1
            level, behind = bytes(made[told[-1]][11:12]), made[told[-1] + 1 :]
            assert int(level) in reached
            states = [message[21:25] for message in behind if message[0] == ord("H")]
            assert states
            assert set(states) <= {b"MWC" + level, b"    ", b"O1  "}
            assert not [message for message in made[: told[0]] if message[21:24] == b"MWC"]
        elif day in before:
            assert not told
    assert acts


def told_after(lines: str) -> tuple[Market, list[str]]:
    """A market after a scenario, and its messages in words, without those of orders."""
    engine, market = Engine(CAPACITY), Market()
    translator = Translator(parse(lines, "lines"), engine.directory, "lines")
    while (batch := translator.next_batch(engine.directory)) is not None:
        market.take(Block(engine.seq + 1, batch.rows, engine.apply(batch.rows)))
    (session,) = market.sink.sessions.values()
    return market, words_of([message for _, message in itch.cut(session)])


def words_of(messages: list[bytes]) -> list[str]:
    said = []
    for message in messages:
        if chr(message[0]) in "VWH":
            words = itch.text_of(message).split()
            said.append(" ".join(word for word in words if not word.startswith(("stock_locate", "time_ns", "stock="))))
    return said


TWO_FALLS = """
instrument ABC tick=0.01 lot=1 reference=10.00
instrument XYZ tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA
index IDX members=ABC:4,XYZ:3 levels=7%/15m,13%/15m,20%/close
index TWO members=XYZ:1 levels=50%/close
at 2024-01-15T09:30:00
phase ABC continuous
phase XYZ continuous
enter ALPHA a1 buy 10 ABC @ 8.25
enter BETA b1 sell 10 ABC @ 8.25
at +15m
at +1m
enter ALPHA a2 buy 10 ABC @ 5.00
enter BETA b2 sell 10 ABC @ 5.00
"""


def test_two_falls_of_an_index_are_told_by_level_with_the_values_that_they_are_at() -> None:
    market, said = told_after(TWO_FALLS)
    # 4 x 10 + 3 x 20 = 100 at the opening; then 4 x 8.25 + 60 = 93, and 4 x 5 + 60 = 80.
    levels = "MWCB_LEVELS level_1_e8=9300000000 level_2_e8=8700000000 level_3_e8=8000000000"
    halted, trading = "TRADING_ACTION state=H reason=MWC1", "TRADING_ACTION state=T"
    closed, call = "TRADING_ACTION state=H", "TRADING_ACTION state=Q"
    assert said == [
        *(closed, closed, levels),
        *(trading, trading),
        *("MWCB_STATUS level=1", halted, halted),
        *(call, call, trading, trading),
        *("MWCB_STATUS level=3", closed, closed),
    ]
    # A snapshot tells the values, and the deepest level of the day.
    pieces = Snapshot(market.feed).framed(0)
    reader, made = Reader(), [message for piece in pieces for _, message in itch.cut(piece)]
    for message in made:
        reader.take(message)
    assert words_of(made) == [closed, closed, levels, "MWCB_STATUS level=3"]
    assert reader.market_levels == (9_300_000_000, 8_700_000_000, 8_000_000_000)
    assert reader.market_reached == 3


def test_a_day_begins_with_the_opening_values_of_it_and_no_level() -> None:
    market, _ = told_after(TWO_FALLS)
    engine = Engine(CAPACITY)
    translator = Translator(parse(TWO_FALLS + "at 2024-01-16T09:30:00\n", "lines"), engine.directory, "lines")
    market = Market()
    while (batch := translator.next_batch(engine.directory)) is not None:
        market.take(Block(engine.seq + 1, batch.rows, engine.apply(batch.rows)))
    said = words_of([message for _, message in itch.cut(market.sink.sessions[max(market.sink.sessions)])])
    # The last prices are 5.00 and 20.00: 80, and 7%, 13% and 20% below it.
    assert said[2:] == ["MWCB_LEVELS level_1_e8=7440000000 level_2_e8=6960000000 level_3_e8=6400000000"]
    assert int(market.feed.tables.indices[0]["reached"]) == 0


@pytest.mark.parametrize(("seed", "levels"), [(17, CLOSES), (4, HALTS)])
def test_messages_of_levels_are_the_same_whatever_the_blocks_and_after_an_image(
    seed: int, levels: tuple[int, ...]
) -> None:
    rows = index_stream(seed, levels)
    engine, straight, cut = Engine(CAPACITY), Market(), Market(room_rows=3)
    for at in range(0, len(rows), 7):
        block = Block(at + 1, rows[at : at + 7], engine.apply(rows[at : at + 7]))
        straight.take(block)
        cut.take(block)
        if at % 3 == 0:  # go on from images
            after = Market()
            after.reports.restore(cut.reports.image(), cut.reports.seq)
            after.feed.restore({name: array.copy() for name, array in cut.feed.image().items()}, cut.reports.seq)
            after.sink = after.feed._on_messages = cut.sink
            cut = after
    assert any(message[0] == ord("W") for octets in cut.sink.sessions.values() for _, message in itch.cut(octets))
    assert cut.sink.sessions == straight.sink.sessions
    assert cut.feed.digest() == straight.feed.digest()


def test_parsers_of_others_read_the_levels() -> None:
    market, said = told_after(TWO_FALLS)
    (session,) = market.sink.sessions.values()
    wanted = [word for word in said if word.startswith("MWCB")]
    for module in ("itch.parser", "itchcpp"):
        parser = pytest.importorskip(module, reason="not installed")
        read = [each for each in parser.MessageParser().parse_stream(session) if each.to_bytes()[:1] in (b"V", b"W")]
        assert [words_of([each.to_bytes()])[0] for each in read] == wanted
        levels = [each for each in read if each.to_bytes()[:1] == b"V"]
        assert [each.level1_price for each in levels] == [9_300_000_000]


def test_a_reader_finds_a_level_that_nobody_has_told() -> None:
    """The control: without its V a W is a fault."""
    market, _ = told_after(TWO_FALLS)
    (session,) = market.sink.sessions.values()
    reader = Reader()
    messages = [message for _, message in itch.cut(session) if message[0] != ord("V")]
    with pytest.raises(FeedError, match="level 1 is reached"):
        list(map(reader.take, messages))
