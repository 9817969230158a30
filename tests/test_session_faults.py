"""Faults of our own code in one session: it ends, with a line of the log, and nobody else notices."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.connection import Connection
from gateway.fix.entering import Entering
from gateway.fix.protocol import Fix
from gateway.fix.session import FixSession
from gateway.ouch.protocol import OUCH
from gateway.protocol import OrderProtocol
from gateway.session_faults import WHY, SessionFault
from gateway.soup import SoupSession
from node.gateways import alone_client, answer_spin, process
from node.gateways.process import GatewayOptions, GatewayProcess
from node.programs.logs import Log
from tests.fix_client import FixClient, one_write
from tests.ouch_messages import enter
from tests.running import WAIT_S, Client, Running, started, until
from wire.fix_codec import Message
from wire.fix_session import Session
from wire.fix_validation import Validator
from wire.soup import Debug, PacketType

_EVENT = "a fault of ours ends a session"
#: Name of the order, or text, at which a planted fault strikes.
_BOOM = b"boom"
#: Text of the error: it repeats the password of a user.
_TEXT = "with the password secret in its text"


class Boom(Exception):
    """A fault that nobody foresaw."""


class Planted:
    """A fault in one place of the code, until it is mended."""

    def __init__(self) -> None:
        self.strikes = True
        self.struck = 0

    def at(self, found: bool) -> None:
        """Strike where it was found."""
        if found and self.strikes:
            self.struck += 1
            raise Boom(_TEXT)


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--durability", "none")
    try:
        yield running
    finally:
        running.stop()


class Served:
    """A gateway that runs in this process: its port, its log, and whether it has ended by itself."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.port = 0
        self.ended = threading.Event()

    def faults(self) -> list[dict[str, Any]]:
        """Lines of the log on faults."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == _EVENT]


def serve(node: Running, protocol: OrderProtocol, clients: Callable[[Served], None]) -> Served:
    """Run a gateway on this thread, and clients on another."""
    served = Served()

    async def run() -> None:
        log = Log(served.log, pretty=False)
        made = GatewayProcess(GatewayOptions(node.data, "one", protocol), log)
        await made.start()
        served.port = made.port
        running = asyncio.create_task(made.run())
        running.add_done_callback(lambda _: served.ended.set())
        try:
            await asyncio.to_thread(clients, served)
            assert not served.ended.is_set(), served.log.getvalue()
        finally:
            made.stop()
            await running
            log.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return served


def plant(monkeypatch: pytest.MonkeyPatch, planted: Planted, place: str) -> None:
    """Plant a fault that strikes the user UA, or what has the name ``boom``."""
    if place == "parsed":
        sound_fault = Validator.fault

        def fault(self: Validator, message: Message) -> Any:
            planted.at(message.get(b"11") == _BOOM)
            return sound_fault(self, message)

        monkeypatch.setattr(Validator, "fault", fault)
    elif place == "in turn":  # its number is consumed, and nothing else is done
        sound_in_turn = Session._in_turn

        def in_turn(self: Session, message: Message, *arguments: Any, **named: Any) -> Any:
            seq = sound_in_turn(self, message, *arguments, **named)
            if message.get(b"11") == _BOOM and planted.strikes:
                self.store.in_seq += 1
                planted.at(True)
            return seq

        monkeypatch.setattr(Session, "_in_turn", in_turn)
    elif place == "made rows":  # behind the first of its rows
        sound_route = Entering._route

        def route(self: Entering, message: Message, begin: int) -> None:
            planted.at(message.get(b"11") == _BOOM)
            sound_route(self, message, begin)

        monkeypatch.setattr(Entering, "_route", route)
    else:
        sound: Callable[..., Any] = getattr(FixSession, place)

        def step(self: FixSession, *arguments: Any) -> Any:
            planted.at(self._head is not None and b"UA" in bytes(self._head.data))
            return sound(self, *arguments)

        monkeypatch.setattr(FixSession, place, step)


def boom(session: FixClient) -> None:
    """Enter an order, one at which a fault strikes, and another, in one write. None is plain, so that Python reads."""
    with one_write(session):
        session.order("a1", f18="1")
        session.order("boom", f18="1")
        session.order("a2", f18="1")


def until_end(session: FixClient) -> list[Message]:
    """Messages until the connection ends."""
    found = []
    while (message := session.next()) is not None:
        session._take(message)
        found.append(message)
    return found


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("place", ["made rows", "parsed", "in turn"])
def test_a_fault_in_a_message_logs_its_client_out_before_it_and_nothing_of_it_is_lost(
    place: str, node: Running, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, planted, place)

    def clients(served: Served) -> None:
        with closing(FixClient(served.port, "UB")) as other:
            other.log_on()
            with closing(FixClient(served.port)) as struck:
                struck.log_on()
                boom(struck)
                last = until_end(struck)
                assert [(each.msg_type, each.get(b"11")) for each in last] == [(b"8", b"a1"), (b"5", None)]
                assert last[-1].get(b"58") == b"a fault of the exchange in message 3, which is not taken"
                other.order("b1", "2", 5, "11.00")
                assert other.report("b1").get(b"39") == b"0", "who has no part in it goes on"
            until(lambda: node.status()["logged_in"] == 1)
            with closing(FixClient(served.port, in_seq=struck.in_seq, out_seq=struck.out_seq)) as again:
                again.sent = struck.sent
                again.log_on()
                again.until(lambda each: each.msg_type == b"5")  # it is sent again, and strikes again
                again.until_closed()
            assert planted.struck == 2
            planted.strikes = False
            with closing(FixClient(served.port, in_seq=again.in_seq, out_seq=again.out_seq)) as mended:
                mended.sent = again.sent
                mended.log_on()
                assert [mended.report(name).get(b"39") for name in ("boom", "a2")] == [b"0", b"0"]
                assert mended.in_seq == again.in_seq + 4, "a logon, a resend request, and two reports"
        assert node.status()["orders_open"] == 4, "each order once"

    served = serve(node, Fix(), clients)
    first, _second = served.faults()
    assert (first["user"], first["why"]) == ("UA", "Boom: with the password secret in its text")
    assert "|11=boom|" in first["read"]
    assert "test_session_faults.py" in first["traceback"]
    assert first["level"] == "error"


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("place", ["tick", "read", "_took_plain", "note_answer", "may_stay", "note_stay", "outgoing"])
def test_a_fault_anywhere_else_in_a_session_ends_its_connection_alone(
    place: str, node: Running, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.strikes = False
    plant(monkeypatch, planted, place)
    for module in (answer_spin, process, alone_client):  # others may have the processor
        monkeypatch.setattr(module, "SPIN_NS", 100_000_000)

    def clients(served: Served) -> None:
        with closing(FixClient(served.port, "UB")) as other:
            other.log_on()
            with closing(FixClient(served.port)) as struck:
                struck.log_on()
                planted.strikes = True
                names: list[str] = []
                until_s = time.monotonic() + WAIT_S
                while time.monotonic() < until_s:  # the first few alone bring a kernel that stays
                    names.append(f"boom{len(names)}")
                    struck.order(names[-1])
                    if not _reported(struck, names[-1]):
                        break
                    time.sleep(0.002)
                else:
                    pytest.fail(f"nothing has struck: {served.log.getvalue()}")
                other.order("b1", "2", 5, "11.00")
                assert other.report("b1").get(b"39") == b"0", "who has no part in it goes on"
            planted.strikes = False
            until(lambda: node.status()["logged_in"] == 1)
            with closing(FixClient(served.port, in_seq=struck.in_seq, out_seq=struck.out_seq)) as again:
                again.sent = struck.sent
                again.log_on()
                again.send(b"2", [(7, 1), (16, 0)])
                again.send(b"1", [(112, "done")])
                again.until(lambda each: each.get(b"112") == b"done")
                again.order("last")
                again.report("last")
                new = {each.get(b"11") for frame in again.frames if (each := Message(frame)).get(b"150") == b"0"}
                assert new == {*(each.encode() for each in names), b"last"}
        assert node.status()["orders_open"] == len(names) + 2, "each order once"

    served = serve(node, Fix(), clients)
    assert planted.struck == len(served.faults()) == 1, served.log.getvalue()
    (line,) = served.faults()
    assert (line["user"], line["level"]) == ("UA", "error")
    assert "Boom" in line["traceback"]


def _reported(session: FixClient, name: str) -> bool:
    """True once an order is reported; False where the connection ends before."""
    while (message := session.next()) is not None:
        session._take(message)
        if message.get(b"11") == name.encode():
            return True
    return False


@pytest.mark.parametrize("place", ["ask", "accept_login", "refuse"])
def test_a_fault_in_a_logon_ends_it_and_its_password_is_not_in_the_log(
    place: str, node: Running, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, planted, place)
    monkeypatch.setattr(planted, "at", lambda _found: Planted.at(planted, True))

    def clients(served: Served) -> None:
        with closing(FixClient(served.port)) as struck:
            struck.send(b"A", [(98, 0), (108, 30), (554, "wrong" if place == "refuse" else "secret")])
            assert struck.next() is None
        planted.strikes = False
        with closing(FixClient(served.port)) as again:
            assert again.log_on().msg_type == b"A"

    served = serve(node, Fix(), clients)
    (line,) = served.faults()
    assert line["why"] == "Boom"
    assert line["traceback"].endswith("\nBoom")
    said = served.log.getvalue()
    assert ("|554=***|" in line["read"]) == (place == "ask")
    assert "secret" not in said
    assert "=wrong" not in said


@pytest.mark.parametrize("place", ["take", "outgoing", "tick", "heartbeat"])
def test_a_fault_in_a_session_of_ouch_ends_it_alone(
    place: str, node: Running, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = getattr(SoupSession, place)
    struck_user: list[Any] = []

    def step(self: SoupSession, *arguments: Any) -> Any:
        planted.at(bool(struck_user) and self is struck_user[0])
        return sound(self, *arguments)

    monkeypatch.setattr(SoupSession, place, step)
    sound_login = Connection.accept_login

    def accept_login(self: Connection, *arguments: Any, **named: Any) -> bytes:
        if not struck_user:
            struck_user.append(self.session)
        return sound_login(self, *arguments, **named)

    monkeypatch.setattr(Connection, "accept_login", accept_login)

    def clients(served: Served) -> None:
        struck, other = Client(served.port, "UA"), Client(served.port, "UB")
        if place == "take":
            struck.socket.sendall(Debug("boom").packet())
        elif place == "outgoing":
            struck.socket.sendall(enter("A1", "B", 1, 90_000))
        last = [payload for kind, payload in struck.until_end() if kind == PacketType.DEBUG]
        assert last == [f"closed: {WHY}".encode()]
        struck.socket.close()
        other.socket.sendall(enter("B1", "B", 1, 90_000))
        other.take(2)
        other.log_out()

    served = serve(node, OUCH, clients)
    (line,) = served.faults()
    assert line["read"] == ("00052b626f6f6d" if place == "take" else "")


def test_a_fault_in_a_session_at_the_node_itself_ends_it_alone(tmp_path: Path) -> None:
    running = started(tmp_path, "--durability", "none", faults="debug-strikes")
    try:
        struck, other = Client(running.port, "UA"), Client(running.port, "UB")
        struck.socket.sendall(Debug("boom").packet())
        struck.until_end()
        struck.socket.close()
        other.socket.sendall(enter("B1", "B", 1, 90_000))
        other.take(2)
        other.log_out()
        assert _EVENT in Path(running.log).read_text(encoding="utf-8")
    finally:
        running.stop()


def test_the_text_of_an_error_is_left_out_where_it_may_repeat_a_password() -> None:
    error = ValueError("invalid literal: secret")
    assert SessionFault(error).why == "ValueError: invalid literal: secret"
    assert SessionFault(error, "554=***", secret=True).why == "ValueError"
    assert SessionFault(error, "554=***", secret=True).traceback == "ValueError"
