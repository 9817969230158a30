"""Notices on the arbiter: it answers again after a failure, and a lease that ends or is renewed is said once."""

import io
from pathlib import Path

import pytest

from node.pair.arbiter_notices import SETTLED_NS, ArbiterNotices
from node.programs.logs import Log
from replication.arbiter import ArbiterError, Read, Renew
from replication.lease import lease_clock_ns
from replication.memory import MemoryArbiter
from replication.register import Register
from tests.pairs import MS
from tests.test_node_pair import Member, until, with_pair
from tests.test_tenure import TTL_NS, candidacy, tenure


def test_a_copy_says_once_that_the_arbiter_answers_again() -> None:
    one, register, notices = candidacy(), Register(), ArbiterNotices()
    assert notices.look(one, None, 0) == []
    assert one.next_request(0, 0) is not None
    one.on_failure("no answer within 0.2 s", 10 * MS)
    assert notices.look(one, None, 10 * MS) == []
    request = one.next_request(90 * MS, 0)
    assert request is not None
    one.on_answer(register.ask(request, 90 * MS), 90 * MS)
    assert notices.look(one, None, 90 * MS) == []
    assert notices.look(one, None, 1_089 * MS) == [], "the next request may fail again"
    (again,) = notices.look(one, None, 1_090 * MS)
    assert (again.level, again.event, again.fields) == ("info", "the arbiter answers again", {"after_ms": 80})
    assert notices.look(one, None, 1_095 * MS) == []


def test_an_arbiter_that_answers_some_requests_and_refuses_others_is_told_once() -> None:
    one, register, notices = candidacy(), Register(), ArbiterNotices()
    told = []
    for now_ns in range(0, 2_000 * MS, 100 * MS):
        request = one.next_request(now_ns, 0)
        assert request is not None
        if now_ns % (200 * MS):
            one.on_failure("the disk is full", now_ns)
            told.append(notices.on_failure("the disk is full", now_ns))
        else:
            one.on_answer(register.ask(Read(), now_ns), now_ns)
        assert notices.look(one, None, now_ns) == []
    assert [each.event for each in told if each is not None] == ["the arbiter does not answer"]
    other = notices.on_failure("it cannot be reached", 1_950 * MS)
    assert other is not None
    assert other.fields["why"] == "it cannot be reached"
    one.failure = ""
    assert notices.look(one, None, 2_000 * MS) == []
    assert [each.event for each in notices.look(one, None, 3_000 * MS)] == ["the arbiter answers again"]
    assert notices.on_failure("the disk is full", 3_000 * MS) is not None, "that is another outage"


def test_a_primary_says_that_its_lease_has_ended_and_that_it_is_renewed() -> None:
    register, notices = Register(), ArbiterNotices()
    reign, _ = tenure(register)
    one = candidacy()
    assert notices.look(one, reign, 0) == []
    (request,) = reign.next_requests(TTL_NS // 2)
    assert isinstance(request, Renew)
    reign.on_failure(request, "the witness cannot be reached", TTL_NS // 2)
    late_ns = reign.lease.ends_ns + 1  # the register's own lease lasts a margin longer
    (ended,) = notices.look(one, reign, late_ns)
    assert (ended.level, ended.event) == ("warning", "the lease has ended")
    assert ended.fields["why"] == "the witness cannot be reached"
    assert "nothing is answered" in str(ended.fields["then"])
    assert notices.look(one, reign, late_ns + 1) == []
    (request,) = reign.next_requests(late_ns + 2)
    reign.on_answer(request, register.ask(request, late_ns + 2))
    assert [each.event for each in notices.look(one, reign, late_ns + 3)] == ["the lease is renewed"]
    events = [each.event for each in notices.look(one, reign, late_ns + 3 + SETTLED_NS)]
    assert "the arbiter answers again" in events


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_primary_that_stood_still_itself_says_so_where_its_lease_has_ended(*, is_paused: bool) -> None:
    reign, _ = tenure(Register())
    notices = ArbiterNotices()
    late_ns = reign.lease.ends_ns + 10_000 * MS
    looks = [0] if is_paused else range(0, reign.lease.ends_ns, 50 * MS)
    assert not any(notices.look(candidacy(), reign, now_ns) for now_ns in looks)
    (ended,) = notices.look(candidacy(), reign, late_ns if is_paused else reign.lease.ends_ns + 1)
    assert ended.event == "the lease has ended"
    paused = f"this node itself stood still for {late_ns / 1e9:.1f} s"
    assert ended.fields["why"] == (paused if is_paused else "no renewal was answered in time")


def test_the_end_of_a_reign_is_no_end_of_a_lease() -> None:
    reign, _ = tenure(Register())
    notices = ArbiterNotices()
    reign.release("B")
    assert notices.look(candidacy(), reign, TTL_NS) == []


@pytest.mark.slow
def test_both_nodes_of_a_pair_log_that_the_arbiter_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    log = Log(stream, pretty=False)
    monkeypatch.setattr("tests.test_node_pair.Log", lambda: log)

    def said(event: str) -> int:
        return stream.getvalue().count(f'"event": "{event}"')

    def ask_now(a: Member, b: Member) -> None:
        """Make the requests of both due, which would come later, by the lease of a minute."""
        assert a.pair.tenure is not None
        a.pair.tenure.lease._attempt_ns = 0
        b.pair.candidacy.hurry(lease_clock_ns())

    async def story(_: Register, a: Member, b: Member) -> None:
        async def fail(_self: MemoryArbiter, _request: object) -> None:
            raise ArbiterError("the witness cannot be reached")

        ask = MemoryArbiter.ask
        monkeypatch.setattr(MemoryArbiter, "ask", fail)
        ask_now(a, b)
        await until(lambda: bool(a.pair.tenure and a.pair.tenure.failure) and bool(b.pair.candidacy.failure))
        await until(lambda: said("the arbiter does not answer") >= 2)
        assert said("the arbiter answers again") == 0
        monkeypatch.setattr(MemoryArbiter, "ask", ask)
        ask_now(a, b)
        await until(lambda: said("the arbiter answers again") == 2)

    with_pair(tmp_path, story)
    log.close()
