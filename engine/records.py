"""COMMAND and EVENT rows: the only two records of the exchange, and every code that they may carry.

A row is 64 bytes, little-endian, without holes. The same bytes are what the sequencer stamps, what the journal
keeps and what the engine reads, so nothing is parsed or copied on the way. A batch is a one-dimensional,
contiguous NumPy array of rows.

The *sequence number* of a command is its position in the journal (the first is 1), and its *time* is the newest
CLOCK row before it; so neither is repeated in the row. Everything that the market does for a command carries
the command's sequence number.

Definitions (instruments, participants) and orders share the eight 8-byte places of a row; overlapping field
names give each place the name that it has for that kind of command. Which places a kind uses is in
``COMMAND_FIELDS``; every place it does not use must be zero. Events do the same with one place: ``EVENT_FIELDS``.

Codes are never reused for another meaning (``tests/test_registry.py`` holds a golden copy). Zero is no code.
"""

from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np

#: Version of the rules, incremented when any event for any input changes. A slice of a journal has one value.
RULES_VERSION: Final = 6


class CommandKind(IntEnum):
    """Kind of a COMMAND row (rulebook section 12). This release interprets those in ``BUILT``."""

    CLOCK = 1
    VENUE = 2
    INSTRUMENT = 3
    PARTICIPANT = 4
    LIMITS = 5
    INDEX = 6
    SCHEDULE = 7
    ENTER = 8
    CANCEL = 9
    REPLACE = 10
    MASS_CANCEL = 11
    CROSS = 12
    PHASE = 13
    HALT = 14
    RESUME = 15
    KILL = 16
    UNKILL = 17
    EMERGENCY_CLOSE = 18
    EXTEND = 19  # further values of the command in the next row; causes no event by itself
    EPOCH = 20  # the reign of a new primary begins
    USER = 21  # who may log in for a participant, and how
    CREDENTIAL = 22  # the salted hash of a user's password
    CLOCK_JUMP = 23  # the machine's clock was found elsewhere than it should be; for the record
    MEMBERS = 24  # members of the index that a later row defines; causes no event by itself


class EventKind(IntEnum):
    """Kind of an EVENT row (rulebook section 12)."""

    ACCEPTED = 1
    REJECTED = 2
    TRADE = 3
    CANCELED = 4
    REPLACED = 5
    CANCEL_REJECTED = 6
    TRIGGERED = 7
    REPLENISHED = 8
    REPRICED = 9
    INDICATIVE = 10
    PHASE = 11
    HALTED = 12
    KILLED = 13
    UNKILLED = 14


class Side(IntEnum):
    """Side of an order. The sign does the mirror: a price a is better for its side than b when side * (a - b) > 0."""

    BUY = 1
    SELL = -1


class TimeInForce(IntEnum):
    """Time in force of an order (rulebook section 4)."""

    DAY = 1
    GTC = 2
    GTD = 3
    IOC = 4
    FOK = 5
    OPENING = 6
    CLOSING = 7


class SelfTrade(IntEnum):
    """Self-trade prevention: the action when an order would trade with its own group (rulebook section 5)."""

    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4
    NONE = 5


class Phase(IntEnum):
    """Trading phase of an instrument (rulebook section 6)."""

    CLOSED = 1
    PRE_OPEN = 2
    OPENING_AUCTION = 3
    CONTINUOUS = 4
    HALTED = 5
    AUCTION = 6
    CLOSING_AUCTION = 7


class Book(IntEnum):
    """Book of the instrument (rulebook section 3)."""

    LIT = 0
    MIDPOINT = 1


class Instruction(IntFlag):
    """Bits of an order's ``instructions`` (rulebook section 4); each says that its word stands in the command."""

    MARKET = 1  # no limit price: price_e4 is 0
    POST_ONLY = 2
    HIDDEN = 4
    DISPLAY = 8
    MIN_QTY = 16
    STOP = 32
    PEG = 64
    OFFSET = 128
    UNTIL = 256


class Peg(IntEnum):
    """Reference that the price of a pegged order follows (rulebook section 4): of the best displayed prices."""

    PRIMARY = 1  # its own side's
    MIDPOINT = 2  # the middle of both
    MARKET = 3  # the other side's


class Permission(IntFlag):
    """Bits of a participant's ``permissions`` (``allow=``, rulebook section 12)."""

    MARKET = 1
    STP_NONE = 2


