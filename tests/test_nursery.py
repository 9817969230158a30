"""A node that was forked from a process that waits is a process like one that was started from nothing."""

import contextlib
import os
import re
import signal
from pathlib import Path

from tests.running import Running, until


def open_files(node: Running) -> list[str]:
    """Kinds of a node's descriptors, sorted: their numbers differ between nodes, as threads open some of them."""
    assert node.process is not None
    targets = []
    for entry in Path(f"/proc/{node.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            target = re.sub(r":\[\d+\]", "", os.readlink(entry)).replace(str(node.data.parent), "")
            target = re.sub(r"\.(tape|lines)\.\d+\.new", r"\1", target)  # by process
            target = re.sub(r"/\d{20}\.logins$", "/logins", target)  # by the time of its first row
            targets.append(re.sub(r"^/proc/\d+/task/\d+", "/proc", target))
    return sorted(targets)


def test_a_forked_node_has_the_parent_the_files_and_the_end_of_any_other(tmp_path: Path) -> None:
    nodes = [Running(tmp_path / "forked" / "node"), Running(tmp_path / "from nothing" / "node", around=("env",))]
    try:
        for node in nodes:
            node.data.parent.mkdir()
            node.start()
            assert node.process is not None
            stat = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
            assert int(stat[1]) == os.getpid(), "the parent"
            assert node.process.poll() is None
        until(
            lambda: open_files(nodes[0]) == open_files(nodes[1]),
            what=lambda: f"the files differ: {open_files(nodes[0])} and {open_files(nodes[1])}",
        )
        for node in nodes:
            assert node.end(signal.SIGTERM) == 0, node.logged()
            node.spawn()
            assert node.end(signal.SIGKILL) == -signal.SIGKILL
    finally:
        for node in nodes:
            node.stop()


def test_a_forked_node_that_cannot_start_says_so_and_has_its_exit_status(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("a file")
    node = Running(tmp_path / "node")
    node.spawn()
    assert node.process is not None
    assert node.process.communicate(timeout=120)[0] == ""
    assert node.process.returncode == 2
    assert "is a file" in node.logged()
