"""Positions, open quantities and counted entries of each participant (rulebook section 8).

Open quantity and open notional are of orders in the book only: an aggressor is counted when it comes to rest,
so that what trades at once is never counted twice. Nothing looks at them in between. Positions follow every trade.

The rows of all instruments of a participant lie together; a participant's exposure in an instrument is four numbers
of ``exposures``, and its limits there are the row of ``limits`` with the same place.

Entries are counted whether a rate is set or not. Most have the time of the one before, so what is remembered of each
participant is the times, newest last in a ring, and how many entries were made before each of them.
"""

from typing import Final

from engine.bounds import RATE_ORDERS_MAX
from engine.jit import called, inlined, rare
from engine.state import State

#: Places of the four numbers; open sells come after open buys.
POSITION_QTY: Final = 0
OPEN_QTY: Final = 1
SET_LIMITS: Final = 3

_RING: Final = RATE_ORDERS_MAX - 1
_RING_BITS: Final = RATE_ORDERS_MAX.bit_length() - 1
if RATE_ORDERS_MAX & _RING:
    raise ValueError("the ring of entry times is no power of two long")


@inlined
def pair_of(state: State, participant, instrument):
    """Row of ``limits``, and a fourth of the place in ``exposures``, of a participant in an instrument (0: in all)."""
    return participant * (len(state.instruments) + 1) + instrument


@inlined
def reference_of(row):
    """Reference price of an instrument: its last trade price, before the first trade as defined."""
    last_trade_e4 = row["last_trade_e4"]
    return last_trade_e4 if last_trade_e4 != 0 else row["reference_e4"]


@inlined
def value_price_of(order):
    """The price by which an order counts: its limit, else the reference price when it was entered."""
    price_e4 = order["price_e4"]
    return price_e4 if price_e4 != 0 else -order["tick"]


@inlined
def count_open(state: State, participant, instrument, side, qty, value_price_e4):
    """``qty`` more (less, where it is below 0) of an order of the book is open."""
    at = 4 * pair_of(state, participant, instrument) + OPEN_QTY
    state.exposures[at + ((1 - side) >> 1)] += qty
    state.participants[participant - 1]["open_notional_e4"] += qty * value_price_e4


@inlined
def count_resting_trade(state: State, participant, instrument, side, qty, value_price_e4):
    """An order of the book trades: its owner holds ``qty`` more (of a sell: less), and has as much less open."""
    at = 4 * pair_of(state, participant, instrument)
    state.exposures[at + POSITION_QTY] += side * qty
    state.exposures[at + OPEN_QTY + ((1 - side) >> 1)] -= qty
    state.participants[participant - 1]["open_notional_e4"] -= qty * value_price_e4


@inlined
def count_aggressor_trades(state: State, participant, instrument, bought_qty):
    """An aggressor has traded ``bought_qty`` (sold: below 0)."""
    state.exposures[4 * pair_of(state, participant, instrument) + POSITION_QTY] += bought_qty


@inlined
def count_entry(venue, owner, entry_times, participant):
    """One more entry of a participant (row ``owner``) for its order rate, at the time of the clock."""
    if owner["entered_ns"] != venue["now_ns"]:
        _begin_time(venue, owner, entry_times, participant)
    owner["entries"] += 1


@rare
def _begin_time(venue, owner, entry_times, participant):
    time_ns = venue["now_ns"]
    place = owner["entry_time_count"] + 1
    owner["entry_time_count"] = place
    owner["entered_ns"] = time_ns
    row = entry_times[(participant - 1) * RATE_ORDERS_MAX + (place & _RING)]
    row["time_ns"] = time_ns
    row["entries"] = owner["entries"]


@rare
def count_refused_entry(venues, participants, entry_times, participant):
    """``count_entry`` of one that is refused."""
    count_entry(venues[0], participants[participant - 1], entry_times, participant)


@called
def entries_since(owner, entry_times, participant, orders, start_ns):
    """True if ``orders`` or more of the entries that are counted have a time after ``start_ns``."""
    wanted = owner["entries"] - orders  # how many entries were made before the one whose time decides
    if wanted < 0:
        return False
    start = (participant - 1) * RATE_ORDERS_MAX
    # So many entries ago there were no more times ago, so that the time is in the ring.
    low = max(owner["entry_time_count"] - _RING, 0)
    high = owner["entry_time_count"]
    for _ in range(_RING_BITS + 1):
        if low >= high:
            break
        middle = (low + high + 1) >> 1
        if entry_times[start + (middle & _RING)]["entries"] <= wanted:
            low = middle
        else:
            high = middle - 1
    return entry_times[start + (low & _RING)]["time_ns"] > start_ns