class UserPermission(IntFlag):
    """Bits of a user's ``permissions`` (``user``, rulebook section 12)."""

    ENABLED = 1  # may log in
    CANCEL_ON_DISCONNECT = 2  # open orders go when the connection does
    NEWEST_WINS = 4  # a second login ends the first; without it the second is refused


class InstrumentSetting(IntFlag):
    """Bits of an instrument's ``settings`` (``instrument``, rulebook section 12)."""

    BAND = 1  # a limit price is checked against the reference price, and market orders have a collar
    CANCEL_ON_HALT = 2  # a halt cancels all its orders
    MIDPOINT = 4  # it has a midpoint book beside the lit one
    VOLATILITY = 8  # a trade too far from the price in force a while ago halts it


class VenueSetting(IntFlag):
    """Bits of the ``settings`` of a venue: which of its values a command names (``venue``, rulebook section 12)."""

    SPEED_BUMP = 1
    DAY_START = 2


class Limit(IntFlag):
    """The limits of a participant. In a command, which are named, and which of those are ``off`` (``limit_places``).

    RESTRICTED has no value: named it restricts, ``off`` (``restricted=no``) it does not.
    """

    MAX_ORDER_QTY = 1
    MAX_ORDER_VALUE = 2
    ORDER_RATE = 4
    MAX_POSITION = 8
    CREDIT = 16
    MARGIN = 32
    ADV = 64
    RESTRICTED = 128
    MAX_OPEN_ORDERS = 256
    MAX_IDS = 512


class Reason(IntEnum):
    """Reason of a reject, a cancel or a halt (rulebook sections 8, 9, 11, 12)."""

    UNKNOWN_PARTICIPANT = 1
    UNKNOWN_INSTRUMENT = 2
    KILLED = 3
    HALTED = 4
    CLOSED = 5
    NOT_CONTINUOUS = 6
    NOT_AUCTION = 7
    INVALID_QTY = 8
    INVALID_LOT = 9
    INVALID_PRICE = 10
    INVALID_TICK = 11
    INVALID_INSTRUCTION = 12
    DUPLICATE_ID = 13
    RESTRICTED = 14
    MARKET_NOT_PERMITTED = 15
    STP_NOT_PERMITTED = 16
    PRICE_BAND = 17
    MAX_ORDER_QTY = 18
    MAX_ORDER_VALUE = 19
    ORDER_RATE = 20
    ADV = 21
    POSITION_LIMIT = 22
    CREDIT = 23
    WOULD_CROSS = 24
    CAPACITY = 25
    INVALID_COMMAND = 26
    UNKNOWN_ORDER = 27
    NOT_HALTED = 28
    USER = 40
    MASS_CANCEL = 41
    IOC = 42
    FOK = 43
    MIN_QTY = 44
    NO_LIQUIDITY = 45
    SELF_TRADE = 46
    REPLACED = 47
    EXPIRED = 48
    END_OF_DAY = 49
    AUCTION = 50
    HALT = 51
    KILL = 52
    DISCONNECT = 53
    VOLATILITY = 60
    MARKET_WIDE = 61
    COMMAND = 62


def _overlapping(places: dict[int, tuple[str, ...]], formats: dict[str, str], itemsize: int) -> np.dtype:
    names = [name for offset in sorted(places) for name in places[offset]]
    offsets = [offset for offset in sorted(places) for _ in places[offset]]
    return np.dtype(
        {"names": names, "formats": [formats.get(n, "<i8") for n in names], "offsets": offsets, "itemsize": itemsize}
    )


