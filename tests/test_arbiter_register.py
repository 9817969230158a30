"""The register of an arbiter and the lease of a primary, under a virtual clock."""

import asyncio
import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.arbiter import (
    EPOCH_MAX,
    TTL_NS_MIN,
    Acquire,
    Answer,
    Candidate,
    Lost,
    Read,
    Reason,
    Record,
    Reign,
    Release,
    Renew,
    Request,
    Standing,
    Won,
    market_key,
)
from replication.lease import DRIFT_PPM, Lease, margin_default_ns, margin_least_ns
from replication.memory import MemoryArbiter
from replication.messages import answer_fields, decode_answer, decode_request, from_json, request_fields, to_json
from replication.register import Register
from wire.errors import ProtocolError

MS = 1_000_000
TTL_NS = 600 * MS


def won(answer: Answer) -> Won:
    """The answer, which has to be won."""
    assert isinstance(answer, Won), answer
    return answer


def reason(answer: Answer) -> Reason:
    """Reason of the answer, which has to be lost."""
    assert isinstance(answer, Lost), answer
    return answer.reason


def wish(name: str, expected: int, force: str = "") -> Acquire:
    return Acquire(Candidate(name, "a:1", "b:2"), expected, TTL_NS, 5, force)


def test_a_register_that_is_read_again_counts_as_held_for_one_lease_time_and_its_reign_may_renew() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    again = Register(register.stored, 10_000 * MS)
    late = 10_000 * MS + TTL_NS - 1
    assert reason(again.ask(wish("A", first.epoch), late)) is Reason.HELD
    assert won(again.ask(Renew(first.epoch), late)).epoch == first.epoch
    assert reason(again.ask(wish("A", first.epoch), late + TTL_NS - 1)) is Reason.HELD
    assert won(again.ask(wish("A", first.epoch), late + TTL_NS)).epoch > first.epoch


def test_a_register_that_is_read_again_after_a_release_does_not_wait() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    assert isinstance(register.ask(Release(first.epoch), 1), Standing)
    again = Register(register.stored, 0)
    assert reason(again.ask(Renew(first.epoch), 0)) is Reason.ENDED
    assert won(again.ask(wish("A", first.epoch), 0)).epoch > first.epoch


def test_a_successor_alone_may_follow_for_one_lease_time_also_when_the_register_is_read_again() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    won(register.ask(Record(first.epoch, first.reign.revision, ("A", "B")), 1))
    assert register.ask(Release(first.epoch, "B"), 2) == Standing(register.stored.reign, False, "B")
    for each, start in ((register, 2), (Register(register.stored, 7 * MS), 7 * MS)):
        assert reason(each.ask(wish("A", first.epoch), start + TTL_NS - 1)) is Reason.RESERVED
        assert each.ask(Read(), start + TTL_NS) == Standing(register.stored.reign, False, "")
    assert won(register.ask(wish("A", first.epoch), 2 + TTL_NS)).reign.in_sync == ("A",)


def test_a_late_request_never_undoes_a_newer_record() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    late = Record(first.epoch, first.reign.revision, ("A", "B"))
    alone = won(register.ask(Record(first.epoch, first.reign.revision, ("A",)), 1))
    assert alone.reign.revision > first.reign.revision
    assert reason(register.ask(late, 2)) is Reason.CHANGED
    assert register.standing(3).reign == alone.reign


def test_a_decision_has_no_effect_until_it_is_committed() -> None:
    register = Register()
    decision = register.decide(wish("A", 0), 0)
    assert register.standing(0) == Standing(None, False)
    register.commit(decision)
    assert register.standing(0) == Standing(won(decision.answer).reign, True)


def test_a_time_in_which_the_arbiter_read_nothing_does_not_end_a_lease() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    register.extend(1_000 * MS)
    assert won(register.ask(Renew(first.epoch), TTL_NS + 999 * MS)).epoch == first.epoch


@pytest.mark.parametrize(
    "request_",
    [
        wish("", 0),
        wish("-a", 0),
        wish("A" * 65, 0),
        wish("A", -1),
        wish("A", EPOCH_MAX + 1),
        wish("A", 0, "x" * 201),
        wish("A", 0)._replace(ttl_ns=TTL_NS_MIN - 1),
        wish("A", 0)._replace(since_ns=-1),
        wish("A", 0)._replace(candidate=Candidate("A", "x" * 256)),
        wish("A", 0)._replace(candidate=Candidate("A", "a\n")),
        wish("A", 0)._replace(candidate=Candidate("A", policy="soon")),
        Record(1, 1, ()),
        Record(1, 1, ("A", "A")),
        Record(1, 1, ("A", "")),
        Release(1, "a b"),
    ],
)
def test_values_out_of_bounds_are_refused_before_anything_changes(request_: Request) -> None:
    register = Register()
    with pytest.raises(ValueError, match=r"give|cannot|name each"):
        register.ask(request_, 0)
    assert register.standing(0) == Standing(None, False)
    with pytest.raises(ProtocolError):
        decode_request(from_json(to_json(request_fields(request_)), "a request"))


