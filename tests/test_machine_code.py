"""Kernels that are compiled already run without Numba in a program that asks for it, with the results Numba gives."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import machine_code
from engine.jit import INTERPRETED

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        INTERPRETED or os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0", reason="runs kernels as they are compiled"
    ),
]

KERNELS = """
import sys
from typing import Any, NamedTuple

import numpy as np
from engine import jit
from engine.jit import Packed, called, ctz, inlined, rare, unpack_pointers

class State(NamedTuple):
    numbers: Any
    table: Any

ROW = np.dtype([("side", "i1"), ("qty", "<i8")])  # not aligned
unpack = unpack_pointers(State(np.zeros(1, np.int64), np.zeros((1, 3), np.int32)))

@rare
def doubled(number):
    return 2 * number

@inlined
def lowest(number):
    return ctz(number)

@called
def whole(pointers, rows, table, number):
    state = unpack(pointers)
    state.numbers[1] += rows[1]["qty"]
    table[1, 2] = lowest(number) + doubled(state.table[1, 2])
    return table[1, 2], state.numbers[1], number

@called
def put(state, number):
    state.numbers[0] = number

@called
def divided(a, b):
    return a // b

def results():
    packed = Packed(State(np.arange(3), np.arange(6, dtype=np.int32).reshape(2, 3)))
    rows = np.array([(1, 5), (2, -2**62)], ROW)
    table = np.zeros((2, 4), np.int64)
    for number in (8, np.int64(-2**63), 2**63 - 1):
        yield whole(packed.pointers, rows, table, number)
        yield put(packed.arrays, number)
        yield packed.arrays.numbers.tolist(), table.tolist(), divided(number, -3)
    yield type(divided(8, 3)), type(whole(packed.pointers, rows, table, 8))
"""

PROGRAM = (
    KERNELS
    + """
from engine import machine_code

if sys.argv[1] != "compile":
    jit.call_stored_code()
if sys.argv[1] == "of another processor":
    triple, name, features = machine_code._loader().processor
    machine_code._loader().processor = triple, "another", features
if sys.argv[1] == "needs more":
    machine_code.undefined_symbols = lambda code: ["nobody_has_this"]
print(list(results()))
print("numba" in sys.modules, file=sys.stderr)
"""
)


def ran(folder: Path, program: str, *words: str, **environment: str) -> tuple[str, bool]:
    """Print of a program with kernels, and whether it loaded Numba."""
    script = folder / "kernels.py"
    script.write_text(program)
    modes = {"LOCKSTEP_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, str(script), *words], check=False, env=os.environ | modes, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.endswith("True\n")


def test_kernels_that_are_stored_give_what_numba_gives(tmp_path: Path) -> None:
    compiled = ran(tmp_path, PROGRAM, "compile")
    assert compiled[1]
    assert ran(tmp_path, PROGRAM, "stored") == (compiled[0], False)
    assert ran(tmp_path, PROGRAM, "compile") == compiled, "the control: without being asked for it"
    written = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.code")}
    assert written == {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.nbc")}


def test_a_setting_of_numba_leaves_kernels_to_it(tmp_path: Path) -> None:
    compiled, _ = ran(tmp_path, PROGRAM, "compile")
    assert ran(tmp_path, PROGRAM, "stored", NUMBA_ENABLE_AVX="0") == (compiled, True)
    assert ran(tmp_path, PROGRAM, "stored", NUMBA_NUM_THREADS="1") == (compiled, False)


def test_a_file_that_is_torn_or_of_another_processor_counts_as_missing(tmp_path: Path) -> None:
    compiled, _ = ran(tmp_path, PROGRAM, "compile")
    for path in sorted(tmp_path.rglob("*.code")):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for damaged in (b"", whole[:-1], whole[: len(whole) // 2], bytes(flipped)):
            path.write_bytes(damaged)
            assert ran(tmp_path, PROGRAM, "stored") == (compiled, True), path.name
        path.write_bytes(whole)
    assert ran(tmp_path, PROGRAM, "stored") == (compiled, False)
    assert ran(tmp_path, PROGRAM, "of another processor") == (compiled, True)


def test_a_kernel_whose_file_is_lost_is_loaded_by_numba_which_writes_it_anew(tmp_path: Path) -> None:
    """Numba had loaded it, and so had no machine code at hand: each question with it ended as a defect."""
    compiled, _ = ran(tmp_path, PROGRAM, "compile")
    files = {path.name for path in tmp_path.rglob("*.code")}
    for path in tmp_path.rglob("*.code"):
        path.unlink()
    assert ran(tmp_path, PROGRAM, "stored") == (compiled, True)
    assert {path.name for path in tmp_path.rglob("*.code")} == files
    assert ran(tmp_path, PROGRAM, "stored") == (compiled, False)


LINKED = """
if sys.argv[1] == "link":
    jit.Linked(divided, 1).address(8, 3)
