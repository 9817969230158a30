"""Python and kernels cut a stream of bytes into the same packets, and refuse the same lengths."""

import random

import numpy as np
import pytest

from engine.jit import inlined
from wire import ProtocolError, octets
from wire.soup import PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_TOP, PacketCutter, PacketType, packet, packet_bytes, packets

packet_bytes_of_kernel = inlined(octets.packet_bytes)


def cut(data: bytes, at: int, payload_bytes_max: int) -> int:
    """Bytes of a packet by the function for Python; -1 for an impossible length."""
    try:
        return packet_bytes(data, at, payload_bytes_max)
    except ProtocolError:
        return -1


@pytest.mark.parametrize("payload_bytes_max", [PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_TOP])
def test_kernels_cut_as_python_does_at_every_place_of_any_bytes(payload_bytes_max: int) -> None:
    chance = random.Random(5)
    seen = set()
    for _ in range(300):
        data = bytes(chance.choice((0, 0, 1, 4, 5, chance.randrange(256))) for _ in range(chance.randrange(12)))
        buffer = np.frombuffer(bytearray(data + b"\xff\xff\xff"), np.uint8)
        for at in range(len(data) + 1):
            expected = cut(data, at, payload_bytes_max)
            assert packet_bytes_of_kernel(buffer, at, len(data), payload_bytes_max) == expected
            seen.add(min(expected, 1))
    assert seen == {-1, 0, 1}


def test_packets_are_those_that_the_cutter_finds_and_the_rest_is_left() -> None:
    sent = [(PacketType.SEQUENCED, b"abc"), (PacketType.SERVER_HEARTBEAT, b""), (PacketType.DEBUG, bytes(300))]
    data = b"".join(packet(kind, payload) for kind, payload in sent) + b"\x00\x09S"
    cutter = PacketCutter()
    cutter.feed(data)
    assert [cutter.next() for _ in sent] == list(packets(data)) == sent
    assert cutter.release() == b"\x00\x09S"
