"""Rows ahead of their block: the compiled ends of the link send and read the frames of the Python ones, no others."""

import random
import select
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from engine.jit import Packed, called
from engine.records import COMMAND
from replication import link
from replication.link import Frame, FrameReader, Kind, Position, Rows
from sequencer import rows_ahead as a

HEADS = link.head(Kind.ROWS, 0, 0)[:8], link.head(Kind.ACK, 0, 0)[:8]
EPOCH = 7


@called
def send(ahead_pointers, address, first_seq, rows, time_ns):  # type: ignore[no-untyped-def]
    """``send_rows`` for Python."""
    return 1 if a.send_rows(a.unpack_ahead(ahead_pointers), address, first_seq, rows, time_ns) else 0


@called
def receive(ahead_pointers):  # type: ignore[no-untyped-def]
    """``receive_acks`` for Python."""
    a.receive_acks(a.unpack_ahead(ahead_pointers))
    return 0


class End:
    """A compiled end of a link, with a socket of the other one."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.packed = Packed(a.new_ahead(*HEADS, read_bytes=65_536))
        self.poll = select.epoll()
        self.poll.register(self.near.fileno(), select.EPOLLIN)
        self.words = words = self.packed.arrays.words
        words[a.FD], words[a.EPOCH], words[a.EPOLL] = self.near.fileno(), EPOCH, self.poll.fileno()
        words[a.NEXT_SEQ], words[a.JOURNALED], words[a.LIVE], words[a.STAY_NS] = 11, 5, 1, 1

    def follow(self) -> int:
        """Read what is there."""
        return int(a.follow_rows(self.packed.pointers, 0))

    def heard(self) -> list[Frame]:
        """Frames that this end has sent."""
        try:
            return list(FrameReader().feed(self.far.recv(1 << 20)))
        except BlockingIOError:
            return []

    @property
    def data(self) -> bytes:
        """Bytes that came, for Python."""
        return self.packed.arrays.read[: self.words[a.READ_END]].tobytes()

    def close(self) -> None:
        """Close everything."""
        self.poll.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def end() -> Iterator[End]:
    made = End()
    yield made
    made.close()


def rows_of(first_seq: int, count: int, seed: int = 1) -> Rows:
    return Rows(first_seq, count, 99, random.Random(seed).randbytes(count * COMMAND.itemsize))


def frame_of(rows: Rows, epoch: int = EPOCH) -> bytes:
    return link.encode(Kind.ROWS, epoch, link.pack_rows(rows))


@pytest.mark.parametrize("count", [1, 2, a.ROWS_MAX])
def test_rows_are_sent_as_the_link_encodes_them(end: End, count: int) -> None:
    rows = rows_of(41, count)
    data = np.frombuffer(rows.data, COMMAND)
    assert send(end.packed.pointers, data.ctypes.data, 41, count, 99) == 1
    assert end.far.recv(1 << 20) == frame_of(rows)
    assert end.words[a.SENT] == rows.last_seq
    assert end.words[a.OWED] == 0


def test_a_frame_that_the_connection_takes_in_part_is_completed_from_what_is_owed(end: End) -> None:
    end.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    rows, frames, partly = rows_of(1, a.ROWS_MAX), 0, b""
    data = np.frombuffer(rows.data, COMMAND)
    while send(end.packed.pointers, data.ctypes.data, 1, a.ROWS_MAX, 99):
        frames += 1
        if end.words[a.OWED]:
            out = end.packed.arrays.out.tobytes()
            partly = out[end.words[a.OUT_END] - end.words[a.OWED] : end.words[a.OUT_END]]
            break
    got = b""
    while len(got) < frames * len(frame_of(rows)) - len(partly):
        got += end.far.recv(1 << 20)
    assert got + partly == frames * frame_of(rows)


def test_rows_are_acknowledged_once_their_frame_is_whole(end: End) -> None:
    data = frame_of(rows_of(11, 2))
    for byte in range(len(data) - 1):
        end.far.send(data[byte : byte + 1])
        assert end.follow() == a.SPENT
    assert end.heard() == []
    end.far.send(data[-1:])
    end.follow()
    assert [link.unpack_ack(frame.payload) for frame in end.heard()] == [(12, 5, [])]
    assert end.data == data


def test_many_frames_get_one_acknowledgement(end: End) -> None:
    data = frame_of(rows_of(11, 2)) + frame_of(rows_of(13, 1)) + frame_of(rows_of(14, 250))
    end.far.send(data)
    end.follow()
    assert [link.unpack_ack(frame.payload) for frame in end.heard()] == [(263, 5, [])]
    assert end.data == data


def test_a_frame_of_another_kind_is_left_to_python_with_all_that_follows(end: End) -> None:
    data = frame_of(rows_of(11, 2)) + link.encode(Kind.SYNC, EPOCH, b"1") + frame_of(rows_of(13, 1))
    end.far.send(data)
    assert end.follow() == a.LINK
    assert [link.unpack_ack(frame.payload) for frame in end.heard()] == [(12, 5, [])]
    assert end.data == data


def _changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        frame_of(rows_of(12, 2)),  # a gap
        frame_of(rows_of(10, 2)),  # rows that it has
        frame_of(rows_of(11, 2), EPOCH - 1),
        frame_of(rows_of(11, 2), EPOCH + 1),
        *(_changed(frame_of(rows_of(11, 2)), at) for at in range(len(frame_of(rows_of(11, 2))))),
    ],
)
def test_rows_that_do_not_come_next_or_are_damaged_are_not_acknowledged(end: End, data: bytes) -> None:
    end.far.send(data)
    end.follow()
    assert end.heard() == []
    assert end.words[a.NEXT_SEQ] == 11
    assert end.data == data


def test_an_acknowledgement_counts_up_to_what_was_sent(end: End) -> None:
    end.words[a.SENT], end.words[a.ACKED] = 20, 10
    acks = [link.pack_ack(12, 3, ()), link.pack_ack(15, 3, [Position(12, b"d" * 16)])]
    end.far.send(b"".join(link.encode(Kind.ACK, EPOCH, ack) for ack in acks))
    receive(end.packed.pointers)
    assert (end.words[a.ACKED], end.words[a.STOPPED]) == (15, 0)
    end.far.send(link.encode(Kind.ACK, EPOCH, link.pack_ack(21, 3, ())))
    receive(end.packed.pointers)
    assert (end.words[a.ACKED], end.words[a.STOPPED]) == (15, 1)


@pytest.mark.parametrize(
    "data",
    [
        link.encode(Kind.ACK, EPOCH - 1, link.pack_ack(15, 3, ())),
        link.encode(Kind.ACK, EPOCH + 1, link.pack_ack(15, 3, ())),
        link.encode(Kind.ACK, EPOCH, link.pack_ack(9, 3, ())),  # it had more
        link.encode(Kind.ACK, EPOCH, b"12345678"),
        link.encode(Kind.READY, EPOCH, link.pack_positions([Position(15, b"d" * 16)])),
        *(_changed(link.encode(Kind.ACK, EPOCH, link.pack_ack(15, 3, ())), at) for at in range(40)),
    ],
)
def test_what_is_no_acknowledgement_counts_for_none(end: End, data: bytes) -> None:
    end.words[a.SENT], end.words[a.ACKED] = 20, 10
    end.far.send(data)
    receive(end.packed.pointers)
    assert end.words[a.ACKED] == 10
    assert end.data == data


def test_nothing_counts_on_a_link_that_was_in_the_middle_of_a_frame(end: End) -> None:
    end.words[a.SENT], end.words[a.ACKED], end.words[a.LIVE] = 20, 10, 0
    end.far.send(link.encode(Kind.ACK, EPOCH, link.pack_ack(15, 3, ())))
    receive(end.packed.pointers)
    assert (end.words[a.ACKED], end.words[a.STOPPED]) == (10, 1)


def test_an_end_of_the_link_is_left_to_python(end: End) -> None:
    end.far.close()
    assert end.follow() == a.LINK
    end.words[a.STOPPED] = 0
    receive(end.packed.pointers)
    assert end.words[a.STOPPED] == 1


def test_the_kernel_waits_no_longer_than_it_may(end: End) -> None:
    end.words[a.SLEEP_MS] = 1
    assert a.follow_rows(end.packed.pointers, time.monotonic_ns() + 10**12) == a.IDLE
