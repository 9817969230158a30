"""Accounts of participants: positions, open orders and limits, for `lockstep state` and the operator.

From views that both engines have: POSITION, PARTICIPANT_STATE and LIMITS_STATE rows. Quantities are shares, money is in
1/10000.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import numpy as np

from engine.bounds import BPS_MAX, RATE_ORDERS_MAX
from engine.interface import MarketEngine, StatefulEngine
from engine.names import Directory, unpack
from engine.parts import fill_pages
from engine.records import Limit, Permission, Side
from engine.state import ENTRY_TIME
from notation.objects import limits_object
from notation.table import LIMIT_BITS

Facts = dict[str, Any]


def participants(engine: MarketEngine) -> list[Facts]:
    """Participants in order of definition: open orders, their notional, and permissions."""
    return [_participant(row) for row in engine.participants()]


def position_columns(engine: MarketEngine, participant: int = 0, symbol: str | None = None) -> dict[str, list[Any]]:
    """Position and open quantities of a participant by number, or of each (0), in an instrument or each, without empty
    rows: a list a column, since a venue has a hundred thousand.
    """
    names = engine.directory  # made anew at each look, of all names
    rows = engine.positions(participant)
    if symbol is not None:
        rows = rows[rows["instrument"] == names.symbols.index(symbol) + 1]
    found: dict[str, list[Any]] = {
        "participant": [names.participants[number - 1] for number in rows["participant"].tolist()],
        "symbol": [names.symbols[number - 1] for number in rows["instrument"].tolist()],
    }
    return found | {name: rows[name].tolist() for name in _QUANTITIES}


def positions(engine: MarketEngine, participant: int = 0) -> list[Facts]:
    """Rows of ``position_columns`` of all instruments."""
    columns = position_columns(engine, participant)
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]


def limits(engine: MarketEngine) -> list[Facts]:
    """Limits of participants; ``symbol`` is None for limits over all instruments."""
    names = engine.directory
    return [
        {
            "participant": names.participants[int(row["participant"]) - 1],
            "symbol": names.symbols[int(row["instrument"]) - 1] if row["instrument"] else None,
            "limits": _limits(row),
        }
        for row in engine.limits()
    ]


def account(engine: MarketEngine, name: str) -> tuple[Facts, list[Facts]]:
    """Account of one participant with its overall limits, and its instruments with a position, open orders or limits.
    Raises KeyError for an unknown name.
    """
    names = engine.directory
    if name not in names.participants:
        raise KeyError(name)
    number = names.participants.index(name) + 1
    held, limited = engine.positions(number), engine.limits(number)
    of_limits = {int(row["instrument"]): _limits(row) for row in limited}
    unlimited = limits_object(0, [0] * len(LIMIT_BITS))
    whole = _participant(engine.participants()[number - 1]) | {"limits": of_limits.pop(0, unlimited)}
    of_positions = {int(row["instrument"]): row for row in held}
    none = np.zeros((), held.dtype)
    instruments = []
    for instrument in sorted(of_positions.keys() | of_limits.keys()):
        facts = {"symbol": names.symbols[instrument - 1]} | _quantities(of_positions.get(instrument, none))
        instruments.append(facts | {"limits": of_limits.get(instrument, unlimited)})
    return whole, instruments


def uses(engine: MarketEngine) -> list[Facts]:
    """Uses of the limits of position, credit, order rate, open orders and ids, where one is set.

    ``used`` is held against ``allowed``, both in ``unit``. A position is used for each ``side`` by itself. The rate
    counts entries up to the clock in force; it needs the compiled engine.
    """
    held = {(int(row["participant"]), int(row["instrument"])): row for row in engine.positions()}
    limited = {(int(row["participant"]), int(row["instrument"])): row for row in engine.limits()}
    names = engine.directory
    found: list[Facts] = []
    for number, facts in enumerate(engine.participants(), 1):
        every = limited.get((number, 0))
        if every is not None:
            found += _overall_uses(engine, names, number, facts, every)
        for instrument, symbol in enumerate(names.symbols, 1):
            own, row = limited.get((number, instrument)), held.get((number, instrument))
            setting = next((each for each in (own, every) if _sets(each, Limit.MAX_POSITION)), None)
            if setting is None or (row is None and setting is every):
                continue
            position_qty = int(row["position_qty"]) if row is not None else 0
            for side, of_side in ((Side.BUY, "open_buy_qty"), (Side.SELL, "open_sell_qty")):
                used_qty = int(side) * position_qty + (int(row[of_side]) if row is not None else 0)
                allowed_qty = int(setting["max_position_qty"])
                found.append(_use(names, number, symbol, "max_position", side, used_qty, allowed_qty, "shares"))
    return found


def _overall_uses(engine: MarketEngine, names: Directory, number: int, facts: Any, limits: Any) -> Iterator[Facts]:
    """Uses of the limits of a participant over all instruments."""
    if _sets(limits, Limit.ORDER_RATE):
        counted = _counted(engine, number, int(limits["rate_window_ns"]))
        allowed = int(limits["rate_orders"])
        yield _use(names, number, None, "order_rate", None, counted, allowed, "entries")
    if _sets(limits, Limit.CREDIT):
        margin_bps = int(limits["margin_bps"]) if _sets(limits, Limit.MARGIN) else BPS_MAX
        used_e4 = int(facts["open_notional_e4"]) + margin_bps * _held_value_e4(engine, number) // BPS_MAX
        yield _use(names, number, None, "credit", None, used_e4, int(limits["credit_e4"]), "price_e4")
    if _sets(limits, Limit.MAX_OPEN_ORDERS):
        open_orders, allowed = int(facts["orders_open"]), int(limits["max_open_orders"])
        yield _use(names, number, None, "max_open_orders", None, open_orders, allowed, "orders")
    if _sets(limits, Limit.MAX_IDS):
        yield _use(names, number, None, "max_ids", None, int(facts["ids_used"]), int(limits["max_ids"]), "ids")


def _sets(limits: Any, limit: Limit) -> bool:
    return limits is not None and bool(int(limits["limits"]) & limit)


def _use(
    names: Directory, number: int, symbol: str | None, limit: str, side: Side | None, used: int, allowed: int, unit: str
) -> Facts:
    return {
        "participant": names.participants[number - 1],
        "symbol": symbol,
        "limit": limit,
        "side": side.name.lower() if side is not None else None,
        "used": used,
        "allowed": allowed,
        "unit": unit,
    }


def _held_value_e4(engine: MarketEngine, number: int) -> int:
    """Sum over instruments of absolute position times reference price (rulebook section 8)."""
    states = engine.instruments()
    rows = [(states[int(row["instrument"]) - 1], int(row["position_qty"])) for row in engine.positions(number)]
    return sum(abs(qty) * (int(state["last_trade_e4"]) or int(state["reference_e4"])) for state, qty in rows)


def _counted(engine: MarketEngine, number: int, window_ns: int) -> int:
    """Entries of a participant in the last ``window_ns`` before the clock in force."""
    parts = cast(StatefulEngine, engine).parts()
    row = parts["reference"]["participants"][number - 1]
    times = np.zeros(len(parts["reference"]["participants"]) * RATE_ORDERS_MAX, ENTRY_TIME)
    fill_pages(times, dict(parts["risk"]), "entry_times")
    newest = int(row["entry_time_count"])
    places = np.arange(max(newest + 1 - RATE_ORDERS_MAX, 0), newest + 1) % RATE_ORDERS_MAX
    ring = times[(number - 1) * RATE_ORDERS_MAX :][places]
    counts = np.diff(ring["entries"], append=int(row["entries"]))
    return int(counts[ring["time_ns"] > engine.now_ns - window_ns].sum())


def _participant(row: Any) -> Facts:
    permissions = int(row["permissions"])
    return {
        "participant": unpack(int(row["name"])),
        "open_orders": int(row["orders_open"]),
        "ids_used": int(row["ids_used"]),
        "open_notional_e4": int(row["open_notional_e4"]),
        "killed": bool(row["killed"]),
        "allow": [name for bit, name in _PERMISSIONS if bit & permissions],
    }


_PERMISSIONS: Final = [(int(each), str(each.name).lower()) for each in Permission]
_QUANTITIES: Final = ("position_qty", "open_buy_qty", "open_sell_qty")


def _quantities(row: Any) -> Facts:
    return {name: int(row[name]) for name in _QUANTITIES}


def _limits(row: Any) -> Facts:
    return limits_object(int(row["limits"]), [int(row[key]) for key in LIMIT_BITS])
