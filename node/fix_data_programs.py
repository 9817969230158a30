"""Market data by FIX of a node, in a process of its own, as `lockstep serve --fix-data` names it.

The node opens the port and lends it to the process, as it does for gateways: clients that come while the process is
started again wait, and are served by the next.
"""

import socket
import sys
from typing import Final, NamedTuple

from client.addresses import parse_addresses
from node.feed_programs import FeedNode
from node.supervisor import Program, Supervisor

#: Name of the process, and its order among the programs of a node: it ends with the feeds.
NAME: Final = "fix-data"
ORDER: Final = 0
_BACKLOG: Final = 256


class FixDataOption(NamedTuple):
    """Port for subscribers that the operator wants."""

    host: str
    port: int


def fix_data_option(text: str) -> FixDataOption:
    """Read HOST:PORT; port 0: any that is free. Raises ValueError with a sentence.

    >>> fix_data_option("127.0.0.1:9300")
    FixDataOption(host='127.0.0.1', port=9300)
    """
    host, _, port = text.rpartition(":")
    if port == "0" and host:
        return FixDataOption(host.removeprefix("[").removesuffix("]"), 0)
    (address,) = parse_addresses([text])
    return FixDataOption(address.host, address.port)


class FixDataPrograms:
    """The process of market data by FIX of a node, and its socket. ``port``: None without one."""

    def __init__(self, supervisor: Supervisor, node: FeedNode) -> None:
        self._supervisor, self._node = supervisor, node
        self._socket: socket.socket | None = None
        self.port: int | None = None

    def open(self, option: FixDataOption) -> None:
        """Open the port and start the process. Raises OSError."""
        family = socket.AF_INET6 if ":" in option.host else socket.AF_INET
        self._socket = socket.create_server((option.host, option.port), family=family, backlog=_BACKLOG)
        self.port = int(self._socket.getsockname()[1])
        words = ["fix-data", str(self._node.data.absolute()), "--host", option.host]
        words += ["--fd", str(self._socket.fileno())]
        self._supervisor.start(
            Program(
                NAME,
                (sys.executable, "-m", "cli.main", *words, "--json"),
                without="its clients wait",
                lends=(self._socket.fileno(),),
                cpus=self._node.pins.get(NAME, frozenset()),
                order=ORDER,
                named=True,
                reports=True,
            )
        )

    def close(self) -> None:
        """Close the port. May be repeated."""
        if self._socket is not None:
            self._socket.close()
