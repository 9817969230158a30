"""`lockstep run`: files through sequencer, journal and engine, without a network.

Every file is read whole, and found good, before any of it is sequenced. The directory is created for the first run,
and recovered and continued by later ones.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import Durability, EngineChoice, Format
from cli.scenario import read_text
from cli.warmup import ready
from engine.limits import Capacity
from engine.names import Directory
from engine.records import EventKind, Reason
from journal import Journal
from replay.engines import MarketEngine
from replay.recover import CheckpointEvery, create, recover
from replay.scenario import Translator
from replay.scenario_parse import Line, parse
from replay.scenario_print import price
from replay.times import ClockPosition, clock_after
from sequencer.pump import Publisher, Pumped, pump
from sequencer.stamp import FileStamp


@dataclass(frozen=True)
class RunOptions:
    """What was asked for; the names are those of the options."""

    files: list[Path]
    data: Path
    form: Format
    book: Path | None
    check: Path | None
    engine: EngineChoice
    durability: Durability
    checkpoint_every: int
    block_rows: int
    symbol: str | None = None
    date: str | None = None


@dataclass
class Tally:
    """A publisher that counts what happened: events by kind and rejects by reason, and traded quantity."""

    kinds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    reasons: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    traded_qty: int = 0

    def __call__(self, _first_seq: int, _commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Count the events of a block."""
        kinds = events["kind"]
        self.kinds += np.bincount(kinds, minlength=256)
        refused = (kinds == EventKind.REJECTED) | (kinds == EventKind.CANCEL_REJECTED)
        self.reasons += np.bincount(events["reason"][refused], minlength=256)
        self.traded_qty += int(events["qty"][kinds == EventKind.TRADE].sum())

    def rejects(self) -> dict[str, int]:
        """Refusals by reason, most frequent first."""
        ranked = sorted(((int(self.reasons[reason]), reason) for reason in Reason), reverse=True)
        return {reason.name.lower(): number for number, reason in ranked if number}


def run(options: RunOptions, *, as_json: bool) -> int:
    """`lockstep run`: exit status 1 when --check found a row that differs without an explanation by the rules."""
    if options.form is Format.lobster:
        from cli.lobster import run_lobster  # which builds on this file

        return run_lobster(options, as_json=as_json)
    if options.book is not None or options.check is not None:
        raise WrongUse("--book and --check belong to LOBSTER files; add --format lobster, or leave them out")
    if options.engine is EngineChoice.reference and options.checkpoint_every:
        raise WrongUse("the reference engine has no image; leave out --checkpoint-every, or use --engine kernel")
    files = [(file, parse(read_text(file), str(file))) for file in options.files]
    if options.engine is EngineChoice.kernel:
        ready()
    journal, engine = open_node(options)
    with journal:
        check_clocks(files, engine.now_ns)
        total = sum(len(lines) for _, lines in files)
        tally = Tally()
        began = time.perf_counter()
        with screen.Bar("running") as bar:
            first_seq = engine.seq
            source = watched(batches(files, engine, options.block_rows), lambda: bar.to(engine.seq - first_seq, total))
            pumped = pump_node(options, source, journal, engine, tally)
        seconds = time.perf_counter() - began
        show(options, pumped, tally, journal, engine, seconds, as_json=as_json)
    return errors.FINE


def open_node(options: RunOptions) -> tuple[Journal, MarketEngine]:
    """The data directory, created or recovered, open for writing, and its engine at the journal's end."""
    directory = options.data
    if not (directory / "journal").exists():
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise WrongUse(f"{directory} is not empty and holds no journal; name a new directory, or one of lockstep's")
        return create(directory, Capacity(), engine=options.engine.value, durability=options.durability.value)
    with screen.Bar("recovering") as bar:
        journal, engine, recovered = recover(
            directory, engine=options.engine.value, durability=options.durability.value, progress=bar.to
        )
    for note in recovered.notes:
        screen.notice(f"note: {note}")
    if engine.seq:
        screen.notice(f"recovered {directory} to command {screen.count(engine.seq)}; going on from there")
    return journal, engine


