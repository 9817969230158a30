"""Compilation of the kernels of FIX order entry that Python calls."""

from pathlib import Path
from typing import Final

import numpy as np

from engine.capacity import Capacity
from engine.jit import INTERPRETED
from engine.kernel_cache import cache_directory_of
from gateway.fix.alone import compile_alone
from gateway.fix.kept_orders import KeptOrders
from gateway.fix.reading import form, read_orders
from gateway.fix.short_way import compile_short_way
from gateway.fix.taking import compile_taking
from gateway.fix.telling import compile_telling
from gateway.fix.writing import desk, head_of, write_reports
from gateway.symbols import new_symbols
from reports.projection import Reports
from wire.fix_table import VERSIONS

_LAST: Final = "alone.stay_alone"


def is_compiled() -> bool:
    """True if the kernels are in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).resolve().parent).rglob(f"{_LAST}*.nbc"))


def compile_kernels() -> None:
    """Compile or load them: write and read no message."""
    head = head_of(VERSIONS[0], "", "")
    nothing = np.frombuffer(b"", np.uint8)
    write_reports(desk().pointers, head.data, head.sizes, nothing, 0, 0, 0, 0)
    symbols, prices = new_symbols(1), np.zeros(2, np.int64)
    read_orders(
        form().pointers, KeptOrders().pointers, head.data, head.sizes, nothing, 0, symbols, prices, 0, 0, 1, 0, 0, 0
    )
    compile_telling()
    compile_taking(Reports(Capacity(1, 1, 1, 1), users_max=1))
    compile_short_way()
    compile_alone()
