"""Latency records: the moments of each command in a node's side files, and what the command line makes of them."""

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cli.questions.latency import STAGES, TIMES, _summary
from directory.recover import create
from engine import Capacity
from gateway.latency_log import LATENCY, Latencies, LatencyFiles, LatencyLog, since_1970_ns
from gateway.side_files import HEAD_BYTES, PIECES_MAX, SideFileError
from journal import Journal
from journal.history import History
from replay.past import names_at_end
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import write_node
from tests.ouch_messages import cancel, enter
from tests.running import Client, started
from tests.streams import random_stream

JOURNAL_ID = bytes(range(16))
#: A time of CLOCK_MONOTONIC.
NOW_NS = 5_000_000_000
#: Moments of a turn after its reading: none, taken, sequenced, applied, may be answered, answered.
AFTER_NS = (0, 100, 200, 300, 400, 500)


def at(begin_ns: int) -> tuple[int, int, int, int, int, int]:
    return tuple(begin_ns + after_ns for after_ns in AFTER_NS)  # type: ignore[return-value]


def log_of(directory: Path, **sizes: int) -> LatencyLog:
    return LatencyLog(LatencyFiles(directory, JOURNAL_ID, **sizes), pytest.fail)


def read(directory: Path) -> Latencies:
    return Latencies.read(directory, JOURNAL_ID)


# The files.


def test_what_is_read_back_is_what_was_recorded(tmp_path: Path) -> None:
    log = log_of(tmp_path / "latencies")
    log.add_one(3, 3, at(NOW_NS))
    ends, rows = np.array([5, 9]), np.array([2, 3])  # commands 6 was not recorded
    log.add(ends, rows, np.array([at(NOW_NS + 1_000), at(NOW_NS + 2_000)]))
    log.close(30)
    found = read(tmp_path / "latencies").of(np.array([1, 3, 4, 5, 6, 7, 9, 10]))
    began = found["read_ns"] - since_1970_ns()
    expected = np.array([0, 0, 1_000, 1_000, -1, 2_000, 2_000, -1])
    known = expected >= 0
    # The two readings of the clocks' difference are each right to less than a microsecond, on an idle machine.
    assert np.abs(began[known] - NOW_NS - expected[known]).max() < 100_000_000
    assert (found["read_ns"] > 0).tolist() == known.tolist()
    for name, after_ns in (("sequenced_ns", 200), ("applied_ns", 300), ("answered_ns", 500)):
        assert (found[name] - found["read_ns"])[known].tolist() == [after_ns] * int(known.sum())


def test_more_turns_than_are_kept_at_once_are_all_written(tmp_path: Path) -> None:
    log = log_of(tmp_path / "latencies")
    count = 10_000
    ends = np.arange(1, count + 1)
    log.add(ends, np.ones(count, np.int64), NOW_NS + ends[:, None] + np.array(AFTER_NS))
    for seq in range(count + 1, 2 * count + 1):
        log.add_one(seq, 1, at(NOW_NS + seq))
    log.close(30)
    found = read(tmp_path / "latencies").of(np.arange(1, 2 * count + 1))
    assert (found["read_ns"] > 0).all()
    assert (np.diff(found["read_ns"][:count]) == 1).sum() >= count - 5, "pieces differ by a reading of the clocks"


def test_a_command_is_journaled_at_the_first_mark_after_it_that_has_it() -> None:
    turns = np.array([(10, 10, *at(100)), (20, 10, *at(10_000)), (30, 10, *at(20_000))], LATENCY)
    marks = np.zeros(4, LATENCY)
    # The mark of 25 is of a life whose last blocks were set aside: the numbers 11 to 20 came again, after it.
    marks["last_seq"], marks["read_ns"] = [8, 25, 15, 20], [500, 900, 10_400, 11_000]
    latencies = Latencies(turns, marks)
    assert latencies.of(np.array([5, 9, 12, 18, 30]))["journaled_ns"].tolist() == [500, 900, 10_400, 11_000, 0]


