"""FIX over loopback TCP: a node with a gateway of FIX in a process of its own, loaded by this one, on the same machine.

    pipelined   50 sessions, orders and their cancels: messages in and answered, processor time of the gateway, waits
    one         one message at a time, with fsync and without, and the same bytes to a bare echo, bare syncs and bare
                commits of the journal in the same run
    logons      2,000 sessions log on: seconds, and memory of the gateway
    first       logons whose passwords a gateway checks for the first time, generated and people's, and another session
    resend      20,000 messages are sent again: seconds, and the round trips of another session meanwhile

`python -m benchmarks.fix_wire [part ...]`. Each message has one answer, and all answers are looked at: a run in which
one is missing, or is a reject, is no measurement. The numbers include the client, which has its frames ready before.
"""

import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.measure import Row, row, show
from benchmarks.wire_node import SYMBOL, Node, running_node
from gateway.passwords import COST_DEFAULT, COST_GENERATED
from journal import Journal
from journal.group import Entry
from journal.store import Store
from load import echo
from load.lines import LoadError, User
from wire.fix_codec import FrameWriter, Times, body

_RUNS: Final = 3
SESSIONS: Final = 50
#: Messages of a run, in all, and of a session that may be unanswered.
_MESSAGES: Final = 20_000
WINDOW: Final = 200
_RATE: Final = 60_000.0
_ROUND_TRIPS: Final = 2_000
_SYNCS: Final = 200
_OVER_ECHO_US: Final = 60.0
_LOGONS: Final = 2_000
_OF_ADDRESS: Final = 100
_LOGONS_S: Final = 3.0
_LOGONS_MB: Final = 150.0
#: Logons with people's passwords, of 50 ms each.
_SLOW_LOGONS: Final = 100
_RESENT: Final = 20_000
_RESENT_S: Final = 1.0
_HELD_UP_US: Final = 20_000.0
PATIENCE_S: Final = 60.0
#: A new gateway compiles nothing when the kernels are cached, and else some minutes.
_START_S: Final = 240.0
_END: Final = b"\x0110="
_REPORT: Final = b"\x0135=8\x01"


class Line:
    """A session: its socket, its numbers, and the answers that came."""

    def __init__(self, port: int, user: User, source: str = "127.0.0.1") -> None:
        self.user = user
        self._writer = FrameWriter("FIX.4.4", user.name, "LOCKSTEP", Times())
        self.out_seq = 1
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tail = b""
        self._ids = 0

    def frame(self, kind: bytes, fields: bytes) -> bytes:
        """The next message."""
        self.out_seq += 1
        return self._writer.frame(kind, self.out_seq - 1, time.time_ns(), fields)

    def log_on(self) -> bytes:
        """The logon; the password is never shown."""
        return self.frame(b"A", body([(98, 0), (108, 600), (554, self.user.password)]))

    def orders(self, count: int) -> list[bytes]:
        """Messages, each with one answer: an order below the market, and its cancel, in turn."""
        made, now = [], Times().text(time.time_ns())
        for number in range(count):
            if number % 2 == 0:
                self._ids += 1
                price = b"%d.%02d" % (90 + self._ids % 9, self._ids % 100)
                fields = b"11=A%d\x0138=100\x0140=2\x0144=%b\x0154=1\x0155=%b\x0159=0\x0160=%b\x01"
                made.append(self.frame(b"D", fields % (self._ids, price, SYMBOL.encode(), now)))
            else:
                fields = b"11=C%d\x0141=A%d\x0154=1\x0155=%b\x0160=%b\x01"
                made.append(self.frame(b"F", fields % (self._ids, self._ids, SYMBOL.encode(), now)))
        return made

    def count(self, data: bytes) -> tuple[int, int]:
        """Messages that ended in the bytes that came, and reports that began in them."""
        tail = self._tail
        seen = tail + data
        self._tail = seen[-5:]
        return seen.count(_END) - tail.count(_END), seen.count(_REPORT) - tail.count(_REPORT)

    def receive(self, messages: int) -> int:
        """Wait for so many messages; gives how many of them are reports. Raises LoadError."""
        came = reports = 0
        while came < messages:
            data = self.socket.recv(262_144)
            if not data:
                raise LoadError(f"the session of {self.user.name} has ended")
            ended, begun = self.count(data)
            came, reports = came + ended, reports + begun
        return reports


