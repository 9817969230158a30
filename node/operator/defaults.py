"""Limits that a participant gets when the operator defines it: an order rate, and a share of the venue's room.

They are a ``limits`` command in the journal right behind the definition, so that the limits in force follow from the
journal alone. Existing participants keep their limits.
"""

from collections.abc import Sequence

from engine.bounds import BPS_MAX, RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX
from engine.capacity import Capacity
from engine.names import is_name, unpack
from engine.records import CommandKind
from notation.parse import Line, parse
from notation.translate import KIND_BYTE
from notation.words import Fault, percent_bps, rate_of

OFF = "off"


def checked_rate(text: str) -> str:
    """Check an order rate, in the form of ``limits``, or ``off``. Raises ValueError with the sentence."""
    if text != OFF:
        try:
            orders, window_ns = rate_of(text, "the order rate")
        except Fault as fault:
            raise ValueError(str(fault)) from None
        if not 1 <= orders <= RATE_ORDERS_MAX or not 1 <= window_ns <= RATE_WINDOW_NS_MAX:
            raise ValueError(f"the order rate is {text}; give 1 to {RATE_ORDERS_MAX} orders in at most 1d, or off")
    return text


def checked_share(text: str) -> int:
    """Parse a share to hundredths of a percent, 0 for ``off``. Raises ValueError with the sentence."""
    if text == OFF:
        return 0
    try:
        bps = percent_bps(text, "the share")
    except Fault as fault:
        raise ValueError(str(fault)) from None
    if not 1 <= bps <= BPS_MAX:
        raise ValueError(f"the share is {text}; give 0.01% to 100%, or off")
    return bps


def default_limits(capacity: Capacity, order_rate: str, share_bps: int) -> str:
    """Limits of a new participant in the words of ``limits``; "" for none.

    >>> default_limits(Capacity(orders_max=1_000, ids_max=8_000), "4000/1s", 2_500)
    'order_rate=4000/1s max_open_orders=250 max_ids=2000'
    """
    words = [] if order_rate == OFF else [f"order_rate={order_rate}"]
    if share_bps:
        words.append(f"max_open_orders={max(1, capacity.orders_max * share_bps // BPS_MAX)}")
        words.append(f"max_ids={max(1, capacity.ids_max * share_bps // BPS_MAX)}")
    return " ".join(words)


def with_defaults(lines: Sequence[Line], limits: str, known: Sequence[str]) -> tuple[list[Line], list[str]]:
    """Command lines with ``limits`` after each definition of a new participant; also the added lines."""
    if not limits:
        return list(lines), []
    every: list[Line] = []
    added: list[str] = []
    defined = set(known)
    for line in lines:
        every.append(line)
        number = int.from_bytes(line.row[:8], "little", signed=True)
        if not line.row or line.row[KIND_BYTE] != CommandKind.PARTICIPANT or not is_name(number):
            continue
        name = unpack(number)
        if name not in defined:
            defined.add(name)
            added.append(f"limits {name} {limits}")
            every.append(parse(added[-1], "defaults")[0]._replace(number=line.number))
    return every, added
