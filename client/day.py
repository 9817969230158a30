"""Trading day of a user: state of each order from the stream, and the requests that messages answer."""

from collections.abc import Callable
from typing import Generic, TypeVar

from client import events
from client.events import Event, Message, OrderPlaced
from client.orders import Order, OrderState, Request, RequestKind, RequestState
from client.requests import OpenRequests
from wire.errors import ProtocolError
from wire.ouch_codes import CancelReason

OrderT = TypeVar("OrderT", bound=Order)

_TAKEN = (OrderState.LIVE, OrderState.FILLED, OrderState.CANCELED)
_CLOSED = (OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.NOT_RECEIVED)


class TradingDay(Generic[OrderT]):
    """Orders by every token that they have had this day, and the requests without an answer.

    keep_closed: if not, an order is forgotten when nothing of it can trade any more, and a token when it is replaced.
    duplicates: number of repeated requests that the exchange rejected as such. unasked: number of answers to requests
    of other programs of the user, or to none.
    """

    def __init__(self, make_order: Callable[..., OrderT], *, keep_closed: bool = True) -> None:
        self.orders: dict[str, OrderT] = {}
        self._earlier: dict[str, OrderT] = {}  # those of the day before that were not known to have ended
        self.requests = OpenRequests()
        self.duplicates = 0
        self.unasked = 0
        self._make_order = make_order
        self._keep_closed = keep_closed

    def begin(self) -> None:
        """Begin another day: tokens are free again, and the exchange restates the orders that go on."""
        self._earlier = {token: order for token, order in self.orders.items() if order.state not in _CLOSED}
        self.orders.clear()

    def apply(self, message: Message) -> bool:
        """Apply a message; True if it is new. A reject of a request with an outcome is not.

        Raises ProtocolError for an order that is accepted twice.
        """
        is_news = self._apply(message)
        if not self._keep_closed:
            if isinstance(message, events.Replaced):
                self.orders.pop(message.previous_token, None)
            self.forget_closed(getattr(message, "token", ""))
        return is_news

    def forget_closed(self, token: str) -> None:
        """Forget the order of a token if nothing of it can trade any more and closed orders are not kept."""
        order = self.orders.get(token)
        if order is not None and not self._keep_closed and order.state in _CLOSED:
            del self.orders[token]

    def _apply(self, message: Message) -> bool:
        match message:
            case events.Accepted():
                self._accepted(message)
            case events.Replaced():
                self._replaced(message)
            case events.Restated():
                self._restated(message)
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
                    self._refused_unasked(token)
                    return False
                self.requests.settle(request, RequestState.REFUSED, message)
        return True

    def new_order(self, token: str, **fields: object) -> OrderT:
        """An order under a token, not sent yet."""
        order = self._make_order(token=token, **fields)
        self.orders[token] = order
        return order

    def _seen(self, placed: OrderPlaced) -> OrderT:
        """Add an order that this program did not enter, from before or from another program."""
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
            terms=placed.terms,
        )

    def _accepted(self, message: events.Accepted) -> None:
        order = self.orders.get(message.token) or self._seen(message)
        if order.state in _TAKEN:
            raise ProtocolError(f"message {message.seq} accepts the order {message.token!r} for the second time")
        order.place(message)
        self._done(self.requests.of_token(message.token), RequestKind.ENTER, message)

    def _done(self, request: Request | None, kind: RequestKind, message: Event) -> None:
        """Settle the request of this kind that a message answers."""
        if request is not None and request.kind is kind:
            self.requests.settle(request, RequestState.DONE, message)
        else:
            self.unasked += 1

    def _refused_unasked(self, token: str) -> None:
        """Count a reject that answers no open request: of a repetition, or of another program."""
        if token in self.orders or self.requests.was_repeated(token):
            self.duplicates += 1
        else:
            self.unasked += 1

    def _replaced(self, message: events.Replaced) -> None:
        order = self.orders.get(message.previous_token) or self._seen(message)
        self.orders[message.token] = order
        order.place(message)
        self._done(self.requests.of_token(message.token), RequestKind.REPLACE, message)

    def _restated(self, message: events.Restated) -> None:
        order = self.orders[message.token] = self._earlier.pop(message.token, None) or self._seen(message)
        order.cum_qty, order.traded_e4 = message.cum_qty, message.traded_e4
        order.place(message)

    def _canceled(self, message: events.Canceled) -> None:
        """Answer a cancel if a user did it; a replace or modify if nothing is left of the order that it was for."""
        order = self.orders.get(message.token)
        if order is not None:
            order.lose(message.qty)
        request = self.requests.of_order(message.token)
        if request is None:
            self.unasked += message.reason == CancelReason.USER
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
        self._done(self.requests.of_order(message.token), RequestKind.MODIFY, message)

    def _rejected(self, message: events.Rejected) -> bool:
        request = self.requests.of_token(message.token)
        if request is None:
            self._refused_unasked(message.token)
            return False
        if request.kind is RequestKind.ENTER:
            self.orders[message.token].state = OrderState.REJECTED
        self.requests.settle(request, RequestState.REFUSED, message)
        return True
