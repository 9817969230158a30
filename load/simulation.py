"""Simulated traders on any node, over OUCH: their desks, and the clock by which they act.

Requests are made at fixed times, whatever the node does, and latencies are taken from those times. While a connection
is lost nobody trades; unanswered requests are sent again after the reconnect.
"""

import select
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from load.actions import Action, Actions
from load.desk import Desk
from load.latency import Latencies
from load.lines import LoadError, User

#: Interval of reconnects, that of a market with a standby, and their longest time, in seconds.
_AGAIN_S: Final = 0.5
_FOLLOW_S: Final = 0.05
_GIVE_UP_S: Final = 60.0
#: Longest pause between answers after the last request, in seconds.
_PATIENCE_S: Final = 5.0
#: Requests made at a time: those of so many seconds ahead, within bounds.
_AHEAD_S: Final = 0.02
_BATCH_MIN: Final = 16
_BATCH_MAX: Final = 1_024
#: Times nearer than this are not slept for.
_NEAR_NS: Final = 50_000
_LEISURE_NS: Final = 50_000_000


@dataclass(frozen=True)
class SimulateOptions:
    """Settings of a simulation: the node, its users and instruments, and requests a second.

    host: may be the addresses of several nodes, ``HOST:PORT,HOST:PORT``; port: of those without one.
    """

    host: str
    port: int
    users: Sequence[User]
    symbols: Sequence[tuple[str, int]]
    seconds: float
    rate: float
    seed: int
    tls: ssl.SSLContext | None = None


class Simulation:
    """The traders, their desks and the clock. Desks that lost their connection are in ``_lost``, with the time."""

    def __init__(
        self, options: SimulateOptions, notice: Callable[[str], None], desks: Sequence[Desk] | None = None
    ) -> None:
        """notice: takes a sentence about a connection. desks: of the users, where they are not to be ordinary ones."""
        self._notice = notice
        self._options = options
        self.desks = desks or [Desk(options.host, options.port, user, tls=options.tls) for user in options.users]
        self._actions = Actions(options.seed, options.symbols, len(self.desks))
        self._pending: deque[tuple[int, Action]] = deque()
        self._interval_ns = 1e9 / options.rate
        self._next_ns = 0.0
        self._lost: dict[Desk, float] = {}
        self._stopped_s = 0.0  # since when nobody trades; of an outage of several connections the first loss
        self._tried_s = 0.0
        self._again_s = _FOLLOW_S if "," in options.host else _AGAIN_S
        self.reconnects = 0
        self.outage_s = 0.0
        self.latencies = Latencies()
        self._second: list[int] = []

    def open(self) -> None:
        """Log all users in. Raises LoadError."""
        for desk in self.desks:
            desk.login()
        self._next_ns = float(time.monotonic_ns())

    def close(self) -> None:
        """Log all users out."""
        for desk in self.desks:
            desk.logout()

    @property
    def unanswered(self) -> int:
        """Requests without an answer."""
        return sum(desk.unanswered for desk in self.desks)

    @property
    def lost(self) -> int:
        """Connections that are lost at present."""
        return len(self._lost)

    def counts(self) -> Counter[str]:
        """Totals of all desks; both sides of a trade in an uncross are of these users, or it counts no whole one."""
        counts: Counter[str] = sum((desk.counts for desk in self.desks), Counter())
        counts["trades"] += counts["uncross_sides"] // 2
        return counts

    def turn(self, *, trading: bool) -> None:
        """Send what is due, wait a little for answers, and take them. Raises LoadError when a node is given up."""
        self._reconnect()
        if trading and not self._lost:
            self._send_due()
        for desk in self.desks:
            self._guarded(desk, desk.beat, desk.flush)
        self._wait(trading)
        for desk in self.desks:
            self._second += desk.taken_ns
            desk.taken_ns.clear()

    def _send_due(self) -> None:
        if not self._pending:
            count = min(max(round(self._options.rate * _AHEAD_S), _BATCH_MIN), _BATCH_MAX)
            for action in self._actions.batch(count):
                self._pending.append((round(self._next_ns), action))
                self._next_ns += self._interval_ns
        now_ns = time.monotonic_ns()
        while self._pending and self._pending[0][0] <= now_ns:
            intended_ns, action = self._pending.popleft()
            self.desks[action.user].ask(action, intended_ns)

    def _wait(self, trading: bool) -> None:
        by_socket = {desk.socket: desk for desk in self.desks if desk.socket is not None}
        writing = [each for each, desk in by_socket.items() if desk.wants_to_send]
        left_ns = _LEISURE_NS
        if trading and not self._lost:
            left_ns = min(self._pending[0][0] - time.monotonic_ns(), _LEISURE_NS) if self._pending else 0
        ready, _, _ = select.select(list(by_socket), writing, [], left_ns / 1e9 if left_ns > _NEAR_NS else 0.0)
        for each in ready:
            self._guarded(by_socket[each], by_socket[each].receive)

    def _guarded(self, desk: Desk, *calls: Any) -> None:
        """Run calls of a desk that end with its connection."""
        if desk in self._lost:
            return
        try:
            for call in calls:
                call()
        except LoadError as error:
            desk.close()
            lost_s = time.monotonic()
            if not self._lost:
                self._stopped_s = lost_s
            self._lost[desk] = lost_s
            self._notice(f"user {desk.user.name} lost the connection: {error}; it is tried again")

    def _reconnect(self) -> None:
        now_s = time.monotonic()
        if not self._lost or now_s - self._tried_s < self._again_s:
            return
        self._tried_s = now_s
        for desk, lost_s in list(self._lost.items()):
            try:
                desk.login()
            except LoadError as error:
                desk.close()
                if time.monotonic() - lost_s > _GIVE_UP_S:
                    raise LoadError(f"{error}; gave up after {_GIVE_UP_S:.0f} s") from None
                return
            del self._lost[desk]
            self.reconnects += 1
            self._notice(f"user {desk.user.name} is connected again, after {time.monotonic() - lost_s:.1f} s")
            if not self._lost:
                self._resume(time.monotonic() - self._stopped_s)

    def _resume(self, outage_s: float) -> None:
        """Move the schedule to now, since nobody traded meanwhile."""
        self.outage_s += outage_s
        now_ns = time.monotonic_ns()
        behind_ns = now_ns - self._pending[0][0] if self._pending else 0
        if behind_ns > 0:
            self._pending = deque((at_ns + behind_ns, action) for at_ns, action in self._pending)
        self._next_ns = max(self._next_ns + max(behind_ns, 0), float(now_ns))

    def take_second(self) -> Latencies:
        """Latencies since the last call, which count for the whole as well."""
        second = Latencies()
        if self._second:
            values = np.array(self._second, np.int64)
            second.record(values)
            self.latencies.record(values)
            self._second.clear()
        return second


def settle(simulation: Simulation) -> None:
    """Wait for the answers that are missing, as long as any come."""
    moved_s, before = time.monotonic(), simulation.unanswered
    while before and time.monotonic() - moved_s < _PATIENCE_S:
        simulation.turn(trading=False)
        if simulation.unanswered < before:
            moved_s, before = time.monotonic(), simulation.unanswered
