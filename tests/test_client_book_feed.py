"""Books of a client that receives the feed of a real node over a network that loses, doubles and holds back packets.

The reader of ``tests/itch_reader.py`` gets the same feed over a good network. While the client says that its books are
whole, and nothing more comes, they are the reader's.
"""

import contextlib
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from client.book_feed import BookFeed
from client.errors import CannotConnect
from client.events import Side
from tests.feed_receiver import Receiver, Spoils, bad_network
from tests.itch_reader import Reader
from tests.ouch_messages import cancel, enter
from tests.running import ROOT, Client, until
from tests.test_client_book import all_orders, opinion
from tests.test_feed_process import Fed, free_group, has, snapshots_port, trade
from tests.test_node_programs import processes
from wire import itch, mold

KILLS = 3


class Relay:
    """Path of packets from a group to another one over a bad network."""

    def __init__(self, group: str, port: int, spoils: Spoils) -> None:
        self.group, self.port = free_group()
        self._from = Receiver(group, port, [])
        self._spoil = spoils
        self._to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        self._to.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, struct.pack("b", 1))
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ends.is_set():
            ready, _, _ = select.select([self._from.socket], [], [], 0.05)
            for each in ready:
                for packet in self._spoil(each.recv(65_536)):
                    self._to.sendto(packet, (self.group, self.port))

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()
        self._from.close()
        self._to.close()


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    made = Fed(tmp_path)
    yield made
    made.stop()


@contextlib.contextmanager
def relayed(fed: Fed, spoils: Spoils) -> Iterator[Relay]:
    relay = Relay(fed.group, fed.port, spoils)
    try:
        yield relay
    finally:
        relay.stop()


def caught_up(feed: BookFeed, good: Receiver, seconds: float = 120.0) -> Reader:
    """The reader of the good network, once the books are whole and have as many messages."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        good.pump(0.01)
        feed.pump(0.01)
        messages = good.order.sessions.get(feed.order.session, [])
        if feed.is_whole and feed.order.next_number == len(messages) + 1 and not good.order.missing():
            reader = Reader()
            for message in messages:
                reader.take(message)
            return reader
    raise AssertionError(
        f"not whole: {feed.order.missing} messages are missing, {feed.requests_sent} requests were sent"
    )


@pytest.mark.slow
def test_books_over_a_bad_network_are_the_markets_through_kills_of_the_feed(fed: Fed) -> None:
    good, client, chance = fed.receiver(), Client(fed.node.port, "UA"), random.Random(5)
    asked, snapshots = fed.ports()["requests"], snapshots_port(fed.node)
    with (
        relayed(fed, bad_network(7, 0.05)) as relay,
        BookFeed(
            f"{relay.group}:{relay.port}", requests=f"127.0.0.1:{asked}", snapshots=f"127.0.0.1:{snapshots}"
        ) as feed,
    ):
        for kill in range(KILLS):
            trade(client, f"K{kill}x", 150, chance)
            reader = caught_up(feed, good)
            assert all_orders(feed._books) == opinion(reader)
            os.kill(processes(fed.node)["itch"]["pid"], signal.SIGKILL)
            until(lambda kill=kill: processes(fed.node)["itch"]["restarts"] == kill + 1)  # type: ignore[misc]
            fed.ports()
            trade(client, f"K{kill}y", 30, chance)
        client.socket.sendall(enter("LAST", "B", 7, 77_700))
        until(lambda: has(good, 77_700), what="the feed has not come")
        reader = caught_up(feed, good)
        assert all_orders(feed._books) == opinion(reader)
        assert feed.order.missed
        assert feed.requests_sent
        best = feed.book(feed.symbols[0]).best(Side.BUY)
        assert best is not None


@pytest.mark.slow
def test_who_joins_late_has_the_book_by_a_snapshot_and_a_wrong_book_is_built_anew(fed: Fed) -> None:
    good, client, chance = fed.receiver(), Client(fed.node.port, "UA"), random.Random(6)
    fed.ports()
    trade(client, "J", 200, chance)
    client.socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: has(good, 77_700))
    snapshots = f"127.0.0.1:{snapshots_port(fed.node)}"
    with BookFeed(f"{fed.group}:{fed.port}", snapshots=snapshots) as feed:
        client.socket.sendall(enter("E2", "B", 7, 77_600))
        until(lambda: has(good, 77_600))
        reader = caught_up(feed, good)
        assert all_orders(feed._books) == opinion(reader)
        assert feed.snapshots_taken == 1
        feed._books._places.clear()  # as if it had missed what it did not know of
        client.socket.sendall(cancel("E1"))
        client.socket.sendall(enter("E3", "B", 7, 77_500))
        until(lambda: has(good, 77_500))
        reader = caught_up(feed, good)
        assert all_orders(feed._books) == opinion(reader)
        assert feed.faults
        assert feed.snapshots_taken >= 2


def test_packets_of_strangers_at_the_port_of_requests_are_left_alone() -> None:
    group, port = free_group()
    with (
        BookFeed(f"{group}:{port}", requests="127.0.0.1:9") as feed,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        for address in (feed._asks.getsockname()[1], None):
            to = (group, port) if address is None else ("127.0.0.1", address)
            stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            stranger.sendto(mold.heartbeat("20991231", 7), to)
            until_s = time.monotonic() + (0.3 if address else 60.0)
            while not feed.order.session and time.monotonic() < until_s:
                feed.pump(0.01)
            # Control: the same packet by the group is of the feed.
            assert feed.order.session == ("" if address else "20991231")


def send(group: str, port: int, *packets: bytes) -> None:
    """Send packets to a group on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for packet in packets:
            sender.sendto(packet, (group, port))


