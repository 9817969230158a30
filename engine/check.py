"""check_state: every invariant of the compiled engine's state, in plain Python, for tests and for `doctor`.

Nothing here is fast, and nothing here trusts a kernel: queues, windows and trees are walked anew.
"""

import numpy as np

from engine.bounds import EPOCH_MAX, QTY_MAX
from engine.check_calls import check_calls
from engine.check_pegs import check_pegs
from engine.check_risk import check_risk
from engine.ending import ending_slots
from engine.errors import require
from engine.hidden import better_tick
from engine.idtree import leaf_row
from engine.index import find_place
from engine.midpoint import first_in_time, midpoint_e4
from engine.owned import list_owned
from engine.places import between_level, hidden_row, midpoint_row, side_row, stop_row
from engine.records import Instruction, Phase, TimeInForce
from engine.state import (
    ASIDE,
    ENDING,
    FORGETTING,
    ID_LINE_ROWS,
    ID_LINES_OF_A_WORD,
    ID_MARK_ROWS,
    IN_MIDPOINT,
    WINDOW,
    WINDOW_WORDS,
    State,
)
from engine.state_forms import live_ids

_CARRIED = 2**31
_STOP = int(Instruction.STOP)


def check_state(state: State) -> None:
    """Check all invariants. Raises InvariantError with the first that does not hold."""
    require(0 <= state.venue[0]["epoch"] <= EPOCH_MAX, "the epoch is 0 before the first reign, then from 1 to 2^62")
    open_slots = _check_slots(state)
    seen: set[int] = set()
    for b in range(2 * int(state.venue[0]["instruments"])):
        _check_book(state, b, seen)
    for number in range(1, int(state.venue[0]["instruments"]) + 1):
        for side in (1, -1):
            _check_stops(state, number, side, seen)
            _check_hidden(state, number, side, seen)
            _check_midpoint(state, number, side, seen)
            _check_aside(state, number, side, seen)
    check_pegs(state, open_slots, seen)
    _check_ending(state, open_slots)
    _check_icebergs(state, open_slots)
    _check_expiries(state, open_slots)
    dormant = state.terms["stop_tick"][: len(state.orders)] != 0
    require((dormant == (state.orders["instructions"] & _STOP != 0))[open_slots].all(), "a dormant order has a stop")
    with_terms = np.flatnonzero(state.terms.view(np.int64).reshape(len(state.terms), -1).any(axis=1)).tolist()
    require(set(with_terms) <= set(open_slots), "only an open order has terms")
    require(seen == set(open_slots), "every open order is in exactly one queue")
    _check_ids(state, open_slots)
    _check_far_pools(state)
    _check_participants(state, open_slots)
    check_risk(state, open_slots)
    check_calls(state)


def _check_slots(state: State) -> list[int]:
    venue = state.venue[0]
    orders = state.orders
    open_slots = [int(s) for s in np.flatnonzero(orders["participant"])]
    require(0 not in open_slots, "slot 0 is never used")
    require(len(open_slots) == venue["orders_open"], "orders_open counts the open orders")
    require(venue["orders_open"] <= venue["orders_max"], "no more orders than there is room for")
    require(not open_slots or open_slots[-1] <= venue["orders_high"], "no open order above the highest slot used")
    free: set[int] = set()
    slot = int(venue["orders_free"])
    while slot:
        require(slot not in free and not orders[slot]["participant"], "the free list holds each free slot once")
        free.add(slot)
        slot = int(orders[slot]["next"])
    require(len(free) + len(open_slots) == venue["orders_high"], "every slot ever used is open or free")
    live = orders[open_slots]
    require(len(set(live["order_number"].tolist())) == len(live), "order numbers are unique")
    require((live["order_number"] <= venue["last_order_number"]).all(), "no order number above the newest")
    require((live["leaves_qty"] > 0).all() and (live["qty"] <= QTY_MAX).all(), "an open order has a quantity")
    require((live["cum_qty"] + live["leaves_qty"] <= live["qty"]).all(), "executed and open are within the quantity")
    resting = (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD, TimeInForce.OPENING, TimeInForce.CLOSING)
    require(np.isin(live["time_in_force"], resting).all(), "orders that trade at once or not at all do not rest")
    of_day = np.isin(live["time_in_force"], (TimeInForce.DAY, TimeInForce.OPENING, TimeInForce.CLOSING))
    require((live["id_day"][of_day] == venue["id_day"]).all(), "no order good for the day is of an earlier day")
    return open_slots


