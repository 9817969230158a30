"""COMMAND rows as Python values, and whether a row can be interpreted at all.

A batch is converted once: its bytes become tuples with one value for each place (the names of ``COMMAND`` overlap).
The other names of a place are properties of ``Row``, so that a rule reads ``row.lot`` where the record says so.

Whether a row can be interpreted is seen from the row alone (section 13, 1); what also needs the state (a name that
is taken, a clock that goes back) is with the command itself. Any 64 bytes give an answer.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np

from engine.records import (
    COMMAND,
    COMMAND_FIELDS,
    COMMAND_PLACES,
    Book,
    CommandKind,
    Instruction,
    Peg,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
)
from engine.row_bytes import ROW

#: Rows converted at a time: few enough that their tuples stay in the processor's cache.
ROWS_AT_ONCE: Final = 256

#: Instruction bits as plain integers: an IntFlag makes a new object of every ``&``.
MARKET: Final = int(Instruction.MARKET)
POST_ONLY: Final = int(Instruction.POST_ONLY)
MIN_QTY: Final = int(Instruction.MIN_QTY)
DISPLAY: Final = int(Instruction.DISPLAY)
HIDDEN: Final = int(Instruction.HIDDEN)
STOP: Final = int(Instruction.STOP)
UNTIL: Final = int(Instruction.UNTIL)
PEG: Final = int(Instruction.PEG)
OFFSET: Final = int(Instruction.OFFSET)
EVERY_INSTRUCTION: Final = sum(int(instruction) for instruction in Instruction)

_SIDES: Final = frozenset(map(int, Side))
_TIMES_IN_FORCE: Final = frozenset(map(int, TimeInForce))
_SELF_TRADES: Final = frozenset(map(int, SelfTrade))
_BOOKS: Final = frozenset(map(int, Book))
_PHASES: Final = frozenset(map(int, Phase))
_PEGS: Final = frozenset(map(int, Peg))


class Row(NamedTuple):
    """One COMMAND row, each place by its first name in ``COMMAND_PLACES`` and in that order."""

    client_order_id: int
    new_client_order_id: int
    price_e4: int
    qty: int
    min_qty: int
    display_qty: int
    participant: int
    instrument: int
    kind: int
    side: int
    time_in_force: int
    self_trade: int
    instructions: int
    book: int
    phase: int

    @property
    def stop_e4(self) -> int:
        return self.display_qty

    @property
    def offset_e4(self) -> int:
        return self.display_qty

    @property
    def peg(self) -> int:
        return self.phase

    @property
    def name(self) -> int:
        return self.client_order_id

    @property
    def time_ns(self) -> int:
        return self.client_order_id

    @property
    def symbol(self) -> int:
        return self.new_client_order_id

    @property
    def epoch(self) -> int:
        return self.new_client_order_id

    @property
    def speed_bump_ns(self) -> int:
        return self.new_client_order_id

    @property
    def day_start_ns(self) -> int:
        return self.price_e4

    @property
    def group(self) -> int:
        return self.new_client_order_id

    @property
    def participant_name(self) -> int:
        return self.new_client_order_id

    @property
    def firm(self) -> int:
        return self.price_e4

    @property
    def reference_e4(self) -> int:
        return self.price_e4

    @property
    def lot(self) -> int:
        return self.qty

    @property
    def tick_e4(self) -> int:
        return self.min_qty

    @property
    def duration_ns(self) -> int:
        return self.min_qty

    @property
    def buyer(self) -> int:
        return self.min_qty

    @property
    def seller(self) -> int:
        return self.display_qty

    @property
    def until_ns(self) -> int:
        return self.min_qty

    @property
    def rate_orders(self) -> int:
        return self.client_order_id

    @property
    def rate_window_ns(self) -> int:
        return self.new_client_order_id

    @property
    def margin_bps(self) -> int:
        return self.price_e4

    @property
    def adv_share_bps(self) -> int:
        return self.qty

    @property
    def max_order_value_e4(self) -> int:
        return self.price_e4

    @property
    def max_order_qty(self) -> int:
        return self.qty

    @property
    def max_position_qty(self) -> int:
        return self.min_qty

    @property
    def max_open_orders(self) -> int:
        return self.min_qty

    @property
    def max_ids(self) -> int:
        return self.display_qty

    @property
    def credit_e4(self) -> int:
        return self.display_qty

    @property
    def adv_qty(self) -> int:
        return self.display_qty

    @property
    def due_ns(self) -> int:
        return self.new_client_order_id

    @property
    def weight(self) -> int:
        return self.price_e4

    @property
    def further_symbol(self) -> int:
        return self.qty

    @property
    def further_weight(self) -> int:
        return self.min_qty

    @property
    def volatility_bps(self) -> int:
        return self.new_client_order_id

    @property
    def volatility_window_ns(self) -> int:
        return self.price_e4

    @property
    def volatility_halt_ns(self) -> int:
        return self.qty

    @property
    def band_bps(self) -> int:
        return self.client_order_id

    @property
    def settings(self) -> int:
        return self.instructions

    @property
    def permissions(self) -> int:
        return self.instructions

    @property
    def limits(self) -> int:
        return self.instructions

    @property
    def reason(self) -> int:
        return self.phase

    @property
    def further_limits(self) -> int:
        return self.book

    @property
    def further_off(self) -> int:
        return self.phase

    @property
    def cost(self) -> int:
        return self.phase


#: Places of an EXTEND row that have a number for the command after it.
CONTINUED_PLACES: Final = Row._fields[:6]

#: A row of the values of its places. They are as many as the row has, so that they need not be counted for each.
_row_of: Final[Callable[[tuple[int, ...]], Row]] = partial(tuple.__new__, Row)


def rows_of(commands: "np.ndarray[Any, Any]") -> Iterator[list[Row]]:
    """The rows of a batch, in lists of at most ``ROWS_AT_ONCE``.

    ``commands`` is a one-dimensional array of COMMAND rows; ValueError when it is not.
    """
    if commands.dtype != COMMAND or commands.ndim != 1:
        raise ValueError("a batch is a one-dimensional array of COMMAND rows")
    plain = np.ascontiguousarray(commands).view(np.uint8).data
    values = map(_row_of, ROW.iter_unpack(plain))
    while rows := list(islice(values, ROWS_AT_ONCE)):
        yield rows


def _places_not_used(kind: CommandKind) -> tuple[Callable[[Row], tuple[int, ...]] | None, tuple[int, ...]]:
    """Getter of the values of the places that a kind does not use, and as many zeros; None: it uses all."""
    used = {*COMMAND_FIELDS[kind], "kind"}
    places = [at for at, names in enumerate(COMMAND_PLACES.values()) if used.isdisjoint(names)]
    if not places:
        return None, ()
    places.append(places[0])  # one twice, since of a single place the getter would give no tuple
    return itemgetter(*places), (0,) * len(places)


def _enter_has_form(row: Row) -> bool:
    named, _, price_e4, _, min_qty, display_qty, _, _, _, side, time, self_trade, instructions, book, peg = row
    return (
        named != 0
        and side in _SIDES
        and time in _TIMES_IN_FORCE
        and self_trade in _SELF_TRADES
        and book in _BOOKS
        and (
            _terms_have_form(price_e4, min_qty, display_qty, instructions, peg)
            if instructions
            else min_qty == display_qty == peg == 0
        )
    )


def _terms_have_form(price_e4: int, min_qty: int, display_qty: int, instructions: int, peg: int) -> bool:
    """Terms are only where the instructions use them."""
    return (
        not instructions & ~EVERY_INSTRUCTION
        and (peg in _PEGS if instructions & PEG else peg == 0)
        and (min_qty == 0 or instructions & (MIN_QTY | UNTIL) != 0)
        and (display_qty == 0 or instructions & (DISPLAY | STOP | OFFSET) != 0)
        and (price_e4 == 0 or not instructions & MARKET)
    )


def _replace_has_form(row: Row) -> bool:
    """A display quantity, a stop and a price are only where the instructions use them, as those of an enter."""
    instructions = row.instructions
    return (
        row.new_client_order_id != 0
        and not instructions & ~(MARKET | DISPLAY | STOP)
        and (row.display_qty == 0 or instructions & (DISPLAY | STOP) != 0)
        and (row.price_e4 == 0 or not instructions & MARKET)
    )


def _mass_cancel_has_form(row: Row) -> bool:
    return (row.side == 0 or row.side in _SIDES) and row.reason in (Reason.MASS_CANCEL, Reason.DISCONNECT)


def _cross_has_form(row: Row) -> bool:
    return row.client_order_id != 0


def _phase_has_form(row: Row) -> bool:
    return row.phase in _PHASES


_HAS_FORM: Final[dict[int, Callable[[Row], bool]]] = {
    int(CommandKind.ENTER): _enter_has_form,
    int(CommandKind.REPLACE): _replace_has_form,
    int(CommandKind.MASS_CANCEL): _mass_cancel_has_form,
    int(CommandKind.CROSS): _cross_has_form,
    int(CommandKind.PHASE): _phase_has_form,
    int(CommandKind.SCHEDULE): _phase_has_form,
}


#: Of each kind the places that must be zero, how that looks, and what else a row must be like.
_FORMS: Final = {int(kind): (*_places_not_used(kind), _HAS_FORM.get(int(kind))) for kind in COMMAND_FIELDS}


def can_be_interpreted(row: Row) -> bool:
    """True if the row is a command of this release, as far as the row alone tells (section 13, 1)."""
    form = _FORMS.get(row.kind)
    if form is None:
        return False
    not_used, zeros, has_form = form
    return (not_used is None or not_used(row) == zeros) and (has_form is None or has_form(row))
