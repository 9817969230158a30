"""Claims of logins over the link of a gateway process: what becomes of one while its answer is on its way."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.connection import Connection
from gateway.passwords import credential_row
from gateway.register import Claim
from gateway.server import Gateway
from node.gateways.core_link import CoreLink, GatewayRefused, attach
from node.gateways.link import NAME
from node.programs.operator_socket import BoundSocket
from tests.rows import batch, participant, user
from tests.test_gateway_logins import observe, wire_of
from tests.test_gateway_turns import Turns, Wire
from wire.soup import LoginRequest, PacketType, RejectCode

UD = "UD"


class Lines:
    """The lines of a link, kept instead of sent."""

    def __init__(self) -> None:
        self.transport: object | None = object()
        self.sent: list[dict[str, object]] = []

    def send(self, **fields: object) -> None:
        self.sent.append(fields)

    def end(self) -> None:
        self.transport = None


class Process:
    """A gateway process as its link sees it, with streams that lag until ``catch_up``."""

    def __init__(self, gateway: Gateway | None = None, logged_in: set[int] | None = None) -> None:
        self._gateway, self._logged_in = gateway, logged_in or set()
        self._waiting: list[Callable[[], None]] = []
        self.lags = True

    def has_seen(self, _seq: int, then: Callable[[], None]) -> None:
        if self.lags:
            self._waiting.append(then)
        else:
            then()

    def catch_up(self) -> None:
        self.lags = False
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def log_out(self, number: int) -> None:
        self._logged_in.discard(number)

    def is_logged_in(self, number: int) -> bool:
        return number in (self._logged_in if self._gateway is None else self._gateway.logged_in)

    def on_told(self, told: dict[str, Any]) -> None:
        gateway = self._gateway
        if gateway is None:
            return
        if "displace" in told:
            gateway.displace(told["displace"], told["why"])
        elif "disconnect" in told:
            gateway.disconnect(told["disconnect"], told["why"])
        else:
            gateway.elsewhere = told["elsewhere"]

    def on_core_gone(self, _why: str) -> None:
        raise AssertionError("the core does not end in these tests")


def linked(process: Process) -> tuple[CoreLink, Lines]:
    link, lines = CoreLink(process), Lines()
    cast(Any, link)._lines = lines
    return link, lines


def granted(number: int, why: str = "") -> dict[str, Any]:
    return {"claim": number, "why": why, "epoch": 0, "seq": 5}


Between = Callable[[Turns, CoreLink, int], None]


def login_with(tmp_path: Path, between: Between) -> tuple[Connection, list[dict[str, object]]]:
    """A login at a gateway that lags, where something happens between the core's grant and its admission."""
    found: list[Any] = []

    async def run() -> None:
        turns = Turns(tmp_path / "node")
        observe(turns, batch(user(UD, "ALPHA"), credential_row(UD, "old", 4)))
        process = Process(turns.gateway)
        link, lines = linked(process)
        turns.gateway.claims = link
        connection = turns.gateway.connection(turns.gateway.entrances[0])
        connection.connection_made(Wire())
        login = LoginRequest(UD, "old", "", 0).packet()
        connection.get_buffer(0)[: len(login)] = login
        connection.buffer_updated(len(login))
        async with asyncio.timeout(120):
            while not lines.sent:
                await asyncio.sleep(0.001)
        link._take(granted(1))
        between(turns, link, turns.outbox.streams.user(UD))
        process.catch_up()
        await asyncio.sleep(0)
        found[:] = [connection, lines.sent]

    asyncio.run(run())
    connection, sent = found
    return connection, sent


def test_the_core_is_told_once_who_reads_a_past_session_and_of_each_wrong_password() -> None:
    async def run() -> None:
        link, lines = linked(Process())
        for users in ((), (3, 2), (2, 3), ()):
            link.past(frozenset(users))
        link.failed("10.0.0.1", "UA")
        assert lines.sent == [{"past": [2, 3]}, {"past": []}, {"failed": "UA", "network": "10.0.0.1"}]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (b'{"refused": "there is one already"}\n', "there is one already"),
        (b"[]\n", "gateways.sock of .* is of no node: a line is no object"),
        (b"\n", "gateways.sock of .* is of no node"),
        (b"", "ended while the gateway desk attached"),
    ],
)
def test_a_gateway_that_is_refused_leaves_nothing_open(tmp_path: Path, first: bytes, sentence: str) -> None:
    with closing(BoundSocket(tmp_path, NAME)) as bound:
        bound.socket.listen()

        def answer() -> None:
            connected, _ = bound.socket.accept()
            connected.recv(1_024)
            connected.sendall(first)
            connected.close()

        for _ in range(2):
            before = set(os.listdir("/proc/self/fd"))
            core = threading.Thread(target=answer)
            core.start()
            with pytest.raises(GatewayRefused, match=sentence):
                attach(tmp_path, "desk", 0, 1)
            core.join(120)
            assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_granted_login_is_opened_once_the_streams_have_caught_up(tmp_path: Path) -> None:
    connection, sent = login_with(tmp_path, lambda _turns, _link, _user: None)
    assert connection.live
    assert [next(iter(line)) for line in sent] == ["ask"]


