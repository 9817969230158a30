"""Kernels of the words that programs wait for: sequence numbers that only rise, each stored by one writer."""

from typing import Final

from engine.jit import called, inlined
from tape.bell import ring_bell, ring_release_bells
from tape.machine import load_acquire, load_word, store_release
from tape.places import Place

_READERS_BELL: Final = int(Place.READERS_BELL)
_RELEASED, _ENDED = int(Place.RELEASED), int(Place.ENDED)


@inlined
def raise_word(words, place, seq):
    """Store a word and wake the readers, which may wait for it. A number below what it is changes nothing."""
    if seq <= load_word(words, place):
        return
    store_release(words, place, seq)
    if place == _RELEASED or place == _ENDED:  # noqa: PLR1714, SIM109  numba has no fast set
        ring_release_bells(words)
    ring_bell(words, _READERS_BELL)


@called
def store_sequence(words, place, seq):
    """``raise_word`` from Python."""
    raise_word(words, place, seq)


@called
def load_sequence(words, place):
    """A word, with all that its writer did before it stored it."""
    return load_acquire(words, place)
