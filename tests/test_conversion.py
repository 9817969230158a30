"""An image is converted to this release and to another capacity, and the market goes on as it would have."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointStore
from engine import RULES_VERSION, Capacity, Engine, InvariantError, state_forms
from engine.bounds import DAY_NS
from engine.conversion import Conversion, convert
from engine.parts import regions, state_parts
from engine.records import TimeInForce
from engine.reference import ReferenceEngine
from engine.state import STATE_VERSION, State, new_state
from engine.state_forms import CARRIED, FORMS, Form, live_ids
from tests.golden import made
from tests.limit_rows import limits
from tests.rows import BUY, SELL, batch, cancel, clock, enter, halt, kill
from tests.streams import call_stream, random_stream
from tests.test_crowded_ids import CAPACITIES as CROWDED
from tests.test_crowded_ids import SETUP, crowding, day
from tests.test_ids import CAPACITY as FILLED
from tests.test_ids import SETUP as FILLED_SETUP
from tests.test_ids import crowded_ids, filled, order

GOLDEN = Path(made.__file__).parent
ROOMY = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=8, participants_max=16)
TIGHT = Capacity(orders_max=60, ids_max=300, instruments_max=3, participants_max=6)
STREAMS = range(7)
Arrays = dict[str, NDArray[Any]]
Parts = dict[str, Arrays]


def converted(parts: Parts, capacity: Capacity, to: Capacity | None = None) -> Conversion:
    """Conversion of an image of this release."""
    return convert(
        parts,
        rules_version=RULES_VERSION,
        state_version=STATE_VERSION,
        capacity=capacity,
        to=capacity if to is None else to,
    )


def copied(parts: Any) -> Parts:
    """The image as a checkpoint holds it: in memory of its own."""
    return {part: {name: np.array(array) for name, array in arrays.items()} for part, arrays in parts.items()}


def restored(parts: Parts, to: Capacity, like: Engine) -> Engine:
    """Engine in the state of an image of ``like``."""
    return Engine.restore(to, like.seq, like.event_digest, parts)


def smallest(engine: Engine) -> Capacity:
    """Smallest capacity that has room for all that is in use."""
    venue = engine._state.venue[0]
    orders = max(int(venue["orders_open"]), 1)
    return Capacity(
        orders_max=orders,
        ids_max=max(int(venue["ids_used"]), orders),
        instruments_max=max(int(venue["instruments"]), 1),
        participants_max=max(int(venue["participants"]), 1),
    )


def with_capacity(rows: NDArray[Any], capacity: Capacity, to: Capacity) -> ReferenceEngine:
    """The rules themselves, whose room changes after the rows."""
    reference = ReferenceEngine(capacity)
    reference.apply(rows)
    reference.capacity = reference._venue.capacity = to
    return reference


def assert_alike(kernel: Engine, reference: Any) -> None:
    """Both show the same market and the same events, and the compiled engine's invariants hold."""
    kernel.check()
    assert_same_views(kernel, reference)


def assert_same_views(kernel: Engine, reference: Any) -> None:
    """Both show the same market and the same events."""
    for view in ("open_orders", "instruments", "positions", "participants", "limits"):
        assert getattr(kernel, view)().tobytes() == getattr(reference, view)().tobytes(), view
    assert kernel.next_due_ns == reference.next_due_ns
    assert kernel.directory == reference.directory
    assert (kernel.seq, kernel.event_digest) == (reference.seq, reference.event_digest)


@cache
def stream(number: int) -> tuple[Capacity, NDArray[Any]]:
    """A market of each sort: quiet, hostile, in calls and deep, full, with crowded ids, and with ids in the tree."""
    if number < 2:
        return ROOMY, random_stream(40 + number, 900, hostile=0.05 + 0.2 * number, garbage=0.05, control=0.02)
    if number == 2:
        return ROOMY, call_stream(58, 500, far=0.5)
    if number == 3:
        return TIGHT, random_stream(60, 900, control=0.003, instruments=2, participants=5)
    if number < 6:
        draw = np.random.default_rng(number)
        ids = crowding(32 if number == 4 else 256)
        return CROWDED[number - 3], batch(SETUP, *(day(draw, each, ids) for each in range(2, 9)))
    return FILLED, ids_in_the_tree()


