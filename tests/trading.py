"""Traders for tests of a node that dies: they trade at random and keep what came; and what the journal says instead."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from client import AsyncClient, ClientError, NewOrder, NotConnected, Request, RequestState, Side
from engine.records import UserPermission
from gateway.ouch.streams import OuchStreams
from gateway.streams import Segment
from replay.rebuild import capacity_of, journal_of, rebuild
from wire.soup import LoginAccepted, PacketType, packet_bytes

SETTLED = {RequestState.DONE, RequestState.REFUSED}


class Trader:
    """A client of the library that trades at random. ``kept``: each message that came, by its number."""

    def __init__(self, where: str, user: str, seed: int) -> None:
        """where: addresses of the nodes."""
        self.user = user
        self.client = AsyncClient(where, None, user, "secret", resend=True, reconnect_for_s=600, timeout_s=30)
        self.client._retry._backoff._top_s = 0.2  # a test may try more often than a trader should
        self.kept: dict[int, bytes] = {}
        self.came_ns: dict[int, int] = {}  # when each came first
        self.epochs: dict[int, int] = {}  # of the connection on which it came first
        self.sent_ns: dict[int, int] = {}  # when each request was first sent, by its number
        self.changed = 0  # messages that came again, and were others
        self.connections = 0
        self.told: list[str] = []  # texts of debug packets: why the node ended a connection
        self.requests: list[Request] = []
        self.failure: ClientError | None = None
        self._chance = random.Random(seed)
        self._names = 0
        self._rest = b""
        self._epoch = 0
        self._number = 1
        self._receive: Callable[[bytes, int], Any] = self.client.core.receive
        self._connected: Callable[[int, str], None] = self.client.core.connected
        self._ask: Callable[..., Request] = self.client.core._ask
        self.client.core.receive = self._heard  # type: ignore[method-assign]
        self.client.core.connected = self._begun  # type: ignore[method-assign]
        self.client.core._ask = self._asked  # type: ignore[method-assign]

    def _begun(self, now_ns: int, address: str = "") -> None:
        self._rest = b""
        self._connected(now_ns, address)

    def _asked(self, *arguments: Any) -> Request:
        before_ns = time.monotonic_ns()
        request = self._ask(*arguments)
        self.sent_ns[request.number] = before_ns
        return request

    def _heard(self, data: bytes, now_ns: int) -> Any:
        self._rest += data
        while end := packet_bytes(self._rest):
            packet, self._rest = self._rest[:end], self._rest[end:]
            if packet[2] == PacketType.LOGIN_ACCEPTED:
                self._number = LoginAccepted.read(packet[3:]).next_seq
                self.connections += 1
                self._epoch = 0
            elif packet[2] == PacketType.DEBUG and packet[3:].startswith(b"epoch "):
                self._epoch = int(packet[9:])
            elif packet[2] == PacketType.DEBUG:
                self.told.append(packet[3:].decode("ascii", "replace"))
            elif packet[2] == PacketType.SEQUENCED:
                self.came_ns.setdefault(self._number, now_ns)
                self.epochs.setdefault(self._number, self._epoch)
                self.changed += self.kept.setdefault(self._number, packet) != packet
                self._number += 1
        return self._receive(data, now_ns)

    async def trade(self, enough: asyncio.Event) -> None:
        """Until it is enough, or the client has given up."""
        try:
            while not enough.is_set():
                await self._turn()
                await asyncio.sleep(self._chance.random() ** 3 * 0.02)
        except ClientError as error:
            self.failure = error

    async def _turn(self) -> None:
        """Some orders at once, then a change of one of them, each with its answer."""
        entered = []
        for _ in range(self._chance.randint(1, 12)):
            self._names += 1
            token = f"LONG-{self.user}-{self._names:06d}" if self._chance.random() < 0.3 else None
            side = self._chance.choice((Side.BUY, Side.SELL))
            price = f"{10 + self._chance.randint(-3, 3) / 100:.2f}"
            tif_s = 0 if self._chance.random() < 0.4 else 99_998
            new = NewOrder("XYZ", side, self._chance.randint(1, 50), price, tif_s)
            try:
                order, request = await self.client.send(new, token)
            except NotConnected:
                if self.client._ended:
                    raise
                continue
            entered.append(order)
            self.requests.append(request)
        await self._answers(self.requests[-len(entered) :] if entered else [])
        changes = []
        for order in entered:
            if order.is_open and self._chance.random() < 0.9:
                try:
                    if self._chance.random() < 0.3:
                        changes.append(self.client.core.replace(order, order.qty + 5, "10.00"))
                    else:
                        changes.append(self.client.core.cancel(order))
                except NotConnected:
                    break
        self.requests += changes
        await self._answers(changes)

    async def _answers(self, requests: list[Request]) -> None:
        await asyncio.gather(*map(self.client.outcome, requests), return_exceptions=True)

    @property
    def settled(self) -> bool:
        return self.failure is not None or (self.client.is_live and not self.client.open_requests())


class Made(NamedTuple):
    """The users' streams, and the number of open orders that go with a disconnect."""

    told: dict[str, bytes]
    to_cancel: int


def streams_of_journal(data: Path) -> dict[str, bytes]:
    """The users' streams of the day, made from nothing but the journal, from command 1 on."""
    return made_of_journal(data).told


def made_of_journal(data: Path) -> Made:
    """The streams of a journal, and what a disconnect would still cancel."""
    with journal_of(data) as journal:
        capacity = capacity_of(journal)
    made: dict[int, list[bytes]] = {}

    def deliver(segment: Segment) -> None:
        made.setdefault(segment.user, []).append(segment.data)

    streams = OuchStreams(capacity, deliver, lambda _: made.clear())
    rebuild(data, use_checkpoints=False, observe=streams)
    cancels = UserPermission.CANCEL_ON_DISCONNECT
    to_cancel = sum(len(streams.open_orders(user)) for user, _ in streams.users() if streams.may(user, cancels))
    return Made({streams.name(user): b"".join(pieces) for user, pieces in made.items()}, to_cancel)


def packets(stream: bytes) -> list[bytes]:
    """Packet by packet."""
    found = []
    at = 0
    while at < len(stream):
        end = at + packet_bytes(stream, at)
        found.append(stream[at:end])
        at = end
    return found
