"""A journal replayed with a change, into a new directory, and what would have come of it: `lockstep whatif`.

The other commands stand as they were, with their times: nobody reacts to what is left out. A cancel of an order that
is left out goes with it; one of an order that never came to be is refused, as it would have been. What is put in comes
after all that the journal has of its time.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.proofs.insertions import Insertion, Insertions, of_file, of_limits
from cli.proofs.outcome_tables import show_outcomes
from cli.questions.choice import Selection, number_of, picked
from cli.questions.history import chosen_plays, stretches
from cli.questions.order import Asked, orders_of
from cli.questions.reading import check_name, rebuilt_at
from cli.questions.reports import room_of
from cli.warmup import ready
from directory.begin import holds_journal
from directory.recover import create
from engine.interface import EngineKind
from engine.names import Directory, pack
from engine.records import CommandKind, concatenate, limit_bits
from journal.history import History
from notation.words import there_are
from replay.outcome import Facts, Outcome
from sequencer.pump import pump
from sequencer.stamp import FileStamp

_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CROSS)


@dataclass(frozen=True)
class Change:
    """Commands to leave out: all orders of participants, orders by id or token, commands by number. ``limits``: words
    of `limits` commands to put in; ``insert``: a scenario file of commands to put in by their times.

    ``span``: first and last command to which ``without`` applies, None for no bound; limits are put in at the first.
    """

    without: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    drops: tuple[int, ...] = ()
    limits: tuple[str, ...] = ()
    insert: Path | None = None
    span: tuple[int | None, int | None] = (None, None)

    @property
    def words(self) -> str:
        """The change in words."""
        parts = [f"without {name}" for name in self.without]
        parts += [f"without order {order_id}" for order_id in self.orders]
        parts += [f"without command {screen.count(seq)}" for seq in self.drops]
        parts += [f"with limits {words}" for words in self.limits]
        parts += [f"with the commands of {self.insert}"] if self.insert is not None else []
        for word, seq in zip(("from", "to"), self.span, strict=True):
            parts += [f"{word} command {screen.count(seq)}"] if seq is not None else []
        return ", ".join(parts)


def whatif(
    directory: Path, data: Path, change: Change, participant: str | None, engine: EngineKind, *, as_json: bool = False
) -> int:
    """`lockstep whatif`: replay with the change into ``data``, by one of the engines, and print how the outcome
    differs."""
    if not (change.without or change.orders or change.drops or change.limits or change.insert):
        raise WrongUse("nothing is to change; give --without, --order, --drop, --set or --insert")
    if change.span != (None, None) and not (change.without or change.limits):
        raise WrongUse("--from and --to say where --without and --set apply; give one of these")
    for name in change.without:
        check_name(name, "participant")
    if holds_journal(data) or (data.exists() and any(data.iterdir())):
        raise WrongUse(f"{data} is not empty; name a new directory with --data")
    room = room_of(directory, Selection(None, None))
    with History.open(directory) as history:
        last_seq = history.last_seq
    if beyond := [seq for seq in change.drops if seq > last_seq]:
        raise WrongUse(f"there is no command {beyond[0]:,} in {directory}: its journal ends at {last_seq:,}")
    end = rebuilt_at(directory, None).engine
    _check_known(change, end.directory, directory)
    inserted = Insertions(_insertions(directory, change, end.directory))
    leaves_out = _left_out(directory, change, participant)
    ready()
    before, after = Outcome(), Outcome()
    counts = {"dropped": 0}
    set_again: list[int] = []
    names = Directory()

    def changed() -> Iterator[NDArray[Any]]:
        nonlocal names
        blocks = chosen_plays(directory, Selection(1, last_seq)) if last_seq else iter(())
        for stretch in stretches(blocks, lambda: last_seq):
            names = stretch.names
            before.take(stretch.first_seq, stretch.rows, stretch.events)
            out = leaves_out(stretch.rows, stretch.first_seq, names)
            counts["dropped"] += int(out.sum())
            set_again.extend(_set_again(change, end.directory, stretch.rows, stretch.first_seq, out))
            begin = 0
            for at, rows in inserted.cuts(stretch.rows, stretch.first_seq, stretch.before.now_ns):
                if not out[begin:at].all():
                    yield concatenate([picked(stretch.rows[begin:at], ~out[begin:at])])
                yield rows
                begin = at
            if not out[begin:].all():
                yield concatenate([picked(stretch.rows[begin:], ~out[begin:])])
        yield from inserted.rest(names.now_ns)

    with _made_aside(data) as aside:
        journal, market = create(aside, room, engine=engine, durability="none")
        with journal:
            report = pump(changed(), FileStamp(), journal, market, publishers=(after.take,), durability="none")
    facts = {
        "change": change.words,
        "data": str(data),
        "engine": engine,
        "commands": last_seq,
        "left_out": counts["dropped"],
        "put_in": inserted.rows,
        "seq": report.seq,
        "event_digest": report.event_digest.hex(),
        "before": before.facts(names),
        "after": after.facts(market.directory),
    }
    if as_json:
        screen.print_json(facts)
    else:
        _show(facts)
    if set_again:
        last = set_again[-1]
        screen.notice(
            f"note: limits that --set names are set again by the journal, the last of them by command {last:,}, and "
            f"count as it says from there on; --from {last + 1:,} sets them after it"
        )
    return errors.FINE


def _set_again(
    change: Change, names: Directory, rows: NDArray[Any], first_seq: int, out: NDArray[np.bool_]
) -> Iterator[int]:
    """Numbers of commands that stay and set limits which ``--set`` sets before them."""
    stays = np.flatnonzero(~out & (rows["kind"] == CommandKind.LIMITS))
    for words in change.limits if len(stays) else ():
        wanted = of_limits(words, names, None).rows
        wanted = wanted[wanted["kind"] == CommandKind.LIMITS][0]
        same = (rows["name"][stays] == wanted["name"]) & (rows["symbol"][stays] == wanted["symbol"])
        for at in stays[same].tolist():
            if first_seq + at >= (change.span[0] or 1) and _named_limits(rows[at]) & _named_limits(wanted):
                yield first_seq + at


def _named_limits(row: "np.void") -> int:
    """Bits of ``Limit`` that a LIMITS row names."""
    return limit_bits(*(int(row[place]) for place in ("limits", "further_limits", "further_off")))[0]


@contextmanager
def _made_aside(data: Path) -> Iterator[Path]:
    """A folder beside ``data`` that gets its name once the work is done, so that a crash leaves no half market there.

    What a killed command has left is removed. Raises WrongUse where another one is at work.
    """
    aside = data.absolute().with_name(f".{data.name}.whatif")
    busy = f"another whatif makes {data} now; wait for its end, or name another directory"
    aside.parent.mkdir(parents=True, exist_ok=True)
    if aside.is_dir():
        with _locked(aside, busy):
            shutil.rmtree(aside)
    try:
        aside.mkdir(mode=0o700)  # as any data directory
    except FileExistsError:
        raise WrongUse(busy) from None
    with _locked(aside, busy):
        try:
            yield aside
            os.replace(aside, data)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextmanager
def _locked(folder: Path, busy: str) -> Iterator[None]:
    """Lock a folder until the end, or that of the process. Raises WrongUse where another has it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise WrongUse(busy) from None
    try:
        yield
    finally:
        os.close(fd)


