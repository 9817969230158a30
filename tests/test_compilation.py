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


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_a_kernel_that_was_loaded_is_a_part_of_one_that_is_compiled_then(tmp_path: Path) -> None:
    """LLVM's form of the part is read for that, and for nothing else."""
    script = tmp_path / "kernels.py"
    count = "import engine.compiler as compiler\nparsed = []\nparse = compiler.ll.parse_bitcode\n"
    count += "compiler.ll.parse_bitcode = lambda data: (parsed.append(len(data)), parse(data))[1]\n"
    script.write_text(count + KERNELS + "print(len(parsed))\n")
    modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*names: str) -> list[str]:
        line = [sys.executable, str(script), *names]
        return subprocess.run(line, check=True, env=os.environ | modes, capture_output=True, text=True).stdout.split()

    (four, compiling), loading = run("part"), run("part")
    assert (four, loading) == ("4", ["4", "0"])
    assert int(compiling) == 1, "the control: to write the file"
    assert run("part", "whole") == ["4", "8", "2"]
    assert run("whole") == ["8", "0"]


@pytest.mark.slow
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


RACE = """
import sys, time
from pathlib import Path

import numpy as np
from numba.core.caching import IndexDataCacheFile

from engine import compiler, jit

if "plain" in sys.argv:  # the control: Numba's own files
    compiler._KernelFiles = IndexDataCacheFile

@jit.called
def doubled(numbers):
    return 2 * numbers[0]

def as_word(word):
    return doubled(np.array([float(word)]) if "." in word else np.array([int(word)]))

step = IndexDataCacheFile.save

def save(files, key, data):
    # Both programs have read the index before one writes it; the second one's index stands, and the first one's code.
    write_index, write_code = files._save_index, files._save_data
    def save_index(overloads):
        wait_for(f"index {turn}")
        write_index(overloads)
        tell(f"index {turn + 1}")
    def save_code(name, code):
        wait_for(f"code {turn}")
        write_code(name, code)
        tell(f"code {turn - 1}")
    files._save_index, files._save_data = save_index, save_code
    tell(f"read {turn}")
    step(files, key, data)

def tell(what):
    (folder / what).touch()

def wait_for(what):
    for _ in range(6000):
        if (folder / what).exists():
            return
        time.sleep(0.02)
    sys.exit(f"waited for {what}")

folder = Path(sys.argv[1])
if "race" in sys.argv:
    turn = int(sys.argv[2])
    load_index = IndexDataCacheFile._load_index
    def load(files):
        found = load_index(files)
        if saving:
            tell(f"read {turn}")
            wait_for(f"read {1 - turn}")
        return found
    saving = False
    def save_both(files, key, data):
        global saving
        saving = True
        save(files, key, data)
    IndexDataCacheFile._load_index, IndexDataCacheFile.save = load, save_both
    if turn == 0:
        tell("index 0")
    else:
        tell("code 1")
for word in sys.argv[3].split():
    print(as_word(word))
"""


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
@pytest.mark.parametrize("files", ["ours", "plain"])
def test_two_programs_that_compile_a_kernel_at_once_leave_machine_code_of_the_right_types(
    tmp_path: Path, files: str
) -> None:
    """Both take number 1 for other types: the index is of the second, and the machine code of the first."""
    script, folder = tmp_path / "race.py", tmp_path / "steps"
    script.write_text(RACE)
    folder.mkdir()
    modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}

    def begin(turn: int, words: str, how: str) -> subprocess.Popen[str]:
        line = [sys.executable, str(script), str(folder), str(turn), words, how, files]
        return subprocess.Popen(line, env=os.environ | modes, stdout=subprocess.PIPE, text=True)

    both = [begin(0, "3", "race"), begin(1, "1.5", "race")]
    assert [each.communicate(timeout=600)[0] for each in both] == ["6\n", "3.0\n"]
    after = begin(0, "1.5 3", "after")
    said = after.communicate(timeout=600)[0]
    assert (said == "3.0\n6\n") == (files == "ours")
    if files == "ours":
        compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
        assert len(compiled) == 2
        assert begin(0, "3 1.5", "after").communicate(timeout=600)[0] == "6\n3.0\n"
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == compiled


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_torn_file_of_the_cache_is_written_again(tmp_path: Path, kind: str) -> None:
    script = tmp_path / "kernels.py"
    script.write_text(KERNELS)
    modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run() -> bytes:
        line = [sys.executable, str(script), "whole"]
        return subprocess.run(line, check=True, env=os.environ | modes, capture_output=True).stdout

    assert run() == b"8\n"
    (torn,) = tmp_path.rglob(f"*.{kind}")
    whole = torn.read_bytes()
    for left in (b"", whole[: len(whole) // 2], whole[:-1], bytes(len(whole))):
        torn.write_bytes(left)
        assert run() == b"8\n"
        assert len(torn.read_bytes()) == len(whole)


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


STATE_KERNELS = """
import re
import sys
from typing import Any, NamedTuple
import numpy as np
import engine.compiler_shortcuts as shortcuts
if sys.argv[1] == "without":
    shortcuts._SHORTCUTS = ()
from engine.jit import called, rare

class State(NamedTuple):
    orders: Any
    levels: Any
    words: Any

@rare
def fail(state, place):
    state.words[0] = place
    return -1

@called
def lessen(state, place, qty):
    row = state.orders[place]
    if row["qty"] < qty:
        return fail(state, place)
    row["qty"] -= qty
    state.levels[row["level"]]["qty"] -= qty
    return row["qty"]

@called
def lessen_each(state, qty):
    left = 0
    for place in range(len(state.orders)):
        left += lessen(state, place, qty)
    return left

row = [("qty", np.int64), ("client_order_id", np.int64), ("level", np.uint16), ("side", np.int8)]
state = State(np.zeros(4, row), np.zeros(2, [("qty", np.int64), ("orders", np.int32)]), np.zeros(1, np.int64))
state.orders["qty"] = 5
assert (lessen_each(state, 2), lessen_each(state, 4)) == (12, -4)
(code,) = lessen_each.inspect_asm().values()
names = re.findall(r"_Z\\w+", code)
print(max(map(len, names)))
for line in code.splitlines():
    words = line.split("#")[0].split()
    if words and not words[0].startswith((".", "_")):
        print(re.sub(r"_Z\\w+", "symbol", " ".join(words)))
"""


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode")
def test_the_shortcuts_change_no_machine_code_but_the_symbols_of_kernels(tmp_path: Path) -> None:
    script = tmp_path / "kernels.py"
    script.write_text(STATE_KERNELS)

    def compiled(how: str) -> tuple[int, list[str]]:
        """Length of the longest symbol, and the instructions."""
        modes = {"LOCKSTEP_CACHE_DIR": str(tmp_path / how), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, str(script), how], check=False, env=os.environ | modes, capture_output=True, text=True
        )
        assert done.stderr == ""
        longest, *instructions = done.stdout.splitlines()
        return int(longest), instructions

    (long, plain), (short, ours) = compiled("without"), compiled("with")
    assert long > 400, "the control: Numba writes the fields of the arrays into the names"
    assert short < 200
    assert len(ours) > 20
    assert ours == plain
