"""A node as its clients meet it: a process of its own, over loopback, ended in order or killed, and started again."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.operator.link import Link, RequestRefused
from tests.ouch_messages import cancel, enter, messages
from tests.running import Client, Running, kinds
from wire import soup
from wire.soup import LoginAccepted, PacketType


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "node")
    running.start()
    running.set_up()
    yield running
    running.stop()


@pytest.mark.slow
def test_an_order_is_answered_and_a_trade_goes_to_both(node: Running) -> None:
    seller, buyer = Client(node.port, "UA"), Client(node.port, "UB")
    assert seller.answer[0] == PacketType.LOGIN_ACCEPTED
    seller.socket.sendall(enter("s1", "S", 100, 100_500))
    assert kinds(seller.take(2)) == ["SYSTEM_EVENT", "ACCEPTED"]
    buyer.socket.sendall(enter("b1", "B", 60, 100_500) + cancel("none"))
    assert kinds(buyer.take(4)) == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED", "CANCEL_REJECT"]
    assert kinds(seller.take(3))[-1] == "EXECUTED"


@pytest.mark.slow
def test_after_a_kill_a_client_gets_the_same_bytes_from_any_message_on(node: Running) -> None:
    first = Client(node.port, "UA")
    for number in range(40):
        name = f"o{number}" if number % 2 else f"LONGTOKEN{number:05d}"
        first.socket.sendall(enter(name, "B", 10 + number, 100_000 - 100 * number))
    before = first.take(41)
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    node.start()
    for seq in (1, 2, 30, 41):
        again = Client(node.port, "UA", seq=seq)
        accepted = LoginAccepted.read(again.answer[1])
        assert accepted.next_seq == seq
        assert before.endswith(again.take(42 - seq))
        assert kinds(again.stream) == kinds(before)[seq - 1 :]
        again.socket.sendall(soup.packet(PacketType.LOGOUT))
        again.until_end()
    resent = Client(node.port, "UA", seq=0)
    resent.socket.sendall(enter("o1", "B", 11, 99_900) + cancel("o1"))
    assert kinds(resent.take(2)) == ["REJECTED", "CANCELED"], "a resend executes nothing twice"


@pytest.mark.slow
def test_a_login_is_refused_as_the_protocol_says(node: Running) -> None:
    for user, password, session, seq, code in (
        ("UA", "wrong", "", 1, b"A"),
        ("NOBODY", "secret", "", 1, b"A"),
        ("UA", "secret", "OTHER", 1, b"S"),
        ("UA", "secret", "", 99, b"S"),
    ):
        client = Client(node.port, user, password, session, seq)
        assert client.answer == (PacketType.LOGIN_REJECTED, code)
        assert client.packet() == (0, b"")
    first = Client(node.port, "ua", "SECRET")
    assert first.answer[0] == PacketType.LOGIN_ACCEPTED, "users and passwords are the same in small letters"
    assert Client(node.port, "UA").answer == (PacketType.LOGIN_REJECTED, b"S"), "a second login of the user"
    old = Client(node.port, "UB")
    assert Client(node.port, "UB").answer[0] == PacketType.LOGIN_ACCEPTED, "of one whose newest login wins"
    assert old.until_end()[-1][0] == PacketType.DEBUG


@pytest.mark.slow
def test_a_malformed_login_is_told_the_reason_and_rejected(node: Running) -> None:
    with socket.create_connection(("127.0.0.1", node.port)) as connected:
        connected.sendall(soup.packet(PacketType.LOGIN_REQUEST, b"\0" * 46))
        told = b""
        while data := connected.recv(4_096):
            told += data
    assert b"the user of the login request has other than printable ASCII characters" in told
    assert told.endswith(soup.LoginRejected(soup.RejectCode.NOT_AUTHORIZED).packet())


@pytest.mark.slow
def test_the_operator_enters_no_price_that_ouch_cannot_tell(node: Running) -> None:
    with node.link() as link, pytest.raises(RequestRefused, match=r"the price 500000.00 is above 199999.99"):
        link.ask("commands", text="enter ALPHA o1 buy 10 XYZ @ 500000.00")


@pytest.mark.slow
def test_garbage_ends_its_own_session_with_the_reason(node: Running) -> None:
    other = Client(node.port, "UB")
    client = Client(node.port, "UA")
    client.socket.sendall(enter("a1", "B", 5, 90_000) + soup.packet(PacketType.UNSEQUENCED, b"nonsense"))
    kind, payload = client.until_end()[-1]
    assert (kind, b"no OUCH client sends it" in payload) == (PacketType.DEBUG, True)
    other.socket.sendall(enter("b1", "B", 5, 90_000))
    assert kinds(other.take(2))[-1] == "ACCEPTED"
    assert kinds(Client(node.port, "UA").take(2)) == ["SYSTEM_EVENT", "ACCEPTED"], "what came before it counts"


@pytest.mark.slow
def test_orders_go_with_the_connection_where_the_user_has_it_so(node: Running) -> None:
    client = Client(node.port, "UC")
    client.socket.sendall(enter("c1", "B", 5, 90_000) + enter("c2", "B", 5, 90_000))
    client.take(3)
    client.socket.close()
    deadline_s = time.monotonic() + 10
    while node.status().get("events_canceled", 0) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    again = Client(node.port, "UC")
    assert kinds(again.take(5)) == ["SYSTEM_EVENT", "ACCEPTED", "ACCEPTED", "CANCELED", "CANCELED"]


@pytest.mark.slow
def test_orders_go_with_the_connection_also_while_others_never_stop_sending(node: Running) -> None:
    loader, client = Client(node.port, "UA"), Client(node.port, "UC")
    client.socket.sendall(enter("c1", "B", 5, 90_000))
    client.take(2)
    stop = threading.Event()

    def send() -> None:
        orders = enter("x", "B", 0, 90_000) * 50
        with contextlib.suppress(OSError):
            while not stop.is_set():
                loader.socket.sendall(orders)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set() and loader.socket.recv(1 << 20):
                pass

    threads = [threading.Thread(target=work, daemon=True) for work in (send, listen)]
    for thread in threads:
        thread.start()
    client.socket.close()
    time.sleep(1.5)
    with Link(node.data) as link:
        canceled = link.ask("status")["status"].get("events_canceled", 0)
    stop.set()
    loader.socket.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    assert canceled == 1


@pytest.mark.slow
def test_a_user_that_is_back_at_once_has_lost_its_orders_all_the_same(node: Running) -> None:
    client = Client(node.port, "UC")
    client.socket.sendall(enter("c1", "B", 5, 90_000))
    client.take(2)
    client.socket.shutdown(socket.SHUT_RDWR)
    again = Client(node.port, "UC")
    while again.answer[0] != PacketType.LOGIN_ACCEPTED:
        again = Client(node.port, "UC")
    assert kinds(again.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "CANCELED"]


@pytest.mark.slow
def test_counts_are_of_what_happened_since_the_start(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(enter("LONGTOKEN00001", "B", 5, 90_000) + cancel("LONGTOKEN00001"))
    client.take(3)
    assert node.status()["orders"] == 2, "a token's own row is no order"
    node.end(signal.SIGKILL)
    node.start()
    status = node.status()
    assert (status["orders"], status["events"], status.get("events_accepted", 0)) == (0, 0, 0)


@pytest.mark.slow
def test_sigterm_ends_sessions_and_the_node_in_order(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(enter("a1", "B", 5, 90_000))
    client.take(2)
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGTERM)
    assert client.until_end()[-1][0] == PacketType.END_OF_SESSION
    assert node.end(signal.SIGTERM) == 0
    assert not (node.data / "operator.sock").exists()
    node.start()
    assert kinds(Client(node.port, "UA").take(2)) == ["SYSTEM_EVENT", "ACCEPTED"]


@pytest.mark.slow
def test_a_node_goes_on_from_its_checkpoint_with_the_same_bytes(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(b"".join(enter(f"o{number}", "B", 10, 90_000) for number in range(30)))
    client.take(31)
    with Link(node.data) as link:
        taken = link.ask("checkpoint")["checkpoint"]
    assert Path(taken["path"]).stat().st_size == taken["size_bytes"]
    client.socket.sendall(b"".join(enter(f"LONGTOKEN{number:05d}", "S", 5, 90_000) for number in range(30)))
    before = client.take(31 + 60)
    node.end(signal.SIGKILL)
    node.start()
    assert node.status()["checkpoint_seq"] == taken["seq"]
    for seq in (1, 20, 32, 90):
        again = Client(node.port, "UA", seq=seq)
        assert before.endswith(again.take(92 - seq))
        again.socket.sendall(soup.packet(PacketType.LOGOUT))
        again.until_end()
    assert node.end(signal.SIGTERM) == 0
    node.start()
    assert node.status()["checkpoint_seq"] >= node.status()["seq"] - 1, "a node checkpoints at its end"
    assert Client(node.port, "UA", seq=1).take(91) == before


def _set(limits: dict[str, Any]) -> dict[str, Any]:
    """The limits that are set."""
    return {name: value for name, value in limits.items() if value}


@pytest.mark.slow
def test_limits_positions_and_a_halt_outlive_a_kill(node: Running) -> None:
    seller, buyer = Client(node.port, "UA"), Client(node.port, "UB")
    seller.socket.sendall(enter("s1", "S", 100, 100_500))
    buyer.socket.sendall(enter("b1", "B", 60, 100_500))
    seller.take(3)
    with Link(node.data) as link:
        name = link.ask("sessions")["sessions"][0]["participant"]
        text = f"limits {name} max_position=100 margin=20%\nlimits {name} symbol=XYZ max_order_qty=50\nhalt XYZ for=1h"
        assert link.ask("commands", text=text)["rejected"] == 0
        before = [link.ask("account", participant=name)[key] for key in ("account", "instruments")]
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    node.start()
    again = Client(node.port, "UA", seq=0)
    with Link(node.data) as link:
        assert [link.ask("account", participant=name)[key] for key in ("account", "instruments")] == before
        assert _set(before[0]["limits"]) == {"max_position_qty": 100, "margin_bps": 2_000}
        held = {"symbol": "XYZ", "position_qty": -60, "open_buy_qty": 0, "open_sell_qty": 40}
        assert [each | {"limits": _set(each["limits"])} for each in before[1]] == [
            held | {"limits": {"max_order_qty": 50}}
        ]
        again.socket.sendall(enter("s2", "S", 1, 100_500))
        assert messages(again.take(1))[0][1]["reject_reason"] == "H"
        assert link.ask("commands", text="resume XYZ")["events"] == ["> phase XYZ auction"]
        again.socket.sendall(enter("s3", "S", 51, 100_500) + enter("s4", "S", 1, 100_500) + enter("s5", "B", 1, 90_000))
        told = messages(again.take(4))[1:]
        assert [fields.get("reject_reason") for _, fields in told] == ["m", "m", None]
        assert link.ask("commands", text=f"limits {name} max_position=off")["rejected"] == 0
        again.socket.sendall(enter("s6", "S", 1, 100_500))
        assert kinds(again.take(5))[-1] == "ACCEPTED"


@pytest.mark.slow
def test_a_halt_ends_on_a_node_to_which_nobody_sends_anything(node: Running) -> None:
    with Link(node.data) as link:
        began_s = time.monotonic()
        link.ask("commands", text="halt XYZ for=400ms")
        while link.ask("books", symbol="XYZ")["book"]["phase"] == "halted":
            assert time.monotonic() - began_s < 120
            time.sleep(0.02)
        assert time.monotonic() - began_s >= 0.4
        assert link.ask("books", symbol="XYZ")["book"]["phase"] == "auction"


@pytest.mark.slow
def test_nothing_is_opened_by_a_clock_that_is_not_kept_as_required(tmp_path: Path) -> None:
    running = Running(tmp_path / "node", "--clock-error-max-ms", "0")
    running.start()
    try:
        with Link(running.data) as link:
            link.ask("commands", text="instrument XYZ tick=0.01 lot=1 reference=10.00")
            for opening in ("phase XYZ continuous", "phase XYZ opening_auction", "resume XYZ"):
                with pytest.raises(RequestRefused, match="nothing is opened"):
                    link.ask("commands", text=opening)
            assert link.ask("commands", text="phase XYZ closed")["rejected"] == 0
    finally:
        running.end(signal.SIGKILL)


@pytest.mark.slow
def test_no_password_is_in_any_file_of_a_node(node: Running) -> None:
    Client(node.port, "UA")
    node.end(signal.SIGTERM)
    for path in node.data.rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes().lower(), path
