"""Clock discipline: the kernel's report on the machine's wall clock and its error.

NTP, PTP or chrony discipline the kernel's clock and leave its error there; ``adjtimex(2)`` without a change reads it,
without any rights. ``parse`` makes a reading of its bytes, ``read`` calls it, ``complaint`` judges; nothing here
changes a clock.
"""

import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

#: Default bound of the error. Rules of the US (CAT, FINRA 4590) require 50 ms, those of Europe 1 ms or 0.1 ms (MiFID
#: II, RTS 25).
ERROR_BOUND_NS: Final = 50_000_000

#: struct timex of Linux as C lays it out: modes; offset, freq, maxerror, esterror; status; constant, precision,
#: tolerance; time; tick, ppsfreq, jitter; shift; stabil, jitcnt, calcnt, errcnt, stbcnt; tai; reserved.
TIMEX: Final = struct.Struct("@I4li3l2l3li5li11i")
_TAI_AT: Final = 21  # the values up to tai, which is the last
_STATE_ERROR: Final = 5  # result of the call for a clock without discipline
_STATUS_UNSYNC: Final = 0x0040
_STATUS_NANO: Final = 0x2000
_LEAPS: Final[dict[int, Literal["insert", "delete"]]] = {1: "insert", 2: "delete"}

State = Literal["synchronized", "unsynchronized", "unknown"]


@dataclass(frozen=True)
class ClockReading:
    """Report of the kernel on its clock. If ``state`` is unknown, ``why`` has the reason, and the numbers are 0.

    ``offset_ns``: still to be slewed away. ``error_ns``: estimated error; ``error_max_ns``: its bound, which grows
    without corrections. ``frequency_ppb``: correction of the rate. ``tai_offset_s``: TAI less UTC, 0 if unknown.
    ``leap``: leap second at the end of this UTC day.
    """

    state: State
    offset_ns: int = 0
    error_ns: int = 0
    error_max_ns: int = 0
    frequency_ppb: int = 0
    tai_offset_s: int = 0
    leap: Literal["", "insert", "delete"] = ""
    why: str = ""


def parse(returned: int, timex: bytes) -> ClockReading:
    """Parse a ``struct timex`` of ``TIMEX.size`` bytes, filled by a call with the result ``returned``."""
    _, offset, frequency, error_max_us, error_us, status, *_, tai_offset_s = TIMEX.unpack(timex)[:_TAI_AT]
    undisciplined = returned == _STATE_ERROR or bool(status & _STATUS_UNSYNC)
    return ClockReading(
        state="unsynchronized" if undisciplined else "synchronized",
        offset_ns=offset if status & _STATUS_NANO else offset * 1_000,
        error_ns=error_us * 1_000,
        error_max_ns=error_max_us * 1_000,
        frequency_ppb=round(frequency * 1_000 / 65_536),  # the kernel counts in 1/65536 of a millionth
        tai_offset_s=tai_offset_s,
        leap=_LEAPS.get(returned, ""),
    )


def read() -> ClockReading:
    """Read the kernel's report; needs no rights. ``unknown`` if the kernel gives none."""
    adjtimex = _adjtimex()
    if adjtimex is None:
        return ClockReading("unknown", why="this system has no adjtimex")
    timex = ctypes.create_string_buffer(TIMEX.size)  # modes 0: nothing is set
    returned = adjtimex(timex)
    if returned < 0:
        return ClockReading("unknown", why=f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return parse(returned, timex.raw)


@cache
def _adjtimex() -> Callable[[ctypes.Array[ctypes.c_char]], int] | None:
    """The call of the C library, looked up once; None where it has none."""
    try:
        return ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError, TypeError):
        return None


def complaint(reading: ClockReading, error_bound_ns: int = ERROR_BOUND_NS) -> str | None:
    """Complaint about a clock whose error must be at most ``error_bound_ns``, in a sentence; None: it is fine."""
    if reading.state == "unknown":
        return f"the error of the wall clock is unknown: {reading.why}"
    if reading.state == "unsynchronized":
        return "the wall clock is not synchronized, so its error has no bound; start chrony, ntpd or ptp4l"
    for what, value_ns in (("may be wrong by", reading.error_max_ns), ("is still off by", abs(reading.offset_ns))):
        if value_ns > error_bound_ns:
            return (
                f"the wall clock {what} {_ms(value_ns)}, more than the {_ms(error_bound_ns)} allowed; "
                "check its source of time"
            )
    return None


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:g} ms"
