"""Requests to an arbiter, its answers and its records as JSON, with every value checked on the way in.

The witness sends them over TCP and keeps them on its disk; the driver of etcd keeps them in its values. A text that is
no message raises ``ProtocolError`` with a sentence.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from replication.arbiter import (
    Acquire,
    Answer,
    Candidate,
    Lost,
    Read,
    Reason,
    Record,
    Reign,
    Release,
    Renew,
    Request,
    Standing,
    Won,
    check_request,
)
from wire.errors import ProtocolError

#: Most characters of a message that is quoted in an error.
_QUOTED: Final = 80


def to_json(fields: Mapping[str, Any]) -> bytes:
    """One JSON object without line breaks, in ASCII."""
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode("ascii")


def from_json(text: bytes, what: str) -> dict[str, Any]:
    """The fields of a JSON object. Raises ProtocolError naming ``what``."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ProtocolError(f"{what} is no JSON object: {text[:_QUOTED]!r}")
    return fields


class _Fields:
    """Fields of a message, taken by name and type; a field too many, too few or of another type is a ProtocolError."""

    def __init__(self, fields: object, what: str) -> None:
        if not isinstance(fields, dict):
            raise ProtocolError(f"{what} has no fields")
        self._fields = dict(fields)
        self._what = what

    def _take(self, name: str, kind: type) -> Any:
        found = self._fields.pop(name, None)
        if type(found) is not kind:
            raise ProtocolError(f"{self._what} has no {name}, or it is not of type {kind.__name__}")
        return found

    def number(self, name: str) -> int:
        """An integer."""
        found: int = self._take(name, int)
        return found

    def number_or_0(self, name: str) -> int:
        """An integer; 0 where an earlier release has written none."""
        return self.number(name) if name in self._fields else 0

    def text(self, name: str) -> str:
        """A string."""
        found: str = self._take(name, str)
        return found

    def flag(self, name: str) -> bool:
        """A truth value."""
        found: bool = self._take(name, bool)
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """Strings."""
        found: list[Any] = self._take(name, list)
        if not all(type(each) is str for each in found):
            raise ProtocolError(f"{self._what} has a value in {name} that is no string")
        return tuple(found)

    def reign(self, name: str) -> Reign | None:
        """A reign, or nothing."""
        found = self._fields.pop(name, None)
        return None if found is None else decode_reign(found)

    def end(self) -> None:
        """Check that no field is left."""
        if self._fields:
            raise ProtocolError(f"{self._what} has unknown fields: {', '.join(sorted(self._fields))[:_QUOTED]}")


def reign_fields(reign: Reign | None) -> dict[str, Any] | None:
    """Fields of a reign for JSON; None for none."""
    return None if reign is None else asdict(reign)


def decode_reign(fields: object) -> Reign:
    """A reign from its fields. Raises ProtocolError."""
    given = _Fields(fields, "a reign")
    try:
        reign = Reign(
            given.number("epoch"),
            given.number("revision"),
            given.text("primary"),
            given.text("address"),
            given.text("clients"),
            given.texts("in_sync"),
            given.number("since_ns"),
            given.text("forced"),
            given.text("policy"),
            given.number_or_0("acknowledged_seq"),
        )
    except ValueError as error:
        raise ProtocolError(f"a reign is not valid: {error}") from None
    given.end()
    return reign


def request_fields(request: Request) -> dict[str, Any]:
    """Fields of a request for JSON."""
    fields = request._asdict()
    if isinstance(request, Acquire):
        del fields["candidate"]
        fields |= request.candidate._asdict()
    return {"do": type(request).__name__.lower(), **fields}


def decode_request(fields: object) -> Request:
    """A request from its fields, its values checked. Raises ProtocolError."""
    given = _Fields(fields, "a request")
    kind = given.text("do")
    read = _REQUESTS.get(kind)
    if read is None:
        raise ProtocolError(f"there is no request {kind[:_QUOTED]!r}; send one of {', '.join(_REQUESTS)}")
    request = read(given)
    given.end()
    try:
        check_request(request)
    except ValueError as error:
        raise ProtocolError(f"a request is not valid: {error}") from None
    return request


def _acquire(given: _Fields) -> Acquire:
    candidate = Candidate(*(given.text(name) for name in Candidate._fields))
    return Acquire(
        candidate, given.number("expected"), given.number("ttl_ns"), given.number("since_ns"), given.text("force")
    )


_REQUESTS: Final[Mapping[str, Callable[[_Fields], Request]]] = {
    "acquire": _acquire,
    "renew": lambda given: Renew(given.number("epoch")),
    "record": lambda given: Record(
        given.number("epoch"), given.number("revision"), given.texts("in_sync"), given.number("acknowledged_seq")
    ),
    "release": lambda given: Release(given.number("epoch"), given.text("successor")),
    "read": lambda _given: Read(),
}


def answer_fields(answer: Answer) -> dict[str, Any]:
    """Fields of an answer for JSON."""
    fields = answer._asdict()
    fields["reign"] = reign_fields(answer.reign)
    return {"answer": type(answer).__name__.lower(), **fields}


def decode_answer(fields: object) -> Answer:
    """An answer from its fields. Raises ProtocolError."""
    given = _Fields(fields, "an answer")
    kind = given.text("answer")
    reign = given.reign("reign")
    answer: Answer
    match kind:
        case "won":
            if reign is None:
                raise ProtocolError("an answer says that a request succeeded and names no reign")
            answer = Won(reign, given.number("ttl_ns"))
        case "lost":
            answer = Lost(_reason(given.text("reason")), given.text("why"), reign)
        case "standing":
            answer = Standing(reign, given.flag("held"), given.text("successor"))
        case _:
            raise ProtocolError(f"there is no answer {kind[:_QUOTED]!r}")
    given.end()
    return answer


def _reason(text: str) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        raise ProtocolError(f"there is no reason {text[:_QUOTED]!r}") from None
