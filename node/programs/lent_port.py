"""A port that a node opens and lends to a program in a process of its own.

The port outlives the process: clients that come while the program is started again wait, and are served by the next.
"""

import errno
import socket
import sys
from collections.abc import Sequence

from node.programs.pinning import PinnedNode
from node.programs.supervisor import Program, Supervisor


def listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    """A TCP socket on which clients are awaited; port 0: any that is free. host: a name, or an address of IPv4 or IPv6.

    Raises OSError, OverflowError for a port that cannot be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


def is_elsewhere(error: OSError) -> bool:
    """True for the error of a socket that is to listen on what is no address of this machine, or no name of one."""
    return error.errno == errno.EADDRNOTAVAIL or (error.errno or 0) < 0  # the resolver's codes are below 0


class LentPort:
    """A program of a node that serves one TCP port, and its socket. ``port``: None before it is open.

    name: of the program. without: what its absence means, for the log. A program ends with the feeds, in their order.
    """

    def __init__(self, supervisor: Supervisor, node: PinnedNode, name: str, without: str) -> None:
        self._supervisor, self._node, self._name, self._without = supervisor, node, name, without
        self._socket: socket.socket | None = None
        self.port: int | None = None

    def _listen(self, host: str, port: int, backlog: int) -> int:
        """Open the port; 0: any that is free. Gives its descriptor. Raises OSError."""
        self._socket = listening_socket(host, port, backlog)
        self.port = int(self._socket.getsockname()[1])
        return self._socket.fileno()

    def _start(self, words: Sequence[str]) -> None:
        """Start the program, `lockstep` with these words, with the open port."""
        assert self._socket is not None, "the port is opened first"
        self._supervisor.start(
            Program(
                self._name,
                (sys.executable, "-m", "cli.main", *words, "--json"),
                without=self._without,
                lends=(self._socket.fileno(),),
                cpus=self._node.pins.get(self._name, frozenset()),
                named=True,
                reports=True,
            )
        )

    def close(self) -> None:
        """Close the port. May be repeated."""
        if self._socket is not None:
            self._socket.close()
