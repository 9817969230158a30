"""REPORT rows as text and as JSON objects, with the names that they carry."""

import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, Final

from numpy.typing import NDArray

from engine.names import unpack
from engine.records import (
    Book,
    CommandKind,
    Instruction,
    InstrumentSetting,
    Limit,
    Peg,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    VenueSetting,
)
from notation.table import TOKEN, word
from notation.words import iso_time, price
from reports.rows import REPORT, REPORT_FIELDS, REPORT_PLACES, InBook, Liquidity, ReportFlag, ReportKind

_CODES: Final[dict[str, type[IntEnum]]] = {
    "command_kind": CommandKind,
    "reason": Reason,
    "side": Side,
    "time_in_force": TimeInForce,
    "self_trade": SelfTrade,
    "book": Book,
    "peg": Peg,
    "phase": Phase,
    "previous_phase": Phase,
    "liquidity": Liquidity,
}
_BITS: Final = {
    "instructions": Instruction,
    "permissions": Permission,
    "settings": InstrumentSetting,
    "limits": Limit,
    "limits_off": Limit,
    "in_book": InBook,
    "flags": ReportFlag,
}
_NAMES: Final = (
    *(
        "symbol",
        "further_symbol",
        "name",
        "group",
        "participant_name",
        "contra_name",
        "user_name",
        "firm",
        "other_firm",
    ),
    *("client_order_id", "previous_client_order_id", "contra_client_order_id"),
)
#: Words in place of the names of some places.
_KEYS: Final = {
    "participant_name": "participant",
    "contra_name": "contra_participant",
    "user_name": "user",
    "time_ns": "time",
    "before_ns": "before",
    "machine_ns": "machine_time",
    "until_ns": "until",
    "due_ns": "due_time",
    "command_kind": "command",
    "lot": "lot_qty",
}
#: Places that are said otherwise: numbers beside their names, and the two words of a token.
_LEFT_OUT: Final = ("participant", "contra_participant", "user", "instrument", "token_tail", "previous_token_tail")
#: Values of a place whose words are remembered: a hostile row may have any.
_VALUES: Final = 1_024
_APART: Final = ("kind", "seq", "number", "time")
_KINDS: Final = {int(kind): kind.name.lower() for kind in ReportKind}
_FORMS: Final = {"i8": "q", "u8": "Q", "i4": "i", "u4": "I", "i2": "h", "u2": "H", "i1": "b", "u1": "B"}
_TIMES: Final = ("time_ns", "before_ns", "machine_ns", "until_ns", "due_ns")


def _keys() -> dict[str, str]:
    """Key of each place that any kind uses."""
    places = dict.fromkeys(name for fields in REPORT_FIELDS.values() for name in fields if name not in _LEFT_OUT)
    return {name: _KEYS.get(name, name.replace("token_head", "token")) for name in places}


_KEY_OF: Final = _keys()
#: Keys of every report, in order.
REPORT_KEYS: Final = tuple(_KEY_OF.values())
_NO_REPORT: Final = dict.fromkeys(REPORT_KEYS)


def report_object(report: Any) -> dict[str, Any]:
    """One REPORT row as an object with REPORT_KEYS; None for what its kind does not say."""
    values = _ROW.unpack(report.tobytes())
    told = dict(_NO_REPORT)
    for key, places, read in _READS[values[_KIND]]:
        told[key] = read(*[values[place] for place in places])
    return told


def _reader(name: str, kind: ReportKind) -> Callable[..., Any]:
    """Reader of a place's number as JSON; that of the first word of a token takes both words."""
    if name.endswith("token_head"):
        return TOKEN.json
    if name == "kind":
        return lru_cache(_VALUES)(lambda value: ReportKind(value).name.lower())
    if name in _CODES:
        return lru_cache(_VALUES)(partial(word, _CODES[name]))
    if name in _BITS:
        bits = VenueSetting if (kind, name) == (ReportKind.VENUE, "settings") else _BITS[name]
        named = lru_cache(_VALUES)(lambda value: [bit.name.lower() for bit in bits if value & bit and bit.name])
        return lambda value: list(named(value))
    if name in _NAMES:
        return lambda value: unpack(value) if value else None
    if name in _TIMES:
        return _time
    if name.endswith("context"):
        return lambda value: f"{value & (2**64 - 1):016x}" if value else None
    if name in ("price_e4", "last_price_e4"):
        return lambda value: value or None
    return int


