"""Scenario files as text (rulebook section 12): ``parse`` turns the whole text into lines before any of it is used.

A ``Line`` holds a COMMAND row that is complete but for what only the venue knows: the numbers of the participant
and instrument it names, and its time. ``replay.scenario`` adds those. Syntax alone decides here: a value of any size
that fits 64 bits goes into the row as it is, because refusing it is the engine's part. A line that makes no row is an
error of the file, and so are the words of the rulebook that this release does not build (its section 13).

Beyond the rulebook, so that any journal can be printed: ``~`` and 16 hexadecimal digits stand for an id or name that
is none, and ``raw`` and 128 hexadecimal digits are one COMMAND row.
"""

import re
import struct
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from engine.names import EVERY
from engine.records import (
    Book,
    CommandKind,
    EventKind,
    Instruction,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
)
from replay.scenario_words import Fault, Time, duration_ns, id_number, price_e4, time_of, whole

#: The fifteen places of a COMMAND row, in the order of ``records.COMMAND_PLACES``.
ROW: Final = struct.Struct("<6q2IBbBBHBB")
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
    """One command of a file. ``row``: 64 bytes; participant, instrument and time are left 0 for the translation.

    participant, symbol: the names' numbers (``engine.names.pack``) where the row wants the numbers of the two.
    expected: the events that stand under it, as they are written, without the ``>``.
    """

    number: int
    text: str
    kind: int
    row: bytes
    participant: int
    symbol: int
    time: Time | None
    expected: list[str]


class Parts(NamedTuple):
    """What a command's words give: the places of the row that are used, and names still to be looked up."""

    places: dict[str, int]
    participant: int = 0
    symbol: int = 0


_PLACES: Final = (
    ("client_order_id", "name", "time_ns"),
    ("new_client_order_id", "symbol", "group"),
    ("price_e4", "reference_e4"),
    ("qty", "lot"),
    ("min_qty", "tick_e4", "duration_ns"),
    ("display_qty", "adv"),
    ("participant",),
    ("instrument",),
    ("kind",),
    ("side",),
    ("time_in_force",),
    ("self_trade",),
    ("instructions", "permissions"),
    ("book",),
    ("phase", "reason"),
)
_PLACE_OF: Final = {name: place for place, names in enumerate(_PLACES) for name in names}

#: Lines between two reports of progress: some hundredths of a second.
_PROGRESS_LINES: Final = 4_096
_RAW_ROW: Final = re.compile(r"[0-9a-fA-F]{128}")
_SIDES: Final = {side.name.lower(): int(side) for side in Side}
_TIFS: Final = {tif.name.lower(): int(tif) for tif in TimeInForce}
_SELF_TRADES: Final = {rule.name.lower(): int(rule) for rule in SelfTrade}
_BOOKS: Final = {book.name.lower(): int(book) for book in Book}
_PHASES: Final = {phase.name.lower(): int(phase) for phase in Phase}
_MASS_REASONS: Final = {reason.name.lower(): int(reason) for reason in (Reason.MASS_CANCEL, Reason.DISCONNECT)}
_PERMISSIONS: Final = {"market": int(Permission.MARKET), "stp_none": int(Permission.STP_NONE)}
#: Options that only say what every instrument of this release is.
_INSTRUMENT_IS: Final = {"books": "lit", "band": "off", "volatility": "off", "cancel_on_halt": "no"}
_NOT_BUILT: Final = "is not built in this release (rulebook section 13); take it out of the file"


def _code(word: str, codes: dict[str, int], what: str) -> int:
    try:
        return codes[word]
    except KeyError:
        raise Fault(f"{what} is {word!r}; write one of {', '.join(codes)}") from None


def _options(words: list[str], known: frozenset[str], later: frozenset[str], command: str) -> dict[str, str]:
    """The ``key=value`` and single-word options after the plain words; those of a later release are refused."""
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key in options:
            raise Fault(f"{key} stands twice; write it once")
        if key in later:
            raise Fault(f"{key}{equals} of {command} {_NOT_BUILT}")
        if f"{key}{equals}" not in known:
            raise Fault(f"{command} has no option {word!r}; it has {', '.join(sorted(known)) or 'none'}")
        if equals and not value:
            raise Fault(f"{key}= has no value; write one after the =")
        options[key] = value
    return options


