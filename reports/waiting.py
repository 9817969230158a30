"""Commands that wait for their effect, as readers of commands and events follow them (ADR 44).

An enter, cancel or replace without an event of its own waits: any other has an answer. They have their effect in the
order in which they came, within the events of a clock value: each answer there is that of the next one. What follows
an answer is caused by the same command, up to the next answer, an order that expires or a phase that no breaker
brings. A breaker looks at trades, so that before the command traded no breaker closes an instrument. So a reader
needs neither the entry delay nor the clock. A close behind a trade may be a schedule's too: ``reports.schedules``.

``WaitingRows`` is a ring of such commands, each with the EXTEND row before it.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.form import ROW_WORDS
from engine.jit import called, inlined, word_of
from engine.records import COMMAND, EventKind, Phase, Reason

#: Numbers of a ring: its first place, how many wait, and for the clock value ``_SEQ`` the place of the command whose
#: effect is under way (-1: none), and whether that has traded.
_FIRST: Final = 0
_COUNT: Final = 1
_SEQ: Final = 2
_PLACE: Final = 3
_TRADED: Final = 4
_NUMBERS: Final = 5
#: Words of a place: of the EXTEND row, then of the command.
_PLACE_WORDS: Final = 2 * ROW_WORDS


class WaitingRows(NamedTuple):
    """A ring of commands that wait. ``rows`` and ``words`` are the same memory."""

    rows: NDArray[Any]  # COMMAND[2 * places]: EXTEND row and command
    words: NDArray[Any]  # int64[as many words]
    numbers: NDArray[Any]  # int64[5]


def new_waiting(places: int) -> WaitingRows:
    """A ring with nothing in it. The system provides memory as it is first written."""
    rows = np.zeros(2 * places, COMMAND)
    return WaitingRows(rows, rows.view(np.int64), np.zeros(_NUMBERS, np.int64))


@inlined
def is_answer(event):
    """True if an event is the answer to an enter, cancel or replace."""
    kind = np.int64(event["kind"])
    if kind == EventKind.CANCELED:
        reason = np.int64(event["reason"])
        return reason == Reason.USER or reason == Reason.REPLACED
    return (
        kind == EventKind.ACCEPTED
        or kind == EventKind.REJECTED
        or kind == EventKind.REPLACED
        or kind == EventKind.CANCEL_REJECTED
    )


@inlined
def ends_effect(event, traded):
    """True if an event of a clock value is caused by no command that waited, nor what follows it.

    traded: whether the command before it has traded. A phase is such an event, but for ``closed`` after a trade, since
    a breaker may take an instrument there.
    """
    kind = np.int64(event["kind"])
    if kind == EventKind.PHASE:
        return np.int64(event["phase"]) != Phase.CLOSED or not traded
    return kind == EventKind.CANCELED and np.int64(event["reason"]) == Reason.EXPIRED


@inlined
def next_waiting(numbers):
    """Place of the command that is due first; -1: none waits."""
    return numbers[_FIRST] if numbers[_COUNT] > 0 else np.int64(-1)


@inlined
def under_way(numbers):
    """Place of the command whose effect is under way; -1: none."""
    return numbers[_PLACE]


@inlined
def end_effect(numbers):
    """End the effect under way: no command that waited causes what follows, up to the next answer."""
    numbers[_PLACE] = -1


@called
def put_waiting(words, numbers, command, extend):
    """A command waits; with no place left it takes that of the one that is due first. Gives its place."""
    places = len(words) // _PLACE_WORDS
    place = (numbers[_FIRST] + numbers[_COUNT]) % places
    at = _PLACE_WORDS * place
    for word in range(ROW_WORDS):
        words[at + word] = word_of(extend, word)
        words[at + ROW_WORDS + word] = word_of(command, word)
    if numbers[_COUNT] < places:
        numbers[_COUNT] += 1
    else:
        numbers[_FIRST] = (numbers[_FIRST] + 1) % places
    return place


@called
def effect_of(words, numbers, event):
    """Place of the command that waited and causes an event of a clock value; -1: none does."""
    if numbers[_SEQ] != event["seq"]:
        numbers[_SEQ] = event["seq"]
        numbers[_PLACE] = -1
        numbers[_TRADED] = 0
    if np.int64(event["kind"]) == EventKind.TRADE:
        numbers[_TRADED] = 1
    elif is_answer(event):
        numbers[_PLACE] = -1
        numbers[_TRADED] = 0
        if numbers[_COUNT] > 0:
            numbers[_PLACE] = numbers[_FIRST]
            numbers[_FIRST] = (numbers[_FIRST] + 1) % (len(words) // _PLACE_WORDS)
            numbers[_COUNT] -= 1
    elif ends_effect(event, numbers[_TRADED] != 0):
        numbers[_PLACE] = -1
    return numbers[_PLACE]


def waiting_image(waiting: WaitingRows) -> NDArray[np.uint8]:
    """The commands that wait, with their EXTEND rows, in order: for an image."""
    kept = waiting.words.reshape(-1, _PLACE_WORDS)[places_of(waiting)]
    return kept.view(np.uint8).reshape(-1)


def places_of(waiting: WaitingRows) -> NDArray[np.int64]:
    """Places of the commands that wait, in order."""
    first, count = int(waiting.numbers[_FIRST]), int(waiting.numbers[_COUNT])
    return (first + np.arange(count)) % (len(waiting.rows) // 2)


def restore_waiting(waiting: WaitingRows, image: NDArray[np.uint8]) -> None:
    """Take the commands of an image. Raises ValueError where there is no room for them."""
    kept = np.ascontiguousarray(image).view(np.int64)
    if len(kept) > len(waiting.words):
        raise ValueError(f"it has {len(kept) // _PLACE_WORDS} commands that wait, more than there is room for")
    waiting.words[: len(kept)] = kept
    waiting.numbers[:] = 0, len(kept) // _PLACE_WORDS, 0, -1, 0
