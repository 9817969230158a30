"""Gateways of a node in processes of their own, as `lockstep serve --gateway` names them.

The node opens the port of each and lends it to the process, so a port in use is said at the start of the node, and a
gateway that is started again has its port: who connects meanwhile waits and is served.
"""

import re
import socket
import sys
from pathlib import Path
from typing import Final, NamedTuple

from node.pinning import Pins
from node.supervisor import Program, Supervisor

#: Order of gateways among the programs of a node: they end before those that serve no clients.
ORDER: Final = 1
_OPTION: Final = re.compile(
    r"(?:(?P<name>[a-z][a-z0-9-]{0,15})=)?(?P<protocol>[a-z][a-z0-9]{0,15}):(?P<port>[0-9]{1,5})"
)
#: Time for a gateway to send its clients the last messages, by the word of the core, in seconds.
PATIENCE_S: Final = 3.0
_PORT_MAX: Final = 65_535
#: Clients that wait for a process to take them at most.
_BACKLOG: Final = 1_024


class GatewayOption(NamedTuple):
    """A gateway that the operator wants. port: 0 for any that is free."""

    name: str
    protocol: str
    port: int


def gateway_option(text: str) -> GatewayOption:
    """Read PROTOCOL:PORT or NAME=PROTOCOL:PORT. Raises ValueError with a sentence.

    >>> gateway_option("ouch:9101"), gateway_option("second=ouch:0").name
    (GatewayOption(name='ouch-9101', protocol='ouch', port=9101), 'second')
    """
    found = _OPTION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no gateway; give PROTOCOL:PORT or NAME=PROTOCOL:PORT, such as ouch:9101, in small letters"
        )
    protocol, port = found["protocol"], int(found["port"])
    if port > _PORT_MAX:
        raise ValueError(f"the port of {text!r} is above {_PORT_MAX:,}; give 0 to {_PORT_MAX:,}")
    return GatewayOption(found["name"] or f"{protocol}-{port}", protocol, port)


def gateway_options(texts: list[str]) -> tuple[GatewayOption, ...]:
    """Read several; no two have the same name or port. Raises ValueError with a sentence."""
    found = tuple(gateway_option(text) for text in texts)
    for what, values in (
        ("name", [each.name for each in found]),
        ("port", [str(each.port) for each in found if each.port]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"two gateways have the {what} {twice}; give each its own")
    return found


def command(option: GatewayOption, data: Path, host: str, fd: int) -> tuple[str, ...]:
    """Command of a gateway's process. fd: of its socket, which listens."""
    words = ("gateway", str(data.absolute()), "--name", option.name, "--protocol", option.protocol)
    return (sys.executable, "-m", "cli.main", *words, "--host", host, "--fd", str(fd), "--json")


class GatewayPrograms:
    """Gateway processes of a node, and their sockets. ``ports``: by their names."""

    def __init__(self, supervisor: Supervisor, data: Path, host: str, pins: Pins) -> None:
        self._supervisor = supervisor
        self._data, self._host, self._pins = data, host, pins
        self._sockets: list[socket.socket] = []
        self.ports: dict[str, int] = {}

    def open(self, option: GatewayOption) -> None:
        """Open the port of a gateway, and start its process. Raises OSError."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.create_server((self._host, option.port), family=family, backlog=_BACKLOG)
        self._sockets.append(listening)
        self.ports[option.name] = int(listening.getsockname()[1])
        self._supervisor.start(
            Program(
                option.name,
                command(option, self._data, self._host, listening.fileno()),
                without="its clients are not served",
                lends=(listening.fileno(),),
                cpus=self._pins.get(option.name, frozenset()),
                order=ORDER,
                patience_s=PATIENCE_S,
                named=True,
            )
        )

    def close(self) -> None:
        """Close the ports. May be repeated."""
        for each in self._sockets:
            each.close()
