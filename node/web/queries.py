"""Words of a query, held against those of its path: a filter that is written wrong must not change what is answered.

A path that has words refuses others, and one that is given twice: without `order_id` the fills of all orders would come
for `orderid`, without `product_id` all orders would be canceled. A path that has none leaves out what comes.
"""

from collections.abc import Collection, Sequence
from typing import Final

from marketdata.web.answers import BadRequest

#: Words that may be given several times, and words that say nothing when they are empty: which one was meant?
_SEVERAL: Final = frozenset({"status"})
_NAMES: Final = frozenset({"product_id", "order_id", "status"})
_QUOTED: Final = 40


def checked_query(given: Sequence[tuple[str, str]], words: Collection[str]) -> dict[str, list[str]]:
    """Values by word. given: words and values as they came; words: those that the path has. Raises BadRequest.

    >>> checked_query([("limit", "5")], {"limit", "after"})
    {'limit': ['5']}
    >>> checked_query([("nonce", "5")], ())
    {}
    """
    found: dict[str, list[str]] = {}
    for word, value in given if words else ():
        if word not in words:
            raise BadRequest(f"{word[:_QUOTED]!r} is no word of this query; there are {', '.join(sorted(words))}")
        if word in found and word not in _SEVERAL:
            raise BadRequest(f"{word} is there twice; give it once")
        if not value and word in _NAMES:
            raise BadRequest(f"{word} is empty; leave it out, or give one")
        found.setdefault(word, []).append(value)
    return found
