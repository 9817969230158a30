"""Arbiters for tests: a register in memory, a witness and an etcd in processes of their own, and a network between."""

import asyncio
import contextlib
import json
import secrets
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.ports import free_port
from replication.arbiter import Arbiter, ArbiterError
from replication.etcd import EtcdArbiter
from replication.etcd_gateway import Endpoint
from replication.memory import MemoryArbiter
from replication.register import Register
from replication.secret_file import read_secret
from replication.witness_arbiter import WitnessArbiter
from tests.running import COMMAND_LINE, ROOT

MS: Final = 1_000_000
#: Patience with an arbiter, and with what has to come about.
ANSWER_S: Final = 180.0
#: A lease that does not end in a test, however slow the machine is.
LONG_NS: Final = 60_000 * MS
NO_ETCD: Final = "etcd is not installed (Debian: etcd-server)"
HAS_ETCD: Final = shutil.which("etcd") is not None


def new_market() -> str:
    """Id of a market that no other test uses."""
    return secrets.token_hex(16)


class Court:
    """Source of drivers of one arbiter. ``short_ns``: the shortest lease that a test can wait for."""

    short_ns: int = 2_000 * MS
    #: Raised for values that the register refuses: a driver that is far away can only say that it was refused.
    refusal: type[Exception] = ValueError

    def driver(self, market: str, ttl_ns: int = LONG_NS) -> Arbiter:
        """A driver of its own connection."""
        raise NotImplementedError

    async def pass_time(self, _ns: int) -> None:
        """Let time pass, where it is virtual."""

    def stop(self) -> None:
        """End the arbiter."""


class MemoryCourt(Court):
    """Registers in memory under a virtual clock."""

    def __init__(self) -> None:
        self._registers: dict[str, Register] = {}
        self._now_ns = 0

    def driver(self, market: str, ttl_ns: int = LONG_NS) -> Arbiter:
        return MemoryArbiter(self._registers.setdefault(market, Register()), lambda: self._now_ns, ttl_ns)

    async def pass_time(self, ns: int) -> None:
        self._now_ns += ns


