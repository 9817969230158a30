"""Gateway processes beside a running node, for tests."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.server import Gateway
from tests import nursery
from tests.running import Running


def read_at_once(gateway: Gateway) -> Gateway:
    """Have a gateway read all that comes before a login at once: a test without pauses gives the loop no turns."""
    gateway.on_strange_bytes = lambda connection: connection.ask()  # type: ignore[method-assign]
    return gateway


class RunningGateway:
    """`lockstep gateway` beside a node."""

    def __init__(self, node: Running, name: str = "one", *options: str, port: int = 0, faults: str = "") -> None:
        self.node, self.name, self.port = node, name, port
        self._options, self._faults = options, faults
        self.log = Path(f"{node.log}.{name}")
        self.process: subprocess.Popen[str] | None = None

    def spawn(self) -> None:
        """Begin a process, and do not wait until it listens."""
        line = ["gateway", str(self.node.data), "--name", self.name, "--json", *self._options, "--port", str(self.port)]
        with self.log.open("a", encoding="utf-8") as log:
            self.process = nursery.spawn(line, stderr=log.fileno(), faults=self._faults)

    def start(self) -> "RunningGateway":
        """Begin a process; it listens then, and on the same port in each of its lives."""
        self.spawn()
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            said = self.process.stdout.readline()
            assert said, self.logged()
            self.port = json.loads(said)["listening"]["port"]
        except BaseException:
            self.stop()
            raise
        return self

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; its exit status."""
        assert self.process is not None
        status = self.process.wait(120)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return status

    def end(self, number: int) -> int:
        """Send it a signal and wait for its end; its exit status."""
        self.send(number)
        return self.wait()

    def stop(self) -> None:
        """At the end of a test: nothing of it is left."""
        if self.process is not None:
            self.send(signal.SIGCONT)
            self.end(signal.SIGKILL)

    def logged(self) -> str:
        """The log of all its lives."""
        return self.log.read_text(encoding="utf-8")


@contextmanager
def gateway(node: Running, name: str = "one", *options: str, faults: str = "") -> Iterator[RunningGateway]:
    """A gateway process that listens."""
    made = RunningGateway(node, name, *options, faults=faults)
    try:
        yield made.start()
        ended = None if made.process is None else made.process.poll()
        assert ended is None, f"it ended by itself with status {ended}: {made.logged()}"
    finally:
        made.stop()
