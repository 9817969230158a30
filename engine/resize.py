"""A state of another capacity with the same market in it.

What is in use is packed: open orders, far levels and branchings of the far tree get new numbers from 1 on, in the
order of the old ones, and every reference follows. Client order ids go through the engine's own insertion, because
their places depend on the size of the table. No event depends on such a number: cancels of many orders are in order
of acceptance, and queues keep their order.
"""

from dataclasses import asdict
from typing import Any, Final

import numpy as np

from engine.bounds import MEMORY_SECONDS, RATE_ORDERS_MAX
from engine.capacity import Capacity
from engine.form import ROW_WORDS
from engine.index import find_id, take_id
from engine.jit import Packed, called, quiet
from engine.owned import own_all
from engine.parts import CAPACITY_NUMBERS, capacity_numbers
from engine.state import EXPOSURE, FORGETTING, WINDOW, WINDOW_WORDS, State, new_state, unpack_state
from engine.state_forms import CARRIED, live_ids

Rows = np.ndarray[Any, Any]

#: Used part of each number of a capacity: its counter in the venue, and its name in a message.
_IN_USE: Final = {
    "orders_max": ("orders_open", "open orders"),
    "ids_max": ("ids_used", "client order ids of this trading day"),
    "instruments_max": ("instruments", "instruments"),
    "participants_max": ("participants", "participants"),
}


#: Progress of a venue in forgetting the ids of the day before: one of another capacity has forgotten them.
_FORGETTING: Final = (*("id_half", "old_id_leaves", "old_id_root", "old_id_leaf", "id_word", "id_leaf", "aged_slot"),)


def resized(state: State, to: Capacity) -> State:
    """The same market with room for ``to``. Raises ValueError where more is in use, or where the state is not whole."""
    for name, room in asdict(to).items():
        counter, what = _IN_USE[name]
        if int(state.venue[0][counter]) > room:
            raise ValueError(
                f"{int(state.venue[0][counter])} {what} do not fit into {name} {room}; choose a larger {name}"
            )
    if int(state.venue[0]["slices"]) > to.orders_max:
        raise ValueError(
            f"{int(state.venue[0]['slices'])} parts of icebergs do not fit into orders_max {to.orders_max}; choose a"
            " larger orders_max"
        )
    new = new_state(to)
    _copy_definitions(state, new)
    slots = _pack_orders(state, new)
    _pack_books(state, new, slots)
    _copy_risk(state, new)
    _take_ids(state, new, slots)
    _copy_waiting(state, new)
    return new


def _copy_definitions(state: State, new: State) -> None:
    own = capacity_numbers(new)
    new.venue[:] = state.venue
    for name, number in zip(CAPACITY_NUMBERS, own, strict=True):
        new.venue[0][name] = number
    instruments, participants = int(state.venue[0]["instruments"]), int(state.venue[0]["participants"])
    new.instruments[:instruments] = state.instruments[:instruments]
    new.participants[:participants] = state.participants[:participants]
    new.schedules[:] = state.schedules
    new.indices[:] = state.indices
    new.members[:] = state.members
    seconds = instruments * MEMORY_SECONDS
    new.trade_seconds[:seconds] = state.trade_seconds[:seconds]


def _copy_waiting(state: State, new: State) -> None:
    """Commands that wait for their effect begin at the first row of the new ring."""
    count = int(state.venue[0]["waiting"])
    if count > len(new.waits):
        raise ValueError(
            f"{count} commands that wait for their effect do not fit where {len(new.waits)} may; choose a larger"
            " orders_max"
        )
    places = (int(state.venue[0]["waiting_first"]) + np.arange(count)) % len(state.waits)
    new.waits[:count] = state.waits[places]
    new.waiting_words.reshape(-1, ROW_WORDS)[:count] = state.waiting_words.reshape(-1, ROW_WORDS)[places]
    new.venue[0]["waiting_first"] = 0


class _Numbers:
    """New numbers of rows in use, from 1 on in the order of their old ones; 0, which is none, stays 0."""

    def __init__(self, in_use: Rows, what: str) -> None:
        """in_use: a truth value for each row."""
        self.old = np.flatnonzero(in_use)
        self.count = len(self.old)
        self._what = what
        if self.count and self.old[0] == 0:
            raise ValueError(f"the state is not whole: row 0 of {what} is in use")
        self._new = np.full(len(in_use), -1, np.int64)
        self._new[0] = 0
        self._new[self.old] = np.arange(1, self.count + 1)

    def __call__(self, numbers: Rows) -> Rows:
        """New numbers for old ones."""
        wide = numbers.astype(np.int64)
        if wide.size and not 0 <= int(wide.min()) <= int(wide.max()) < len(self._new):
            raise ValueError(f"the state is not whole: a reference leads beyond the end of {self._what}")
        new = self._new[wide]
        if (new < 0).any():
            raise ValueError(f"the state is not whole: a reference leads to a row of {self._what} that is not in use")
        return new


def _pack_orders(state: State, new: State) -> _Numbers:
    slots = _Numbers(state.orders["participant"] != 0, "orders")
    if slots.count != int(state.venue[0]["orders_open"]):
        raise ValueError(
            f"the state is not whole: it has {slots.count} open orders and counts {int(state.venue[0]['orders_open'])}"
        )
    rows = state.orders[slots.old]
    for link in ("next", "prev"):
        rows[link] = slots(rows[link])
    new.orders[1 : slots.count + 1] = rows
    own_all(new)
    new.times[1 : slots.count + 1] = state.times[slots.old]
    terms = state.terms[slots.old]
    for link in ("before", "after"):
        terms[link] = slots(terms[link])
    new.terms[1 : slots.count + 1] = terms
    for link in ("ending_first", "ending_last"):
        new.instruments[link] = slots(new.instruments[link])
    ending = int(state.venue[0]["expiries"])
    new.expiries[1 : ending + 1] = slots(state.expiries[1 : ending + 1])
    new.venue[0]["orders_free"] = 0
    new.venue[0]["orders_high"] = slots.count
    return slots


