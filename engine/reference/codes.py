"""Codes of ``engine.records`` that rules ask for at every order, each found in its enumeration once.

To find a member in its class takes Python 3.11 as long as ten comparisons. Those that are compared with the places of
rows are plain integers as these are, since comparing a member with an integer takes three times as long.
"""

from typing import Final

from engine.records import Book, Phase, SelfTrade, Side, TimeInForce

BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)

CLOSED: Final = Phase.CLOSED
CONTINUOUS: Final = Phase.CONTINUOUS
HALTED: Final = Phase.HALTED

DAY: Final = int(TimeInForce.DAY)
GTC: Final = int(TimeInForce.GTC)
GTD: Final = int(TimeInForce.GTD)
IOC: Final = int(TimeInForce.IOC)
FOK: Final = int(TimeInForce.FOK)
OPENING: Final = int(TimeInForce.OPENING)
CLOSING: Final = int(TimeInForce.CLOSING)

LIT: Final = int(Book.LIT)
MIDPOINT: Final = int(Book.MIDPOINT)

STP_NONE: Final = int(SelfTrade.NONE)
