"""Values of a command line are read without Pydantic, and as Typer reads them; only a wrong one is left to Typer."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer import core
from typer._coercion import TypeDescriptor, build_runtime_param
from typer.main import get_command

from cli.main import TYPER, app
from cli.options import Alone, EngineChoice, ExportForm
from tests.conftest import Lockstep

ROOT = Path(__file__).parent.parent

#: Words as they come from a shell: some are plain for a kind of value, some are not, some are wrong.
WORDS = [
    *("0", "1", "7", "007", "65535", "65536", "-1", "+1", " 1", "1_000", "1.5", "1e3", "9" * 18, "9" * 19, "٣"),
    *("", " ", ".", "/", "/nowhere/at/all", "~", "a\nb", "true", "no", "S12", "kernel", "Kernel", "continue", "csv"),
    *(__file__, "/proc/1/mem", "a\0b"),
]
DEFAULTS = [
    None,
    True,
    False,
    3,
    70_000,
    1.5,
    Path("x"),
    EngineChoice.kernel,
    Alone.go_on,
    ExportForm.csv,
    [],
    ["a"],
    b"x",
]


def params(command: Any) -> Iterator[Any]:
    yield from command.params
    for inner in getattr(command, "commands", {}).values():
        yield from params(inner)


def outcome(read: Any, param: Any, value: object) -> tuple[str, object]:
    try:
        found = read.coerce(value, param, None)
    except (typer.BadParameter, ValueError, TypeError) as error:
        return type(error).__name__, str(error)
    return type(found).__name__, found


def test_each_option_reads_each_word_as_typer_does() -> None:
    plain = 0
    seen = set()
    for param in params(get_command(app)):
        descriptor: TypeDescriptor = param.type_descriptor
        info = descriptor.parameter_info
        key = (str(descriptor.annotation), info.min, info.max, param.multiple, param.nargs)
        if key in seen:
            continue
        seen.add(key)
        ours, theirs = core.build_runtime_param(descriptor), build_runtime_param(descriptor)
        plain += type(ours) is not type(theirs)
        lists = [WORDS[:2], ["S12", "csv"], ["fsync"], [1, 2]] if param.multiple or param.nargs == -1 else []
        for value in [*WORDS, *DEFAULTS, *lists]:
            assert outcome(ours, param, value) == outcome(theirs, param, value), (key, value)
    assert plain > 10


def test_a_wrong_reading_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.plain_values._number", lambda value, _least, _most: value)
    with pytest.raises(AssertionError, match="int"):
        test_each_option_reads_each_word_as_typer_does()


def test_an_option_that_wants_more_of_a_path_than_that_it_can_be_read_is_left_to_typer(tmp_path: Path) -> None:
    program = typer.Typer()

    @program.command()
    def look(_file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
        """Look at a file."""

    param = get_command(program).params[0]
    read = core.build_runtime_param(param.type_descriptor)  # type: ignore[attr-defined]
    assert outcome(read, param, str(tmp_path / "none"))[0] == "BadParameter"
    assert outcome(read, param, str(tmp_path))[0] == "BadParameter"


def test_what_is_wrong_is_told_by_typer(lockstep: Lockstep) -> None:
    status, _, complaint = lockstep("book", ".", "XYZ", "--depth", "0")
    assert status == 2
    assert "--depth" in complaint
    status, _, complaint = lockstep("verify", ".", "--engine", "steam")
    assert status == 2
    assert "steam" in complaint


@pytest.mark.parametrize(
    "words",
    [
        ("state", "/nowhere", "--at", "7"),
        ("verify", "/nowhere"),
        ("ask", "/nowhere", "counts", "--with", "a=b"),
        ("why", ".", "7"),
    ],
)
def test_a_question_loads_no_pydantic(words: tuple[str, ...]) -> None:
    script = (
        f"import sys\nfrom cli.main import run_line\nrun_line({words!r})\n"
        "sys.exit([name for name in sys.modules if name.startswith('pydantic')][:3] or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert ended.returncode == 0, ended.stderr


def test_a_command_that_does_not_exist_is_compared_with_all_others(lockstep: Lockstep) -> None:
    status, _, complaint = lockstep("positons", ".")
    assert status == 2
    assert "positions" in complaint


def test_another_release_of_typer_reads_all_by_itself() -> None:
    """Names that this one has within are not there, as in releases before and after it."""
    script = (
        "import sys, typer\ntyper.__version__ = '0.30.0'\nfrom typer import _coercion\ndel _coercion.RuntimeParam\n"
        "from cli.main import run_line\n"
        "print([run_line(line.split()) for line in ('version', 'book --help', 'book', 'book nowhere X --depth x')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "[0, 0, 2, 2]" in ended.stdout, ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_release_of_typer_that_is_known_within_is_the_one_that_is_installed() -> None:
    assert typer.__version__ == TYPER, "look whether cli/plain_values.py fits the new one"
