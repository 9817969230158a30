"""Candidacy and tenure against the arbiter's register: who asks when, what an unknown outcome means, and the end."""

import random
from collections.abc import Callable

import pytest

from replication.arbiter import Acquire, Candidate, Read, Reason, Record, Reign, Release, Renew, Standing, Won
from replication.candidacy import EPOCHS_LEFT_OUT, Candidacy
from replication.lease import Lease
from replication.register import Register
from replication.tenure import ACKNOWLEDGED_NS, RETRY_NS, Tenure
from tests.pairs import MS

TTL_NS = 600 * MS


class Names:
    """Names in sync, with a wish that a test sets."""

    def __init__(self) -> None:
        self.wanted = self.recorded = frozenset({"A"})
        self.asked: frozenset[str] = frozenset()
        self.refused: int | None = None
        self.acknowledged_seq = 0

    @property
    def wish(self) -> frozenset[str] | None:
        return None if self.asked or self.wanted == self.recorded else self.wanted

    def on_record_asked(self, names: frozenset[str]) -> None:
        self.asked = names

    def on_record_answered(self, recorded: frozenset[str]) -> None:
        self.recorded, self.asked = recorded, frozenset()

    def on_record_refused(self, epoch: int) -> None:
        self.refused = epoch


def fit(_reign: Reign | None) -> str:
    return ""


def candidacy(name: str = "A", fitness: Callable[[Reign | None], str] = fit, known: int = 0) -> Candidacy:
    return Candidacy(Candidate(name), fitness, ttl_ns=TTL_NS, expected_min=known)


def turn(one: Candidacy, register: Register, now_ns: int) -> None:
    """Send and answer what a candidacy wants to ask now."""
    while (request := one.next_request(now_ns, 0)) is not None:
        one.on_answer(register.ask(request, now_ns), now_ns)


def tenure(register: Register) -> tuple[Tenure, Names]:
    one = candidacy()
    turn(one, register, 0)
    assert one.won is not None
    assert one.lease is not None
    names = Names()
    return Tenure(one.won, one.lease, names), names


def test_the_first_node_wins_and_another_waits_until_the_lease_has_ended() -> None:
    register = Register()
    one, two = candidacy("A"), candidacy("B")
    turn(one, register, 0)
    turn(two, register, 0)
    assert one.won is not None
    assert two.won is None
    assert two.why == f"A is primary in epoch {one.won.epoch}"
    register.ask(Record(one.won.epoch, one.won.reign.revision, ("A", "B")), 0)
    turn(two, register, 2 * TTL_NS)
    assert two.won is not None
    assert two.won.epoch > one.won.epoch


def test_a_node_that_is_not_fit_does_not_ask() -> None:
    register = Register()
    one = candidacy(fitness=lambda _: "A has diverged")
    turn(one, register, 0)
    assert one.won is None
    assert one.why == "A has diverged"
    one.force = "the other site burnt down"
    turn(one, register, 100 * MS)
    assert one.won is not None


def test_a_register_that_knows_less_than_the_node_is_not_believed() -> None:
    register = Register()
    one = candidacy(known=7)
    turn(one, register, 0)
    assert one.won is None
    assert "register was lost" in one.why


def test_a_register_that_has_forgotten_epochs_that_this_node_knows_is_not_believed() -> None:
    one = candidacy(fitness=lambda _: "not yet")
    register = Register()
    register.ask(Acquire(Candidate("B"), 7, TTL_NS, 0, "the register was lost"), 0)
    turn(one, register, 0)
    assert one.expected_min == 8
    one._fitness = fit
    turn(one, Register(), 2 * TTL_NS)
    assert one.won is None
    assert "register was lost" in one.why


def test_a_forced_reign_has_an_epoch_above_all_that_its_node_knows_also_where_the_register_knows_less() -> None:
    register = Register()
    other = candidacy("B")
    turn(other, register, 0)
    one = candidacy(known=7)
    turn(one, register, 2 * TTL_NS)
    assert one.won is None
    one.force = "the register was lost"
    turn(one, register, 3 * TTL_NS)
    assert one.won is not None
    assert one.won.epoch == 7 + EPOCHS_LEFT_OUT + 1
    behind = candidacy("B", known=3)
    behind.next_request(0, 0)
    behind.on_answer(Standing(None, held=False), 0)
    behind.force = "the register was lost"
    assert isinstance(behind.next_request(100 * MS, 0), Acquire)
    behind.on_answer(Won(other.won.reign, TTL_NS), 100 * MS)  # type: ignore[union-attr]
    assert behind.won is None
    assert "knows epoch 3" in behind.why


def test_a_forced_reign_behind_a_lost_register_never_has_an_epoch_that_was_won_and_forgotten() -> None:
    register = Register()
    for _ in range(3):  # won, and each time the answer is lost
        standing = register.ask(Read(), 0)
        assert isinstance(standing, Standing)
        known = standing.reign.epoch if standing.reign is not None else 0
        forgotten = register.ask(Acquire(Candidate("A"), known, TTL_NS, 0), 0)
        assert isinstance(forgotten, Won)
        register.ask(Release(forgotten.epoch), 0)
    one = candidacy(known=1)
    one.force = "the register was lost"
    turn(one, Register(), 0)
    assert one.won is not None
    assert one.won.epoch > forgotten.epoch


