"""Each change that ``engine.compiler`` makes to Numba is in force; a plain Numba kernel is the control: the opposite.

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

from cli.errors import NUMBA
from engine.jit import INTERPRETED
from tests.conftest import Lockstep

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


pytestmark = pytest.mark.skipif(
    INTERPRETED or os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0", reason="looks at kernels as they are compiled"
)


#: Observation with our changes and with a plain Numba. Both are compiled once, in one test, which takes seconds.
EXPECTED = {
    # Rare kernels stay out of their callers.
    "rare kernels are cold": (True, False),
    "rare kernels are called": (True, False),
    # Only the kernel that Python calls becomes machine code, and has a wrapper for Python.
    "machine code": (["whole"], ["element", "often", "seldom", "whole"]),
    "wrappers of parts": (False, True),
    "no index counts from the end": (True, False),
    "events that Numba tells": (False, True),
}


@pytest.mark.slow
def test_each_change_to_numba_is_in_force_and_without_it_kernels_are_otherwise(tmp_path: Path) -> None:
    ours, plain = observed("ours", tmp_path), observed("plain", tmp_path)
    # A kernel is compiled once for constants, members of an enum, and numbers.
    assert ours.pop("variants of a kernel") == 1
    assert plain.pop("variants of a kernel") > 1
    assert ours == {name: expected[0] for name, expected in EXPECTED.items()}
    assert plain == {name: expected[1] for name, expected in EXPECTED.items()}


LINKED = """
from engine.jit import called, inlined


@inlined
def half(n):
    return n >> 1


@called
def quarter(n):
    return half(half(n))


@called
def near(n):
    return half(n) + 1


@called
def far(n):
    return quarter(n) + 2


@called
def both(n):
    return near(n) + far(n)


assert near(8) == 5  # half is put into it, and yet is one of its libraries
assert both(8) == 9
"""


@pytest.mark.slow
def test_a_kernel_is_linked_with_what_its_callees_call_whichever_of_them_python_called_before(tmp_path: Path) -> None:
    script = tmp_path / "linked.py"
    script.write_text(LINKED)
    for bounds in ("0", "1"):
        environment = {
            **os.environ,
            "NUMBA_BOUNDSCHECK": bounds,
            "NUMBA_DISABLE_JIT": "0",
            "LOCKSTEP_CACHE_DIR": str(tmp_path / bounds),
            "PYTHONPATH": str(ROOT),
        }
        found = subprocess.run(
            [sys.executable, script], check=False, env=environment, capture_output=True, text=True, timeout=120
        )
        assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("found", ["0.61.0", NUMBA])
def test_another_release_of_numba_that_fails_is_told_in_a_sentence(found: str, tmp_path: Path) -> None:
    """It may lack what is changed. That of the engine itself is the control: such an error would be a defect."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(f"__version__ = {found!r}")
    (tmp_path / "day.txt").write_text("participant ALPHA\n")
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", "run", str(tmp_path / "day.txt"), "--data", str(tmp_path / "node")],
        # A setting of Numba, since kernels that are stored run without it.
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_OPT": "3"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr.count("\n")) == ("", 1)
    if found == NUMBA:
        assert (ended.returncode, "this is a defect in lockstep: ImportError" in ended.stderr) == (70, True)
    else:
        assert (ended.returncode, ended.stderr) == (
            2,
            f"lockstep: ImportError, perhaps since Numba {found} is installed: the engine changes the compiler of"
            f" {NUMBA} from within; install that one, by the setup of lockstep (`make run`) or pip install"
            f" numba=={NUMBA}\n",
        )


@pytest.mark.parametrize("found", ["0.69.0", NUMBA])
def test_another_release_of_numba_that_has_all_names_is_refused_before_it_compiles(
    found: str, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr("importlib.metadata.version", {"numba": found}.__getitem__)
    monkeypatch.setattr("engine.is_compiled", lambda: False)
    monkeypatch.setattr("cli.warmup._compile", compiled.extend)
    status, _, complaint = lockstep("warmup")
    assert (status, bool(compiled)) == ((0, True) if found == NUMBA else (2, False))
    assert (complaint.count("\n"), f"lockstep: Numba {found} is installed" in complaint) == (1, found != NUMBA)


def test_a_cache_of_kernels_that_cannot_be_written_is_told_before_anything_is_compiled(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr("cli.warmup._compile", compiled.extend)
    (tmp_path / "file").touch()
    (tmp_path / "day.txt").write_text("participant ALPHA\n")
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "file"))
    for words in (["warmup"], ["run", tmp_path / "day.txt", "--data", tmp_path / "node"], ["demo", "--seconds", "1"]):
        status, said, complaint = lockstep(*words)
        assert (status, said, compiled, complaint.count("\n")) == (2, "", [], 1), complaint
        assert f"{tmp_path}/file/kernels/" in complaint
        assert "cannot be written (Not a directory); set LOCKSTEP_CACHE_DIR to a directory that can" in complaint
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "folder"))
    assert lockstep("warmup")[0] == 0
    assert compiled, "the control"


def test_the_release_of_numba_that_is_changed_is_the_one_that_setup_installs() -> None:
    assert f'"numba=={NUMBA}"' in (ROOT / "pyproject.toml").read_text()
