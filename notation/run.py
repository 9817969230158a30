"""Scenario files as tests: events of each command against the expected ones (rulebook section 12).

All events of a command count, in order; of each event only the written words are compared. Plain words are compared
from the left as far as written, ``key=value`` pairs wherever they stand, and prices as numbers.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol

import numpy as np

from engine.names import Directory
from engine.row_bytes import event_values
from notation.parse import Line
from notation.print import print_event_values
from notation.translate import Translator
from notation.words import Fault, price_e4


class Venue(Protocol):
    """The engine as a scenario uses it; both engines have it."""

    @property
    def seq(self) -> int: ...

    @property
    def directory(self) -> Directory: ...

    def apply(self, commands: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]": ...


class CommandOutcome(NamedTuple):
    """One command of a scenario. expected, got: events without the ``>``. compared: True if they had to agree."""

    line: Line
    expected: list[str]
    got: list[str]
    compared: bool

    @property
    def passed(self) -> bool:
        """True if the events are the expected ones, or none are given."""
        return not self.compared or events_agree(self.expected, self.got)


class Outcome(NamedTuple):
    """A scenario after its run, command by command."""

    name: str
    commands: list[CommandOutcome]

    @property
    def passed(self) -> bool:
        """True if every command caused the expected events."""
        return all(command.passed for command in self.commands)


def event_agrees(expected: str, got: str) -> bool:
    """True if an event agrees with its expectation in a file.

    >>> event_agrees("trade XYZ 100 @ 10.0 incoming=c1", "trade XYZ 100 @ 10.00 resting=b1 incoming=c1")
    True
    >>> event_agrees("canceled b1 reason=ioc qty=40", "canceled b1 qty=50 reason=ioc")
    False
    """
    wanted, want_pairs = _words(expected)
    words, pairs = _words(got)
    return len(wanted) <= len(words) and wanted == words[: len(wanted)] and want_pairs <= pairs


def _words(event: str) -> tuple[list[str | int], set[str]]:
    """The plain words, prices as numbers, and the ``key=value`` pairs."""
    plain: list[str | int] = []
    pairs = set()
    for word in event.split():
        if "=" in word:
            pairs.add(word)
        elif plain and plain[-1] == "@":
            plain.append(_price(word))
        else:
            plain.append(word)
    return plain, pairs


def _price(word: str) -> str | int:
    try:
        return price_e4(word, "the price")
    except Fault:
        return word  # "none", or a price that no event has: it agrees with nothing but itself


def events_agree(expected: Sequence[str], got: Sequence[str]) -> bool:
    """True if all events of a command agree, in order."""
    return len(expected) == len(got) and all(event_agrees(*pair) for pair in zip(expected, got, strict=True))


def run_scenario(lines: list[Line], engine: Venue, *, compare: bool, name: str = "scenario") -> Outcome:
    """Apply the lines to ``engine`` and set each command's events beside those of the file.

    ``compare``: True if commands without events in the file must cause none. False makes the file an input: only the
    commands that have events under them are compared. Raises ScenarioError when the clock would go back.
    """
    translator = Translator(lines, engine.directory, name)
    got: list[list[str]] = [[] for _ in lines]
    unasked: list[str] = []  # events of the implicit first clock
    while (batch := translator.next_batch(engine.directory)) is not None:
        first_seq = engine.seq + 1
        events = engine.apply(batch.rows)
        directory = engine.directory
        for values in event_values(events):
            owner = batch.lines[values[0] - first_seq]
            (got[owner] if owner >= 0 else unasked).append(print_event_values(values, directory)[2:])
    if unasked and got:
        got[0][:0] = unasked
    commands = [
        CommandOutcome(line, line.expected, events, compare or bool(line.expected))
        for line, events in zip(lines, got, strict=True)
    ]
    return Outcome(name, commands)


def is_test(lines: list[Line]) -> bool:
    """True if a file has expected events; one without is an input, not a test."""
    return any(line.expected for line in lines)


def beside(command: CommandOutcome) -> list[tuple[str, str, bool]]:
    """Rows for a display: expected event, actual event, and True if they agree; empty if one is missing."""
    return [
        (want, came, bool(want) and bool(came) and event_agrees(want, came))
        for want, came in zip_longest(command.expected, command.got, fillvalue="")
    ]
