"""Effects of commands that waited for the entry delay: by which clock value, and which events are whose (ADR 44)."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.records import COMMAND, CommandKind, EventKind, Phase, Reason
from engine.reference.venue import Venue, Witness
from engine.views import Waiting
from journal.history import History
from replay.moments import Moments
from replay.times import first_seq_not_earlier

if TYPE_CHECKING:
    from engine.reference import ReferenceEngine

#: Answers to an enter, cancel or replace, beside a cancel by its owner (``reports.waiting``).
_ANSWERS: Final = (EventKind.ACCEPTED, EventKind.REJECTED, EventKind.REPLACED, EventKind.CANCEL_REJECTED)


def _readable(engine: MarketEngine) -> "ReferenceEngine":
    """The market of a compiled engine in the readable one, which tells what happens within a command."""
    from engine.engine import Engine  # with its kernels, which an order's history mostly does without
    from engine.reference import ReferenceEngine

    assert isinstance(engine, Engine)
    parts = {name: dict(part) for name, part in engine.parts().items()}
    return ReferenceEngine.restore(engine.capacity, engine.seq, engine.event_digest, parts)


def witness_of(
    directory: Path, seq: int, commands: NDArray[Any], before_effect: Callable[[int, Venue], None] | None = None
) -> Witness:
    """An account of what happened within commands, COMMAND rows from number ``seq`` on (``Witness``).

    Raises what replay and journal raise.
    """
    witness = Witness(before_effect=before_effect)
    _readable(Moments(directory).at(seq - 1)).apply_before(commands, witness)
    return witness


def caused_by(waiting: Waiting, events: NDArray[Any], witness: Callable[[], Witness]) -> NDArray[np.int64]:
    """Number of the command that caused each event of one clock value; 0: none that waited.

    ``waiting``: commands that wait before it. Each answer is that of the next one, and so is what follows it, up to an
    order that expires or a phase that no breaker brings. A close may be a breaker's or a schedule's: ``witness`` tells,
    and is asked for then alone, since it takes long.
    """
    kinds, reasons = events["kind"], events["reason"]
    answers = np.isin(kinds, _ANSWERS)
    answers |= (kinds == EventKind.CANCELED) & np.isin(reasons, (Reason.USER, Reason.REPLACED))
    ends = (kinds == EventKind.PHASE) & (events["phase"] != Phase.CLOSED)
    ends |= (kinds == EventKind.CANCELED) & (reasons == Reason.EXPIRED)
    closes = (kinds == EventKind.PHASE) & (events["phase"] == Phase.CLOSED)
    found = np.zeros(len(events), np.int64)
    seqs = waiting.seq.tolist()
    place = current = 0
    for at, (is_answer, is_end, is_close) in enumerate(
        zip(answers.tolist(), ends.tolist(), closes.tolist(), strict=True)
    ):
        if is_answer:
            current = seqs[place] if place < len(seqs) else 0
            place += 1
        elif is_end:
            current = 0
        elif is_close and current:
            found[:] = 0
            for seq, first, end in witness().effects:
                found[first:end] = seq
            return found
        found[at] = current
    return found


def effect_seq(history: History, due_ns: int) -> int | None:
    """Number of the clock value that makes due what is due at a time; None where it has not come yet.

    Raises JournalError, ReplayError.
    """
    found = first_seq_not_earlier(history, due_ns)
    return found if found <= history.last_seq else None


class Entry(NamedTuple):
    """A command that waited for its effect: its number, and the clock at it and at the effect, ns since 1970."""

    seq: int
    time_ns: int
    effect_ns: int


class Entries:
    """Commands behind events that clock values gave. ``notes``: sentences for the user.

    seqs: numbers of the commands that caused the events, rising. Raises what replay and journal raise.
    """

    def __init__(self, directory: Path, seqs: Iterable[int]) -> None:
        self._found: dict[bytes, list[Entry]] = {}
        moments = Moments(directory, ids=False)
        self.notes = moments.notes
        for seq, row in _clock_values(directory, seqs):
            engine = moments.at(seq - 1)
            waiting, delay_ns = engine.waiting(), engine.speed_bump_ns
            if not len(waiting.seq):
                continue
            due_ns = dict(zip(waiting.seq.tolist(), waiting.due_ns.tolist(), strict=True))
            events = moments.events_to(seq)
            witness = partial(witness_of, directory, seq, row)
            for event, by_seq in zip(events, caused_by(waiting, events, witness).tolist(), strict=True):
                if by_seq:
                    entry = Entry(by_seq, due_ns[by_seq] - delay_ns, engine.now_ns)
                    self._found.setdefault(event.tobytes(), []).append(entry)

    def __bool__(self) -> bool:
        return bool(self._found)

    def of(self, event: "np.void") -> Entry | None:
        """The command that waited and caused an event; None where none did."""
        return self._found.get(event.tobytes(), [None])[0]


def _clock_values(directory: Path, seqs: Iterable[int]) -> list[tuple[int, NDArray[Any]]]:
    """Those of some commands that are clock values, each as COMMAND rows, shape (1,)."""
    found = []
    with History.open(directory) as history:
        for seq in seqs:
            for block in history.blocks(seq, seq):
                at = seq - block.first_seq
                row = np.frombuffer(block.rows, COMMAND)[at : at + 1].copy()
                found += [(seq, row)] if row["kind"][0] == CommandKind.CLOCK else []
    return found
