"""`lockstep run`: files through sequencer, journal and engine, without a network.

Every file is read whole, and found good, before any of it is sequenced. Where in the data directory the run begins
is in ``cli.runs.begin``.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import EngineChoice, Format
from cli.runs.begin import RunOptions, compare, goes_on, open_node
from cli.runs.feed import Tally, pump_node, show, watched
from cli.runs.lobster import run_lobster
from cli.runs.scenario import read_scenario
from cli.warmup import ready
from directory.begin import JournalMatch
from directory.resume import JournalBeginning, ScenarioFeed, rest_of, skip_scenario
from engine.interface import new_engine
from engine.records import COMMAND
from journal import Journal
from notation.parse import Line, ScenarioError
from replay.rebuild import capacity_of


def run(options: RunOptions, *, as_json: bool) -> int:
    """`lockstep run`: exit status 1 when --check found a row that differs without an explanation by the rules."""
    if options.engine is EngineChoice.reference and options.checkpoint_every:
        raise WrongUse("the reference engine has no image; leave out --checkpoint-every, or use --engine kernel")
    if options.form is not Format.scenario:
        return run_lobster(options, as_json=as_json)
    if options.books or options.checks or options.symbols or options.date is not None:
        raise WrongUse(
            "--book, --check, --symbol and --date belong to LOBSTER and ITCH files; add --format, or leave them out"
        )
    continues = goes_on(options)
    files = [(str(file), read_scenario(file)) for file in options.files]
    if any(line.expected for _, lines in files for line in lines):
        screen.notice("note: run compares no events; `lockstep scenario` does, with those that stand in the files")
    if options.engine is EngineChoice.kernel:
        ready(often=True)
    met, rest = None, np.empty(0, COMMAND)
    if not options.append:
        feed = ScenarioFeed(files)
        if continues:
            met, rest = _meet(options, feed)
    journal, engine = open_node(options, met)
    with journal:
        if options.append:
            feed = _behind(options, files, engine.now_ns)
        feed.venue = engine
        tally = Tally()
        began = time.perf_counter()
        started = engine.seq
        total = feed.lines if met is None else max(feed.lines - met.seq, 0)
        with screen.Bar("running") as bar:
            source = watched(rest_of(feed, rest, options.block_rows), lambda: bar.to(engine.seq - started, total))
            pumped = pump_node(options, source, journal, engine, tally)
        seconds = time.perf_counter() - began
        show(options, pumped, tally, journal, engine, seconds, started, as_json=as_json)
    return errors.FINE


def _behind(options: RunOptions, files: list[tuple[str, list[Line]]], now_ns: int) -> ScenarioFeed:
    try:
        return ScenarioFeed(files, now_ns)
    except ScenarioError as error:
        raise WrongUse(
            f"{str(error).rstrip('.')}; if {options.data} has these commands already, leave out --append"
        ) from error


def _meet(options: RunOptions, feed: ScenarioFeed) -> tuple[JournalMatch, NDArray[Any]]:
    """Take what the journal holds off the feed; also the rest of the batch in which the journal ends."""
    rest = np.empty(0, COMMAND)

    def skip(journal: Journal, beginning: JournalBeginning, bar: screen.Bar) -> bool:
        nonlocal rest
        scout = new_engine(options.engine.value, capacity_of(journal))
        rest = skip_scenario(beginning, feed, scout, bar.to)
        return len(rest) > 0 or feed.more

    return compare(options, skip, feed.place), rest
