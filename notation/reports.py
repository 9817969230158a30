"""REPORT rows as text and as JSON objects, with the names that they carry."""

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, Final

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
#: The same for a line, without what stands elsewhere in it.
_WORDS: Final = {
    kind: [
        (key.removesuffix("_e4"), places, read, key.endswith("_e4")) for key, places, read in reads if key not in _APART
    ]
    for kind, reads in _READS.items()
}
_SUMS: Final = {int(kind): "cum_qty" in fields for kind, fields in REPORT_FIELDS.items()}


def print_report(report: Any) -> str:
    """One REPORT row as a line: kind, then ``key=value`` of all that is not empty; prices in decimals.

    ``avg`` is the average price of an order's trades, cut at eight places; ``notional`` and ``cum_qty`` are exact.
    """
    values = _ROW.unpack(report.tobytes())
    kind = values[_KIND]
    words = [f"> {_KINDS[kind]}"]
    for key, places, read, is_price in _WORDS[kind]:
        value = read(*[values[place] for place in places])
        if not value:
            continue
        if is_price:
            words.append(f"{key}={price(value)}")
        else:
            words.append(f"{key}={','.join(value) if isinstance(value, list) else value}")
    cum_qty = values[_NUMBER_OF["cum_qty"]] if _SUMS[kind] else 0
    if cum_qty:
        units, places = divmod(values[_NUMBER_OF["notional_e4"]] * 10_000 // cum_qty, 10**8)
        words.append(f"avg={units}.{f'{places:08d}'.rstrip('0').ljust(2, '0')}")
    return " ".join(words)
