"""Ctrl-C at any moment ends the program with status 130, one line and no traceback.

As in a terminal, SIGINT goes to all processes of the group. The moments are drawn by the seed of the day, or by
LOCKSTEP_SEED; the first is always the very start, while the modules are loaded.
"""

import contextlib
import io
import os
import pty
import random
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from cli.interrupts import Terminated
from cli.main import run_line
from gateway.ouch.kernels import LAST as LAST_KERNEL
from tests.conftest import Lockstep
from tests.parts import seed_of_the_day
from tests.running import until
from tests.test_every_command import DAY

ROOT: Final = Path(__file__).parent.parent
#: The console script, which tells by a byte that Python has started and the program's first line is reached.
PROGRAM: Final = (
    "import os, signal, sys, cli.start; signal.signal(signal.SIGINT, cli.start.end_at_once); "
    "os.write(int(sys.argv.pop(1)), b'.'); cli.start.main()"
)
LIMIT_S: Final = 300.0
QUICK: Final = (
    "--help",
    "events NODE",
    "commands NODE --json",
    "verify NODE --workers 2",
    "scenario DAY",
    "book NODE XYZ",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a day's file and a node that was fed with it."""
    folder = tmp_path_factory.mktemp("interrupts")
    (folder / "DAY").write_text(DAY)
    if run_line(["run", str(folder / "DAY"), "--data", str(folder / "NODE"), "--block-rows", "1"]) != 0:
        raise RuntimeError("the day could not be run")
    return folder


def interrupted(
    words: Sequence[str], after_s: float, folder: Path, program: str = PROGRAM, **variables: str
) -> tuple[int, str]:
    """Exit status and standard error of a program that got SIGINT so long after its first line, if it still ran."""
    hears, says = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(says), *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[says],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )
    os.close(says)
    with os.fdopen(hears, "rb") as pipe:
        assert pipe.read(1) == b"."
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)  # not reaped yet, so the number is still its own
    _, complaint = process.communicate(timeout=LIMIT_S)
    return process.returncode, complaint


def check(status: int, complaint: str) -> None:
    """The promise, for a command that may have ended by itself before."""
    assert "Traceback" not in complaint, complaint
    assert "KeyboardInterrupt" not in complaint, complaint
    assert "defect" not in complaint, complaint
    # In its last moments the interpreter has taken its handlers away: the signal itself ends it, which shells call 130.
    assert status in (0, 130, -signal.SIGINT), complaint
    said = [line for line in complaint.splitlines() if "compiling the kernels" not in line]
    assert said == (["lockstep: interrupted"] if status == 130 else []), complaint


def test_an_interrupt_while_modules_are_loaded_ends_with_130_and_one_line(made: Path) -> None:
    assert interrupted(["events", "NODE"], 0.0, made) == (130, "lockstep: interrupted\n")


def test_a_program_that_leaves_interrupts_to_python_is_found(made: Path) -> None:
    """The control: the same check fails for a program without the cure."""
    bare = "import os, sys; os.write(int(sys.argv.pop(1)), b'.'); import time; time.sleep(60)"
    status, complaint = interrupted([], 0.0, made, program=bare)
    assert status != 0
    with pytest.raises(AssertionError):
        check(status, complaint)


@pytest.mark.parametrize("line", [QUICK[0], *(pytest.param(line, marks=pytest.mark.slow) for line in QUICK[1:])])
def test_an_interrupt_at_a_random_moment_of_a_short_command_leaves_no_traceback(line: str, made: Path) -> None:
    draw = random.Random(f"{seed_of_the_day()} {line}")
    check(*interrupted(line.split(), draw.uniform(0.0, 1.5), made))


