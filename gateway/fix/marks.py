"""Marks: rows by which a session's numbers and long ClOrdIDs stand in the journal.

Each order command that came by FIX has in its context the number that the session expects next, so an inbound number is
consumed with its command. What has a number and is no order is a *mark*: a CANCEL of no order (client order id 0),
which the market refuses, the journal keeps, and no client is told. Its place among the reports is the number of the
message that it stands for. A mark is sent by its gateway and comes back released, like the answer to an order.

Context bytes, beside the user and the number of the protocol (``reports.contexts``):

    byte 2 to 5   number that is expected next, behind what this command consumed; 0: it says nothing of that
    byte 6        kind of the mark; 0: an order command. Two bits of it are facts of either: ROUTED and RESENT

A CANCEL's quantity is the mark's own number, by which the gateway knows it again; a NAME has there its length, and in
the bits above the first eight which part it is. The EXTEND row before a mark has what belongs to it: before that of a
signed logon its SendingTime, in ns since 1970.
"""

from typing import Final

from engine.records import CommandKind
from engine.row_bytes import ROW, extend_row
from wire.fix_marks import COPIES_NUMBER, NUMBER, NUMBERS, Mark, mark_of, protocol_of
from wire.fix_store import SEQ_MAX

__all__ = [
    "COPIES_NUMBER",
    "NAME_BYTES_MAX",
    "NUMBER",
    "NUMBERS",
    "PART_BYTES",
    "RESENT",
    "ROUTED",
    "SEQ_MAX",
    "TEXT_CHARACTERS",
    "Mark",
    "context_of",
    "flags_of",
    "mark_of",
    "mark_rows",
    "name_rows",
    "next_in_of",
    "protocol_of",
    "text_in",
    "with_flags",
    "words_in",
]

#: Bytes of the words of an EXTEND row.
PART_BYTES: Final = 48
#: Characters of the text of a business reject.
TEXT_CHARACTERS: Final = 32

#: Bits of byte 6: the answer goes back to a third party; the client may have sent the order before (PossResend).
ROUTED: Final = 128
RESENT: Final = 64
#: Bytes of a text that name rows say.
NAME_BYTES_MAX: Final = 255

_CANCEL: Final = int(CommandKind.CANCEL)
_REPLACE: Final = int(CommandKind.REPLACE)
_WORD_BYTES: Final = 8


def context_of(user: int, next_in: int, mark: Mark = Mark.ORDER, protocol: int = NUMBER) -> int:
    """Context of a command of a user.

    >>> hex(context_of(3, 7, Mark.NAME))
    '0x2005000000070003'
    """
    return user | next_in << 16 | int(mark) << 48 | protocol << 60


def next_in_of(context: int) -> int:
    """Number that is expected next, in a context; 0: it says nothing of that."""
    return context >> 16 & SEQ_MAX


def flags_of(context: int) -> int:
    """ROUTED and RESENT, as far as a context has them."""
    return context >> 48 & (ROUTED | RESENT)


def with_flags(rows: list[bytes], flags: int) -> list[bytes]:
    """Rows of a command or a mark with ROUTED or RESENT in its context; those of a NAME as they are."""
    places = list(ROW.unpack(rows[-1]))
    at = 4 if places[8] == _REPLACE else 1
    if mark_of(places[at]) == Mark.NAME:
        return rows
    places[at] = places[at] | flags << 48
    return [*rows[:-1], ROW.pack(*places)]


def words_in(text: bytes) -> list[int]:
    """Six words of an EXTEND row with a text of at most 48 bytes."""
    padded = text.ljust(PART_BYTES, b"\0")
    return [int.from_bytes(padded[at : at + 8], "big", signed=True) for at in range(0, PART_BYTES, _WORD_BYTES)]


def text_in(words: "tuple[int, ...]") -> bytes:
    """Text in words of an EXTEND row, with zero bytes at its end.

    >>> text_in(tuple(words_in(b"abc"))).rstrip(bytes(1))
    b'abc'
    """
    return b"".join(word.to_bytes(_WORD_BYTES, "big", signed=True) for word in words)


def mark_rows(context: int, participant: int, number: int, words: "list[int] | tuple[int, ...]" = ()) -> list[bytes]:
    """Rows of a mark. number: its own. words: of the EXTEND row before it; none: there is none."""
    row = ROW.pack(0, context, 0, number, 0, 0, participant, 0, _CANCEL, 0, 0, 0, 0, 0, 0)
    return [extend_row(*words), row] if words else [row]


def name_rows(
    user: int, participant: int, text: bytes, mark: Mark = Mark.NAME, protocol: int = NUMBER
) -> list[list[bytes]]:
    """Marks, one behind the other, with a text of at most ``NAME_BYTES_MAX``: a long ClOrdID, or a ROUTE."""
    context = context_of(user, 0, mark, protocol)
    parts = [text[at : at + PART_BYTES] for at in range(0, len(text), PART_BYTES)]
    return [mark_rows(context, participant, len(text) | place << 8, words_in(part)) for place, part in enumerate(parts)]
