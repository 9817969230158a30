"""What a person may do wrong, or find in a bad state, and what the command line answers.

The controls are the sound cases beside the spoilt ones: the same command line, once where nothing is wrong.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.main import run_line

DAY = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 150 XYZ @ 10.10
at 09:31
enter ALPHA a2 sell 30 XYZ @ 10.20
"""
LAST_SEQ = 9

Said = tuple[int, str, str]


class Lockstep:
    """Runs a command line in this process: (exit status, standard output, standard error)."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Said:
        self._capsys.readouterr()
        status = run_line([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def complaint(self, status: int, *arguments: object) -> str:
        """The one sentence with which a command line ends that must end so."""
        ended, said, complaint = self(*arguments)
        assert (ended, said) == (status, ""), (arguments, said, complaint)
        assert complaint.startswith("lockstep: "), complaint
        assert complaint.count("\n") == 1, complaint
        return complaint.removeprefix("lockstep: ").rstrip("\n")


@pytest.fixture
def lockstep(capsys: pytest.CaptureFixture[str]) -> Lockstep:
    """Runs a command line here."""
    return Lockstep(capsys)


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with DAY in it, in blocks of 4."""
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", 4)[0] == 0
    return tmp_path / "node"


def in_shell(script: str, unbuffered: str = "") -> "subprocess.CompletedProcess[str]":
    """A line for bash, in which $L is the program."""
    environment = {**os.environ, "L": f"{sys.executable} -m cli.main", "PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


# What is printed, and to whom.


@pytest.mark.parametrize(
    "line", ["--help", "", "run --help", "checkpoint --help", "checkpoint list --help", "version", "version --json"]
)
def test_a_reader_that_goes_away_ends_any_output_without_a_word(line: str) -> None:
    ended = in_shell(f'$L {line} | true; echo "${{PIPESTATUS[0]}}"')
    assert (ended.stdout, ended.stderr) == ("141\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "version", "version --json"])
def test_output_that_cannot_be_written_is_one_sentence_about_the_output(line: str, unbuffered: str) -> None:
    ended = in_shell(f"$L {line} > /dev/full", unbuffered)
    sentence = "lockstep: the output cannot be written: no space left on device; make room there, or write it elsewhere"
    assert (ended.returncode, ended.stderr) == (2, sentence + "\n")
    assert in_shell(f"$L {line} > /dev/null", unbuffered).returncode == 0


def test_closed_and_full_standard_streams_end_with_a_status_and_no_traceback() -> None:
    closed = in_shell("$L version >&-")
    assert (closed.returncode, closed.stderr.count("\n")) == (2, 1)
    assert in_shell("$L bogus 2>/dev/full").returncode == 2
    assert in_shell("$L version 2>&-").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "DIR", "--engine", "bogus"], "--engine is 'bogus'; give one of kernel, reference; see"),
        (["book", "DIR", "XYZ", "--depth", "0"], "--depth is '0'; give 1 or more; see"),
        (["events", "DIR", "--from", "x"], "--from is 'x'; give a whole number; see"),
        (["demo", "--seconds", "900"], "--seconds is '900'; give 600 or less; see"),
        (["demo", "--seconds", "x"], "--seconds is 'x'; give a number; see"),
        (["events"], "Missing argument 'DIR'; see"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refused_value_is_told_with_what_to_give_instead(words: Sequence[str], said: str, lockstep: Lockstep) -> None:
    assert lockstep.complaint(2, *words).startswith(said)
