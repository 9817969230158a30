"""History of a journal, as one node gives it to another: requests and answers on the frames of the link.

A copy that is empty, far behind or damaged asks the history of another node for slices, blocks and files. The
connection begins like that of the link (``replication.link``): CHALLENGE, HELLO, WELCOME or REFUSAL, with proofs of the
secret under names of their own, so that no greeting of the link passes here. Then the copy sends one FETCH after the
other, and the history answers each with frames of data, then DONE, or with REFUSAL. All here is pure: bytes in and out.

    FETCH {"what": ...}         answer
    "slice", slice              SLICE (genesis record), DONE: last_seq, is_closed, image_record, has_streams
    "blocks", slice, from_seq,  BLOCK and RECORDED, in order, up to the block with to_seq, or for 0 to the end of the
      to_seq,                     slice as it was at the request; DONE: last_seq (of what was sent), is_closed
      after_digest_seq
    "image", slice              FILE and PIECE: the image that a slice starts from; DONE
    "checkpoint"                FILE and PIECE: the newest checkpoint of the open slice, if there is one, and the users'
                                streams; DONE
    "streams"                   FILE and PIECE: the users' streams; DONE
    "file", slice, name         FILE and PIECE: kept events and their verification; DONE
    "common", slice, tail       COMMON: the newest of these positions that this journal has; none: an empty list
"""

from typing import Any, Final, NamedTuple

from replication import link
from replication.link import Frame, Kind, LinkError

ROLE: Final = "copy"
_COPY: Final = "history copy"
_HISTORY: Final = "history"
PIECE_BYTES: Final = 1 << 20
_IDENTITY: Final[dict[str, type]] = {"name": str, "journal_id": bytes}


class HistoryError(Exception):
    """The history of another node cannot be used as asked; the message says why and what to do."""


class HistoryLost(HistoryError):
    """The other node cannot be reached, or its connection ended or stalled. Try again later."""


class NotReady(HistoryError):
    """The other node has not yet what was asked for. Ask again in a moment."""


class Peer(NamedTuple):
    """The node at the other end. ``journal_id``: 16 bytes, empty for a copy that has no journal yet."""

    name: str
    journal_id: bytes


class HistoryEnd(NamedTuple):
    """End of the history of a node: number of its open slice, and its last command."""

    slice_number: int
    last_seq: int


class CopyGreeting:
    """Greeting at the copy's end. ``out``: bytes to send. ``peer``, ``end``: of the history, once welcome."""

    def __init__(self, own: Peer, secret: bytes, nonce: bytes) -> None:
        self.peer: Peer | None = None
        self.end = HistoryEnd(0, 0)
        self.out = b""
        self._own, self._secret, self._nonce = own, secret, nonce
        self._challenge = b""

    def take(self, frame: Frame) -> None:
        """Take a frame. Raises LinkError, HistoryError for a refusal."""
        if frame.kind == Kind.CHALLENGE and not self._challenge:
            self._challenge = frame.payload
            claims = link.pack_map({**self._own._asdict(), "role": ROLE})
            proof = link.proof(self._secret, _COPY, self._challenge, self._nonce, claims)
            self.out = link.encode(
                Kind.HELLO, 0, link.pack_map({"claims": claims, "nonce": self._nonce, "proof": proof})
            )
        elif frame.kind == Kind.WELCOME and self._challenge:
            outer = link.unpack_map(frame.payload, {"claims": bytes, "proof": bytes})
            expected = link.proof(self._secret, _HISTORY, self._challenge, self._nonce, outer["claims"])
            if not link.is_proof(outer["proof"], expected):
                raise HistoryError("the other node does not know the secret of this pair; give both the same one")
            told = link.unpack_map(outer["claims"], _IDENTITY | {"slice_number": int, "last_seq": int})
            self.peer = Peer(told["name"], told["journal_id"])
            self.end = HistoryEnd(told["slice_number"], told["last_seq"])
        elif frame.kind == Kind.REFUSAL:
            raise refusal(frame)
        else:
            raise LinkError(f"a history may not send {frame.kind.name} in a greeting")


