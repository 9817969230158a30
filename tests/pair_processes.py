"""A witness, and nodes of a market around it, each in a process of its own: for tests of a pair over loopback."""

import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.ports import free_port
from engine.capacity import Capacity
from node.core.opening import open_directory
from node.operator.link import Link, LinkError, RequestRefused
from replication.secret_file import create_secret
from tests import nursery
from tests.running import Running, until

CAPACITY = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=8, participants_max=16)
#: Patience with a takeover, on a machine that does much else.
WITHIN_S = 180.0


class Witness:
    """A witness of its own. ``port``: kept over a restart."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "witness"
        self.port = free_port()
        self.log = folder / "witness.log"
        self.process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"witness://127.0.0.1:{self.port}"

    @property
    def secret(self) -> Path:
        return self.data / "secret"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = nursery.spawn(
                ["witness", "--data", self.data, "--port", self.port, "--json"], stderr=log.fileno()
            )
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["listening"]["port"] == self.port

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(120)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None


class Etcd:
    """An etcd of its own as the arbiter, in place of a witness. ``port``: kept over a restart, as is its data."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "etcd"
        self.secret = folder / "secret"
        self.port, self._peer_port = free_port(), free_port()
        self._log = folder / "etcd.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"etcd://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it answers then."""
        create_secret(self.secret)
        here, peer = (f"http://127.0.0.1:{port}" for port in (self.port, self._peer_port))
        words = ["--data-dir", str(self.data), "--listen-client-urls", here, "--advertise-client-urls", here]
        words += ["--name", "m", "--initial-cluster", f"m={peer}", "--initial-advertise-peer-urls", peer]
        words += ["--listen-peer-urls", peer, "--logger", "zap", "--log-level", "error"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(["etcd", *words], stdout=log, stderr=log)
        until(self._answers, WITHIN_S, "etcd does not answer")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()[-2_000:]
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
            return b"true" in answer.read()
        return False

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(120)
            self.process = None


class Member(Running):
    """A node of the market. ``link_port``: where copies connect."""

    def __init__(self, name: str, folder: Path, witness: Witness, *options: str, secret: Path | None = None) -> None:
        self.name = name
        self.link_port = free_port()
        self.metrics_port = free_port()
        words = ["--arbiter", witness.address, "--secret-file", str(secret or witness.secret), "--node", name]
        words += ["--link", f"127.0.0.1:{self.link_port}", "--metrics-port", str(self.metrics_port), *options]
        super().__init__(folder / name.lower(), *words, port=free_port())

    def pair(self) -> dict[str, Any]:
        """Its report of the pair; empty while it does not answer."""
        with suppress(LinkError, RequestRefused, OSError), Link(self.data) as link:
            return dict(link.ask("pair")["pair"])
        return {}

    def is_(self, **values: object) -> bool:
        """True if its report has these values."""
        report = self.pair()
        return bool(report) and all(report[key] == value for key, value in values.items())

    def awaits(self, **values: object) -> None:
        """Wait until its report has these values."""
        until(
            lambda: self.is_(**values),
            WITHIN_S,
            lambda: f"{self.name} has not {values}: {self.pair()}\n{self.logged()}",
        )

    def submit(self, text: str) -> dict[str, Any]:
        """Answer to commands of the operator."""
        with Link(self.data) as link:
            return dict(link.ask("commands", text=text))


class Nodes:
    """Nodes of one market, by name, with their witness. Each directory begins as a copy of one new journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.witness = Witness(folder)
        self.members: dict[str, Member] = {}
        with open_directory(folder / "new", CAPACITY, "fsync").journal:
            pass

    def add(self, name: str, *options: str, peer: "Member | None" = None, secret: Path | None = None) -> Member:
        """A node that is not started yet."""
        words: Sequence[str] = options if peer is None else (*options, "--peer", f"127.0.0.1:{peer.link_port}")
        member = Member(name, self.folder, self.witness, *words, secret=secret)
        if not member.data.exists():
            shutil.copytree(self.folder / "new", member.data)
        self.members[name] = member
        return member

    def stop(self) -> None:
        for member in self.members.values():
            member.stop()
        self.witness.stop()


@contextmanager
def nodes(folder: Path) -> Iterator[Nodes]:
    """A witness that runs, and no node yet."""
    found = Nodes(folder)
    try:
        found.witness.start()
        yield found
    finally:
        found.stop()


#: Options of a pair for tests of other subjects: on a busy machine a lease of 0.6 s ends, and the other node takes over
#: unasked.
PATIENT = ("--lease-ms", "20000", "--standby-timeout-ms", "20000")


@contextmanager
def pair(folder: Path, *options: str, follower: bool = False) -> Iterator[tuple[Nodes, Member, Member]]:
    """Primary A and its copy B, which is in sync, or a follower that is up to date, with the market of ``SET_UP``."""
    with nodes(folder) as found:
        a = found.add("A", *options)
        a.start()
        a.awaits(role="primary", state="reigning")
        b = found.add("B", *options, *(["--follower"] if follower else []), peer=a)
        b.start()
        a.set_up()
        seq = a.pair()["seq"]
        if follower:
            b.awaits(state="following", seq=seq, lag_commands=0)
        else:
            b.awaits(state="following", seq=seq, can_take_over=1)
        yield found, a, b
