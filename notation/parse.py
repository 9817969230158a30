"""Scenario files as text (rulebook section 12): ``parse`` turns the whole text into lines before any of it is used.

A ``Line`` has a COMMAND row without the values that only the venue knows: the numbers of its participant and
instrument, and its time. ``notation.translate`` adds those. Only the syntax is checked: any value of 64 bits goes into
the row unchanged, since rejecting it is for the engine. A line that makes no row is an error of the file, and so are
words of the rulebook that this release does not build (its section 13).

Beyond the rulebook, so that any journal can be printed: ``~`` and 16 hexadecimal digits stand for an id or name that is
not text, and ``raw`` and 128 hexadecimal digits are one COMMAND row.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from engine.records import COMMAND_PLACES, CommandKind, EventKind, limit_places
from engine.row_bytes import ROW, extend_row
from notation.table import BY_WORD, FLAG, MEMBERS, PLACE_OF, TIME, Command, Field, LimitField
from notation.words import Fault, Time

RAW: Final = 0  # the kind of a ``raw`` line
#: The kinds whose rows hold the numbers of names.
NAMED: Final = frozenset(map(int, (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CROSS)))

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
    "indicative": frozenset({"imbalance", "side"}),
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
    expected: the events below it, without the ``>``. tokens: head and tail of the token, then of the new one, or
    nothing. before: rows that go before, or nothing: those of an index's members, and an EXTEND row.
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


_KIND: Final = PLACE_OF["kind"]
_MEMBER_PLACES: Final = [PLACE_OF[place] for place in ("symbol", "weight", "further_symbol", "further_weight")]
#: Lines between two reports of progress: some hundredths of a second.
_PROGRESS_LINES: Final = 4_096
_RAW_ROW: Final = re.compile(r"[0-9a-fA-F]{128}")
#: Keys of ``indicative``, and of commands, in files of earlier releases.
_OLD_KEY: Final = re.compile(r"\bsurplus=")
_OLD_OPTIONS: Final = {"memo": "context"}


def options_of(words: list[str], known: frozenset[str], command: str) -> dict[str, str]:
    """Options after the plain words, ``key=value`` or single words. Raises Fault."""
    options: dict[str, str] = {}
    for word in words:
        written, equals, value = word.partition("=")
        key = _OLD_OPTIONS.get(written, written)
        if key in options:
            raise Fault(f"{key} stands twice; write it once")
        if f"{key}{equals}" not in known:
            raise Fault(f"{command} has no option {word!r}; it has {', '.join(sorted(known)) or 'none'}")
        if equals and not value:
            raise Fault(f"{key}= has no value; write one after the =")
        options[key] = value
    return options


def plain_words(words: list[str], form: str) -> None:
    """Check that there are as many plain words as in ``form``, with the same ``@``. Raises Fault."""
    count, at = _shape(form)
    if len(words) < count or (at and words[at] != "@"):
        raise Fault(f"the command is not complete; its form is: {form}")


@cache
def _shape(form: str) -> tuple[int, int]:
    """Number of words of a form, and which of them is the ``@``; 0 for none."""
    words = form.split()
    return len(words), words.index("@") if "@" in words else 0


@cache
def _known(found: Command) -> frozenset[str]:
    """Options of a command as they are written; ``=`` where a value follows."""
    options = {field.key if field.value is FLAG else f"{field.key}=" for field in found.options}
    limits = {f"{limit.key}=" for limit in found.limits} | {limit.key for limit in found.limits if not limit.places}
    return frozenset(options | limits)


@cache
def _plain(found: Command) -> list[tuple[int, Field, Callable[[str, str], Any], int]]:
    """Plain words of a command: number of the word, field, its reader, and its only place from 1; 0 where it has no
    such."""
    at = [number for number, word in enumerate(found.form.split()) if number and word != "@"]
    simple = [len(field.places) == 1 and field.value is not TIME for field in found.plain]
    return [
        (number, field, field.value.read, field.numbers[0] + 1 if is_simple else 0)
        for number, field, is_simple in zip(at, found.plain, simple, strict=True)
    ]


@cache
def _unwritten(found: Command) -> tuple[int, ...]:
    """The places of a command's row with nothing but its kind, and options that are not written."""
    places = [0] * len(COMMAND_PLACES)
    places[_KIND] = int(found.kind)
    for field in found.options:
        for number in field.numbers:
            if field.default:
                places[number] = field.default
    return tuple(places)


class _CommandReader:
    """A command's words, as far as they have been read."""

    __slots__ = ("bits", "extended", "members", "names", "places", "time")

    def __init__(self, found: Command) -> None:
        self.places = list(_unwritten(found))
        self.extended: list[int] = []  # the six numbers of the EXTEND row before, if any is written
        self.names = {"participants": 0, "symbols": 0}
        self.time: Time | None = None
        self.bits = 0
        self.members: tuple[int, ...] = ()

    def take(self, field: Field | LimitField, value: Any) -> None:
        """The numbers of a field."""
        if isinstance(value, Time):
            self.time = value
            value = value.value_ns if value.form == "dated" else 0
        numbers = value if isinstance(value, tuple) else (value,)
        into = self.places
        if field.extended:
            into = self.extended = self.extended or [0] * 6
        for place, number in zip(field.places, numbers, strict=True):
            into[PLACE_OF[place]] = number


