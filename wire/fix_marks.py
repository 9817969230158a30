"""Marks of FIX sessions: what a context says of a row that is no order, though the market takes it for one.

``gateway.fix.marks`` has their rows, and why there are any (ADR 53).
"""

from enum import IntEnum
from typing import Final

#: Number of the protocol in contexts: of order entry, and of drop copies.
NUMBER: Final = 2
COPIES_NUMBER: Final = 4
NUMBERS: Final = (NUMBER, COPIES_NUMBER)


class Mark(IntEnum):
    """Kind of a mark."""

    ORDER = 0  # no mark
    SESSION = 1  # a message of the session
    RESET = 2  # the answer to a logon with which both numbers begin again
    BUSINESS_REJECT = 3
    STATUS = 4  # the answer to an OrderStatusRequest
    NAME = 5  # text of a long ClOrdID; it has no number
    MASS_CANCEL = 6  # the answer to an OrderMassCancelRequest, which is carried out when it comes back
    REFUSED = 7  # the refusal of a message that no row can say, with its id
    ROUTE = 8  # number and third party of a message that a third party has sent; it has no number


#: Words for people: the message that each mark stands for.
MEANINGS: Final = {
    Mark.SESSION: "session message",
    Mark.RESET: "logon that resets the numbers",
    Mark.BUSINESS_REJECT: "business reject",
    Mark.STATUS: "order status",
    Mark.NAME: "text of a long ClOrdID",
    Mark.MASS_CANCEL: "mass cancel report",
    Mark.REFUSED: "refused message",
    Mark.ROUTE: "third party of a message",
}


def protocol_of(context: int) -> int:
    """Number of the protocol in a context."""
    return context >> 60 & 15


def mark_of(context: int) -> int:
    """Kind of the mark in a context."""
    return context >> 48 & 63
