"""A pair and its arbiter with a network that fails between any two of them, in every way that a proxy can play.

Cut: connections break and none is made. Half-open: both ends believe that they are connected, and nothing passes. One
direction: questions pass and answers do not, or the reverse. Late: each piece comes later. What was held comes when the
network is whole again. ``LOCKSTEP_PAIR_PARTITIONS`` sets the number of the long test.
"""

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault_proxy import FaultProxy
from tests.pair_under_faults import KINDS as PAIRS
from tests.pair_under_faults import RunningPair, Trading, kind_of, live

PARTITIONS = int(os.environ.get("LOCKSTEP_PAIR_PARTITIONS", "10"))
KINDS: dict[str, Callable[[FaultProxy], None]] = {
    "cut": FaultProxy.cut,
    "half-open": FaultProxy.hold,
    "questions held": lambda proxy: proxy.hold(back=False),
    "answers held": lambda proxy: proxy.hold(there=False),
    "late": FaultProxy.delay,
}
BETWEEN = ("primary and arbiter", "primary and standby", "standby and arbiter", "primary and both")


async def partition_loop(folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Partition so often; counts, and complaints about the history."""
    chance = random.Random(seed)
    pair = RunningPair(folder, "--checkpoint-every", "2000", proxies=True, kind=kind_of(seed))
    counts: Counter[str] = Counter()
    cases = list(itertools.product(KINDS, BETWEEN))
    chance.shuffle(cases)
    try:
        await pair.start()
        async with Trading(pair, seed) as traders:
            for kind, between in itertools.islice(itertools.cycle(cases), count):
                await live(traders, answers=20 * counts["partitions"])
                primary, standby = await pair.in_sync()
                names = {"primary": primary.name, "standby": standby.name}
                to_arbiter = [(names["primary"], "W")]
                to_standby = [(standby.name, primary.name), (primary.name, standby.name)]
                struck = {
                    "primary and arbiter": to_arbiter,
                    "primary and standby": to_standby,
                    "standby and arbiter": [(names["standby"], "W")],
                    "primary and both": to_arbiter + to_standby,
                }[between]
                for each in struck:
                    KINDS[kind](pair.proxies[each])
                await asyncio.sleep(chance.choice((0.1, 0.7, 1.5)) + chance.random() * 0.3)
                for each in struck:
                    pair.proxies[each].heal()
                counts[f"{kind}: {between}"] += 1
                counts["partitions"] += 1
            await pair.in_sync()
            await live(traders, answers=20 * count)
        await pair.end()
    finally:
        await pair.stop()
    counts["epochs"] = len({epoch for trader in traders for epoch in trader.epochs.values()})
    counts["messages"] = sum(len(trader.kept) for trader in traders)
    counts["set aside"] = sum(len(node.history().aside) for node in pair.nodes.values())
    return counts, pair.complaints(traders)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "seed"),
    [
        (4, 4),
        *(pytest.param(-(-PARTITIONS // len(PAIRS)), 4 + kind, marks=pytest.mark.long) for kind in range(len(PAIRS))),
    ],
)
def test_whatever_the_network_does_between_any_two_the_answers_are_one_linear_history(
    tmp_path: Path, count: int, seed: int
) -> None:
    counts, complaints = asyncio.run(partition_loop(tmp_path, count, seed))
    print(dict(counts))
    assert complaints == []
    assert counts["partitions"] == count
    assert counts["messages"] > 20 * count, "there was load"
