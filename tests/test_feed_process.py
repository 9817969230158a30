"""Market data of a real node by multicast: receivers have all of it, whatever is lost, killed or started again."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketdata.itch.stream import ItchStream
from node.feeds.programs import Address, FeedOption, feed_option, feed_options
from node.gateways.image import seq_in
from node.operator.link import RequestRefused
from tests.conftest import Lockstep
from tests.feed_receiver import Order, Receiver, bad_network
from tests.itch_reader import Reader
from tests.json_schemas import checked
from tests.ouch_messages import cancel, enter
from tests.pair_processes import PATIENT, nodes, pair
from tests.running import HEARTBEAT, ROOT, SET_UP, Client, Running, started, until
from tests.test_itch_market_levels import words_of
from tests.test_node_programs import processes
from wire import ClientSession, LoginRequest, itch, mold
from wire.soup import LoginAccepted, LoginRejected, PacketType, Sequenced

KILLS = 3
ENDS_S = 5.0  # on a machine under load; an idle one takes 0.1 s


def free_group() -> tuple[str, int]:
    """A group of this process alone, and a port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
    return f"239.192.{os.getpid() % 250 + 1}.{port % 250 + 1}", port


class Fed:
    """A node with a feed, and what receives it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.group, self.port = free_group()
        self.node = started(folder, "--feed", ",".join((f"itch:{self.group}:{self.port}", *words)))
        self.receivers: list[Receiver] = []

    def ports(self) -> dict[str, int]:
        """Port for requests, once the feed has caught up."""
        until(lambda: processes(self.node)["itch"]["port"], 300.0)
        return {"requests": int(processes(self.node)["itch"]["port"])}

    def receiver(self, *, spoils: object = None, group: str | None = None) -> Receiver:
        options = {} if spoils is None else {"spoils": spoils}
        made = Receiver(group or self.group, self.port, [self.ports()["requests"]], **options)  # type: ignore[arg-type]
        self.receivers.append(made)
        return made

    def stop(self) -> None:
        for each in self.receivers:
            each.close()
        self.node.stop()


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    made = Fed(tmp_path)
    yield made
    made.stop()


def trade(client: Client, name: str, count: int, chance: random.Random) -> None:
    """Enter orders of both sides, some of which trade, and cancel some."""
    for n in range(count):
        client.socket.sendall(enter(f"{name}{n}", chance.choice("BS"), 10, 100_000 + 100 * chance.randint(-5, 5)))
        if chance.random() < 0.3:
            client.socket.sendall(cancel(f"{name}{chance.randint(0, n)}"))


def beats(client: Client) -> bool:
    """Send a heartbeat, so that a client that waits long is not ended."""
    client.socket.sendall(HEARTBEAT)
    return True


def runs_again(node: Running, name: str, restarts: int) -> bool:
    """True once a program that was killed so many times serves again."""
    found = processes(node)[name]
    return found["restarts"] == restarts and bool(found["port"])


def has(receiver: Receiver, price_e4: int) -> bool:
    """True once the receiver has the add of an order at a price, and all before it."""
    receiver.pump()
    messages = next(iter(receiver.order.sessions.values()), [])
    return any(message[0] == ord("A") and int.from_bytes(message[32:36], "big") == price_e4 for message in messages)


def written(lockstep: Lockstep, data: Path, folder: Path) -> list[bytes]:
    """Messages of the newest session, by `lockstep replay`."""
    status, _, complaint = lockstep("replay", data, "--out", folder)
    assert status == 0, complaint
    return [message for _, message in itch.cut(max(folder.glob("*.itch")).read_bytes())]


@pytest.mark.slow
def test_receivers_of_a_bad_network_have_every_message_though_the_feed_is_killed(
    fed: Fed, lockstep: Lockstep, tmp_path: Path
) -> None:
    good, bad = fed.receiver(), fed.receiver(spoils=bad_network(1, 0.03))
    late = Order(asks=False)
    client, chance = Client(fed.node.port, "UA"), random.Random(1)
    for kills in range(KILLS):
        trade(client, f"A{kills}x", 60, chance)
        for _ in range(5):
            good.pump()
            bad.pump()
        os.kill(processes(fed.node)["itch"]["pid"], signal.SIGKILL)
        trade(client, f"A{kills}y", 20, chance)
        until(lambda kills=kills: beats(client) and runs_again(fed.node, "itch", kills + 1), 300.0)  # type: ignore[misc]
    client.socket.sendall(enter("LAST", "B", 7, 77_700))
    until(lambda: has(good, 77_700), what="the feed has not come")
    until(lambda: has(bad, 77_700), what="the feed has not come over the bad network")
    assert bad.asked
    for receiver in (good, bad):
        assert len(receiver.order.sessions) == 1
    (messages,) = good.order.sessions.values()
    assert next(iter(bad.order.sessions.values()))[: len(messages)] == messages
    reader = Reader()
    for message in messages:
        reader.take(message)
    # Control: who takes what comes for all that there is has other messages, and would not know.
    network = bad_network(1, 0.03)
    for packet in mold.packets("20240115", 1, b"".join(len(each).to_bytes(2, "big") + each for each in messages), 120):
        for came in network(packet):
            late.take(came)
    assert late.sessions["20240115"] != messages
    assert fed.node.end(signal.SIGTERM) == 0
    assert written(lockstep, fed.node.data, tmp_path / "out")[: len(messages)] == messages


@pytest.mark.slow
def test_a_node_that_starts_again_has_the_same_numbers_and_a_new_receiver_gets_all(
    fed: Fed, lockstep: Lockstep, tmp_path: Path
) -> None:
    first, chance = fed.receiver(), random.Random(2)
    trade(Client(fed.node.port, "UA"), "A", 50, chance)
    Client(fed.node.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: has(first, 77_700))
    assert fed.node.end(signal.SIGTERM) == 0
    fed.node.start()
    second = fed.receiver()
    trade(Client(fed.node.port, "UA"), "B", 50, chance)
    Client(fed.node.port, "UB").socket.sendall(enter("E2", "B", 7, 77_600))
    first._requests = second._requests
    until(lambda: has(first, 77_600))
    until(lambda: has(second, 77_600))
    (name,) = first.order.sessions
    assert second.order.sessions[name] == first.order.sessions[name]
    assert fed.node.end(signal.SIGKILL) != 0
    fed.node.start()
    third = fed.receiver()
    until(lambda: has(third, 77_600))
    assert third.order.sessions[name][: len(second.order.sessions[name])] == second.order.sessions[name]
    assert fed.node.end(signal.SIGTERM) == 0
    made = written(lockstep, fed.node.data, tmp_path / "out")
    assert made[: len(third.order.sessions[name])] == third.order.sessions[name]


def snapshot(port: int, session: str = "") -> tuple[list[bytes], str]:
    """Messages of a snapshot, and the session of the login; [] if it was refused."""
    names: list[str] = []
    messages = snapshot_through(socket.create_connection(("127.0.0.1", port), timeout=60), session=session, names=names)
    return messages, "".join(names)


def snapshot_through(
    connected: socket.socket,
    begin: Callable[[socket.socket], object] = lambda _connected: b"",
    *,
    session: str = "",
    names: list[str] | None = None,
) -> list[bytes]:
    """Messages of a snapshot through a connection, as far as they come. begin: what is done behind the login, a
    function that gives the bytes it has read. names: gets the session."""
    with connected:
        own = ClientSession(0)
        connected.sendall(own.login(LoginRequest("ANY", "any", session, 1), 0))
        messages: list[bytes] = []
        data = begin(connected) or connected.recv(65_536)
        while data:
            for event in own.receive(data, 0):
                if isinstance(event, Sequenced):
                    messages.append(event.payload)
                elif isinstance(event, LoginAccepted):
                    if names is not None:
                        names.append(event.session)
                else:
                    assert isinstance(event, LoginRejected) or own.ended
            try:
                data = connected.recv(65_536)
            except ConnectionResetError:
                break
        return messages


@pytest.mark.slow
def test_a_snapshot_and_the_messages_behind_it_are_the_book_of_who_has_all(fed: Fed) -> None:
    receiver, chance = fed.receiver(), random.Random(3)
    client = Client(fed.node.port, "UA")
    trade(client, "A", 200, chance)
    client.socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: has(receiver, 77_700))
    port = snapshots_port(fed.node)
    made, name = snapshot(port)
    (known,) = receiver.order.sessions
    assert name == known
    assert made[-1][:1] == b"G"
    following = int(made[-1][1:])
    trade(client, "B", 50, chance)
    client.socket.sendall(enter("E2", "B", 7, 77_600))
    until(lambda: has(receiver, 77_600))
    whole, joined = Reader(), Reader()
    every = receiver.order.sessions[name]
    for message in every:
        whole.take(message)
    for message in (*made[:-1], *every[following - 1 :]):
        joined.take(message)
    for side in (1, -1):
        assert joined.side(1, side) == whole.side(1, side)
    assert joined.places == whole.places
    assert snapshot(port, "19990101") == ([], "")


def snapshots_port(node: Running) -> int:
    """Port of snapshots: the one TCP port of the feed's process."""
    pid = processes(node)["itch"]["pid"]
    inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if _is_link(pid, fd)}
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
            return int(words[1].split(":")[1], 16)
    raise AssertionError("the feed listens nowhere")