def pump_node(
    options: RunOptions, source: Iterator[NDArray[Any]], journal: Journal, engine: MarketEngine, publish: Publisher
) -> Pumped:
    """The pipeline over a source, with the options' durability and checkpoints."""
    every = CheckpointEvery(options.data, options.checkpoint_every) if options.checkpoint_every else None
    return pump(
        source,
        FileStamp(engine.now_ns),
        journal,
        engine,
        publishers=[publish],
        durability=options.durability.value,
        at_boundary=every,
    )


def check_clocks(files: list[tuple[Path, list[Line]]], now_ns: int) -> None:
    """Raise ScenarioError when the clock would go back anywhere in the files, before the first is sequenced."""
    position = ClockPosition(now_ns)
    for at, (file, lines) in enumerate(files):
        translator = Translator(lines, Directory(now_ns=position.now_ns), str(file))
        if at == len(files) - 1:
            return
        while (batch := translator.next_batch(Directory(now_ns=position.now_ns))) is not None:
            position = clock_after(batch.rows, position)


def batches(files: list[tuple[Path, list[Line]]], engine: MarketEngine, rows_max: int) -> Iterator[NDArray[Any]]:
    """COMMAND rows of the files, at most ``rows_max`` a batch; each is asked for when the one before was applied."""
    for file, lines in files:
        translator = Translator(lines, engine.directory, str(file))
        while (batch := translator.next_batch(engine.directory)) is not None:
            for start in range(0, len(batch.rows), rows_max):
                yield batch.rows[start : start + rows_max]


def watched(source: Iterator[NDArray[Any]], look: Callable[[], None]) -> Iterator[NDArray[Any]]:
    """The source, with a look at the progress before each batch."""
    for batch in source:
        look()
        yield batch


def show(
    options: RunOptions,
    pumped: Pumped,
    tally: Tally,
    journal: Journal,
    engine: MarketEngine,
    seconds: float,
    *,
    as_json: bool,
    more: dict[str, Any] | None = None,
) -> None:
    """The summary of a run; ``more`` is added to it."""
    durable_seq = journal.durable_seq
    kinds = {kind.name.lower(): int(tally.kinds[kind]) for kind in EventKind if tally.kinds[kind]}
    rate = pumped.commands / seconds if seconds else 0.0
    if as_json:
        facts = {
            "data": str(options.data),
            "commands": pumped.commands,
            "events": pumped.events,
            "blocks": pumped.blocks,
        }
        ends = {"seq": pumped.seq, "durable_seq": durable_seq, "event_digest": pumped.event_digest.hex()}
        counts = {"events_by_kind": kinds, "rejects": tally.rejects(), "traded_qty": tally.traded_qty}
        speed = {"seconds": round(seconds, 6), "commands_per_second": round(rate)}
        screen.say_json(facts | ends | counts | speed | (more or {}))
        return
    rejects = ", ".join(f"{reason} {screen.count(number)}" for reason, number in tally.rejects().items())
    screen.facts(
        [
            ("commands", f"{screen.count(pumped.commands)} in {screen.count(pumped.blocks)} blocks"),
            ("events", screen.count(pumped.events)),
            ("trades", f"{screen.count(kinds.get('trade', 0))} of {screen.count(tally.traded_qty)} shares"),
            ("refused", rejects or "none"),
            ("time", f"{seconds:.2f} s, {screen.count(round(rate))} commands/s"),
            ("last command", screen.count(pumped.seq)),
            ("durable", screen.count(durable_seq)),
            ("event digest", pumped.event_digest.hex()),
            *(more or {}).items(),
        ]
    )
    best(engine)
    if options.durability is Durability.none:
        screen.notice("durability none: what was seen was not yet on the disk; a power cut could have undone it")
    screen.flush()


def best(engine: MarketEngine) -> None:
    """The best bid and offer of each instrument that has orders."""
    rows: list[tuple[str, ...]] = []
    for number, symbol in enumerate(engine.directory.symbols, 1):
        orders = engine.open_orders(number)
        for_side = [orders[orders["side"] == side] for side in (1, -1)]
        if len(orders) and len(rows) < 20:
            tops = [
                f"{int(side[0]['leaves_qty'])} @ {price(int(side[0]['price_e4']))}" if len(side) else "-"
                for side in for_side
            ]
            rows.append((symbol, *tops, screen.count(len(orders))))
    if rows:
        screen.table(
            ["symbol", "first bid", "first offer", "open orders"],
            rows,
            right=("first bid", "first offer", "open orders"),
        )
