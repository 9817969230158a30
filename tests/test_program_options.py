"""Options of the program itself: `lockstep --version` and shell completion. None of them loads anything heavy."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import Lockstep

ROOT = Path(__file__).parent.parent
HEAVY = ("numpy", "numba", "lmdb")


def complete(words: str) -> list[str]:
    """Completions of the last word in bash, by the program's own account."""
    script = (
        "import sys\nfrom cli.main import run_line\nstatus = run_line([])\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\nassert not heavy, heavy\nsys.exit(status)"
    )
    asked = {"_LOCKSTEP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=120,
        env={**os.environ, **asked},
    )
    return ended.stdout.split()


def test_version_is_one_line_and_needs_no_command(lockstep: Lockstep) -> None:
    assert lockstep("--version") == (0, f"lockstep {version('lockstep')}\n", "")
    status, said, _ = lockstep("version")
    assert status == 0
    assert said.startswith(f"lockstep {version('lockstep')}\n")
    assert len(said.splitlines()) > 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(
    shell: str, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    status, said, complaint = lockstep("--show-completion")
    assert (status, complaint) == (0, "")
    assert f"_LOCKSTEP_COMPLETE=complete_{shell}" in said
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=said, text=True, check=True, timeout=120)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("lockstep ver", ["verify", "version"]),
        ("lockstep admin mass", ["mass-cancel"]),
        ("lockstep serve --orders", ["--orders-max"]),
        ("lockstep run x --durability f", ["fsync"]),
        ("lockstep --vers", ["--version"]),
    ],
)
def test_commands_options_and_choices_are_completed_without_loading_anything_heavy(
    words: str, completed: list[str]
) -> None:
    assert complete(words) == completed
