"""Memory that coming commands touch, asked for some commands ahead, so that the cache misses of several overlap.

This is for a venue of many participants and instruments, whose exposures are larger than the caches; in a smaller one
``apply.py`` asks for rows of client order ids alone. The exposure of an enter follows from the command. That of any
other command is found by its order, and the order by its id: so the id, the order and the exposure are asked for in
turn, each some commands after what it is found by. Nothing here changes the state or an event, and whatever a command
holds is safe: an address outside the arrays may be asked for, but is never read.
"""

from typing import Final

import numpy as np

from engine.exposure import pair_of
from engine.index import ask_for_id, ask_for_place, slot_named_at
from engine.jit import inlined, prefetch, rare
from engine.records import CommandKind
from engine.state import COMING, unpack_state

#: Pairs of participant and instrument of which the caches hold the exposures: half a megabyte.
PAIRS_IN_CACHE: Final = 16_384
#: Commands for which one call asks, a power of two.
STEP: Final = 4

#: Commands ahead for which rows of ids, and exposures of enters, are prefetched.
IDS_AHEAD: Final = 12
#: Commands ahead for which orders, and then the exposures of their owners, are prefetched.
_ORDERS_AHEAD: Final = 8
_OWNERS_AHEAD: Final = 4

if IDS_AHEAD + STEP > COMING:
    raise ValueError("the places of coming commands do not fit their ring")


@inlined
def has_many_pairs(venue):
    """True if the exposures of the venue's pairs are more than the caches hold."""
    return venue["participants"] * venue["instruments"] > PAIRS_IN_CACHE


@rare
def ask_ahead(pointers, commands, start, following):
    """Prefetch what ``STEP`` coming commands touch. following: row applied next, in a call from row ``start`` on.

    After the last row each stage repeats it, in their order, so that each reads only what the one before has written.
    """
    state = unpack_state(pointers)
    last = len(commands) - 1
    if following < start + STEP:
        # What is noted of the call before is of other commands.
        for at in range(COMING):
            state.coming[at] = 0
    for n in range(following, following + STEP):
        at = min(n + IDS_AHEAD, last)
        coming = commands[at]
        kind = np.int64(coming["kind"])
        participant = np.int64(coming["participant"])
        state.coming[at & (COMING - 1)] = ask_for_place(state, participant, coming["client_order_id"])
        if kind == CommandKind.ENTER:
            prefetch(state.exposures, 4 * pair_of(state, participant, np.int64(coming["instrument"])))
            prefetch(state.limits, pair_of(state, participant, 0))
        elif kind == CommandKind.REPLACE:
            ask_for_id(state, participant, coming["new_client_order_id"])
        at = min(n + _ORDERS_AHEAD, last)
        coming = commands[at]
        if np.int64(coming["kind"]) != CommandKind.ENTER:
            at &= COMING - 1
            slot = slot_named_at(state, state.coming[at], coming["client_order_id"])
            state.coming[at] = slot
            prefetch(state.orders, slot)
        at = min(n + _OWNERS_AHEAD, last)
        if np.int64(commands[at]["kind"]) != CommandKind.ENTER:
            order = state.orders[state.coming[at & (COMING - 1)]]
            pair = pair_of(state, np.int64(order["participant"]), np.int64(order["instrument"]))
            prefetch(state.exposures, 4 * pair)
