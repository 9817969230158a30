"""Compilation of the gateway's kernels, which a node does before it opens a port."""

from pathlib import Path
from typing import Final

import numpy as np

from engine.capacity import Capacity
from engine.jit import INTERPRETED, Packed
from engine.kernel_cache import cache_directory_of
from engine.records import COMMAND, EVENT, CommandKind
from engine.state import new_state
from gateway.arrivals import STREAM, new_arrivals
from gateway.ouch.answering import system_event
from gateway.ouch.packets import Known, read_streams
from gateway.ouch.streams import OuchStreams
from gateway.ring_reading import new_rings, sleeps_beside_rings, waits_in_rings, wakes_beside_rings
from gateway.streams import Segment
from gateway.symbols import add_symbol
from gateway.told import Told
from gateway.turn import beat_lines, run_turns
from gateway.turn_memory import new_turn
from sequencer.clock import CLOCK_WORDS
from sequencer.rows_ahead import follow_rows, new_ahead
from tape.blocks import no_tape
from tape.kernels import compile_kernels as compile_tape
from tape.line_kernels import first_word

_HERE: Final = Path(__file__).resolve().parent
#: The kernel that is compiled last, and the last one of this folder.
LAST: Final = "turn.beat_lines"
_LAST_HERE: Final = "answering.system_event"


def is_compiled() -> bool:
    """True if the kernels are in the cache of this machine."""
    lasts = ((_HERE.parent, LAST), (_HERE, _LAST_HERE))
    return INTERPRETED or all(any(cache_directory_of(folder).rglob(f"{last}*.nbc")) for folder, last in lasts)


def compile_kernels() -> None:
    """Compile or load all kernels: read and answer one small block."""
    sent: list[Segment] = []
    capacity = Capacity(1, 1, 1, 1)
    streams = OuchStreams(capacity, sent.append, lambda _: None, users_max=1)
    add_symbol(streams.symbols, 1, 1)
    rows = np.zeros(1, COMMAND)
    packed = Packed(new_arrivals(np.zeros(64, np.uint8), np.zeros(1, STREAM), rows))
    known = Packed(Known(streams.symbols, streams.tables.open, streams.tables.rest, streams.recent))
    read_streams(packed.pointers, known.pointers, 1, 1, 0, 0)
    rows["kind"] = CommandKind.ENTER
    streams(1, rows, np.zeros(1, EVENT))
    rows["kind"], rows["time_ns"] = CommandKind.CLOCK, 1
    streams(2, rows, np.zeros(0, EVENT))
    streams.open_orders(1)
    system_event(streams.tables, 0, 0, 0)
    clock, heartbeat = np.zeros(CLOCK_WORDS, np.int64), bytes(1)
    told = Told(2, 1)
    turn = new_turn(clock, heartbeat, slots=1, descriptors=1, users=2, rows=1, told=told, segments=1, segment_bytes=1)
    for _ in told.take(reuse=True):
        pass
    state = Packed(new_state(capacity))
    # It has no poll, so it ends at once.
    lines = Packed(turn)
    ahead, tape = Packed(new_ahead(read_bytes=8)), Packed(no_tape())
    run_turns(
        lines.pointers,
        packed.pointers,
        known.pointers,
        streams.pointers,
        streams.outgoing.pointers,
        ahead.pointers,
        tape.pointers,
        state.pointers,
        np.zeros(1, EVENT),
        0,
    )
    follow_rows(ahead.pointers, 0)
    rings = Packed(new_rings())
    for kernel in (waits_in_rings, sleeps_beside_rings, wakes_beside_rings):
        kernel(rings.pointers)
    compile_tape()
    first_word(0)
    beat_lines(lines.pointers, 0, 0, 0, 0)
