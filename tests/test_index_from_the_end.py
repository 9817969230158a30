"""Kernels have no index that counts from the end of an array, and nobody else's compiled code is changed by that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jit import INTERPRETED

ROOT = Path(__file__).parent.parent

KERNEL = """
import numpy as np
import numba
from engine.jit import called

def last(array, index):
    return array[index]

mine, theirs = called(last), numba.njit(last)
array = np.arange(1, 4)
print(theirs(array, -1))
try:
    print(mine(array, -1))
except IndexError as error:
    print(error)
print(theirs(array, -1))
"""


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_an_index_below_0_is_an_error_under_boundscheck_in_a_kernel_and_nowhere_else(tmp_path: Path) -> None:
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL)
    modes = {"NUMBA_BOUNDSCHECK": "1", "LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], check=False, env=os.environ | modes, capture_output=True, text=True, timeout=600
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["3", "index is out of bounds", "3"]