def send_later(group: str, port: int, *packets: bytes) -> threading.Timer:
    """Send packets a few looks of a receiver later."""
    timer = threading.Timer(0.3, send, (group, port, *packets))
    timer.start()
    return timer


def packet_of(session: str, first: int, *messages: bytes) -> bytes:
    """One packet of a session."""
    (made,) = mold.packets(session, first, b"".join(len(each).to_bytes(2, "big") + each for each in messages), 1_400)
    return bytes(made)


def stock(locate: int, symbol: str) -> bytes:
    return itch.message_of(itch.ItchMessage.STOCK_DIRECTORY, {"stock_locate": locate, "stock": symbol})


def bid(reference: int, shares: int, price_e4: int) -> bytes:
    """A buy order of the first symbol of a session."""
    about = {"stock_locate": 1, "reference": reference, "side": "B", "shares": shares, "price_e4": price_e4}
    return itch.message_of(itch.ItchMessage.ADD, about)


def test_best_prices_come_while_all_is_here_and_of_the_symbols_of_the_day() -> None:
    group, port = free_group()
    told: list[bool] = []
    with BookFeed(f"{group}:{port}", requests="127.0.0.1:9") as feed:
        prices = feed.best_prices(told.append)
        # Two days in one look: the symbol of the first is gone.
        first = packet_of("20990101", 1, stock(1, "OLD"), bid(1, 5, 10_000))
        send(group, port, first, packet_of("20990102", 1, stock(1, "NEW"), bid(1, 5, 10_000)))
        assert [str(word) for word in next(prices)] == ["NEW", "5 at 1.00", "None"]
        send(group, port, packet_of("20990102", 3, bid(2, 5, 9_000)))  # behind the best price
        later = send_later(group, port, packet_of("20990102", 4, bid(3, 1, 10_000)))
        assert [str(word) for word in next(prices)] == ["NEW", "6 at 1.00", "None"]
        later.join()
        # Message 6 is missing behind a change.
        before = list(told)
        send(group, port, *(packet_of("20990102", number, bid(number, 1, 10_000)) for number in (5, 7)))
        later = send_later(group, port, packet_of("20990102", 6, bid(6, 1, 10_000)))
        assert [str(word) for word in next(prices)] == ["NEW", "9 at 1.00", "None"]
        later.join()
        assert told[len(before) :] == [False, True]
        prices.close()