def test_an_interrupt_that_comes_where_nothing_can_be_raised_is_not_lost() -> None:
    script = (
        "import signal, time\nfrom cli import interrupts\n"
        "class Final:\n    def __del__(self):\n        signal.raise_signal(signal.SIGINT)\n        time.sleep(0)\n"
        "def work():\n    Final()\n    time.sleep(60)\n    return 0\ninterrupts.run(work)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "lockstep: interrupted\n")


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("line", ["", "tail NODE"])
def test_an_interrupt_is_told_on_a_line_of_its_own_where_the_terminal_shows_it(
    line: str, shows: bool, made: Path
) -> None:
    master, slave = pty.openpty()
    modes = termios.tcgetattr(slave)
    modes[3] = modes[3] | termios.ECHO | termios.ECHOCTL if shows else modes[3] & ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    waits = "import time; from cli import interrupts; interrupts.run(lambda: print('now') or time.sleep(60))"
    program = waits if not line else "import cli.start; cli.start.main()"
    take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"  # so that Ctrl-C of the terminal reaches it
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", f"{take}\n{program}", *line.split()],
        cwd=made, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )  # fmt: skip
    said = b""
    with contextlib.closing(os.fdopen(master, "r+b", buffering=0)) as terminal:
        while (b"until one does" if line else b"now\r\n") not in said:  # it works, and waits
            said += terminal.read(1_000)
        said = b""
        terminal.write(b"\x03")
        while b"interrupted\r\n" not in said:
            said += terminal.read(1_000)
        assert process.wait(LIMIT_S) == 130
    os.close(slave)
    assert said.lstrip(b"\r\n") == (b"^C\r\nlockstep: interrupted\r\n" if shows else b"lockstep: interrupted\r\n")


def test_an_interrupt_within_text_that_is_run_as_a_program_ends_a_module_with_its_own_status(tmp_path: Path) -> None:
    lines = ("def work():", "  try: exec('raise KeyboardInterrupt')", "  except KeyboardInterrupt: return 130", "")
    work = "\n".join(lines)
    (tmp_path / "cured.py").write_text(f"from cli import interrupts\n{work}interrupts.run(work)")
    (tmp_path / "bare.py").write_text(f"import sys\n{work}sys.exit(work())")
    ends = {}
    for name in ("cured", "bare"):
        line = [sys.executable, "-m", name]
        place = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
        ends[name] = subprocess.run(line, env=place, timeout=LIMIT_S, check=False).returncode
    assert ends == {"cured": 130, "bare": -signal.SIGINT}  # the bare one is the control


@pytest.mark.slow
def test_a_job_that_a_script_put_into_the_background_stays_deaf_to_interrupts(made: Path) -> None:
    script = 'trap "" INT; exec "$@"'
    program = "import os, cli.start; os.write(2, b'.'); cli.start.main()"
    line = [sys.executable, "-c", program]
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *line, "verify", "NODE", "--workers", "1"],
        cwd=made,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    assert process.stderr.read(1) == b"."
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, complaint) == (0, b"")
    assert said


