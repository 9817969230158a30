"""Conversion of an image: of an earlier release into the form of this one, and to another capacity.

First each field is carried over by its name into a state of the same capacity (``state_forms.py`` declares what an
old image leaves open), every row at its place. Then, where the capacity differs, the state is packed into one of the
other capacity (``resize.py``). Neither changes what the market does next, but for what the notes say and for
commands that met the old capacity.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from engine.capacity import Capacity
from engine.parts import Arrays, Region, capacity_numbers, fill_pages, regions, state_parts
from engine.records import RULES_VERSION
from engine.resize import resized
from engine.state import STATE_VERSION, State, new_state
from engine.state_forms import DEFAULTS, MADE_ANEW, NEVER_WRITTEN, Form, form_of

Rows = np.ndarray[Any, Any]
Parts = Mapping[str, Arrays]

#: Part of an image beside the state: the chain of the event digest, the same in every release.
_EVENTS: Final = "events"
_EVENT_ARRAYS: Final = ("link", "tail")


class Conversion(NamedTuple):
    """An image in the form of this release, for ``Engine.restore``; and sentences for the operator on what changed.

    ``day_orders_that_end``: open orders good for an earlier day, which rules of before left open.
    """

    parts: dict[str, Arrays]
    notes: tuple[str, ...]
    day_orders_that_end: int = 0


def convert(
    parts: dict[str, Arrays], *, rules_version: int, state_version: int, capacity: Capacity, to: Capacity
) -> Conversion:
    """Convert the image of a checkpoint to this release and to the capacity ``to``.

    parts: part name to array name to array, as a checkpoint of this or an earlier release records them. capacity: of
    the venue in the image. An image that needs no conversion is returned as it is, without notes; otherwise the arrays
    are new. Raises ValueError with a sentence where the image cannot be converted or ``to`` has no room for it.
    """
    form = form_of(rules_version, state_version)
    in_form = (state_version, rules_version) == (STATE_VERSION, RULES_VERSION) and _has_our_dtypes(parts)
    if in_form and capacity == to:
        return Conversion(parts, ())
    state, notes, day_orders = _carried_over(parts, form, capacity)
    if to != capacity:
        state = resized(state, to)
    return Conversion({**state_parts(state), _EVENTS: parts[_EVENTS]}, tuple(notes), day_orders)


def _has_our_dtypes(parts: Parts) -> bool:
    """True where every array whose dtype an image records has that of this release."""
    smallest = new_state(Capacity(orders_max=1, ids_max=1, instruments_max=1, participants_max=1))
    return all(
        _array(parts, region.part, region.name).dtype == region.rows.dtype
        for region in regions(smallest)
        if not region.paged
    )


def _array(parts: Parts, part: str, name: str) -> Rows:
    if name not in parts.get(part, {}):
        raise ValueError(f"the image has no array {name} in its part {part}")
    return parts[part][name]


def _carried_over(parts: Parts, form: Form, capacity: Capacity) -> tuple[State, list[str], int]:
    """A state of the image's capacity with all fields of the image, each row at its place; the notes, and the number of
    day orders that end with this day."""
    state = new_state(capacity)
    notes: list[str] = []
    fresh = capacity_numbers(state)
    _carry_rows(_array(parts, "venue", "venue"), state.venue, "venue", form, notes)
    if capacity_numbers(state) != fresh:
        raise ValueError(f"the image is of a venue of other capacity: {capacity_numbers(state)} instead of {fresh}")
    all_regions = regions(state)
    all_regions = [region for region in all_regions if region.name not in form.lacks]
    _refuse_unknown_arrays(parts, all_regions)
    for region in all_regions[1:]:
        _carry_rows(_rows_of(parts, region, form), region.rows, region.name, form, notes)
    day_orders = 0
    for step in form.steps:
        change = step(state)
        notes.extend(change.notes)
        day_orders += change.day_orders_that_end
    return state, notes, day_orders


def _refuse_unknown_arrays(parts: Parts, known: list[Region]) -> None:
    names = {(_EVENTS, name) for name in _EVENT_ARRAYS}
    for region in known:
        kept = (f"{region.name}_places", f"{region.name}_pages") if region.paged else (region.name,)
        names |= {(region.part, name) for name in kept}
    present = {(part, name) for part, arrays in parts.items() for name in arrays}
    for part, name in sorted(present - names):
        raise ValueError(f"the image has an array {name} in its part {part}, which this release does not know")
    for part, name in sorted(names - present):
        raise ValueError(f"the image has no array {name} in its part {part}")


def _rows_of(parts: Parts, region: Region, form: Form) -> Rows:
    """Rows of a region as the image has them."""
    if region.paged:
        rows = np.zeros(len(region.rows), form.paged[region.name])
        fill_pages(rows, parts[region.part], region.name)
        return rows
    rows = _array(parts, region.part, region.name)
    if rows.shape != region.rows.shape:
        raise ValueError(f"the image has {len(rows)} rows of {region.name}, and its counters say {len(region.rows)}")
    return rows


def _carry_rows(source: Rows, target: Rows, name: str, form: Form, notes: list[str]) -> None:
    """Write rows into zeroed ones of this release, field by field."""
    if source.shape != target.shape:
        raise ValueError(f"the image has {len(source)} rows of {name} instead of {len(target)}")
    if source.dtype == target.dtype:
        target[:] = source
        return
    if target.dtype.names is None or source.dtype.names is None:
        if (target.dtype.names is None) != (source.dtype.names is None):
            raise ValueError(f"the rows of {name} in the image are of another kind: {source.dtype}")
        _carry_field(source, target, name)
        return
    left = set(source.dtype.names)
    for field in target.dtype.names:
        old = form.renamed.get((name, field), field)
        if old in left:
            left.remove(old)
            _carry_field(source[old], target[field], f"{name}.{field}")
        elif not field.startswith("reserved"):
            default = DEFAULTS.get((name, field))
            if default is None:
                raise ValueError(f"the image has no field {name}.{old}, and this release declares no default for it")
            target[field] = default.value
            if default.note and default.note not in notes:
                notes.append(default.note)
    for field in sorted(left):
        if field in MADE_ANEW:
            continue
        if not field.startswith("reserved") and field not in NEVER_WRITTEN:
            notes.append(f"the field {name}.{field} is not carried over: this release does not have it")
        elif source[field].any():
            raise ValueError(f"the field {name}.{field} is reserved, and the image has values in it")


def _carry_field(source: Rows, target: Rows, name: str) -> None:
    """Write the values of a field. Raises ValueError where this release's field cannot hold one of them."""
    if source.dtype.kind not in "iu" or source.shape != target.shape:
        raise ValueError(f"the field {name} has no whole numbers in the image: {source.dtype}{list(source.shape)}")
    if source.size:
        bounds = np.iinfo(target.dtype)
        for value in (int(source.min()), int(source.max())):
            if not bounds.min <= value <= bounds.max:
                raise ValueError(f"the field {name} has the value {value}, which does not fit {target.dtype}")
    target[:] = source
