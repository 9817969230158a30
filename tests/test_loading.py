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
    assert loads("from engine import Engine", "numba"), "the control"


def test_a_question_to_an_export_loads_no_kernel() -> None:
    assert not loads("import cli.questions.ask, exports.questions", "numba")
    assert loads("import exports.tables", "numba"), "the control"


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
