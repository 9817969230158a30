"""Content of a journal in the rulebook's notation: `lockstep events` and `lockstep commands`.

Events are not kept, they are caused again: the engine starts at the newest checkpoint before the first command
wanted, and plays on from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.node import check_name, plays
from engine.names import EVERY, Directory, pack
from engine.records import CommandKind, EventKind
from replay.objects import command_object, event_objects
from replay.scenario_print import Printer, print_event_values
from replay.times import ClockPosition, clock_at_each

#: The kinds that name an instrument, and those that name a participant.
_OF_SYMBOL: Final = (CommandKind.INSTRUMENT, CommandKind.PHASE, CommandKind.HALT, CommandKind.RESUME)
_OF_PARTICIPANT: Final = (
    *(CommandKind.PARTICIPANT, CommandKind.LIMITS, CommandKind.MASS_CANCEL),
    *(CommandKind.KILL, CommandKind.UNKILL),
)
#: The kinds that may name an instrument beside a participant.
_WITH_SYMBOL: Final = (CommandKind.MASS_CANCEL, CommandKind.LIMITS)


@dataclass(frozen=True)
class Selection:
    """Selection of rows: sequence numbers (both ends included), names, and kinds by their word."""

    from_seq: int
    to_seq: int | None
    symbol: str | None
    participant: str | None
    kinds: tuple[str, ...]

    def check(self) -> None:
        """Raise WrongUse for names that nothing can bear."""
        check_name(self.symbol, "instrument")
        check_name(self.participant, "participant")


def events(directory: Path, selection: Selection, *, with_seq: bool, as_json: bool) -> int:
    """`lockstep events`: one event a line."""
    kinds = _kinds(selection.kinds, EventKind)
    selection.check()
    names = Directory()
    for play, before, names in plays(directory, selection.from_seq, selection.to_seq, "replaying"):
        rows = play.events
        wanted = rows["seq"] >= selection.from_seq
        if kinds is not None:
            wanted &= np.isin(rows["kind"], kinds)
        if selection.symbol is not None:
            wanted &= rows["instrument"] == _number(names.symbols, selection.symbol)
        if selection.participant is not None:
            number = _number(names.participants, selection.participant)
            wanted &= (rows["participant"] == number) | (rows["contra_participant"] == number)
        chosen = rows[wanted]
        if as_json:
            clock_ns = clock_at_each(play.commands, ClockPosition(before.now_ns))[chosen["seq"] - play.first_seq]
            _write(screen.json_line(each) for each in event_objects(chosen, names, clock_ns))
        elif with_seq:
            _write(f"{print_event_values(values, names)}  # {values[0]}" for values in chosen.tolist())
        else:
            _write(print_event_values(values, names) for values in chosen.tolist())
    _check_names(selection, names, directory)
    return errors.FINE


def commands(directory: Path, selection: Selection, *, with_seq: bool, with_events: bool, as_json: bool) -> int:
    """`lockstep commands`: a scenario that runs again to the same rows, or one JSON object a line."""
    kinds = _kinds(selection.kinds, CommandKind)
    selection.check()
    names = Directory()
    printer: Printer | None = None
    for play, before, names in plays(directory, selection.from_seq, selection.to_seq, "replaying"):
        printer = printer or Printer(before)
        clock_ns = clock_at_each(play.commands, ClockPosition(before.now_ns))
        for first, last in _units(play.commands):
            seq = play.first_seq + first
            low, high = np.searchsorted(play.events["seq"], (seq, play.first_seq + last))
            rows, caused = play.commands[first:last], play.events[low:high]
            lines = printer.print_block(rows, caused, seq, with_events=with_events)
            if seq + len(rows) <= selection.from_seq or not _chosen(rows[-1], caused, names, selection, kinds):
                continue
            if as_json:
                time_ns = int(clock_ns[last - 1])
                events = event_objects(caused, names, np.full(len(caused), time_ns)) if with_events else None
                raw = [line.removeprefix("raw ") for line in lines if line.startswith("raw ")]
                told = command_object(list(rows), seq + len(rows) - 1, names, time_ns, raw=raw, events=events)
                screen.say_json(told)
            elif with_seq:
                _write([f"{lines[0]}  # {seq + len(rows) - 1}", *lines[1:]])
            else:
                _write(lines)
    _check_names(selection, names, directory)
    return errors.FINE


def _number(names: tuple[str, ...], name: str) -> int:
    """The number of a name; one that no row bears, if it is not known (0 in a row is nobody)."""
    return names.index(name) + 1 if name in names else 2**32 - 1


def _units(rows: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that make one command: an EXTEND row goes with the next."""
    first = 0
    extends = (rows["kind"] == CommandKind.EXTEND).tolist()
    for at, extends_next in enumerate(extends):
        if not extends_next or at == len(extends) - 1:
            yield first, at + 1
            first = at + 1


def _chosen(
    row: "np.void", caused: NDArray[Any], names: Directory, selection: Selection, kinds: NDArray[np.uint8] | None
) -> bool:
    if kinds is not None and row["kind"] not in kinds:
        return False
    if selection.symbol is not None:
        number = _number(names.symbols, selection.symbol)
        own = row["kind"] == CommandKind.ENTER and row["instrument"] == number
        word = row["symbol"] if row["kind"] in _WITH_SYMBOL else row["name"] if row["kind"] in _OF_SYMBOL else 0
        if not (own or int(word) in (pack(selection.symbol), EVERY) or (caused["instrument"] == number).any()):
            return False
    if selection.participant is not None:
        orders = row["kind"] in (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
        own = orders and row["participant"] == _number(names.participants, selection.participant)
        word = row["participant_name"] if row["kind"] == CommandKind.USER else row["name"]
        about = row["kind"] in (*_OF_PARTICIPANT, CommandKind.USER)
        if not (own or (about and int(word) in (pack(selection.participant), EVERY))):
            return False
    return True


def _kinds(words: tuple[str, ...], codes: type[EventKind] | type[CommandKind]) -> NDArray[np.uint8] | None:
    known = {code.name.lower(): int(code) for code in codes}
    for word in words:
        if word not in known:
            raise WrongUse(f"there is no kind {word!r}; the kinds are {', '.join(known)}")
    return np.array([known[word] for word in words], np.uint8) if words else None


def _check_names(selection: Selection, names: Directory, directory: Path) -> None:
    """An empty answer for a name that nobody bears is a wrong question."""
    for name, known, what in (
        (selection.symbol, names.symbols, "instrument"),
        (selection.participant, names.participants, "participant"),
    ):
        if name is not None and name not in known:
            some = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            raise WrongUse(
                f"there is no {what} {name} in {directory}; there " + (f"are {some}" if known else "is none")
            )


def _write(lines: Iterator[str] | list[str]) -> None:
    text = "\n".join(lines)
    if text:
        screen.say(text)
