"""A process that holds one million resting orders and prints its resident memory in MB (of 2^20 bytes)."""

from pathlib import Path

from benchmarks.books import RESTING, RESTING_SYMBOLS, resting
from benchmarks.workload import definitions
from engine import Capacity, Engine


def resting_engine() -> Engine:
    """An engine with a million orders in its books. Raises ValueError when one did not stay."""
    engine = Engine(Capacity())
    engine.prefault()
    engine.apply(definitions(RESTING_SYMBOLS))
    for block in resting():
        engine.apply(block, copy=False)
    open_orders = int(engine.parts()["orders"]["orders"]["participant"].astype(bool).sum())
    if open_orders != RESTING:
        raise ValueError(f"{open_orders} orders rest, not {RESTING}")
    return engine


if __name__ == "__main__":
    held = resting_engine()
    status = Path("/proc/self/status").read_text().splitlines()
    print(int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024)
