"""COMMAND rows for tests, one function for each kind; ``batch`` joins them, and ``events_of`` reads the answers.

Ids, names and symbols are text or packed numbers; participants and instruments of orders are their numbers in order
of definition. Every function takes further places by name, to make rows that no client would send.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.names import pack, unpack
from engine.records import (
    COMMAND,
    CommandKind,
    EventKind,
    Instruction,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
)

Rows = NDArray[Any]

BUY, SELL = Side.BUY, Side.SELL
NANOSECONDS_2024_01_15_0930 = 1_705_311_000_000_000_000
DAY_NS = 86_400 * 1_000_000_000


def _number(text: str | int) -> int:
    return pack(text) if isinstance(text, str) and text else int(text or 0)


def row(kind: int, **places: int) -> Rows:
    """One row, shape (1,), of any kind and with any places."""
    made = np.zeros(1, COMMAND)
    made["kind"] = kind
    for name, value in places.items():
        made[name] = value
    return made


def batch(*rows: Rows) -> Rows:
    """The rows one after the other. Joined as bytes: NumPy's own join lays overlapping places out side by side."""
    return np.concatenate([np.zeros(0, np.uint8), *(each.view(np.uint8) for each in rows)]).view(COMMAND)


def clock(time_ns: int = NANOSECONDS_2024_01_15_0930, **places: int) -> Rows:
    return row(CommandKind.CLOCK, time_ns=time_ns, **places)


def instrument(symbol: str | int, tick_e4: int = 100, lot: int = 1, reference_e4: int = 100_000, **places: int) -> Rows:
    values = {"name": _number(symbol), "tick_e4": tick_e4, "lot": lot, "reference_e4": reference_e4}
    return row(CommandKind.INSTRUMENT, **values, **places)


def participant(
    name: str | int, group: str | int = 0, permissions: int = int(Permission.MARKET), **places: int
) -> Rows:
    values = {"name": _number(name), "group": _number(group), "permissions": permissions}
    return row(CommandKind.PARTICIPANT, **values, **places)


def enter(
    participant: int,
    client_order_id: str | int,
    side: int,
    qty: int,
    price_e4: int | None,
    instrument: int = 1,
    tif: int = TimeInForce.DAY,
    stp: int = SelfTrade.CANCEL_NEWEST,
    post_only: bool = False,
    min_qty: int | None = None,
    instructions: int = 0,
    **places: int,
) -> Rows:
    """``price_e4`` None is a market order. ``instructions`` are set besides those that the other arguments mean."""
    bits = int(instructions)
    bits |= int(Instruction.MARKET) if price_e4 is None else 0
    bits |= int(Instruction.POST_ONLY) if post_only else 0
    bits |= int(Instruction.MIN_QTY) if min_qty is not None else 0
    values = {
        "client_order_id": _number(client_order_id),
        "price_e4": price_e4 or 0,
        "qty": qty,
        "min_qty": min_qty or 0,
        "participant": participant,
        "instrument": instrument,
        "side": side,
        "time_in_force": tif,
        "self_trade": stp,
        "instructions": bits,
    }
    return row(CommandKind.ENTER, **{**values, **places})


def cancel(participant: int, client_order_id: str | int, **places: int) -> Rows:
    return row(CommandKind.CANCEL, participant=participant, client_order_id=_number(client_order_id), **places)


def replace(
    participant: int,
    client_order_id: str | int,
    new_client_order_id: str | int,
    qty: int,
    price_e4: int | None,
    instructions: int = 0,
    **places: int,
) -> Rows:
    """``price_e4`` None is ``@ market``."""
    values = {
        "participant": participant,
        "client_order_id": _number(client_order_id),
        "new_client_order_id": _number(new_client_order_id),
        "qty": qty,
        "price_e4": price_e4 or 0,
        "instructions": int(instructions) | (int(Instruction.MARKET) if price_e4 is None else 0),
    }
    return row(CommandKind.REPLACE, **{**values, **places})


def mass_cancel(
    name: str | int, symbol: str | int = 0, side: int = 0, reason: int = Reason.MASS_CANCEL, **places: int
) -> Rows:
    values = {"name": _number(name), "symbol": _number(symbol), "side": side, "reason": reason}
    return row(CommandKind.MASS_CANCEL, **values, **places)