@lru_cache(_VALUES)
def _time(value_ns: int) -> str | None:
    return iso_time(value_ns)


_Read = tuple[str, tuple[int, ...], Callable[..., Any]]


def _reads(kind: ReportKind, fields: Iterable[str]) -> list[_Read]:
    """The keys of a kind in the order of REPORT_KEYS, the numbers of their places, and what reads these."""
    found = {}
    for name in fields:
        if name in _KEY_OF:
            names = (name, name.replace("head", "tail")) if name.endswith("token_head") else (name,)
            found[_KEY_OF[name]] = tuple(_NUMBER_OF[each] for each in names), _reader(name, kind)
    return [(key, *found[key]) for key in REPORT_KEYS if key in found]


#: The places of a REPORT row as numbers, and the number of each by its names.
_ROW: Final = struct.Struct("<" + "".join(_FORMS[REPORT[names[0]].str[1:]] for names in REPORT_PLACES.values()))
_NUMBER_OF: Final = {name: number for number, names in enumerate(REPORT_PLACES.values()) for name in names}
_KIND: Final = _NUMBER_OF["kind"]
_READS: Final = {int(kind): _reads(kind, fields) for kind, fields in REPORT_FIELDS.items()}


def _said(key: str, read: Callable[..., Any]) -> Callable[..., str]:
    """Function that says a place's number as ``key=value``, or as "" where it is empty. It remembers numbers, but for
    ids of orders, which do not come again."""
    name = key.removesuffix("_e4")
    is_price = key != name

    def say(*values: int) -> str:
        value = read(*values)
        if not value:
            return ""
        if is_price:
            return f"{name}={price(value)}"
        return f"{name}={','.join(value) if isinstance(value, list) else value}"

    return say if key.endswith("order_id") else lru_cache(_VALUES)(say)


#: The same for a line, without what stands elsewhere in it: the first place, what says it (of a token with the second
#: one too), and whether nothing is said of 0.
_Word = tuple[int, int | None, Callable[..., str], bool]


def _words(reads: Iterable[_Read]) -> list[_Word]:
    found: list[_Word] = []
    for key, places, read in reads:
        if key not in _APART:
            say = _said(key, read)
            second = places[1] if len(places) == 2 else None
            found.append((places[0], second, say, second is None and not say(0)))
    return found


_WORDS: Final = {kind: _words(reads) for kind, reads in _READS.items()}
_SUMS: Final = {int(kind): "cum_qty" in fields for kind, fields in REPORT_FIELDS.items()}
_CUM_QTY: Final = _NUMBER_OF["cum_qty"]
_NOTIONAL_E4: Final = _NUMBER_OF["notional_e4"]


def print_reports(reports: NDArray[Any]) -> Iterator[str]:
    """REPORT rows as lines: kind, then ``key=value`` of all that is not empty; prices in decimals.

    ``avg`` is the average price of an order's trades, cut at eight places; ``notional`` and ``cum_qty`` are exact.
    """
    return map(_line, _ROW.iter_unpack(reports.tobytes()))


def _line(values: tuple[int, ...]) -> str:
    kind = values[_KIND]
    words = [f"> {_KINDS[kind]}"]
    for place, second, say, is_silent in _WORDS[kind]:
        value = values[place]
        if is_silent and not value:
            continue
        said = say(value) if second is None else say(value, values[second])
        if said:
            words.append(said)
    cum_qty = values[_CUM_QTY] if _SUMS[kind] else 0
    if cum_qty:
        units, places = divmod(values[_NOTIONAL_E4] * 10_000 // cum_qty, 10**8)
        words.append(f"avg={units}.{f'{places:08d}'.rstrip('0').ljust(2, '0')}")
    return " ".join(words)
