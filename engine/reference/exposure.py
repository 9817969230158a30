"""Exposure of participants: positions, open quantity and open notional (sections 8 and 13, 23).

Every open quantity of an order comes, changes and goes through the functions here, and so does every execution.
Therefore the sums that the limits look at move with each accept, trade, cancel and replace.
"""

from engine.reference.codes import BUY
from engine.reference.state import Order


def add_open(order: Order, qty: int) -> None:
    """Counts ``qty`` more (or less, below 0) as open, at the order's present price. The order itself stays."""
    if order.side == BUY:
        order.holding.open_buy_qty += qty
    else:
        order.holding.open_sell_qty += qty
    price_e4 = order.price_e4 or order.notional_price_e4
    order.participant.open_notional_e4 += qty * price_e4


def take_off(order: Order, qty: int) -> None:
    """Reduce the open quantity of an order by ``qty``, resting or not; with nothing left it leaves its queue."""
    add_open(order, -qty)
    if order.level is not None:
        order.instrument.book.reduce(order, qty)
    else:
        order.leaves_qty -= qty
    if order.display_qty:
        # An iceberg loses its reserve first; a trade with what it shows takes that off itself.
        order.shown_qty = min(order.shown_qty, order.leaves_qty)


def execute(order: Order, qty: int) -> None:
    """One side of a trade: ``qty`` is executed, is no longer open, and moves the position."""
    order.cum_qty += qty
    order.holding.position_qty += order.side * qty
    take_off(order, qty)
