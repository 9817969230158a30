"""Patterns of lines: most commands of a journal differ from one another in names, ids, quantities and prices alone.

A line whose pattern was read back to its row needs only its own words read back. Each plain word of a command, and its
context, is read into one place that nothing else of it writes, so what the other words give stays as it was.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from engine.names import Directory
from notation.table import BY_KIND, CONTEXT, ID, PRICE, WHOLE, Field, Value
from notation.words import Fault

_KIND: Final = 8
_BITS: Final = 12
_PLACES: Final = 15
_OPEN: Final = (ID, WHOLE, PRICE, CONTEXT)
#: Patterns of one printer, so that rows of an enemy fill no memory.
_PATTERNS_MAX: Final = 4_096

_Values = tuple[int, ...]


class _Word(NamedTuple):
    """A word of a line that is open in its pattern: its place in the row, its value, and the names whose number it is.

    ``at``: its number in the line; of an option 0, and its key. ``is_told``: an option that is not written for 0.
    """

    place: int
    value: Value
    names: str
    at: int
    key: str
    is_told: bool


class _Shape(NamedTuple):
    """The open words of a kind of command with these instructions, and what gives all other places of its row."""

    words: tuple[_Word, ...]
    rest: Callable[[_Values], Any]
    told: tuple[int, ...]  # places of the options that are not written where they are 0

    def key(self, values: _Values) -> tuple[Any, ...]:
        """Key of a pattern: all places that its rows have in common, and which options they have."""
        return self.rest(values), *(values[place] != 0 for place in self.told)


class Patterns:
    """Patterns of lines that were read back to their rows."""

    def __init__(self) -> None:
        self._patterns: dict[tuple[Any, ...], tuple[str, tuple[Callable[[int], str | None], ...], Any]] = {}
        self._names: dict[str, Callable[[int], str | None]] = {}

    def learn_names(self, directory: Directory, number_of: Callable[[str, str], int | None]) -> None:
        """Take the names of ``directory``.

        number_of: of ``participants`` or ``symbols``, the number as which a name is read, or None.
        """

        def words_of(names: str) -> Callable[[int], str | None]:
            known: tuple[str, ...] = getattr(directory, names)

            @cache
            def word(number: int) -> str | None:
                text = known[number - 1] if 0 < number <= len(known) else None
                return text if text is not None and number_of(names, text) == number else None

            return word

        self._patterns.clear()
        self._names = {names: words_of(names) for names in ("participants", "symbols")}

    def line(self, values: _Values) -> str | None:
        """The line of a COMMAND row by itself; None where no row like it was learned, or a word is not read back."""
        shape = _shape(values[_KIND], values[_BITS])
        if shape is None:
            return None
        found = self._patterns.get(shape.key(values))
        if found is None:
            return None
        pattern, words, places = found
        texts = tuple([word(number) for word, number in zip(words, places(values), strict=True)])
        return None if None in texts else pattern % texts

    def learn(self, values: _Values, text: str) -> None:
        """Learn from a row by itself and its line, which is read back to the row."""
        shape = _shape(values[_KIND], values[_BITS])
        if shape is None or len(self._patterns) >= _PATTERNS_MAX:
            return
        words = text.replace("%", "%%").split(" ")
        taken = [word for word in shape.words if not word.is_told or values[word.place]]
        if not taken:
            return
        for word in taken:
            at = word.at or next(at for at, each in enumerate(words) if each.startswith(f"{word.key}="))
            words[at] = f"{word.key}=%s" if word.key else "%s"
        writers = tuple(self._names[word.names] if word.names else _writer(word.value) for word in taken)
        places = [word.place for word in taken]
        read = itemgetter(*places) if len(places) > 1 else lambda numbers: (numbers[places[0]],)
        key = shape.key(values)
        self._patterns[key] = (" ".join(words), writers, read)
        if self.line(values) != text:
            del self._patterns[key]


@lru_cache(maxsize=1_024)
def _shape(kind: int, bits: int) -> _Shape | None:
    """The open words of a kind; None where there are none, for limits, and for an unknown kind."""
    found = BY_KIND.get(kind)
    if found is None or found.limits:
        return None
    at = [number for number, word in enumerate(found.form.split()) if number and word != "@"]
    written = [(number, field) for number, field in zip(at, found.plain, strict=True) if not bits & field.bit]
    written += [(0, field) for field in found.options if not field.bit or bits & field.bit]
    places = [number for _, field in written if not field.extended for number in _places(field)]
    words = tuple(
        _Word(field.numbers[0], field.value, field.names, number, field.key, bool(field.key) and not field.bit)
        for number, field in written
        if _is_open(field) and places.count(field.numbers[0]) == 1
    )
    open_ = {word.place for word in words}
    if not open_:
        return None
    closed = [place for place in range(_PLACES) if place not in open_]
    return _Shape(words, itemgetter(*closed), tuple(word.place for word in words if word.is_told))


def _is_open(field: Field) -> bool:
    """True for a name that the venue numbers, an id, quantity, price and context that has one place."""
    if field.extended or field.off or field.usual or field.default or field.required:
        return False
    return bool(field.names) or (len(field.numbers) == 1 and field.value in _OPEN)


def _places(field: Field) -> tuple[int, ...]:
    """Places of a field in the row: what is unknown of a name is in the EXTEND row before."""
    return field.numbers[:1] if field.names else field.numbers


@cache
def _writer(value: Value) -> Callable[[int], str | None]:
    """A number as its word; None where the word is not read as that number."""

    @lru_cache(maxsize=1 << 14)
    def word(number: int) -> str | None:
        text = value.write(number)
        try:
            return text if value.read(text, "") == number else None
        except Fault:
            return None

    return word
