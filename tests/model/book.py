"""Books, queues and quotes (section 3)."""

from collections.abc import Iterable

from tests.model.records import Index, Instrument, Order, Participant
from tests.model.words import DEFAULT_NS


class Books:
    """All open orders, and what follows from them at once."""

    def __init__(self) -> None:
        self.now_ns = DEFAULT_NS
        self.instruments: list[Instrument] = []
        self.participants: list[Participant] = []
        self.indices: list[Index] = []
        self.orders: list[Order] = []
        self.events: list[str] = []
        #: Instruments that the command touched, for section 7.
        self.touched: set[Instrument] = set()
        self.priority = 0
        self.accepted = 0

    def tell(self, event: str) -> None:
        self.events.append(event)

    def instrument(self, symbol: str) -> Instrument | None:
        return next((each for each in self.instruments if each.symbol == symbol), None)

    def participant(self, name: str) -> Participant | None:
        return next((each for each in self.participants if each.name == name), None)

    def open_order(self, owner: Participant, order_id: str) -> Order | None:
        return next((each for each in self.orders if each.owner is owner and each.id == order_id), None)

    def next_priority(self) -> int:
        """The next value of the venue's counter, for an order that goes to the back of a queue."""
        self.priority += 1
        return self.priority

    def placed(self, instrument: Instrument, place: str, side: int | None = None) -> list[Order]:
        """Orders of an instrument that stand in a place."""
        return [
            order
            for order in self.orders
            if order.instrument is instrument and order.place == place and side in (None, order.side)
        ]

    @staticmethod
    def by_acceptance(orders: Iterable[Order]) -> list[Order]:
        return sorted(orders, key=lambda order: order.accepted)

    def orders_of(self, instrument: Instrument) -> list[Order]:
        """Open orders of an instrument, every kind, in order of acceptance."""
        return self.by_acceptance(order for order in self.orders if order.instrument is instrument)

    @staticmethod
    def rank(order: Order) -> tuple[int, int, int, int]:
        """Place in the lit queue: market orders, then price, then visibility, then time."""
        price_e4 = order.queue_e4
        by_price = (0, 0) if price_e4 is None else (1, -order.side * price_e4)
        return *by_price, 0 if order.is_displayed else 1, order.priority

    def queue(self, instrument: Instrument, side: int) -> list[Order]:
        """Orders of a side of the lit book in the order in which they trade."""
        return sorted(self.placed(instrument, "lit", side), key=self.rank)

    def best_displayed_e4(self, instrument: Instrument, side: int) -> int | None:
        """Best displayed bid (1) or offer (-1) of the lit book; None without one."""
        prices = [
            order.price_e4
            for order in self.placed(instrument, "lit", side)
            if order.is_displayed and order.price_e4 is not None
        ]
        return max(prices, key=lambda price_e4: price_e4 * side, default=None)

    def midpoint_e4(self, instrument: Instrument) -> int | None:
        """Midpoint of the best displayed bid and offer, rounded down; None without both."""
        bid_e4, offer_e4 = (self.best_displayed_e4(instrument, side) for side in (1, -1))
        return None if bid_e4 is None or offer_e4 is None else (bid_e4 + offer_e4) // 2

    def midpoint_queue(self, instrument: Instrument, side: int) -> list[Order]:
        """Orders of the midpoint book that take part at the midpoint of the moment, by time alone."""
        midpoint_e4 = self.midpoint_e4(instrument)
        orders = self.placed(instrument, "midpoint", side)
        return sorted(
            (order for order in orders if self.takes_part(order, midpoint_e4)), key=lambda order: order.priority
        )

    @staticmethod
    def takes_part(order: Order, midpoint_e4: int | None) -> bool:
        """True while there is a midpoint within the order's limit."""
        return midpoint_e4 is not None and (order.price_e4 is None or (order.price_e4 - midpoint_e4) * order.side >= 0)

    def remove_if_done(self, order: Order) -> None:
        if order.open == 0 and order in self.orders:
            self.orders.remove(order)

    def cancel_order(self, order: Order, reason: str) -> None:
        """Cancel what is open of an order."""
        self.cancel_part(order, order.open, reason)

    def cancel_part(self, order: Order, qty: int, reason: str) -> None:
        self.tell(f"canceled {order.id} qty={qty} reason={reason}")
        order.lose(qty)
        self.remove_if_done(order)
        self.touched.add(order.instrument)

    def index_value_e4(self, members: dict[str, int]) -> int:
        """Sum of weight times reference price (section 9)."""
        references = {each.symbol: each.reference_e4 for each in self.instruments}
        return sum(weight * references[symbol] for symbol, weight in members.items())
