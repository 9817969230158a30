"""LOBSTER messages as COMMAND rows: real order flow of one stock and day, as two participants would have sent it.

The maker owns every resting order: 1 is an entry, 2 a replace to the smaller quantity (which keeps priority), 3 a
cancel. The taker trades: 4 is an opposing IOC limit order of that size at that price. 5, 6 and 7 touch no displayed
order; they are counted and skipped.

*What the data determines.* The published book has N levels a side, and only messages about these are published. So a
price is known as long as it has not been beyond the N-th level: the *horizon*, the worst price known, moves towards
the market with that level. Beyond it orders come and go unseen, until a message proves that none is left: an entry,
that the other side has nothing it would trade with; an execution, that its own side has nothing better. Levels of the
first book row hold orders of unknown ids: each is seeded as one order, first in its queue as it is the oldest, and
messages about ids that the file never entered are taken off it.

*Priority.* The venue trades the first order of a queue, the exchange of the data now and then another one (a late
displayed order of the opening cross keeps its old priority, for one). Level totals stay the same, so the translation
keeps two counts an order: ``open_qty``, what the venue has open, and ``owed_qty``, what the data says; what a message
takes from an order that the venue has traded already is taken from the one that stood in for it.
"""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.limits import QTY_MAX
from engine.names import Directory
from engine.records import COMMAND, TimeInForce
from replay.lobster_book import BookSide, MakerOrder
from replay.lobster_read import (
    CROSS,
    DELETE,
    EMPTY_E4,
    ENTER,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    REDUCE,
    LobsterError,
    Messages,
    check_symbol,
)
from replay.lobster_write import MAKER, TAKER, RowWriter, set_up


class Note(StrEnum):
    """A note about a message; the value is the sentence for people."""

    HIDDEN_EXECUTION = "execution of a hidden order (type 5): skipped, it shows nowhere in the displayed book"
    CROSS_TRADE = "cross trade (type 6): skipped, it touches no displayed order"
    HALT_INDICATOR = "trading halt indicator (type 7): skipped"
    OLDER_ORDER = "about an order older than the file: taken off the seeded order of its level"
    NOT_FIRST = "execution of an order that is not first in price-time priority: the venue trades the first one"
    NOT_BEST = "execution away from the best price: taken off its order, as no incoming order can reach it"
    UNSEEN_ORDER = (
        "about an order that entered beyond the published levels: not enough of it is known, the rest is skipped"
    )
    UNKNOWN_ORDER = "about an order that the file never entered, at a level that is known: taken as far as possible"
    TOO_MUCH = "takes more than its order has left: taken as far as possible"
    OTHER_SIZE = "deletion of another size than its order has left: deleted whole"
    REPEATED_ID = "entry under the id of an order that is still open: skipped"
    LEFT_UNSEEN = "proves that orders beyond the published levels have left unseen: they are canceled"
    CROSSED = (
        "entry that would trade with a displayed order (the book of the data is crossed): held back until it would not"
    )


#: Notes of messages that the data does not let one take over whole.
UNDETERMINED: Final = frozenset(
    {
        Note.NOT_BEST,
        Note.UNSEEN_ORDER,
        Note.UNKNOWN_ORDER,
        Note.TOO_MUCH,
        Note.OTHER_SIZE,
        Note.REPEATED_ID,
        Note.LEFT_UNSEEN,
        Note.CROSSED,
    }
)
_SKIPPED: Final = {EXECUTE_HIDDEN: Note.HIDDEN_EXECUTION, CROSS: Note.CROSS_TRADE, HALT: Note.HALT_INDICATOR}


class Fill(NamedTuple):
    """A trade that the venue must report. row: index of the taker's row; resting: client order id, packed."""

    row: int
    resting: int
    qty: int


