"""An order comes to rest in the lit book, and leaves it: displayed, with a part of it (an iceberg), or hidden.

A peg comes to rest with a price only (``peg_run.py``); it leaves like any other.
"""

from typing import Final

import numpy as np

from engine.aside import leave_aside, shrink_aside
from engine.book import join, leave, shrink
from engine.hidden import join_hidden, leave_hidden, shrink_hidden
from engine.jit import inlined, rare
from engine.midpoint import join_midpoint, leave_midpoint, shrink_midpoint
from engine.records import Instruction
from engine.state import ASIDE, IN_MIDPOINT, State
from engine.stops import leave_stops, shrink_stop

_STOP: Final = int(Instruction.STOP)
_HIDDEN: Final = int(Instruction.HIDDEN)
_DISPLAY: Final = int(Instruction.DISPLAY)
_PEG: Final = int(Instruction.PEG)


@inlined
def rest(state: State, b, slot):
    """Put an order at the back of the queue at its price; an iceberg shows its first part."""
    if np.int64(state.orders[slot]["instructions"]) & (_HIDDEN | _DISPLAY | IN_MIDPOINT):
        _rest_otherwise(state, b, slot)
    else:
        join(state, b, slot)


@rare
def _rest_otherwise(state: State, b, slot):
    order = state.orders[slot]
    if np.int64(order["instructions"]) & _HIDDEN:
        join_hidden(state, slot)
        return
    if np.int64(order["instructions"]) & IN_MIDPOINT:
        join_midpoint(state, slot)
        return
    show(state, slot)
    join(state, b, slot)


@rare
def show(state: State, slot):
    """An iceberg shows its next part."""
    terms = state.terms[slot]
    terms["shown_qty"] = min(np.int64(terms["display_qty"]), np.int64(state.orders[slot]["leaves_qty"]))


@inlined
def withdraw(state: State, b, slot):
    """Take an order out of its queue, that of a dormant one too; its leaves_qty is still what it has open."""
    if np.int64(state.orders[slot]["instructions"]) & (_STOP | _HIDDEN | _PEG | IN_MIDPOINT | ASIDE):
        withdraw_otherwise(state, slot)
    else:
        leave(state, b, slot)


@rare
def withdraw_otherwise(state: State, slot):
    """``withdraw`` of an order that is not among the displayed ones."""
    instructions = np.int64(state.orders[slot]["instructions"])
    if instructions & _STOP:
        leave_stops(state, slot)
    elif instructions & IN_MIDPOINT:
        leave_midpoint(state, slot)
    elif instructions & ASIDE:
        leave_aside(state, slot)
    elif not instructions & _PEG:
        leave_hidden(state, slot)
    elif state.terms[slot]["peg_e4"] != 0:
        leave_hidden(state, slot)
        state.terms[slot]["peg_e4"] = 0


@inlined
def lessen(state: State, b, slot, leaves_qty):
    """An order keeps its place with less; an iceberg loses its reserve first."""
    if np.int64(state.orders[slot]["instructions"]) & (_STOP | _HIDDEN | _DISPLAY | _PEG | IN_MIDPOINT | ASIDE):
        lessen_otherwise(state, b, slot, leaves_qty)
    else:
        shrink(state, b, slot, leaves_qty)


@rare
def lessen_otherwise(state: State, b, slot, leaves_qty):
    """``lessen`` of an order that is no plain one; ``b`` is looked at for an iceberg only."""
    instructions = np.int64(state.orders[slot]["instructions"])
    if instructions & _STOP:
        shrink_stop(state, slot, leaves_qty)
    elif instructions & IN_MIDPOINT:
        shrink_midpoint(state, slot, leaves_qty)
    elif instructions & ASIDE:
        shrink_aside(state, slot, leaves_qty)
    elif instructions & _PEG and state.terms[slot]["peg_e4"] == 0:
        state.orders[slot]["leaves_qty"] = leaves_qty
    elif instructions & (_HIDDEN | _PEG):
        shrink_hidden(state, slot, leaves_qty)
    else:
        shrink(state, b, slot, leaves_qty)
        terms = state.terms[slot]
        terms["shown_qty"] = min(np.int64(terms["shown_qty"]), leaves_qty)


@inlined
def slices_of(qty, display_qty):
    """Number of next parts of ``display_qty`` that an iceberg of a quantity can show."""
    return (qty - 1) // display_qty


@rare
def set_display(state: State, slot, display_qty, qty):
    """Write how much an order of a quantity shows at most, and the room that it takes."""
    terms = state.terms[slot]
    slices = slices_of(qty, display_qty)
    state.venue[0]["slices"] += slices - np.int64(terms["slices"])
    terms["display_qty"] = display_qty
    terms["slices"] = slices