class HistoryGreeting:
    """Greeting at the history's end. ``out``: bytes to send; ``peer``: the copy, once it is welcome; ``why``: reason
    why it is not."""

    def __init__(self, own: Peer, end: HistoryEnd, secret: bytes, nonce: bytes) -> None:
        self.peer: Peer | None = None
        self.why = ""
        self.out = link.encode(Kind.CHALLENGE, 0, nonce)
        self._own, self._end, self._secret, self._nonce = own, end, secret, nonce

    def take(self, frame: Frame) -> None:
        """Take a frame. Raises LinkError."""
        if frame.kind != Kind.HELLO:
            raise LinkError(f"{frame.kind.name} came before the greeting")
        outer = link.unpack_map(frame.payload, {"claims": bytes, "nonce": bytes, "proof": bytes})
        expected = link.proof(self._secret, _COPY, self._nonce, outer["nonce"], outer["claims"])
        if len(outer["nonce"]) != link.NONCE_BYTES or not link.is_proof(outer["proof"], expected):
            self._refuse("the peer does not know the secret of this pair; give both nodes the same --secret-file")
            return
        told = link.unpack_map(outer["claims"], _IDENTITY | {"role": str})
        peer = Peer(told["name"], told["journal_id"])
        if told["role"] != ROLE:
            self._refuse(f"the role {told['role']!r} is unknown to a history")
        elif peer.journal_id not in (b"", self._own.journal_id):
            self._refuse(
                f"{self._own.name} has another journal (id {self._own.journal_id.hex()}, and {peer.name} id "
                f"{peer.journal_id.hex()}); name a copy of the same journal"
            )
        else:
            claims = link.pack_map({**self._own._asdict(), **self._end._asdict()})
            proof = link.proof(self._secret, _HISTORY, self._nonce, outer["nonce"], claims)
            self.out = link.encode(Kind.WELCOME, 0, link.pack_map({"claims": claims, "proof": proof}))
            self.peer = peer

    def _refuse(self, why: str) -> None:
        self.why, self.out = why, refuse(why)


def refuse(why: str, *, again: bool = False) -> bytes:
    """Encode a refusal; ``again``: a later attempt may succeed."""
    return link.encode(Kind.REFUSAL, 0, link.pack_map({"why": why, "again": again}))


def refusal(frame: Frame) -> HistoryError:
    """The error for a refusal."""
    told = link.unpack_map(frame.payload, {"why": str, "again": bool})
    return (NotReady if told["again"] else HistoryError)(told["why"])


def request(what: str, **fields: Any) -> bytes:
    """Encode a FETCH."""
    return link.encode(Kind.FETCH, 0, link.pack_map({"what": what, **fields}))


#: Fields of each request.
REQUESTS: Final[dict[str, dict[str, type]]] = {
    "slice": {"slice": int},
    "blocks": {"slice": int, "from_seq": int, "to_seq": int, "after_digest_seq": int},
    "image": {"slice": int},
    "checkpoint": {},
    "streams": {},
    "file": {"slice": int, "name": str},
    "common": {"slice": int, "tail": bytes},
}
_LEAST: Final = {"slice": 1, "from_seq": 1, "to_seq": 0, "after_digest_seq": 0}


def read_request(frame: Frame) -> dict[str, Any]:
    """Decode a FETCH: its fields, with "what". Raises LinkError."""
    if frame.kind != Kind.FETCH:
        raise LinkError(f"a copy may not send {frame.kind.name} to a history")
    what = link.unpack_map(frame.payload, {"what": str})["what"]
    if what not in REQUESTS:
        raise LinkError(f"the request {what!r} is unknown to a history")
    fields = link.unpack_map(frame.payload, REQUESTS[what])
    for name, least in _LEAST.items():
        if not least <= fields.get(name, least) < 1 << 62:
            raise LinkError(f"a request names {name} {fields[name]}, which cannot be right")
    return {"what": what, **fields}


def block_head(size: int) -> bytes:
    """Header of the frame of a block of ``size`` bytes."""
    return link.head(Kind.BLOCK, 0, size)


def file_head(name: str, size: int) -> bytes:
    """Encode a FILE."""
    return link.encode(Kind.FILE, 0, link.pack_map({"name": name, "bytes": size}))


def done(**fields: Any) -> bytes:
    """Encode a DONE."""
    return link.encode(Kind.DONE, 0, link.pack_map(fields))


class ReceivedFile:
    """A file under way: ``name``, ``bytes`` in all, ``left`` of them to come."""

    def __init__(self, frame: Frame, names: tuple[str, ...]) -> None:
        """``names``: endings that are expected. Raises LinkError for another name, such as one with a folder."""
        told = link.unpack_map(frame.payload, {"name": str, "bytes": int})
        self.name, self.bytes = told["name"], told["bytes"]
        self.left = self.bytes
        plain = self.name.replace(".", "").replace("-", "").replace("_", "")
        if not (plain.isalnum() and plain.isascii() and len(self.name) <= 64 and self.name.endswith(names)):
            raise LinkError(f"a history sends a file {self.name[:80]!r}, which no node keeps there")
        if not 0 <= self.bytes < 1 << 50:
            raise LinkError(f"a history sends a file of {self.bytes} bytes")

    def take(self, piece: bytes) -> None:
        """Note a piece. Raises LinkError for more bytes than announced."""
        if len(piece) > self.left:
            raise LinkError(f"a history sends more of {self.name} than it announced")
        self.left -= len(piece)
