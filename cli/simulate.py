"""`lockstep simulate`: simulated traders on any node, over OUCH, for some time, and what became of their orders.

Requests are made at fixed times, whatever the node does, and latencies are taken from those times. While a connection
is lost nobody trades; what was not answered is asked again once it is back.
"""

import select
import ssl
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cli import errors, screen
from cli.errors import Found, WrongUse
from load.desk import Desk, Refused
from load.latency import Latencies
from load.lines import LoadError, User
from load.ouch_traders import OuchTraders, Request, first_token_now

#: A lost connection is tried again this often, and for so long.
_AGAIN_S: Final = 0.5
_GIVE_UP_S: Final = 60.0
#: After the last request, so long for answers without any coming.
_PATIENCE_S: Final = 5.0
#: Requests made at a time: those of so many seconds ahead, within bounds.
_AHEAD_S: Final = 0.02
_BATCH_MIN: Final = 16
_BATCH_MAX: Final = 1_024
#: Times nearer than this are not slept for.
_NEAR_NS: Final = 50_000
_LEISURE_NS: Final = 50_000_000
_USERS_MAX: Final = 500


@dataclass(frozen=True)
class SimulateOptions:
    """Options of the command, under their names."""

    host: str
    port: int
    users: Sequence[User]
    symbols: Sequence[tuple[str, int]]
    seconds: float
    rate: float
    seed: int
    tls: ssl.SSLContext | None = None


def check_users(users: Sequence[User]) -> Sequence[User]:
    """The users, when there are not too many. Raises WrongUse."""
    if len(users) > _USERS_MAX:
        raise WrongUse(f"{len(users)} users; at most {_USERS_MAX} trade at a time, give fewer")
    return users


class Simulation:
    """The traders, their desks and the clock. Desks that lost their connection are in ``_lost``, with the time."""

    def __init__(self, options: SimulateOptions, desks: Sequence[Desk] | None = None) -> None:
        """desks: of the users, where they are not to be ordinary ones."""
        self._options = options
        self.desks = desks or [Desk(options.host, options.port, user, tls=options.tls) for user in options.users]
        self._traders = OuchTraders(options.seed, options.symbols, len(self.desks), first_token_now())
        self._pending: deque[tuple[int, Request]] = deque()
        self._interval_ns = 1e9 / options.rate
        self._next_ns = 0.0
        self._lost: dict[Desk, float] = {}
        self._tried_s = 0.0
        self.reconnects = 0
        self.outage_s = 0.0
        self.latencies = Latencies()
        self._second: list[int] = []

    def open(self) -> None:
        """Logs everybody in. Raises LoadError."""
        for desk in self.desks:
            desk.login()
        self._next_ns = float(time.monotonic_ns())

    def close(self) -> None:
        """Logs everybody out."""
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
        """Totals of all desks."""
        return sum((desk.counts for desk in self.desks), Counter())

    def turn(self, *, trading: bool) -> None:
        """Sends what is due, waits a little for answers, and takes them. Raises LoadError when a node is given up."""
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
            for request in self._traders.batch(count):
                self._pending.append((round(self._next_ns), request))
                self._next_ns += self._interval_ns
        now_ns = time.monotonic_ns()
        while self._pending and self._pending[0][0] <= now_ns:
            intended_ns, request = self._pending.popleft()
            self.desks[request.user].ask(request, intended_ns)

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
        """Runs calls of a desk that end with its connection."""
        if desk in self._lost:
            return
        try:
            for call in calls:
                call()
        except LoadError as error:
            desk.close()
            self._lost[desk] = time.monotonic()
            screen.notice(f"note: user {desk.user.name} lost the connection: {error}; it is tried again")

    def _reconnect(self) -> None:
        now_s = time.monotonic()
        if not self._lost or now_s - self._tried_s < _AGAIN_S:
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
            screen.notice(f"note: user {desk.user.name} is connected again, after {time.monotonic() - lost_s:.1f} s")
            if not self._lost:
                self._resume(time.monotonic() - lost_s)

    def _resume(self, outage_s: float) -> None:
        """Nobody traded meanwhile, so what was to be sent then is to be sent from now on."""
        self.outage_s += outage_s
        now_ns = time.monotonic_ns()
        behind_ns = now_ns - self._pending[0][0] if self._pending else 0
        if behind_ns > 0:
            self._pending = deque((at_ns + behind_ns, request) for at_ns, request in self._pending)
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


def simulate(options: SimulateOptions, *, as_json: bool) -> int:
    """Exit status 1 when a request was not answered, or an answer came that nobody asked for."""
    simulation = Simulation(options)
    began_s = time.monotonic()
    try:
        _logged_in(simulation)
        began_s = time.monotonic()
        _trade(simulation, options, began_s, as_json)
        gave_up = ""
    except LoadError as error:
        gave_up = str(error)
    except KeyboardInterrupt:
        gave_up = "interrupted"
    finally:
        simulation.take_second()
        simulation.close()
    return _summary(simulation, time.monotonic() - began_s, gave_up, as_json)


