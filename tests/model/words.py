"""Lines of a scenario, read into commands (section 12)."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

SECOND_NS: Final = 10**9
MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
#: 2024-01-15 09:30:00 UTC, the clock of a scenario that sets none.
DEFAULT_NS: Final = 1_705_311_000 * SECOND_NS
UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": 60 * MINUTE_NS,
    "d": DAY_NS,
}
#: Kind of command: its words in order, and those that may follow.
FORMS: Final = {
    "at": ("time", ""),
    "venue": ("", "speed_bump day_start"),
    "instrument": ("symbol", "tick lot reference books adv band volatility cancel_on_halt"),
    "participant": ("name", "group allow"),
    "limits": (
        "name",
        "symbol max_order_qty max_order_value order_rate max_position credit margin adv restricted"
        " max_open_orders max_ids",
    ),
    "index": ("name", "members levels"),
    "schedule": ("symbol time phase", ""),
    "enter": (
        "name id side qty symbol @ price",
        "book tif until stop display hidden post_only min_qty peg offset stp",
    ),
    "cancel": ("name id", "qty"),
    "replace": ("name id new_id qty @ price", "display stop"),
    "mass_cancel": ("name", "symbol side reason"),
    "cross": ("name id qty symbol @ price", "buyer seller"),
    "phase": ("symbol phase", ""),
    "halt": ("symbol", "for"),
    "resume": ("symbol", ""),
    "kill": ("name", ""),
    "unkill": ("name", ""),
    "emergency_close": ("", ""),
}


def decimal_e4(word: str) -> int:
    """Price in 1/10000.

    >>> decimal_e4("10.05"), decimal_e4("-0.0001")
    (100500, -1)
    """
    whole, _, part = word.lstrip("-").partition(".")
    return (-1 if word.startswith("-") else 1) * (int(whole) * 10_000 + int(part.ljust(4, "0")))


def printed_price(price_e4: int | None) -> str:
    """Price as events have it: two decimals, or as many as it needs; `none` for no price."""
    if price_e4 is None:
        return "none"
    part = f"{price_e4 % 10_000:04d}"
    return f"{price_e4 // 10_000}.{part[:2]}{part[2:].rstrip('0')}"


def percent_bp(word: str) -> int:
    """Percentage in 1/100 of a percent."""
    return decimal_e4(word.removesuffix("%")) // 100


def duration_ns(word: str) -> int:
    """Duration with its unit."""
    digits = word.rstrip("numshd")
    return int(digits) * UNITS_NS[word[len(digits) :]]


def time_ns(word: str, now_ns: int) -> int:
    """Time with its date, of the clock's date, or relative to the clock."""
    if word.startswith("+"):
        return now_ns + duration_ns(word[1:])
    whole, _, part = word.partition(".")
    if "T" in whole:
        second = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    else:
        hours, minutes, *seconds = (int(each) for each in whole.split(":"))
        second = now_ns // DAY_NS * 86_400 + hours * 3_600 + minutes * 60 + sum(seconds)
    return second * SECOND_NS + int(part.ljust(9, "0"))


def volatility(word: str) -> tuple[int, int, int]:
    """Percentage, window and halt of a breaker (section 9)."""
    move, window, halt = ["10%", "5m", "5m"] if word == "on" else word.split("/")
    return percent_bp(move), duration_ns(window), duration_ns(halt)


def level(word: str) -> tuple[int, int | None]:
    """Percentage of an index level and its halt; None for the close (section 9)."""
    fall, halt = word.split("/")
    return percent_bp(fall), None if halt == "close" else duration_ns(halt)


def value(key: str, word: str, now_ns: int) -> Any:
    """A word as the number that it stands for."""
    if word in ("off", "no") or (word == "market" and key == "price"):
        return None
    if key in ("price", "stop", "offset", "tick", "reference", "credit", "max_order_value"):
        return decimal_e4(word)
    if word.endswith("%") and key != "levels":
        return percent_bp(word)
    if key in (
        "qty",
        "display",
        "min_qty",
        "lot",
        "adv",
        "max_order_qty",
        "max_position",
        "max_open_orders",
        "max_ids",
    ):
        return int(word)
    match key:
        case "side":
            return {"buy": 1, "sell": -1}[word]
        case "time" | "until":
            return time_ns(word, now_ns)
        case "for" | "speed_bump":
            return duration_ns(word)
        case "day_start":
            hours, minutes = word.split(":")
            return (int(hours) * 60 + int(minutes)) * MINUTE_NS
        case "band":
            return 500
        case "volatility":
            return volatility(word)
        case "order_rate":
            count, window = word.split("/")
            return int(count), duration_ns(window if window[0].isdecimal() else f"1{window}")
        case "members":
            return {symbol: int(weight) for symbol, weight in (each.split(":") for each in word.split(","))}
        case "levels":
            return [level(each) for each in word.split(",")]
        case "books" | "allow":
            return word.split(",")
    return word


def read(line: str, now_ns: int) -> SimpleNamespace:
    """Command of a line: its `kind`, and each word that its kind may have by name, None if it is not there.

    `given` holds the words that the line has. Raises ValueError for a line that the model does not know.
    """
    kind, *words = line.split()
    if kind not in FORMS:
        raise ValueError(f"the model has no {kind}")
    order, further = (form.split() for form in FORMS[kind])
    given = {key: value(key, word, now_ns) for key, word in zip(order, words, strict=False) if key != "@"}
    for each in words[len(order) :]:
        key, equals, word = each.partition("=")
        if key not in further:
            raise ValueError(f"the model has no {key} in {kind}")
        given[key] = value(key, word, now_ns) if equals else True
    return SimpleNamespace(kind=kind, **(dict.fromkeys(order + further) | given), given=given)
