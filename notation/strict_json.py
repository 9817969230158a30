"""JSON of others, read strictly: a name that an object has twice is refused, since nobody can say which value is meant.

Python's reader takes the last value, others the first. An order with two sizes is one that nobody may guess.
"""

import json
from typing import Any, Final

#: Characters of a name that a sentence repeats.
_QUOTED: Final = 40


class NameTwice(ValueError):
    """An object of JSON that has a name twice; the message is a sentence without an end, such as for a client."""


class TooDeep(ValueError):
    """Objects and lists of JSON that are nested too deeply; the message is such a sentence too."""


def read_json(text: str | bytes, **options: Any) -> Any:
    """The value of a JSON text. options: of ``json.loads``. Raises NameTwice, TooDeep, and ValueError for what
    is no JSON at all.

    >>> read_json('{"size": "1", "size": "2"}')
    Traceback (most recent call last):
    notation.strict_json.NameTwice: an object has 'size' twice; give each name once
    """
    try:
        return json.loads(text, object_pairs_hook=_object, **options)
    except RecursionError:
        raise TooDeep("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(each for each in names if names.count(each) > 1)
        raise NameTwice(f"an object has {twice[:_QUOTED]!r} twice; give each name once")
    return found
