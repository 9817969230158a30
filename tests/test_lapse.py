"""Order entry of a primary whose lease is not confirmed."""

from typing import Any, cast

from gateway.server import Gateway
from node.core.lapse import PATIENCE_NS, Lapse


class FakeConnection:
    def __init__(self) -> None:
        self.closed = ""

    def close(self, why: str, *, tells: bool) -> None:
        assert not tells, "nothing more is said to clients"
        self.closed = why


class FakeGateway:
    def __init__(self) -> None:
        self.elsewhere = ""
        self.connections: set[Any] = {FakeConnection()}

    def send_away(self, why: str) -> None:
        for connection in self.connections:
            connection.close(why, tells=False)


def test_without_a_lease_logins_are_rejected_at_once_and_clients_are_sent_away_after_a_while() -> None:
    gateway, returns = FakeGateway(), []
    (connection,) = gateway.connections
    lapse = Lapse(cast(Gateway, gateway), lambda: returns.append(1))
    lapse.look(True, 0)
    assert gateway.elsewhere == ""
    lapse.look(False, 1_000)
    assert "does not confirm" in gateway.elsewhere
    lapse.look(False, 1_000 + PATIENCE_NS - 1)
    assert connection.closed == ""
    lapse.look(False, 1_000 + PATIENCE_NS)
    assert "does not confirm" in connection.closed
    assert lapse.is_long
    assert returns == []
    lapse.look(True, 2_000 + PATIENCE_NS)
    lapse.look(True, 3_000 + PATIENCE_NS)
    assert gateway.elsewhere == ""
    assert not lapse.is_long
    assert returns == [1], "users that cancel on disconnect have their time again"


def test_a_short_lapse_ends_no_connection() -> None:
    gateway, returns = FakeGateway(), []
    (connection,) = gateway.connections
    lapse = Lapse(cast(Gateway, gateway), lambda: returns.append(1))
    for number in range(5):
        lapse.look(False, number * PATIENCE_NS)
        lapse.look(False, number * PATIENCE_NS + PATIENCE_NS // 2)
        assert not lapse.is_long
        lapse.look(True, number * PATIENCE_NS + PATIENCE_NS // 2 + 1)
    assert connection.closed == ""
    assert returns == [1] * 5
