"""The library that a trader imports: order entry at the exchange, for asyncio (AsyncClient) and for scripts (Client).

    with Client("localhost", 4000, "ALICE", "secret") as client:
        order = client.enter("XYZ", Side.BUY, 100, "10.05")
        order.replace(price="10.06")
        for event in client.events(timeout_s=1.0):
            print(event)
        order.cancel()

Prices are decimals, as text or ``Decimal``; there are no floats. Whatever happens to the connection, a request has one
outcome and an order is never doubled (``client.order_entry`` says how). Nothing here needs more than the standard
library, so a program that imports it starts fast.

Where the market has a standby, give both addresses: ``Client("one:4000,two:4000", None, ...)``, or a list of them. The
client logs in to whichever is primary, follows a takeover, and reports it: ``on_disconnect`` and ``on_caught_up`` are
called with the events ``Disconnected`` and ``CaughtUp``, and each has them in its stream of events too.

``enter`` has the common terms; ``submit`` takes a ``NewOrder`` with all that OUCH 4.2 has: post-only and hidden
orders, pegs to the midpoint, a least quantity of an immediate-or-cancel order, orders for the opening or closing
auction. Stops, icebergs, other pegs, orders good until canceled or until a time and the midpoint book have no field
there. At a port of native order entry each client says them in words, and cancels all orders of its participant at
once:

    with NativeClient("localhost", 4001, "ALICE", "secret") as client:
        client.enter("XYZ", Side.SELL, 500, "9.80", terms="stop=9.90 tif=gtc")
        client.mass_cancel("XYZ")

``BookFeed`` keeps the book of every symbol from a multicast feed, ``client.book`` the books alone. Of what needs more:
``client.level_feed`` has the book of a product from a WebSocket, ``client.published`` what comes through NATS.

``on_message`` gets each message of the stream as it came, to record it. ``keep_closed=False`` forgets closed orders,
for a program that enters millions a day. A program with a loop of its own drives ``OrderEntry``, the core without a
socket: what it asks for between two calls of ``take`` goes out in one piece.
"""

from client.async_client import AsyncClient, AsyncNativeClient, AsyncOrder
from client.book_feed import BookFeed
from client.errors import (
    CannotConnect,
    ClientError,
    ConnectionLost,
    LoginRefused,
    NotConnected,
    OutcomeUnknown,
    RequestNotReceived,
    RequestRejected,
    StaleServer,
    StreamLost,
    WrongProtocol,
)
from client.events import (
    Accepted,
    Canceled,
    CancelRejected,
    CaughtUp,
    Connected,
    DebugText,
    Disconnected,
    Event,
    EventsLost,
    Executed,
    MassCanceled,
    NewSession,
    OrderChanged,
    OrderModified,
    OtherMessage,
    Rejected,
    Replaced,
    RequestLost,
    RequestUnanswered,
    Restated,
    SelfTradePrevented,
    SessionEnded,
    Side,
    SystemEvent,
)
from client.order_entry import OrderEntry, Phase
from client.orders import NewOrder, Order, OrderState, Request, RequestKind, RequestState
from client.prices import KEEP
from client.sync_client import Client, NativeClient, SyncOrder
from client.tls import client_context
from client.tokens import Tokens
from wire.ouch_codes import CancelReason, CrossType, Display, RejectReason, TimeInForce

__all__ = [
    "KEEP",
    "Accepted",
    "AsyncClient",
    "AsyncNativeClient",
    "AsyncOrder",
    "BookFeed",
    "CancelReason",
    "CancelRejected",
    "Canceled",
    "CannotConnect",
    "CaughtUp",
    "Client",
    "ClientError",
    "Connected",
    "ConnectionLost",
    "CrossType",
    "DebugText",
    "Disconnected",
    "Display",
    "Event",
    "EventsLost",
    "Executed",
    "LoginRefused",
    "MassCanceled",
    "NativeClient",
    "NewOrder",
    "NewSession",
    "NotConnected",
    "Order",
    "OrderChanged",
    "OrderEntry",
    "OrderModified",
    "OrderState",
    "OtherMessage",
    "OutcomeUnknown",
    "Phase",
    "RejectReason",
    "Rejected",
    "Replaced",
    "Request",
    "RequestKind",
    "RequestLost",
    "RequestNotReceived",
    "RequestRejected",
    "RequestState",
    "RequestUnanswered",
    "Restated",
    "SelfTradePrevented",
    "SessionEnded",
    "Side",
    "StaleServer",
    "StreamLost",
    "SyncOrder",
    "SystemEvent",
    "TimeInForce",
    "Tokens",
    "WrongProtocol",
    "client_context",
]
