"""A client alone: a kernel receives its plain messages, has them answered, and sends, one after the other, by itself.

Where one client is all that a gateway hears of, each of its messages would pay for a pass of the event loop, and for
Python behind each answer, while the client waits for the processor. So the kernel stays with such a client: it sleeps
in a poll of its socket and of the event loop's own poll, and goes the short way (``short_way``) with what comes. It
keeps the records that it has sent, for Python to take when it ends its stay, and changes nothing that Python could see
meanwhile: one thread does both. It ends it at the first message that is not plain, the first answer that does not come
in a moment or is not of that client alone, as soon as the event loop has work, and after a time.

Where answers wait for a disk, which nothing is released before, the kernel waits for that too. It polls meanwhile, and
yields the processor to whoever wants it. Whatever else comes ends the wait, and can still be in the next commit.

While it looks for an answer the doorbell of the gateway is not armed, so the core wakes nobody.
"""

import os
import select
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import Packed, called, inlined, unpack_pointers
from gateway.fix.reading import ROWS
from gateway.fix.short_way import CLOCK, Ends, ShortWay, answer_plain, examples, put_plain, unpack_way
from gateway.fix.taking import BLOCK_COMMANDS, LAST_KIND, OTHER
from gateway.fix.telling import OUT_BYTES
from sequencer import system_calls as system
from tape.bell import arm_bell
from tape.blocks import unpack_tape
from tape.machine import load_acquire, store_word
from tape.places import BELL_ARMED, Place
from tape.ring import consumer_sleeps, unpack_ring

#: Ends of a stay. Nothing came for as long as it may sleep; the event loop has work; the time or the room for records
#: is over; something was released that nobody here has asked for.
IDLE, CALLED, SPENT, RELEASED = range(4)
#: The bytes of the region are for Python; there are no more, or the socket is broken.
BYTES, ENDED = range(4, 6)
#: A message was put, and the core is to be woken; or it was put, and no answer came in a moment; or its block is taken,
#: and Python tells of it.
PUT, MISSED, TAKEN = range(6, 9)
#: The answer was sent in part; or not all of what was put is answered; or the client has sent more before its answer.
PARTLY, BEHIND, MORE = range(9, 12)
#: Those behind which the rows of the last message have no report yet.
UNTOLD: Final = (PUT, MISSED, TAKEN, BEHIND, MORE)

#: Places of ``Alone.words``. Of the client: descriptor, begin and end of its region, end of its bytes, user,
#: participant, the number that is expected of it, that of the last message to it.
FD, REGION, LIMIT, END, USER, PARTICIPANT, IN_SEQ, OUT_SEQ = range(8)
#: Of the gateway: poll, rows of the poll, buffer, records, those of a block, and index of its doorbell.
EPOLL, POLLED, BUFFER, RECORDS, TOLD, BELL = range(8, 14)
#: Last command that was taken, highest price; longest look, longest wait for a disk, sleep, and end of the stay, by the
#: monotonic clock.
SEQ, HIGHEST_E4, LOOK_NS, DISK_NS, SLEEP_MS, UNTIL_NS = range(14, 20)
#: Of the stay: messages and bytes that came; blocks; bytes and number of the records; bytes sent; bytes
#: of the last answer, and how many of them were sent; outcome of the last block; rows of the last put; when bytes came,
#: and went, by the wall clock; kind of the last command; time awake.
MESSAGES, BYTES_IN, BLOCKS, RECORD_BYTES, RECORD_COUNT, BYTES_OUT = range(20, 26)
WRITTEN, SENT, RESULT, ROWS_PUT, CAME_NS, WENT_NS, KIND, AWAKE_NS = range(26, 34)
_WORDS: Final = 34
#: Longest message or few, in bytes, that the kernel takes at once.
BYTES_MAX: Final = 2_048
#: Bytes of records after which Python takes them; the answer to one put fits behind.
_RECORD_BYTES: Final = 1 << 16
_POLL_MAX: Final = 2
_ROWS: Final = ROWS
_REALTIME, _MONOTONIC = system.REALTIME, system.MONOTONIC
_DONTWAIT: Final = system.DONTWAIT
_SECOND_NS: Final = 1_000_000_000
_JOURNALED, _RELEASED = int(Place.JOURNALED), int(Place.RELEASED)
_OTHER: Final = OTHER
_recv: Final = system.recv
_epoll_wait: Final = system.epoll_wait
_clock_gettime: Final = system.clock_gettime
_memcpy: Final = system.memcpy
_sched_yield: Final = system.sched_yield


