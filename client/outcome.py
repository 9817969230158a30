"""Outcome of a request as a return value or an error, shared by both clients."""

from client.errors import NotConnected, OutcomeUnknown, RequestNotReceived, RequestRejected
from client.events import Rejected, code_name
from client.orders import Order, OrderState, Request, RequestKind, RequestState
from wire.ouch_codes import RejectReason


def _named(request: Request) -> str:
    return f"the {request.kind.value} of order {request.token}"


def check(request: Request, order: Order | None) -> None:
    """Return for a request that is done. Raises RequestRejected, RequestNotReceived, OutcomeUnknown."""
    match request.state:
        case RequestState.DONE:
            return
        case RequestState.REFUSED:
            raise _refused(request, order)
        case RequestState.NOT_RECEIVED:
            raise RequestNotReceived(request, f"{_named(request)} was lost with its connection: nothing was done")
    raise OutcomeUnknown(request, f"{_named(request)} has no answer; whether it was done is not known")


def _refused(request: Request, order: Order | None) -> RequestRejected:
    if isinstance(request.answer, Rejected):
        reason = code_name(request.answer.reason)
        why = reason
        if request.answer.reason == RejectReason.DUPLICATE_ID:
            why = f"{reason}, the token was used before on this trading day; take another"
        return RequestRejected(request, reason, f"{_named(request)} was refused: {why}")
    state = "it is not known" if order is None else f"it is {order.state.value}"
    if order is not None and order.state is OrderState.LIVE and request.kind is not RequestKind.REPLACE:
        state = "the quantity does not fit"
        if request.kind is RequestKind.MODIFY:
            state = "a modify can only leave fewer shares, or make a sale another kind of sale"
    return RequestRejected(request, "", f"{_named(request)} was refused: {state}")


def too_late(request: Request, timeout_s: float) -> OutcomeUnknown:
    """Error of a request without an answer in time; it may come yet."""
    return OutcomeUnknown(
        request, f"{_named(request)} was not answered within {timeout_s:g} s; whether it was or will be done is open"
    )


def not_live(timeout_s: float, why: str) -> NotConnected:
    """Error of a request that found no connection in time; ``why``: the last failure, "" for none."""
    because = f": {why}" if why else ""
    return NotConnected(f"nothing was sent: there was no connection to the exchange for {timeout_s:g} s{because}")