@contextmanager
def fix_node(
    users: int, durability: str = "fsync", module: str = "cli.main", cost: int = COST_GENERATED
) -> Iterator[tuple[Node, int, int]]:
    """A node that has a gateway of FIX, the gateway's port, and its process; module: that runs. cost: of the hashes of
    passwords. Raises LoadError."""
    arguments = ("--gateway", "fix=fix:0", "--connections-max", "4096")
    with running_node(durability, users, arguments=arguments, module=module, cost=cost) as node:
        assert node.link is not None, "a node of its own"
        until_s = time.monotonic() + _START_S
        while True:
            found = {each["process"]: each for each in node.link.ask("workings")["workings"]["processes"]}
            if found.get("fix", {}).get("port"):
                yield node, int(found["fix"]["port"]), int(found["fix"]["pid"])
                return
            if time.monotonic() > until_s:
                raise LoadError("the gateway of FIX does not listen")
            time.sleep(0.05)


def connected(port: int, users: list[User]) -> list[Line]:
    """Connections of users, some from each address as a node bounds these."""
    return [Line(port, user, f"127.0.0.{1 + number // _OF_ADDRESS}") for number, user in enumerate(users)]


def logged_on(port: int, users: list[User]) -> list[Line]:
    """Sessions of users, all logged on at once. Raises LoadError."""
    lines = connected(port, users)
    for line in lines:
        line.socket.sendall(line.log_on())
    for line in lines:
        line.receive(1)
    return lines


def used_s(pid: int) -> float:
    """Processor time of a process, all its threads, in seconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


def memory_mb(pid: int) -> float:
    """Memory of a process that is resident, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1_024 / 1e6


