"""The primary is stopped by SIGSTOP for longer than its lease, and goes on after another node has taken over.

Beside the clients that trade, one of another make stays at the old primary and sends an order while that is stopped.
When the old primary goes on, nobody may hear an answer of its epoch: what it still has is set aside, and it follows.
``LOCKSTEP_PAIR_STOPS`` sets the number of stops of the long test.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.ouch_messages import enter
from tests.pair_under_faults import KINDS, PairNode, RunningPair, Trading, kind_of, live
from tests.running import USERS, Client
from wire.soup import PacketType

STOPS = int(os.environ.get("LOCKSTEP_PAIR_STOPS", "10"))


class Bystander:
    """A client of UB that knows one address, and stays there."""

    def __init__(self, node: PairNode, number: int) -> None:
        self._client = Client(node.port, "UB", seq=0)
        assert self._client.answer[0] == PacketType.LOGIN_ACCEPTED
        self._number = number

    def order(self) -> None:
        """Send an order."""
        self._client.socket.sendall(enter(f"by{self._number}", "B", 1, 90_000))

    def until_end(self) -> list[tuple[int, bytes]]:
        """Packets until the node closes the connection, or breaks it."""
        found = []
        try:
            while (packet := self._client.packet())[0]:
                found.append(packet)
        except ConnectionResetError:
            pass
        self._client.socket.close()
        return found


async def stop_loop(folder: Path, stops: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Stop the primary so often; counts, and complaints about the history."""
    chance = random.Random(seed)
    pair = RunningPair(folder, "--checkpoint-every", "2000", kind=kind_of(seed))
    counts: Counter[str] = Counter()
    try:
        await pair.start()
        async with Trading(pair, seed, (USERS[0], USERS[2])) as traders:
            for number in range(stops):
                await live(traders, answers=20 * number)
                primary, standby = await pair.in_sync()
                bystander = await asyncio.to_thread(Bystander, primary, number)
                await asyncio.sleep(chance.random() * 0.2)
                assert primary.process is not None
                os.kill(primary.process.pid, signal.SIGSTOP)
                bystander.order()
                await pair.until(lambda node=standby: node.pair().get("state") == "reigning", "no takeover")  # type: ignore[misc]
                await asyncio.sleep(chance.random() * 0.2)
                os.kill(primary.process.pid, signal.SIGCONT)
                heard = await asyncio.to_thread(bystander.until_end)
                counts["stops"] += 1
                counts["answers"] += sum(kind == PacketType.SEQUENCED for kind, _ in heard)
            await pair.in_sync()
            await live(traders, answers=20 * stops)
        await pair.end()
    finally:
        await pair.stop()
    counts["epochs"] = len({epoch for trader in traders for epoch in trader.epochs.values()})
    counts["messages"] = sum(len(trader.kept) for trader in traders)
    counts["set aside"] = sum(len(node.history().aside) for node in pair.nodes.values())
    return counts, pair.complaints(traders)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stops", "seed"),
    [
        (2, 76),
        *(pytest.param(-(-STOPS // len(KINDS)), 76 + kind, marks=pytest.mark.long) for kind in range(len(KINDS))),
    ],
)
def test_nobody_hears_an_answer_of_an_old_primary_that_was_stopped_and_goes_on(
    tmp_path: Path, stops: int, seed: int
) -> None:
    counts, complaints = asyncio.run(stop_loop(tmp_path, stops, seed))
    print(dict(counts))
    assert complaints == []
    assert counts["answers"] == 0
    assert counts["epochs"] > stops
    assert counts["messages"] > 20 * stops, "there was load"
