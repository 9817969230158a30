"""Order tokens: the names that a client gives its orders. Unique for a participant and trading day.

A token is the user's name and a count of 8 digits in base 36. The count starts at the time of the program's start in
microseconds: the next start is later than the count has got unless a program sends a million orders a second. It comes
round after 32 days. Ids are those of the participant, not of the user: without the name in front, the counts of two
users of one participant would meet. The name and the count fill the 14 characters of OUCH.
"""

import time
from typing import Final

#: As OUCH has it.
TOKEN_CHARACTERS: Final = 14

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAIRS: Final = [high + low for high in _DIGITS for low in _DIGITS]
_CHARACTERS: Final = 8


def _base36(number: int, characters: int) -> str:
    """The last digits of a number, eight at most."""
    number, last = divmod(number, 36**2)
    number, third = divmod(number, 36**2)
    first, second = divmod(number, 36**2)
    digits = _PAIRS[first % 36**2] + _PAIRS[second] + _PAIRS[third] + _PAIRS[last]
    return digits[8 - characters :]


class Tokens:
    """A source of tokens of one user that only rise."""

    def __init__(self, user: str, start: int | None = None) -> None:
        """user: a name of 1 to 6 characters. start: the first count; the time in microseconds if not given."""
        self._user = user.upper()
        self._next = time.time_ns() // 1_000 if start is None else start

    def next(self) -> str:
        """The next token.

        >>> tokens = Tokens("ALICE", start=35)
        >>> tokens.next(), tokens.next()
        ('ALICE0000000Z', 'ALICE00000010')
        """
        return self._user + self._count(_CHARACTERS)

    def next_marker(self) -> str:
        """A token that no order has. The answer to its cancel shows that all missed messages have come.

        >>> Tokens("ALICE", start=35).next_marker()
        'ALICE-000000Z'
        """
        return f"{self._user}-{self._count(_CHARACTERS - 1)}"

    def _count(self, digits: int) -> str:
        self._next += 1
        return _base36((self._next - 1) % 36**digits, digits)


def checked(token: str) -> str:
    """A token of the user's own. Raises ValueError for one that the exchange refuses.

    >>> checked("a1")
    'a1'
    """
    if not 1 <= len(token) <= TOKEN_CHARACTERS or not (token.isascii() and token.isprintable()):
        raise ValueError(f"the token {token!r} is not 1 to {TOKEN_CHARACTERS} printable ASCII characters")
    if token != token.strip(" "):
        raise ValueError(f"the token {token!r} has spaces around it, which would be lost on the way")
    return token
