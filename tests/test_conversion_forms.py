"""An image in another form, such as that of an earlier release, is converted to the form of this one."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointStore, load_checkpoint
from engine import RULES_VERSION, Capacity, Engine, InvariantError, state_forms
from engine.bounds import DAY_NS
from engine.conversion import Conversion, convert
from engine.owned import own_all
from engine.parts import regions
from engine.records import CommandKind, Instruction, TimeInForce, concatenate
from engine.reference import ReferenceEngine
from engine.reference.image_rows import image_rows
from engine.reference.rows_by_part import first_difference
from engine.state import ENDING, TERMS_OF_A_PAGE, new_state
from engine.state_forms import CARRIED, FORMS, Form
from journal import Journal
from replay.rebuild import owned_rows
from tests.conversions import (
    GOLDEN,
    ROOMY,
    Parts,
    assert_alike,
    copied,
    cuts,
    flat,
    full_market,
    image_in,
    restored,
    stream,
    widened,
    with_capacity,
    without_terms,
)
from tests.limit_rows import epoch, limits
from tests.rows import BUY, SELL, batch, clock, enter, kill
from tests.streams import call_stream
from tests.test_crowded_ids import CAPACITIES as CROWDED
from tests.test_crowded_ids import SETUP
from tests.test_waiting_phases import CAPACITY as WAITING_CAPACITY
from tests.test_waiting_phases import ENDS
from tests.test_waiting_phases import ROWS as WAITING_ROWS


@pytest.fixture
def engine() -> Engine:
    """A market with limits, a killed participant and a halt that ends by the clock."""
    return full_market()


# Another form: fields in another order, wider, renamed.


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


@pytest.mark.parametrize(("rules", "state"), [(1, 0), (2, 0), (3, 1), (RULES_VERSION + 1, 1), (4, 3), (5, 1), (4, -1)])
def test_an_image_of_a_version_without_a_declared_form_is_refused(rules: int, state: int, engine: Engine) -> None:
    with pytest.raises(
        ValueError,
        match=f"^an image of RULES_VERSION {rules} with STATE_VERSION {state} cannot be converted; this release"
        " converts images of RULES_VERSION and STATE_VERSION 3 with 0, 4 with 0, 4 with 1, 4 with 2, 5 with 2,"
        " 6 with 3, 6 with 4, 6 with 5, 6 with 6$",
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


# Earlier releases.


def rows_of_rules_4(directory: Path) -> NDArray[Any]:
    """The commands of the golden journal of RULES_VERSION 4, of which the images of that version are."""
    copy = Path(shutil.copytree(GOLDEN / "rules-4", directory / "rules-4"))
    with Journal.open(copy) as journal:
        rows = concatenate([owned_rows(block.rows) for block in journal.blocks()])
    # Opening and closing orders were refused then: here they are by an offset, which needs a peg.
    of_auction = np.isin(rows["time_in_force"], [TimeInForce.OPENING, TimeInForce.CLOSING])
    rows["instructions"][(rows["kind"] == CommandKind.ENTER) & of_auction] |= np.uint16(Instruction.OFFSET)
    return rows


@pytest.mark.parametrize("state_version", [0, 1, 2])
def test_an_image_of_an_earlier_state_version_is_the_market_that_a_replay_gives(
    state_version: int, tmp_path: Path
) -> None:
    (info,) = CheckpointStore(GOLDEN / "before-ids").list()
    path = info.path if state_version == 0 else GOLDEN / f"state-{state_version}-rules-4.checkpoint"
    image = CheckpointStore(GOLDEN / "before-ids").load(path)
    assert (image.rules_version, image.state_version) == (4, state_version)
    capacity = Capacity(**image.capacity)
    larger = replace(capacity, orders_max=9_000, ids_max=90_000, participants_max=9)
    replayed = ReferenceEngine(capacity)
    replayed.apply(rows_of_rules_4(tmp_path)[: image.seq])
    for to in (capacity, larger):
        conversion = convert(image.parts, rules_version=4, state_version=state_version, capacity=capacity, to=to)
        kernel = Engine.restore(to, image.seq, image.event_digest, conversion.parts)
        assert_alike(kernel, replayed)


@pytest.mark.parametrize("state_version", [4, 5])
def test_an_image_of_these_rules_in_an_earlier_state_version_goes_on_as_a_replay(
    state_version: int, tmp_path: Path
) -> None:
    image = load_checkpoint(GOLDEN / f"state-{state_version}-rules-6.checkpoint")
    capacity = Capacity(**image.capacity)
    copy = Path(shutil.copytree(GOLDEN / "rules-6", tmp_path / "rules-6"))
    with Journal.open(copy) as journal:
        rows = concatenate([owned_rows(block.rows) for block in journal.blocks()])
    replayed = Engine(capacity)
    replayed.apply(rows[: image.seq])
    conversion = convert(image.parts, rules_version=6, state_version=state_version, capacity=capacity, to=capacity)
    kernel = Engine.restore(capacity, image.seq, image.event_digest, conversion.parts)
    kernel.check()
    assert kernel.apply(rows[image.seq :]).tobytes() == replayed.apply(rows[image.seq :]).tobytes()


def test_the_far_levels_of_an_image_that_summed_them_in_calls_alone_are_summed() -> None:
    rows = call_stream(31, 3_000, far=0.4)
    capacity = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=4, participants_max=8)
    for cut in (500, 1_200, 2_000, 2_999):
        engine = Engine(capacity)
        engine.apply(rows[:cut])
        image = as_of_state_5(engine)
        assert image["books"]["nodes"]["qty"].any()
        image["books"]["nodes"]["qty"] = 0
        conversion = convert(image, rules_version=6, state_version=4, capacity=capacity, to=capacity)
        kernel = restored(conversion.parts, capacity, engine)
        kernel.check()
        assert kernel.apply(rows[cut:]).tobytes() == engine.apply(rows[cut:]).tobytes()


def as_of_state_5(engine: Engine) -> Parts:
    """The image that a release with STATE_VERSION 5 would have of an engine's state: without lists of the orders that
    end at an uncross, and without the day of a leaf of the tree of ids."""
    form = FORMS[5, 6]

    def dtype_of(name: str, dtype: "np.dtype[Any]") -> "np.dtype[Any]":
        fields = [(field, dtype[field]) for field in dtype.names or ()]
        if name == "instruments":
            return np.dtype([(field, kind) for field, kind in fields if not field.startswith("ending_")] + _FLAG)
        if name == "venue":
            return np.dtype([(field, kind) for field, kind in fields if field != "days"])
        if name in ("id_tree", "old_id_tree"):
            return np.dtype([("reserved" if field == "day" else field, kind) for field, kind in fields])
        return form.paged.get(name, dtype)

    parts = image_in(engine, dtype_of, form.renamed)[0]
    parts["reference"]["instruments"]["auction_only"] = 1
    orders = parts["orders"]["orders"]
    listed = np.flatnonzero(orders["instructions"] & np.uint16(ENDING))
    orders["instructions"][listed] &= ~np.uint16(ENDING)
    terms = parts["orders"]["terms_pages"].reshape(-1).view(form.paged["terms"])
    slots = (parts["orders"]["terms_places"][:, None] * TERMS_OF_A_PAGE + np.arange(TERMS_OF_A_PAGE)).reshape(-1)
    for link in ("peg_before", "peg_after"):
        terms[link][np.isin(slots, listed)] = 0
    return parts


_FLAG: list[tuple[str, Any]] = [("auction_only", "<i8")]


@pytest.mark.parametrize("cut", ["closing call", "opening call"])
def test_the_orders_that_end_at_an_uncross_are_listed_in_an_image_that_has_no_lists(cut: str) -> None:
    engine = Engine(WAITING_CAPACITY)
    engine.apply(WAITING_ROWS[: ENDS[cut]])
    assert (engine._state.orders["instructions"] & np.uint16(ENDING)).any()
    image = as_of_state_5(engine)
    larger = replace(WAITING_CAPACITY, orders_max=WAITING_CAPACITY.orders_max + 9)
    for to in (WAITING_CAPACITY, larger):
        conversion = convert(copied(image), rules_version=6, state_version=5, capacity=WAITING_CAPACITY, to=to)
        assert conversion.notes == ()
        kernel = restored(conversion.parts, to, engine)
        kernel.check()
        truth = with_capacity(WAITING_ROWS[: ENDS[cut]], WAITING_CAPACITY, to)
        assert first_difference(image_rows(to, kernel.parts()), truth.rows_by_part()) is None
        assert kernel.apply(WAITING_ROWS[ENDS[cut] :]).tobytes() == truth.apply(WAITING_ROWS[ENDS[cut] :]).tobytes()
        kernel.check()


@pytest.mark.parametrize("number", [4, 6])
def test_a_tree_of_ids_without_days_is_of_the_day_that_the_image_says(number: int) -> None:
    capacity, rows = stream(number)
    for cut in cuts(number):
        engine = Engine(capacity)
        engine.apply(rows[:cut])
        conversion = convert(as_of_state_5(engine), rules_version=6, state_version=5, capacity=capacity, to=capacity)
        kernel = restored(conversion.parts, capacity, engine)
        kernel.check()
        assert kernel.apply(rows[cut:]).tobytes() == engine.apply(rows[cut:]).tobytes()


@pytest.mark.parametrize("state_version", [1, 2])
def test_a_market_of_before_epochs_goes_on_in_epoch_0_and_its_first_reign_begins(
    state_version: int, tmp_path: Path
) -> None:
    """A checkpoint in the midst of the golden journal of RULES_VERSION 4, which has no epoch."""
    image = load_checkpoint(GOLDEN / f"state-{state_version}-rules-4.checkpoint")
    capacity = Capacity(**image.capacity)
    rows = rows_of_rules_4(tmp_path)
    replayed = ReferenceEngine(capacity)
    replayed.apply(rows[: image.seq])
    conversion = convert(image.parts, rules_version=4, state_version=state_version, capacity=capacity, to=capacity)
    assert conversion.notes == ("the venue has a new field epoch, which is 0 until a primary begins its reign",)
    kernel = Engine.restore(capacity, image.seq, image.event_digest, conversion.parts)
    reference = ReferenceEngine.restore(capacity, image.seq, image.event_digest, conversion.parts)
    for machine in (kernel, reference):
        assert machine.epoch == replayed.epoch == 0
    assert_alike(kernel, replayed)
    for later in (rows[image.seq :], epoch(0), epoch(1), epoch(1, "B")):
        assert kernel.apply(later).tobytes() == reference.apply(later).tobytes() == replayed.apply(later).tobytes()
    assert kernel.epoch == reference.epoch == replayed.epoch == 1
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
    """The image that a release with RULES_VERSION 3 would have of an engine's state.

    The engine counts days as that image does from then on: an order is of this day (0), or carried (1).
    """
    form = FORMS[0, 3]
    orders, venue = engine._state.orders, engine._state.venue
    orders["id_day"] = (orders["participant"] != 0) & (orders["id_day"] != venue["id_day"])
    venue["id_day"] = 0
    dtypes = {"participants": OLD_PARTICIPANT, **form.paged}
    parts = image_in(engine, lambda name, dtype: dtypes.get(name, old_dtype(name, dtype)), form.renamed)[0]
    lacking = {f"{name}{end}" for name in form.lacks for end in ("", "_places", "_pages")}
    return {
        part: {name: each for name, each in arrays.items() if name not in lacking} for part, arrays in parts.items()
    }


def test_an_image_of_rules_3_is_carried_to_rules_4() -> None:
    capacity, rows = stream(0)
    engine = Engine(capacity)
    engine.apply(without_terms(rows))
    engine.apply(batch(limits("P1", max_order_qty=500), kill("P2")))
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
    )
    again = restored(conversion.parts, capacity, engine)
    assert_alike(again, engine)
    # Times follow the queues; before they were kept an order had only its place there.
    engine._state.times[:] = again._state.times
    engine._state.venue["last_time"] = again._state.venue["last_time"]
    # Rows of orders that are gone are as they were left, and those of an image made anew are zero.
    engine._state.owned.view(np.int64)[:] = 0
    own_all(engine._state)
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
    assert conversion.day_orders_that_end == 3
    assert (
        "3 open orders good for the day are of an earlier trading day; with this day they end too" in conversion.notes
    )
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
