"""A takeover is no disconnect: orders of users that cancel on disconnect stay for as long as after a start."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.records import UserPermission, concatenate
from gateway.passwords import credential_row
from node.core.control import OperationRefused
from replication.register import Register
from tests.ouch_messages import enter
from tests.rows import user
from tests.test_node_pair import Member, start_rows, until, with_pair
from wire.soup import LoginRequest, PacketType

USERS = ("UA", "UB")


def set_up() -> Any:
    permissions = int(UserPermission.ENABLED | UserPermission.CANCEL_ON_DISCONNECT)
    users = [user(name, "ALPHA", permissions=permissions) for name in USERS]
    return concatenate([start_rows(), *users, *(credential_row(name, "secret", 4) for name in USERS)])


class Trader:
    """A client that speaks packets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def log_in(cls, node: Member, name: str, seq: int = 1) -> "Trader":
        trader = cls(*await asyncio.open_connection("127.0.0.1", node.node.port))
        trader.send(LoginRequest(name, "secret", "", seq).packet())
        assert (await trader.packet())[0] == PacketType.LOGIN_ACCEPTED
        kind, text = await trader.packet()
        assert (kind, text) == (PacketType.DEBUG, f"epoch {node.node.journal.epoch}".encode())
        return trader

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()

    async def packet(self) -> tuple[int, bytes]:
        while True:
            head = await self._reader.readexactly(3)
            payload = await self._reader.readexactly(int.from_bytes(head[:2], "big") - 1)
            if head[2] != PacketType.SERVER_HEARTBEAT:
                return head[2], payload

    async def rest(self) -> bytes:
        """Bytes until the node has closed the connection."""
        return await self._reader.read()

    async def message(self) -> str:
        """Type of the next message of the stream."""
        kind, payload = await self.packet()
        assert kind == PacketType.SEQUENCED
        return chr(payload[0])


async def _with_orders(a: Member) -> list[Trader]:
    await a.node.submit(set_up())
    traders = [await Trader.log_in(a, name) for name in USERS]
    for number, trader in enumerate(traders):
        trader.send(enter(f"o{number}", "B", 5, 90_000))
        assert [await trader.message() for _ in range(2)] == ["S", "A"]
    return traders


def _open(member: Member) -> int:
    return int(member.node.outbox.streams.open_counts().sum())


@pytest.mark.slow
def test_orders_stay_if_the_user_logs_in_to_the_new_primary_and_go_if_not(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        traders = await _with_orders(a)
        b.node.options = replace(b.node.options, grace_s=1_000.0)
        a.kill()
        await until(lambda: b.node.reigns)
        assert _open(b) == 2, "the takeover itself cancels nothing"
        back = await Trader.log_in(b, "UA", seq=3)

        def time_is_over() -> bool:
            """The time to log in is over, whenever it began."""
            b.node.gateway.attention.present_ns += 1_000_000_000_000
            return _open(b) == 1

        await until(time_is_over)
        back.send(enter("o9", "B", 5, 90_000))
        assert await back.message() == "A", "and nothing was canceled before"
        await until(lambda: _open(b) == 2)
        del traders

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_switchover_cancels_nothing_at_either_node(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        traders = await _with_orders(a)
        b.node.options = replace(b.node.options, grace_s=1_000.0)
        await a.pair.switch_over()
        await until(lambda: b.node.reigns)
        await until(a.node.ended.is_set)
        for name in USERS:
            traders.append(await Trader.log_in(b, name, seq=3))
            traders[-1].send(enter(f"new{name}", "B", 5, 90_000))
            assert await traders[-1].message() == "A"
        assert _open(b) == 4
        assert a.node.engine.seq < b.node.engine.seq

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_clients_of_a_primary_without_its_lease_are_sent_away_and_their_orders_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.core.lapse.PATIENCE_NS", 100_000_000)

    async def story(_: Register, a: Member, b: Member) -> None:
        traders = await _with_orders(a)
        tenure: Any = a.pair.tenure
        sound, seq = tenure.holds, a.node.engine.seq
        a.node.options = replace(a.node.options, grace_s=1_000.0)
        tenure.holds = lambda _now_ns: False
        await until(lambda: a.node.gateway.elsewhere != "")
        reader, writer = await asyncio.open_connection("127.0.0.1", a.node.port)
        writer.write(LoginRequest("UA", "secret", "", 1).packet())
        assert (await reader.readexactly(4))[2:] == b"JS"
        for trader in traders:
            assert (await trader.rest()).replace(b"\0\1H", b"") == b"", "nothing more is said to them"
        tenure.holds = sound
        await until(lambda: not a.node.gateway.elsewhere)
        traders.append(await Trader.log_in(a, "UA", seq=3))
        assert (_open(a), a.node.engine.seq, b.node.reigns) == (2, seq, False)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_login_is_refused_as_soon_as_the_lease_has_ended(tmp_path: Path) -> None:
    """The loop stood still: nothing has looked at the time since, and another node may be primary."""

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(set_up())
        tenure: Any = a.pair.tenure
        a.pair._tick = lambda: None  # type: ignore[method-assign]
        assert a.pair._ticker is not None
        a.pair._ticker.cancel()
        tenure.holds = lambda _now_ns: False
        assert a.node.gateway.elsewhere == ""
        reader, writer = await asyncio.open_connection("127.0.0.1", a.node.port)
        writer.write(LoginRequest("UA", "secret", "", 1).packet())
        assert (await reader.readexactly(4))[2:] == b"JS"
        assert b.node is not a.node

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_user_who_leaves_during_a_switchover_that_is_given_up_has_its_orders_canceled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.pair.switchover.HANDOVER_S", 0.5)

    async def story(_: Register, a: Member, b: Member) -> None:
        traders = await _with_orders(a)
        a.node.options = replace(a.node.options, grace_s=0.0)
        monkeypatch.setattr(type(a.pair.primary), "is_ready", property(lambda _: False))
        handing = asyncio.create_task(a.pair.switch_over())
        await until(lambda: not a.node.intake.reigns)
        traders[0].close()
        with pytest.raises(OperationRefused, match="is not ready"):
            await handing
        await until(lambda: _open(a) == 1)
        assert not b.node.reigns

    with_pair(tmp_path, story)
