"""Process beside a primary that serves its history, so that a copy far behind costs the market nothing."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from replication.history_server import command


class HistoryProcess:
    """The process, from its start to ``close``. ``on_port``: called with its port once it listens, with 0 if it ends.

    It serves on ``host``, any port. Make it on a running event loop. Raises OSError.
    """

    def __init__(
        self,
        directory: Path,
        secret: bytes,
        host: str,
        name: str,
        *,
        on_port: Callable[[int], None],
        warn: Callable[..., None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_port, self._warn = on_port, warn
        self._process = subprocess.Popen(
            command(directory, 0, host=host, name=name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )
        if self._process.stdin is not None:
            self._process.stdin.write(f"{secret.hex()}\n".encode())
            self._process.stdin.flush()
        self._said = b""
        self._out = self._process.stdout.fileno() if self._process.stdout is not None else -1
        self._loop.add_reader(self._out, self._read)

    def _read(self) -> None:
        data = os.read(self._out, 4_096)
        if not data:
            self._loop.remove_reader(self._out)
            self._on_port(0)
            self._warn(
                "the history is not served", then="a copy that is far behind has to wait; see the log of the node"
            )
            return
        self._said += data
        word, _, port = self._said.partition(b"\n")[0].partition(b" ")
        if b"\n" in self._said and word == b"ready" and port.isdigit():
            self._on_port(int(port))

    def close(self) -> None:
        """End the process. May be repeated."""
        self._loop.remove_reader(self._out)
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
