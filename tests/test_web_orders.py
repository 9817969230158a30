"""Order entry of web clients at a real node: signed requests, one order whatever is killed, and what users are told."""

import asyncio
import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.web.keys import signature
from tests.running import ROOT, Client, Running, started, until
from tests.test_node_gateways import port_of
from tests.test_node_programs import processes
from tests.test_web_process import PRODUCT, Served

for package in ("starlette", "uvicorn", "websockets", "httptools"):
    pytest.importorskip(package, reason="pip install 'lockstep[web]'")

SECRETS = {user: f"{user} signs with this secret".encode() for user in ("UA", "UB")}


class Trades(Served):
    """A node with native order entry, and `lockstep web` beside it, at which UA and UB trade."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--gateway", "native=native:0")
        self.keys = folder / "keys"
        lines = [f"{user} secret key-{user} open {base64.b64encode(own).decode()}" for user, own in SECRETS.items()]
        self.keys.write_text("\n".join(lines))
        self.keys.chmod(0o600)

    def start_trading(self) -> None:
        """Start `lockstep web`, and wait until both users are logged in."""
        native = f"127.0.0.1:{port_of(self.node, 'native')}"
        self.start("--rate", "0", "--keys", str(self.keys), "--orders-at", native)
        for user in SECRETS:
            until(
                lambda user=user: self.signed(user, "GET", "/orders")[0] == 200,
                what=lambda user=user: f"no order entry: {self.signed(user, 'GET', '/orders')}",
            )

    def signed(self, user: str, method: str, path: str, body: Any = None, stamp: str = "") -> tuple[int, Any]:
        """Status and answer of a signed request."""
        data = b"" if body is None else json.dumps(body).encode()
        stamp = stamp or f"{time.time():.6f}"
        made = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=data or None,
            method=method,
            headers={
                "CB-ACCESS-KEY": f"key-{user}",
                "CB-ACCESS-SIGN": signature(SECRETS[user], stamp, method, path, data),
                "CB-ACCESS-TIMESTAMP": stamp,
                "CB-ACCESS-PASSPHRASE": "open",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(made, timeout=120) as answer:
                self.headers = dict(answer.headers)
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    @classmethod
    def of(cls, node: Running, port: int) -> "Trades":
        """One whose node has started `lockstep web` by itself."""
        made = cls.__new__(cls)
        made.node, made.port, made.process = node, port, None
        return made

    def again(self, method: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer of a request of UA about orders; status 0 where the connection broke."""
        try:
            return self.signed("UA", method, "/orders", body)
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def done(self, user: str, method: str, path: str, body: Any = None) -> Any:
        """Answer of a signed request that must be done."""
        status, answer = self.signed(user, method, path, body)
        assert status == 200, answer
        return answer


@pytest.fixture
def trades(tmp_path: Path) -> Iterator[Trades]:
    made = Trades(tmp_path)
    try:
        made.start_trading()
        yield made
    finally:
        made.stop()


def order(side: str, size: int, price: str, **more: Any) -> dict[str, Any]:
    return {"product_id": PRODUCT, "side": side, "size": str(size), "price": price, **more}


@pytest.mark.slow
def test_orders_are_entered_found_filled_and_canceled(trades: Trades) -> None:
    own = str(uuid.uuid4())
    made = trades.done("UA", "POST", "/orders", order("buy", 10, "9.90", client_oid=own, post_only=True))
    assert (made["status"], made["price"], made["size"], made["client_oid"]) == ("open", "9.90", "10", own)
    assert (made["time_in_force"], made["post_only"]) == ("GTC", True)
    for name in (made["id"], f"client:{own}"):
        assert trades.done("UA", "GET", f"/orders/{name}") == made
    until(lambda: any(row[2] == made["id"] for row in trades.book()["bids"]), what="the order is not in the book")
    # The order of another user is nobody's business.
    assert trades.signed("UB", "GET", f"/orders/{made['id']}")[0] == 404
    assert trades.signed("UB", "DELETE", f"/orders/{made['id']}")[0] == 404

    sold = trades.done("UB", "POST", "/orders", order("sell", 4, "9.90", time_in_force="IOC"))
    until(lambda: trades.done("UB", "GET", f"/orders/{sold['id']}")["status"] == "done")
    sold = trades.done("UB", "GET", f"/orders/{sold['id']}")
    assert (sold["done_reason"], sold["filled_size"], sold["executed_value"]) == ("filled", "4", "39.60")
    (fill,) = trades.done("UB", "GET", "/fills")
    assert (fill["order_id"], fill["size"], fill["price"], fill["liquidity"]) == (sold["id"], "4", "9.90", "T")
    until(lambda: trades.done("UA", "GET", "/fills"))
    (other,) = trades.done("UA", "GET", f"/fills?product_id={PRODUCT}")
    assert (other["trade_id"], other["liquidity"]) == (fill["trade_id"], "M")

    def balances() -> dict[str, tuple[str, str, str]]:
        found = trades.done("UA", "GET", "/accounts")
        return {each["currency"]: (each["balance"], each["hold"], each["available"]) for each in found}

    until(lambda: balances() == {"USD": ("-39.60", "59.40", "-99.00"), "XYZ": ("4", "0", "4")})
    assert trades.done("UA", "DELETE", f"/orders/{made['id']}") == made["id"]
    status, refused = trades.signed("UA", "DELETE", f"/orders/client:{own}")
    assert (status, refused["message"]) == (400, "Order already done: it was canceled")
    assert trades.done("UA", "GET", "/orders") == []
    (closed,) = trades.done("UA", "GET", "/orders?status=done")
    assert (closed["id"], closed["done_reason"], closed["filled_size"]) == (made["id"], "canceled", "4")