def _options(found: Command, words: list[str]) -> dict[str, str]:
    """Read the options of a command. Raises Fault if one is missing."""
    options = options_of(words, _known(found), found.word)
    if any(field.required and field.key not in options for field in found.options):
        raise Fault(f"the command is not complete; its form is: {found.whole}")
    return options


def _read_limits(found: Command, options: dict[str, str], reading: _CommandReader) -> None:
    named = off = 0
    for limit in found.limits:
        given = options.get(limit.key)
        if given is None:
            continue
        named |= int(limit.limit)
        if given == ("off" if limit.places else "no"):
            off |= int(limit.limit)
        elif limit.places:
            reading.take(limit, limit.value.read(given, limit.key))
        elif given:
            raise Fault(f"{limit.key} is {given!r}; write {limit.key}, or {limit.key}=no")
    for place, bits in limit_places(named, off).items():
        reading.places[PLACE_OF[place]] = bits


def _read(found: Command, words: list[str]) -> _CommandReader:
    plain_words(words, found.form)
    reading = _CommandReader(found)
    for at, field, read, place in _plain(found):
        word = words[at]
        if word == field.instead:
            reading.bits |= field.bit
        elif place:  # as most are; what follows costs more
            reading.places[place - 1] = read(word, field.what)
        elif field.names:
            reading.names[field.names] = read(word, field.what)
        else:
            reading.take(field, read(word, field.what))
    count = _shape(found.form)[0]
    if len(words) > count or found.whole or found.limits:
        options = _options(found, words[count:])
        for field in found.options:
            if field.usual:
                options.setdefault(field.key, field.usual)
            if field.key in options and (not field.off or options[field.key] != field.off):
                reading.bits |= field.bit
                if field.value is MEMBERS:
                    reading.members = MEMBERS.read(options[field.key], field.what)
                elif field.value is not FLAG:
                    reading.take(field, field.value.read(options[field.key], field.what))
        if found.limits:
            _read_limits(found, options, reading)
    if reading.bits:
        reading.places[PLACE_OF["instructions"]] = reading.bits
    return reading


def command(text: str, number: int) -> Line:
    """The command of one line without its comment. Raises Fault."""
    words = text.split()
    found = BY_WORD.get(words[0])
    if found is None:
        return _raw(text, words, number)
    reading = _read(found, words)
    kind, time, extended = reading.places[_KIND], reading.time, reading.extended
    if time is not None and time.form == "dated" and kind != CommandKind.CLOCK:
        time = None  # it stands in the row already
    tokens: tuple[int, ...] = ()
    before = b""
    if extended and kind in NAMED:
        tokens = tuple(extended[2:])
    elif extended:
        before = _member_rows(reading) + extend_row(*extended)
    names = reading.names
    row = ROW.pack(*reading.places)
    return Line(number, text, kind, row, names["participants"], names["symbols"], time, [], tokens, before)


def _member_rows(reading: _CommandReader) -> bytes:
    """The rows with the members of an index, two in each."""
    rows = []
    for at in range(0, len(reading.members), 4):
        places = [0] * len(COMMAND_PLACES)
        places[_KIND] = int(CommandKind.MEMBERS)
        places[PLACE_OF["name"]] = reading.places[PLACE_OF["name"]]
        for place, number in zip(_MEMBER_PLACES, reading.members[at : at + 4], strict=False):
            places[place] = number
        rows.append(ROW.pack(*places))
    return b"".join(rows)


def _raw(text: str, words: list[str], number: int) -> Line:
    """A ``raw`` line. Raises Fault for any other word."""
    if words[0] == "raw":
        if len(words) != 2 or not _RAW_ROW.fullmatch(words[1]):
            raise Fault("raw needs one word of 128 hexadecimal digits, the 64 bytes of a COMMAND row")
        return Line(number, text, RAW, bytes.fromhex(words[1]), 0, 0, None, [])
    raise Fault(f"there is no command {words[0]!r}; the commands are {', '.join(sorted([*BY_WORD, 'raw']))}")


def _expected(text: str) -> str:
    """Check the words of an expected event; gives its text, with keys of earlier releases replaced. Raises Fault."""
    text = _OLD_KEY.sub("imbalance=", text)
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

    The whole text is parsed first, with calls of ``progress(line, lines)`` on the way. Raises ScenarioError, with
    ``name`` and the line, at the first fault.
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
    """Shorten a sentence that quotes a long line; its end says what to do."""
    return sentence if len(sentence) <= 400 else f"{sentence[:150]} … {sentence[-150:]}"
