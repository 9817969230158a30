"""Invariants of positions, open quantities and limits: summed anew from the open orders."""

from typing import Any

import numpy as np

from engine.bounds import BPS_MAX, INT64_MAX, QTY_MAX, RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX
from engine.capacity import IDS_MAX_MAX, ORDERS_MAX_MAX
from engine.errors import require
from engine.records import Limit
from engine.state import EXPOSURE, State

Rows = np.ndarray[Any, Any]

#: The values of a limit, and their bounds (rulebook section 13, 20).
_VALUES = {
    Limit.MAX_ORDER_QTY: (("max_order_qty", 1, QTY_MAX),),
    Limit.MAX_ORDER_VALUE: (("max_order_value_e4", 1, INT64_MAX),),
    Limit.ORDER_RATE: (("rate_orders", 1, RATE_ORDERS_MAX), ("rate_window_ns", 1, RATE_WINDOW_NS_MAX)),
    Limit.MAX_POSITION: (("max_position_qty", 0, INT64_MAX),),
    Limit.CREDIT: (("credit_e4", 0, INT64_MAX),),
    Limit.MARGIN: (("margin_bps", 0, BPS_MAX),),
    Limit.ADV: (("adv_share_bps", 0, BPS_MAX),),
    Limit.MAX_OPEN_ORDERS: (("max_open_orders", 1, ORDERS_MAX_MAX),),
    Limit.MAX_IDS: (("max_ids", 1, IDS_MAX_MAX),),
}
_OF_ALL_INSTRUMENTS = Limit.ORDER_RATE | Limit.CREDIT | Limit.MARGIN | Limit.MAX_OPEN_ORDERS | Limit.MAX_IDS


def check_risk(state: State, open_slots: list[int]) -> None:
    """Check positions, limits and entries. Raises InvariantError with the first invariant that does not hold."""
    venue = state.venue[0]
    instruments, participants = int(venue["instruments"]), int(venue["participants"])
    stride = len(state.instruments) + 1
    shape = (len(state.participants) + 1, stride)
    exposures = state.exposures.view(EXPOSURE)[: shape[0] * stride].reshape(shape)
    limits = state.limits[: shape[0] * stride].reshape(shape)
    live = state.orders[open_slots]
    for side, name in ((1, "open_buy_qty"), (-1, "open_sell_qty")):
        mine = live[live["side"] == side]
        total = np.zeros(shape, np.int64)
        np.add.at(total, (mine["participant"], mine["instrument"]), mine["leaves_qty"])
        require((total == exposures[name]).all(), "open quantity is what open orders have open")
    notional = dict.fromkeys(range(1, participants + 1), 0)
    for order in live:
        notional[int(order["participant"])] += int(order["leaves_qty"]) * (
            int(order["price_e4"]) or -int(order["tick"])
        )
    kept = state.participants["open_notional_e4"][:participants].tolist()
    require(list(notional.values()) == kept, "open notional is the sum of what open orders have open")
    require((exposures["position_qty"].sum(axis=0) == 0).all(), "what one participant holds others have sold")
    require(not _any(exposures[0]) and not _any(exposures[participants + 1 :]), "who is not defined has nothing")
    require(not _any(exposures[:, instruments + 1 :]), "nothing is held of what is not defined")
    require(not _any(exposures[:, 0]), "the row of all instruments holds nothing")
    _check_limits(state, exposures, limits)
    for number in range(1, participants + 1):
        _check_entries(state, number)


def _any(rows: Rows) -> bool:
    """True if a place of any row is not zero."""
    return bool(np.ascontiguousarray(rows).view(np.uint8).any())


def _check_limits(state: State, exposures: Rows, limits: Rows) -> None:
    venue = state.venue[0]
    limited = np.count_nonzero(limits["limits"], axis=1)[1:]
    require((limited == state.participants["limits_count"]).all(), "a participant knows whether it has limits")
    require((limits["limits"][:, 1:] == exposures["limits"][:, 1:]).all(), "an exposure knows which limits it has")
    undefined = limits[int(venue["participants"]) + 1 :]
    require(not _any(limits[0]) and not _any(undefined), "who is not defined has no limits")
    require(not _any(limits[:, int(venue["instruments"]) + 1 :]), "what is not defined has no limits")
    require((limits["limits"] & ~int(~Limit(0)) == 0).all(), "a limit has a bit of its own")
    require((limits["limits"][:, 1:] & int(_OF_ALL_INSTRUMENTS) == 0).all(), "these limits are of all instruments")
    for limit, values in _VALUES.items():
        is_set = limits["limits"] & int(limit) != 0
        for name, lowest, highest in values:
            value = limits[name]
            require((~is_set | ((value >= lowest) & (value <= highest))).all(), "a limit is within its bounds")
            require((is_set | (value == 0)).all(), "the value of a limit that is not set is 0")


def _check_entries(state: State, number: int) -> None:
    row = state.participants[number - 1]
    ring = state.entry_times[(number - 1) * RATE_ORDERS_MAX : number * RATE_ORDERS_MAX]
    newest = int(row["entry_time_count"])
    times = ring[np.arange(max(newest + 1 - RATE_ORDERS_MAX, 0), newest + 1) % RATE_ORDERS_MAX]
    require((np.diff(times["time_ns"]) > 0).all(), "entries are remembered in order of time")
    require((np.diff(times["entries"])[1:] > 0).all(), "there was an entry at each time, but for the beginning")
    require(times["entries"][-1] <= row["entries"], "no more entries than were made")
    require(times["time_ns"][-1] == row["entered_ns"] <= state.venue[0]["now_ns"], "no entry is of the future")
    require(newest >= RATE_ORDERS_MAX or not _any(ring[newest + 1 :]), "what was not entered has no time")
