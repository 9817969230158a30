"""Witness: the registers of some markets, and the sessions of its protocol, as pure state machines.

Lines of ASCII over TCP, each at most ``LINE_BYTES_MAX`` long. Both ends show that they know the secret, without sending
it, and then authenticate each line:

    server  {"challenge": HEX, "lockstep_witness": 1}
    client  {"challenge": HEX, "proof": HMAC(secret, "client" challenges)}
    server  {"proof": HMAC(secret, "server" challenges)}
    client  MAC {"id": 1, "market": HEX, "request": {"do": "renew", "epoch": 7}}
    server  MAC {"answer": {...}, "id": 1}        or        MAC {"failed": SENTENCE, "id": 1}

HMAC is of SHA-256. MAC is that of the side, the line's number and its bytes, under a key of this connection. Answers
come in the order of the requests; an answer to a request that the client no longer waits for is passed over by its id.
A line that is none ends the session, with ``{"error": SENTENCE}`` from the server. What is sent can be read by others
on the network, but not changed.
"""

import hmac
import string
from collections.abc import Mapping
from typing import Final, NamedTuple

from replication.arbiter import Answer, Reign, Request, checked_market
from replication.messages import answer_fields, decode_answer, decode_request, from_json, request_fields, to_json
from replication.register import Decision, Register, Stored
from wire.errors import ProtocolError

PROTOCOL_VERSION: Final = 1
#: Longest line, and the longest before both ends have shown the secret.
LINE_BYTES_MAX: Final = 16_384
HELLO_BYTES_MAX: Final = 512
CHALLENGE_BYTES: Final = 16
#: Bounds of a secret, in bytes.
SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 1_024
REQUEST_ID_MAX: Final = 2**53 - 1

_MAC_CHARACTERS: Final = 32
_HEXADECIMAL: Final = frozenset(string.hexdigits.lower())


class Asked(NamedTuple):
    """A request that came over a session."""

    request_id: int
    market: str
    request: Request


class Answered(NamedTuple):
    """The answer to a request; a text is the sentence of a request that failed, without effect."""

    request_id: int
    answer: Answer | str


class Witness:
    """Registers of the markets, of which it knows those on the disk at ``now_ns``."""

    def __init__(self, stored: Mapping[str, Stored], now_ns: int) -> None:
        self._registers = {market: Register(each, now_ns) for market, each in stored.items()}

    def __len__(self) -> int:
        return len(self._registers)

    def __contains__(self, market: object) -> bool:
        return market in self._registers

    def extend_leases(self, away_ns: int) -> None:
        """Extend every lease by a time in which this witness read nothing."""
        for register in self._registers.values():
            register.extend(away_ns)

    def reign(self, market: str) -> Reign | None:
        """The last reign of a market; None: there was none."""
        return self._registers[market].stored.reign if market in self._registers else None

    def decide(self, market: str, request: Request, now_ns: int) -> Decision:
        """Outcome of a request; nothing changes yet. Raises ValueError."""
        return self._register(market, now_ns).decide(request, now_ns)

    def commit(self, market: str, decision: Decision, now_ns: int) -> None:
        """Let the last decision take effect, once it is on the disk."""
        if market not in self._registers and decision.stored is None:
            return
        register = self._registers.setdefault(market, self._register(market, now_ns))
        register.commit(decision)

    def _register(self, market: str, now_ns: int) -> Register:
        return self._registers.get(market) or Register(None, now_ns)


class _Lines:
    """Bytes of a peer, cut into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def add(self, data: bytes) -> None:
        self._rest += data

    def next(self, bytes_max: int) -> bytes | None:
        """The next whole line without its end; None if it is not there yet. Raises ProtocolError."""
        end = self._rest.find(b"\n", 0, bytes_max)
        if end < 0:
            if len(self._rest) >= bytes_max:
                raise ProtocolError(f"a line has more than {bytes_max:,} bytes")
            return None
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line


class _Session:
    """Base of both sides: the challenges, and the authentication of lines."""

    _SIDE: bytes
    _PEER: bytes

    def __init__(self, secret: bytes, challenge: bytes) -> None:
        if len(challenge) != CHALLENGE_BYTES:
            raise ValueError(f"a challenge has {CHALLENGE_BYTES} bytes")
        self._secret = secret
        self._challenge = challenge
        self._lines = _Lines()
        self._key = b""
        self._sent = 0
        self._received = 0

    @property
    def is_open(self) -> bool:
        """True once both ends know that the other has the secret, as far as this side can know."""
        return bool(self._key)

    def _begin(self, client: bytes, server: bytes) -> None:
        self._key = _hmac(self._secret, b"lines", client, server)

    def _sealed(self, body: bytes) -> bytes:
        line = self._mac(self._SIDE, self._sent, body) + b" " + body + b"\n"
        self._sent += 1
        return line

    def _unsealed(self, line: bytes) -> bytes:
        mac, _, body = line.partition(b" ")
        if not hmac.compare_digest(mac, self._mac(self._PEER, self._received, body)):
            raise ProtocolError("a line does not match its authentication code: its bytes were changed, or its order")
        self._received += 1
        return body

    def _mac(self, side: bytes, number: int, body: bytes) -> bytes:
        return _hmac(self._key, side, number.to_bytes(8, "big"), body).hex().encode()[:_MAC_CHARACTERS]


class ServerSession(_Session):
    """The witness's end of a connection. ``challenge``: 16 random bytes."""

    _SIDE, _PEER = b"server", b"client"

    @property
    def greeting(self) -> bytes:
        """First line."""
        return to_json({"lockstep_witness": PROTOCOL_VERSION, "challenge": self._challenge.hex()}) + b"\n"

    def receive(self, data: bytes) -> tuple[bytes, list[Asked]]:
        """(bytes to send, requests in order) that these bytes come to. Raises ProtocolError; the session ends then."""
        self._lines.add(data)
        reply, asked = b"", []
        while (line := self._lines.next(LINE_BYTES_MAX if self.is_open else HELLO_BYTES_MAX)) is not None:
            if self.is_open:
                asked.append(_asked(self._unsealed(line)))
            else:
                reply += self._proved(line)
        return reply, asked

    def answer(self, answered: Answered) -> bytes:
        """The line of an answer."""
        told = answered.answer
        fields = {"failed": told} if isinstance(told, str) else {"answer": answer_fields(told)}
        return self._sealed(to_json({"id": answered.request_id, **fields}))

    @staticmethod
    def refusal(sentence: str) -> bytes:
        """Last line of a session that ends with an error."""
        return to_json({"error": sentence}) + b"\n"

    def _proved(self, line: bytes) -> bytes:
        fields = from_json(line, "the first line")
        theirs = _bytes(fields, "challenge", CHALLENGE_BYTES)
        proof = _bytes(fields, "proof", 32)
        if not hmac.compare_digest(proof, _hmac(self._secret, b"client", theirs, self._challenge)):
            raise ProtocolError("the secret is not the one of this witness; copy its secret file to the node")
        self._begin(theirs, self._challenge)
        return to_json({"proof": _hmac(self._secret, b"server", theirs, self._challenge).hex()}) + b"\n"


