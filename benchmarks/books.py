"""Books that the standard workloads do not make: a million resting orders, and a hundred thousand levels on a side."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from benchmarks.workload import MID_TICKS, PARTICIPANTS, TICK_E4, definitions
from engine import Capacity
from engine.index import first_place
from engine.names import pack
from engine.records import COMMAND, CommandKind, Phase, SelfTrade, TimeInForce, concatenate
from engine.state import new_state

Rows = np.ndarray[Any, Any]

RESTING: Final = 1_000_000
RESTING_SYMBOLS: Final = 100
LEVELS: Final = 100_000
_FIRST_ID: Final = 10_000_000  # above those of the standard workloads


def enters(ids: Rows, instrument: Rows | int, side: Rows, price_e4: Rows, qty: Rows | int = 100) -> Rows:
    """Day limit orders, one a row, the participants in turn."""
    rows = np.zeros(len(ids), COMMAND)
    rows["kind"] = CommandKind.ENTER
    rows["client_order_id"], rows["instrument"] = ids, instrument
    rows["side"], rows["price_e4"], rows["qty"] = side, price_e4, qty
    rows["participant"] = ids % PARTICIPANTS + 1
    rows["time_in_force"], rows["self_trade"] = TimeInForce.DAY, SelfTrade.CANCEL_NEWEST
    return rows


def cancels(ids: Rows) -> Rows:
    """Cancels of what ``enters`` entered."""
    rows = np.zeros(len(ids), COMMAND)
    rows["kind"] = CommandKind.CANCEL
    rows["client_order_id"], rows["participant"] = ids, ids % PARTICIPANTS + 1
    return rows


def resting(block: int = 4_096) -> Iterator[Rows]:
    """A million orders that rest on 100 symbols, from 1,000 to 6,000 ticks away from the mid, in blocks."""
    draw = np.random.default_rng(7)
    for start in range(0, RESTING, block):
        ids = _FIRST_ID + np.arange(start, min(start + block, RESTING))
        side = draw.choice(np.array([1, -1]), len(ids))
        ticks = MID_TICKS - side * draw.integers(1_000, 6_000, len(ids))
        symbol = draw.integers(1, RESTING_SYMBOLS + 1, len(ids))
        yield enters(ids, symbol, side, ticks * TICK_E4, draw.integers(1, 501, len(ids)))


def hostile_ids(commands: int) -> tuple[Rows, Rows]:
    """A participant whose ids all start in one part of the table of ids in 4,096: enters and cancels at one price.

    That part is filled first. Whoever knows the engine can find such ids, by trying numbers as is done here.
    """
    state = new_state(Capacity())
    pages = np.arange(1, 1 << 24)
    found: list[int] = []
    for page in pages.tolist():
        if first_place(state, np.int64(1), np.int64(page << 10), np.int64(0)) < 1 << 10:
            found.append(page)
            if len(found) * 1_024 >= commands:
                break
    ids = (np.array(found)[:, None] * 1_024 + np.arange(1_024)).reshape(-1)[: commands // 2]
    setup = definitions(1)
    entered = enters(ids, 1, 1, (MID_TICKS - 10) * TICK_E4)
    entered["participant"] = 1
    gone = cancels(ids)
    gone["participant"] = 1
    half = len(ids) // 2
    traffic = np.zeros(2 * half, COMMAND)
    raw = traffic.view("V64")
    raw[0::2] = entered[half:].view("V64")
    raw[1::2] = gone[:half].view("V64")
    return concatenate([setup, entered[:half]]), traffic


def hostile(spread: bool, pairs: int) -> tuple[Rows, Rows]:
    """A venue whose one book has 100,000 levels on each side, and cancel-and-enter pairs on it.

    ``spread``: prices over the whole range that a price may have, else 100,000 ticks in a row. A third of the pairs
    is at a random level, a third at the far end and a third at the best price.
    """
    rows = np.zeros(PARTICIPANTS + 2, COMMAND)
    for n in range(PARTICIPANTS):
        rows[n]["kind"], rows[n]["name"], rows[n]["permissions"] = CommandKind.PARTICIPANT, pack(f"P{n}"), 1
    one, two = rows[PARTICIPANTS], rows[PARTICIPANTS + 1]
    one["kind"], one["name"], one["lot"], one["tick_e4"] = CommandKind.INSTRUMENT, pack("S0"), 1, 1
    one["reference_e4"] = 5_000_000_000
    two["kind"], two["name"], two["phase"] = CommandKind.PHASE, pack("S0"), Phase.CONTINUOUS
    draw = np.random.default_rng(11)
    level = np.tile(np.arange(LEVELS), 2)
    side = np.repeat(np.array([1, -1]), LEVELS)
    price_e4 = 5_000_000_000 - side * (1 + level * (49_900 if spread else 1))
    at = np.arange(1, 2 * LEVELS + 1)  # the id that rests at each level
    order = draw.permutation(2 * LEVELS)
    book = enters(at[order], 1, side[order], price_e4[order])
    where = draw.integers(0, LEVELS, pairs)
    kind = draw.integers(0, 3, pairs)
    where[kind == 1] = LEVELS - 1 - draw.integers(0, 8, int((kind == 1).sum()))
    where[kind == 2] = draw.integers(0, 8, int((kind == 2).sum()))
    where += LEVELS * draw.integers(0, 2, pairs)
    new = 2 * LEVELS + 1 + np.arange(pairs)
    old = np.empty(pairs, np.int64)
    for n, spot in enumerate(where.tolist()):
        old[n], at[spot] = at[spot], new[n]
    traffic = np.zeros(2 * pairs, COMMAND)
    raw = traffic.view("V64")
    raw[0::2] = cancels(old).view("V64")
    raw[1::2] = enters(new, 1, side[where], price_e4[where]).view("V64")
    return concatenate([rows, book]), traffic