def phase(symbol: str | int, phase: int, **places: int) -> Rows:
    return row(CommandKind.PHASE, name=_number(symbol), phase=phase, **places)


def halt(symbol: str | int, duration_ns: int = 0, **places: int) -> Rows:
    return row(CommandKind.HALT, name=_number(symbol), duration_ns=duration_ns, **places)


def schedule(symbol: str | int, due_ns: int, phase: int, **places: int) -> Rows:
    return row(CommandKind.SCHEDULE, name=_number(symbol), due_ns=due_ns, phase=phase, **places)


def kill(name: str | int, **places: int) -> Rows:
    return row(CommandKind.KILL, name=_number(name), **places)


def unkill(name: str | int, **places: int) -> Rows:
    return row(CommandKind.UNKILL, name=_number(name), **places)


def user(name: str | int, participant: str | int, firm: str | int = 0, permissions: int = 1, **places: int) -> Rows:
    values = {"name": _number(name), "participant_name": _number(participant), "firm": _number(firm)}
    return row(CommandKind.USER, **values, permissions=permissions, **places)


def credential(name: str | int, cost: int = 14, **places: int) -> Rows:
    return row(CommandKind.CREDENTIAL, name=_number(name), cost=cost, **places)


def extend(name: str | int = 0, symbol: str | int = 0, **places: int) -> Rows:
    return row(CommandKind.EXTEND, name=_number(name), symbol=_number(symbol), **places)


def market_of(participants: int = 3, opening: int = Phase.CONTINUOUS, **terms: int) -> Rows:
    """Clock, instrument XYZ (tick 0.01, lot 1, reference 10.00 unless said) in a phase, participants P1, P2 …"""
    names = [
        participant(f"P{n}", permissions=int(Permission.MARKET | Permission.STP_NONE))
        for n in range(1, participants + 1)
    ]
    opened = [] if opening == Phase.CLOSED else [phase("XYZ", opening)]
    return batch(clock(), instrument("XYZ", **terms), *names, *opened)


def mirrored(rows: Rows, around_e4: int = 100_000) -> Rows:
    """The same rows with buy and sell changed for each other, and prices with those as far beyond ``around_e4``.

    A price that would leave its bounds stays: it is there to be refused.
    """
    seen = rows.copy()
    seen["side"] = -rows["side"]
    priced = np.isin(rows["kind"], (CommandKind.ENTER, CommandKind.REPLACE))
    priced &= (rows["price_e4"] > 0) & (rows["price_e4"] < 2 * around_e4)
    seen["price_e4"][priced] = 2 * around_e4 - rows["price_e4"][priced]
    return seen


def events_of(events: Rows, around_e4: int | None = None) -> list[str]:
    """EVENT rows as lines like those of section 12; with ``around_e4``, as the mirror of them would have been."""
    return [_line(event, around_e4) for event in events]


def _line(event: Any, around_e4: int | None) -> str:
    kind, one, two = (
        EventKind(event["kind"]),
        unpack(int(event["client_order_id"])),
        unpack(int(event["contra_client_order_id"])),
    )
    price = int(event["price_e4"])
    if around_e4 is not None and price:
        price = 2 * around_e4 - price
    if around_e4 is not None and kind == EventKind.TRADE and event["side"] == 0:
        one, two = two, one  # an uncross names the buy first
    reason = Reason(event["reason"]).name.lower() if event["reason"] else ""
    if kind == EventKind.TRADE:
        return f"trade {event['qty']} @ {price} {one} {two}"
    if kind == EventKind.CANCELED:
        return f"canceled {one} {event['qty']} {reason}"
    if kind == EventKind.REPLACED:
        return f"replaced {one} {two} {event['qty']}"
    if kind == EventKind.INDICATIVE:
        side = event["side"] if around_e4 is None else -event["side"]
        return f"indicative {event['instrument']} {event['qty']} @ {price} {event['imbalance_qty']} {side}"
    if kind == EventKind.PHASE:
        return f"phase {event['instrument']} {Phase(event['phase']).name.lower()}"
    if kind in (EventKind.KILLED, EventKind.UNKILLED):
        return f"{kind.name.lower()} {event['participant']}"
    if kind == EventKind.HALTED:
        return f"halted {event['instrument']} {reason}"
    return f"{kind.name.lower()} {one} {reason}".rstrip()
