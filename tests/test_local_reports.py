"""Reports for a program beside a node: each once, in order, as the journal gives them, and none before its release."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.errors import CannotConnect, ReportsLost
from client.local_reports import LocalReports, ReportKind, report_object
from engine.names import pack
from journal import Journal
from journal.history import History
from replay.live_reports import room_of
from replay.past import PastSlice
from replay.rebuild import rebuild
from reports import REPORT, Reports
from reports.rows import joined
from tests.ouch_messages import cancel, enter
from tests.pair_processes import Member, pair
from tests.running import ROOT, Client, Running, started, until
from tests.test_node_tape import TAPE_WORDS, _of_pair, orders

#: Rows as raw bytes: NumPy would pack rows whose places overlap.
RAW = f"V{REPORT.itemsize}"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--tape-mb", "1")
    yield running
    running.stop()


def by_journal(directory: Path, from_seq: int) -> np.ndarray[Any, Any]:
    """REPORT rows of a journal, made in one go."""
    found = []
    with History.open(directory) as history:
        fold = Reports(room_of(history))
        for part in history.ranges(1, history.last_seq):
            for block in PastSlice(history, part).blocks():
                found.append(fold.make(block.play.first_seq, block.play.commands, block.play.events))
    rows = joined(found)
    return rows[rows["seq"] >= from_seq]


class Taking:
    """The rows that a cursor gave."""

    def __init__(self, cursor: LocalReports) -> None:
        self.cursor = cursor
        self.rows: list[np.ndarray[Any, Any]] = []

    def until(self, seq: int) -> None:
        """Take all up to a command."""
        until_s = time.monotonic() + 180
        while self.cursor.next_seq <= seq:
            assert time.monotonic() < until_s, self.cursor.next_seq
            rows = self.cursor.poll()
            if rows is None:
                time.sleep(0.001)
            elif len(rows):
                self.rows.append(rows.copy())

    def bytes(self) -> bytes:
        return joined(self.rows).tobytes()


def trade(node: Running, name: str) -> None:
    """An order that rests, one that takes a part of it, and a refusal."""
    one, other = Client(node.port, "UA", seq=0), Client(node.port, "UB", seq=0)
    one.socket.sendall(enter(f"{name}r", "B", 9, 90_000))
    one.take(1)
    other.socket.sendall(enter(f"{name}t", "S", 4, 90_000) + enter(f"{name}t", "S", 4, 90_000) + cancel("none"))
    other.take(2)
    one.take(2)
    one.socket.close()
    other.socket.close()


@pytest.mark.slow
def test_reports_go_on_through_overruns_a_roll_kills_and_a_larger_slice(node: Running) -> None:
    seq = node.status()["seq"]
    with LocalReports(node.data, from_seq=1) as cursor:
        taking = Taking(cursor)
        taking.until(seq)
        trade(node, "a")
        taking.until(node.status()["seq"])
        lost = cursor._live.tape.lost
        client = Client(node.port, "UA")
        reader = cursor._live.tape._reader
        assert reader is not None
        for number in range(40):
            client.socket.sendall(orders(f"o{number}."))
            if reader.lag_words() > 2 * TAPE_WORDS:
                break
            time.sleep(0.2)
        client.socket.close()
        until(lambda: node.status()["connections"] == 0)
        taking.until(node.status()["seq"])
        assert cursor._live.tape.lost > lost
        with node.link() as link:
            link.ask("roll")
        trade(node, "b")
        taking.until(node.status()["seq"])
        node.end(signal.SIGKILL)
        node.start()
        trade(node, "c")
        taking.until(node.status()["seq"])
        node.end(signal.SIGTERM)
        subprocess.run(
            [sys.executable, "-m", "cli.main", "roll", str(node.data), "--participants-max", "4096"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        node.start()
        with node.link() as link:
            many = "\n".join(f"participant P{number}" for number in range(200))
            assert link.ask("commands", text=many)["rejected"] == 0
        trade(node, "d")
        taking.until(node.status()["seq"])
    node.end(signal.SIGTERM)
    assert taking.bytes() == by_journal(node.data, 1)[: sum(map(len, taking.rows))].tobytes()
    assert taking.rows[-1]["seq"][-1] > seq


@pytest.mark.slow
def test_a_later_cursor_goes_on_where_an_earlier_one_ended(node: Running) -> None:
    taken = []
    next_seq = 1
    for name in ("a", "b", "c"):
        trade(node, name)
        with LocalReports(node.data, from_seq=next_seq) as cursor:
            taking = Taking(cursor)
            taking.until(node.status()["seq"])
            taken.append(taking.bytes())
            next_seq = cursor.next_seq
    node.end(signal.SIGTERM)
    whole = by_journal(node.data, 1)
    assert b"".join(taken) == whole[whole["seq"] < next_seq].tobytes()


@pytest.mark.slow
def test_a_cursor_without_a_beginning_gives_what_comes_from_now_on(node: Running) -> None:
    trade(node, "a")
    seq = node.status()["seq"]
    with LocalReports(node.data) as cursor:
        assert cursor.next_seq == seq + 1
        assert len(cursor.wait(0.2)) == 0
        trade(node, "b")
        rows = next(iter(cursor))
        assert rows["seq"][0] > seq


@pytest.mark.slow
def test_reports_are_chosen_by_symbol_participant_and_kind(node: Running) -> None:
    with node.link() as link:
        link.ask("commands", text="instrument ABC tick=0.01 lot=1 reference=10.00\nphase ABC continuous")
    trade(node, "a")
    seq = node.status()["seq"]
    whole = by_journal(node.data, 1)
    beta = whole["participant_name"] == pack("BETA")
    trades = whole["kind"] == ReportKind.TRADE
    for chosen, mask in (
        ({"symbol": "ABC"}, whole["symbol"] == pack("ABC")),
        ({"participant": "BETA"}, beta | (trades & (whole["contra_name"] == pack("BETA")))),
        ({"kinds": [ReportKind.TRADE, ReportKind.NEW]}, trades | (whole["kind"] == ReportKind.NEW)),
        ({"participant": "NOBODY"}, np.zeros(len(whole), np.bool_)),
    ):
        with LocalReports(node.data, from_seq=1, **chosen) as cursor:  # type: ignore[arg-type]
            taking = Taking(cursor)
            taking.until(seq)
        assert taking.bytes() == whole.view(RAW)[mask & (whole["seq"] <= seq)].tobytes()
    assert trades.sum() == 2
    [one] = [report_object(each) for each in whole if each["kind"] == ReportKind.TRADE and each["side"] == 1]
    assert (one["symbol"], one["participant"], one["contra_participant"], one["last_qty"]) == (
        "XYZ",
        "ALPHA",
        "BETA",
        4,
    )


@pytest.mark.slow
def test_what_is_no_directory_of_a_market_is_told(tmp_path: Path, node: Running) -> None:
    with pytest.raises(CannotConnect, match=r"no reports of .*none"):
        LocalReports(tmp_path / "none")
    with pytest.raises(ValueError, match="1 to 8"):
        LocalReports(node.data, symbol="TOOLONGNAME")


@pytest.mark.slow
def test_commands_that_a_crash_undid_are_told_at_each_further_call(tmp_path: Path) -> None:
    running = started(tmp_path, "--durability", "none")
    try:
        with LocalReports(running.data, from_seq=1) as cursor:
            trade(running, "a")
            Taking(cursor).until(running.status()["seq"])
            while cursor._live.follower is None:  # the past is given in full
                cursor.poll()
            shown: Any = cursor._live.follower
            # As if the node had told of some more.
            shown._seq += 5
            running.end(signal.SIGKILL)
            running.start()
            for _ in range(2):
                with pytest.raises(ReportsLost, match="has not kept the commands"):
                    cursor.wait(60)
    finally:
        running.stop()


def _behind_a_standby(a: Member, b: Member) -> int:
    """Have the primary take commands that its standby cannot acknowledge; the last one before them."""
    seq = int(a.pair()["seq"])
    assert b.process is not None
    b.process.send_signal(signal.SIGSTOP)
    client = _of_pair(a.port, "UA")
    client.socket.sendall(enter("x1", "B", 5, 90_000) + cancel("x1"))
    until(lambda: _last_seq(a.data) > seq)
    return seq


def _last_seq(directory: Path) -> int:
    with Journal.open(directory, readonly=True) as journal:
        return journal.last_seq


@pytest.mark.slow
def test_no_report_tells_of_what_the_standby_has_not_acknowledged(tmp_path: Path) -> None:
    """The primary's journal has it: so a cursor that reads the journal alone tells of it (the control)."""
    with pair(tmp_path, "--tape-mb", "1", "--alone", "stop") as (_, a, b):
        early = LocalReports(a.data, from_seq=1)
        seq = _behind_a_standby(a, b)
        for cursor in (early, LocalReports(a.data, from_seq=1)):
            taking = Taking(cursor)
            taking.until(seq)
            assert len(cursor.wait(1.0)) == 0
            assert cursor.next_seq == seq + 1
            cursor.close()
        blind = LocalReports(a.data, from_seq=1)
        blind._live.tape.close()
        blind._live.tape.find = lambda: False  # type: ignore[method-assign]
        Taking(blind).until(seq + 1)


