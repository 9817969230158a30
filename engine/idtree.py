"""Client order ids that found no room near their places in the table: a crit-bit tree over all of them.

Few get here unless they were chosen to. The tree is never deeper than a participant and an id have bits together,
whatever was chosen.

Leaf n and branching n are both in row n: the n-th leaf (from the second on) adds one branching. A reference is twice
the number of a branching, or twice that of a leaf plus 1; 0 is none. Nothing is taken out before the day ends.
"""

from typing import Final

import numpy as np

from engine.jit import inlined, lshr, rare, top_bit
from engine.state import State

#: Bits of a key: the id below, the participant above it.
_ID_BITS: Final = 64
_KEY_BITS: Final = 81


@inlined
def _has_bit(participant, client_order_id, bit):
    return (lshr(participant, bit - _ID_BITS) if bit >= _ID_BITS else lshr(client_order_id, bit)) & 1


@inlined
def _follow(state: State, ref, participant, client_order_id):
    """One step down from a branching, the way of a key."""
    row = state.id_tree[ref >> 1]
    goes_one = _has_bit(participant, client_order_id, np.int64(row["bit"]))
    return np.int64(row["one"]) if goes_one else np.int64(row["zero"])


@inlined
def _leaf_towards(state: State, participant, client_order_id):
    """The leaf where the way of a key ends; there must be one."""
    ref = state.venue[0]["id_root"]
    for _ in range(_KEY_BITS):
        if ref & 1:
            break
        ref = _follow(state, ref, participant, client_order_id)
    return ref >> 1


@rare
def leaf_of(state: State, participant, client_order_id):
    """Leaf of an id of a participant, or 0 when the tree does not have it."""
    if state.venue[0]["id_root"] == 0:
        return np.int64(0)
    leaf = _leaf_towards(state, participant, client_order_id)
    row = state.id_tree[leaf]
    if (row["client_order_id"] == client_order_id) & (np.int64(row["participant"]) == participant):
        return leaf
    return np.int64(0)


@rare
def plant(state: State, participant, client_order_id, slot):
    """Add an id that the tree does not have, with the slot of its order."""
    venue = state.venue[0]
    fresh = venue["id_leaves"] + 1
    venue["id_leaves"] = fresh
    row = state.id_tree[fresh]
    row["client_order_id"] = client_order_id
    row["participant"] = participant
    row["slot"] = slot
    if fresh == 1:
        venue["id_root"] = 2 * fresh + 1
        return
    near = state.id_tree[_leaf_towards(state, participant, client_order_id)]
    if np.int64(near["participant"]) != participant:
        bit = _ID_BITS + top_bit(np.int64(near["participant"]) ^ participant)
    else:
        bit = top_bit(near["client_order_id"] ^ client_order_id)
    above = np.int64(0)
    ref = venue["id_root"]
    for _ in range(_KEY_BITS):
        if ref & 1 or np.int64(state.id_tree[ref >> 1]["bit"]) < bit:
            break
        above = ref >> 1
        ref = _follow(state, ref, participant, client_order_id)
    row["bit"] = bit
    goes_one = _has_bit(participant, client_order_id, bit)
    row["one"] = 2 * fresh + 1 if goes_one else ref
    row["zero"] = ref if goes_one else 2 * fresh + 1
    if above == 0:
        venue["id_root"] = 2 * fresh
    elif _has_bit(participant, client_order_id, np.int64(state.id_tree[above]["bit"])):
        state.id_tree[above]["one"] = 2 * fresh
    else:
        state.id_tree[above]["zero"] = 2 * fresh
