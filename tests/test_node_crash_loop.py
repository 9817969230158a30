"""A node is killed again and again while clients trade: what they were told stays so, nothing is lost, nothing twice.

Three clients of the library trade at random and keep every message that came, by its number. The node dies by SIGKILL
at any moment, its start and its checkpoints included, and begins again on the same port; nobody tells the clients.
At the end three accounts have to agree byte for byte: what each client kept, the stream that the node sends when asked
from message 1 on, and the stream made from nothing but the journal. ``LOCKSTEP_KILLS`` sets how many kills (default 2).
In the loop with hardships the disk stands still at times, for longer than the node bears silence, the log goes to a
full pipe, and the wall clock steps. None of that is a client's fault, so none may be told that it is.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from checkpoints import CheckpointStore
from replay.verify import verify
from tests.ouch_messages import messages
from tests.pair_under_faults import back
from tests.running import USERS, Client, Running
from tests.trading import SETTLED, Trader, made_of_journal, packets, streams_of_journal
from wire import ouch, soup
from wire.ouch_codes import ServerMessage
from wire.soup import TOLD_END, LoginAccepted, PacketType

KILLS = int(os.environ.get("LOCKSTEP_KILLS", "2"))
CHECKPOINT_EVERY = 200
START_S = 1.2
#: Answers to each kill at least: on a slow machine a kill waits for those to the kills before it.
ANSWERS = 100
#: Reasons that a client of the loop may be told: it beats, reads, and has the right password, but may log in again
#: before the node has noticed that its connection is gone.
TRUE_WORDS = frozenset({"closed: the same user logged in again", "closed: the session has ended"})


@dataclass
class Account:
    """Result of a loop: ``lost`` messages and requests, ``doubled`` orders, and how much was tried."""

    kills: int = 0
    answers: int = 0
    connections: int = 0
    lost: int = 0
    doubled: int = 0
    unsettled: int = 0
    false_words: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)


async def crash_loop(
    data: Path, kills: int, seed: int, *faults: str, other: tuple[str, ...] = ("slow-disk",), unread: bool = False
) -> tuple[Account, list[Trader]]:
    """Kill the node so often while three clients trade; then let them come to an end.

    ``faults``: of every node; ``other``: more of them, of every second one. ``unread``: nobody reads the log.
    """
    chance = random.Random(seed)
    port = free_port()
    nodes = [
        Running(
            data,
            *("--ids-max", str(1 << 18), "--checkpoint-every", str(CHECKPOINT_EVERY)),
            port=port,
            program=("-m", "tests.faulty_node", ",".join(("often", *more))),
            unread=unread,
        )
        for more in (faults, (*faults, *other))
    ]
    node = nodes[0]
    account, enough = Account(), asyncio.Event()
    try:
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(node.set_up)
        traders = [Trader(f"127.0.0.1:{port}", user, seed + number) for number, user in enumerate(USERS)]
        for trader in traders:
            await trader.client.connect()
        tasks = [asyncio.create_task(trader.trade(enough)) for trader in traders]
        while account.kills < kills:
            await _life(node, traders, chance, ANSWERS * account.kills)
            account.kills += node.end(signal.SIGKILL) == -signal.SIGKILL
            node = nodes[chance.random() < 0.5 or "slow-disk" in faults]
            if chance.random() < 0.15:
                await asyncio.to_thread(node.spawn)
                await asyncio.sleep(chance.random() * START_S)
                account.kills += node.end(signal.SIGKILL) == -signal.SIGKILL
            await asyncio.to_thread(node.start)
        await back(traders, answers=ANSWERS * account.kills)
        await _settled(traders)
        enough.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 300)
        await _settled(traders)
        for trader in traders:
            await trader.client.close()
        streams = await asyncio.to_thread(_whole_streams, port, data)
        assert node.end(signal.SIGTERM) == 0, node.logged()
    finally:
        for each in nodes:
            each.stop()
    _judge(account, traders, streams, streams_of_journal(data))
    return account, traders


async def _life(node: Running, traders: list[Trader], chance: random.Random, answers: int) -> None:
    """Until the moment of the kill: the clients are back by themselves, have more than so many messages, and traded."""
    assert node.process is not None
    await back(traders, answers=answers)
    await asyncio.sleep(chance.random() ** 2 * 0.8)
    assert node.process.poll() is None, f"the node ended by itself: {node.logged()[-2_000:]}"


async def _settled(traders: list[Trader]) -> None:
    for _ in range(3_000):
        if all(trader.settled for trader in traders):
            return
        await asyncio.sleep(0.01)


def _whole_streams(port: int, data: Path) -> dict[str, bytes]:
    """The streams of all users, once the journal has nothing more for them: a disconnect still cancels orders."""
    for _ in range(100):
        streams = {user: _whole_stream(port, user) for user in USERS}
        made = made_of_journal(data)
        # Cancels of a disconnect may be on their way to a slow disk still.
        if streams == made.told and not made.to_cancel:
            break
        time.sleep(0.1)
    return streams


def _whole_stream(port: int, user: str) -> bytes:
    """A user's stream, asked for from its first message on."""
    probe = Client(port, user, seq=0)
    next_seq = LoginAccepted.read(probe.answer[1]).next_seq
    probe.log_out()
    client = Client(port, user, seq=1)
    stream = client.take(next_seq - 1)
    client.log_out()
    return stream


