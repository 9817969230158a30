"""Levels of market-wide halts, as the feed finds them in reports: no report says which level acted.

A report of an index has its levels, those of its members come before it, and trades have the prices. So the value of
each index is known at every report, and its opening value with the first of a trading day. A market-wide halt, or the
close that the deepest level may cause, is reported before anything else can change a price: the level that acts is the
deepest that an index has fallen to by then, and had not reached on that day (rulebook section 9, and 39 of its section
13). ``engine.indices`` and ``engine.breakers`` are the same for the market itself.
"""

from typing import Final

import numpy as np

from engine.bounds import BPS_MAX, INDICES_MAX, MEMBERS_MAX
from engine.jit import called, inlined
from marketdata.itch.tables import FeedRoom, FeedTables, unpack_tables
from marketdata.itch.writing import padded, put_level_reached, put_levels
from reports.rows import Liquidity

_FULL_BPS: Final = np.int64(BPS_MAX)


@inlined
def note_price(tables: FeedTables, row):
    """Note the price of a trade, one side of which the report is, where the displayed book or its auction made it."""
    liquidity = np.int64(row["liquidity"])
    if liquidity >= Liquidity.ADDED and liquidity <= Liquidity.HALT_CROSS:
        tables.stocks[np.int64(row["instrument"])]["price_e4"] = row["last_price_e4"]


@called
def gather_members(tables: FeedTables, row):
    """Keep two members of an index to come; another name begins anew."""
    feed = tables.feed[0]
    if feed["gathered_name"] != row["name"]:
        forget_members(tables)
        feed["gathered_name"] = row["name"]
    _gather(tables, row["symbol"], row["weight"])
    _gather(tables, row["further_symbol"], row["further_weight"])


@inlined
def _gather(tables: FeedTables, symbol, weight):
    count = tables.feed[0]["gathered"]
    if symbol != 0 or weight != 0:
        if count < MEMBERS_MAX:
            tables.members[count]["symbol"] = symbol
            tables.members[count]["weight"] = weight
        tables.feed[0]["gathered"] = min(count + 1, np.int64(MEMBERS_MAX + 1))


@called
def forget_members(tables: FeedTables):
    """Forget members whose index was defined or refused."""
    for place in range(MEMBERS_MAX):
        tables.members[place]["symbol"] = 0
        tables.members[place]["weight"] = 0
    tables.feed[0]["gathered"] = 0
    tables.feed[0]["gathered_name"] = 0


@called
def add_index(tables: FeedTables, row):
    """Add an index of the members that wait; its opening value is that of now."""
    feed = tables.feed[0]
    index = min(feed["indices"] + 1, np.int64(INDICES_MAX))
    feed["indices"] = index
    there = tables.indices[index - 1]
    there["members"] = min(feed["gathered"], np.int64(MEMBERS_MAX))
    there["level_1_bps"] = row["level_1_bps"]
    there["level_1_ns"] = row["level_1_ns"]
    there["level_2_bps"] = row["level_2_bps"]
    there["level_2_ns"] = row["level_2_ns"]
    there["level_3_bps"] = row["level_3_bps"]
    there["level_3_ns"] = row["level_3_ns"]
    for place in range(there["members"]):
        waiting, member = tables.members[place], tables.members[index * MEMBERS_MAX + place]
        member["symbol"] = waiting["symbol"]
        member["weight"] = waiting["weight"]
        stock = padded(waiting["symbol"])
        for instrument in range(1, feed["instruments"] + 1):
            if tables.stocks[instrument]["stock"] == stock:
                member["instrument"] = instrument
    forget_members(tables)
    there["opening_e4"] = _value(tables, index)


@inlined
def _value(tables: FeedTables, index):
    """The sum of weight times price."""
    value_e4 = np.int64(0)
    for place in range(tables.indices[index - 1]["members"]):
        member = tables.members[index * MEMBERS_MAX + place]
        value_e4 += member["weight"] * tables.stocks[member["instrument"]]["price_e4"]
    return value_e4


@called
def open_indices(tables_at):
    """A trading day begins: opening values are those of now, and no level was reached."""
    tables = unpack_tables(tables_at)
    tables.feed[0]["reached"] = 0
    for index in range(1, tables.feed[0]["indices"] + 1):
        there = tables.indices[index - 1]
        there["opening_e4"] = _value(tables, index)
        there["reached"] = 0


@called
def look_at_levels(tables: FeedTables, room: FeedRoom, at, time_ns, closes):
    """Write the level that acts, if there is one that was not told; gives the place behind. closes: True where the
    market closes: no level but one that closes it is looked at."""
    acts = np.int64(0)
    for index in range(1, tables.feed[0]["indices"] + 1):
        there = tables.indices[index - 1]
        reached, halt_ns = _fallen_to(there, _value(tables, index))
        if reached > there["reached"] and (not closes or halt_ns == 0):
            there["reached"] = reached
            acts = max(acts, reached)
    if acts == 0:
        return at
    tables.feed[0]["acts"] = acts
    tables.feed[0]["reached"] = max(tables.feed[0]["reached"], acts)
    return put_level_reached(tables, room, at, time_ns, acts)


@inlined
def _fallen_to(there, value_e4):
    """The deepest level of an index with a value, 0: none, and how long it halts."""
    opening_e4, reached, halt_ns = there["opening_e4"], np.int64(0), np.int64(0)
    fallen_e4 = (opening_e4 - value_e4) * _FULL_BPS
    if fallen_e4 >= opening_e4 * there["level_1_bps"]:
        reached, halt_ns = np.int64(1), there["level_1_ns"]
    if there["level_2_bps"] != 0 and fallen_e4 >= opening_e4 * there["level_2_bps"]:
        reached, halt_ns = np.int64(2), there["level_2_ns"]
    if there["level_3_bps"] != 0 and fallen_e4 >= opening_e4 * there["level_3_bps"]:
        reached, halt_ns = np.int64(3), there["level_3_ns"]
    return reached, halt_ns


@inlined
def _value_at(there, bps):
    """The value of an index after a fall, with eight decimals; 0 for no level."""
    return there["opening_e4"] * (_FULL_BPS - bps) if bps != 0 else np.int64(0)


@called
def put_first_levels(tables: FeedTables, room: FeedRoom, at, time_ns):
    """Write the levels of the first index, the only one that the feed can tell; nothing where there is none."""
    if tables.feed[0]["indices"] == 0:
        return at
    there = tables.indices[0]
    first, second = _value_at(there, there["level_1_bps"]), _value_at(there, there["level_2_bps"])
    return put_levels(tables, room, at, time_ns, first, second, _value_at(there, there["level_3_bps"]))
