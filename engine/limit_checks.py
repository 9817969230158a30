"""Permissions, the checks that limits set, and the last row of section 8 (rulebook sections 8 and 13, 21 and 28).

Only orders come here that are not plain: of participants with limits, without a limit price, ``stp=none`` or
post-only, or with so large a notional that it has to be looked at closely. What is set for the instrument goes before
what is set for the participant in all of them, field by field.
"""

from typing import Final

import numpy as np

from engine.book import best_of_all
from engine.bounds import BPS_MAX, INT64_MAX
from engine.exposure import OPEN_QTY, POSITION_QTY, SET_LIMITS, entries_since, pair_of, reference_of
from engine.jit import called, inlined, rare
from engine.places import side_row
from engine.records import Instruction, Limit, Permission, Reason, SelfTrade
from engine.state import State

_MAX_ORDER_QTY: Final = int(Limit.MAX_ORDER_QTY)
_MAX_ORDER_VALUE: Final = int(Limit.MAX_ORDER_VALUE)
_ORDER_RATE: Final = int(Limit.ORDER_RATE)
_MAX_POSITION: Final = int(Limit.MAX_POSITION)
_CREDIT: Final = int(Limit.CREDIT)
_MARGIN: Final = int(Limit.MARGIN)
_ADV: Final = int(Limit.ADV)
_RESTRICTED: Final = int(Limit.RESTRICTED)
_MAX_OPEN_ORDERS: Final = int(Limit.MAX_OPEN_ORDERS)
_MAX_IDS: Final = int(Limit.MAX_IDS)
_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_PEG: Final = int(Instruction.PEG)
#: Limits that many participants have, and instructions for which it is not enough that these are kept.
_FREQUENT: Final = _MAX_ORDER_QTY | _MAX_ORDER_VALUE | _MAX_POSITION
_LOOKED_AT: Final = _POST_ONLY | _PEG
_MAY_MARKET: Final = int(Permission.MARKET)
_MAY_STP_NONE: Final = int(Permission.STP_NONE)


@inlined
def would_cross(books, instruments_max, instrument, side, tick):
    """True if a limit order would meet one of the other side, displayed or not."""
    b = side_row(instrument, -side)
    book = books[b]
    best = best_of_all(book, -side)
    if best != tick or book["price_e4"] == 0:
        return best != 0 and (tick - best) * side >= 0
    # Pegs between two ticks stand as if at the better one: another order must be there.
    return book["best_tick"] == tick or books[4 * instruments_max + b]["best_tick"] == tick


@inlined
def _place_of(set_here, wide, pair, limit):
    """Row of ``limits`` that says a limit which is set: that of the instrument, if it is set there."""
    return pair if set_here & limit else wide


@inlined
def is_within_frequent_limits(
    state: State, participant, instrument, side, self_trade, band, book, instructions, qty, value_price_e4
):
    """True if ``check_with_limits`` gives 0 for a new order as far as the last rows of section 8, seen at once.

    Limits of quantity, value and position for all instruments are looked at, and nothing rarer: False says nothing.
    """
    wide = pair_of(state, participant, 0)
    at = 4 * (wide + instrument)
    row = state.limits[wide]
    is_set = np.int64(row["limits"])
    rarer = (instructions & _LOOKED_AT) | band | book | state.exposures[at + SET_LIMITS] | (is_set & ~_FREQUENT)
    if rarer != 0 or self_trade == SelfTrade.NONE:
        return False
    held_qty = side * state.exposures[at + POSITION_QTY] + state.exposures[at + OPEN_QTY + ((1 - side) >> 1)]
    return (
        ((is_set & _MAX_ORDER_QTY == 0) | (qty <= np.int64(row["max_order_qty"])))
        & ((is_set & _MAX_ORDER_VALUE == 0) | (qty * value_price_e4 <= row["max_order_value_e4"]))
        & ((is_set & _MAX_POSITION == 0) | (held_qty + qty <= row["max_position_qty"]))
    )


