"""How an operator finds a node: admin.json, and what is said where there is none, or no node behind it."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.admin import AdminError, AdminServer, check_loopback
from node.link import FILE, Answered, Link, LinkError, LinkLost, Place, read_place, write_place
from node.logs import Log
from node.operations import Operations
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
            assert os.listdir(tmp_path) == [FILE]
            tokens.add(place.token)
        assert os.listdir(tmp_path) == []
    assert len(tokens) == 2


def test_a_file_of_another_node_is_not_removed(tmp_path: Path) -> None:
    with Operated(tmp_path):
        write_place(tmp_path, Place("127.0.0.1", 1, "another", os.getpid()))
    assert read_place(tmp_path).token == "another"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "localhost", "192.0.2.1", "::", "example.com\x00"])
def test_an_address_that_others_can_reach_is_refused(host: str, tmp_path: Path) -> None:
    node, log = FakeNode(), Log()
    with pytest.raises(AdminError, match=r"which others can reach; give 127\.0\.0\.1 or ::1"):
        AdminServer(node, Operations(node, log), tmp_path, log, host=host)
    check_loopback("127.0.0.1", "a server")
    check_loopback("::1", "a server")


def test_a_node_that_is_not_there_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="is not there; check the path"):
        Link(tmp_path / "none")
    with pytest.raises(LinkError, match=r"no node runs on .*: there is no admin\.json in it; start one with"):
        Link(tmp_path)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    write_place(tmp_path, Place("127.0.0.1", 1, "old", int(ended.stdout)))
    with pytest.raises(LinkError, match=r"no node runs on .*: process \d+, which wrote admin\.json, has ended"):
        Link(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = int(taken.getsockname()[1])
    write_place(tmp_path, Place("127.0.0.1", closed, "old", os.getpid()))
    with pytest.raises(LinkError, match=r"lives, but takes no connection on port"):
        Link(tmp_path)
    for text in ("", "{", "[]", "{}", '{"port": "x", "token": "t", "pid": 1}', "\xff" * 5_000):
        (tmp_path / FILE).write_text(text, encoding="latin-1")
        with pytest.raises(LinkError, match="is damaged; restart the node"):
            Link(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_of_somebody_else_is_told_as_what_it_is(tmp_path: Path) -> None:
    write_place(tmp_path, Place("127.0.0.1", 1, "t", os.getpid()))
    (tmp_path / FILE).chmod(0)
    with pytest.raises(LinkError, match=r"may be read by user .* only"):
        Link(tmp_path)


def test_a_link_tells_a_refusal_from_a_node_that_goes_away(operated: Operated) -> None:
    write_place(operated.directory, read_place(operated.directory)._replace(token="wrong"))
    with pytest.raises(LinkError, match="lets nobody in: the token is not the one of this node"):
        Link(operated.directory)
    operated.run(operated.admin.close())
    with Operated(operated.directory) as again, Link(operated.directory) as link:
        with pytest.raises(Answered, match="there is no operation nothing"):
            link.ask("nothing")
        with pytest.raises(LinkError, match="at most 65,536 fit a line"):
            link.ask("commands", text="x" * 70_000)
        assert link.ask("books") == {"ok": True, "symbols": [], "total": 0}
        again.run(again.admin.close())
        with pytest.raises(LinkLost, match="went away; see its log"):
            link.ask("status")
