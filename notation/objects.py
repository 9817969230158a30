"""Events, commands and times as JSON objects (docs/json): the one place where rows of a journal become JSON.

Each object of a kind has the same keys, whatever row it is made of; None where the row says nothing. Codes are words,
prices are whole numbers of 1/10000 (``_e4``), durations are nanoseconds (``_ns``), and a moment is ISO 8601 in UTC with
nine places, so that text order is time order.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.limits import TIME_NS_MAX
from engine.names import EVERY, Directory, unpack
from engine.records import (
    COMMAND,
    Book,
    CommandKind,
    EventKind,
    Instruction,
    Limit,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    UserPermission,
    limit_bits,
)
from notation.words import token_word

Object = dict[str, Any]

EVENT_KEYS: Final = (
    *("seq", "time", "kind", "symbol", "participant", "client_order_id", "new_client_order_id", "order_number"),
    *("side", "price_e4", "qty", "trade_number", "buy_participant", "buy_client_order_id", "sell_participant"),
    *("sell_client_order_id", "aggressor_side", "surplus_qty", "surplus_side", "phase", "reason", "refused"),
)
COMMAND_KEYS: Final = (
    *("seq", "time", "kind", "symbol", "participant", "user", "client_order_id", "new_client_order_id"),
    *("side", "price_e4", "qty", "min_qty", "display_qty", "time_in_force", "self_trade", "instructions", "book"),
    *("token", "new_token", "memo", "phase", "reason", "duration_ns", "reference_e4", "tick_e4", "lot_qty", "adv_qty"),
    *("group", "firm", "allow", "limits", "limits_off", "clock_time", "jump_ns"),
    *("password_cost", "password_salt", "password_hash", "raw", "events"),
)
#: Keys of the limits of a participant; those with values in the order of LIMITS_STATE, each with its bit.
LIMIT_BITS: Final = {
    "max_order_qty": Limit.MAX_ORDER_QTY,
    "max_order_value_e4": Limit.MAX_ORDER_VALUE,
    "rate_orders": Limit.ORDER_RATE,
    "rate_window_ns": Limit.ORDER_RATE,
    "max_position_qty": Limit.MAX_POSITION,
    "credit_e4": Limit.CREDIT,
    "margin_bps": Limit.MARGIN,
    "adv_share_bps": Limit.ADV,
    "max_open_orders": Limit.MAX_OPEN_ORDERS,
    "max_ids": Limit.MAX_IDS,
}

_SECOND_NS: Final = 1_000_000_000
_NO_EVENT: Final = dict.fromkeys(EVENT_KEYS)
_NO_COMMAND: Final = dict.fromkeys(COMMAND_KEYS)
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
_ORDER_COMMANDS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
#: Values of limits that stand in the EXTEND row before a LIMITS.
_LIMITS_BEFORE: Final = ("rate_orders", "rate_window_ns", "margin_bps", "adv_share_bps", "max_open_orders", "max_ids")
_NO_ROW: Final = np.zeros(1, COMMAND)[0]
_NAMES_SYMBOL: Final = (CommandKind.INSTRUMENT, CommandKind.PHASE, CommandKind.HALT, CommandKind.RESUME)


@lru_cache(maxsize=4096)
def iso_time(time_ns: int) -> str | None:
    """A clock value (ns since 1970) as ISO 8601 in UTC; None for 0, a clock that was never set, and what is no time.

    >>> iso_time(1_705_311_000_250_114_003), iso_time(0)
    ('2024-01-15T09:30:00.250114003Z', None)
    """
    if not 0 < time_ns <= TIME_NS_MAX:
        return None
    seconds, fraction_ns = divmod(time_ns, _SECOND_NS)
    return f"{np.datetime64(seconds, 's')}.{fraction_ns:09d}Z"


def word(codes: type[IntEnum], value: int) -> str | None:
    """The word of a code; None for 0 and for a value that the code does not have.

    >>> word(Side, 1), word(Reason, 0)
    ('buy', None)
    """
    return codes(value).name.lower() if value in set(codes) else None


def event_objects(events: NDArray[Any], names: Directory, times_ns: NDArray[np.int64]) -> list[Object]:
    """EVENT rows as objects. ``times_ns``: the clock in force at the command of each."""
    return [event_object(row, names, int(time_ns)) for row, time_ns in zip(events, times_ns, strict=True)]


def event_object(row: "np.void", names: Directory, time_ns: int) -> Object:
    """One EVENT row as an object with EVENT_KEYS. ``time_ns``: the clock in force at its command."""
    kind = EventKind(int(row["kind"]))
    told = _NO_EVENT | {"seq": int(row["seq"]), "time": iso_time(time_ns), "kind": kind.name.lower()}
    told |= {"symbol": _name(names.symbols, row["instrument"]), "reason": word(Reason, int(row["reason"]))}
    told |= {"phase": word(Phase, int(row["phase"])), "price_e4": int(row["price_e4"]) or None}
    side, number = word(Side, int(row["side"])), int(row["number"])
    if kind == EventKind.TRADE:
        return told | {"qty": int(row["qty"]), "trade_number": number, "aggressor_side": side} | _parties(row, names)
    if kind == EventKind.INDICATIVE:
        return told | {"qty": int(row["qty"]), "surplus_qty": number, "surplus_side": side}
    told["participant"] = _name(names.participants, row["participant"])
    if kind in _REFUSALS:
        told["refused"] = _id(row["client_order_id"])
        # Without a participant it may be an order of an unknown one, or the name in a command about no order.
        if row["participant"] or kind == EventKind.CANCEL_REJECTED:
            told["client_order_id"] = told["refused"]
    elif row["client_order_id"]:
        told |= {"client_order_id": _id(row["client_order_id"]), "side": side, "qty": int(row["qty"])}
        told |= {"order_number": number, "new_client_order_id": _id(row["contra_client_order_id"])}
    return told


def _parties(row: "np.void", names: Directory) -> Object:
    """Buyer and seller of a TRADE row: its first order rests; in an uncross, without an aggressor, it is the buy."""
    first = (_name(names.participants, row["participant"]), _id(row["client_order_id"]))
    second = (_name(names.participants, row["contra_participant"]), _id(row["contra_client_order_id"]))
    buy, sell = (second, first) if row["side"] == Side.BUY else (first, second)
    return {
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

    seq: of the last row. time_ns: the clock in force at it. raw: rows in hexadecimal digits, where the other keys do
    not say all of them. events: what it caused, where that is wanted.
    """
    row, before = rows[-1], rows[0] if len(rows) > 1 else None
    told = _NO_COMMAND | {"seq": seq, "time": iso_time(time_ns), "raw": list(raw) or None, "events": events}
    number = int(row["kind"])
    if number not in set(CommandKind):
        return told
    kind = CommandKind(number)
    told["kind"] = kind.name.lower()
    if kind in _ORDER_COMMANDS:
        return told | _order(row, kind, before, names)
    if kind == CommandKind.LIMITS:
        return told | _limits_command(row, before)
    return told | _about(row, kind)


