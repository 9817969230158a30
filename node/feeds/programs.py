"""Market data feeds of a node, each in a process of its own, as `lockstep serve --feed` names them.

The node opens the ports on which a feed is asked, and lends them to the process, as it does for gateways.
"""

import ipaddress
import re
import socket
import sys
from pathlib import Path
from typing import Final, NamedTuple

from node.programs.pinning import PinnedNode
from node.programs.process_names import OWN_NAMES
from node.programs.supervisor import Program, Supervisor

#: Order of feeds among the programs of a node: they end after the gateways have told their clients.
ORDER: Final = 0
_ITCH: Final = "itch"
_ADDRESS: Final = re.compile(r"(?P<host>[0-9.]{7,15}):(?P<port>[0-9]{1,5})")
_NAME: Final = re.compile("[a-z][a-z0-9-]{0,15}")
_FORM: Final = "itch:GROUP:PORT, such as itch:239.192.0.1:26400"
_PORT_MAX: Final = 65_535
_TTL_MAX: Final = 255


class Address(NamedTuple):
    """IPv4 address and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class FeedOption(NamedTuple):
    """A feed that the operator wants: multicast to ``group``, and to ``second`` (the B feed), if there is one.

    interface: address of the network interface that it leaves by. ttl: networks that it may cross. requests: port for
    messages that were lost; snapshots: port for snapshots; 0: any that is free. Both are on ``interface``. spins: it
    waits for blocks without sleep, and takes a processor.
    """

    name: str
    group: Address
    second: Address | None = None
    interface: str = "127.0.0.1"
    ttl: int = 1
    requests: int = 0
    snapshots: int = 0
    spins: bool = False


def _address(text: str, what: str, form: str = "") -> Address:
    """what: the value in words. form: what stands before an address of that kind."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not _is_group(found["host"]) or not 1 <= int(found["port"]) <= _PORT_MAX:
        raise ValueError(
            f"{what} is no multicast group and port; give {form}GROUP:PORT, such as {form}239.192.0.1:26400, "
            "of 224.0.0.0 to 239.255.255.255"
        )
    return Address(found["host"], int(found["port"]))