#: Offset of each place of a COMMAND row, and the names it goes by.
COMMAND_PLACES: Final = {
    0: ("client_order_id", "name", "time_ns", "rate_orders", "band_bps", "level_1_bps"),
    8: (
        "new_client_order_id",
        "symbol",
        "group",
        "context",
        "participant_name",
        "salt_0",
        "rate_window_ns",
        "jump_ns",
        "epoch",
        "due_ns",
        "volatility_bps",
        "level_1_ns",
        "speed_bump_ns",
    ),
    16: (
        *("price_e4", "reference_e4", "token_head", "firm", "salt_1", "max_order_value_e4", "margin_bps"),
        *("volatility_window_ns", "weight", "level_2_bps", "day_start_ns"),
    ),
    24: (
        *("qty", "lot", "token_tail", "hash_0", "max_order_qty", "adv_share_bps", "volatility_halt_ns"),
        *("further_symbol", "level_2_ns"),
    ),
    32: (
        "min_qty",
        "until_ns",
        "buyer",
        "tick_e4",
        "duration_ns",
        "new_context",
        "new_token_head",
        "hash_1",
        "max_position_qty",
        "max_open_orders",
        "further_weight",
        "level_3_bps",
    ),
    40: (
        *(
            "display_qty",
            "stop_e4",
            "offset_e4",
            "seller",
            "adv_qty",
            "new_token_tail",
            "hash_2",
            "credit_e4",
            "max_ids",
        ),
        "level_3_ns",
    ),
    48: ("participant",),
    52: ("instrument",),
    56: ("kind",),
    57: ("side",),
    58: ("time_in_force",),
    59: ("self_trade",),
    60: ("instructions", "permissions", "limits", "settings"),
    62: ("book", "further_limits"),
    63: ("phase", "reason", "cost", "further_off", "peg"),
}
_NARROW: Final = {
    "participant": "<u4",
    "instrument": "<u4",
    "kind": "u1",
    "side": "i1",
    "time_in_force": "u1",
    "self_trade": "u1",
    "instructions": "<u2",
    "permissions": "<u2",
    "limits": "<u2",
    "settings": "<u2",
    "book": "u1",
    "phase": "u1",
    "reason": "u1",
    "cost": "u1",
    "further_limits": "u1",
    "further_off": "u1",
    "peg": "u1",
}

#: One row, one command. ``participant`` and ``instrument`` are numbers in order of definition, from 1; 0 is unknown.
COMMAND: Final = _overlapping(COMMAND_PLACES, _NARROW, 64)

#: The places that a kind uses, besides ``kind`` itself; all others must be zero.
#: An id or a name is 1 to 8 ASCII characters, big-endian and right-aligned (``engine.names``).
COMMAND_FIELDS: Final = {
    CommandKind.CLOCK: ("time_ns",),
    # settings: bits of ``VenueSetting``; the values of those that are not there are 0. speed_bump_ns 0: no delay.
    CommandKind.VENUE: ("speed_bump_ns", "day_start_ns", "settings"),
    # adv_qty 0: none. settings: bits of ``InstrumentSetting``, whose values are in the EXTEND row before it.
    CommandKind.INSTRUMENT: ("name", "reference_e4", "lot", "tick_e4", "adv_qty", "settings"),
    CommandKind.PARTICIPANT: ("name", "group", "permissions"),
    # symbol 0: the participant's in all instruments. The other six values are in the EXTEND row before it.
    CommandKind.LIMITS: (
        "name",
        "symbol",
        "max_order_value_e4",
        "max_order_qty",
        "max_position_qty",
        "credit_e4",
        "limits",  # the first eight: those named, and 8 bits higher those of them that are off
        "further_limits",  # the limits after the first eight: those named
        "further_off",  # and those of them that are off
    ),
    CommandKind.ENTER: (
        "client_order_id",
        "context",  # of the gateway, for the record: the market does not look at it
        "price_e4",
        "qty",
        "min_qty",  # only with Instruction.MIN_QTY
        "until_ns",  # only with Instruction.UNTIL, in the same place: no order has both
        "display_qty",  # only with Instruction.DISPLAY
        "stop_e4",  # only with Instruction.STOP, in the same place: no order has both
        "offset_e4",  # only with Instruction.OFFSET, in the same place
        "participant",
        "instrument",
        "side",
        "time_in_force",
        "self_trade",
        "instructions",
        "book",
        "peg",  # a ``Peg`` with Instruction.PEG, else 0
    ),
    CommandKind.CANCEL: ("client_order_id", "context", "qty", "participant"),  # qty: the total intended; 0: none of it
    CommandKind.REPLACE: (
        "client_order_id",
        "new_client_order_id",
        "price_e4",
        "qty",
        "new_context",  # the context from then on
        "display_qty",
        "stop_e4",
        "participant",
        "instructions",  # MARKET, DISPLAY, STOP
    ),
    CommandKind.MASS_CANCEL: ("name", "symbol", "side", "reason"),  # symbol 0: all; side 0: both
    # buyer, seller: names of the participants.
    CommandKind.CROSS: (
        "client_order_id",
        "context",
        "price_e4",
        "qty",
        "buyer",
        "seller",
        "participant",
        "instrument",
    ),
    CommandKind.PHASE: ("name", "phase"),  # name: a symbol, or * for each
    CommandKind.SCHEDULE: ("name", "due_ns", "phase"),  # name: as of a phase; due_ns: its time
    # Members of the index of that name, which the INDEX row takes; zeros are none.
    CommandKind.MEMBERS: ("name", "symbol", "weight", "further_symbol", "further_weight"),
    CommandKind.INDEX: ("name",),  # its levels are in the EXTEND row before it
    CommandKind.HALT: ("name", "duration_ns"),  # duration_ns 0: until it is resumed
    CommandKind.RESUME: ("name",),
    CommandKind.KILL: ("name",),  # a participant's, or * for each
    CommandKind.UNKILL: ("name",),
    CommandKind.EMERGENCY_CLOSE: (),
    # Before an ENTER, CANCEL or REPLACE: the name of an unknown participant and the symbol of an unknown instrument,
    # and the 14 characters of an order token that is no client order id, of a REPLACE the new one's too. Before a
    # LIMITS: rate_orders, rate_window_ns, margin_bps, adv_share_bps, max_open_orders and max_ids, in the same places.
    # Before an INSTRUMENT: band_bps, volatility_bps, volatility_window_ns and volatility_halt_ns. Before an INDEX: of
    # each of three levels a fall in hundredths of a percent (0: no such level) and the time of its halt (0: it closes).
    CommandKind.EXTEND: ("name", "symbol", "token_head", "token_tail", "new_token_head", "new_token_tail"),
    CommandKind.EPOCH: ("name", "epoch"),  # name: the node's
    CommandKind.USER: ("name", "participant_name", "firm", "permissions"),
    # cost: of scrypt, log2 of its N, with r = 8 and p = 1; salt 16 bytes, hash 24, big-endian.
    CommandKind.CREDENTIAL: ("name", "salt_0", "salt_1", "hash_0", "hash_1", "hash_2", "cost"),
    # time_ns: what the machine's clock says. jump_ns: how far that is from where it was expected, ahead or (< 0) back.
    CommandKind.CLOCK_JUMP: ("time_ns", "jump_ns"),
}

