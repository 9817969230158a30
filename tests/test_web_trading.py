"""Order entry of web users where the exchange answers late or not at all, or the process has a defect."""

import asyncio
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marketdata.web.account import Account
from marketdata.web.order_requests import Asked
from node.web import trading as web_trading
from node.web.keys import Key
from node.web.trading import Answer, Trader, Trading
from reports.rows import ReportKind
from tests.ouch_messages import enter
from tests.running import Client, started
from tests.test_node_gateways import port_of
from tests.test_node_programs import processes

KEY = Key("UA", "secret", "key-UA", "open", b"s" * 16)
ASKED = Asked("XYZ", "buy", 1, "9.00", "tif=gtc", "mine")
WAIT_S = 120.0


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, dict[str, Any]]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.found.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.found.append(("error", event, fields))


async def live(trader: Trader) -> None:
    async with asyncio.timeout(WAIT_S):
        while not trader.is_live:
            await asyncio.sleep(0.02)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


def test_an_order_sent_again_while_its_answer_is_missing_is_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway stands still while an order is sent, and sent again, and goes on."""
    monkeypatch.setattr(web_trading, "_ANSWER_S", 1.0)
    node = started(tmp_path, "--gateway", "native=native:0")
    port, gateway = port_of(node, "native"), processes(node)["native"]["pid"]

    async def check() -> None:
        trader = Trader(f"127.0.0.1:{port}", KEY, Lines(), lambda _user, _messages: None)  # type: ignore[arg-type]
        running = asyncio.create_task(trader.run())
        await live(trader)
        os.kill(gateway, signal.SIGSTOP)
        try:
            for _ in range(2):
                assert (await trader.enter(ASKED, "mine")).status == 504
            other = ASKED._replace(qty=2)
            assert (await trader.enter(other, "mine")).status == 504
        finally:
            os.kill(gateway, signal.SIGCONT)
        async with asyncio.timeout(WAIT_S):
            while (answer := await trader.enter(ASKED, "mine")).status == 504:
                pass
        assert (answer.status, answer.value["client_oid"]) == (200, "mine"), answer
        assert (await trader.enter(other, "mine")).status == 409
        assert [each.report.original_qty for each in trader.account.orders.values()] == [1]
        await ended(running)

    try:
        asyncio.run(check())
    finally:
        node.stop()


class Odd:
    """A client that fails by a defect three times: made, connected, closed."""

    made = 0
    outage = ""
    core = SimpleNamespace(session="", next_seq=1)

    def __init__(self, *_places: Any, **_named: Any) -> None:
        Odd.made += 1
        if Odd.made == 1:
            raise ValueError("made")
        self.at, self.is_live = Odd.made, False

    async def connect(self) -> None:
        if self.at == 2:
            raise RuntimeError("connected")
        self.is_live = self.at > 3

    async def events(self) -> Any:
        if self.at > 3:
            await asyncio.Event().wait()
        for _ in ():
            yield

    async def close(self) -> None:
        self.is_live = False
        if self.at == 3:
            raise KeyError("closed")


def test_a_defect_is_logged_and_the_user_is_logged_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_trading, "AsyncNativeClient", Odd)
    monkeypatch.setattr(web_trading, "_AGAIN_S", 0.0)
    monkeypatch.setattr(Odd, "made", 0)
    lines = Lines()

    async def check() -> None:
        trader = Trader("127.0.0.1:1", KEY, lines, lambda _user, _messages: None)  # type: ignore[arg-type]
        running = asyncio.create_task(trader.run())
        until_live = asyncio.create_task(live(trader))
        await asyncio.wait({running, until_live}, return_when=asyncio.FIRST_COMPLETED)
        assert trader.is_live
        await ended(running)

    asyncio.run(check())
    assert {(level, event, fields["user"]) for level, event, fields in lines.found} == {
        ("error", "order entry failed", "UA")
    }
    assert [fields["error"] for _, _, fields in lines.found] == ["ValueError", "RuntimeError", "KeyError"]


@pytest.mark.parametrize(("status", "times"), [(429, 2), (503, 2), (200, 1), (400, 1), (504, 1)])
def test_an_answer_that_says_ask_again_is_not_remembered(status: int, times: int) -> None:
    async def check() -> None:
        trading, done = Trading("127.0.0.1:1", {KEY.name: KEY}, Lines(), lambda _user, _messages: None), []  # type: ignore[arg-type]

        async def do() -> Answer:
            done.append(1)
            return Answer(status, {})

        for _ in range(2):
            assert (await trading.of(KEY).once("signed", do)).status == status
        assert len(done) == times

    asyncio.run(check())


def test_the_requests_of_one_user_take_no_room_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_trading, "_REMEMBERED_MAX", 3)
    other = KEY._replace(user="UB", name="key-UB")
    told = Lines()

    async def check() -> None:
        keys = {KEY.name: KEY, other.name: other}
        trading = Trading("127.0.0.1:1", keys, told, lambda _user, _messages: None)  # type: ignore[arg-type]

        async def do() -> Answer:
            return Answer(200, {})

        found = [(await trading.of(KEY).once(f"signed {n}", do)).status for n in range(4)]
        assert found == [200, 200, 200, 429]
        assert (await trading.of(other).once("signed 0", do)).status == 200

    asyncio.run(check())


@pytest.mark.slow
def test_channel_user_tells_later_what_happened_while_the_login_was_away_and_nothing_twice(tmp_path: Path) -> None:
    """The gateway is killed, and the order of the user is filled before it is there again."""
    node = started(tmp_path, "--gateway", "native=native:0")
    port = port_of(node, "native")
    told: list[tuple[str, str]] = []

    def on_told(_user: str, messages: list[dict[str, Any]]) -> None:
        told.extend((each["type"], each["order_id"]) for each in messages)

    async def check() -> None:
        trader = Trader(f"127.0.0.1:{port}", KEY, Lines(), on_told)  # type: ignore[arg-type]
        running = asyncio.create_task(trader.run())
        await live(trader)
        made = (await trader.enter(ASKED, "mine")).value["id"]
        async with asyncio.timeout(WAIT_S):
            while len(told) < 2:
                await asyncio.sleep(0.02)
        assert told == [("received", made), ("open", made)]
        os.kill(processes(node)["native"]["pid"], signal.SIGKILL)
        async with asyncio.timeout(WAIT_S):
            while trader.is_live:
                await asyncio.sleep(0.002)
        seller = Client(node.port, "UB")
        seller.socket.sendall(enter("S1", "S", 1, 90_000))
        async with asyncio.timeout(WAIT_S):
            while len(told) < 4:
                await asyncio.sleep(0.02)
        await live(trader)
        await trader.enter(ASKED._replace(client_id="next"), "next")
        async with asyncio.timeout(WAIT_S):
            while len(told) < 6:
                await asyncio.sleep(0.02)
        assert told[2:4] == [("match", made), ("done", made)]
        assert [kind for kind, _ in told[4:]] == ["received", "open"]
        await ended(running)

    try:
        asyncio.run(check())
    finally:
        node.stop()


def test_an_order_is_forgotten_with_all_its_tokens_but_for_those_that_another_order_has() -> None:
    account = Account("UA")
    account.take(report(1, "first"))
    account.take(report(1, "second"))
    account.take(report(1, "third"))
    account.client_ids |= {"first": "own", "second": "own", "third": "own"}
    account.take(report(1, "third", leaves_qty=0))
    # Another day: the exchange takes a token again, before the order that had it is forgotten.
    account.take(report(2, "second"))
    account.client_ids["second"] = "other"
    account.begin_day()
    assert account.numbers == {"second": 2}
    assert account.client_ids == {"second": "other"}
    assert list(account.orders) == [2]


def report(number: int, token: str, leaves_qty: int = 1) -> Any:
    """A report as ``wire.native.REPORT`` has it, of a buy at 9.00."""
    return SimpleNamespace(
        report=ReportKind.NEW, user="UA", order_number=number, order_token=token, time_ns=1, leaves_qty=leaves_qty,
        instructions=0, in_book=0, side=1, symbol="XYZ", qty=1, price_e4=90_000, canceled_qty=0, liquidity=0, reason=0,
        stop_e4=0,
    )  # fmt: skip
