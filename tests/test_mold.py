"""MoldUDP64: packets byte for byte, whatever the messages; Wireshark reads them as we do."""

import contextlib
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.captures import needs_tshark
from wire import ProtocolError, mold

PORT = 26_400
FRAMES = st.lists(st.binary(min_size=1, max_size=60), max_size=40)


def framed(messages: list[bytes]) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def test_a_packet_has_these_bytes() -> None:
    (packet,) = mold.packets("S1", 7, framed([b"abc", b"d"]))
    assert packet == b"S1        " + bytes.fromhex("0000000000000007 0002 0003") + b"abc" + b"\x00\x01d"
    assert mold.heartbeat("S1", 9) == b"S1        " + bytes.fromhex("0000000000000009 0000")
    assert mold.end_of_session("S1", 9) == b"S1        " + bytes.fromhex("0000000000000009 ffff")
    assert mold.request("S1", 3, 2) == b"S1        " + bytes.fromhex("0000000000000003 0002")


@pytest.mark.slow
@given(FRAMES, st.integers(1, 2**63), st.integers(82, 400))
@settings(max_examples=200, deadline=None)
def test_packets_hold_all_messages_in_order_and_as_many_as_fit(
    messages: list[bytes], sequence: int, bytes_max: int
) -> None:
    made = list(mold.packets("DAY", sequence, framed(messages), bytes_max))
    assert all(len(packet) <= bytes_max for packet in made)
    read = [mold.read(packet) for packet in made]
    assert [message for packet in read for message in packet.messages] == messages
    for packet in read:
        assert (packet.session, packet.sequence, packet.ends) == ("DAY", sequence, False)
        sequence = packet.next_sequence
    for one, after in zip(made, read[1:], strict=False):
        assert len(one) + 2 + len(after.messages[0]) > bytes_max, "the next message had fitted"


def test_a_heartbeat_and_an_end_have_the_number_to_come() -> None:
    assert mold.read(mold.heartbeat("DAY", 5)) == mold.Packet("DAY", 5, ())
    assert mold.read(mold.end_of_session("DAY", 5)) == mold.Packet("DAY", 5, (), ends=True)
    assert mold.read_request(mold.request("DAY", 1, 65_534)) == mold.Request("DAY", 1, 65_534)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        list(mold.packets("DAY", 1, b"\x00\x05abc"))
    with pytest.raises(ValueError, match="room for 30"):
        list(mold.packets("DAY", 1, framed([b"x" * 29]), 50))
    with pytest.raises(ValueError, match="65534"):
        mold.request("DAY", 1, 65_535)
    with pytest.raises(ValueError, match="no session"):
        mold.heartbeat("ELEVENCHARS", 1)


@pytest.mark.slow
@given(st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_as_a_breach_of_the_protocol(octets: bytes) -> None:
    for read in (mold.read, mold.read_request):
        with contextlib.suppress(ProtocolError):
            read(octets)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda packet: packet[:-1], "longer than the packet"),
        (lambda packet: packet + b"x", "behind its last message"),
        (lambda packet: packet[:19], "at least 20"),
        (lambda packet: packet[:22] + packet[22:][:0], "longer than the packet"),
    ],
)
def test_a_packet_that_was_damaged_is_refused(change: object, sentence: str) -> None:
    (packet,) = mold.packets("DAY", 1, framed([b"abc"]))
    with pytest.raises(ProtocolError, match=sentence):
        mold.read(change(packet))  # type: ignore[operator]


@pytest.mark.slow
@needs_tshark
def test_wireshark_reads_session_number_and_messages(tmp_path: Path) -> None:
    sent = [*mold.packets("DAY1", 41, framed([b"abc", b"defg"])), mold.heartbeat("DAY1", 43)]
    sent.append(mold.end_of_session("DAY1", 43))
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)]
    for number, packet in enumerate(sent):
        size = 28 + len(packet)
        ip = struct.pack(">BBHHHBBHII", 0x45, 0, size, number, 0, 64, 17, 0, 0x7F000001, 0xEF010101)
        udp = struct.pack(">HHHH", PORT, PORT, size - 20, 0)
        out.append(struct.pack("<IIII", number, 0, size, size) + ip + udp + packet)
    path = tmp_path / "mold.pcap"
    path.write_bytes(b"".join(out))
    names = ["session", "sequence", "count", "msglen"]
    command = ["tshark", "-r", str(path), "-d", f"udp.port=={PORT},moldudp64", "-T", "fields"]
    command += [part for name in names for part in ("-e", f"moldudp64.{name}")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0].strip() for line in lines] == ["DAY1"] * 3
    assert [line[1].split(",")[0] for line in lines] == ["41", "43", "43"]
    assert [line[2] for line in lines] == ["2", "0", "65535"]
    assert lines[0][3] == "3,4"
