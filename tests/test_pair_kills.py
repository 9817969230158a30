"""A pair is killed again and again while clients trade: primary, standby, arbiter and both nodes, by SIGKILL.

Clients of the library trade at random with both addresses, and nobody tells them anything. In the end their histories,
both journals and all quarantines must be one linear history (``tests.linear_history``): no acknowledged order is lost,
and none is executed twice. ``LOCKSTEP_PAIR_KILLS`` sets the number of kills of the long test, over all kinds of pairs:
policies `both` and `replica`, a witness and etcd.

Under `replica` both memories must not be lost before either disk has what was told: there one node at a time is killed,
and from a pair that is in sync.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from replay.verify import verify
from tests.pair_under_faults import KINDS, WITNESS_AND_BOTH, Kind, RunningPair, Trading, kind_of, live
from tests.trading import Trader

KILLS = int(os.environ.get("LOCKSTEP_PAIR_KILLS", "20"))
VICTIMS = ("primary", "witness", "both", "standby", "primary")
VICTIMS_OF_MEMORY = ("primary", "witness", "standby", "primary")


async def kill_loop(
    folder: Path, kills: int, seed: int, *options: str, kind: Kind = WITNESS_AND_BOTH
) -> tuple[Counter[str], list[Trader], list[str]]:
    """Kill the processes in turn while three clients trade; counts, clients, and complaints about their history."""
    chance = random.Random(seed)
    pair = RunningPair(folder, *options, kind=kind)
    counts: Counter[str] = Counter()
    try:
        await pair.start()
        async with Trading(pair, seed) as traders:
            for number in range(kills):
                await live(traders)
                await asyncio.sleep(chance.random() ** 2 * 0.5)
                await _strike(pair, number, chance, counts, memory=kind.policy == "replica")
            await pair.in_sync()
        await pair.end()
    finally:
        await pair.stop()
    for node in pair.nodes.values():
        assert verify(node.data).ok
    return counts, traders, pair.complaints(traders)


async def _strike(pair: RunningPair, number: int, chance: random.Random, counts: Counter[str], *, memory: bool) -> None:
    """Kill, and start again: after a while, or at once. ``memory``: of a pair whose memories count."""
    victims = VICTIMS_OF_MEMORY if memory else VICTIMS
    victim = victims[number % len(victims)]
    counts[victim] += 1
    pause_s = chance.choice((0.0, chance.random()))
    if victim == "witness":
        await pair.kill_witness()
        await asyncio.sleep(pause_s)
        await pair.start_witness()
        return
    # Mostly from a pair that is in sync; else the dead node may be the only one that may reign, and comes back.
    if memory or number < len(VICTIMS) or chance.random() < 0.8:
        primary, standby = await pair.in_sync()
        counts["in sync"] += 1
        killed = {"primary": [primary], "standby": [standby], "both": [primary, standby]}[victim]
    else:
        killed = [chance.choice(list(pair.nodes.values()))]
    await pair.kill(*killed)
    if len(killed) == 1 and chance.random() < 0.5:
        await asyncio.sleep(pause_s)
    await asyncio.gather(*(asyncio.to_thread(node.start) for node in chance.sample(killed, len(killed))))


def check(counts: Counter[str], traders: Sequence[Trader], complaints: list[str], kills: int) -> None:
    answers = sum(len(trader.kept) for trader in traders)
    epochs = {epoch for trader in traders for epoch in trader.epochs.values()}
    print(f"{dict(counts)}; messages {answers}, requests {sum(len(trader.requests) for trader in traders)}, ", end="")
    print(f"connections {sum(trader.connections for trader in traders)}, epochs with answers {len(epochs)}")
    assert complaints == []
    assert sum(counts[victim] for victim in set(VICTIMS)) == kills
    assert answers > 100 * kills, "there was load"
    assert len(epochs) > kills // 4, "and there were takeovers"


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        (3, 0),
        pytest.param(3, 1, marks=pytest.mark.slow),
        *(pytest.param(-(-KILLS // len(KINDS)), seed, marks=pytest.mark.long) for seed in range(len(KINDS))),
    ],
)
def test_no_acknowledged_order_is_lost_and_none_is_executed_twice_whoever_is_killed(
    tmp_path: Path, kills: int, seed: int
) -> None:
    run = kill_loop(tmp_path, kills, 2_026 + seed, "--checkpoint-every", "2000", kind=kind_of(seed))
    check(*asyncio.run(run), kills)
