"""Order entry (rulebook sections 4 and 8), complete with what it causes; and how an order runs as aggressor."""

from typing import Final

import numpy as np

from engine.aside import put_aside
from engine.book import best_of_all, follow, join
from engine.bounds import INT64_MAX
from engine.ending import begin_ending
from engine.events import emit_accepted, emit_canceled, emit_rejected
from engine.expiries import set_expiry
from engine.exposure import count_entry, count_open, count_refused_entry, reference_of, value_price_of
from engine.form import has_form, terms_fit
from engine.index import find_id, take_id
from engine.jit import inlined, rare, word_of
from engine.limit_checks import check_with_limits, is_within_frequent_limits
from engine.matching import limit_tick_of, match, release, release_plain, trial, what_is_left_of_market
from engine.midpoint_run import run_at_midpoint
from engine.order_checks import (
    check_instructions,
    check_phase,
    check_price,
    check_qty,
    check_stop,
    is_plain_time,
)
from engine.owned import own
from engine.pegs import begin_peg
from engine.places import side_row
from engine.records import CommandKind, Instruction, Peg, Permission, Phase, Reason, SelfTrade, TimeInForce
from engine.resting import rest, set_display, slices_of
from engine.state import IN_MIDPOINT, State, unpack_state
from engine.stops import join_stops

_MARKET: Final = int(Instruction.MARKET)
_MIN_QTY: Final = int(Instruction.MIN_QTY)
_STOP: Final = int(Instruction.STOP)
_DISPLAY: Final = int(Instruction.DISPLAY)
_UNTIL: Final = int(Instruction.UNTIL)
_PEG: Final = int(Instruction.PEG)
_KNOWN: Final = int(~Instruction(0))
#: A book of 1, the midpoint book, becomes the bit ``IN_MIDPOINT``.
_BOOK_BIT: Final = IN_MIDPOINT.bit_length() - 1
_MAY_MARKET: Final = int(Permission.MARKET)


@inlined
def _is_enter(command, side, time_in_force, instructions):
    """True if the row can be interpreted as an enter (rulebook section 13, 1)."""
    self_trade = np.int64(command["self_trade"])
    if (
        (side * side != 1)
        | (time_in_force - 1 < 0)
        | (time_in_force > TimeInForce.CLOSING)
        | (self_trade - 1 < 0)
        | (self_trade > SelfTrade.NONE)
        | (command["client_order_id"] == 0)
        | (not has_form(command, CommandKind.ENTER))
    ):
        return False
    # The last two bytes are the book and the reference of a peg. A market order has no price.
    others = command["min_qty"] | command["display_qty"] | word_of(command, 7) >> 48 | (instructions & ~_MARKET)
    if others == 0 and (instructions == 0 or command["price_e4"] == 0):
        return True
    return _is_rare_enter(command, instructions)


@rare
def _is_rare_enter(command, instructions):
    if instructions & ~_KNOWN or np.int64(command["book"]) > 1:
        return False
    peg = np.int64(command["peg"])
    if (peg != 0) != (instructions & _PEG != 0) or peg > Peg.MARKET:
        return False
    if command["min_qty"] != 0 and not instructions & (_MIN_QTY | _UNTIL):
        return False
    return terms_fit(command, instructions)


@inlined
def enter(pointers, state: State, command, events, n, often):
    """A new order: its checks in the order of the rulebook, then it runs. often: it comes by the frequent way."""
    participant = np.int64(command["participant"])
    instrument = np.int64(command["instrument"])
    client_order_id = command["client_order_id"]
    side = np.int64(command["side"])
    time_in_force = np.int64(command["time_in_force"])
    instructions = np.int64(command["instructions"])
    venue = state.venue[0]
    if not _is_enter(command, side, time_in_force, instructions):
        return emit_rejected(state, events, n, client_order_id, 0, 0, Reason.INVALID_COMMAND)
    if participant - 1 < 0 or participant > venue["participants"]:
        known = instrument if 0 < instrument <= venue["instruments"] else np.int64(0)
        return emit_rejected(state, events, n, client_order_id, 0, known, Reason.UNKNOWN_PARTICIPANT)
    if instrument - 1 < 0 or instrument > venue["instruments"]:
        count_refused_entry(state.venue, state.participants, state.entry_times, participant)
        return emit_rejected(state, events, n, client_order_id, participant, 0, Reason.UNKNOWN_INSTRUMENT)
    owner = state.participants[participant - 1]
    # A replace needs no such check: whoever is killed has no open order.
    if np.int64(owner["killed"]) != 0:
        count_refused_entry(state.venue, state.participants, state.entry_times, participant)
        return emit_rejected(state, events, n, client_order_id, participant, instrument, Reason.KILLED)
    # Most orders have no instruction and trade or rest at once: compiled for them, the same rules ask for less.
    phase = state.instruments[instrument - 1]["phase"]
    is_plain = (instructions | np.int64(command["book"])) == 0 and phase == Phase.CONTINUOUS
    if often and is_plain and is_plain_time(time_in_force):
        return _enter(state, command, events, n, True)
    return _enter_otherwise(pointers, command, events, n)


