"""A process loads what it needs: Numba (half a second) where kernels run, its compiler where they are compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jit import INTERPRETED
from exports.formats import FORMS
from exports.manifest import FORMATS

ROOT = Path(__file__).parent.parent
COMPILER = "numba.np.linalg"

KERNEL = """
import sys
from engine.jit import called

@called
def twice(number):
    return number + number

print(twice(3), {module!r} in sys.modules)
"""


def loads(work: str, module: str) -> bool:
    """True if a process that does the work has loaded the module."""
    script = f"import sys\n{work}\nprint({module!r} in sys.modules)"
    return subprocess.check_output([sys.executable, "-c", script], text=True, cwd=ROOT).strip() == "True"


@pytest.mark.slow
def test_commands_that_run_no_kernel_do_not_load_numba() -> None:
    commands = ("operating.admin", "trading.trade", "trading.simulate", "upkeep.journal", "upkeep.checkpoint")
    commands += ("questions.history", "questions.order", "questions.choice", "upkeep.doctor", "servers.serve")
    assert not loads(f"import {', '.join(f'cli.{name}' for name in commands)}", "numba")
    apply = "import numpy\nfrom engine import *\nCapacity\nEngine(Capacity(1, 1, 1, 1)).apply(numpy.zeros(1, COMMAND))"
    assert loads(apply, "numba") is not INTERPRETED, "the control"


QUESTIONS = """
import contextlib
import io
import sys

from cli.main import app

with contextlib.redirect_stdout(io.StringIO()):
    app(sys.argv[1:], standalone_mode=False)
print("numba" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_questions_to_a_journal_do_not_load_numba(tmp_path: Path) -> None:
    """Only those that look into an order's queue, or at the state, run kernels at all."""
    day = tmp_path / "day.txt"
    lines = ["participant ALPHA", "participant BETA", "instrument XYZ tick=0.01 lot=1 reference=10.00"]
    lines += ["phase XYZ continuous", "enter ALPHA a1 sell 10 XYZ @ 10.02", "enter BETA b1 buy 5 XYZ @ 10.02"]
    lines += ["cancel ALPHA a1"]
    day.write_text("\n".join(lines))
    node = str(tmp_path / "node")
    subprocess.check_call([sys.executable, "-m", "cli.main", "run", str(day), "--data", node], cwd=ROOT)
    for words in ("book {} XYZ", "state {}", "positions {}", "limits {}", "order {} --number 1 --queue", "why {} 7"):
        line = [sys.executable, "-c", QUESTIONS, *words.format(node).split()]
        assert subprocess.check_output(line, text=True, cwd=ROOT) == "False\n", words
    line = [sys.executable, "-c", QUESTIONS, "run", str(day), "--data", str(tmp_path / "other")]
    assert subprocess.check_output(line, text=True, cwd=ROOT) == "True\n", "a run calls kernels often: by Numba"
    line = [sys.executable, "-c", QUESTIONS, "state", node]
    other = os.environ | {"NUMBA_OPT": "3"}
    assert subprocess.check_output(line, text=True, cwd=ROOT, env=other) == "True\n", "the control"


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_an_import_compiles_no_kernel(tmp_path: Path) -> None:
    """The kernels of FIX did: 14 s before the first compilation could go on in two processes."""
    modes = os.environ | {"LOCKSTEP_CACHE_DIR": str(tmp_path)}
    imports = "from cli.kernel_sets import EACH, kernel_set\nprint([kernel_set(each).is_compiled() for each in EACH])\n"
    found = subprocess.check_output([sys.executable, "-c", imports], text=True, cwd=ROOT, env=modes)
    assert "True" not in found
    assert not list(tmp_path.rglob("*.nbc"))
    control = "from reports.projection import compile_kernels\ncompile_kernels()"
    subprocess.check_call([sys.executable, "-c", control], cwd=ROOT, env=modes)
    assert list(tmp_path.rglob("*.nbc"))


def test_a_question_to_an_export_loads_no_kernel() -> None:
    assert not loads("import cli.questions.ask, exports.questions", "engine.jit")
    assert loads("import exports.tables", "engine.jit"), "the control"


def test_formats_of_a_manifest_are_those_that_are_written_and_read() -> None:
    assert tuple(FORMS) == FORMATS


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_a_kernel_from_the_cache_is_loaded_without_the_compiler(tmp_path: Path) -> None:
    script = tmp_path / "kernels.py"
    script.write_text(KERNEL.format(module=COMPILER))
    options = os.environ | {"LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    said = [subprocess.check_output([sys.executable, str(script)], text=True, env=options) for _ in range(2)]
    assert said == ["6 True\n", "6 False\n"]
