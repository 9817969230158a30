"""`lockstep status`, `top` and the monitors of a pair: what an operator and a supervisor see of it."""

import http.client
import io
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.operating import pair_report
from cli.operating.top import drawn, line
from node.core.control import PAIR_KEYS
from node.operator.account import unpaired
from node.operator.metrics import Metrics
from node.operator.pair_metrics import PAIR_GAUGES
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.operated import COPY, FakeNode, Operated, paired, paired_standby
from tests.pair_processes import pair
from tests.running import until
from tests.test_metrics import samples


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    with Operated(tmp_path) as running:
        yield running


def test_a_report_has_the_documented_keys() -> None:
    assert set(paired()) == set(paired_standby()) == set(PAIR_KEYS)


@pytest.mark.parametrize(
    "told", [unpaired("open", "", "fsync", 1, "ab" * 16, 1, speed_bump_ns=350_000), paired(speed_bump_ns=350_000)]
)
def test_the_entry_delay_in_force_is_shown(told: dict[str, Any], operated: Operated, lockstep: Lockstep) -> None:
    operated.node.pair = told
    assert re.search(r"entry delay +350us", lockstep("status", operated.directory)[1])
    assert checked(["status"], lockstep("status", operated.directory, "--json")[1])[0]["speed_bump_ns"] == 350_000
    operated.node.pair = {**told, "speed_bump_ns": 0}
    assert re.search(r"entry delay +none", lockstep("status", operated.directory)[1])
    operated.node.pair = {key: value for key, value in told.items() if key != "speed_bump_ns"}
    assert "entry delay" not in lockstep("status", operated.directory)[1], "a node of an earlier release"


def test_a_node_that_is_not_of_a_pair_shows_its_state_and_counts_as_the_one_that_takes_orders(
    operated: Operated, lockstep: Lockstep
) -> None:
    status, out, _ = lockstep("status", operated.directory)
    assert status == 0
    assert "this node is not of a pair" in out
    assert re.search(r"state +open", out)
    (told,) = checked(["status"], lockstep("status", operated.directory, "--json")[1])
    assert (told["role"], told["state"], told["primary"]) == ("single", "open", None)
    assert lockstep("status", operated.directory, "--is-primary") == (0, "", "")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (paired(), 0),
        (paired(state="unsure"), 1),
        (paired_standby(), 1),
        (unpaired("stopped", "the journal has failed", "fsync", 1, "", 1), 1),
    ],
)
def test_a_supervisor_learns_from_the_exit_status_which_node_takes_orders(
    told: dict[str, Any], status: int, operated: Operated, lockstep: Lockstep
) -> None:
    operated.node.pair = told
    assert lockstep("status", operated.directory, "--is-primary") == (status, "", "")


def test_a_switchover_that_is_refused_is_logged_as_refused_and_not_as_done(
    operated: Operated, lockstep: Lockstep
) -> None:
    status, _, said = lockstep("switchover", operated.directory)
    assert (status, "this node is not of a pair" in said) == (2, True)
    logged = operated.said()
    assert "the operator was refused a switchover" in logged
    assert "hands over" not in logged
    assert "handed over" not in logged


def test_the_report_for_programs_says_by_true_or_false_whether_a_node_can_take_over(
    operated: Operated, lockstep: Lockstep
) -> None:
    for told, expected in ((paired_standby(), True), (paired(), False)):
        operated.node.pair = told
        assert json.loads(lockstep("status", operated.directory, "--json")[1])["can_take_over"] is expected


def test_a_supervisor_learns_that_no_node_runs_from_another_status(tmp_path: Path, lockstep: Lockstep) -> None:
    status, _, said = lockstep("status", tmp_path, "--is-primary")
    assert status == 2
    assert f"no node runs on {tmp_path}" in said


def test_a_divergence_is_an_exit_status_of_its_own(operated: Operated, lockstep: Lockstep) -> None:
    operated.node.pair = paired(diverged=["B"], divergences=["B differs from A after command 7"])
    status, out, _ = lockstep("status", operated.directory)
    assert (status, "DIVERGED: B differs from A after command 7" in out) == (1, True)


def test_the_report_says_why_a_copy_cannot_take_over_and_how_old_it_is(operated: Operated, lockstep: Lockstep) -> None:
    operated.node.pair = paired_standby(
        can_take_over=0, cannot_take_over_reason="B is behind", lag_s=12.34, silence_s=9.0
    )
    _, out, _ = lockstep("status", operated.directory)
    assert re.search(r"can take over now +B is behind", out)
    assert re.search(r"up to date +12\.3 s ago", out)
    assert re.search(r"primary last heard +9\.0 s ago", out)


