"""Bounds of numbers, of section 1 of the rulebook and of this engine; their relations are checked at import."""

from typing import Final

PRICE_E4_MAX: Final = 9_999_999_999
QTY_MAX: Final = 99_999_999
TIME_NS_MAX: Final = 2**62
EPOCH_MAX: Final = 2**62
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

#: Schedules that wait at a time, and those of them that are of every instrument.
SCHEDULES_MAX: Final = 4_096
SCHEDULES_OF_ALL_MAX: Final = 256

#: Indices, members of one, their weights, and levels of a fall of one.
INDICES_MAX: Final = 16
MEMBERS_MAX: Final = 64
WEIGHT_MAX: Final = 1_000
LEVELS_MAX: Final = 3

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS

#: The longest entry delay of a venue, and how many commands may wait for their effect.
SPEED_BUMP_NS_MAX: Final = DAY_NS
WAITING_MAX: Final = 65_536

#: The most that a volatility breaker may look back and may halt, and the ring of seconds that it remembers.
VOLATILITY_WINDOW_S_MAX: Final = 3_600
VOLATILITY_HALT_NS_MAX: Final = DAY_NS
MEMORY_SECONDS: Final = 4_096
#: New prices of pegs in one command: this many for each peg that is open, and so many besides (section 13, 40).
PEG_PRICES_EACH: Final = 2
PEG_PRICES_BESIDES: Final = 65_536

#: Next parts that an iceberg can show, after its first: it shows at least a hundredth of its quantity.
SLICES_MAX: Final = 99

#: Duration of the call after a halt.
CALL_AFTER_HALT_NS: Final = 60 * 1_000_000_000

#: Lines of four rows of the table of client order ids that a search looks at before it goes on in the tree.
ID_LINES_MAX: Final = 8

#: Commands of a block at most. The engine takes longer batches too, in as many calls as its room for events asks.
COMMANDS_PER_CALL_MAX: Final = 8_192


def _check_relations() -> None:
    if not PRICE_E4_MAX * QTY_MAX < INT64_MAX:
        raise ValueError("a notional does not fit int64")


_check_relations()
