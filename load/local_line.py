"""One order at a time by a line in shared memory, compiled: what a program beside the node waits for an answer.

Both sides spin: the client looks at its line over and over, and so does the node for a while after an order.
"""

import gc
import os
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from client import Order, OrderEntry, Phase
from engine.jit import called
from load.answers import take_answers
from load.latency import Latencies
from load.lines import LoadError, User
from load.orders import make_requests
from load.state import HELD_BYTES, Load, faults, new_load
from sequencer import system_calls as system
from tape.form import memory_folder
from tape.line_kernels import BROKEN, IN_PUT, LINES_WORDS, OUT_PUT, RING_BYTES, is_asleep, put, take
from tape.lines import ClientLine, lines_path

#: Longest round trip, and looks between two looks at the clock.
_PATIENCE_NS: Final = 10_000_000_000
_LOOKS: Final = 1_024
_LOGIN_S: Final = 60.0
_ROOM_BYTES: Final = 65_536
#: Orders for each that is timed, and more: one that finds the node asleep is not.
_ATTEMPTS: Final = 10
_ATTEMPTS_MORE: Final = 1_000

_clock_gettime: Final = system.clock_gettime
_MONOTONIC: Final = system.MONOTONIC


@called
def ask_and_wait(load: Load, words, ring, line, first_word, counts, time_row, time_address, room):
    """Send the next request of the only connection, and look for its answer; gives the nanoseconds that it took.

    words, ring, counts, first_word: as of a ``ClientLine``. ``room``: int64[4], for the kernel. Gives -1 if the ring is
    broken or no answer comes, -2 if the market is asleep and the request is sent: wake it, and time nothing.
    """
    connection = load.connections[0]
    room[0] = 0
    _clock_gettime(np.int64(_MONOTONIC), time_address)
    now_ns = time_row[0] * 1_000_000_000 + time_row[1]
    wanted = connection["answered"] + 1
    if make_requests(load, room[0:1], 1, now_ns, room[1:2], room[2:3]) == 0:
        return np.int64(-1)
    length = room[2]
    _clock_gettime(np.int64(_MONOTONIC), time_address)
    began_ns = time_row[0] * 1_000_000_000 + time_row[1]
    begin = 2 * line * RING_BYTES
    if put(words, ring, begin, first_word + IN_PUT, counts, 0, load.out[0], 0, length) != length:
        return np.int64(-1)
    asleep = is_asleep(words)
    looks = np.int64(0)
    while not asleep and connection["answered"] < wanted and now_ns - began_ns < _PATIENCE_NS:
        looks += 1
        if looks % _LOOKS == 0:
            _clock_gettime(np.int64(_MONOTONIC), time_address)
            now_ns = time_row[0] * 1_000_000_000 + time_row[1]
        arrived = load.arrived[0]
        got = take(words, ring, begin + RING_BYTES, first_word + OUT_PUT, counts, 1, arrived, HELD_BYTES, _ROOM_BYTES)
        if got == BROKEN:
            return np.int64(-1)
        if got > 0:
            _clock_gettime(np.int64(_MONOTONIC), time_address)
            now_ns = time_row[0] * 1_000_000_000 + time_row[1]
            room[3] = got
            take_answers(load, room[0:1], room[3:4], 1, now_ns)
    if asleep:
        return np.int64(-2)
    return now_ns - began_ns if connection["answered"] >= wanted else np.int64(-1)


class LocalLine:
    """A user's line to the node of a data directory, logged in. Raises LoadError, TapeError, OSError."""

    def __init__(self, directory: Path, journal_id: bytes, user: User, symbols: list[str]) -> None:
        self._entry: OrderEntry[Order] = OrderEntry(user.name, user.password, Order, next_seq=0)
        self.load = new_load(1, symbols=symbols, window=1, ms_of_day=int(time.time() * 1_000) % 86_400_000)
        self._room = np.zeros(4, np.int64)
        self._time = np.zeros(2, np.int64)
        # Compiled before the node waits for anything.
        words, ring, counts = np.zeros(LINES_WORDS, np.int64), np.zeros(1, np.uint8), np.zeros(2, np.int64)
        ask_and_wait(self.load, words, ring, 0, 0, counts, self._time, self._time.ctypes.data, self._room)
        self.line = ClientLine(lines_path(memory_folder(directory)), journal_id)
        self._log_in()

    def _log_in(self) -> None:
        room: Any = np.zeros(_ROOM_BYTES, np.uint8)
        until_s = time.monotonic() + _LOGIN_S
        while not self.line.served():
            _give_up(until_s)
        self._entry.connected(time.monotonic_ns())
        while self._entry.phase is not Phase.LIVE:
            _give_up(until_s)
            if data := self._entry.take():
                self.line.put(data)
            if count := self.line.take(room):
                self._entry.receive(room[:count].tobytes(), time.monotonic_ns())
            if self._entry.over or self._entry.refused is not None:
                raise LoadError(f"the node refused the local client {self._entry.user}")
            os.sched_yield()
        early = self._entry.release()
        self.load.arrived[0, HELD_BYTES : HELD_BYTES + len(early)] = np.frombuffer(early, np.uint8)
        take_answers(self.load, np.zeros(1, np.int64), np.array([len(early)]), 1, 0)

    def round_trips(self, count: int) -> Latencies:
        """Send a request when the one before is answered; each is one latency. Raises LoadError."""
        took_ns: Any = np.zeros(count, np.int64)
        timed = 0
        line = self.line
        attempts_max = _ATTEMPTS * count + _ATTEMPTS_MORE
        self.load.connections["requests_max"] = self.load.connections["requests"] + attempts_max
        gc.collect()
        for _ in range(attempts_max):
            if timed == count:
                break
            took = self._ask()
            if took == -2:
                line.wake_if_asleep()
                self._until_answered()
            elif took < 0:
                raise LoadError("the node left an order of the local client without an answer")
            else:
                took_ns[timed] = took
                timed += 1
        if timed < count:
            raise LoadError(
                f"the node slept before {attempts_max - timed:,} of {attempts_max:,} orders; give it a core"
            )
        if any(faults(self.load).values()):
            raise LoadError(f"wrong answers to the local client: {faults(self.load)}")
        latencies = Latencies()
        latencies.record(took_ns[:timed])
        return latencies

    def _ask(self) -> int:
        line, time_row = self.line, self._time
        return int(
            ask_and_wait(
                self.load,
                line.words,
                line.ring,
                line.line,
                line.word,
                line.counts,
                time_row,
                time_row.ctypes.data,
                self._room,
            )
        )

    def _until_answered(self) -> None:
        """Take the answer of the request that found the market asleep."""
        room: Any = self.load.arrived[0][HELD_BYTES:]
        until_s = time.monotonic() + _LOGIN_S
        row = self.load.connections
        while int(row["answered"][0]) < int(row["requests"][0]):
            _give_up(until_s)
            if count := self.line.take(room):
                take_answers(self.load, np.zeros(1, np.int64), np.array([count]), 1, time.monotonic_ns())

    def close(self) -> None:
        """Give the line back."""
        self.line.close()


def _give_up(until_s: float) -> None:
    if time.monotonic() > until_s:
        raise LoadError(f"the node did not answer the local client within {_LOGIN_S:.0f} s")