def ids_in_the_tree() -> NDArray[Any]:
    """Two days with a table of ids that is nearly full, and orders whose ids are in the tree."""
    draw = np.random.default_rng(3)
    gone = [order(int(n), TimeInForce.IOC) for n in draw.choice(1 << 40, 680, replace=False) + 1]
    ids = crowded_ids(filled()[0], 16)
    open_orders = [order(n, TimeInForce.GTC) for n in ids]
    rest = [cancel(1, ids[0]), clock(DAY_NS), *(cancel(1, n) for n in ids[:6]), *(order(n) for n in ids[3:9])]
    return batch(FILLED_SETUP, *gone, *open_orders, *rest)


def cuts(number: int) -> Iterator[int]:
    """Commands at which a stream is cut: some at random, and the last."""
    rows = stream(number)[1]
    if number == 2:
        yield 300
    if number == 6:
        yield from (len(FILLED_SETUP) + 680 + 16, len(rows) - 3)
    yield from (len(rows), *np.random.default_rng(number).integers(0, len(rows), 3).tolist())


# Another capacity.


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
            assert {note.split()[0] for note in conversion.notes} == {
                name for name, value in asdict(to).items() if value != asdict(capacity)[name]
            }
            assert kernel.apply(rows[cut:]).tobytes() == reference.apply(rows[cut:]).tobytes()
            assert_alike(kernel, reference)
        assert all(np.array_equal(array, image[part][name]) for part, name, array in flat(engine.parts()))


