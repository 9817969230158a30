"""Orders of an instrument that end at an uncross: its opening and closing orders with a limit, while in the book.

They are in a list, in the order in which they came into the book, so that an uncross ends just those, however many
others the instrument has. Their links are in ``terms``. Market orders in the book end at an uncross too; they are found
at their level, and are in no list.
"""

from typing import Any, Final

import numpy as np

from engine.jit import called, rare
from engine.records import Instruction, TimeInForce
from engine.state import ASIDE, ENDING, State

_MARKET: Final = int(Instruction.MARKET)


@rare
def begin_ending(state: State, slot):
    """An opening or closing order came into the book: it goes behind all others of its instrument."""
    order, terms = state.orders[slot], state.terms[slot]
    instructions = np.int64(order["instructions"])
    if instructions & _MARKET:
        return
    order["instructions"] = instructions | ENDING
    row = state.instruments[np.int64(order["instrument"]) - 1]
    last = np.int64(row["ending_last"])
    terms["before"] = last
    if last == 0:
        row["ending_first"] = slot
    else:
        state.terms[last]["after"] = slot
    row["ending_last"] = slot


@rare
def drop_ending(state: State, slot):
    """An order that is in the list is gone."""
    terms = state.terms[slot]
    row = state.instruments[np.int64(state.orders[slot]["instrument"]) - 1]
    before, after = np.int64(terms["before"]), np.int64(terms["after"])
    if before == 0:
        row["ending_first"] = after
    else:
        state.terms[before]["after"] = after
    if after == 0:
        row["ending_last"] = before
    else:
        state.terms[after]["before"] = before
    terms["before"] = 0
    terms["after"] = 0


@called
def list_ending(state: State, instrument, out):
    """Write the slots of an instrument's list to ``out``; gives their number."""
    count = np.int64(0)
    slot = np.int64(state.instruments[instrument - 1]["ending_first"])
    for _ in range(state.venue[0]["orders_open"]):
        if slot == 0:
            break
        out[count] = slot
        count += 1
        slot = np.int64(state.terms[slot]["after"])
    return count


def ending_slots(state: State, instrument: int) -> "np.ndarray[Any, Any]":
    """Slots of the orders that are to be in an instrument's list, in order of acceptance, found among all orders."""
    orders = state.orders
    is_for_auction = np.isin(orders["time_in_force"], (TimeInForce.OPENING, TimeInForce.CLOSING))
    is_in_book = (orders["participant"] != 0) & (orders["instructions"] & (_MARKET | ASIDE) == 0)
    slots = np.flatnonzero(is_for_auction & is_in_book & (orders["instrument"] == instrument))
    found: np.ndarray[Any, Any] = slots[np.argsort(orders["order_number"][slots], kind="stable")]
    return found


def list_all_ending(state: State) -> None:
    """Make the lists, where there are none."""
    for instrument in range(1, int(state.venue[0]["instruments"]) + 1):
        slots = ending_slots(state, instrument)
        if not len(slots):
            continue
        state.orders["instructions"][slots] |= ENDING
        state.terms["before"][slots[1:]] = slots[:-1]
        state.terms["after"][slots[:-1]] = slots[1:]
        row = state.instruments[instrument - 1]
        row["ending_first"], row["ending_last"] = slots[0], slots[-1]
