"""Memory that only the start of a program needs is given back, and nothing that was changed is lost by it."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.jit import INTERPRETED
from node.programs.given_back import unchanged_mappings

ROOT = Path(__file__).parent.parent

SMAPS = """\
1000-3000 r-xp 00000000 fe:00 260850                     /usr/lib/libexample.so
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
3000-4000 r--p 00002000 fe:00 260850                     /usr/lib/libexample.so
Anonymous:             4 kB
Swap:                  0 kB
VmFlags: rd mr mw me ac
4000-5000 r--p 00003000 fe:00 260850                     /usr/lib/libexample.so
Anonymous:             0 kB
Swap:                  4 kB
VmFlags: rd mr mw me ac
5000-6000 rw-p 00004000 fe:00 260850                     /usr/lib/libexample.so
Anonymous:             0 kB
VmFlags: rd wr mr mw me ac
6000-7000 r--s 00000000 fe:00 260851                     /data/journal/data.mdb
Anonymous:             0 kB
VmFlags: rd sh mr mw me
7000-8000 r-xp 00000000 00:00 0
Anonymous:             0 kB
VmFlags: rd ex mr mw me
8000-9000 r--p 00000000 fe:00 7 /a name with spaces
Anonymous:             0 kB
VmFlags: rd mr
"""


def test_only_a_file_mapping_that_cannot_be_written_and_has_no_changed_page_is_given_back() -> None:
    assert list(unchanged_mappings(SMAPS)) == [(0x1000, 0x3000), (0x8000, 0x9000)]


PROGRAM = """
from pathlib import Path

from engine.jit import called
from node.programs.given_back import give_back


@called
def doubled(number):
    return 2 * number


@called
def halved(number):
    return number // 2


def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


doubled(3)
before_kb = resident_kb()
give_back()
after_kb = resident_kb()
print(doubled(4), halved(8), before_kb - after_kb)
"""


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system shows no mappings")
def test_a_kernel_runs_and_another_is_compiled_after_the_compiler_s_pages_were_given_back(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""}
    said = subprocess.run([sys.executable, str(script)], check=True, env=modes, capture_output=True, text=True).stdout
    doubled, halved, given_kb = map(int, said.split())
    assert (doubled, halved) == (8, 4)
    assert given_kb > 20_000