@pytest.mark.slow
def test_refusals_say_why_with_the_right_status(trades: Trades) -> None:
    resting = trades.done("UB", "POST", "/orders", order("sell", 5, "10.10"))
    for body, status, why in (
        (order("buy", 5, "10.10", post_only=True), 400, "would_cross"),
        (order("buy", 5, "10.1234"), 400, "price too precise"),
        (order("buy", 5, "0"), 400, "above 0"),
        (order("buy", 1_000_000, "10.00"), 400, "whole number from 1 to 999999"),
        ({**order("buy", 5, "10.00"), "product_id": "NO-USD"}, 404, "no product"),
    ):
        found, answer = trades.signed("UA", "POST", "/orders", body)
        assert (found, why in answer["message"]) == (status, True), answer
    unsigned = urllib.request.Request(f"http://127.0.0.1:{trades.port}/orders")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(unsigned, timeout=60)
    with refused.value:
        assert refused.value.code == 401
    assert trades.signed("UA", "GET", "/orders", stamp=f"{time.time() - 60:.0f}")[0] == 401
    assert trades.signed("UA", "GET", "/orders/nonsense") == (400, {"message": "Invalid order id"})
    assert trades.signed("UA", "GET", "/orders?status=odd")[0] == 400
    # Control: the orders that were refused are not there, and the resting one is.
    assert trades.done("UA", "GET", "/orders?status=all") == []
    assert [each["id"] for each in trades.done("UB", "GET", "/orders")] == [resting["id"]]


@pytest.mark.slow
def test_the_same_request_again_is_the_same_order(trades: Trades) -> None:
    stamp = f"{time.time():.6f}"
    first, again = (trades.signed("UA", "POST", "/orders", order("buy", 1, "9.00"), stamp) for _ in range(2))
    assert first == again
    named = order("buy", 2, "9.10", client_oid="mine")
    made = [trades.done("UA", "POST", "/orders", named)["id"] for _ in range(3)]
    assert len(set(made)) == 1
    assert trades.signed("UA", "POST", "/orders", {**named, "size": "3"})[0] == 409
    # Control: without an id of its own, another request is another order.
    trades.done("UA", "POST", "/orders", order("buy", 1, "9.00"))
    assert len(trades.done("UA", "GET", "/orders")) == 3
    # A request to cancel all that is sent again takes nothing that came meanwhile.
    stamp = f"{time.time():.6f}"
    status, gone = trades.signed("UA", "DELETE", "/orders", {"product_id": "XYZ/USD"}, stamp)
    assert (status, len(gone)) == (200, 3)
    trades.done("UA", "POST", "/orders", order("buy", 1, "9.20"))
    assert trades.signed("UA", "DELETE", "/orders", {"product_id": "XYZ/USD"}, stamp) == (status, gone)
    assert len(trades.done("UA", "GET", "/orders")) == 1
    assert len(trades.done("UA", "DELETE", "/orders")) == 1


@pytest.mark.slow
def test_a_request_that_is_written_wrong_does_nothing_and_tells_nothing_else(trades: Trades) -> None:
    made = trades.done("UA", "POST", "/orders", order("buy", 1, "9.00"))
    for method, path, body, why in (
        ("DELETE", "/orders?product=ABC-USD", None, "'product' is no word"),
        ("DELETE", "/orders", {"product": "ABC-USD"}, "'product' is no field"),
        ("DELETE", "/orders?product_id=", None, "product_id is empty"),
        ("GET", "/fills?orderid=1", None, "'orderid' is no word"),
        ("GET", "/orders?limit=1&limit=2", None, "limit is there twice"),
    ):
        status, answer = trades.signed("UA", method, path, body)
        assert (status, why in answer["message"]) == (400, True), answer
    for method in ("GET", "DELETE"):  # an empty id is none, and not all
        assert trades.signed("UA", method, "/orders/")[0] == 404
    assert trades.signed("UA", "GET", "/orders?profile_id=UB")[0] == 404
    status, answer = trades.ask(f"/products/{PRODUCT}/candles?granularty=300")
    assert (status, answer["message"]) == (
        400,
        "'granularty' is no word of this query; there are end, granularity, start",
    )
    assert trades.ask("/time?nonce=1")[0] == 200  # a path without words leaves out what comes
    # Control: the order is there, and is found by its time.
    assert trades.done("UA", "GET", f"/orders?profile_id=UA&start_date={made['created_at']}") == [made]
    assert trades.done("UA", "GET", f"/orders?end_date={made['created_at']}") == [made]
    assert trades.done("UA", "GET", f"/orders?start_date={int(time.time()) + 60}") == []
    assert trades.done("UA", "DELETE", f"/orders?product_id={PRODUCT}") == [made["id"]]


