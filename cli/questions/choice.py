"""Selection of commands and events of a journal: masks over the rows of a block.

A cancel or replace does not name its instrument and side. If the market accepted it, its events name them; if it was
rejected, the order with its client order id does, which ``OrderIds`` remembers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import screen
from cli.errors import WrongUse
from cli.questions.reading import check_name, next_seq, note_day
from engine.names import EVERY, Directory, pack
from engine.records import CommandKind, EventKind, Reason, Side
from notation.fix_marks import is_mark
from notation.moments import is_seq
from notation.rules import is_of_disconnect
from notation.words import price_e4 as price_of
from replay.times import first_seq_at, seq_at

#: Number of a participant or instrument that no row has; 0 in a row means none.
_NOBODY: Final = 2**32 - 1
#: Kinds that name an instrument, and kinds that may, beside a participant.
_OF_SYMBOL: Final = (CommandKind.INSTRUMENT, CommandKind.PHASE, CommandKind.HALT, CommandKind.RESUME)
_WITH_SYMBOL: Final = (CommandKind.MASS_CANCEL, CommandKind.LIMITS)
#: The kinds that name a participant by the number, and by the name.
_OF_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_OF_PARTICIPANT: Final = (
    *(CommandKind.PARTICIPANT, CommandKind.LIMITS, CommandKind.MASS_CANCEL),
    *(CommandKind.KILL, CommandKind.UNKILL),
)
#: Kinds that name a limit price, in a place that has other names in other kinds.
_PRICED: Final = (CommandKind.ENTER, CommandKind.REPLACE, CommandKind.CROSS)
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
#: Events whose side is that of the command's order.
LIFE: Final = (EventKind.ACCEPTED, EventKind.REPLACED, EventKind.CANCELED)
#: Runs of about one size that are merged at once.
_MERGED: Final = 8
_MIX: Final = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Selection:
    """Selection of rows: sequence numbers (both ends included; None: all on that side), names, and words of codes.

    contra: with ``participant`` the other side of its trades; alone either side. side: of an order; of a trade that of
    ``participant``, or of the aggressor where none is given. follows: what a running node adds is selected too, as it
    comes; ``from_seq`` is given then. price: of an event; of a command the limit that it names. without_sessions: marks
    of FIX sessions, which are no orders, are left out.
    """

    from_seq: int | None
    to_seq: int | None
    symbol: str | None = None
    participant: str | None = None
    kinds: tuple[str, ...] = ()
    contra: str | None = None
    side: str | None = None
    reasons: tuple[str, ...] = ()
    follows: bool = False
    price: str | None = None
    without_sessions: bool = False

    def check(self) -> None:
        """Raise WrongUse for impossible names and words."""
        check_name(self.symbol, "instrument")
        check_name(self.participant, "participant")
        check_name(self.contra, "participant")
        codes_of(self.reasons, Reason, "reason")
        try:
            _ = self.price_e4
        except ValueError as error:
            raise WrongUse(f"--price: {error}") from None

    @property
    def price_e4(self) -> int | None:
        """The price; None for all. Raises ValueError for a word that is none."""
        return None if self.price is None else price_of(self.price, "a price")

    @property
    def reason_codes(self) -> NDArray[np.uint8] | None:
        """Codes of the reasons; None for all."""
        return codes_of(self.reasons, Reason, "reason")

    @property
    def event_reasons(self) -> NDArray[np.uint8] | None:
        """Codes of the reasons that events of the selection may have; None for all.

        A node cancels the orders of a user who left one by one where its participant has others, and the market calls
        that ``user``: the COMMAND rows tell.
        """
        codes = self.reason_codes
        return np.append(codes, np.uint8(Reason.USER)) if codes is not None and self.of_disconnects else codes

    @property
    def of_disconnects(self) -> bool:
        """True where cancels after disconnects are asked for, those of owners are not."""
        asked = {word for word in self.reasons if word in ("disconnect", "user")}
        return asked == {"disconnect"}

    @property
    def side_code(self) -> int | None:
        """1 for buy, -1 for sell; None for both."""
        return None if self.side is None else int(Side[self.side.upper()])

    @property
    def by_order(self) -> bool:
        """True where a rejected cancel or replace must be followed to its order."""
        return self.symbol is not None or self.side is not None


def range_of(
    directory: Path, begin: str | None, end: str | None, *, follows: bool = False
) -> tuple[int | None, int | None] | None:
    """Sequence numbers of a range between two numbers or times, both ends included; None for all on that side.

    None, after a notice, where no command is between two times. ``follows``: what comes later counts too, and a range
    without a beginning begins with what comes next. Raises WrongUse for a number below 1, an end before the beginning
    (of two times where a command is between them), one that is not past yet, and what ``replay.times.seq_at`` raises.
    """
    for option, when in (("--from", begin), ("--to", end)):
        if when is not None and is_seq(when) and int(when) < 1:
            raise WrongUse(f"{option} is {when}; commands are numbered from 1")
    from_time, to_time = (when is not None and not is_seq(when) for when in (begin, end))
    from_seq = None if begin is None else first_seq_at(directory, begin) if from_time else int(begin)
    to_seq = None if end is None else seq_at(directory, end) if to_time else int(end)
    if follows and from_seq is None:
        from_seq = next_seq(directory)
    if not from_time and not to_time:
        check_order(from_seq, to_seq, begins=begin is not None)
        return from_seq, to_seq
    last_seq = seq_at(directory, None)
    if follows and to_time and to_seq == last_seq:
        raise WrongUse(f"--to {end} may not be past yet; give the number of a command")
    if not follows:
        note_day(directory, begin, end)
    first, last = from_seq or 1, last_seq if to_seq is None else to_seq
    if from_time and to_time and first > last + 1:
        raise WrongUse(f"--from {begin} is later than --to {end}")
    if first > last and not (follows and to_seq is None):
        span = " ".join(f"{word} {when}" for word, when in (("from", begin), ("to", end)) if when is not None)
        screen.notice(f"note: {directory} has no command {span}")
        return None
    return from_seq, to_seq


def check_order(from_seq: int | None, to_seq: int | None, *, begins: bool = True) -> None:
    """Raise WrongUse for a range that ends before it begins. ``begins``: its beginning was given."""
    if from_seq is None or to_seq is None or from_seq <= to_seq:
        return
    if not begins:
        raise WrongUse(f"command {to_seq:,} is past already, and {from_seq:,} comes next; give --from too")
    raise WrongUse(f"commands {from_seq:,} to {to_seq:,} are no range: the first comes after the last")


def kind_codes(words: tuple[str, ...], codes: type[IntEnum]) -> NDArray[np.uint8] | None:
    """Codes of kinds by their words; None for all. Raises WrongUse for an unknown word."""
    return codes_of(words, codes, "kind")


def codes_of(words: Sequence[str], codes: type[IntEnum], what: str) -> NDArray[np.uint8] | None:
    """Codes by their words; None for all. Raises WrongUse for an unknown word."""
    known = _known(codes)
    for word in words:
        if word not in known:
            raise WrongUse(f"there is no {what} {word!r}; the {what}s are {', '.join(known)}")
    return np.array([known[word] for word in words], np.uint8) if words else None


@cache
def _known(codes: type[IntEnum]) -> Mapping[str, int]:
    """The codes by their words; a question asks for them at each batch."""
    return {code.name.lower(): int(code) for code in codes}


def number_of(names: tuple[str, ...], name: str) -> int:
    """Number of a name, in order of definition; for an unknown name one that no row has."""
    return names.index(name) + 1 if name in names else _NOBODY


class _Run(NamedTuple):
    """Ids sorted by key, those of one key by sequence number. ``places``: rows participant, client order id, seq,
    instrument, side."""

    keys: NDArray[np.uint64]
    places: NDArray[np.int64]


class OrderIds:
    """Instrument and side of each client order id that was entered or given by a replace; the newest use counts.

    Sorted runs of rising size: adding a block is cheap, and a look-up is a binary search in each run.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._fresh: list[NDArray[np.int64]] = []

    def learn(self, participants: Any, ids: Any, seqs: Any, instruments: Any, sides: Any) -> None:
        """Add ids, each with its command, in the order of the commands."""
        self._fresh.append(np.array([participants, ids, seqs, instruments, sides], np.int64))

    def learn_block(
        self, rows: NDArray[Any], events: NDArray[Any], seqs: NDArray[np.int64], owner: int | None = None
    ) -> None:
        """Add the ids of commands numbered ``seqs``: those of ENTER rows, and the new ids of accepted replaces.

        ``owner``: those of this participant alone, and of rows that name it beside them.
        """
        enter, replace = rows["kind"] == CommandKind.ENTER, events["kind"] == EventKind.REPLACED
        if owner is not None:
            enter &= np.isin(rows["participant"], (owner, 0))
            replace &= events["participant"] == owner
        enters = np.flatnonzero(enter)
        entered = picked(rows, enters)
        ids = entered["client_order_id"]
        self.learn(entered["participant"], ids, seqs[enters], entered["instrument"], entered["side"])
        replaced = picked(events, replace)
        if len(replaced):
            ids = replaced["contra_client_order_id"]
            self.learn(replaced["participant"], ids, replaced["seq"], replaced["instrument"], replaced["side"])

    def orders(self, participants: Any, ids: Any, seqs: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Instrument and side of the orders that had ids before commands; 0 where none is known."""
        self._settle()
        asked = np.array([participants, ids, seqs], np.int64).reshape(3, -1)
        keys = _keys(asked[0], asked[1])
        found = np.zeros((3, asked.shape[1]), np.int64)  # seq, instrument, side
        for run in self._runs:
            low, at = np.searchsorted(run.keys, keys, "left"), np.searchsorted(run.keys, keys, "right") - 1
            open_ = np.flatnonzero(at >= low)
            while len(open_):
                there = run.places[:, at[open_]]
                fits = (there[:2] == asked[:2, open_]).all(axis=0) & (there[2] < asked[2, open_])
                newer = fits & (there[2] > found[0, open_])
                found[:, open_[newer]] = there[2:, newer]
                at[open_] -= 1
                open_ = open_[~fits & (at[open_] >= low[open_])]
        return found[1], found[2]

    def _settle(self) -> None:
        """Sort what was added since the last look-up into a run, and merge runs once several are as large."""
        if not self._fresh:
            return
        added = np.concatenate(self._fresh, axis=1)
        self._fresh.clear()
        # Two blocks of one sort are of one order: rows of a replace come after those of an enter of the same block.
        self._runs.append(_run_of([added[:, np.argsort(added[2], kind="stable")]]))
        while len(self._runs) >= _MERGED and len(self._runs[-_MERGED].keys) <= _MERGED * len(self._runs[-1].keys):
            merged = _run_of([run.places for run in self._runs[-_MERGED:]])
            self._runs[-_MERGED:] = [merged]


def _run_of(parts: list[NDArray[np.int64]]) -> _Run:
    """A run out of parts that follow each other in the journal."""
    places = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    keys = _keys(places[0], places[1])
    order = np.argsort(keys, kind="stable")
    return _Run(keys[order], places[:, order])


def _keys(participants: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Keys by which runs are sorted: two orders may share one, so a look-up compares both numbers too."""
    mixed: NDArray[np.uint64] = ids.astype(np.uint64) ^ (participants.astype(np.uint64) * np.uint64(_MIX))
    return mixed


@dataclass
class Choice:
    """Selection as masks over some rows. ``unknown``: number of rejected cancels and replaces whose order was never
    seen. ``learns``: false where ``ids`` has all that are asked for.
    """

    selection: Selection
    kinds: NDArray[np.uint8] | None
    ids: OrderIds = field(default_factory=OrderIds)
    learns: bool = True
    unknown: int = 0

    @property
    def needs_events(self) -> bool:
        """True where commands are selected by their events."""
        selection = self.selection
        return selection.by_order or selection.contra is not None or bool(selection.reasons)

    def events(
        self, rows: NDArray[Any], commands: NDArray[Any], seqs: NDArray[np.int64], names: Directory
    ) -> NDArray[np.bool_]:
        """Mask of the selected EVENT rows. ``commands``: the COMMAND rows that caused them, numbered ``seqs``; of a
        selection that is neither ``by_order``, ``of_disconnects`` nor ``without_sessions`` none is needed."""
        selection = self.selection
        wanted: NDArray[np.bool_] = rows["seq"] >= (selection.from_seq or 1)
        if selection.without_sessions:
            wanted &= ~np.isin(rows["seq"], seqs[is_mark(commands)])
        if self.kinds is not None:
            wanted &= np.isin(rows["kind"], self.kinds)
        if (reasons := selection.reason_codes) is not None:
            has_reason = np.isin(rows["reason"], reasons)
            if selection.of_disconnects:
                has_reason |= _of_disconnects(rows, commands, seqs)
            wanted &= has_reason
        if selection.price_e4 is not None:
            wanted &= rows["price_e4"] == selection.price_e4
        if selection.participant is not None:
            number = number_of(names.participants, selection.participant)
            wanted &= (rows["participant"] == number) | (rows["contra_participant"] == number)
        if selection.contra is not None:
            wanted &= self._trades(rows, names)
        if selection.by_order:
            if self.learns:
                self.ids.learn_block(commands, rows, seqs, self._owner(names))
            at = np.flatnonzero(wanted)
            wanted[at] = self._by_order(picked(rows, at), commands, seqs, names)
        return wanted

    def _owner(self, names: Directory) -> int | None:
        """Number of the participant whose refused commands are followed to their orders; None: of all."""
        name = self.selection.participant
        return None if name is None else number_of(names.participants, name)

    def _by_order(
        self, rows: NDArray[Any], commands: NDArray[Any], seqs: NDArray[np.int64], names: Directory
    ) -> NDArray[np.bool_]:
        """Mask of the EVENT rows of the instrument and side; of refusals those of their order."""
        symbol, side = self.selection.symbol, self.selection.side_code
        number = None if symbol is None else number_of(names.symbols, symbol)
        found: NDArray[np.bool_] = np.ones(len(rows), np.bool_)
        if number is not None:
            found &= rows["instrument"] == number
        if side is not None:
            found &= self._on_side(rows, side, names)
        refused = np.flatnonzero(np.isin(rows["kind"], _REFUSALS))
        about = picked(commands, np.searchsorted(seqs, rows["seq"][refused]))
        entered = about["kind"] == CommandKind.ENTER
        if side is not None:
            same = np.ones(len(about), np.bool_) if number is None else rows["instrument"][refused] == number
            found[refused[entered]] = (same & (about["side"] == side))[entered]
        follows = np.isin(about["kind"], (CommandKind.CANCEL, CommandKind.REPLACE))
        if side is None:
            follows &= rows["instrument"][refused] == 0
        at = refused[follows]
        found[at] = self._follow(about[follows], rows["seq"][at], number, side)
        return found

    def _on_side(self, rows: NDArray[Any], side: int, names: Directory) -> NDArray[np.bool_]:
        """Mask of the EVENT rows of a side; of a trade that of the selection's participant, or of the aggressor."""
        found: NDArray[np.bool_] = rows["side"] == side
        if self.selection.participant is None:
            return found
        trades = rows["kind"] == EventKind.TRADE
        number = number_of(names.participants, self.selection.participant)
        # The first order of a trade rests, on the other side; in an uncross it is the buy.
        first = np.where(rows["side"] == 0, int(Side.BUY), -rows["side"])
        own = ((rows["participant"] == number) & (first == side)) | (
            (rows["contra_participant"] == number) & (first == -side)
        )
        chosen: NDArray[np.bool_] = np.where(trades, own, found)
        return chosen

    def _trades(self, rows: NDArray[Any], names: Directory) -> NDArray[np.bool_]:
        """Mask of the trades with the other side of the selection."""
        contra = number_of(names.participants, str(self.selection.contra))
        first, second = rows["participant"], rows["contra_participant"]
        trades: NDArray[np.bool_] = rows["kind"] == EventKind.TRADE
        if self.selection.participant is None:
            trades &= (first == contra) | (second == contra)
            return trades
        own = number_of(names.participants, self.selection.participant)
        trades &= ((first == own) & (second == contra)) | ((first == contra) & (second == own))
        return trades

    def commands(
        self,
        rows: NDArray[Any],
        lasts: NDArray[np.int64],
        events: NDArray[Any],
        row_seqs: NDArray[np.int64],
        names: Directory,
    ) -> NDArray[np.bool_]:
        """Mask of the selected commands among rows numbered ``row_seqs``. ``events``: all that they caused.

        lasts: the index in ``rows`` of the last row of each; an EXTEND row before it belongs to it.
        """
        last, seqs = picked(rows, lasts), row_seqs[lasts]
        wanted: NDArray[np.bool_] = seqs >= (self.selection.from_seq or 1)
        if self.selection.without_sessions:
            wanted &= ~is_mark(last)
        if self.kinds is not None:
            wanted &= np.isin(last["kind"], self.kinds)
        if (reasons := self.selection.reason_codes) is not None:
            own = (last["kind"] == CommandKind.MASS_CANCEL) & np.isin(last["reason"], reasons)
            has_reason = np.isin(events["reason"], reasons)
            if self.selection.of_disconnects:
                has_reason |= _of_disconnects(events, rows, row_seqs)
            wanted &= own | np.isin(seqs, events["seq"][has_reason])
        if self.selection.price_e4 is not None:
            wanted &= np.isin(last["kind"], _PRICED) & (last["price_e4"] == self.selection.price_e4)
        if self.selection.participant is not None:
            wanted &= self._of_participant(rows, lasts, row_seqs, names)
        if self.selection.contra is not None:
            wanted &= np.isin(seqs, events["seq"][self._trades(events, names)])
        if self.selection.by_order:
            if self.learns:
                self.ids.learn_block(rows, events, row_seqs, self._owner(names))
            at = np.flatnonzero(wanted)
            wanted[at] = self._of_order(rows, lasts[at], events, row_seqs, names)
        return wanted

    def _of_participant(
        self, rows: NDArray[Any], lasts: NDArray[np.int64], row_seqs: NDArray[np.int64], names: Directory
    ) -> NDArray[np.bool_]:
        name, last = str(self.selection.participant), picked(rows, lasts)
        orders = np.isin(last["kind"], _OF_ORDERS)
        own = orders & (last["participant"] == number_of(names.participants, name))
        own |= orders & (last["participant"] == 0) & (_extension(rows, lasts, row_seqs, "name") == pack(name))
        about = np.isin(last["kind"], _OF_PARTICIPANT) & np.isin(last["name"], (pack(name), EVERY))
        user = (last["kind"] == CommandKind.USER) & (last["participant_name"] == pack(name))
        found: NDArray[np.bool_] = own | about | user
        return found

    def _of_order(
        self,
        rows: NDArray[Any],
        lasts: NDArray[np.int64],
        events: NDArray[Any],
        row_seqs: NDArray[np.int64],
        names: Directory,
    ) -> NDArray[np.bool_]:
        """Mask of the commands of the instrument and side; of rejected cancels and replaces those of their order."""
        side = self.selection.side_code
        number = None if self.selection.symbol is None else number_of(names.symbols, self.selection.symbol)
        last, seqs = picked(rows, lasts), row_seqs[lasts]
        events = picked(events, np.isin(events["seq"], seqs))
        found: NDArray[np.bool_] = np.ones(len(last), np.bool_)
        known = events["instrument"] != 0
        if number is not None:
            found &= self._of_symbol(rows, lasts, row_seqs, number)
            found |= np.isin(seqs, events["seq"][events["instrument"] == number])
        if side is not None:
            # The first event of a cancel or replace is of its own order; others may be of orders that it met.
            first = np.isin(events["kind"], LIFE) & np.append(True, np.diff(events["seq"]) != 0)[: len(events)]
            orders = np.isin(last["kind"], (CommandKind.CANCEL, CommandKind.REPLACE))
            named = (last["side"] == side) | ((last["kind"] == CommandKind.MASS_CANCEL) & (last["side"] == 0))
            found &= np.where(orders, np.isin(seqs, events["seq"][first & (events["side"] == side)]), named)
            known &= first
        silent = ~np.isin(seqs, events["seq"][known])
        silent &= np.isin(last["kind"], (CommandKind.CANCEL, CommandKind.REPLACE))
        found[silent] = self._follow(last[silent], seqs[silent], number, side)
        return found

    def _of_symbol(
        self, rows: NDArray[Any], lasts: NDArray[np.int64], row_seqs: NDArray[np.int64], number: int
    ) -> NDArray[np.bool_]:
        """Mask of the commands that name the instrument."""
        symbol, last = str(self.selection.symbol), picked(rows, lasts)
        words = (pack(symbol), EVERY)
        enters = last["kind"] == CommandKind.ENTER
        found: NDArray[np.bool_] = enters & (last["instrument"] == number)
        found |= enters & (last["instrument"] == 0) & (_extension(rows, lasts, row_seqs, "symbol") == pack(symbol))
        found |= np.isin(last["kind"], _OF_SYMBOL) & np.isin(last["name"], words)
        found |= np.isin(last["kind"], _WITH_SYMBOL) & np.isin(last["symbol"], words)
        return found

    def _follow(
        self, rows: NDArray[Any], seqs: NDArray[np.int64], instrument: int | None, side: int | None
    ) -> NDArray[np.bool_]:
        """Mask of the rejected cancels and replaces whose order is of the instrument and side; unknown orders are
        counted."""
        if len(rows) == 0:
            return np.zeros(0, np.bool_)
        instruments, sides = self.ids.orders(rows["participant"], rows["client_order_id"], seqs)
        self.unknown += int(((instruments == 0) & (rows["client_order_id"] != 0)).sum())  # 0: a mark of a FIX session
        found: NDArray[np.bool_] = instruments != 0
        if instrument is not None:
            found &= instruments == instrument
        return found if side is None else found & (sides == side)


def _of_disconnects(events: NDArray[Any], commands: NDArray[Any], seqs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mask of the EVENT rows of orders that a node canceled one by one, as their user left."""
    found: NDArray[np.bool_] = (events["kind"] == EventKind.CANCELED) & (events["reason"] == Reason.USER)
    return found & np.isin(events["seq"], seqs[is_of_disconnect(commands)])


def picked(rows: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    """Rows at indices, or under a mask. NumPy would copy rows place by place, since places have several names."""
    if at.dtype != np.bool_ and len(at) == len(rows):
        return rows
    chosen: NDArray[Any] = rows.view(f"V{rows.itemsize}")[at].view(rows.dtype)
    return chosen


def _extension(
    rows: NDArray[Any], lasts: NDArray[np.int64], row_seqs: NDArray[np.int64], place: str
) -> NDArray[np.int64]:
    """Values of one place of the EXTEND row before each command; 0 if there is none."""
    extends = rows["kind"] == CommandKind.EXTEND
    found = np.zeros(len(lasts), np.int64)
    if extends.any():
        before = np.maximum(lasts - 1, 0)
        extended = (lasts > 0) & extends[before] & (row_seqs[before] + 1 == row_seqs[lasts])
        found[extended] = rows[place][before[extended]]
    return found
