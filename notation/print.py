"""Rows as scenario text (rulebook section 12): what ``notation.translate`` reads again to the same rows, byte for byte.

A row is first written as a trader would, then read back; where the reading is not the same bytes (a hostile row, a
number of nobody, a clock that went back) the row is written as ``raw`` and its 64 bytes. So the promise does not rest
on the writing being right. A printed journal that begins without a clock begins with a ``raw`` line, because any other
would be given the implicit first clock.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from engine.limits import DAY_NS
from engine.names import EVERY, Directory, unpack
from engine.records import (
    RULES_VERSION,
    Book,
    CommandKind,
    EventKind,
    Instruction,
    Limit,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    UserPermission,
    limit_bits,
)
from engine.row_bytes import ROW, clock_row
from notation.parse import command
from notation.translate import NAMED, Clock, Numbers
from notation.words import UNIT_NS, Fault, token_word

#: The bits of instructions as plain integers: an IntFlag costs ten times as much a row.
_MARKET, _POST_ONLY, _HIDDEN, _DISPLAY, _MIN_QTY = (
    int(bit)
    for bit in (
        Instruction.MARKET,
        Instruction.POST_ONLY,
        Instruction.HIDDEN,
        Instruction.DISPLAY,
        Instruction.MIN_QTY,
    )
)
#: Limits by their words in the order of section 12, with their bits, and their values in the order of LIMITS_STATE.
LIMIT_WORDS: Final = {str(limit.name).lower(): int(limit) for limit in Limit}
LIMIT_VALUES: Final = (
    "max_order_qty",
    "max_order_value_e4",
    "rate_orders",
    "rate_window_ns",
    "max_position_qty",
    "credit_e4",
    "margin_bps",
    "adv_share_bps",
    "max_open_orders",
    "max_ids",
)
_64_BITS: Final = 2**64 - 1
_NOT_EXTENDED: Final = (0, 0, 0, 0, 0, 0)
_SIDES: Final = {int(side): side.name.lower() for side in Side}
_TIFS: Final = {int(tif): tif.name.lower() for tif in TimeInForce}
_SELF_TRADES: Final = {int(rule): rule.name.lower() for rule in SelfTrade}
_BOOKS: Final = {int(book): book.name.lower() for book in Book}
_PHASES: Final = {int(phase): phase.name.lower() for phase in Phase}
_REASONS: Final = {int(reason): reason.name.lower() for reason in Reason}
_USER_PERMISSIONS: Final = {
    UserPermission.ENABLED: "login",
    UserPermission.CANCEL_ON_DISCONNECT: "cancel_on_disconnect",
    UserPermission.NEWEST_WINS: "newest_wins",
}
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
_KILLS: Final = (EventKind.KILLED, EventKind.UNKILLED)
_EVENTS: Final = {int(kind): kind.name.lower() for kind in EventKind}


def price(price_e4: int) -> str:
    """A price as a decimal with at least two places.

    >>> price(100_500), price(100_501), price(-1)
    ('10.05', '10.0501', '-0.0001')
    """
    units, places = divmod(abs(price_e4), 10_000)
    decimals = f"{places:04d}"
    if decimals.endswith("00"):
        decimals = decimals[:2]
    elif decimals.endswith("0"):
        decimals = decimals[:3]
    return f"{'-' if price_e4 < 0 else ''}{units}.{decimals}"


def time(time_ns: int) -> str:
    """A clock value as an ``at`` line has it.

    >>> time(1_705_311_000_000_350_000)
    '2024-01-15T09:30:00.00035'
    """
    days, of_day_ns = divmod(time_ns, DAY_NS)
    seconds, fraction_ns = divmod(of_day_ns, UNIT_NS["s"])
    text = f"{np.datetime64(days, 'D')}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction_ns:09d}".rstrip("0") if fraction_ns else text


def duration(duration_ns: int) -> str:
    """A duration in the largest unit that is exact.

    >>> duration(350_000), duration(300_000_000_000)
    ('350us', '5m')
    """
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if duration_ns and duration_ns % UNIT_NS[unit] == 0:
            return f"{duration_ns // UNIT_NS[unit]}{unit}"
    return f"{duration_ns}ns"


def percent(bps: int) -> str:
    """Hundredths of a percent as a percentage.

    >>> percent(2_000), percent(50), percent(-1)
    ('20%', '0.5%', '-0.01%')
    """
    units, places = divmod(abs(bps), 100)
    decimals = f".{places:02d}".rstrip("0").rstrip(".")
    return f"{'-' if bps < 0 else ''}{units}{decimals}%"


def limit_texts(bits: int, values: tuple[int, ...]) -> dict[str, str]:
    """Each limit of ``bits`` by its word, with its value as section 12 writes it, of RESTRICTED "".

    ``values``: those of LIMIT_VALUES.

    >>> limit_texts(Limit.CREDIT | Limit.RESTRICTED, (0, 0, 0, 0, 0, 50_000, 0, 0, 0, 0))
    {'credit': '5.00', 'restricted': ''}
    """
    order_qty, order_value_e4, orders, window_ns, position_qty, credit_e4, margin_bps, adv_bps, open_orders, ids = (
        values
    )
    texts = (
        str(order_qty),
        price(order_value_e4),
        f"{orders}/{duration(window_ns)}",
        str(position_qty),
        price(credit_e4),
        percent(margin_bps),
        percent(adv_bps),
        "",
        str(open_orders),
        str(ids),
    )
    return {word: text for (word, bit), text in zip(LIMIT_WORDS.items(), texts, strict=True) if bits & bit}


def _limits_text(values: tuple[int, ...], extended: tuple[int, ...]) -> str:
    """A LIMITS row, given the EXTEND row before it."""
    name, symbol, order_value_e4, order_qty, position_qty, credit_e4 = values[:6]
    orders, window_ns, margin_bps, adv_bps, open_orders, ids = extended[:6]
    text = f"limits {unpack(name)}" + (f" symbol={unpack(symbol)}" if symbol else "")
    named, off = limit_bits(*values[12:15])
    of_row = (order_qty, order_value_e4, orders, window_ns, position_qty, credit_e4, margin_bps, adv_bps)
    for word, value in limit_texts(named, (*of_row, open_orders, ids)).items():
        if off & LIMIT_WORDS[word]:
            text += " restricted=no" if word == "restricted" else f" {word}=off"
        else:
            text += f" {word}={value}" if value else f" {word}"
    return text


def _symbol(number: int) -> str:
    return "*" if number == EVERY else unpack(number)


def _of(names: tuple[str, ...], number: int) -> str:
    return names[number - 1] if 0 < number <= len(names) else unpack(0)


def print_event(event: "np.void", directory: Directory) -> str:
    """One EVENT row as a line, such as ``> trade XYZ 100 @ 10.00 resting=b1 incoming=c1``.

    ``directory`` knows the event's instrument. Raises ValueError for a kind that this release never emits.
    """
    return print_event_values(tuple(map(int, event.item())), directory)


def print_event_values(values: tuple[int, ...], directory: Directory) -> str:
    """``print_event`` of a row that is already Python numbers (``events.tolist()``)."""
    (
        _seq,
        order,
        contra,
        price_e4,
        qty,
        number,
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
        surplus = f"surplus={number} side={_SIDES.get(side, 'none')}"
        return f"> {word} {_of(directory.symbols, instrument)} {qty} @ {at} {surplus}"
    if kind == EventKind.HALTED:
        return f"> {word} {_of(directory.symbols, instrument)} reason={_REASONS[reason]}"
    if kind in _KILLS:
        return f"> {word} {_of(directory.participants, owner)}"
    raise ValueError(
        f"event {_seq} is of kind {kind}, which RULES_VERSION {RULES_VERSION} never emits; read it with a newer release"
    )


class Printer:
    """Prints a journal block by block, from its beginning or from where ``directory`` was the venue's.

    It follows the definitions through the blocks by the events they caused, so that a name stands for a number only
    where the reader will know it too.
    """

    def __init__(self, directory: Directory | None = None) -> None:
        self._directory = directory if directory is not None else Directory()
        self._numbers = Numbers()
        self._numbers.learn(self._directory)
        self._clock = Clock(self._directory.now_ns)
        self._first = self._directory.now_ns == 0

    @property
    def directory(self) -> Directory:
        """The venue's directory after what has been printed."""
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
        for values in events.tolist():
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
        text = "" if self._first and row[56] != CommandKind.CLOCK else self._text(row, held)
        return [text if text and self._reads_as(text, (row,)) else f"raw {row.hex()}"]

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
        """Takes up a definition that the venue took: it was not refused."""
        refused = any(values[9] == EventKind.REJECTED for values in events)
        if refused or row[56] not in (CommandKind.INSTRUMENT, CommandKind.PARTICIPANT):
            return
        name = unpack(int.from_bytes(row[:8], "little"))
        if row[56] == CommandKind.INSTRUMENT:
            self._directory = replace(self._directory, symbols=(*self._directory.symbols, name))
        else:
            self._directory = replace(self._directory, participants=(*self._directory.participants, name))
        self._numbers.learn(self._directory)

    def _text(self, row: bytes, held: bytes) -> str:
        """The row as a trader would write it, if it can be; ``_reads_as`` tells whether that is the row."""
        values = ROW.unpack(row)
        kind = values[8]
        if kind == CommandKind.CLOCK:
            return f"at {time(values[0])}" if values[0] >= 0 else ""
        if kind in NAMED:
            return self._order_text(values, held)
        name = _symbol(values[0])
        if kind == CommandKind.INSTRUMENT:
            adv = f" adv={values[5]}" if values[5] else ""
            return f"instrument {name} tick={price(values[4])} lot={values[3]} reference={price(values[2])}{adv}"
        if kind == CommandKind.PARTICIPANT:
            return f"participant {name}{_group(values[1])}{_allow(values[12])}"
        if kind == CommandKind.MASS_CANCEL:
            symbol = f" symbol={unpack(values[1])}" if values[1] else ""
            side = f" side={_SIDES.get(values[9], '?')}" if values[9] else ""
            reason = " reason=disconnect" if values[14] == Reason.DISCONNECT else ""
            return f"mass_cancel {name}{symbol}{side}{reason}"
        if kind == CommandKind.PHASE:
            return f"phase {name} {_PHASES.get(values[14], '?')}"
        if kind == CommandKind.HALT:
            return f"halt {name}" + (f" for={duration(values[4])}" if values[4] else "")
        if kind == CommandKind.RESUME:
            return f"resume {name}"
        if kind == CommandKind.LIMITS:
            return _limits_text(values, ROW.unpack(held) if held else _NOT_EXTENDED)
        if kind == CommandKind.CLOCK_JUMP:
            return f"clock_jump by={duration(values[1])} to={time(values[0])}"
        if kind in (CommandKind.KILL, CommandKind.UNKILL):
            return f"{'kill' if kind == CommandKind.KILL else 'unkill'} {name}"
        if kind == CommandKind.EMERGENCY_CLOSE:
            return "emergency_close"
        if kind == CommandKind.USER:
            firm = f" firm={unpack(values[2])}" if values[2] else ""
            return f"user {name} participant={unpack(values[1])}{firm}{_user_allow(values[12])}"
        if kind == CommandKind.CREDENTIAL:
            return f"credential {name} cost={values[14]} salt={_big_endian(row[8:24])} hash={_big_endian(row[24:48])}"
        return ""

    def _order_text(self, values: tuple[int, ...], held: bytes) -> str:
        """An enter, cancel or replace. Unknown names, and tokens, are those of the EXTEND row ``held``."""
        order, new, price_e4, qty, min_qty, display_qty, participant, instrument, kind = values[:9]
        extended = ROW.unpack(held) if held else _NOT_EXTENDED
        if participant > len(self._directory.participants) or instrument > len(self._directory.symbols):
            return ""
        name = self._directory.participants[participant - 1] if participant else unpack(extended[0])
        if kind == CommandKind.CANCEL:
            left = f" qty={qty}" if qty else ""
            return f"cancel {name} {unpack(order)}{left}{_notes(new, extended)}"
        side, tif, self_trade, instructions, book = values[9:14]
        at = "market" if instructions & _MARKET else price(price_e4)
        display = f" display={display_qty}" if instructions & _DISPLAY else ""
        if kind == CommandKind.REPLACE:
            return f"replace {name} {unpack(order)} {unpack(new)} {qty} @ {at}{display}{_notes(min_qty, extended)}"
        symbol = self._directory.symbols[instrument - 1] if instrument else unpack(extended[1])
        text = f"enter {name} {unpack(order)} {_SIDES.get(side, '?')} {qty} {symbol} @ {at}"
        if book:
            text += f" book={_BOOKS.get(book, '?')}"
        if tif != TimeInForce.DAY:
            text += f" tif={_TIFS.get(tif, '?')}"
        text += display
        if instructions & _HIDDEN:
            text += " hidden"
        if instructions & _POST_ONLY:
            text += " post_only"
        if instructions & _MIN_QTY:
            text += f" min_qty={min_qty}"
        if self_trade != SelfTrade.CANCEL_NEWEST:
            text += f" stp={_SELF_TRADES.get(self_trade, '?')}"
        return f"{text}{_notes(new, extended)}"


def _notes(memo: int, extended: tuple[int, ...]) -> str:
    """Fields for the record: the memo of a row, and the tokens of the EXTEND row before it."""
    text = f" memo={memo & _64_BITS:016x}" if memo else ""
    if extended[2] or extended[3]:
        text += f" token={token_word(extended[2], extended[3])}"
    if extended[4] or extended[5]:
        text += f" new_token={token_word(extended[4], extended[5])}"
    return text


def _big_endian(places: bytes) -> str:
    """Numbers of eight bytes as they stand in a row, as hexadecimal digits."""
    return b"".join(places[at : at + 8][::-1] for at in range(0, len(places), 8)).hex()


def _group(group: int) -> str:
    return f" group={unpack(group)}" if group else ""


def _allow(permissions: int) -> str:
    if permissions == Permission.MARKET:
        return ""
    return f" allow={','.join(p.name.lower() for p in Permission if p & permissions and p.name) or 'none'}"


def _user_allow(permissions: int) -> str:
    if permissions == UserPermission.ENABLED:
        return ""
    return f" allow={','.join(word for bit, word in _USER_PERMISSIONS.items() if bit & permissions) or 'none'}"
