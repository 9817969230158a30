"""Pieces of the state: a walk meets every bit of it within one round, and names the part."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.bounds import DAY_NS
from engine.capacity import Capacity
from engine.engine import Engine
from engine.errors import InvariantError
from engine.parts import regions
from replication.link import LinkError, Scrub
from replication.pieces import BUSY_COMMANDS, ROUND_TURNS, TURN_NS, PieceComparison, PieceWalk
from tests.flipping_node import PLACES, flip
from tests.limit_rows import venue
from tests.rows import batch, cancel, clock, enter, extend, market_of
from tests.streams import random_stream

CAPACITY = Capacity(orders_max=200, ids_max=400, instruments_max=2, participants_max=5)


def twins() -> tuple[Engine, Engine]:
    """Two engines that applied the same commands, the last of which wait for their effect."""
    late = [enter(1 + at % 3, f"late{at}", 1, 10, 990_000) for at in range(40)]
    rows = batch(random_stream(11, 3_000), venue(speed_bump_ns=10**9), *late)
    engines = Engine(CAPACITY), Engine(CAPACITY)
    for engine in engines:
        engine.apply(rows)
        assert len(engine.waiting().seq) == len(late)
    return engines


def differences(primary: Engine, copy: Engine, walk: PieceWalk, turns: int) -> list[str]:
    """Parts that differ, in the order in which a copy meets them; turns without a difference are few."""
    comparison = PieceComparison(copy)
    for _ in range(turns):
        found = []
        for scrub in walk.turn(primary):
            part, own = comparison.own(scrub)
            if own != scrub.digest:
                found.append(part)
        if found:
            return found
    return []


def places() -> Iterator[Any]:
    """Each region of the state with bytes at its start, at its end and between."""
    engine, _ = twins()
    rng = np.random.default_rng(3)
    for index, region in enumerate(regions(engine._state)):
        size = region.rows.nbytes
        for at in sorted({0, size - 1, *rng.integers(0, size, 3).tolist()}) if size else ():
            yield pytest.param(index, region.part, at, int(rng.integers(0, 8)), id=f"{region.name}-{at}")


def test_the_states_of_engines_that_applied_the_same_agree_in_every_piece() -> None:
    one, two = twins()
    walk = PieceWalk(65_536)
    assert differences(one, two, walk, 200) == []
    assert min(walk.rounds) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("bytes_max", [16_384, 1 << 20])
def test_any_flipped_bit_of_any_region_is_found_within_a_round_and_its_part_is_named(bytes_max: int) -> None:
    seen = set()
    for param in places():
        index, part, at, bit = param.values
        one, two = twins()
        walk = PieceWalk(bytes_max)
        largest = max(sum(each.rows.nbytes for each in regions(one._state) if each.paged == paged) for paged in (0, 1))
        largest *= 1 + regions(one._state)[index].paged  # the ids, and all other sparse ones, have half of the room
        raw = regions(two._state)[index].rows.view(np.uint8).reshape(-1)
        raw[at] ^= 1 << bit
        found = differences(one, two, walk, largest // bytes_max + ROUND_TURNS + 1)
        assert found[:1] == [part], (param.id, found)
        seen.add(part)
    assert seen == set(twins()[0].part_digests()) - {"events"}


@pytest.mark.parametrize("name", ["_link", "_tail"])
def test_a_flipped_bit_in_the_chain_of_events_is_found_though_its_digest_does_not_show_it(name: str) -> None:
    one, two = twins()
    changed = bytearray(getattr(two._chain, name))
    changed[3] ^= 4
    setattr(two._chain, name, changed if name == "_tail" else bytes(changed))
    if name == "_tail":
        assert one.event_digest == two.event_digest
    assert differences(one, two, PieceWalk(), 1) == ["events"]


def test_a_walk_that_leaves_a_region_out_misses_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without the table of ids a flipped bit of an id is not found."""
    one, two = twins()
    two._state.ids.view(np.uint8)[8] ^= 1
    assert set(differences(one, two, PieceWalk(), 3)) == {"ids"}
    real = Engine.pieces

    def without_ids(engine: Engine) -> Any:
        pieces = real(engine)
        pieces.first_ids = pieces.first_dense
        monkeypatch.setattr(pieces, "walk_used_ids", lambda number, _: ([], number))
        return pieces

    monkeypatch.setattr(Engine, "pieces", without_ids)
    assert differences(one, two, PieceWalk(), 3) == []


def test_a_piece_that_no_state_has_breaks_the_link() -> None:
    one, _ = twins()
    for turn, size in ((99 << 40, 8), (1 << 40, 0)):
        with pytest.raises(LinkError, match="no piece"):
            PieceComparison(one).own(Scrub(one.seq, turn, size, b"d" * 16))


def test_small_states_are_compared_as_a_whole_in_every_second_turn_and_not_more_often() -> None:
    one, _ = twins()
    walk = PieceWalk()
    turns = [[scrub.turn >> 40 for scrub in walk.turn(one)] for _ in range(3 * ROUND_TURNS)]
    sizes = [each.rows.nbytes for each in regions(one._state)]
    whole = {index for index, size in enumerate(sizes) if size} | {len(sizes), len(sizes) + 1}
    for at, numbers in enumerate(turns):
        assert len(numbers) == len(set(numbers))
        assert set(numbers) == (whole if at % ROUND_TURNS == 0 else {0})
    assert ROUND_TURNS * TURN_NS < 100_000_000


def test_regions_that_need_more_than_a_turn_go_on_in_each() -> None:
    one, _ = twins()
    walk = PieceWalk(16_384)
    sizes = [sum(each.rows.nbytes for each in regions(one._state) if each.paged == paged) for paged in (0, 1)]
    assert max(sizes) > 16_384
    paged = [each.paged for each in regions(one._state)]
    for _ in range(20):
        numbers = [scrub.turn >> 40 for scrub in walk.turn(one)]
        assert any(paged[number] for number in numbers if number < len(paged))


