"""REPORT rows as text and as JSON objects, with the names that they carry."""

from collections.abc import Callable
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
from reports.rows import REPORT_FIELDS, InBook, Liquidity, ReportFlag, ReportKind

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
    told = dict(_NO_REPORT)
    for key, name, read in _READS[int(report["kind"])]:
        value = int(report[name])
        told[key] = TOKEN.json(value, int(report[name.replace("head", "tail")])) if read is None else read(value)
    return told


def _reader(name: str, kind: ReportKind) -> Callable[[int], Any] | None:
    """A place's number as JSON; None for the first word of a token, which takes two."""
    if name.endswith("token_head"):
        return None
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


#: Of each kind of report its keys, their places, and what reads these.
_READS: Final = {
    int(kind): [(_KEY_OF[name], name, _reader(name, kind)) for name in fields if name in _KEY_OF]
    for kind, fields in REPORT_FIELDS.items()
}


def print_report(report: Any) -> str:
    """One REPORT row as a line: kind, then ``key=value`` of all that is not empty; prices in decimals.

    ``avg`` is the average price of an order's trades, cut at eight places; ``notional`` and ``cum_qty`` are exact.
    """
    words = [ReportKind(int(report["kind"])).name.lower()]
    for key, value in report_object(report).items():
        if value in (None, 0, [], "") or key in ("kind", "seq", "number", "time"):
            continue
        if key.endswith("_e4"):
            words.append(f"{key.removesuffix('_e4')}={price(value)}")
        else:
            words.append(f"{key}={','.join(value) if isinstance(value, list) else value}")
    cum_qty = int(report["cum_qty"]) if "cum_qty" in REPORT_FIELDS[ReportKind(int(report["kind"]))] else 0
    if cum_qty:
        units, places = divmod(int(report["notional_e4"]) * 10_000 // cum_qty, 10**8)
        words.append(f"avg={units}.{f'{places:08d}'.rstrip('0').ljust(2, '0')}")
    return f"> {' '.join(words)}"
