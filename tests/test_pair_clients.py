"""Clients of a pair in real processes: those of other make go on at the other address, and a switchover is short."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from client import AsyncClient, CaughtUp, Side
from tests.judge_clients import Nasdaq, Npm, needs_npm
from tests.ouch_messages import enter
from tests.pair_under_faults import PairNode, RunningPair
from tests.running import Client, kinds
from wire.soup import LoginAccepted, PacketType


@asynccontextmanager
async def in_sync(folder: Path) -> AsyncIterator[tuple[RunningPair, PairNode, PairNode]]:
    """A pair with its primary and its standby."""
    pair = RunningPair(folder)
    try:
        await pair.start()
        yield pair, *await pair.in_sync()
    finally:
        await pair.stop()


async def takeover(pair: RunningPair, primary: PairNode, standby: PairNode) -> None:
    """Kill the primary; the standby reigns then."""
    await pair.kill(primary)
    await pair.until(lambda: standby.pair().get("state") == "reigning", "no takeover")


def test_sessions_and_numbers_are_the_same_at_the_other_address(tmp_path: Path) -> None:
    async def run() -> None:
        pytest.importorskip("nasdaq_protocols.ouch", reason="nasdaq-protocols is not installed")
        async with in_sync(tmp_path) as (pair, primary, standby):
            bare = await asyncio.to_thread(Client, primary.port, "UA")
            kind, text = await asyncio.to_thread(bare.packet)
            assert (kind, text) == (PacketType.DEBUG, b"epoch 1")
            assert (await asyncio.to_thread(Client, standby.port, "UA")).answer == (PacketType.LOGIN_REJECTED, b"S")
            session = LoginAccepted.read(bare.answer[1]).session
            bare.socket.sendall(enter("a1", "B", 5, 100_000) + enter("a2", "B", 5, 99_900))
            before = await asyncio.to_thread(bare.take, 3)
            nasdaq = await Nasdaq.log_in(primary.port, "UB")
            nasdaq.enter("b1", "S", 5, 100_000)
            assert [name for name, _ in await nasdaq.hear(3)] == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED"]
            await asyncio.to_thread(bare.take, 4)
            await takeover(pair, primary, standby)
            bare = await asyncio.to_thread(Client, standby.port, "UA", session=session, seq=1)
            assert LoginAccepted.read(bare.answer[1]) == LoginAccepted(session, 1)
            kind, text = await asyncio.to_thread(bare.packet)
            assert kind == PacketType.DEBUG
            assert int(text.removeprefix(b"epoch ")) > 1
            assert (await asyncio.to_thread(bare.take, 4)).startswith(before)
            nasdaq = await Nasdaq.log_in(standby.port, "UB", 3)
            assert [name for name, _ in await nasdaq.hear(1)] == ["EXECUTED"]
            nasdaq.enter("b2", "S", 5, 99_900)
            assert [name for name, _ in await nasdaq.hear(2)] == ["ACCEPTED", "EXECUTED"]
            bare.socket.sendall(enter("a1", "B", 5, 100_000))
            assert kinds(await asyncio.to_thread(bare.take, 6))[3:] == ["EXECUTED", "EXECUTED", "REJECTED"], "once"
            nasdaq.soup.logout()
            await nasdaq.until_closed()

    asyncio.run(asyncio.wait_for(run(), 300))


@needs_npm
def test_the_npm_client_goes_on_at_the_other_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_sync(tmp_path) as (pair, primary, standby):
            first = await asyncio.to_thread(Npm, primary.port)
            assert (await asyncio.to_thread(first.log_in))["event"] == "accept"
            first.tell(send=enter("a1", "B", 5, 100_000)[3:].hex())
            before = await asyncio.to_thread(first.take, 2)
            await takeover(pair, primary, standby)
            second = await asyncio.to_thread(Npm, standby.port)
            assert (await asyncio.to_thread(second.log_in, "UA", "secret", "", 1))["event"] == "accept"
            assert await asyncio.to_thread(second.take, 2) == before
            await asyncio.to_thread(second.end)

    asyncio.run(asyncio.wait_for(run(), 300))


@pytest.mark.slow
def test_a_switchover_by_command_loses_no_answer_and_its_silence_is_shown(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_sync(tmp_path) as (pair, reigning, _):
            client = AsyncClient(pair.where, None, "UA", "secret", timeout_s=60, reconnect_for_s=300)
            caught_up: list[CaughtUp] = []
            client.on_caught_up = caught_up.append
            async with client:
                primary = reigning
                orders = [await client.enter("XYZ", Side.BUY, 1, "9.00")]
                for number in range(2):
                    with primary.link() as link:
                        await asyncio.to_thread(link.ask, "switchover")
                    orders.append(await client.enter("XYZ", Side.BUY, 1, "9.00"))
                    async with asyncio.timeout(120):
                        while len(caught_up) < number + 2:
                            await asyncio.sleep(0.01)
                    primary, _ = await pair.in_sync()
                assert len({order.token for order in client.open_orders()}) == len(orders) == 3
                assert caught_up[0].address == caught_up[2].address != caught_up[1].address
                assert [each.epoch for each in caught_up] == sorted({each.epoch for each in caught_up})
                print("silence of the switchovers in ms:", [each.outage_ns // 1_000_000 for each in caught_up[1:]])

    asyncio.run(asyncio.wait_for(run(), 300))


@pytest.mark.slow
def test_a_signal_to_end_that_comes_while_a_node_gives_up_its_reign_ends_it(tmp_path: Path) -> None:
    """It ended the wait for the reign's end, and the node started again as a copy, which nobody had asked for."""

    async def run() -> None:
        pair = RunningPair(tmp_path, faults={"A": "ends-deposed", "B": "ends-deposed"})
        try:
            await pair.start()
            roles = await asyncio.to_thread(pair.roles)
            assert roles is not None
            primary, _ = roles
            assert primary.process is not None
            with primary.link() as link:
                await asyncio.to_thread(link.ask, "switchover")
            assert await asyncio.to_thread(primary.process.wait, 120) == 0, primary.logged()[-2_000:]
            assert "starts again" not in primary.logged()
        finally:
            await pair.stop()

    asyncio.run(asyncio.wait_for(run(), 300))