#: The kinds that this release interprets; any other is answered ``invalid_command``.
BUILT: Final = frozenset(COMMAND_FIELDS)

#: Offset of each place of an EVENT row, and the names it goes by.
EVENT_PLACES: Final = {
    0: ("seq",),  # of the command that caused it
    8: ("client_order_id",),  # trade: the resting order (uncross: the buy); else its order, or the id or name refused
    16: ("contra_client_order_id",),  # trade: the aggressor (uncross: the sell); replaced: the new id
    24: ("price_e4",),
    32: ("qty",),
    40: ("order_number", "trade_number", "imbalance_qty"),  # order and trade numbers are dense, from 1, per venue
    48: ("participant",),  # of client_order_id
    52: ("contra_participant",),  # of contra_client_order_id, in a trade
    56: ("instrument",),
    60: ("kind",),
    61: ("reason",),
    62: ("side",),  # of the order, or of the imbalance; of a trade: the aggressor's, 0 in an uncross
    63: ("phase",),
}

#: One row, one event. Places that an event does not use are zero; which it uses is in ``EVENT_FIELDS``.
EVENT: Final = _overlapping(EVENT_PLACES, {**_NARROW, "contra_participant": "<u4"}, 64)

#: The places that an event uses, besides ``seq`` and ``kind``; all others are zero.
EVENT_FIELDS: Final = {
    EventKind.ACCEPTED: ("client_order_id", "price_e4", "qty", "order_number", "participant", "instrument", "side"),
    # client_order_id: the id or name refused (of a replace that could be read: the new id). participant and
    # instrument where known: of an ENTER its own; of a REPLACE the order's; of an invalid_command and of other
    # kinds both 0.
    EventKind.REJECTED: ("client_order_id", "participant", "instrument", "reason"),
    EventKind.TRADE: (
        "client_order_id",
        "contra_client_order_id",
        "price_e4",
        "qty",
        "trade_number",
        "participant",
        "contra_participant",
        "instrument",
        "side",
    ),
    # price_e4: the order's limit (0: market). qty: what is canceled.
    EventKind.CANCELED: (
        "client_order_id",
        "price_e4",
        "qty",
        "order_number",
        "participant",
        "instrument",
        "reason",
        "side",
    ),
    # price_e4: the new limit. qty: what is open before the order runs as aggressor. order_number: as it was.
    EventKind.REPLACED: (
        "client_order_id",
        "contra_client_order_id",
        "price_e4",
        "qty",
        "order_number",
        "participant",
        "instrument",
        "side",
    ),
    EventKind.CANCEL_REJECTED: ("client_order_id", "participant", "reason"),  # participant 0 where unknown
    # price_e4: the limit (0: market). qty: what is open before the order runs.
    EventKind.TRIGGERED: ("client_order_id", "price_e4", "qty", "order_number", "participant", "instrument", "side"),
    # qty: what the iceberg shows now.
    EventKind.REPLENISHED: ("client_order_id", "price_e4", "qty", "order_number", "participant", "instrument", "side"),
    # price_e4: by which a peg trades from now on; 0: it has none. qty: what is open of it.
    EventKind.REPRICED: ("client_order_id", "price_e4", "qty", "order_number", "participant", "instrument", "side"),
    # price_e4: of the uncross now, 0 for none. qty: the paired quantity at it. imbalance_qty and side: the imbalance
    # there; side 0 for none.
    EventKind.INDICATIVE: ("price_e4", "qty", "imbalance_qty", "instrument", "side"),
    EventKind.PHASE: ("instrument", "phase"),
    EventKind.HALTED: ("instrument", "reason", "phase"),
    EventKind.KILLED: ("participant",),
    EventKind.UNKILLED: ("participant",),
}


