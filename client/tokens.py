"""Order tokens: what a client calls its orders. Unique for the trading day, restarts of the program included.

A token counts up from the time of the program's start in microseconds, in base 36 and 8 digits: the next start is
later than the count has got unless a program sends a million orders a second. Eight characters are short enough to be
the exchange's own order id, and neighbours lie near each other in its index. The count comes round after 32 days.
"""

import time
from typing import Final

#: As OUCH has it; up to 8 without a space among them is what the exchange handles fastest.
TOKEN_CHARACTERS: Final = 14

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHARACTERS: Final = 8


def _base36(number: int, characters: int) -> str:
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


class Tokens:
    """A source of tokens that only rise."""

    def __init__(self, start: int | None = None) -> None:
        """start: what to count from; the time in microseconds if not given."""
        self._next = time.time_ns() // 1_000 if start is None else start

    def next(self) -> str:
        """The next token.

        >>> tokens = Tokens(start=35)
        >>> tokens.next(), tokens.next()
        ('0000000Z', '00000010')
        """
        self._next += 1
        return _base36((self._next - 1) % 36**_CHARACTERS, _CHARACTERS)

    def next_marker(self) -> str:
        """A token that is no order's, for the question whether all that was missed has come.

        >>> Tokens(start=35).next_marker()
        '-000000Z'
        """
        return f"-{self.next()[1:]}"


def checked(token: str) -> str:
    """A token of the user's own. Raises ValueError for one that OUCH has no room for.

    >>> checked("a1")
    'a1'
    """
    if not 1 <= len(token) <= TOKEN_CHARACTERS or not (token.isascii() and token.isprintable()):
        raise ValueError(f"the token {token!r} is not 1 to {TOKEN_CHARACTERS} printable ASCII characters")
    if token != token.strip(" "):
        raise ValueError(f"the token {token!r} has spaces around it, which would be lost on the way")
    return token
