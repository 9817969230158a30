"""A node of a pair ends in order on SIGTERM, whatever has become of its witness and of the other node in that moment.

Each of the two runs, is stopped, or was killed, just then or a little before. The nodes wait an hour for their own
disks at the end (``patient-end`` of ``tests.faulty_node``), so that a wait for others without a bound of its own is
seen on a machine of any speed: it was ten seconds for each step, up to half a minute in all.
"""

import asyncio
import itertools
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from tests.pair_under_faults import WITHIN_S, Kind, RunningPair

pytestmark = pytest.mark.slow

#: Fault of the other node, or the witness: nothing, a stop, or a kill.
FATES: Final = {"runs": None, "stopped": signal.SIGSTOP, "killed": signal.SIGKILL}
#: Time from that to the SIGTERM, in seconds: in the same moment; as the lease ends; once all know of it.
LEADS_S: Final = (0.0, 0.4, 1.5)
CASES: Final = [
    (witness, other, LEADS_S[number % len(LEADS_S)], ("both", "replica")[number % 2])
    for number, (witness, other) in enumerate(itertools.product(FATES, FATES))
]


def _strike(process: "subprocess.Popen[str] | subprocess.Popen[bytes] | None", fate: str) -> None:
    number = FATES[fate]
    assert process is not None
    if number is not None:
        os.kill(process.pid, number)


async def _end(folder: Path, witness: str, other: str, lead_s: float, policy: str, *options: str, of: str) -> float:
    """Time that the primary, or the standby, takes from SIGTERM to its end; its exit status is 0."""
    pair = RunningPair(
        folder, *options, faults={"A": "patient-end", "B": "patient-end"}, kind=Kind(policy), lease_ms=600
    )
    try:
        await pair.start()
        primary, standby = await pair.in_sync()
        ends, stays = (primary, standby) if of == "primary" else (standby, primary)
        _strike(pair.witness.process, witness)
        _strike(stays.process, other)
        await asyncio.sleep(lead_s)
        began_s = time.monotonic()
        status = await asyncio.to_thread(ends.end, signal.SIGTERM)
        took_s = time.monotonic() - began_s
        assert status == 0, ends.logged()[-2_000:]
        if witness == "stopped":
            assert pair.witness.process is not None
            os.kill(pair.witness.process.pid, signal.SIGCONT)
    finally:
        await pair.stop()
    return took_s


@pytest.mark.parametrize(("witness", "other", "lead_s", "policy"), CASES)
def test_a_primary_ends_whatever_has_become_of_its_witness_and_its_standby(
    tmp_path: Path, witness: str, other: str, lead_s: float, policy: str
) -> None:
    took_s = asyncio.run(_end(tmp_path, witness, other, lead_s, policy, of="primary"))
    print(f"{took_s:.2f} s")
    assert took_s < WITHIN_S


@pytest.mark.parametrize("other", ["stopped", "killed"])
def test_a_primary_that_may_not_answer_without_its_standby_ends_without_it(tmp_path: Path, other: str) -> None:
    took_s = asyncio.run(_end(tmp_path, "runs", other, 0.0, "both", "--alone", "stop", of="primary"))
    print(f"{took_s:.2f} s")
    assert took_s < WITHIN_S


@pytest.mark.parametrize(("witness", "other"), [("stopped", "stopped"), ("killed", "killed"), ("runs", "stopped")])
def test_a_standby_ends_whatever_has_become_of_its_witness_and_its_primary(
    tmp_path: Path, witness: str, other: str
) -> None:
    took_s = asyncio.run(_end(tmp_path, witness, other, 0.0, "replica", of="standby"))
    print(f"{took_s:.2f} s")
    assert took_s < WITHIN_S
