"""A reader of ITCH that nobody here wrote has the whole depth of our book behind every message of a day.

Behind each command the expected depth is that of the engine's own book. Between the messages of one command the engine
has no book: there it is that of the reader of ``tests/itch_reader.py``, written from the specification alone.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from engine import Engine
from engine.records import CommandKind, Instruction, TimeInForce
from marketdata.itch import session_name
from tests.itch_reader import Reader
from tests.report_streams import CAPACITY, Block, user_stream
from tests.test_itch_feed import Market, shown
from wire import itch

#: (price_e4, shares) of each level, the best first, by instrument and side (1 buys, -1 sells).
Depth = dict[tuple[int, int], list[tuple[int, int]]]
#: Levels of a side that itch-book tells at most.
LEVELS_MAX = 50
KEYS = [(number, side) for number in range(1, CAPACITY.instruments_max + 1) for side in (1, -1)]


class Day(NamedTuple):
    """The longest day of a stream: its number, its messages, and the engine's depth by messages before it."""

    day: int
    messages: list[bytes]
    depths: dict[int, Depth]


def levels(orders: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(price, sum(shares for _, shares in same)) for price, same in groupby(orders, key=lambda order: order[0])]


def own_day(seed: int, count: int) -> Day:
    engine, market, rows = Engine(CAPACITY), Market(), user_stream(seed, count)
    entered = rows[rows["kind"] == CommandKind.ENTER]
    if seed % 5 != 3:  # not where calls alone are
        assert set(TimeInForce) <= set(entered["time_in_force"].tolist())
        assert not sum(Instruction) & ~int(np.bitwise_or.reduce(entered["instructions"])), "every order type is entered"
    depths: dict[int, dict[int, Depth]] = {}
    for at in range(len(rows)):
        market.take(Block(at + 1, rows[at : at + 1], engine.apply(rows[at : at + 1])))
        if market.sink.sessions:
            day = max(market.sink.sessions)
            known = range(1, len(engine.directory.symbols) + 1)
            sides = {number: shown(engine, number) for number in known}
            depths.setdefault(day, {})[market.sink.next[day] - 1] = {
                (number, side): levels(sides[number][side]) if number in sides else [] for number, side in KEYS
            }
    day = max(depths, key=lambda day: market.sink.next[day])
    return Day(day, [message for _, message in itch.cut(market.sink.sessions[day])], depths[day])


def of_itch_book(directory: Path, day: int, messages: list[bytes]) -> Iterator[Depth]:
    """Depth behind each message by itch-book."""
    itch_book = pytest.importorskip("itch_book", reason="itch-book is not installed")
    name = session_name(day)
    path = directory / f"{name[4:6]}{name[6:8]}{name[:4]}.NASDAQ_ITCH50"
    path.write_bytes(b"".join(len(message).to_bytes(2, "big") + message for message in messages))
    rows: dict[int, tuple[int, Depth]] = {}
    for batch in itch_book.open(str(path), price_type="fixed").batches(tables=("depth",), depth=LEVELS_MAX):
        columns = {name: values.tolist() for name, values in batch.depth.items()}
        for row, (seq, locate) in enumerate(zip(columns["seq"], columns["locate"], strict=True)):
            sides = {
                (locate, side): [
                    (columns[f"{word}_px_{level:02}"][row], columns[f"{word}_sz_{level:02}"][row])
                    for level in range(LEVELS_MAX)
                    if columns[f"{word}_sz_{level:02}"][row]
                ]
                for word, side in (("bid", 1), ("ask", -1))
            }
            assert seq not in rows
            rows[seq] = locate, sides
    depth: Depth = {key: [] for key in KEYS}
    for number in range(1, len(messages) + 1):
        depth = {**depth, **rows[number][1]} if number in rows else depth
        yield depth


def expected(day: Day) -> Iterator[Depth]:
    """Depth behind each message: the engine's where a command ends."""
    reader = Reader()
    for number, message in enumerate(day.messages, 1):
        reader.take(message)
        yield day.depths.get(number) or {key: levels(reader.side(*key)) for key in KEYS}


def first_difference(directory: Path, day: Day, messages: list[bytes]) -> str:
    """First place where itch-book, which gets ``messages``, has another depth than the day. Empty: none."""
    both = zip(of_itch_book(directory, day.day, messages), expected(day), strict=True)
    for number, (theirs, ours) in enumerate(both, 1):
        for key in KEYS:
            if theirs.get(key, []) != ours[key][:LEVELS_MAX]:
                return f"{key} behind message {number}: itch-book has {theirs[key][:5]}, the book {ours[key][:5]}"
    return ""


@pytest.mark.parametrize(
    ("seed", "count"),
    [(0, 800), *(pytest.param(seed, 4_000, marks=pytest.mark.slow) for seed in (0, 1, 2, 3, 4, 5, 6, 8))],
)
def test_itch_book_has_the_depth_of_our_book_behind_every_message(tmp_path: Path, seed: int, count: int) -> None:
    day = own_day(seed, count)
    assert not first_difference(tmp_path, day, day.messages)


@pytest.mark.parametrize(("seed", "kinds"), [(0, "AEXDU"), pytest.param(3, "C", marks=pytest.mark.slow)])
def test_a_message_that_is_left_out_is_another_depth_by_itch_book(tmp_path: Path, seed: int, kinds: str) -> None:
    day = own_day(seed, 800)
    for kind in kinds:
        at = next(at for at, message in enumerate(day.messages) if message[0] == ord(kind))
        silent = itch.message_of(itch.ItchMessage.SYSTEM_EVENT, {"event": "Q"})  # what comes behind keeps its number
        without = [*day.messages[:at], silent, *day.messages[at + 1 :]]
        assert f"behind message {at + 1}:" in first_difference(tmp_path, day, without), kind
