"""Accounts of participants: positions, open orders and limits, for `lockstep state` and the operator.

From views that both engines have: POSITION, PARTICIPANT_STATE and LIMITS_STATE rows. Quantities are shares, money is in
1/10000.
"""

from typing import Any

import numpy as np

from engine.interface import MarketEngine
from engine.names import Directory, unpack
from engine.records import Limit, Permission
from notation.objects import limits_object
from notation.print import limit_texts
from notation.table import LIMIT_BITS

Facts = dict[str, Any]


def participants(engine: MarketEngine) -> list[Facts]:
    """Participants in order of definition: open orders, their notional, and permissions."""
    return [_participant(row) for row in engine.participants()]


def positions(engine: MarketEngine) -> list[Facts]:
    """Position and open quantities of each participant in each instrument, without empty rows."""
    return [_position(row, engine.directory) for row in engine.positions()]


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


def limit_words(limits: Facts) -> str:
    """Limits (``notation.objects.limits_object``) as words of section 12; "" for none.

    >>> limit_words(limits_object(Limit.MAX_ORDER_QTY | Limit.RESTRICTED, (100, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    'max_order_qty=100 restricted'
    """
    bits = sum({int(bit) for key, bit in LIMIT_BITS.items() if limits[key] is not None})
    bits |= Limit.RESTRICTED if limits["restricted"] else 0
    texts = limit_texts(bits, tuple(limits[key] or 0 for key in LIMIT_BITS))
    return " ".join(f"{word}={text}" if text else word for word, text in texts.items())


def _participant(row: Any) -> Facts:
    permissions = int(row["permissions"])
    return {
        "participant": unpack(int(row["name"])),
        "open_orders": int(row["orders_open"]),
        "ids_used": int(row["ids_used"]),
        "open_notional_e4": int(row["open_notional_e4"]),
        "killed": bool(row["killed"]),
        "allow": [str(each.name).lower() for each in Permission if each & permissions],
    }


def _position(row: Any, names: Directory) -> Facts:
    return {
        "participant": names.participants[int(row["participant"]) - 1],
        "symbol": names.symbols[int(row["instrument"]) - 1],
    } | _quantities(row)


def _quantities(row: Any) -> Facts:
    return {name: int(row[name]) for name in ("position_qty", "open_buy_qty", "open_sell_qty")}


def _limits(row: Any) -> Facts:
    return limits_object(int(row["limits"]), [int(row[key]) for key in LIMIT_BITS])
