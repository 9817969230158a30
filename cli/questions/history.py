"""Content of a journal in the rulebook's notation: `lockstep events` and `lockstep commands`.

Both read all slices of the journal that the range has (``replay.past``).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.choice import Choice, Selection, kind_codes, picked
from cli.questions.excerpt import CommandRows, Excerpt, excerpt_of, indexed
from cli.questions.reading import AtStart, plays, plays_on
from cli.questions.tokens import TokensBeside
from cli.warmup import ready
from engine.names import Directory
from engine.records import COMMAND, CommandKind, EventKind, Reason
from engine.row_bytes import event_values
from journal import Journal
from journal.quarantine import read_quarantine
from node.core.halts_in_journal import is_list
from notation.fix_marks import meanings
from notation.objects import command_object, event_objects
from notation.print import Printer, event_parties, print_event_values
from notation.rules import RULES, is_of_disconnect
from notation.words import there_are, time
from replay.past import PlayedBlock, RowRange, gathered
from replay.quarantined import play_quarantine

#: Lines that are written at once.
_LINES_HELD: Final = 1 << 12
#: Words on a row by which a node lists its own halts (``node.core.halts_in_journal``).
_OWN_HALTS: Final = "halted by the node itself; numbers of the phases to restore"
#: Commands that define no name and set no clock.
_BY_THEMSELVES: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)


class Look(NamedTuple):
    """Form of a print. ``with_seq``, ``with_time``: in a comment behind each line; ``with_events``: below commands."""

    with_seq: bool = False
    with_time: bool = False
    with_events: bool = False
    as_json: bool = False

    def noted(self, line: str, seq: str | int, time_ns: int, parties: str = "") -> str:
        """A line with its comment."""
        words = [str(seq)] if self.with_seq else []
        words += [time(time_ns)] if self.with_time else []
        words += [parties] if parties else []
        return f"{line}  # {' '.join(words)}" if words else line


def events(directory: Path, selection: Selection, look: Look) -> int:
    """`lockstep events`: print events, one a line."""
    choice = Choice(selection, kind_codes(selection.kinds, EventKind))
    selection.check()
    names, tokens = Directory(), TokensBeside(directory)
    for rows, seqs, caused, clock_at, _, names in _event_excerpts(directory, choice):
        if selection.follows:
            tokens.learn(rows)
        chosen = picked(caused, choice.events(caused, rows, seqs, names))
        if not len(chosen):
            continue
        clock_ns = clock_at(chosen["seq"])
        if look.as_json:
            write_lines(screen.json_line(each) for each in event_objects(chosen, names, clock_ns))
        else:
            marks = meanings(rows, seqs)
            if selection.of_disconnects:  # their reason in the line is that of the market
                marks |= _disconnects(rows, seqs)
            write_lines(event_lines(chosen, clock_ns, names, look, tokens, marks))
    check_names(selection, names, directory)
    _note_unknown(choice, "events")
    return errors.FINE


def event_lines(
    events: NDArray[Any],
    clock_ns: NDArray[np.int64],
    names: Directory,
    look: Look,
    tokens: TokensBeside | None = None,
    marks: Mapping[int, str] | None = None,
) -> Iterator[str]:
    """Events in the notation, each with its participants in a comment, and with the ``tokens`` of ids that are none.

    ``clock_ns``: the clock at each. ``marks``: words on the commands behind them, as of a mark of a FIX session.
    """
    for values, time_ns in zip(event_values(events), clock_ns.tolist(), strict=True):
        line, parties = print_event_values(values, names), event_parties(values, names)
        if tokens is not None and (named := tokens.of(line)):
            parties = f"{parties}; {named}" if parties else named
        if marks and values[0] in marks:
            parties = f"{parties}: {marks[values[0]]}"
        yield look.noted(line, values[0], time_ns, parties)


def commands(directory: Path, selection: Selection, look: Look, *, quarantine: str | None = None) -> int:
    """`lockstep commands`: print a scenario that gives the same rows again, or one JSON object a line.

    An EXTEND row belongs to the command after it and is printed with it, by the number of that command.
    ``quarantine``: name of a quarantine whose commands are printed, in place of those of the journal.
    """
    choice = Choice(selection, kind_codes(selection.kinds, CommandKind))
    selection.check()
    with _Lines() as lines:
        names = _print_commands(directory, choice, look, quarantine, lines)
    check_names(selection, names, directory)
    _note_unknown(choice, "commands")
    return errors.FINE


def _print_commands(directory: Path, choice: Choice, look: Look, quarantine: str | None, lines: "_Lines") -> Directory:
    """Print the commands of a selection; gives the names that the venue has after them."""
    names, tokens = Directory(), TokensBeside(directory)
    printer: Printer | None = None
    for rows, seqs, events, clock_at, before, names in _excerpts(directory, choice, look, quarantine):
        printer = printer or Printer(before)
        if choice.selection.follows:
            tokens.learn(rows)
        lasts = np.flatnonzero(~_goes_on(rows, seqs))
        wanted = choice.commands(rows, lasts, events, seqs, names)
        defines = np.isin(rows["kind"][lasts], (CommandKind.INSTRUMENT, CommandKind.PARTICIPANT))
        chosen = np.flatnonzero(wanted | defines)
        if not len(chosen):
            continue
        marks = meanings(rows, seqs) | _own_halts(rows, seqs) | _disconnects(rows, seqs)
        lasts, firsts = lasts[chosen], np.concatenate(([0], lasts[:-1] + 1))[chosen]
        by_itself = (firsts == lasts) & np.isin(rows["kind"][lasts], _BY_THEMSELVES) & (seqs[lasts] != 1)
        lows, highs = (np.searchsorted(events["seq"], seqs[lasts], side) for side in ("left", "right"))
        earlier_ns, clock_ns = clock_at(seqs[firsts] - 1).tolist(), clock_at(seqs[lasts]).tolist()
        each = zip(
            *(firsts.tolist(), lasts.tolist(), seqs[lasts].tolist(), earlier_ns, clock_ns),
            *(by_itself.tolist(), wanted[chosen].tolist(), lows.tolist(), highs.tolist()),
            strict=True,
        )
        raw = memoryview(rows.view(np.uint8).data)
        for first, last, seq, began_ns, time_ns, is_by_itself, is_wanted, low, high in each:
            if is_by_itself:
                texts = [printer.line(bytes(raw[64 * last : 64 * last + 64]))]
            else:
                printer.go_to(began_ns, first=seq == last - first + 1)
                first_seq = seq - (last - first)
                texts = printer.print_block(rows[first : last + 1], events[low:high], first_seq, with_events=False)
            if not is_wanted:
                continue
            if not look.as_json:
                notes = (marks.get(seq), tokens.of_command(texts[0]))
                lines.add(look.noted(texts[0], seq, time_ns, "; ".join(filter(None, notes))), *texts[1:])
            if not look.as_json and not look.with_events:
                continue
            events_of, times_ns = events[low:high], np.full(high - low, time_ns)
            if look.as_json:
                told = event_objects(events_of, names, times_ns) if look.with_events else None
                words = [text.removeprefix("raw ") for text in texts if text.startswith("raw ")]
                unit = list(rows[first : last + 1])
                lines.add(screen.json_line(command_object(unit, seq, names, time_ns, raw=words, events=told)))
            else:
                lines.add(*event_lines(events_of, times_ns, names, Look(), tokens, marks))
        lines.write()
    return names


def _own_halts(rows: NDArray[Any], seqs: NDArray[np.int64]) -> dict[int, str]:
    """Words on the lists of halts that a node has ordered for itself, by command."""
    return dict.fromkeys(seqs[is_list(rows)].tolist(), _OWN_HALTS)


def _disconnects(rows: NDArray[Any], seqs: NDArray[np.int64]) -> dict[int, str]:
    """Words on the cancels of orders whose user left, by command."""
    return dict.fromkeys(seqs[is_of_disconnect(rows)].tolist(), RULES[Reason.DISCONNECT].sentence)


def command_seqs(directory: Path, selection: Selection) -> Generator[NDArray[np.int64], None, None]:
    """Sequence numbers of the commands of a selection, some at a time; as `lockstep commands` selects them.

    Raises WrongUse for a name that cannot be, ReplayError, JournalError.
    """
    selection.check()
    choice = Choice(selection, kind_codes(selection.kinds, CommandKind))
    for rows, seqs, events, _, _, names in _excerpts(directory, choice, Look(), None):
        lasts = np.flatnonzero(~_goes_on(rows, seqs))
        found = seqs[lasts[choice.commands(rows, lasts, events, seqs, names)]]
        if len(found):
            yield found


def _event_excerpts(directory: Path, choice: Choice) -> Iterator[Excerpt]:
    """The events that may be of a selection, by the index or by a replay."""
    with indexed(directory, choice, CommandRows.TELLING) as found:
        if found is not None:
            yield from found
            return
    start, lead = _start(choice)
    for play, before, names in chosen_plays(directory, choice.selection, lead=lead, at_start=start):
        yield excerpt_of(play, before, names)


def _excerpts(directory: Path, choice: Choice, look: Look, quarantine: str | None) -> Iterator[Excerpt]:
    """The commands that may be of a selection, whole, by the index or by a replay; or those of a quarantine."""
    if quarantine is not None:
        selection = choice.selection
        source = play_quarantine(directory, quarantine, selection.from_seq, selection.to_seq, prepare=ready)
    else:
        with indexed(directory, choice, CommandRows.ALL) as found:
            if found is not None:
                yield from found
                return
        source = _source(directory, choice, need_events=look.with_events or choice.needs_events)
    for stretch in stretches(source, lambda: _last_seq(directory, quarantine)):
        rows = RowRange(stretch.first_seq, stretch.rows, stretch.events, stretch.extended)
        yield excerpt_of(rows, stretch.before, stretch.names)


class JournalRange(NamedTuple):
    """Whole commands of a journal: COMMAND rows from ``first_seq`` on and their EVENT rows, with the venue's directory
    before and after them. ``extended``: as of ``PlayedRows``."""

    rows: NDArray[Any]
    events: NDArray[Any]
    first_seq: int
    before: Directory
    names: Directory
    extended: bool = False


def _source(directory: Path, choice: Choice, *, need_events: bool) -> Iterator[PlayedBlock]:
    """Blocks of the journal that have a row of the selection."""
    selection = choice.selection
    start, lead = _start(choice)
    # The row before the range may be the EXTEND row of its first command.
    return chosen_plays(directory, selection, lead=lead, row_before=True, at_start=start, need_events=need_events)


def chosen_plays(
    directory: Path,
    selection: Selection,
    *,
    lead: bool = False,
    row_before: bool = False,
    at_start: AtStart | None = None,
    need_events: bool = True,
    on_capacity: Callable[[], None] = lambda: None,
) -> Iterator[PlayedBlock]:
    """Blocks of a selection, of a journal as it is or of one that grows; otherwise as ``reading.plays`` and
    ``plays_on``."""
    from_seq, to_seq = selection.from_seq, selection.to_seq
    if not selection.follows:
        return gathered(
            plays(
                directory,
                from_seq,
                to_seq,
                "replaying",
                lead=lead,
                row_before=row_before,
                at_start=at_start,
                need_events=need_events,
            )
        )
    return plays_on(
        directory,
        from_seq or 1,
        to_seq,
        lead=lead,
        row_before=row_before,
        at_start=at_start,
        on_names=lambda names: check_names(selection, names, directory),
        on_capacity=on_capacity,
    )


def stretches(source: Iterator[PlayedBlock], last_seq: Callable[[], int]) -> Iterator[JournalRange]:
    """Whole commands of blocks; an EXTEND row at the end of a block is moved to the command after it.

    An EXTEND row at the end of the selection is left out with a note, unless the source ends with it (``last_seq``).
    """
    left = np.empty(0, COMMAND)
    next_seq, before = 1, Directory()
    for play, earlier, names in source:
        extended = play.extended and not len(left)
        if len(left) == 0:
            before = earlier
        # As bytes: NumPy would pack rows whose places overlap.
        rows = np.frombuffer(left.tobytes() + play.commands.tobytes(), COMMAND)
        first_seq = play.first_seq - len(left)
        keep = len(rows) - int(_goes_on(rows, open_end=True)[-1])
        left, next_seq = rows[keep:], first_seq + keep
        if keep:
            yield JournalRange(rows[:keep], play.events, first_seq, before, names, extended)
        before = names
    if len(left):
        if last_seq() > next_seq:
            screen.notice(
                f"note: command {next_seq:,} extends command {next_seq + 1:,} and is printed with it; "
                f"give --to {next_seq + 1} to have both"
            )
            return
        yield JournalRange(left, np.empty(0, play.events.dtype), next_seq, before, names)


def _goes_on(rows: NDArray[Any], seqs: NDArray[np.int64] | None = None, *, open_end: bool = False) -> NDArray[np.bool_]:
    """Mask of the rows that belong to the command after them: EXTEND rows right before another kind of row.

    ``seqs``: their numbers, where some between them are left out. ``open_end``: an EXTEND row at the end counts too.
    """
    extends: NDArray[np.bool_] = rows["kind"] == CommandKind.EXTEND
    after = np.concatenate((extends[1:], [not open_end]))
    if seqs is not None:
        after[:-1] |= np.diff(seqs) != 1
    return extends & ~after


def _last_seq(directory: Path, quarantine: str | None) -> int:
    """Last command of the journal, or of a quarantine."""
    if quarantine is not None:
        return read_quarantine(directory, quarantine).last_seq
    with Journal.open(directory, readonly=True) as journal:
        return journal.last_seq


def _start(choice: Choice) -> tuple[AtStart | None, bool]:
    """Call for the open orders before the first block, and True if blocks before the range are needed: to follow
    rejected cancels to their order, the order must be known.
    """
    if not choice.selection.by_order:
        return None, False

    def learn(orders: NDArray[Any], seq: int) -> None:
        ids, seqs = orders["client_order_id"], np.full(len(orders), seq)
        choice.ids.learn(orders["participant"], ids, seqs, orders["instrument"], orders["side"])

    return learn, True


def _note_unknown(choice: Choice, what: str) -> None:
    if choice.unknown:
        refused = screen.counted(choice.unknown, "rejected cancel or replace", "rejected cancels and replaces")
        screen.notice(
            f"note: {refused} left out: no order with that id is known, so instrument and side are unknown; "
            f"`lockstep {what}` without --symbol and --side prints {'it' if choice.unknown == 1 else 'them'}"
        )


def check_names(selection: Selection, names: Directory, directory: Path) -> None:
    """Raise WrongUse for unknown names, in place of an empty answer."""
    for name, known, what in (
        (selection.symbol, names.symbols, "instrument"),
        (selection.participant, names.participants, "participant"),
        (selection.contra, names.participants, "participant"),
    ):
        if name is not None and name not in known:
            raise WrongUse(f"there is no {what} {name} in {directory}; {there_are(known)}")


class _Lines:
    """Lines to print, written many at a time; what was added before an error is written too."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self.write()

    def add(self, *lines: str) -> None:
        """Add lines."""
        self._held += lines
        if len(self._held) >= _LINES_HELD:
            self.write()

    def write(self) -> None:
        """Write what was added."""
        held, self._held = self._held, []
        write_lines(held)


def write_lines(lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    if text:
        screen.print_line(text)
