"""Cost of market data by FIX in processor time of one thread: a command of W1 in one symbol, told to subscribers.

The projection alone, and with subscribers of the whole book or of five levels: the entries of a change are encoded once
for each view, the message once for each subscriber.
"""

import time
from functools import cache
from typing import Final

from benchmarks.books import Rows
from benchmarks.measure import RUNS, Row, row, show
from benchmarks.workload import W1, workload
from engine import Capacity, Engine
from marketdata.fix.market import FixMarket
from marketdata.fix.session import COMP_ID, DataSession, Subscribers
from wire.fix_codec import FrameWriter, Times, body

_COMMANDS: Final = 20_000
_BLOCK: Final = 256
_TYPES: Final = "012478AB"


def run() -> list[Row]:
    """All measurements of market data by FIX."""
    return [
        row("a command, nobody subscribes", _each(0, 0), "us"),
        row("one subscriber of the whole book", _each(1, 0), "us"),
        row("one subscriber of five levels", _each(1, 5), "us"),
        row("100 subscribers of the whole book", _each(100, 0), "us"),
    ]


def _each(subscribers: int, depth: int) -> list[float]:
    """Processor time of a command, in us, of each run."""
    return [_measured(subscribers, depth) / _COMMANDS / 1_000 for _ in range(RUNS)]


@cache
def _workload() -> tuple[Rows, Rows]:
    return workload(W1, 1, _COMMANDS)


def _measured(count: int, depth: int) -> int:
    setup, commands = _workload()
    engine = Engine(Capacity())
    market = FixMarket(Capacity())
    followers = Subscribers(market)
    market.observe(1, setup, engine.apply(setup))
    seq, now_ns = len(setup), time.time_ns()
    symbol = next(iter(market.by_symbol))
    sessions = [_subscribed(followers, f"S{number}", symbol, depth, now_ns) for number in range(count)]
    while followers.refresh(now_ns):
        pass
    blocks = [commands[at : at + _BLOCK] for at in range(0, _COMMANDS, _BLOCK)]
    applied = [(block, engine.apply(block)) for block in blocks]
    sent = 0
    began_ns = time.thread_time_ns()
    for block, events in applied:
        for changes in market.follow(seq + 1, block, events):
            followers.tell(changes, now_ns)
        seq += len(block)
        sent += sum(len(session.take()) for session in sessions)
    took_ns = time.thread_time_ns() - began_ns
    if bool(sent) != bool(count):
        raise RuntimeError(f"{count} subscribers were sent {sent} bytes")
    return took_ns


def _subscribed(followers: Subscribers, name: str, symbol: str, depth: int, now_ns: int) -> DataSession:
    session = DataSession(followers, now_ns)
    writer = FrameWriter("FIX.4.4", name, COMP_ID, Times())
    session.receive(writer.frame(b"A", 1, now_ns, body([(98, 0), (108, 3_600), (141, "Y")])), now_ns)
    types = [(269, each) for each in _TYPES]
    fields = [(262, "r"), (263, "1"), (264, depth), (267, len(types)), *types, (146, 1), (55, symbol)]
    session.receive(writer.frame(b"V", 2, now_ns, body(fields)), now_ns)
    session.take()
    return session


if __name__ == "__main__":
    show(run())
