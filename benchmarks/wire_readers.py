"""Readers of the tape beside a node under load: one that sleeps all the time, one that died, one that is far behind.

A reader can cost the market nothing: it is not waited for. What is measured is the processor time of the node, in turn
with a node that nobody reads. It is that of all its threads, since a reader takes no part in them.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.measure import Row, row
from benchmarks.wire_node import Node
from load.generator import Generator
from load.lines import LoadError, close_lines, open_lines
from node.operator.link import LinkError, RequestRefused

#: The node may take so much more with a reader than without.
_AT_MOST: Final = 1.02
_WINDOW: Final = 32_768
_ATTACHED_S: Final = 60.0


def readers(node: Node, orders: int, runs: int) -> Iterator[Row]:
    """Processor time of the node an order beside each kind of reader, in proportion to that without. Raises LoadError.

    The market has taken all orders of the turns before when the one that is far behind begins at the first.
    """
    assert node.directory is not None, "a node of its own"
    lines = open_lines(node.host, node.port, node.users)
    try:
        generator = Generator(lines, node.symbols, window=_WINDOW)
        try:
            generator.saturate(max(orders // 10, 1))
            for name, arguments, stop in (
                ("asleep", (), signal.SIGSTOP),
                ("dead", (), signal.SIGKILL),
                ("behind by all of the day", ("--from", "1"), None),
            ):
                ratios = []
                for _ in range(runs):
                    alone = cost_ns(generator, node, orders)
                    with _reader(node, arguments, stop):
                        ratios.append(cost_ns(generator, node, orders) / alone)
                words = f"a reader that is {name}: processor time of the node, to that without"
                yield row(words, ratios, "", at_most=_AT_MOST)
        finally:
            generator.close()
    finally:
        close_lines(lines)


def cost_ns(generator: Generator, node: Node, orders: int) -> float:
    """Processor time of a node for an order, in ns. Raises LoadError."""
    assert node.pid is not None, "a node of its own"
    before_ns = processor_ns(node.pid)
    result = generator.saturate(orders)
    if not result.good:
        raise LoadError(f"of {result.requests:,} requests and their answers: {result.complaint()}")
    return (processor_ns(node.pid) - before_ns) / result.answered


def processor_ns(pid: int) -> int:
    """Processor time of a process in all its threads, as the scheduler counts it."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())


@contextmanager
def _reader(node: Node, arguments: tuple[str, ...], stop: signal.Signals | None) -> Iterator[None]:
    """A `lockstep tail` that reads the node and is then stopped by a signal, unless it goes on. Raises LoadError."""
    command = [sys.executable, "-m", "cli.main", "tail", str(node.directory), *arguments, "--json"]
    root = Path(__file__).parent.parent
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=complaints, cwd=root) as child,
    ):
        try:
            until_s = time.monotonic() + _ATTACHED_S
            while not _reads(child.pid, node):
                if child.poll() is not None:
                    complaints.seek(0)
                    last = (complaints.read().strip().splitlines() or ["it said nothing"])[-1]
                    raise LoadError(f"lockstep tail ended by itself: {last}")
                if time.monotonic() > until_s:
                    raise LoadError(f"lockstep tail did not read the node within {_ATTACHED_S:.0f} s")
                time.sleep(0.1)
            if stop is not None:
                child.send_signal(stop)
                if stop is signal.SIGKILL:
                    child.wait()
            yield
        finally:
            child.kill()


def _reads(pid: int, node: Node) -> bool:
    """True once a process is among the readers of the tape that the node itself counts. Raises LoadError."""
    assert node.link is not None, "a node of its own"
    try:
        return any(each["pid"] == pid for each in node.link.ask("workings")["workings"]["readers"])
    except (LinkError, RequestRefused) as error:
        raise LoadError(f"the node does not tell its readers: {error}") from None
