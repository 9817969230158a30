"""A reader of ITCH that nobody here wrote has the whole depth of our book behind every message of a day.

Behind each command the expected depth is that of the engine's own book. Between the messages of one command the engine
has no book: there it is that of the reader of ``tests/itch_reader.py``, written from the specification alone.
"""

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

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
os.environ["ITCH_NO_CPP"] = "1"  # or itchfeed is itchcpp under another name where both are installed
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "count"),
    [(0, 800), *(pytest.param(seed, 4_000, marks=pytest.mark.slow) for seed in (0, 1, 2, 3, 4, 5, 6, 8))],
)
def test_itch_book_has_the_depth_of_our_book_behind_every_message(tmp_path: Path, seed: int, count: int) -> None:
    day = own_day(seed, count)
    assert not first_difference(tmp_path, day, day.messages)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "kinds"), [(0, "AEXDU"), pytest.param(3, "C", marks=pytest.mark.slow)])
def test_a_message_that_is_left_out_is_another_depth_by_itch_book(tmp_path: Path, seed: int, kinds: str) -> None:
    day = own_day(seed, 800)
    for kind in kinds:
        at = next(at for at, message in enumerate(day.messages) if message[0] == ord(kind))
        silent = itch.message_of(itch.ItchMessage.SYSTEM_EVENT, {"event": "Q"})  # what comes behind keeps its number
        without = [*day.messages[:at], silent, *day.messages[at + 1 :]]
        assert f"behind message {at + 1}:" in first_difference(tmp_path, day, without), kind


def rebuilt(messages: Iterator[Any]) -> Iterator[Depth]:
    """Depth behind each decoded message: the book in the few lines that a user of itchfeed or itchcpp writes."""
    orders: dict[int, list[Any]] = {}
    for message in messages:
        reference = getattr(message, "order_reference_number", 0)
        match message.message_type:
            case b"A" | b"F":
                side = 1 if message.buy_sell_indicator == b"B" else -1
                orders[reference] = [message.stock_locate, side, message.price, message.shares]
            case b"E" | b"C":
                orders[reference][3] -= message.executed_shares
            case b"X":
                orders[reference][3] -= message.cancelled_shares
            case b"D":
                del orders[reference]
            case b"U":
                locate, side, _, _ = orders.pop(reference)
                orders[message.new_order_reference_number] = [locate, side, message.price, message.shares]
        if reference in orders and not orders[reference][3]:
            del orders[reference]
        depth: Depth = {key: [] for key in KEYS}
        for locate, side, price, shares in sorted(orders.values(), key=lambda order: -order[1] * order[2]):
            depth[locate, side].append((price, shares))
        yield {key: levels(queue) for key, queue in depth.items()}


@pytest.mark.parametrize("library", ["itch", "itchcpp"])
@pytest.mark.parametrize(
    ("seed", "count"), [(0, 500), *(pytest.param(seed, 4_000, marks=pytest.mark.slow) for seed in (1, 2, 3, 4))]
)
def test_a_decoder_of_others_gives_the_depth_of_our_book_behind_every_message(
    library: str, seed: int, count: int
) -> None:
    module = pytest.importorskip(f"{library}.parser", reason=f"{library} is not installed")
    assert module.MessageParser.__module__.split(".")[0] == library
    day = own_day(seed, count)
    stream = b"".join(len(message).to_bytes(2, "big") + message for message in day.messages)
    decoded = list(module.MessageParser().parse_stream(stream))
    assert [message.to_bytes() for message in decoded] == day.messages
    ours = list(expected(day))
    for number, theirs in enumerate(rebuilt(iter(decoded)), 1):
        assert theirs == ours[number - 1], f"behind message {number}"
    at = next(at for at, message in enumerate(day.messages) if message[0] == ord("X"))
    without = list(rebuilt(iter(decoded[:at] + decoded[at + 1 :])))
    assert without[at] != ours[at + 1], "a cancel that is left out is found"
