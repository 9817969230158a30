"""A running node and clients that nobody here wrote: Nasdaq's Python library and the npm package soupbintcp.

Wireshark's dissectors read what a node says in ``tests/test_node_dissected.py``.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.captures import Tap
from tests.judge_clients import Nasdaq, Npm, needs_npm
from tests.ouch_messages import cancel, enter, messages
from tests.running import Client, Running, started
from wire import soup
from wire.ouch_codes import ClientMessage
from wire.soup import PacketType


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path)
    yield running
    running.stop()


def stream_of(node: Running, user: str, count: int) -> bytes:
    """The first messages of a user, got by a client of ours."""
    client = Client(node.port, user)
    stream = client.take(count)
    client.log_out()
    return stream


def payloads(stream: bytes) -> list[bytes]:
    """The messages of a stream, without their frames."""
    cutter = soup.PacketCutter()
    cutter.feed(stream)
    return [cut[1] for cut in iter(cutter.next, None) if cut is not None]


# Nasdaq's library as a client.


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    pytest.importorskip("nasdaq_protocols.ouch", reason="nasdaq-protocols is not installed")
    asyncio.run(asyncio.wait_for(story(), 300))


def of_ours(stream: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(name, fields but for the kind) of each message, as read by us."""
    return [(name, {key: value for key, value in fields.items() if key != "kind"}) for name, fields in messages(stream)]


async def orders_of_every_kind(client: Nasdaq, tag: str = "") -> None:
    """Send each kind of message; seven answers come."""
    client.enter(f"{tag}a1", "B", 100, 100_000)
    client.enter(f"{tag}LONG-TOKEN.01", "T", 50, 102_000)
    client.send(
        ClientMessage.REPLACE_ORDER,
        existing_order_token=f"{tag}a1",
        replacement_order_token=f"{tag}a2",
        shares=200,
        price_e4=99_900,
        time_in_force_s=99_998,
        display="Y",
        intermarket_sweep="N",
        minimum_quantity=0,
    )
    client.send(ClientMessage.MODIFY_ORDER, order_token=f"{tag}LONG-TOKEN.01", buy_sell="S", shares=30)
    client.send(ClientMessage.CANCEL_ORDER, order_token=f"{tag}a2", shares=150)
    client.enter(f"{tag}a1", "B", 100, 100_000)
    client.send(ClientMessage.CANCEL_ORDER, order_token="none", shares=0)


ANSWERS = ["ACCEPTED", "ACCEPTED", "REPLACED", "ORDER_MODIFIED", "CANCELED", "REJECTED", "CANCEL_REJECT"]


@pytest.mark.slow
def test_nasdaqs_client_trades_and_reads_what_we_read(node: Running) -> None:
    async def story() -> None:
        client = await Nasdaq.log_in(node.port, "UA")
        await orders_of_every_kind(client)
        heard = await client.hear(8)
        other = Client(node.port, "UB")
        other.socket.sendall(enter("b1", "B", 20, 102_000))
        heard += await client.hear(1)
        assert [name for name, _ in heard] == ["SYSTEM_EVENT", *ANSWERS, "EXECUTED"]
        accepted, executed = heard[1][1], heard[8][1]
        said = {
            "order_token": "a1",
            "buy_sell": "B",
            "shares": 100,
            "stock": "XYZ",
            "price_e4": 100_000,
            "firm": "FIRM",
        }
        assert accepted.items() >= (said | {"capacity": "P", "order_state": "L"}).items()
        assert (executed["order_token"], executed["executed_shares"]) == ("LONG-TOKEN.01", 20)
        assert (executed["execution_price_e4"], executed["liquidity"], executed["match_number"]) == (102_000, "A", 1)
        client.soup.logout()
        await client.until_closed()
        assert of_ours(stream_of(node, "UA", 9)) == heard

    play(story)


@pytest.mark.slow
def test_nasdaqs_client_logs_in_again_from_any_message_on(node: Running) -> None:
    async def story() -> None:
        client = await Nasdaq.log_in(node.port, "UA")
        await orders_of_every_kind(client)
        first = await client.hear(8)
        for seq in [*range(8, 0, -1), 5, 5, 5]:
            client.soup.logout()
            client = await Nasdaq.log_in(node.port, "UA", seq)
            assert client.soup.sequence + 1 == seq
            assert await client.hear(9 - seq) == first[seq - 1 :]
        client.soup.logout()
        await client.until_closed()
        node.end(signal.SIGKILL)
        node.start()
        client = await Nasdaq.log_in(node.port, "UA", 0)
        assert client.soup.sequence + 1 == 9, "none of the past"
        client.enter("a9", "B", 1, 90_000)
        assert [name for name, _ in await client.hear(1)] == ["ACCEPTED"]
        node.end(signal.SIGTERM)
        await client.until_closed()

    play(story)


@pytest.mark.slow
def test_nasdaqs_client_is_refused_with_the_codes_it_knows(node: Running) -> None:
    async def story() -> None:
        from nasdaq_protocols import soup as judge

        async def refused(password: str, session: str, seq: int) -> str:
            with pytest.raises(ConnectionRefusedError) as caught:
                await judge.connect_async(("127.0.0.1", node.port), "UA", password, session, seq)
            return str(caught.value)

        assert "NOT_AUTHORIZED" in await refused("wrong", "", 1)
        assert "SESSION_NOT_AVAILABLE" in await refused("secret", "OTHER", 1)
        assert "SESSION_NOT_AVAILABLE" in await refused("secret", "", 99)

    play(story)


