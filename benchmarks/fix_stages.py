"""Stages of an order by FIX in its gateway, in processor time of one thread: no socket, no journal, no core.

    read      bytes of a client to COMMAND rows                          (``FixSession.read``)
    streams   rows and their events to records of the user's stream      (``FixStreams``, the fold of reports included)
    write     records to the bytes of ExecutionReports                   (``FixSession.outgoing``)

Orders and their cancels in turn, of sessions in blocks as a busy gateway has them. `python -m benchmarks.fix_stages`.
"""

import time
from typing import Final

import numpy as np

from benchmarks.measure import RUNS, Row, row, show
from engine import Capacity, Engine
from engine.records import COMMAND
from gateway.fix.session import COMP_ID, FixSession
from gateway.fix.streams import FixStreams
from gateway.streams import Segment
from notation.parse import parse
from notation.translate import Translator
from wire.fix_codec import FrameWriter, Times, body

_SESSIONS: Final = 50
#: Messages of a session in a run, and of a block.
_EACH: Final = 400
_BLOCK: Final = 20
_CAPACITY: Final = Capacity(orders_max=65_536, ids_max=1_048_576, instruments_max=4, participants_max=64)


class _Venue:
    """An engine, streams, and sessions that are logged on."""

    def __init__(self) -> None:
        self.engine, self.seq = Engine(_CAPACITY), 1
        self.waiting: list[Segment] = []
        self.streams = FixStreams(_CAPACITY, self.waiting.append, lambda _: None, lambda _user, _why: None)
        lines = ["at 2026-01-05T09:30:00", "instrument S0 tick=0.01 lot=1 reference=100.00"]
        for number in range(1, _SESSIONS + 1):
            lines += [f"participant P{number}", f"user U{number} participant=P{number}"]
        translator = Translator(
            parse("\n".join([*lines, "phase * continuous", ""]), "benchmark"), self.engine.directory
        )
        while (found := translator.next_batch(self.engine.directory)) is not None:
            self.take(found.rows)
        self.sessions = [self._logged_on(number) for number in range(1, _SESSIONS + 1)]
        self.numbers = [2] * _SESSIONS
        self.ids = 0

    def take(self, rows: "np.ndarray[object, np.dtype[np.void]]") -> int:
        """Take rows as a block; gives the time of the streams in ns."""
        events = self.engine.apply(rows)
        began_ns = time.thread_time_ns()
        self.streams(self.seq, rows, events)
        self.seq += len(rows)
        return time.thread_time_ns() - began_ns

    def _logged_on(self, user: int) -> tuple[FixSession, FrameWriter]:
        writer = FrameWriter("FIX.4.4", f"U{user}", COMP_ID, Times())
        session = FixSession(0)
        session.ask(writer.frame(b"A", 1, time.time_ns(), body([(98, "0"), (108, 30), (554, "x")])), 0)
        session.accept_login("", 1, 0, 0)
        _, rows, _ = session.read(memoryview(b""), 256, self.streams, user, user)
        self.take(np.frombuffer(b"".join(rows), COMMAND).copy())
        (segment,) = self.waiting
        self.waiting.clear()
        session.outgoing(segment.data)
        return session, writer

    def messages(self, place: int) -> bytes:
        """Messages of a session for a block."""
        _, writer = self.sessions[place]
        made, now = [], Times().text(time.time_ns())
        for number in range(_BLOCK):
            seq = self.numbers[place]
            self.numbers[place] += 1
            if number % 2 == 0:
                self.ids += 1
                price = b"%d.%02d" % (90 + self.ids % 9, self.ids % 100)
                fields = b"11=A%d\x0138=100\x0140=2\x0144=%b\x0154=1\x0155=S0\x0159=0\x0160=%b\x01"
                made.append(writer.frame(b"D", seq, time.time_ns(), fields % (self.ids, price, now)))
            else:
                fields = b"11=C%d\x0141=A%d\x0154=1\x0155=S0\x0160=%b\x01"
                made.append(writer.frame(b"F", seq, time.time_ns(), fields % (self.ids, self.ids, now)))
        return b"".join(made)


def run() -> list[Row]:
    """The stages."""
    venue = _Venue()
    samples: dict[str, list[float]] = {"read": [], "streams": [], "write": []}
    for _ in range(RUNS):
        spent = _run(venue)
        for name, values in samples.items():
            values.append(spent[name] / (_SESSIONS * _EACH) / 1_000)
    samples["all three"] = [sum(each) for each in zip(*samples.values(), strict=True)]
    return [row(f"FIX gateway, {name}", values, "us/message") for name, values in samples.items()]


def _run(venue: _Venue) -> dict[str, int]:
    spent = {"read": 0, "streams": 0, "write": 0}
    answers = 0
    for _ in range(_EACH // _BLOCK):
        arrived = [memoryview(venue.messages(place)) for place in range(_SESSIONS)]
        began_ns = time.thread_time_ns()
        made = []
        for place, (session, _) in enumerate(venue.sessions):
            taken, rows, _ = session.read(arrived[place], 256, venue.streams, place + 1, place + 1)
            made += rows
            if taken != len(arrived[place]):
                raise RuntimeError("a session of the benchmark has not taken its messages")
        block = np.frombuffer(b"".join(made), COMMAND).copy()
        spent["read"] += time.thread_time_ns() - began_ns
        spent["streams"] += venue.take(block)
        segments = venue.waiting[:]
        venue.waiting.clear()
        began_ns = time.thread_time_ns()
        for segment in segments:
            answers += venue.sessions[segment.user - 1][0].outgoing(segment.data)[1].count(b"\x0135=8\x01")
        spent["write"] += time.thread_time_ns() - began_ns
    if answers != _SESSIONS * _EACH:
        raise RuntimeError(f"{answers} ExecutionReports answer {_SESSIONS * _EACH} messages")
    return spent


if __name__ == "__main__":
    show(run())
