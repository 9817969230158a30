"""State of the load generator: connections and orders, as arrays that its two kernels share.

Order numbers count from 1 in each connection, and so do requests (Enter, Cancel and Replace). A connection keeps its
newest orders in a ring. A place is used again only when its order is dead and every request about it is answered, so
that each message of the exchange can be judged: nothing is forgotten.

A token is eight characters, the digits of ``token_base`` + order number in base 64, whose digits rise as ASCII does.
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wire.ouch_layout import FROM_CLIENT, offsets
from wire.soup import HEAD_BYTES

Rows = NDArray[Any]

ALPHABET: Final = b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_DIGITS: Final = 8
#: A connection's tokens begin with its number, and go on with 38 bits that rise.
CONNECTIONS_MAX: Final = 1_024
_RISING_BITS: Final = 38
_PER_MS_BITS: Final = 11

#: Offset in a connection's region to which arrivals are read; the rest of a cut packet is just before.
HELD_BYTES: Final = 2_048
#: Bytes of the longest request, framed.
REQUEST_BYTES: Final = HEAD_BYTES + max(offsets(layout).end for layout in FROM_CLIENT.values())

_TABLE: Final = 1_024
_AWAY_TICKS: Final = 6.0
_RECENT_ORDERS: Final = 2_000
MID_TICKS: Final = 10_000
TICK_E4: Final = 100


class State(IntEnum):
    """State of an order."""

    FREE = 0  # its place was never used
    SENT = 1
    LIVE = 2
    DEAD = 3


class Change(IntEnum):
    """The open request of an order."""

    NONE = 0
    CANCEL = 1
    REPLACE = 2


class Mix(NamedTuple):
    """Shares of the requests; they add up to 1. An IOC order is priced as a limit order is, a marketable one to
    cross the book."""

    limit: float = 0.50
    cancel: float = 0.40
    ioc: float = 0.06
    marketable: float = 0.04
    replace: float = 0.0


#: W1 of the standard workloads, with marketable IOC orders for market orders, which OUCH has in a cross only.
W1: Final = Mix()

_COUNTS: Final = ("accepted", "rejected", "replaced", "canceled", "self_matched", "executed", "cancel_rejected")
#: Faults of an exchange: messages about orders that were never sent (unknown), about what was over already
#: (doubled), answers out of order (reordered), with other content than was asked for (wrong), an order called gone
#: without a message that it went (unexplained), and bytes that are no message of an exchange (broken).
FAULTS: Final = ("unknown", "doubled", "reordered", "wrong", "unexplained", "broken")

CONNECTION: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "token_base",
            "random",
            "orders",  # number of the last one
            "oldest",  # no order before it is to be canceled for its age
            "requests",  # sent
            "answered",
            "newest_answered",  # request
            "requests_max",
            "window",  # requests that may be unanswered
            "due_ns",  # of the next request, in an open loop
            "interval_ns",  # 0: a closed loop
            "sent_ns",  # when something was last written
            "latencies_at",  # where its part of ``latency_ns`` begins
            "latencies_max",  # how long that is
            "latencies",  # how many are in it
            "held",  # bytes of a packet that is not complete
            "out",  # bytes that wait to be sent
            "ended",  # the exchange said that the session is over
            "messages",  # sequenced ones
            "bought_qty",
            "sold_qty",
            *_COUNTS,
            *FAULTS,
        )
    ]
)

ORDER: Final = np.dtype(
    [
        ("number", "<i8"),
        ("enter_request", "<i8"),
        ("change_request", "<i8"),
        ("replaces", "<i8"),  # number of the order that this one replaces; 0: none
        ("leaves_qty", "<i4"),
        ("price_ticks", "<i4"),
        ("symbol", "<i4"),
        ("state", "u1"),
        ("change", "u1"),
        ("side", "i1"),
        ("ioc", "u1"),
    ],
    align=True,
)


class Load(NamedTuple):
    """The arrays. Regions and rings have a row a connection; lengths of rings are powers of two."""

    connections: Rows  # CONNECTION
    orders: Rows  # ORDER, ring by order number
    intended_ns: Rows  # int64, ring by request number
    arrived: Rows  # uint8
    out: Rows  # uint8
    shares: Rows  # int64: running totals of the mix in 1/65536
    stocks: Rows  # uint8, eight characters a symbol
    mids: Rows  # int64, ticks, a symbol
    away: Rows  # int64, ticks: a table of an exponential distribution
    recent: Rows  # int64, orders back: likewise
    digits: Rows  # uint8, 64: the alphabet
    values: Rows  # int64, 256: the digit of a character, -1 for none
    latency_ns: Rows  # int64: of answers, from the time they were meant for; each connection has a part


def _power(number: int) -> int:
    return 1 << max(number - 1, 1).bit_length()


def _exponential(mean: float) -> Rows:
    rank = (np.arange(_TABLE) + 0.5) / _TABLE
    return np.ceil(-mean * np.log1p(-rank)).astype(np.int64)


def token_base(connection: int, ms_of_day: int) -> int:
    """Number before a connection's first token, above those of runs earlier in the day."""
    return (connection << _RISING_BITS) | (ms_of_day << _PER_MS_BITS)


