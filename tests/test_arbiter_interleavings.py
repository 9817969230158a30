"""Three nodes and one register under any order of messages, losses, crashes of the arbiter and clocks of other rates.

Requests and answers are delivered in any order, once, twice or never. Whatever happens, at most one node takes itself
for the primary, epochs rise, and a late change of the nodes in sync never comes true after a newer one.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from replication.arbiter import (
    Acquire,
    Answer,
    Candidate,
    Lost,
    Read,
    Record,
    Reign,
    Release,
    Renew,
    Request,
    Standing,
    Won,
)
from replication.lease import DRIFT_PPM, Lease
from replication.register import Register

MS = 1_000_000
TTL_NS = 600 * MS
NAMES = ("A", "B", "C")
#: Subsets of the other nodes.
OTHERS = st.sets(st.sampled_from(NAMES), max_size=3)


class Sent(NamedTuple):
    """A request on its way, or its answer on the way back; ``sent_ns`` by the clock of its node."""

    name: str
    request: Request
    sent_ns: int
    answer: Answer | None = None


class Node:
    """A node as far as the arbiter matters to it."""

    def __init__(self, rate_ppm: int) -> None:
        self.rate_ppm = rate_ppm
        self.expected = 0
        self.lease: Lease | None = None
        self.reign: Reign | None = None
        #: Changes of the record that were sent and may still come true.
        self.open: list[Record] = []

    def clock_ns(self, real_ns: int) -> int:
        """Its monotonic clock."""
        return real_ns * (1_000_000 + self.rate_ppm) // 1_000_000


class Interleavings(RuleBasedStateMachine):
    """The state machine. ``margin_ns`` and ``drift_ppm``: of leases; ``tells_early``: the arbiter tells what a crash
    then takes back."""

    margin_ns: ClassVar[int | None] = None
    drift_ppm: ClassVar[int] = DRIFT_PPM
    tells_early: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.real_ns = 1_000
        self.there: list[Sent] = []
        self.back: list[Sent] = []
        self.epochs = [0]

    @initialize(rates=st.tuples(*[st.sampled_from([-DRIFT_PPM, 0, DRIFT_PPM])] * 4))
    def begin(self, rates: tuple[int, int, int, int]) -> None:
        self.nodes = {name: Node(rate) for name, rate in zip(NAMES, rates, strict=False)}
        self.arbiter_ppm = rates[3]
        self.durable = Register().stored
        self.register = Register(self.durable, self.arbiter_ns())

    def arbiter_ns(self) -> int:
        """Clock of the arbiter."""
        return self.real_ns * (1_000_000 + self.arbiter_ppm) // 1_000_000

    @rule(ms=st.sampled_from([1, 40, 119, 121, 360, 479, 481, 590, 601, 2_000]))
    def time_passes(self, ms: int) -> None:
        self.real_ns += ms * MS

    def _send(self, name: str, request: Request) -> None:
        self.there.append(Sent(name, request, self.nodes[name].clock_ns(self.real_ns)))

    @rule(name=st.sampled_from(NAMES))
    def reads(self, name: str) -> None:
        self._send(name, Read())

    @rule(name=st.sampled_from(NAMES), force=st.sampled_from(["", "", "a reason"]))
    def wants_to_be_primary(self, name: str, force: str) -> None:
        self._send(name, Acquire(Candidate(name), self.nodes[name].expected, TTL_NS, 0, force))

    @rule(name=st.sampled_from(NAMES))
    def renews(self, name: str) -> None:
        if (reign := self.nodes[name].reign) is not None:
            self._send(name, Renew(reign.epoch))

    @rule(name=st.sampled_from(NAMES), others=OTHERS)
    def records(self, name: str, others: set[str]) -> None:
        node = self.nodes[name]
        if node.reign is not None:
            record = Record(node.reign.epoch, node.reign.revision, tuple(sorted({name, *others})))
            node.open.append(record)
            self._send(name, record)

    @rule(name=st.sampled_from(NAMES), successor=st.sampled_from(["", *NAMES]))
    def releases(self, name: str, successor: str) -> None:
        node = self.nodes[name]
        if node.reign is not None:
            if node.lease is not None:
                node.lease.lost()
            self._send(name, Release(node.reign.epoch, successor))

    @precondition(lambda self: self.there)
    @rule(data=st.data(), stays=st.booleans())
    def a_request_arrives(self, data: Any, stays: bool) -> None:
        self.arrive(data.draw(st.integers(0, len(self.there) - 1)), stays=stays)

    def arrive(self, place: int, *, stays: bool = False) -> None:
        """Let a request arrive; one that stays arrives again."""
        sent = self.there[place] if stays else self.there.pop(place)
        before = self.register.standing(self.arbiter_ns())
        decision = self.register.decide(self.taken(sent.request), self.arbiter_ns())
        if decision.stored is not None and not self.tells_early:
            self.durable = decision.stored
        self.register.commit(decision)
        self._check_decision(sent.request, before, decision.answer)
        self.back.append(sent._replace(answer=decision.answer))

    def taken(self, request: Request) -> Request:
        """The request as the arbiter takes it."""
        return request

    def _check_decision(self, request: Request, before: Standing, answer: Answer) -> None:
        if isinstance(request, Acquire) and isinstance(answer, Won):
            assert answer.epoch > self.epochs[-1], "an epoch came again"
            self.epochs.append(answer.epoch)
            assert before.reign is None or request.force or request.candidate.name in before.reign.in_sync
            assert not before.held
            assert before.successor in ("", request.candidate.name)
            assert answer.reign.in_sync == (request.candidate.name,)

    @precondition(lambda self: self.there)
    @rule(data=st.data(), is_written=st.booleans())
    def the_arbiter_crashes_at_a_request(self, data: Any, is_written: bool) -> None:
        sent = self.there.pop(data.draw(st.integers(0, len(self.there) - 1)))
        before = self.register.standing(self.arbiter_ns())
        decision = self.register.decide(sent.request, self.arbiter_ns())
        if decision.stored is not None and is_written:
            self.durable = decision.stored
            self._check_decision(sent.request, before, decision.answer)
        self.register = Register(self.durable, self.arbiter_ns())

    @rule()
    def the_arbiter_crashes(self) -> None:
        self.register = Register(self.durable, self.arbiter_ns())

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def a_request_is_lost(self, data: Any) -> None:
        self.there.pop(data.draw(st.integers(0, len(self.there) - 1)))

    @precondition(lambda self: self.back)
    @rule(data=st.data())
    def an_answer_arrives(self, data: Any) -> None:
        self.take_answer(data.draw(st.integers(0, len(self.back) - 1)))

    def take_answer(self, place: int) -> None:
        """Let an answer arrive."""
        sent = self.back.pop(place)
        node, answer = self.nodes[sent.name], sent.answer
        if answer is not None and answer.reign is not None:
            node.expected = max(node.expected, answer.reign.epoch)
        same = node.reign is not None and getattr(sent.request, "epoch", 0) == node.reign.epoch
        match sent.request, answer:
            case Acquire(), Won(reign, ttl_ns):
                if node.reign is None or reign.epoch > node.reign.epoch:
                    node.reign, node.open = reign, []
                    node.lease = Lease(ttl_ns, sent.sent_ns, margin_ns=self.margin_ns, drift_ppm=self.drift_ppm)
            case Renew(), Won() if same and node.lease is not None:
                node.lease.renewed(sent.sent_ns, node.lease.ttl_ns)
            case Renew(epoch), Lost() if (
                node.reign is not None and node.lease is not None and epoch == node.reign.epoch
            ):
                node.lease.lost()
            case Record(), Won(reign) if same:
                if node.reign is not None and reign.revision > node.reign.revision:
                    node.reign = reign
                    node.open = [each for each in node.open if each.revision >= reign.revision]

    @invariant()
    def at_most_one_node_takes_itself_for_the_primary(self) -> None:
        holding = [
            name
            for name, node in getattr(self, "nodes", {}).items()
            if node.lease is not None and node.lease.holds(node.clock_ns(self.real_ns))
        ]
        assert len(holding) <= 1, f"{holding} take themselves for the primary"

    @invariant()
    def a_late_change_of_the_nodes_in_sync_never_comes_true_after_a_newer_one(self) -> None:
        reign = self.register.stored.reign if hasattr(self, "register") else None
        if reign is None:
            return
        node = self.nodes[reign.primary]
        if node.reign is not None and node.reign.epoch == reign.epoch:
            allowed = {node.reign.in_sync, *(each.in_sync for each in node.open)}
            assert reign.in_sync in allowed, f"{reign.in_sync} came true, after {node.reign.in_sync}"


#: One run for all, so that the same failures are found each time.
BOUNDS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
def test_whatever_the_order_of_messages_there_is_one_primary_at_most_and_epochs_rise() -> None:
    run_state_machine_as_test(Interleavings, settings=BOUNDS)


@pytest.mark.long
def test_the_same_holds_in_many_more_orders() -> None:
    run_state_machine_as_test(Interleavings, settings=settings(BOUNDS, max_examples=3_000, stateful_step_count=60))


# Known holes, each with a play that has to find it, and that a sound register and lease pass.


class WithoutMargin(Interleavings):
    """Leases end at the primary when they may end at the arbiter, by clocks of other rates."""

    margin_ns, drift_ppm = 1, 0


class TellsEarly(Interleavings):
    """An answer is told before the register is durable."""

    tells_early = True


class UndoesRecords(Interleavings):
    """A change of the nodes in sync does not compare the revision of the record."""

    def taken(self, request: Request) -> Request:
        reign = self.register.stored.reign
        if isinstance(request, Record) and reign is not None:
            return request._replace(revision=reign.revision)
        return request


def check(machine: Interleavings) -> None:
    """Check what always holds."""
    machine.at_most_one_node_takes_itself_for_the_primary()
    machine.a_late_change_of_the_nodes_in_sync_never_comes_true_after_a_newer_one()


def wins(machine: Interleavings, name: str) -> None:
    """Let a node ask for the reign and hear the answer."""
    machine.wants_to_be_primary(name, "a reason")
    machine.arrive(len(machine.there) - 1)
    machine.take_answer(len(machine.back) - 1)


def play_clocks(machine: Interleavings) -> None:
    """The lease of A ends at a fast arbiter while A, whose clock is slow, would still count on it."""
    machine.begin((-DRIFT_PPM, 0, 0, DRIFT_PPM))
    wins(machine, "A")
    machine.time_passes(600)
    machine.nodes["B"].expected = machine.epochs[-1]
    wins(machine, "B")
    assert machine.nodes["B"].lease is not None
    check(machine)


def play_crash(machine: Interleavings) -> None:
    """The arbiter crashes once A has heard that it won; B wins when the lease of A is over."""
    machine.begin((0, 0, 0, 0))
    wins(machine, "A")
    machine.the_arbiter_crashes()
    machine.time_passes(601)
    machine.nodes["B"].expected = machine.register.stored.reign.epoch if machine.register.stored.reign else 0
    wins(machine, "B")
    check(machine)


def play_records(machine: Interleavings) -> None:
    """A change that adds B is late; A takes B out meanwhile and counts on that."""
    machine.begin((0, 0, 0, 0))
    wins(machine, "A")
    machine.records("A", {"B"})
    machine.records("A", set())
    machine.arrive(1)
    machine.take_answer(0)
    check(machine)
    machine.arrive(0)
    check(machine)


@pytest.mark.parametrize(
    ("hole", "play"), [(WithoutMargin, play_clocks), (TellsEarly, play_crash), (UndoesRecords, play_records)]
)
def test_each_known_hole_is_found(hole: type[Interleavings], play: Callable[[Interleavings], None]) -> None:
    """The controls of the test above."""
    play(Interleavings())
    with pytest.raises(AssertionError, match=r"take themselves|came again|came true"):
        play(hole())
