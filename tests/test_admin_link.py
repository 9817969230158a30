"""The operator's way to a node, and the sentence where there is no node."""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import LATER, sentence
from engine.records import RULES_VERSION
from journal import Journal
from journal.lock import WriterLock
from node.operator.admin import AdminError, AdminServer, check_loopback
from node.operator.link import (
    FILE,
    Link,
    LinkError,
    LinkLost,
    NodeStarts,
    Place,
    RequestRefused,
    read_place,
    write_place,
)
from node.operator.operations import Operations
from node.programs.logs import Log
from node.programs.operator_socket import NAME, BoundSocket
from tests.conftest import Lockstep
from tests.operated import FakeNode, Operated


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """A node that is operated."""
    with Operated(tmp_path) as running:
        yield running


def test_the_file_is_for_its_owner_only_and_new_at_each_start_and_goes_at_a_clean_end(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        with Operated(tmp_path) as running:
            place = read_place(tmp_path)
            assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
            assert (place.port, place.pid, len(place.token) > 30) == (running.admin.port, os.getpid(), True)
            assert (place.device, place.inode) == (tmp_path.stat().st_dev, tmp_path.stat().st_ino)
            assert sorted(os.listdir(tmp_path)) == [FILE, NAME]
            tokens.add(place.token)
        assert os.listdir(tmp_path) == []
    assert len(tokens) == 2


def test_a_file_of_another_node_is_not_removed(tmp_path: Path) -> None:
    with Operated(tmp_path):
        write_place(tmp_path, Place("127.0.0.1", 1, "another", os.getpid(), 1, 1))
    assert read_place(tmp_path).token == "another"


def test_without_a_port_there_is_no_token_and_one_that_a_killed_node_left_is_removed(tmp_path: Path) -> None:
    write_place(tmp_path, Place("127.0.0.1", 1, "old", os.getpid(), 1, 1))
    with Operated(tmp_path, tcp=False) as running:
        assert running.admin.port is None
        assert os.listdir(tmp_path) == [NAME]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_socket_is_for_its_owner_only_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        bound = BoundSocket(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) & 0o177 == 0
    assert umask == 0o777 or stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    bound.close()
    bound.close()
    assert os.listdir(tmp_path) == []


def test_a_path_longer_than_a_socket_s_address_is_bound_and_connected(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(f"a-directory-with-a-long-name-{number}" for number in range(8)))
    deep.mkdir(parents=True)
    assert len(str(deep / NAME)) > 200
    with Operated(deep), Link(deep) as link:
        assert link.ask("books")["ok"] is True


def test_what_a_dead_node_left_in_the_socket_s_place_is_replaced(tmp_path: Path) -> None:
    dead = BoundSocket(tmp_path)
    dead.socket.close()
    with pytest.raises(
        LinkError,
        match=r"operator\.sock, which an ended node has left, or this directory is a copy of one in use; start one",
    ):
        Link(tmp_path)
    with Operated(tmp_path), Link(tmp_path) as link:
        assert link.ask("books")["ok"] is True
        dead.close()  # its file is gone already, and the living node's stays
        assert (tmp_path / NAME).exists()


@pytest.mark.parametrize("how", ["linked", "moved", "a symbolic link"])
def test_a_copied_directory_does_not_command_the_original_node(how: str, tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    with Operated(original) as running:
        if how == "linked":
            os.link(original / NAME, copy / NAME)
        elif how == "moved":
            (original / NAME).rename(copy / NAME)
        else:
            (copy / NAME).symlink_to(original / NAME)
        shutil.copy(original / FILE, copy / FILE)
        expected = "no node runs on" if how == "a symbolic link" else "serves another directory"
        with pytest.raises(LinkError, match=expected):
            Link(copy)
        assert not running.node.rows
        if how == "moved":
            (copy / NAME).rename(original / NAME)
    assert list(copy.iterdir())


def test_a_directory_that_was_renamed_is_still_the_one_that_the_node_serves(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    with Operated(tmp_path / "before"):
        (tmp_path / "before").rename(tmp_path / "after")
        with Link(tmp_path / "after") as link:
            assert link.ask("books")["ok"] is True
        (tmp_path / "before").mkdir()
        with pytest.raises(LinkError, match="no node runs on"):
            Link(tmp_path / "before")
    assert NAME not in os.listdir(tmp_path / "after")


@pytest.mark.parametrize("host", ["0.0.0.0", "", "localhost", "192.0.2.1", "::", "example.com\x00"])
def test_an_address_that_others_can_reach_is_refused(host: str, tmp_path: Path) -> None:
    node, log = FakeNode(), Log()
    with pytest.raises(AdminError, match=r"which others can reach; give 127\.0\.0\.1 or ::1"):
        AdminServer(node, Operations(node, log), tmp_path, log, host=host)
    check_loopback("127.0.0.1", "a server")
    check_loopback("::1", "a server")


def test_a_node_that_is_not_there_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="does not exist; check the path"):
        Link(tmp_path / "none")
    with pytest.raises(LinkError, match=r"no node runs on .*: there is no operator\.sock in it; start one with"):
        Link(tmp_path)
    (tmp_path / NAME).write_text("no socket")
    with pytest.raises(LinkError, match=r"no node runs on .*: nothing listens on its operator\.sock"):
        Link(tmp_path)
    with pytest.raises(LinkError, match="is not a directory; check the path"):
        Link(tmp_path / NAME)


@pytest.mark.parametrize("left", [False, True], ids=["no socket", "a socket that a dead node left"])
def test_a_node_that_starts_is_not_told_as_one_that_does_not_run(left: bool, tmp_path: Path) -> None:
    with Journal.create(tmp_path, {"rules_version": RULES_VERSION}):
        pass
    if left:
        BoundSocket(tmp_path).socket.close()
    lock = WriterLock(tmp_path)
    with pytest.raises(NodeStarts, match=rf"^process {os.getpid()} has .* a node that starts or ends") as caught:
        Link(tmp_path)
    assert "lockstep serve" not in str(caught.value)
    assert sentence(caught.value)[1] == LATER
    lock.release()
    with pytest.raises(LinkError, match=r"no node runs on .*start one with `lockstep serve"):
        Link(tmp_path)


def test_a_node_without_a_journal_yet_is_told_as_one_that_starts(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path)
    with pytest.raises(NodeStarts, match=rf"^process {os.getpid()} has .*, which has no journal yet: .* waits for its"):
        Link(tmp_path)
    lock.release()
    with pytest.raises(LinkError, match=r"no node runs on .*start one with `lockstep serve"):
        Link(tmp_path)


def test_the_directory_of_a_witness_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 32}.register").touch()
    with pytest.raises(LinkError, match="is of a witness, which takes no requests; name the directory of a node"):
        Link(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_is_refused_whatever_the_modes_say(operated: Operated) -> None:
    def tried() -> str:
        """Answer to another user, in a process of its own."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(65_534, 65_534, 65_534)
                Link(operated.directory)
            except BaseException as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as said:
            return said.read()

    for each in (operated.directory, *operated.directory.parents[:-2]):
        each.chmod(0o755)
    assert "is for user 0 only, who runs the node; run this command as that user, or with sudo" in tried()
    (operated.directory / NAME).chmod(0o666)
    assert "refused the connection: user 0 runs this node, not user 65534" in tried()


def test_a_node_that_does_not_answer_may_have_done_a_command_and_a_question_does_nothing(operated: Operated) -> None:
    with Link(operated.directory) as link:
        near, far = socket.socketpair()
        link._socket.close()
        link._socket = near
        near.settimeout(0.1)
        with far:
            with pytest.raises(LinkLost, match="does not answer: its process is stopped, or hangs; see its log"):
                link.ask("status")
            with pytest.raises(LinkLost, match="does not answer: a command may still be done; see its log"):
                link.ask("commands", text="phase XYZ closed")


def test_a_link_tells_a_refusal_from_a_node_that_goes_away(operated: Operated) -> None:
    operated.run(operated.admin.close())
    with Operated(operated.directory) as again, Link(operated.directory) as link:
        with pytest.raises(RequestRefused, match="there is no operation nothing"):
            link.ask("nothing")
        with pytest.raises(LinkError, match="a line has at most 65,536"):
            link.ask("commands", text="x" * 70_000)
        assert link.ask("books") == {"ok": True, "symbols": [], "total": 0}
        again.run(again.admin.close())
        with pytest.raises(LinkLost, match="closed the connection; see its log"):
            link.ask("status")


def test_a_node_whose_process_is_stopped_is_told_with_a_status_to_try_later_since_nothing_was_sent(
    operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.operator.link.CONNECT_S", 0.2)
    operated.run(operated.admin.close())
    held = socket.socket(socket.AF_UNIX)
    (operated.directory / NAME).unlink(missing_ok=True)
    held.bind(str(operated.directory / NAME))
    held.listen()
    with held:
        for line in (["admin", "halt", operated.directory, "XYZ"], ["top", operated.directory, "--once"]):
            status, _, said = lockstep(*line)
            assert (status, "does not answer: its process is stopped, or hangs; nothing was sent" in said) == (75, True)
