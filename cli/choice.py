"""Selection of commands and events of a journal: masks over the rows of a block.

A cancel or replace does not name its instrument. If the market accepted it, its events name the instrument; if it was
rejected, the order with its client order id does, which ``OrderIds`` remembers.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli.errors import WrongUse
from cli.node import check_name
from engine.names import EVERY, Directory, pack
from engine.records import CommandKind, EventKind

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
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)


@dataclass(frozen=True)
class Selection:
    """Selection of rows: sequence numbers (both ends included; None: all on that side), names, and kinds by their word.

    follows: what a running node adds is selected too, as it comes; ``from_seq`` is given then.
    """

    from_seq: int | None
    to_seq: int | None
    symbol: str | None
    participant: str | None
    kinds: tuple[str, ...]
    follows: bool = False

    def check(self) -> None:
        """Raise WrongUse for impossible names."""
        check_name(self.symbol, "instrument")
        check_name(self.participant, "participant")


def kind_codes(words: tuple[str, ...], codes: type[IntEnum]) -> NDArray[np.uint8] | None:
    """Codes of kinds by their words; None for all. Raises WrongUse for an unknown word."""
    known = {code.name.lower(): int(code) for code in codes}
    for word in words:
        if word not in known:
            raise WrongUse(f"there is no kind {word!r}; the kinds are {', '.join(known)}")
    return np.array([known[word] for word in words], np.uint8) if words else None


def number_of(names: tuple[str, ...], name: str) -> int:
    """Number of a name, in order of definition; for an unknown name one that no row has."""
    return names.index(name) + 1 if name in names else _NOBODY


class OrderIds:
    """Instrument of each client order id that was entered or given by a replace; the newest use of an id counts.

    Sorted arrays of rising size: adding a block is cheap, and a look-up is a binary search.
    """

    def __init__(self) -> None:
        # Rows participant, client order id, seq, instrument; each contiguous, as a binary search needs it.
        self._sorted: list[NDArray[np.int64]] = []

    def learn(self, participants: Any, ids: Any, seqs: Any, instruments: Any) -> None:
        """Add ids, each with its command."""
        added = np.array([participants, ids, seqs, instruments], np.int64)
        while self._sorted and self._sorted[-1].shape[1] <= 2 * added.shape[1]:
            added = np.concatenate((self._sorted.pop(), added), axis=1)
        self._sorted.append(np.ascontiguousarray(added[:, np.lexsort((added[2], added[1], added[0]))]))

    def learn_block(self, rows: NDArray[Any], events: NDArray[Any], first_seq: int) -> None:
        """Add the ids of a block: those of ENTER rows, and the new ids of accepted replaces."""
        enters = np.flatnonzero(rows["kind"] == CommandKind.ENTER)
        entered = rows[enters]
        self.learn(entered["participant"], entered["client_order_id"], first_seq + enters, entered["instrument"])
        replaced = events[events["kind"] == EventKind.REPLACED]
        if len(replaced):
            self.learn(
                replaced["participant"], replaced["contra_client_order_id"], replaced["seq"], replaced["instrument"]
            )

    def instrument(self, participant: int, order_id: int, seq: int) -> int:
        """Instrument of the order that had an id before command ``seq``; 0 if none is known."""
        found_seq = found = 0
        for participants, ids, seqs, instruments in self._sorted:
            low, high = _run(participants, participant, 0, len(ids))
            low, high = _run(ids, order_id, low, high)
            before = low + int(np.searchsorted(seqs[low:high], seq, "left"))
            if before > low and seqs[before - 1] > found_seq:
                found_seq, found = int(seqs[before - 1]), int(instruments[before - 1])
        return found


@dataclass
class Choice:
    """Selection as masks, block by block. ``unknown``: number of rejected cancels and replaces whose order was never
    seen.
    """

    selection: Selection
    kinds: NDArray[np.uint8] | None
    ids: OrderIds = field(default_factory=OrderIds)
    unknown: int = 0

    def events(self, rows: NDArray[Any], commands: NDArray[Any], first_seq: int, names: Directory) -> NDArray[np.bool_]:
        """Mask of the selected EVENT rows of a block. ``commands``: its COMMAND rows, from ``first_seq`` on."""
        wanted: NDArray[np.bool_] = rows["seq"] >= (self.selection.from_seq or 1)
        if self.kinds is not None:
            wanted &= np.isin(rows["kind"], self.kinds)
        if self.selection.participant is not None:
            number = number_of(names.participants, self.selection.participant)
            wanted &= (rows["participant"] == number) | (rows["contra_participant"] == number)
        if self.selection.symbol is not None:
            number = number_of(names.symbols, self.selection.symbol)
            self.ids.learn_block(commands, rows, first_seq)
            refused = np.flatnonzero(wanted & np.isin(rows["kind"], _REFUSALS) & (rows["instrument"] == 0))
            wanted &= rows["instrument"] == number
            about = commands[rows["seq"][refused] - first_seq]
            orders = np.isin(about["kind"], (CommandKind.CANCEL, CommandKind.REPLACE))
            for at, row in zip(refused[orders].tolist(), about[orders], strict=True):
                wanted[at] = self._follows(row, int(rows[at]["seq"]), number)
        return wanted

    def commands(
        self, rows: NDArray[Any], lasts: NDArray[np.int64], events: NDArray[Any], first_seq: int, names: Directory
    ) -> NDArray[np.bool_]:
        """Mask of the selected commands of a block.

        lasts: the index in ``rows`` of the last row of each; an EXTEND row before it belongs to it.
        """
        last = rows[lasts]
        wanted: NDArray[np.bool_] = first_seq + lasts >= (self.selection.from_seq or 1)
        if self.kinds is not None:
            wanted &= np.isin(last["kind"], self.kinds)
        if self.selection.participant is not None:
            wanted &= self._of_participant(rows, lasts, names)
        if self.selection.symbol is not None:
            wanted &= self._of_symbol(rows, lasts, wanted, events, first_seq, names)
        return wanted

    def _of_participant(self, rows: NDArray[Any], lasts: NDArray[np.int64], names: Directory) -> NDArray[np.bool_]:
        name, last = str(self.selection.participant), rows[lasts]
        orders = np.isin(last["kind"], _OF_ORDERS)
        own = orders & (last["participant"] == number_of(names.participants, name))
        own |= orders & (last["participant"] == 0) & (_extension(rows, lasts, "name") == pack(name))
        about = np.isin(last["kind"], _OF_PARTICIPANT) & np.isin(last["name"], (pack(name), EVERY))
        user = (last["kind"] == CommandKind.USER) & (last["participant_name"] == pack(name))
        found: NDArray[np.bool_] = own | about | user
        return found

    def _of_symbol(
        self,
        rows: NDArray[Any],
        lasts: NDArray[np.int64],
        wanted: NDArray[np.bool_],
        events: NDArray[Any],
        first_seq: int,
        names: Directory,
    ) -> NDArray[np.bool_]:
        self.ids.learn_block(rows, events, first_seq)
        symbol, last = str(self.selection.symbol), rows[lasts]
        number, words = number_of(names.symbols, symbol), (pack(symbol), EVERY)
        enters = last["kind"] == CommandKind.ENTER
        found: NDArray[np.bool_] = enters & (last["instrument"] == number)
        found |= enters & (last["instrument"] == 0) & (_extension(rows, lasts, "symbol") == pack(symbol))
        found |= np.isin(last["kind"], _OF_SYMBOL) & np.isin(last["name"], words)
        found |= np.isin(last["kind"], _WITH_SYMBOL) & np.isin(last["symbol"], words)
        seqs = first_seq + lasts
        found |= np.isin(seqs, events["seq"][events["instrument"] == number])
        silent = ~np.isin(seqs, events["seq"][events["instrument"] != 0])
        silent &= wanted & np.isin(last["kind"], (CommandKind.CANCEL, CommandKind.REPLACE))
        for at in np.flatnonzero(silent).tolist():
            found[at] = self._follows(last[at], int(seqs[at]), number)
        return found

    def _follows(self, row: "np.void", seq: int, instrument: int) -> bool:
        """True if the order of a rejected cancel or replace is of the instrument; an unknown order is counted."""
        followed = self.ids.instrument(int(row["participant"]), int(row["client_order_id"]), seq)
        self.unknown += followed == 0
        return followed == instrument


def _run(values: NDArray[np.int64], value: int, low: int, high: int) -> tuple[int, int]:
    """Range of a value in the sorted ``values[low:high]``."""
    within = values[low:high]
    return low + int(np.searchsorted(within, value, "left")), low + int(np.searchsorted(within, value, "right"))


def _extension(rows: NDArray[Any], lasts: NDArray[np.int64], place: str) -> NDArray[np.int64]:
    """Values of one place of the EXTEND row before each command; 0 if there is none."""
    before = rows[np.maximum(lasts - 1, 0)]
    extended = (lasts > 0) & (before["kind"] == CommandKind.EXTEND)
    found: NDArray[np.int64] = np.where(extended, before[place], 0)
    return found
