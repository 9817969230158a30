"""Messages of the feed as rows of one table, for CSV files and Parquet.

A row is a message. It has the symbol of its instrument, though most messages of ITCH name a number alone, and no value
where its kind has no such field. Times are in ns since 1970, prices in 1/10000, levels of an index in 1/100000000.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import pack
from engine.records import Side
from exports.tables import Columns, Table
from exports.words import CodeWords, IdWords
from marketdata.itch.scan import index_messages
from wire.itch import DTYPES, times_ns
from wire.itch_layout import FRAME_BYTES, Imbalance, ItchCross, ItchMessage, ItchSide, SystemEvent, TradingState

#: Columns that are a field of some messages, and their names there.
_NUMBERS: Final = (
    *("reference", "new_reference", "shares", "price_e4", "match_number", "paired_shares", "imbalance_shares"),
    *("near_e4", "round_lot", "level", "level_1_e8", "level_2_e8", "level_3_e8"),
)
_CODES: Final = {"side": "side", "event": "event", "state": "state", "cross": "cross", "imbalance": "direction"}
_NAMES: Final = IdWords(few=True)

MESSAGES: Final = Table(
    "messages",
    ("number", "time_ns", "kind", "symbol", "side", *_NUMBERS, "event", "state", "reason", "cross", "imbalance"),
    {
        "kind": CodeWords(ItchMessage),
        "symbol": _NAMES,
        "side": CodeWords(Side),
        "event": CodeWords(SystemEvent),
        "state": CodeWords(TradingState),
        "reason": _NAMES,
        "cross": CodeWords(ItchCross),
        "imbalance": CodeWords(Imbalance),
    },
    frozenset(_NUMBERS),
)


class MessageTable:
    """Reader of framed messages of one session, from its first on: it learns symbols from the directory among them."""

    def __init__(self) -> None:
        self._symbols = np.zeros(1 << 16, np.int64)

    def columns(self, number: int, framed: memoryview, day_ns: int) -> Columns:
        """Whole messages, the first of which has the number ``number``, as columns of ``MESSAGES``.

        ``day_ns``: time from which those of the messages are counted, ns since 1970.
        """
        octets = np.frombuffer(framed, np.uint8)
        places = np.zeros(len(octets) // (FRAME_BYTES + 12) + 1, np.int64)
        count = int(index_messages(octets, 0, 1, places)[0])
        places = places[:count] + FRAME_BYTES
        kinds = octets[places].astype(np.int64)
        found: dict[str, Any] = {name: np.zeros(count, np.int64) for name in MESSAGES.columns}
        missing = {name: np.ones(count, np.bool_) for name in _NUMBERS}
        locates = np.zeros(count, np.int64)
        for kind in np.unique(kinds).tolist():
            at = np.flatnonzero(kinds == kind)
            rows = _rows(octets, places[at], DTYPES[kind])
            fields = rows.dtype.names or ()
            found["time_ns"][at] = times_ns(rows) + day_ns
            locates[at] = rows["stock_locate"]
            for name in _NUMBERS:
                if name in fields:
                    found[name][at] = rows[name]
                    missing[name][at] = False
            for name, field in _CODES.items():
                if field in fields:
                    found[name][at] = rows[field]
            if kind == ItchMessage.MWCB_STATUS:
                found["level"][at] = rows["level"] - ord("0")  # a character
            if "reason" in fields:
                found["reason"][at] = _packed(rows["reason"])
            if kind == ItchMessage.STOCK_DIRECTORY:
                self._symbols[locates[at]] = _packed(rows["stock"])
        found["number"] = np.arange(number, number + count)
        found["kind"] = kinds
        found["symbol"] = self._symbols[locates]
        found["side"] = (found["side"] == ItchSide.BUY) * Side.BUY + (found["side"] == ItchSide.SELL) * Side.SELL
        return found | {name: np.ma.array(found[name], mask=missing[name]) for name in _NUMBERS}


def _rows(octets: NDArray[np.uint8], places: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Messages of one kind, at these places, as rows."""
    found: NDArray[Any] = octets[places[:, None] + np.arange(dtype.itemsize)].view(dtype).reshape(len(places))
    return found


def _packed(texts: NDArray[Any]) -> NDArray[np.int64]:
    """Names of fields of text, as numbers; 0 for blanks."""
    known, places = np.unique(texts, return_inverse=True)
    names = [each.decode("ascii").rstrip(" ") for each in known.tolist()]
    return np.array([pack(name) if name else 0 for name in names], np.int64)[places]
