"""Market data by FIX of a node, in a process of its own, as `lockstep serve --fix-data` names it.

The node opens the port and lends it to the process, as it does for gateways: clients that come while the process is
started again wait, and are served by the next.
"""

from typing import Final, NamedTuple

from client.addresses import parse_addresses
from node.programs.lent_port import LentPort
from node.programs.pinning import PinnedNode
from node.programs.supervisor import Supervisor

#: Name of the process.
NAME: Final = "fix-data"
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


class FixDataPrograms(LentPort):
    """The process of market data by FIX of a node, and its socket. ``port``: None without one."""

    def __init__(self, supervisor: Supervisor, node: PinnedNode) -> None:
        super().__init__(supervisor, node, NAME, without="its clients wait")

    def open(self, option: FixDataOption) -> None:
        """Open the port and start the process. Raises OSError."""
        fd = self._listen(option.host, option.port, _BACKLOG)
        self._start(["fix-data", str(self._node.data.absolute()), "--host", option.host, "--fd", str(fd)])
