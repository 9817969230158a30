"""Records of a FIX stream, as a spool keeps them: reports and marks with their numbers, in no version of FIX.

A record has all that its message says, so it is made when a client is there to read it, in the version of its session,
and is made again from the journal after any end of the gateway.

    size u32, number of the message u32, kind u8, bytes of three texts u8 u8 u8; the third is the route of its answer:
    fields of a header as in a message, for a third party
    MARK      mark's own number i64, number expected next u32, kind of the mark u32
    REPORT    the REPORT row, ClOrdID, OrigClOrdID
    STATUS    the last REPORT row of the order, zeros where there is none; time of the answer in ns i64, which older
              records have not; ClOrdID
    BUSINESS  time in ns i64, number of the message u64, reason u64, its type (8 bytes); text
    MASS      time in ns i64, sequence number i64, symbol i64, side i64; ClOrdID
    COPY      as REPORT, of an order of somebody else
    CAPTURE   the REPORT row of a trade, ClOrdID
    CROSSED   the REPORT row of one side of a cross, ClOrdID of that side, CrossID
    REFUSED   ``OF_REFUSED``, Symbol, octet 1, reason as a sentence; id of the message, OrigClOrdID
    LATE      the REPORT row of a refused cancel or replace, the last REPORT row of its order; ClOrdID, OrigClOrdID
"""

import struct
from typing import Final, NamedTuple

from reports.rows import REPORT_PLACE, REPORT_PLACES

MARK: Final = 0
REPORT: Final = 1
STATUS: Final = 2
BUSINESS: Final = 3
MASS: Final = 4
COPY: Final = 5
CAPTURE: Final = 6
CROSSED: Final = 7
REFUSED: Final = 8
LATE: Final = 9

HEAD: Final = struct.Struct("<IIBBBB")
OF_STATUS: Final = struct.Struct("<q")
OF_MARK: Final = struct.Struct("<qII")
OF_BUSINESS: Final = struct.Struct("<qQQ8s")
OF_MASS: Final = struct.Struct("<4q")
#: Time in ns, sequence number, number of the message, its quantity (0: none) or MassCancelRequestType; of the order
#: that it is about: order number (0: not known), octet of its OrdStatus in FIX 4.2; ``Refusal`` as a word.
OF_REFUSED: Final = struct.Struct("<7q")
ROW_BYTES: Final = 256

_CODES: Final = {"i8": "q", "u4": "I", "u2": "H", "u1": "B", "i1": "b"}
#: All places of a REPORT row as numbers, and where each name is among them.
PLACES: Final = struct.Struct(
    "<" + "".join(_CODES[REPORT_PLACE[names[0]][0].str[1:]] for names in REPORT_PLACES.values())
)
PLACE_NAMES: Final = tuple(names[0] for names in REPORT_PLACES.values())
PLACE: Final = {name: at for at, names in enumerate(REPORT_PLACES.values()) for name in names}


class Record(NamedTuple):
    """A record. number: of its message. data: what stands before the two texts, which are those that their names say,
    or what the record's kind has in their places."""

    number: int
    kind: int
    data: bytes
    cl_ord_id: bytes
    orig_cl_ord_id: bytes
    route: bytes = b""

    @property
    def text(self) -> bytes:
        """Text of a BUSINESS record."""
        return self.cl_ord_id

    @property
    def cross_id(self) -> bytes:
        """CrossID of a CROSSED record."""
        return self.orig_cl_ord_id


class Refusal(NamedTuple):
    """A refusal of a message by the gateway. answer: type of the message that tells it. reason: BusinessRejectReason,
    or one of ``gateway.fix.orders``. side: Side as it came; "": none."""

    msg_type: bytes
    answer: bytes
    reason: int
    side: bytes

    def word(self) -> int:
        """The refusal as a word of 64 bits."""
        kind = int.from_bytes(self.msg_type[:4], "big") << 32
        return kind | int.from_bytes(self.answer, "big") << 24 | self.reason << 8 | int.from_bytes(self.side, "big")


def refusal_of(word: int) -> Refusal:
    """The refusal that a word says.

    >>> refusal_of(Refusal(b"D", b"8", 5, b"1").word())
    Refusal(msg_type=b'D', answer=b'8', reason=5, side=b'1')
    """
    kind, answer, side = (word >> 32 & 0xFFFFFFFF).to_bytes(4, "big"), word >> 24 & 255, word & 255
    return Refusal(kind.lstrip(b"\0"), bytes([answer]), word >> 8 & 0xFFFF, bytes([side]) if side else b"")


def record_of(
    number: int, kind: int, data: bytes, cl_ord_id: bytes = b"", orig_cl_ord_id: bytes = b"", route: bytes = b""
) -> bytes:
    """A record as bytes. cl_ord_id: or the text of a reject; orig_cl_ord_id: or the CrossID."""
    texts = cl_ord_id, orig_cl_ord_id, route
    size = HEAD.size + len(data) + sum(map(len, texts))
    return HEAD.pack(size, number, kind, *map(len, texts)) + data + b"".join(texts)


def record_bytes(data: bytes, at: int = 0, /) -> int:
    """Bytes of the record at ``at``; 0 where not all of it is there."""
    if len(data) - at < HEAD.size:
        return 0
    size: int = HEAD.unpack_from(data, at)[0]
    return size if HEAD.size <= size <= len(data) - at else 0


def record_at(stored: bytes, at: int, size: int) -> Record:
    """The record of ``size`` bytes at a place."""
    _, number, kind, id_bytes, orig_bytes, route_bytes = HEAD.unpack_from(stored, at)
    end = at + size - route_bytes
    orig_at = end - orig_bytes
    id_at = orig_at - id_bytes
    cl_ord_id, orig_cl_ord_id, route = stored[id_at:orig_at], stored[orig_at:end], stored[end : at + size]
    return Record(number, kind, stored[at + HEAD.size : id_at], cl_ord_id, orig_cl_ord_id, route)


def records_in(stored: bytes) -> list[Record]:
    """Whole records, one behind the other."""
    found, at = [], 0
    while size := record_bytes(stored, at):
        found.append(record_at(stored, at, size))
        at += size
    return found
