"""Reigns of primaries by the journal, and questions whose answer is in the directory of the primary of that time."""

from pathlib import Path

import numpy as np
import pytest

from engine.records import COMMAND, CommandKind
from gateway.latency_log import LatencyFiles, LatencyLog
from gateway.login_log import LoginFiles, LoginLog
from journal import Journal
from journal.history import History
from replay.reigns import Reign, counted_by_reign, reigns
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.rows import batch, enter, instrument, participant, phase
from tests.test_reign import Primary

#: Epoch and node of each reign behind the first commands, which are of none.
REIGNS = ((3, "A"), (5, "node_b"), (6, "A"), (9, "C"))
ORDERS = 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of some reigns, each with orders in blocks of their own."""
    node = Primary(tmp_path / "data", new=True)
    node.pipeline.take(batch(instrument("XYZ"), participant("ALPHA"), phase("XYZ", 4)))
    for epoch, name in REIGNS:
        node.now_ns += 1_000
        node.reign(epoch, name)
        for number in range(ORDERS):
            node.now_ns += 1_000
            node.pipeline.take(enter(1, f"{name[0]}{epoch}{number}", 1, 1, 90_000))
    node.close()
    return tmp_path / "data"


def by_rows(data: Path) -> list[Reign]:
    """All reigns by a look at every row."""
    with Journal.open(data, readonly=True) as journal:
        rows = np.concatenate([np.frombuffer(bytes(block.rows), np.dtype("V64")) for block in journal.blocks()])
    kinds = rows.view(COMMAND)["kind"]
    # The CLOCK row before it is that primary's too.
    at = (np.flatnonzero(kinds == CommandKind.EPOCH) - 1).tolist()
    assert (kinds[at] == CommandKind.CLOCK).all()
    lasts = [*at[1:], len(rows)]
    names = ("A", "NODE-B", "A", "C")
    return [
        Reign(name, epoch, first + 1, last)
        for (epoch, _), name, first, last in zip(REIGNS, names, at, lasts, strict=True)
    ]


def test_reigns_of_every_range_are_those_that_a_look_at_each_row_gives(data: Path) -> None:
    every = by_rows(data)
    assert [each.epoch for each in every] == [3, 5, 6, 9]
    with History.open(data) as history:
        last = history.last_seq
        for begin in range(1, last + 1):
            for end in range(begin, last + 1):
                there = [each for each in every if each.first_seq <= end and each.last_seq >= begin]
                assert reigns(history, begin, end) == [
                    each._replace(last_seq=min(each.last_seq, end)) for each in there
                ]
        assert reigns(history, last, last + 50)[-1].node == "C"
    first, second = every[:2]
    seqs = np.array([1, first.first_seq, first.last_seq, second.first_seq])
    assert counted_by_reign(every, seqs) == [(first, 2), (second, 1)], "command 1 is of none"


def test_sessions_of_a_copy_name_the_node_that_was_primary(data: Path, lockstep: Lockstep) -> None:
    def first_line(*words: object) -> str:
        status, said, _ = lockstep("sessions", data, *words)
        assert status == 0
        return said.splitlines()[0]

    _, second, *_ = by_rows(data)
    b_was = "; node NODE-B was primary then, and its directory says who was logged in"
    (data / "arrivals").mkdir()
    assert first_line("--at", second.first_seq).endswith(b_was), "without records of logins"
    with Journal.open(data, readonly=True) as journal:
        files = LoginFiles(data / "logins", journal.journal_id)
    LoginLog(files, lambda: 1, str, pytest.fail).close()
    at = ("--at", second.first_seq)
    assert first_line(*at) == f"this node did not run at command {second.first_seq}{b_was}"
    assert first_line("--at", second.first_seq - 1).endswith(
        "; node A was primary then, and its directory says who was logged in"
    )
    assert first_line("--at", 2) == "this node did not run at command 2", "of no pair yet"
    (facts,) = checked(["sessions"], lockstep("sessions", data, *at, "--json")[1])
    assert facts["primary"] == "NODE-B"
    (facts,) = checked(["sessions"], lockstep("sessions", data, "--at", 2, "--json")[1])
    assert facts["primary"] is None


def test_latencies_that_another_node_of_the_pair_has_are_told_with_its_name(data: Path, lockstep: Lockstep) -> None:
    first, second, third, _ = by_rows(data)
    with Journal.open(data, readonly=True) as journal:
        files = LatencyFiles(data / "latencies", journal.journal_id)
    (data / "latencies").mkdir()
    complaint = lockstep("latency", data)[2]
    assert "; A and C and NODE-B were primary then" in complaint, "nothing is recorded here at all"
    log = LatencyLog(files, pytest.fail)
    for reign in (first, third):
        log.add_one(reign.last_seq, reign.last_seq - reign.first_seq + 1, (5_000, 5_100, 5_200, 5_300, 5_400, 5_500))
    log.close(third.last_seq)
    status, said, _ = lockstep("latency", data, "--to", third.last_seq)
    assert status == 0
    assert f"{2 * ORDERS} orders, cancels and replaces of commands" in said
    assert f", {ORDERS} others not recorded; microseconds" in said
    told = f"{ORDERS} are of commands {second.first_seq} to {second.last_seq}, when node NODE-B was primary"
    assert told in said
    (facts,) = checked(["latency"], lockstep("latency", data, "--to", third.last_seq, "--json")[1])
    assert facts["not_recorded_under"] == [
        {"node": "NODE-B", "from_seq": second.first_seq, "to_seq": second.last_seq, "commands": ORDERS}
    ]
    (facts,) = checked(["latency"], lockstep("latency", data, "--to", first.last_seq, "--json")[1])
    assert facts["not_recorded_under"] == []
    complaint = lockstep("latency", data, "--from", second.first_seq, "--to", second.last_seq)[2]
    assert "give another range; NODE-B was primary then, whose directory has the times" in complaint
    assert "not recorded here; NODE-B was primary" in lockstep("order", data, "n50", "--latency")[1]
    assert "not recorded" not in lockstep("order", data, "A30", "--latency")[1]
