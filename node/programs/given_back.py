"""Memory that only the start of a program needs, given back to the system before it serves.

Numba maps the library of LLVM, and loading kernels reads a third of its 150 MB, which nothing reads again. Of the
other libraries many pages are read at the start alone. All of them are pages of files as they are on disk: what is
needed again comes back by itself, from the system's cache of files.
"""

import ctypes
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAPS: Final = Path("/proc/self/smaps")
_MAPPING: Final = re.compile(r"(?P<begin>[0-9a-f]+)-(?P<end>[0-9a-f]+) r-[x-]p [0-9a-f]+ \S+ [1-9][0-9]* +/")
_CHANGED: Final = ("Anonymous:", "Swap:", "Private_Dirty:", "Locked:")
_DONT_NEED: Final = 4  # MADV_DONTNEED, the same on all processors


def give_back() -> None:
    """Give back what the system can take: memory without objects, and pages of libraries. What lives now stays, and no
    later collection looks at it. Does less where the system has no such call."""
    gc.collect()
    gc.freeze()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    if hasattr(libc, "madvise"):
        for begin, end in unchanged_mappings(_MAPS.read_text() if _MAPS.exists() else ""):
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONT_NEED)


def unchanged_mappings(smaps: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each mapping of a file that cannot be written and has no page that differs from the file.

    smaps: as the system shows them. A page that was changed before it was protected would be lost.
    """
    at: tuple[int, int] | None = None
    for line in smaps.splitlines():
        if (found := _MAPPING.match(line)) is not None:
            at = int(found["begin"], 16), int(found["end"], 16)
        elif line[:1] in "0123456789abcdef" or (line.startswith(_CHANGED) and line.split()[1] != "0"):
            at = None
        elif line.startswith("VmFlags:") and at is not None:
            yield at
            at = None
