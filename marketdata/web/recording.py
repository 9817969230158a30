"""Messages that web clients were told of a past market, as lines of JSON: a file a date.

A line is a message of a channel: status and snapshot (level2) of each product first, then each message of full in its
order, and, ten times a second of the market's clock, what changed of status, level2, ticker and auctionfeed.
"""

import json
from pathlib import Path
from typing import Any, Final

from engine.bounds import DAY_NS
from engine.capacity import Capacity
from marketdata.itch import session_name
from marketdata.octet_file import OctetFile, Written
from marketdata.web import channels
from marketdata.web.market import WebMarket
from marketdata.web.product import Call, Message, Product

#: Interval of level2, ticker and auctionfeed, in nanoseconds of the market's clock.
TICK_NS: Final = 100_000_000
FORM: Final = "jsonl"


class Recording:
    """A folder of files, one a date. Raises OSError.

    ``market``: takes the blocks; ``at`` is called before each part of one with its time. ``written``: the files so far.
    """

    def __init__(self, folder: Path, capacity: Capacity) -> None:
        self.market = WebMarket(capacity, self._on_messages)
        self.written: list[Written] = []
        self._folder = folder
        self._file: OctetFile | None = None
        self._day = self._tick = -1
        self._traded: set[str] = set()
        self._calls: dict[str, Call | None] = {}
        self._phases: list[tuple[str, int, int]] = []
        self._known: set[str] = set()  # products whose levels were told

    def at(self, time_ns: int) -> None:
        """Begin the file of the date, or tell what changed, where it is time. The market is as before ``time_ns``."""
        if time_ns // TICK_NS != self._tick:
            self._tell_changes()
            self._tick = time_ns // TICK_NS
        if time_ns // DAY_NS != self._day:
            self.close()
            self._begin(time_ns // DAY_NS)

    def _begin(self, day: int) -> None:
        name = session_name(day)
        path = self._folder / f"{name}.{FORM}"
        self._file = OctetFile(path.with_name(f"{path.name}.new"))
        self._day = day
        self.written.append(Written(name, path))
        self._known.clear()
        self._phases.clear()
        self._tell_products()

    def _tell_products(self) -> None:
        """Tell the status of all products where one has changed, and the levels of those that are new."""
        phases = [(each.id, each.phase, each.halt_reason) for each in self.market.products.values()]
        if phases != self._phases or not self.written[-1].messages:
            self._put(channels.status(self.market))
        self._phases = phases
        for product in self.market.products.values():
            if product.id not in self._known:
                self._known.add(product.id)
                product.levels.clear()
                self._put(channels.snapshot(self.market, product))

    def _put(self, message: Message) -> None:
        assert self._file is not None, "a file has begun"
        self._file.add(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self.written[-1].messages += 1

    def _on_messages(self, product: Product, full: list[Message], matches: list[Message]) -> None:
        if self._file is None:
            return
        for message in full:  # a match is among them
            self._put(message)
        if matches:
            self._traded.add(product.id)

    def _tell_changes(self) -> None:
        if self._file is None:
            return
        self._tell_products()
        for product in self.market.products.values():
            told: list[Any] = [channels.l2update(self.market, product)]
            told += [channels.ticker(self.market, product)] if product.id in self._traded else []
            if self._calls.get(product.id) != product.call:
                self._calls[product.id] = product.call
                told.append(channels.auction(self.market, product))
            for message in told:
                if message is not None:
                    self._put(message)
        self._traded.clear()

    def close(self) -> None:
        """Tell what changed, end the file under way, and give it its name."""
        self._tell_changes()
        if self._file is None:
            return
        file, self._file = self._file, None
        about = self.written[-1]
        about.size_bytes, about.digest = file.close()
        about.path.with_name(f"{about.path.name}.new").rename(about.path)
