"""Views of the state of both engines: orders, instruments, participants, positions and limits.

They are for whoever looks (reports, comparisons, tests). No journal and no checkpoint holds them.
"""

from typing import Any, Final, NamedTuple

import numpy as np

#: One open order as ``open_orders()`` of either engine shows it, in the order in which the book would trade them.
OPEN_ORDER: Final = np.dtype(
    [
        ("client_order_id", "<i8"),
        ("order_number", "<i8"),  # order of acceptance in the venue
        ("price_e4", "<i8"),  # 0: market
        ("stop_e4", "<i8"),  # price that elects it; 0: it is not dormant
        ("display_qty", "<i8"),  # the most that an iceberg shows; 0: it is none
        ("shown_qty", "<i8"),  # what is displayed of it: 0 of a hidden or dormant one
        ("until_ns", "<i8"),  # when a clock value ends it; 0: none does
        ("offset_e4", "<i8"),  # of a peg: how far from its reference
        ("peg_e4", "<i8"),  # of a peg: the price by which it trades; 0: it has none
        ("qty", "<i8"),  # total intended
        ("leaves_qty", "<i8"),
        ("cum_qty", "<i8"),  # executed
        ("participant", "<u4"),
        ("instrument", "<u4"),
        ("side", "i1"),
        ("time_in_force", "u1"),
        ("self_trade", "u1"),
        ("book", "u1"),
        ("instructions", "<u2"),
        ("peg", "u1"),  # ``Peg``: reference of its price; 0: it is none
        ("reserved_2", "u1"),
    ]
)


class Waiting(NamedTuple):
    """Commands that wait for their effect, in the order in which they are due: arrays of one length."""

    seq: "np.ndarray[Any, Any]"  # int64: sequence numbers
    due_ns: "np.ndarray[Any, Any]"  # int64: the first clock value at or after it is when they have their effect
    commands: "np.ndarray[Any, Any]"  # COMMAND rows


#: One instrument as ``instruments()`` of either engine shows it.
INSTRUMENT_STATE: Final = np.dtype(
    [
        ("symbol", "<i8"),
        ("tick_e4", "<i8"),
        ("lot", "<i8"),
        ("reference_e4", "<i8"),  # as defined
        ("last_trade_e4", "<i8"),  # 0 before the first trade
        ("due_ns", "<i8"),  # when a clock value ends the halt, or the call after one; 0: never
        ("indicative_e4", "<i8"),  # price in the last indicative event of this call; zeros before the first
        ("paired_qty", "<i8"),  # of that event
        ("imbalance_qty", "<i8"),  # of that event: buys less sells
        ("volatility_halt_ns", "<i8"),
        ("volatility_window_s", "<i4"),
        ("volatility", "<i4"),  # of the breaker: 1 more than its bps; 0: none
        ("band", "<i4"),  # of limit prices around the reference price: 1 more than its bps; 0: none
        ("phase", "u1"),
        ("midpoint", "u1"),  # 1: it has a midpoint book
        ("reserved", "u1", (2,)),
    ]
)

#: One index as ``indices()`` of either engine shows it.
INDEX_STATE: Final = np.dtype(
    [
        ("name", "<i8"),
        ("value_e4", "<i8"),  # the sum of weight times reference price
        ("opening_e4", "<i8"),  # that when the trading day began, or when it was defined
        ("members", "<i8"),
        ("reached", "<i8"),  # the deepest level that was reached today, from 1; 0: none
    ]
)

#: One phase that waits for its time, as ``schedules()`` of either engine shows it.
SCHEDULE_STATE: Final = np.dtype(
    [
        ("due_ns", "<i8"),  # the first clock value at or after it meets it
        ("instrument", "<i8"),  # 0: every one
        ("phase", "<i8"),  # ``Phase``
    ]
)

#: Exposure of a participant in an instrument, as ``positions()`` of either engine shows it, in order of participant and
#: instrument; where all three are zero there is no row.
POSITION: Final = np.dtype(
    [
        ("participant", "<u4"),
        ("instrument", "<u4"),
        ("position_qty", "<i8"),  # bought less sold, in every trade since the venue began
        ("open_buy_qty", "<i8"),
        ("open_sell_qty", "<i8"),
    ]
)

#: One participant as ``participants()`` of either engine shows it, in order of definition.
PARTICIPANT_STATE: Final = np.dtype(
    [
        ("name", "<i8"),
        ("open_notional_e4", "<i8"),
        ("orders_open", "<i8"),
        ("ids_used", "<i8"),  # client order ids of the trading day, those of open orders included
        ("permissions", "<u2"),
        ("killed", "u1"),
        ("reserved", "u1", (5,)),
    ]
)

#: The limits of a participant (instrument 0) or of it in an instrument, as ``limits()`` of either engine shows them,
#: in order of participant and instrument; where none is set there is no row. A value that is not set is 0.
LIMITS_STATE: Final = np.dtype(
    [
        ("participant", "<u4"),
        ("instrument", "<u4"),
        ("limits", "<i8"),  # bits of ``Limit``: which are set
        ("max_order_qty", "<i8"),
        ("max_order_value_e4", "<i8"),
        ("rate_orders", "<i8"),
        ("rate_window_ns", "<i8"),
        ("max_position_qty", "<i8"),
        ("credit_e4", "<i8"),
        ("margin_bps", "<i8"),
        ("adv_share_bps", "<i8"),
        ("max_open_orders", "<i8"),
        ("max_ids", "<i8"),
    ]
)