def flat(parts: Any) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Each array with its names."""
    return ((part, name, array) for part, arrays in parts.items() for name, array in arrays.items())


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
            seen["carried"] += int(state.orders["carried"].sum())
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
        ("ids_max", "client order ids of this trading day"),
        ("instruments_max", "instruments"),
        ("participants_max", "participants"),
    ],
)
def test_a_capacity_without_room_for_what_is_in_use_is_refused(name: str, what: str) -> None:
    capacity, rows = stream(2)
    engine = Engine(capacity)
    engine.apply(rows)
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


# Another form: fields in another order, wider, renamed.


def widened(dtype: "np.dtype[Any]") -> "np.dtype[Any]":
    """Fields twice as wide, in falling order of the names, with another byte order and a gap; whole rows in a page."""
    if dtype.names is None:
        return dtype.newbyteorder(">")
    names = sorted(dtype.names)[::-1]
    wide = {1: ">i2", 2: ">i4", 4: ">i8", 8: ">i8"}
    formats = [np.dtype((wide[dtype[name].base.itemsize], dtype[name].shape)) for name in names]
    offsets = np.cumsum([8, *(each.itemsize for each in formats)])
    size = 1 << (int(offsets[-1]) - 1).bit_length()
    return np.dtype({"names": names, "formats": formats, "offsets": offsets[:-1].tolist(), "itemsize": size})


def padded(rows: NDArray[Any], dtype: "np.dtype[Any]", old: Mapping[str, str] = {}) -> NDArray[Any]:
    """Rows in another dtype, field by field. old: names of fields in that dtype, where they are others."""
    out = np.zeros(len(rows), dtype)
    if dtype.names is None:
        out[:] = rows
        return out
    for name in rows.dtype.names or ():
        if old.get(name, name) in dtype.names:
            out[old.get(name, name)] = rows[name]
    return out


def image_in(
    engine: Engine,
    change: Callable[[str, "np.dtype[Any]"], "np.dtype[Any]"],
    renamed: Mapping[tuple[str, str], str] = {},
) -> tuple[Parts, Form]:
    """Image of an engine as if its rows had other dtypes, with the form that a release would have to declare.

    renamed: field of this release (array, field) to its name in the other dtype.
    """
    parts = copied(engine.parts())
    paged = {}
    for region in regions(engine._state):
        dtype = change(region.name, region.rows.dtype)
        old = {field: name for (array, field), name in renamed.items() if array == region.name}
        rows = padded(region.rows, dtype, old)
        if not region.paged:
            parts[region.part][region.name] = rows
            continue
        paged[region.name] = dtype
        octets = rows.view(np.uint8).reshape(-1)
        page_bytes = min(4_096, len(octets))
        pages = octets.view(np.int64).reshape(-1, page_bytes // 8) if len(octets) else np.zeros((0, 1), np.int64)
        parts[region.part][f"{region.name}_places"] = np.flatnonzero(pages.any(axis=1))
        parts[region.part][f"{region.name}_pages"] = pages[pages.any(axis=1)]
    return parts, Form(paged, renamed)


OTHER = 77  # a STATE_VERSION that no release has


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Form], None]:
    """Declares the form of STATE_VERSION 77."""
    return lambda form: monkeypatch.setattr(state_forms, "FORMS", {**FORMS, (OTHER, RULES_VERSION): form})


def from_other(parts: Parts, capacity: Capacity, to: Capacity | None = None) -> Conversion:
    """Conversion of an image of STATE_VERSION 77."""
    return convert(
        parts,
        rules_version=RULES_VERSION,
        state_version=OTHER,
        capacity=capacity,
        to=to if to is not None else capacity,
    )


@pytest.mark.parametrize("number", [0, 2, 5])
def test_fields_are_carried_over_by_name_whatever_their_order_width_and_byte_order(
    number: int, declare: Callable[[Form], None]
) -> None:
    capacity, rows = stream(number)
    for cut in cuts(number):
        engine = Engine(capacity)
        engine.apply(rows[:cut])
        parts, form = image_in(engine, lambda _, dtype: widened(dtype))
        declare(form)
        conversion = from_other(parts, capacity)
        assert conversion.notes == ()
        ours = engine.parts()
        assert [(part, name) for part, name, _ in flat(conversion.parts)] == [
            (part, name) for part, name, _ in flat(ours)
        ]
        for part, name, array in flat(conversion.parts):
            assert array.dtype == ours[part][name].dtype
            assert np.array_equal(array, ours[part][name]), f"{part}.{name}"
        larger = replace(capacity, orders_max=capacity.orders_max + 1, ids_max=3 * capacity.ids_max)
        kernel = restored(from_other(parts, capacity, larger).parts, larger, engine)
        reference = with_capacity(rows[:cut], capacity, larger)
        assert kernel.apply(rows[cut:]).tobytes() == reference.apply(rows[cut:]).tobytes()
        assert_alike(kernel, reference)


def changed(array: str, change: Callable[[list[tuple[str, Any]]], list[tuple[str, Any]]]) -> Callable[[str, Any], Any]:
    """Change of the fields of one array."""

    def of(name: str, dtype: "np.dtype[Any]") -> "np.dtype[Any]":
        return np.dtype(change([(field, dtype[field]) for field in dtype.names or ()])) if name == array else dtype

    return of


@pytest.fixture
def engine() -> Engine:
    """A market with limits, a killed participant and a halt that ends by the clock."""
    capacity, rows = stream(1)
    made = Engine(capacity)
    made.apply(rows)
    made.apply(batch(limits("P1", credit_e4=10**12, max_ids=900), limits("P3", "I1", max_order_qty=500), kill("P2")))
    made.apply(halt("I2", duration_ns=10**10))
    assert len(made.limits()) >= 2
    assert len(made.open_orders())
    assert made.next_due_ns
    return made


@pytest.mark.parametrize(
    ("array", "field"), [("orders", "price_e4"), ("limits", "credit_e4"), ("venue", "last_trade_number")]
)
def test_a_renamed_field_is_carried_over_where_its_old_name_is_declared(
    array: str, field: str, engine: Engine, declare: Callable[[Form], None]
) -> None:
    rename = changed(array, lambda fields: [("old_name" if name == field else name, kind) for name, kind in fields])
    parts, form = image_in(engine, rename, {(array, field): "old_name"})
    declare(form)
    conversion = from_other(parts, ROOMY)
    assert conversion.notes == ()
    assert_alike(restored(conversion.parts, ROOMY, engine), engine)
    declare(form._replace(renamed={}))
    with pytest.raises(ValueError, match=f"no field {array}.{field}, and this release declares no default for it"):
        from_other(parts, ROOMY)


def test_a_new_field_begins_with_its_declared_default_and_a_dropped_one_is_named(
    engine: Engine, declare: Callable[[Form], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = changed("participants", lambda fields: [*fields[:2], ("shoe_size", np.dtype("<i4")), *fields[3:]])
    dropped = engine._state.participants.dtype.names
    assert dropped is not None
    parts, form = image_in(engine, change)
    declare(form)
    with pytest.raises(ValueError, match=f"no field participants.{dropped[2]}, and this release declares no default"):
        from_other(parts, ROOMY)
    monkeypatch.setattr(
        "engine.conversion.DEFAULTS", {("participants", dropped[2]): state_forms.Default(1, "all are killed")}
    )
    conversion = from_other(parts, ROOMY)
    assert conversion.notes == (
        "all are killed",
        "the field participants.shoe_size is not carried over: this release does not have it",
    )
    assert (conversion.parts["reference"]["participants"][dropped[2]] == 1).all()


def test_each_declared_default_is_of_a_field_that_this_release_has() -> None:
    fields = {(region.name, field) for region in regions(new_state(ROOMY)) for field in region.rows.dtype.names or ()}
    assert set(state_forms.DEFAULTS) <= fields


# What cannot be converted.


@pytest.mark.parametrize(("rules", "state"), [(1, 0), (2, 0), (3, 1), (RULES_VERSION + 1, 1), (4, 3), (4, -1)])
def test_an_image_of_a_version_without_a_declared_form_is_refused(rules: int, state: int, engine: Engine) -> None:
    with pytest.raises(
        ValueError,
        match=f"^an image of RULES_VERSION {rules} with STATE_VERSION {state} cannot be converted; this release"
        " converts images of RULES_VERSION and STATE_VERSION 3 with 0, 4 with 0, 4 with 1, 4 with 2$",
    ):
        convert(engine.parts(), rules_version=rules, state_version=state, capacity=ROOMY, to=ROOMY)


def test_a_value_that_a_field_cannot_hold_is_refused(engine: Engine, declare: Callable[[Form], None]) -> None:
    parts, form = image_in(engine, lambda _, dtype: widened(dtype))
    declare(form)
    from_other(parts, ROOMY)
    for array, field, value in (
        ("orders", "qty", 2**31),
        ("orders", "side", -129),
        ("orders", "participant", -1),
        ("orders", "instrument", 2**16),
    ):
        bad = copied(parts)
        bad["orders"][array][field][0] = value
        with pytest.raises(ValueError, match=f"^the field {array}.{field} has the value {value}, which does not fit "):
            from_other(bad, ROOMY)


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
    capacity, rows = ROOMY, call_stream(52, 500, far=0.5)
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


# Earlier releases.


@pytest.mark.parametrize("state_version", [0, 1])
def test_an_image_of_an_earlier_state_version_is_the_market_that_a_replay_gives(state_version: int) -> None:
    (info,) = CheckpointStore(GOLDEN / "before-ids").list()
    path = info.path if state_version == 0 else GOLDEN / "state-1-rules-4.checkpoint"
    image = CheckpointStore(GOLDEN / "before-ids").load(path)
    assert (image.rules_version, image.state_version) == (4, state_version)
    capacity = Capacity(**image.capacity)
    larger = replace(capacity, orders_max=9_000, ids_max=90_000, participants_max=9)
    replayed = ReferenceEngine(capacity)
    replayed.apply(made.commands()[: image.seq])
    for to in (capacity, larger):
        conversion = convert(image.parts, rules_version=4, state_version=state_version, capacity=capacity, to=to)
        kernel = Engine.restore(to, image.seq, image.event_digest, conversion.parts)
        assert_alike(kernel, replayed)


OLD_PARTICIPANT = np.dtype(
    [
        ("group", "<i8"),
        ("permissions", "<i8"),
        ("orders_open", "<i8"),
        ("open_notional_e4", "<i8"),
        ("entries", "<i8"),
        ("entered_ns", "<i8"),
        ("limited", "<i8"),
        ("killed", "<i8"),
        ("name", "<i8"),
        ("group_name", "<i8"),
        ("entry_times", "<i8"),
        ("reserved", "<i8", (5,)),
    ]
)


def old_dtype(array: str, dtype: "np.dtype[Any]") -> "np.dtype[Any]":
    """A dtype of this release with the names of STATE_VERSION 0 and 1."""
    old = {field: name for (of, field), name in FORMS[1, 4].renamed.items() if of == array}
    return np.dtype([(old.get(name, name), dtype[name]) for name in dtype.names]) if dtype.names else dtype


def as_of_rules_3(engine: Engine) -> Parts:
    """The image that a release with RULES_VERSION 3 would have of an engine's state."""
    dtypes = {"participants": OLD_PARTICIPANT, "limits": FORMS[0, 3].paged["limits"]}
    return image_in(engine, lambda name, dtype: dtypes.get(name, old_dtype(name, dtype)), FORMS[0, 3].renamed)[0]


