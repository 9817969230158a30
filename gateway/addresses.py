"""Counting key of a client address: connections and failed logins are bounded by it."""

from ipaddress import IPv6Address, ip_address
from typing import Final

#: Network bits of an IPv6 address; the owner of the network chooses the others freely.
_HOST_BITS: Final = 64


def is_address(text: str) -> bool:
    """True for the text of an IPv4 or IPv6 address.

    >>> is_address("192.0.2.7"), is_address("unknown")
    (True, False)
    """
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def network_of(address: str) -> str:
    """Counting key of an address: an IPv4 address itself, the /64 network of an IPv6 address.

    An IPv4-mapped IPv6 address counts as IPv4. A text that is no address is its own key.

    >>> [network_of(address) for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7:0:0:9")]
    ['192.0.2.7', '192.0.2.7', '2001:db8::/64']
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> _HOST_BITS << _HOST_BITS
    return f"{IPv6Address(network)}/{128 - _HOST_BITS}"
