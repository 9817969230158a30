"""An image is converted to another capacity, and the market continues as it would have."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from engine import RULES_VERSION, Capacity, Engine, InvariantError
from engine.parts import regions, state_parts
from engine.records import Instruction, Phase
from engine.state import STATE_VERSION, State, new_state
from engine.state_forms import FORMS, live_ids
from tests.conversions import (
    ROOMY,
    STREAMS,
    Parts,
    assert_alike,
    converted,
    copied,
    cuts,
    flat,
    full_market,
    restored,
    smallest,
    stream,
    with_capacity,
    without_terms,
)
from tests.rows import enter, phase
from tests.streams import call_stream


@pytest.fixture
def engine() -> Engine:
    """A market with limits, a killed participant and a halt that ends by the clock."""
    return full_market()


# Another capacity.


@pytest.mark.slow
@pytest.mark.parametrize("number", STREAMS)
def test_after_a_conversion_to_another_capacity_the_market_goes_on_by_the_rules(number: int) -> None:
    """Against the reference engine, in which nothing but the bounds is changed at that command."""
    capacity, rows = stream(number)
    larger = Capacity(*(7 * value // 3 + 2 for value in asdict(capacity).values()))
    for cut in cuts(number):
        engine = Engine(capacity)
        engine.apply(rows[:cut])
        engine.check()
        image = copied(engine.parts())
        for to in (larger, smallest(engine)):
            if to == capacity:
                continue
            conversion = converted(image, capacity, to)
            kernel, reference = restored(conversion.parts, to, engine), with_capacity(rows[:cut], capacity, to)
            assert_alike(kernel, reference)
            assert conversion.notes == ()
            assert kernel.apply(rows[cut:]).tobytes() == reference.apply(rows[cut:]).tobytes()
            assert_alike(kernel, reference)
        assert all(np.array_equal(array, image[part][name]) for part, name, array in flat(engine.parts()))


@pytest.mark.slow
def test_the_streams_meet_all_that_is_packed_anew() -> None:
    """Negative control: without these the test above would show nothing about them."""
    names = ["free orders", "free leaves", "free nodes", "tree of ids", "tree of ids once more", "carried", "freed"]
    seen = dict.fromkeys([*names, "timers"], 0)
    for number in STREAMS:
        capacity, rows = stream(number)
        for cut in cuts(number):
            engine = Engine(capacity)
            engine.apply(rows[:cut])
            state, venue = engine._state, engine._state.venue[0]
            seen["free orders"] += int(venue["orders_free"] != 0)
            seen["free leaves"] += int(venue["leaves_free"] != 0)
            seen["free nodes"] += int(venue["nodes_free"] != 0)
            seen["tree of ids"] += int(venue["id_leaves"])
            seen["carried"] += int(
                (state.orders["id_day"][state.orders["participant"] != 0] != state.venue[0]["id_day"]).sum()
            )
            seen["freed"] += (
                int((state.ids["participant"] != 0).sum()) + int(venue["id_leaves"]) - len(live_ids(state)[0])
            )
            seen["timers"] += int(venue["timers_first"] != 0)
            small = restored(converted(engine.parts(), capacity, smallest(engine)).parts, smallest(engine), engine)
            seen["tree of ids once more"] += int(small._state.venue[0]["id_leaves"])
    assert all(seen.values()), seen


def test_a_capacity_that_grows_and_shrinks_again_gives_the_same_image() -> None:
    capacity, rows = stream(2)
    engine = Engine(capacity)
    engine.apply(rows)
    small = smallest(engine)
    first = converted(engine.parts(), capacity, small).parts
    grown = converted(first, small, ROOMY).parts
    again = converted(grown, ROOMY, small).parts
    assert all(np.array_equal(array, again[part][name]) for part, name, array in flat(first) if part != "ids")
    assert restored(again, small, engine).open_orders().tobytes() == engine.open_orders().tobytes()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("orders_max", "open orders"),
        ("orders_max", "parts of icebergs"),
        ("ids_max", "client order ids of this trading day"),
        ("instruments_max", "instruments"),
        ("participants_max", "participants"),
    ],
)
def test_a_capacity_without_room_for_what_is_in_use_is_refused(name: str, what: str) -> None:
    capacity, rows = stream(2)
    engine = Engine(capacity)
    engine.apply(without_terms(rows) if what == "open orders" else rows)
    if what == "parts of icebergs":
        engine.apply(phase("I1", Phase.CONTINUOUS))
        shown = {"instructions": Instruction.DISPLAY, "display_qty": 1}
        for number in range(5):
            engine.apply(enter(1, f"ice{number}", 1, 100, 100, **shown))
    fits = asdict(smallest(engine))
    fits |= {"ids_max": fits["ids_max"] + 1} if name == "orders_max" else {}
    converted(engine.parts(), capacity, Capacity(**fits))
    room = fits[name] - 1
    with pytest.raises(
        ValueError, match=f"^{fits[name]} {what} do not fit into {name} {room}; choose a larger {name}$"
    ):
        converted(engine.parts(), capacity, Capacity(**fits | {name: room}))


# The same form.


def test_an_image_of_this_release_and_capacity_is_returned_as_it_is() -> None:
    capacity, rows = stream(0)
    engine = Engine(capacity)
    engine.apply(rows)
    parts = engine.parts()
    conversion = converted(parts, capacity)
    assert conversion.parts is parts
    assert conversion.notes == ()


def test_the_form_of_this_release_is_declared_as_it_is() -> None:
    """If this fails, a dtype of rows of which images keep pages has changed. Increment STATE_VERSION and add the new
    form to ``engine/state_forms.py``; keep the old one there."""
    form = FORMS[STATE_VERSION, RULES_VERSION]
    paged = {region.name: region.rows.dtype for region in regions(new_state(ROOMY)) if region.paged}
    assert dict(form.paged) == paged
    assert form.renamed == {}
    assert form.steps == ()


# What cannot be converted.


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda parts: parts.pop("risk"), "no array entry_times_pages in its part risk"),
        (lambda parts: parts["books"].pop("words"), "no array words in its part books"),
        (lambda parts: parts["events"].pop("link"), "no array link in its part events"),
        (lambda parts: parts["books"].update(more=np.zeros(1)), "an array more in its part books, which this release"),
        (lambda parts: parts.update(more={"rows": np.zeros(1)}), "an array rows in its part more, which this release"),
        (
            lambda parts: parts["orders"].update(orders=parts["orders"]["orders"][:-1]),
            "rows of orders, and its counters",
        ),
        (
            lambda parts: parts["risk"].update(limits_places=parts["risk"]["limits_places"] + 10**6),
            "the pages of limits",
        ),
        (lambda parts: parts["ids"].update(ids_pages=parts["ids"]["ids_pages"][:, :-1]), "the pages of ids"),
        (lambda parts: parts["venue"]["venue"].__setitem__("orders_high", 10**6), "rows of orders, and its counters"),
        (lambda parts: parts["venue"]["venue"].__setitem__("orders_max", 9), "a venue of other capacity"),
        (lambda parts: parts["books"].update(words=np.zeros(len(parts["books"]["words"]))), "no whole numbers"),
        (
            lambda parts: parts["books"].update(nodes=np.zeros(len(parts["books"]["nodes"]), np.int64)),
            "of another kind",
        ),
    ],
)
def test_an_image_that_is_not_whole_is_refused(spoil: Callable[[Parts], Any], said: str, engine: Engine) -> None:
    parts = copied(engine.parts())
    spoil(parts)
    with pytest.raises(ValueError, match=said):
        converted(parts, ROOMY, replace(ROOMY, orders_max=5_000))


def test_an_image_of_another_capacity_than_is_said_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="a venue of other capacity"):
        converted(engine.parts(), replace(ROOMY, orders_max=4_097), replace(ROOMY, orders_max=5_000))


#: (part, array, field): each is spoilt in one row that is in use.
SPOILT = [
    ("venue", "venue", "orders_open"),
    ("venue", "venue", "ids_used"),
    ("venue", "venue", "timers_first"),
    ("reference", "instruments", "window_tick"),
    ("reference", "instruments", "paired_qty"),
    ("reference", "participants", "ids_used"),
    ("reference", "participants", "orders_open"),
    ("reference", "participants", "open_notional_e4"),
    ("reference", "participants", "entered_ns"),
    ("orders", "orders", "next"),
    ("orders", "orders", "prev"),
    ("orders", "orders", "leaves_qty"),
    ("orders", "orders", "client_order_id"),
    ("orders", "orders", "participant"),
    ("orders", "orders", "tick"),
    ("orders", "orders", "instrument"),
    ("books", "books", "best_tick"),
    ("books", "books", "far_root"),
    ("books", "books", "summary"),
    ("books", "words", ""),
    ("books", "far_levels", "head"),
    ("books", "far_levels", "qty"),
    ("books", "leaf_ticks", ""),
    ("books", "nodes", "zero"),
    ("books", "nodes", "bit"),
]


@pytest.mark.parametrize(("part", "array", "field"), SPOILT)
def test_a_spoilt_field_is_refused_or_breaks_an_invariant_of_the_converted_market(
    part: str, array: str, field: str
) -> None:
    """Negative control of the conversion and of the check that follows it."""
    capacity, rows = ROOMY, call_stream(62, 500, far=0.5)
    made = Engine(capacity)
    made.apply(rows)
    parts = copied(made.parts())
    restored(converted(parts, capacity, smallest(made)).parts, smallest(made), made).check()
    rows_there = parts[part][array]
    column = rows_there[field] if field else rows_there
    in_use = np.ones(len(column))
    if array in ("orders", "nodes"):
        in_use = rows_there["participant" if array == "orders" else "one"]
    elif array in ("leaf_ticks", "far_levels"):
        in_use = parts["books"]["far_levels"]["head"]
    place = int(np.flatnonzero(in_use)[0])
    column[place] += 1
    to = replace(capacity, orders_max=capacity.orders_max + 1)
    with pytest.raises((ValueError, InvariantError)):
        restored(converted(parts, capacity, to).parts, to, made).check()


def test_the_parts_of_a_state_are_views_and_copies_of_its_regions_in_their_order(engine: Engine) -> None:
    state: State = engine._state
    names = [name for arrays in state_parts(state).values() for name in arrays]
    expected: list[str] = []
    for region in regions(state):
        expected += [f"{region.name}_places", f"{region.name}_pages"] if region.paged else [region.name]
    assert names == expected
