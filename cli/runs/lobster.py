"""`lockstep run --format lobster|itch`: real order flow into a market, compared with the published books."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import EngineChoice, Format
from cli.runs.begin import RunOptions, compare, goes_on, open_node
from cli.runs.feed import Tally, pump_node, show, watched
from cli.runs.lobster_report import facts_of, json_of, passed, print_outcomes
from cli.warmup import ready
from directory.begin import JournalMatch
from directory.resume import JournalBeginning
from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.capacity import Capacity
from engine.interface import MarketEngine
from engine.names import Directory
from engine.records import CommandKind
from journal import Journal
from lobster.files import LobsterFile, read_files
from lobster.itch import read_itch
from lobster.run import Input, input_of
from notation.words import Fault, price_e4


def run_lobster(options: RunOptions, *, as_json: bool) -> int:
    """Run LOBSTER files or an ITCH file.

    Exit status 1 if --check found a difference where the data determines the book, or compared too little.
    """
    tick_e4 = _tick_of(options.tick)
    with screen.Bar("reading the files"):
        files = _read(options, tick_e4)
    continues = goes_on(options)
    # A directory is made or resumed only once the files are known to go together.
    given = None if options.append else _translated(files, Directory(), 1, tick_e4)
    if given is not None and not continues:
        _check_room(options, given.flow.rows)
    if options.engine is EngineChoice.kernel:
        ready(often=True)
    met = _compared(options, given) if continues and given is not None else None
    journal, engine = open_node(options, met, given.see if given is not None and given.checked else None)
    with journal:
        if given is None:
            given = _translated(files, engine.directory, engine.seq + 1, tick_e4)
        _feed(options, given, 0 if met is None else met.seq, journal, engine, as_json=as_json)
    if not as_json:
        print_outcomes(given.outcomes)
    return errors.FINE if passed(given.outcomes) else errors.FOUND


def _read(options: RunOptions, tick_e4: int) -> list[LobsterFile]:
    """The message files; of an ITCH file one for each of its stocks. Raises LobsterError, WrongUse."""
    if options.form is Format.lobster:
        return read_files(
            options.files,
            options.books,
            options.checks,
            symbols=options.symbols,
            date=options.date,
            tick_e4=tick_e4,
        )
    if options.books or options.checks:
        raise WrongUse("--book and --check belong to LOBSTER files; an ITCH file has its whole book itself")
    if len(options.files) != 1:
        raise WrongUse("give one ITCH file: each is a day, and a day has a directory of its own")
    return read_itch(options.files[0], symbols=options.symbols, date=options.date, tick_e4=tick_e4)


def _translated(files: Sequence[LobsterFile], names: Directory, first_seq: int, tick_e4: int) -> Input:
    with screen.Bar("translating the messages"):
        return input_of(files, names, first_seq, tick_e4=tick_e4)


def _compared(options: RunOptions, given: Input) -> JournalMatch:
    """Skip the part of the input that the journal holds."""

    def skip(_journal: Journal, beginning: JournalBeginning, bar: screen.Bar) -> bool:
        for rows in given.flow.batches(COMMANDS_PER_CALL_MAX):
            beginning.meet(rows)
            bar.to(beginning.seq, beginning.last_seq)
        return beginning.seq < len(given.flow.rows)

    # A message may make several commands, so their places are named by the files alone.
    place = f"what {options.names} {'gives' if len(given.outcomes) == 1 else 'give'}"
    return compare(options, skip, lambda _index: place)


def _tick_of(tick: str) -> int:
    """Tick of the command line, in 1/10000. Raises WrongUse."""
    try:
        tick_e4 = price_e4(tick, "--tick")
    except Fault as error:
        raise WrongUse(f"{error}") from error
    if tick_e4 < 1:
        raise WrongUse(f"--tick is {tick}; give 0.0001 or more, such as 0.01")
    return tick_e4


def _check_room(options: RunOptions, rows: NDArray[Any]) -> None:
    """Raise WrongUse if a new directory would have no room for the instruments and ids of the commands."""
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
    options: RunOptions, given: Input, skip: int, journal: Journal, engine: MarketEngine, *, as_json: bool
) -> None:
    """Feed the commands after the first ``skip`` into the node, and print the summary."""
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
