"""The ladder of a book shows its lit orders, and no others."""

import json
from pathlib import Path

from tests.conftest import Lockstep

DAY = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint
participant ALPHA
participant BETA
phase XYZ continuous
enter BETA m1 buy 10 XYZ @ 9.98
enter BETA m2 sell 10 XYZ @ 10.02
enter BETA b1 sell 50 XYZ @ 10.01 book=midpoint
enter ALPHA a1 buy 60 XYZ @ 9.98 book=midpoint
"""


def test_orders_of_the_midpoint_book_are_in_no_level_of_the_lit_one(tmp_path: Path, lockstep: Lockstep) -> None:
    """They were counted to the level of their limit, or as market orders."""
    day = tmp_path / "day.txt"
    day.write_text(DAY)
    status, _, complaint = lockstep("run", day, "--data", tmp_path / "node")
    assert (status, complaint) == (0, "")
    _, said, _ = lockstep("book", tmp_path / "node", "XYZ", "--json")
    book = json.loads(said)
    levels = {
        side: [(each["price_e4"], each["qty"], each["orders"]) for each in book[side]] for side in ("bids", "offers")
    }
    assert levels == {"bids": [(99_800, 10, 1)], "offers": [(100_200, 10, 1)]}
