"""Starts and ends of the nodes of a pair: each mistake is one sentence, and each order of events leads to a pair."""

import asyncio
import gc
import itertools
import shutil
import signal
import socket
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from directory.recover import recover
from node import program
from node.core.opening import open_directory
from node.node import Deposed, NodeOptions
from node.pair.plan import PairPlan
from node.programs.logs import Log
from tests.conftest import Lockstep
from tests.pair_processes import CAPACITY, Member, Nodes, nodes, pair
from tests.running import until
from tests.test_node_pair import Member as InProcess
from tests.test_node_pair import Register
from tests.test_node_pair import until as until_async


def _says(member: Member, text: str) -> None:
    """Wait until its log has a text."""
    until(lambda: text in member.logged(), 120, f"{member.name} does not say {text!r}")


def _refused(member: Member) -> tuple[int, str]:
    """Exit status and last line of a node that does not start."""
    member.spawn()
    assert member.process is not None
    status = member.process.wait(120)
    if member.process.stdout is not None:
        member.process.stdout.close()
    member.process = None
    return status, member.logged().splitlines()[-1]


@pytest.mark.slow
def test_mistakes_of_a_start_are_one_sentence_each(tmp_path: Path) -> None:
    with nodes(tmp_path) as found:
        a = found.add("A")
        a.start()
        a.awaits(role="primary", state="reigning")
        # A port in use may be free at the next attempt.
        b = found.add("B", "--link", f"127.0.0.1:{a.link_port}")
        status, said = _refused(b)
        assert (status, f"port {a.link_port} of --link is in use" in said) == (75, True), said
        # Two nodes on one directory.
        twice = Member("B", tmp_path, found.witness)
        twice.data = a.data
        twice._options[1] = str(a.data)
        status, said = _refused(twice)
        assert (status, "is being written by process" in said) == (75, True), said
        # A secret that the witness does not have: no restart mends it, but the witness may be given it.
        secret = tmp_path / "other-secret"
        secret.write_text("0" * 48)
        secret.chmod(0o600)
        stranger = found.add("C", secret=secret, peer=a)
        stranger.start()
        _says(stranger, "secret")
        assert stranger.pair()["role"] == "standby"
        stranger.end(signal.SIGTERM)
        # The name of the primary.
        shutil.copytree(tmp_path / "new", tmp_path / "twin")
        twin = Member("A", tmp_path, found.witness, "--peer", f"127.0.0.1:{a.link_port}")
        twin.log = tmp_path / "twin.log"
        twin.data = tmp_path / "twin"
        twin._options[1] = str(twin.data)
        twin.start()
        try:
            _says(twin, "the primary is named A too; give each directory a name of its own (--node)")
            assert twin.pair()["can_take_over"] == 0
        finally:
            twin.stop()
        assert a.is_(role="primary", state="reigning")


@pytest.mark.slow
def test_a_directory_of_another_market_does_not_become_primary_beside_the_other_node(tmp_path: Path) -> None:
    with nodes(tmp_path) as found:
        a = found.add("A")
        a.start()
        a.awaits(role="primary", state="reigning")
        with open_directory(tmp_path / "b", CAPACITY, "fsync").journal:
            pass
        b = found.add("B", peer=a)
        b.start()
        _says(b, "the primary refuses this node: B has another journal")
        attempts = b.pair()["silence_s"]
        until(lambda: b.pair()["silence_s"] < attempts, 120, "it does not try again")
        assert b.logged().count("B has another journal") == 1, "a sentence that stays the same is said once"
        assert b.pair()["role"] == "standby"
        assert "is no pair of the primary: " in b.pair()["cannot_take_over_reason"]


