"""A user's trading day: what the stream says of each order, and which request it answers."""

from collections.abc import Callable
from typing import Generic, TypeVar

from client import events
from client.events import Message, OrderPlaced
from client.orders import Order, OrderState, RequestKind, RequestState
from client.requests import OpenRequests
from wire.errors import ProtocolError
from wire.ouch_codes import CancelReason

OrderT = TypeVar("OrderT", bound=Order)

_TAKEN = (OrderState.LIVE, OrderState.FILLED, OrderState.CANCELED)


class TradingDay(Generic[OrderT]):
    """Orders by every token that they have had this day, and the requests without an answer.

    duplicates: how many repeated requests the exchange refused as such.
    """

    def __init__(self, make_order: Callable[..., OrderT]) -> None:
        self.orders: dict[str, OrderT] = {}
        self.requests = OpenRequests()
        self.duplicates = 0
        self._make_order = make_order

    def apply(self, message: Message) -> bool:
        """Apply a message; True if it is news. A refusal of something that has its outcome already is none.

        Raises ProtocolError for an order that is accepted twice.
        """
        match message:
            case events.Accepted():
                self._accepted(message)
            case events.Replaced():
                self._replaced(message)
            case events.Executed(token=token, qty=qty, price_e4=price_e4):
                if order := self.orders.get(token):
                    order.trade(qty, price_e4)
            case events.Canceled():
                self._canceled(message)
            case events.SelfTradePrevented(token=token, qty=qty):
                if order := self.orders.get(token):
                    order.lose(qty)
            case events.OrderModified():
                self._modified(message)
            case events.Rejected():
                return self._rejected(message)
            case events.CancelRejected(token=token):
                request = self.requests.of_order(token)
                if request is None:
                    self.duplicates += token in self.orders
                    return False
                self.requests.settle(request, RequestState.REFUSED, message)
        return True

    def new_order(self, token: str, **fields: object) -> OrderT:
        """An order under a token, not sent yet."""
        order = self._make_order(token=token, **fields)
        self.orders[token] = order
        return order

    def _seen(self, placed: OrderPlaced) -> OrderT:
        """An order that this program did not enter: it was there before it, or is another program's."""
        return self.new_order(
            placed.token,
            symbol=placed.symbol,
            side=placed.side,
            qty=placed.qty,
            price_e4=placed.price_e4,
            time_in_force_s=placed.time_in_force_s,
            display=placed.display,
            intermarket_sweep=ord(placed.intermarket_sweep),
            min_qty=placed.min_qty,
        )

    def _accepted(self, message: events.Accepted) -> None:
        order = self.orders.get(message.token) or self._seen(message)
        if order.state in _TAKEN:
            raise ProtocolError(f"message {message.seq} accepts the order {message.token!r} for the second time")
        order.place(message)
        request = self.requests.of_token(message.token)
        if request is not None and request.kind is RequestKind.ENTER:
            self.requests.settle(request, RequestState.DONE, message)

    def _replaced(self, message: events.Replaced) -> None:
        order = self.orders.get(message.previous_token) or self._seen(message)
        self.orders[message.token] = order
        order.place(message)
        request = self.requests.of_token(message.token)
        if request is not None and request.kind is RequestKind.REPLACE:
            self.requests.settle(request, RequestState.DONE, message)

    def _canceled(self, message: events.Canceled) -> None:
        """Answer a cancel if a user did it; a replace or modify if nothing is left of the order that it was for."""
        order = self.orders.get(message.token)
        if order is not None:
            order.lose(message.qty)
        request = self.requests.of_order(message.token)
        if request is None:
            return
        if request.kind is RequestKind.CANCEL:
            answered = message.reason == CancelReason.USER
        else:
            answered = order is not None and not order.is_open
        if answered:
            self.requests.settle(request, RequestState.DONE, message)

    def _modified(self, message: events.OrderModified) -> None:
        if order := self.orders.get(message.token):
            order.shrink(message.side, message.qty)
        request = self.requests.of_order(message.token)
        if request is not None and request.kind is RequestKind.MODIFY:
            self.requests.settle(request, RequestState.DONE, message)

    def _rejected(self, message: events.Rejected) -> bool:
        request = self.requests.of_token(message.token)
        if request is None:
            self.duplicates += message.token in self.orders
            return False
        if request.kind is RequestKind.ENTER:
            self.orders[message.token].state = OrderState.REJECTED
        self.requests.settle(request, RequestState.REFUSED, message)
        return True
