"""Controls of the tests over a pair: with a known hole in a node, the proof of a linear history has to fail."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.linear_history import ClientHistory, Heard, chain_of, complaints
from tests.ouch_messages import enter
from tests.pair_under_faults import Kind, PairNode, RunningPair, Trading
from tests.running import Client
from tests.trading import Trader

pytestmark = pytest.mark.slow


async def _takeover(pair: RunningPair, victim: PairNode, other: PairNode) -> None:
    await pair.kill(victim)
    await pair.until(lambda: _answers(other), "no takeover")


def _answers(node: PairNode) -> bool:
    """True if a node reigns, and what it began with is on its disk."""
    report = node.pair()
    return report.get("state") == "reigning" and report["released_seq"] == report["seq"]


async def _abandon(trading: Trading) -> list[Trader]:
    """End clients that may have noticed the hole themselves."""
    for task in trading._tasks:
        task.cancel()
    for trader in trading.traders:
        await trader.client.close()
        trader.requests.clear()  # what is open is not the point here
    return trading.traders


def test_a_standby_that_acknowledges_before_it_has_the_block_is_caught(tmp_path: Path) -> None:
    async def run() -> list[str]:
        pair = RunningPair(tmp_path, faults={"A": "acknowledges-early", "B": "acknowledges-early"})
        try:
            await pair.start()
            primary, standby = await pair.in_sync()
            trading = Trading(pair, 3)
            await trading.__aenter__()
            async with asyncio.timeout(120):
                while sum(len(trader.kept) for trader in trading.traders) < 200:
                    await asyncio.sleep(0.01)
            await _takeover(pair, primary, standby)
            traders = await _abandon(trading)
        finally:
            await pair.stop()
        return pair.complaints(traders)

    found = asyncio.run(run())
    print(found[:3])
    assert any("was told" in complaint for complaint in found)


def test_a_primary_that_ignores_its_lease_and_its_epoch_is_caught(tmp_path: Path) -> None:
    async def run() -> list[str]:
        pair = RunningPair(tmp_path, faults={"A": "ignores-epochs", "B": "ignores-epochs"})
        try:
            await pair.start()
            primary, standby = await pair.in_sync()
            client = await asyncio.to_thread(Client, primary.port, "UB")
            assert primary.process is not None
            os.kill(primary.process.pid, signal.SIGSTOP)
            client.socket.sendall(enter("b1", "B", 1, 90_000))
            await pair.until(lambda: _answers(standby), "no takeover")
            os.kill(primary.process.pid, signal.SIGCONT)
            stream = await asyncio.to_thread(_heard, client)
        finally:
            await pair.stop()
        history = ClientHistory("UB", {n: Heard(packet, 0) for n, packet in enumerate(stream, 1)})
        return complaints(chain_of(standby.data), [history], [node.history() for node in pair.nodes.values()])

    found = asyncio.run(run())
    print(found)
    assert any("UB was told message" in complaint for complaint in found)


def _heard(client: Client) -> list[bytes]:
    """Messages until the answer to the order has come, or the connection has ended."""
    until_s = time.monotonic() + 20
    client.socket.settimeout(120)
    count = 0
    try:
        while count < 2 and time.monotonic() < until_s:
            kind, _ = client.packet()
            count += kind == ord("S")
            if not kind:
                break
    except (TimeoutError, ConnectionError):
        pass
    return _packets(client.stream)


def _packets(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        size = 2 + int.from_bytes(stream[:2], "big")
        found.append(stream[:size])
        stream = stream[size:]
    return found


@pytest.mark.parametrize("fault", ["", "forgets-rows"])
def test_rows_told_ahead_of_a_block_that_never_comes_are_history_and_a_standby_that_forgets_them_is_caught(
    tmp_path: Path, fault: str
) -> None:
    async def run(folder: Path) -> tuple[list[str], bool]:
        """Complaints, and whether the standby met rows without a block: on a busy machine the block may come first."""
        folder.mkdir()
        faults = ",".join(filter(None, ("late-blocks", fault)))
        pair = RunningPair(folder, faults={"A": faults, "B": faults}, kind=Kind("replica"))
        try:
            await pair.start()
            primary, standby = await pair.in_sync()
            client = await asyncio.to_thread(Client, primary.port, "UB")
            await pair.until(lambda: primary.status().get("direct_connections") == 1, "the connection is not direct")
            for number in range(1, 4):
                client.socket.sendall(enter(f"b{number}", "B", 1, 90_000))
                while client.packet()[0] != ord("S"):  # a debug packet names the epoch
                    pass
            stream = client.stream
            await _takeover(pair, primary, standby)
        finally:
            await pair.stop()
        history = ClientHistory("UB", {n: Heard(packet, 0) for n, packet in enumerate(_packets(stream), 1)})
        found = complaints(chain_of(standby.data), [history], [standby.history()])
        return found, "rows without a block sealed" in standby.logged()

    for attempt in range(6):
        found, met = asyncio.run(run(tmp_path / str(attempt)))
        assert fault or not found, found
        if found or met:
            return
    pytest.fail("the block came before the kill each time, or nothing was caught")


@pytest.mark.parametrize("faults", ["", "drops-quarantine"])
def test_a_tail_that_is_set_aside_is_known_and_one_that_is_dropped_is_caught(tmp_path: Path, faults: str) -> None:
    async def run() -> tuple[list[str], int]:
        pair = RunningPair(tmp_path, faults={"A": faults, "B": faults}, proxies=True)
        try:
            await pair.start()
            primary, standby = await pair.in_sync()
            client = await asyncio.to_thread(Client, primary.port, "UB")
            before = primary.pair()["seq"]
            # The order comes to the disk of the primary, and not to the standby, which then takes over.
            pair.proxies[standby.name, primary.name].hold()
            client.socket.sendall(enter("b1", "B", 1, 90_000))
            await pair.until(lambda: primary.pair().get("seq", 0) > before, "the order was not taken")
            await asyncio.sleep(0.1)
            await _takeover(pair, primary, standby)
            pair.proxies[standby.name, primary.name].heal()
            await asyncio.to_thread(primary.start)
            await pair.in_sync()
            await pair.end()
        finally:
            await pair.stop()
        return pair.complaints([]), sum(len(node.history().aside) for node in pair.nodes.values())

    found, aside = asyncio.run(run())
    if not faults:
        assert found == []
        assert aside > 0
    else:
        assert any("were on the disk of" in complaint and "in no quarantine" in complaint for complaint in found)
