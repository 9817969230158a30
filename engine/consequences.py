"""Consequences of a command, instrument by instrument (rulebook section 7); and the one word that tells if any can be.

An instrument has a word of what is pending in it (``state.Pending``), and the venue counts the instruments whose word
is not 0. While that count is 0, as it is in plain trading, an order looks at nothing else.
"""

from typing import Final

import numpy as np

from engine.breakers import BREAKERS, look_at_trade
from engine.calls import publish_indicative
from engine.entry import run_rarely
from engine.events import emit_triggered
from engine.exposure import count_open, value_price_of
from engine.jit import called, inlined, rare
from engine.matching import cancel_resting
from engine.midpoint_run import meet_at_midpoint
from engine.peg_run import price_pegs
from engine.pegs import quote_as_before
from engine.records import EventKind, Instruction, Phase
from engine.seen import begin_to_look
from engine.state import Pending, State, unpack_state
from engine.stops import leave_stops, next_stop

_CALL: Final = int(Pending.CALL)
_MIDPOINT: Final = int(Pending.MIDPOINT)
_STOPS: Final = int(Pending.STOPS)
_PEGS: Final = int(Pending.PEGS)
_STOP: Final = int(Instruction.STOP)


@rare
def _elect(state: State, events, n, slot):
    """A dormant order runs as incoming, with the time of its election."""
    order = state.orders[slot]
    side, leaves_qty = np.int64(order["side"]), np.int64(order["leaves_qty"])
    leave_stops(state, slot)
    count_open(
        state, np.int64(order["participant"]), np.int64(order["instrument"]), side, -leaves_qty, value_price_of(order)
    )
    order["instructions"] = np.int64(order["instructions"]) & ~_STOP
    n = emit_triggered(state, events, n, order)
    return run_rarely(state, events, n, slot)


@called
def _elect_stops(state: State, events, n, instrument):
    """Run the stops whose price is reached, one after the other, until a breaker ends continuous trading."""
    row = state.instruments[instrument - 1]
    # Each is elected once, so that there are no more turns than orders.
    for _ in range(state.venue[0]["orders_open"]):
        slot = next_stop(state, instrument)
        if slot == 0:
            break
        n = _elect(state, events, n, slot)
        if row["pending"] & BREAKERS:
            n = look_at_trade(state, events, n, instrument)
            if row["phase"] != Phase.CONTINUOUS:
                break
    return n


@called
def consequences(state: State, events, n, instrument):
    """All that a command causes in an instrument that it touched, after its own events."""
    return _consequences(state, events, n, instrument)


@inlined
def _consequences(state: State, events, n, instrument):
    """``consequences``, where it is the frequent way. The letters are those of section 7."""
    row = state.instruments[instrument - 1]
    # (a) breakers look at the last trade
    if row["pending"] & BREAKERS:
        n = look_at_trade(state, events, n, instrument)
    # (b) stops, with (a) after each; (c) pegs, and after a pass of them that traded (a) and (b) again.
    # A turn without a trade of pegs is the last; each of the others ends an order, or a part of it that was shown.
    for _ in range(state.venue[0]["orders_open"] + state.venue[0]["slices"] + 1):
        if row["pending"] & _STOPS and row["phase"] == Phase.CONTINUOUS:
            n = _elect_stops(state, events, n, instrument)
        traded = False
        if row["pending"] & _PEGS:
            n, traded = price_pegs(state, events, n, instrument)
        if not traded:
            break
        if row["pending"] & BREAKERS:
            n = look_at_trade(state, events, n, instrument)
    begin_to_look(state.venue[0])
    state.venue[0]["fresh_stop"] = 0
    # (d) the midpoint book, and in a call the indicative price
    if row["pending"] & _MIDPOINT:
        n = meet_at_midpoint(state, events, n, instrument)
    if row["pending"] & _CALL:
        n = publish_indicative(state, events, n, instrument)
    return n


@inlined
def consequences_of_order(pointers, state: State, events, n):
    """``consequences`` of an enter, cancel or replace, whose last event names the instrument."""
    event = events[n - 1]
    instrument = np.int64(event["instrument"])
    if instrument == 0 or np.int64(event["kind"]) == EventKind.REJECTED:
        return n
    venue, row = state.venue[0], state.instruments[instrument - 1]
    # Stops wait for a trade or one of them is new, and pegs for another quote or one of them is new. Else none moves.
    if (
        (row["pending"] & ~(_STOPS | _PEGS)) == 0
        and row["phase"] == Phase.CONTINUOUS
        and venue["last_trade_number"] == venue["looked_trade_number"]
        and (venue["fresh_stop"] | venue["fresh_peg"]) == 0
        and (row["pending"] & _PEGS == 0 or quote_as_before(state, instrument))
    ):
        begin_to_look(venue)
        return n
    return _frequent_consequences(pointers, events, n, instrument)


@rare
def _frequent_consequences(pointers, events, n, instrument):
    """``consequences`` with one pointer in place of a register or a word of the stack for each array of the state."""
    return _consequences(unpack_state(pointers), events, n, instrument)


@called
def cancel_listed(state: State, events, n, start, count, reason):
    """Cancel the orders of ``count`` slots of ``scratch`` in their order, complete with the consequences."""
    some_pending = state.venue[0]["pending"] != 0
    for place in range(start, start + count):
        slot = state.scratch[place]
        if some_pending:
            state.instruments[np.int64(state.orders[slot]["instrument"]) - 1]["touched"] = 1
        n = cancel_resting(state, events, n, slot, reason)
    if some_pending and count != 0:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            row = state.instruments[instrument - 1]
            if row["touched"] != 0:
                row["touched"] = 0
                n = consequences(state, events, n, instrument)
    return n
