"""`python -m benchmarks.instructions`: processor instructions of each kind of command, counted by valgrind (a minute).

Instructions are the same in every run, whatever else the machine does. The engine runs each stream in blocks of
4,096; what is counted is divided among the kernels (compiled code that no file holds), the event digest (xxhash) and
Python with NumPy around them. valgrind knows no AVX-512, so the kernels are compiled for an older processor here.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.books import Rows, cancels, enters
from benchmarks.engine import apply_all
from benchmarks.workload import MID_TICKS, TICK_E4, W1, W2, definitions, workload
from engine import Capacity, Engine
from engine.records import COMMAND, CommandKind, Instruction, TimeInForce

_COMMANDS: Final = 20_480
_RESTING: Final = 4_096
_FIRST_ID: Final = 1_000_000
_CAPACITY: Final = Capacity(instruments_max=1, participants_max=64)

#: valgrind writes what it counted so far whenever this function of the C library is called; Python calls it for us.
_DUMP_AT: Final = "getppid"


def _sides(count: int) -> Rows:
    return np.where(np.arange(count) % 2 == 0, 1, -1)


def _resting(first_id: int, count: int) -> Rows:
    ids, side = first_id + np.arange(count), _sides(count)
    away = 1 + np.random.default_rng(3).integers(0, 40, count)
    return enters(ids, 1, side, (MID_TICKS - side * away) * TICK_E4)


def _replaces(rows: Rows, first_id: int, qty: int, ticks: int) -> Rows:
    made = np.zeros(len(rows), COMMAND)
    made["kind"] = CommandKind.REPLACE
    made["client_order_id"], made["participant"] = rows["client_order_id"], rows["participant"]
    made["new_client_order_id"], made["qty"] = first_id + np.arange(len(rows)), qty
    made["price_e4"] = rows["price_e4"] - rows["side"] * ticks * TICK_E4
    return made


def _takers(first_id: int, market: bool) -> Rows:
    """Orders of one share that each trade once with what rests."""
    side = _sides(_COMMANDS)
    rows = enters(first_id + np.arange(_COMMANDS), 1, side, (MID_TICKS + side * 40) * TICK_E4, 1)
    rows["participant"] = 50  # which has nothing on the book
    rows["time_in_force"] = TimeInForce.IOC
    if market:
        rows["instructions"], rows["price_e4"] = Instruction.MARKET, 0
    return rows


def streams() -> Iterator[tuple[str, Engine, Rows]]:
    """One measurement: its name, the engine that it is for, and the commands."""
    engine = Engine(_CAPACITY)
    engine.apply(definitions(1))
    book = _resting(_FIRST_ID, _RESTING)
    book["participant"] = book["client_order_id"] % 49 + 1
    book["qty"] = 100_000
    engine.apply(book)
    yield "cancel, id unknown", engine, cancels(np.full(_COMMANDS, 99_999_999))
    rows = _resting(2 * _FIRST_ID, _COMMANDS)
    yield "limit, rests", engine, rows
    smaller = _replaces(rows, 3 * _FIRST_ID, 50, 0)
    yield "replace, smaller, in its place", engine, smaller
    smaller["price_e4"], smaller["client_order_id"] = rows["price_e4"], smaller["new_client_order_id"]
    smaller["side"] = rows["side"]
    moved = _replaces(smaller, 4 * _FIRST_ID, 50, 1)
    yield "replace, another price", engine, moved
    away = cancels(moved["new_client_order_id"])
    away["participant"] = moved["participant"]
    yield "cancel", engine, away
    yield "limit IOC, one trade", engine, _takers(5 * _FIRST_ID, False)
    yield "market, one trade", engine, _takers(6 * _FIRST_ID, True)
    for mix in (W1, W2):
        setup, rows = workload(mix, 1, 2 * _COMMANDS)
        engine = Engine(_CAPACITY)
        engine.apply(setup)
        engine.apply(rows[:_COMMANDS])
        yield mix.name, engine, rows[_COMMANDS:]


def _child() -> None:
    for name, engine, rows in streams():
        engine.apply(rows[:0], copy=False)
        seq = engine.seq
        os.getppid()
        apply_all(engine, rows, 4_096)
        os.getppid()
        print(name, engine.seq - seq, sep="\t", flush=True)


def _by_place(dump: Path) -> dict[str, int]:
    """Instructions of one dump, by where the code is. Its format is that of the callgrind manual."""
    found = {"kernels": 0, "digest": 0, "around": 0}
    places: dict[str, str] = {}
    place, of_callee = "around", False
    for line in dump.read_text().splitlines():
        key, _, value = line.partition("=")
        if key in ("ob", "cob"):
            number, _, name = value.partition(" ")
            if name:  # told once, referred to by its number afterwards
                places[number] = "digest" if "xxhash" in name else "kernels" if name == "???" else "around"
            if key == "ob":
                place = places[number]
        elif key == "calls":
            of_callee = True  # the next line is what the callee costs, which is counted there
        elif line and line[0] in "+-*0123456789":
            if not of_callee:
                found[place] += int(line.split()[-1])
            of_callee = False
    return found


def main() -> int:
    """Print the instructions a command of each stream."""
    older = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "benchmarks.instructions", "child"]
    environment = os.environ | older
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)  # compiles them for it
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        out = Path(name) / "counted"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={_DUMP_AT}"]
        done = subprocess.run(
            [*valgrind, *command], check=True, env=environment, capture_output=True, text=True, encoding="utf-8"
        )
        dumps = sorted(Path(name).glob("counted.*"), key=lambda path: int(path.suffix[1:]))
        print(f"{'instructions a command':32}{'kernels':>10}{'digest':>10}{'around':>10}{'in all':>10}")
        for number, line in enumerate(line for line in done.stdout.splitlines() if "\t" in line):
            title, _, commands = line.partition("\t")
            by_place = {place: count / int(commands) for place, count in _by_place(dumps[2 * number + 1]).items()}
            print(f"{title:32}" + "".join(f"{n:10.0f}" for n in (*by_place.values(), sum(by_place.values()))))
    return 0


if __name__ == "__main__":
    sys.exit(_child() if sys.argv[1:] == ["child"] else main())
