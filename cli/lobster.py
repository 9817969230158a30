"""`lockstep run --format lobster`: real order flow into a market, and the published books beside ours all along."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.begin import RunOptions, compare, goes_on, open_node
from cli.errors import WrongUse
from cli.feed import Tally, pump_node, show, watched
from cli.lobster_files import LobsterFile, read_files, tick_of
from cli.lobster_report import Outcome, facts_of, json_of, passed, tell
from cli.options import EngineChoice
from cli.warmup import ready
from directory.resume import Beginning
from engine.interface import MarketEngine
from engine.limits import COMMANDS_PER_CALL_MAX, Capacity
from engine.names import Directory
from engine.records import CommandKind
from journal import Journal
from lobster.check import Check
from lobster.merge import merged, participants_of, with_flow
from lobster.translate import Flow, translate


def run_lobster(options: RunOptions, *, as_json: bool) -> int:
    """Exit status 1 when --check found a row that differs where the data determines the book, or compared too few."""
    files = read_files(options)
    continues = goes_on(options)
    # A directory is made or resumed only once the files are known to go together.
    given = None if options.append else _given(options, files, Directory(), 1)
    if given is not None and not continues:
        _check_room(options, given.flow.rows)
    if options.engine is EngineChoice.kernel:
        ready()
    met = compare(options, given.skip, given.place) if continues and given is not None else None
    journal, engine = open_node(options, met, given.see if given is not None and given.checked else None)
    with journal:
        if given is None:
            given = _given(options, files, engine.directory, engine.seq + 1)
        _feed(options, given, 0 if met is None else met.seq, journal, engine, as_json=as_json)
    if not as_json:
        tell(given.outcomes)
    return errors.FINE if passed(given.outcomes) else errors.FOUND


@dataclass(frozen=True)
class _Given:
    """The commands of all message files, and what is compared while they run. ``first_seq``: of the first of them."""

    outcomes: list[Outcome]
    first_seq: int
    names: str

    @property
    def checked(self) -> bool:
        """True if any file is compared."""
        return any(outcome.check is not None for outcome in self.outcomes)

    @property
    def flow(self) -> Flow:
        """One flow, as each has the rows of all."""
        return self.outcomes[0].flow

    def skip(self, _journal: Journal, beginning: Beginning, bar: screen.Bar) -> bool:
        """Take what the journal holds off the beginning; whether anything is left."""
        for rows in self.flow.batches(COMMANDS_PER_CALL_MAX):
            beginning.meet(rows)
            bar.to(beginning.seq, beginning.last_seq)
        return beginning.seq < len(self.flow.rows)

    def place(self, _index: int) -> str:
        """The files: a message may make several commands, so their places are its own."""
        return f"what {self.names} gives" if len(self.outcomes) == 1 else f"what {self.names} give"

    def see(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Compare the events of a block, as far as it is of these files."""
        last_seq = min(first_seq + len(commands), self.first_seq + len(self.flow.rows)) - 1
        own = events[events["seq"] <= last_seq]
        for outcome in self.outcomes:
            if outcome.check is not None:
                outcome.check.see(own, last_seq)


def _given(options: RunOptions, files: Sequence[LobsterFile], names: Directory, first_seq: int) -> _Given:
    """The flows of the files behind a venue with these names, merged, and their checks."""
    begin_ns = min(int(file.messages.time_ns[0]) for file in files)
    tick_e4, known, flows = tick_of(options.tick), names, []
    with screen.Bar("translating the messages"):
        for number, file in enumerate(files, 1):
            flow = translate(
                file.messages,
                file.book,
                symbol=file.symbol,
                tick_e4=tick_e4,
                levels=file.levels,
                directory=known,
                book_name=f"{file.book_path}:1",
                participants=participants_of(number),
                begin_ns=begin_ns,
            )
            flows.append(flow)
            known = with_flow(known, file.symbol, number)
        flows = merged(flows, names.now_ns)
    outcomes = []
    for file, flow in zip(files, flows, strict=True):
        check = None
        if file.published is not None:
            check = Check(flow, file.published, first_seq=first_seq, name=str(file.check_path))
        outcomes.append(Outcome(file, flow, check))
    return _Given(outcomes, first_seq, options.names)


def _check_room(options: RunOptions, rows: NDArray[Any]) -> None:
    """Raise WrongUse where a new directory has no room for what the commands define and the ids that they use."""
    capacity = options.capacity.of_new(Capacity())
    kinds = np.bincount(rows["kind"], minlength=256)
    for what, option, needed, room in (
        ("instruments", "--instruments-max", kinds[CommandKind.INSTRUMENT], capacity.instruments_max),
        ("participants", "--participants-max", kinds[CommandKind.PARTICIPANT], capacity.participants_max),
        ("client order ids", "--ids-max", kinds[CommandKind.ENTER] + kinds[CommandKind.REPLACE], capacity.ids_max),
    ):
        if needed > room:
            raise WrongUse(
                f"the files need {screen.count(int(needed))} {what}, and {options.data} would have room for "
                f"{screen.count(room)}; give {option} {needed} or more"
            )


def _feed(
    options: RunOptions, given: _Given, skip: int, journal: Journal, engine: MarketEngine, *, as_json: bool
) -> None:
    """Everything behind the first ``skip`` commands into the node, and the summary."""
    tally = Tally()

    def publish(first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        tally(first_seq, commands, events)
        given.see(first_seq, commands, events)

    began = time.perf_counter()
    started, total = engine.seq, len(given.flow.rows) - skip
    with screen.Bar("running") as bar:
        source = watched(given.flow.batches(options.block_rows, skip), lambda: bar.to(engine.seq - started, total))
        pumped = pump_node(options, source, journal, engine, publish)
    seconds = time.perf_counter() - began
    more = {} if as_json else facts_of(given.outcomes)
    lobster = [json_of(outcome) for outcome in given.outcomes] if as_json else None
    show(options, pumped, tally, journal, engine, seconds, started, as_json=as_json, more=more, lobster=lobster)
