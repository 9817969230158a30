"""`lockstep arrivals`: the records of a node for people and programs, and the check that connections took turns."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from gateway.arrival_log import ARRIVAL, ArrivalFiles, ArrivalLog
from gateway.fairness import messages_of, unfair
from journal import Journal
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import write_node
from tests.streams import random_stream
from tests.test_arrival_log import adding, origins, places

TIME_NS = 1_705_311_000_000_000_000


def rows(*turns: str) -> np.ndarray:
    """ARRIVAL rows of turns, a letter a message of that connection."""
    told = [(turn, place, ord(letter)) for turn, word in enumerate(turns) for place, letter in enumerate(word)]
    return np.array([(seq, 1, c, c, place, turn) for seq, (turn, place, c) in enumerate(told, 1)], ARRIVAL)


@pytest.mark.parametrize(
    "turns", [("",), ("a",), ("aaa",), ("abab", "ba"), ("abcacaa",), ("abcab", "bcabc"), ("ab", "b", "b")]
)
def test_turns_by_message_are_fair(turns: tuple[str, ...]) -> None:
    assert unfair(rows(*turns)).tolist() == []


@pytest.mark.parametrize(
    ("turns", "at"),
    [(("aab",), [2]), (("abba",), [3]), (("ab", "bba"), [4]), (("abcbca",), [5]), (("aabaab",), [2, 5])],
)
def test_a_message_that_waits_for_two_of_another_connection_is_found(turns: tuple[str, ...], at: list[int]) -> None:
    assert unfair(rows(*turns)).tolist() == at


@pytest.mark.parametrize("length", range(1, 8))
def test_the_check_agrees_with_its_definition_for_every_short_turn(length: int) -> None:
    for letters in itertools.product("abc", repeat=length):
        word = "".join(letters)
        slow = [
            at
            for at, letter in enumerate(word)
            if any(word[word[:at].rfind(letter) + 1 : at].count(other) > 1 for other in "abc" if other != letter)
        ]
        assert unfair(rows("ab", word)).tolist() == [at + 2 for at in slow], word


def test_the_second_row_of_a_message_is_no_message_of_its_own() -> None:
    two = np.array([(1, 1, 1, 1, 0, 0), (2, 1, 1, 1, 0, 0), (3, 1, 2, 2, 1, 0)], ARRIVAL)
    assert messages_of(two)["seq"].tolist() == [1, 3]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A directory with a turn of connections 11 and 12, users 1 and 2, and one of connection 12 alone."""
    directory = tmp_path / "node"
    write_node(directory, random_stream(3, 40))
    record(directory, [(0, 1), (1, 2), (0, 1)], [(1, 1)])
    return directory


def record(directory: Path, *turns: list[tuple[int, int]]) -> None:
    with Journal.open(directory, readonly=True) as journal:
        files = ArrivalFiles(directory / "arrivals", journal.journal_id)
    seq = [0]
    log = ArrivalLog(files, lambda: seq[0], pytest.fail)
    add = adding(log)
    for number, messages in enumerate(turns):
        count = sum(each for _, each in messages)
        seq[0] += count
        add(number, count, origins((TIME_NS, 11, 1), (TIME_NS + 1, 12, 2)), places(*messages))
    log.close(30)


def test_records_are_lines_for_people_and_objects_for_programs(node: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("arrivals", node)
    assert (status, complaint) == (0, "")
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == ["seq", "received", "turn", "place", "connection", "user"]
    assert lines[1] == ["1", "2024-01-15T09:30:00", "0", "0", "11", "number", "1"]
    assert [line[0] for line in lines[1:]] == ["1", "2", "3", "4", "5"]
    told = checked(["arrivals"], lockstep("arrivals", node, "--json")[1])
    assert told[4] == {
        "seq": 5, "received": "2024-01-15T09:30:00.000000001Z", "turn": 1, "place": 0, "connection": 12,
        "user_number": 2, "user": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        (["--from", "3"], [3, 4, 5]),
        (["--to", "2"], [1, 2]),
        (["--user", "2"], [2, 3, 5]),
        (["--connection", "11", "--from", "2"], [4]),
    ],
)
def test_records_are_chosen(options: list[str], seqs: list[int], node: Path, lockstep: Lockstep) -> None:
    told = checked(["arrivals"], lockstep("arrivals", node, *options, "--json")[1])
    assert [each["seq"] for each in told] == seqs


