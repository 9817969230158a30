"""Protocols of order entry by name, for gateway processes."""

from typing import Final

from gateway.fix.copy_session import FIX_COPIES
from gateway.fix.protocol import FIX
from gateway.native.protocol import NATIVE
from gateway.ouch.protocol import OUCH
from gateway.protocol import OrderProtocol

PROTOCOLS: Final[dict[str, OrderProtocol]] = {each.name: each for each in (OUCH, NATIVE, FIX, FIX_COPIES)}
#: Those of FIX, whose gateways have terms of users (``gateway.fix.accounts``).
FIX_PROTOCOLS: Final = frozenset((FIX.name, FIX_COPIES.name))
