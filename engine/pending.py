"""The word of what is pending in an instrument (``state.Pending``); the venue counts the words that are not 0."""

import numpy as np

from engine.jit import called
from engine.state import State


@called
def set_pending(state: State, instrument, bit, waits):
    """Set (``waits`` true) or clear a bit of an instrument's word."""
    row = state.instruments[instrument - 1]
    before = row["pending"]
    after = before | bit if waits else before & ~bit
    row["pending"] = after
    state.venue[0]["pending"] += np.int64(after != 0) - np.int64(before != 0)