@rare
def _enter_otherwise(pointers, command, events, n):
    """``_enter`` of any order, with one pointer in place of a register or a word of the stack for each array."""
    return _enter(unpack_state(pointers), command, events, n, False)


@inlined
def _enter(state: State, command, events, n, plain):
    """``enter`` from the checks of an order that can be refused for what it says. plain: it has no instruction, is of
    the lit book, which is in continuous trading, and is ``day``, ``gtc`` or ``ioc``."""
    participant = np.int64(command["participant"])
    instrument = np.int64(command["instrument"])
    client_order_id = command["client_order_id"]
    side = np.int64(command["side"])
    time_in_force = np.int64(command["time_in_force"])
    instructions = np.int64(0) if plain else np.int64(command["instructions"])
    venue = state.venue[0]
    owner = state.participants[participant - 1]
    row = state.instruments[instrument - 1]
    phase = np.int64(Phase.CONTINUOUS) if plain else row["phase"]
    reason = 0 if plain else check_phase(phase, time_in_force, instructions, np.int64(command["book"]))
    if reason == 0:
        reason = check_qty(command["qty"], row["lot"])
    tick = np.int64(0)
    if instructions & _MARKET:
        tick = -reference_of(row)
    elif reason == 0:
        reason, tick = check_price(command["price_e4"], row["tick_e4"])
    if instructions & _STOP:
        reason = check_stop(np.int64(reason), command["stop_e4"], row["tick_e4"])
        if instructions & _MARKET:
            tick = -command["stop_e4"]
    if reason == 0 and not plain:
        reason = check_instructions(command, instructions, time_in_force, row, venue["now_ns"])
    place = np.int64(0)
    if reason == 0:
        place = find_id(state, participant, client_order_id)
        reason = _check_entry(state, command, place, participant, instrument, side, tick, instructions, plain)
    if reason != 0:
        if reason != Reason.ORDER_RATE:
            count_refused_entry(state.venue, state.participants, state.entry_times, participant)
        return emit_rejected(state, events, n, client_order_id, participant, instrument, reason)
    count_entry(venue, owner, state.entry_times, participant)
    slot = _new_order(state, command, participant, instrument, tick, plain)
    take_id(state, place, participant, client_order_id, slot)
    n = emit_accepted(state, events, n, state.orders[slot])
    if instructions & (_DISPLAY | _UNTIL | _PEG):
        _set_terms(state, command, slot, instructions)
    if instructions & (_STOP | _PEG):
        if instructions & _STOP:
            join_stops(state, slot, command["stop_e4"] // row["tick_e4"])
        count_open(state, participant, instrument, side, command["qty"], value_price_of(state.orders[slot]))
        return n
    if phase != Phase.CONTINUOUS:
        if time_in_force == TimeInForce.CLOSING and phase != Phase.CLOSING_AUCTION:
            put_aside(state, slot)
        else:
            rest(state, side_row(instrument, side), slot)
            if time_in_force > TimeInForce.FOK:
                begin_ending(state, slot)
        count_open(state, participant, instrument, side, command["qty"], value_price_of(state.orders[slot]))
        return n
    needed_qty = np.int64(0)
    if plain:
        return run_aggressor(state, events, n, slot, needed_qty, plain)
    if time_in_force >= TimeInForce.FOK:
        if time_in_force == TimeInForce.CLOSING:
            put_aside(state, slot)
            count_open(state, participant, instrument, side, command["qty"], value_price_of(state.orders[slot]))
            return n
        needed_qty = command["qty"]
    elif instructions & _MIN_QTY:
        needed_qty = command["min_qty"]
    if np.int64(command["book"]) != 0:
        return run_at_midpoint(state, events, n, slot, needed_qty)
    return run_aggressor(state, events, n, slot, needed_qty, plain)


@rare
def _set_terms(state: State, command, slot, instructions):
    if instructions & _DISPLAY:
        set_display(state, slot, command["display_qty"], command["qty"])
    if instructions & _UNTIL:
        set_expiry(state, slot, command["until_ns"])
    if instructions & _PEG:
        begin_peg(state, command, slot, instructions)


@inlined
def _check_entry(state: State, command, place, participant, instrument, side, tick, instructions, plain):
    """The checks from ``duplicate_id`` on."""
    venue = state.venue[0]
    if place >= 0:
        return Reason.DUPLICATE_ID
    owner = state.participants[participant - 1]
    self_trade = np.int64(command["self_trade"])
    qty = command["qty"]
    band = np.int64(state.instruments[instrument - 1]["band"])
    book = np.int64(0) if plain else np.int64(command["book"])
    value_price_e4 = command["price_e4"] if plain or tick > 0 else -tick
    if (
        (instructions & ~_MARKET) | owner["limits_count"] | band | book or self_trade == SelfTrade.NONE
    ) and not is_within_frequent_limits(
        state, participant, instrument, side, self_trade, band, book, instructions, qty, value_price_e4
    ):
        reason = check_with_limits(
            state.venue,
            state.instruments,
            state.participants,
            state.exposures,
            state.limits,
            state.entry_times,
            state.books,
            participant,
            instrument,
            side,
            self_trade,
            instructions if (book | instructions & _PEG) == 0 else np.int64(0),
            tick,
            qty,
            qty,
            value_price_e4,
            np.int64(0),
            np.int64(0),
            command["stop_e4"] if instructions & _STOP else np.int64(0),
        )
        if reason != 0:
            return reason
    else:
        if instructions & _MARKET and not np.int64(owner["permissions"]) & _MAY_MARKET:
            return Reason.MARKET_NOT_PERMITTED
        if owner["open_notional_e4"] > INT64_MAX - qty * value_price_e4:
            return Reason.CREDIT
    if venue["orders_open"] >= venue["orders_max"] or venue["ids_used"] >= venue["ids_max"]:
        return Reason.CAPACITY
    if instructions & _DISPLAY and venue["slices"] + slices_of(qty, command["display_qty"]) > venue["orders_max"]:
        return Reason.CAPACITY
    return 0


@inlined
def _new_order(state: State, command, participant, instrument, tick, plain):
    """Give an accepted order its slot and its order number; returns the slot."""
    venue = state.venue[0]
    owner = state.participants[participant - 1]
    slot = venue["orders_free"]
    if slot != 0:
        venue["orders_free"] = np.int64(state.orders[slot]["next"])
    else:
        slot = venue["orders_high"] + 1
        venue["orders_high"] = slot
    order_number = venue["last_order_number"] + 1
    venue["last_order_number"] = order_number
    venue["orders_open"] += 1
    owner["orders_open"] += 1
    order = state.orders[slot]
    order["client_order_id"] = command["client_order_id"]
    order["order_number"] = order_number
    order["price_e4"] = command["price_e4"]
    order["tick"] = tick
    order["next"] = 0
    order["prev"] = 0
    order["qty"] = command["qty"]
    order["leaves_qty"] = command["qty"]
    order["cum_qty"] = 0
    order["participant"] = participant
    order["group"] = owner["group"]
    order["instrument"] = instrument
    order["instructions"] = (
        np.int64(0) if plain else np.int64(command["instructions"]) | np.int64(command["book"]) << _BOOK_BIT
    )
    order["side"] = command["side"]
    order["time_in_force"] = command["time_in_force"]
    order["self_trade"] = command["self_trade"]
    order["id_day"] = venue["id_day"]
    own(state, participant, slot, np.int64(command["time_in_force"]))
    return slot


@inlined
def run_aggressor(state: State, events, n, slot, needed_qty, plain):
    """Run an order as aggressor in ``continuous``: it trades, then the rest of it rests or is canceled.

    needed_qty: quantity that must trade at once (fok, min_qty), or 0. plain: it has no instruction.
    """
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    side = np.int64(order["side"])
    time_in_force = np.int64(order["time_in_force"])
    limit_tick = order["tick"] if plain else limit_tick_of(state.instruments, order)
    if needed_qty != 0 and not trial(state, slot, needed_qty):
        return _cancel_rest(state, events, n, slot, Reason.FOK if time_in_force == TimeInForce.FOK else Reason.MIN_QTY)
    best = best_of_all(state.books[side_row(instrument, -side)], -side)
    if best != 0 and (limit_tick - best) * side >= 0:
        n, ended = match(state, events, n, slot, limit_tick)
        follow(state, instrument, best)
        if ended:
            return _cancel_rest(state, events, n, slot, Reason.SELF_TRADE)
        if np.int64(order["leaves_qty"]) == 0:
            if plain:
                release_plain(state, slot)
            else:
                release(state, slot)
            return n
    if not plain and np.int64(order["instructions"]) & _MARKET:
        return _cancel_rest(state, events, n, slot, what_is_left_of_market(state, instrument, side))
    if time_in_force == TimeInForce.IOC:
        return _cancel_rest(state, events, n, slot, Reason.IOC)
    b = side_row(instrument, side)
    if plain:
        join(state, b, slot)
    else:
        rest(state, b, slot)
    participant = np.int64(order["participant"])
    count_open(state, participant, instrument, side, np.int64(order["leaves_qty"]), order["price_e4"])
    if state.books[b]["best_tick"] == order["tick"]:
        follow(state, instrument, order["tick"])
    return n


@rare
def run_rarely(state: State, events, n, slot):
    """``run_aggressor`` of an order for which it need not be put into the caller."""
    return run_aggressor(state, events, n, slot, np.int64(0), False)


@inlined
def _cancel_rest(state: State, events, n, slot, reason):
    order = state.orders[slot]
    n = emit_canceled(state, events, n, order, np.int64(order["leaves_qty"]), reason)
    release(state, slot)
    return n