def test_the_report_shows_what_is_wrong_with_the_node_itself(operated: Operated, lockstep: Lockstep) -> None:
    for told in (paired(), paired_standby(), unpaired("open", "", "fsync", 1, "ab" * 16, 1)):
        operated.node.pair = told
        assert "warning" not in lockstep("status", operated.directory)[1]
        operated.node.pair = told | {"warnings": ["the disk is low", "the clock jumped"]}
        out = lockstep("status", operated.directory)[1]
        assert re.findall(r"warning +(.+)", out) == ["the disk is low", "the clock jumped"]
        (sample,) = checked(["status"], lockstep("status", operated.directory, "--json")[1])
        assert sample["warnings"] == ["the disk is low", "the clock jumped"]


def test_the_report_says_of_a_standby_alone_whether_it_is_in_sync(operated: Operated, lockstep: Lockstep) -> None:
    lost = COPY | {"in_sync": False, "lag_commands": 7}
    operated.node.pair = paired(copies=[lost, lost | {"name": "C", "role": "follower"}])
    _, out, _ = lockstep("status", operated.directory)
    assert re.search(r"standby B +not in sync, 7 commands behind", out)
    assert re.search(r"follower C +7 commands behind", out)


# lockstep top.


@pytest.mark.parametrize(
    ("told", "words", "red"),
    [
        (paired(), ("primary A reigning", "epoch 3", "standby B in sync, 0 behind"), ()),
        (paired(copies=[]), ("standby none",), ("none",)),
        (paired(copies=[COPY | {"in_sync": False, "lag_commands": 7}]), ("NOT IN SYNC, 7 behind",), ("NOT IN SYNC",)),
        (paired(state="unsure"), ("primary A unsure",), ("primary A unsure",)),
        (paired(diverged=["B"]), ("DIVERGED B",), ("B",)),
        (paired_standby(), ("standby B following", "lag 0 commands, 0.0 s behind", "takeover ready"), ()),
        (paired_standby(state="diverged", can_take_over=0), ("NOT READY",), ("standby B diverged", "NOT READY")),
    ],
)
def test_top_shows_role_epoch_standby_and_lag_and_in_red_what_an_operator_must_look_at(
    told: dict[str, Any], words: tuple[str, ...], red: tuple[str, ...]
) -> None:
    sample = {"at_s": 0, "status": {}, "pair": told, "sessions": [], "sessions_total": 0, "books": []}
    assert all(word in line(sample) for word in words)
    shown = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard")
    shown.print(drawn(sample))
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    in_red = re.findall(r"\x1b\[1;31m([^\x1b]*)", text)
    assert len(in_red) == len(red)
    assert all(any(word in each for each in in_red) for word in red)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert all(word in plain for word in words)


def test_the_samples_of_top_have_the_pair_or_null(operated: Operated, lockstep: Lockstep) -> None:
    (alone,) = [
        json.loads(each) for each in lockstep("top", operated.directory, "--seconds", 0, "--json")[1].splitlines()
    ]
    assert alone["pair"] is None
    operated.node.pair = paired()
    (told,) = [
        json.loads(each) for each in lockstep("top", operated.directory, "--seconds", 0, "--json")[1].splitlines()
    ]
    assert told["pair"] == pair_report.report_object(paired())


# Monitors.


def test_every_number_of_the_report_is_a_metric_and_a_single_node_has_none_of_them() -> None:
    node = FakeNode()
    assert not any(name.startswith("lockstep_pair") for name, _ in samples(Metrics(node).text().decode()))
    node.pair = paired_standby(
        lag_commands=5, lag_s=1.5, silence_s=0.25, released_seq=8, agreed_seq=7, arbiter="it is down"
    )
    found = samples(Metrics(node).text().decode())
    for key, name, _ in PAIR_GAUGES:
        assert found[name, ""] == node.pair[key]
    numbers = {key for key, value in node.pair.items() if isinstance(value, int | float)}
    assert numbers == {key for key, *_ in PAIR_GAUGES} | {"seq", "speed_bump_ns"}, "two are metrics of every node"
    assert found["lockstep_pair_primary", ""] == 0
    assert found["lockstep_pair_working", ""] == 1
    assert found["lockstep_pair_in_sync", ""] == 2
    assert found["lockstep_pair_arbiter_answers", ""] == 0
    node.pair = paired(copies=[COPY, COPY | {"name": "C", "role": "follower", "in_sync": False, "lag_commands": 40}])
    found = samples(Metrics(node).text().decode())
    assert found["lockstep_pair_primary", ""] == 1
    assert found["lockstep_copy_lag_commands", "copy=C,role=follower"] == 40
    assert found["lockstep_copy_in_sync", "copy=B,role=standby"] == 1


