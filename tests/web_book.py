"""A book as a web client keeps it from channel full alone, after the rules of the dialect's own clients."""

from collections import Counter
from typing import Any


class FullBook:
    """Orders by id: side, price, size. It believes what it is told, and raises where that cannot be."""

    def __init__(self) -> None:
        self.orders: dict[str, tuple[str, str, int]] = {}
        self.sequence = 0

    def take(self, message: dict[str, Any]) -> None:
        """Take a message of channel full."""
        assert message["sequence"] == self.sequence + 1, f"a gap behind {self.sequence}: {message}"
        self.sequence = message["sequence"]
        match message["type"]:
            case "received":
                pass
            case "open":
                assert message["order_id"] not in self.orders
                self.orders[message["order_id"]] = (message["side"], message["price"], int(message["remaining_size"]))
            case "done":
                self.orders.pop(message["order_id"], None)
            case "match":
                side, price, size = self.orders[message["maker_order_id"]]
                assert (side, price) == (message["side"], message["price"])
                assert size >= int(message["size"])
                self.orders[message["maker_order_id"]] = side, price, size - int(message["size"])
            case "change":
                side, price, size = self.orders[message["order_id"]]
                assert (side, price, size) == (message["side"], message["price"], int(message["old_size"]))
                self.orders[message["order_id"]] = side, price, int(message["new_size"])
            case other:
                raise AssertionError(other)

    def begin(self, book: dict[str, Any]) -> None:
        """Begin from an answer of level 3."""
        self.sequence = book["sequence"]
        for side, rows in (("buy", book["bids"]), ("sell", book["asks"])):
            self.orders.update({order_id: (side, price, int(size)) for price, size, order_id in rows})

    def levels(self) -> dict[tuple[str, str], int]:
        """Sizes by side and price."""
        sums: Counter[tuple[str, str]] = Counter()
        for side, price, size in self.orders.values():
            sums[side, price] += size
        return {level: size for level, size in sums.items() if size}
