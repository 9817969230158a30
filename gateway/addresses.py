"""Counting key of a client address: connections and failed logins are bounded by it."""

from ipaddress import IPv6Address, ip_address
from typing import Final

#: Bits of an IPv6 address that name a network; its owner chooses the others freely.
_HOST_BITS: Final = 64


def network_of(address: str) -> str:
    """Key under which an address counts: an IPv4 address alone, an IPv6 address with all others of its /64.

    An IPv4 address that is written as an IPv6 one counts as IPv4. A text that is no address is its own key.

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
