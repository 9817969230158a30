"""Snapshots of all lit books by the market's clock, as rows of the table ``snapshots``: a row a price level.

A snapshot at a time is the state after the last command whose clock is not after it, as ``book --at TIME`` shows it. A
time at which no command came since the one before has none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.market_time import ClockPosition, clock_after, clock_rows
from engine.records import Book, Instruction
from exports.tables import SNAPSHOTS, Columns
from exports.words import name_keys
from journal.history import History
from replay.ladder import in_no_queue, trading_prices
from replay.moments import Moments
from replay.rebuild import owned_rows

#: Rows that are given at once, at least.
_ROWS_AT_ONCE: Final = 65_536


class SnapshotTime(NamedTuple):
    """Time of a snapshot (ns), and the last command before it."""

    time_ns: int
    seq: int


def snapshot_times(history: History, step_ns: int, to_seq: int) -> list[SnapshotTime]:
    """Times of snapshots: whole multiples of ``step_ns`` of the market's clock, and the end of the range, by its own
    clock. Raises JournalError."""
    found: list[SnapshotTime] = []
    position = ClockPosition()
    for block in history.blocks(None, to_seq):
        commands = owned_rows(block.rows)[: to_seq - block.first_seq + 1]
        at, values_ns = clock_rows(commands, position)
        # A command at a time is before its snapshot: what comes after that is the first clock value behind the time.
        earlier = np.concatenate(([position.now_ns], values_ns))[:-1]
        passed = -(-earlier // step_ns) * step_ns
        crosses = (earlier > 0) & (values_ns > passed)
        seqs = block.first_seq + at[crosses].astype(np.int64) - 1
        found += [SnapshotTime(*each) for each in zip(passed[crosses].tolist(), seqs.tolist(), strict=True)]
        position = clock_after(commands, position)
    if position.now_ns and (not found or found[-1].seq < to_seq):
        found.append(SnapshotTime(position.now_ns, to_seq))
    return found


def snapshots(directory: Path, step_ns: int, to_seq: int) -> Iterator[Columns]:
    """Rows of the table, some at a time. Raises what replay and journal raise."""
    with History.open(directory) as history:
        times = snapshot_times(history, step_ns, to_seq)
    moments = Moments(directory)
    held: list[Columns] = []
    rows = 0
    for each in times:
        held.append(book_levels(moments.at(each.seq), each))
        rows += len(held[-1]["seq"])
        if rows >= _ROWS_AT_ONCE:
            yield _as_one(held)
            held, rows = [], 0
    if held:
        yield _as_one(held)


def book_levels(engine: MarketEngine, at: SnapshotTime) -> Columns:
    """All price levels of the lit books of an engine as rows, best first from level 1; price_e4 0: market orders that
    wait for an auction."""
    orders = engine.open_orders()
    orders = orders[~in_no_queue(orders) & (orders["book"] == Book.LIT)]
    keys = np.empty((3, len(orders)), np.int64)
    keys[0], keys[1], keys[2] = orders["instrument"], orders["side"], trading_prices(orders)
    # Orders come in the order in which a book would trade them, so that those of a level stand together.
    begins = _changes(keys)
    books = _changes(keys[:2, begins])
    hidden = orders["instructions"] & np.uint16(Instruction.HIDDEN | Instruction.PEG) != 0
    number = np.arange(len(begins))
    firsts = number[books][np.cumsum(np.isin(number, books)) - 1] if len(begins) else number
    found = {
        "seq": np.full(len(begins), at.seq, np.int64),
        "time_ns": np.full(len(begins), at.time_ns, np.int64),
        "symbol": name_keys(keys[0, begins], engine.directory.symbols),
        "side": keys[1, begins],
        "level": number - firsts + 1,
        "price_e4": keys[2, begins],
        "qty": _summed(orders["leaves_qty"], begins),
        "displayed_qty": _summed(np.where(hidden, 0, orders["shown_qty"]), begins),
        "orders": np.diff(np.append(begins, len(orders))),
    }
    return {name: found[name] for name in SNAPSHOTS.columns}


def _changes(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices of the columns that differ from the one before, the first included."""
    if not keys.shape[1]:
        return np.empty(0, np.intp)
    return np.flatnonzero(np.append(True, (np.diff(keys, axis=1) != 0).any(axis=0)))


def _summed(values: NDArray[Any], begins: NDArray[np.intp]) -> NDArray[np.int64]:
    return np.add.reduceat(values.astype(np.int64), begins) if len(begins) else np.empty(0, np.int64)


def _as_one(held: list[Columns]) -> Columns:
    return {name: np.concatenate([columns[name] for columns in held]) for name in SNAPSHOTS.columns}
