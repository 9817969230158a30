"""The kernel of the load generator's turns: receive what came, judge it, make the requests that are due, and send them.

It is compiled, since what a client in Python takes for a turn would be measured as the node's time. It calls the C
library as the node's own turn does (``sequencer.system_calls``), and gives to Python what is rare: a connection that
did not take all, has room again, or has ended.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined
from load.answers import take_answers
from load.orders import make_requests
from load.state import HELD_BYTES, Load, Rows
from sequencer import system_calls as system

#: Places of ``Lines.words``.
(
    POLL,  # descriptor of the poll
    POLLED_ADDRESS,  # addresses of arrays, for libc
    ARRIVED_ADDRESS,
    OUT_ADDRESS,
    TIME_ADDRESS,
    PAUSE_ADDRESS,
    WAIT_ADDRESS,
    CAME,  # bytes that came in this call
    ENDED,  # a connection that ended, and 1 more; 0: none
    RESTS,  # connections that did not take all of their requests
    WRITABLE,  # connections that have room again
) = range(11)
_WORDS: Final = 11

#: Row of ``ppoll``: a descriptor and what is waited for.
_WAIT: Final = np.dtype([("fd", "<i4"), ("events", "<i2"), ("came", "<i2")])
_IN: Final = 0x001
_OUT: Final = 0x004
#: An open loop sleeps until its next request, unless that is nearer than it could wake up; and for so long at most.
_NEAR_NS: Final = 30_000
_LEISURE_NS: Final = 1_000_000
_FAR_NS: Final = np.iinfo(np.int64).max

_recv: Final = system.recv
_send: Final = system.send
_epoll_wait: Final = system.epoll_wait
_clock_gettime: Final = system.clock_gettime
_ppoll: Final = system.ppoll
_MONOTONIC, _DONTWAIT = system.MONOTONIC, system.DONTWAIT
_DONTWAIT_NOSIGNAL, _BROKEN_LINE = system.DONTWAIT_NOSIGNAL, system.BROKEN_LINE


class Lines(NamedTuple):
    """Connections of a load, and room for what a turn finds. Rows are of connections, but for ``place_of``."""

    words: Rows  # int64[11]
    polled: Rows  # EPOLL_EVENT
    fds: Rows  # int64: descriptors
    place_of: Rows  # int64: connection of a descriptor
    every: Rows  # int64: all connections
    which: Rows  # int64: connections on which something came, and how many bytes
    arrived_bytes: Rows
    senders: Rows  # int64: connections with requests to send, and how many bytes
    lengths: Rows
    sent_bytes: Rows  # int64: bytes that a connection of ``rests`` took, and those that it was to take
    whole_bytes: Rows
    rests: Rows  # int64: connections that did not take all
    writable: Rows  # int64: connections that have room again
    time: Rows  # int64[2]: seconds and nanoseconds, of libc
    pause: Rows  # int64[2]
    wait: Rows  # _WAIT[1]


def new_lines(load: Load, fds: list[int], poll_fd: int) -> Lines:
    """Rows for the connections of a load, whose descriptors are in the poll."""
    count = len(fds)
    place_of = np.zeros(max(fds) + 1, np.int64)
    place_of[fds] = np.arange(count)
    numbers: list[Any] = [np.zeros(count, np.int64) for _ in range(8)]
    lines = Lines(
        words=np.zeros(_WORDS, np.int64),
        polled=np.zeros(count, system.EPOLL_EVENT),
        fds=np.array(fds, np.int64),
        place_of=place_of,
        every=np.arange(count),
        which=numbers[0],
        arrived_bytes=numbers[1],
        senders=numbers[2],
        lengths=numbers[3],
        sent_bytes=numbers[4],
        whole_bytes=numbers[5],
        rests=numbers[6],
        writable=numbers[7],
        time=np.zeros(2, np.int64),
        pause=np.zeros(2, np.int64),
        wait=np.zeros(1, _WAIT),
    )
    lines.words[POLL] = lines.wait["fd"][0] = poll_fd
    lines.wait["events"] = _IN
    for place, array in (
        (POLLED_ADDRESS, lines.polled),
        (ARRIVED_ADDRESS, load.arrived),
        (OUT_ADDRESS, load.out),
        (TIME_ADDRESS, lines.time),
        (PAUSE_ADDRESS, lines.pause),
        (WAIT_ADDRESS, lines.wait),
    ):
        lines.words[place] = array.ctypes.data
    return lines


@inlined
def _now_ns(lines):
    _clock_gettime(np.int64(_MONOTONIC), lines.words[TIME_ADDRESS])
    return lines.time[0] * 1_000_000_000 + lines.time[1]


@inlined
def _receive(load, lines, wait_ms):
    """Receive what has come; gives the number of connections on which it came."""
    words = lines.words
    ready = _epoll_wait(words[POLL], words[POLLED_ADDRESS], np.int64(len(lines.polled)), np.int64(wait_ms))
    count = np.int64(0)
    for number in range(ready):
        polled = lines.polled[number]
        fd, events = np.int64(polled["fd"]), np.int64(polled["events"])
        n = lines.place_of[fd]
        if events & _OUT:
            lines.writable[words[WRITABLE]] = n
            words[WRITABLE] += 1
        if events & ~_OUT:
            size = np.int64(load.arrived.shape[1])
            at = words[ARRIVED_ADDRESS] + n * size + HELD_BYTES
            got = _recv(fd, at, size - HELD_BYTES, np.int64(_DONTWAIT))
            if got > 0:
                lines.which[count], lines.arrived_bytes[count] = n, got
                words[CAME] += got
                count += 1
            elif got == 0 or events & _BROKEN_LINE:
                words[ENDED] = n + 1
    return count


@inlined
def _send_requests(load, lines, found):
    words = lines.words
    for index in range(found):
        n, length = lines.senders[index], lines.lengths[index]
        at = words[OUT_ADDRESS] + n * np.int64(load.out.shape[1])
        sent = max(_send(lines.fds[n], at, length, np.int64(_DONTWAIT_NOSIGNAL)), np.int64(0))
        if sent < length:
            at = words[RESTS]
            lines.rests[at], lines.sent_bytes[at], lines.whole_bytes[at] = n, sent, length
            words[RESTS] = at + 1


@inlined
def _sleep_until_due(load, lines, now_ns):
    """Sleep until the next request is due, or until something comes."""
    due_ns = np.int64(_FAR_NS)
    for connection in load.connections:
        if connection["requests"] < connection["requests_max"]:
            due_ns = min(due_ns, connection["due_ns"])
    left_ns = min(due_ns - now_ns, _LEISURE_NS)
    if left_ns > _NEAR_NS:
        lines.pause[1] = left_ns
        _ppoll(lines.words[WAIT_ADDRESS], np.int64(1), lines.words[PAUSE_ADDRESS], np.int64(0))


@called
def take_turns(load: Load, lines: Lines, until_ns, awaited, wait_ms, is_open):
    """Take turns until so many requests are answered, until a time (monotonic; 0: one turn), or until Python must see
    to a connection (ENDED, RESTS, WRITABLE).

    wait_ms: sleep of a closed loop while nothing comes. is_open: send what is due on all connections, not only where
    something came. Gives the number of answered requests.
    """
    words = lines.words
    words[CAME] = words[ENDED] = words[RESTS] = words[WRITABLE] = 0
    while True:
        if is_open and until_ns > 0:
            _sleep_until_due(load, lines, _now_ns(lines))
        count = _receive(load, lines, wait_ms)
        now_ns = _now_ns(lines)
        take_answers(load, lines.which, lines.arrived_bytes, count, now_ns)
        if is_open:
            found = make_requests(load, lines.every, len(lines.every), now_ns, lines.senders, lines.lengths)
        else:
            found = make_requests(load, lines.which, count, now_ns, lines.senders, lines.lengths)
        _send_requests(load, lines, found)
        answered = np.int64(0)
        for connection in load.connections:
            answered += connection["answered"]
        if now_ns >= until_ns or answered >= awaited or words[ENDED] + words[RESTS] + words[WRITABLE] > 0:
            return answered
