"""Faulty clients: bytes cut anywhere, garbage, readers that do not read, and silence. Each ends its
own session, with the reason; others are answered meanwhile."""

import contextlib
import itertools
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway import connection as gateway_connection
from gateway.attention import Beat
from gateway.ouch.protocol import OUCH
from tests.ouch_messages import IOC, cancel, enter, messages, modify, replace
from tests.running import HEARTBEAT, SOON_S, Client, Running, answered_in_s, kinds, resident_bytes, started, until
from wire import soup, soup_session
from wire.soup import LoginAccepted, LoginRequest, PacketType

LOGOUT = soup.packet(PacketType.LOGOUT)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("plain"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node that bears silence and slow readers for two seconds instead of fifteen and ten."""
    running = started(tmp_path_factory.mktemp("impatient"), "--ids-max", "262144", faults="impatient")
    yield running
    running.stop()


# Bytes, however they come.


def one_of_each(tag: str) -> bytes:
    """Every packet that a client may send once it is let in, but for the logout."""
    long = f"LONGTOKEN-{tag}"
    return b"".join(
        [
            enter(f"{tag}1", "B", 10, 90_000),
            HEARTBEAT,
            enter(long, "S", 10, 190_000),
            replace(f"{tag}1", f"{tag}2", 20, 90_100),
            soup.packet(PacketType.DEBUG, b"hello"),
            modify(long, "T", 8),
            cancel(f"{tag}2", 5),
            cancel(f"{tag}2"),
            cancel(long),
            cancel("none"),
        ]
    )


ANSWERS = ["ACCEPTED", "ACCEPTED", "REPLACED", "ORDER_MODIFIED", "CANCELED", "CANCELED", "CANCELED", "CANCEL_REJECT"]


def sent_in(port: int, pieces: list[bytes]) -> list[str]:
    """The answers to a session, login included, that is sent in pieces, each as a packet of TCP's own."""
    client = Client.of(socket.create_connection(("127.0.0.1", port), timeout=120))
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        client.socket.sendall(piece)
        if len(pieces) < 20:
            time.sleep(0.02)
    assert client.packet()[0] == PacketType.LOGIN_ACCEPTED
    client.take(len(ANSWERS))
    client.socket.sendall(LOGOUT + one_of_each("not"))
    client.until_end()
    client.socket.close()
    return kinds(client.stream)


@pytest.mark.slow
def test_packets_are_answered_alike_whole_byte_by_byte_and_with_bytes_of_the_next(node: Running) -> None:
    login = LoginRequest("UB", "secret", "", 0).packet()

    def cut(data: bytes, size: int) -> list[bytes]:
        return [data[at : at + size] for at in range(0, len(data), size)]

    assert sent_in(node.port, [login, one_of_each("a")]) == ANSWERS
    assert sent_in(node.port, [login + one_of_each("b")]) == ANSWERS, "all at once, before the login is answered"
    assert sent_in(node.port, cut(login + one_of_each("c"), 1)) == ANSWERS, "byte by byte"
    for tag, size in (("d", 48), ("e", 51), ("f", 67)):
        assert sent_in(node.port, cut(login + one_of_each(tag), size)) == ANSWERS, "with bytes of the next"
    last = Client(node.port, "UB", seq=0)
    last.socket.sendall(cancel("not1"))
    assert kinds(last.take(1)) == ["CANCEL_REJECT"], "what comes after a logout is nothing"
    last.log_out()


def test_orders_before_a_client_stops_sending_are_taken(node: Running) -> None:
    client = Client(node.port, "UB", seq=0)
    next_seq = LoginAccepted.read(client.answer[1]).next_seq
    client.socket.sendall(enter("half1", "B", 5, 90_000) + cancel("half1"))
    client.socket.shutdown(socket.SHUT_WR)
    client.until_end()
    client.socket.close()
    again = Client(node.port, "UB", seq=next_seq)
    assert [fields["order_token"] for _, fields in messages(again.take(2))] == ["half1", "half1"]
    again.log_out()


def hostile(chance: random.Random) -> bytes:
    """Bytes of a client that is broken, or means harm."""
    good = enter(f"h{chance.randrange(10**6)}", "B", 5, 90_000)
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randrange(1, 4_096))
        case 1:
            return good[: chance.randrange(1, len(good))]
        case 2:
            return b"\xff\xff" + chance.randbytes(70_000)
        case 3:
            return b"\0\0" * chance.randrange(1, 1_000)
        case 4:
            return b"".join(good[:2] + bytes([chance.randrange(256)]) + good[3:] for _ in range(50))
        case _:
            data = bytearray(good * 200)
            for _ in range(50):
                data[chance.randrange(len(data))] = chance.randrange(256)
            return bytes(data)


