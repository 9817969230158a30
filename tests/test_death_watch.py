"""Watch beside a primary (`replication.death_watch`): the lease ends with the process, whenever that dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.pair_nodes import Member
from replication.arbiter import TTL_NS_MAX, Candidate, Won
from replication.death_watch import DeathWatch
from tests.arbiters import WitnessCourt, new_market
from tests.running import ROOT, until

#: The longest lease, and a time in which it does not run out.
LEASE_NS, SOON_S = TTL_NS_MAX, TTL_NS_MAX / 10**9 - 15

#: A process that reigns and is killed at once, long before its watch has loaded its modules.
KILLED_AT_ONCE = """
import os, signal, sys
from pathlib import Path
from replication.death_watch import DeathWatch

address, market, secret, epoch = sys.argv[1:]
watch = DeathWatch(address, bytes.fromhex(market), Path(secret))
watch.reign(int(epoch))
os.kill(os.getpid(), signal.SIGKILL)
"""


#: One whose watch is killed before it, and which may look after it then.
KILLED_AFTER_ITS_WATCH = """
import os, signal, sys
from pathlib import Path
from replication.death_watch import DeathWatch

address, market, secret, epoch, revives = sys.argv[1:]
watch = DeathWatch(address, bytes.fromhex(market), Path(secret))
watch.reign(int(epoch))
watch._process.kill()
watch._process.wait()
if revives:
    assert watch.revive() and watch.is_alive and not watch.revive()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def court(tmp_path: Path) -> Iterator[WitnessCourt]:
    made = WitnessCourt(tmp_path / "witness")
    made.start()
    yield made
    made.stop()


def won(court: WitnessCourt, market: str) -> int:
    """Epoch of a reign whose lease outlasts the test."""

    async def acquire() -> int:
        answer = await court.driver(market, LEASE_NS).acquire(Candidate("A", "127.0.0.1:1", "127.0.0.1:2", "both"), 0)
        assert isinstance(answer, Won)
        return answer.epoch

    return asyncio.run(acquire())


def is_held(court: WitnessCourt, market: str) -> bool:
    async def read() -> bool:
        return (await court.driver(market).read()).held

    return asyncio.run(read())


def reign_and_die(court: WitnessCourt, market: str, epoch: int, program: str = KILLED_AT_ONCE, *more: str) -> None:
    words = [f"witness://127.0.0.1:{court.port}", market, str(court.data / "secret"), str(epoch)]
    ended = subprocess.run([sys.executable, "-c", program, *words, *more], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_the_lease_of_a_primary_that_dies_before_its_watch_is_at_work_is_ended(court: WitnessCourt) -> None:
    market = new_market()
    reign_and_die(court, market, won(court, market))
    until(lambda: not is_held(court, market), SOON_S)


@pytest.mark.slow
@pytest.mark.parametrize("revives", [True, False])
def test_a_watch_that_is_killed_is_started_again_and_knows_the_epoch(court: WitnessCourt, revives: bool) -> None:
    """Without that, the control, the lease of a primary that dies is left to run out."""
    market, other = new_market(), new_market()
    reign_and_die(court, market, won(court, market), KILLED_AFTER_ITS_WATCH, "revives" if revives else "")
    reign_and_die(court, other, won(court, other))
    until(lambda: not is_held(court, other), SOON_S)
    if revives:
        until(lambda: not is_held(court, market), SOON_S)
    assert is_held(court, market) is not revives


@pytest.mark.slow
def test_the_watch_ends_a_lease_that_the_arbiter_takes_back_only_later(court: WitnessCourt) -> None:
    market = new_market()
    epoch = won(court, market)
    court.kill()
    reign_and_die(court, market, epoch)
    court.start()
    until(lambda: not is_held(court, market), SOON_S)


@pytest.mark.slow
def test_the_watch_ends_no_lease_of_another_epoch(court: WitnessCourt) -> None:
    market, other = new_market(), new_market()
    newer = won(court, market)
    reign_and_die(court, market, newer - 1)
    # The next watch starts later and has ended its lease: the first one had its time.
    reign_and_die(court, other, won(court, other))
    until(lambda: not is_held(court, other), SOON_S)
    assert is_held(court, market)


def test_the_benchmark_of_takeovers_finds_the_watch_that_it_stops(court: WitnessCourt) -> None:
    watch = DeathWatch(f"witness://127.0.0.1:{court.port}", bytes(16), court.data / "secret")
    primary = cast(Member, SimpleNamespace(child=SimpleNamespace(pid=os.getpid())))
    try:
        until(lambda: len(Member.watch_pids(primary)) == 1)
    finally:
        watch.close()
    until(lambda: not Member.watch_pids(primary))
