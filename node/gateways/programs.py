"""Gateways of a node in processes of their own, as `lockstep serve --gateway` names them.

The node opens the port of each and lends it to the process, so a port in use is said at the start of the node, and a
gateway that is started again has its port: who connects meanwhile waits and is served.
"""

import re
import socket
import sys
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, cast

from gateway.tls import TlsFiles
from node.gateways.protocols import FIX_PROTOCOLS, PROTOCOLS
from node.programs.lent_port import listening_socket
from node.programs.pinning import Pins
from node.programs.process_names import OWN_NAMES
from node.programs.supervisor import Program, Supervised, Supervisor

#: Order of gateways among the programs of a node: they end before those that serve no clients.
ORDER: Final = 1
_OPTION: Final = re.compile(
    r"(?:(?P<name>[a-z][a-z0-9-]{0,15})=)?(?P<protocol>[a-z][a-z0-9]{0,15}):(?P<port>[0-9]{1,5})"
    r"(?:,when-full=(?P<when_full>wait|refuse))?"
)
#: Time for a gateway to send its clients the last messages, by the word of the core, in seconds.
PATIENCE_S: Final = 3.0
#: A gateway's tables are large and little of them is used: huge pages, which NumPy asks for, would hold mostly zeros.
_SMALL_PAGES: Final = (("NUMPY_MADVISE_HUGEPAGE", "0"),)
#: Reason for which a gateway is not started again.
_DRAINS: Final = "its port is closed, and the node takes no logins"
_PORT_MAX: Final = 65_535
#: Clients that wait for a process to take them at most.
_BACKLOG: Final = 1_024
#: Options for the files of TLS, in their order.
_TLS_WORDS: Final = ("--tls-cert", "--tls-key", "--tls-client-ca")


class GatewayOption(NamedTuple):
    """A gateway that the operator wants. port: 0 for any that is free. when_full: as of `lockstep gateway`."""

    name: str
    protocol: str
    port: int
    when_full: Literal["wait", "refuse"] = "wait"


class ServeOptions(Protocol):
    """Options of a node that its gateways have too (``node.node.NodeOptions``)."""

    @property
    def data(self) -> Path:
        """Data directory."""
        ...

    @property
    def host(self) -> str:
        """Address on which clients connect."""
        ...

    @property
    def tls_files(self) -> TlsFiles | None:
        """Files of TLS for clients; None: there is none."""
        ...

    @property
    def pins(self) -> Pins:
        """Processors of programs, by name."""
        ...

    @property
    def connections_max(self) -> int:
        """Connections of clients at most."""
        ...

    @property
    def connections_per_address_max(self) -> int | None:
        """Of them from one address; None: all."""
        ...

    @property
    def waiting_per_address_max(self) -> int | None:
        """Connections of one address without a login; None: a quarter of ``connections_max``."""
        ...

    @property
    def fix_accounts(self) -> Path | None:
        """File with the terms of users of gateways of FIX."""
        ...

    @property
    def past_days(self) -> int:
        """Past days whose streams clients can request."""
        ...


def gateway_option(text: str) -> GatewayOption:
    """Read PROTOCOL:PORT or NAME=PROTOCOL:PORT, with ,when-full=refuse behind it or not. Raises ValueError with a
    sentence.

    >>> gateway_option("ouch:9101"), gateway_option("second=ouch:0,when-full=refuse").when_full
    (GatewayOption(name='ouch-9101', protocol='ouch', port=9101, when_full='wait'), 'refuse')
    """
    found = _OPTION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no gateway; give PROTOCOL:PORT or NAME=PROTOCOL:PORT, such as ouch:9101, in small letters; "
            ",when-full=refuse may follow"
        )
    protocol, port = found["protocol"], int(found["port"])
    if port > _PORT_MAX:
        raise ValueError(f"the port of {text!r} is above {_PORT_MAX:,}; give 0 to {_PORT_MAX:,}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol {protocol} for {text!r}; there are {', '.join(sorted(PROTOCOLS))}")
    name = found["name"] or f"{protocol}-{port}"
    if name in OWN_NAMES:
        raise ValueError(f"a process of the node has the name {name}; give the gateway another")
    when_full = cast(Literal["wait", "refuse"], found["when_full"] or "wait")
    return GatewayOption(name, protocol, port, when_full)


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


def command(option: GatewayOption, node: ServeOptions, fd: int) -> tuple[str, ...]:
    """Command of a gateway's process. fd: of its socket, which listens."""
    words = ["gateway", str(node.data.absolute()), "--name", option.name, "--protocol", option.protocol]
    words += ["--host", node.host, "--fd", str(fd), "--when-full", option.when_full]
    words += ["--connections-max", str(node.connections_max), "--past-days", str(node.past_days)]
    for name, bound in (
        ("--connections-per-address-max", node.connections_per_address_max),
        ("--waiting-per-address-max", node.waiting_per_address_max),
    ):
        words += [] if bound is None else [name, str(bound)]
    if node.fix_accounts is not None and option.protocol in FIX_PROTOCOLS:
        words += ["--fix-accounts", str(node.fix_accounts.absolute())]
    for name, file in zip(_TLS_WORDS, node.tls_files or (), strict=False):
        words += [] if file is None else [name, str(file.absolute())]
    return (sys.executable, "-m", "cli.main", *words, "--json")


class GatewayPrograms:
    """Gateway processes of a node, and their sockets. ``ports``: by their names."""

    def __init__(self, supervisor: Supervisor, node: ServeOptions) -> None:
        self._supervisor, self._node = supervisor, node
        self._sockets: list[socket.socket] = []
        self._programs: list[Supervised] = []
        self.ports: dict[str, int] = {}

    def open(self, option: GatewayOption) -> None:
        """Open the port of a gateway, and start its process. Raises OSError."""
        listening = listening_socket(self._node.host, option.port, _BACKLOG)
        self._sockets.append(listening)
        self.ports[option.name] = int(listening.getsockname()[1])
        started = self._supervisor.start(
            Program(
                option.name,
                command(option, self._node, listening.fileno()),
                without="its clients are not served",
                lends=(listening.fileno(),),
                cpus=self._node.pins.get(option.name, frozenset()),
                order=ORDER,
                patience_s=PATIENCE_S,
                named=True,
                reports=True,
                environment=_SMALL_PAGES,
            )
        )
        self._programs.append(started)

    def close(self) -> None:
        """Close the ports. Gateways that run go on with their clients, and are not started again. May be repeated."""
        for program in self._programs:
            program.start_no_more(_DRAINS)  # first: it would be lent a socket that is closed
        for each in self._sockets:
            each.close()