def _empty(reign: Reign | None) -> str:
    """Fitness of a node whose journal is empty."""
    return "" if reign is None else f"A has an empty journal, and epoch {reign.epoch} has begun"


def _acquired_unheard(one: Candidacy, register: Register, now_ns: int, time_ns: int) -> None:
    """Read and ask for the reign, which is won; the answer is lost."""
    request = one.next_request(now_ns, time_ns)
    assert isinstance(request, Read)
    one.on_answer(register.ask(request, now_ns), now_ns)
    request = one.next_request(now_ns, time_ns)
    assert isinstance(request, Acquire)
    assert isinstance(register.ask(request, now_ns), Won)
    one.on_failure("no answer within 0.2 s", now_ns)


def test_a_first_reign_that_was_won_unknowingly_has_not_begun() -> None:
    register, one = Register(), candidacy(fitness=_empty)
    now_ns = 0
    for lost in range(1, 3):
        _acquired_unheard(one, register, now_ns, time_ns=lost)
        now_ns += TTL_NS // 2
        turn(one, register, now_ns)
        assert one.why == f"A is primary in epoch {lost}"
        now_ns += TTL_NS
    other = candidacy(fitness=_empty)  # of a process that did not ask for it
    turn(other, register, now_ns)
    assert other.won is None
    assert other.why == "A has an empty journal, and epoch 2 has begun"
    turn(one, register, now_ns)
    assert one.won is not None
    assert one.won.epoch == 3


def test_a_reign_that_was_won_and_answered_meanwhile_has_begun() -> None:
    register, one = Register(), candidacy(fitness=_empty)
    _acquired_unheard(one, register, 0, time_ns=1)
    turn(candidacy(), register, 2 * TTL_NS)
    turn(one, register, 4 * TTL_NS)
    assert one.won is None
    assert one.why == "A has an empty journal, and epoch 2 has begun"


def test_requests_come_one_at_a_time_and_at_intervals() -> None:
    one = candidacy(fitness=lambda _: "not yet")
    assert isinstance(one.next_request(0, 0), Read)
    assert one.next_request(10, 0) is None
    one.on_answer(Standing(None, False), 10)
    assert one.next_request(11, 0) is None
    one.hurry(12)
    assert isinstance(one.next_request(12, 0), Read)


def test_a_lease_counts_from_the_sending_of_the_request() -> None:
    one = candidacy()
    one.next_request(0, 0)
    one.on_answer(Standing(None, False), 5 * MS)
    request = one.next_request(5 * MS, 0)
    assert isinstance(request, Acquire)
    one.on_answer(Register().ask(request, 90 * MS), 100 * MS)
    assert one.lease is not None
    assert one.lease.ends_ns == 5 * MS + TTL_NS - one.lease.margin_ns


def test_a_reign_is_renewed_and_ends_where_the_arbiter_says_so() -> None:
    register = Register()
    reign, names = tenure(register)
    for now_ns in range(0, 3 * TTL_NS, 20 * MS):
        for request in reign.next_requests(now_ns):
            reign.on_answer(request, register.ask(request, now_ns))
        assert reign.holds(now_ns)
    register.ask(reign.release("B"), 3 * TTL_NS)
    assert not reign.holds(3 * TTL_NS)
    reign, names = tenure(Register())
    renewal = next(iter(reign.next_requests(300 * MS)))
    reign.on_answer(renewal, Register().ask(renewal, 0))
    assert not reign.holds(300 * MS)
    assert names.refused is not None
    assert reign.why


