"""Process beside a primary that serves its history, so that a copy far behind costs the market nothing."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from replication.history_server import command

#: Wait before a process that ended by itself is started again, in seconds.
AGAIN_S: Final = 1.0
#: Longest wait for the end of a process that is killed, in seconds.
END_S: Final = 1.0


class HistoryProcess:
    """The process, from its start to ``close``. ``on_port``: called with its port once it listens, with 0 if it ends.

    It serves on ``host``, any port. One that ends by itself is started again. Make it on a running event loop. Raises
    OSError.
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
        self._directory, self._secret, self._host, self._name = directory, secret, host, name
        self._on_port, self._warn = on_port, warn
        self._warned = False
        self._again: asyncio.TimerHandle | None = None
        self._start()

    def _start(self) -> None:
        self._said = b""
        self._out = -1
        self._process = subprocess.Popen(
            command(self._directory, 0, host=self._host, name=self._name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )
        if self._process.stdin is not None:
            with suppress(OSError):  # it may have ended
                self._process.stdin.write(f"{self._secret.hex()}\n".encode())
                self._process.stdin.flush()
        self._out = self._process.stdout.fileno() if self._process.stdout is not None else -1
        self._loop.add_reader(self._out, self._read)

    def _read(self) -> None:
        data = os.read(self._out, 4_096)
        if not data:
            self._on_end("it ended")
            return
        self._said += data
        word, _, port = self._said.partition(b"\n")[0].partition(b" ")
        if b"\n" in self._said and word == b"ready" and port.isdigit():
            self._warned = False
            self._on_port(int(port))

    def _on_end(self, why: str) -> None:
        self._on_port(0)
        if not self._warned:
            self._warned = True
            self._warn(
                "the history is not served",
                why=why,
                then="its process is started again; a copy that is far behind waits for it",
            )
        self._clear()
        self._again = self._loop.call_later(AGAIN_S, self._start_again)

    def _start_again(self) -> None:
        self._again = None
        try:
            self._start()
        except OSError as error:
            self._on_end(str(error))

    def _clear(self) -> None:
        """End what is left of the process. May be repeated."""
        if self._out >= 0:
            self._loop.remove_reader(self._out)
            self._out = -1
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process in a call to a disk that hangs ends when that does
            self._process.wait(END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def close(self) -> None:
        """End the process. May be repeated."""
        if self._again is not None:
            self._again.cancel()
        self._clear()