class Alone(NamedTuple):
    """Memory of the kernel beside that of the short way. One of a gateway."""

    words: np.ndarray[Any, Any]  # int64[_WORDS]
    polled: np.ndarray[Any, Any]  # EPOLL_EVENT[_POLL_MAX]
    records: np.ndarray[Any, Any]  # uint8[n]: what was sent, as the stream has it
    next_in: np.ndarray[Any, Any]  # int64[users]: number that is expected, as the streams know it


def _memory(next_in: Any) -> Alone:
    return Alone(
        np.zeros(_WORDS, np.int64),
        np.zeros(_POLL_MAX, system.EPOLL_EVENT),
        np.zeros(_RECORD_BYTES + OUT_BYTES, np.uint8),
        next_in,
    )


_unpack = unpack_pointers(_memory(np.zeros(2, np.int64)))


@inlined
def _time_by(way, clock):
    """Time by one of the system's clocks, in ns."""
    _clock_gettime(np.int64(clock), way.words[CLOCK])
    return way.time[0] * _SECOND_NS + way.time[1]


@inlined
def _wait_for_answer(alone, way, tape):
    """Wait a moment until something is released, and longer where that waits for a disk. Gives 1 where the client has
    sent more meanwhile, which comes first."""
    words, began_ns = alone.words, _time_by(way, _MONOTONIC)
    while load_acquire(tape.words, _RELEASED) <= words[SEQ]:
        waited_ns = _time_by(way, _MONOTONIC) - began_ns
        if waited_ns <= words[LOOK_NS]:
            continue
        at_once = load_acquire(tape.words, _JOURNALED) < load_acquire(tape.words, _RELEASED)
        if at_once or waited_ns > words[DISK_NS]:
            return np.int64(0)
        ready = np.int64(_epoll_wait(words[EPOLL], words[POLLED], np.int64(_POLL_MAX), np.int64(0)))
        for number in range(ready):
            if np.int64(alone.polled[number]["fd"]) == words[FD]:
                return np.int64(1)
        if ready != 0:
            return np.int64(0)
        _sched_yield()
    return np.int64(0)


@inlined
def _keep_records(words, messages, size):
    """Keep what the block tells the client, and note that it was told."""
    _memcpy(words[RECORDS] + words[RECORD_BYTES], words[TOLD], size)
    words[RECORD_BYTES] += size
    words[RECORD_COUNT] += messages


