"""Only its owner may use what is below a data directory, and no stranger can hold its lock."""

import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ports import free_port
from checkpoints import CheckpointStore
from cli.errors import LATER, sentence
from directory.recover import checkpoint
from engine.records import COMMAND
from gateway.ouch.outbox import OuchOutbox
from journal import Journal, JournalBusy, JournalError
from journal.lock import LOCK_NAME, WriterLock, writer_pid
from journal.slices import make_private
from tests.nodes import write_node
from tests.running import ROOT, SMALL, SMALL_CAPACITY, Running, until


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, str]:
    """Octal modes of the directory and all below it, as far as others than the owner have any."""
    found = {}
    for path in (directory, *directory.rglob("*")):
        with suppress(FileNotFoundError):  # a file of a running node got another name meanwhile
            found[str(path)] = stat.S_IMODE(path.lstat().st_mode)
    return {path: oct(mode) for path, mode in found.items() if mode & 0o077}


@pytest.mark.slow
def test_a_run_leaves_nothing_that_others_can_read_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "day.txt").write_text("instrument XYZ tick=0.01 lot=1 reference=10\nparticipant A\n")
    node = tmp_path / "deep" / "node"
    words = ["run", str(tmp_path / "day.txt"), "--data", str(node), "--checkpoint-every", "1"]
    done = subprocess.run([sys.executable, "-m", "cli.main", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in node.rglob("*")}
    assert {"data.mdb", "lock.mdb", "genesis", "tail", "lock", "checkpoints"} <= names
    assert any(name.endswith(".checkpoint") for name in names)
    assert modes(node) == {}
    with Journal.open(node, readonly=True):
        assert modes(node) == {}


@pytest.mark.slow
def test_a_node_leaves_nothing_that_others_can_read_whatever_the_umask(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "cli.main", "serve", "--data", str(tmp_path / "node"), "--port", "0", "--json"]
    with subprocess.Popen(
        [*line, "--admin-port", "0", *SMALL, *SMALL_CAPACITY], cwd=ROOT, stdout=subprocess.PIPE
    ) as node:
        assert node.stdout is not None
        assert json.loads(node.stdout.readline())["listening"]["pid"] == node.pid
        names = {path.name for path in (tmp_path / "node").rglob("*")}
        assert {"operator.sock", "admin.json", "streams", "data.mdb"} <= names
        assert modes(tmp_path / "node") == {}
        node.terminate()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("option", "folder"), [("--gateway", "gateways"), ("--feed", "feeds")])
def test_folders_of_the_processes_of_a_node_are_private_and_so_are_those_above_them(
    tmp_path: Path, option: str, folder: str
) -> None:
    """`lockstep doctor` had a note on DIR/gateways, which the node itself had made."""
    value = "ouch:0" if option == "--gateway" else f"itch:239.255.0.1:{free_port()}"
    node = Running(tmp_path / "node", option, value)
    node.start()
    try:
        found = tmp_path / "node" / folder
        until(lambda: found.is_dir() and any(path.is_dir() for path in found.iterdir()))
        assert modes(tmp_path / "node") == {}
    finally:
        node.stop()


def test_a_folder_is_private_with_all_that_are_missing_above_it(tmp_path: Path) -> None:
    make_private(tmp_path / "gateways" / "ouch" / "days")
    tmp_path.chmod(0o700)
    assert modes(tmp_path) == {}
    make_private(tmp_path / "gateways" / "ouch" / "days")


def test_small_files_of_a_node_are_private_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    OuchOutbox.open_spool(tmp_path, "20240115", bytes(16)).close()
    write_node(tmp_path / "node", np.zeros(8, COMMAND), size=8)
    _, path = checkpoint(tmp_path / "node")
    assert path is not None
    CheckpointStore(tmp_path / "node").mark_invalid(path, "a test")
    assert any(path.suffix == ".why" for path in tmp_path.rglob("*"))
    assert modes(tmp_path) == {}


# The writer's lock.


def test_a_lock_that_is_a_symbolic_link_is_refused_and_what_it_points_to_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(JournalError, match="lock is a symbolic link, which a lock must not be; remove it"):
        WriterLock(tmp_path)
    assert (tmp_path / "precious").read_text() == "content"
    assert writer_pid(tmp_path) is None
    (tmp_path / LOCK_NAME).unlink()
    os.mkfifo(tmp_path / LOCK_NAME)
    with pytest.raises(JournalError, match="lock is no file; remove it"):
        WriterLock(tmp_path)


def test_a_lock_of_an_earlier_release_is_taken_from_others(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch(mode=0o644)
    WriterLock(tmp_path).release()
    assert stat.S_IMODE((tmp_path / LOCK_NAME).stat().st_mode) == 0o600


def test_a_stranger_s_shared_lock_is_named_and_not_taken_for_a_writer(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(flush=True); input()"
    line = [sys.executable, "-c", script, str(tmp_path / LOCK_NAME)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        with pytest.raises(JournalBusy, match=rf"held by process {stranger.pid} with a shared lock") as found:
            WriterLock(tmp_path)
        assert sentence(found.value)[1] == LATER
        stranger.communicate(b"\n")
    lock = WriterLock(tmp_path)
    assert writer_pid(tmp_path) == str(os.getpid())
    with (tmp_path / LOCK_NAME).open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    lock.release()


def test_a_lock_that_belongs_to_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCK_NAME).touch(mode=0o666)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(JournalError, match=rf"belongs to user {os.getuid()}, who could hold it; run this as that user"):
        WriterLock(tmp_path)


def test_doctor_says_which_files_of_an_earlier_release_others_may_use(tmp_path: Path) -> None:
    from cli.upkeep.doctor import _modes

    tmp_path.chmod(0o700)
    assert _modes(tmp_path).what == "for the owner only"
    (tmp_path / "journal").mkdir(mode=0o755)
    found = _modes(tmp_path)
    assert (found.grade.value, found.then) == ("note", f"run `chmod -R go= {tmp_path}`")
    assert found.what == f"others may use 1 file or folder, the first is {tmp_path / 'journal'}"
