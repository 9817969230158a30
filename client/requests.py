"""Matching of answers to open requests, oldest first.

The answer to an entry, and the reject of a replacement, have the request's own token, which no other request has. All
others have the token of the previous order, so their sequence decides: the exchange takes the requests of one
connection in order and answers each once, so an answer belongs to the oldest request about that order that it can
answer. An answer that fits no open request belongs to a repetition, or to another program.
"""

from collections.abc import Iterator
from itertools import count

from client.events import Event
from client.orders import Request, RequestKind, RequestState


class OpenRequests:
    """Requests by the token that their answers bear. ``take_settled`` gives each once, when its outcome stands."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._by_number: dict[int, Request] = {}
        self._by_own_token: dict[str, Request] = {}
        self._by_order: dict[str, list[Request]] = {}
        self._settled: list[Request] = []
        self._repeated: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Request]:
        """Iterate from the oldest on; requests may be settled meanwhile."""
        return iter(list(self._by_number.values()))

    def add(
        self, kind: RequestKind, token: str, new_token: str, payload: bytes, *, resend: bool, now_ns: int = 0
    ) -> Request:
        """A request that is being sent."""
        request = Request(next(self._numbers), kind, token, new_token, payload, resend, sent_ns=now_ns)
        self._by_number[request.number] = request
        if kind in (RequestKind.ENTER, RequestKind.REPLACE):
            self._by_own_token[new_token or token] = request
        if kind is not RequestKind.ENTER:
            self._by_order.setdefault(token, []).append(request)
        return request

    def of_token(self, token: str) -> Request | None:
        """The entry or replacement that is to have this token."""
        return self._by_own_token.get(token)

    def of_order(self, token: str) -> Request | None:
        """The oldest cancel, replace or modify of this order."""
        waiting = self._by_order.get(token)
        return waiting[0] if waiting else None

    def last_replace(self, token: str) -> Request | None:
        """The last replace under way of the order that has this token, a replace of a replace included."""
        last = None
        while replacing := [each for each in self._by_order.get(token, ()) if each.kind is RequestKind.REPLACE]:
            last = replacing[-1]
            token = last.new_token
        return last

    def was_repeated(self, token: str) -> bool:
        """True if a request about an order of this token went out more than once."""
        return token in self._repeated

    def settle(self, request: Request, state: RequestState, answer: Event | None = None) -> None:
        """Settle a request with its final outcome; a second one would be a defect of ours."""
        if request.settled:
            raise RuntimeError(f"request {request.number} is {request.state.value} already")
        request.state = state
        request.answer = answer
        if request.sends > 1:
            self._repeated |= {request.token, request.new_token or request.token}
        del self._by_number[request.number]
        self._by_own_token.pop(request.new_token or request.token, None)
        if request.kind is not RequestKind.ENTER:
            waiting = self._by_order[request.token]
            waiting.remove(request)
            if not waiting:
                del self._by_order[request.token]
        self._settled.append(request)

    def take_settled(self) -> list[Request]:
        """Take the requests that were settled since the last call."""
        settled, self._settled = self._settled, []
        return settled
