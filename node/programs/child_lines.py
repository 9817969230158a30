"""Lines that a child process writes to a pipe, read on the event loop as they come; a flood is read slowly.

What is read is bounded, in the length of a line and in bytes a second, so that a child which writes without an end
costs the market little. It waits for its pipe then. An object in a line is bounded too (``object_of_line``): whatever a
child writes, what the node makes of it can be logged, shown and sent on.
"""

import asyncio
import json
import math
import os
from collections.abc import Callable
from typing import IO, Any, Final

LINE_BYTES_MAX: Final = 1 << 16
#: Bytes of one reading, and the wait after one that was full.
READ_BYTES: Final = 1 << 14
REST_S: Final = 0.05
#: Lists and objects in one another at most, and the highest number, on either side of zero.
DEPTH_MAX: Final = 8
NUMBER_MAX: Final = 2**63 - 1


def object_of_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None where it is none, or has what no program of a node writes: values deeper than
    ``DEPTH_MAX``, numbers beyond ``NUMBER_MAX`` or not finite, text that is no Unicode. Raises nothing.
    """
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _is_plain(found, DEPTH_MAX) else None


def _is_plain(value: object, depth: int) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= NUMBER_MAX
    if isinstance(value, dict):
        return depth > 0 and all(_is_plain(part, depth - 1) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(part, depth - 1) for part in value)
    return value is None


class ChildLines:
    """Lines of one pipe, without their newline, from now until its end or ``close``. ``take``: called with each."""

    def __init__(self, pipe: IO[bytes], take: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe, self._take = pipe, take
        self._rest = b""
        self._again: asyncio.TimerHandle | None = None
        self._open = True
        os.set_blocking(pipe.fileno(), False)
        self._loop.add_reader(pipe.fileno(), self._read)

    def _read(self) -> None:
        self._again = None
        size = self._read_once()
        if not self._open:
            return
        if size == 0:
            self._end()
        elif size == READ_BYTES:
            self._loop.remove_reader(self._pipe.fileno())
            self._again = self._loop.call_later(REST_S, self._go_on)

    def _go_on(self) -> None:
        self._again = None
        self._loop.add_reader(self._pipe.fileno(), self._read)

    def _read_once(self) -> int:
        """Take lines of one reading; gives its bytes: 0 at the end, -1 where there is nothing yet."""
        try:
            data = os.read(self._pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return -1
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line[:LINE_BYTES_MAX])
        if len(self._rest) > LINE_BYTES_MAX:
            self._take(self._rest[:LINE_BYTES_MAX])
            self._rest = b""
        return len(data)

    def close(self) -> None:
        """Take what is there, as far as one reading goes for each of a few, and read no more. May be repeated."""
        if self._open:
            for _ in range(4):
                if self._read_once() <= 0:
                    break
            self._end()

    def _end(self) -> None:
        self._open = False
        if self._rest:
            self._take(self._rest[:LINE_BYTES_MAX])
            self._rest = b""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
