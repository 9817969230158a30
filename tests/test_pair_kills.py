"""A pair is killed again and again while clients trade: primary, standby, arbiter and both nodes, by SIGKILL, and each
process beside a primary: its death watch, the server of its history, the keeper of the events of a slice, a checkpoint
and a gateway (a small program in its place).

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
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from node.operator.link import Link, LinkError, RequestRefused
from replay.verify import verify
from tests.pair_under_faults import (
    KINDS,
    WITNESS_AND_BOTH,
    Kind,
    PairNode,
    RunningPair,
    Trading,
    answers_of,
    kind_of,
    live,
)
from tests.trading import Trader

KILLS = int(os.environ.get("LOCKSTEP_PAIR_KILLS", "20"))
#: Processes beside a primary, by their names in its report.
BESIDE = {"death watch": "death watch", "history": "history", "keeper": "events", "checkpoint": "checkpoint"}
BESIDE |= {"gateway": "beside"}
VICTIMS = ("primary", "witness", "both", "standby", "primary", *BESIDE)
VICTIMS_OF_MEMORY = ("primary", "witness", "standby", "primary", *BESIDE)
#: Answers to each kill at least: on a slow machine a kill waits for those to the kills before it.
ANSWERS = 100
#: Patience with a process that begins and ends by itself.
APPEARS_S = 60.0


async def kill_loop(
    folder: Path, kills: int, seed: int, *options: str, kind: Kind = WITNESS_AND_BOTH, first: int = 0
) -> tuple[Counter[str], list[Trader], list[str]]:
    """Kill the processes in turn while three clients trade; counts, clients, and complaints about their history.

    first: number of the first victim.
    """
    chance = random.Random(seed)
    options = (*options, "--gateway", "beside=ouch:0")
    pair = RunningPair(folder, *options, kind=kind, faults=dict.fromkeys("AB", "small-programs"))
    counts: Counter[str] = Counter()
    try:
        await pair.start()
        async with Trading(pair, seed) as traders:
            for number in range(first, first + kills):
                await live(traders, answers=ANSWERS * (number - first))
                await asyncio.sleep(chance.random() ** 2 * 0.5)
                await _strike(pair, number, chance, counts, memory=kind.policy == "replica")
            await pair.in_sync()
            await live(traders, answers=max(ANSWERS * kills, answers_of(traders)))  # the last reign answers too
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
    if victim in BESIDE:
        primary, _ = await pair.in_sync()
        if not await asyncio.to_thread(_strike_beside, primary, victim):
            counts[f"{victim} not met"] += 1
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


def _strike_beside(node: PairNode, victim: str) -> bool:
    """Kill a process beside a node; False if it has none in time, as where a checkpoint is done too soon to be met."""
    assert node.process is not None
    until_s = time.monotonic() + APPEARS_S
    while time.monotonic() < until_s:
        with suppress(LinkError, RequestRefused, OSError), node.link() as link:
            if victim == "keeper":
                link.ask("roll")
            asked = threading.Thread(target=_ask_for_checkpoint, args=[node]) if victim == "checkpoint" else None
            if asked is not None:
                asked.start()
            look_until_s = time.monotonic() + APPEARS_S / 3
            while time.monotonic() < look_until_s:
                pid = _pid_beside(link, victim)
                if pid:
                    with suppress(ProcessLookupError):  # it has just ended
                        os.kill(pid, signal.SIGKILL)
                        return True
                if asked is not None and not asked.is_alive():
                    break
            if asked is not None:
                asked.join()
    return False


def _ask_for_checkpoint(node: PairNode) -> None:
    with suppress(LinkError, RequestRefused, OSError), node.link() as link:
        link.ask("checkpoint")


def _pid_beside(link: Link, victim: str) -> int:
    """Number of the process; 0 while there is none."""
    processes = link.ask("workings")["workings"]["processes"]
    return next((each["pid"] or 0 for each in processes if each["process"] == BESIDE[victim]), 0)


def check(counts: Counter[str], traders: Sequence[Trader], complaints: list[str], kills: int) -> None:
    answers = answers_of(traders)
    epochs = {epoch for trader in traders for epoch in trader.epochs.values()}
    print(f"{dict(counts)}; messages {answers}, requests {sum(len(trader.requests) for trader in traders)}, ", end="")
    print(f"connections {sum(trader.connections for trader in traders)}, epochs with answers {len(epochs)}")
    assert complaints == []
    assert sum(counts[victim] for victim in set(VICTIMS)) == kills
    assert answers > ANSWERS * kills, "there was load"
    struck = counts["primary"] + counts["both"]
    assert len(epochs) > struck // 2, "and there were takeovers"
    missed = sum(counts[f"{victim} not met"] for victim in BESIDE)
    assert missed <= sum(counts[victim] for victim in BESIDE) // 3, "they were there to be killed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "seed", "first"),
    [
        (3, 0, 0),
        pytest.param(3, 1, 0, marks=pytest.mark.slow),
        pytest.param(len(BESIDE) + 1, 2, 4, marks=pytest.mark.slow),
        *(pytest.param(-(-KILLS // len(KINDS)), seed, 0, marks=pytest.mark.long) for seed in range(len(KINDS))),
    ],
)
def test_no_acknowledged_order_is_lost_and_none_is_executed_twice_whoever_is_killed(
    tmp_path: Path, kills: int, seed: int, first: int
) -> None:
    run = kill_loop(tmp_path, kills, 2_026 + seed, "--checkpoint-every", "2000", kind=kind_of(seed), first=first)
    check(*asyncio.run(run), kills)
