"""Only kernels that Python calls get machine code and a file in the cache; a part of a kernel is compiled into it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jit import INTERPRETED
from engine.kernel_cache import kernel_sources

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


@pytest.mark.slow
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


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_a_second_checkout_of_the_same_sources_finds_the_kernels_of_the_first(tmp_path: Path) -> None:
    found = []
    for number, checkout in enumerate((tmp_path / "one" / "kernels", tmp_path / "two" / "kernels")):
        checkout.mkdir(parents=True)
        script = checkout / "kernels.py"
        script.write_text(KERNELS)
        os.utime(script, ns=(number, number))
        modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, str(script), "whole"], check=True, env=os.environ | modes)
        found.append({path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ic]")})
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_the_cache_of_kernels_is_named_by_all_files_of_ours_that_they_are_made_of(tmp_path: Path) -> None:
    """A constant of another folder is in the machine code: were it not in the name, an edit would change nothing."""
    texts = {
        "kernels/sum.py": "from engine.jit import called\nfrom wires.layout import (\n    SHARES,\n)\n\n@called\n",
        "kernels/shell.py": "import kernels.other\n",
        "kernels/other.py": "",
        "wires/layout.py": "from wires import codes\n",
        "wires/codes.py": "import os\n",
        "wires/__init__.py": "",
        "wires/session.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    made_of = kernel_sources(tmp_path / "kernels")
    names = {path.relative_to(tmp_path).as_posix() for path in made_of}
    assert names == {"kernels/sum.py", "wires/layout.py", "wires/codes.py", "wires/__init__.py"}


@pytest.mark.parametrize("folder", ["gateway/ouch", "load"])
def test_an_edit_of_the_layout_of_messages_compiles_the_kernels_that_read_them_anew(folder: str) -> None:
    assert {ROOT / "wire" / "ouch_layout.py", ROOT / "wire" / "octets.py"} <= set(kernel_sources(ROOT / folder))
