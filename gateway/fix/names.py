"""ClOrdIDs as client order ids of 64 bits, and back.

A ClOrdID of up to 14 characters is an order token, so a user finds its order by whichever protocol: with eight or less
it is the client order id itself. A longer one has an id that is derived from it, with the top bit set, and the text
stands in the journal before the first command that uses it (``gateway.fix.marks``). Two texts of a user with one id
would be 1 in 2**63 a pair; the market then refuses the second as a duplicate.
"""

import hashlib
from typing import Final

from gateway.ouch.context import order_id, signed, token_of, token_words
from wire.ouch_layout import TOKEN_CHARACTERS

#: Longest ClOrdID.
CHARACTERS_MAX: Final = 64
#: Words of an EXTEND row for a ClOrdID that is too long to be a token: its id, and this.
LONG: Final = 1


def is_name(text: bytes) -> bool:
    """True for a ClOrdID that is served: 1 to 64 printable characters without a space.

    >>> is_name(b"A-1"), is_name(b""), is_name(b"a b"), is_name(b"x" * 65)
    (True, False, False, False)
    """
    return 0 < len(text) <= CHARACTERS_MAX and all(0x21 <= each <= 0x7E for each in text)


def is_long(text: bytes) -> bool:
    """True for a ClOrdID whose text has to stand in the journal by itself."""
    return len(text) > TOKEN_CHARACTERS


def id_of(text: bytes) -> int:
    """Client order id of a ClOrdID, signed.

    >>> hex(id_of(b"a1")), id_of(b"x" * 15) < 0
    ('0x6131', True)
    """
    if is_long(text):
        return signed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") | 1 << 63)
    return order_id(text.ljust(TOKEN_CHARACTERS))


def words_of(text: bytes) -> tuple[int, int]:
    """Two words of an EXTEND row that say a ClOrdID: a token, or the id of a longer one and LONG."""
    if is_long(text):
        return id_of(text), LONG
    return token_words(text.ljust(TOKEN_CHARACTERS))


def shown(client_order_id: int, head: int, tail: int) -> bytes:
    """Text of an id that is no long ClOrdID: of a token of its words, or of the id itself.

    >>> shown(0x6131, 0, 0)
    b'a1'
    """
    if client_order_id > 0:
        return client_order_id.to_bytes(8, "big").lstrip(b"\0")
    if head or tail:
        return token_of(head, tail).rstrip(b" \0")
    return b"%016x" % (client_order_id % 2**64)