def _is_link(pid: int, fd: str) -> bool:
    return os.path.lexists(f"/proc/{pid}/fd/{fd}")


def test_both_feeds_have_the_same_packets(tmp_path: Path) -> None:
    group, port = free_group()
    second = f"239.193.{os.getpid() % 250 + 1}.{port % 250 + 1}"
    node = started(tmp_path, "--feed", f"itch:{group}:{port},b={second}:{port}")
    try:
        until(lambda: processes(node)["itch"]["port"], 300.0)
        a, b = Receiver(group, port, []), Receiver(second, port, [])
        Client(node.port, "UA").socket.sendall(enter("E1", "B", 7, 77_700))
        packets: dict[str, list[bytes]] = {"a": [], "b": []}

        def both_have() -> bool:
            packets["a"] += list(a.packets(0.02))
            packets["b"] += list(b.packets(0.02))
            return all(any(b"\x00\x01\x2f\x84" in packet for packet in each) for each in packets.values())

        until(both_have, what="an order has not come on both feeds")
        sent = [[packet for packet in each if mold.read(packet).messages] for each in packets.values()]
        assert sent[0] == sent[1]
    finally:
        node.stop()


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--spin"]])
def test_a_feed_ends_at_sigterm_with_all_that_was_released_on_the_wire(
    tmp_path: Path, words: list[str], lockstep: Lockstep
) -> None:
    node = started(tmp_path)
    group, port = free_group()
    command = [sys.executable, "-m", "cli.main", "feed", str(node.data), "--group", f"{group}:{port}", *words, "--json"]
    made = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    receiver = None
    try:
        assert made.stdout is not None
        (place,) = checked(("feed",), made.stdout.readline())
        receiver = Receiver(group, port, [place["listening"]["requests"]])
        client = Client(node.port, "UA")
        trade(client, "A", 60, random.Random(5))
        client.socket.sendall(enter("LAST", "B", 7, 77_700))
        until(lambda: receiver is not None and has(receiver, 77_700), what="the feed has not come")
        receiver._requests = []  # what it has from now on was sent
        client.socket.sendall(enter("LATER", "B", 7, 77_800))
        answers = bytearray()
        until(lambda: answers.extend(client.socket.recv(65_536)) or b"LATER" in answers)
        made.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        _, logged = made.communicate(timeout=60)
        assert made.returncode == 0, logged
        assert time.monotonic() - began_s < ENDS_S
        until(lambda: receiver is not None and has(receiver, 77_800), what="a released order was not sent")
        assert node.status()["seq"] > 0  # the market goes on
        assert node.end(signal.SIGTERM) == 0
        (messages,) = receiver.order.sessions.values()
        assert written(lockstep, node.data, tmp_path / "out")[: len(messages)] == messages
    finally:
        if receiver is not None:
            receiver.close()
        made.kill()
        made.communicate()
        node.stop()


