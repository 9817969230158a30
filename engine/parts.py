"""The state cut into parts, each a few arrays without their unused ends: what a checkpoint keeps and a digest covers.

Arrays that are used here and there (client order ids, price levels, exposures) are given as the pages that are not
zero and their places, so that an image is about as large as what is in it.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import MEMBERS_MAX, MEMORY_SECONDS, RATE_ORDERS_MAX
from engine.form import ROW_WORDS
from engine.state import (
    EXPOSURE,
    FORGETTING,
    ID_LINES_OF_A_WORD,
    ID_MARK_ROWS,
    LINE_BYTES,
    PAIRS_OF_A_PAGE,
    TERMS_OF_A_PAGE,
    WINDOW,
    WINDOW_WORDS,
    State,
)

Rows = np.ndarray[Any, Any]
Arrays = dict[str, Rows]

#: Fields of the venue that come from its capacity.
CAPACITY_NUMBERS: Final = ("orders_max", "ids_max", "ids_mask", "instruments_max", "participants_max")

_PAGE_BYTES: Final = 4_096
#: The part of a row of a table that is looked at first: one of so many parts.
_LOOKED_AT_FIRST: Final = 16


class Region(NamedTuple):
    """Rows of the state that an image keeps under a name.

    ``rows``: a view of those in use, as the counters of the venue say. ``paged``: only pages that are not zero are
    kept, as ``NAME_places`` and ``NAME_pages``, so that an image does not record the dtype of the rows.
    """

    part: str
    name: str
    rows: Rows
    paged: bool = False


def regions(state: State) -> list[Region]:
    """Regions of an image, in its order. That of the venue comes first: its counters give the others their length."""
    return [
        region._replace(rows=region.rows[:count])
        for region, count in zip(whole_regions(state), row_counts(state), strict=True)
    ]


def whole_regions(state: State) -> list[Region]:
    """The same regions with all the rows for which there is room: of this trading day, as the tree of ids changes its
    place with the day."""
    lit = 2 * len(state.instruments)
    market = lit * WINDOW
    far = len(state.levels) - len(state.leaf_ticks)
    half, of_day = len(state.id_tree) // 2, int(state.venue[0]["id_half"])
    return [
        Region("venue", "venue", state.venue),
        Region("reference", "instruments", state.instruments),
        Region("reference", "participants", state.participants),
        Region("reference", "schedules", state.schedules),
        Region("reference", "indices", state.indices),
        Region("reference", "members", state.members),
        Region("reference", "trade_seconds", state.trade_seconds, paged=True),
        Region("orders", "orders", state.orders),
        Region("orders", "owned", state.owned[: len(state.orders)]),
        Region("orders", "owners", state.owned[len(state.orders) :][: len(state.participants)]),
        Region("orders", "lasting_owners", state.owned[len(state.orders) + len(state.participants) :]),
        Region("orders", "times", state.times),
        Region("orders", "terms", state.terms, paged=True),
        Region("orders", "expiries", state.expiries),
        Region("ids", "ids", state.ids, paged=True),
        Region("ids", "stale_lines", state.stale_lines),
        Region("ids", "id_tree", state.id_tree[half:] if of_day else state.id_tree[:half]),
        Region("ids", "old_id_tree", state.id_tree[:half] if of_day else state.id_tree[half:]),
        Region("books", "books", state.books[:lit]),
        Region("books", "stop_books", state.books[lit : 2 * lit]),
        Region("books", "hidden_books", state.books[2 * lit : 3 * lit]),
        Region("books", "midpoint_books", state.books[3 * lit : 4 * lit]),
        Region("books", "peg_books", state.books[4 * lit :]),
        Region("books", "words", state.words),
        Region("books", "word_qty", state.word_qty),
        Region("books", "window", state.levels[:market], paged=True),
        Region("books", "market_levels", state.levels[market : market + lit]),
        Region("books", "between_levels", state.levels[market + lit : far]),
        Region("books", "far_levels", state.levels[far:]),
        Region("books", "leaf_ticks", state.leaf_ticks),
        Region("books", "nodes", state.nodes),
        Region("risk", "exposures", state.exposures.view(EXPOSURE), paged=True),
        Region("risk", "limits", state.limits, paged=True),
        Region("risk", "entry_times", state.entry_times, paged=True),
        Region("waiting", "waiting", state.waiting_words, paged=True),
        Region("waiting", "waits", state.waits, paged=True),
    ]


def row_counts(state: State) -> tuple[int, ...]:
    """Number of rows in use of each region, as the counters of the venue say."""
    venue = state.venue[0]
    instruments, participants = int(venue["instruments"]), int(venue["participants"])
    sides, leaves = 2 * instruments, int(venue["leaves_high"]) + 1
    orders = int(venue["orders_high"]) + 1
    # Rows of pairs of those participants that are defined, in whole pages.
    pairs = (participants + 1) * (len(state.instruments) + 1)
    pairs += -pairs % PAIRS_OF_A_PAGE
    return (
        1,
        instruments,
        participants,
        int(venue["schedules"]),
        int(venue["indices"]),
        (int(venue["indices"]) + 1) * MEMBERS_MAX,
        instruments * MEMORY_SECONDS,
        orders,
        orders,
        participants,
        participants,
        orders,
        orders + -orders % TERMS_OF_A_PAGE,
        int(venue["expiries"]) + 1,
        len(state.ids),
        len(state.stale_lines) if venue["special"] & FORGETTING else 0,
        int(venue["id_leaves"]) + 1,
        int(venue["old_id_leaves"]) + 1,
        sides,
        sides,
        sides,
        sides,
        3 * sides,
        sides * WINDOW_WORDS,
        sides * WINDOW_WORDS,
        sides * WINDOW,
        sides,
        sides,
        leaves,
        leaves,
        int(venue["nodes_high"]) + 1,
        pairs,
        pairs,
        participants * RATE_ORDERS_MAX,
        ROW_WORDS * _ring_rows(state, _PAGE_BYTES // (8 * ROW_WORDS)),
        _ring_rows(state, _PAGE_BYTES // state.waits.itemsize),
    )


def _ring_rows(state: State, of_page: int) -> int:
    """Rows of the ring of commands that wait, up to the last that one waits in, in whole pages."""
    venue = state.venue[0]
    used = min(int(venue["waiting_first"]) + int(venue["waiting"]), len(state.waits)) if venue["waiting"] else 0
    return min(used + -used % of_page, len(state.waits))


def _pages(rows: Rows) -> Rows:
    """The bytes of rows as int64 rows of one page each; a small array is one page."""
    flat = rows.view(np.uint8).reshape(-1)
    page_bytes = min(_PAGE_BYTES, flat.nbytes)
    return flat.view(np.int64).reshape(-1, page_bytes // 8)


def _with_any(rows: Rows) -> Rows:
    """True for each row of a table that has a number other than 0.

    Of a busy table the first numbers of a row tell; the others are looked at where those are 0.
    """
    found = np.asarray(rows[:, : rows.shape[1] // _LOOKED_AT_FIRST].any(axis=1))
    rest = np.flatnonzero(~found)
    if len(rest) > len(rows) // _LOOKED_AT_FIRST:
        return np.asarray(rows.any(axis=1))
    found[rest] = rows[rest].any(axis=1)
    return found


def _kept_pages(rows: Rows, name: str) -> Arrays:
    if not len(rows):
        return {f"{name}_places": np.zeros(0, np.int64), f"{name}_pages": np.zeros((0, 1), np.int64)}
    pages = _pages(rows)
    places = np.flatnonzero(_with_any(pages)).astype(np.int64)
    if 4 * len(places) >= 3 * len(pages):
        # A busy table has little to leave out, and a view of all costs less than a copy of most.
        return {f"{name}_places": np.arange(len(pages), dtype=np.int64), f"{name}_pages": pages}
    return {f"{name}_places": places, f"{name}_pages": pages[places]}


def fill_pages(rows: Rows, arrays: Arrays, name: str) -> None:
    """Write the pages that an image keeps of a region into its zeroed rows.

    Raises KeyError where they are missing, ValueError where they are no pages of those rows.
    """
    places, kept = arrays[f"{name}_places"], arrays[f"{name}_pages"]
    if not len(places):
        return
    pages = _pages(rows) if len(rows) else np.zeros((0, 1), np.int64)
    if (
        places.dtype != np.int64
        or kept.dtype != np.int64
        or kept.shape != (len(places), pages.shape[1])
        or places[0] < 0
        or places[-1] >= len(pages)
        or (np.diff(places) <= 0).any()
    ):
        raise ValueError(f"the pages of {name} are not those of {len(rows)} rows of {rows.itemsize} bytes")
    pages[places] = kept


def is_stale(stale_lines: Rows, lines: Rows) -> Rows:
    """True for each line of the table of ids that is of the day before; a line that there is not is none."""
    words = lines // ID_LINES_OF_A_WORD
    known = words < len(stale_lines)
    stale: Rows = np.zeros(len(lines), np.bool_)
    stale[known] = stale_lines[words[known]] >> (lines[known] % ID_LINES_OF_A_WORD) & 1 != 0
    return stale


def is_of_earlier_day(leaves: Rows, days: int) -> Rows:
    """True for each row of the tree of ids of today that is stale; days: those of the venue."""
    stale: Rows = leaves["day"] != days
    return stale


def state_parts(state: State) -> dict[str, Arrays]:
    """Part name to array name to array; views of the state where an array is dense, else copies."""
    parts: dict[str, Arrays] = {}
    for region in regions(state):
        kept = _kept_pages(region.rows, region.name) if region.paged else {region.name: region.rows}
        parts.setdefault(region.part, {}).update(kept)
    return parts


def fill_venue(state: State, venue: Rows) -> None:
    """Write the row of the venue into a fresh state. Raises ValueError where it is of other rows or capacity."""
    if venue.dtype != state.venue.dtype:
        raise ValueError("an image of other rows: it was written by another version of the engine")
    fresh = capacity_numbers(state)
    state.venue[:] = venue
    kept = capacity_numbers(state)
    if fresh != kept:
        raise ValueError(f"an image of a venue of other capacity: {kept} instead of {fresh}")


def fill_state(state: State, parts: dict[str, Arrays]) -> None:
    """Write parts into a fresh state. Raises KeyError or ValueError if they do not fit."""
    fill_venue(state, parts["venue"]["venue"])
    for region in regions(state)[1:]:
        if region.paged:
            if region.name != "ids" or not np.may_share_memory(region.rows, parts["ids"]["ids_pages"]):
                fill_pages(region.rows, parts[region.part], region.name)
            if region.name == "ids":
                _mark(state)
            continue
        rows = parts[region.part][region.name]
        if region.rows.dtype != rows.dtype:
            raise ValueError("an image of other rows: it was written by another version of the engine")
        if len(region.rows) != len(rows):
            raise ValueError(f"an image with {len(rows)} rows of {region.name} instead of {len(region.rows)}")
        region.rows[:] = rows


def adopted(state: State, parts: dict[str, Arrays]) -> State:
    """A fresh state with the ids of an image in place of its own, where the image has all their pages.

    They are most of a busy day's image; ``fill_state`` then copies the rest. The arrays become the state's: give them
    away. Raises KeyError where they are missing.
    """
    places, kept = parts["ids"]["ids_places"], parts["ids"]["ids_pages"]
    pages = _pages(state.ids)
    whole = kept.shape == pages.shape and places.dtype == np.int64 and np.array_equal(places, np.arange(len(pages)))
    lines = kept.ctypes.data % LINE_BYTES == 0 and kept.flags.c_contiguous and kept.flags.writeable
    if not whole or not lines or kept.dtype != np.int64:
        return state
    return state._replace(ids=kept.reshape(-1).view(np.uint8).view(state.ids.dtype))


def _mark(state: State) -> None:
    """Mark the rows of ids in use. An image of a full table has its empty pages too, so pages do not tell."""
    rows = state.ids["participant"].reshape(-1, min(len(state.ids), ID_MARK_ROWS))
    state.id_marks[:] = _with_any(rows)


def capacity_numbers(state: State) -> tuple[int, ...]:
    """Values of ``CAPACITY_NUMBERS``."""
    return tuple(int(state.venue[0][name]) for name in CAPACITY_NUMBERS)
