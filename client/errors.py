"""Errors of the client library, each one sentence. All of them are ``ClientError``.

A request ends in its answer or in one of four errors. ``NotConnected`` and ``RequestNotReceived``: nothing happened at
the exchange. ``RequestRejected``: the exchange rejected the request. ``OutcomeUnknown``: the outcome is not known, or
not yet.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.orders import Request


class ClientError(Exception):
    """The message is one sentence: what is wrong, then what to do. It never holds a password."""


class CannotConnect(ClientError):
    """No connection: the host is unknown, nothing listens there, or it does not answer."""


class LoginRefused(ClientError):
    """The exchange rejected the login. code: ``A`` not authorized, ``S`` no such session or number."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConnectionLost(ClientError):
    """The connection broke and was not restored in the time for reconnects, or may not be restored."""


class WrongProtocol(ClientError):
    """The port speaks another protocol of the exchange than this client: no reconnect would help."""


class StaleServer(ConnectionLost):
    """The server is of an earlier epoch than one that this client has been logged in to: it is primary no more."""


class StreamLost(ConnectionLost):
    """The exchange lost messages: it has fewer of this session than arrived here, or left some out."""


class ReportsLost(ClientError):
    """End of a cursor of reports: a crash of the node has undone what was told, or the journal cannot be read."""


class FeedFault(ClientError):
    """A message of a market data feed that cannot follow those before it: one is missing, and the book is wrong."""


class SubscriptionRefused(ClientError):
    """The exchange refused a subscription to market data; the message is its reason."""


class NotConnected(ClientError):
    """Request not sent, without a connection that has caught up. Repeat it when there is one."""


class OutcomeUnknown(ClientError):
    """A request was sent and its answer has not come (in time). It may have been done, or still be done.

    ``request`` may yet be settled: look at ``request.state``, or wait for it again.
    """

    def __init__(self, request: "Request", message: str) -> None:
        super().__init__(message)
        self.request = request
        self.token = request.token


class RequestNotReceived(ClientError):
    """A request was lost with its connection: the exchange has not received it."""

    def __init__(self, request: "Request", message: str) -> None:
        super().__init__(message)
        self.request = request
        self.token = request.token


class RequestRejected(ClientError):
    """The exchange rejected a request: an order, cancel, replace or modify.

    reason: of a rejected order, the name of its code in small letters; of the others "", since OUCH does not say.
    """

    def __init__(self, request: "Request", reason: str, message: str) -> None:
        super().__init__(message)
        self.request = request
        self.token = request.token
        self.reason = reason