@called
def stay_alone(
    alone_at, way_at, ends_at, form_at, kept_at, ring_at, taking_at, tape_at, tables_at, room_at, telling_at, desk_at
):  # fmt: skip
    """Serve the client of ``Alone.words`` until Python has work; gives the reason. All are pointers (``jit.Packed``).

    Where it may not sleep it leaves as soon as nothing is there.
    """
    alone, way, tape, ring = _unpack(alone_at), unpack_way(way_at), unpack_tape(tape_at), unpack_ring(ring_at)
    words, bell = alone.words, alone.words[BELL]
    while True:
        if words[SLEEP_MS] > 0:
            arm_bell(tape.words, bell)
            if load_acquire(tape.words, _RELEASED) > words[SEQ]:
                return np.int64(RELEASED)
        ready = np.int64(_epoll_wait(words[EPOLL], words[POLLED], np.int64(_POLL_MAX), words[SLEEP_MS]))
        came, calls = np.int64(0), np.int64(1 if ready < 0 else 0)  # a signal
        for number in range(ready):
            if np.int64(alone.polled[number]["fd"]) == words[FD]:
                came = np.int64(1)
            else:
                calls = np.int64(1)
        if came == 0:
            return np.int64(CALLED if calls != 0 else IDLE)
        began_ns, now_ns = _time_by(way, _MONOTONIC), _time_by(way, _REALTIME)
        got = _recv(words[FD], words[BUFFER] + words[END], words[LIMIT] - words[END], np.int64(_DONTWAIT))
        if got <= 0:
            return np.int64(ENDED)
        words[END] += got
        words[CAME_NS] = now_ns
        size = words[END] - words[REGION]
        if size > BYTES_MAX:
            return np.int64(BYTES)
        store_word(tape.words, bell + BELL_ARMED, 0)  # this kernel looks by itself now
        count, messages = put_plain(
            way_at,
            ends_at,
            form_at,
            kept_at,
            ring_at,
            words[REGION],
            words[END],
            words[USER],
            words[PARTICIPANT],
            words[IN_SEQ],
            now_ns,
            now_ns,
            np.int64(_ROWS),
            np.int64(0),
        )
        if messages == 0:
            return np.int64(BYTES)
        words[END] = words[REGION]
        words[IN_SEQ] += messages
        words[MESSAGES] += messages
        words[BYTES_IN] += size
        words[ROWS_PUT] = count
        if consumer_sleeps(ring.words):
            return np.int64(PUT)
        if _wait_for_answer(alone, way, tape) != 0:
            return np.int64(MORE)
        result, written, sent, last = answer_plain(
            way_at,
            ends_at,
            taking_at,
            tape_at,
            tables_at,
            room_at,
            telling_at,
            kept_at,
            desk_at,
            words[SEQ],
            words[HIGHEST_E4],
            words[USER],
            words[OUT_SEQ],
            words[FD],
            np.int64(0),
        )
        words[RESULT] = result
        if result == _OTHER:
            return np.int64(MISSED)
        if written == 0:
            return np.int64(TAKEN)
        _keep_records(words, way.groups[0, 1], way.groups[0, 2])
        words[WENT_NS] = _time_by(way, _REALTIME)
        words[SEQ] += way.taken[BLOCK_COMMANDS]
        words[KIND] = way.taken[LAST_KIND]
        words[BLOCKS] += 1
        words[OUT_SEQ] = last
        words[BYTES_OUT] += written
        words[WRITTEN], words[SENT] = written, sent
        if sent < written:
            return np.int64(PARTLY)
        if alone.next_in[words[USER]] != words[IN_SEQ]:
            return np.int64(BEHIND)
        ended_ns = _time_by(way, _MONOTONIC)
        words[AWAKE_NS] += ended_ns - began_ns
        if calls != 0:
            return np.int64(CALLED)
        if words[RECORD_BYTES] > _RECORD_BYTES or ended_ns >= words[UNTIL_NS]:
            return np.int64(SPENT)


class Client(NamedTuple):
    """A client as the kernel knows it. end: of its bytes in the region, whose begin and limit are given."""

    fd: int
    region: int
    limit: int
    end: int
    user: int
    participant: int


class Stay(NamedTuple):
    """Outcome of a stay. why: its end. end: of the client's bytes in its region. written, sent: of the last
    answer, in bytes. records: what was sent of the stream, ``told`` messages."""

    why: int
    end: int
    messages: int
    bytes_in: int
    in_seq: int
    out_seq: int
    came_ns: int
    went_ns: int
    untold: bytes
    rest: bytes
    bytes_out: int
    records: bytes
    told: int
    blocks: int
    seq: int
    kind: int
    taken: int
    awake_ns: int


