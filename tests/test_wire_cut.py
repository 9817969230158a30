"""The kernels that cut and frame SoupBinTCP packets say what ``wire.soup`` says, compiled and interpreted alike."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import ProtocolError
from wire.cut import CutError, Packets, cut_packets, cut_streams, frame_messages, room_for
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_TOP, PacketCutter, packet

ROOM = 64
PACKETS = st.builds(packet, st.integers(0, 255), st.binary(max_size=70))
STREAMS = st.lists(st.one_of(PACKETS, PACKETS, PACKETS, st.binary(max_size=6)), max_size=ROOM).map(b"".join)
EVERY = settings(derandomize=True, deadline=None, max_examples=300)


def array(data: bytes) -> Any:
    """The bytes as the kernels take them: owned, contiguous, writeable."""
    return np.frombuffer(bytearray(data) or bytearray(1), np.uint8)[: len(data)]


def rows(packets: Packets, buffer: Any, count: int) -> list[tuple[int, bytes]]:
    """(type, payload) of each packet that was cut."""
    places = zip(packets.kinds[:count], packets.offsets[:count], packets.lengths[:count], strict=True)
    return [(int(kind), bytes(buffer[offset : offset + length])) for kind, offset, length in places]


def told(data: bytes, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> tuple[list[tuple[int, bytes]], int, CutError]:
    """What the plain cutter makes of a stream: packets, bytes consumed, error."""
    cutter = PacketCutter(payload_bytes_max)
    cutter.feed(data)
    cut: list[tuple[int, bytes]] = []
    error = CutError.NONE
    try:
        while one := cutter.next():
            cut.append(one)
    except ProtocolError as broken:
        error = CutError.EMPTY if "length 0" in str(broken) else CutError.TOO_LONG
    return cut, len(data) - cutter.held_bytes, error


@EVERY
@given(STREAMS, st.binary(max_size=9), st.binary(max_size=9), st.sampled_from([46, 60, PAYLOAD_BYTES_MAX]))
def test_the_kernel_cuts_as_the_plain_cutter_does(data: bytes, before: bytes, after: bytes, bound: int) -> None:
    buffer = array(before + data + after)
    packets = room_for(ROOM * 4)
    count, consumed, error = cut_packets(buffer, len(before), len(before) + len(data), bound, packets)
    assert (rows(packets, buffer, count), consumed, error) == told(data, bound)
    assert not packets.streams.any()


@EVERY
@given(st.lists(PACKETS, max_size=12), st.integers(1, 5))
def test_what_there_is_no_room_for_is_cut_by_the_next_call(parts: list[bytes], room: int) -> None:
    buffer = array(b"".join(parts))
    packets = room_for(room)
    cut, start = [], 0
    for _ in range(len(parts) + 1):
        count, consumed, error = cut_packets(buffer, start, len(buffer), PAYLOAD_BYTES_MAX, packets)
        assert error == CutError.NONE
        cut += rows(packets, buffer, count)
        start += consumed
    assert (cut, start) == ([(part[2], part[3:]) for part in parts], len(buffer))


def test_a_packet_whose_bytes_lie_beyond_the_end_is_not_cut() -> None:
    buffer = array(packet(ord("U"), b"first") + packet(ord("U"), b"second"))
    packets = room_for(ROOM)
    for end in range(len(buffer) + 1):
        whole = (end >= 8) + (end >= 17)
        assert cut_packets(buffer, 0, end, PAYLOAD_BYTES_MAX, packets) == (whole, (0, 8, 17)[whole], CutError.NONE)
    for start, end in ((0, 10**12), (-5, 17), (-(2**62), 2**62)):
        assert cut_packets(buffer, start, end, PAYLOAD_BYTES_MAX, packets) == (2, 17, CutError.NONE)
    for start, end in ((17, 5), (40, 50), (5, -3), (2**62, 2**62)):
        assert cut_packets(buffer, start, end, PAYLOAD_BYTES_MAX, packets) == (0, 0, CutError.NONE)
    # A length field that says 20, and only 3 bytes after it: the packet before it is cut, this one waits.
    tricky = array(packet(ord("U"), b"first") + b"\0\x14Uab")
    assert cut_packets(tricky, 0, len(tricky), PAYLOAD_BYTES_MAX, packets) == (1, 8, CutError.NONE)


@pytest.mark.parametrize(
    ("bad", "error"), [(b"\0\0", CutError.EMPTY), (b"\x04\x02", CutError.TOO_LONG), (b"\xff\xff", CutError.TOO_LONG)]
)
def test_a_malformed_length_is_told_as_soon_as_it_is_there(bad: bytes, error: CutError) -> None:
    good = packet(ord("U"), bytes(PAYLOAD_BYTES_MAX))
    packets = room_for(ROOM)
    buffer = array(good + bad + good)
    for end in range(len(good), len(buffer) + 1):
        expected = CutError.NONE if end < len(good) + 2 else error
        assert cut_packets(buffer, 0, end, PAYLOAD_BYTES_MAX, packets) == (1, len(good), expected)


@EVERY
@given(st.lists(STREAMS, min_size=1, max_size=6))
def test_many_streams_are_cut_as_each_alone_and_one_that_is_bad_leaves_the_others(streams: list[bytes]) -> None:
    buffer = array(b"".join(streams))
    ends = np.cumsum([len(stream) for stream in streams])
    starts = ends - [len(stream) for stream in streams]
    consumed, errors = np.zeros(len(streams), np.int64), np.zeros(len(streams), np.int64)
    packets = room_for(ROOM * 30)
    count = cut_streams(buffer, starts, ends, PAYLOAD_BYTES_MAX, packets, consumed, errors)
    cut = rows(packets, buffer, count)
    alone = [told(stream) for stream in streams]
    assert cut == [one for stream, _, _ in alone for one in stream]
    assert packets.streams[:count].tolist() == [n for n, (stream, _, _) in enumerate(alone) for _ in stream]
    assert (consumed.tolist(), errors.tolist()) == ([one[1] for one in alone], [one[2] for one in alone])


def test_streams_that_there_is_no_room_for_have_consumed_nothing() -> None:
    streams = [packet(ord("U"), b"a") * 3, packet(ord("U"), b"b"), packet(ord("U"), b"c")]
    buffer = array(b"".join(streams))
    starts, ends = np.array([0, 12, 16]), np.array([12, 16, 20])
    consumed, errors = np.full(3, -1), np.full(3, -1)
    packets = room_for(3)
    assert cut_streams(buffer, starts, ends, PAYLOAD_BYTES_MAX, packets, consumed, errors) == 3
    assert (consumed.tolist(), errors.tolist()) == ([12, 0, 0], [0, 0, 0])
    starts += consumed
    assert cut_streams(buffer, starts, ends, PAYLOAD_BYTES_MAX, packets, consumed, errors) == 2
    assert (packets.streams[:2].tolist(), consumed.tolist()) == ([1, 2], [0, 4, 4])


@EVERY
@given(st.lists(st.binary(max_size=90), max_size=ROOM), st.integers(0, 255))
def test_messages_are_framed_as_packets_one_after_the_other(messages: list[bytes], kind: int) -> None:
    framed = b"".join(packet(kind, message) for message in messages)
    offsets, lengths = places(messages)
    out = np.zeros(len(framed) + 5, np.uint8)
    count, written, error = frame_messages(array(b"".join(messages)), offsets, lengths, len(messages), kind, out)
    assert (count, written, error) == (len(messages), len(framed), CutError.NONE)
    assert bytes(out) == framed + bytes(5)
    again = room_for(ROOM)
    assert cut_packets(out, 0, written, PAYLOAD_BYTES_MAX, again)[:2] == (len(messages), written)
    assert rows(again, out, count) == [(kind, message) for message in messages]


def places(messages: list[bytes]) -> tuple[Any, Any]:
    lengths = np.array([len(message) for message in messages], np.int64)
    return np.cumsum(lengths) - lengths, lengths


def test_framing_stops_before_the_message_that_does_not_fit_and_writes_nothing_after_it() -> None:
    messages = [b"one", b"three", b""]
    buffer = array(b"".join(messages))
    offsets, lengths = places(messages)
    for room in range(20):
        guarded = np.full(24, 0xAA, np.uint8)
        fit = sum(room >= least for least in (6, 14, 17))
        written = (0, 6, 14, 17)[fit]
        assert frame_messages(buffer, offsets, lengths, 3, ord("S"), guarded[:room]) == (fit, written, CutError.NONE)
        assert (guarded[written:] == 0xAA).all()
    out = np.zeros(64, np.uint8)
    assert frame_messages(buffer, offsets, lengths, 2, ord("S"), out) == (2, 14, CutError.NONE)
    for count, framed in ((0, 0), (-3, 0), (99, 3)):
        assert frame_messages(buffer, offsets, lengths, count, ord("S"), out)[0] == framed


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, -1), (-1, 3), (6, 3), (0, 9), (2**62, 3), (3, 2**62), (2**63 - 1, 2**63 - 1), (-(2**63), 8), (9, 0)],
)
def test_a_message_that_is_not_where_it_is_said_to_be_is_not_framed(offset: int, length: int) -> None:
    buffer = array(b"8 bytes.")
    offsets, lengths = np.array([0, offset, 0]), np.array([8, length, 8])
    out = np.zeros(64, np.uint8)
    assert frame_messages(buffer, offsets, lengths, 3, ord("S"), out) == (1, 11, CutError.TOO_LONG)
    assert bytes(out) == packet(ord("S"), b"8 bytes.").ljust(64, b"\0")


def test_the_longest_packet_is_framed_and_one_byte_more_is_too_long() -> None:
    buffer = array(bytes(PAYLOAD_BYTES_TOP + 1))
    out = np.zeros(PAYLOAD_BYTES_TOP + 1 + HEAD_BYTES, np.uint8)
    for length, expected in ((PAYLOAD_BYTES_TOP, (1, PAYLOAD_BYTES_TOP + HEAD_BYTES, CutError.NONE)),
                             (PAYLOAD_BYTES_TOP + 1, (0, 0, CutError.TOO_LONG))):  # fmt: skip
        assert frame_messages(buffer, np.array([0]), np.array([length]), 1, ord("S"), out) == expected


def digest() -> str:
    """A digest of what all three kernels make of streams that are good, cut short, and broken."""
    hasher = hashlib.sha256()
    chance = random.Random(17)
    packets = room_for(40)
    for _ in range(120):
        parts = [packet(chance.randrange(256), chance.randbytes(chance.randrange(50))) for _ in range(30)]
        if chance.random() < 0.3:
            parts.insert(chance.randrange(30), chance.choice([b"\0\0", b"\xff\xff\xff", b"\x01"]))
        buffer = array(b"".join(parts))
        end = len(buffer) - chance.randrange(20)
        count, consumed, error = (int(number) for number in cut_packets(buffer, 0, end, 45, packets))
        out = np.zeros(chance.randrange(2_000), np.uint8)
        framed = frame_messages(buffer, packets.offsets, packets.lengths, count, 83, out)
        hasher.update(repr((count, consumed, error, [int(number) for number in framed])).encode() + out.tobytes())
        starts = np.array([0, end // 3, end // 2])
        ends = np.array([end // 3, end // 2, end])
        some, errors = np.zeros(3, np.int64), np.zeros(3, np.int64)
        cut_streams(buffer, starts, ends, 45, packets, some, errors)
        for numbers in (*packets, some, errors):
            hasher.update(numbers.tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_compiled_interpreted_and_with_bounds_checks_the_kernels_say_the_same(mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tests.test_wire_cut import digest; print(digest())"],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {mode: "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == digest()
