"""Gateways of a node in processes of their own, as `lockstep serve --gateway` names them."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from node.supervisor import Program

#: Order of gateways among the programs of a node: they end before those that serve no clients.
ORDER: Final = 1
_OPTION: Final = re.compile(
    r"(?:(?P<name>[a-z][a-z0-9-]{0,15})=)?(?P<protocol>[a-z][a-z0-9]{0,15}):(?P<port>[0-9]{1,5})"
)
_PORT_MAX: Final = 65_535


class GatewayOption(NamedTuple):
    """A gateway that the operator wants. port: 0 for any that is free, which stays the same while the node runs."""

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


def command(option: GatewayOption, data: Path, host: str) -> tuple[str, ...]:
    """Command of a gateway's process."""
    words = ("gateway", str(data.absolute()), "--name", option.name, "--protocol", option.protocol)
    return (sys.executable, "-m", "cli.main", *words, "--host", host, "--port", str(option.port), "--json")


def gateway_program(
    option: GatewayOption, data: Path, host: str, cpus: Mapping[str, frozenset[int]] | None = None
) -> Program:
    """The program of a gateway. cpus: processors by the names of programs that are to stay on some."""
    return Program(
        option.name,
        command(option, data, host),
        without="its clients cannot connect",
        order=ORDER,
        named=True,
        cpus=(cpus or {}).get(option.name, frozenset()),
    )