def test_marks_of_the_journal_come_from_its_thread(tmp_path: Path) -> None:
    log = log_of(tmp_path / "latencies")
    begin_ns = time.monotonic_ns()
    log.add_one(1, 1, at(begin_ns))
    thread = threading.Thread(target=log.on_journaled, args=(1,))
    thread.start()
    thread.join()
    log.close(30)
    (found,) = read(tmp_path / "latencies").of(np.array([1]))
    assert found["journaled_ns"] > found["sequenced_ns"]


def test_files_are_bounded_and_a_file_that_begins_with_a_mark_takes_no_turn_away(tmp_path: Path) -> None:
    directory = tmp_path / "latencies"
    log = log_of(directory, file_bytes_max=HEAD_BYTES + 4 * LATENCY.itemsize, files_max=3)
    last_seq = PIECES_MAX // 2 - 1  # so many wait for the thread, however slow it is
    for seq in range(1, last_seq + 1):
        log.add_one(seq, 1, at(NOW_NS + seq))
        log.flush()
        log.on_journaled(seq)
        log.flush()  # a mark alone
    log.close(30)
    assert len(list(directory.iterdir())) == 3
    seqs = read(directory).turns["last_seq"].tolist()
    assert seqs == list(range(seqs[0], last_seq + 1))
    assert len(seqs) >= 4


