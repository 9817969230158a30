"""Rows as scenario text (rulebook section 12): what ``notation.translate`` reads again to the same rows, byte for byte.

A row is first written in words, then read back; if the bytes differ (a hostile row, an unknown number, a clock that
went back), the row is written as ``raw`` and its 64 bytes. So the promise does not depend on the words. A printed
journal that begins without a clock begins with a ``raw`` line, because any other would be given the implicit first
clock.
"""

from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np

from engine.names import Directory, unpack
from engine.records import (
    RULES_VERSION,
    CommandKind,
    EventKind,
    Limit,
    Phase,
    Reason,
    Side,
    limit_bits,
)
from engine.row_bytes import EVENT_ROW, ROW, clock_row, event_values
from notation.parse import NAMED, command
from notation.patterns import Patterns
from notation.table import BY_KIND, FLAG, LIMIT_BITS, LIMITS, PLACE_OF, Command, Field
from notation.translate import Clock, Numbers
from notation.words import Fault, price

#: Limits with their bits as numbers.
_LIMIT_FIELDS: Final = [(each, int(each.limit)) for each in LIMITS]
_NOT_EXTENDED: Final = (0, 0, 0, 0, 0, 0)
_SIDES: Final = {int(side): side.name.lower() for side in Side}
_PHASES: Final = {int(phase): phase.name.lower() for phase in Phase}
_REASONS: Final = {int(reason): reason.name.lower() for reason in Reason}
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
_KILLS: Final = (EventKind.KILLED, EventKind.UNKILLED)
_EVENTS: Final = {int(kind): kind.name.lower() for kind in EventKind}


def limit_texts(bits: int, values: tuple[int, ...]) -> dict[str, str]:
    """Each limit of ``bits`` by its word, with its value as section 12 writes it, of RESTRICTED "".

    ``values``: in the order of ``LIMIT_BITS``.

    >>> from engine.records import Limit
    >>> limit_texts(Limit.CREDIT | Limit.RESTRICTED, (0, 0, 0, 0, 0, 50_000, 0, 0, 0, 0))
    {'credit': '5.00', 'restricted': ''}
    """
    texts, at = {}, 0
    for limit, bit in _LIMIT_FIELDS:
        numbers = values[at : at + len(limit.places)]
        at += len(limit.places)
        if bits & bit:
            texts[limit.key] = limit.value.write(*numbers)
    return texts


def limit_words(limits: dict[str, Any]) -> str:
    """Limits (``notation.objects.limits_object``) as words of section 12; "" for none.

    >>> from notation.objects import limits_object
    >>> limit_words(limits_object(Limit.MAX_ORDER_QTY | Limit.RESTRICTED, (100, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    'max_order_qty=100 restricted'
    """
    bits = sum({bit for key, bit in LIMIT_BITS.items() if limits[key] is not None})
    bits |= int(Limit.RESTRICTED) if limits["restricted"] else 0
    texts = limit_texts(bits, tuple(limits[key] or 0 for key in LIMIT_BITS))
    return " ".join(f"{word}={text}" if text else word for word, text in texts.items())


def command_text(values: tuple[int, ...], extended: tuple[int, ...], directory: Directory) -> str:
    """A COMMAND row in the notation, given the EXTEND row before it; "" where it has no words."""
    found = BY_KIND.get(values[8])
    if found is None or values[6] > len(directory.participants) or values[7] > len(directory.symbols):
        return ""
    bits = values[12]
    words = [found.word]
    for field in _layout(found):
        if field is None:
            words.append("@")
        else:
            words.append(
                field.instead if field.instead and bits & field.bit else _word(field, values, extended, directory)
            )
    words += option_words(found, values, extended)
    if found.limits:
        named, off = limit_bits(*values[12:15])
        for limit in found.limits:
            if named & off & limit.limit:
                words.append(f"{limit.key}={'off' if limit.places else 'no'}")
            elif named & limit.limit:
                row = extended if limit.extended else values
                text = limit.value.write(*(row[PLACE_OF[place]] for place in limit.places))
                words.append(f"{limit.key}={text}" if text else limit.key)
    return " ".join(words)


def option_words(found: Command, values: tuple[int, ...], extended: tuple[int, ...] = _NOT_EXTENDED) -> list[str]:
    """Options of a command, a word each, out of its COMMAND row and the EXTEND row before it; limits apart."""
    words = []
    for field in found.options:
        numbers = tuple((extended if field.extended else values)[number] for number in field.numbers)
        bit = values[12] & field.bit
        if bit if field.bit else field.required or any(number != field.default for number in numbers):
            words.append(field.key if field.value is FLAG else f"{field.key}={field.value.write(*numbers)}")
    return words