def exchange(lines: list[Line], frames: list[list[bytes]], window: int, rate: float = 0.0) -> tuple[float, list[float]]:
    """Send all frames and take their answers; gives seconds, and the wait of each answer in us.

    window: messages of a session that may be unanswered. rate: messages a second of all; 0: as fast as it goes.
    """
    poll = select.epoll()
    at = {line.socket.fileno(): number for number, line in enumerate(lines)}
    for line in lines:
        line.socket.setblocking(False)
        poll.register(line.socket.fileno(), select.EPOLLIN)
    sent, answered, rest = [0] * len(lines), [0] * len(lines), [b""] * len(lines)
    times: list[list[float]] = [[] for _ in lines]
    waits: list[float] = []
    total, done, reports = sum(map(len, frames)), 0, 0
    began_s = time.perf_counter()
    while done < total:
        now_s = time.perf_counter()
        due = int((now_s - began_s) * rate / len(lines)) + 1 if rate else 1 << 60
        for number, line in enumerate(lines):
            upto = min(answered[number] + window, len(frames[number]), due)
            if upto > sent[number] and (rate or upto - sent[number] >= window // 4 or upto == len(frames[number])):
                rest[number] += b"".join(frames[number][sent[number] : upto])
                times[number] += [now_s] * (upto - sent[number])
                sent[number] = upto
            if rest[number]:
                try:
                    rest[number] = rest[number][line.socket.send(rest[number]) :]
                except BlockingIOError:
                    continue
        for fd, _ in poll.poll(0.0005 if rate else 0.002):
            number = at[fd]
            data = lines[number].socket.recv(262_144)
            if not data:
                raise LoadError(f"the session of {lines[number].user.name} has ended")
            ended, begun = lines[number].count(data)
            now_s = time.perf_counter()
            first = answered[number]
            waits += [1e6 * (now_s - each) for each in times[number][first : first + ended]]
            answered[number] += ended
            done, reports = done + ended, reports + begun
        if time.perf_counter() - began_s > PATIENCE_S:
            raise LoadError(f"{total - done:,} messages of {total:,} had no answer within {PATIENCE_S:.0f} s")
    took_s = time.perf_counter() - began_s
    poll.close()
    for line in lines:
        line.socket.setblocking(True)
    if reports != total:
        raise LoadError(f"{total - reports:,} of {total:,} answers are no ExecutionReport")
    return took_s, waits


def pipelined() -> Iterator[Row]:
    """Orders and cancels of 50 sessions, as fast as they are answered, and at a tenth of that."""
    with fix_node(SESSIONS) as (node, port, pid):
        lines = logged_on(port, node.users)
        exchange(lines, [line.orders(_MESSAGES // 10 // SESSIONS) for line in lines], WINDOW)
        rates, costs, fast, paced = [], [], [], []
        for _ in range(_RUNS):
            frames = [line.orders(_MESSAGES // SESSIONS) for line in lines]
            before_s = used_s(pid)
            took_s, waits = exchange(lines, frames, WINDOW)
            rates.append(_MESSAGES / took_s)
            costs.append(1e6 * (used_s(pid) - before_s) / _MESSAGES)
            fast.append(waits)
            frames = [line.orders(_MESSAGES // 10 // SESSIONS) for line in lines]
            paced.append(exchange(lines, frames, WINDOW, max(rates) / 10)[1])
        name = f"FIX, {SESSIONS} sessions, fsync"
        yield row(f"{name}: messages in and answered", rates, "messages/s", at_least=_RATE)
        yield row(f"{name}: processor time of the gateway", costs, "us/message", at_most=1e6 / _RATE)
        for how, found in ((f"{WINDOW} unanswered each", fast), ("at a tenth of the rate", paced)):
            for percentile in (50.0, 99.0):
                values = [float(np.percentile(each, percentile)) / 1_000 for each in found]
                yield row(f"{name}, {how}: p{percentile:g} to the answer", values, "ms")


def one() -> Iterator[Row]:
    """One message at a time, in turn with a bare echo: where answers wait for no disk, and where they wait for it, in
    turn with a bare sync of the same device and with a journal's bare commits."""
    for durability in ("none", "fsync"):
        yield from _one(durability)


def _one(durability: str) -> Iterator[Row]:
    with fix_node(1, durability) as (node, port, pid), echo.serving() as echo_port:
        (line,) = logged_on(port, node.users)
        assert node.directory is not None, "a node of its own"
        _trips(line, line.orders(200))
        bare, syncs, commits, own, ends, costs, over = [], [], [], [], [], [], []
        for _ in range(_RUNS):
            bare.append(echo.round_trips(echo_port, _ROUND_TRIPS, busy=False).at(50.0) / 1_000)
            syncs.append(_sync_us(node.directory) if durability == "fsync" else 0.0)
            commits.append(_commit_us(node.directory.parent) if durability == "fsync" else 0.0)
            frames, before_s = line.orders(_ROUND_TRIPS), used_s(pid)
            trips = _trips(line, frames)
            costs.append(1e6 * (used_s(pid) - before_s) / _ROUND_TRIPS)
            own.append(float(np.percentile(trips, 50.0)))
            ends.append(float(np.percentile(trips, 99.0)))
            over.append(own[-1] - bare[-1] - syncs[-1])
        name = f"FIX, one at a time, {durability}"
        yield row(f"bare echo beside {durability}, client sleeps: p50 round trip", bare, "us")
        if durability == "fsync":
            yield row("bare sync of 4 KB, same device: p50", syncs, "us")
            yield row("bare commit of a block by a journal, same device: p50", commits, "us")
        at_most = float(np.median(bare)) + _OVER_ECHO_US
        yield row(f"{name}: p50 round trip", own, "us", at_most=at_most)
        yield row(f"{name}: p99 round trip", ends, "us")
        beside = "echo and sync" if durability == "fsync" else "echo"
        yield row(f"{name}: p50 above {beside}", over, "us", at_most=_OVER_ECHO_US)
        if durability == "fsync":
            above = [own[run] - bare[run] - commits[run] for run in range(_RUNS)]
            yield row(f"{name}: p50 above echo and commit", above, "us")
        yield row(f"{name}: processor time of the gateway", costs, "us/message")


def _sync_us(directory: Path) -> float:
    """Middle of the times that the device needs for four new KB of a file, in us."""
    took = []
    path = directory / "sync"
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began_s = time.perf_counter()
            file.write(bytes(4_096))
            os.fdatasync(file.fileno())
            took.append(1e6 * (time.perf_counter() - began_s))
    path.unlink()
    return float(np.median(took))


class _TimedStore(Store):
    """Notes what each commit takes, in us."""

    took: list[float]

    def commit(self, group: Sequence[Entry]) -> None:
        began_s = time.perf_counter()
        super().commit(group)
        self.took.append(1e6 * (time.perf_counter() - began_s))


class _TimedJournal(Journal):
    store_class = _TimedStore


def _commit_us(beside: Path) -> float:
    """Middle of the times of commits of one block, one after the other, by a journal that nobody else uses, in us."""
    _TimedStore.took = []
    with (
        tempfile.TemporaryDirectory(dir=beside) as folder,
        _TimedJournal.create(folder, {"rules_version": 1}) as journal,
    ):
        for number in range(_SYNCS):
            first_seq = journal.append(2, bytes(128), number)
            journal.put_digest(first_seq, bytes(16))
            journal.wait_durable(first_seq)
    return float(np.median(_TimedStore.took))


def _trips(line: Line, frames: list[bytes]) -> list[float]:
    """Round trips in us."""
    found = []
    for frame in frames:
        began_s = time.perf_counter()
        line.socket.sendall(frame)
        if line.receive(1) != 1:
            raise LoadError("an answer is no ExecutionReport")
        found.append(1e6 * (time.perf_counter() - began_s))
    return found


def logons() -> Iterator[Row]:
    """Many sessions that log on at once. Passwords are hashed at the lowest cost, as all of the benchmarks."""
    with fix_node(_LOGONS) as (node, port, pid):
        logged_on(port, node.users[:1])[0].socket.close()
        before_mb = memory_mb(pid)
        began_s = time.perf_counter()
        lines = logged_on(port, node.users[1:])
        took_s = time.perf_counter() - began_s
        name = f"FIX, {len(lines):,} logons at once, fsync"
        yield row(f"{name}: all answered", [took_s], "s", at_most=_LOGONS_S)
        yield row(f"{name}: memory of the gateway", [memory_mb(pid)], "MB", at_most=_LOGONS_MB)
        yield row(f"{name}: of that by the sessions", [memory_mb(pid) - before_mb], "MB")
        for line in lines:
            line.socket.close()


def first_logons() -> Iterator[Row]:
    """Many first logons at once, by generated passwords and by those of people, and a session beside them that enters
    orders one at a time, before them and meanwhile."""
    for whose, cost, users, at_most in (
        ("generated", COST_GENERATED, _LOGONS, _LOGONS_S),
        ("people's", COST_DEFAULT, _SLOW_LOGONS, None),
    ):
        with fix_node(users + 1, "none", cost=cost) as (node, port, pid):
            (other,) = logged_on(port, node.users[:1])
            _trips(other, other.orders(200))
            alone = _trips(other, other.orders(_ROUND_TRIPS))
            frames, lines = other.orders(_MESSAGES * 2), connected(port, node.users[1:])
            logons = [line.log_on() for line in lines]
            before_s, began_s = used_s(pid), time.perf_counter()
            for line, logon in zip(lines, logons, strict=True):
                line.socket.sendall(logon)
            beside, refused = _trips_until_answered(other, frames, lines)
            took_s, spent_s = time.perf_counter() - began_s, used_s(pid) - before_s
        name = f"FIX, {users:,} first logons at once, {whose} passwords"
        yield row(f"{name}: all answered", [took_s], "s", at_most=at_most)
        yield row(f"{name}: refused, and sent again", [float(refused)], "logons")
        yield row(f"{name}: processor time of the gateway", [1_000 * spent_s / users], "ms/logon")
        for how, found in (("before them", alone), ("beside them", beside)):
            for what, value in (
                ("p50", np.median(found)),
                ("p99", np.percentile(found, 99.0)),
                ("longest", max(found)),
            ):
                yield row(f"{name}, another session {how}: {what} round trip", [float(value)], "us")


def _trips_until_answered(other: Line, frames: list[bytes], lines: list[Line]) -> tuple[list[float], int]:
    """Round trips of a session, in us, until each of other sessions is logged on, and how many logons were refused
    and sent again, since a login waits 15 s at most for its check. Raises LoadError."""
    poll, waiting, found, refused = select.epoll(), {line.socket.fileno(): line for line in lines}, list[float](), 0
    for fd in (other.socket.fileno(), *waiting):
        poll.register(fd, select.EPOLLIN)
    for frame in frames:
        began_s, answered = time.perf_counter(), False
        other.socket.sendall(frame)
        while not answered:
            for fd, _ in poll.poll(PATIENCE_S):
                if fd == other.socket.fileno():
                    other.receive(1)
                    answered = True
                    continue
                poll.unregister(fd)
                line = waiting.pop(fd)
                try:
                    line.receive(1)
                except (LoadError, ConnectionError):
                    refused += 1
                    again = Line(line.socket.getpeername()[1], line.user, line.socket.getsockname()[0])
                    line.socket.close()
                    again.socket.sendall(again.log_on())
                    waiting[again.socket.fileno()] = again
                    poll.register(again.socket.fileno(), select.EPOLLIN)
        found.append(1e6 * (time.perf_counter() - began_s))
        if not waiting:
            poll.close()
            return found, refused
    raise LoadError(f"{len(waiting):,} logons have no answer")


def resend() -> Iterator[Row]:
    """A session that has 20,000 messages sent again, and one beside it that enters orders one at a time."""
    with fix_node(2) as (node, port, pid):
        line, other = logged_on(port, node.users)
        exchange([line], [line.orders(_RESENT)], WINDOW)
        _trips(other, other.orders(200))
        took, costs, alone, held = [], [], [], []
        for _ in range(_RUNS):
            alone += _trips(other, other.orders(500))
            frames = other.orders(20_000)
            before_s, began_s = used_s(pid), time.perf_counter()
            line.socket.sendall(line.frame(b"2", body([(7, 2), (16, _RESENT + 1)])))
            line.socket.setblocking(False)
            came, at = 0, 0
            while came < _RESENT:
                trip_s = time.perf_counter()
                other.socket.sendall(frames[at])
                at += 1
                waits, sockets = True, [line.socket, other.socket]
                while waits and came < _RESENT:
                    for ready in select.select(sockets, [], [], PATIENCE_S)[0]:
                        data = ready.recv(262_144)
                        if not data:
                            raise LoadError("a session has ended")
                        if ready is line.socket:
                            came += line.count(data)[1]
                        elif other.count(data)[0]:
                            held.append(1e6 * (time.perf_counter() - trip_s))
                            waits = False
                if waits:
                    other.receive(1)
                    held.append(1e6 * (time.perf_counter() - trip_s))
            took.append(time.perf_counter() - began_s)
            costs.append(used_s(pid) - before_s)
            line.socket.setblocking(True)
            other.out_seq -= len(frames) - at
        name = f"FIX, a resend of {_RESENT:,}"
        yield row(f"{name}: all of it", took, "s", at_most=_RESENT_S)
        yield row(f"{name}: processor time of the gateway", costs, "s")
        yield row("FIX, another session without a resend: p99 round trip", [float(np.percentile(alone, 99.0))], "us")
        values = [float(np.percentile(held, 99.0))]
        yield row("FIX, another session beside it: p99 round trip", values, "us", at_most=_HELD_UP_US)
        yield row("FIX, another session beside it: longest round trip", [max(held)], "us", at_most=_HELD_UP_US)


PARTS: Final[dict[str, Callable[[], Iterator[Row]]]] = {
    "pipelined": pipelined,
    "one": one,
    "logons": logons,
    "first": first_logons,
    "resend": resend,
}


if __name__ == "__main__":
    show(each for part in sys.argv[1:] or PARTS for each in PARTS[part]())
