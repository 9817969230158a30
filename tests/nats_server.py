"""A NATS server of its own for a test, and a path through it that loses, doubles and holds back messages."""

import asyncio
import contextlib
import random
import signal
import socket
import subprocess
import threading
from pathlib import Path

from benchmarks.ports import free_port
from client.errors import CannotConnect, ConnectionLost
from client.nats_line import NatsLine
from client.publication import KINDS, subject
from tests.running import until


class NatsServer:
    """Debian's nats-server on loopback. ``port``: kept over a restart; it keeps nothing else."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._log = folder / "nats.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'tls' if '--tls' in self._options else 'nats'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it listens then."""
        with self._log.open("ab") as log:
            words = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), *self._options]
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        until(self._listens, what=self._log.read_text)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connected:
            return connected.recv(4) == b"INFO"
        return False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it at once, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None


class BadPath:
    """Subscriber in the middle: what is published for one venue it publishes for another, spoilt by a share each."""

    def __init__(self, server: NatsServer, venue: str, to_venue: str, seed: int, share: float) -> None:
        self._server, self._venue, self._to_venue = server, venue, to_venue
        self._chance, self._share = random.Random(seed), share
        self.lost = self.doubled = self.held = 0
        self._ends = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(60)

    async def _run(self) -> None:
        while not self._ends:
            with contextlib.suppress(CannotConnect, ConnectionLost):
                line = await NatsLine.connect(self._server.url, name="in the middle")
                try:
                    for kind in KINDS:
                        await self._pass_on(line, kind)
                    self._ready.set()
                    while line.is_open and not self._ends:
                        await asyncio.sleep(0.05)
                finally:
                    await line.close()
            await asyncio.sleep(0.05)

    async def _pass_on(self, line: NatsLine, kind: str) -> None:
        held: list[tuple[dict[str, str], bytes]] = []

        async def on_message(headers: dict[str, str], payload: bytes) -> None:
            drawn, came = self._chance.random(), [(headers, payload)]
            if drawn < self._share:
                self.lost, came = self.lost + 1, []
            elif drawn < 2 * self._share:
                self.doubled, came = self.doubled + 1, came * 2
            elif drawn < 3 * self._share:
                self.held += 1
                held.append(came.pop())
            if held and self._chance.random() < 0.5:
                came.append(held.pop(0))
            for each in came:
                with contextlib.suppress(ConnectionLost):
                    await line.publish(subject(self._to_venue, kind), *each)

        await line.subscribe(subject(self._venue, kind), on_message)

    def stop(self) -> None:
        """End it."""
        self._ends = True
        self._thread.join()