def _interface(text: str, what: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{what} is {text!r}; give its IPv4 address, as `ip address` shows it") from None


def _checked(option: FeedOption) -> FeedOption:
    if option.name in OWN_NAMES:
        raise ValueError(f"a process of the node has the name {option.name}; give the feed another")
    if option.second == option.group:
        raise ValueError(f"feeds A and B have the group {option.group} both; give each its own")
    return option


def _is_group(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_multicast
    except ValueError:
        return False


def _number(word: str, value: str, low: int, high: int) -> int:
    if not value.isdigit() or not low <= int(value) <= high:
        raise ValueError(f"{word}= of a feed is {value!r}; give {low} to {high}")
    return int(value)


def feed_option(text: str) -> FeedOption:
    """Read itch:GROUP:PORT, with ,WORD=VALUE behind it or not. Raises ValueError with a sentence.

    >>> feed_option("itch:239.192.0.1:26400,requests=26401").requests
    26401
    """
    first, *others = text.split(",")
    kind, _, address = first.partition(":")
    if kind != _ITCH:
        raise ValueError(f"{text!r} is no feed; give {_FORM}")
    option = FeedOption(_ITCH, _address(address, f"{address!r} of {text!r}", f"{_ITCH}:"))
    for other in others:
        word, _, value = other.partition("=")
        match word:
            case "name" if _NAME.fullmatch(value):
                option = option._replace(name=value)
            case "b":
                option = option._replace(second=_address(value, f"{value!r} of {text!r}", "b="))
            case "interface":
                option = option._replace(interface=_interface(value, "interface= of a feed"))
            case "ttl":
                option = option._replace(ttl=_number(word, value, 0, _TTL_MAX))
            case "requests":
                option = option._replace(requests=_number(word, value, 0, _PORT_MAX))
            case "snapshots":
                option = option._replace(snapshots=_number(word, value, 0, _PORT_MAX))
            case "spin" if value in ("yes", "no"):
                option = option._replace(spins=value == "yes")
            case _:
                raise ValueError(
                    f"{other!r} of {text!r} is nothing of a feed; "
                    "name=, b=GROUP:PORT, interface=, ttl=, requests=PORT, snapshots=PORT and spin=yes are"
                )
    return _checked(option)


def feed_of_options(group: str, second_group: str | None, interface: str, ttl: int, *, name: str = _ITCH) -> FeedOption:
    """The feed that options of `lockstep feed` and `lockstep replay` describe. Raises ValueError with a sentence that
    names the option."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"--name is {name!r}; give a letter of a to z, then up to 15 of a to z, 0 to 9 and -")
    second = None if second_group is None else _address(second_group, f"--second-group {second_group!r}")
    place = _interface(interface, "--interface")
    return _checked(FeedOption(name, _address(group, f"--group {group!r}"), second, place, ttl))


def feed_options(texts: list[str]) -> tuple[FeedOption, ...]:
    """Read several; no two have the same name or port. Raises ValueError with a sentence."""
    found = tuple(feed_option(text) for text in texts)
    for what, values in (
        ("name", [each.name for each in found]),
        ("group", [str(group) for each in found for group in (each.group, each.second) if group]),
        ("port for requests", [f"{each.interface}:{each.requests}" for each in found if each.requests]),
        ("port for snapshots", [f"{each.interface}:{each.snapshots}" for each in found if each.snapshots]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"two feeds have the {what} {twice}; give each its own")
    return found


def command(option: FeedOption, data: Path, node: str | None, requests: int, snapshots: int) -> tuple[str, ...]:
    """Command of a feed's process. node: name of the node in its pair. requests, snapshots: descriptors of sockets."""
    words = ["feed", str(data.absolute()), "--name", option.name, "--group", str(option.group)]
    words += ["--interface", option.interface, "--ttl", str(option.ttl)]
    words += [] if option.second is None else ["--second-group", str(option.second)]
    words += [] if node is None else ["--node", node]
    words += ["--spin"] if option.spins else []
    words += ["--requests-fd", str(requests), "--snapshots-fd", str(snapshots)]
    return (sys.executable, "-m", "cli.main", *words, "--json")


def requests_socket(interface: str, port: int) -> socket.socket:
    """UDP socket for requests. Raises OSError."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((interface, port))
    except OSError:
        made.close()
        raise
    return made


class FeedPrograms:
    """Feeds of a node, and their sockets. ``ports``: of requests and snapshots, by name."""

    def __init__(self, supervisor: Supervisor, node: PinnedNode) -> None:
        self._supervisor, self._node = supervisor, node
        self._sockets: list[socket.socket] = []
        self.ports: dict[str, dict[str, int]] = {}

    def open(self, option: FeedOption, node: str | None) -> None:
        """Open the ports of a feed, and start its process. node: name of the node in its pair. Raises OSError."""
        requests = requests_socket(option.interface, option.requests)
        self._sockets.append(requests)
        snapshots = socket.create_server((option.interface, option.snapshots), backlog=128)
        self._sockets.append(snapshots)
        self.ports[option.name] = {
            "requests": int(requests.getsockname()[1]),
            "snapshots": int(snapshots.getsockname()[1]),
        }
        lends = (requests.fileno(), snapshots.fileno())
        self._supervisor.start(
            Program(
                option.name,
                command(option, self._node.data, node, *lends),
                without="its market data is not sent",
                lends=lends,
                cpus=self._node.pins.get(option.name, frozenset()),
                order=ORDER,
                named=True,
                reports=True,
            )
        )

    def close(self) -> None:
        """Close the ports. May be repeated."""
        for each in self._sockets:
            each.close()
