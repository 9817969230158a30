"""Cost of FIX in processor time of one thread: an order in, an answer out, a session beside it, a resend.

The order has 17 fields and 131 bytes. In: cut from a stream, checksum, fields, validation against our tables.
"""

import time
from collections.abc import Callable
from typing import Final

from benchmarks.measure import RUNS, Row, row, show
from wire.fix_codec import Cutter, FrameWriter, Message, Times, body
from wire.fix_events import LogonAsked, Terms
from wire.fix_session import Session
from wire.fix_store import MemoryStore
from wire.fix_table import own
from wire.fix_validation import Validator

_MESSAGES: Final = 20_000
_NOW_NS: Final = 1_790_000_000_123_000_000
_TIME: Final = b"20260921-14:13:20"
_ORDER: Final = body([(11, "A1"), (55, "ACME"), (54, 1), (38, 100), (40, 2), (44, "10.05"), (60, _TIME)])
_REPORT: Final = (
    b"6=%b\x0111=%b\x0114=%d\x0117=%d-%d\x0131=%b\x0132=%d\x0137=%d\x0138=%d\x0139=2\x0140=2\x0144=%b\x0154=1\x01"
    b"55=%b\x0160=%b\x01150=F\x01151=%d\x01"
)


def run() -> list[Row]:
    """All measurements of FIX."""
    clients = FrameWriter("FIX.4.4", "FIRM", "LOCK", Times())
    stream = b"".join(clients.frame(b"D", seq, _NOW_NS, _ORDER) for seq in range(2, _MESSAGES + 2))
    validator = Validator(own("FIX.4.4"))
    return [
        row("an order: cut, checksum, fields, validation", _each(lambda: _read(stream, validator)), "us", at_most=7),
        row("an ExecutionReport of 16 fields as a frame", _each(_write), "us", at_most=1.5),
        row("an order through a session, and an answer", _each(lambda: _serve(stream, clients, validator)), "us"),
        row("a resend, a message", _each(lambda: _resend(clients, validator)), "us", at_most=50),
    ]


def _each(measured: Callable[[], int]) -> list[float]:
    """Processor time of a message, in us, of each run."""
    return [measured() / _MESSAGES / 1_000 for _ in range(RUNS)]


def _read(stream: bytes, validator: Validator) -> int:
    cutter = Cutter()
    cutter.feed(stream)
    began_ns = time.thread_time_ns()
    count = 0
    while (cut := cutter.next()) is not None:
        if not cut[1] or validator.fault(Message(cut[0])) is not None:
            raise RuntimeError("an order of the benchmark is not valid")
        count += 1
    took_ns = time.thread_time_ns() - began_ns
    if count != _MESSAGES:
        raise RuntimeError(f"{count} orders were cut of {_MESSAGES}")
    return took_ns


def _report(seq: int) -> bytes:
    return _REPORT % (b"10.05", b"A1", 100, seq, 1, b"10.05", 100, seq, 100, b"10.05", b"ACME", _TIME, 0)


def _write() -> int:
    writer = FrameWriter("FIX.4.4", "LOCK", "FIRM", Times())
    began_ns = time.thread_time_ns()
    for seq in range(_MESSAGES):
        writer.frame(b"8", seq, _NOW_NS, _report(seq))
    return time.thread_time_ns() - began_ns


def _live(clients: FrameWriter, validator: Validator) -> Session:
    session = Session(Terms("FIX.4.4", "LOCK", "FIRM"), validator, MemoryStore())
    session.connected(_NOW_NS)
    events = session.receive(clients.frame(b"A", 1, _NOW_NS, body([(98, 0), (108, 30)])), _NOW_NS)
    if not isinstance(events[0], LogonAsked):
        raise RuntimeError("the logon of the benchmark is refused")
    session.accept(_NOW_NS)
    session.take()
    return session


def _serve(stream: bytes, clients: FrameWriter, validator: Validator) -> int:
    session = _live(clients, validator)
    began_ns = time.thread_time_ns()
    for at in range(0, len(stream), 65_536):
        for event in session.receive(stream[at : at + 65_536], _NOW_NS):
            session.send(b"8", _report(event.seq), _NOW_NS)  # type: ignore[union-attr]
        session.take()
    took_ns = time.thread_time_ns() - began_ns
    if session.store.out_seq != _MESSAGES + 2:
        raise RuntimeError(f"{session.store.out_seq - 2} answers were given to {_MESSAGES} orders")
    return took_ns


def _resend(clients: FrameWriter, validator: Validator) -> int:
    session = _live(clients, validator)
    for seq in range(_MESSAGES):
        session.send(b"8", _report(seq), _NOW_NS)
    session.take()
    began_ns = time.thread_time_ns()
    session.receive(clients.frame(b"2", 2, _NOW_NS, body([(7, 1), (16, 0)])), _NOW_NS)
    while session.resending:
        session.resend_more(_NOW_NS)
        session.take()
    return time.thread_time_ns() - began_ns


if __name__ == "__main__":
    show(run())