def _left_out(
    directory: Path, change: Change, participant: str | None
) -> Callable[[NDArray[Any], int, Directory], NDArray[np.bool_]]:
    """Mask of the rows that are left out, of whole commands from a number on, by the names there."""
    spans: list[tuple[int, int, int, NDArray[np.int64]]] = []  # participant, first and last command, ids
    for order_id in change.orders:
        lives, _ = orders_of(directory, Asked(order_id), participant)
        for life in lives:
            first = int(life.moments[0].event["seq"])
            last = 2**62 if life.leaves_qty else int(life.moments[-1].event["seq"])
            spans.append((life.participant, first, last, np.array(sorted(life.borne), np.int64)))
    drops = np.array(sorted(change.drops), np.int64)

    def mask(rows: NDArray[Any], first_seq: int, names: Directory) -> NDArray[np.bool_]:
        seqs = first_seq + np.arange(len(rows))
        orders = np.isin(rows["kind"], _ORDERS)
        out: NDArray[np.bool_] = np.isin(seqs, drops)
        in_span = (seqs >= (change.span[0] or 1)) & (seqs <= (change.span[1] or seqs[-1]))
        for name in change.without:
            # A cross that others enter for the participant is one of its trades.
            party = (rows["kind"] == CommandKind.CROSS) & (
                (rows["buyer"] == pack(name)) | (rows["seller"] == pack(name))
            )
            out |= in_span & (party | (orders & (rows["participant"] == number_of(names.participants, name))))
        for number, first, last, ids in spans:
            of_order = (seqs >= first) & (seqs <= last) & np.isin(rows["client_order_id"], ids)
            out |= orders & of_order & (rows["participant"] == number)
        extends = rows["kind"] == CommandKind.EXTEND
        # An EXTEND row goes with the command after it, and a command with the EXTEND row before it.
        with_next = extends & np.append(out[1:], False)
        with_last = np.append(False, (out & extends)[:-1])
        whole: NDArray[np.bool_] = out | with_next | with_last
        return whole

    return mask


def _insertions(directory: Path, change: Change, names: Directory) -> list[Insertion]:
    """Rows to put in, in the order of the options."""
    found = [of_limits(words, names, change.span[0]) for words in change.limits]
    if change.insert is not None:
        first_ns = 0
        with History.open(directory) as history:
            for block in history.blocks():
                first_ns = first_ns or block.time_ns
                break
        found += of_file(change.insert, names, first_ns)
    return found


def _check_known(change: Change, names: Directory, directory: Path) -> None:
    for name in change.without:
        if name not in names.participants:
            raise WrongUse(f"there is no participant {name} in {directory}; {there_are(names.participants)}")


def _show(facts: Facts) -> None:
    before, after = facts["before"], facts["after"]
    left_out = screen.counted(facts["left_out"], "row")
    put_in = f", {screen.counted(facts['put_in'], 'row')} put in" if facts["put_in"] else ""
    screen.print_line(f"{facts['change']}: {left_out} left out{put_in}, the others as they were")
    show_outcomes(before, after, ("was", "would be"))
    screen.print_line(
        "nobody reacts to the change: the other commands come at their times as they were given, also those that "
        "answer what did not come to be"
    )
    screen.print_line(f"{facts['data']} has the market as it would have been; every other command reads it")
