"""Events, commands and times as JSON objects (docs/json): the one place where rows of a journal become JSON.

Objects of a kind have the same keys; None for values that the row lacks. Codes are words, prices are whole numbers of
1/10000 (``_e4``), durations are nanoseconds (``_ns``), and a moment is ISO 8601 in UTC with nine places, so that text
order is time order.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import EVERY, Directory, unpack
from engine.records import (
    CommandKind,
    EventKind,
    Instruction,
    Limit,
    Phase,
    Reason,
    Side,
    limit_bits,
)
from engine.row_bytes import ROW
from notation.parse import NAMED
from notation.table import BY_KIND, LIMIT_BITS, LIMITS, PLACE_OF, TOKEN, Command, word
from notation.words import iso_time

Object = dict[str, Any]
#: Numbers of the fifteen places of a COMMAND row.
Row = tuple[int, ...]

EVENT_KEYS: Final = (
    *("seq", "time", "kind", "symbol", "participant", "client_order_id", "new_client_order_id", "order_number"),
    *("side", "price_e4", "qty", "trade_number", "buy_participant", "buy_client_order_id", "sell_participant"),
    *("sell_client_order_id", "aggressor_side", "imbalance_qty", "imbalance_side", "phase", "reason", "refused"),
)
COMMAND_KEYS: Final = (
    *("seq", "time", "kind", "symbol", "participant", "user", "client_order_id", "new_client_order_id"),
    *(
        "side",
        "price_e4",
        "qty",
        "min_qty",
        "display_qty",
        "stop_e4",
        "peg",
        "offset_e4",
        "until",
        "time_in_force",
        "self_trade",
        "instructions",
        "book",
        "buyer",
        "seller",
    ),
    *(
        "token",
        "new_token",
        "context",
        "phase",
        "reason",
        "duration_ns",
        "reference_e4",
        "tick_e4",
        "lot_qty",
        "adv_qty",
        "band_bps",
        "volatility",
        "cancel_on_halt",
        "books",
    ),
    *("index", "members", "levels", "speed_bump_ns", "day_start_ns"),
    *("group", "firm", "allow", "limits", "limits_off", "due_time", "clock_time", "jump_ns", "epoch", "node"),
    *("password_cost", "password_salt", "password_hash", "raw", "events"),
)

_NO_EVENT: Final = dict.fromkeys(EVENT_KEYS)
_NO_COMMAND: Final = dict.fromkeys(COMMAND_KEYS)
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)


def event_objects(events: NDArray[Any], names: Directory, times_ns: NDArray[np.int64]) -> list[Object]:
    """EVENT rows as objects. ``times_ns``: the clock in force at the command of each."""
    return [event_object(row, names, int(time_ns)) for row, time_ns in zip(events, times_ns, strict=True)]


def event_object(row: "np.void", names: Directory, time_ns: int) -> Object:
    """One EVENT row as an object with EVENT_KEYS. ``time_ns``: the clock in force at its command."""
    kind = EventKind(int(row["kind"]))
    result = _NO_EVENT | {"seq": int(row["seq"]), "time": iso_time(time_ns), "kind": kind.name.lower()}
    result |= {"symbol": _name(names.symbols, row["instrument"]), "reason": word(Reason, int(row["reason"]))}
    result |= {"phase": word(Phase, int(row["phase"])), "price_e4": int(row["price_e4"]) or None}
    side = word(Side, int(row["side"]))
    if kind == EventKind.TRADE:
        return result | {"qty": int(row["qty"]), "trade_number": int(row["trade_number"])} | _parties(row, names)
    if kind == EventKind.INDICATIVE:
        return result | {"qty": int(row["qty"]), "imbalance_qty": int(row["imbalance_qty"]), "imbalance_side": side}
    result["participant"] = _name(names.participants, row["participant"])
    if kind in _REFUSALS:
        result["refused"] = _id(row["client_order_id"])
        # Without a participant it may be an order of an unknown one, or the name in another command.
        if row["participant"] or kind == EventKind.CANCEL_REJECTED:
            result["client_order_id"] = result["refused"]
    elif row["client_order_id"]:
        result |= {"client_order_id": _id(row["client_order_id"]), "side": side, "qty": int(row["qty"])}
        result |= {"order_number": int(row["order_number"]), "new_client_order_id": _id(row["contra_client_order_id"])}
    return result


def _parties(row: "np.void", names: Directory) -> Object:
    """Aggressor, buyer and seller of a TRADE row: its first order rests; in an uncross (no aggressor) it is the buy."""
    first = (_name(names.participants, row["participant"]), _id(row["client_order_id"]))
    second = (_name(names.participants, row["contra_participant"]), _id(row["contra_client_order_id"]))
    buy, sell = (second, first) if row["side"] == Side.BUY else (first, second)
    return {
        "aggressor_side": word(Side, int(row["side"])),
        "buy_participant": buy[0],
        "buy_client_order_id": buy[1],
        "sell_participant": sell[0],
        "sell_client_order_id": sell[1],
    }


def command_object(
    rows: Sequence["np.void"],
    seq: int,
    names: Directory,
    time_ns: int,
    *,
    raw: Sequence[str] = (),
    events: list[Object] | None = None,
) -> Object:
    """One command as an object with COMMAND_KEYS: its COMMAND row, after the EXTEND row that goes with it, if any.

    seq: of the last row. time_ns: the clock in force at it. raw: rows in hexadecimal digits, if the other keys do not
    have all of them. events: its events, if requested.
    """
    row, before = ROW.unpack(rows[-1].tobytes()), ROW.unpack(rows[0].tobytes()) if len(rows) > 1 else None
    result = _NO_COMMAND | {"seq": seq, "time": iso_time(time_ns), "raw": list(raw) or None, "events": events}
    number = row[PLACE_OF["kind"]]
    if number not in set(CommandKind):
        return result
    result["kind"] = CommandKind(number).name.lower()
    if number == CommandKind.EXTEND:
        return result | _extend(row)
    found = BY_KIND.get(number)
    return result if found is None else result | _fields(found, row, before, names)


def _fields(found: Command, row: Row, before: Row | None, names: Directory) -> Object:
    """The fields of a command, and those of the EXTEND row before it that goes with an order."""
    bits = row[PLACE_OF["instructions"]]
    result: Object = {}
    for field in (*found.plain, *found.options):
        numbers = [row[number] for number in field.numbers]
        if field.names:
            result[field.json] = _name(getattr(names, field.names), numbers[0])
        elif field.bit and bool(bits & field.bit) == bool(field.instead):
            result[field.json] = None
        elif not field.extended:
            result[field.json] = field.value.json(*numbers)
        elif found.kind in (CommandKind.INSTRUMENT, CommandKind.INDEX):
            result[field.json] = field.value.json(*(before[number] if before else 0 for number in field.numbers))
    result.pop("", None)  # options that only set a bit
    if found.kind in (CommandKind.ENTER, CommandKind.REPLACE):
        result["instructions"] = [str(each.name).lower() for each in Instruction if each & bits]
    if found.limits:
        return result | _limits(row, before)
    if before is None or found.kind not in NAMED:
        return result
    return result | {key: value for key, value in _extend(before).items() if result.get(key) is None}


def _extend(row: Row) -> Object:
    """Fields of an EXTEND row before an order's command."""
    return {
        "participant": _id(row[PLACE_OF["name"]]),
        "symbol": _id(row[PLACE_OF["symbol"]]),
        "token": TOKEN.json(row[PLACE_OF["token_head"]], row[PLACE_OF["token_tail"]]),
        "new_token": TOKEN.json(row[PLACE_OF["new_token_head"]], row[PLACE_OF["new_token_tail"]]),
    }


def _limits(row: Row, before: Row | None) -> Object:
    """The limits of a LIMITS row; some values are in the EXTEND row before it."""
    named, off = limit_bits(*(row[PLACE_OF[place]] for place in ("limits", "further_limits", "further_off")))
    values = []
    for limit in LIMITS:
        of = before if limit.extended else row
        values += [0 if of is None else of[PLACE_OF[place]] for place in limit.places]
    return {
        "limits": limits_object(named & ~off, values),
        "limits_off": [str(limit.name).lower() for limit in Limit if limit & off],
    }


_RESTRICTED: Final = int(Limit.RESTRICTED)


def limits_object(bits: int, values: Sequence[int]) -> Object:
    """Limits by their keys, None for those that are not among ``bits``. values: in the order of LIMIT_BITS."""
    result: Object = {
        key: value if bits & bit else None for (key, bit), value in zip(LIMIT_BITS.items(), values, strict=True)
    }
    return result | {"restricted": bool(bits & _RESTRICTED)}


def _name(names: tuple[str, ...], number: Any) -> str | None:
    return names[int(number) - 1] if 0 < number <= len(names) else None


def _id(value: Any) -> str | None:
    number = int(value)
    return "*" if number == EVERY else unpack(number) if number else None
