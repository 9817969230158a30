"""Process beside a primary that serves its history, so that a copy far behind costs the market nothing."""

from collections.abc import Callable
from pathlib import Path

from node.programs.process_names import HISTORY
from node.programs.supervisor import Program, Supervisor
from replication.history_server import command


class HistoryProcess:
    """The process, from its start to ``close``. ``on_port``: called with its port once it listens, with 0 if it ends.

    It serves on ``host``, any port.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        directory: Path,
        secret: bytes,
        host: str,
        name: str,
        *,
        on_port: Callable[[int], None],
    ) -> None:
        self._on_port = on_port
        self.program = supervisor.start(
            Program(
                HISTORY,
                tuple(command(directory, 0, host=host, name=name)),
                without="a copy that is far behind waits",
                given=f"{secret.hex()}\n".encode(),
                on_line=self._on_line,
                on_end=lambda _status, _complaint: on_port(0),
            )
        )

    def _on_line(self, line: bytes) -> None:
        word, _, port = line.partition(b" ")
        if word == b"ready" and port.isdigit():
            self._on_port(int(port))

    def close(self) -> None:
        """End the process. May be repeated."""
        self.program.kill()
