"""One behaviour of all arbiters: a register in memory, a witness in a process of its own, and a real etcd."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from replication.arbiter import (
    Arbiter,
    Candidate,
    Lost,
    Reason,
    Standing,
    Won,
)
from tests.arbiters import HAS_ETCD, LONG_NS, NO_ETCD, Court, EtcdCourt, MemoryCourt, WitnessCourt, new_market, until

A = Candidate("A", "10.0.0.1:9100", "10.0.0.1:9001", "replica")
B = Candidate("B", "10.0.0.2:9100", "10.0.0.2:9001")


@pytest.fixture(
    scope="module",
    params=["memory", "witness", pytest.param("etcd", marks=pytest.mark.skipif(not HAS_ETCD, reason=NO_ETCD))],
)
def court(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """An arbiter that runs. Each test has a market of its own."""
    made: Court
    match request.param:
        case "memory":
            made = MemoryCourt()
        case "witness":
            made = WitnessCourt(tmp_path_factory.mktemp("witness") / "data")
            made.start()
        case _:
            made = EtcdCourt(tmp_path_factory.mktemp("etcd"))
            made.start_all()
    yield made
    made.stop()


def won(answer: Won | Lost) -> Won:
    """The answer, which has to be won."""
    assert isinstance(answer, Won), answer
    return answer


def lost(answer: Won | Lost | Standing) -> Reason:
    """Reason of the answer, which has to be lost, with a sentence."""
    assert isinstance(answer, Lost), answer
    assert answer.why
    return answer.reason


def pair(court: Court, ttl_ns: int = LONG_NS) -> tuple[Arbiter, Arbiter]:
    """Two drivers of one new market."""
    market = new_market()
    return court.driver(market, ttl_ns), court.driver(market, ttl_ns)


async def ended(*drivers: Arbiter) -> None:
    for driver in drivers:
        await driver.close()


def test_the_first_candidate_wins_and_another_is_refused_while_the_lease_lasts(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court)
        assert await one.read() == Standing(None, held=False)
        first = won(await one.acquire(A, 0))
        reign = first.reign
        assert first.epoch == reign.epoch == reign.revision > 0
        assert (reign.primary, reign.address, reign.clients, reign.policy) == A[:4]
        assert (reign.in_sync, reign.forced) == (("A",), "")
        assert first.ttl_ns >= LONG_NS
        assert await two.read() == Standing(reign, held=True)
        for expected in (0, first.epoch):
            assert lost(await two.acquire(B, expected)) is Reason.HELD
        # Not even by force: an operator cannot know that the primary is dead.
        assert lost(await two.acquire(B, first.epoch, force="it must be dead")) is Reason.HELD
        assert won(await one.renew(first.epoch)).reign == reign
        await ended(one, two)

    asyncio.run(play())


def test_a_node_wins_only_if_it_was_in_sync_or_by_force_with_a_reason_that_stays_on_record(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court)
        first = won(await one.acquire(A, 0))
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        assert both.reign.in_sync == ("A", "B")
        assert both.epoch == first.epoch
        assert both.reign.revision > first.reign.revision
        alone = won(await one.record(first.epoch, both.reign.revision, ("A",)))
        assert await one.release(first.epoch) == Standing(alone.reign, held=False)
        refused = await two.acquire(B, first.epoch)
        assert lost(refused) is Reason.NOT_IN_SYNC
        assert await two.read() == Standing(alone.reign, held=False)
        forced = won(await two.acquire(B, first.epoch, force="the disk of A is gone"))
        assert (forced.reign.in_sync, forced.reign.forced) == (("B",), "the disk of A is gone")
        assert forced.epoch > alone.reign.revision
        assert await one.read() == Standing(forced.reign, held=True)
        await ended(one, two)

    asyncio.run(play())


def test_another_directory_under_the_name_of_a_node_in_sync_wins_only_by_force(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court)
        mine, other = B._replace(directory="1" * 32), B._replace(directory="2" * 32)
        first = won(await one.acquire(A, 0))
        await one.record(first.epoch, first.reign.revision, ("A", mine.member))
        await one.release(first.epoch)
        refused = await two.acquire(other, first.epoch)
        assert lost(refused) is Reason.NOT_IN_SYNC
        assert isinstance(refused, Lost)
        assert refused.why.startswith("another directory of B was in sync in epoch")
        taken = won(await two.acquire(mine, first.epoch))
        assert taken.reign.in_sync == (mine.member,)
        assert taken.reign.names_in_sync == ("B",)
        await two.release(taken.epoch)
        forced = won(await two.acquire(other, taken.epoch, force="the disk of B is gone"))
        assert forced.reign.in_sync == (other.member,)
        await ended(one, two)

    asyncio.run(play())


def test_every_request_of_an_epoch_that_has_ended_is_refused_with_the_reign_that_followed(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court)
        first = won(await one.acquire(A, 0))
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        await two.release(first.epoch)  # by the supervisor of A, which saw it die
        answers = [await one.renew(first.epoch), await one.record(first.epoch, both.reign.revision, ("A",))]
        assert [lost(each) for each in answers] == [Reason.ENDED, Reason.ENDED]
        second = won(await two.acquire(B, first.epoch))
        assert second.epoch > both.reign.revision
        answers = [
            await one.renew(first.epoch),
            await one.record(first.epoch, both.reign.revision, ("A",)),
            await one.record(first.epoch, second.reign.revision, ("A",)),
        ]
        late = await one.release(first.epoch)
        assert [lost(each) for each in (*answers, late)] == [Reason.ENDED] * 4
        assert [each.reign for each in answers if isinstance(each, Lost)] == [second.reign] * 3
        assert await one.read() == Standing(second.reign, held=True)
        assert lost(await one.acquire(A, first.epoch)) is Reason.HELD
        await two.release(second.epoch)
        assert lost(await one.acquire(A, first.epoch)) is Reason.CHANGED
        assert lost(await one.acquire(A, second.epoch)) is Reason.NOT_IN_SYNC
        assert won(await two.acquire(B, second.epoch)).epoch > second.epoch
        await ended(one, two)

    asyncio.run(play())


def test_a_change_of_the_nodes_in_sync_replaces_only_the_record_that_it_expects(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court)
        first = won(await one.acquire(A, 0))
        both = won(await two.record(first.epoch, first.reign.revision, ("A", "B")))
        assert lost(await one.record(first.epoch, first.reign.revision, ("A", "C"))) is Reason.CHANGED
        assert (await one.read()).reign == both.reign
        with pytest.raises(court.refusal, match="name the primary A too"):
            await one.record(first.epoch, both.reign.revision, ("B",))
        with pytest.raises(ValueError, match="name each once"):
            await one.record(first.epoch, both.reign.revision, ("A", "A"))
        assert (await one.read()).reign == both.reign
        assert won(await one.renew(first.epoch)).reign == both.reign
        await ended(one, two)

    asyncio.run(play())


def test_a_successor_alone_may_follow_a_release_that_names_it(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court)
        first = won(await one.acquire(A, 0))
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B", "C")))
        assert await one.release(first.epoch, "B") == Standing(both.reign, held=False, successor="B")
        assert await two.read() == Standing(both.reign, held=False, successor="B")
        for name in ("A", "C"):
            assert lost(await one.acquire(Candidate(name), first.epoch)) is Reason.RESERVED
        second = won(await two.acquire(B, first.epoch))
        assert await one.read() == Standing(second.reign, held=True)
        await ended(one, two)

    asyncio.run(play())


def test_a_register_that_lost_its_data_is_not_believed_and_a_forced_reign_has_a_higher_epoch_all_the_same(
    court: Court,
) -> None:
    async def play() -> None:
        one, two = pair(court)
        known = 1_000_000_000
        assert lost(await one.acquire(A, known)) is Reason.CHANGED
        first = won(await one.acquire(A, known, force="a new etcd"))
        assert first.epoch > known
        assert won(await one.renew(first.epoch)).reign == first.reign
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        assert both.reign.revision > first.epoch
        assert await two.release(first.epoch) == Standing(both.reign, held=False)
        assert lost(await two.acquire(B, 2 * known)) is Reason.CHANGED
        second = won(await two.acquire(B, 2 * known, force="etcd restored from an old copy"))
        assert second.epoch > 2 * known
        assert won(await two.renew(second.epoch)).epoch == second.epoch
        assert await one.read() == Standing(second.reign, held=True)
        await ended(one, two)

    asyncio.run(play())


def test_of_several_candidates_at_once_exactly_one_wins_and_epochs_rise(court: Court) -> None:
    async def play() -> None:
        market = new_market()
        names = [f"N{number}" for number in range(6)]
        drivers = [court.driver(market) for _ in names]
        last = 0
        for _ in range(5):
            answers = await asyncio.gather(
                *(each.acquire(Candidate(name), last) for each, name in zip(drivers, names, strict=True))
            )
            (winner,) = [each for each in answers if isinstance(each, Won)]
            assert winner.epoch > last
            assert all(lost(each) in (Reason.HELD, Reason.CHANGED) for each in answers if each is not winner)
            both = won(await drivers[0].record(winner.epoch, winner.reign.revision, tuple(names)))
            last = winner.epoch
            assert await drivers[1].release(last) == Standing(both.reign, held=False)
        await ended(*drivers)

    asyncio.run(play())


def test_markets_are_apart(court: Court) -> None:
    async def play() -> None:
        one, two = court.driver(new_market()), court.driver(new_market())
        first = won(await one.acquire(A, 0))
        assert await two.read() == Standing(None, held=False)
        second = won(await two.acquire(B, 0))
        await two.release(second.epoch)
        assert await one.read() == Standing(first.reign, held=True)
        await ended(one, two)

    asyncio.run(play())


@pytest.mark.slow
def test_a_lease_that_is_not_renewed_ends_and_one_that_is_goes_on(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court, court.short_ns)
        first = won(await one.acquire(A, 0))
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        assert first.ttl_ns == court.short_ns
        # Renewals, a quarter of the lease apart. A machine that stood still for a whole lease proves nothing.
        for _ in range(20):
            began_s, stood_still = time.monotonic(), False
            for _ in range(6):
                before_s = time.monotonic()
                await asyncio.sleep(0 if isinstance(court, MemoryCourt) else court.short_ns * 0.25e-9)
                await court.pass_time(court.short_ns // 4)
                kept = await one.renew(first.epoch)
                stood_still |= time.monotonic() - before_s > court.short_ns * 0.9e-9
                if stood_still:
                    break
                assert won(kept).reign == both.reign
            if not stood_still:
                break
            if isinstance(kept, Lost):
                first = won(await one.acquire(A, first.epoch))
                both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        else:
            pytest.skip(f"this machine stands still for longer than a lease ({time.monotonic() - began_s:.1f} s)")

        async def is_free() -> bool:
            await court.pass_time(court.short_ns // 10)
            return not (await two.read()).held

        await until(is_free, "the lease does not end")
        assert await two.read() == Standing(both.reign, held=False)
        assert lost(await one.renew(first.epoch)) is Reason.ENDED
        assert lost(await one.record(first.epoch, both.reign.revision, ("A",))) is Reason.ENDED
        second = won(await two.acquire(B, first.epoch))
        assert second.epoch > both.reign.revision
        assert lost(await one.renew(first.epoch)) is Reason.ENDED
        await ended(one, two)

    asyncio.run(play())


@pytest.mark.slow
def test_the_time_of_a_successor_ends_too(court: Court) -> None:
    async def play() -> None:
        one, two = pair(court, court.short_ns)
        first = won(await one.acquire(A, 0))
        await one.release(first.epoch, "B")

        async def is_free() -> bool:
            await court.pass_time(court.short_ns // 10)
            return not (await two.read()).successor

        await until(is_free, "the reservation does not end")
        assert won(await one.acquire(A, first.epoch)).epoch > first.epoch
        await ended(one, two)

    asyncio.run(play())