def _check_book(state: State, b: int, seen: set[int]) -> None:
    instrument = state.instruments[b >> 1]
    side = 1 if b % 2 == 0 else -1
    first = int(instrument["window_tick"])
    require(first >= 0 and first % 64 == 0, "the window starts at a multiple of 64 ticks")
    words = state.words[b * WINDOW_WORDS : (b + 1) * WINDOW_WORDS]
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    heads = state.levels["head"][b * WINDOW : (b + 1) * WINDOW]
    require((bits == (heads != 0)).all(), "the bit of a tick tells whether it has orders")
    rows = {first + (ring - first) % WINDOW: b * WINDOW + ring for ring in np.flatnonzero(bits).tolist()}
    summary = int(state.books[b]["summary"])
    for word, content in enumerate(words.tolist()):
        require((summary >> word & 1) == (content != 0), "the summary tells which words are not zero")
    far = _far_ticks(state, int(state.books[b]["far_root"]), 34)
    require(not any(first <= tick < first + WINDOW for tick in far), "far ticks are outside the window")
    leaf_base = len(state.levels) - len(state.leaf_ticks)
    rows.update({tick: leaf_base + leaf for tick, leaf in far.items()})
    best = (max(rows) if side > 0 else min(rows)) if rows else 0
    require(state.books[b]["best_tick"] == best, "the best tick is the best of all")
    rows[-1] = 2 * WINDOW * len(state.instruments) + b
    for tick, row in rows.items():
        _check_level(state, b, side, tick, row, seen)
    if instrument["phase"] == Phase.CONTINUOUS:
        best_e4, other_e4 = _best_e4(state, b, side), _best_e4(state, b ^ 1, -side)
        require(not best_e4 or not other_e4 or side * (other_e4 - best_e4) > 0, "a continuous book is not crossed")
        require(not state.levels[rows[-1]]["head"], "no market order rests in continuous trading")


def _best_e4(state: State, b: int, side: int) -> int:
    """The best price of a side, displayed or not; 0: none."""
    book, tree = state.books[b], state.books[4 * len(state.instruments) + b]
    tick_e4 = int(state.instruments[b >> 1]["tick_e4"])
    prices_e4 = [int(each["best_tick"]) * tick_e4 for each in (book, tree)] + [int(book["price_e4"])]
    return side * max((side * price_e4 for price_e4 in prices_e4 if price_e4), default=0)


def _check_hidden(state: State, instrument: int, side: int, seen: set[int]) -> None:
    lit = side_row(instrument, side)
    book, tree = state.books[lit], state.books[hidden_row(state, instrument, side)]
    far = _far_ticks(state, int(tree["far_root"]), 34)
    best = max if side > 0 else min
    require(tree["best_tick"] == best(far, default=0), "the best tick of hidden orders is known")
    between_e4, tick_e4 = int(book["price_e4"]), int(state.instruments[instrument - 1]["tick_e4"])
    ticks = list(far)
    if between_e4:
        ticks.append(int(better_tick(between_e4, tick_e4, side)))
        require(between_e4 % tick_e4 != 0, "a price between two ticks is at none")
        _check_level(state, lit, side, 0, int(between_level(state, lit)), seen, hidden=True)
    require((state.levels[between_level(state, lit)]["head"] != 0) == (between_e4 != 0), "a level has a price")
    require(book["hidden_tick"] == best(ticks, default=0), "the best hidden price is known")
    leaf_base = len(state.levels) - len(state.leaf_ticks)
    for tick, leaf in far.items():
        _check_level(state, side_row(instrument, side), side, tick, leaf_base + leaf, seen, hidden=True)


