"""Whole blocks in one call give the messages that their reports give one after the other, with any room."""

from dataclasses import replace

import numpy as np
import pytest

from engine import Engine
from marketdata.itch import ItchFeed, block_messages
from marketdata.itch.block_messages import BlockMessages
from marketdata.itch.fold import ROW_BYTES_MAX
from reports import Reports
from tests.report_streams import CAPACITY, Block, blocks, user_stream
from tests.test_itch_feed import Market, Sink, with_days


def blocks_of(seed: int, rows: int = 1_500, largest: int = 400) -> list[Block]:
    return list(blocks(with_days(user_stream(seed, rows), seed), seed, largest=largest))


def taken(every: list[Block], orders_max: int = CAPACITY.orders_max, room_bytes: int = 1 << 16) -> tuple[Sink, bytes]:
    """Messages and last state; ``orders_max``: room at first."""
    sink, small = Sink(), replace(CAPACITY, orders_max=orders_max)
    feed = ItchFeed(small, sink, room_bytes=room_bytes)
    reports = Reports(small)
    messages = BlockMessages(reports, feed, CAPACITY.orders_max)
    for block in every:
        messages.take(*block)
    return sink, reports.digest() + feed.digest()


@pytest.mark.parametrize("seed", range(6))
def test_a_block_in_one_call_gives_the_messages_of_its_reports(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    every, market = blocks_of(seed), Market()
    for block in every:
        market.take(block)
    expected = market.reports.digest() + market.feed.digest()
    for rows, room_bytes in ((block_messages.ROOM_ROWS, 1 << 16), (3, 2 * ROW_BYTES_MAX), (7, 1_000)):
        monkeypatch.setattr(block_messages, "ROOM_ROWS", rows)
        sink, state = taken(every, room_bytes=room_bytes)
        assert sink.sessions == market.sink.sessions
        assert state == expected


def test_the_tables_grow_with_the_open_orders_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    every, market, most = blocks_of(3), Market(), 0
    for block in every:
        market.take(block)
        most = max(most, market.reports.open_orders)
    assert most > 16
    # Commands that wait have a ring of their own, which is as large as the first room.
    sink, state = taken(every, 16)
    assert sink.sessions == market.sink.sessions
    assert state == market.reports.digest() + market.feed.digest()
    # Without growth the open orders have no room, and the messages are others.
    monkeypatch.setattr(BlockMessages, "make_room", lambda *_: None)
    assert taken(every, 4)[0].sessions != market.sink.sessions


def test_open_orders_are_those_of_the_engine() -> None:
    engine, reports, most = Engine(CAPACITY), Reports(CAPACITY), 0
    for block in blocks_of(5, 800):
        events = engine.apply(block.commands)
        reports.observe(block.first_seq, block.commands, events)
        assert reports.open_orders == len(engine.open_orders())
        assert reports.open_orders == np.count_nonzero(reports.tables.orders["participant"][:-1])
        most = max(most, reports.open_orders)
    assert most > 10
    restored = Reports(CAPACITY)
    restored.restore(reports.image(), reports.seq)
    assert restored.open_orders == reports.open_orders > 0
    restored.give_room(2 * CAPACITY.orders_max)
    assert restored.open_orders == reports.open_orders
    restored.clear()
    assert restored.open_orders == 0


def test_orders_without_room_are_not_counted() -> None:
    """A table that is too small has more orders than places: the last row, which is no place, is not one of them."""
    reports, fullest = Reports(replace(CAPACITY, orders_max=2)), 0
    for block in blocks_of(5, 800):
        reports.observe(block.first_seq, block.commands, block.events)
        rows = reports.tables.orders["participant"]
        assert reports.open_orders == np.count_nonzero(rows[:-1])
        fullest = max(fullest, reports.open_orders)
    assert fullest == len(rows) - 1