def _order(row: "np.void", kind: CommandKind, before: "np.void | None", names: Directory) -> Object:
    """Fields of an ENTER, CANCEL or REPLACE; names and tokens of ``before``, an EXTEND row, where there is one."""
    told: Object = {
        "participant": _name(names.participants, row["participant"]),
        "client_order_id": _id(row["client_order_id"]),
        "qty": int(row["qty"]),
        "memo": _hexadecimal(row["new_memo" if kind == CommandKind.REPLACE else "memo"]),
    }
    if before is not None:
        told |= _extend(before) | {key: told[key] for key in ("participant",) if told[key]}
    if kind == CommandKind.CANCEL:
        return told
    bits = int(row["instructions"])
    told["instructions"] = [str(each.name).lower() for each in Instruction if each & bits]
    told["price_e4"] = None if bits & Instruction.MARKET else int(row["price_e4"])
    told["display_qty"] = int(row["display_qty"]) if bits & Instruction.DISPLAY else None
    if kind == CommandKind.REPLACE:
        return told | {"new_client_order_id": _id(row["new_client_order_id"])}
    symbol = _name(names.symbols, row["instrument"])
    return told | {
        "symbol": symbol or told.get("symbol"),
        "side": word(Side, int(row["side"])),
        "time_in_force": word(TimeInForce, int(row["time_in_force"])),
        "self_trade": word(SelfTrade, int(row["self_trade"])),
        "min_qty": int(row["min_qty"]) if bits & Instruction.MIN_QTY else None,
        "book": word(Book, int(row["book"])),
    }


