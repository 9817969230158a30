"""A new trading day forgets the client order ids of the day before, a few with each command that follows.

To write the tables of ids anew takes milliseconds, and no command may take so long. So a day begins with all lines of
the table *stale*: what they have is of the day before, and counts only where an open order still bears it. The tree
(``idtree.py``) begins empty, in its other half. From then on the venue is *forgetting*: before each command the next
lines are cleaned, and all those in which the ids of that very command may be. Cleaning a line frees its rows; the ids
that open orders bear are settled among those of the new day, marked as carried. So a command finds only lines that are
of its day, and looks for no others; while nothing is stale, nobody asks.

An id whose way through the lines leads over one that is still stale cannot be settled in them yet. It waits in the tree
of the new day, where it is found before each command that names it, and gets its row after the last line is cleaned.

A day that begins before the one before is forgotten begins the same way: stale is stale. Where the tree of the day
before is not empty yet there is no half for another one, so that the tree of today stays that of the new day: its
leaves are stale then, which their day tells, and count only where an open order still bears the id. They are gone
through after the lines, like those that wait there.
"""

from typing import Final

import numpy as np

from engine.bounds import ID_LINES_MAX
from engine.idtree import leaf_of, leaf_row, old_leaf_of, old_leaf_row, plant, set_slot_at_leaf
from engine.index import CARRIED, ID_MARK_BITS, bears, first_place, take_place_of_id
from engine.jit import called, ctz, inlined, lshr, rare, shl
from engine.records import CommandKind
from engine.state import FORGETTING, ID_LINE_ROWS, ID_LINES_OF_A_WORD, ID_MARK_ROWS, State

#: Work before one command: leaves of a tree, or words of ``stale_lines`` up to the first with a stale line.
_LEAVES_EACH: Final = 16
_WORDS_EACH: Final = 256
_WORDS_OF_A_MARK: Final = ID_MARK_ROWS // ID_LINE_ROWS // ID_LINES_OF_A_WORD
#: ``id_day`` of an order whose id is of an earlier day, whatever day it is.
_EARLIER: Final = 1
_DAYS: Final = 256
_DAYS_MASK: Final = 2**32 - 1
#: All slots are gone through in half as many days as there are numbers of days.
_AGED_BITS: Final = 7


@inlined
def _is_stale(state: State, line):
    return lshr(state.stale_lines[line >> 6], line & 63) & 1


@inlined
def _after(place):
    """The row after one, in the ring of its line."""
    return (place & -ID_LINE_ROWS) | ((place + 1) & (ID_LINE_ROWS - 1))


@called
def _place_in_lines(state: State, participant, client_order_id):
    """Row of an id in the lines; -1 minus a free row for it; -1 minus the number of rows where it finds none."""
    for line in range(ID_LINES_MAX):
        place = first_place(state, participant, client_order_id, line)
        for _ in range(ID_LINE_ROWS):
            row = state.ids[place]
            owner = np.int64(row["participant"])
            if owner == 0:
                return -1 - place
            if (row["client_order_id"] == client_order_id) & (owner == participant):
                return place
            place = _after(place)
    return -1 - len(state.ids)