@pytest.mark.slow
def test_orders_come_in_pages(trades: Trades) -> None:
    ids = [trades.done("UA", "POST", "/orders", order("buy", 1, f"9.0{n}"))["id"] for n in range(5)]
    found: list[str] = []
    after = ""
    while page := trades.done("UA", "GET", f"/orders?limit=2{after}"):
        found += [each["id"] for each in page]
        after = f"&after={trades.headers['cb-after']}"
    assert found == ids[::-1]
    assert trades.signed("UA", "GET", "/orders?limit=0")[0] == 400


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["web", "node", "gateway"])
def test_no_order_is_lost_or_doubled_by_a_kill(trades: Trades, killed: str) -> None:
    """Orders are sent while the process is killed; each is sent again until it is answered, and is there once."""
    bodies = [order("buy", 1, f"9.{n:02d}", client_oid=str(uuid.uuid4())) for n in range(30)]
    made: dict[str, str] = {}

    def send(body: dict[str, Any]) -> bool:
        try:
            status, answer = trades.signed("UA", "POST", "/orders", body)
        except (OSError, http.client.HTTPException, ValueError):  # cut off anywhere
            return False
        assert status in (200, 503, 504), answer
        if status == 200:
            made[body["client_oid"]] = answer["id"]
        return status == 200

    async def run() -> None:
        sending = [asyncio.create_task(asyncio.to_thread(send, body)) for body in bodies]
        await asyncio.to_thread(until, lambda: len(made) >= 5)
        if killed == "web":
            trades.end(signal.SIGKILL)
        elif killed == "gateway":
            os.kill(processes(trades.node)["native"]["pid"], signal.SIGKILL)
        else:
            trades.node.end(signal.SIGKILL)
        await asyncio.gather(*sending)

    asyncio.run(run())
    if killed == "node":
        trades.node.start()
        if trades.process is not None:
            trades.end(signal.SIGKILL)
    if killed != "gateway":  # beneath the process, which goes on
        trades.start_trading()
    for body in bodies:
        until(lambda body=body: send(body), what="the order is not answered")
    found = trades.done("UA", "GET", "/orders?status=all&limit=1000")
    assert sorted(each["price"] for each in found) == sorted(body["price"] for body in bodies)
    assert {each["id"] for each in found} == set(made.values())
    # The market has each once too.
    until(lambda: len(trades.book()["bids"]) == len(bodies))


@pytest.mark.slow
def test_channel_user_tells_a_user_its_own_orders_alone(trades: Trades) -> None:
    from websockets.asyncio.client import connect

    def asking(user: str, secret: bytes) -> str:
        stamp = f"{time.time():.3f}"
        asked = {"type": "subscribe", "product_ids": [PRODUCT], "channels": ["user"], "timestamp": stamp}
        asked |= {"key": f"key-{user}", "passphrase": "open"}
        return json.dumps({**asked, "signature": signature(secret, stamp, "GET", "/users/self/verify", b"")})

    async def watch() -> None:
        uri = f"ws://127.0.0.1:{trades.port}"
        async with connect(uri) as one, connect(uri) as other:
            await one.send(asking("UA", b"a wrong secret, long enough"))
            refused = json.loads(await asyncio.wait_for(one.recv(), 60.0))
            assert (refused["type"], refused["reason"]) == ("error", "invalid signature")
            for watched, user in ((one, "UA"), (other, "UB")):
                await watched.send(asking(user, SECRETS[user]))
                assert json.loads(await asyncio.wait_for(watched.recv(), 60.0))["type"] == "subscriptions"
            bought = await asyncio.to_thread(trades.done, "UA", "POST", "/orders", order("buy", 3, "9.90"))
            sold = await asyncio.to_thread(
                trades.done, "UB", "POST", "/orders", order("sell", 3, "9.90", time_in_force="IOC")
            )
            for watched, made, role in ((one, bought, "maker"), (other, sold, "taker")):
                told = []
                while not told or told[-1]["type"] != "done":
                    told.append(json.loads(await asyncio.wait_for(watched.recv(), 60.0)))
                kinds = ["received", "open", "match", "done"] if role == "maker" else ["received", "match", "done"]
                assert [each["type"] for each in told] == kinds
                assert {each["order_id"] for each in told} == {made["id"]}
                assert told[-2][f"{role}_order_id"] == made["id"]
                assert told[-1]["reason"] == "filled"

    asyncio.run(watch())


