"""Scenario files as text (rulebook section 12): ``parse`` turns the whole text into lines before any of it is used.

A ``Line`` holds a COMMAND row that is complete but for what only the venue knows: the numbers of the participant
and instrument it names, and its time. ``notation.translate`` adds those. Syntax alone decides here: a value of any size
that fits 64 bits goes into the row as it is, because refusing it is the engine's part. A line that makes no row is an
error of the file, and so are the words of the rulebook that this release does not build (its section 13).

Beyond the rulebook, so that any journal can be printed: ``~`` and 16 hexadecimal digits stand for an id or name that
is none, and ``raw`` and 128 hexadecimal digits are one COMMAND row.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.records import COMMAND_PLACES, CommandKind, EventKind
from engine.row_bytes import ROW, extend_row
from notation.forms import FORMS, LATER, NOT_BUILT, options_of, plain_words
from notation.words import Fault, Time, time_of

RAW: Final = 0  # the kind of a ``raw`` line

#: Plain words after the event's name, and the keys that each event may have.
EVENT_KEYS: Final[dict[str, frozenset[str]]] = {
    "accepted": frozenset(),
    "rejected": frozenset({"reason"}),
    "trade": frozenset({"resting", "incoming", "buy", "sell"}),
    "canceled": frozenset({"qty", "reason"}),
    "replaced": frozenset({"qty"}),
    "cancel_rejected": frozenset({"reason"}),
    "triggered": frozenset(),
    "replenished": frozenset({"qty"}),
    "repriced": frozenset(),
    "indicative": frozenset({"surplus", "side"}),
    "phase": frozenset(),
    "halted": frozenset({"reason"}),
    "killed": frozenset(),
    "unkilled": frozenset(),
}
if set(EVENT_KEYS) != {kind.name.lower() for kind in EventKind}:
    raise ValueError("EVENT_KEYS does not name every event kind once")


class ScenarioError(ValueError):
    """A scenario file that cannot be used: one sentence with file and line, what is wrong and what to do."""


class Line(NamedTuple):
    """One command of a file. ``row``: 64 bytes; participant, instrument and ``time`` are left 0 for the translation.

    participant, symbol: the names' numbers (``engine.names.pack``) where the row wants the numbers of the two.
    expected: the events that stand under it, as they are written, without the ``>``. tokens: as those of ``Parts``.
    before: an EXTEND row that goes before, or nothing.
    """

    number: int
    text: str
    kind: int
    row: bytes
    participant: int
    symbol: int
    time: Time | None
    expected: list[str]
    tokens: tuple[int, ...] = ()
    before: bytes = b""


#: Of each name of a place the number of the place.
_PLACE_OF: Final = {name: place for place, names in enumerate(COMMAND_PLACES.values()) for name in names}
#: Lines between two reports of progress: some hundredths of a second.
_PROGRESS_LINES: Final = 4_096
_RAW_ROW: Final = re.compile(r"[0-9a-fA-F]{128}")


def command(text: str, number: int) -> Line:
    """The command of one line without its comment. Raises Fault."""
    words = text.split()
    word = words[0]
    built = FORMS.get(word)
    if built is not None:
        kind, form = built
        parts = form(words)
        places = [0] * len(COMMAND_PLACES)
        for name, value in parts.places.items():
            places[_PLACE_OF[name]] = value
        places[_PLACE_OF["kind"]] = int(kind)
        row = ROW.pack(*places)
        before = extend_row(*parts.before) if parts.before else b""
        return Line(number, text, int(kind), row, parts.participant, parts.symbol, parts.time, [], parts.tokens, before)
    if word == "at":
        plain_words(words, "at TIME")
        options_of(words[2:], frozenset(), frozenset(), "at")
        return Line(number, text, int(CommandKind.CLOCK), b"", 0, 0, time_of(words[1]), [])
    if word == "raw":
        if len(words) != 2 or not _RAW_ROW.fullmatch(words[1]):
            raise Fault("raw wants one word of 128 hexadecimal digits, the 64 bytes of a COMMAND row")
        return Line(number, text, RAW, bytes.fromhex(words[1]), 0, 0, None, [])
    if word in LATER:
        raise Fault(f"the command {word} {NOT_BUILT}")
    raise Fault(f"there is no command {word!r}; the commands are {', '.join(sorted([*FORMS, 'at', 'raw']))}")


def _expected(text: str) -> str:
    """An expected event as it is written, once its words can be compared. Raises Fault."""
    words = text.split()
    if not words or words[0] not in EVENT_KEYS:
        raise Fault(f"there is no event {words[0] if words else ''!r}; the events are {', '.join(EVENT_KEYS)}")
    keys = [word.partition("=")[0] for word in words if "=" in word]
    for key in keys:
        if key not in EVENT_KEYS[words[0]] or keys.count(key) > 1:
            known = ", ".join(sorted(EVENT_KEYS[words[0]])) or "none"
            raise Fault(f"{key}= does not fit the event {words[0]}; its keys are {known}, each once")
    return " ".join(words)


def parse(text: str, name: str, progress: Callable[[int, int], None] | None = None) -> list[Line]:
    """The commands of a scenario file, each with the events expected under it.

    The whole text is looked at first, calling ``progress(line, lines)`` at times. Raises ScenarioError, with ``name``
    and the line, at the first fault.
    """
    lines: list[Line] = []
    texts = text.split("\n")
    for number, written in enumerate(texts, 1):
        if progress is not None and number % _PROGRESS_LINES == 0:
            progress(number, len(texts))
        content = written.partition("#")[0].strip()
        if not content:
            continue
        try:
            if content[0] != ">":
                lines.append(command(content, number))
            elif lines:
                lines[-1].expected.append(_expected(content[1:]))
            else:
                raise Fault("an event stands before the first command; put it under the command that causes it")
        except Fault as fault:
            raise ScenarioError(f"{name}:{number}: {_short(str(fault))}.") from None
    return lines


def _short(sentence: str) -> str:
    """A sentence that quotes a line of any length, with its end, which says what to do."""
    return sentence if len(sentence) <= 400 else f"{sentence[:150]} … {sentence[-150:]}"