@called
def _settle(state: State, participant, client_order_id, slot):
    """Note the id of an open order of an earlier day among those of today: in the lines, else in the tree.

    The tree may have a leaf of it, of a row that it had in the lines and lost.
    """
    for line in range(ID_LINES_MAX):
        place = first_place(state, participant, client_order_id, line)
        if _is_stale(state, place // ID_LINE_ROWS):
            break
        for _ in range(ID_LINE_ROWS):
            if np.int64(state.ids[place]["participant"]) == 0:
                take_place_of_id(state, place, participant, client_order_id, slot | CARRIED)
                return
            place = _after(place)
    leaf = leaf_of(state, participant, client_order_id)
    if leaf != 0:
        set_slot_at_leaf(state, leaf, slot | CARRIED)
    else:
        plant(state, participant, client_order_id, slot | CARRIED)


@called
def _unmark(state: State, mark):
    """Take a mark away if none of its rows is in use."""
    first = mark * ID_MARK_ROWS
    for place in range(first, first + min(len(state.ids), ID_MARK_ROWS)):
        if np.int64(state.ids[place]["participant"]) != 0:
            return
    state.id_marks[mark] = 0


@called
def _clean(state: State, line):
    """Free the rows of a stale line; what open orders bear of it is settled."""
    state.stale_lines[line >> 6] &= ~shl(1, line & 63)
    kept = np.int64(0)
    first = ID_LINE_ROWS * line
    for place in range(first, first + ID_LINE_ROWS):
        row = state.ids[place]
        participant, client_order_id = np.int64(row["participant"]), row["client_order_id"]
        slot = np.int64(row["slot"]) & (CARRIED - 1)
        if participant != 0 and bears(state, slot, participant, client_order_id):
            state.ladder[kept] = slot
            kept += 1
        row["participant"] = 0
        row["client_order_id"] = 0
        row["slot"] = 0
    for n in range(kept):
        slot = state.ladder[n]
        order = state.orders[slot]
        _settle(state, np.int64(order["participant"]), order["client_order_id"], slot)


@called
def _clean_way(state: State, participant, client_order_id):
    """Clean all lines in which an id may be: one that is not full may have been, before it was cleaned."""
    for line in range(ID_LINES_MAX):
        place = first_place(state, participant, client_order_id, line)
        if _is_stale(state, place // ID_LINE_ROWS):
            _clean(state, place // ID_LINE_ROWS)
            _unmark(state, place >> ID_MARK_BITS)


@called
def _make_ready(state: State, participant, client_order_id):
    """Have an id found, or found to be free, as if all of the day before were forgotten."""
    _clean_way(state, participant, client_order_id)
    leaf = leaf_of(state, participant, client_order_id)
    if leaf != 0:
        _take_from_leaf(state, leaf)
    old_leaf = old_leaf_of(state, participant, client_order_id)
    if old_leaf != 0:
        _settle_old_leaf(state, old_leaf)


@called
def _take_from_leaf(state: State, leaf):
    """A carried id that waits in the tree of today gets its row in the lines, where there is one.

    What a leaf of an earlier day has is carried, or gone.
    """
    row = leaf_row(state, leaf)
    slot = np.int64(row["slot"])
    if np.int64(row["day"]) != state.venue[0]["days"]:
        slot |= CARRIED
        set_slot_at_leaf(state, leaf, slot)
    if slot <= CARRIED:  # of today, or taken already
        return
    slot -= CARRIED
    participant, client_order_id = np.int64(row["participant"]), row["client_order_id"]
    place = _place_in_lines(state, participant, client_order_id)
    if not bears(state, slot, participant, client_order_id) or place >= 0:
        row["slot"] = CARRIED
    elif place > -1 - len(state.ids):
        take_place_of_id(state, -1 - place, participant, client_order_id, slot | CARRIED)
        row["slot"] = CARRIED


@called
def _settle_old_leaf(state: State, leaf):
    """Settle an id of the tree of the day before, once, if an open order bears it."""
    row = old_leaf_row(state, leaf)
    slot = np.int64(row["slot"]) & (CARRIED - 1)
    row["slot"] = CARRIED
    participant, client_order_id = np.int64(row["participant"]), row["client_order_id"]
    if bears(state, slot, participant, client_order_id):
        _settle(state, participant, client_order_id, slot)


@called
def _settle_old_leaves(state: State, most):
    """Settle so many leaves of the tree of the day before; after the last it is gone."""
    venue = state.venue[0]
    first = venue["old_id_leaf"] + 1
    last = min(venue["old_id_leaf"] + most, venue["old_id_leaves"])
    for leaf in range(first, last + 1):
        _settle_old_leaf(state, leaf)
    venue["old_id_leaf"] = last
    if last == venue["old_id_leaves"]:
        venue["old_id_leaf"] = 0
        venue["old_id_leaves"] = 0
        venue["old_id_root"] = 0


@called
def _clean_next(state: State):
    """Clean the lines of the next word that tells of a stale one."""
    venue = state.venue[0]
    for _ in range(_WORDS_EACH):
        word = venue["id_word"]
        if word == len(state.stale_lines):
            return
        venue["id_word"] = word + 1
        if state.stale_lines[word] == 0:
            continue
        for _ in range(ID_LINES_OF_A_WORD):
            if state.stale_lines[word] == 0:
                break
            _clean(state, ID_LINES_OF_A_WORD * word + ctz(state.stale_lines[word]))
        _unmark(state, word // _WORDS_OF_A_MARK)
        return


@called
def _go_on(state: State):
    venue = state.venue[0]
    if venue["old_id_leaves"] != 0:
        _settle_old_leaves(state, _LEAVES_EACH)
    elif venue["id_word"] < len(state.stale_lines):
        _clean_next(state)
    else:
        last = min(venue["id_leaf"] + _LEAVES_EACH, venue["id_leaves"])
        for leaf in range(venue["id_leaf"] + 1, last + 1):
            _take_from_leaf(state, leaf)
        venue["id_leaf"] = last
        if last == venue["id_leaves"]:
            venue["id_leaf"] = 0
            venue["id_word"] = 0
            venue["special"] &= ~FORGETTING


@rare
def forget_more(state: State, command, kind):
    """Before a command of a venue that is forgetting: go on with it, and make the ids ready that the command names."""
    _go_on(state)
    if (
        kind == CommandKind.ENTER
        or kind == CommandKind.CANCEL
        or kind == CommandKind.REPLACE
        or kind == CommandKind.CROSS
    ):
        participant = np.int64(command["participant"])
        _make_ready(state, participant, command["client_order_id"])
        if kind == CommandKind.REPLACE:
            _make_ready(state, participant, command["new_client_order_id"])


@called
def _make_stale(state: State):
    """All lines with a row in use are of the day before."""
    lines = len(state.ids) // ID_LINE_ROWS
    if lines < ID_LINES_OF_A_WORD:
        state.stale_lines[0] = shl(1, lines) - 1
        return
    for mark in range(len(state.id_marks)):
        if state.id_marks[mark] != 0:
            first = mark * _WORDS_OF_A_MARK
            for word in range(first, min(first + _WORDS_OF_A_MARK, len(state.stale_lines))):
                state.stale_lines[word] = -1


@called
def _age(state: State):
    """The day has another number. Of some orders, of all in turn before it is used again, it is noted that their id is
    of an earlier day."""
    venue = state.venue[0]
    venue["id_day"] = (venue["id_day"] + 1) % _DAYS
    if venue["id_day"] == _EARLIER:
        venue["id_day"] += 1
    slot, high = venue["aged_slot"], venue["orders_high"]
    for _ in range(min((venue["orders_max"] >> _AGED_BITS) + 1, high)):
        slot = slot + 1 if slot < high else np.int64(1)
        state.orders[slot]["id_day"] = _EARLIER
    venue["aged_slot"] = slot


@called
def begin_to_forget(state: State):
    """A new trading day: only the ids that open orders bear stay in use."""
    venue = state.venue[0]
    _make_stale(state)
    venue["days"] = (venue["days"] + 1) & _DAYS_MASK
    if venue["old_id_leaves"] == 0:
        venue["old_id_leaves"] = venue["id_leaves"]
        venue["old_id_root"] = venue["id_root"]
        venue["id_leaves"] = 0
        venue["id_root"] = 0
        venue["id_half"] = 1 - venue["id_half"]
    venue["id_word"] = 0
    venue["id_leaf"] = 0
    venue["special"] |= FORGETTING
    _age(state)
    # Each open order bears one id, and each id that stays is borne by one.
    venue["ids_used"] = venue["orders_open"]
    for number in range(venue["participants"]):
        state.participants[number]["ids_used"] = state.participants[number]["orders_open"]
