"""Compilation of the kernels of the tape that Python calls."""

import numpy as np

from engine.jit import Packed
from tape.bell_watch import load_watch
from tape.blocks import join, no_tape, read_block, write_block
from tape.line_kernels import LINES_WORDS, is_asleep, put_bytes, store_behind, take_bytes
from tape.places import RING_WORDS, TAPE_WORDS
from tape.ring import Ring, consumer_sleeps, put_rows
from tape.words import load_sequence, store_sequence


def compile_kernels() -> None:
    """Compile or load them: a tape without room refuses a block, and gives none."""
    tape, none = Packed(no_tape()), np.zeros(0, np.int64)
    write_block(tape.pointers, 0, 0, 0, none, none, none, np.zeros(3, np.int64))
    words = np.zeros(TAPE_WORDS, np.int64)
    store_sequence(words, 0, 0)
    load_watch(words)
    load_sequence(words, 0)
    shared = Packed(no_tape()._replace(words=words))
    read_block(shared.pointers, none)
    join(shared.pointers, 1)
    words, counts, ring = np.zeros(LINES_WORDS, np.int64), np.zeros(2, np.int64), np.zeros(1, np.uint8)
    put_bytes(words, ring, 0, 0, counts, 0, ring, 0, 0)
    store_behind(words, 0, 0)
    take_bytes(words, ring, 0, 0, counts, 0, ring, 0, 0)
    is_asleep(words)
    ring_words = np.zeros(RING_WORDS, np.int64)
    consumer_sleeps(ring_words)
    put_rows(
        Packed(Ring(ring_words, none, none, np.zeros(2, np.int64), np.zeros(3, np.int64))).pointers,
        none,
        none,
        0,
    )