def test_turns_that_a_crash_took_are_not_shown_beside_those_that_have_their_numbers_now(tmp_path: Path) -> None:
    for begin, end, now_ns in ((1, 8, NOW_NS), (5, 7, 2 * NOW_NS)):
        log = log_of(tmp_path / "latencies")
        for seq in range(begin, end + 1):
            log.add_one(seq, 1, at(now_ns + seq))
        log.close(30)
    turns = read(tmp_path / "latencies").turns
    assert turns["last_seq"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (np.diff(turns["read_ns"]) > NOW_NS // 2).tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("cut", [1, 8, LATENCY.itemsize - 1])
def test_a_record_that_is_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    log = log_of(tmp_path / "latencies")
    for seq in (1, 2, 3):
        log.add_one(seq, 1, at(NOW_NS))
    log.close(30)
    (path,) = (tmp_path / "latencies").iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert read(tmp_path / "latencies").turns["last_seq"].tolist() == [1, 2]


def test_files_of_another_version_and_of_another_journal_are_refused(tmp_path: Path) -> None:
    log = log_of(tmp_path / "latencies")
    log.add_one(1, 1, at(NOW_NS))
    log.close(30)
    with pytest.raises(SideFileError, match="taken from another journal"):
        Latencies.read(tmp_path / "latencies", JOURNAL_ID[::-1])
    (path,) = (tmp_path / "latencies").iterdir()
    path.write_bytes(b"LSLATEN0" + path.read_bytes()[8:])
    with pytest.raises(SideFileError, match="no file of latencies of this version"):
        read(tmp_path / "latencies")


# Percentiles.


def test_percentiles_are_values_that_so_many_do_not_exceed() -> None:
    values = np.random.default_rng(7).permutation(np.arange(1, 1_001))
    assert _summary(values) == {
        "commands": 1_000, "p50_ns": 500, "p90_ns": 900, "p99_ns": 990, "p999_ns": 999, "max_ns": 1_000,
    }  # fmt: skip
    assert _summary(np.array([7])) == {
        "commands": 1, "p50_ns": 7, "p90_ns": 7, "p99_ns": 7, "p999_ns": 7, "max_ns": 7,
    }  # fmt: skip
    assert set(_summary(np.zeros(0, np.int64)).values()) == {0, None}


# A node.


class Ended(NamedTuple):
    """A node that has ended: its directory and its policy."""

    data: Path
    durability: str


@pytest.fixture(scope="module", params=["fsync", "none"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """A node that took 30 orders of UA, then one of UB that trades with the first, and has ended in order."""
    running = started(tmp_path_factory.mktemp("latency"), "--durability", request.param)
    try:
        seller, buyer = Client(running.port, "UA"), Client(running.port, "UB")
        for number in range(30):
            seller.socket.sendall(enter(f"s{number}", "S", 100, 100_500 + 100 * number))
            seller.take(2 + number)
        buyer.socket.sendall(enter("b1", "B", 60, 100_500) + cancel("none"))
        buyer.take(4)
        assert running.end(signal.SIGTERM) == 0
        yield Ended(running.data, request.param)
    finally:
        running.stop()


@pytest.mark.slow
def test_each_order_has_its_moments_in_their_order(node: Ended, lockstep: Lockstep) -> None:
    (facts,) = checked(["order"], lockstep("order", node.data, "b1", "--latency", "--json")[1])
    moments = facts["history"]
    assert [each["event"]["kind"] for each in moments] == ["accepted", "trade"]
    for each in moments:
        taken = each["latency"]
        names = ("read_ns", "sequenced_ns", "applied_ns", "answered_ns")
        told = [taken[name] for name in names]
        assert told == sorted(told)
        assert 0 <= told[0] <= told[-1] < 120_000_000_000
        assert taken["journaled_ns"] >= taken["sequenced_ns"]
    assert moments[0]["latency"] == moments[1]["latency"], "one command caused both"
    status, said, _ = lockstep("order", node.data, "b1", "--latency")
    assert status == 0
    assert "microseconds after receipt" in " ".join(said.split())
    (without,) = checked(["order"], lockstep("order", node.data, "b1", "--json")[1])
    assert without["history"][0]["latency"] is None


def test_the_summary_has_every_command_by_stage_participant_and_time(node: Ended, lockstep: Lockstep) -> None:
    (facts,) = checked(["latency"], lockstep("latency", node.data, "--every", 1, "--json")[1])
    assert (facts["commands"], facts["not_recorded"]) == (32, 0)
    stages = {each["stage"]: each for each in facts["stages"]}
    assert [*stages] == [name for name, _, _ in STAGES]
    assert {each["commands"] for each in stages.values()} == {32}
    for each in stages.values():
        assert 0 <= each["p50_ns"] <= each["p90_ns"] <= each["p99_ns"] <= each["max_ns"]
    assert stages["in all"]["p50_ns"] > stages["applied"]["p50_ns"]
    assert {each["participant"]: each["commands"] for each in facts["participants"]} == {"ALPHA": 30, "BETA": 2}
    assert sum(each["commands"] for each in facts["times"]) == 32
    slowest = max(facts["participants"], key=lambda each: each["max_ns"])
    assert slowest["max_ns"] == stages["in all"]["max_ns"]
    ends = (facts["from_seq"], facts["to_seq"])
    (part,) = checked(
        ["latency"], lockstep("latency", node.data, "--from", ends[0], "--participant", "BETA", "--json")[1]
    )
    assert (part["commands"], part["to_seq"]) == (2, ends[1])
    status, said, _ = lockstep("latency", node.data)
    assert (status, said.splitlines()[0].split(" of ")[0]) == (0, "32 orders, cancels and replaces")


def test_names_of_participants_need_no_replay(
    node: Ended, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = lockstep("latency", node.data)
    monkeypatch.setattr("cli.questions.latency.rebuilt_at", lambda *_: pytest.fail("the state was rebuilt"))
    assert lockstep("latency", node.data) == expected
    rows = random_stream(3, 900, hostile=0.1, garbage=0.05, control=0.3)
    capacity = Capacity(orders_max=4_096, ids_max=16_384, instruments_max=16, participants_max=16)
    journal, engine = create(tmp_path / "node", capacity, durability="none")
    with journal:
        blocks = (rows[at : at + 3] for at in range(0, len(rows), 3))
        pump(blocks, FileStamp(), journal, engine, durability="none")
    with History.open(tmp_path / "node") as history:
        assert names_at_end(history) == replace(engine.directory, now_ns=0)
    assert len(engine.directory.participants) > 1


def test_under_fsync_no_answer_may_leave_before_its_command_is_journaled(node: Ended, lockstep: Lockstep) -> None:
    """And under ``none`` the same records show that answers did not wait: they are the control."""
    with Journal.open(node.data, readonly=True) as journal:
        found = Latencies.read(node.data / "latencies", journal.journal_id)
        times = found.of(np.arange(1, journal.last_seq + 1))
    known = times[(times["journaled_ns"] > 0) & (times["read_ns"] > 0)]
    (facts,) = checked(["latency"], lockstep("latency", node.data, "--json")[1])
    assert len(known) >= facts["commands"]
    answered_first = known["answered_ns"] < known["journaled_ns"]
    # The loop may see that a commit is done a moment before the journal's thread notes the time.
    assert int(answered_first.sum()) <= 1 if node.durability == "fsync" else int(answered_first.sum()) > 16


# Wrong use.


def complaint_of(lockstep: Lockstep, *words: Any) -> str:
    status, said, told = lockstep(*words)
    assert (status, said, told.count("\n")) == (2, "", 1)
    return told


def test_wrong_use_is_one_sentence(node: Ended, lockstep: Lockstep, tmp_path: Path) -> None:
    assert "there is no participant GHOST" in complaint_of(lockstep, "latency", node.data, "--participant", "GHOST")
    assert "is recorded; give another range" in complaint_of(lockstep, "latency", node.data, "--to", 1)
    write_node(tmp_path / "node", random_stream(3, 40))
    for words in (["latency", tmp_path / "node"], ["order", tmp_path / "node", "--number", 1, "--latency"]):
        assert "unless it has --no-arrivals" in complaint_of(lockstep, *words)
    (tmp_path / "node" / "latencies").mkdir()
    assert "no command is recorded" in complaint_of(lockstep, "latency", tmp_path / "node")
    (tmp_path / "node" / "latencies" / f"{1:020}.latencies").write_bytes(b"nonsense" * 9)
    assert "no file of latencies of this version" in complaint_of(lockstep, "latency", tmp_path / "node")


@pytest.mark.slow
def test_a_node_without_records_writes_none(tmp_path: Path) -> None:
    running = started(tmp_path, "--no-arrivals")
    try:
        client = Client(running.port, "UA")
        client.socket.sendall(enter("s1", "S", 100, 100_500))
        client.take(2)
        assert running.end(signal.SIGTERM) == 0
        assert not {"latencies", "arrivals"} & {each.name for each in running.data.iterdir()}
    finally:
        running.stop()


def test_a_message_of_a_fix_session_is_no_order(tmp_path: Path, lockstep: Lockstep) -> None:
    """Its row in the journal is a cancel of no order, which nobody waits for."""
    (tmp_path / "day.txt").write_text(
        "instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nphase XYZ continuous\n"
        "enter ALPHA a1 buy 10 XYZ @ 9.00\ncancel ALPHA ~0000000000000000 qty=5 context=2001000000030007\n"
        "cancel ALPHA ~0000000000000000 qty=5\n"
    )
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    with Journal.open(node, readonly=True) as journal:
        last_seq = journal.last_seq
        log = LatencyLog(LatencyFiles(node / "latencies", journal.journal_id), pytest.fail)
    log.add_one(last_seq, last_seq, at(NOW_NS))
    log.close(30)
    (facts,) = checked(["latency"], lockstep("latency", node, "--json")[1])
    assert (facts["commands"], facts["not_recorded"], facts["to_seq"]) == (2, 0, last_seq)


def test_times_have_the_moments_of_all_stages() -> None:
    assert {each for _, *pair in STAGES for each in pair} <= {*(TIMES.names or ())}


def test_stages_follow_each_other_from_the_receipt_of_a_command_to_its_answers() -> None:
    moments = {
        "received_ns": 0, "read_ns": 1, "sequenced_ns": 3, "applied_ns": 7, "journaled_ns": 15, "answered_ns": 31,
    }  # fmt: skip
    spans_ns = {stage: moments[end] - moments[begin] for stage, begin, end in STAGES}
    assert sum(spans_ns[stage] for stage in ("read", "sequenced", "applied", "answered")) == spans_ns["in all"] == 31
    assert spans_ns["journaled"] == 12, "beside applying, from sequencing on"