class Stays:
    """Stays of the kernel of a gateway, with one client at a time. One thread, that of the event loop."""

    def __init__(self, way: ShortWay, streams: Any, buffer: Any, bell: int, loop_fd: int) -> None:
        """bell: index of the gateway's doorbell among the words of the tape. loop_fd: poll of the event loop. Raises
        OSError."""
        self._way = way
        self._packed = Packed(_memory(streams.next_in))
        arrays = self._packed.arrays
        self._poll = select.epoll()
        self._poll.register(loop_fd, select.EPOLLIN)
        self._poll_of_loop = select.epoll.fromfd(os.dup(loop_fd))
        self._fd = -1
        self._words = words = memoryview(arrays.words.data)
        for place, array in (
            (POLLED, arrays.polled),
            (BUFFER, np.frombuffer(buffer, np.uint8)),
            (RECORDS, arrays.records),
            (TOLD, streams.telling.arrays.out),
        ):
            words[place] = array.ctypes.data
        words[EPOLL], words[BELL] = self._poll.fileno(), bell

    def begin(self, fd: int) -> None:
        """Poll the socket of a client, which the event loop does not read any more. Raises OSError."""
        self.end()
        self._poll.register(fd, select.EPOLLIN)
        self._fd = fd
        # The loop takes a socket that it does not read any more out of its poll when it finds something there.
        with suppress(OSError):
            self._poll_of_loop.unregister(fd)

    def end(self) -> None:
        """Poll no client."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # the descriptor may be closed
                self._poll.unregister(fd)

    def stay(
        self, client: Client, ends: Packed[Ends], pointers: tuple[Any, ...], numbers: tuple[int, int], seq: int,
        highest_e4: int, look_ns: int, disk_ns: int, sleep_ms: int, until_ns: int,
    ) -> Stay:  # fmt: skip
        """Stay with a client until ``until_ns`` (monotonic) at most. pointers: of what takes a block
        (``FixStreams.taking_pointers``). numbers: the next one that is expected of it, and that of the last message to
        it. seq: last command that the streams have. look_ns, disk_ns: longest wait for an answer, and for one that
        waits for a disk."""
        words, (way, form, desk, ring) = self._words, self._way.pointers
        for place, value in enumerate(client):
            words[place] = value
        words[IN_SEQ], words[OUT_SEQ] = numbers
        words[SEQ], words[HIGHEST_E4], words[LOOK_NS], words[DISK_NS] = seq, highest_e4, look_ns, disk_ns
        words[SLEEP_MS], words[UNTIL_NS] = sleep_ms, until_ns
        for place in range(MESSAGES, _WORDS):
            words[place] = 0
        *taken, kept = pointers
        why = int(stay_alone(self._packed.pointers, way, ends.pointers, form, kept, ring, *taken, desk))
        found, records = words.tolist(), self._packed.arrays.records
        return Stay(
            why,
            found[END],
            found[MESSAGES],
            found[BYTES_IN],
            found[IN_SEQ],
            found[OUT_SEQ],
            found[CAME_NS],
            found[WENT_NS],
            self._way.rows_of(found[ROWS_PUT]) if why in UNTOLD else b"",
            self._way.written(found[SENT], found[WRITTEN]) if why == PARTLY else b"",
            found[BYTES_OUT],
            records[: found[RECORD_BYTES]].tobytes(),
            found[RECORD_COUNT],
            found[BLOCKS],
            found[SEQ],
            found[KIND],
            found[RESULT],
            found[AWAKE_NS],
        )

    def close(self) -> None:
        """Close the poll."""
        self._poll.close()
        self._poll_of_loop.close()


def compile_alone() -> None:
    """Compile or load the kernel: it polls nothing, and leaves."""
    pointers, _memory_of_all = examples()
    alone = Packed(_memory(np.zeros(2, np.int64)))
    alone.arrays.words[EPOLL] = -1
    stay_alone(alone.pointers, *pointers)
