"""Programs beside a node that keep an image in its directory: one of each, and a second is told which one it is."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, started

for package in ("starlette", "uvicorn", "websockets", "httptools"):
    pytest.importorskip(package, reason="pip install 'lockstep[web]'")

PROGRAMS = {"web": "the market data of this node for the web", "fix-data": "the market data of this node by FIX"}


@pytest.mark.slow
def test_a_second_program_of_its_kind_is_refused_and_one_after_a_kill_is_not(tmp_path: Path) -> None:
    node = started(tmp_path)
    with contextlib.ExitStack() as at_end:
        at_end.callback(node.stop)

        def start(program: str) -> "subprocess.Popen[str]":
            line = [sys.executable, "-m", "cli.main", program, str(node.data), "--port", "0", "--json"]
            made = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            at_end.callback(made.communicate)
            at_end.callback(made.kill)
            return made

        # Side by side: a web process and one of FIX do not hold up each other.
        first = {program: start(program) for program in PROGRAMS}
        for each in first.values():
            assert each.stdout is not None
            assert each.stdout.readline()
        second = {program: start(program) for program in PROGRAMS}
        for program, each in second.items():
            out, why = each.communicate(timeout=300)
            assert (each.returncode, out) == (75, ""), why
            assert f"process {first[program].pid} is {PROGRAMS[program]} already; end it first" in why
            assert "Traceback" not in why
        # Control: the first ones serve, and one that comes after a kill does.
        for program, each in first.items():
            assert each.poll() is None
            each.send_signal(signal.SIGKILL)
            each.wait(60)
            after = start(program)
            assert after.stdout is not None
            assert after.stdout.readline()