def _logged_in(simulation: Simulation) -> None:
    try:
        simulation.open()
    except Refused as error:
        raise WrongUse(f"{error}; check name and password, and whether the user is connected already") from None
    except LoadError as error:
        raise Found(str(error)) from None


def _trade(simulation: Simulation, options: SimulateOptions, began_s: float, as_json: bool) -> None:
    until_s = began_s + options.seconds
    told_s = began_s
    warned = False
    while (now_s := time.monotonic()) < until_s:
        simulation.turn(trading=True)
        if now_s - told_s >= 1.0:
            told_s = now_s
            _line(simulation, now_s - began_s, as_json)
            warned = warned or _warn(simulation)
    settle(simulation)


def settle(simulation: Simulation) -> None:
    """Waits for the answers that are missing, as long as any come."""
    moved_s, before = time.monotonic(), simulation.unanswered
    while before and time.monotonic() - moved_s < _PATIENCE_S:
        simulation.turn(trading=False)
        if simulation.unanswered < before:
            moved_s, before = time.monotonic(), simulation.unanswered


def _warn(simulation: Simulation) -> bool:
    """Says once what is wrong when the node refuses nearly all orders."""
    counts = simulation.counts()
    if counts["rejects"] * 2 < counts["orders"] or not counts["orders"]:
        return False
    reason = sum((desk.reasons for desk in simulation.desks), Counter()).most_common(1)[0][0]
    screen.notice(
        f"note: the node refuses most orders, mostly as {reason}; see that the instruments named by --symbol are "
        "defined and trade"
    )
    return True


def _line(simulation: Simulation, seconds: float, as_json: bool) -> None:
    counts, second = simulation.counts(), simulation.take_second()
    told = second.summary()
    if as_json:
        screen.say_json(_object(simulation, seconds, told))
    else:
        orders = f"{screen.count(counts['orders'])} orders, {screen.count(counts['answers'])} answered"
        outcome = f"{screen.count(counts['trades'])} trades, {screen.count(counts['rejects'])} rejected"
        screen.say(f"{seconds:5.1f} s  {orders}, {outcome}, p50 {told['p50_us']:g} us, p99 {told['p99_us']:g} us")
    screen.flush()


def _object(simulation: Simulation, seconds: float, latency: dict[str, Any]) -> dict[str, Any]:
    """Counts since the start, for programs. latency: of the last second, on the last line of all."""
    counts = simulation.counts()
    reasons = sum((desk.reasons for desk in simulation.desks), Counter())
    names = ("orders", "answers", "unexpected", "messages", "trades", "rejects", "too_late", "left_out", "sent_again")
    return {
        "elapsed_s": round(seconds, 1),
        "summary": False,
        "good": None,
        "gave_up": None,
        "users": len(simulation.desks),
        **{name: counts[name] for name in names},
        "unanswered": simulation.unanswered,
        "reconnects": simulation.reconnects,
        "outage_s": round(simulation.outage_s, 1),
        "latency": latency,
        "reject_reasons": [{"reason": reason, "count": count} for reason, count in reasons.most_common()],
    }


def _summary(simulation: Simulation, seconds: float, gave_up: str, as_json: bool) -> int:
    counts, missing = simulation.counts(), simulation.unanswered
    reasons = sum((desk.reasons for desk in simulation.desks), Counter())
    good = not missing and not counts["unexpected"]
    facts: dict[str, Any] = {
        "users": len(simulation.desks),
        "elapsed_s": round(seconds, 1),
        "orders": counts["orders"],
        "answers": counts["answers"],
        "missing": missing,
        "unexpected": counts["unexpected"],
        "messages": counts["messages"],
        "trades": counts["trades"],
        "rejects": counts["rejects"],
        "too_late": counts["too_late"],
        "left_out": counts["left_out"],
        "reconnects": simulation.reconnects,
        "outage_s": round(simulation.outage_s, 1),
        "sent_again": counts["sent_again"],
        **{name: value for name, value in simulation.latencies.summary().items() if name != "count"},
    }
    if as_json:
        whole = {"summary": True, "good": good and not gave_up, "gave_up": gave_up or None}
        screen.say_json(_object(simulation, seconds, simulation.latencies.summary()) | whole)
    else:
        _tell(facts, reasons, good)
    if gave_up:
        screen.notice(f"lockstep: {gave_up}")
    if gave_up == "interrupted":
        return errors.INTERRUPTED
    return errors.FINE if good and not gave_up else errors.FOUND


def _tell(facts: dict[str, Any], reasons: Counter[str], good: bool) -> None:
    shown = {name.replace("_", " "): screen.count(v) if isinstance(v, int) else v for name, v in facts.items()}
    screen.facts(shown.items(), title="what became of it")
    if reasons:
        screen.facts((reason, screen.count(count)) for reason, count in reasons.most_common())
    missing, unexpected = facts["missing"], facts["unexpected"]
    text = "every order was answered"
    if not good:
        text = f"{screen.counted(missing, 'order')} without an answer, {unexpected:,} answers that nobody asked for"
    screen.verdict(good, text)
