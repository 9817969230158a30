"""Options of the program itself: `lockstep --version` and shell completion. None of them loads anything heavy."""

import gc
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli import main
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


@pytest.mark.parametrize(
    ("words", "rarely"),
    [
        ("why node 7", True),
        ("verify node", False),
        ("ask export counts", True),
        ("serve --data node", False),
        ("demo", False),
        ("admin halt node XYZ", False),
        ("", False),
    ],
)
def test_only_a_process_that_answers_and_ends_looks_for_garbage_rarely(
    words: str, rarely: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, met = gc.get_threshold(), []

    def run(_words: list[str]) -> int:
        met.append(gc.get_threshold())
        return 0

    monkeypatch.setattr(main, "run_line", run)
    monkeypatch.setattr(sys, "argv", ["lockstep", *words.split()])
    try:
        assert main._status() == 0
    finally:
        gc.set_threshold(*kept)
    assert (met[0][0] > 100 * kept[0]) == rarely


def test_each_question_that_looks_for_garbage_rarely_is_a_command() -> None:
    assert set(main._commands().commands) >= main._QUESTIONS
