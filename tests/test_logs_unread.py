"""A node whose output nobody reads: the market goes on, and the node ends when it is told to."""

import fcntl
import os
import signal
import socket
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests import nursery
from tests.ouch_messages import enter
from tests.running import SMALL_CAPACITY, Client, Running, kinds, until


class Unread(Running):
    """A node whose standard output and standard error are one pipe that is full and that nobody reads."""

    def spawn(self) -> None:
        self.read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4_096)
        os.write(write, b"x" * 4_096)
        line = ["serve", *SMALL_CAPACITY, *self._options, "--port", str(self.port)]
        self.process = nursery.spawn(line, stdout=write, stderr=write)
        os.close(write)

    def listens(self) -> bool:
        """True once clients can connect and the operator is let in."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 and (self.data / "operator.sock").exists()


@pytest.mark.slow
def test_junk_connections_do_not_stop_a_node_whose_log_nobody_reads(tmp_path: Path) -> None:
    node = Unread(tmp_path / "node", port=free_port())
    node.spawn()
    try:
        until(node.listens, 120, "it waits for a reader of its output")
        node.set_up()
        client = Client(node.port, "UA")
        for number in range(2_000):
            with socket.create_connection(("127.0.0.1", node.port), timeout=120) as junk:
                junk.sendall(b"\x00\x05Lxxxx" if number % 2 else b"GET / HTTP/1.1\r\n\r\n")
        client.socket.sendall(enter("a1", "B", 5, 90_000))
        assert kinds(client.take(2)) == ["SYSTEM_EVENT", "ACCEPTED"]
        assert node.status()["seq"] > 0
        assert node.end(signal.SIGTERM) == 0, "an end waits for a reader"
        with os.fdopen(node.read, "rb") as left:
            assert left.read() == b"x" * 4_096
    finally:
        node.stop()


@pytest.mark.slow
def test_a_node_that_cannot_start_ends_though_nobody_reads_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = Unread(tmp_path / "node", port=int(taken.getsockname()[1]))
        node.spawn()
        try:
            assert node.process is not None
            assert node.process.wait(120) != 0
            os.close(node.read)
        finally:
            node.stop()
