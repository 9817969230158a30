"""Protocols of order entry by name, for gateway processes."""

from typing import Final

from gateway.ouch.protocol import OUCH
from gateway.protocol import OrderProtocol

PROTOCOLS: Final[dict[str, OrderProtocol]] = {OUCH.name: OUCH}