@pytest.mark.slow
def test_garbage_delays_no_answer_of_another_session(node: Running) -> None:
    chance = random.Random(99)
    good = Client(node.port, "UA", seq=0)
    attackers: list[Client | socket.socket] = []
    slowest_s = 0.0
    for turn in range(120):
        if turn % 2:
            attacker: Client | socket.socket = Client(node.port, "UB", seq=0)
            assert isinstance(attacker, Client)
            end = attacker.socket
        else:
            attacker = end = socket.create_connection(("127.0.0.1", node.port), timeout=120)
        with contextlib.suppress(OSError):
            end.sendall(hostile(chance))
        attackers.append(attacker)
        slowest_s = max(slowest_s, answered_in_s(good))
    assert slowest_s < SOON_S
    for attacker in attackers:
        (attacker.socket if isinstance(attacker, Client) else attacker).close()
    until(lambda: node.status()["connections"] == 1, what="every attacker's slot is free again")
    assert node.process is not None
    assert node.process.poll() is None
    good.log_out()


def test_the_reason_for_an_end_reaches_a_client_that_goes_on_sending(node: Running) -> None:
    """A connection that is closed while something waits in it is reset, and loses what was said last."""
    for _ in range(10):
        client = Client(node.port, "UB", seq=0)
        client.socket.sendall(soup.packet(PacketType.UNSEQUENCED, b"nonsense"))
        with contextlib.suppress(OSError):
            for _ in range(20):
                client.socket.sendall(enter("never", "B", 5, 90_000) * 200)
        assert b"no OUCH client sends it" in client.until_end()[-1][1]
        client.socket.close()


@pytest.mark.slow
def test_a_flood_of_packets_that_are_no_orders_delays_no_answer(node: Running) -> None:
    """The kernel leaves each of them to Python, one a turn."""
    good, bad = Client(node.port, "UA", seq=0), Client(node.port, "UB", seq=0)
    enough = threading.Event()

    def flood() -> None:
        data = soup.packet(PacketType.DEBUG, b"") * 40_000
        with contextlib.suppress(OSError):
            while not enough.is_set():
                bad.socket.sendall(data)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        slowest_s = max(answered_in_s(good) for _ in range(60))
    finally:
        enough.set()
        with contextlib.suppress(OSError):
            bad.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that sends
        thread.join()
        bad.socket.close()
    assert slowest_s < SOON_S
    good.log_out()


# Clients that do not read, or say nothing.


@pytest.mark.slow
def test_a_reader_that_takes_nothing_is_ended_and_comes_back_to_all_of_it(impatient: Running) -> None:
    assert impatient.process is not None
    pid = impatient.process.pid
    good = Client(impatient.port, "UB", seq=0)
    slow = Client(impatient.port, "UA", receive_bytes=4_096)
    slow.take(1)
    before = resident_bytes(pid)
    orders = 120_000  # 12 MB of answers, which is more than any buffer on the way

    def send() -> None:
        with contextlib.suppress(OSError):
            for begin in range(0, orders, 1_000):
                slow.socket.sendall(
                    b"".join(enter(f"s{n}", "B", 1, 10_000, tif_s=IOC) for n in range(begin, begin + 1_000))
                )

    thread = threading.Thread(target=send)
    thread.start()
    most, slowest_s = 0, 0.0
    deadline_s = time.monotonic() + 20
    while "a slow reader" not in impatient.logged():
        assert time.monotonic() < deadline_s, impatient.logged()[-1_000:]
        slowest_s = max(slowest_s, answered_in_s(good))
        most = max(most, resident_bytes(pid))
    thread.join()
    good.log_out()
    assert slowest_s < SOON_S
    assert most - before < 64 << 20
    slow.socket.close()
    next_seq = LoginAccepted.read(Client(impatient.port, "UA", seq=0).answer[1]).next_seq
    until(lambda: impatient.status()["logged_in"] == 0)
    again = Client(impatient.port, "UA", seq=2)
    stream = again.take(next_seq - 2)
    again.log_out()
    tokens = [fields["order_token"] for kind, fields in messages(stream) if kind == "ACCEPTED"]
    assert tokens == [f"s{n}" for n in range(len(tokens))]
    assert len(tokens) > orders // 2


