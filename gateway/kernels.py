"""The gateway's kernels, made ready: a node compiles them before it opens a port."""

from pathlib import Path
from typing import Final

import numpy as np

from engine.jit import INTERPRETED, cache_directory_of, places
from engine.limits import Capacity
from engine.records import COMMAND, EVENT, CommandKind
from gateway.answering import system_event
from gateway.arrivals import STREAM, Arrivals, read_streams
from gateway.reading import add_symbol
from gateway.streams import Segment, Streams

_HERE: Final = Path(__file__).resolve().parent


def warm() -> bool:
    """Whether the kernels are compiled and cached for this machine."""
    return INTERPRETED or any(cache_directory_of(_HERE).rglob("answering.system_event*.nbc"))


def compile_kernels() -> None:
    """Compiles what is not cached yet, and loads the rest: one small block is read and answered."""
    sent: list[Segment] = []
    streams = Streams(Capacity(1, 1, 1, 1), sent.append, lambda _: None, users_max=1)
    add_symbol(streams.symbols, 1, 1)
    rows = np.zeros(1, COMMAND)
    arrivals = Arrivals(np.zeros(64, np.uint8), np.zeros(1, STREAM), streams.symbols, rows)
    read_streams(places(arrivals), 1, 1)
    rows["kind"] = CommandKind.ENTER
    streams(1, rows, np.zeros(1, EVENT))
    rows["kind"], rows["time_ns"] = CommandKind.CLOCK, 1
    streams(2, rows, np.zeros(0, EVENT))
    streams.open_orders(1)
    system_event(streams.fold, 0, 0, 0)
