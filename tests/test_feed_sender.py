"""The sending side of a feed, packet by packet: heartbeats, ends of sessions, and answers to requests."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine import Capacity, Engine
from marketdata.itch.stream import ItchStream
from node.feeds.feed_sender import REQUEST_PACKETS_MAX, FeedSender
from notation.parse import parse
from notation.translate import Translator
from wire import mold

CAPACITY = Capacity(orders_max=4_000, ids_max=20_000, instruments_max=2, participants_max=4)
DAYS = """\
at 2024-01-15T09:00:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
"""


class Heard:
    """An outlet that keeps what is sent."""

    def __init__(self) -> None:
        self.packets: list[mold.Packet] = []

    def send(self, packet: bytes) -> None:
        self.packets.append(mold.read(packet))

    def take(self) -> list[mold.Packet]:
        found, self.packets = self.packets, []
        return found


class Fed:
    """A stream with its sender on a running event loop, the market that it tells, and a socket that asks."""

    def __init__(self, folder: Path) -> None:
        self.engine, self.heard = Engine(CAPACITY), Heard()
        self.stream = ItchStream(folder, CAPACITY)
        self.answers, self.asks = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.answers, self.asks):
            each.bind(("127.0.0.1", 0))
        self.asks.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.asks.settimeout(60.0)
        self.speaks = True
        self.sender = FeedSender(self.stream, self.heard, self.answers, lambda: self.speaks)  # type: ignore[arg-type]
        self.stream.on_messages = self.sender.on_messages

    def take(self, lines: str) -> None:
        translator = Translator(parse(lines, "lines"), self.engine.directory, "lines")
        while (batch := translator.next_batch(self.engine.directory)) is not None:
            first_seq = self.engine.seq + 1
            self.stream.observe(first_seq, batch.rows, self.engine.apply(batch.rows))

    async def ask(self, session: str, number: int, count: int) -> list[mold.Packet]:
        """Packets that answer a request, and one for message 1, which ends them."""
        place, loop = self.answers.getsockname(), asyncio.get_running_loop()
        self.asks.sendto(mold.request(session, number, count), place)
        found = []
        last = mold.request("20240115", 1, 1)
        self.asks.sendto(last, place)
        while not found or (found[-1].sequence, len(found[-1].messages)) != (1, 1):
            found.append(mold.read(await loop.run_in_executor(None, self.asks.recv, 2_048)))
        return found[:-1]

    def close(self) -> None:
        self.sender.stop()
        self.stream.close()
        self.answers.close()
        self.asks.close()


def run(folder: Path, check: Callable[[Fed], Awaitable[None]]) -> None:
    async def checked() -> None:
        fed = Fed(folder)
        fed.sender.listen()
        try:
            await check(fed)
        finally:
            fed.close()

    asyncio.run(checked())


def test_a_heartbeat_has_the_number_of_the_message_to_come(tmp_path: Path) -> None:
    async def check(fed: Fed) -> None:
        fed.sender.heartbeat()
        assert not fed.heard.take(), "no session has begun"
        fed.take(DAYS)
        sent = fed.heard.take()
        assert [packet.sequence for packet in sent[:1]] == [1]
        behind = sent[-1].next_sequence
        # A first one follows soon by itself: who lost the last message knows it by then.
        async with asyncio.timeout(60.0):
            while not (first := fed.heard.take()):
                await asyncio.sleep(0.01)
        fed.sender.heartbeat()
        for (beat,) in (first, fed.heard.take()):
            assert (beat.session, beat.sequence, beat.messages, beat.ends) == ("20240115", behind, (), False)
        fed.speaks = False
        fed.sender.heartbeat()
        assert not fed.heard.take()

    run(tmp_path, check)


def test_the_end_of_a_session_is_told_three_times_with_the_number_that_does_not_come(tmp_path: Path) -> None:
    async def check(fed: Fed) -> None:
        fed.take(DAYS)
        fed.take("at 2024-01-16T09:00:00\n")
        for _ in range(5):
            fed.sender.heartbeat()
        packets = fed.heard.take()
        ends = [packet for packet in packets if packet.ends]
        of_day = [packet for packet in packets if packet.session == "20240115" and not packet.ends]
        assert [(end.session, end.sequence) for end in ends] == [("20240115", of_day[-1].next_sequence)] * 3
        assert of_day[-1].messages[-1][:1] == b"S"
        begins = next(at for at, packet in enumerate(packets) if packet.session == "20240116")
        assert packets.index(ends[0]) < begins, "it is told before the next one begins"
        assert not any(packet.session == "20240115" and not packet.ends for packet in packets[begins:])

    run(tmp_path, check)


def test_a_request_is_answered_with_what_it_asks_for_and_as_much_as_is_allowed(tmp_path: Path) -> None:
    async def check(fed: Fed) -> None:
        fed.take(DAYS)
        fed.take("".join(f"enter ALPHA a{n} buy {n + 1} XYZ @ 9.00\n" for n in range(2_700)))
        whole = [message for packet in fed.heard.take() for message in packet.messages]
        assert len(whole) > 2_700
        (one,) = await fed.ask("20240115", 77, 3)
        assert (one.session, one.sequence, list(one.messages)) == ("20240115", 77, whole[76:79])
        many = await fed.ask("20240115", 100, 2_700)
        assert REQUEST_PACKETS_MAX - 2 <= len(many) <= REQUEST_PACKETS_MAX
        got = [message for packet in many for message in packet.messages]
        assert got == whole[99 : 99 + len(got)]
        assert [packet.sequence for packet in many[1:]] == [packet.next_sequence for packet in many[:-1]]
        # What is not there is not answered: another session, a number to come.
        assert not await fed.ask("20240114", 1, 9)
        assert not await fed.ask("20240115", len(whole) + 1, 9)

    run(tmp_path, check)