def _extend(row: "np.void") -> Object:
    """Fields of an EXTEND row before an order's command."""
    return {
        "participant": _id(row["name"]),
        "symbol": _id(row["symbol"]),
        "token": _token(int(row["token_head"]), int(row["token_tail"])),
        "new_token": _token(int(row["new_token_head"]), int(row["new_token_tail"])),
    }


def _limits_command(row: "np.void", before: "np.void | None") -> Object:
    """A LIMITS row; the values of _LIMITS_BEFORE are in the EXTEND row before it."""
    named, off = limit_bits(int(row["limits"]), int(row["further_limits"]), int(row["further_off"]))
    values = [int(_limit_row(row, before, key)[key]) for key in LIMIT_BITS]
    return {
        "participant": _id(row["name"]),
        "symbol": _id(row["symbol"]),
        "limits": limits_object(named & ~off, values),
        "limits_off": [str(limit.name).lower() for limit in Limit if limit & off],
    }


def _limit_row(row: "np.void", before: "np.void | None", key: str) -> "np.void":
    """The row that holds a limit's value."""
    if key not in _LIMITS_BEFORE:
        return row
    return before if before is not None else _NO_ROW


def limits_object(bits: int, values: Sequence[int]) -> Object:
    """Limits by their keys, None for those that are not among ``bits``. values: in the order of LIMIT_BITS."""
    told: Object = {
        key: value if bits & bit else None for (key, bit), value in zip(LIMIT_BITS.items(), values, strict=True)
    }
    return told | {"restricted": bool(bits & Limit.RESTRICTED)}


def _about(row: "np.void", kind: CommandKind) -> Object:
    """A command about something other than one order or limits."""
    name = _id(row["name"])
    if kind == CommandKind.CLOCK:
        return {"clock_time": iso_time(int(row["time_ns"]))}
    if kind == CommandKind.CLOCK_JUMP:
        return {"clock_time": iso_time(int(row["time_ns"])), "jump_ns": int(row["jump_ns"])}
    if kind == CommandKind.INSTRUMENT:
        prices = {"reference_e4": int(row["reference_e4"]), "tick_e4": int(row["tick_e4"])}
        return {"symbol": name, **prices, "lot_qty": int(row["lot"]), "adv_qty": int(row["adv_qty"]) or None}
    if kind == CommandKind.PARTICIPANT:
        return {"participant": name, "group": _id(row["group"]), "allow": _allow(Permission, row)}
    if kind == CommandKind.USER:
        who = {"user": name, "participant": _id(row["participant_name"]), "firm": _id(row["firm"])}
        return who | {"allow": _allow(UserPermission, row)}
    if kind == CommandKind.CREDENTIAL:
        raw = row.tobytes()
        salt = b"".join(raw[at : at + 8][::-1] for at in (8, 16)).hex()
        key = b"".join(raw[at : at + 8][::-1] for at in (24, 32, 40)).hex()
        return {"user": name, "password_cost": int(row["cost"]), "password_salt": salt, "password_hash": key}
    if kind == CommandKind.MASS_CANCEL:
        side, reason = word(Side, int(row["side"])), word(Reason, int(row["reason"]))
        return {"participant": name, "symbol": _id(row["symbol"]), "side": side, "reason": reason}
    if kind == CommandKind.EXTEND:
        return _extend(row)
    if kind in (CommandKind.KILL, CommandKind.UNKILL):
        return {"participant": name}
    if kind not in _NAMES_SYMBOL:
        return {}
    phase = word(Phase, int(row["phase"])) if kind == CommandKind.PHASE else None
    return {
        "symbol": name,
        "phase": phase,
        "duration_ns": int(row["duration_ns"]) or None if kind == CommandKind.HALT else None,
    }


def _allow(permissions: type[Permission] | type[UserPermission], row: "np.void") -> list[str]:
    bits = int(row["permissions"])
    names = {str(each.name).lower(): int(each) for each in permissions}
    return ["login" if name == "enabled" else name for name, bit in names.items() if bit & bits]


def _name(names: tuple[str, ...], number: Any) -> str | None:
    return names[int(number) - 1] if 0 < number <= len(names) else None


def _id(value: Any) -> str | None:
    number = int(value)
    return "*" if number == EVERY else unpack(number) if number else None


def _hexadecimal(value: Any) -> str | None:
    return f"{int(value) & (2**64 - 1):016x}" if value else None


def _token(head: int, tail: int) -> str | None:
    return token_word(head, tail) if head or tail else None
