"""Prices as decimals, for what prints numbers and needs no NumPy."""


def price(price_e4: int) -> str:
    """A price as a decimal with at least two places.

    >>> price(100_500), price(100_501), price(-1)
    ('10.05', '10.0501', '-0.0001')
    """
    units, places = divmod(abs(price_e4), 10_000)
    decimals = f"{places:04d}"
    if decimals.endswith("00"):
        decimals = decimals[:2]
    elif decimals.endswith("0"):
        decimals = decimals[:3]
    return f"{'-' if price_e4 < 0 else ''}{units}.{decimals}"