def _pack_books(state: State, new: State, slots: _Numbers) -> None:
    venue = new.venue[0]
    sides = 2 * int(venue["instruments"])
    old_far, new_far = (len(each.levels) - len(each.leaf_ticks) for each in (state, new))
    leaves = _Numbers(state.levels["head"][old_far:] != 0, "far levels")
    nodes = _Numbers(state.nodes["one"] != 0, "branchings")

    def references(old: Rows) -> Rows:
        """New references into the far tree: twice the number of a branching, or twice that of a leaf plus 1."""
        wide = old.astype(np.int64)
        is_leaf = wide & 1 == 1
        return np.where(
            is_leaf, 2 * leaves(np.where(is_leaf, wide >> 1, 0)) + 1, 2 * nodes(np.where(is_leaf, 0, wide >> 1))
        )

    old_stops, new_stops = (2 * len(each.instruments) for each in (state, new))
    for old_start, new_start in [(number * old_stops, number * new_stops) for number in range(4)]:
        old_books = state.books[old_start : old_start + sides]
        new.books[new_start : new_start + sides] = old_books
        new.books["far_root"][new_start : new_start + sides] = references(old_books["far_root"])
        for link in ("head", "tail"):
            new.books[link][new_start : new_start + sides] = slots(old_books[link])
    old_pegs, new_pegs = state.books[4 * old_stops :], new.books[4 * new_stops :]
    new_pegs[: 3 * sides] = old_pegs[: 3 * sides]
    for link in ("head", "tail"):
        new_pegs[link][: 3 * sides] = slots(old_pegs[link][: 3 * sides])
    new.words[: sides * WINDOW_WORDS] = state.words[: sides * WINDOW_WORDS]
    new.word_qty[: sides * WINDOW_WORDS] = state.word_qty[: sides * WINDOW_WORDS]
    for old_rows, new_rows in (
        (state.levels[: sides * WINDOW], new.levels[: sides * WINDOW]),
        (state.levels[old_stops * WINDOW :][:sides], new.levels[new_stops * WINDOW :][:sides]),
        (state.levels[old_stops * (WINDOW + 1) :][:sides], new.levels[new_stops * (WINDOW + 1) :][:sides]),
        (state.levels[old_far + leaves.old], new.levels[new_far + 1 : new_far + 1 + leaves.count]),
    ):
        new_rows[:] = old_rows
        for link in ("head", "tail"):
            new_rows[link] = slots(old_rows[link])
    new.leaf_ticks[1 : leaves.count + 1] = state.leaf_ticks[leaves.old]
    rows = state.nodes[nodes.old]
    for way in ("zero", "one"):
        rows[way] = references(rows[way])
    new.nodes[1 : nodes.count + 1] = rows
    venue["leaves_free"] = venue["nodes_free"] = 0
    venue["leaves_high"], venue["nodes_high"] = leaves.count, nodes.count


def _copy_risk(state: State, new: State) -> None:
    instruments, participants = int(new.venue[0]["instruments"]), int(new.venue[0]["participants"])

    def pairs(rows: Rows, each: State) -> Rows:
        """Rows of participants (0: none) by instruments (0: all)."""
        stride = len(each.instruments) + 1
        return rows[: (participants + 1) * stride].reshape(participants + 1, stride)[:, : instruments + 1]

    pairs(new.exposures.view(EXPOSURE), new)[:] = pairs(state.exposures.view(EXPOSURE), state)
    pairs(new.limits, new)[:] = pairs(state.limits, state)
    times = participants * RATE_ORDERS_MAX
    new.entry_times[:times] = state.entry_times[:times]


def _take_ids(state: State, new: State, slots: _Numbers) -> None:
    rows, open_slots = live_ids(state)
    counted = new.participants["ids_used"].copy()
    venue = new.venue[0]
    if len(rows) != int(venue["ids_used"]):
        raise ValueError(f"the state is not whole: {len(rows)} ids are in use, and it counts {int(venue['ids_used'])}")
    if len(rows) and not 1 <= int(rows["participant"].min()) <= int(rows["participant"].max()) <= len(counted):
        raise ValueError("the state is not whole: an id is of a participant who is not defined")
    for name in ("ids_used", "id_leaves", "id_root", *_FORGETTING):
        venue[name] = 0
    venue["special"] &= ~FORGETTING
    new.participants["ids_used"] = 0
    given = slots(open_slots) | rows["slot"] & CARRIED
    columns = (np.ascontiguousarray(rows[name]) for name in ("participant", "client_order_id"))
    if insert_ids(Packed(new).pointers, *columns, given) != len(rows):
        raise ValueError("the state is not whole: an id of a participant has two rows")
    if (new.participants["ids_used"] != counted).any():
        raise ValueError("the state is not whole: a participant has more or fewer ids in use than are counted")


@called
def _insert_ids_kernel(pointers: Any, participants: Any, client_order_ids: Any, slots: Any) -> Any:
    """Inserts ids into empty tables; returns how many, fewer than all where one is there already."""
    state = unpack_state(pointers)
    for place in range(len(slots)):
        free = find_id(state, participants[place], client_order_ids[place])
        if free >= 0:
            return place
        take_id(state, free, participants[place], client_order_ids[place], slots[place])
    return len(slots)


#: Inserts ids into empty tables: pointers of the state, and participant, id and slot of each, as int64 arrays.
insert_ids = quiet(_insert_ids_kernel)