@pytest.mark.parametrize("part", PLACES)
def test_the_bits_that_tests_of_a_pair_flip_are_none_that_the_orders_of_a_client_write_anew(part: str) -> None:
    """A bit that the next order overwrites is found only by chance: it is wrong for a moment, and nothing shows it.

    The client library sends tokens of 14 characters, so an EXTEND row comes before each order and each cancel.
    """
    engine, sound = Engine(CAPACITY), Engine(CAPACITY)
    for each in (engine, sound):
        each.apply(batch(market_of(), enter(1, "rests", 1, 100, 10_000)))
    flip(engine, part)
    long = extend(token_head=5, token_tail=6)
    for each in (engine, sound):
        each.apply(batch(long, enter(1, "a", 1, 100, 20_000), long, cancel(1, "a")))
    assert differences(sound, engine, PieceWalk(), 3)[:1] == [part]


@pytest.mark.parametrize("name", ["window", "exposures", "limits", "entry_times"])
def test_a_large_table_of_ids_delays_no_other_region(name: str) -> None:
    """At the default capacity a round of the ids takes seconds, all else of a market of few instruments 100 ms."""
    one, two = (Engine() for _ in range(2))
    for each in (one, two):
        each.apply(batch(market_of(), enter(1, "rests", 1, 100, 10_000)))
    walk = PieceWalk()
    assert differences(one, two, walk, 1) == []
    region = next(each for each in regions(two._state) if each.name == name)
    region.rows.view(np.uint8).reshape(-1)[-1] ^= 1
    turns = 100_000_000 // TURN_NS
    assert differences(one, two, walk, turns) == [region.part]
    assert walk.rounds[2] == 0


def large_twins() -> tuple[Engine, Engine]:
    """Two engines at the default capacity with one order: nearly all of the table of ids is unused."""
    engines = Engine(), Engine()
    for each in engines:
        each.apply(batch(market_of(), enter(1, "rests", 1, 100, 10_000)))
    return engines


def turns_until_found(one: Engine, two: Engine, walk: PieceWalk, *, gathers: bool) -> int:
    """Turns of a walk until a copy that knows the pieces of the ids in use, or does not, finds a difference."""
    comparison = PieceComparison(two)
    for turn in range(1, 1_000):
        if any(comparison.own(scrub)[1] != scrub.digest for scrub in walk.turn(one, gathers=gathers)):
            return turn
    raise AssertionError("no difference was found")


def test_a_flipped_bit_of_an_id_in_use_is_found_within_100_ms_however_large_the_table_is() -> None:
    """The control is a copy of an earlier release, for which the table is walked as a whole."""
    turns = {}
    for gathers in (True, False):
        one, two = large_twins()
        place = int(np.flatnonzero(two._state.ids["participant"])[0])
        walk = PieceWalk()
        walk.turn(one, gathers=gathers)
        walk._places[2] = one.pieces().first_ids + (place + 1) * two._state.ids.itemsize  # it has just been there
        two._state.ids[place : place + 1].view(np.uint8)[12] ^= 1
        turns[gathers] = turns_until_found(one, two, walk, gathers=gathers)
    assert turns[True] * TURN_NS <= 100_000_000
    assert turns[False] * TURN_NS > 500_000_000


def test_a_flipped_bit_of_an_id_that_is_not_in_use_is_found_by_the_walk_through_the_whole_table() -> None:
    one, two = large_twins()
    assert not two._state.ids[-1]["participant"]
    two._state.ids[-1:].view(np.uint8)[0] ^= 1
    walk = PieceWalk()
    turns_until_found(one, two, walk, gathers=True)
    assert walk.rounds[3] > walk.rounds[2]


def test_while_commands_are_many_the_whole_table_of_ids_has_little_room_and_the_ids_in_use_have_theirs() -> None:
    quiet, _ = large_twins()
    busy, _ = large_twins()
    region = next(index for index, each in enumerate(regions(busy._state)) if each.name == "ids")
    sizes: dict[str, list[int]] = {"quiet": [], "busy": []}
    walk, busy_walk = PieceWalk(), PieceWalk()
    for turn in range(2 * ROUND_TURNS):
        orders = (enter(1, f"o{turn}-{number}", 1, 100, 10_000) for number in range(BUSY_COMMANDS + 1))
        busy.apply(batch(*orders))
        for name, engine, its in (("quiet", quiet, walk), ("busy", busy, busy_walk)):
            scrubs = its.turn(engine)
            sizes[name].append(sum(each.budget_bytes for each in scrubs if each.turn >> 40 == region))
            used = [each for each in scrubs if each.turn >> 40 == len(regions(engine._state)) + 1]
            assert bool(used) == (turn % ROUND_TURNS == 0)
    assert max(sizes["busy"]) * 8 < min(sizes["quiet"])
    assert min(sizes["busy"]) > 0, "no part of the table is left out for ever"


def test_marks_of_ids_are_those_of_the_rows_in_use_also_after_a_restore_and_a_new_day() -> None:
    one, _ = twins()
    one.check()
    assert one._state.id_marks.any()
    restored = Engine.restore(CAPACITY, one.seq, one.event_digest, one.parts())
    restored.check()
    assert (restored._state.id_marks == one._state.id_marks).all()
    assert differences(one, restored, PieceWalk(), ROUND_TURNS) == []
    one._state.id_marks[:] = 0
    with pytest.raises(InvariantError, match="mark"):
        one.check()
    large, _ = large_twins()
    large.apply(clock(large.now_ns + 2 * DAY_NS))
    large.check()
