"""LOBSTER messages as COMMAND rows: real order flow of one stock and day, as two participants would have sent it.

The maker owns every resting order: 1 is an entry, 2 a replace to the smaller quantity (which keeps priority), 3 a
cancel. The taker trades: 4 is an opposing IOC limit order of that size at that price. 5, 6 and 7 touch no displayed
order; they are counted and skipped.

*What the data determines.* The published book has N levels a side, and only messages about these are published. So a
price is known as long as it has not been beyond the N-th level: the *horizon*, the worst price known, moves towards
the market with that level. Beyond it orders come and go unseen. Where the book file has a row for the message, that
row shows what has come and gone at each price that it has and the horizon had not: the difference enters or leaves
ahead of the message, and the horizon moves out to the row's last level. Nothing within the horizon is ever taken from
the book file.
Without a row a message can prove that no order is left: an entry, that the other side has nothing it would trade
with; an execution, that its own side has nothing better. Orders of unknown ids, those of the first row and those that
came unseen, are seeded: one order for all of them at a price. Messages about ids that the file never entered are taken
off it. Which order of a level has left unseen is not told. It is none that a later message takes from: each order
keeps what the file still takes from it, so that the sizes of levels stay exact.

*Priority.* The venue trades the first order of a queue, the exchange of the data now and then another one (a late
displayed order of the opening cross keeps its old priority, for one). Level totals stay the same, so the translation
keeps two counts an order: ``open_qty``, what the venue has open, and ``owed_qty``, what the data says; what a message
takes from an order that the venue has traded already is taken from the one that stood in for it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import QTY_MAX
from engine.names import Directory
from engine.records import COMMAND, TimeInForce
from lobster.book import BookSide, Level, MakerOrder
from lobster.notes import Note
from lobster.opening import book_before, check_seed, reference_e4
from lobster.read import (
    CROSS,
    DELETE,
    ENTER,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    REDUCE,
    LobsterError,
    Messages,
    check_symbol,
)
from lobster.shown import ShownBook
from lobster.write import MAKER, TAKER, RowWriter, set_up

_SKIPPED: Final = {EXECUTE_HIDDEN: Note.HIDDEN_EXECUTION, CROSS: Note.CROSS_TRADE, HALT: Note.HALT_INDICATOR}


class Fill(NamedTuple):
    """A trade that the venue must report. row: index of the taker's row; resting: client order id, packed."""

    row: int
    resting: int
    qty: int


