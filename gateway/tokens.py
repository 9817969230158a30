"""Tokens, names and rows of order commands in the messages of clients, for the kernels that read them.

A token has 14 characters (``gateway.ouch.context``): a short one is the client order id itself, any other stands in an
EXTEND row before its command.
"""

from typing import Final

import numpy as np

from engine.jit import ctz, inlined, lshr, wrapping_add, wrapping_multiply
from engine.records import CommandKind
from wire import octets
from wire.ouch_layout import TOKEN_CHARACTERS

_MIX_HEAD: Final = np.int64(0x9E3779B97F4A7C15 - 2**64)
_MIX_TAIL: Final = np.int64(0xBF58476D1CE4E5B9 - 2**64)
_TOP_BIT: Final = np.int64(-(2**63))
_SPACES: Final = np.int64(0x2020202020202020)
_EACH_01: Final = np.int64(0x0101010101010101)
_EACH_21: Final = np.int64(0x2121212121212121)
_EACH_5F: Final = np.int64(0x5F5F5F5F5F5F5F5F)
_EACH_TOP: Final = np.int64(0x8080808080808080 - 2**64)

u32: Final = inlined(octets.u32)


@inlined
def u64(buffer, at):
    """A number of 8 bytes, big-endian."""
    return (u32(buffer, at) << 32) | u32(buffer, at + 4)


@inlined
def token_tail(buffer, at):
    """The last six characters of a token, above two zero bytes."""
    return (u32(buffer, at) << 32) | (np.int64(buffer[at + 4]) << 24) | (np.int64(buffer[at + 5]) << 16)


@inlined
def _padding_bits(word):
    """Bits of the spaces at the end of eight characters that are not all spaces."""
    return ctz(word ^ _SPACES) & 56


@inlined
def unpadded(word):
    """Eight characters without the spaces at their end, right-aligned; 0 for eight spaces."""
    return lshr(word, _padding_bits(word)) if word != _SPACES else np.int64(0)


@inlined
def _printable(word, padding_bits):
    """True if each byte of an unpadded word is 0x21 to 0x7e, but for those that came in for the padding."""
    # Those count as 0x21. One sum has a byte's top bit set from 0x21 on, the other from 0x7f on.
    filled = word | (_EACH_21 & ~lshr(np.int64(-1), padding_bits))
    from_21 = wrapping_add(filled, _EACH_5F) & _EACH_TOP
    from_7f = wrapping_add(filled, _EACH_01) & _EACH_TOP
    return (filled & _EACH_TOP) == 0 and from_21 == _EACH_TOP and from_7f == 0


@inlined
def order_id(head, tail):
    """The client order id of a token (``gateway.ouch.context.order_id``); below 0 for one that needs an EXTEND row."""
    if tail == 0x202020202020_0000 and head != _SPACES:
        padding_bits = _padding_bits(head)
        short = lshr(head, padding_bits)
        if _printable(short, padding_bits):
            return short
    mixed = wrapping_multiply(head, _MIX_HEAD)
    mixed = wrapping_multiply(wrapping_add(mixed ^ lshr(mixed, 32), tail), _MIX_TAIL)
    return (mixed ^ lshr(mixed, 29)) | _TOP_BIT


@inlined
def clear(row):
    """Zero all places of an order command but its kind."""
    row["client_order_id"] = 0
    row["new_client_order_id"] = 0
    row["price_e4"] = 0
    row["qty"] = 0
    row["min_qty"] = 0
    row["display_qty"] = 0
    row["participant"] = 0
    row["instrument"] = 0
    row["side"] = 0
    row["time_in_force"] = 0
    row["self_trade"] = 0
    row["instructions"] = 0
    row["book"] = 0
    row["phase"] = 0


@inlined
def extend(commands, n, symbol, head, tail, new_head, new_tail):
    """Write an EXTEND row; gives the number of rows then."""
    row = commands[n]
    clear(row)
    row["kind"] = CommandKind.EXTEND
    row["symbol"] = symbol
    row["token_head"] = head
    row["token_tail"] = tail
    row["new_token_head"] = new_head
    row["new_token_tail"] = new_tail
    return n + 1


@inlined
def is_text(buffer, at):
    """True if a token has printable ASCII characters alone, and not only spaces."""
    blank = True
    for place in range(at, at + TOKEN_CHARACTERS):
        c = np.int64(buffer[place])
        if c < 32 or c > 126:
            return False
        blank &= c == 32
    return not blank
