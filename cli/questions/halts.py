"""Cause of the halt, phase or kill that a command met: the command that brought it, and what that met.

The last such event is looked up in the event index, where there is one. Without it the newest commands are
replayed, and no more than ``_COMMANDS_MAX``: further back nothing is looked for, and the user is told.
"""

from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from cli import screen
from cli.questions.explanation import Stood, explained
from cli.questions.reading import plays, rebuilt_at
from cli.warmup import ready
from engine.names import pack
from engine.records import CommandKind, EventKind
from journal import JournalError
from journal.history import History
from node.core.halts_in_journal import is_list
from notation.moments import plain_time
from replay.errors import ReplayError
from replay.event_index import EventIndex, open_index
from replay.moments import Moments
from replay.rebuild import owned_rows

Facts = dict[str, Any]

#: Commands that are looked through first; each further look has so many times as many before them.
_COMMANDS: Final = 4_096
_TIMES: Final = 8
#: Commands that are replayed at most, about a second of work.
_COMMANDS_MAX: Final = 1_000_000
#: Commands behind a halt of a node among which its list begins: the other halts that it orders at once.
_LIST_BEHIND: Final = 1 << 16
_BY_NODE: Final = "the node itself halted it, as for little room on its disk or a drain"


class _Sought(NamedTuple):
    """Event that is looked for: its kind, the place that names whom it is of, and that number. ``words``: for it."""

    kind: EventKind
    place: str
    number: int
    words: str


def cause_of_halt(directory: Path, seq: int, symbol: str, number: int) -> Facts | None:
    """The last halt of an instrument up to a command: its command, its words and why; None where history lacks it.

    symbol, number: of the instrument.
    """
    found = _cause(directory, seq, _Sought(EventKind.HALTED, "instrument", number, "halt"), symbol)
    return None if found is None else {key: found[key] for key in ("seq", "time", "text", "because")}


def name_cause(directory: Path, explanation: Facts) -> Facts | None:
    """Say with a refusal which command halted or killed, or brought the phase; gives it, None where there is none or
    it is not found. ``explanation``: of ``explained``."""
    refused, stood = explanation["refused"], explanation["stood"]
    sought = None if refused is None else _sought(refused["reason"], stood)
    if sought is not None and sought.kind == EventKind.KILLED and explanation["command"]["kind"] == "cross":
        return None  # one of three participants is killed, and the refusal does not say which
    effect = explanation["effect"]
    said = explanation["consequences"] if effect is None else effect["consequences"]
    refusal = next((each for each in said if each["event"]["kind"] in ("rejected", "cancel_rejected")), None)
    if sought is None or not sought.number or refusal is None:
        return None
    name = None if sought.place == "participant" else _symbol(directory, stood)
    found = _cause(directory, stood.seq, sought, name)
    if found is not None:
        because = f" ({found['because']})" if found["because"] else ""
        since = f"since command {screen.count(found['seq'])} at {plain_time(found['time'])}: {found['text']}{because}"
        refusal["because"] += f"; {since}, rulebook section {found['section']}"
    return found


def _sought(reason: str, stood: Stood) -> _Sought | None:
    """The event that brought what a command was refused for; None for a refusal without one."""
    if reason == "halted":
        return _Sought(EventKind.HALTED, "instrument", stood.instrument, "halt")
    if reason in ("closed", "not_continuous", "not_auction"):
        return _Sought(EventKind.PHASE, "instrument", stood.instrument, "phase")
    if reason == "killed":
        return _Sought(EventKind.KILLED, "participant", stood.participant, "kill")
    return None


def _symbol(directory: Path, stood: Stood) -> str:
    """Symbol of the instrument that a command met."""
    symbols: tuple[str, ...] = rebuilt_at(directory, str(stood.seq), ids=False).engine.directory.symbols
    return symbols[stood.instrument - 1]


def _cause(directory: Path, seq: int, sought: _Sought, symbol: str | None) -> Facts | None:
    """The last event that is sought up to a command, with its time, its section and why; None where it is not found.

    symbol: of its instrument; None for an event of a participant.
    """
    try:
        by_seq = _last_of(directory, seq, sought)
        if by_seq is None:
            return None
        explanation = explained(directory, Moments(directory, ids=False), by_seq)
        is_own = symbol is not None and sought.kind == EventKind.HALTED and _is_of_node(directory, by_seq, symbol)
    except (JournalError, ReplayError):  # the book is there, from a checkpoint; what came before it cannot be read
        return None
    effect = explanation["effect"]
    for each in (explanation["consequences"] if effect is None else effect["consequences"])[::-1]:
        event = each["event"]
        if event["kind"] == sought.kind.name.lower() and symbol in (None, event["symbol"]):
            found = {"seq": event["seq"], "time": event["time"], "text": each["text"], "because": each["because"]}
            if is_own and event["reason"] == "command":
                found["because"] = _BY_NODE
            return found | {"section": each["section"], "link": each["link"]}
    return None


def _is_of_node(directory: Path, seq: int, symbol: str) -> bool:
    """True if a HALT command is one that a node has ordered for itself: a list with the instrument stands behind it
    and other halts. Raises JournalError."""
    with History.open(directory) as history:
        journal = history.slice_of(seq)
        for block in journal.blocks(seq, min(seq + _LIST_BEHIND, journal.last_seq)):
            rows = owned_rows(block.rows)[max(0, seq - block.first_seq) :]
            lists = is_list(rows)
            named = lists & ((rows["symbol"] == pack(symbol)) | (rows["further_symbol"] == pack(symbol)))
            if named.any():
                return True
            if not (lists | (rows["kind"] == CommandKind.HALT)).all():
                return False
    return False


def _last_of(directory: Path, seq: int, sought: _Sought) -> int | None:
    """Command that caused the last event that is sought; None where it is not found."""
    with History.open(directory) as history:
        first_seq = history.there_from_seq
        with screen.Bar(f"looking for the {sought.words}") as bar:
            index = open_index(history, first_seq, seq, prepare=ready, progress=bar.to, makes=False)
        if index is not None:
            return _indexed(index, seq, sought)
    least_seq = max(first_seq, seq - _COMMANDS_MAX + 1)
    end, commands = seq, _COMMANDS
    while end >= least_seq:
        begin = max(end - commands + 1, least_seq)
        found = None
        with closing(plays(directory, begin, end, f"looking for the {sought.words}", again=True)) as blocks:
            for block in blocks:
                events = block.play.events
                found_here = (events["kind"] == sought.kind) & (events[sought.place] == sought.number)
                seqs = events["seq"][found_here & (events["seq"] <= end)]
                found = int(seqs[np.argmax(seqs)]) if len(seqs) else found
        if found is not None:
            return found
        end, commands = begin - 1, commands * _TIMES
    if least_seq > first_seq:
        screen.notice(
            f"note: the {sought.words} began before command {screen.count(least_seq)}, and its cause was not looked "
            f"for there; `lockstep journal index {directory}` makes an index that finds it"
        )
    return None


def _indexed(index: EventIndex, seq: int, sought: _Sought) -> int | None:
    """The same out of an index."""
    for part in reversed(index.parts):
        for piece in reversed(part.pieces):
            if piece.first_seq > seq:
                continue
            halted = piece.column("kind").among(np.array([int(sought.kind)]))
            halted &= piece.column(sought.place).among(np.array([sought.number]))
            seqs = piece.column("seq").at(np.flatnonzero(halted))
            seqs = seqs[seqs <= seq]
            if len(seqs):
                return int(seqs[-1])
    return None
