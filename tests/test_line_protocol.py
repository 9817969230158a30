"""The gateway knows no protocol: clients of text lines trade beside clients of OUCH, through the same sessions, logins,
spool, cancels on disconnect and slow readers.
"""

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.jit import Packed
from engine.records import COMMAND
from gateway.arrivals import BROKEN, FINE, OTHER, STREAM, new_arrivals
from gateway.symbols import add_symbol, new_symbols
from tests.line_protocol import Known, LineSession, read_streams
from tests.ouch_messages import cancel, enter, messages
from tests.running import WAIT_S, Client, Running, kinds, started, until
from wire.session_state import State

PASSWORD = "Correct-Horse-Battery"


class LineClient:
    """A client of lines. ``receive_bytes``: of its receive buffer."""

    def __init__(
        self,
        port: int,
        user: str,
        password: str = PASSWORD,
        session: str = "-",
        seq: int = 1,
        *,
        receive_bytes: int = 0,
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(WAIT_S)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self._rest = b""
        self.send(f"LOGIN {user} {password} {session} {seq}")
        self.answer = self.line()

    def send(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def line(self) -> str:
        """The next line that is no heartbeat; "" at the end."""
        while True:
            while b"\n" not in self._rest:
                data = self.socket.recv(65_536)
                if not data:
                    return ""
                self._rest += data
            line, _, self._rest = self._rest.partition(b"\n")
            if line != b"PING":
                return line.decode()

    def take(self, count: int) -> list[str]:
        return [self.line() for _ in range(count)]


def line_port(node: Running, life: int = 1) -> int:
    """Port of lines of a life of the node, as its log says."""

    def ports() -> list[str]:
        return re.findall(r"\blines_port\W+(\d+)", node.logged())

    until(lambda: len(ports()) >= life)
    return int(ports()[life - 1])


def set_up(node: Running) -> None:
    with node.link() as link:
        text = (
            "participant GAMMA\nuser LINES participant=GAMMA firm=GAMM\n"
            "user GOES participant=GAMMA allow=login,cancel_on_disconnect\n"
            "user NEWEST participant=GAMMA allow=login,newest_wins"
        )
        assert link.ask("commands", text=text)["rejected"] == 0
        for user in ("LINES", "GOES", "NEWEST"):
            link.ask("password", user=user, password=PASSWORD)


@pytest.fixture(params=["none", pytest.param("fsync", marks=pytest.mark.slow)])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    running = started(tmp_path, "--durability", request.param, faults="lines")
    try:
        set_up(running)
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_clients_of_two_protocols_trade_with_each_other(node: Running) -> None:
    line, ouch = LineClient(line_port(node), "LINES"), Client(node.port, "UB")
    assert line.answer.startswith("OK ")
    line.send("E a1 B 40 XYZ 90000 777", "E a2 B 5 XYZ 80000 3")
    assert line.take(3) == ["1 DAY", "2 A a1 90000 leaves 40 tag 777", "3 A a2 80000 leaves 5 tag 3"]
    ouch.socket.sendall(enter("s1", "S", 15, 90_000))
    assert kinds(ouch.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED"]
    assert line.line() == "4 T a1 15 at 90000 leaves 25 tag 777"
    line.send("X a1", "X a1", "E a1 B 1 XYZ 90000 0")
    assert line.take(3) == ["5 C a1 USER tag 777", "6 R a1 UNKNOWN_ORDER", "7 R a1 DUPLICATE_ID"]
    # What OUCH says of an order that came by lines: the user has a stream there too.
    again = LineClient(line_port(node), "LINES", seq=3)
    assert again.answer == "NO NOT_AVAILABLE", "one login at a time, and the first one stays"
    line.send("BYE")
    assert line.line() == ""


@pytest.mark.slow
def test_a_stream_goes_on_where_the_client_asks(node: Running) -> None:
    line = LineClient(line_port(node), "LINES")
    line.send("E a1 B 40 XYZ 90000 1", "X a1")
    told = line.take(3)
    line.send("AGAIN 2", "E a2 B 1 XYZ 90000 2")
    assert line.take(3) == [*told[1:], "4 A a2 90000 leaves 1 tag 2"]
    line.socket.close()
    until(lambda: node.status()["logged_in"] == 0)
    again = LineClient(line_port(node), "LINES", seq=2)
    assert again.answer.endswith(" 2")
    assert again.take(3) == [*told[1:], "4 A a2 90000 leaves 1 tag 2"]
    again.send("AGAIN 99")
    assert again.line().startswith("CLOSED there is no message 99")
    assert LineClient(line_port(node), "LINES", seq=99).answer == "NO NOT_AVAILABLE", "the stream does not go so far"


@pytest.mark.slow
def test_a_restart_gives_the_same_lines_from_journal_and_image(node: Running) -> None:
    line, ouch = LineClient(line_port(node), "LINES"), Client(node.port, "UA")
    for number in range(50):
        line.send(f"E a{number} B 2 XYZ 90000 {number}")
        ouch.socket.sendall(enter(f"s{number}", "S", 1, 90_000))
    told, seen = line.take(101), ouch.take(101)
    if "none" in node.status()["durability"]:  # nothing there is promised before it is on the disk
        until(lambda: node.status()["durable_seq"] == node.status()["seq"])
    for life, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), 2):
        node.end(number)
        node.start()
        line = LineClient(line_port(node, life), "LINES")
        assert line.take(101) == told
        assert Client(node.port, "UA").take(101)[: len(seen)] == seen
        line.socket.close()
        until(lambda: node.status()["logged_in"] == 0)
    assert told != LineClient(line_port(node, 4), "GOES").take(1), "the control: another user has another stream"


@pytest.mark.slow
def test_orders_go_with_the_connection_of_a_user_who_asked_for_that_and_stay_otherwise(node: Running) -> None:
    goes, stays = LineClient(line_port(node), "GOES"), LineClient(line_port(node), "LINES")
    goes.send("E g1 B 5 XYZ 90000 9")
    stays.send("E l1 B 5 XYZ 90000 9")
    assert (goes.take(2)[1], stays.take(2)[1]) == ("2 A g1 90000 leaves 5 tag 9", "2 A l1 90000 leaves 5 tag 9")
    goes.socket.close()
    stays.socket.close()
    until(lambda: node.status()["orders_open"] == 1)
    assert LineClient(line_port(node), "GOES", seq=3).line().startswith("3 C g1 ")
    back = LineClient(line_port(node), "LINES", seq=2)
    back.send("X l1")
    assert back.take(2) == ["2 A l1 90000 leaves 5 tag 9", "3 C l1 USER tag 9"]


@pytest.mark.slow
def test_a_client_that_reads_nothing_gets_all_lines_later_and_disturbs_nobody(node: Running) -> None:
    slow, quick = LineClient(line_port(node), "LINES", receive_bytes=4_096), Client(node.port, "UB")
    rounds = 4_000
    slow.send(f"E rest B {100 * rounds} XYZ 90000 1")
    for first in range(0, rounds, 500):
        quick.socket.sendall(b"".join(enter(f"s{number}", "S", 100, 90_000) for number in range(first, first + 500)))
        quick.take(1 + 2 * (first + 500))
    told = slow.take(2 + rounds)
    leaves = [100 * (rounds - done) for done in range(1, rounds + 1)]
    assert told[2:] == [f"{3 + at} T rest 100 at 90000 leaves {left} tag 1" for at, left in enumerate(leaves)]


@pytest.mark.slow
def test_wrong_passwords_and_second_logins_count_across_protocols(node: Running) -> None:
    before = node.status()["failed_logins"]
    for password in (PASSWORD.lower(), "secret"):
        assert LineClient(line_port(node), "LINES", password).answer == "NO NOT_AUTHORIZED"
    assert node.status()["failed_logins"] == before + 2
    assert Client(node.port, "UA", "wrong").answer == (ord("J"), b"A")
    assert node.status()["failed_logins"] == before + 3
    # UA has a password that both carry.
    first = LineClient(line_port(node), "UA", "SeCret")
    assert first.answer.startswith("OK ")
    assert Client(node.port, "UA").answer == (ord("J"), b"S"), "a user has one login, by whichever protocol"
    first.send("BYE")
    assert first.take(2)[1] == ""
    assert Client(node.port, "UA").answer[0] == ord("A")
    # The newest login wins where the user may do that.
    old = LineClient(line_port(node), "NEWEST")
    LineClient(line_port(node), "NEWEST")
    assert old.take(2) == ["1 DAY", "CLOSED the same user logged in again"]


@pytest.mark.slow
def test_what_is_no_order_ends_the_connection_with_the_reason_and_the_orders_before_it_count(node: Running) -> None:
    line, neighbour = LineClient(line_port(node), "LINES"), LineClient(line_port(node), "GOES")
    line.send("PING", "E a1 B 1 XYZ 90000 1", "E a2 B many XYZ 90000 1", "E a3 B 1 XYZ 90000 1")
    said = line.take(4)
    assert said[0] == "1 DAY"
    assert "CLOSED this is no order: E a2 B many XYZ 9000" in said
    assert LineClient(line_port(node), "LINES").take(2) == ["1 DAY", "2 A a1 90000 leaves 1 tag 1"]
    neighbour.send("E g1 B 1 XYZ 90000 1")
    assert neighbour.take(2)[1] == "2 A g1 90000 leaves 1 tag 1", "the control: others are not disturbed"


@pytest.mark.slow
def test_ouch_tells_a_user_of_orders_that_came_by_lines(node: Running) -> None:
    line = LineClient(line_port(node), "UA", "secret")
    line.send("E a1 S 9 XYZ 110000 5")
    line.take(2)
    line.send("BYE")
    line.line()
    ouch = Client(node.port, "UA")
    told = messages(ouch.take(2))
    assert [kind for kind, _ in told] == ["SYSTEM_EVENT", "ACCEPTED"]
    fields = told[1][1]
    assert (fields["order_token"], fields["shares"], fields["price_e4"]) == ("a1", 9, 110_000)
    ouch.socket.sendall(cancel("a1", 4) + enter("o1", "S", 2, 120_000))
    ouch.take(4)
    ouch.log_out()
    line = LineClient(line_port(node), "UA", "secret", seq=3)
    # The order keeps the context of the protocol that entered it; the tag of one by OUCH is what its bytes say.
    assert line.take(2)[0] == "3 P a1 110000 leaves 4 tag 5"


def read(*sent: bytes) -> tuple[list[int], list[int]]:
    """(kinds of the rows, stops of the streams) of what clients sent."""
    region = 1_024
    buffer, streams, rows = np.zeros(region * len(sent), np.uint8), np.zeros(len(sent), STREAM), np.zeros(64, COMMAND)
    for at, data in enumerate(sent):
        buffer[region * at : region * at + len(data)] = np.frombuffer(data, np.uint8)
        streams[at]["region"] = streams[at]["begin"] = region * at
        streams[at]["end"] = region * at + len(data)
    symbols = new_symbols(4)
    add_symbol(symbols, int.from_bytes(b"XYZ", "big"), 1)
    arrivals, known = Packed(new_arrivals(buffer, streams, rows)), Packed(Known(symbols))
    count = read_streams(arrivals.pointers, known.pointers, len(sent), 64, 0, 0)
    return rows["kind"][:count].tolist(), streams["stop"].tolist()


def test_clients_of_a_protocol_take_turns_by_message_and_stop_where_it_says() -> None:
    order = b"E a1 B 1 XYZ 1 1\n"
    assert read(order + b"X a1\n", b"PING\n" + order) == ([8, 8, 9], [FINE, FINE])
    assert read(order + b"BYE\n" + order, order[:-1]) == ([8], [OTHER, FINE])
    assert read(b"x" * 200, b"E a1 B 1 NONE 1 1\n", b"X \n") == ([], [BROKEN] * 3)


def test_a_session_is_a_pure_function_of_bytes_and_time() -> None:
    session = LineSession(0)
    assert session.ask(b"LOGIN U P - 1", 0) == []
    (login,) = session.ask(b"\nE a1", 0)
    assert (login.user, login.requested_seq, session.release()) == ("U", 1, b"E a1")  # type: ignore[union-attr]
    assert session.accept_login("20240115", 4, 0, 5) == b"OK 20240115 1\n"
    assert session.outgoing(b"A\nB\nhal") == (4, b"1 A\n2 B\n")
    assert session.state is State.LIVE
