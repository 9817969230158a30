"""HTTP gateway of etcd v3: JSON requests to one of several endpoints, each over a connection of its own.

An endpoint that cannot be connected to has received nothing, so the next one is asked. Once a request was sent, only
one that can be repeated without harm goes to the next endpoint: of the others the outcome is unknown. An error that
etcd itself reports is no answer either. Some of them, such as "etcdserver: no leader" and "request timed out", say
nothing about the outcome, since a proposal may be committed later.
"""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from replication.arbiter import ArbiterError, ArbiterUnknown
from replication.sentences import in_words, stood_still

#: Longest response.
RESPONSE_BYTES_MAX: Final = 262_144
#: Codes of gRPC with which etcd refuses a request before it proposes it: invalid argument, not found, permission,
#: precondition, not implemented, unauthenticated.
_REFUSED_CODES: Final = frozenset({3, 5, 7, 9, 12, 16})
_HTTP_OK: Final = 200


class Endpoint(NamedTuple):
    """Address of a member's clients."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _NotReached(Exception):
    """The endpoint has received nothing."""


class _Failed(Exception):
    """The endpoint has received the request, and gave no answer to it. ``had_no_effect``: certainly."""

    def __init__(self, why: str, *, had_no_effect: bool = False) -> None:
        super().__init__(why)
        self.had_no_effect = had_no_effect


class EtcdGateway:
    """Gateway of a cluster. ``tls``: None for plain HTTP. ``share_s``: longest wait for an endpoint before the last."""

    def __init__(self, endpoints: Sequence[Endpoint], *, tls: ssl.SSLContext | None = None, share_s: float) -> None:
        if not endpoints:
            raise ValueError("no endpoint of etcd is given; give HOST:PORT of each member")
        self._endpoints = tuple(endpoints)
        self._tls = tls
        self._share_s = share_s
        self._preferred = 0

    def __str__(self) -> str:
        return f"etcd at {', '.join(map(str, self._endpoints))}"

    async def call(
        self, path: str, fields: Mapping[str, Any], deadline_s: float, *, repeatable: bool
    ) -> dict[str, Any]:
        """The answer to a request. ``deadline_s``: on the clock of the event loop. ``repeatable``: twice does no harm.

        Raises ArbiterError, or ArbiterUnknown if the request may have had, or may still have, an effect.
        """
        body = json.dumps(fields).encode("ascii")
        loop = asyncio.get_running_loop()
        failures = []
        for number in range(len(self._endpoints)):
            endpoint = self._endpoints[self._preferred]
            is_last = number == len(self._endpoints) - 1
            until_s = deadline_s if is_last else min(deadline_s, loop.time() + self._share_s)
            try:
                return await self._asked(endpoint, path, body, until_s)
            except _NotReached as error:
                failures.append(f"{endpoint}: {error}")
            except _Failed as error:
                failures.append(f"{endpoint}: {error}")
                if not repeatable and not error.had_no_effect:
                    self._preferred = (self._preferred + 1) % len(self._endpoints)
                    raise ArbiterUnknown(
                        f"etcd has not answered, and may have done what was asked: {failures[-1]}"
                    ) from None
            self._preferred = (self._preferred + 1) % len(self._endpoints)
            if loop.time() >= deadline_s:
                break
        raise ArbiterError(f"etcd cannot be used: {'; '.join(failures)}; see `etcdctl endpoint health`")

    async def _asked(self, endpoint: Endpoint, path: str, body: bytes, until_s: float) -> dict[str, Any]:
        reader, writer = await self._connected(endpoint, until_s)
        try:
            async with asyncio.timeout_at(until_s):
                writer.write(_request(endpoint, path, body))
                response = await reader.read(RESPONSE_BYTES_MAX)
                while response and (more := await reader.read(RESPONSE_BYTES_MAX)):
                    response += more
                    if len(response) > RESPONSE_BYTES_MAX:
                        raise _Failed(f"its answer has more than {RESPONSE_BYTES_MAX:,} bytes")
        except TimeoutError:
            raise _Failed(_late(until_s, "no answer in time")) from None
        except OSError as error:
            raise _Failed(in_words(error)) from None
        finally:
            with contextlib.suppress(OSError):
                writer.transport.abort()
        return _answer(response)

    async def _connected(self, endpoint: Endpoint, until_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout_at(until_s):
                return await asyncio.open_connection(*endpoint, ssl=self._tls)
        except TimeoutError:
            raise _NotReached(_late(until_s, "no connection in time")) from None
        except OSError as error:
            raise _NotReached(in_words(error)) from None


def _late(until_s: float, why: str) -> str:
    """Reason for a wait that ran out: ``why``, unless this node itself stood still."""
    return stood_still(asyncio.get_running_loop().time() - until_s) or why


def _request(endpoint: Endpoint, path: str, body: bytes) -> bytes:
    """A request of HTTP 1.0, whose answer ends with the connection."""
    head = (
        f"POST {path} HTTP/1.0\r\n"
        f"Host: {endpoint}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def _answer(response: bytes) -> dict[str, Any]:
    """The JSON object of a whole response. Raises _Failed."""
    head, end, body = response.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if not end or len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
        raise _Failed("its answer is no HTTP, or was cut off")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if int(status[1]) == _HTTP_OK and isinstance(fields, dict) and isinstance(fields.get("header"), dict):
        return fields
    if not isinstance(fields, dict) or not isinstance(fields.get("code"), int):
        raise _Failed(f"its answer has HTTP status {int(status[1])} and is none of etcd's gateway; check the address")
    said = str(fields.get("error") or fields.get("message") or "an error without words")[:200]
    raise _Failed(said, had_no_effect=fields["code"] in _REFUSED_CODES)


def to_base64(data: bytes) -> str:
    """Bytes as JSON has them."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: object) -> bytes:
    """Bytes of a field. Raises ArbiterError."""
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        raise ArbiterError("etcd answered with a value that is not base64; check its release") from None


def number(fields: Mapping[str, Any], name: str) -> int:
    """A 64-bit number, which JSON has as a string; 0 if absent, as in protocol buffers. Raises ArbiterError."""
    try:
        return int(fields.get(name, 0))
    except (TypeError, ValueError):
        raise ArbiterError(f"etcd answered with a {name} that is no number; check its release") from None