class WitnessCourt(Court):
    """A witness in a process of its own. ``program``: the command line, or ``tests.faulty_witness``."""

    def __init__(self, data: Path, *, program: Sequence[str] = COMMAND_LINE, port: int = 0) -> None:
        self.data = data
        self.port = port
        self._program = program
        self.short_ns, self.refusal = 1_000 * MS, ArbiterError
        self._log = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; it listens then."""
        line = ["witness", "--data", str(self.data), "--port", str(self.port), "--json"]
        with self._log.open("a") as log:
            words = [sys.executable, *self._program, *line]
            self.process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.logged()
        self.port = json.loads(said)["listening"]["port"]

    def logged(self) -> str:
        """Log of all its lives."""
        return self._log.read_text()

    def driver(self, market: str, ttl_ns: int = LONG_NS, *, port: int = 0, answer_s: float = ANSWER_S) -> Arbiter:
        secret = read_secret(self.data / "secret")
        return WitnessArbiter("127.0.0.1", port or self.port, market, secret, ttl_ns=ttl_ns, answer_s=answer_s)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    stop = kill


class _MemberEnded(Exception):
    """A member of a cluster has ended by itself, as when its port is in use."""


class EtcdCourt(Court):
    """A cluster of etcd in processes of its own, on loopback. ``tls``: certificate and key, for HTTPS."""

    def __init__(self, folder: Path, members: int = 1, *, tls: tuple[Path, Path] | None = None) -> None:
        self._folder, self._tls = folder, tls
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * members
        self._choose_ports()

    def _choose_ports(self) -> None:
        members = range(len(self._processes))
        self._peers = [free_port() for _ in members]
        self.endpoints = [Endpoint("127.0.0.1", free_port()) for _ in members]
        for number in members:
            shutil.rmtree(self._folder / f"m{number}", ignore_errors=True)

    def start(self, number: int) -> None:
        """Start a member."""
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.endpoints[number].port, self._peers[number]))
        certificate = {}
        if self._tls is not None:
            client = client.replace("http", "https")
            certificate = {"cert-file": str(self._tls[0]), "key-file": str(self._tls[1])}
        cluster = ",".join(f"m{each}=http://127.0.0.1:{port}" for each, port in enumerate(self._peers))
        options = {
            "name": f"m{number}",
            "data-dir": str(self._folder / f"m{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "logger": "zap",
            "log-level": "error",
            **certificate,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        with (self._folder / f"m{number}.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(["etcd", *words], stdout=log, stderr=log)

    def start_all(self) -> None:
        """Start every member, and wait until the cluster answers; again on other ports if somebody took one."""
        for _ in range(5):
            for number in range(len(self.endpoints)):
                self.start(number)
            with contextlib.suppress(_MemberEnded):
                asyncio.run(self.until_it_answers())
                return
            self.stop()
            self._choose_ports()
        raise AssertionError(f"etcd does not start: {(self._folder / 'm0.log').read_text()[-2_000:]}")

    async def until_it_answers(self) -> None:
        """Wait until the cluster answers a read. Raises _MemberEnded."""
        driver = self.driver(new_market())
        deadline_s = time.monotonic() + ANSWER_S
        while True:
            try:
                await driver.read()
            except ArbiterError:
                if any(each is not None and each.poll() is not None for each in self._processes):
                    raise _MemberEnded from None
                assert time.monotonic() < deadline_s, "etcd does not answer"
                await asyncio.sleep(0.05)
            else:
                return

    def process(self, number: int) -> "subprocess.Popen[bytes]":
        """Process of a member."""
        found = self._processes[number]
        assert found is not None
        return found

    def kill(self, number: int) -> None:
        """Kill a member, and wait for its end."""
        found, self._processes[number] = self._processes[number], None
        if found is not None:
            found.kill()
            found.wait()

    def driver(
        self,
        market: str,
        ttl_ns: int = LONG_NS,
        *,
        endpoints: Sequence[Endpoint] = (),
        answer_s: float = ANSWER_S,
    ) -> EtcdArbiter:
        tls = None if self._tls is None else ssl.create_default_context(cafile=self._tls[0])
        where = endpoints or self.endpoints
        return EtcdArbiter(where, market, ttl_s=ttl_ns // 10**9, tls=tls, answer_s=answer_s)

    def stop(self) -> None:
        for number in range(len(self.endpoints)):
            self.kill(number)


class Network:
    """A proxy for TCP on loopback. While ``answers_pass`` or ``requests_pass`` is not set, bytes wait there.

    It tells the arbiter of no end of a connection: etcd would drop the requests that came before. ``is_held``: bytes of
    requests that make it hold them and all that follow.
    """

    def __init__(self, to: Endpoint) -> None:
        self._to = to
        self.requests_pass, self.answers_pass = asyncio.Event(), asyncio.Event()
        self.requests_pass.set()
        self.answers_pass.set()
        self.is_held: Callable[[bytes], bool] = lambda _data: False
        #: Pieces of answers that came from the arbiter.
        self.answers = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._far: list[asyncio.StreamWriter] = []

    async def start(self) -> Endpoint:
        """Listen; its address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Endpoint("127.0.0.1", int(self._server.sockets[0].getsockname()[1]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._far.append(far_writer)
        for task in (self._pass(reader, far_writer, True), self._pass(far_reader, writer, False)):
            made = asyncio.get_running_loop().create_task(task)
            self._tasks.add(made)
            made.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, are_requests: bool) -> None:
        gate = self.requests_pass if are_requests else self.answers_pass
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if are_requests and self.is_held(data):
                    gate.clear()
                self.answers += not are_requests
                await gate.wait()
                writer.write(data)
                await writer.drain()
        if not are_requests:
            writer.close()

    async def stop(self) -> None:
        """End it, and all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._far:
            writer.transport.abort()


async def until(condition: Callable[[], Any], what: str = "it did not come about") -> None:
    """Wait until an asynchronous condition holds."""
    deadline_s = time.monotonic() + ANSWER_S
    while not await condition():
        assert time.monotonic() < deadline_s, what
        await asyncio.sleep(0.02)


def unused_endpoint() -> Endpoint:
    """An address on which nobody listens."""
    return Endpoint("127.0.0.1", free_port())
