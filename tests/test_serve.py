"""`lockstep serve` where no node can run: one sentence, its exit status, nothing changed."""

import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.operator.link import LinkError
from tests import nursery
from tests.running import ROOT, SMALL_CAPACITY, Running, started, until


def served(*arguments: object) -> tuple[int, str]:
    """Exit status and the last line of standard error."""
    done = nursery.run(["serve", "--orders-max", "16", "--ids-max", "16", *arguments])
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    node = Running(tmp_path / "node")
    node.start()
    try:
        assert node.process is not None
        status, said = served("--data", node.data, "--port", 0, *SMALL_CAPACITY)
        assert (status, f"process {node.process.pid}" in said) == (75, True)
        # With the same port too, as by a line that is given again: nobody is told to end what listens there.
        status, again = served("--data", node.data, "--port", node.port, *SMALL_CAPACITY)
        assert (status, again) == (75, said)
        assert node.status()["seq"] == 0
    finally:
        node.end(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("nohup", [False, True])
def test_a_node_whose_terminal_is_closed_ends_in_order_unless_nohup_keeps_it(nohup: bool, tmp_path: Path) -> None:
    data = tmp_path / "node"
    line = [sys.executable, "-m", "cli.main", "serve", "--data", str(data), "--port", "0", *map(str, SMALL_CAPACITY)]
    pid, terminal = pty.fork()
    if not pid:
        if nohup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execve(sys.executable, line, {**os.environ, "PYTHONPATH": str(ROOT)})
    said = b""
    while b"end it with Ctrl-C" not in said:
        said += os.read(terminal, 65_536)
    os.close(terminal)
    if nohup:
        until(
            lambda: subprocess.run([*line[:3], "status", str(data)], capture_output=True, check=False).returncode == 0
        )
        os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not (data / "operator.sock").exists()


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--port", "--admin-port", "--metrics-port"):
            status, said = served("--data", tmp_path / "node", "--port", 0, option, port)
            assert (status, f"{port}" in said, "in use" in said) == (75, True, True), said
    assert not (tmp_path / "node").exists(), "the directory is opened once the ports are free"
    status, said = served("--data", tmp_path / "node", "--port", 9_222, "--gateway", "a=ouch:9222")
    assert (status, "port 9222 is given twice" in said, (tmp_path / "node").exists()) == (2, True, False), said


@pytest.mark.slow
def test_a_path_that_is_no_data_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert served("--data", tmp_path / "file")[0] == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    status, said = served("--data", tmp_path / "full")
    assert (status, "is not empty and has no journal" in said) == (2, True)
    status, said = served("--data", tmp_path / "none" / "deep", "--host", "256.1.1.1", "--port", 0)
    assert status == 2, said


@pytest.mark.slow
def test_what_a_kill_left_of_a_directory_that_was_being_made_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "lock").touch()
    node = Running(tmp_path / "node")
    node.start()
    assert node.end(signal.SIGTERM) == 0
    assert os.listdir(tmp_path / "node" / "journal")


def test_a_node_that_a_test_could_not_start_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawned: list[subprocess.Popen[str]] = []
    spawn = Running.spawn

    def noted(running: Running) -> None:
        spawn(running)
        assert running.process is not None
        spawned.append(running.process)

    monkeypatch.setattr(Running, "spawn", noted)
    (tmp_path / "silly.py").write_text("import time\nprint('no JSON', flush=True)\ntime.sleep(600)\n")
    with pytest.raises(ValueError, match="Expecting value"):
        Running(tmp_path / "node", program=(str(tmp_path / "silly.py"),)).start()
    (tmp_path / "deaf.py").write_text(
        'import time\nprint(\'{"listening": {"port": 1}}\', flush=True)\ntime.sleep(600)\n'
    )
    monkeypatch.setattr("tests.running.DEFAULT_PROGRAM", (str(tmp_path / "deaf.py"),))
    with pytest.raises(LinkError):
        started(tmp_path)
    assert [process.returncode for process in spawned] == [-signal.SIGKILL] * 2
