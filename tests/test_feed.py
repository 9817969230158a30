"""Released blocks for a program beside the node (`replay.feed`), where the tape has them not: by a replay, in steps."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journal import Journal
from replay import feed as feeds
from replay.feed import Feed
from replay.live_tape import LiveTape, Why
from replay.past import PastSlice
from tests.ouch_messages import cancel, enter
from tests.running import Client, Running, started
from tests.test_node_tape import by_journal, journal_id

ORDERS = 100


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--durability", "none", "--tape-mb", "1")
    yield running
    running.stop()


def trade(client: Client, name: str) -> None:
    """Orders and their cancels, each in a block of its own."""
    client.forget()
    for number in range(ORDERS):
        client.socket.sendall(enter(f"{name}{number}", "B", 1, 90_000))
        client.take(2 * number + 1)
        client.socket.sendall(cancel(f"{name}{number}"))
        client.take(2 * number + 2)


def blocks_up_to(directory: Path, seq: int) -> int:
    """Blocks of the journal up to a command: a busy node puts several turns into one."""
    with Journal.open(directory, readonly=True) as journal:
        return sum(block.last_seq <= seq for block in journal.blocks(1, seq))


class Replays:
    """Engines of replays that a feed makes, and blocks that they have applied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = self.blocks = 0
        real = feeds.played

        def counted(*arguments: Any) -> Iterator[Any]:
            for block in real(*arguments):
                self.blocks += 1
                yield block

        def past(*arguments: Any) -> PastSlice:
            self.made += 1
            return PastSlice(*arguments)

        monkeypatch.setattr(feeds, "played", counted)
        monkeypatch.setattr(feeds, "PastSlice", past)


def taken(feed: Feed, replays: Replays, seq: int) -> tuple[bytes, bytes, int]:
    """All rows up to command ``seq``, which the journal has sooner or later, and the steps without rows before them."""
    commands = events = b""
    steps = 0
    deadline_s = time.monotonic() + 120
    while feed.seq < seq:
        assert time.monotonic() < deadline_s, f"{feed.seq} of {seq} commands came"
        before = replays.blocks
        rows = feed.take()
        assert replays.blocks - before <= 1, "the loop of a gateway stands still for more than a block"
        if rows is None:
            steps += feed.replays
        else:
            commands, events = commands + rows.commands.tobytes(), events + rows.events.tobytes()
        time.sleep(0.001 if feed.lags else 0)
    return commands, events, steps


def test_a_feed_that_is_far_behind_replays_in_steps_and_keeps_the_engine_until_the_tape_holds(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays = Replays(monkeypatch)
    client = Client(node.port, "UA")
    client.take(1)
    trade(client, "a")
    seq = node.status()["seq"]
    after_seq = seq - 10
    feed = Feed(node.data, journal_id(node.data), after_seq)
    try:
        with monkeypatch.context() as lost:
            assert feed._tape.find()
            lost.setattr(LiveTape, "take", lambda *_: Why.LOST)
            commands, events, steps = taken(feed, replays, seq)
            assert steps >= blocks_up_to(node.data, after_seq) > 1, "the blocks before the wanted ones go step by step"
            assert replays.made == 1
            for name in ("b", "c"):  # overrun again as soon as it has caught up
                trade(client, name)
                seq, blocks = node.status()["seq"], replays.blocks
                more = taken(feed, replays, seq)
                commands, events = commands + more[0], events + more[1]
                assert more[2] == 0
                assert 0 < replays.blocks - blocks < 3 * ORDERS, "it does not begin at the start again"
            assert replays.made == 1
        monkeypatch.setattr(feeds, "_HOLDS_BLOCKS", ORDERS)
        journaled = feed.journaled
        trade(client, "d")
        more = taken(feed, replays, node.status()["seq"])
        commands, events = commands + more[0], events + more[1]
        assert (feed.taped >= ORDERS, feed.journaled, feed._engine) == (True, journaled, None)
        assert (commands, events) == by_journal(node.data, after_seq)
    finally:
        feed.close()
