"""Compilation of the kernels of native order entry that Python calls."""

from pathlib import Path
from typing import Final

import numpy as np

from engine.jit import INTERPRETED, Packed
from engine.kernel_cache import cache_directory_of
from engine.records import COMMAND
from gateway.arrivals import STREAM, new_arrivals
from gateway.native.packets import Known, read_streams
from gateway.symbols import SYMBOL

_LAST: Final = "packets.read_streams"


def is_compiled() -> bool:
    """True if the kernels are in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).resolve().parent).rglob(f"{_LAST}*.nbc"))


def compile_kernels() -> None:
    """Compile or load them: read no message."""
    packed = Packed(new_arrivals(np.zeros(64, np.uint8), np.zeros(1, STREAM), np.zeros(1, COMMAND)))
    known = Packed(Known(np.zeros(4, SYMBOL), np.zeros(2, np.int64)))
    read_streams(packed.pointers, known.pointers, 1, 1, 0, 0)