def _judge(account: Account, traders: list[Trader], streams: dict[str, bytes], of_journal: dict[str, bytes]) -> None:
    for trader in traders:
        there = packets(streams[trader.user])
        kept = trader.kept
        account.lost += trader.changed
        account.lost += sum(not (n <= len(there) and there[n - 1] == packet) for n, packet in kept.items())
        account.lost += streams[trader.user] != of_journal[trader.user]
        accepted = Counter(f["order_token"] for kind, f in messages(streams[trader.user]) if kind == "ACCEPTED")
        account.doubled += sum(count - 1 for count in accepted.values())
        account.unsettled += sum(request.state not in SETTLED for request in trader.requests)
        account.answers += len(kept)
        account.false_words += [
            text for text in trader.told if text not in TRUE_WORDS and not text.startswith(TOLD_END)
        ]
        account.connections += trader.connections
        if trader.failure is not None:
            account.given_up.append(str(trader.failure))


def check(account: Account, traders: list[Trader], data: Path) -> None:
    """Nothing lost, nothing doubled, every request with its one outcome, and the journal verified."""
    print(account)
    assert account.given_up == []
    assert (account.lost, account.doubled, account.unsettled) == (0, 0, 0)
    assert account.false_words == []
    for trader in traders:
        assert sorted(trader.kept) == list(range(1, len(trader.kept) + 1)), "the client missed a message"
    report = verify(data)
    assert report.ok, report


@pytest.mark.parametrize("kills", [KILLS, pytest.param(max(200, KILLS), marks=pytest.mark.long)])
def test_whatever_a_client_was_told_is_so_after_any_kill(tmp_path: Path, kills: int) -> None:
    account, traders = asyncio.run(crash_loop(tmp_path / "node", kills, 4711))
    check(account, traders, tmp_path / "node")
    assert account.kills >= kills
    assert account.connections > 2 * kills, "clients resumed by themselves"
    assert account.answers > ANSWERS * kills, "there was load"
    assert CheckpointStore(tmp_path / "node").list(), "and checkpoints"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.long)])
def test_so_it_is_with_a_stalled_disk_a_stopped_log_reader_and_a_stepping_clock(tmp_path: Path, kills: int) -> None:
    data = tmp_path / "node"
    hard = ("impatient", "clock-steps", "stalls")
    account, traders = asyncio.run(crash_loop(data, kills, 911, *hard, other=("slow-disk",), unread=True))
    check(account, traders, data)
    assert account.kills >= kills
    assert account.connections > kills


def test_an_order_that_is_accepted_twice_is_counted() -> None:
    """A control of the judge."""
    trader, account = Trader("127.0.0.1:1", "UA", 1), Account()
    accepted = soup.packet(PacketType.SEQUENCED, ouch.server_rows(ServerMessage.ACCEPTED).tobytes())
    trader.kept = {1: accepted}
    _judge(account, [trader], {"UA": 2 * accepted}, {"UA": 2 * accepted})
    assert (account.lost, account.doubled) == (0, 1)


@pytest.mark.slow
def test_a_node_that_tells_too_early_is_caught(tmp_path: Path) -> None:
    """The negative control: the same loop, with a node that answers before the journal is durable."""
    account, _ = asyncio.run(crash_loop(tmp_path / "node", 3, 12, "slow-disk", "tells-early"))
    print(account)
    assert account.lost > 0
    assert verify(tmp_path / "node").ok, "the journal alone does not show it"
