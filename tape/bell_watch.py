"""A thread that sleeps on a doorbell, and writes to an eventfd when it rings, so that an event loop wakes.

It sleeps and writes in a kernel: a thread that took the interpreter's lock at each ring would have the loop wait for
it. The loop arms the bell when it has taken all, so a loop that works is not woken. While it looks for work by itself
it disarms the bell, and looks once more when it has armed it again.
"""

import os
import platform
import threading
from typing import Any, Final

import numpy as np

from engine.jit import called, libc
from tape.machine import load_acquire, load_word
from tape.places import BELL_RINGS

_FUTEX: Final = {"x86_64": 202, "aarch64": 98}[platform.machine()]
_FUTEX_WAIT: Final = 0
#: Longest sleep in the kernel, in ns.
_SLEEP_NS: Final = 100_000_000
#: Places of the watch's own words: whether it ends, the rings that it has seen, what it writes, and the longest sleep
#: in seconds and ns.
_ENDS, _SEEN, _ONE, _SLEEP = range(4)
_WORDS: Final = 5

_syscall: Final = libc("syscall", 7, sized=True)
_write: Final = libc("write", 3, sized=True)


@called
def pass_rings(words, place, address, own, own_address, fd):
    """Write to a descriptor at each ring, until none comes for the longest sleep. place: of the number of rings, whose
    address is given; own: the watch's words, and their address."""
    while load_word(own, _ENDS) == 0:
        rings = load_acquire(words, place)
        if rings == own[_SEEN]:
            _syscall(_FUTEX, address, _FUTEX_WAIT, rings & 0xFFFFFFFF, own_address + 8 * _SLEEP, 0, 0)
            rings = load_acquire(words, place)
            if rings == own[_SEEN]:
                return
        own[_SEEN] = rings
        _write(fd, own_address + 8 * _ONE, 8)


def load_watch(words: "np.ndarray[Any, Any]") -> None:
    """Compile or load the kernel: it passes nothing on."""
    own = np.zeros(_WORDS, np.int64)
    own[_ENDS] = 1
    pass_rings(words, 0, 0, own, 0, -1)


class BellWatch:
    """The watch of a bell among shared words; ``fd`` is the eventfd, which is readable once the bell has rung."""

    def __init__(self, words: "np.ndarray[Any, Any]", place: int) -> None:
        self._words, self._place = words, int(place) + BELL_RINGS
        self._own = np.zeros(_WORDS, np.int64)
        self._own[_ONE], self._own[_SLEEP + 1] = 1, _SLEEP_NS
        self._thread = threading.Thread(target=self._run, name="tape", daemon=True)
        self.fd = -1

    def start(self) -> None:
        """Watch from now on. The kernel is loaded here, before there are two threads."""
        load_watch(self._words)
        self._own[_SEEN] = self._words[self._place]
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread.start()

    def end(self) -> None:
        """Have the thread end within its longest sleep; it closes the eventfd."""
        self._own[_ENDS] = 1

    def _run(self) -> None:
        try:
            while not self._own[_ENDS]:
                self._pass_rings(self.fd)
        finally:
            os.close(self.fd)

    def _pass_rings(self, fd: int) -> None:
        address = self._words.ctypes.data + 8 * self._place
        pass_rings(self._words, self._place, address, self._own, self._own.ctypes.data, fd)
