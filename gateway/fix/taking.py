"""Kernel that takes a block from the tape to the records of users: of a few rows, as one message makes them.

It reads the block, has the fold make its reports (``reports.fold``), and the records made of them (``telling``). What
is not usual it leaves as it was, or where it is: the streams go on in Python, and come to the same (``FixStreams``).
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import Linked, Packed, call_by_address, called, inlined, unpack_pointers
from engine.records import COMMAND, EVENT
from gateway.fix.kept_orders import KeptOrders
from gateway.fix.telling import DONE, Telling, example_of_telling, survey, tell_reports
from reports.fold import make_reports
from reports.projection import Reports, read_only
from tape.blocks import (
    AT,
    BLOCK,
    COMMANDS,
    EVENTS,
    FIRST_SEQ,
    HEAD_WORDS,
    LENGTH,
    MINE,
    SLOT,
    WORDS,
    is_overrun,
    no_tape,
    read_head,
    unpack_tape,
)
from tape.machine import copy_words, load_acquire, store_release
from tape.places import READER_POSITION, TAPE_WORDS, Place

#: Longest block: one message makes few rows. Those of many are taken by kernels of their own, where that costs nothing.
COMMANDS_MAX: Final = 64
EVENTS_MAX: Final = 256
#: Outcomes: the block is as it was; all of it is taken; its reports are Python's from some place on.
OTHER, WHOLE, PART = range(3)
#: Places of ``Taking.words``: commands and events of the block; command and event up to which reports are made, and
#: their number; reports that are told; groups of records; kind of the last command.
BLOCK_COMMANDS, BLOCK_EVENTS, MADE_AT, MADE_N, MADE, TOLD, GROUPS, LAST_KIND, REPORTS_MAX, MAKE_REPORTS = range(10)
_PLACES: Final = 10
_RELEASED: Final = int(Place.RELEASED)
_COMMAND_WORDS, _EVENT_WORDS = COMMAND.itemsize // 8, EVENT.itemsize // 8


class Taking(NamedTuple):
    """Memory of the kernel. The rows stand twice: as words that are written, and as rows that are read."""

    words: np.ndarray[Any, Any]  # int64[_PLACES]
    command_words: np.ndarray[Any, Any]  # int64[8 * COMMANDS_MAX]
    commands: np.ndarray[Any, Any]  # COMMAND[COMMANDS_MAX], the same memory
    event_words: np.ndarray[Any, Any]  # int64[8 * EVENTS_MAX]
    events: np.ndarray[Any, Any]  # EVENT[EVENTS_MAX], the same memory
    answered: np.ndarray[Any, Any]  # uint8[COMMANDS_MAX]
    carried: np.ndarray[Any, Any]  # COMMAND[1]: last row of the block before, that of ``Telling``
    carried_words: np.ndarray[Any, Any]  # int64[8], the same memory


def new_taking(fold: Reports, telling: Telling) -> Taking:
    """Memory beside a fold and the tables that tell of its reports."""
    command_words, event_words = (
        np.zeros(COMMANDS_MAX * _COMMAND_WORDS, np.int64),
        np.zeros(EVENTS_MAX * _EVENT_WORDS, np.int64),
    )
    taking = Taking(
        words=np.zeros(_PLACES, np.int64),
        command_words=command_words,
        commands=read_only(command_words.view(COMMAND)),
        event_words=event_words,
        events=read_only(event_words.view(EVENT)),
        answered=np.zeros(COMMANDS_MAX, np.uint8),
        carried=telling.carried,
        carried_words=telling.carried.view(np.uint8).view(np.int64),
    )
    kernel = _REPORTS_KERNEL.address(*fold.pointers, 1, taking.commands, taking.events, 0, 0, 0, 1)
    taking.words[MAKE_REPORTS], taking.words[REPORTS_MAX] = kernel, -len(fold.room)
    return taking


def example_of_taking() -> Taking:
    """Arrays of the types and shapes of such memory, for ``unpack_pointers``. No kernel is compiled for it."""
    rows = np.zeros(8, np.int64)
    return Taking(
        np.zeros(_PLACES, np.int64),
        rows,
        read_only(rows.view(COMMAND)),
        rows,
        read_only(rows.view(EVENT)),
        np.zeros(1, np.uint8),
        np.zeros(1, COMMAND),
        rows,
    )


_unpack = unpack_pointers(example_of_taking())
#: The kernel of the fold, called by its address.
_REPORTS_KERNEL: Final = Linked(make_reports, 3)
_reports: Final = call_by_address(3)


@inlined
def _copies(tape, taking, position, seq):
    """Copy the rows of the block whose head was read; False where it is Python's, or was overwritten meanwhile."""
    head = tape.head
    commands, events = head[COMMANDS], head[EVENTS]
    if head[FIRST_SEQ] != seq + 1 or commands < 1 or commands > COMMANDS_MAX or events > EVENTS_MAX:
        return False
    at = (position & (tape.size[WORDS] - 1)) + HEAD_WORDS
    copy_words(taking.command_words, np.int64(0), tape.data, at, commands * _COMMAND_WORDS)
    at += commands * _COMMAND_WORDS
    copy_words(taking.event_words, np.int64(0), tape.data, at, events * _EVENT_WORDS)
    return not is_overrun(tape, position)


