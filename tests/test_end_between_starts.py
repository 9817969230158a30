"""A signal to end between two starts of a node of a pair, while it fetches the history of the primary."""

import signal
import subprocess
import sys

import pytest

#: A node that follows has ended its event loop, and fetches what it is too far behind of. The market is left out.
CHILD = """
import asyncio, sys, threading, time
from pathlib import Path
from types import SimpleNamespace

import uvloop

from cli import interrupts
from node import program
from node.pair.outcomes import TooFarBehind
from node.programs.end_signals import on_end_signal


async def served():
    on_end_signal(lambda: None)


def opened(*_):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(served())
    raise TooFarBehind(("127.0.0.1", 1))


def fetched(*_, **__):
    try:
        print("fetching", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)


def work():
    pair = SimpleNamespace(options=SimpleNamespace(candidate=SimpleNamespace(name="B"), secret=b""))
    log = SimpleNamespace(warning=lambda *_, **__: None, info=lambda *_, **__: None)
    settings = program._Settings(None, None, 0, pair, print, False, threading.Event())
    program._is_to_start_again(SimpleNamespace(data=Path(".")), None, log, settings, None)
    return 0


program._opened_and_served, program.fetch = opened, fetched
interrupts.run(work)
"""


@pytest.mark.parametrize(
    ("number", "ends_by"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)]
)
def test_a_signal_during_a_fetch_between_two_starts_ends_the_node_after_it_has_cleaned_up(
    number: signal.Signals, ends_by: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "fetching\n"
        child.send_signal(number)
        said, _ = child.communicate(timeout=60)
    assert (said, child.returncode) == ("cleaned up\n", ends_by)
