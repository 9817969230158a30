"""Every bound of the engine, and the relations between them, checked at import.

The bounds of section 1 of the rulebook are constants. ``Capacity`` is chosen once, when a node's data directory
is created, is kept in its journal, and is never changed afterwards: it decides outcomes (``capacity`` rejects).
"""

from dataclasses import dataclass
from typing import Final

PRICE_E4_MAX: Final = 9_999_999_999
QTY_MAX: Final = 99_999_999
TIME_NS_MAX: Final = 2**62
INT64_MAX: Final = 2**63 - 1
DAY_NS: Final = 86_400 * 1_000_000_000

#: Bounds of the cost of a password's hash: log2 of scrypt's N.
CREDENTIAL_COST_MIN: Final = 4
CREDENTIAL_COST_MAX: Final = 20

#: Values of ``limits``. An order rate looks back over as many entries as are remembered of each participant.
RATE_ORDERS_MAX: Final = 4_096
RATE_WINDOW_NS_MAX: Final = DAY_NS
BPS_MAX: Final = 10_000

#: Average daily volume of an instrument, so that a share of it is within int64.
ADV_QTY_MAX: Final = INT64_MAX // BPS_MAX

#: Duration of the call after a halt.
CALL_AFTER_HALT_NS: Final = 60 * 1_000_000_000

#: Lines of four rows of the table of client order ids that a search looks at before it goes on in the tree.
ID_LINES_MAX: Final = 8

#: The most that a capacity may be. A slot leaves room for one more bit in uint32 (``index.py``).
ORDERS_MAX_MAX: Final = 2**29
IDS_MAX_MAX: Final = 2**30

#: Commands of a block at most. The engine takes longer batches too, in as many calls as its room for events asks.
COMMANDS_PER_CALL_MAX: Final = 8_192


def events_max(orders: int, instruments: int, participants: int) -> int:
    """The most events that one command causes, given how many open orders, instruments and participants there are.

    Two an open order (of self-trade prevention; of a kill or of the end of a day, its cancel and an indicative), two
    an instrument (its phase and its indicative), one a participant, and the answer. Python and kernels ask it.
    """
    return 2 * (orders + instruments) + participants + 8


@dataclass(frozen=True)
class Capacity:
    """Capacity of a venue. A command beyond it is rejected ``capacity``, and nothing else changes.

    orders_max: open orders. ids_max: client order ids used in a trading day, those of open orders included.
    """

    orders_max: int = 1 << 20
    ids_max: int = 2 << 20
    instruments_max: int = 256
    participants_max: int = 1_024

    def __post_init__(self) -> None:
        for name, top in (
            ("orders_max", ORDERS_MAX_MAX),
            ("ids_max", IDS_MAX_MAX),
            ("instruments_max", 16_384),
            ("participants_max", 65_535),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= top:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 to {top}")
        if self.ids_max < self.orders_max:
            raise ValueError("ids_max is below orders_max: every open order bears an id")


def _check_relations() -> None:
    if not PRICE_E4_MAX * QTY_MAX < INT64_MAX:
        raise ValueError("a notional does not fit int64")
    if not 2 * (ORDERS_MAX_MAX + IDS_MAX_MAX) + 1 < 2**32:
        raise ValueError("a reference into the tree of ids does not fit uint32")


_check_relations()