@pytest.mark.slow
def test_without_keys_there_is_no_order_entry_and_a_login_lost_to_another_program_is_told(trades: Trades) -> None:
    trades.end(signal.SIGTERM)
    trades.start("--rate", "0")
    assert trades.ask("/orders")[0] == 404
    trades.end(signal.SIGTERM)
    # UA is logged in elsewhere: its requests get 503 and why, those of UB are served.
    client = Client(trades.node.port, "UA")
    native = f"127.0.0.1:{port_of(trades.node, 'native')}"
    trades.start("--rate", "0", "--keys", str(trades.keys), "--orders-at", native)
    until(lambda: trades.signed("UB", "GET", "/orders")[0] == 200)
    until(lambda: "refused the login" in trades.signed("UA", "GET", "/orders")[1]["message"])
    assert trades.signed("UA", "GET", "/orders")[0] == 503
    client.log_out()


@pytest.mark.slow
def test_a_node_starts_its_web_process_and_starts_it_again(tmp_path: Path) -> None:
    """The port stays the node's: a client that comes while the process is away is served by the next one."""
    keys = tmp_path / "keys"
    keys.write_text(f"UA secret key-UA open {base64.b64encode(SECRETS['UA']).decode()}")
    keys.chmod(0o600)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = ("--gateway", "native=native:0", "--web", f"127.0.0.1:{port}", "--web-keys", str(keys))
    trades = Trades.of(started(tmp_path, *options), port)
    body = order("buy", 1, "9.00", client_oid="one")
    try:
        until(lambda: trades.again("GET")[0] == 200)
        made = trades.done("UA", "POST", "/orders", body)
        before = processes(trades.node)["web"]["pid"]
        os.kill(before, signal.SIGKILL)
        until(lambda: processes(trades.node)["web"]["pid"] not in (0, before))
        until(lambda: trades.again("POST", body)[1] == made)
        assert len(trades.done("UA", "GET", "/orders")) == 1
        # A port that is taken is told before anything of the directory is opened.
        line = ["serve", "--data", str(tmp_path / "other"), "--port", "0", "--web", f"127.0.0.1:{port}"]
        other = subprocess.run(
            [sys.executable, "-m", "cli.main", *line],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert f"port {port} of --web is in use" in other.stderr
        assert not (tmp_path / "other").exists()
    finally:
        trades.node.stop()


@pytest.mark.slow
def test_ccxt_trades_unmodified(trades: Trades) -> None:
    ccxt = pytest.importorskip("ccxt", reason="pip install ccxt==4.5.90")
    place = f"http://127.0.0.1:{trades.port}"

    def exchange(user: str) -> Any:
        secret = base64.b64encode(SECRETS[user]).decode()
        made = ccxt.coinbaseexchange({"apiKey": f"key-{user}", "secret": secret, "password": "open"})
        made.urls["api"] = {"public": place, "private": place}
        made.enableRateLimit = False
        return made

    buyer, seller = exchange("UA"), exchange("UB")
    own = str(uuid.uuid4())
    bought = buyer.create_order("XYZ/USD", "limit", "buy", 10, 9.9, {"clientOrderId": own})
    assert (bought["status"], bought["amount"], bought["price"], bought["clientOrderId"]) == ("open", 10.0, 9.9, own)
    assert [each["id"] for each in buyer.fetch_open_orders("XYZ/USD")] == [bought["id"]]
    seller.create_order("XYZ/USD", "market", "sell", 4, None, {"timeInForce": "IOC"})
    until(lambda: buyer.fetch_order(bought["id"])["filled"] == 4.0)
    (trade,) = buyer.fetch_my_trades("XYZ/USD")
    assert (trade["order"], trade["amount"], trade["price"], trade["side"]) == (bought["id"], 4.0, 9.9, "buy")
    until(lambda: buyer.fetch_balance()["total"] == {"USD": -39.6, "XYZ": 4.0})
    buyer.cancel_order(bought["id"], "XYZ/USD")
    assert buyer.fetch_order(bought["id"])["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        buyer.cancel_order(bought["id"], "XYZ/USD")
    with pytest.raises(ccxt.InvalidOrder):
        buyer.fetch_order("nonsense")
    seller.secret = base64.b64encode(b"a wrong secret, long enough").decode()
    with pytest.raises(ccxt.AuthenticationError):
        seller.fetch_balance()
