"""Context of a command that came over OUCH, and an order token as a client order id.

The *context* of a command is eight bytes that the market never reads (``reports.contexts``): the user who sent it, and
the fields of its OUCH message that the market does not use but an answer repeats. It is in the journal, so replay makes
the same answers.

    byte 0, 1   number of the user, in order of first definition, from 1; 0: of no user
    byte 2      buy_sell        byte 3  display           byte 4  capacity
    byte 5      intermarket     byte 6  customer_type     byte 7  flags, of at most four bits

A *token* has 14 characters, padded on the right with spaces. One of 1 to 8 printable characters without a space among
them is the client order id itself (``engine.names.pack``). Any other token stands in an EXTEND row before its command,
as two numbers (``token_words``), and the client order id is a hash of the two with the top bit set, which no short
token has.
"""

from typing import Final

#: Number of the protocol, in contexts.
PROTOCOL: Final = 0

SYSTEM_HOURS: Final = 1  # flag: the time in force is system hours
MODIFY: Final = 2  # flag of a CANCEL: the message was a Modify Order
MINIMUM: Final = 4  # flag of a REPLACE: the message had a minimum quantity

_WORD: Final = 2**64
_SPACES: Final = b" " * 6
_MIX_HEAD: Final = 0x9E3779B97F4A7C15
_MIX_TAIL: Final = 0xBF58476D1CE4E5B9


def signed(word: int) -> int:
    """A 64-bit word as the int64 of the same bits."""
    word &= _WORD - 1
    return word - _WORD if word >= _WORD // 2 else word


def token_words(token: bytes) -> tuple[int, int]:
    """Two int64 of a token of 14 bytes: its first 8, and its last 6 above two zero bytes.

    >>> [hex(word) for word in token_words(b"ABCDEFGHIJKLMN")]
    ['0x4142434445464748', '0x494a4b4c4d4e0000']
    """
    return int.from_bytes(token[:8], "big", signed=True), int.from_bytes(token[8:14] + b"\0\0", "big", signed=True)


def token_of(head: int, tail: int) -> bytes:
    """Token of 14 bytes, from its two words.

    >>> token_of(*token_words(b"ABCDEFGHIJKLMN"))
    b'ABCDEFGHIJKLMN'
    """
    return head.to_bytes(8, "big", signed=True) + tail.to_bytes(8, "big", signed=True)[:6]


def is_short(token: bytes) -> bool:
    """True if a token of 14 bytes is a client order id by itself."""
    shown = token[:8].rstrip(b" ")
    return token[8:] == _SPACES and shown != b"" and all(0x21 <= byte <= 0x7E for byte in shown)


def order_id(token: bytes) -> int:
    """Client order id of a token of 14 bytes.

    >>> hex(order_id(b"a1            ")), order_id(b"ABCDEFGHIJKLMN") < 0
    ('0x6131', True)
    """
    if is_short(token):
        return int.from_bytes(token[:8].rstrip(b" "), "big")
    head, tail = token_words(token)
    mixed = (head * _MIX_HEAD) % _WORD
    mixed = ((mixed ^ (mixed >> 32)) + tail) * _MIX_TAIL % _WORD
    return signed((mixed ^ (mixed >> 29)) | 1 << 63)


def token_of_id(client_order_id: int) -> bytes:
    """Short token as 14 bytes, from its client order id.

    >>> token_of_id(0x6131)
    b'a1            '
    """
    return client_order_id.to_bytes(8, "big").lstrip(b"\0").ljust(14)