class Flow(NamedTuple):
    """A message file as commands.

    rows: COMMAND rows, the set-up and the seeded book first. rows_after: for each message, how many rows there are up
    to and with its own. horizon_e4: shape (messages, 2), the worst ask and bid price that the data determines after
    each message (``EMPTY_E4`` or minus it: all). held: shape (messages, 2), whether an ask or bid is held back.
    notes: (line of the message file, what) in order.
    """

    rows: "np.ndarray[Any, np.dtype[np.void]]"
    instrument: int
    seeded: int
    rows_after: NDArray[np.int64]
    horizon_e4: NDArray[np.int64]
    held: NDArray[np.bool_]
    fills: list[Fill]
    notes: list[tuple[int, Note]]

    def batches(self, rows_max: int, skip: int = 0) -> Iterator["np.ndarray[Any, np.dtype[np.void]]"]:
        """The rows behind the first ``skip``, in runs of at most ``rows_max``."""
        for first in range(skip, len(self.rows), rows_max):
            yield self.rows[first : first + rows_max]

    def counts(self) -> dict[Note, int]:
        """Number of messages with each note."""
        return dict(Counter(note for _line, note in self.notes))


class _Translation:
    """The run of ``translate``: the book that the rows build up in the venue, and what the data says of it."""

    def __init__(self, messages: Messages, levels: int, directory: Directory, horizon: tuple[int, int]) -> None:
        self._messages = messages
        self._levels = levels
        self.writer = RowWriter(directory)
        self.asks = BookSide(-1, horizon[0])
        self.bids = BookSide(1, horizon[1])
        self._known: dict[int, MakerOrder] = {}
        self._held: dict[MakerOrder, None] = {}
        self.fills: list[Fill] = []
        self.notes: list[tuple[int, Note]] = []
        self._line = 0

    def seed(self, side: int, price_e4: int, qty: int) -> None:
        """One order for what was at a level before the file."""
        order = MakerOrder(None, self.writer.dense_id("S"), side, price_e4, qty)
        self._place(order)
        self._of(side).levels[price_e4].seed = order

    def run(self, rows_after: NDArray[np.int64], horizon_e4: NDArray[np.int64], held: NDArray[np.bool_]) -> None:
        """Every message in order; fills in what is true after each."""
        messages = self._messages
        columns = (messages.time_ns, messages.type, messages.order_id, messages.qty, messages.price_e4, messages.side)
        after, asks, bids = [], [], []
        for self._line, (time_ns, kind, *order) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), messages.first_line
        ):
            self.writer.time_ns = time_ns
            if kind == ENTER:
                self._enter(*order)
            elif kind in (REDUCE, DELETE, EXECUTE):
                self._take_from(kind, *order)
            else:
                self._note(_SKIPPED[kind])
            if self._held:
                self._release()
                held[self._line - messages.first_line] = [any(o.side == side for o in self._held) for side in (-1, 1)]
            self.asks.see(self._levels)
            self.bids.see(self._levels)
            after.append(len(self.writer.raw) // COMMAND.itemsize)
            asks.append(self.asks.horizon)
            bids.append(-self.bids.horizon)
        rows_after[:] = after
        horizon_e4[:, 0] = asks
        horizon_e4[:, 1] = bids

    def _of(self, side: int) -> BookSide:
        return self.bids if side == 1 else self.asks

    def _note(self, note: Note) -> None:
        self.notes.append((self._line, note))

    def _place(self, order: MakerOrder) -> None:
        writer = self.writer
        order.total_qty = order.open_qty = order.owed_qty
        writer.enter(order.client_order_id, writer.maker, order.side, order.price_e4, order.owed_qty, TimeInForce.DAY)
        self._of(order.side).level(order.price_e4).queue[order] = None

    def _crosses(self, order: MakerOrder) -> bool:
        other = self._of(-order.side)
        return bool(other.ranks) and order.side * (order.price_e4 - other.side * -other.ranks[0]) >= 0

    def _enter(self, order_id: int, qty: int, price_e4: int, side: int) -> None:
        if order_id in self._known:
            self._note(Note.REPEATED_ID)
            return
        order = MakerOrder(order_id, self.writer.data_id(order_id), side, price_e4, qty)
        self._known[order_id] = order
        while self._crosses(order) and self._drop_unseen(self._of(-side)):
            pass
        if self._crosses(order):
            order.held = True
            self._held[order] = None
            self._note(Note.CROSSED)
        else:
            self._place(order)
            self._of(-side).prove_empty(side * price_e4)

    def _drop_unseen(self, side: BookSide) -> bool:
        """Cancels the orders of the best level if that is beyond the horizon; whether it was."""
        if side.ranks[0] <= side.horizon:
            return False
        self._note(Note.LEFT_UNSEEN)
        price_e4 = -side.side * side.ranks[0]
        for order in list(side.levels[price_e4].queue):
            self.writer.shrink(order, order.open_qty)
            side.leave(order)
        gone = [key for key, order in self._known.items() if order.price_e4 == price_e4 and order.side == side.side]
        for key in gone:
            del self._known[key]
        return True

    def _release(self) -> None:
        """Enters the orders held back that no longer cross."""
        for order in list(self._held):
            if not self._crosses(order):
                order.held = False
                del self._held[order]
                self._place(order)

    def _take_from(self, kind: int, order_id: int, qty: int, price_e4: int, side: int) -> None:
        """A partial cancel, deletion or execution."""
        order = self._known.get(order_id)
        if order is None:
            level = self._of(side).levels.get(price_e4)
            order = level.seed if level is not None else None
            if order is not None and qty <= order.owed_qty:
                self._note(Note.OLDER_ORDER)
            else:
                beyond = -side * price_e4 > self._of(side).horizon
                self._note(Note.UNSEEN_ORDER if beyond else Note.UNKNOWN_ORDER)
            if order is None:
                return
        elif qty > order.owed_qty:
            self._note(Note.TOO_MUCH)
        elif kind == DELETE and qty < order.owed_qty:
            self._note(Note.OTHER_SIZE)
            qty = order.owed_qty
        qty = min(qty, order.owed_qty)
        if kind == EXECUTE:
            self._execute(order, qty)
        else:
            self._reduce(order, qty)
        if order.owed_qty == 0:
            self._forget(order)

    def _forget(self, order: MakerOrder) -> None:
        if order.key is not None:
            del self._known[order.key]
            self._held.pop(order, None)
        elif order.price_e4 in self._of(order.side).levels:
            self._of(order.side).levels[order.price_e4].seed = None

    def _reduce(self, order: MakerOrder, qty: int) -> None:
        """Takes ``qty`` off an order; what the venue has traded of it already, off those that stood in for it."""
        order.owed_qty -= qty
        if order.held:
            return
        side = self._of(order.side)
        for candidate in (order, *side.levels[order.price_e4].queue):
            taken = min(qty, candidate.open_qty - candidate.owed_qty)
            if taken > 0:
                qty -= taken
                if self.writer.shrink(candidate, taken):
                    side.leave(candidate)
            if qty == 0:
                return

    def _execute(self, order: MakerOrder, qty: int) -> None:
        """An opposing IOC order; where the order is behind others, the venue trades those before it."""
        side = self._of(order.side)
        rank = -order.side * order.price_e4
        while not order.held and side.ranks[0] < rank and self._drop_unseen(side):
            pass
        if order.held or side.ranks[0] != rank:
            self._note(Note.NOT_BEST)
            self._reduce(order, qty)
            return
        side.prove_empty(rank - 1)
        writer = self.writer
        writer.enter(writer.dense_id("T"), writer.taker, -order.side, order.price_e4, qty, TimeInForce.IOC)
        row = len(writer.raw) // COMMAND.itemsize - 1
        order.owed_qty -= qty
        others = False
        for resting in list(side.levels[order.price_e4].queue):
            traded = min(qty, resting.open_qty)
            self.fills.append(Fill(row, resting.client_order_id, traded))
            others = others or resting is not order
            resting.open_qty -= traded
            qty -= traded
            if resting.open_qty == 0:
                side.leave(resting)
            if qty == 0:
                break
        if others:
            self._note(Note.NOT_FIRST)


def translate(
    messages: Messages,
    book: NDArray[np.int64],
    *,
    symbol: str,
    tick_e4: int = 100,
    levels: int = 0,
    directory: Directory | None = None,
    book_name: str = "book",
) -> Flow:
    """The commands of a message file.

    book: rows of the book file of the same day (``read_book``); only the first is used, it seeds the opening book.
    levels: how many levels a side the message file covers; 0: as many as the book has. directory: the venue's, whose
    clock must not be later than the file, and which must not know the symbol or the two participants yet.
    Raises LobsterError, before anything is given, when the book or the venue does not go with the messages.
    """
    known = directory if directory is not None else Directory()
    name = messages.name
    check_symbol(symbol, name)
    taken = [
        word
        for word, words in ((symbol, known.symbols), (MAKER, known.participants), (TAKER, known.participants))
        if word in words
    ]
    if taken:
        raise LobsterError(f"{name}: the venue has {', '.join(taken)} already; run the file into a venue of its own.")
    if known.now_ns > messages.time_ns[0]:
        raise LobsterError(
            f"{name}:{messages.first_line}: the venue's clock is later than the file; run the file into a venue of "
            "its own."
        )
    before, horizon = _book_before(messages, book)
    _check_seed(before, book_name)
    reference_e4 = _reference_e4(messages, before)
    translation = _Translation(messages, min(levels or book.shape[1] // 4, book.shape[1] // 4), known, horizon)
    set_up(translation.writer, messages, symbol, tick_e4, reference_e4)
    for side in (-1, 1):
        for price_e4 in sorted(before[side], key=lambda price: -side * price):
            translation.seed(side, price_e4, before[side][price_e4])
    seeded = len(before[-1]) + len(before[1])
    count = len(messages.type)
    rows_after, horizon_e4 = np.zeros(count, np.int64), np.zeros((count, 2), np.int64)
    held = np.zeros((count, 2), np.bool_)
    translation.run(rows_after, horizon_e4, held)
    rows = np.frombuffer(translation.writer.raw, COMMAND)
    instrument = translation.writer.instrument
    return Flow(rows, instrument, seeded, rows_after, horizon_e4, held, translation.fills, translation.notes)


def _check_seed(before: dict[int, dict[int, int]], name: str) -> None:
    """Raises LobsterError when a level of the opening book is more than one order may have."""
    for price_e4, qty in (each for side in before.values() for each in side.items()):
        if qty > QTY_MAX:
            raise LobsterError(
                f"{name}: before the first message {qty:,} shares are at the price {price_e4}, and the order that "
                f"stands for them may have at most {QTY_MAX:,}; begin the files at a row with fewer."
            )


def _reference_e4(messages: Messages, before: dict[int, dict[int, int]]) -> int:
    """The reference price: the best ask or bid of the opening book, or the price of the first displayed order.

    Raises LobsterError when there is neither.
    """
    displayed = messages.price_e4[messages.type <= EXECUTE]
    prices = [*sorted(before[-1])[:1], *sorted(before[1])[-1:], *displayed[:1].tolist()]
    if not prices:
        raise LobsterError(
            f"{messages.name}: the opening book is empty and no message is about a displayed order, so that there is "
            "no reference price; give a file with orders."
        )
    return int(prices[0])


def _book_before(messages: Messages, book: NDArray[np.int64]) -> tuple[dict[int, dict[int, int]], tuple[int, int]]:
    """The book before the first message, price to size a side, and the ranks of both horizons (asks, bids).

    The first row of a book file is the book after the first message, which is undone here. Raises LobsterError when
    that cannot be.
    """
    before: dict[int, dict[int, int]] = {-1: {}, 1: {}}
    first = book[0].tolist()
    for side, column in ((-1, 0), (1, 2)):
        prices, sizes = first[column::4], first[column + 1 :: 4]
        before[side] = {price: qty for price, qty in zip(prices, sizes, strict=True) if qty}
    ends = {
        side: max(-side * price for price in before[side]) if len(before[side]) * 4 == len(first) else EMPTY_E4
        for side in before
    }
    kind, qty = int(messages.type[0]), int(messages.qty[0])
    side, price_e4 = int(messages.side[0]), int(messages.price_e4[0])
    if kind in (REDUCE, DELETE, EXECUTE):
        before[side][price_e4] = before[side].get(price_e4, 0) + qty
    elif kind == ENTER and -side * price_e4 <= ends[side]:
        left = before[side].pop(price_e4, 0) - qty
        if left < 0:
            raise LobsterError(
                f"{messages.name}:{messages.first_line}: the first row of the book file does not hold the order "
                "entered; give the book file of the same day and time."
            )
        if left:
            before[side][price_e4] = left
    if before[-1] and before[1] and min(before[-1]) <= max(before[1]):
        raise LobsterError(
            f"{messages.name}:{messages.first_line}: the opening book is crossed; begin with a row where it is not."
        )
    return before, (ends[-1], ends[1])