def row_text(values: tuple[int, ...], directory: Directory) -> str:
    """A COMMAND row by itself in the notation, or as ``raw`` where it has no words."""
    return command_text(values, _NOT_EXTENDED, directory) or f"raw {ROW.pack(*values).hex()}"


@cache
def _layout(found: Command) -> tuple[Field | None, ...]:
    """Plain words of a command in the order of its form; None is the ``@``."""
    fields = iter(found.plain)
    return tuple(None if word == "@" else next(fields) for word in found.form.split()[1:])


def _word(field: Field, values: tuple[int, ...], extended: tuple[int, ...], directory: Directory) -> str:
    """A plain word. A name is that of its number; of an unknown one, that of the EXTEND row before."""
    numbers = field.numbers
    if field.names:
        number = values[numbers[0]]
        names: tuple[str, ...] = getattr(directory, field.names)
        return names[number - 1] if number else field.value.write(extended[numbers[1]])
    return field.value.write(*(values[number] for number in numbers))


def _of(names: tuple[str, ...], number: int) -> str:
    return names[number - 1] if 0 < number <= len(names) else unpack(0)


def print_event(event: "np.void", directory: Directory) -> str:
    """One EVENT row as a line, such as ``> trade XYZ 100 @ 10.00 resting=b1 incoming=c1``.

    ``directory`` knows the event's instrument. Raises ValueError for a kind that this release never emits.
    """
    return print_event_values(EVENT_ROW.unpack(event.tobytes()), directory)


def print_event_values(values: tuple[int, ...], directory: Directory) -> str:
    """``print_event`` of a row that is already Python numbers (``event_values``)."""
    (
        _seq,
        order,
        contra,
        price_e4,
        qty,
        imbalance_qty,  # or the number of the order or trade
        owner,
        _contra_owner,
        instrument,
        kind,
        reason,
        side,
        phase,
    ) = values
    word = _EVENTS.get(kind, "")
    if kind == EventKind.ACCEPTED:
        return f"> {word} {unpack(order)}"
    if kind == EventKind.TRIGGERED:
        return f"> {word} {unpack(order)}"
    if kind == EventKind.REPRICED:
        return f"> {word} {unpack(order)} @ {price(price_e4) if price_e4 else 'none'}"
    if kind == EventKind.REPLENISHED:
        return f"> {word} {unpack(order)} qty={qty}"
    if kind == EventKind.TRADE:
        roles = ("resting", "incoming") if side else ("buy", "sell")
        symbol = _of(directory.symbols, instrument)
        return f"> {word} {symbol} {qty} @ {price(price_e4)} {roles[0]}={unpack(order)} {roles[1]}={unpack(contra)}"
    if kind == EventKind.CANCELED:
        return f"> {word} {unpack(order)} qty={qty} reason={_REASONS[reason]}"
    if kind == EventKind.REPLACED:
        return f"> {word} {unpack(order)} {unpack(contra)} qty={qty}"
    if kind in _REFUSALS:
        return f"> {word} {unpack(order)} reason={_REASONS[reason]}"
    if kind == EventKind.PHASE:
        return f"> {word} {_of(directory.symbols, instrument)} {_PHASES[phase]}"
    if kind == EventKind.INDICATIVE:
        at = price(price_e4) if price_e4 else "none"
        imbalance = f"imbalance={imbalance_qty} side={_SIDES.get(side, 'none')}"
        return f"> {word} {_of(directory.symbols, instrument)} {qty} @ {at} {imbalance}"
    if kind == EventKind.HALTED:
        return f"> {word} {_of(directory.symbols, instrument)} reason={_REASONS[reason]}"
    if kind in _KILLS:
        return f"> {word} {_of(directory.participants, owner)}"
    raise ValueError(
        f"event {_seq} is of kind {kind}, which RULES_VERSION {RULES_VERSION} never emits; read it with a newer release"
    )


def event_parties(values: tuple[int, ...], directory: Directory) -> str:
    """Participants of an event whose line has only the ids of their orders, in the order of those ids; "" for none."""
    if values[9] in _KILLS:
        return ""
    return ", ".join(_of(directory.participants, number) for number in values[6:8] if number)