@rare
def check_with_limits(
    venues,
    instruments,
    participants,
    exposures,
    limits,
    entry_times,
    books,
    participant,
    instrument,
    side,
    self_trade,
    instructions,
    tick,
    qty,
    open_qty,
    value_price_e4,
    own_open_qty,
    own_notional_e4,
    stop_e4,
):
    """The rows of section 8 from ``restricted`` on, of an order that is not plain: a reason, or 0.

    The last row except the venue's own capacity, which every order is checked against.

    qty: of the whole order. open_qty: what would be open of it. own_*: what is open of the order that a replace
    changes, else 0. instructions, self_trade: those that are to be checked. stop_e4: 0 for none.
    """
    wide = participant * (len(instruments) + 1)
    pair = wide + instrument
    owner = participants[participant - 1]
    # Beside the exposure, so that the row of limits in the instrument is touched only where it says something.
    set_here = exposures[4 * pair + SET_LIMITS]
    is_set = np.int64(limits[wide]["limits"]) | set_here
    if is_set & _RESTRICTED:
        return Reason.RESTRICTED
    if instructions & _MARKET and not np.int64(owner["permissions"]) & _MAY_MARKET:
        return Reason.MARKET_NOT_PERMITTED
    if self_trade == SelfTrade.NONE and not np.int64(owner["permissions"]) & _MAY_STP_NONE:
        return Reason.STP_NOT_PERMITTED
    row = instruments[instrument - 1]
    if np.int64(row["band"]) != 0 and tick > 0 and _beyond_band(row, side, tick, stop_e4):
        return Reason.PRICE_BAND
    if is_set != 0:
        reason = _check_order_limits(
            venues[0],
            owner,
            instruments,
            limits,
            entry_times,
            is_set,
            set_here,
            wide,
            pair,
            instrument,
            qty,
            value_price_e4,
        )
        # A replace that does not raise what is open passes.
        if reason == 0 and is_set & _MAX_POSITION and open_qty > own_open_qty:
            reason = check_position(exposures, limits, set_here, wide, pair, side, open_qty - own_open_qty)
        if reason == 0 and is_set & _CREDIT and open_qty * value_price_e4 > own_notional_e4:
            margin_bps = np.int64(limits[wide]["margin_bps"]) if is_set & _MARGIN else BPS_MAX
            margin_e4 = margin_of_positions(instruments, exposures, wide, margin_bps, venues[0]["instruments"])
            others_e4 = owner["open_notional_e4"] - own_notional_e4
            reason = check_credit(limits[wide]["credit_e4"], others_e4, open_qty * value_price_e4, margin_e4)
        if reason != 0:
            return reason
    if owner["open_notional_e4"] - own_notional_e4 > INT64_MAX - open_qty * value_price_e4:
        return Reason.CREDIT
    if instructions & _POST_ONLY and would_cross(books, len(instruments), instrument, side, tick):
        return Reason.WOULD_CROSS
    # A replace opens no further order, and takes an id.
    if (
        is_set & _MAX_OPEN_ORDERS
        and own_open_qty == 0
        and owner["orders_open"] >= np.int64(limits[wide]["max_open_orders"])
    ):
        return Reason.CAPACITY
    if is_set & _MAX_IDS and owner["ids_used"] >= np.int64(limits[wide]["max_ids"]):
        return Reason.CAPACITY
    return 0


@called
def _beyond_band(row, side, tick, stop_e4):
    """True if a limit price is further than the band from the reference price, or from the stop, on the bad side."""
    from_e4 = stop_e4 if stop_e4 != 0 else reference_of(row)
    return (tick * row["tick_e4"] - from_e4) * side * BPS_MAX > from_e4 * (np.int64(row["band"]) - 1)


@called
def _check_order_limits(
    venue, owner, instruments, limits, entry_times, is_set, set_here, wide, pair, instrument, qty, value_price_e4
):
    """Quantity, value, rate and share of the volume."""
    if is_set & _MAX_ORDER_QTY:
        place = _place_of(set_here, wide, pair, _MAX_ORDER_QTY)
        if qty > np.int64(limits[place]["max_order_qty"]):
            return Reason.MAX_ORDER_QTY
    if is_set & _MAX_ORDER_VALUE:
        place = _place_of(set_here, wide, pair, _MAX_ORDER_VALUE)
        if qty * value_price_e4 > limits[place]["max_order_value_e4"]:
            return Reason.MAX_ORDER_VALUE
    if is_set & _ORDER_RATE:
        row = limits[wide]
        start_ns = venue["now_ns"] - row["rate_window_ns"]
        participant = wide // (len(instruments) + 1)
        if entries_since(owner, entry_times, participant, np.int64(row["rate_orders"]), start_ns):
            return Reason.ORDER_RATE
    if is_set & _ADV:
        adv_qty = instruments[instrument - 1]["adv_qty"]
        share_bps = np.int64(limits[_place_of(set_here, wide, pair, _ADV)]["adv_share_bps"])
        if adv_qty != 0 and qty * BPS_MAX > share_bps * adv_qty:
            return Reason.ADV
    return 0


@called
def check_position(exposures, limits, set_here, wide, pair, side, more_qty):
    """Position, open quantity and requested quantity, all in the order's own direction."""
    held = side * exposures[4 * pair + POSITION_QTY]
    open_qty = exposures[4 * pair + OPEN_QTY + ((1 - side) >> 1)]
    limit = limits[_place_of(set_here, wide, pair, _MAX_POSITION)]["max_position_qty"]
    return Reason.POSITION_LIMIT if held + open_qty + more_qty > limit else 0


@called
def check_credit(credit_e4, others_e4, notional_e4, margin_e4):
    """Reason if the sum of the three is above the credit, else 0; taken off one by one: the sum may leave int64."""
    if margin_e4 < 0 or margin_e4 > credit_e4 or notional_e4 > credit_e4 - margin_e4:
        return Reason.CREDIT
    return Reason.CREDIT if others_e4 > credit_e4 - margin_e4 - notional_e4 else 0


@called
def margin_of_positions(instruments, exposures, wide, margin_bps, instruments_defined):
    """Margin x sum of absolute position x reference price, rounded down; -1 where that would leave int64."""
    total_e4 = np.int64(0)
    for number in range(1, instruments_defined + 1):
        held = abs(exposures[4 * (wide + number) + POSITION_QTY])
        if held == 0:
            continue
        price_e4 = reference_of(instruments[number - 1])
        if held > (INT64_MAX - total_e4) // price_e4:
            return np.int64(-1)
        total_e4 += held * price_e4
    if margin_bps != 0 and total_e4 > INT64_MAX // margin_bps:
        return np.int64(-1)
    return total_e4 * margin_bps // BPS_MAX