def test_what_waited_while_nobody_looked_is_of_an_earlier_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was stopped finds packets of then, and not those for which there was no room."""
    clock = SimpleNamespace(monotonic=time.monotonic, monotonic_ns=time.monotonic_ns)
    monkeypatch.setattr("client.book_feed.time", clock)
    group, port = free_group()
    with BookFeed(f"{group}:{port}", requests="127.0.0.1:9") as feed:

        def takes(number: int) -> None:
            send(group, port, packet_of("20990101", number, bid(number, 5, 10_000)))
            until(lambda: feed.pump(0.01) == ["NEW"])

        send(group, port, packet_of("20990101", 1, stock(1, "NEW")))
        until(lambda: feed.pump(0.01) == ["NEW"])
        takes(2)
        assert feed.is_whole, "the control: somebody looked all the time"
        send(group, port, packet_of("20990101", 3, bid(3, 5, 10_000)))
        clock.monotonic_ns = lambda: time.monotonic_ns() + 90_000_000_000
        until(lambda: feed.pump(0.01) == ["NEW"])
        assert feed.book("NEW").best_prices.bid == (Decimal("1.00"), 10)
        assert not feed.is_whole, "what was sent meanwhile may not be there"
        takes(4)
        assert feed.is_whole


@pytest.mark.slow
def test_the_example_prints_best_prices_and_says_when_messages_are_missing(fed: Fed) -> None:
    example = [sys.executable, "examples/book_watch.py"]
    for words in ([], ["a:1", "b:1", "c:1", "d:1"], ["127.0.0.1:x"]):
        refused = subprocess.run([*example, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "book_watch.py GROUP:PORT" in refused.stderr or "is no address" in refused.stderr
    addresses = [f"{fed.group}:{fed.port}", f"127.0.0.1:{fed.ports()['requests']}"]
    with subprocess.Popen(
        [*example, *addresses], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert fed.node.process is not None
        try:
            waiting, here = "waiting: messages are missing, or the feed is silent\n", "all is here\n"
            assert [watch.stdout.readline() for _ in range(3)] == [waiting, here, "XYZ | nobody | nobody\n"]
            prices = (line for line in watch.stdout if line.startswith("XYZ"))  # a machine under load may be silent
            client = Client(fed.node.port, "UA")
            client.socket.sendall(enter("E1", "B", 7, 77_700))
            assert next(prices) == "XYZ | 7 at 7.77 | nobody\n"
            client.socket.sendall(enter("E2", "B", 7, 77_600) + enter("E3", "S", 5, 77_800))
            assert next(prices) == "XYZ | 7 at 7.77 | 5 at 7.78\n"
            fed.node.process.send_signal(signal.SIGSTOP)
            assert waiting in watch.stdout
            fed.node.process.send_signal(signal.SIGCONT)
            assert here in watch.stdout
            watch.send_signal(signal.SIGINT)
            assert watch.wait(60) == 0
            assert watch.stderr.read() == ""
        finally:
            fed.node.process.send_signal(signal.SIGCONT)
            watch.kill()


def test_a_feed_that_cannot_be_joined_is_told_in_a_sentence() -> None:
    with pytest.raises(CannotConnect, match="is not known here"):
        BookFeed("239.192.0.1:26400", snapshots="no.such.host.invalid:1")
    with pytest.raises(CannotConnect, match="cannot be joined at"):
        BookFeed("127.0.0.1:26400")
    for wrong in ("239.192.0.1", "239.192.0.1:0", "239.192.0.1:x", ":1", "h:99999"):
        with pytest.raises(ValueError, match="is no address"):
            BookFeed(wrong)
