"""Only kernels that Python calls get machine code and a file in the cache; a part of a kernel is compiled into it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jit import INTERPRETED

ROOT = Path(__file__).parent.parent

KERNELS = """
import sys
from engine.jit import called

@called
def part(number):
    return number + 1

@called
def whole(number):
    return 2 * part(number)

for name in sys.argv[1:]:
    print({"part": part, "whole": whole}[name](3))
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_a_part_of_a_kernel_is_compiled_for_itself_only_when_python_calls_it(tmp_path: Path) -> None:
    script = tmp_path / "kernels.py"
    script.write_text(KERNELS)

    def run(*names: str) -> tuple[list[str], list[str]]:
        """Results of the kernels in a process of their own, and the kernels that have machine code in the cache."""
        modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, str(script), *names], check=False, env=os.environ | modes, capture_output=True, text=True
        )
        assert done.stderr == ""
        return done.stdout.split(), sorted(path.name.split("-")[0] for path in tmp_path.rglob("*.nbc"))

    assert run("whole") == (["8"], ["kernels.whole"])
    assert run("whole", "part", "whole") == (["8", "4", "8"], ["kernels.part", "kernels.whole"])
    assert run("part", "whole") == (["4", "8"], ["kernels.part", "kernels.whole"])
