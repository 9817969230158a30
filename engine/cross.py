"""A cross: a trade agreed outside the books, reported to the market (rulebook sections 3 and 13, 35)."""

from typing import Final

import numpy as np

from engine.bounds import BPS_MAX, INT64_MAX
from engine.definitions import find_participant
from engine.events import emit_agreed_trade, emit_cross_accepted, emit_rejected
from engine.exposure import SET_LIMITS, count_aggressor_trades, pair_of
from engine.index import find_id, take_id
from engine.jit import called, rare
from engine.limit_checks import check_credit, check_position, margin_of_positions
from engine.order_checks import check_price, check_qty
from engine.places import side_row
from engine.records import Limit, Phase, Reason
from engine.state import State

_RESTRICTED: Final = int(Limit.RESTRICTED)
_MAX_POSITION: Final = int(Limit.MAX_POSITION)
_CREDIT: Final = int(Limit.CREDIT)
_MARGIN: Final = int(Limit.MARGIN)
_MAX_IDS: Final = int(Limit.MAX_IDS)


@called
def _limits_of(state: State, participant, instrument):
    """Bits of the limits that are set for a participant in an instrument, or in all."""
    wide, pair = pair_of(state, participant, 0), pair_of(state, participant, instrument)
    return np.int64(state.limits[wide]["limits"]) | state.exposures[4 * pair + SET_LIMITS]


@called
def _beyond_quotes(state: State, instrument, tick):
    """True if a price is below the best displayed bid or above the best displayed offer."""
    bid = state.books[side_row(instrument, 1)]["best_tick"]
    offer = state.books[side_row(instrument, -1)]["best_tick"]
    return (bid != 0 and tick < bid) or (offer != 0 and tick > offer)


@called
def _position_reason(state: State, participant, instrument, side, qty):
    if not _limits_of(state, participant, instrument) & _MAX_POSITION:
        return np.int64(0)
    wide, pair = pair_of(state, participant, 0), pair_of(state, participant, instrument)
    set_here = state.exposures[4 * pair + SET_LIMITS]
    return np.int64(check_position(state.exposures, state.limits, set_here, wide, pair, side, qty))


@called
def _credit_reason(state: State, participant, instrument, notional_e4):
    owner = state.participants[participant - 1]
    is_set = _limits_of(state, participant, instrument)
    wide = pair_of(state, participant, 0)
    reason = np.int64(0)
    if is_set & _CREDIT:
        margin_bps = np.int64(state.limits[wide]["margin_bps"]) if is_set & _MARGIN else np.int64(BPS_MAX)
        count = state.venue[0]["instruments"]
        margin_e4 = margin_of_positions(state.instruments, state.exposures, wide, margin_bps, count)
        credit_e4 = state.limits[wide]["credit_e4"]
        reason = np.int64(check_credit(credit_e4, owner["open_notional_e4"], notional_e4, margin_e4))
    if reason == 0 and owner["open_notional_e4"] > INT64_MAX - notional_e4:
        reason = np.int64(Reason.CREDIT)
    return reason


@called
def _check(state: State, command, reporter, buyer, seller, instrument):
    """The reason for which a cross between known participants is refused, or 0; and where its id goes."""
    row, free = state.instruments[instrument - 1], np.int64(0)
    for participant in (reporter, buyer, seller):
        if np.int64(state.participants[participant - 1]["killed"]) != 0:
            return np.int64(Reason.KILLED), free
    if row["phase"] == Phase.CLOSED:
        return np.int64(Reason.CLOSED), free
    if row["phase"] == Phase.HALTED:
        return np.int64(Reason.HALTED), free
    if row["phase"] != Phase.CONTINUOUS:
        return np.int64(Reason.NOT_CONTINUOUS), free
    reason = np.int64(check_qty(command["qty"], row["lot"]))
    tick = np.int64(0)
    if reason == 0:
        price_reason, tick = check_price(command["price_e4"], row["tick_e4"])
        reason = np.int64(price_reason)
    if reason == 0 and buyer == seller:
        reason = np.int64(Reason.INVALID_INSTRUCTION)
    if reason != 0:
        return reason, free
    free = find_id(state, reporter, command["client_order_id"])
    if free >= 0:
        return np.int64(Reason.DUPLICATE_ID), free
    for participant in (buyer, seller):
        if _limits_of(state, participant, instrument) & _RESTRICTED:
            return np.int64(Reason.RESTRICTED), free
    if _beyond_quotes(state, instrument, tick):
        return np.int64(Reason.PRICE_BAND), free
    reason = _position_reason(state, buyer, instrument, np.int64(1), command["qty"])
    if reason == 0:
        reason = _position_reason(state, seller, instrument, np.int64(-1), command["qty"])
    notional_e4 = command["qty"] * command["price_e4"]
    if reason == 0:
        reason = _credit_reason(state, buyer, instrument, notional_e4)
    if reason == 0:
        reason = _credit_reason(state, seller, instrument, notional_e4)
    own_row = state.limits[pair_of(state, reporter, 0)]
    owner, venue = state.participants[reporter - 1], state.venue[0]
    full = np.int64(own_row["limits"]) & _MAX_IDS and owner["ids_used"] >= np.int64(own_row["max_ids"])
    if reason == 0 and (full or venue["ids_used"] >= venue["ids_max"]):
        reason = np.int64(Reason.CAPACITY)
    return reason, free


@rare
def cross_command(state: State, command, events, n):
    """``cross NAME ID QTY SYM @ PRICE buyer=NAME seller=NAME``."""
    venue, client_order_id = state.venue[0], command["client_order_id"]
    reporter, instrument = np.int64(command["participant"]), np.int64(command["instrument"])
    if client_order_id == 0:
        return emit_rejected(state, events, n, client_order_id, 0, 0, Reason.INVALID_COMMAND)
    known = instrument if 0 < instrument <= venue["instruments"] else np.int64(0)
    buyer, seller = find_participant(state, command["buyer"]), find_participant(state, command["seller"])
    if reporter < 1 or reporter > venue["participants"]:
        return emit_rejected(state, events, n, client_order_id, 0, known, Reason.UNKNOWN_PARTICIPANT)
    if buyer == 0 or seller == 0:
        return emit_rejected(state, events, n, client_order_id, reporter, known, Reason.UNKNOWN_PARTICIPANT)
    if known == 0:
        return emit_rejected(state, events, n, client_order_id, reporter, 0, Reason.UNKNOWN_INSTRUMENT)
    reason, free = _check(state, command, reporter, buyer, seller, instrument)
    if reason != 0:
        return emit_rejected(state, events, n, client_order_id, reporter, instrument, reason)
    qty = command["qty"]
    venue["last_order_number"] += 1
    take_id(state, free, reporter, client_order_id, 0)
    n = emit_cross_accepted(state, events, n, command)
    n = emit_agreed_trade(state, events, n, command, buyer, seller)
    count_aggressor_trades(state, buyer, instrument, qty)
    count_aggressor_trades(state, seller, instrument, -qty)
    return n
