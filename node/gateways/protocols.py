"""Protocols of order entry by name, for gateway processes."""

from typing import Final

from gateway.fix.copy_session import FIX_COPIES
from gateway.fix.protocol import FIX
from gateway.native.protocol import NATIVE
from gateway.ouch.protocol import OUCH
from gateway.protocol import OrderProtocol
from gateway.ring_reading import CROSSES, NO_ORDERS, ORDERS

PROTOCOLS: Final[dict[str, OrderProtocol]] = {each.name: each for each in (OUCH, NATIVE, FIX, FIX_COPIES)}
#: Bits of what gateways send beside orders, or in their place: a cross of FIX binds others than its user, and the
#: gateway judges whom; one of drop copies sends marks alone (``gateway.fix.marks``).
_COMMANDS: Final = {FIX.number: ORDERS | CROSSES, FIX_COPIES.number: NO_ORDERS}
#: Those of FIX, whose gateways have terms of users (``gateway.fix.accounts``).
FIX_PROTOCOLS: Final = frozenset((FIX.name, FIX_COPIES.name))


def commands_of(protocol: int) -> int:
    """Bits of what gateways of a protocol may put into their rings: those of ``gateway.ring_reading``.

    >>> commands_of(OUCH.number) == ORDERS, commands_of(FIX.number) == ORDERS
    (True, False)
    """
    return _COMMANDS.get(protocol, ORDERS)
