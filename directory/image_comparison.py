"""Comparison of an image with the engine that goes on from its conversion: orders, positions, limits and numbers.

It reads the arrays of the image by their field names, without the conversion and without the engine's state, so that a
mistake in either shows before anything is written.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from engine.bounds import TIME_NS_MAX
from engine.capacity import Capacity
from engine.interface import StatefulEngine
from engine.parts import Arrays, fill_pages
from engine.state import PAIRS_OF_A_PAGE
from engine.state_forms import Form, form_of
from engine.views import INSTRUMENT_STATE, LIMITS_STATE, OPEN_ORDER, PARTICIPANT_STATE, POSITION

Rows = np.ndarray[Any, Any]

#: Counters and times of the venue that go on.
NUMBERS: Final = (
    "now_ns",
    "trading_day",
    "seq",
    "last_order_number",
    "last_trade_number",
    "orders_open",
    "ids_used",
    "instruments",
    "participants",
    "calls",
)


def differences(
    parts: Mapping[str, Arrays], rules_version: int, state_version: int, capacity: Capacity, engine: StatefulEngine
) -> tuple[str, ...]:
    """Names of what an engine has otherwise than the image that it goes on from; none where they agree.

    ``capacity``: of the image. Raises ValueError where the image lacks what is to be compared.
    """
    form = form_of(rules_version, state_version)
    try:
        venue, own = parts["venue"]["venue"][0], engine.parts()["venue"]["venue"][0]
        found = [name for name in NUMBERS if int(venue[form.renamed.get(("venue", name), name)]) != int(own[name])]
        views = {
            "open orders": (_orders(parts, form), _by_number(engine.open_orders())),
            "instruments": (_instruments(parts, form), engine.instruments()),
            "participants": (_participants(parts, form), engine.participants()),
            "positions": (_pairs(parts, form, capacity, "exposures", POSITION), engine.positions()),
            "limits": (_pairs(parts, form, capacity, "limits", LIMITS_STATE), engine.limits()),
        }
    except KeyError as error:
        raise ValueError(f"the image has no {error.args[0]}") from error
    return (*found, *(what for what, (image, shown) in views.items() if not _same(image, shown)))


def _same(image: Rows, shown: Rows) -> bool:
    """True where two arrays have the same values in the fields that the image has."""
    names = [name for name in image.dtype.names or () if not name.startswith("reserved")]
    return len(image) == len(shown) and all(np.array_equal(image[name], shown[name]) for name in names)


def _named(rows: Rows, array: str, form: Form, view: "np.dtype[Any]") -> Rows:
    """The fields of a view that rows of an image have, under their names of this release, as int64."""
    old = {name: form.renamed.get((array, name), name) for name in view.names or ()}
    names = [name for name, was in old.items() if was in (rows.dtype.names or ()) and not name.startswith("reserved")]
    named = np.zeros(len(rows), [(name, "<i8") for name in names])
    for name in names:
        named[name] = rows[old[name]]
    return named


def _orders(parts: Mapping[str, Arrays], form: Form) -> Rows:
    rows = parts["orders"]["orders"]
    return _by_number(_named(rows[rows["participant"] != 0], "orders", form, OPEN_ORDER))


def _by_number(rows: Rows) -> Rows:
    return rows[np.argsort(rows["order_number"], kind="stable")]


def _instruments(parts: Mapping[str, Arrays], form: Form) -> Rows:
    rows = _named(parts["reference"]["instruments"], "instruments", form, INSTRUMENT_STATE)
    rows["due_ns"][rows["due_ns"] > TIME_NS_MAX] = 0
    return rows


def _participants(parts: Mapping[str, Arrays], form: Form) -> Rows:
    return _named(parts["reference"]["participants"], "participants", form, PARTICIPANT_STATE)


def _pairs(parts: Mapping[str, Arrays], form: Form, capacity: Capacity, array: str, view: "np.dtype[Any]") -> Rows:
    """Rows of participants with instruments where there is anything, as the views show them."""
    stride = capacity.instruments_max + 1
    count = (int(parts["venue"]["venue"][0]["participants"]) + 1) * stride
    rows = np.zeros(count + -count % PAIRS_OF_A_PAGE, form.paged[array])
    fill_pages(rows, parts["risk"], array)
    named = _named(rows[:count], array, form, view)
    if array == "exposures":
        used = named["position_qty"] | named["open_buy_qty"] | named["open_sell_qty"]
    else:
        used = named["limits"]
    places = np.flatnonzero(used)
    names = [*named.dtype.names]
    pairs = np.zeros(len(places), [("participant", "<i8"), ("instrument", "<i8"), *((name, "<i8") for name in names)])
    pairs["participant"], pairs["instrument"] = places // stride, places % stride
    for name in names:
        pairs[name] = named[name][places]
    return pairs
