"""Login records: who was logged in when, in a node's side files, and what `lockstep sessions` makes of them."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.questions.sessions import logged_in, was_running
from gateway.login_log import LOGIN, LoginFiles, LoginKind, LoginLog, read_logins
from gateway.register import UserRegister
from gateway.side_files import SideFileError
from journal import Journal
from tests.conftest import Lockstep
from tests.gateways import gateway
from tests.json_schemas import checked
from tests.ouch_messages import enter
from tests.running import Client, Running, started, until

JOURNAL_ID = bytes(range(16))


class Desk:
    """A gateway that has logins."""

    def __init__(self, name: str) -> None:
        self.name = name

    def displace(self, _user: int, _why: str) -> None:
        """Nothing is done."""


def log_of(folder: Path, seq: list[int], **sizes: int) -> LoginLog:
    files = LoginFiles(folder, JOURNAL_ID, **sizes)
    return LoginLog(files, lambda: seq[0], lambda user: f"U{user}", pytest.fail)


def read(folder: Path) -> list[tuple[int, int, str, str, str]]:
    rows = read_logins(folder, JOURNAL_ID)
    return [
        (int(row["seq"]), int(row["kind"]), *(row[key].decode() for key in ("name", "gateway", "address")))
        for row in rows
    ]


def test_the_register_tells_each_login_and_its_end_once(tmp_path: Path) -> None:
    seq = [10]
    log, register = log_of(tmp_path / "logins", seq), UserRegister()
    register.watcher = log
    own, desk = Desk(""), Desk("desk")
    assert not register.claim(1, own, newest_wins=False, address="127.0.0.1:5").why
    seq[0] = 12
    assert register.claim(1, desk, newest_wins=False, address="refused").why
    assert not register.claim(0, desk, newest_wins=False, address="a past session").why
    assert not register.claim(1, desk, newest_wins=True, address="[::1]:6").why
    seq[0] = 15
    assert not register.give_back(1, own)
    assert register.give_back(1, desk)
    log.close(30)
    start, end = (LoginKind.START, "", "", ""), (LoginKind.END, "", "", "")
    assert read(tmp_path / "logins") == [
        (10, *start),
        (10, LoginKind.LOGIN, "U1", "", "127.0.0.1:5"),
        (12, LoginKind.LOGOUT, "U1", "", ""),
        (12, LoginKind.LOGIN, "U1", "desk", "[::1]:6"),
        (15, LoginKind.LOGOUT, "U1", "desk", ""),
        (15, *end),
    ]


def test_a_node_that_has_not_begun_or_has_ended_is_not_said_to_have_nobody(tmp_path: Path) -> None:
    seq = [10]
    log = log_of(tmp_path / "logins", seq)
    seq[0] = 20
    log.close(30)
    rows = read_logins(tmp_path / "logins", JOURNAL_ID)
    assert [was_running(rows, at) for at in (9, 10, 11, 20, 21, None)] == [False, False, True, True, False, False]


def test_each_start_begins_a_file_and_writes_over_none(tmp_path: Path) -> None:
    for _ in range(3):  # without a command in between, as of a node that is started again and again
        log = log_of(tmp_path / "logins", [7])
        log.on_login(1, Desk(""), "x")
        log.close(30)
    assert len(list((tmp_path / "logins").iterdir())) == 3
    assert [kind for _, kind, *_ in read(tmp_path / "logins")] == 3 * [
        LoginKind.START,
        LoginKind.LOGIN,
        LoginKind.END,
    ]


def test_numbers_that_a_crash_took_are_not_those_of_later_commands(tmp_path: Path) -> None:
    seq = [100]
    log = log_of(tmp_path / "logins", seq)
    log.on_login(1, Desk(""), "x")  # command 100 never became durable
    log.flush()
    log._writer.close(30)
    again = log_of(tmp_path / "logins", [90])
    again.close(30)
    assert [each[:2] for each in read(tmp_path / "logins")] == [
        (90, LoginKind.START),
        (90, LoginKind.LOGIN),
        (90, LoginKind.START),
        (90, LoginKind.END),
    ]


def test_old_files_go_and_a_cut_row_is_left_out(tmp_path: Path) -> None:
    log = log_of(tmp_path / "logins", [1], file_bytes_max=200, files_max=3)
    for user in range(1, 20):
        log.on_login(user, Desk(""), "x")
        log.flush()
    log.close(30)
    files = sorted((tmp_path / "logins").iterdir())
    assert len(files) == 3
    whole = read(tmp_path / "logins")
    assert whole[-1][1] == LoginKind.END
    files[-1].write_bytes(files[-1].read_bytes()[:-1])
    assert read(tmp_path / "logins") == whole[:-1]
    with pytest.raises(SideFileError, match="another journal"):
        read_logins(tmp_path / "logins", bytes(16))


def test_more_logins_at_once_than_are_held_are_counted_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.login_log._HELD_MAX", 3)
    log = log_of(tmp_path / "logins", [1])
    for user in range(1, 6):
        log.on_login(user, Desk(""), "x")
    assert log.lost == 2
    log.flush()
    log.close(30)
    assert len(read(tmp_path / "logins")) == 5


def rows_of(*facts: tuple[int, int, int]) -> Any:
    """LOGIN rows: number, user (below 0: it logs out) and, with user 0, 1 for a start and 0 for an end."""
    rows = np.zeros(len(facts), LOGIN)
    for row, (seq, user, starts) in zip(rows, facts, strict=True):
        kind = LoginKind.LOGIN if user > 0 else LoginKind.LOGOUT
        row["kind"] = kind if user else LoginKind.START if starts else LoginKind.END
        row["seq"], row["user"], row["time_ns"] = seq, abs(user), 1_000 * seq + 500
    return rows


def test_users_logged_in_at_a_command_or_time_are_those_whose_login_came_before_and_whose_end_did_not() -> None:
    rows = rows_of((0, 0, 1), (5, 1, 0), (8, 2, 0), (12, -1, 0), (15, 0, 1), (20, 1, 0), (30, 0, 0))

    def at(seq: int | None, time_ns: int | None = None) -> list[tuple[int, int | None]]:
        found = logged_in(rows, seq, time_ns)
        return [(int(each.begin["user"]), None if each.end is None else int(each.end["seq"])) for each in found]

    assert at(5) == []  # it came behind command 5
    assert at(6) == [(1, 12)]
    assert at(9) == at(12) == [(1, 12), (2, 15)]
    assert at(13) == [(2, 15)]
    assert at(16) == []
    assert at(25) == [(1, 30)]
    assert at(None) == []
    assert at(13, 8_499) == [(1, 12)]
    assert at(13, 8_500) == [(1, 12), (2, 15)]


@pytest.mark.slow
def test_a_node_records_who_is_logged_in_and_a_kill_leaves_what_is_known(tmp_path: Path, lockstep: Lockstep) -> None:
    def told(*words: object) -> dict[str, tuple[Any, ...]]:
        (facts,) = checked(["sessions"], lockstep("sessions", tmp_path / "node", *words, "--json")[1])
        keys = ("gateway", "until", "broke_off_before")
        return {each["user"]: (each["gateway"], *(bool(each[key]) for key in keys[1:])) for each in facts["logins"]}

    def seq_of(running: Running) -> int:
        return int(checked(["sessions"], lockstep("sessions", running.data, "--json")[1])[0]["seq"])

    running = started(tmp_path)
    try:
        ua = Client(running.port, "UA")
        ua.socket.sendall(enter("a1", "B", 1, 90_000))
        ua.take(2)
        until(lambda: told() == {"UA": (None, False, False)})
        first = seq_of(running)
        with gateway(running, "desk") as beside:
            ub = Client(beside.port, "UB")
            ub.socket.sendall(enter("b1", "S", 1, 110_000))
            ub.take(2)
            until(lambda: told() == {"UA": (None, False, False), "UB": ("desk", False, False)})
            second = seq_of(running)
            checked(["arrivals"], lockstep("arrivals", running.data, "--json")[1])  # of a ring too
            ua.log_out()
            until(lambda: told() == {"UB": ("desk", False, False)})
        until(lambda: told() == {})
        ua = Client(running.port, "UA")
        ua.socket.sendall(enter("a2", "B", 1, 90_000))
        ua.take(3)
        until(lambda: told() == {"UA": (None, False, False)})
        third = seq_of(running)
    finally:
        running.end(signal.SIGKILL)
    assert told() == {"UA": (None, False, False)}, "of a node that was killed the end is not known"
    running.start()
    assert running.end(signal.SIGTERM) == 0
    assert told() == {}
    # A login is that of the moment at which a command was taken.
    assert told("--at", first) == {"UA": (None, True, False)}
    assert told("--at", second) == {"UA": (None, True, False), "UB": ("desk", True, False)}
    assert told("--at", third) == {"UA": (None, False, True)}
    assert told("--at", 1) == {}
    status, said, _ = lockstep("sessions", tmp_path / "node", "--at", second)
    assert (status, said.splitlines()[0]) == (0, f"2 users logged in at command {second}")
    assert "127.0.0.1" in said
    assert said.count("of the core") == 1
    with Journal.open(tmp_path / "node", readonly=True) as journal:
        times = read_logins(tmp_path / "node" / "logins", journal.journal_id)["time_ns"]
    when = str(np.datetime64(int(times[1]), "ns")) + "Z"
    assert told("--at", when) == {"UA": (None, True, False)}
    assert not any((tmp_path / "node" / "logins").glob("*secret*"))


@pytest.mark.slow
def test_a_node_without_records_of_arrivals_has_none_of_logins(tmp_path: Path, lockstep: Lockstep) -> None:
    running = started(tmp_path, "--no-arrivals")
    try:
        Client(running.port, "UA").log_out()
    finally:
        running.stop()
    assert not (tmp_path / "node" / "logins").exists()
    assert lockstep("sessions", tmp_path / "node")[0] == 2