def test_the_primary_is_always_in_sync() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    with pytest.raises(ValueError, match="name the primary A too"):
        register.ask(Record(first.epoch, first.reign.revision, ("B",)), 1)
    assert register.standing(1).reign == first.reign


def test_the_key_of_a_market_is_made_of_the_id_of_its_journal() -> None:
    with pytest.raises(ValueError, match="32 digits"):
        market_key(bytes(15))


def test_drivers_in_one_process_share_a_register_and_its_clock() -> None:
    register, now_ns = Register(), 0
    one, two = (MemoryArbiter(register, lambda: now_ns, TTL_NS) for _ in range(2))

    async def play() -> None:
        nonlocal now_ns
        first = won(await one.acquire(Candidate("A"), 0))
        assert await two.read() == Standing(first.reign, held=True)
        assert reason(await two.acquire(Candidate("B"), first.epoch)) is Reason.HELD
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        now_ns += TTL_NS
        second = won(await two.acquire(Candidate("B"), first.epoch))
        assert second.epoch > both.reign.revision
        assert reason(await one.renew(first.epoch)) is Reason.ENDED
        assert await two.release(second.epoch) == Standing(second.reign, held=False)

    asyncio.run(play())


# Messages.

REIGN = Reign(3, 4, "A", "a:1", "b:2", ("A", "B"), 17, "a reason", "replica")
MESSAGES: list[tuple[Any, Any, Any]] = [
    *((each, request_fields, decode_request) for each in (
        wish("A", 7, "lost"), Renew(3), Record(3, 4, ("A", "B")), Release(3, "B"), Read())),
    *((each, answer_fields, decode_answer) for each in (
        Won(REIGN, TTL_NS), Lost(Reason.HELD, "why", REIGN), Lost(Reason.ENDED, "why", None),
        Standing(None, False), Standing(REIGN, True, "B"))),
]  # fmt: skip


