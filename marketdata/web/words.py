"""Numbers, names and times as the Coinbase Exchange writes them.

A product is an instrument priced in dollars: XYZ is XYZ-USD. Prices and sizes are decimal text, times are ISO 8601 in
UTC with microseconds, ids of orders have the form of a UUID.
"""

import re
import time
import uuid
from functools import lru_cache
from typing import Final, Literal

from engine.records import Side

CURRENCY: Final = "USD"
#: Id that stands for an order of which viewers are not told.
NO_ORDER: Final = "00000000-0000-0000-0000-000000000000"
_SECOND_NS: Final = 1_000_000_000
_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def product_id(symbol: str) -> str:
    """Product of an instrument.

    >>> product_id("XYZ")
    'XYZ-USD'
    """
    return f"{symbol}-{CURRENCY}"


def price(price_e4: int) -> str:
    """Price or sum of money with two decimals, or four where it needs them.

    >>> price(100_000), price(100_050), price(-15_000)
    ('10.00', '10.0050', '-1.50')
    """
    if price_e4 < 0:
        return f"-{price(-price_e4)}"
    whole, part = divmod(price_e4, 10_000)
    return f"{whole}.{part // 100:02d}" if part % 100 == 0 else f"{whole}.{part:04d}"


def price_if_any(price_e4: int) -> str | None:
    """Price as text; None where there is none (0): a price that is not there is never told as a number.

    >>> price_if_any(100_050), price_if_any(0)
    ('10.0050', None)
    """
    return price(price_e4) if price_e4 else None


def order_id(order_number: int) -> str:
    """Id of an order: its order number in the last places of a UUID.

    >>> order_id(255)
    '00000000-0000-0000-0000-0000000000ff'
    """
    digits = f"{order_number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def order_number(order_id: str) -> int | None:
    """Order number of an id; None for what is no id.

    >>> order_number("00000000-0000-0000-0000-0000000000ff"), order_number("first")
    (255, None)
    """
    if not _UUID.fullmatch(order_id):
        return None
    number = int(order_id.replace("-", ""), 16)
    return number if 0 < number < 1 << 63 else None


def account_id(user: str, code: str) -> str:
    """Id of an account: it follows from user and currency, and stays the same.

    >>> account_id("ALICE", "USD") == account_id("ALICE", "USD") != account_id("ALICE", "XYZ")
    True
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"lockstep account {user} {code}"))


def side(code: int) -> Literal["buy", "sell"]:
    """Side as a word: buy or sell."""
    return "buy" if code == Side.BUY else "sell"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def epoch(time_ns: int) -> str:
    """Time in ns since 1970 as seconds since 1970.

    >>> epoch(1_705_276_800_000_001_000)
    '1705276800.000001'
    """
    seconds, rest_ns = divmod(time_ns, _SECOND_NS)
    return f"{seconds}.{rest_ns // 1_000:06d}"


def moment(time_ns: int) -> str:
    """Time in ns since 1970 as ISO 8601.

    >>> moment(1_705_276_800_000_001_000)
    '2024-01-15T00:00:00.000001Z'
    """
    seconds, rest_ns = divmod(time_ns, _SECOND_NS)
    return f"{_second(seconds)}.{rest_ns // 1_000:06d}Z"
