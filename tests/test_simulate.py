"""`lockstep simulate`: traders who send what they mean, over connections that may break, and tell what is missing."""

import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.interrupts import Terminated
from cli.trading import simulate
from client import RequestKind
from load.actions import Actions
from load.desk import Desk
from load.lines import LoadError, User
from load.simulation import SimulateOptions, Simulation
from load.sink import Server
from load.sink_kernel import answer_all
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.test_wire_load import cut, framed
from wire.ouch_codes import RejectReason, ServerMessage

SYMBOLS = (("ACME", 100_0000), ("BOLT", 25_0000))


class Clock:
    """The time of the traders: it goes on by a step whenever somebody asks for it, however long the machine takes."""

    STEP_NS = 100_000

    def __init__(self) -> None:
        self._now_ns = 10**12

    def monotonic_ns(self) -> int:
        """Nanoseconds."""
        self._now_ns += self.STEP_NS
        return self._now_ns

    def monotonic(self) -> float:
        """Seconds."""
        return self.monotonic_ns() / 1e9


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    for module in ("cli.trading.simulate", "load.simulation", "load.desk"):
        monkeypatch.setattr(f"{module}.time", clock)
    # Some 200 turns, of which each waits for answers.
    monkeypatch.setattr("load.simulation._PATIENCE_S", 0.1)


