"""The option ``--part``, and the fixture ``lockstep``. A file with a richer ``lockstep`` of its own has that one."""

import contextlib
import gc
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cli.main import run_line
from engine.machine_code import Stored
from journal import Journal, any_open
from tests import roomy_disk
from tests.parts import SEED, left_out, mark_slow_cases, parts_asked_for, seed_of_the_day

# A command line of this process would leave all later tests of it with slow calls of kernels.
Stored.can_run = staticmethod(lambda: False)  # type: ignore[method-assign]

Lockstep = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def _no_journal_is_left_open() -> Iterator[None]:
    """Close what tests of a file leave open, as after a crash that they play: a later fork could open no journal."""
    made: list[Journal] = []
    begin = Journal.__init__

    def noted(journal: Journal, *arguments: Any, **options: Any) -> None:
        made.append(journal)
        begin(journal, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "__init__", noted)
        yield
    for journal in made:
        with contextlib.suppress(Exception):  # the fault that its test was about
            journal.close()
    assert not any_open(), "a test of this file opens a journal that cannot be closed"


@pytest.fixture
def lockstep(capsys: pytest.CaptureFixture[str]) -> Lockstep:
    """Run of a command line in this process: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run_line([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        action="append",
        default=[],
        metavar="MARKER=N",
        help="of the tests with this marker, run one in N; LOCKSTEP_SEED selects them (default: the day)",
    )
    parser.addoption(
        "--rest",
        action="append",
        default=[],
        metavar="MARKER=N",
        help="of the tests with this marker, run those that --part MARKER=N leaves out by the same seed",
    )


def pytest_configure(config: pytest.Config) -> None:
    roomy_disk.assume()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts what runs in the background. Programs that the tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for option in ("--part", "--rest"):
        parts_asked_for(config.getoption(option))
    seed_of_the_day()


def pytest_collection() -> None:
    """Let no garbage collection go through all that is loaded, again and again, while it only grows."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)  # before ``-m`` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mark_slow_cases(items)
    part, rest = (parts_asked_for(config.getoption(option)) for option in ("--part", "--rest"))
    out = left_out(items, part, rest, seed_of_the_day())
    if out:
        config.hook.pytest_deselected(items=[items[place] for place in out])
        items[:] = [item for place, item in enumerate(items) if place not in out]


def pytest_collection_finish() -> None:
    """Leave all that is loaded out of later garbage collections, which would go through it each time."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    asked = [f"{option} {word}" for option in ("--part", "--rest") for word in config.getoption(option)]
    if asked:
        selected = f"{SEED}={seed_of_the_day()} selected the tests of {' '.join(asked)}"
        terminalreporter.write_line(f"{selected}; set it to run the same ones again")