class ClientSession(_Session):
    """The node's end of a connection. ``challenge``: 16 random bytes."""

    _SIDE, _PEER = b"client", b"server"

    def __init__(self, secret: bytes, challenge: bytes) -> None:
        super().__init__(secret, challenge)
        self._server = b""
        self._next_id = 1

    def receive(self, data: bytes) -> tuple[bytes, list[Answered]]:
        """(bytes to send, answers) that these bytes come to. Raises ProtocolError; the session ends then."""
        self._lines.add(data)
        reply, answers = b"", []
        while (line := self._lines.next(LINE_BYTES_MAX)) is not None:
            if line.startswith(b"{"):
                reply += self._hello(from_json(line, "a line of the witness"))
            elif self.is_open:
                answers.append(self._answered(self._unsealed(line)))
            else:
                raise ProtocolError("the peer is no witness of lockstep; check the address")
        return reply, answers

    def request(self, market: str, request: Request) -> tuple[int, bytes]:
        """(id, line) of a request. Raises RuntimeError before the session is open."""
        if not self.is_open:
            raise RuntimeError("a request before the session is open")
        request_id = self._next_id
        self._next_id += 1
        return request_id, self._sealed(
            to_json({"id": request_id, "market": market, "request": request_fields(request)})
        )

    def _hello(self, fields: dict[str, object]) -> bytes:
        if isinstance(sentence := fields.get("error"), str):
            raise ProtocolError(f"the witness ended the connection: {sentence}")
        if self.is_open:
            raise ProtocolError("a line of the witness bears no authentication code")
        if not self._server:
            if fields.get("lockstep_witness") != PROTOCOL_VERSION:
                raise ProtocolError(
                    f"the peer is no witness of protocol version {PROTOCOL_VERSION}; check the address, and its release"
                )
            self._server = _bytes(fields, "challenge", CHALLENGE_BYTES)
            proof = _hmac(self._secret, b"client", self._challenge, self._server)
            return to_json({"challenge": self._challenge.hex(), "proof": proof.hex()}) + b"\n"
        expected = _hmac(self._secret, b"server", self._challenge, self._server)
        if not hmac.compare_digest(_bytes(fields, "proof", 32), expected):
            raise ProtocolError("the witness does not know the secret; check its address, and the secret file")
        self._begin(self._challenge, self._server)
        return b""

    def _answered(self, body: bytes) -> Answered:
        fields = from_json(body, "an answer of the witness")
        request_id = fields.get("id")
        if type(request_id) is not int or not 1 <= request_id < self._next_id:
            raise ProtocolError(f"the witness answered request {request_id!r}, which was not sent")
        if isinstance(sentence := fields.get("failed"), str):
            return Answered(request_id, sentence)
        return Answered(request_id, decode_answer(fields.get("answer")))


def _asked(body: bytes) -> Asked:
    fields = from_json(body, "a request")
    request_id, market = fields.get("id"), fields.get("market")
    if type(request_id) is not int or not 1 <= request_id <= REQUEST_ID_MAX or not isinstance(market, str):
        raise ProtocolError("a request has no id, or no market")
    try:
        checked_market(market)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    return Asked(request_id, market, decode_request(fields.get("request")))


def _bytes(fields: Mapping[str, object], name: str, count: int) -> bytes:
    text = fields.get(name)
    if not isinstance(text, str) or len(text) != 2 * count or not _HEXADECIMAL.issuperset(text):
        raise ProtocolError(f"the first line has no {name} of {count} bytes in hexadecimal digits")
    return bytes.fromhex(text)


def _hmac(key: bytes, *parts: bytes) -> bytes:
    """HMAC over parts, of which all but the last have a fixed length for each use."""
    return hmac.digest(key, b"\0".join(parts), "sha256")