class Flow(NamedTuple):
    """A message file as commands.

    rows: COMMAND rows, the set-up and the seeded book first. rows_after: for each message, how many rows there are up
    to and with its own. revealed: number of levels that came into sight with another size than the commands had given
    them, and were taken from the book file. horizon_e4: shape (messages, 2), the worst ask and bid price that the data
    determines after each message (``EMPTY_E4`` or minus it: all). held: shape (messages, 2), whether an ask or bid is
    held back. notes: (line of the message file, what) in order.
    """

    rows: "np.ndarray[Any, np.dtype[np.void]]"
    instrument: int
    seeded: int
    revealed: int
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

    def __init__(
        self, messages: Messages, shown: ShownBook, levels: int, directory: Directory, horizon: tuple[int, int]
    ) -> None:
        self._messages = messages
        self._shown = shown
        self._levels = levels
        self.writer = RowWriter(directory)
        self.asks = BookSide(-1, horizon[0])
        self.bids = BookSide(1, horizon[1])
        self._known: dict[int, MakerOrder] = {}
        self._to_take = _taken_by_order(messages)  # by the messages to come
        self._held: dict[MakerOrder, None] = {}
        self.fills: list[Fill] = []
        self.notes: list[tuple[int, Note]] = []
        self.revealed = 0
        self._line = 0

    def seed(self, side: int, price_e4: int, qty: int) -> None:
        """One order for what is at a level and no message of the file told."""
        order = MakerOrder(None, self.writer.dense_id("S"), side, price_e4, qty)
        if self._crosses(order):
            self._hold(order)
        else:
            self._place(order)

    def run(self, rows_after: NDArray[np.int64], horizon_e4: NDArray[np.int64], held: NDArray[np.bool_]) -> None:
        """Every message in order; fills in what is true after each."""
        messages = self._messages
        columns = (messages.time_ns, messages.type, messages.order_id, messages.qty, messages.price_e4, messages.side)
        after, asks, bids = [], [], []
        for self._line, (time_ns, kind, *order) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), messages.first_line
        ):
            self.writer.time_ns = time_ns
            message = self._line - messages.first_line
            if message < self._shown.rows:
                self._reveal(message)
            if kind == ENTER:
                self._enter(*order)
            elif kind in (REDUCE, DELETE, EXECUTE):
                self._take_from(kind, *order)
            else:
                self._note(_SKIPPED[kind])
            if self._held:
                self._release()
                held[message] = [any(o.side == side for o in self._held) for side in (-1, 1)]
            for book_side in (self.asks, self.bids):
                published = message < self._shown.rows
                last_rank = self._shown.last_rank(book_side.side, message) if published else None
                book_side.see(self._levels, last_rank)
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
        level = self._of(order.side).level(order.price_e4)
        level.queue[order] = level.owed[order] = None

    def _hold(self, order: MakerOrder) -> None:
        order.held = True
        self._held[order] = None
        self._note(Note.CROSSED)

    def _reveal(self, message: int) -> None:
        """Enter and take out what has come and gone unseen at prices that the row of a message shows again."""
        changes: list[tuple[int, BookSide, int]] = []
        for side in (self.asks, self.bids):
            last_rank = self._shown.last_rank(side.side, message)
            if last_rank <= side.horizon:
                continue
            sizes = self._shown.sizes_before(side.side, message, side.horizon)
            first, end = bisect_right(side.ranks, side.horizon), bisect_right(side.ranks, last_rank)
            for price_e4 in {*sizes, *(-side.side * rank for rank in side.ranks[first:end])}:
                change = sizes.get(price_e4, 0) - self._open_qty(side, price_e4)
                if change:
                    changes.append((change, side, price_e4))
            side.prove_empty(last_rank)
        if not changes:
            return
        self._note(Note.REVEALED)
        self.revealed += len(changes)
        for change, side, price_e4 in sorted(changes, key=lambda each: (each[0] > 0, -each[1].side * each[2])):
            if change < 0:
                self._leave_unseen(side, price_e4, -change)
                continue
            for first in range(0, change, QTY_MAX):
                self.seed(side.side, price_e4, min(change - first, QTY_MAX))
            if price_e4 in side.levels:
                side.levels[price_e4].corrected = True

    def _open_qty(self, side: BookSide, price_e4: int) -> int:
        level = side.levels.get(price_e4)
        held = sum(o.owed_qty for o in self._held if (o.side, o.price_e4) == (side.side, price_e4))
        return held + (sum(order.open_qty for order in level.queue) if level is not None else 0)

    def _leave_unseen(self, side: BookSide, price_e4: int, qty: int) -> None:
        """Take ``qty`` off the orders of a level that the messages to come take the least from."""
        level = side.levels.get(price_e4)
        if level is None:
            return
        level.corrected = True
        for order, part in self._spare(level, qty):
            self._reduce(order, part)
            if order.owed_qty == 0:
                self._forget(order)

    def _spare(self, level: Level, qty: int) -> list[tuple[MakerOrder, int]]:
        """Orders of a level, and parts of at most ``qty`` in all that no message to come takes from them."""
        parts = []
        for order in sorted(level.owed, key=lambda order: order.key is None):  # seeded orders last
            keeps = self._to_take.get(order.key, 0) if order.key is not None else 0
            part = min(qty, order.owed_qty - keeps)
            if part > 0:
                parts.append((order, part))
                qty -= part
        return parts

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
            self._hold(order)
        else:
            self._place(order)
            self._of(-side).prove_empty(side * price_e4)

    def _drop_unseen(self, side: BookSide) -> bool:
        """Cancel the orders of the best level if that is beyond the horizon; True if it was."""
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
        """Enter the orders held back that no longer cross."""
        for order in list(self._held):
            if not self._crosses(order):
                order.held = False
                del self._held[order]
                self._place(order)

    def _take_from(self, kind: int, order_id: int, qty: int, price_e4: int, side: int) -> None:
        """A partial cancel, deletion or execution."""
        self._to_take[order_id] -= qty
        order = self._known.get(order_id)
        level = self._of(side).levels.get(price_e4 if order is None else order.price_e4)
        parts = self._parts(kind, order, qty, level)
        left = qty - sum(part for _order, part in parts)
        if left and level is not None and level.corrected:
            taken = {order for order, _part in parts}
            parts += [(other, part) for other, part in self._spare(level, left) if other not in taken]
            left = qty - sum(part for _order, part in parts)
        if order is not None:
            if left > 0:
                self._note(Note.TOO_MUCH)
        elif left == 0:
            self._note(Note.OLDER_ORDER)
        else:
            beyond = -side * price_e4 > self._of(side).horizon
            self._note(Note.UNSEEN_ORDER if beyond else Note.UNKNOWN_ORDER)
        if not parts:
            return
        if kind == EXECUTE:
            self._execute(parts)
        else:
            for each, part in parts:
                self._reduce(each, part)
        for each, _part in parts:
            if each.owed_qty == 0:
                self._forget(each)

    def _parts(
        self, kind: int, order: MakerOrder | None, qty: int, level: Level | None
    ) -> list[tuple[MakerOrder, int]]:
        """Shares that a message takes, from its order or, where that is unknown, from the seeded ones of the level."""
        if order is None:
            parts = []
            for seed in [each for each in level.owed if each.key is None] if level is not None else []:
                part = min(qty, seed.owed_qty)
                qty -= part
                if part:
                    parts.append((seed, part))
            return parts
        if kind == DELETE and qty < order.owed_qty:
            if level is not None and level.corrected and not order.held:
                # More than the order had has stayed at its level: the rest is of another one, which no message told.
                self._disown(order)
            else:
                self._note(Note.OTHER_SIZE)
                qty = order.owed_qty
        return [(order, min(qty, order.owed_qty))]

    def _disown(self, order: MakerOrder) -> None:
        """Give the rest of an order to one whose id is unknown."""
        if order.key is not None:
            del self._known[order.key]
            order.key = None

    def _forget(self, order: MakerOrder) -> None:
        self._disown(order)
        self._held.pop(order, None)
        level = self._of(order.side).levels.get(order.price_e4)
        if level is not None:
            level.owed.pop(order, None)

    def _reduce(self, order: MakerOrder, qty: int) -> None:
        """Take ``qty`` off an order; what the venue has traded of it already, off those that stood in for it."""
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

    def _execute(self, parts: list[tuple[MakerOrder, int]]) -> None:
        """An opposing IOC order; where the order is behind others, the venue trades those before it."""
        order, qty = parts[0][0], sum(part for _order, part in parts)
        side = self._of(order.side)
        rank = -order.side * order.price_e4
        while not order.held and side.ranks[0] < rank and self._drop_unseen(side):
            pass
        if order.held or side.ranks[0] != rank:
            self._note(Note.NOT_BEST)
            for each, part in parts:
                self._reduce(each, part)
            return
        side.prove_empty(rank - 1)
        writer = self.writer
        writer.enter(writer.dense_id("T"), writer.taker, -order.side, order.price_e4, qty, TimeInForce.IOC)
        row = len(writer.raw) // COMMAND.itemsize - 1
        taken = dict(parts)
        for each, part in parts:
            each.owed_qty -= part
        others = False
        for resting in list(side.levels[order.price_e4].queue):
            traded = min(qty, resting.open_qty)
            self.fills.append(Fill(row, resting.client_order_id, traded))
            others = others or resting not in taken
            resting.open_qty -= traded
            qty -= traded
            if resting.open_qty == 0:
                side.leave(resting)
            if qty == 0:
                break
        if others:
            self._note(Note.NOT_FIRST)