@pytest.mark.slow
def test_after_a_takeover_the_feed_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    group, port = free_group()
    with pair(tmp_path, "--feed", f"itch:{group}:{port}", *PATIENT) as (_, first, second):
        for node in (first, second):
            until(lambda node=node: processes(node)["itch"]["port"], 300.0)  # type: ignore[misc]
        ports = [int(processes(node)["itch"]["port"]) for node in (first, second)]
        receiver, chance = Receiver(group, port, ports), random.Random(4)
        trade(Client(first.port, "UA"), "A", 100, chance)
        Client(first.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
        until(lambda: has(receiver, 77_700))
        before = {name: list(messages) for name, messages in receiver.order.sessions.items()}
        second.awaits(can_take_over=1)
        first.end(signal.SIGKILL)
        second.awaits(role="primary", state="reigning")
        trade(Client(second.port, "UA"), "B", 50, chance)
        Client(second.port, "UB").socket.sendall(enter("E2", "B", 7, 77_600))
        until(lambda: has(receiver, 77_600))
        (name,) = receiver.order.sessions
        assert receiver.order.sessions[name][: len(before[name])] == before[name]
        reader = Reader()
        for message in receiver.order.sessions[name]:
            reader.take(message)
        receiver.close()


def fall_to(node: Running, *prices_e4: int) -> None:
    """Let two participants trade at each price in turn."""
    clients = Client(node.port, "UA", seq=0), Client(node.port, "UB", seq=0)  # what is told from now on
    for price_e4 in prices_e4:
        for client, side in zip(clients, "BS", strict=True):
            client.socket.sendall(enter(f"{side}{price_e4}", side, 10, price_e4))
            while client.packet()[0] != PacketType.SEQUENCED:  # the next order is behind this one
                pass


def command(node: Running, text: str) -> None:
    """Let the operator command, and the market do it."""
    with node.link() as link:
        assert link.ask("commands", text=text)["rejected"] == 0


def messages_with(receiver: Receiver, words: str) -> list[bytes]:
    """Messages of the newest session, once the words of the levels in it end with these."""

    def newest() -> list[bytes]:
        return receiver.order.sessions.get(max(receiver.order.sessions, default=""), [])

    until(
        lambda: receiver.pump() or words_of(newest())[-1:] == [words],
        what=lambda: f"after {words_of(newest())[-4:]} the feed has not told: {words}",
    )
    return newest()


@contextlib.contextmanager
def node_and_successor(folder: Path, how: str, *options: str) -> Iterator[tuple[Running, Running]]:
    """A node, and who goes on when it is killed: it again ("restart"), or its standby ("takeover")."""
    if how == "takeover":
        with pair(folder, *options, *PATIENT) as (_, first, second):
            yield first, second
        return
    node = started(folder, *options)
    try:
        yield node, node
    finally:
        node.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restart", "takeover"])
def test_levels_of_market_wide_halts_are_told_once_whoever_is_killed(
    tmp_path: Path, lockstep: Lockstep, how: str
) -> None:
    """Levels 1 and 2, with the ends of feed and node between them, as a feed that never ended tells them."""
    group, port = free_group()
    with node_and_successor(tmp_path, how, "--feed", f"itch:{group}:{port}") as (node, successor):
        for each in (node, successor):
            until(lambda each=each: processes(each)["itch"]["port"], 300.0)  # type: ignore[misc]
        receiver = Receiver(group, port, [int(processes(node)["itch"]["port"])])
        command(node, "index IDX members=XYZ:3 levels=7%/15m,13%/15m,20%/close")
        fall_to(node, 99_000, 95_000, 93_000)
        messages_with(receiver, "TRADING_ACTION state=H reason=MWC1")
        reached_seq = node.status()["seq"]
        os.kill(processes(node)["itch"]["pid"], signal.SIGKILL)
        until(lambda: runs_again(node, "itch", 1), 300.0)
        os.kill(processes(node)["itch"]["pid"], signal.SIGTERM)  # in order: the next start has an image of level 1
        until(lambda: runs_again(node, "itch", 2), 300.0)
        assert seq_in(node.data / "feeds" / "itch", ItchStream.version) >= reached_seq
        made, _ = snapshot(snapshots_port(node))
        assert words_of(made)[-1] == "MWCB_STATUS level=1"
        receiver._requests = [int(processes(node)["itch"]["port"])]
        command(node, "resume XYZ\nphase XYZ continuous")
        fall_to(node, 92_000)  # deeper, and no other level
        before = list(messages_with(receiver, "TRADING_ACTION state=T"))
        if how == "takeover":
            successor.awaits(can_take_over=1)  # type: ignore[attr-defined]
        node.end(signal.SIGKILL)
        if how == "takeover":
            successor.awaits(role="primary", state="reigning")  # type: ignore[attr-defined]
        else:
            successor.start()
        until(lambda: processes(successor)["itch"]["port"], 300.0)
        receiver._requests = [int(processes(successor)["itch"]["port"])]
        late = Receiver(group, port, receiver._requests)
        fall_to(successor, 88_000, 87_000)
        for each in (receiver, late):
            messages = messages_with(each, "TRADING_ACTION state=H reason=MWC2")
            assert messages[: len(before)] == before
            assert len(each.order.sessions) == 1
            each.close()
        # 3 x 10.00 at the opening, and 7%, 13% and 20% below it.
        said = words_of(messages)
        levels = "MWCB_LEVELS level_1_e8=2790000000 level_2_e8=2610000000 level_3_e8=2400000000"
        assert said[said.index(levels) + 1 :] == [
            *("MWCB_STATUS level=1", "TRADING_ACTION state=H reason=MWC1"),
            *("TRADING_ACTION state=Q", "TRADING_ACTION state=T"),
            *("MWCB_STATUS level=2", "TRADING_ACTION state=H reason=MWC2"),
        ]
        reader = Reader()
        for message in messages:
            reader.take(message)
        assert reader.market_reached == 2
        assert successor.end(signal.SIGTERM) == 0
        assert written(lockstep, successor.data, tmp_path / "out")[: len(messages)] == messages


def test_a_market_with_a_feed_refuses_an_instrument_that_it_cannot_carry(fed: Fed) -> None:
    with fed.node.link() as link:
        with pytest.raises(RequestRefused, match="the highest price of the ITCH feed"):
            link.ask("commands", text="instrument FAR tick=0.01 lot=1 reference=500000.00")
        answer = link.ask("commands", text="instrument NEAR tick=0.01 lot=1 reference=400000.00")
        assert answer["rejected"] == 0


@pytest.mark.slow
def test_a_market_without_a_feed_defines_it_and_a_feed_later_says_what_is_not_in_it(tmp_path: Path) -> None:
    node = started(tmp_path)
    try:
        with node.link() as link:
            answer = link.ask("commands", text="instrument FAR tick=0.01 lot=1 reference=500000.00")
        assert answer["rejected"] == 0
        assert node.end(signal.SIGTERM) == 0
        group, port = free_group()
        node._options += ["--feed", f"itch:{group}:{port}"]
        node.start()
        until(lambda: "instruments are not in the feed" in node.logged())
    finally:
        node.stop()


@pytest.mark.slow
def test_a_primary_with_a_long_name_sends(tmp_path: Path) -> None:
    group, port = free_group()
    with nodes(tmp_path) as found:
        node = found.add("london_primary_1", "--feed", f"itch:{group}:{port}")
        node.start()
        node.awaits(role="primary", state="reigning")
        node.set_up()
        until(lambda: processes(node)["itch"]["port"], 300.0)
        receiver = Receiver(group, port, [int(processes(node)["itch"]["port"])])
        Client(node.port, "UA").socket.sendall(enter("E1", "B", 7, 77_700))
        until(lambda: has(receiver, 77_700))
        receiver.close()


@pytest.mark.slow
def test_a_new_day_ends_the_session_before_and_both_can_be_asked_for(tmp_path: Path, lockstep: Lockstep) -> None:
    """A journal of 2024, gone on with today: the first clock value of the node begins a day."""
    (tmp_path / "day.txt").write_text(
        f"{SET_UP.split('user')[0]}phase XYZ continuous\nenter ALPHA a1 buy 5 XYZ @ 9.00\n"
    )
    capacity = ("--orders-max", "4096", "--ids-max", "65536")
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", *capacity)[0] == 0
    group, port = free_group()
    node = Running(tmp_path / "node", "--feed", f"itch:{group}:{port}")
    receiver = Receiver(group, port, [])
    try:
        node.start()
        until(lambda: processes(node)["itch"]["port"], 300.0)
        receiver._requests = [int(processes(node)["itch"]["port"])]

        def two_days() -> bool:
            receiver.pump()
            complete = all(messages[-1:] for messages in receiver.order.sessions.values())
            return "20240115" in receiver.order.ended and len(receiver.order.sessions) == 2 and complete

        until(two_days, what=lambda: f"sessions {sorted(receiver.order.sessions)}, ended {receiver.order.ended}")
        until(lambda: receiver.pump() or not receiver.order.missing())
        first = Reader()
        for message in receiver.order.sessions["20240115"]:
            first.take(message)
        assert first.events == "OSQMEC"
        assert first.kinds["D"] == 1
        assert node.end(signal.SIGTERM) == 0
    finally:
        node.stop()
        receiver.close()


def test_words_of_a_feed_are_read() -> None:
    assert feed_option("itch:239.192.0.1:26400") == FeedOption("itch", Address("239.192.0.1", 26_400))
    assert feed_option("itch:239.192.0.1:26400,spin=yes").spins
    assert feed_option(
        "itch:239.192.0.1:26400,b=239.192.0.2:26400,interface=10.0.0.5,ttl=3,requests=26401,snapshots=26402,name=east"
    ) == FeedOption(
        *("east", Address("239.192.0.1", 26_400), Address("239.192.0.2", 26_400), "10.0.0.5", 3, 26_401, 26_402)
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ouch:239.192.0.1:26400", "is no feed"),
        ("itch:10.0.0.1:26400", "no multicast group"),
        ("itch:239.192.0.1", "no multicast group"),
        ("itch:239.192.0.300:1", "no multicast group"),
        ("itch:239.192.0.1:70000", "no multicast group"),
        ("itch:239.192.0.1:26400,ttl=256", "0 to 255"),
        ("itch:239.192.0.1:26400,ttl=x", "0 to 255"),
        ("itch:239.192.0.1:26400,interface=eth0", "IPv4 address"),
        ("itch:239.192.0.1:26400,b=x", "no multicast group and port; give b=GROUP:PORT, such as b=239"),
        ("itch:239.192.0.1:26400,b=239.192.0.1:26400", "feeds A and B have the group 239.192.0.1:26400 both"),
        ("itch:239.192.0.1:26400,colour=red", "nothing of a feed"),
        ("itch:239.192.0.1:26400,name=core", "has the name core"),
        ("itch:239.192.0.1:26400,spin=1", "nothing of a feed"),
    ],
)
def test_words_that_are_none_of_a_feed_are_refused_with_a_sentence(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        feed_option(text)


def test_two_feeds_have_two_names_and_groups() -> None:
    with pytest.raises(ValueError, match="the name itch"):
        feed_options(["itch:239.192.0.1:26400", "itch:239.192.0.2:26400"])
    with pytest.raises(ValueError, match=r"the group 239\.192\.0\.1:26400"):
        feed_options(["itch:239.192.0.1:26400", "itch:239.192.0.2:26400,name=two,b=239.192.0.1:26400"])
    for what in ("requests", "snapshots"):
        one = f"itch:239.192.0.1:26400,{what}=26401"
        other = f"itch:239.192.0.2:26400,name=two,{what}=26401"
        with pytest.raises(ValueError, match=f"the port for {what} 127.0.0.1:26401"):
            feed_options([one, other])
        assert len(feed_options([one, other + ",interface=127.0.0.2"])) == 2


def test_a_feed_without_a_node_or_an_interface_is_refused_with_a_sentence(lockstep: Lockstep, tmp_path: Path) -> None:
    status, _, complaint = lockstep("feed", tmp_path, "--group", "239.192.0.1:26400")
    assert status == 2
    assert "no journal" in complaint
    for words, what in (
        (["--group", "10.0.0.1:26400"], "--group '10.0.0.1:26400' is no multicast group and port; give GROUP:PORT, "),
        (["--group", "239.192.0.1:26400", "--name", "East"], "--name is 'East'; give a letter of a to z"),
        (["--group", "239.192.0.1:26400", "--name", "core"], "has the name core"),
    ):
        status, _, complaint = lockstep("feed", tmp_path, *words)
        assert status == 2
        assert what in complaint
    (tmp_path / "day.txt").write_text("participant ALPHA\n")
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    status, _, complaint = lockstep("feed", tmp_path / "node", "--group", "239.192.0.1:26400")
    assert status == 75
    assert "no node writes a tape" in complaint
    status, _, complaint = lockstep("feed", tmp_path / "node", "--group", "239.192.0.1:1", "--interface", "192.0.2.1")
    assert status == 2
    assert "192.0.2.1" in complaint
    assert "Traceback" not in complaint


@pytest.mark.slow
def test_a_feed_by_hand_says_where_it_listens_and_ends_in_order(tmp_path: Path) -> None:
    node = started(tmp_path)
    group, port = free_group()
    line = [sys.executable, "-m", "cli.main", "feed", str(node.data), "--group", f"{group}:{port}", "--json"]
    with (tmp_path / "feed.log").open("w") as log:
        feed = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert feed.stdout is not None
        (said,) = checked(["feed"], feed.stdout.readline())
        assert said["listening"]["feed"] == "itch"
        receiver = Receiver(group, port, [said["listening"]["requests"]])
        Client(node.port, "UA").socket.sendall(enter("E1", "B", 7, 77_700))
        until(lambda: has(receiver, 77_700))
        made, _ = snapshot(said["listening"]["snapshots"])
        assert made[-1][:1] == b"G"
        # Another of its name would add each message to its files once more.
        other = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert other.returncode == 75, other.stderr
        assert f"process {said['listening']['pid']} is the feed itch already; end it, or give" in other.stderr
        feed.send_signal(signal.SIGTERM)
        assert feed.wait(120) == 0
        receiver.close()
    finally:
        feed.kill()
        feed.wait()
        node.stop()
    log_text = (tmp_path / "feed.log").read_text()
    assert "Traceback" not in log_text
    assert '"ended"' in log_text


@pytest.mark.slow
def test_nasdaqs_library_takes_a_snapshot(fed: Fed) -> None:
    """GLIMPSE by a client that nobody here wrote."""
    from nasdaq_protocols import soup as judge

    receiver = fed.receiver()
    trade(Client(fed.node.port, "UA"), "A", 50, random.Random(5))
    Client(fed.node.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: has(receiver, 77_700))

    async def take() -> list[bytes]:
        address = ("127.0.0.1", snapshots_port(fed.node))
        session = await judge.connect_async(address, "ANY", "any", sequence=1)
        messages: list[bytes] = []
        while not messages or messages[-1][:1] != b"G":
            messages.append((await asyncio.wait_for(session.receive_msg(), 60)).data)
        return messages

    made, _ = snapshot(snapshots_port(fed.node))
    assert [message[:1] for message in asyncio.run(take())] == [message[:1] for message in made]


@pytest.mark.slow
def test_a_feed_has_no_heartbeats_while_its_core_is_silent_and_goes_on_after_it(fed: Fed) -> None:
    receiver = fed.receiver()
    assert fed.node.process is not None

    def beats_within(seconds: float) -> int:
        until_s, found = time.monotonic() + seconds, 0
        while time.monotonic() < until_s:
            found += sum(1 for _ in receiver.packets(0.05))
        return found

    assert beats_within(3.0) >= 2
    fed.node.process.send_signal(signal.SIGSTOP)
    try:
        beats_within(4.5)
        assert beats_within(3.0) == 0
    finally:
        fed.node.process.send_signal(signal.SIGCONT)
    assert beats_within(4.0) >= 2