def test_an_image_of_rules_3_is_carried_to_rules_4() -> None:
    capacity, rows = stream(0)
    engine = Engine(capacity)
    engine.apply(rows)
    engine.apply(kill("P2"))
    for column in ("max_open_orders", "max_ids"):
        engine._state.limits[column] = 0
    engine._state.limits["limits"] &= 255
    engine._state.participants["limits_count"] = np.count_nonzero(
        engine._state.limits["limits"][: 17 * 9].reshape(17, 9)[1:], axis=1
    )
    engine.check()
    assert engine.participants()["killed"].any()
    assert engine._state.limits["limits"].any()
    conversion = convert(as_of_rules_3(engine), rules_version=3, state_version=0, capacity=capacity, to=capacity)
    assert conversion.notes == (
        "participants have a new field ids_used, counted from the ids in use",
        "limits have a new field max_open_orders, which is set for nobody",
        "limits have a new field max_ids, which is set for nobody",
        "RULES_VERSION 4 instead of 3: an order good for the day is canceled when another trading day begins",
    )
    assert_alike(restored(conversion.parts, capacity, engine), engine)
    assert all(np.array_equal(array, engine.parts()[part][name]) for part, name, array in flat(conversion.parts))


def test_a_day_order_that_outlived_its_day_under_rules_3_ends_with_the_day_of_the_upgrade() -> None:
    capacity = CROWDED[1]
    engine = Engine(capacity)
    engine.apply(
        batch(
            SETUP,
            *(enter(1, 100 + n, BUY, 5, 10_000, tif=TimeInForce.GTC) for n in range(3)),
            enter(2, 200, SELL, 5, 10_200, tif=TimeInForce.GTC),
            clock(2 * DAY_NS),
            enter(3, 300, SELL, 5, 10_300),
        )
    )
    state = engine._state
    state.orders["time_in_force"][state.orders["order_number"] != 3] = TimeInForce.DAY
    with pytest.raises(InvariantError, match="no order good for the day is of an earlier day"):
        engine.check()
    conversion = convert(
        as_of_rules_3(engine), rules_version=3, state_version=0, capacity=capacity, to=replace(capacity, orders_max=11)
    )
    assert "; 3 such orders of an earlier trading day are open and end with this one" in " ".join(conversion.notes)
    upgraded = restored(conversion.parts, replace(capacity, orders_max=11), engine)
    upgraded.check()
    assert upgraded.open_orders().tobytes() == engine.open_orders().tobytes()
    assert upgraded.participants()["ids_used"].tolist() == [3, 1, 1]
    upgraded.apply(clock(3 * DAY_NS))
    upgraded.check()
    assert upgraded.open_orders()["order_number"].tolist() == [3]


def test_an_id_beyond_the_orders_is_refused_in_an_image_of_rules_3(engine: Engine) -> None:
    parts = as_of_rules_3(engine)
    pages = parts["ids"]["ids_pages"].view(FORMS[0, 3].paged["ids"]).reshape(-1)
    pages["slot"][np.flatnonzero(pages["participant"])[0]] = CARRIED - 1
    with pytest.raises(ValueError, match="an id leads to an order beyond the end of the orders"):
        convert(parts, rules_version=3, state_version=0, capacity=ROOMY, to=ROOMY)


def test_the_parts_of_a_state_are_views_and_copies_of_its_regions_in_their_order(engine: Engine) -> None:
    state: State = engine._state
    names = [name for arrays in state_parts(state).values() for name in arrays]
    expected: list[str] = []
    for region in regions(state):
        expected += [f"{region.name}_places", f"{region.name}_pages"] if region.paged else [region.name]
    assert names == expected
