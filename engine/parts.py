"""The state cut into parts, each a few arrays without their unused ends: what a checkpoint keeps and a digest covers.

Arrays that are used here and there (client order ids, price levels, exposures) are given as the pages that are not
zero and their places, so that an image is about as large as what is in it.
"""

from typing import Any, Final

import numpy as np

from engine.limits import RATE_ORDERS_MAX
from engine.state import PAIRS_OF_A_PAGE, WINDOW, WINDOW_WORDS, State

Arrays = dict[str, "np.ndarray[Any, Any]"]

_PAGE_BYTES: Final = 4_096


def _pages(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The bytes of an array as int64 rows of one page each; a small array is one page."""
    flat = array.view(np.uint8).reshape(-1)
    page_bytes = min(_PAGE_BYTES, flat.nbytes)
    return flat.view(np.int64).reshape(-1, page_bytes // 8)


def _sparse(array: "np.ndarray[Any, Any]", name: str) -> Arrays:
    if not len(array):
        return {f"{name}_places": np.zeros(0, np.int64), f"{name}_pages": np.zeros((0, 1), np.int64)}
    pages = _pages(array)
    places = np.flatnonzero(pages.any(axis=1)).astype(np.int64)
    if 4 * len(places) >= 3 * len(pages):
        # A busy table has little to leave out, and a view of all costs less than a copy of most.
        return {f"{name}_places": np.arange(len(pages), dtype=np.int64), f"{name}_pages": pages}
    return {f"{name}_places": places, f"{name}_pages": pages[places]}


def _fill(array: "np.ndarray[Any, Any]", arrays: Arrays, name: str) -> None:
    places = arrays[f"{name}_places"]
    if len(places):
        _pages(array)[places] = arrays[f"{name}_pages"]


def _pairs(state: State) -> int:
    """Rows of pairs of those that are defined, in whole pages."""
    pairs = (int(state.venue[0]["participants"]) + 1) * (len(state.instruments) + 1)
    return pairs + -pairs % PAIRS_OF_A_PAGE


def _exposures(state: State) -> "np.ndarray[Any, Any]":
    return state.exposures[: 4 * _pairs(state)]


def _limits(state: State) -> "np.ndarray[Any, Any]":
    return state.limits[: _pairs(state)]


def _entry_times(state: State) -> "np.ndarray[Any, Any]":
    return state.entry_times[: int(state.venue[0]["participants"]) * RATE_ORDERS_MAX]


def state_parts(state: State) -> dict[str, Arrays]:
    """Part name to array name to array; views of the state where an array is dense, else copies."""
    venue = state.venue[0]
    instruments, leaves = int(venue["instruments"]), int(venue["leaves_high"]) + 1
    sides = len(state.books)
    market = sides * WINDOW
    far = len(state.levels) - len(state.leaf_ticks)
    return {
        "venue": {"venue": state.venue},
        "reference": {
            "instruments": state.instruments[:instruments],
            "participants": state.participants[: int(venue["participants"])],
        },
        "orders": {"orders": state.orders[: int(venue["orders_high"]) + 1]},
        "ids": {
            **_sparse(state.ids, "ids"),
            "id_tree": state.id_tree[: int(venue["id_leaves"]) + 1],
        },
        "books": {
            "books": state.books[: 2 * instruments],
            "words": state.words[: 2 * instruments * WINDOW_WORDS],
            **_sparse(state.levels[: 2 * instruments * WINDOW], "window"),
            "market_levels": state.levels[market : market + 2 * instruments],
            "far_levels": state.levels[far : far + leaves],
            "leaf_ticks": state.leaf_ticks[:leaves],
            "nodes": state.nodes[: int(venue["nodes_high"]) + 1],
        },
        "risk": {
            **_sparse(_exposures(state), "exposures"),
            **_sparse(_limits(state), "limits"),
            **_sparse(_entry_times(state), "entry_times"),
        },
    }


def fill_state(state: State, parts: dict[str, Arrays]) -> None:
    """Writes parts into a fresh state. Raises KeyError or ValueError when they do not fit it."""
    if parts["venue"]["venue"].dtype != state.venue.dtype:
        raise ValueError("an image of other rows: it was written by another version of the engine")
    state.venue[:] = parts["venue"]["venue"]
    venue = state.venue[0]
    fresh = (len(state.orders) - 1, len(state.ids) - 1, len(state.instruments), len(state.participants))
    kept = tuple(int(venue[name]) for name in ("orders_max", "ids_mask", "instruments_max", "participants_max"))
    if fresh != kept:
        raise ValueError(f"an image of a venue of other capacity: {kept} instead of {fresh}")
    sides = len(state.books)
    market = sides * WINDOW
    far = len(state.levels) - len(state.leaf_ticks)
    books = parts["books"]
    for target, source in (
        (state.instruments, parts["reference"]["instruments"]),
        (state.participants, parts["reference"]["participants"]),
        (state.orders, parts["orders"]["orders"]),
        (state.id_tree, parts["ids"]["id_tree"]),
        (state.books, books["books"]),
        (state.words, books["words"]),
        (state.levels[market:far], books["market_levels"]),
        (state.levels[far:], books["far_levels"]),
        (state.leaf_ticks, books["leaf_ticks"]),
        (state.nodes, books["nodes"]),
    ):
        if target.dtype != source.dtype:
            raise ValueError("an image of other rows: it was written by another version of the engine")
        target[: len(source)] = source
    _fill(state.ids, parts["ids"], "ids")
    _fill(state.levels[: 2 * int(venue["instruments"]) * WINDOW], books, "window")
    _fill(_exposures(state), parts["risk"], "exposures")
    _fill(_limits(state), parts["risk"], "limits")
    _fill(_entry_times(state), parts["risk"], "entry_times")
