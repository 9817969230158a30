"""Kernels of doorbells: a sleeper is woken by whoever publishes, who pays one load while nobody sleeps.

A sleeper reads the number of rings, arms the bell, has every processor finish its stores (membarrier), and looks once
more for work. Only if there is none does it sleep, and only while the number of rings is the one that it read. Whoever
publishes then looks if the bell is armed. So one of the two sees the other: the ringer finds the bell armed, or the
sleeper finds the work. The ringer disarms first and counts after that, so that an arming which it undoes is always
followed by a count that the sleeper does not expect.

The barrier stands on the sleeper's side, since it sleeps seldom and the core publishes millions of times a second.
Where a ringer's system has no membarrier, the bell says so, and ringers pay a full fence. A ringer that is killed
between disarming and counting leaves a sleeper to the bound of its sleep."""

from typing import Final

from engine.jit import called, inlined
from tape.machine import add_word, fence_full, load_acquire, load_behind, store_word, wake
from tape.places import BELL_ARMED, BELL_FENCED, BELL_RINGS, LINE, RELEASE_BELLS_MAX, Place

_RELEASE_BELLS: Final = int(Place.RELEASE_BELLS)


@inlined
def ring_bell(words, bell):
    """Wake who sleeps on the doorbell at ``bell``, after something was published."""
    if words[bell + BELL_FENCED] != 0:
        fence_full()
    ring_armed(words, bell)


@inlined
def ring_release_bells(words):
    """Wake who sleeps until something may be told, on whichever of their doorbells. One fence does for all."""
    fence_full()
    for number in range(RELEASE_BELLS_MAX):
        ring_armed(words, _RELEASE_BELLS + number * LINE)


@inlined
def ring_armed(words, bell):
    """Wake who sleeps on a doorbell, behind the fence that it needs."""
    if load_behind(words, bell + BELL_ARMED) != 0:
        store_word(words, bell + BELL_ARMED, 0)
        add_word(words, bell + BELL_RINGS, 1)
        wake(words, bell + BELL_RINGS)


@called
def arm_bell(words, bell):
    """Say that one is about to sleep; gives the number of rings so far. A barrier and a last look for work come
    next."""
    rings = load_acquire(words, bell + BELL_RINGS)
    store_word(words, bell + BELL_ARMED, 1)
    fence_full()
    return rings


@called
def ring_alone(words, bell):
    """Wake who sleeps on the doorbell, from Python."""
    ring_bell(words, bell)