def children(pid: int, word: str) -> list[int]:
    """Processes that ``pid`` started and whose command line has a word."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid and word in (stat.parent / "cmdline").read_text():
                found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "ends", "line"),
    [
        pytest.param(signal.SIGTERM, -signal.SIGTERM, "lockstep: terminated", marks=pytest.mark.slow),
        (signal.SIGINT, 130, "lockstep: interrupted"),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, "", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_first_compilation_alone_ends_its_child_too(
    number: signal.Signals, ends: int, line: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "warmup"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LOCKSTEP_CACHE_DIR": str(tmp_path)},
    )
    until(lambda: bool(children(process.pid, "cli.kernel_sets")), LIMIT_S)
    (child,) = children(process.pid, "cli.kernel_sets")
    process.send_signal(number)
    _, complaint = process.communicate(timeout=LIMIT_S)
    said = [each for each in complaint.splitlines() if "compiling the kernels" not in each]
    assert (process.returncode, "".join(said)) == (ends, line)
    until(lambda: not is_running(child), LIMIT_S)
    assert not list(tmp_path.rglob(f"{LAST_KERNEL}*.nbc")), "the child went on until all was compiled"


def is_running(pid: int) -> bool:
    """True for a process that is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_sigterm_is_cleaned_up_after_like_an_interrupt() -> None:
    script = (
        "import signal, time\nfrom cli import interrupts\n"
        "def work():\n    try:\n        signal.raise_signal(signal.SIGTERM)\n        time.sleep(60)\n"
        "    finally:\n        print('cleaned up', flush=True)\ninterrupts.run(work)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "cleaned up\n", "")


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated"), (ValueError, 70, "defect")],
)
def test_an_interrupt_while_a_class_is_made_is_told_as_one(
    kind: type[BaseException], status: int, message: str, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupts:
        def __set_name__(self, owner: type, name: str) -> None:
            raise kind

    def makes_a_class(*_: object) -> None:
        type("Made", (), {"field": Interrupts()})

    monkeypatch.setattr("cli.main._commands", makes_a_class)
    given, _, complaint = lockstep("--version")
    assert given == status
    assert message in complaint
    assert "Traceback" not in complaint


@pytest.mark.long
@pytest.mark.parametrize("line", [QUICK[0], *(pytest.param(line, marks=pytest.mark.slow) for line in QUICK[1:])])
@pytest.mark.parametrize("draw", range(10))
def test_many_moments_of_short_commands(line: str, draw: int, made: Path) -> None:
    moment_s = random.Random(f"{seed_of_the_day()} {line} {draw}").uniform(0.0, 1.5)
    check(*interrupted(line.split(), moment_s, made))


@pytest.mark.long
@pytest.mark.parametrize("draw", range(8))
def test_a_demo_with_its_children_ends_as_one_and_leaves_nothing(draw: int, made: Path, tmp_path: Path) -> None:
    moment_s = random.Random(f"{seed_of_the_day()} demo {draw}").uniform(0.0, 8.0)
    check(*interrupted(["demo", "--seconds", "3"], moment_s, made, TMPDIR=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("draw", range(6))
def test_a_compilation_in_two_processes_is_interrupted(draw: int, made: Path, tmp_path: Path) -> None:
    moment_s = random.Random(f"{seed_of_the_day()} warmup {draw}").uniform(0.0, 20.0)
    status, complaint = interrupted(["warmup"], moment_s, made, LOCKSTEP_CACHE_DIR=str(tmp_path))
    check(status, complaint)
    assert status == 130


@pytest.mark.parametrize(
    ("cause", "status", "message"),
    [(EOFError, 2, "no password was given"), (KeyboardInterrupt, 130, "interrupted")],
)
def test_ctrl_c_and_ctrl_d_at_a_password_are_told_on_a_line_of_their_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lockstep: Lockstep,
    cause: type[BaseException],
    status: int,
    message: str,
) -> None:
    def ended(question: str) -> str:
        sys.stderr.write(question)
        raise cause

    monkeypatch.setattr("getpass.getpass", ended)
    monkeypatch.setattr("sys.stdin", Terminal())
    given, _, complaint = lockstep("admin", "user", "password", tmp_path, "ALICE")
    assert (given, complaint) == (status, f"Password: \nlockstep: {message}\n")


class Terminal(io.StringIO):
    """Standard input of a person."""

    def isatty(self) -> bool:
        """True."""
        return True


def test_the_end_waits_for_threads_calls_what_asked_for_it_and_loses_no_output() -> None:
    script = (
        "import atexit, threading, time\nfrom cli import interrupts\n"
        "atexit.register(print, 'asked for')\n"
        "def slow():\n    time.sleep(0.2)\n    print('of a thread')\n"
        "def work():\n    threading.Thread(target=slow).start()\n    print('of the work')\n    return 3\n"
        "interrupts.run(work)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "of the work\nof a thread\nasked for\n", "")


def test_the_end_takes_no_module_apart_and_python_alone_would() -> None:
    finalized = "class Final:\n    def __del__(self):\n        print('taken apart')\nfinal = Final()\n"
    ends = {}
    for name, end in (("lockstep", "interrupts.run(lambda: 0)"), ("python", "raise SystemExit(0)")):
        script = f"from cli import interrupts\n{finalized}{end}"
        ended = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        ends[name] = (ended.returncode, ended.stdout, ended.stderr)
    assert ends == {"lockstep": (0, "", ""), "python": (0, "taken apart\n", "")}


def test_output_that_cannot_be_written_at_the_end_is_told() -> None:
    script = "from cli import interrupts\ndef work():\n    print('lost')\n    return 0\ninterrupts.run(work)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    line = [sys.executable, "-c", script]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            line, cwd=ROOT, env=buffered, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False
        )
    assert ended.returncode == 120
    assert b"No space left on device" in ended.stderr