@contextmanager
def serving(alter: Callable[[bytes], bytes] | None = None) -> Iterator[Server]:
    """The server without a market, in a thread."""
    server = Server(8, alter)
    answer_all(server.sink, 0, 0)  # compiled here, and not while the traders wait
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stopped = True
        thread.join(10)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of three users."""
    path = tmp_path / "users.txt"
    path.write_text("# who trades\nU1 secret1\nU2 secret2\n\nU3 secret3\n")
    return path


def test_traders_enter_replace_and_cancel_orders_under_numbers_that_are_new() -> None:
    actions = Actions(5, SYMBOLS, 3)
    made: list[int] = []
    kinds: Counter[RequestKind] = Counter()
    for action in [action for _ in range(30) for action in actions.batch(100)]:
        kinds[action.kind] += 1
        assert 0 <= action.user < 3
        if action.kind is RequestKind.ENTER:
            assert action.new is not None
            assert action.new.symbol in ("ACME", "BOLT")
            assert action.new.price_e4 % 100 == 0
            made.append(action.number)
        else:
            assert action.number in made
        if action.kind is RequestKind.REPLACE:
            assert action.qty > 0
            made.append(action.new_number)
    assert len(set(made)) == len(made)
    assert min(kinds.values()) > 100
    assert len(kinds) == 3


def test_the_same_seed_gives_the_same_actions() -> None:
    one, same, other = (Actions(seed, SYMBOLS, 3) for seed in (5, 5, 6))
    assert one.batch(300) == same.batch(300)
    assert one.batch(300) != other.batch(300)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_traders_of_any_number_make_markets_and_take(count: int) -> None:
    actions = Actions(1, SYMBOLS, count).batch(2_000)
    assert {action.user for action in actions} == set(range(count))
    assert sum(action.new is not None and action.new.time_in_force_s == 0 for action in actions) > 100


def test_kills_are_named_beside_the_code_that_stands_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"missing": 0, "unexpected": 0}
    simulate._print_summary(facts, Counter({RejectReason.REJECT_ALL: 3, RejectReason.HALTED: 1}), True)
    told = " ".join(capsys.readouterr().out.split())
    assert "3: killed, or more orders than the order rate allows" in told
    assert "halted 1" in told


@pytest.mark.slow
def test_a_desk_keeps_only_orders_that_are_open_or_that_its_trader_may_come_back_to() -> None:
    """A simulation of hours must not grow."""
    with serving() as server:
        desk = Desk("127.0.0.1", server.port, User("U1", "any"))
        desk.login()
        actions = Actions(1, SYMBOLS, 1)
        for _ in range(30):
            for action in actions.batch(100):
                desk.ask(action, 0)
            until_s = time.monotonic() + 10
            while desk.unanswered and time.monotonic() < until_s:
                desk.flush()
                desk.receive()
        assert (desk.unanswered, desk.counts["answers"], desk.counts["unexpected"]) == (0, 3_000, 0)
        assert len(desk._orders) < 1_100
        assert len(desk._entry.day.orders) < 1_100
        assert not desk._intended_ns
        desk.logout()


@pytest.mark.slow
def test_every_order_is_answered_and_told_in_a_summary(lockstep: Lockstep, users: Path) -> None:
    with serving() as server:
        arguments = ("simulate", "--port", server.port, "--users", users, "--seconds", 1.3, "--rate", 800)
        status, out, err = lockstep(*arguments)
        assert (status, err) == (0, "")
        assert re.search(r"1\.0 s  \d{3} orders, \d+ answered, 0 trades, 0 rejected, p50 [\d.]+ us", out)
        assert "every order was answered" in out
        status, out, _err = lockstep(*arguments, "--json")
    assert status == 0
    *lines, last = checked(["simulate"], out)
    summary = last
    assert [each["summary"] for each in (*lines, last)] == [False] * len(lines) + [True]
    assert len(lines) == 1
    assert 700 < summary["orders"] < 1_100
    assert (summary["answers"], summary["unanswered"], last["good"]) == (summary["orders"], 0, True)
    assert summary["latency"]["p99_us"] >= summary["latency"]["p50_us"] > 0


@pytest.mark.parametrize(
    ("signal_number", "ends", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_simulation_that_a_signal_breaks_off_has_its_summary_and_says_so_once(
    signal_number: int, ends: int, word: str, lockstep: Lockstep, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trade(*_: object) -> None:
        raise KeyboardInterrupt if signal_number == signal.SIGINT else Terminated

    monkeypatch.setattr(simulate, "_trade", trade)
    for as_json in ([], ["--json"]):
        with serving() as server:
            arguments = ("simulate", "--port", server.port, "--users", users, *as_json)
            status, out, err = lockstep(*arguments)
        assert (status, err) == (ends, f"lockstep: {word}\n")
        if as_json:
            assert [checked(["simulate"], out)[-1][key] for key in ("summary", "gave_up")] == [True, word]
        else:
            assert "every order was answered" in out


@pytest.mark.slow
def test_an_answer_that_never_comes_is_missed_and_the_exit_status_is_1(
    lockstep: Lockstep, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.simulation._PATIENCE_S", 0.01)
    left = [3]

    def alter(data: bytes) -> bytes:
        messages = [payload for _kind, payload in cut(data)]
        if left[0] and messages[0][0] == ServerMessage.ACCEPTED:
            left[0] -= 1
            del messages[0]
        return framed(messages)

    with serving(alter) as server:
        status, out, _err = lockstep("simulate", "--port", server.port, "--users", users, "--seconds", 0.5)
    assert status == 1
    assert "3 orders without an answer" in out


@pytest.mark.slow
def test_a_connection_that_breaks_is_made_again_and_what_was_open_is_asked_again(
    lockstep: Lockstep, users: Path
) -> None:
    turns = iter(range(1_000_000))

    def alter(data: bytes) -> bytes:
        if next(turns) == 100:
            raise ConnectionResetError  # the answers are lost, and the connection with them
        return data

    with serving(alter) as server:
        status, out, err = lockstep(
            "simulate", "--port", server.port, "--users", users, "--seconds", 1.5, "--rate", 400, "--json"
        )
    summary = checked(["simulate"], out)[-1]
    assert status == 0
    assert re.search(r"note: user U\d lost the connection: the node closed the connection; it is tried again", err)
    assert re.search(r"note: user U\d is connected again, after \d\.\d s", err)
    assert summary["reconnects"] == 1
    assert summary["sent_again"] >= 1
    assert (summary["unanswered"], summary["unexpected"]) == (0, 0)


class Breaking(Desk):
    """A desk whose connection breaks, and is made again, as told."""

    def __init__(self, name: str) -> None:
        super().__init__("127.0.0.1", 1, User(name, "any"))
        self.breaks = self.refused = False

    def beat(self) -> None:
        if self.breaks:
            self.breaks = False
            raise LoadError("it broke")

    def login(self) -> None:
        if self.refused:
            raise LoadError("refused")


def test_an_outage_lasts_from_the_first_loss_until_all_are_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now_s[0], monotonic_ns=lambda: int(now_s[0] * 1e9))
    monkeypatch.setattr("load.simulation.time", clock)
    one, other = Breaking("U1"), Breaking("U2")
    options = SimulateOptions("127.0.0.1", 1, [one.user, other.user], SYMBOLS, 60, 100.0, 1)
    simulation = Simulation(options, lambda _: None, [one, other])
    one.refused = True
    for at_s, breaking in ((101.0, one), (110.0, other)):
        now_s[0], breaking.breaks = at_s, True
        simulation.turn(trading=True)
    assert (simulation.lost, simulation.outage_s) == (2, 0)
    one.refused, now_s[0] = False, 113.0
    simulation.turn(trading=True)
    assert (simulation.lost, simulation.outage_s) == (0, 12)
    now_s[0], other.breaks = 120.0, True
    simulation.turn(trading=True)
    now_s[0] = 121.0
    simulation.turn(trading=True)
    assert (simulation.reconnects, simulation.outage_s) == (3, 13)


def test_a_trader_goes_on_at_the_other_node_though_the_one_it_was_at_takes_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that is stopped does so, and answers no login."""
    monkeypatch.setattr("load.desk._LOGIN_S", 600.0)
    monkeypatch.setattr("load.desk._LOGIN_OF_SEVERAL_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as stopped, serving() as server, serving() as other:
        silent = f"127.0.0.1:{stopped.getsockname()[1]}"
        desk = Desk(f"{silent},127.0.0.1:{server.port}", None, User("U1", "any"))
        desk.login()
        assert desk.socket is not None
        assert desk.socket.getpeername()[1] == server.port
        desk.close()
        desk = Desk(f"127.0.0.1:{server.port},127.0.0.1:{other.port}", None, User("U1", "any"))
        for port in (server.port, other.port, server.port):
            desk.login()
            assert desk.socket is not None
            assert desk.socket.getpeername()[1] == port, "the node that was lost comes last"
            desk.close()


def test_users_and_symbols_that_cannot_be_are_refused_in_a_sentence(lockstep: Lockstep, tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    for text, said in (
        ("", "has no user"),
        ("U1\n", "line 1 of"),
        ("TOOLONGNAME secret\n", "is no valid name"),
        ("U1 elevenchars\n", "the password of user U1 is no valid password"),
        ("U1 a\nu1 b\n", "a user is given twice"),
    ):
        path.write_text(text)
        status, out, err = lockstep("simulate", "--users", path)
        assert (status, out) == (2, "")
        assert said in err
        assert "elevenchars" not in err
    assert "no user is given" in lockstep("simulate")[2]
    assert "--password-stdin" in lockstep("simulate", "--user", "U1")[2]
    path.write_text("U1 secret\n")
    status, _out, err = lockstep("simulate", "--users", path, "--symbol", "ACME")
    assert status == 2
    assert "'ACME' is no instrument with a price" in err


def test_a_node_that_is_not_there_is_found_missing(lockstep: Lockstep, users: Path) -> None:
    server = Server(1)
    server.stopped = True
    server.run()
    status, _out, err = lockstep("simulate", "--port", server.port, "--users", users)
    assert status == 1
    assert f"no connection to 127.0.0.1 port {server.port}" in err