#: Bits of the limits that have both their bits in ``limits`` of a LIMITS row; those of the others are in its further
#: places, as many bits lower.
_FIRST_LIMITS: Final = 255
_FIRST_LIMITS_BITS: Final = 8


def limit_places(named: int, off: int) -> dict[str, int]:
    """The places of a LIMITS row that say which limits (bits of ``Limit``) it names, and which of them are ``off``.

    >>> limit_places(Limit.CREDIT | Limit.MAX_IDS, Limit.MAX_IDS)
    {'limits': 16, 'further_limits': 2, 'further_off': 2}
    """
    first = (named & _FIRST_LIMITS) | (off & _FIRST_LIMITS) << _FIRST_LIMITS_BITS
    return {
        "limits": int(first),
        "further_limits": int(named) >> _FIRST_LIMITS_BITS,
        "further_off": int(off) >> _FIRST_LIMITS_BITS,
    }


def limit_bits(limits: int, further_limits: int, further_off: int) -> tuple[int, int]:
    """Bits of ``Limit`` that a LIMITS row with those three places names, and those of them that are ``off``.

    >>> limit_bits(16, 2, 2)
    (528, 512)
    """
    named = (limits & _FIRST_LIMITS) | further_limits << _FIRST_LIMITS_BITS
    return named, limits >> _FIRST_LIMITS_BITS | further_off << _FIRST_LIMITS_BITS


def concatenate(batches: "list[np.ndarray[Any, Any]]", dtype: "np.dtype[Any]" = COMMAND) -> "np.ndarray[Any, Any]":
    """One batch of rows out of several: of COMMAND rows, or with ``dtype`` EVENT of those.

    ``np.concatenate`` would give the fields other places, since those of a row overlap.
    """
    raw = [np.ascontiguousarray(rows).view("V64") for rows in batches]
    return np.concatenate(raw).view(dtype) if raw else np.zeros(0, dtype)


def _check_places(kind: str, dtype: "np.dtype[Any]", places: dict[int, tuple[str, ...]]) -> None:
    """Raise ValueError when a row is not 64 bytes without a hole, or the names of a place differ in size."""
    ends = {}
    for offset, names in places.items():
        sizes = {dtype[name].itemsize for name in names}
        if len(sizes) != 1:
            raise ValueError(f"the names of {kind} place {offset} differ in size: {names}")
        ends[offset] = offset + sizes.pop()
    if [*sorted(ends)[1:], 64] != [ends[offset] for offset in sorted(ends)]:
        raise ValueError(f"{kind} has a hole")


_check_places("COMMAND", COMMAND, COMMAND_PLACES)
_check_places("EVENT", EVENT, EVENT_PLACES)