def test_a_renewal_may_be_granted_for_a_shorter_time_than_the_lease_was() -> None:
    register = Register()
    reign, _ = tenure(register)
    now_ns = 300 * MS
    (renewal,) = reign.next_requests(now_ns)
    answer = register.ask(renewal, now_ns)
    assert isinstance(answer, Won)
    reign.on_answer(renewal, answer._replace(ttl_ns=TTL_NS // 2))
    assert reign.lease.ends_ns == now_ns + TTL_NS // 2 - reign.lease.margin_ns


def test_a_renewal_without_an_answer_lets_the_lease_end() -> None:
    reign, _ = tenure(Register())
    for now_ns in range(0, TTL_NS, 10 * MS):
        for request in reign.next_requests(now_ns):
            reign.on_failure(request, "timeout", now_ns)
    assert not reign.holds(TTL_NS)


def test_a_wish_is_recorded_while_a_renewal_is_under_way() -> None:
    register = Register()
    reign, names = tenure(register)
    names.wanted = frozenset({"A", "B"})
    requests = reign.next_requests(300 * MS)
    assert [type(request) for request in requests] == [Renew, Record]
    assert names.asked == {"A", "B"}
    reign.on_answer(requests[1], register.ask(requests[1], 300 * MS))
    assert names.recorded == {"A", "B"}
    assert names.asked == frozenset()


@pytest.mark.parametrize("seed", range(200))
def test_names_that_a_late_request_may_still_record_are_never_forgotten(seed: int) -> None:
    """Requests are lost, answered late, or take effect long after they were given up: what the register has is always
    among the names for which answers wait."""
    draw = random.Random(seed)
    register = Register()
    reign, names = tenure(register)
    late: list[Record] = []
    now_ns = 0
    for _ in range(300):
        now_ns += 5 * MS
        if draw.random() < 0.1:
            names.wanted = frozenset({"A"} | ({"B"} if draw.random() < 0.5 else set()))
        while late and draw.random() < 0.2:
            register.ask(late.pop(draw.randrange(len(late))), now_ns)
        for request in reign.next_requests(now_ns):
            fate = draw.random()
            if isinstance(request, Record) and fate < 0.5:
                if fate < 0.2:
                    register.ask(request, now_ns)
                elif fate < 0.4:
                    late.append(request)
                reign.on_failure(request, "timeout", now_ns)
            else:
                reign.on_answer(request, register.ask(request, now_ns))
        standing = register.ask(Read(), now_ns)
        assert isinstance(standing, Standing)
        assert standing.reign is not None
        assert set(standing.reign.in_sync) <= names.recorded | names.asked
    names.wanted = frozenset({"A", "B"})
    for _ in range(20):
        now_ns += RETRY_NS
        for request in reign.next_requests(now_ns):
            reign.on_answer(request, register.ask(request, now_ns))
    assert names.recorded == {"A", "B"}


def test_the_walk_over_late_requests_notices_names_that_are_forgotten() -> None:
    class Forgets(Tenure):
        def on_failure(self, request: object, why: str, now_ns: int) -> None:
            super().on_failure(request, why, now_ns)  # type: ignore[arg-type]
            self._unknown = None
            self._in_sync.on_record_answered(frozenset({"A"}))

    register = Register()
    one = candidacy()
    turn(one, register, 0)
    assert one.won is not None
    names = Names()
    reign = Forgets(one.won, Lease(TTL_NS, 0), names)
    names.wanted = frozenset({"A", "B"})
    (request,) = reign.next_requests(MS)
    register.ask(request, MS)
    reign.on_failure(request, "timeout", MS)
    standing = register.ask(Read(), MS)
    assert isinstance(standing, Standing)
    assert standing.reign is not None
    assert not set(standing.reign.in_sync) <= names.recorded | names.asked


def test_a_reign_that_another_ended_is_over() -> None:
    register = Register()
    reign, names = tenure(register)
    names.wanted = frozenset({"A", "B"})
    (record,) = reign.next_requests(MS)
    register.ask(reign.release(), MS)
    other = candidacy("A")
    turn(other, register, 2 * TTL_NS)
    assert isinstance(other.won, Won)
    reign.why = ""
    reign.on_answer(record, register.ask(record, 2 * TTL_NS))
    assert reign.why
    assert names.refused == other.won.epoch
    lost = register.ask(record, 2 * TTL_NS)
    assert getattr(lost, "reason", None) is Reason.ENDED


def about_the_record(reign: Tenure, now_ns: int) -> list[Record]:
    """Requests to change the record that are due."""
    return [each for each in reign.next_requests(now_ns) if isinstance(each, Record)]


def test_the_record_gets_the_newest_acknowledged_command_once_a_second_and_only_news() -> None:
    register = Register()
    reign, names = tenure(register)
    names.acknowledged_seq = 7
    (first,) = about_the_record(reign, 0)
    assert (first.acknowledged_seq, first.in_sync) == (7, reign.reign.in_sync)
    reign.on_answer(first, register.ask(first, 0))
    assert register.stored.reign is not None
    assert register.stored.reign.acknowledged_seq == reign.reign.acknowledged_seq == 7
    assert not names.asked
    assert about_the_record(reign, 2 * ACKNOWLEDGED_NS) == []
    names.acknowledged_seq = 9
    (second,) = about_the_record(reign, 2 * ACKNOWLEDGED_NS)
    names.acknowledged_seq = 11
    reign.on_failure(second, "timeout", 2 * ACKNOWLEDGED_NS)  # it may have come true
    assert [
        type(each) for each in reign.next_requests(2 * ACKNOWLEDGED_NS + RETRY_NS) if not isinstance(each, Renew)
    ] == [Read]


def test_the_record_of_an_acknowledged_command_waits_for_its_time() -> None:
    register = Register()
    reign, names = tenure(register)
    names.acknowledged_seq = 7
    (first,) = about_the_record(reign, 0)
    reign.on_answer(first, register.ask(first, 0))
    names.acknowledged_seq = 8
    assert about_the_record(reign, ACKNOWLEDGED_NS - 1) == []
    assert [each.acknowledged_seq for each in about_the_record(reign, ACKNOWLEDGED_NS)] == [8]