class Printer:
    """Printer of a journal, block by block, from its beginning or from the position of ``directory``.

    It follows accepted definitions through the blocks, so that it prints a name only where a reader knows it too.
    """

    def __init__(self, directory: Directory | None = None) -> None:
        self._directory = directory if directory is not None else Directory()
        self._numbers = Numbers()
        self._patterns = Patterns()
        self._learn()
        self._clock = Clock(self._directory.now_ns)
        self._first = self._directory.now_ns == 0

    @property
    def directory(self) -> Directory:
        """Directory of the venue after the printed rows."""
        return replace(self._directory, now_ns=self._clock.time_ns)

    def go_to(self, time_ns: int, *, first: bool) -> None:
        """Go on from another row: the clock in force before it, and whether it is the first of the journal."""
        self._clock.time_ns = time_ns
        self._first = first and time_ns == 0

    def print_block(
        self,
        rows: "np.ndarray[Any, np.dtype[np.void]]",
        events: "np.ndarray[Any, np.dtype[np.void]]",
        first_seq: int,
        *,
        with_events: bool = True,
    ) -> list[str]:
        """The lines of COMMAND rows numbered from ``first_seq``, each followed by its events where wanted.

        ``events``: all EVENT rows that these rows caused; they are needed even when they are not printed, because
        they tell which definitions the venue took.
        """
        caused: dict[int, list[tuple[int, ...]]] = {}
        for values in event_values(events):
            caused.setdefault(values[0] - first_seq, []).append(values)
        raw = rows.tobytes()
        lines: list[str] = []
        held = b""  # an EXTEND row that may become part of the next line
        for index in range(len(rows)):
            row = raw[64 * index : 64 * index + 64]
            of_row = caused.get(index, [])
            if not held and row[56] == CommandKind.EXTEND and not self._first and index + 1 < len(rows) and not of_row:
                held = row
                continue
            lines.extend(self._lines(held, row))
            for seen in (held, row) if held else (row,):
                self._clock.saw(seen)
            held = b""
            self._first = False
            self._define(row, of_row)
            if with_events:
                lines.extend(print_event_values(values, self._directory) for values in of_row)
        return lines

    def _lines(self, held: bytes, row: bytes) -> list[str]:
        """One line for both rows where it reads back so, else a line for each."""
        if held:
            text = self._text(row, held)
            if text and self._reads_as(text, (held, row)):
                return [text]
            return [f"raw {held.hex()}", *self._lines(b"", row)]
        if self._first and row[56] != CommandKind.CLOCK:
            return [f"raw {row.hex()}"]
        return [self.line(row)]

    def line(self, row: bytes) -> str:
        """The line of a row by itself, which is not the first of its journal and defines nothing."""
        values = ROW.unpack(row)
        known = self._patterns.line(values)
        if known is not None:
            return known
        text = self._text(row, b"")
        if not text or not self._reads_as(text, (row,)):
            return f"raw {row.hex()}"
        self._patterns.learn(values, text)
        return text

    def _reads_as(self, text: str, rows: tuple[bytes, ...]) -> bool:
        try:
            line = command(text, 1)
        except Fault:
            return False
        if line.time is not None:
            return line.time.value_ns >= self._clock.time_ns and rows == (clock_row(line.time.value_ns),)
        if line.participant or line.symbol or line.kind in NAMED:
            return self._numbers.rows(line, line.row) == rows
        return rows == ((line.before, line.row) if line.before else (line.row,))

    def _define(self, row: bytes, events: list[tuple[int, ...]]) -> None:
        """Add a definition that the venue accepted."""
        refused = any(values[9] == EventKind.REJECTED for values in events)
        if refused or row[56] not in (CommandKind.INSTRUMENT, CommandKind.PARTICIPANT):
            return
        name = unpack(int.from_bytes(row[:8], "little"))
        if row[56] == CommandKind.INSTRUMENT:
            self._directory = replace(self._directory, symbols=(*self._directory.symbols, name))
        else:
            self._directory = replace(self._directory, participants=(*self._directory.participants, name))
        self._learn()

    def _learn(self) -> None:
        self._numbers.learn(self._directory)
        self._patterns.learn_names(self._directory, self._numbers.number_of)

    def _text(self, row: bytes, held: bytes) -> str:
        """The row in words, if possible; ``_reads_as`` checks that they give the row."""
        values = ROW.unpack(row)
        if values[8] == CommandKind.CLOCK and values[0] < 0:
            return ""
        return command_text(values, ROW.unpack(held) if held else _NOT_EXTENDED, self._directory)
