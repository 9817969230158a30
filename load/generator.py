"""The load generator: OUCH orders over many SoupBinTCP connections, as fast as asked for, and each answer checked.

One turn takes what arrived on all connections, judges it (``load.answers``), makes the next requests (``load.orders``)
and sends those. A kernel takes many turns (``load.turns``); Python sees to connections that did not take all.

Three ways to load: ``saturate`` keeps a window of requests unanswered; ``one_at_a_time`` has one; ``at_rate`` sends at
fixed times whether or not answers come, and takes latencies from those times.
"""

import gc
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from load import state, turns
from load.answers import take_answers
from load.latency import Latencies
from load.lines import Line, LoadError
from load.orders import make_requests
from load.state import HELD_BYTES, W1, Load, Mix, new_load

#: Longest silence of a node while answers are due, in seconds.
PATIENCE_S: Final = 10.0
#: Silence after the last answer that ends the wait for further messages.
_QUIET_MS: Final = 200
#: Longest stay in the kernel, and longest sleep of a closed loop in it, so that a Ctrl-C is noticed.
_STAY_NS: Final = 50_000_000
_WAIT_MS: Final = 20
_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT


@dataclass
class Result:
    """Result of a load. seconds: from the first request to the last answer. cpu_s: processor time of the client."""

    connections: int
    requests: int
    answered: int
    messages: int
    seconds: float
    cpu_s: float
    counts: dict[str, int]
    faults: dict[str, int]
    unpaired_qty: int
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def orders_per_s(self) -> float:
        """Requests a second that were answered."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def messages_per_s(self) -> float:
        """Messages of the exchange a second."""
        return self.messages / self.seconds if self.seconds else 0.0

    @property
    def good(self) -> bool:
        """True if each request was answered once, in order, and nothing came that does not belong here."""
        return not any(self.faults.values())

    def complaint(self) -> str:
        """The faults, as part of a sentence; "" if there are none."""
        return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.faults.items() if count)


class Generator:
    """Connections under load. Each is used for one load after another; tokens go on rising."""

    def __init__(
        self,
        lines: Sequence[Line],
        symbols: Sequence[str],
        *,
        window: int,
        mix: Mix = W1,
        seed: int = 1,
        latencies_max: int = 0,
        in_flight_max: int | None = None,
    ) -> None:
        """window: requests unanswered at a time, on all connections together. Raises ValueError as ``new_load``."""
        self.lines = list(lines)
        count = len(self.lines)
        self.load: Load = new_load(
            count,
            symbols=list(symbols),
            window=max(window // count, 1),
            mix=mix,
            seed=seed,
            ms_of_day=int(time.time() * 1_000) % 86_400_000,
            latencies_max=latencies_max,
            in_flight_max=in_flight_max,
        )
        self.load.connections["sent_ns"] = time.monotonic_ns()
        self._sockets = [line.socket for line in self.lines]
        self._arrived = [memoryview(region)[HELD_BYTES:] for region in self.load.arrived]
        self._out = [memoryview(region) for region in self.load.out]
        self._all = np.arange(count)
        self._which = np.zeros(count, np.int64)
        self._bytes = np.zeros(count, np.int64)
        self._senders = np.zeros(count, np.int64)
        self._lengths = np.zeros(count, np.int64)
        self._poll = select.epoll()
        fds = [connection.fileno() for connection in self._sockets]
        for fd in fds:
            self._poll.register(fd, _IN)
        self._lines = turns.new_lines(self.load, fds, self._poll.fileno())
        # Called with nothing to do, so that no load waits for a kernel to be compiled, or to come from the cache.
        make_requests(self.load, self._which, 0, 0, self._senders, self._lengths)
        take_answers(self.load, self._which, self._bytes, 0, 0)
        self.turn(0)
        self._take_early()

    def close(self) -> None:
        """Close the event loop; the connections stay."""
        self._poll.close()

    def _take_early(self) -> None:
        for n, line in enumerate(self.lines):
            if early := line.release():
                self._arrived[n][: len(early)] = early
                self._which[0], self._bytes[0] = n, len(early)
                take_answers(self.load, self._which, self._bytes, 1, time.monotonic_ns())

    def turn(self, wait_ms: int) -> int:
        """Receive what arrived, or wait for it so long, and send what is due then; gives the bytes that came.

        Raises LoadError when the node closes a connection.
        """
        self._take_turns(0, 0, wait_ms, is_open=False)
        return int(self._lines.words[turns.CAME])

    def _take_turns(self, until_ns: int, awaited: int, wait_ms: int, *, is_open: bool) -> int:
        """Run the kernel once (``load.turns.take_turns``), and see to the connections that it leaves."""
        words = self._lines.words
        answered = int(turns.take_turns(self.load, self._lines, until_ns, awaited, wait_ms, is_open))
        for n, sent, whole in zip(
            *(
                rows[: words[turns.RESTS]].tolist()
                for rows in (self._lines.rests, self._lines.sent_bytes, self._lines.whole_bytes)
            ),
            strict=True,
        ):
            self._keep(n, sent, whole)
        for n in self._lines.writable[: words[turns.WRITABLE]].tolist():
            self._send_rest(n)
        if words[turns.ENDED]:
            n = int(words[turns.ENDED]) - 1
            raise LoadError(f"the node closed the connection of user {self.lines[n].user.name} under load")
        return answered

    def start(self) -> None:
        """Send the first requests of every connection."""
        self._send(self._all, len(self._all), time.monotonic_ns())

    def _send(self, which: Any, count: int, now_ns: int) -> None:
        found = make_requests(self.load, which, count, now_ns, self._senders, self._lengths)
        for n, length in zip(self._senders[:found].tolist(), self._lengths[:found].tolist(), strict=True):
            sent = self._try(n, length)
            if sent < length:
                self._keep(n, sent, length)

    def _try(self, n: int, length: int) -> int:
        try:
            return self._sockets[n].send(self._out[n][:length])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LoadError(f"the node broke a connection under load: {error.strerror or error}") from None

    def _keep(self, n: int, sent: int, length: int) -> None:
        """Send the rest when the socket has room again; until then the connection makes no new requests."""
        region = self.load.out[n]
        region[: length - sent] = region[sent:length].copy()
        self.load.connections["out"][n] = length - sent
        self._poll.modify(self._sockets[n].fileno(), _IN | _OUT)

    def _send_rest(self, n: int) -> None:
        length = int(self.load.connections["out"][n])
        sent = self._try(n, length)
        if sent == length:
            self.load.connections["out"][n] = 0
            self._poll.modify(self._sockets[n].fileno(), _IN)
            # The connection may have nothing to wait for but this, so it is asked at once for more.
            self._send(np.array([n]), 1, time.monotonic_ns())
        elif sent:
            self._keep(n, sent, length)

    def saturate(self, requests: int) -> Result:
        """Send so many requests as fast as answers come. Raises LoadError."""
        self._allow(requests, interval_ns=0)
        return self._run(is_open=False)

    def at_rate(self, requests: int, requests_per_s: float) -> Result:
        """Send so many requests at fixed times, spread evenly over the connections. Raises LoadError."""
        self._allow(requests, interval_ns=max(round(1e9 * len(self.lines) / requests_per_s), 1))
        return self._run(is_open=True)

    def _allow(self, requests: int, interval_ns: int) -> None:
        """So many more requests, the first connections one more where they do not divide."""
        rows = self.load.connections
        share, rest = divmod(requests, len(rows))
        rows["requests_max"] = rows["requests"] + share + (np.arange(len(rows)) < rest)
        rows["interval_ns"] = interval_ns
        rows["latencies"] = 0

    def _run(self, *, is_open: bool) -> Result:
        rows = self.load.connections
        before = self._told()
        messages = state.total(self.load, "messages")
        answered = state.total(self.load, "answered")
        until = int(rows["requests_max"].sum())
        with _quiet_collector():
            began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
            rows["due_ns"] = began_ns + np.arange(len(rows)) * rows["interval_ns"] // len(rows)
            self.start()
            done_ns = self._until_answered(until, is_open=is_open)
            cpu_s = time.process_time() - began_cpu_s
            self.until_quiet()
        told = self._told()
        return Result(
            connections=len(self.lines),
            requests=told["requests"] - before["requests"],
            answered=state.total(self.load, "answered") - answered,
            messages=state.total(self.load, "messages") - messages,
            seconds=(done_ns - began_ns) / 1e9,
            cpu_s=cpu_s,
            counts={name: told[name] - before[name] for name in state.counts(self.load)},
            faults=state.faults(self.load),
            unpaired_qty=state.unpaired_qty(self.load),
            latencies=self._latencies(),
        )

    def _told(self) -> dict[str, int]:
        return {"requests": state.total(self.load, "requests"), **state.counts(self.load)}

    def _until_answered(self, until: int, *, is_open: bool) -> int:
        """Run until so many requests are answered, or nothing moves any more; gives the time of the last answer."""
        rows = self.load.connections
        wait_ms, before = 0 if is_open else _WAIT_MS, -1
        moved_ns = time.monotonic_ns()
        while before < until:
            now = self._take_turns(time.monotonic_ns() + _STAY_NS, until, wait_ms, is_open=is_open)
            if now > before:
                before, moved_ns = now, time.monotonic_ns()
            elif rows["broken"].any() or rows["ended"].any() or self._in_vain(moved_ns):
                break
        return moved_ns

    def _in_vain(self, moved_ns: int) -> bool:
        """True if answers were waited for long enough."""
        rows = self.load.connections
        return time.monotonic_ns() - moved_ns > PATIENCE_S * 1e9 and bool((rows["requests"] > rows["answered"]).any())

    def until_quiet(self) -> None:
        """Receive what still comes, until a short silence. Raises LoadError."""
        while self.turn(_QUIET_MS):
            pass

    def _latencies(self) -> Latencies:
        latencies = Latencies()
        rows = self.load.connections
        for at, count in zip(rows["latencies_at"].tolist(), rows["latencies"].tolist(), strict=True):
            if count:
                latencies.record(self.load.latency_ns[at : at + count])
        return latencies


def one_at_a_time(generator: Generator, requests: int, *, busy: bool = False) -> Result:
    """Send a request on the first connection when the one before is answered; latencies are whole round trips.

    busy: ask the socket over and over instead of sleeping in it, which takes a core for itself. Raises LoadError.
    """
    load = generator.load
    rows = load.connections
    rows["window"] = 1
    rows["requests_max"] = rows["requests"]
    rows["requests_max"][0] += requests
    rows["interval_ns"] = 0
    rows["latencies"] = 0
    connection = generator.lines[0].socket
    connection.setblocking(not busy)
    patience = struct.pack("ll", int(PATIENCE_S), 0)  # Python's own timeout would ask the kernel twice each time.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
    before = (state.counts(load), state.total(load, "messages"), int(rows["answered"][0]))
    took_ns = np.zeros(requests, np.int64)
    with _quiet_collector():
        began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
        done = _ping(generator, took_ns, busy)
        ended_ns, cpu_s = time.monotonic_ns(), time.process_time() - began_cpu_s
    connection.setblocking(False)
    generator.until_quiet()
    latencies = Latencies()
    latencies.record(took_ns[:done])
    counts = state.counts(load)
    return Result(
        connections=1,
        requests=requests,
        answered=int(rows["answered"][0]) - before[2],
        messages=state.total(load, "messages") - before[1],
        seconds=(ended_ns - began_ns) / 1e9,
        cpu_s=cpu_s,
        counts={name: counts[name] - before[0][name] for name in counts},
        faults=state.faults(load),
        unpaired_qty=state.unpaired_qty(load),
        latencies=latencies,
    )


def _ping(generator: Generator, took_ns: Any, busy: bool) -> int:
    """The round trips; how many there were."""
    load = generator.load
    connection = generator.lines[0].socket
    first, lengths, arrived = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    senders = np.zeros(1, np.int64)
    answered = load.connections["answered"]
    out, region = memoryview(load.out[0]), memoryview(load.arrived[0])[HELD_BYTES:]
    clock, send, receive = time.perf_counter_ns, connection.send, connection.recv_into
    for done in range(len(took_ns)):
        if not make_requests(load, first, 1, time.monotonic_ns(), senders, lengths):
            return done
        message = out[: int(lengths[0])]
        wanted = int(answered[0]) + 1
        began_ns = clock()
        send(message)
        while True:
            came = _received(receive, region, busy)
            ended_ns = clock()
            if not came:
                raise LoadError("the node closed the connection, or left a request without an answer")
            arrived[0] = came
            take_answers(load, first, arrived, 1, ended_ns)
            if answered[0] >= wanted:
                break
        took_ns[done] = ended_ns - began_ns
    return len(took_ns)


def _received(receive: Callable[[memoryview], int], region: memoryview, busy: bool) -> int:
    """Bytes that came; 0 when the connection ended, or nothing came for long."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return receive(region)
        except BlockingIOError:
            if not busy or time.monotonic() > until_s:
                return 0


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Context without Python's garbage collection, which would find nothing."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
