"""Codes of ``engine.records`` that rules ask for at every order, each found in its enumeration once.

To find a member in its class takes Python 3.11 as long as ten comparisons.
"""

from typing import Final

from engine.records import Phase, Side, TimeInForce

BUY: Final = Side.BUY
SELL: Final = Side.SELL

CLOSED: Final = Phase.CLOSED
CONTINUOUS: Final = Phase.CONTINUOUS
HALTED: Final = Phase.HALTED

DAY: Final = TimeInForce.DAY
GTC: Final = TimeInForce.GTC
GTD: Final = TimeInForce.GTD
IOC: Final = TimeInForce.IOC
FOK: Final = TimeInForce.FOK
OPENING: Final = TimeInForce.OPENING
CLOSING: Final = TimeInForce.CLOSING
