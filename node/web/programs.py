"""Market data and order entry for web clients of a node, in a process of its own, as `lockstep serve --web` names it.

The node opens the port and lends it to the process, as it does for gateways: clients that come while the process is
started again wait, and are served by the next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from client.addresses import parse_addresses
from gateway.addresses import is_address
from node.programs.lent_port import LentPort
from node.programs.pinning import PinnedNode
from node.programs.supervisor import Supervisor

#: Name of the process.
NAME: Final = "web"
_BACKLOG: Final = 2_048


class WebOption(NamedTuple):
    """Port for web clients that the operator wants. keys: file of users who may trade; None: market data alone.

    proxies: addresses before it that say for whom they ask. operators: file of those who may sign in to the page; None:
    it shows the market alone.
    """

    host: str
    port: int
    keys: Path | None = None
    proxies: tuple[str, ...] = ()
    operators: Path | None = None


def web_option(text: str, keys: Path | None, proxies: Sequence[str] = (), operators: Path | None = None) -> WebOption:
    """Read HOST:PORT, or a port of 127.0.0.1 alone; port 0: any that is free. Raises ValueError with a sentence.

    >>> web_option("8080", None)
    WebOption(host='127.0.0.1', port=8080, keys=None, proxies=(), operators=None)
    """
    if bad := next((each for each in proxies if not is_address(each)), None):
        raise ValueError(f"--web-proxy is {bad!r}; give the IP address of a proxy")
    text = f"127.0.0.1:{text}" if text.isascii() and text.isdigit() else text
    host, _, port = text.rpartition(":")
    if port == "0" and host:
        return WebOption(host.removeprefix("[").removesuffix("]"), 0, keys, tuple(proxies), operators)
    (address,) = parse_addresses([text])
    return WebOption(address.host, address.port, keys, tuple(proxies), operators)


class WebPrograms(LentPort):
    """The process for web clients of a node, and its socket. ``port``: None without one."""

    def __init__(self, supervisor: Supervisor, node: PinnedNode) -> None:
        super().__init__(supervisor, node, NAME, without="its clients wait")

    def open(self, option: WebOption, orders_at: str) -> None:
        """Open the port and start the process. orders_at: native order entry, with ``option.keys``. Raises OSError."""
        fd = self._listen(option.host, option.port, _BACKLOG)
        words = ["web", str(self._node.data.absolute()), "--host", option.host, "--fd", str(fd)]
        words += [word for each in option.proxies for word in ("--proxy", each)]
        if option.keys is not None:
            words += ["--keys", str(option.keys.absolute()), "--orders-at", orders_at]
        if option.operators is not None:
            words += ["--operators", str(option.operators.absolute())]
        self._start(words)
