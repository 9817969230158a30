"""A client of the core, one message at a time by OUCH: alone, and beside 50 sessions of FIX that send all they can.

    shared      client, core, gateway and flood share the processors of this process
    apart       client and core have a processor, gateway and flood another, each before all other programs

Of each form the round trips of the client, and by stamps in the core how long its message waits until the core reads
it, and how long the core takes from there to the answer. In turn, alone and beside the flood.
`python -m benchmarks.fix_flood [form ...]`.
"""

import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.fix_wire import PATIENCE_S, SESSIONS, WINDOW, Line, exchange, fix_node, logged_on
from benchmarks.measure import Row, row, show
from benchmarks.processors import bind, go_first
from benchmarks.wire_node import SYMBOL, Node
from client.messages import cancel, enter
from client.orders import NewOrder
from load.lines import LoadError, User
from replay.forking import PROCESSORS
from wire.ouch_codes import BuySell
from wire.soup import LoginRequest, PacketType, packet, packets

_PAIRS: Final = 6
_ROUND_TRIPS: Final = 2_000
_BEFORE: Final = 200
#: Bound of what a client of the core has beside a flood of FIX, as a factor of what it has alone.
_MOVED_MAX: Final = 2.0


class _CoreLine:
    """A session of OUCH at the core itself, one message at a time."""

    def __init__(self, port: int, user: User) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(LoginRequest(user.name, user.password, "", 1).packet())
        self._ids = 0
        while PacketType.LOGIN_ACCEPTED not in self._kinds():
            pass

    def _kinds(self) -> list[int]:
        data = self.socket.recv(65_536)
        if not data:
            raise LoadError("the core has ended a session")
        return [kind for kind, _ in packets(data)]  # one message at a time: no packet is cut

    def trips(self, count: int) -> tuple[list[float], list[int]]:
        """Round trips in us, and when each began, in ns by the monotonic clock: of an order below the market, and its
        cancel, in turn."""
        found, began_ns = [], []
        for number in range(count):
            self._ids += number % 2 == 0
            token = f"K{self._ids}"
            order = enter(NewOrder(SYMBOL, BuySell.BUY, 100, "90.00"), token)
            began_ns.append(time.monotonic_ns())
            began_s = time.perf_counter()
            self.socket.sendall(packet(PacketType.UNSEQUENCED, cancel(token) if number % 2 else order))
            while PacketType.SEQUENCED not in self._kinds():
                pass
            found.append(1e6 * (time.perf_counter() - began_s))
        return found, began_ns


@contextmanager
def _flooding(lines: list[Line], told: list[float], processor: int | None) -> Iterator[None]:
    """A flood by another process as long as the block lasts, on a processor where one is given; what is answered a
    second is added to ``told``."""
    stop, stopping = os.pipe()
    answers, saying = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(stopping)
            if processor is not None:
                bind(os.getpid(), processor)
                go_first(os.getpid(), is_first=True)
            done, began_s = 0, time.perf_counter()
            while not select.select([stop], [], [], 0)[0]:
                frames = [line.orders(WINDOW) for line in lines]
                exchange(lines, frames, WINDOW)
                done += len(lines) * WINDOW
            os.write(saying, b"%d" % (done / (time.perf_counter() - began_s)))
        finally:
            os._exit(0)  # whatever failed: the node is the parent's, which finds no rate then
    os.close(stop)
    try:
        time.sleep(0.5)  # until the flood flows; its first orders are no part of what is measured
        yield
    finally:
        os.close(stopping)
        os.waitpid(child, 0)
        os.close(saying)
        told.append(float(os.read(answers, 64) or b"nan"))
        os.close(answers)


def shared() -> Iterator[Row]:
    """All on the same processors."""
    yield from _flood("on the same processors", lambda _node, _gateway: None)


def apart() -> Iterator[Row]:
    """Client and core on one processor, gateway and flood on another."""
    first, second, *_ = sorted(PROCESSORS)

    def place(node: Node, gateway: int) -> None:
        assert node.pid is not None, "a node of its own"
        for pid, processor in ((os.getpid(), first), (node.pid, first), (gateway, second)):
            bind(pid, processor)
            go_first(pid, is_first=True)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))  # before the core, which polls

    try:
        yield from _flood("on a processor apart", place, flood=second)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, PROCESSORS)


def _flood(how: str, place: Callable[[Node, int], None], flood: int | None = None) -> Iterator[Row]:
    """Round trips and the core's part of them, alone and beside the flood. flood: its processor."""
    trips, began, beside, rates = list[list[float]](), list[int](), list[bool](), list[float]()
    sessions = SESSIONS * _PAIRS
    with tempfile.TemporaryDirectory(prefix="lockstep-stamps-") as folder:
        os.environ["LOCKSTEP_STAMPS"], os.environ["LOCKSTEP_PARTICIPANT"] = folder, str(sessions + 1)
        with fix_node(sessions + 1, "none", module="benchmarks.stamped_turns_node") as (node, port, gateway):
            *users, own = node.users
            core, lines = _CoreLine(node.port, own), logged_on(port, users)
            place(node, gateway)
            core.trips(_BEFORE)
            for run in range(_PAIRS):
                for is_beside in (True, False) if run % 2 else (False, True):
                    with ExitStack() as flooding:
                        if is_beside:
                            of_run = lines[run * SESSIONS : (run + 1) * SESSIONS]
                            flooding.enter_context(_flooding(of_run, rates, flood))
                        took, at_ns = core.trips(_ROUND_TRIPS)
                    trips.append(took)
                    began += at_ns
                    beside.append(is_beside)
        read_us, answered_us = _core_us(Path(folder), np.array(began))
    name = f"a client of the core, {how}"
    yield row(f"FIX, {SESSIONS} sessions beside {name}: messages in and answered", rates, "messages/s")
    for what, took_us in (
        ("round trip", np.concatenate(trips)),
        ("until the core reads its message", read_us),
        ("from there to the answer", answered_us - read_us),
    ):
        by_run = took_us.reshape(-1, _ROUND_TRIPS)
        for percentile in (50.0, 99.0):
            values = [float(np.percentile(each, percentile)) for each in by_run]
            alone, flooded = ([v for v, is_so in zip(values, beside, strict=True) if is_so is w] for w in (False, True))
            yield row(f"{name}, alone: p{percentile:g} {what}", alone, "us")
            at_most = _MOVED_MAX * float(np.median(alone))
            yield row(f"{name}, beside the flood: p{percentile:g} {what}", flooded, "us", at_most=at_most)


def _core_us(folder: Path, began_ns: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Times of the client's last commands from their sending until the core read them, and until it had given the
    answer, in us. Raises LoadError."""
    (noted,) = (np.fromfile(each, np.int64).reshape(-1, 2) for each in folder.glob("*.stamps"))
    times_ns = noted[-len(began_ns) :].T
    if len(noted) != len(began_ns) + _BEFORE or (times_ns[1] < began_ns).any():
        raise LoadError("the core's notes are not those of its client's commands")
    read_us, answered_us = (times_ns - began_ns) / 1_000
    return read_us, answered_us


PARTS: Final[dict[str, Callable[[], Iterator[Row]]]] = {"shared": shared, "apart": apart}


if __name__ == "__main__":
    show(each for part in sys.argv[1:] or PARTS for each in PARTS[part]())