def _taken_by_order(messages: Messages) -> Counter[int]:
    """Shares that all messages of the file take from each order id."""
    taking = (messages.type > ENTER) & (messages.type <= EXECUTE)
    taken: Counter[int] = Counter()
    for order_id, qty in zip(messages.order_id[taking].tolist(), messages.qty[taking].tolist(), strict=True):
        taken[order_id] += qty
    return taken


def translate(
    messages: Messages,
    book: NDArray[np.int64],
    *,
    symbol: str,
    tick_e4: int = 100,
    levels: int = 0,
    directory: Directory | None = None,
    book_name: str = "book",
    participants: tuple[str, str] = (MAKER, TAKER),
    begin_ns: int | None = None,
) -> Flow:
    """The commands of a message file.

    book: rows of the book file of the same day (``read_book``). The first seeds the opening book, all of them show what
    was beyond the published levels; there may be fewer rows than messages, what has no row stays unseen.
    levels: how many levels a side the message file covers; 0: as many as the book has. directory: the venue's, whose
    clock must not be later than the file, and which must not know the symbol or the two participants yet.
    participants: maker and taker. begin_ns: time of the set-up and of the opening book; None: of the first message.
    Raises LobsterError, before anything is given, when the book or the venue does not go with the messages.
    """
    known = directory if directory is not None else Directory()
    name = messages.name
    check_symbol(symbol, name)
    taken = [
        word
        for word, words in ((symbol, known.symbols), *((each, known.participants) for each in participants))
        if word in words
    ]
    if taken:
        raise LobsterError(f"{name}: the venue has {', '.join(taken)} already; run the file into a venue of its own.")
    if known.now_ns > messages.time_ns[0]:
        raise LobsterError(
            f"{name}:{messages.first_line}: the venue's clock is later than the file; run the file into a venue of "
            "its own."
        )
    before, horizon = book_before(messages, book)
    check_seed(before, book_name)
    first_price_e4 = reference_e4(messages, before)
    depth = min(levels or book.shape[1] // 4, book.shape[1] // 4)
    shown = ShownBook(book[: len(messages.type)], depth, messages)
    translation = _Translation(messages, shown, depth, known, horizon)
    translation.writer.time_ns = int(messages.time_ns[0]) if begin_ns is None else begin_ns
    set_up(translation.writer, participants, symbol, tick_e4, first_price_e4)
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
    return Flow(
        rows,
        instrument,
        seeded,
        translation.revealed,
        rows_after,
        horizon_e4,
        held,
        translation.fills,
        translation.notes,
    )
