"""Client order ids that found no room near their places in the table: a crit-bit tree over all of them.

Few get here unless they were chosen to. The tree is never deeper than a participant and an id have bits together,
whatever was chosen.

Leaf n and branching n are both in row n: the n-th leaf (from the second on) adds one branching. A reference is twice
the number of a branching, or twice that of a leaf plus 1; 0 is none. Nothing is taken out before the day ends. A leaf
knows the day on which its slot was noted: a tree may outlive its day (``forgetting.py``).

``id_tree`` has two halves: the tree of today is in one, and in the other that of the day before, until it is forgotten
(``forgetting.py``). Numbers of rows count from the start of their half.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, rare, top_bit
from engine.state import State

#: Bits of a key: the id below, the participant above it.
_ID_BITS: Final = 64
_KEY_BITS: Final = 81


@inlined
def _has_bit(participant, client_order_id, bit):
    return (lshr(participant, bit - _ID_BITS) if bit >= _ID_BITS else lshr(client_order_id, bit)) & 1


@inlined
def _start_of(state: State, half):
    """First row of a half of ``id_tree``."""
    return half * (len(state.id_tree) >> 1)


@inlined
def _follow(state: State, start, ref, participant, client_order_id):
    """One step down from a branching, the way of a key."""
    row = state.id_tree[start + (ref >> 1)]
    goes_one = _has_bit(participant, client_order_id, np.int64(row["bit"]))
    return np.int64(row["one"]) if goes_one else np.int64(row["zero"])


@inlined
def _leaf_towards(state: State, start, ref, participant, client_order_id):
    """The leaf below a reference where the way of a key ends; there must be one."""
    for _ in range(_KEY_BITS):
        if ref & 1:
            break
        ref = _follow(state, start, ref, participant, client_order_id)
    return ref >> 1


@called
def _leaf_in(state: State, start, root, participant, client_order_id):
    if root == 0:
        return np.int64(0)
    leaf = _leaf_towards(state, start, root, participant, client_order_id)
    row = state.id_tree[start + leaf]
    if (row["client_order_id"] == client_order_id) & (np.int64(row["participant"]) == participant):
        return leaf
    return np.int64(0)


@rare
def leaf_of(state: State, participant, client_order_id):
    """Leaf of an id of a participant, or 0 when the tree does not have it."""
    venue = state.venue[0]
    return _leaf_in(state, _start_of(state, venue["id_half"]), venue["id_root"], participant, client_order_id)


@rare
def old_leaf_of(state: State, participant, client_order_id):
    """``leaf_of`` in the tree of the day before."""
    venue = state.venue[0]
    return _leaf_in(state, _start_of(state, 1 - venue["id_half"]), venue["old_id_root"], participant, client_order_id)


@inlined
def leaf_row(state: State, leaf):
    """Row of a leaf of the tree of today."""
    return state.id_tree[_start_of(state, state.venue[0]["id_half"]) + leaf]


@inlined
def old_leaf_row(state: State, leaf):
    """Row of a leaf of the tree of the day before."""
    return state.id_tree[_start_of(state, 1 - state.venue[0]["id_half"]) + leaf]


@rare
def slot_at_leaf(state: State, leaf):
    """Slot that is noted of a leaf's id."""
    return np.int64(leaf_row(state, leaf)["slot"])


@rare
def set_slot_at_leaf(state: State, leaf, slot):
    """Note another slot of a leaf's id, today."""
    row = leaf_row(state, leaf)
    row["slot"] = slot
    row["day"] = state.venue[0]["days"]


@rare
def plant(state: State, participant, client_order_id, slot):
    """Add an id that the tree does not have, with the slot of its order."""
    venue = state.venue[0]
    fresh = venue["id_leaves"] + 1
    venue["id_leaves"] = fresh
    start = _start_of(state, venue["id_half"])
    row = state.id_tree[start + fresh]
    row["client_order_id"] = client_order_id
    row["participant"] = participant
    row["slot"] = slot
    row["day"] = venue["days"]
    if fresh == 1:
        row["zero"] = 0
        row["one"] = 0
        row["bit"] = 0
        venue["id_root"] = 2 * fresh + 1
        return
    near = state.id_tree[start + _leaf_towards(state, start, venue["id_root"], participant, client_order_id)]
    if np.int64(near["participant"]) != participant:
        bit = _ID_BITS + top_bit(np.int64(near["participant"]) ^ participant)
    else:
        bit = top_bit(near["client_order_id"] ^ client_order_id)
    above = np.int64(0)
    ref = venue["id_root"]
    for _ in range(_KEY_BITS):
        if ref & 1 or np.int64(state.id_tree[start + (ref >> 1)]["bit"]) < bit:
            break
        above = ref >> 1
        ref = _follow(state, start, ref, participant, client_order_id)
    row["bit"] = bit
    goes_one = _has_bit(participant, client_order_id, bit)
    row["one"] = 2 * fresh + 1 if goes_one else ref
    row["zero"] = ref if goes_one else 2 * fresh + 1
    if above == 0:
        venue["id_root"] = 2 * fresh
    elif _has_bit(participant, client_order_id, np.int64(state.id_tree[start + above]["bit"])):
        state.id_tree[start + above]["one"] = 2 * fresh
    else:
        state.id_tree[start + above]["zero"] = 2 * fresh
