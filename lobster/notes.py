"""Kinds of LOBSTER messages that are not exactly one command."""

from enum import StrEnum
from typing import Final


class Note(StrEnum):
    """A note about a message; the value is the sentence for people."""

    HIDDEN_EXECUTION = "execution of a hidden order (type 5): skipped, it shows nowhere in the displayed book"
    CROSS_TRADE = "cross trade (type 6): skipped, it touches no displayed order"
    HALT_INDICATOR = "trading halt indicator (type 7): skipped"
    OLDER_ORDER = "about an order older than the file: taken off the seeded order of its level"
    NOT_FIRST = "execution of an order that is not first in price-time priority: the venue trades the first one"
    NOT_BEST = "execution away from the best price: taken off its order, as no incoming order can reach it"
    UNSEEN_ORDER = (
        "about an order that entered beyond the published levels: not enough of it is known, the rest is skipped"
    )
    UNKNOWN_ORDER = "about an order that the file never entered, at a level that is known: taken as far as possible"
    TOO_MUCH = "takes more than its order has left: taken as far as possible"
    OTHER_SIZE = "deletion of another size than its order has left: deleted whole"
    REPEATED_ID = "entry under the id of an order that is still open: skipped"
    REVEALED = (
        "shows, in its row of the book, levels that were beyond the published ones: what came or went there unseen "
        "enters or leaves before it"
    )
    LEFT_UNSEEN = "proves that orders beyond the published levels have left unseen: they are canceled"
    CROSSED = (
        "entry that would trade with a displayed order (the book of the data is crossed): held back until it would not"
    )


#: Notes of messages that the data does not let one take over whole.
UNDETERMINED: Final = frozenset(
    {
        Note.NOT_BEST,
        Note.UNSEEN_ORDER,
        Note.UNKNOWN_ORDER,
        Note.TOO_MUCH,
        Note.OTHER_SIZE,
        Note.REPEATED_ID,
        Note.LEFT_UNSEEN,
        Note.CROSSED,
    }
)