def _check_midpoint(state: State, instrument: int, side: int, seen: set[int]) -> None:
    row = state.instruments[instrument - 1]
    far = _far_ticks(state, int(state.books[midpoint_row(state, instrument, side)]["far_root"]), 35)
    require(not far or row["midpoint"], "only an instrument with a midpoint book has orders in it")
    for tick, leaf in far.items():
        level = state.levels[len(state.levels) - len(state.leaf_ticks) + leaf]
        qty, before, slot, time = 0, 0, int(level["head"]), 0
        while slot:
            order = state.orders[slot]
            require(slot not in seen, "an order is in one queue only")
            seen.add(slot)
            require(order["instructions"] & IN_MIDPOINT != 0, "an order of a midpoint book knows it")
            require(order["instrument"] == instrument and order["side"] == side, "an order is in its own book")
            limit = tick if order["price_e4"] else ((2**34 - 1) if side > 0 else 1)
            require(limit == tick, "an order without a limit stands at that of all")
            require(not order["price_e4"] or order["tick"] == tick, "an order is at its own limit")
            require(time < state.times[slot] <= state.venue[0]["last_time"], "a queue is in order of time")
            require(order["prev"] == before, "an order knows the one before it")
            time, qty = int(state.times[slot]), qty + int(order["leaves_qty"])
            before, slot = slot, int(order["next"])
        require(level["tail"] == before != 0 and level["qty"] == qty, "a level knows its last order and its sum")
    _first_time(state, int(state.books[midpoint_row(state, instrument, side)]["far_root"]))
    if row["phase"] == Phase.CONTINUOUS and side > 0 and (mid_e4 := int(midpoint_e4(state, instrument))):
        meet = [int(first_in_time(state, instrument, each, mid_e4)) for each in (1, -1)]
        require(not all(meet), "orders that can meet at the midpoint have met")


def _first_time(state: State, ref: int) -> int:
    """Time of the oldest order below a reference into the tree of a midpoint book (0: an empty one)."""
    if ref & 1 or not ref:
        return (
            int(state.times[state.levels["head"][len(state.levels) - len(state.leaf_ticks) + (ref >> 1)]]) if ref else 0
        )
    node = state.nodes[ref >> 1]
    first = min(_first_time(state, int(node["zero"])), _first_time(state, int(node["one"])))
    require(node["first_time"] == first, "a branching of a midpoint book knows the oldest order below it")
    return first


def _check_icebergs(state: State, open_slots: list[int]) -> None:
    orders, terms = state.orders[open_slots], state.terms[open_slots]
    shows = orders["instructions"] & Instruction.DISPLAY != 0
    require(not terms["display_qty"][~shows].any(), "only an iceberg has a display")
    mine, orders = terms[shows], orders[shows]
    require((mine["display_qty"] > 0).all(), "an iceberg shows something at most")
    shown = mine["shown_qty"]
    require(((shown > 0) & (shown <= mine["display_qty"])).all(), "an iceberg shows a part")
    require((shown <= orders["leaves_qty"]).all(), "an iceberg shows no more than is open")
    require(state.venue[0]["slices"] == mine["slices"].sum(), "the venue counts the parts of icebergs")
    require(state.venue[0]["slices"] <= state.venue[0]["orders_max"], "there is room for the parts of icebergs")


