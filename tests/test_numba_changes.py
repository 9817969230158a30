"""Each change that ``engine.jit`` makes to Numba is in force; a plain Numba kernel, the control, shows the opposite.

Numba is patched from outside, so a new release may pass a patch by without an error. Kernels would then be right but
slow: no test of results sees that. These look at the compiler's output.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.jit import INTERPRETED

ROOT = Path(__file__).parent.parent

SCRIPT = """
import json
import re
import sys

import numba
import numpy as np
from numba.core import codegen, event

OURS = sys.argv[1] == "ours"
if OURS:
    from engine.jit import called, inlined, rare
else:
    called = inlined = rare = numba.njit

from enum import IntEnum

Color = IntEnum("Color", {"RED": 7})


@rare
def seldom(array, n):
    total = n
    for i in range(len(array)):
        total += array[i] * n
    return total


@called
def often(array, n):
    return array[n & 15] + 2 * n


@called
def element(array, n):
    return array[n]


@called
def whole(array, n):
    m = element(array, n) + often(array, 1) + often(array, n) + often(array, Color.RED)
    return seldom(array, m) if m > 100 else m


modules = []
add = codegen.JITCPUCodegen._add_module
codegen.JITCPUCodegen._add_module = lambda self, module: (modules.append(module.name), add(self, module))[1]
told = []
event.register("numba:run_pass", type("Heard", (event.Listener,), {
    "on_start": lambda self, event: told.append(1), "on_end": lambda self, event: None})())

array = np.arange(10)
assert whole(array, 3) == 3 + (1 + 2) + (3 + 6) + (7 + 14)
(signature,) = whole.signatures
ir = whole.inspect_llvm(signature)
attributes = dict(re.findall(r"^attributes #(\\d+) = {(.*)}$", ir, re.M))
of_seldom = [
    attributes.get(number, "").split()
    for line in re.findall(r"^(?:define|declare).*$", ir, re.M)
    if "seldom" in line and "cpython" not in line
    for number in re.findall(r"#(\\d+)", line)
]
part, index = (each.inspect_llvm(each.signatures[0]) for each in (often, element))
print(json.dumps({
    "rare kernels are cold": any({"cold", "noinline"} <= set(each) for each in of_seldom),
    "rare kernels are called": bool(re.search(r"call [^\\n]*seldom", ir)),
    "variants of a kernel": len(often.overloads),
    "machine code": sorted({"element", "often", "seldom", "whole"} & set(modules)),
    "wrappers of parts": "cpython" in part,
    "no index counts from the end": "icmp slt" not in index,
    "events that Numba tells": bool(told),
}))
"""


def observed(who: str, folder: Path) -> dict[str, Any]:
    """Observations of a script that compiles three kernels with our changes, or (``plain``) without."""
    script = folder / f"kernels_{who}.py"
    script.write_text(SCRIPT)
    modes = {"LOCKSTEP_CACHE_DIR": str(folder), "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), who], check=False, env=os.environ | modes, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return observed("ours", tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return observed("plain", tmp_path_factory.mktemp("plain"))


pytestmark = pytest.mark.skipif(
    INTERPRETED or os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0", reason="looks at kernels as they are compiled"
)


def test_rare_kernels_are_cold_and_stay_out_of_their_callers(ours: dict[str, Any], plain: dict[str, Any]) -> None:
    names = ("rare kernels are cold", "rare kernels are called")
    assert [ours[name] for name in names] == [True, True]
    assert [plain[name] for name in names] == [False, False]


def test_a_kernel_is_compiled_once_for_constants_enum_members_and_numbers(
    ours: dict[str, Any], plain: dict[str, Any]
) -> None:
    assert ours["variants of a kernel"] == 1
    assert plain["variants of a kernel"] > 1


def test_only_the_kernel_that_python_calls_becomes_machine_code(ours: dict[str, Any], plain: dict[str, Any]) -> None:
    assert ours["machine code"] == ["whole"]
    assert plain["machine code"] == ["element", "often", "seldom", "whole"]


def test_a_kernel_that_only_kernels_call_has_no_wrapper_for_python(ours: dict[str, Any], plain: dict[str, Any]) -> None:
    assert not ours["wrappers of parts"]
    assert plain["wrappers of parts"]


def test_an_index_is_not_compared_with_zero(ours: dict[str, Any], plain: dict[str, Any]) -> None:
    assert ours["no index counts from the end"]
    assert not plain["no index counts from the end"]


def test_numba_tells_nobody_of_its_passes(ours: dict[str, Any], plain: dict[str, Any]) -> None:
    assert not ours["events that Numba tells"]
    assert plain["events that Numba tells"]
