"""Guard of a market with an ITCH feed against instruments whose prices the feed cannot carry.

ITCH's prices end at 429,496.7295, the market's at 999,999.9999. A single order above that is not shown; an instrument
that trades there would not be in the feed at all, so it is refused at its definition.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.names import unpack
from engine.records import CommandKind
from node.core.control import OperationRefused
from notation.words import price
from wire.itch_layout import PRICE_E4_MAX


def check_definitions(rows: NDArray[Any]) -> None:
    """Raise OperationRefused for the definition of an instrument whose prices do not fit."""
    far = (rows["reference_e4"] > PRICE_E4_MAX) | (rows["tick_e4"] > PRICE_E4_MAX)
    for row in rows[(rows["kind"] == CommandKind.INSTRUMENT) & far]:
        raise OperationRefused(
            f"the reference price or tick of {unpack(int(row['name']))} is above {price(PRICE_E4_MAX)}, the highest "
            "price of the ITCH feed of this node; nothing was defined: give a lower one, or start without --feed"
        )


def far_symbols(engine: MarketEngine) -> list[str]:
    """Symbols of the instruments whose last or reference price does not fit."""
    instruments = engine.instruments()
    highest = np.maximum(instruments["last_trade_e4"], instruments["reference_e4"])
    return [unpack(int(symbol)) for symbol in instruments["symbol"][highest > PRICE_E4_MAX]]