def _page(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(json.loads(answer.read()))
    finally:
        connection.close()


def test_a_real_pair_reports_itself_and_its_standby_is_healthy_but_not_ready(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    with pair(tmp_path) as (found, a, b):
        (of_a,) = checked(["status"], lockstep("status", a.data, "--json")[1])
        (of_b,) = checked(["status"], lockstep("status", b.data, "--json")[1])
        assert set(of_a) == set(of_b) == set(PAIR_KEYS)
        assert of_a["clients_address"] == of_b["clients_address"] == f"127.0.0.1:{a.port}"
        assert (of_b["can_take_over"], of_b["cannot_take_over_reason"]) == (1, None)
        assert of_b["lag_s"] < 60
        assert lockstep("admin", "do", a.data, "venue speed_bump=350us")[0] == 0
        until(lambda: {each.pair()["speed_bump_ns"] for each in (a, b)} == {350_000}, 60, "B does not tell the delay")
        assert checked(["top"], lockstep("top", b.data, "--seconds", 0, "--json")[1])[0]["pair"]["role"] == "standby"
        assert lockstep("status", a.data, "--is-primary")[0] == 0
        assert lockstep("status", b.data, "--is-primary")[0] == 1
        assert _page(a.metrics_port, "/readyz") == (200, {"ready": True, "reasons": [], "warnings": []})
        sentence = f"this node is a copy of A, whose order entry is at 127.0.0.1:{a.port}; send it to A"
        assert _page(b.metrics_port, "/readyz") == (503, {"ready": False, "reasons": [sentence], "warnings": []})
        assert _page(b.metrics_port, "/healthz") == (200, {"healthy": True, "reasons": []})
        # Commands on a standby name the primary.
        for words in (
            ["do", b.data, "participant GAMMA"],
            ["do", b.data, "phase XYZ closed"],
            ["halt", b.data, "XYZ"],
            ["drain", b.data],
            ["roll", b.data],
        ):
            status, _, said = lockstep("admin", *words)
            assert (status, sentence in said) == (2, True), (words, said)
        assert lockstep("switchover", b.data)[0] == 2
        # A primary without its arbiter is healthy, and not ready.
        a.end(signal.SIGKILL)
        b.awaits(role="primary", state="reigning")
        found.witness.stop()
        b.awaits(state="unsure")
        assert lockstep("status", b.data, "--is-primary")[0] == 1
        assert _page(b.metrics_port, "/healthz")[0] == 200
        ready, told = _page(b.metrics_port, "/readyz")
        assert (ready, "the arbiter does not confirm" in told["reasons"][0]) == (503, True)


@pytest.mark.slow
def test_commands_of_an_operator_end_with_75_while_the_witness_does_not_answer_and_the_primary_stays(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    """A switchover was promised, with status 0, and nobody reigned until the witness went on."""
    with pair(tmp_path) as (found, a, b):
        assert found.witness.process is not None
        found.witness.process.send_signal(signal.SIGSTOP)
        try:
            # The lease is not over yet, or is: in both cases the primary keeps its reign.
            status, out, said = lockstep("switchover", a.data)
            assert (status, out, "nothing was done" in said) == (75, "", True), said
            a.awaits(state="unsure")
            until(lambda: "repeat the command once" in lockstep("switchover", a.data)[2], 60, "the lapse is not long")
            for words in (["switchover", a.data], ["admin", "halt", a.data, "XYZ"], ["admin", "kill", a.data, "ALPHA"]):
                status, out, said = lockstep(*words)
                assert (status, out, "repeat the command once" in said) == (75, "", True), (words, said)
            assert (a.pair()["role"], b.pair()["role"]) == ("primary", "standby")
        finally:
            found.witness.process.send_signal(signal.SIGCONT)
        a.awaits(role="primary", state="reigning")
        b.awaits(state="following", can_take_over=1)
        assert lockstep("switchover", a.data)[:2] == (0, "B takes over; this node starts again as a copy\n")
        assert b.is_(role="primary")
