"""A pair of nodes of its own, with its arbiter, for measurements: child processes in a temporary directory."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.ports import free_port
from benchmarks.wire_node import set_up
from load.lines import LoadError, User
from node.operator.link import Link, LinkError, RequestRefused

ROOT: Final = Path(__file__).parent.parent
#: Module that is run as lockstep.
ENTRY = "cli.main"
_START_S: Final = 180.0
_END_S: Final = 20.0


class Child:
    """A process of lockstep that says where it listens. Raises LoadError if it does not."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        with log.open("ab") as complaints:
            self.process = subprocess.Popen(
                [sys.executable, "-m", ENTRY, *words, "--json"],
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                cwd=ROOT,
            )
        self.log = log
        self.listening: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Process."""
        return self.process.pid

    def wait_until_listening(self) -> "Child":
        """Wait for the line with the address."""
        until_s = time.monotonic() + _START_S
        out = self.process.stdout
        while not self.listening:
            if time.monotonic() > until_s or self.process.poll() is not None or out is None:
                raise LoadError(f"a node did not start; see {self.log}: {self.log.read_text()[-300:]}")
            if select.select([out], [], [], 0.2)[0] and (line := out.readline()):
                self.listening = dict(json.loads(line).get("listening", {}))
        return self

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Member:
    """One node of the pair: its directory, ports, and process while it runs."""

    def __init__(self, name: str, folder: Path, arbiter: str, secret: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self.directory = folder / name.lower()
        self.log = folder / f"{name.lower()}.log"
        self.port, self.link_port = free_port(), free_port()
        self.peer: Member | None = None
        self._arguments = ["--arbiter", arbiter, "--secret-file", str(secret), "--node", name, *arguments]
        self.child: Child | None = None

    def start(self) -> None:
        """Start it; ``wait`` waits."""
        words = ["serve", "--data", str(self.directory), "--port", str(self.port)]
        words += ["--link", f"127.0.0.1:{self.link_port}", "--default-order-rate", "off", "--default-share", "off"]
        if self.peer is not None:
            words += ["--peer", f"127.0.0.1:{self.peer.link_port}"]
        self.child = Child([*words, *self._arguments], self.log)

    def wait(self) -> None:
        """Wait until it listens."""
        if self.child is not None:
            self.child.wait_until_listening()

    def pair(self) -> dict[str, Any]:
        """Its report of the pair; empty while it does not answer."""
        with suppress(LinkError, RequestRefused, OSError), Link(self.directory) as link:
            return dict(link.ask("pair")["pair"])
        return {}

    def ask(self, what: str) -> dict[str, Any]:
        """Answer of the operator's door."""
        with Link(self.directory) as link:
            return dict(link.ask(what))

    def watch_pids(self) -> list[int]:
        """Processes of the watch beside it."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and self.child is not None:
                with suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    if b"replication.death_watch" in words and parent == self.child.pid:
                        found.append(int(entry.name))
        return found


class PairOfNodes:
    """Two nodes and their arbiter. ``users``: defined on them, a participant each."""

    def __init__(self, folder: Path, arbiter: Sequence[str], arguments: Sequence[str]) -> None:
        address, secret = arbiter
        self.a = Member("A", folder, address, Path(secret), arguments)
        self.b = Member("B", folder, address, Path(secret), arguments)
        self.b.peer = self.a
        self.users: list[User] = []

    def begin(self, users: int, symbols: int) -> None:
        """Set the market up on one node; the other one fetches it into an empty directory."""
        self.a.start()
        self.a.wait()
        self.until(lambda: self.a.pair().get("role") == "primary", "node A did not become primary")
        with Link(self.a.directory) as link:
            self.users = set_up(link, users, symbols)
        self.b.start()
        self.b.wait()
        self.in_sync()

    def primary(self) -> Member | None:
        """The node that reigns, if one does."""
        return next((each for each in (self.a, self.b) if each.pair().get("state") == "reigning"), None)

    def in_sync(self) -> tuple[Member, Member]:
        """Primary and standby, once the standby can take over. Raises LoadError."""
        found: list[Member] = []

        def ready() -> bool:
            first = self.primary()
            if first is None or len(first.pair().get("in_sync", ())) < 2:
                return False
            other = self.b if first is self.a else self.a
            if not other.pair().get("can_take_over"):
                return False
            found[:] = [first, other]
            return True

        self.until(ready, "the standby did not come in sync")
        return found[0], found[1]

    def until(self, true: Any, why: str, within_s: float = 60.0) -> None:
        """Wait until something holds. Raises LoadError."""
        until_s = time.monotonic() + within_s
        while not true():
            if time.monotonic() > until_s:
                raise LoadError(f"{why} within {within_s:.0f} s; see the logs: {self.a.log}, {self.b.log}")
            time.sleep(0.01)

    def end(self) -> None:
        """End both."""
        for member in (self.a, self.b):
            if member.child is not None:
                member.child.end()


@contextmanager
def witness(folder: Path) -> Iterator[tuple[str, str]]:
    """A witness: its address for --arbiter, and the file of its secret."""
    child = Child(["witness", "--data", str(folder / "witness"), "--port", "0"], folder / "witness.log")
    try:
        child.wait_until_listening()
        yield f"witness://127.0.0.1:{child.listening['port']}", str(folder / "witness" / "secret")
    finally:
        child.end()


@contextmanager
def etcd(folder: Path) -> Iterator[tuple[str, str]]:
    """An etcd server: its address, and a secret of the pair. Raises LoadError where etcd is not installed."""
    program = shutil.which("etcd")
    if program is None:
        raise LoadError("there is no etcd on this machine; install etcd-server")
    clients, peers = free_port(), free_port()
    url, peer_url = f"http://127.0.0.1:{clients}", f"http://127.0.0.1:{peers}"
    words = [program, "--data-dir", str(folder / "etcd"), "--listen-client-urls", url, "--advertise-client-urls", url]
    words += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    words += ["--initial-cluster", f"default={peer_url}"]
    secret = folder / "secret"
    secret.write_bytes(os.urandom(24).hex().encode())
    secret.chmod(0o600)
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until_s = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", clients), 1):
                break
            if time.monotonic() > until_s:
                raise LoadError("etcd did not start")
            time.sleep(0.05)
        yield f"etcd://127.0.0.1:{clients}", str(secret)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_pair(
    users: int = 1, symbols: int = 1, arguments: Sequence[str] = (), *, with_etcd: bool = False
) -> Iterator[PairOfNodes]:
    """A primary and a standby in sync, with users and instruments in continuous trading. Raises LoadError."""
    with tempfile.TemporaryDirectory(prefix="lockstep-pair-") as name:
        folder = Path(name)
        with (etcd if with_etcd else witness)(folder) as arbiter:
            pair = PairOfNodes(folder, arbiter, arguments)
            try:
                pair.begin(users, symbols)
                yield pair
            finally:
                pair.end()