def test_without_its_arbiter_a_node_waits_and_says_so_and_reigns_once_it_is_there(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    found = Nodes(tmp_path)
    try:
        found.witness.start()
        found.witness.stop()
        a = found.add("A")
        a.start()
        until(lambda: bool(a.pair().get("arbiter")), 120, "the arbiter is not missed")
        told = a.pair()
        assert (told["role"], told["state"], told["can_take_over"]) == ("standby", "disconnected", 0)
        assert told["cannot_take_over_reason"].startswith("the arbiter does not answer: ")
        _says(a, "the arbiter does not answer")
        assert lockstep("status", a.data, "--is-primary")[0] == 1
        assert lockstep("promote", a.data, "--force", "--reason", "x", "--yes")[0] == 75
        found.witness.start()
        a.awaits(role="primary", state="reigning")
    finally:
        found.stop()


@pytest.mark.slow
def test_a_standby_that_ends_leaves_the_primary_alone_on_record_and_a_primary_that_ends_hands_over(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    with pair(tmp_path) as (_, a, b):
        assert b.end(signal.SIGTERM) == 0
        a.awaits(role="primary", state="reigning", in_sync=["A"], copies=[])
        assert a.submit("participant GAMMA")["rejected"] == 0
        b.start()
        b.awaits(state="following", can_take_over=1, seq=a.pair()["seq"])
        epoch = a.pair()["epoch"]
        assert lockstep("admin", "shutdown", a.data)[0] == 0
        b.awaits(role="primary", state="reigning")
        assert a.process is not None
        assert a.process.wait(120) == 0
        assert b.pair()["epoch"] > epoch
        assert b.submit("participant DELTA")["rejected"] == 0
        a.start()
        a.awaits(state="following", can_take_over=1, seq=b.pair()["seq"])


@pytest.mark.slow
@pytest.mark.parametrize(("downs", "ups"), list(itertools.product(("AB", "BA"), ("AB", "BA"))))
def test_both_nodes_may_go_down_and_come_up_in_any_order(tmp_path: Path, downs: str, ups: str) -> None:
    with pair(tmp_path) as (found, _, _):
        for number, name in enumerate(downs):
            found.members[name].end(signal.SIGKILL)
            if not number:
                left = found.members[downs[1]]
                left.awaits(role="primary", state="reigning", in_sync=[left.name])
                assert left.submit("participant GAMMA")["rejected"] == 0
        last = downs[1]
        for name in ups:
            found.members[name].start()
        found.members[last].awaits(role="primary", state="reigning", in_sync=["A", "B"])
        seq = found.members[last].pair()["seq"]
        other = found.members["B" if last == "A" else "A"]
        other.awaits(state="following", seq=seq, can_take_over=1)
        assert other.pair()["event_digest"] == found.members[last].pair()["event_digest"]
    recovered = [recover(tmp_path / name) for name in ("a", "b")]
    for each in recovered:
        each[0].close()


def test_a_copy_leaves_a_primary_that_is_silent_and_tries_again(tmp_path: Path) -> None:
    """The machine of a primary may be gone without a word: TCP alone would keep the connection for minutes."""
    with open_directory(tmp_path / "b", CAPACITY, "fsync").journal:
        pass

    async def story() -> None:
        taken: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)

            async def take() -> None:
                while True:
                    taken.append((await asyncio.get_running_loop().sock_accept(silent))[0])

            accepting = asyncio.create_task(take())
            register = Register()
            b = InProcess("B", tmp_path / "b", register, None, "both")
            b.pair.options = type(b.pair.options)(
                **{**b.pair.options.__dict__, "peer": silent.getsockname(), "follower": True}
            )
            b.pair.standby.role = "follower"
            await b.start()
            await until_async(lambda: len(taken) >= 2)
            accepting.cancel()
            b.close()
        for each in taken:
            each.close()

    asyncio.run(story())


@pytest.mark.slow
def test_a_node_that_starts_again_as_a_copy_gives_its_memory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node freezes its objects, and refers to itself: it would stay, with a state of half a gigabyte."""
    lives: list[weakref.ref[object]] = []

    class Life:
        def __init__(self) -> None:
            self.own = self
            lives.append(weakref.ref(self))

    def served(*_: object) -> None:
        assert all(life() is None for life in lives)
        if len(lives) == 3:
            return
        Life()
        gc.freeze()
        raise Deposed("another node takes over")

    monkeypatch.setattr(program, "_opened_and_served", served)
    monkeypatch.setattr(program, "holds_journal", lambda _: True)
    log = Log(pretty=False)
    try:
        program.serve(
            NodeOptions(tmp_path, "127.0.0.1", 0, "fsync"),
            CAPACITY,
            log,
            pair=cast(PairPlan, SimpleNamespace(options=SimpleNamespace(host="127.0.0.1", port=0, peer=None))),
        )
    finally:
        log.close()
        gc.unfreeze()
    assert len(lives) == 3