def _plain(words: list[str], form: str) -> None:
    """Raises Fault unless there are as many plain words as in ``form``, with the same ``@``."""
    count, at = _shape(form)
    if len(words) < count or (at and words[at] != "@"):
        raise Fault(f"the command is not complete; its form is: {form}")


@cache
def _shape(form: str) -> tuple[int, int]:
    """How many words a form has, and which of them is the ``@``; 0 for none."""
    words = form.split()
    return len(words), words.index("@") if "@" in words else 0


def _market_or_limit(word: str) -> tuple[int, int]:
    """price_e4 and instruction bits of what stands after the ``@``."""
    return (0, int(Instruction.MARKET)) if word == "market" else (price_e4(word, "the price"), 0)


_ENTER_FORM: Final = "enter NAME ID buy|sell QTY SYM @ PRICE|market"
_ENTER_OPTIONS: Final = frozenset({"book=", "tif=", "display=", "hidden", "post_only", "min_qty=", "stp="})
_ENTER_LATER: Final = frozenset({"until", "stop", "peg", "offset"})


def _enter(words: list[str]) -> Parts:
    _plain(words, _ENTER_FORM)
    price, instructions = _market_or_limit(words[7])
    places = {
        "client_order_id": id_number(words[2], "the client order id"),
        "price_e4": price,
        "qty": whole(words[4], "the quantity"),
        "side": _code(words[3], _SIDES, "the side"),
        "time_in_force": int(TimeInForce.DAY),
        "self_trade": int(SelfTrade.CANCEL_NEWEST),
    }
    if len(words) > 8:
        options = _options(words[8:], _ENTER_OPTIONS, _ENTER_LATER, "enter")
        for key, bit in (("hidden", Instruction.HIDDEN), ("post_only", Instruction.POST_ONLY)):
            if key in options:
                instructions |= int(bit)
        for key, place, bit in (
            ("display", "display_qty", Instruction.DISPLAY),
            ("min_qty", "min_qty", Instruction.MIN_QTY),
        ):
            if key in options:
                places[place] = whole(options[key], key)
                instructions |= int(bit)
        for key, place, codes in (
            ("tif", "time_in_force", _TIFS),
            ("stp", "self_trade", _SELF_TRADES),
            ("book", "book", _BOOKS),
        ):
            if key in options:
                places[place] = _code(options[key], codes, key)
    places["instructions"] = instructions
    return Parts(places, id_number(words[1], "the participant"), id_number(words[5], "the symbol"))


def _cancel(words: list[str]) -> Parts:
    _plain(words, "cancel NAME ID")
    _options(words[3:], frozenset(), frozenset(), "cancel")
    return Parts(
        {"client_order_id": id_number(words[2], "the client order id")}, id_number(words[1], "the participant")
    )


def _replace(words: list[str]) -> Parts:
    _plain(words, "replace NAME ID NEWID QTY @ PRICE|market")
    price, instructions = _market_or_limit(words[6])
    places = {
        "client_order_id": id_number(words[2], "the client order id"),
        "new_client_order_id": id_number(words[3], "the new client order id"),
        "price_e4": price,
        "qty": whole(words[4], "the quantity"),
    }
    options = _options(words[7:], frozenset({"display="}), frozenset({"stop"}), "replace")
    if "display" in options:
        places["display_qty"] = whole(options["display"], "display")
        instructions |= int(Instruction.DISPLAY)
    places["instructions"] = instructions
    return Parts(places, id_number(words[1], "the participant"))


def _instrument(words: list[str]) -> Parts:
    form = "instrument SYM tick= lot= reference="
    _plain(words[:2], "instrument SYM")
    known = frozenset({"tick=", "lot=", "reference="} | {f"{key}=" for key in _INSTRUMENT_IS})
    options = _options(words[2:], known, frozenset({"adv"}), "instrument")
    for key, value in _INSTRUMENT_IS.items():
        if options.get(key, value) != value:
            raise Fault(f"{key}={options[key]} of instrument {_NOT_BUILT}")
    if not {"tick", "lot", "reference"} <= set(options):
        raise Fault(f"the command is not complete; its form is: {form}")
    return Parts(
        {
            "name": id_number(words[1], "the symbol"),
            "tick_e4": price_e4(options["tick"], "tick"),
            "lot": whole(options["lot"], "lot"),
            "reference_e4": price_e4(options["reference"], "reference"),
        }
    )