@pytest.mark.slow
def test_no_report_tells_of_it_after_a_restart_until_the_node_reigns_or_follows(tmp_path: Path) -> None:
    """A node of a pair begins without knowing whether its standby has the end of its journal."""
    with pair(tmp_path, "--tape-mb", "1", "--alone", "stop") as (found, a, b):
        seq = _behind_a_standby(a, b)
        a.end(signal.SIGKILL)
        found.witness.stop()
        a.start()
        with LocalReports(a.data, from_seq=1) as cursor:
            until_s = time.monotonic() + 2
            while time.monotonic() < until_s:
                cursor.poll()
            assert cursor.next_seq <= seq + 1
            found.witness.start()
            a.awaits(role="primary", state="reigning")
            Taking(cursor).until(seq + 2)


@pytest.mark.slow
def test_a_cursor_beside_an_idle_copy_that_began_again_has_its_past(tmp_path: Path) -> None:
    with pair(tmp_path, "--tape-mb", "1") as (_, a, b):
        seq = int(a.pair()["seq"])
        b.end(signal.SIGKILL)
        b.start()
        b.awaits(state="following", can_take_over=1)
        with LocalReports(b.data, from_seq=1) as cursor:
            Taking(cursor).until(seq)


@pytest.mark.slow
def test_a_cursor_beside_a_standby_goes_on_as_it_takes_over(tmp_path: Path) -> None:
    with pair(tmp_path, "--tape-mb", "1") as (_, a, b), LocalReports(b.data, from_seq=1) as cursor:
        taking = Taking(cursor)
        client = _of_pair(a.port, "UA")
        client.socket.sendall(enter("a1", "B", 5, 90_000))
        client.take(2)
        taking.until(a.pair()["seq"])
        a.end(signal.SIGKILL)
        b.awaits(role="primary", state="reigning")
        client = _of_pair(b.port, "UB")
        client.socket.sendall(enter("b1", "S", 5, 90_000))
        client.take(3)
        seq = int(b.pair()["seq"])
        taking.until(seq)
        b.end(signal.SIGTERM)
        whole = by_journal(b.data, 1)
        assert taking.bytes() == whole[whole["seq"] < cursor.next_seq].tobytes()
        assert (joined(taking.rows)["kind"] == ReportKind.TRADE).sum() == 2


