"""Contexts: eight bytes of an order that the market never reads, and how a replace or a cancel changes them.

The gateway writes a context into each ENTER, CANCEL and REPLACE row. It says who sent the command, and with which codes
of its protocol. A report has the order's context as all commands so far have left it.

    byte 0, 1   number of the user, in order of first definition, from 1; 0: of no user
    byte 7      its upper four bits: number of the protocol; 0 is OUCH 4.2

All other bits are the protocol's own. OUCH (``gateway.ouch.context``) has

    byte 2      buy_sell        byte 3  display           byte 4  capacity
    byte 5      intermarket     byte 6  customer_type     byte 7  flags, in its lower four bits

A node that cancels the orders of a user who left one by one writes ``OF_DISCONNECT`` into each CANCEL row. The market
reports them as canceled by their owner, since its rules know no other reason of a CANCEL; a report says why.

A replace by another protocol than that of the order leaves the order's context as it is, but for the user; one by its
own protocol replaces the whole context, where that is not OUCH.
"""

from typing import Final

import numpy as np

from engine.jit import inlined, lshr, shl
from wire.ouch_codes import BuySell, Capacity, CustomerType, Display, IntermarketSweep

#: Number of the protocol OUCH.
OUCH: Final = 0
#: Flags of OUCH: the time in force is system hours; the message of a CANCEL was a Modify Order.
SYSTEM_HOURS: Final = 1
MODIFY: Final = 2

#: Context of a CANCEL row for a user with ``cancel_on_disconnect`` who left: of no user, with a flag no message gives.
OF_DISCONNECT: Final = np.int64(8 << 56)

_USER: Final = np.int64(0xFFFF)
_SIDE: Final = np.int64(0xFF) << 16
_DISPLAY: Final = np.int64(0xFF) << 24
_SWEEP: Final = np.int64(0xFF) << 40
_HOURS: Final = np.int64(SYSTEM_HOURS) << 56
#: Codes of an order that no user entered: displayed, other capacity, no sweep.
_UNENTERED: Final = np.int64(
    (int(Display.ANONYMOUS) << 24)
    | (int(Capacity.OTHER) << 32)
    | (int(IntermarketSweep.NOT_ELIGIBLE) << 40)
    | (int(CustomerType.AS_CONFIGURED) << 48)
)


@inlined
def user_in(context):
    """Number of the user who sent a command, as its context says."""
    return context & _USER


@inlined
def with_user(context, user):
    """A context with another user."""
    return (context & ~_USER) | user


@inlined
def protocol_in(context):
    """Number of the protocol by which a command came, as its context says."""
    return lshr(context, 60)


@inlined
def with_protocol(context, protocol):
    """A context of OUCH with the number of another protocol."""
    return context | shl(protocol, np.int64(60))


@inlined
def unentered(side):
    """Context of an order that no user entered. side: 1 buy, -1 sell."""
    return _UNENTERED | ((np.int64(BuySell.BUY) if side > 0 else np.int64(BuySell.SELL)) << 16)


@inlined
def _is_sale(code):
    return code == BuySell.SELL or code == BuySell.SELL_SHORT or code == BuySell.SELL_SHORT_EXEMPT


@inlined
def _shows(context):
    """1 for a displayed order, 2 for a displayed one that is post-only, else 0."""
    code = (context >> 24) & 255
    if code == Display.ANONYMOUS or code == Display.ATTRIBUTABLE:
        return 1
    if code == Display.POST_ONLY or code == Display.POST_ONLY_ATTRIBUTABLE:
        return 2
    return 0


@inlined
def after_replace(context, asked):
    """Context of an order after a user's replace, which over OUCH may change sweep, hours, and the display of a
    displayed order.

    asked: context of the REPLACE row.
    """
    protocol = protocol_in(context)
    if protocol != protocol_in(asked):
        return context
    if protocol != OUCH:
        return asked
    context = (context & ~(_SWEEP | _HOURS)) | (asked & (_SWEEP | _HOURS))
    shows = _shows(asked)
    if shows != 0 and shows == _shows(context):
        context = (context & ~_DISPLAY) | (asked & _DISPLAY)
    return context


@inlined
def is_modify(asked):
    """True if the context of a CANCEL row says that the message was a Modify Order."""
    return protocol_in(asked) == OUCH and (asked >> 56) & MODIFY != 0


@inlined
def after_modify(context, asked):
    """Context of an order after a Modify Order, which may change the mark of a sale (long, short, short exempt) that
    was entered over OUCH.
    """
    if protocol_in(context) == OUCH and _is_sale((asked >> 16) & 255) and _is_sale((context >> 16) & 255):
        return (context & ~_SIDE) | (asked & _SIDE)
    return context
