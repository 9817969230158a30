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
    """Connection not possible: the host is unknown, or nobody listens there, or nobody answers."""


class LoginRefused(ClientError):
    """The exchange did not let this user in. code: ``A`` not authorized, ``S`` no such session or number."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConnectionLost(ClientError):
    """The connection broke and did not come back in the time that was given to it, or may not come back."""


class StreamLost(ConnectionLost):
    """The exchange has fewer messages of this session than were seen here, or left some out: it lost something."""


class NotConnected(ClientError):
    """Request not sent, since there is no connection that has caught up. Ask again when there is."""


class OutcomeUnknown(ClientError):
    """A request was sent and its answer has not come (in time). It may have been done, or still be done.

    ``request`` may yet be settled: look at ``request.state``, or wait for it again.
    """

    def __init__(self, request: "Request", message: str) -> None:
        super().__init__(message)
        self.request = request
        self.token = request.token


class RequestNotReceived(ClientError):
    """A request was sent and lost on its way with its connection: the exchange has nothing of it."""

    def __init__(self, request: "Request", message: str) -> None:
        super().__init__(message)
        self.request = request
        self.token = request.token


class RequestRejected(ClientError):
    """The exchange answered a request with no: an order was rejected, or a cancel, replace or modify was.

    reason: of a rejected order, the name of its code in small letters; of the others "", since OUCH does not say.
    """

    def __init__(self, request: "Request", reason: str, message: str) -> None:
        super().__init__(message)
        self.request = request
        self.token = request.token
        self.reason = reason