def _maker(directory: Path, *others: str, password: str = "secret") -> subprocess.Popen[str]:
    """The example, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "examples/local_maker.py", str(directory), *others],
        cwd=ROOT,
        env=os.environ | {"LOCKSTEP_PASSWORD": password, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_the_example_says_in_a_sentence_why_it_cannot_trade_any_more(tmp_path: Path, node: Running) -> None:
    told = {
        "no journal of lockstep": _maker(tmp_path / "none", "UA", "XYZ", "10.00"),
        "user or password is wrong": _maker(node.data, "UA", "XYZ", "10.00", password="guess"),
        "'ten' is no price": _maker(node.data, "UA", "XYZ", "ten"),
        "1 to 8 ": _maker(node.data, "UA", "TOOLONGNAME", "10.00"),
    }
    for why, maker in told.items():
        out, said = maker.communicate(timeout=120)
        assert (maker.returncode, out, len(said.splitlines())) == (1, "", 1), said
        assert said.startswith("local_maker: ")
        assert why in said
    shown = _maker(node.data, "UA", "XYZ")
    assert "python examples/local_maker.py node1 ALICE XYZ 10.00" in shown.communicate(timeout=120)[1]
    assert shown.returncode == 2
    maker = _maker(node.data, "UA", "XYZ", "10.00")
    until(lambda: _quotes(node) == [99_900, 100_100])
    node.end(signal.SIGTERM)
    out, said = maker.communicate(timeout=120)
    assert (maker.returncode, out, len(said.splitlines())) == (1, "", 1), said
    assert "nothing was sent: " in said


@pytest.mark.slow
def test_the_example_quotes_around_the_last_trade_of_the_whole_market(node: Running) -> None:
    maker = _maker(node.data, "UA", "XYZ", "10.00")
    try:
        until(lambda: _quotes(node) == [99_900, 100_100])
        taker = Client(node.port, "UB")
        taker.socket.sendall(enter("t1", "B", 10, 100_100))
        until(lambda: _quotes(node) == [100_000, 100_200])
        maker.send_signal(signal.SIGINT)
        assert maker.communicate(timeout=60) == ("", "")
        assert maker.returncode == 0
        until(lambda: node.status()["orders_open"] == 0)
    finally:
        maker.kill()
        maker.wait()


def _quotes(node: Running) -> list[int]:
    """Prices of the open orders."""
    return sorted(rebuild(node.data).engine.open_orders()["price_e4"].tolist())
