"""System calls of compiled turns: the C library's functions by name, and the rows and flags that they take."""

import platform
from typing import Final

import numpy as np

from engine.jit import libc

#: Row of ``epoll_wait``, which Linux packs on x86-64 only. ``fd``: as it was registered.
_PADDING: Final = [] if platform.machine() in ("x86_64", "AMD64") else [("padding", "<i4")]
EPOLL_EVENT: Final = np.dtype([("events", "<u4"), *_PADDING, ("fd", "<i4"), ("rest", "<i4")])
BROKEN_LINE: Final = 0x018  # EPOLLERR | EPOLLHUP

recv: Final = libc("recv", 4, sized=True)
send: Final = libc("send", 4, sized=True)
epoll_wait: Final = libc("epoll_wait", 4, sized=False)
ppoll: Final = libc("ppoll", 4, sized=False)
clock_gettime: Final = libc("clock_gettime", 2, sized=False)
memcpy: Final = libc("memcpy", 3, sized=True)
sched_yield: Final = libc("sched_yield", 0, sized=False)

#: Clocks.
REALTIME, MONOTONIC, BOOTTIME = 0, 1, 7
#: Flags of ``recv`` and ``send``: return at once; and do not end the process where nobody reads any more.
DONTWAIT: Final = 0x40
DONTWAIT_NOSIGNAL: Final = 0x4040
