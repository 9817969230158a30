"""Messages between a running node and its clients, judged by Wireshark's dissectors."""

import contextlib
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.captures import Segment, Tap, complaints, dissect, needs_tshark, write_pcap
from tests.ouch_messages import IOC, cancel, enter, modify, replace
from tests.ouch_specified import WIRESHARK
from tests.running import HEARTBEAT, Client, Running, kinds, started
from wire import ouch, soup
from wire.ouch_codes import ClientMessage, ServerMessage
from wire.soup import PacketType

DAY_NS = 86_400 * 1_000_000_000


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path)
    yield running
    running.stop()


Read = list[tuple[str, dict[str, Any]]]


def read_by_us(segments: list[Segment], by_server: bool) -> Read:
    """(name, fields) of the OUCH messages of one side; text without its padding, codes as letters."""
    cutter = soup.PacketCutter()
    cutter.feed(b"".join(data for whose, data in segments if whose == by_server))
    found: Read = []
    names: type[ClientMessage | ServerMessage] = ServerMessage if by_server else ClientMessage
    read = ouch.read_server if by_server else ouch.read_client
    while cut := cutter.next():
        if cut[0] == (PacketType.SEQUENCED if by_server else PacketType.UNSEQUENCED):
            row = read(cut[1])[0]
            fields = {}
            for name in row.dtype.names:
                is_code = row.dtype[name].itemsize == 1
                is_text = row.dtype[name].kind == "S"
                fields[name] = chr(row[name]) if is_code else ouch.text_of(row[name]) if is_text else int(row[name])
            found.append((names(cut[1][0]).name, fields))
    return found


OURS = {theirs: ours for ours, theirs in WIRESHARK.items()}


def value_of(shown: str) -> str | int:
    """A value as Wireshark shows it: a code in quotes, a time of day, a number, or text with its padding."""
    if len(shown) == 3 and shown[0] == shown[2] == "'":
        return shown[1]
    if time_of_day := re.fullmatch(r"(\d{1,2}):(\d\d):(\d\d)\.(\d{9})", shown):  # before ten, hours have one digit
        hours, minutes, seconds, fraction_ns = map(int, time_of_day.groups())
        return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction_ns
    return int(shown) if shown.isdigit() else shown.rstrip(" ")


def read_by_wireshark(path: Path, by_server: bool) -> Read:
    """As ``read_by_us``, from a capture."""
    found: Read = []
    sequenced = False
    for message in dissect(path):
        name = message.shown.partition(", ")[2].upper().replace(" ", "_")
        if message.protocol == "soupbintcp":
            sequenced = name.startswith("SEQUENCED")
        elif sequenced == by_server:
            fields = {field.name.removeprefix("ouch."): value_of(field.shown) for field in message.fields}
            found.append((name, {OURS.get(key, key): value for key, value in fields.items()}))
    return found


def every_message(node: Running) -> list[Segment]:
    """Bytes of a session with every message of client and node, both ways."""
    with Tap(node.port) as tap:
        client, other = Client(tap.port, "UA"), Client(node.port, "UB")
        client.socket.sendall(
            enter("a1", "B", 100, 100_000)
            + enter("LONG-TOKEN.01", "S", 50, 102_000)
            + replace("a1", "a2", 200, 99_900)
            + cancel("a2", 150)
            + modify("LONG-TOKEN.01", "T", 30)
            + enter("a3", "S", 10, 99_900)
            + enter("a4", "B", 5, 90_000, tif_s=IOC)
            + enter("a5", "B", 5, 90_050)
            + enter("a1", "B", 5, 90_000)
            + cancel("none")
        )
        client.take(13)
        other.socket.sendall(enter("b1", "B", 30, 102_000) + enter("b2", "S", 7, 103_000))
        client.take(14)
        client.socket.sendall(HEARTBEAT + soup.packet(PacketType.DEBUG, b"hello") + enter("a6", "B", 17, 103_000))
        assert set(kinds(client.take(16))) == {kind.name for kind in ServerMessage if kind in MADE}
        while client.packet()[0] != PacketType.SERVER_HEARTBEAT:
            pass
        client.log_out()
        return tap.said[0]


#: Messages that a node makes; the other messages of the specification are of things that this exchange does not have.
MADE = set(ServerMessage) - {
    ServerMessage.BROKEN_TRADE,
    ServerMessage.EXECUTED_WITH_REFERENCE_PRICE,
    ServerMessage.TRADE_CORRECTION,
    ServerMessage.CANCEL_PENDING,
    ServerMessage.ORDER_PRIORITY_UPDATE,
}


def foreign(path: Path) -> set[str]:
    """Complaints of Wireshark, but for the one code of this exchange's own: a token used before (docs/PROTOCOL.md)."""
    return set(complaints(path)) - {"Reject Reason: Unknown ('U')"}


