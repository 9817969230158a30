"""The process that `lockstep demo` kills: a whole node under simulated traders, which tells what it does.

Ten times a second it writes one JSON object to standard output: the ladder of the first instrument, the newest
trades that are durable, counts, digest, and how far the disk is behind. It ends only when it is killed, or when
nobody listens any more.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from cli.market import shown_price
from cli.traders import SYMBOLS, Traders, set_up
from engine.limits import Capacity
from engine.names import unpack
from engine.records import EventKind, Side
from replay.aside import CheckpointAside
from replay.engines import prefault
from replay.ladder import levels
from replay.recover import create
from replay.scenario_print import price
from sequencer.pump import pump
from sequencer.stamp import LiveStamp

#: The pace: slow enough that the reference engine can audit all of it afterwards in a few seconds.
COMMANDS_PER_S: Final = 20_000
_TURN_S: Final = 0.02
_TELL_S: Final = 0.1
_CHECKPOINT_COMMANDS: Final = 40_000


class Tape:
    """A publisher that keeps the newest trades and counts the rest."""

    def __init__(self) -> None:
        self.trades: deque[tuple[str, str, int]] = deque(maxlen=12)
        self.events = self.traded = self.refused = self.published_seq = 0

    def __call__(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take the events of a block that is durable."""
        kinds = events["kind"]
        trades = events[kinds == EventKind.TRADE]
        self.events += len(events)
        self.traded += len(trades)
        self.refused += int(((kinds == EventKind.REJECTED) | (kinds == EventKind.CANCEL_REJECTED)).sum())
        self.published_seq = first_seq + len(commands) - 1
        for row in trades[-12:]:
            self.trades.append((SYMBOLS[int(row["instrument"]) - 1][0], price(int(row["price_e4"])), int(row["qty"])))


def main() -> None:
    """`python -m cli.demo_market DIR SEED IDS_MAX`: create DIR and trade in it until killed."""
    directory, seed, ids_max = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    capacity = Capacity(orders_max=1 << 14, ids_max=ids_max, instruments_max=8, participants_max=16)
    journal, engine = create(directory, capacity)
    tape = Tape()
    with journal:

        def tell() -> None:
            orders = engine.open_orders(1)
            sides = {
                name: [(shown_price(level.price_e4), level.qty, level.orders) for level in levels(orders, side)[:8]]
                for name, side in (("bids", Side.BUY), ("offers", Side.SELL))
            }
            ahead = {"seq": engine.seq, "durable_seq": journal.durable_seq, "published_seq": tape.published_seq}
            counts = {"events": tape.events, "traded": tape.traded, "refused": tape.refused}
            digest = {"digest": engine.event_digest.hex(), "symbol": unpack(int(engine.instruments()[0]["symbol"]))}
            print(json.dumps(ahead | counts | digest | sides | {"trades": list(tape.trades)}), flush=True)

        prefault(engine)
        with CheckpointAside(journal, directory, _CHECKPOINT_COMMANDS, failed=_tell) as every:
            pump(
                _paced(seed, tell),
                LiveStamp(engine.now_ns),
                journal,
                engine,
                publishers=[tape],
                at_boundary=every,
            )


def _tell(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr, flush=True)


def _paced(seed: int, tell: Any) -> Iterator[NDArray[Any]]:
    """The traders' batches at the demo's pace, with a word to the audience in between."""
    yield from set_up()
    traders = Traders(seed)
    began_s = told_s = time.monotonic()
    sent = 0
    parent = os.getppid()
    while os.getppid() == parent:  # an orphan has no audience
        now_s = time.monotonic()
        due = int((now_s - began_s) * COMMANDS_PER_S) - sent
        if due > 0:
            rows = min(due, 4096)
            sent += rows
            yield traders.batch(rows)
        if now_s - told_s >= _TELL_S:
            told_s = now_s
            tell()
        time.sleep(_TURN_S)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(0)
