"""Invariants of pegs (``pegs.py``): their lists, and their prices by the references of these."""

import numpy as np

from engine.errors import require
from engine.pegs import REFERENCES, price_of_peg
from engine.places import peg_row
from engine.records import Instruction, Phase
from engine.state import State


def check_pegs(state: State, open_slots: list[int], seen: set[int]) -> None:
    """Check them; those without a price are added to ``seen``, where all orders in queues are."""
    pegs = {slot for slot in open_slots if state.orders[slot]["instructions"] & Instruction.PEG}
    require(state.venue[0]["pegs"] == len(pegs), "the venue counts its pegs")
    require(state.venue[0]["fresh_peg"] == 0, "no peg is left to look at")
    require(not state.terms["peg"][[slot for slot in open_slots if slot not in pegs]].any(), "no other order is a peg")
    found: set[int] = set()
    for instrument in range(1, int(state.venue[0]["instruments"]) + 1):
        row = state.instruments[instrument - 1]
        before = len(found)
        for side in (1, -1):
            for peg in range(1, REFERENCES + 1):
                _check_list(state, instrument, side, peg, found, seen)
        require(row["pegs"] == len(found) - before, "an instrument counts its pegs")
    require(found == pegs, "every peg is in a list")


def _check_list(state: State, instrument: int, side: int, peg: int, found: set[int], seen: set[int]) -> None:
    book = state.books[peg_row(state, instrument, side, peg)]
    reference_e4 = book["price_e4"]
    require(book["head"] != 0 or reference_e4 == 0, "an empty list of pegs has no reference")
    in_continuous = state.instruments[instrument - 1]["phase"] == Phase.CONTINUOUS
    require(in_continuous or reference_e4 == 0, "outside of continuous trading pegs have no reference")
    before, number, slot = 0, 0, int(book["head"])
    while slot:
        order, terms = state.orders[slot], state.terms[slot]
        require(slot not in found, "a peg is in one list only")
        found.add(slot)
        require((order["instrument"], order["side"], terms["peg"]) == (instrument, side, peg), "a peg is in its list")
        require(terms["before"] == before and order["order_number"] > number, "pegs are in order of acceptance")
        price_e4 = price_of_peg(state, np.int64(slot), np.int64(reference_e4))
        require(terms["peg_e4"] == price_e4, "a peg has the price that its reference gives")
        require((slot in seen) == (price_e4 != 0), "a peg is in the book while it has a price")
        seen.add(slot)
        before, number, slot = slot, int(order["order_number"]), int(terms["after"])
    require(book["tail"] == before, "a list of pegs knows its last")