@called
def take_block(taking_at, tape_at, tables_at, room_at, telling_at, kept_at, seq, highest_e4):
    """Take the block behind command ``seq``, at which the reader of the tape stands; OTHER, WHOLE or PART.

    All are pointers (``jit.Packed``): of ``Taking``, of the tape, of tables and room of the fold, of ``Telling``, and
    of the kept orders. At OTHER nothing was taken: nothing is released, or the block is for Python.
    """
    taking, tape = _unpack(taking_at), unpack_tape(tape_at)
    words, mine, head = taking.words, tape.mine, tape.head
    released = load_acquire(tape.words, _RELEASED)
    if released <= seq:
        return np.int64(OTHER)
    result, position = read_head(tape, mine[AT])
    if result != BLOCK or head[FIRST_SEQ] + head[COMMANDS] - 1 > released or not _copies(tape, taking, position, seq):
        return np.int64(OTHER)
    count = head[COMMANDS]
    commands, events = taking.commands[:count], taking.events[: head[EVENTS]]
    taking.answered[:count] = 0
    unanswered, signed = survey(commands, taking.carried, events, seq + 1, taking.answered[:count])
    if unanswered != 0 or signed != 0:
        return np.int64(OTHER)
    mine[AT] = position + head[LENGTH]
    if mine[SLOT] != 0:
        store_release(tape.words, mine[SLOT] + READER_POSITION, mine[AT])
    at, n, made = _reports(
        words[MAKE_REPORTS],
        (tables_at, room_at, seq + 1, commands, events, np.int64(0), np.int64(0), np.int64(0), words[REPORTS_MAX]),
    )
    told, _, groups, why = tell_reports(telling_at, kept_at, commands, seq + 1, np.int64(0), made, highest_e4)
    copy_words(taking.carried_words, np.int64(0), taking.command_words, _COMMAND_WORDS * (count - 1), _COMMAND_WORDS)
    words[BLOCK_COMMANDS], words[BLOCK_EVENTS] = count, head[EVENTS]
    words[MADE_AT], words[MADE_N], words[MADE] = at, n, made
    words[TOLD], words[GROUPS] = told, groups
    words[LAST_KIND] = np.int64(commands[count - 1]["kind"])
    return np.int64(WHOLE if at == count and told == made and why == DONE else PART)


def compile_taking(fold: Reports) -> None:
    """Compile or load the kernel: it takes nothing."""
    telling = Packed(example_of_telling())
    taking = Packed(new_taking(fold, telling.arrays))
    tape = Packed(no_tape()._replace(words=np.zeros(TAPE_WORDS, np.int64), mine=np.zeros(MINE, np.int64)))
    take_block(taking.pointers, tape.pointers, *fold.pointers, telling.pointers, KeptOrders().pointers, 0, 0)
