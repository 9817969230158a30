"""Names and client order ids as numbers: 1 to 8 ASCII characters in an int64, big-endian and right-aligned.

Right-aligned, so that the last character is in the lowest byte: ids that a client counts up (a1, a2 … a10) give
rising numbers whose neighbours are near each other. ASCII leaves the top bit free, so none is negative.
"""

from dataclasses import dataclass
from typing import Final

NAME_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
ID_CHARACTERS: Final = NAME_CHARACTERS | frozenset("abcdefghijklmnopqrstuvwxyz")

#: In place of a symbol: each instrument, in order of definition.
EVERY: Final = ord("*")


def pack(text: str) -> int:
    """The number of a name or id. Raises ValueError unless it is 1 to 8 printable ASCII characters.

    >>> hex(pack("a1"))
    '0x6131'
    """
    if not 1 <= len(text) <= 8 or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} is not 1 to 8 printable ASCII characters")
    return int.from_bytes(text.encode("ascii"), "big")


def unpack(number: int) -> str:
    """The name or id of a number; of a number that is none, ``~`` and 16 hexadecimal digits.

    >>> unpack(0x6131), unpack(-2)
    ('a1', '~fffffffffffffffe')
    """
    raw = (number & (2**64 - 1)).to_bytes(8, "big").lstrip(b"\0")
    text = raw.decode("latin-1")
    if text and set(text) <= ID_CHARACTERS:
        return text
    return f"~{number & (2**64 - 1):016x}"


def is_name(number: int) -> bool:
    """True if the number is a symbol or participant name: 1 to 8 of A-Z 0-9 . - (rulebook section 2)."""
    if not 0 < number < 2**63:
        return False
    return set(number.to_bytes(8, "big").lstrip(b"\0").decode("latin-1")) <= NAME_CHARACTERS


@dataclass(frozen=True)
class Directory:
    """Names defined so far, in order of definition: number n of a row is entry n - 1 here.

    ``now_ns``: the newest clock value, 0 before the first.
    """

    symbols: tuple[str, ...] = ()
    participants: tuple[str, ...] = ()
    now_ns: int = 0
