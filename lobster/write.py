"""The rows of a translated LOBSTER file: clocks where the time changes, client order ids, and the set-up of the venue.

A client order id has 1 to 8 characters, and the data's ids are numbers of any size: L and the number in base 62 where
that fits, else N and a dense count. R, S and T count replaced, seeded and taking orders.
"""

from collections import Counter
from typing import Final

from engine.names import Directory, pack
from engine.records import CommandKind, Permission, Phase, SelfTrade, TimeInForce
from engine.row_bytes import ROW, clock_row
from lobster.book import MakerOrder

MAKER: Final = "MAKER"
TAKER: Final = "TAKER"
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DENSE_MAX: Final = 62**7


class RowWriter:
    """Writer of rows, each after a CLOCK row if the time has changed, and source of client order ids."""

    def __init__(self, directory: Directory) -> None:
        self.raw = bytearray()
        self.time_ns = directory.now_ns
        self.clock_ns = directory.now_ns
        self.maker = len(directory.participants) + 1
        self.taker = self.maker + 1
        self.instrument = len(directory.symbols) + 1
        self._given: Counter[str] = Counter()
        self._seen: set[int] = set()

    def row(self, kind: CommandKind, *places: int) -> None:
        """One row: the eight places before the kind, then those after it."""
        if self.time_ns != self.clock_ns:
            self.raw += clock_row(self.time_ns)
            self.clock_ns = self.time_ns
        self.raw += ROW.pack(*places[:8], int(kind), *places[8:])

    def dense_id(self, prefix: str) -> int:
        """The next id under a prefix: S seeded, R replaced, T of the taker, N where an id of the data does not fit."""
        self._given[prefix] += 1
        return pack(prefix + base_62(self._given[prefix]))

    def data_id(self, order_id: int) -> int:
        """L and the id of the data, where that fits and was not used before."""
        if not 0 <= order_id < _DENSE_MAX or order_id in self._seen:
            return self.dense_id("N")
        self._seen.add(order_id)
        return pack("L" + base_62(order_id))

    def enter(
        self, client_order_id: int, participant: int, side: int, price_e4: int, qty: int, tif: TimeInForce
    ) -> None:
        """A limit order."""
        stp = int(SelfTrade.CANCEL_NEWEST)
        self.row(
            CommandKind.ENTER,
            client_order_id,
            0,
            price_e4,
            qty,
            0,
            0,
            participant,
            self.instrument,
            side,
            int(tif),
            stp,
            0,
            0,
            0,
        )

    def shrink(self, order: MakerOrder, qty: int) -> bool:
        """Take ``qty`` off what the venue has open of an order; True if nothing is left."""
        order.open_qty -= qty
        if order.open_qty == 0:
            self.row(CommandKind.CANCEL, order.client_order_id, 0, 0, 0, 0, 0, self.maker, 0, 0, 0, 0, 0, 0, 0)
            return True
        order.total_qty -= qty
        new_id = self.dense_id("R")
        places = (order.client_order_id, new_id, order.price_e4, order.total_qty, 0, 0, self.maker, 0, 0, 0, 0, 0, 0, 0)
        self.row(CommandKind.REPLACE, *places)
        order.client_order_id = new_id
        return False


def base_62(number: int) -> str:
    """A number from 0 in the digits 0-9 A-Z a-z.

    >>> base_62(0), base_62(61), base_62(62)
    ('0', 'z', '10')
    """
    digits = ""
    while True:
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
        if number == 0:
            return digits


def lobster_id(client_order_id: str) -> int | None:
    """The order id in the data of a client order id that was made of one; None of any other.

    >>> lobster_id("L" + base_62(16113575))
    16113575
    """
    if not client_order_id.startswith("L"):
        return None
    number = 0
    for digit in client_order_id[1:]:
        number = number * 62 + _DIGITS.index(digit)
    return number


def set_up(writer: RowWriter, participants: tuple[str, str], symbol: str, tick_e4: int, reference_e4: int) -> None:
    """The venue's definitions, and continuous trading. participants: maker and taker."""
    writer.row(CommandKind.INSTRUMENT, pack(symbol), 0, reference_e4, 1, tick_e4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    for participant in participants:
        places = (pack(participant), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, int(Permission.MARKET), 0, 0)
        writer.row(CommandKind.PARTICIPANT, *places)
    writer.row(CommandKind.PHASE, pack(symbol), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, int(Phase.CONTINUOUS))