@pytest.mark.parametrize(
    ("between", "why", "code"),
    [
        (
            lambda turns, _link, _user: observe(turns, user(UD, "ALPHA", permissions=0)),
            "the user may not log in any more",
            RejectCode.NOT_AUTHORIZED,
        ),
        (
            lambda turns, _link, _user: observe(turns, credential_row(UD, "new", 4)),
            "the user has a new password",
            RejectCode.NOT_AUTHORIZED,
        ),
        (
            lambda turns, _link, _user: observe(turns, batch(participant("BETA"), user(UD, "BETA"))),
            "the user belongs to another participant now",
            RejectCode.NOT_AUTHORIZED,
        ),
        (
            lambda _turns, link, number: link._take({"displace": number, "why": "the same user logged in again"}),
            "the same user logged in again",
            RejectCode.SESSION_NOT_AVAILABLE,
        ),
        (
            lambda _turns, link, number: link._take({"disconnect": number, "why": "the operator ended it"}),
            "the operator ended it",
            RejectCode.SESSION_NOT_AVAILABLE,
        ),
        (
            lambda _turns, link, _number: link._take({"elsewhere": "this node is a copy"}),
            "this node is a copy",
            RejectCode.SESSION_NOT_AVAILABLE,
        ),
    ],
    ids=["disabled", "password", "participant", "displaced", "disconnected", "copy"],
)
def test_a_login_that_is_revoked_between_grant_and_admission_is_refused_and_given_back(
    between: Between, why: str, code: RejectCode, tmp_path: Path
) -> None:
    connection, sent = login_with(tmp_path, between)
    assert not connection.live
    assert connection.closing == why
    assert wire_of(connection).written == bytes([0, 2, PacketType.LOGIN_REJECTED, code])
    assert [next(iter(line)) for line in sent] == ["ask", "gone"]
    assert sent[1]["cancels"] is (why == "the operator ended it"), "else it may come back: the core has it absent"


def test_a_login_whose_client_hangs_up_between_grant_and_admission_is_given_back_once(tmp_path: Path) -> None:
    def hang_up(turns: Turns, _link: CoreLink, _user: int) -> None:
        for each in [each for each in turns.gateway.connections if not each.user]:
            each.connection_lost(None)

    connection, sent = login_with(tmp_path, hang_up)
    assert not connection.live
    assert sent[1:] == [{"gone": sent[0]["user"], "cancels": False}]


def test_a_login_that_is_displaced_before_it_is_granted_stands() -> None:
    async def run() -> None:
        process = Process()
        process.lags = False
        link, _ = linked(process)
        answers: list[Claim] = []
        link.ask(7, "a", answers.append, newest_wins=True)
        link._take({"displace": 7, "why": "the same user logged in again"})  # meant the login before this one
        link._take(granted(1))
        assert answers == [Claim("", 0)]

    asyncio.run(run())


@pytest.mark.parametrize("lags", [False, True])
@pytest.mark.parametrize("why", ["", "the lease is not confirmed"])
def test_a_disconnect_while_a_claim_of_the_user_is_under_way_cancels_and_the_claim_comes_behind_it(
    why: str, lags: bool
) -> None:
    async def run() -> None:
        process = Process(logged_in={7})
        process.lags = lags
        link, lines = linked(process)
        answers: list[Claim] = []
        link.ask(7, "a", answers.append, newest_wins=True)
        if lags:
            link._take(granted(1, why))
        process.log_out(7)  # the live connection breaks
        link.give_back(7)
        link.cancel(7)
        if lags:
            process.catch_up()  # in the same turn of the loop
        else:
            await asyncio.sleep(0)
            link._take(granted(1, why))
        gone = {"gone": 7, "cancels": True}
        if why:
            assert lines.sent[1:] == [gone]
            assert answers == [Claim(why)]
            return
        assert lines.sent[1:] == [gone, lines.sent[0] | {"ask": 2}]
        assert answers == [], "the grant was of before the user was given back"
        link._take(granted(2))
        assert answers == [Claim("", 0)]
        await asyncio.sleep(0)
        assert len(lines.sent) == 3

    asyncio.run(run())


def test_a_disconnect_without_a_claim_under_way_cancels_and_asks_nothing() -> None:
    async def run() -> None:
        link, lines = linked(Process())
        link.give_back(7)
        link.cancel(7)
        await asyncio.sleep(0)
        assert lines.sent == [{"gone": 7, "cancels": True}]

    asyncio.run(run())


def test_every_claim_under_way_is_answered_once_when_the_link_ends() -> None:
    async def run() -> None:
        process = Process()
        link, _ = linked(process)
        answers: list[Claim] = []
        link.ask(7, "a", answers.append, newest_wins=True)
        link.ask(8, "a", answers.append, newest_wins=True)
        link._take(granted(1))
        link.close()
        link._ended()
        process.catch_up()
        assert answers == [Claim("the node has ended")] * 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("received", "why"),
    [
        (b"x" * 70_000, "a line is longer than 65536 bytes"),
        (b"[]\n", "a line is no object"),
        (b"", ""),
    ],
)
def test_a_link_that_this_end_gives_up_has_its_reason_and_one_of_a_core_that_ended_has_none(
    received: bytes, why: str
) -> None:
    class Told(Process):
        def on_core_gone(self, why: str) -> None:
            told.append(why)

    told: list[str] = []

    async def run() -> None:
        link, (ours, core) = CoreLink(Told()), socket.socketpair(socket.AF_UNIX)
        await link.start(ours, b"")
        core.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(core, received)
        async with asyncio.timeout(120):
            while not told:
                if not received:
                    core.close()
                await asyncio.sleep(0.001)
        core.close()

    asyncio.run(run())
    assert told == [why]