def _check_expiries(state: State, open_slots: list[int]) -> None:
    orders, terms = state.orders[open_slots], state.terms[open_slots]
    ends = orders["time_in_force"] == TimeInForce.GTD
    require((ends == (orders["instructions"] & Instruction.UNTIL != 0)).all(), "a gtd order says until when")
    require((ends == (terms["until_ns"] != 0)).all(), "a gtd order has a time, and no other")
    require((terms["until_ns"][ends] > state.venue[0]["now_ns"]).all(), "an order that is due is gone")
    count = int(state.venue[0]["expiries"])
    heap = [int(slot) for slot in state.expiries[1 : count + 1]]
    require(sorted(heap) == [slot for slot, end in zip(open_slots, ends, strict=True) if end], "they are in the heap")
    keys = [(int(state.terms[slot]["until_ns"]), int(state.orders[slot]["order_number"])) for slot in heap]
    for place, slot in enumerate(heap, 1):
        require(state.terms[slot]["expiry_place"] == place, "an order knows its place in the heap")
        require(place == 1 or keys[place // 2 - 1] < keys[place - 1], "what is due first is at the top")
    require(not state.expiries[count + 1 :].any() and state.expiries[0] == 0, "nothing is beyond the heap")


def _check_stops(state: State, instrument: int, side: int, seen: set[int]) -> None:
    row = state.instruments[instrument - 1]
    book = state.books[stop_row(state, instrument, side)]
    far = _far_ticks(state, int(book["far_root"]), 34)
    best = (min(far) if side > 0 else max(far)) if far else 0
    require(book["best_tick"] == best, "the stop that is elected first is known")
    last_e4 = int(row["last_trade_e4"])
    reached = best and last_e4 and side * (last_e4 - best * int(row["tick_e4"])) >= 0
    require(not reached or row["phase"] != Phase.CONTINUOUS, "a stop whose price is reached is elected")
    for tick, leaf in far.items():
        level = state.levels[len(state.levels) - len(state.leaf_ticks) + leaf]
        qty, before, slot = 0, 0, int(level["head"])
        while slot:
            order = state.orders[slot]
            require(slot not in seen, "an order is in one queue only")
            seen.add(slot)
            require(order["prev"] == before, "an order knows the one before it")
            require(order["instrument"] == instrument and order["side"] == side, "a stop is in its own book")
            require(state.terms[slot]["stop_tick"] == tick, "a stop is at its own price")
            require(order["price_e4"] or order["tick"] == -tick * int(row["tick_e4"]), "a stop counts by its price")
            qty += int(order["leaves_qty"])
            before, slot = slot, int(order["next"])
        require(level["tail"] == before and before != 0, "a level knows its last order")
        require(level["qty"] == qty, "a level counts what its orders have open")


def _check_aside(state: State, instrument: int, side: int, seen: set[int]) -> None:
    book = state.books[side_row(instrument, side)]
    qty, before, slot = 0, 0, int(book["head"])
    while slot:
        order = state.orders[slot]
        require(slot not in seen, "an order is in one queue only")
        seen.add(slot)
        require(order["prev"] == before, "an order knows the one before it")
        require(order["instrument"] == instrument and order["side"] == side, "a closing order waits on its own side")
        require(order["time_in_force"] == TimeInForce.CLOSING, "only a closing order is kept aside")
        require(int(order["instructions"]) & ASIDE, "an order that is kept aside is marked")
        tick_e4 = int(state.instruments[instrument - 1]["tick_e4"])
        in_ticks = int(order["price_e4"]) == int(order["tick"]) * tick_e4
        require(in_ticks or (order["price_e4"] == 0 and order["tick"] < 0), "its tick is its price in ticks")
        require(not before or state.times[before] < state.times[slot], "closing orders wait in order of time")
        qty += int(order["leaves_qty"])
        before, slot = slot, int(order["next"])
    require(book["tail"] == before, "the queue of closing orders knows its last one")
    require(book["qty"] == qty, "the queue of closing orders counts what they have open")


def _check_ending(state: State, open_slots: list[int]) -> None:
    found: list[int] = []
    for number in range(1, int(state.venue[0]["instruments"]) + 1):
        row = state.instruments[number - 1]
        listed: list[int] = []
        slot = int(row["ending_first"])
        while slot:
            require(len(listed) < len(open_slots), "the list of orders that end at an uncross ends")
            before = listed[-1] if listed else 0
            require(state.terms[slot]["before"] == before, "an order that ends at an uncross knows the one before it")
            listed.append(slot)
            slot = int(state.terms[slot]["after"])
        require(row["ending_last"] == (listed[-1] if listed else 0), "a list of orders that end at an uncross ends")
        require(
            sorted(listed) == sorted(ending_slots(state, number).tolist()),
            "an instrument lists its opening and closing orders with a limit that are in the book",
        )
        found.extend(listed)
    marked = [slot for slot in open_slots if state.orders[slot]["instructions"] & ENDING]
    require(sorted(found) == marked, "an order that ends at an uncross is marked")
    linked = [slot for slot in open_slots if state.terms[slot]["before"] or state.terms[slot]["after"]]
    is_listed = state.orders["instructions"][linked] & (ENDING | Instruction.PEG) != 0
    require(is_listed.all(), "only pegs and orders that end at an uncross are in a list")


def _check_level(state: State, b: int, side: int, tick: int, row: int, seen: set[int], hidden: bool = False) -> None:
    level = state.levels[row]
    qty, before, slot = 0, 0, int(level["head"])
    while slot:
        order = state.orders[slot]
        require(slot not in seen, "an order is in one queue only")
        seen.add(slot)
        require(order["prev"] == before, "an order knows the one before it")
        require(order["instrument"] == (b >> 1) + 1 and order["side"] == side, "an order is in its own book")
        is_peg = order["instructions"] & Instruction.PEG != 0
        require((is_peg or order["instructions"] & Instruction.HIDDEN != 0) == hidden, "hidden orders are apart")
        price_e4 = int(order["price_e4"])
        if is_peg:
            here_e4 = tick * state.instruments[b >> 1]["tick_e4"] if tick else state.books[b]["price_e4"]
            require(state.terms[slot]["peg_e4"] == here_e4, "a peg is at its own price")
        elif tick < 0:
            require(order["tick"] < 0 and price_e4 == 0, "a market order bears a reference price, below 0, as its tick")
        else:
            require(order["tick"] == tick, "an order is at its own price")
            require(price_e4 == tick * state.instruments[b >> 1]["tick_e4"], "its tick is its price in ticks")
        require(not int(order["instructions"]) & ASIDE, "an order of the book is not kept aside")
        require(not before or state.times[before] < state.times[slot], "orders of a level are in order of time")
        qty += int(order["leaves_qty"])
        before, slot = slot, int(order["next"])
    require(level["tail"] == before, "a level knows its last order")
    require(level["qty"] == qty, "a level counts what its orders have open")
    require(tick == -1 or before, "a level has an order")


def _far_ticks(state: State, ref: int, below_bit: int) -> dict[int, int]:
    """Tick to leaf of a subtree, whose branchings must be at falling bits."""
    if ref == 0:
        return {}
    if ref & 1:
        return {int(state.leaf_ticks[ref >> 1]): ref >> 1}
    node = state.nodes[ref >> 1]
    bit = int(node["bit"])
    require(bit < below_bit, "bits fall on the way down the far tree")
    zero = _far_ticks(state, int(node["zero"]), bit)
    one = _far_ticks(state, int(node["one"]), bit)
    require(zero and one, "a branching of the far tree has two ways")
    require(all(not t >> bit & 1 for t in zero) and all(t >> bit & 1 for t in one), "a way holds ticks of its bit")
    require(len({t >> (bit + 1) for t in (*zero, *one)}) == 1, "ticks agree above the bit that divides them")
    return zero | one


def _check_far_pools(state: State) -> None:
    venue = state.venue[0]
    used = 0
    roots = state.books["far_root"]
    for root in roots:
        used += len(_far_ticks(state, int(root), 34))
    trees = int(np.count_nonzero(roots))
    free, leaf = 0, int(venue["leaves_free"])
    while leaf:
        free, leaf = free + 1, int(state.leaf_ticks[leaf])
        require(free <= venue["leaves_high"], "the free leaves end")
    require(used + free == venue["leaves_high"], "every leaf ever used is in a tree or free")
    free, node = 0, int(venue["nodes_free"])
    while node:
        free, node = free + 1, int(state.nodes[node]["zero"])
        require(free <= venue["nodes_high"], "the free nodes end")
    require(used - trees + free == venue["nodes_high"], "every node ever used is in a tree or free")


def _check_ids(state: State, open_slots: list[int]) -> None:
    venue = state.venue[0]
    stale = [int(word) >> bit & 1 for word in state.stale_lines for bit in range(ID_LINES_OF_A_WORD)]
    is_forgetting = bool(venue["special"] & FORGETTING)
    progress = [int(venue[name]) for name in ("old_id_leaves", "old_id_root", "old_id_leaf", "id_word", "id_leaf")]
    require(is_forgetting or not any((*progress, *stale)), "a venue that has forgotten has nothing of the day before")
    rows = np.flatnonzero(state.ids["participant"]).tolist()
    marked = set(np.flatnonzero(state.id_marks).tolist())
    require(marked == {row // ID_MARK_ROWS for row in rows}, "the rows of ids with a mark are those in use")
    leaves = range(len(state.ids) + 1, len(state.ids) + 1 + int(venue["id_leaves"]))
    for place in (*rows, *leaves):
        row = state.ids[place] if place < len(state.ids) else leaf_row(state, place - len(state.ids))
        if (place < len(state.ids) and stale[place // ID_LINE_ROWS]) or (place >= len(state.ids) and is_forgetting):
            continue
        if place >= len(state.ids) and row["slot"] == _CARRIED:
            continue  # it waited there for its row
        found = find_place(state, np.int64(row["participant"]), np.int64(row["client_order_id"]))
        require(found == place, "the search for an id leads to its row")
    found_rows, slots = live_ids(state)
    table: dict[tuple[int, int], int] = {}
    used = dict.fromkeys(range(1, int(venue["participants"]) + 1), 0)
    for found_row, slot in zip(found_rows, slots.tolist(), strict=True):
        key = int(found_row["participant"]), int(found_row["client_order_id"])
        require(key not in table, "an id of a participant has one row")
        table[key] = slot
        used[key[0]] += 1
        is_carried = bool(found_row["slot"] & _CARRIED)
        require(
            slot == 0 or is_carried == (state.orders[slot]["id_day"] != venue["id_day"]),
            "an order knows whether its id is of today",
        )
    for slot in open_slots:
        order = state.orders[slot]
        key = (int(order["participant"]), int(order["client_order_id"]))
        require(table.get(key) == slot, "the id of an open order leads to it")
    require(venue["ids_used"] == len(table), "ids_used counts the ids in use")
    require(venue["ids_used"] <= venue["ids_max"], "no more ids than there is room for")
    counted = state.participants["ids_used"][: len(used)].tolist()
    require(list(used.values()) == counted, "a participant's ids in use are counted")


def _check_rings(state: State, participant: int, open_slots: list[int]) -> None:
    """Each row of the rings of a participant's orders is the one before the one after it."""
    for lasting in (0, 1):
        row = end = len(state.orders) - 1 + lasting * len(state.participants) + participant
        for _ in range(len(open_slots) + 1):
            after = int(state.owned["after"][row])
            require(int(state.owned["before"][after]) == row, "an order of a participant knows the one before it")
            row = after
            if row == end:
                break
            lasts = state.orders["time_in_force"][row] in (TimeInForce.GTC, TimeInForce.GTD)
            require(lasts == bool(lasting), "an order is in the ring of those that end when it does")
        require(row == end, "the ring of a participant's orders closes")


def _check_participants(state: State, open_slots: list[int]) -> None:
    live = state.orders[open_slots]
    for number in range(1, int(state.venue[0]["participants"]) + 1):
        row = state.participants[number - 1]
        mine = live[live["participant"] == number]
        require(len(mine) == row["orders_open"], "a participant's open orders are counted")
        owned = np.zeros(len(open_slots) + 1, np.int64)
        count = int(list_owned(state, number, owned, len(open_slots)))
        numbers = state.orders["order_number"][owned[:count]].tolist()
        require(numbers == sorted(mine["order_number"].tolist()), "a participant's list has its orders by acceptance")
        _check_rings(state, number, open_slots)
        require((mine["group"] == row["group"]).all(), "an order bears its participant's group")
        require(row["killed"] in (0, 1), "a participant is killed or not")
        require(not row["killed"] or len(mine) == 0, "a participant that is killed has no open order")
