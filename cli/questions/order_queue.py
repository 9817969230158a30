"""Place of an order in the queue of its price, after each of its events: `lockstep order --queue`."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import screen
from cli.warmup import ready
from engine.names import Directory, unpack
from replay.ladder import in_no_queue, trading_prices
from replay.moments import Moments

#: Orders ahead that text names.
_NAMED_MAX = 3


class Standing(NamedTuple):
    """Place of an order after a command. ``ahead``: OPEN_ORDER rows at its price that trade before it, the first first;
    ``better_orders``, ``better_qty``: of its side at better prices."""

    ahead: NDArray[Any]
    better_orders: int
    better_qty: int

    def named_ids(self) -> list[int]:
        """Client order ids that ``words`` names."""
        return [int(order_id) for order_id in self.ahead["client_order_id"][:_NAMED_MAX]]

    def words(self, names: Directory) -> str:
        """The place in words, such as ``2 orders, 300: BETA b1 200, GAMMA c1 100``."""
        better = f"; {screen.count(self.better_qty)} at better prices" if self.better_qty else ""
        if not len(self.ahead):
            return f"first{better}"
        some = [
            f"{names.participants[int(row['participant']) - 1]} {unpack(int(row['client_order_id']))} "
            f"{screen.count(int(row['leaves_qty']))}"
            for row in self.ahead[:_NAMED_MAX]
        ]
        more = ", …" if len(self.ahead) > _NAMED_MAX else ""
        qty = screen.count(int(self.ahead["leaves_qty"].sum()))
        return f"{screen.counted(len(self.ahead), 'order')}, {qty}: {', '.join(some)}{more}{better}"


def standings(directory: Path, number: int, seqs: list[int]) -> dict[int, Standing]:
    """Place of an order by its number after each of the commands ``seqs`` (rising); none where it is in no queue."""
    if not seqs:
        return {}
    ready()
    moments = Moments(directory, ids=False)
    found: dict[int, Standing] = {}
    for seq in seqs:
        orders = moments.at(seq).open_orders()
        at = np.flatnonzero(orders["order_number"] == number)
        if len(at) and not in_no_queue(orders[at])[0]:
            found[seq] = _standing(orders, int(at[0]))
    for note in moments.notes:
        screen.notice(f"note: {note}")
    return found


def _standing(orders: NDArray[Any], at: int) -> Standing:
    """Place of a row of ``orders``, which are in the order in which the book would trade them."""
    own, before = orders[at], orders[:at]
    before = before[(before["instrument"] == own["instrument"]) & (before["side"] == own["side"])]
    before = before[~in_no_queue(before)]
    level = trading_prices(before) == trading_prices(orders[at : at + 1])[0]
    better = before[~level]
    return Standing(before[level], len(better), int(better["leaves_qty"].sum()))


def queue_object(standing: Standing | None, names: Directory) -> dict[str, Any] | None:
    """A place as a JSON object."""
    if standing is None:
        return None
    ahead = [
        {
            "participant": names.participants[int(row["participant"]) - 1],
            "client_order_id": unpack(int(row["client_order_id"])),
            "order_number": int(row["order_number"]),
            "leaves_qty": int(row["leaves_qty"]),
        }
        for row in standing.ahead
    ]
    return {
        "ahead_orders": len(ahead),
        "ahead_qty": int(standing.ahead["leaves_qty"].sum()),
        "better_orders": standing.better_orders,
        "better_qty": standing.better_qty,
        "ahead": ahead,
    }