@pytest.mark.slow
def test_who_says_nothing_is_ended_with_the_reason_and_who_beats_stays(impatient: Running) -> None:
    assert soup_session.SILENCE_NS == 15_000_000_000
    login = LoginRequest("UC", "secret", "", 0).packet()
    for _ in range(20):
        silent, beating = Client(impatient.port, "UA", seq=0), Client(impatient.port, "UB", seq=0)
        nobody = Client.of(socket.create_connection(("127.0.0.1", impatient.port), 20))
        beats_s = [time.monotonic()]
        for number in range(18):
            with contextlib.suppress(OSError):  # it may have been ended; a byte now and then is no login
                beating.socket.sendall(HEARTBEAT)
            with contextlib.suppress(OSError):
                nobody.socket.sendall(login[number : number + 1])
            time.sleep(0.2)
            beats_s.append(time.monotonic())
        assert b"nothing was heard" in silent.until_end()[-1][1]
        no_login = nobody.until_end()[-1][1]
        if max(after - before for before, after in itertools.pairwise(beats_s)) < 1.5:
            assert b"no login came" in no_login
            break  # else this process stood still for so long that its clients were silent in truth
        beating.socket.close()
        until(lambda: impatient.status()["logged_in"] == 0)
    assert answered_in_s(beating) < SOON_S
    beating.log_out()


class _Stuck:
    """A transport whose peer takes nothing."""

    aborted = False

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


def _beat_at(now_ns: int) -> Beat:
    return Beat(now_ns, passed_ns=1, away_ns=0, read_ns=now_ns)


def test_a_connection_that_is_ended_and_does_not_go_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words wait for a client that takes nothing: else it would keep its slot for as long as it likes."""

    class Clock:
        bytes_out = 0

        def on_closing(self, _connection: object) -> None:
            pass

        def now_ns(self) -> int:
            return 1_000

    class Door:
        protocol = OUCH

    ended = gateway_connection.Connection(Clock(), Door(), 1)  # type: ignore[arg-type]
    stuck = _Stuck()
    monkeypatch.setattr(ended, "transport", stuck)
    ended.close("garbage")
    ended.beat(_beat_at(1_000 + gateway_connection.LEAVE_NS))
    assert not stuck.aborted
    ended.beat(_beat_at(1_001 + gateway_connection.LEAVE_NS))
    assert stuck.aborted


@pytest.mark.long
def test_a_node_that_was_stopped_for_longer_than_silence_is_borne_ends_no_client_that_beats(impatient: Running) -> None:
    assert impatient.process is not None
    client = Client(impatient.port, "UC", seq=0)  # a user that cancels on disconnect
    client.socket.sendall(enter("stop1", "B", 5, 90_000))
    assert kinds(client.take(1)) == ["ACCEPTED"]
    impatient.process.send_signal(signal.SIGSTOP)
    for _ in range(20):
        client.socket.sendall(HEARTBEAT)
        time.sleep(0.2)
    impatient.process.send_signal(signal.SIGCONT)
    for _ in range(10):
        client.socket.sendall(HEARTBEAT)
        assert answered_in_s(client) < SOON_S
        time.sleep(0.1)
    client.socket.sendall(cancel("stop1"))
    while kinds(client.stream)[-1] != "CANCELED":
        assert client.packet()[0], "the connection stays, and so does the order until its own cancel"
    client.log_out()
