"""The reference engine put into the state of the compiled engine goes on like that engine, wherever it is cut."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointStore
from engine import Capacity, Engine
from engine.conversion import convert
from engine.index import find_place
from engine.reference import ReferenceEngine
from tests.conversions import ROOMY, STREAMS, Parts, assert_same_views, copied, cuts, stream
from tests.golden.releases import RELEASES, release_content, release_copy
from tests.limit_rows import limits
from tests.rows import BUY, batch, clock, enter, extend, halt, kill
from tests.streams import call_stream, random_stream
from tests.test_engines_agree import same, same_state
from tests.test_scenario_files import SCENARIOS, rows_of

SMALL = Capacity(orders_max=200, ids_max=1_000, instruments_max=8, participants_max=12)


def both_of(engine: Engine) -> tuple[Engine, ReferenceEngine]:
    """Both engines, restored from the parts of the compiled one."""
    taken = engine.capacity, engine.seq, engine.event_digest, copied(engine.parts())
    return Engine.restore(*taken), ReferenceEngine.restore(*taken)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("number", STREAMS)
def test_both_engines_go_on_alike_from_an_image_of_the_compiled_one(number: int) -> None:
    capacity, rows = stream(number)
    for cut in (0, *cuts(number)):
        engine = Engine(capacity)
        engine.apply(rows[:cut])
        kernel, reference = both_of(engine)
        same_state(kernel, reference)
        same(kernel, reference, rows[cut:], f"stream {number} cut at {cut}")
        same_state(kernel, reference)
        assert kernel.seq == reference.seq == len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [random_stream(71, 100, control=0.2, hostile=0.1), call_stream(72, 80, far=0.3)])
def test_a_cut_at_each_single_command_makes_no_difference(rows: NDArray[Any]) -> None:
    whole = Engine(SMALL)
    ends = len(rows)
    expected = [whole.apply(rows[n : n + 1]) for n in range(ends)]
    engine = Engine(SMALL)
    for cut in range(ends):
        reference = ReferenceEngine.restore(SMALL, engine.seq, engine.event_digest, engine.parts())
        assert reference.apply(rows[cut:]).tobytes() == b"".join(events.tobytes() for events in expected[cut:])
        reference.check()
        assert_same_views(whole, reference)
        engine.apply(rows[cut : cut + 1])


@pytest.mark.slow_after(4)
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_goes_on_from_each_of_its_commands(path: Any) -> None:
    rows = rows_of(path.read_text())
    engine = Engine(SMALL)
    for cut in range(len(rows)):
        kernel, reference = both_of(engine)
        same(kernel, reference, rows[cut:], f"{path.stem} cut at {cut}")
        reference.check()
        assert_same_views(kernel, reference)
        engine.apply(rows[cut : cut + 1])
    same_state(*both_of(engine))


def test_an_image_in_which_an_extend_row_waits_gives_its_numbers_to_the_next_command() -> None:
    engine = Engine(SMALL)
    engine.apply(stream(0)[1][:20])
    both = limits("P1", order_rate=(3, 10**9), margin_bps=500, max_ids=40)
    assert len(both) == 2
    engine.apply(both[:1])
    kernel, reference = both_of(engine)
    same(kernel, reference, both[1:], "limits")
    assert reference.limits()["max_ids"].tolist() == [40]
    engine.apply(extend("P1"))
    kernel, reference = both_of(engine)
    same(kernel, reference, clock(), "an EXTEND row before a clock row")


def test_entries_are_counted_as_often_as_they_were_made_at_each_time() -> None:
    opening = stream(0)[1][:9]
    engine = Engine(SMALL)
    engine.apply(opening)
    engine.apply(limits("P1", order_rate=(9, 10**9)))
    for step in range(3):
        engine.apply(clock(engine.now_ns + 10**8 * step))
        engine.apply(batch(*(enter(1, 100 * step + n + 1, BUY, 1, 900_000) for n in range(step + 1))))
    kernel, reference = both_of(engine)
    assert list(reference._venue.participants[0].counted_ns) == sorted(
        [opening["time_ns"][0]] + 2 * [opening["time_ns"][0] + 10**8] + 3 * [opening["time_ns"][0] + 3 * 10**8]
    )
    same(kernel, reference, batch(*(enter(1, 900 + n, BUY, 1, 900_000) for n in range(5))), "the rate")
    later = [clock(engine.now_ns + 10**9 - wait) for wait in (2 * 10**8 + 1, 2 * 10**8, 1, 0)]
    for n, row in enumerate(later):
        same(kernel, reference, batch(row, *(enter(1, 950 + 5 * n + k, BUY, 1, 900_000) for k in range(4))), "the rate")


@pytest.mark.parametrize("release", sorted(RELEASES))
def test_an_upgraded_directory_is_the_same_market_in_both_engines(release: str, tmp_path: Any) -> None:
    store = CheckpointStore(release_copy(release, tmp_path / "node"))
    image = store.load(store.list()[0].path)
    capacity = Capacity(**image.capacity)
    to = replace(capacity, orders_max=800, ids_max=3_000)
    conversion = convert(
        image.parts,
        rules_version=image.rules_version,
        state_version=image.state_version,
        capacity=capacity,
        to=to,
    )
    taken = to, image.seq, image.event_digest, conversion.parts
    kernel, reference = Engine.restore(*taken), ReferenceEngine.restore(*taken)
    same_state(kernel, reference)
    assert reference.event_digest.hex() == release_content(release)["event_digest"]
    same(kernel, reference, random_stream(5, 800, instruments=3, participants=4)[9:], release)
    same(kernel, reference, clock(kernel.now_ns + 10**14), release)
    same_state(kernel, reference)


# Negative controls.


@pytest.fixture
def engine() -> Engine:
    """A market with limits, a kill, a timer, calls, entries, carried ids and free slots."""
    made = Engine(ROOMY)
    made.apply(call_stream(52, 500, far=0.5))
    made.apply(
        batch(limits("P1", max_order_qty=500, order_rate=(50, 10**10)), halt("I1", duration_ns=10**12), kill("P5"))
    )
    return made


def with_change(engine: Engine, change: Callable[[Parts], None]) -> Parts:
    """Parts of an engine, changed."""
    parts = copied(engine.parts())
    change(parts)
    return parts


def first_open(parts: Parts, *, linked: bool = False) -> Any:
    """The row of an open order; ``linked``: one behind which there is another."""
    rows = parts["orders"]["orders"]
    found = (rows["participant"] != 0) & ((rows["next"] != 0) | (not linked))
    return rows[int(np.flatnonzero(found)[0])]


def add(row: Any, field: str, value: int = 1) -> None:
    """Change a field of a row."""
    row[field] += value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda p: add(first_open(p, linked=True), "next", 2),
            "an order that is not in it|are in a queue|two beginnings",
        ),
        (lambda p: first_open(p, linked=True).__setitem__("next", 0), "in a queue"),
        (lambda p: add(first_open(p), "instrument", 5), "not defined"),
        (lambda p: add(first_open(p), "client_order_id", 5), "not found by its id|ids are borne"),
        (lambda p: add(first_open(p), "leaves_qty", 10**6), "more than its quantity"),
        (lambda p: add(first_open(p), "price_e4", 1), "off the tick|not in it|are in a queue"),
        (lambda p: p["venue"]["venue"].__setitem__("ids_used", 3), "ids are in use, 3 are counted"),
        (lambda p: add(p["reference"]["participants"][1], "group", 1), "of the group of participant"),
        (lambda p: add(p["reference"]["participants"][1], "entries", -(10**6)), "the entries of participant 2"),
        (lambda p: add(p["reference"]["instruments"][0], "symbol", 2**60), "no name|not found"),
        (lambda p: p["reference"]["instruments"]["phase"].__setitem__(0, 99), "99 is not a valid Phase"),
        (lambda p: p.pop("risk"), "not of the compiled engine"),
        (lambda p: p["events"].update(tail=p["events"]["tail"][:-64]), "or of other events"),
        (lambda p: p["venue"]["venue"].__setitem__("seq", 3), "the image is of sequence 3"),
    ],
)
def test_an_image_that_is_not_whole_is_refused(change: Callable[[Parts], None], said: str, engine: Engine) -> None:
    ReferenceEngine.restore(ROOMY, engine.seq, engine.event_digest, copied(engine.parts()))
    with pytest.raises(ValueError, match=said):
        ReferenceEngine.restore(ROOMY, engine.seq, engine.event_digest, with_change(engine, change))


@pytest.mark.parametrize("capacity", [replace(ROOMY, orders_max=4_097), replace(ROOMY, participants_max=17)])
def test_an_image_of_another_capacity_is_refused(capacity: Capacity, engine: Engine) -> None:
    with pytest.raises(ValueError, match="other capacity"):
        ReferenceEngine.restore(capacity, engine.seq, engine.event_digest, engine.parts())


@pytest.mark.parametrize(
    "change",
    [
        lambda p: add(p["venue"]["venue"][0], "last_order_number"),
        lambda p: add(p["venue"]["venue"][0], "last_trade_number"),
        lambda p: add(p["reference"]["instruments"][1], "lot", 3),
        lambda p: add(p["reference"]["participants"][0], "killed", 1),
        lambda p: p["reference"]["participants"]["permissions"].__setitem__(slice(0, 5), 0),
    ],
)
def test_a_field_that_no_invariant_tells_apart_makes_another_market(
    change: Callable[[Parts], None], engine: Engine
) -> None:
    """A restore that left these fields out would not pass the tests above."""
    rest = call_stream(53, 900, far=0.2)[9:]
    expected = Engine.restore(ROOMY, engine.seq, engine.event_digest, copied(engine.parts())).apply(rest)
    try:
        changed = ReferenceEngine.restore(ROOMY, engine.seq, engine.event_digest, with_change(engine, change))
    except ValueError:
        return
    assert changed.apply(rest).tobytes() != expected.tobytes()


def test_the_id_of_an_order_that_is_gone_is_used_for_the_day() -> None:
    capacity, rows = stream(6)
    engine = Engine(capacity)
    engine.apply(rows[: cut_in_the_day()])
    state = engine._state
    assert int(state.venue[0]["id_leaves"]) > 0
    used = [int(n) for n in state.ids["client_order_id"][state.ids["participant"] == 1]][:50]
    tree = [int(n) for n in state.id_tree["client_order_id"][1 : int(state.venue[0]["id_leaves"]) + 1]]
    assert all(find_place(state, np.int64(1), np.int64(n)) >= 0 for n in tree)
    kernel, reference = both_of(engine)
    again = batch(*(enter(1, n, BUY, 1, 10_000) for n in used + tree))
    events = reference.apply(again)
    assert events.tobytes() == kernel.apply(again).tobytes()
    assert len(events) == len(again)


def cut_in_the_day() -> int:
    """Command of stream 6 after which ids are in the tree."""
    return next(iter(cuts(6)))