@pytest.mark.slow
@needs_tshark
def test_wireshark_reads_a_session_of_every_message_as_we_do(node: Running, tmp_path: Path) -> None:
    began_ns = time.time_ns()
    said = every_message(node)
    path = tmp_path / "said.pcap"
    write_pcap(path, said)
    assert foreign(path) == set()
    asked, told = read_by_wireshark(path, False), read_by_wireshark(path, True)
    assert {name for name, _ in asked} == {kind.name for kind in ClientMessage}
    assert {name for name, _ in told} == {kind.name for kind in MADE}
    assert asked == read_by_us(said, False)
    assert told == read_by_us(said, True)
    # What was to happen, in the judge's words.
    shown = [
        (name, *(each.get(key) for key in ("order_token", "shares", "price_e4", "decrement_shares", "executed_shares")))
        for name, each in told
    ]
    assert shown[:6] == [
        ("SYSTEM_EVENT", None, None, None, None, None),
        ("ACCEPTED", "a1", 100, 100_000, None, None),
        ("ACCEPTED", "LONG-TOKEN.01", 50, 102_000, None, None),
        ("REPLACED", None, 200, 99_900, None, None),
        ("CANCELED", "a2", None, None, 50, None),
        ("ORDER_MODIFIED", "LONG-TOKEN.01", 30, None, None, None),
    ]
    times_ns = [fields["time_ns"] for _, fields in told]
    assert times_ns == sorted(times_ns)
    assert all((time_ns - began_ns) % DAY_NS < 60 * 10**9 for time_ns in times_ns[1:])
    packets = [each.shown.removeprefix("SoupBinTCP, ") for each in dissect(path) if each.protocol == "soupbintcp"]
    assert packets[:2] == ["Login Request", "Login Accepted"]
    assert packets[-1] == "Logout Request"
    assert {"Client Heartbeat", "Server Heartbeat", "Debug Packet"} <= set(packets)
    numbers = [int(each.partition("=")[2]) for each in packets if each.startswith("Sequenced")]
    assert numbers == list(range(1, len(told) + 1))


@pytest.mark.slow
@needs_tshark
def test_wireshark_notices_a_changed_byte(node: Running, tmp_path: Path) -> None:
    said = every_message(node)
    path = tmp_path / "changed.pcap"
    chance = random.Random(11)
    data = bytearray(b"".join(data for by_server, data in said if by_server))
    heads, at = [], 0
    while at < len(data):
        heads += [at] if data[at + 2] == PacketType.SEQUENCED else []
        at += soup.packet_bytes(data, at)

    def written(changes: dict[int, int]) -> None:
        changed = bytearray(data)
        for place, value in changes.items():
            changed[place] = value
        write_pcap(path, [said[0], *((True, bytes(changed[at : at + 999])) for at in range(0, len(changed), 999))])

    written({})
    assert foreign(path) == set()
    ours = read_by_us(said, True)
    assert read_by_wireshark(path, True) == ours
    # One byte of each message, behind its kind.
    places = [head + chance.randrange(4, soup.packet_bytes(data, head)) for head in heads]
    written({place: data[place] ^ 1 for place in places})
    seen = read_by_wireshark(path, True)
    assert all(ours[number] != seen[number] for number in range(len(ours)))
    # Its kind; its length, one more; the type of its packet.
    for head in chance.sample(heads, 1):
        for place, value in ((head + 3, ord("?")), (head + 1, data[head + 1] + 1), (head + 2, ord("?"))):
            written({place: value})
            assert foreign(path), f"byte {place} became {value}"


#: ``lockstep serve`` whose wall clock is a day ahead from the moment when a file is there.
TOMORROW = """
import os, sys, time
told, wall = sys.argv.pop(1), time.time_ns
time.time_ns = lambda: wall() + os.path.exists(told) * 86_400 * 10**9
from cli.main import main
sys.exit(main())
"""


@pytest.mark.slow
@needs_tshark
def test_wireshark_reads_the_ends_that_a_node_makes(tmp_path: Path) -> None:
    tomorrow = tmp_path / "tomorrow"
    node = Running(tmp_path / "node", "--clock-ahead-max-s", "200000", program=("-c", TOMORROW, str(tomorrow)))
    node.start()
    node.set_up()
    with Tap(node.port) as tap:
        Client(tap.port, "UA", "wrong").until_end()
        client = Client(tap.port, "UA")
        client.take(1)
        client.socket.sendall(soup.packet(PacketType.UNSEQUENCED, b"nonsense"))
        client.until_end()
        client = Client(tap.port, "UB")
        client.take(1)
        other = Client(node.port, "UC")
        tomorrow.touch()
        with contextlib.suppress(OSError):  # the day ends with the first command of the next, or the node ends it first
            other.socket.sendall(cancel("none"))
        client.until_end()
        client = Client(tap.port, "UB")
        client.take(1)
        node.end(signal.SIGTERM)
        client.until_end()
        said = tap.said
    packets, events = [], []
    for number, segments in enumerate(said):
        path = tmp_path / f"{number}.pcap"
        write_pcap(path, segments)
        packets.append([each.shown.partition(", ")[2] for each in dissect(path) if each.protocol == "soupbintcp"])
        events.append([fields["event_code"] for _, fields in read_by_wireshark(path, True)])
        assert number == 1 or complaints(path) == []
    assert packets[0] == ["Login Request", "Login Rejected"]
    assert [each for each in packets[1] if "eartbeat" not in each][-2:] == ["Unsequenced Data", "Debug Packet"]
    assert packets[2][-3:] == ["Sequenced Data, SeqNum=2", "Debug Packet", "End of Session"]
    assert packets[3][-1] == "End of Session"
    assert events == [[], ["S"], ["S", "E"], ["S"]]
