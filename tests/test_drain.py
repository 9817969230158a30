"""A node that drains, and one that ends: every order is answered, cancels work, and the next start finds the market."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.operator.link import RequestRefused
from tests.ouch_messages import IOC, cancel, enter, messages, replace
from tests.running import HEARTBEAT, Client, Running, kinds, started, until
from wire.soup import LoginAccepted, PacketType


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path)
    yield running
    running.stop()


def told(stream: bytes) -> list[tuple[str, str, str]]:
    """Kind, token and reason of each message of a stream."""
    return [
        (kind, str(fields.get("order_token", "")), str(fields.get("reject_reason", fields.get("cancel_reason", ""))))
        for kind, fields in messages(stream)
    ]


def phase_of(node: Running) -> str:
    with node.link() as link:
        return str(link.ask("books", symbol="XYZ")["book"]["phase"])


@pytest.mark.slow
def test_while_a_node_drains_orders_are_refused_cancels_work_and_each_is_answered(node: Running) -> None:
    client = Client(node.port, "UA", seq=0)
    client.socket.sendall(enter("a1", "B", 5, 90_000) + enter("a2", "B", 5, 90_000))
    client.take(2)
    with node.link() as link:
        assert link.ask("drain") == {"ok": True}
    client.forget()
    client.socket.sendall(
        enter("a3", "B", 5, 90_000)
        + enter("a4", "B", 5, 90_000, tif_s=IOC)
        + HEARTBEAT
        + replace("a1", "a5", 6, 90_000)
        + cancel("a2")
        + cancel("none")
    )
    assert told(client.take(5)) == [
        ("REJECTED", "a3", "H"),
        ("REJECTED", "a4", "H"),
        ("REJECTED", "a5", "H"),
        ("CANCELED", "a2", "U"),
        ("CANCEL_REJECT", "none", ""),
    ]
    status = node.status()
    assert (status["state"], status["draining"], status["phase_halted"]) == ("draining", 1, 1)
    assert "new orders are rejected" in status["state_reason"]
    with node.link() as link:
        for opening in ("phase XYZ continuous", "phase XYZ opening_auction", "phase * pre_open", "resume XYZ"):
            with pytest.raises(RequestRefused, match="nothing is opened: the node is draining"):
                link.ask("commands", text=opening)
    with pytest.raises(OSError, match="refused"):
        Client(node.port, "UB")
    assert node.end(signal.SIGTERM) == 0, node.logged()
    node.start()
    assert node.status()["state"] == "open"
    assert phase_of(node) == "continuous"
    again = Client(node.port, "UA", seq=0)
    again.socket.sendall(cancel("a1") + enter("a6", "B", 5, 90_000))
    assert told(again.take(2)) == [("CANCELED", "a1", "U"), ("ACCEPTED", "a6", "")]


@pytest.mark.slow
def test_a_node_that_is_killed_while_it_drains_trades_again_after_its_start(node: Running) -> None:
    with node.link() as link:
        link.ask("drain")
        reason = link.ask("status")["status"]["state_reason"]
    assert reason.endswith("it restores the phases when it ends; if it is killed, the next primary does")
    assert phase_of(node) == "halted"
    node.end(signal.SIGKILL)
    node.start()
    until(lambda: phase_of(node) == "continuous")


@pytest.mark.slow
def test_what_an_operator_halts_while_a_node_drains_stays_halted(node: Running) -> None:
    with node.link() as link:
        link.ask("drain")
        assert link.ask("commands", text="halt XYZ")["rejected"] == 0
    assert node.end(signal.SIGTERM) == 0
    node.start()
    assert phase_of(node) == "halted"


@pytest.mark.slow
def test_an_end_cancels_the_orders_of_who_cancels_on_disconnect_tells_it_and_leaves_all_others(node: Running) -> None:
    stays, goes = Client(node.port, "UB"), Client(node.port, "UC")
    stays.socket.sendall(enter("b1", "B", 5, 90_000))
    stays.take(2)
    goes.socket.sendall(enter("c1", "B", 5, 90_000) + enter("LONGTOKEN00001", "B", 5, 90_000))
    goes.take(3)
    assert node.process is not None
    for _ in range(2):  # the second changes nothing
        os.kill(node.process.pid, signal.SIGTERM)
    assert goes.until_end()[-1][0] == PacketType.END_OF_SESSION
    assert kinds(goes.stream) == ["SYSTEM_EVENT", "ACCEPTED", "ACCEPTED", "CANCELED", "CANCELED"]
    assert stays.until_end()[-1][0] == PacketType.END_OF_SESSION
    assert node.end(signal.SIGTERM) == 0, node.logged()
    node.start()
    assert phase_of(node) == "continuous"
    with node.link() as link:
        assert link.ask("books", symbol="XYZ")["book"]["bids"] == [
            {"price_e4": 90_000, "qty": 5, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}
        ]
    again = Client(node.port, "UC")
    assert again.take(5) == goes.stream
    seller = Client(node.port, "UA", seq=0)
    seller.socket.sendall(enter("a1", "S", 15, 90_000, tif_s=IOC))
    assert kinds(seller.take(3)) == ["ACCEPTED", "EXECUTED", "CANCELED"]
    assert LoginAccepted.read(again.answer[1]).next_seq == 1


@pytest.mark.slow
def test_orders_go_with_the_connection_also_while_a_node_drains(node: Running) -> None:
    client = Client(node.port, "UC")
    client.socket.sendall(enter("c1", "B", 5, 90_000))
    client.take(2)
    with node.link() as link:
        link.ask("drain")
    client.socket.close()
    until(lambda: node.status().get("events_canceled", 0) == 1)
