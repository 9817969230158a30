"""The tape between two processes: rows through it, and the time from an order in a ring to its report on the tape.

python -m benchmarks.tape             all measurements, as one JSON object a line
python -m benchmarks.tape core PATH   take orders from a ring and write one report each, until the other side ends

Both sides of a round trip are compiled and spin, so it needs two cores that do nothing else. There is no engine and no
journal in it: it is the floor below an order of a local client. The call of a kernel from Python is in it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.measure import RUNS, Row, machine, row
from engine.jit import called
from engine.records import COMMAND, EVENT
from tape.blocks import BLOCK, read_block, write_block
from tape.form import Rows, ring_path, tape_path
from tape.inbound import Inbound, Producer
from tape.reader import TapeReader
from tape.ring import NOTE, put_rows, take_rows
from tape.writer import TapeWriter

_ID: Final = bytes(16)
_ROWS: Final = Rows(COMMAND, EVENT, np.dtype([("seq", "<i8"), ("rest", "<i8", 31)]))
_TRIPS: Final = 20_000
_BLOCKS: Final = 2_000
_BLOCK_ROWS: Final = 1_024
_SPINS: Final = 1_000_000


@called
def answer(ring, tape, commands, notes, none, reports, counts, first_seq, spins):
    """Take orders one at a time and write a block with the order and its report; gives the next sequence number."""
    seq = first_seq
    for _ in range(spins):
        if take_rows(ring, commands, notes, 1) == 1:
            reports[0] = seq
            write_block(tape, seq, 0, 0, commands, none, reports, counts)
            seq += 1
    return seq


@called
def round_trip(ring, tape, commands, notes, room, spins):
    """Put an order, and read blocks until its report comes; BLOCK, or another result if it does not."""
    put_rows(ring, commands, notes, 1)
    result = np.int64(0)
    for _ in range(spins):
        result = read_block(tape, room)
        if result != 0:
            break
    return result


def _words(count: int) -> Any:
    return np.zeros(count, np.int64)


def core(folder: Path) -> None:
    """Answer orders until the producer has come and ended."""
    inbound = Inbound(ring_path(folder, "bench"), _ID, _ROWS)
    with TapeWriter(tape_path(folder), _ID, _ROWS) as writer:
        commands, notes, reports = _words(8), _words(NOTE.itemsize // 8), _words(32)
        counts = np.array([1, 0, 1], np.int64)
        seq, spins, began = 1, 1, False
        while not began or inbound.has_producer():
            pointers = (inbound.ring.pointers, writer.tape.pointers)
            seq = answer(*pointers, commands, notes, _words(0), reports, counts, seq, spins)
            if spins == 1:
                print("ready", flush=True)
            spins, began = _SPINS, began or inbound.has_producer()
    inbound.close()


def _round_trips(folder: Path) -> list[int]:
    """Nanoseconds of each round trip."""
    with (
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tape", "core", str(folder)], stdout=subprocess.PIPE, text=True
        ) as child,
        # In order: the child ends when the producer has.
        _Client(folder, child) as client,
    ):
        return client.trips()


class _Client:
    """The side of a round trip that sends orders."""

    def __init__(self, folder: Path, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            raise RuntimeError("the other side of the ring did not start")
        self._reader = TapeReader(tape_path(folder), _ID, _ROWS)
        self._producer = Producer(ring_path(folder, "bench"), _ID, _ROWS)

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()
        self._reader.close()

    def trips(self) -> list[int]:
        """Nanoseconds of each round trip. Raises RuntimeError where an answer does not come."""
        ring, tape = self._producer.ring.pointers, self._reader.tape.pointers
        notes = np.zeros(1, NOTE)
        notes["rows"] = 1
        order, note, room = _words(8), notes.view(np.int64), _words(64)
        found = []
        for _ in range(_TRIPS):
            began_ns = time.perf_counter_ns()
            result = round_trip(ring, tape, order, note, room, 1_000 * _SPINS)
            found.append(time.perf_counter_ns() - began_ns)
            if result != BLOCK:
                raise RuntimeError(f"the tape gave {result} instead of a report")
        return found[_TRIPS // 10 :]


def _rows_per_s(folder: Path) -> float:
    """Million COMMAND and EVENT rows a second that one thread copies into the tape and out of it."""
    commands, events = np.ones(_BLOCK_ROWS, COMMAND), np.ones(_BLOCK_ROWS, EVENT)
    path = tape_path(folder)
    none = np.zeros(0, _ROWS.reports)
    with TapeWriter(path, _ID, _ROWS) as writer, TapeReader(path, _ID, _ROWS) as reader:
        began_s = time.perf_counter()
        for n in range(_BLOCKS):
            writer.write(1 + n * _BLOCK_ROWS, 0, 0, commands, events, none)
            reader.read()
        return 2 * _BLOCKS * _BLOCK_ROWS / (time.perf_counter() - began_s) / 1e6


def run() -> list[Row]:
    """All measurements of the tape."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-", dir="/dev/shm") as name:
        folder = Path(name)
        _rows_per_s(folder)  # It compiles the kernels.
        rates = [_rows_per_s(folder) for _ in range(RUNS)]
        shares = [np.percentile(_round_trips(folder), (50, 99)) / 1_000 for _ in range(RUNS)]
    return [
        row("tape: rows copied in and out by one thread", rates, "M rows/s"),
        row("ring to tape, both spinning: p50", [float(each[0]) for each in shares], "us"),
        row("ring to tape, both spinning: p99", [float(each[1]) for each in shares], "us"),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["core"]:
        core(Path(sys.argv[2]))
    else:
        print(json.dumps(machine()))
        for each in run():
            print(json.dumps(each), flush=True)
