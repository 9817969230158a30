"""Addresses of the nodes of one market, of which one is primary: which to try next.

A login goes to one address after the other. A copy rejects it, a node that is dead refuses the connection, and a node
that is stopped says nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Address(NamedTuple):
    """Host and port of order entry.

    >>> str(Address("::1", 4000)), str(Address("exchange", 4000))
    ('[::1]:4000', 'exchange:4000')
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_addresses(hosts: str | Sequence[str], port: int | None = None) -> tuple[Address, ...]:
    """Addresses of one text with commas, or of several. ``port``: of those without one. Raises ValueError.

    >>> parse_addresses("one:4000,two:4001")
    (Address(host='one', port=4000), Address(host='two', port=4001))
    >>> parse_addresses(["one", "[::1]:4001"], 4000)
    (Address(host='one', port=4000), Address(host='::1', port=4001))
    """
    words = hosts.split(",") if isinstance(hosts, str) else hosts
    found = tuple(dict.fromkeys(_parsed(word.strip(), port) for word in words))
    if not found:
        raise ValueError("there is no address; give HOST:PORT, or HOST:PORT,HOST:PORT")
    return found


def _parsed(text: str, port: int | None) -> Address:
    host, colon, number = text.rpartition(":")
    has_port = bool(colon) and (":" not in host or (host.startswith("[") and host.endswith("]")))
    if not has_port:
        host, number = text, "" if port is None else str(port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (number.isascii() and number.isdigit()) or not 1 <= int(number) <= 65_535:
        raise ValueError(f"the address is {text!r}; give HOST:PORT with a port from 1 to 65535")
    return Address(host, int(number))


class Rotation:
    """The address to try now, and whether each has been tried since the last live connection."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = tuple(addresses)
        self._at = 0
        self._tried = 0

    def __str__(self) -> str:
        return ",".join(map(str, self.addresses))

    @property
    def now(self) -> Address:
        """The address to try now."""
        return self.addresses[self._at]

    @property
    def has_several(self) -> bool:
        """True if there is another address to try."""
        return len(self.addresses) > 1

    def move_on(self) -> bool:
        """Go on to the next address, after a connection that ended or was not made; False once each had its turn."""
        self._at = (self._at + 1) % len(self.addresses)
        self._tried += 1
        if self._tried < len(self.addresses):
            return True
        self._tried = 0
        return False

    def restart(self) -> None:
        """Let each address have its turn again, after a live connection."""
        self._tried = 0