@pytest.mark.slow
def test_nasdaqs_client_and_the_node_keep_each_other_alive_by_heartbeats(tmp_path: Path) -> None:
    node = started(tmp_path, faults="impatient")  # two seconds of silence are enough to be gone

    async def story() -> None:
        alive = await Nasdaq.log_in(node.port, "UA", beats_s=0.5, bears_s=1.5)
        # The controls: one that sends no heartbeats is gone, and one that bears less than a second of silence goes.
        silent = await Nasdaq.log_in(node.port, "UB", beats_s=60.0)
        strict = await Nasdaq.log_in(node.port, "UC", beats_s=0.5, bears_s=0.3)
        began_s = time.monotonic()
        await strict.until_closed()
        assert not alive.soup.is_closed()
        await silent.until_closed()
        await asyncio.sleep(max(0.0, began_s + 5.0 - time.monotonic()))
        assert not alive.soup.is_closed()
        alive.enter("a1", "B", 1, 90_000)
        assert [name for name, _ in await alive.hear(2)] == ["SYSTEM_EVENT", "ACCEPTED"]
        alive.soup.logout()
        await alive.until_closed()

    try:
        play(story)
    finally:
        node.stop()


@pytest.mark.slow
def test_nasdaqs_client_notices_a_changed_byte(node: Running) -> None:
    def change(by_server: bool, data: bytes) -> bytes:
        at = data.find(b"a1            B\0\0\0\x64") if by_server else -1
        return data if at < 0 else data[: at + 18] + b"\x65" + data[at + 19 :]

    async def story() -> None:
        with Tap(node.port, change) as tap:
            client = await Nasdaq.log_in(tap.port, "UA")
            client.enter("a1", "B", 100, 100_000)
            heard = await client.hear(2)
            client.soup.logout()
            await client.until_closed()
        ours = of_ours(stream_of(node, "UA", 2))
        assert (heard[0], heard[1][0]) == (ours[0], ours[1][0])
        assert {key for key, value in heard[1][1].items() if ours[1][1][key] != value} == {"shares"}

    play(story)


# The npm package as a client.


SENT = [enter("n1", "B", 100, 100_000), enter("LONG-TOKEN.0001", "S", 5, 102_000)]


@needs_npm
def test_the_npm_client_gets_the_stream_and_gets_it_again(node: Running) -> None:
    client = Npm(node.port)
    day = node.status()["session"]
    assert client.log_in() == {"event": "accept", "session": day.rjust(10), "sequenceNumber": 1}
    for packet in [*SENT, cancel("n1", 40), cancel("none")]:
        client.tell(send=packet[soup.HEAD_BYTES :].hex())
    heard = client.take(5)
    client.tell(logout=True)
    assert client.hear() == {"event": "end"}
    client.end()
    assert heard == payloads(stream_of(node, "UA", 5))
    for session, seq in (("", 1), (day, 3), (day, 5)):
        client = Npm(node.port)
        assert client.log_in(session=session, seq=seq)["sequenceNumber"] == seq
        assert client.take(6 - seq) == heard[seq - 1 :]
        client.tell(logout=True)
        assert client.hear() == {"event": "end"}
        client.end()


@needs_npm
def test_the_npm_client_is_told_why_it_is_refused_and_when_the_session_ends(node: Running) -> None:
    for words, code in (({"password": "wrong"}, "A"), ({"session": "OTHER"}, "S"), ({"seq": 99}, "S")):
        client = Npm(node.port)
        assert client.log_in(**words) == {"event": "reject", "rejectReasonCode": code}
        assert client.hear() == {"event": "end"}
        client.end()
    client = Npm(node.port)
    client.log_in()
    client.take(1)
    node.end(signal.SIGTERM)
    assert [client.hear(), client.hear()] == [{"event": "ending"}, {"event": "end"}]
    client.end()


@pytest.mark.slow
@needs_npm
def test_the_npm_client_is_kept_alive_by_its_heartbeats(tmp_path: Path) -> None:
    node = started(tmp_path, faults="impatient")
    client, silent = Npm(node.port), Client(node.port, "UB")
    client.log_in()
    client.take(1)
    assert silent.until_end()[-1][0] == PacketType.DEBUG, "the control sends none"
    time.sleep(2.0)
    client.tell(send=cancel("none")[soup.HEAD_BYTES :].hex())
    assert client.take(1)[0][:1] == b"I"
    client.end()
    node.stop()


@needs_npm
def test_the_npm_client_notices_a_changed_byte(node: Running) -> None:
    with Tap(node.port, lambda by_server, data: data.replace(b"\x00\x0bS", b"\x00\x0bT") if by_server else data) as tap:
        client = Npm(tap.port)
        assert client.log_in()["event"] == "accept"
        assert client.hear() == {"event": "error", "why": f"Unknown packet type: {ord('T')}"}
        client.end()
