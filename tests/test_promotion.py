"""`lockstep promote --force`: a follower copies, lags, never takes over by itself, and is promoted by its operator."""

import json
import signal
from pathlib import Path

import pytest

from node.pair.copy_age import CopyAge
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.operated import on_terminal
from tests.pair_processes import pair
from tests.running import Client

REASON = "the other site is lost"


def test_the_age_of_a_copy_grows_from_the_last_moment_at_which_it_was_up_to_date() -> None:
    age = CopyAge(10_000_000_000, 4_000_000_000)
    assert age.seconds(10_000_000_000) == 4.0, "at the start: the age of the last command"
    age.on_current(11_000_000_000)
    age.on_current(10_500_000_000)
    assert age.seconds(11_250_000_000) == 0.25


@pytest.mark.slow
def test_a_follower_is_promoted_by_force_alone_and_the_old_primary_follows_with_a_quarantine(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    with pair(tmp_path, follower=True) as (_, a, b):
        force = ("promote", b.data, "--force", "--reason", REASON)
        status, _, said = lockstep("promote", b.data)
        assert (status, "--force and --reason" in said, "switchover" in said) == (2, True, True)
        status, _, said = lockstep(*force, "--yes")
        assert status == 2
        assert "A is primary in epoch" in said
        assert "which is never overridden" in said
        status, _, said = lockstep("promote", a.data, "--force", "--reason", REASON, "--yes")
        assert (status, "A is primary already" in said) == (2, True)
        # What a follower lacks: it is away while the primary goes on without waiting for it.
        b.end(signal.SIGTERM)
        assert a.submit("participant GAMMA")["rejected"] == 0
        a.end(signal.SIGKILL)
        b.start()
        b.awaits(role="follower", state="disconnected")
        lacks = b.pair()
        assert lacks["cannot_take_over_reason"].startswith("B is a follower: it takes over only by")
        status, _, said = lockstep(*force)
        assert status == 2
        assert "there is no terminal to ask on; give --yes" in said
        for sentence in ("was certainly up to date", "A has every acknowledged order", "goes into a quarantine"):
            assert sentence in said
        assert on_terminal(list(map(str, force)), [(b"confirm: ", b"no")])[0] == 1
        assert b.pair()["role"] == "follower"
        status, out, _ = lockstep(*force, "--yes", "--json")
        (told,) = checked(["promote"], out)
        assert (status, told["node"], told["forced"], told["may_take_over"]) == (0, "B", REASON, ["A"])
        b.awaits(role="primary", state="reigning", forced=REASON, epoch=told["epoch"])
        assert told["epoch"] > lacks["epoch"]
        assert b.submit("participant DELTA")["rejected"] == 0
        client = Client(b.port, "UA")
        assert client.answer[0] == ord("A")
        client.log_out()
        lines = [json.loads(line) for line in b.logged().splitlines()]
        assert [line["reason"] for line in lines if line["event"] == "the operator forces a reign"] == [REASON]
        # The old primary learns of it from the arbiter, sets aside what only it has, and follows.
        a.start()
        a.awaits(role="standby", state="following", primary="B", can_take_over=1, seq=b.pair()["seq"])
        assert a.pair()["event_digest"] == b.pair()["event_digest"]
        (aside,) = (a.data / "quarantine").iterdir()
        status, out, said = lockstep("commands", a.data, "--quarantine", aside.stem)
        assert (status, "GAMMA" in out) == (0, True), said
