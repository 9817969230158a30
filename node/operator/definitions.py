"""Sentences for the operator about what an answer of the market leaves open.

The market rejects the second definition of an instrument, an index or a participant with ``invalid_command``, as for a
value out of bounds. The second definition of a user changes that user. The sentences tell the operator which it was,
which names there are where one is unknown, and that the time of a schedule had passed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from engine.bounds import SECOND_NS
from engine.interface import MarketEngine
from engine.names import EVERY, Directory, unpack
from engine.records import CommandKind, EventKind, Permission, Phase, Reason, UserPermission
from node.core.control import NodeControl, SubmissionResult
from notation.faults_of_definitions import refusal_of, rows_before
from notation.words import duration, percent, price, there_are
from notation.words import time as time_word

#: Kinds whose second definition is refused.
_UNCHANGED: Final = (CommandKind.INSTRUMENT, CommandKind.PARTICIPANT, CommandKind.INDEX)
#: Kinds of which a value may be out of bounds, as a sentence says.
_SAID: Final = (*_UNCHANGED, CommandKind.VENUE, CommandKind.USER)
#: Kinds whose reject has the unknown name itself; that of an order is in the EXTEND row before it.
_NAMING: Final = (
    *(CommandKind.LIMITS, CommandKind.MASS_CANCEL, CommandKind.PHASE, CommandKind.SCHEDULE, CommandKind.HALT),
    *(CommandKind.RESUME, CommandKind.KILL, CommandKind.UNKILL, CommandKind.USER, CommandKind.INDEX),
)


def not_there(kind: str, name: str, known: Sequence[str]) -> str:
    """Sentence on an instrument or participant that is not defined, with those that are.

    >>> not_there("instrument", "NOPE", ["ABC", "XYZ"])
    'there is no instrument NOPE; there are ABC, XYZ'
    >>> not_there("instrument", "NOPE", [])
    'there is no instrument NOPE; none is defined'
    """
    return f"there is no {kind} {name}; {there_are(known)}"


def of_instrument(engine: MarketEngine, symbol: str) -> str:
    """Values of an instrument's definition in words; "" for an unknown one.

    Views lack the daily volume, and whether a halt cancels.
    """
    symbols = engine.directory.symbols
    if symbol not in symbols:
        return ""
    row = engine.instruments()[symbols.index(symbol)]
    words = [f"tick={price(int(row['tick_e4']))} lot={row['lot']} reference={price(int(row['reference_e4']))}"]
    words += ["books=lit,midpoint"] if row["midpoint"] else []
    words += [f"band={percent(int(row['band']) - 1)}"] if row["band"] else []
    if row["volatility"]:
        window, halt = duration(int(row["volatility_window_s"]) * SECOND_NS), duration(int(row["volatility_halt_ns"]))
        words.append(f"volatility={percent(int(row['volatility']) - 1)}/{window}/{halt}")
    return " ".join(words)


def of_participant(engine: MarketEngine, name: str) -> str:
    """Permissions of a participant's definition in words; "" for an unknown one. Views lack the group."""
    names = engine.directory.participants
    if name not in names:
        return ""
    permissions = int(engine.participants()[names.index(name)]["permissions"])
    return f"allow={_words({bit: str(bit.name).lower() for bit in Permission}, permissions)}"


def of_index(engine: MarketEngine, name: str) -> str:
    """The state of an index in words; "" for an unknown one."""
    found = [row for row in engine.indices() if unpack(int(row["name"])) == name]
    return f"{found[0]['members']} members, opening value {price(int(found[0]['opening_e4']))}" if found else ""


def of_user(row: Any) -> str:
    """Values of a USER row in words."""
    firm = f" firm={unpack(int(row['firm']))}" if row["firm"] else ""
    words = {
        UserPermission.ENABLED: "login",
        UserPermission.CANCEL_ON_DISCONNECT: "cancel_on_disconnect",
        UserPermission.NEWEST_WINS: "newest_wins",
    }
    return f"participant={unpack(int(row['participant_name']))}{firm} allow={_words(words, int(row['permissions']))}"


def _words(words: Mapping[Any, str], permissions: int) -> str:
    return ",".join(word for bit, word in words.items() if permissions & bit) or "none"


def existing_users(rows: Any, node: NodeControl, most: int) -> list[str]:
    """Sentences on existing users that COMMAND rows redefine, ``most`` at most.

    Call it before the rows are submitted.
    """
    names = [unpack(int(row["name"])) for row in rows[rows["kind"] == CommandKind.USER][:most]]
    known = {name: node.definition(CommandKind.USER, name) for name in names}
    return [
        f"user {name} existed already with {words}; it has the new values now" for name, words in known.items() if words
    ]


def refused_definitions(done: SubmissionResult, node: NodeControl, most: int) -> list[str]:
    """Sentences on definitions that were rejected for a value out of bounds, an existing name, or commands that wait,
    ``most`` at most.
    """
    invalid = (done.events["kind"] == EventKind.REJECTED) & (done.events["reason"] == Reason.INVALID_COMMAND)
    places = done.events["seq"][invalid] - done.first_seq
    sentences = []
    for at in places[np.isin(done.commands["kind"][places], _SAID)].tolist():
        row = done.commands[at]
        kind, name = CommandKind(int(row["kind"])), unpack(int(row["name"]))
        words = node.definition(kind, name) if kind in _UNCHANGED else ""
        if words:
            sentences.append(f"{kind.name.lower()} {name} exists already with {words}, and stays as it is")
        elif said := refusal_of(row, *rows_before(done.commands, at)):
            sentences.append(said)
        if len(sentences) == most:
            break
    return sentences


def unknown_names(done: SubmissionResult, directory: Directory, most: int) -> list[str]:
    """Sentences on names in rejected commands that are not defined, each once, ``most`` at most."""
    reasons = (Reason.UNKNOWN_INSTRUMENT, Reason.UNKNOWN_PARTICIPANT)
    events = done.events[(done.events["kind"] == EventKind.REJECTED) & np.isin(done.events["reason"], reasons)]
    sentences: dict[str, None] = {}
    for event in events:
        at = int(event["seq"]) - done.first_seq
        is_symbol = event["reason"] == Reason.UNKNOWN_INSTRUMENT
        if done.commands["kind"][at] in _NAMING:
            number = int(event["client_order_id"])
        else:
            extend, _ = rows_before(done.commands, at)
            number = int(extend["symbol" if is_symbol else "name"]) if extend is not None else 0
        if not number:
            continue
        kind, known = ("instrument", directory.symbols) if is_symbol else ("participant", directory.participants)
        sentences[not_there(kind, unpack(number), known)] = None
        if len(sentences) == most:
            break
    return list(sentences)


def past_schedules(done: SubmissionResult, now_ns: int, most: int) -> list[str]:
    """Sentences on schedules whose time had passed by ``now_ns`` when the market took them, ``most`` at most."""
    at = np.flatnonzero((done.commands["kind"] == CommandKind.SCHEDULE) & (done.commands["due_ns"] <= now_ns))
    refused = done.events["seq"][done.events["kind"] == EventKind.REJECTED] - done.first_seq
    names = {EVERY: "every instrument"}
    return [
        f"the time {time_word(int(row['due_ns']))} for the phase {Phase(int(row['phase'])).name.lower()} of "
        f"{names.get(int(row['name'])) or unpack(int(row['name']))} has passed, so it comes at once; give the date of "
        "a day to come"
        for row in done.commands[at[~np.isin(at, refused)]][:most]
    ]