else:
    jit.call_stored_code()
    print(divided(8, 3))
print("numba" in sys.modules, file=sys.stderr)
"""


def test_a_kernel_that_another_calls_by_its_address_is_stored_too(tmp_path: Path) -> None:
    assert ran(tmp_path, KERNELS + LINKED, "link") == ("", True)
    assert ran(tmp_path, KERNELS + LINKED, "call") == ("2\n", False)


def test_code_that_needs_what_the_process_has_not_is_left_to_numba(tmp_path: Path) -> None:
    """LLVM ends a process that places it in memory."""
    compiled, _ = ran(tmp_path, PROGRAM, "compile")
    assert ran(tmp_path, PROGRAM, "stored") == (compiled, False)
    assert ran(tmp_path, PROGRAM, "needs more") == (compiled, True)


OTHERWISE = (
    KERNELS
    + """
from engine.errors import InvariantError

if sys.argv[1] == "stored":
    jit.call_stored_code()

@called
def total(numbers):
    found = numbers[0]
    for number in numbers[1:]:
        found += number
    return found

@called
def is_long(numbers):
    return len(numbers) > 3

print(total(np.arange(5)))
try:
    divided(1, 0)
except (ZeroDivisionError, InvariantError) as error:
    print("failed")
print("numba" in sys.modules and "before the others")
print(total(np.arange(10)[::2]), total(np.arange(3.0)), total((1, 2, 3)), is_long(np.arange(5)), divided(9.0, 2))
print("numba" in sys.modules, file=sys.stderr)
"""
)


def test_arguments_and_results_of_other_types_are_left_to_numba(tmp_path: Path) -> None:
    compiled, _ = ran(tmp_path, OTHERWISE, "compile")
    assert compiled == "10\nfailed\nbefore the others\n20 3.0 6 True 4.0\n"
    assert ran(tmp_path, OTHERWISE, "stored") == (compiled.replace("before the others", "False"), True)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (1, "int64"),
        (np.int64(1), "int64"),
        (-(2**63), "int64"),
        (2**63, None),
        (True, None),
        (1.0, None),
        (np.int32(1), None),
        (np.uint64(1), None),
        (np.zeros(2, np.int64), "dtype('int64')[1]"),
        (np.zeros((2, 2), np.uint8), "dtype('uint8')[2]"),
        (np.zeros((4, 4), np.uint8)[:, :2], None),
        (np.zeros(2, ">i8"), "dtype('>i8')[1]"),
        (np.zeros(9, np.uint8)[1:].view(np.int64), "dtype('int64')[1] unaligned"),
        (np.broadcast_to(np.int64(1), ()), "dtype('int64')[0] read-only"),
        (np.recarray(2, [("qty", "<i8")]), None),
        ((1, 2), None),
    ],
)
def test_types_of_arguments_are_told_apart_as_numba_does(argument: object, words: str | None) -> None:
    assert machine_code.described(argument) == words


@pytest.mark.skipif(platform.system() != "Linux", reason="object files have another form")
def test_what_an_object_file_needs_is_read_from_it(tmp_path: Path) -> None:
    ran(tmp_path, PROGRAM, "compile")
    (path,) = tmp_path.rglob("kernels.whole-*.code")
    code = path.read_bytes()
    needs = machine_code.undefined_symbols(code[code.index(b"\x7fELF") :])
    assert {"PyArg_UnpackTuple", "numba_adapt_ndarray"} <= set(needs)
    assert not [name for name in needs if name.startswith(machine_code.ENTRY)]