def _participant(words: list[str]) -> Parts:
    _plain(words, "participant NAME")
    options = _options(words[2:], frozenset({"group=", "allow="}), frozenset(), "participant")
    allow = options.get("allow", "market").split(",")
    if allow != ["none"] and len(set(allow)) != len(allow):
        raise Fault(f"allow= is {options['allow']!r}; write each permission once")
    permissions = 0 if allow == ["none"] else sum(_code(word, _PERMISSIONS, "allow=") for word in allow)
    group = id_number(options["group"], "the group") if "group" in options else 0
    return Parts({"name": id_number(words[1], "the participant"), "group": group, "permissions": permissions})


def _mass_cancel(words: list[str]) -> Parts:
    _plain(words, "mass_cancel NAME")
    options = _options(words[2:], frozenset({"symbol=", "side=", "reason="}), frozenset(), "mass_cancel")
    return Parts(
        {
            "name": id_number(words[1], "the participant"),
            "symbol": id_number(options["symbol"], "the symbol") if "symbol" in options else 0,
            "side": _code(options["side"], _SIDES, "side") if "side" in options else 0,
            "reason": _code(options.get("reason", "mass_cancel"), _MASS_REASONS, "reason"),
        }
    )


def _symbol_or_every(word: str) -> int:
    return EVERY if word == "*" else id_number(word, "the symbol")


def _phase(words: list[str]) -> Parts:
    _plain(words, "phase SYM|* PHASE")
    _options(words[3:], frozenset(), frozenset(), "phase")
    return Parts({"name": _symbol_or_every(words[1]), "phase": _code(words[2], _PHASES, "the phase")})


def _halt(words: list[str]) -> Parts:
    _plain(words, "halt SYM|*")
    options = _options(words[2:], frozenset({"for="}), frozenset(), "halt")
    duration = duration_ns(options["for"], "for") if "for" in options else 0
    return Parts({"name": _symbol_or_every(words[1]), "duration_ns": duration})


_BUILT: Final[dict[str, tuple[CommandKind, Callable[[list[str]], Parts]]]] = {
    "enter": (CommandKind.ENTER, _enter),
    "cancel": (CommandKind.CANCEL, _cancel),
    "replace": (CommandKind.REPLACE, _replace),
    "mass_cancel": (CommandKind.MASS_CANCEL, _mass_cancel),
    "instrument": (CommandKind.INSTRUMENT, _instrument),
    "participant": (CommandKind.PARTICIPANT, _participant),
    "phase": (CommandKind.PHASE, _phase),
    "halt": (CommandKind.HALT, _halt),
}
_LATER: Final = frozenset(
    {"venue", "limits", "index", "schedule", "cross", "resume", "kill", "unkill", "emergency_close"}
)


def command(text: str, number: int) -> Line:
    """The command of one line without its comment. Raises Fault."""
    words = text.split()
    word = words[0]
    built = _BUILT.get(word)
    if built is not None:
        kind, form = built
        parts = form(words)
        places = [0] * len(_PLACES)
        for name, value in parts.places.items():
            places[_PLACE_OF[name]] = value
        places[_PLACE_OF["kind"]] = int(kind)
        return Line(number, text, int(kind), ROW.pack(*places), parts.participant, parts.symbol, None, [])
    if word == "at":
        _plain(words, "at TIME")
        _options(words[2:], frozenset(), frozenset(), "at")
        return Line(number, text, int(CommandKind.CLOCK), b"", 0, 0, time_of(words[1]), [])
    if word == "raw":
        if len(words) != 2 or not _RAW_ROW.fullmatch(words[1]):
            raise Fault("raw wants one word of 128 hexadecimal digits, the 64 bytes of a COMMAND row")
        return Line(number, text, RAW, bytes.fromhex(words[1]), 0, 0, None, [])
    if word in _LATER:
        raise Fault(f"the command {word} {_NOT_BUILT}")
    raise Fault(f"there is no command {word!r}; the commands are {', '.join(sorted([*_BUILT, 'at', 'raw']))}")


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
