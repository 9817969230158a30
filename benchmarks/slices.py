"""Slices of the journal: a start with a long history, and clients' longest wait while a running node begins a slice."""

import os
import signal
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks.books import RESTING_SYMBOLS, Rows, resting
from benchmarks.measure import RUNS, Row, row
from benchmarks.traffic import days
from benchmarks.wire_node import link_to, serving, set_up, symbol_names
from benchmarks.workload import definitions
from client.events import Side
from client.sync_client import Client
from directory.recover import CheckpointEvery, create
from directory.roll import roll
from engine import Capacity
from journal import Journal
from load.lines import close_lines, open_lines
from node.core.opening import node_projections, open_directory
from sequencer.pump import pump
from sequencer.stamp import FileStamp

#: Days of about a million commands in closed slices, and slices that they are in.
DAYS: Final = 20
SLICES: Final = 4
OPEN_COMMANDS: Final = 10_000
#: Open orders in the market while a node begins a slice.
ORDERS: Final = (10_000, 100_000)
#: Small blocks, as order entry makes them.
_OPEN_BLOCK: Final = 16
_BLOCK: Final = 4_096


def run() -> list[Row]:
    """All measurements of slices."""
    return [_start_with_history(), *(each for orders in ORDERS for each in _longest_wait(orders))]


def _start_with_history() -> Row:
    """Seconds from the start of a node's process to an answered login."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        closed = _write_history(directory)
        with serving(directory, "none") as (_, _pid), link_to(directory) as link:
            users = set_up(link, 1, 0)
        took_s = []
        for _ in range(RUNS):
            began_s = time.monotonic()
            with serving(directory, "none", ("--checkpoint-every", "1000000000")) as (port, pid):
                lines = open_lines("127.0.0.1", port, users)
                took_s.append(time.monotonic() - began_s)
                os.kill(pid, signal.SIGKILL)
                close_lines(lines)
    name = f"start of a node to a login answered: {closed / 1e6:.1f} M commands closed, {OPEN_COMMANDS:,} open"
    return row(name, took_s, "s", at_most=3.0)


def _write_history(directory: Path) -> int:
    """Slices with days of W1, and the last one with some commands; the number in closed slices."""
    journal, _ = create(directory, Capacity(), durability="none")
    journal.close()
    blocks = days(DAYS, _BLOCK)
    per_slice = DAYS // SLICES * 1_000_000 // _BLOCK
    for number in range(SLICES):
        last = number == SLICES - 1
        _append(directory, list(blocks if last else islice(blocks, per_slice)))
        roll(directory, make_projections=node_projections(directory), durability="none")
    with Journal.open(directory, readonly=True) as known:
        closed = known.start_seq
    more = next(each for each in days(1, OPEN_COMMANDS) if len(each) == OPEN_COMMANDS)
    _append(directory, [more[start : start + _OPEN_BLOCK] for start in range(0, len(more), _OPEN_BLOCK)])
    return closed


def _append(directory: Path, blocks: list[Rows]) -> None:
    """Append blocks to a directory, with the users' streams and a checkpoint at the end."""
    opened = open_directory(directory, Capacity(), "none")
    stamp = FileStamp(opened.engine.now_ns)
    publishers = [opened.projections.observe]
    with opened.journal:
        pump(blocks, stamp, opened.journal, opened.engine, publishers=publishers, durability="none")
        opened.projections.close()


def _longest_wait(orders: int) -> list[Row]:
    """Milliseconds that an order and its answer take at most, with and without a new slice meanwhile."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        journal, engine = create(directory, Capacity(), durability="none")
        with journal:
            blocks = [definitions(RESTING_SYMBOLS), *islice(resting(_BLOCK), orders // _BLOCK + 1)]
            pump(blocks, FileStamp(), journal, engine, durability="none", at_boundary=CheckpointEvery(orders // 2))
        with serving(directory, "fsync") as (port, pid), link_to(directory) as link:
            (user,) = set_up(link, 1, 0)
            with Client("127.0.0.1", port, user.name, user.password) as client:
                waits: dict[bool, list[float]] = {True: [], False: []}
                for _ in range(RUNS):
                    for rolls in (False, True):
                        worker = threading.Thread(target=link.ask, args=("roll",)) if rolls else None
                        waits[rolls].append(_longest_ms(client, worker))
            os.kill(pid, signal.SIGKILL)
    market = f"{orders:,} open orders"
    return [
        row(f"longest of an order's waits in a second, {market}", waits[False], "ms"),
        row(f"longest of an order's waits while a slice begins, {market}", waits[True], "ms", at_most=50.0),
    ]


def _longest_ms(client: Client, worker: threading.Thread | None) -> float:
    """The longest wait of orders one after the other, for a second and until the worker has ended."""
    longest_s, until_s = 0.0, time.monotonic() + 1.0
    symbol = symbol_names(1)[0]
    if worker is not None:
        worker.start()
    while time.monotonic() < until_s or (worker is not None and worker.is_alive()):
        began_s = time.monotonic()
        order = client.enter(symbol, Side.BUY, 100, "90.00")
        longest_s = max(longest_s, time.monotonic() - began_s)
        began_s = time.monotonic()
        order.cancel()
        longest_s = max(longest_s, time.monotonic() - began_s)
    return 1e3 * longest_s