@pytest.mark.parametrize(("message", "fields", "decode"), MESSAGES, ids=lambda each: type(each).__name__)
def test_a_message_is_read_as_it_was_written(message: Any, fields: Any, decode: Any) -> None:
    written = from_json(to_json(fields(message)), "a message")
    assert decode(written) == message
    for name in written:
        with pytest.raises(ProtocolError):
            decode({**written, name: {"no": "value"}})
        if name not in ("reign",) or isinstance(message, Won):
            with pytest.raises(ProtocolError):
                decode({key: value for key, value in written.items() if key != name})
    with pytest.raises(ProtocolError, match="more"):
        decode({**written, "more": 1})


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_with_a_sentence(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request(from_json(text, "a request"))


# The lease of a primary, beside the register's. Time is real time; each side has a clock of its own rate.


def scaled(ns: int, ppm: int) -> int:
    """A time on a clock whose rate is off by ``ppm`` millionths."""
    return ns * (1_000_000 + ppm) // 1_000_000


def overlap_ns(
    delays_ns: list[tuple[int, int, int]],
    rate_ppm: int,
    arbiter_ppm: int,
    *,
    margin_ns: int | None = None,
    drift_ppm: int = DRIFT_PPM,
    counts_from_the_answer: bool = False,
) -> int:
    """Real time in which A still takes itself for primary after another could win: 0 or less is safe.

    delays_ns: of the request that wins and each renewal: pause before it, way there, way back. Requests arrive in
    order; confirmations may not.
    """
    register = Register()
    sent_ns = last_ns = 1_000
    confirmations: list[tuple[int, int, Answer]] = []
    for number, (pause_ns, there_ns, back_ns) in enumerate(delays_ns):
        sent_ns += pause_ns
        last_ns = max(sent_ns + there_ns, last_ns)
        asked: Request = wish("A", 0) if number == 0 else Renew(1)
        answer = register.ask(asked, scaled(last_ns, arbiter_ppm))
        confirmations.append((last_ns + back_ns, sent_ns, answer))
    low, high = last_ns, last_ns + 2 * TTL_NS
    while low < high:  # the first moment at which another can win
        middle = (low + high) // 2
        if register.standing(scaled(middle, arbiter_ppm)).held:
            low = middle + 1
        else:
            high = middle
    assert won(register.ask(wish("A", 1), scaled(low, arbiter_ppm))).epoch == 2
    lease = None
    for came_ns, asked_ns, answer in sorted(confirmations, key=lambda each: each[0]):
        from_ns = scaled(came_ns if counts_from_the_answer else asked_ns, rate_ppm)
        if isinstance(answer, Won):
            if lease is None:
                lease = Lease(answer.ttl_ns, from_ns, margin_ns=margin_ns, drift_ppm=drift_ppm)
            lease.renewed(from_ns, lease.ttl_ns)
    assert lease is not None
    while lease.holds(scaled(high, rate_ppm)):
        high += MS
    return high - low


DELAYS = st.lists(
    st.tuples(st.integers(0, 400 * MS), st.sampled_from([0, 1, MS, 300 * MS, 5_000 * MS]), st.integers(0, 900 * MS)),
    min_size=1,
    max_size=6,
)
RATE = st.sampled_from([-DRIFT_PPM, 0, DRIFT_PPM])


@pytest.mark.slow
@given(DELAYS, RATE, RATE, st.sampled_from([None, margin_least_ns(TTL_NS)]))
@settings(max_examples=300, deadline=None)
def test_a_primarys_view_of_its_lease_ends_before_another_can_win(
    delays_ns: list[tuple[int, int, int]], rate_ppm: int, arbiter_ppm: int, margin_ns: int | None
) -> None:
    assert overlap_ns(delays_ns, rate_ppm, arbiter_ppm, margin_ns=margin_ns) == 0


def test_a_lease_without_a_margin_is_found() -> None:
    """The control of the test above: a slow clock at the primary, a fast one at the arbiter."""
    assert overlap_ns([(0, 0, 0)], -DRIFT_PPM, DRIFT_PPM, margin_ns=1, drift_ppm=0) > 0


def test_a_lease_that_counts_from_its_confirmation_is_found() -> None:
    """Another control: an answer that took long."""
    assert overlap_ns([(0, 0, 300 * MS)], 0, 0, counts_from_the_answer=True) > 0
    assert overlap_ns([(0, 0, 300 * MS)], 0, 0) == 0


def test_a_margin_that_drift_uses_up_is_refused() -> None:
    for margin_ns in (0, margin_least_ns(TTL_NS) - 1, TTL_NS):
        with pytest.raises(ValueError, match="give at least"):
            Lease(TTL_NS, 0, margin_ns=margin_ns)
    assert Lease(TTL_NS, 0).margin_ns == margin_default_ns(TTL_NS) == 120 * MS
    assert margin_default_ns(TTL_NS_MIN) == 50 * MS


def test_a_lease_is_renewed_by_the_sending_time_and_never_shortened_and_ends_for_good_when_lost() -> None:
    lease = Lease(TTL_NS, 1_000)
    assert lease.next_renewal_ns == 1_000 + 120 * MS
    lease.renewal_sent(130 * MS)
    assert lease.next_renewal_ns == 250 * MS
    assert lease.ends_ns == 1_000 + 480 * MS
    lease.renewed(130 * MS, lease.ttl_ns)
    lease.renewed(50 * MS, lease.ttl_ns)
    assert lease.ends_ns == 610 * MS
    assert lease.holds(610 * MS - 1)
    assert not lease.holds(610 * MS)
    lease.renewed(600 * MS, lease.ttl_ns)
    assert lease.holds(610 * MS)
    lease.lost()
    lease.renewed(605 * MS, lease.ttl_ns)
    assert not lease.holds(606 * MS)


def test_a_reign_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        REIGN.epoch = 4  # type: ignore[misc]


def test_the_acknowledged_command_stays_from_reign_to_reign_and_never_goes_back_unless_one_is_forced() -> None:
    register = Register()
    first = won(register.ask(wish("A", 0), 0))
    told = won(register.ask(Record(first.epoch, first.reign.revision, ("A", "B"), 40), 1))
    assert told.reign.acknowledged_seq == 40
    later = won(register.ask(Record(first.epoch, told.reign.revision, ("A", "B"), 30), 2))
    assert later.reign.acknowledged_seq == 40
    register.ask(Release(first.epoch), 3)
    second = won(register.ask(wish("B", first.epoch), 4))
    assert second.reign.acknowledged_seq == 40
    register.ask(Release(second.epoch), 5)
    forced = won(register.ask(wish("A", second.epoch, "its disk alone is left"), 6))
    assert forced.reign.acknowledged_seq == 0