def test_the_check_proves_turns_and_ends_with_1_where_one_is_unfair(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("arrivals", node, "--check")
    fair = "4 messages in 2 turns: no connection's message waited for more than one message of each other\n"
    assert (status, said) == (0, fair)
    for file in (node / "arrivals").iterdir():
        file.unlink()
    record(node, [(0, 1), (0, 1), (1, 1)])
    status, said, complaint = lockstep("arrivals", node, "--check")
    assert (status, "3 messages in 1 turn: 1 waited for more" in said) == (1, True)
    assert complaint == "lockstep: 1 message waited for more than one message of another connection\n"
    (told,) = checked(["arrivals"], lockstep("arrivals", node, "--check", "--json")[1])
    assert (told["ok"], told["unfair"], told["first"][0]["seq"]) == (False, 1, 3)


def test_wrong_use_is_one_sentence(node: Path, lockstep: Lockstep) -> None:
    def complaint(*words: object) -> str:
        status, said, told = lockstep("arrivals", node, *words)
        assert (status, said, told.count("\n")) == (2, "", 1)
        return told

    assert "--check compares all connections" in complaint("--check", "--user", "1")
    assert "no checkpoint and no login here names the user 'GHOST'" in complaint("--user", "GHOST")
    assert "commands 5 to 3 are no range" in complaint("--from", "5", "--to", "3")
    for form in ([], ["--json"]):
        assert "there are no records in this range" in complaint("--check", "--from", "99", *form)
    (file,) = (node / "arrivals").iterdir()
    file.write_bytes(b"nonsense" * 9)
    assert "no file of arrivals of this version" in complaint("--check")
    file.unlink()
    file.parent.rmdir()
    assert "there is no" in complaint()


def test_sessions_at_a_moment_are_those_that_had_sent(node: Path, lockstep: Lockstep) -> None:
    def told(*words: object) -> list[tuple[int, int, int, bool]]:
        (facts,) = checked(["sessions"], lockstep("sessions", node, *words, "--json")[1])
        keys = ("connection", "messages", "newest_seq", "is_open")
        return [tuple(each[key] for key in keys) for each in facts["sessions"]]  # type: ignore[misc]

    assert told("--at", 1) == [(11, 1, 1, True)]
    assert told("--at", 3) == [(11, 1, 1, True), (12, 1, 2, True)]
    assert told() == [(11, 2, 4, False), (12, 2, 5, False)]
    status, said, _ = lockstep("sessions", node, "--at", 3)
    assert (status, said.splitlines()[0], "yes" in said) == (
        0,
        f"no logins are known: there is no {node / 'logins'}, which a node writes while it runs",
        True,
    )


def test_a_node_that_started_again_has_other_sessions(node: Path, lockstep: Lockstep) -> None:
    with Journal.open(node, readonly=True) as journal:
        files = ArrivalFiles(node / "arrivals", journal.journal_id)
    seq = [5]
    log = ArrivalLog(files, lambda: seq[0], pytest.fail)
    seq[0] += 1
    adding(log)(0, 1, origins((TIME_NS + 9, 12, 2)), places((0, 1)))
    log.close(30)
    (facts,) = checked(["sessions"], lockstep("sessions", node, "--json")[1])
    assert [(each["run"], each["connection"], each["messages"]) for each in facts["sessions"]] == [
        (1, 11, 2),
        (1, 12, 2),
        (2, 12, 1),
    ]


def test_what_a_user_sends_by_gateways_is_one_session(node: Path, lockstep: Lockstep) -> None:
    """A message of a ring has the place in the turn that it came by, below 0: another one each time."""
    with Journal.open(node, readonly=True) as journal:
        files = ArrivalFiles(node / "arrivals", journal.journal_id)
    seq = [5]
    log = ArrivalLog(files, lambda: seq[0], pytest.fail)
    add = adding(log)
    for turn, source in enumerate((-2, -1, -3), 9):
        seq[0] += 1
        add(turn, 1, origins((TIME_NS + 9, source, 2)), places((0, 1)))
    log.close(30)
    (facts,) = checked(["sessions"], lockstep("sessions", node, "--json")[1])
    of_gateways = [each for each in facts["sessions"] if each["connection"] < 0]
    assert [(each["connection"], each["user_number"], each["messages"]) for each in of_gateways] == [(-1, 2, 3)]
    assert "by a gateway" in lockstep("sessions", node)[1]


def test_sessions_without_records_are_refused_in_a_sentence(tmp_path: Path, lockstep: Lockstep) -> None:
    write_node(tmp_path / "node", random_stream(3, 40))
    status, said, sentence = lockstep("sessions", tmp_path / "node")
    assert (status, said, "--no-arrivals" in sentence) == (2, "", True)
