"""Native order entry, version 1: the fields of each message in order. Readers and writers are made from it.

OUCH 4.2 cannot say all that the market knows. These messages can: an order command has the places of a COMMAND row, and
every answer is a report that is complete by itself. They are the payloads of SoupBinTCP 3.00, as those of OUCH are:
logins, heartbeats, numbers and requests for the past are the same.

A field is a name and a format of ``struct``: B and b one byte, H two, I four, q and Q eight, ``14s`` text. All is
big-endian and without holes. Every message has its kind and then the version. Text is ASCII, padded on the right with
spaces. A price is a whole number of 1/10,000, a time nanoseconds since 1970. Codes are those of ``engine.records`` and
``reports.rows``, which never change their meaning.
"""

from enum import IntEnum
from typing import Final

from wire.ouch_layout import FIRM_CHARACTERS, STOCK_CHARACTERS, TOKEN_CHARACTERS, Layout

#: Version of the layouts. A message of another one ends the session, with the reason.
VERSION: Final = 1
NAME_CHARACTERS: Final = 8
USER_CHARACTERS: Final = 6


class FromClient(IntEnum):
    """First byte of a message of a client."""

    ENTER = ord("E")
    CANCEL = ord("X")
    REPLACE = ord("U")
    MASS_CANCEL = ord("M")


class FromServer(IntEnum):
    """First byte of a message of the exchange."""

    REPORT = ord("R")
    DAY = ord("S")


#: Sides in a message of a client; 0 in a MASS_CANCEL is both.
BUY: Final = 1
SELL: Final = -1

_TOKEN: Final = f"{TOKEN_CHARACTERS}s"
_SYMBOL: Final = f"{STOCK_CHARACTERS}s"
_NAME: Final = f"{NAME_CHARACTERS}s"
_HEAD: Final = (("kind", "B"), ("version", "B"))

#: Messages of a client. ``qty``: of a CANCEL or REPLACE the total intended, what was executed included; 0 in a CANCEL:
#: nothing stays. ``instructions``: bits of ``engine.records.Instruction``. ``price_e4``: 0 with the instruction MARKET.
#: ``minimum``: the place of min_qty or until_ns, by the instructions; ``shown``: that of display_qty, stop_e4 or
#: offset_e4. ``further``: the last place of the row: the reference of a peg, else 0.
FROM_CLIENT: Final[dict[FromClient, Layout]] = {
    FromClient.ENTER: (
        *_HEAD,
        ("order_token", _TOKEN),
        ("symbol", _SYMBOL),
        ("price_e4", "q"),
        ("qty", "q"),
        ("minimum", "q"),
        ("shown", "q"),
        ("instructions", "H"),
        ("side", "b"),
        ("time_in_force", "B"),
        ("self_trade", "B"),
        ("book", "B"),
        ("further", "B"),
    ),
    FromClient.CANCEL: (*_HEAD, ("order_token", _TOKEN), ("qty", "q")),
    FromClient.REPLACE: (
        *_HEAD,
        ("order_token", _TOKEN),
        ("replacement_token", _TOKEN),
        ("price_e4", "q"),
        ("qty", "q"),
        ("shown", "q"),
        ("instructions", "H"),
    ),
    FromClient.MASS_CANCEL: (*_HEAD, ("symbol", _SYMBOL), ("side", "b")),
}

#: A report: the places of a REPORT row that concern the user it is sent to; nothing of the other side of a trade.
#: ``report``: its kind. ``command``: that of the command that caused it. ``number``: among the reports of that command.
#: ``order_token``: of the order now; of a reject, what was refused. ``orders``: of a mass cancel, how many it takes.
REPORT: Final[Layout] = (
    *_HEAD,
    ("report", "B"),
    ("command", "B"),
    ("time_ns", "q"),
    ("seq", "q"),
    ("number", "I"),
    ("order_number", "q"),
    ("trade_number", "q"),
    ("order_token", _TOKEN),
    ("previous_token", _TOKEN),
    ("symbol", _SYMBOL),
    ("participant", _NAME),
    ("user", f"{USER_CHARACTERS}s"),
    ("firm", f"{FIRM_CHARACTERS}s"),
    ("price_e4", "q"),
    ("last_price_e4", "q"),
    ("notional_e4", "q"),
    ("stop_e4", "q"),
    ("offset_e4", "q"),
    ("until_ns", "q"),
    ("qty", "q"),
    ("leaves_qty", "I"),
    ("cum_qty", "I"),
    ("canceled_qty", "I"),
    ("original_qty", "I"),
    ("last_qty", "I"),
    ("decrement_qty", "I"),
    ("displayed_qty", "I"),
    ("min_qty", "I"),
    ("display_qty", "I"),
    ("orders", "I"),
    ("instructions", "H"),
    ("reason", "B"),
    ("side", "b"),
    ("time_in_force", "B"),
    ("self_trade", "B"),
    ("book", "B"),
    ("liquidity", "B"),
    ("in_book", "B"),
    ("peg", "B"),
)
#: Begin (``event`` S) and end (E) of a trading day, the first and last message of each stream.
DAY: Final[Layout] = (*_HEAD, ("event", "B"))
FROM_SERVER: Final[dict[FromServer, Layout]] = {FromServer.REPORT: REPORT, FromServer.DAY: DAY}
DAY_BEGINS: Final = ord("S")
DAY_ENDS: Final = ord("E")
