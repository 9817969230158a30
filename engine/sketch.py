"""A sketch of the state: all of it but the ids of orders that are gone, and entries that no order rate counts any more.

Ids are most of a busy day's image, and nearly all of them are of orders that are gone: they decide only whether an id
that comes again is refused. So a sketch is a fiftieth of an image, and a market that is made of one gives the events of
the whole market until somebody uses such an id again, or a longer order rate is set. Whoever makes one compares its
events with those that were recorded, and takes an image where they differ.

Regions of the state that are used here and there are kept as those lines of 64 bytes that are not zero.
"""

from typing import Any, Final

import numpy as np

from engine.parts import Arrays, Region, fill_venue, regions
from engine.resize import insert_ids
from engine.state import FORGETTING, LINE_BYTES, State
from engine.state_forms import CARRIED

Rows = np.ndarray[Any, Any]

_LINE: Final = np.dtype(f"V{LINE_BYTES}")
_WORDS: Final = LINE_BYTES // 8


def sketch_of(state: State) -> Arrays | None:
    """The arrays of a sketch, copied; None while the ids of the day before are forgotten, which goes by all ids."""
    if state.venue[0]["special"] & FORGETTING:
        return None
    found: Arrays = {}
    for region in regions(state):
        if region.name == "ids":
            continue
        if region.name == "entry_times":
            places, lines = _entries_that_count(state, region)
        elif region.paged and len(region.rows) and not region.rows.nbytes % LINE_BYTES:
            places, lines = _lines_in_use(region)
        else:
            found[region.name] = region.rows.view(np.uint8).reshape(-1).copy()
            continue
        found[f"{region.name}_places"], found[f"{region.name}_lines"] = places.astype(np.uint32), lines.view(np.uint8)
    return found


def _lines_in_use(region: Region) -> tuple[Rows, Rows]:
    """Numbers of the lines of a region that are not zero, and the bytes of these."""
    flat = region.rows.view(np.uint8).reshape(-1)
    words = flat.view(np.int64).reshape(-1, _WORDS)
    used = words[:, 0].copy()
    for at in range(1, _WORDS):
        used |= words[:, at]
    places = np.flatnonzero(used)
    return places, flat.view(_LINE)[places]


def _entries_that_count(state: State, region: Region) -> tuple[Rows, Rows]:
    """As ``_lines_in_use``, of the entries within the longest order rate that is set; others are zero.

    The search of an order rate (``exposure.entries_since``) takes a zero for an entry before the time it looks for.
    """
    limits = next(each.rows for each in regions(state) if each.name == "limits")
    window_ns = int(limits["rate_window_ns"].max(initial=0))
    from_ns = int(state.venue[0]["now_ns"]) - window_ns
    of_line = LINE_BYTES // region.rows.itemsize
    places = np.unique(np.flatnonzero(region.rows["time_ns"] > from_ns) // of_line)
    lines = region.rows.reshape(-1, of_line)[places]
    lines[lines["time_ns"] <= from_ns] = 0
    return places, lines.reshape(-1)


def fill_from_sketch(state: State, pointers: Any, arrays: Arrays) -> None:
    """Write a sketch into a fresh state, whose ``pointers`` are for kernels. Raises KeyError or ValueError if they do
    not fit."""
    fill_venue(state, arrays["venue"].view(state.venue.dtype))
    for region in regions(state)[1:]:
        if region.name == "ids":
            continue
        flat = region.rows.view(np.uint8).reshape(-1)
        if f"{region.name}_places" in arrays:
            flat.view(_LINE)[arrays[f"{region.name}_places"]] = arrays[f"{region.name}_lines"].view(_LINE)
        else:
            flat[:] = arrays[region.name]
    _take_ids_of_open_orders(state, pointers)


def _take_ids_of_open_orders(state: State, pointers: Any) -> None:
    """Note the ids of open orders; how many ids are in use stays as it is told."""
    venue = state.venue[0]
    slots = np.flatnonzero(state.orders["participant"][: int(venue["orders_high"]) + 1])
    orders = state.orders[slots]
    used, used_by_each = int(venue["ids_used"]), state.participants["ids_used"].copy()
    given = np.where(orders["id_day"] == venue["id_day"], slots, slots | CARRIED)
    columns = (orders[name].astype(np.int64) for name in ("participant", "client_order_id"))
    if insert_ids(pointers, *columns, given) != len(slots):
        raise ValueError("the state is not whole: an id is of two open orders")
    venue["ids_used"], state.participants["ids_used"] = used, used_by_each
