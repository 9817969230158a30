"""Prices: decimals for people, whole numbers of a ten-thousandth inside. A float is refused, since it is neither."""

import re
from decimal import Decimal
from enum import Enum
from typing import Final

#: The highest limit price, $199,999.99 (OUCH 4.2).
PRICE_E4_MAX: Final = 1_999_999_900
#: Price in a message for an order without a limit.
PRICE_E4_MARKET: Final = 0x7FFF_FFFF

#: Prices that a trader may give: "10.05", Decimal("10.05"), 10; None or "market" for an order without a limit.
Price = str | Decimal | int | None


class Keep(Enum):
    """Type of ``KEEP``: the price stays as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

#: A decimal as text: ASCII digits alone, so that "1e3", "1_000", "+5" and digits of other scripts are no prices.
_TEXT: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_ONE_E4: Final = Decimal("0.0001")


def price_e4(price: Price) -> int:
    """A price as a whole number of ten-thousandths. Raises TypeError for a float, ValueError for what is no price.

    >>> price_e4("10.05"), price_e4(None) == PRICE_E4_MARKET
    (100500, True)
    """
    if price is None or price == "market":
        return PRICE_E4_MARKET
    if isinstance(price, bool) or not isinstance(price, str | Decimal | int):
        raise TypeError(f"the price {price!r} is a {type(price).__name__}; give it as text, '10.05', or as a Decimal")
    if isinstance(price, str) and not _TEXT.fullmatch(price):
        raise ValueError(f"the price {price[:40]!r} is no decimal number; give one as '10.05'")
    exact = Decimal(price)
    number = int(exact.scaleb(4)) if exact.is_finite() and abs(exact) < 10**9 else 0
    if not 0 < number <= PRICE_E4_MAX or number * _ONE_E4 != exact:
        raise ValueError(f"the price {price} is not from 0.0001 to 199999.99 with at most four decimals")
    return number


def decimal(number: int) -> Decimal | None:
    """The decimal of a whole number of ten-thousandths, None for market: two decimals, or as many as it has.

    >>> decimal(100500), decimal(100512), decimal(PRICE_E4_MARKET)
    (Decimal('10.05'), Decimal('10.0512'), None)
    """
    if number == PRICE_E4_MARKET:
        return None
    return Decimal(number // 100).scaleb(-2) if number % 100 == 0 else Decimal(number).scaleb(-4).normalize()


def shown(number: int) -> str:
    """A price for people.

    >>> shown(100500), shown(1_0000), shown(PRICE_E4_MARKET)
    ('10.05', '1.00', 'market')
    """
    price = decimal(number)
    return "market" if price is None else f"{price:f}"