def token(number: int) -> bytes:
    """The token of a number, eight characters.

    >>> token(64 * 12 + 13)
    b'------AB'
    """
    return bytes(ALPHABET[(number >> (6 * place)) & 63] for place in reversed(range(TOKEN_DIGITS)))


def new_load(
    connections: int,
    *,
    symbols: list[str],
    window: int,
    batch: int = 4_096,
    mix: Mix = W1,
    seed: int = 1,
    ms_of_day: int = 0,
    latencies_max: int = 0,  # of a connection
    in_flight_max: int | None = None,
) -> Load:
    """Arrays for so many connections, each with at most ``window`` requests unanswered and ``batch`` written at a time.

    in_flight_max: room for requests in flight, a connection, if the window is to grow. Raises ValueError for a number
    of connections that has no tokens.
    """
    if not 1 <= connections <= CONNECTIONS_MAX:
        raise ValueError(f"{connections} connections; there are tokens for 1 to {CONNECTIONS_MAX}")
    flight = _power(max(window, in_flight_max or 0, 2))
    ring = max(4 * flight, _power((1 << 18) // connections), 256)
    rows = np.zeros(connections, CONNECTION)
    rows["token_base"] = [token_base(number, ms_of_day) for number in range(connections)]
    rows["random"] = np.random.default_rng(seed).integers(1, 2**62, connections)
    rows["oldest"] = 1
    rows["window"] = window
    rows["latencies_max"] = latencies_max
    rows["latencies_at"] = np.arange(connections) * latencies_max
    values = np.full(256, -1, np.int64)
    values[list(ALPHABET)] = np.arange(64)
    shares = np.cumsum(np.array(mix) * 65_536).round().astype(np.int64)
    region = HELD_BYTES + min(max((4 << 20) // connections, 8_192), 1 << 20)
    return Load(
        connections=rows,
        orders=np.zeros((connections, ring), ORDER),
        intended_ns=np.zeros((connections, flight), np.int64),
        arrived=np.zeros((connections, region), np.uint8),
        out=np.zeros((connections, min(flight, batch) * REQUEST_BYTES + 8), np.uint8),
        shares=shares,
        stocks=np.frombuffer("".join(f"{symbol:8}" for symbol in symbols).encode(), np.uint8).reshape(-1, 8).copy(),
        mids=np.full(len(symbols), MID_TICKS, np.int64),
        away=_exponential(_AWAY_TICKS),
        recent=_exponential(max(_RECENT_ORDERS / connections, 8.0)),
        digits=np.frombuffer(ALPHABET, np.uint8).copy(),
        values=values,
        latency_ns=np.zeros(connections * latencies_max, np.int64),
    )


def total(load: Load, name: str) -> int:
    """A field of CONNECTION, added up."""
    return int(load.connections[name].sum())


def counts(load: Load) -> dict[str, int]:
    """Messages of the exchange, by kind."""
    return {name: total(load, name) for name in _COUNTS}


def faults(load: Load) -> dict[str, int]:
    """Faults by kind, with lost requests (never answered) and IOC orders left open: all are to be 0."""
    orders = load.orders
    left_open = (orders["state"] == State.LIVE) & (orders["ioc"] == 1)
    return {
        "lost": total(load, "requests") - total(load, "answered"),
        **{name: total(load, name) for name in FAULTS},
        "ioc_left_open": int(left_open.sum()),
    }


def unpaired_qty(load: Load) -> int:
    """Shares bought less shares sold: 0 when nobody else trades and no execution was lost."""
    return total(load, "bought_qty") - total(load, "sold_qty")
