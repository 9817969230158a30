"""Feed of a run: batches through the pipeline into a data directory, with their events and the summary."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import screen
from cli.options import Durability
from cli.questions.market_tables import shown_price
from cli.runs.begin import RunOptions
from directory.checkpoint_fork import CheckpointFork
from engine.interface import MarketEngine
from engine.records import EventKind, Reason
from journal import Journal
from replay.ladder import in_no_queue, trading_prices
from replay.times import position_after
from sequencer.pump import Publisher, PumpReport, pump
from sequencer.stamp import FileStamp


@dataclass
class Tally:
    """Publisher that counts events by kind, rejects by reason, and the traded quantity."""

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
        """Rejects by reason, most frequent first."""
        ranked = sorted(((int(self.reasons[reason]), reason) for reason in Reason), reverse=True)
        return {reason.name.lower(): number for number, reason in ranked if number}


def pump_node(
    options: RunOptions, source: Iterator[NDArray[Any]], journal: Journal, engine: MarketEngine, publish: Publisher
) -> PumpReport:
    """Run a source through the pipeline, with durability and checkpoints of the options."""
    every = options.checkpoint_every
    aside = CheckpointFork(journal, every, waits=True, on_failure=_print_failure) if every else nullcontext()
    with aside as at_boundary:
        return pump(
            source,
            FileStamp(engine.now_ns, extended=position_after(journal, engine.now_ns).extended),
            journal,
            engine,
            publishers=[publish],
            durability=options.durability.value,
            at_boundary=at_boundary,
        )


def _print_failure(sentence: str) -> None:
    screen.notice(f"note: {sentence}")


def watched(source: Iterator[NDArray[Any]], look: Callable[[], None]) -> Iterator[NDArray[Any]]:
    """Batches of a source; ``look`` is called before each."""
    for batch in source:
        look()
        yield batch


def show(
    options: RunOptions,
    pumped: PumpReport,
    tally: Tally,
    journal: Journal,
    engine: MarketEngine,
    seconds: float,
    started: int,
    *,
    as_json: bool,
    more: dict[str, Any] | None = None,
    lobster: list[dict[str, Any]] | None = None,
) -> None:
    """Print the summary of a run that began after command ``started``, with ``more`` added, in JSON as ``lobster``."""
    durable_seq = journal.durable_seq
    kinds = {kind.name.lower(): int(tally.kinds[kind]) for kind in EventKind}
    rate = pumped.commands / seconds if seconds else 0.0
    if as_json:
        facts = {
            "data": str(options.data),
            "continued_after_seq": started,
            "commands": pumped.commands,
            "events": pumped.events,
            "blocks": pumped.blocks,
        }
        ends = {"seq": pumped.seq, "durable_seq": durable_seq, "event_digest": pumped.event_digest.hex()}
        rejects = [{"reason": reason, "count": number} for reason, number in tally.rejects().items()]
        counts = {"events_by_kind": kinds, "rejects": rejects, "traded_qty": tally.traded_qty}
        speed = {"elapsed_s": round(seconds, 6), "commands_per_s": round(rate)}
        screen.print_json(facts | ends | counts | speed | {"lobster": lobster})
        return
    refused = ", ".join(f"{reason} {screen.count(number)}" for reason, number in tally.rejects().items())
    ran = (
        []
        if pumped.commands == 0
        else [
            ("commands", f"{screen.count(pumped.commands)} in {screen.counted(pumped.blocks, 'block')}"),
            ("events", screen.count(pumped.events)),
            ("trades", f"{screen.count(kinds.get('trade', 0))} of {screen.counted(tally.traded_qty, 'share')}"),
            ("refused", refused or "none"),
            ("time", f"{seconds:.2f} s, {screen.count(round(rate))} commands/s"),
        ]
    )
    screen.facts(
        [
            *ran,
            ("last command", screen.count(pumped.seq)),
            ("durable", screen.count(durable_seq)),
            ("event digest", pumped.event_digest.hex()),
            *(more or {}).items(),
        ]
    )
    best(engine)
    if options.durability is Durability.none:
        screen.notice("durability none: published events were not yet on the disk; a power cut could have undone them")
    screen.flush()


def best(engine: MarketEngine) -> None:
    """Best bid and offer of each instrument that has orders."""
    rows: list[tuple[str, ...]] = []
    for number, symbol in enumerate(engine.directory.symbols, 1):
        orders = engine.open_orders(number)
        waits = in_no_queue(orders)
        for_side = [orders[(orders["side"] == side) & ~waits] for side in (1, -1)]
        if len(orders) and len(rows) < 20:
            tops = [
                f"{int(side[0]['leaves_qty'])} @ {shown_price(int(trading_prices(side)[0]))}" if len(side) else "-"
                for side in for_side
            ]
            rows.append((symbol, *tops, screen.count(len(orders))))
    if rows:
        screen.table(
            ["symbol", "first bid", "first offer", "open orders"],
            rows,
            right=("first bid", "first offer", "open orders"),
        )
