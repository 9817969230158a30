"""Latencies as a histogram: HdrHistogram, three digits, up to an hour.

Times of an open loop are to be taken from when a request was meant to be sent, not from when it was: a stall then
counts for each request that it kept waiting, which is what corrects for coordinated omission.
"""

from typing import Any, Final

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

_HOUR_NS: Final = 3_600_000_000_000
_DIGITS: Final = 3
#: Bits of a value that are kept, more than three digits need, so that many values are recorded as one.
_KEPT_BITS: Final = 13
PERCENTILES: Final = (50.0, 99.0, 99.9)


class Latencies:
    """The recorded values, in nanoseconds."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _HOUR_NS, _DIGITS)

    def record(self, values_ns: NDArray[np.int64]) -> None:
        """Add values; those below 1 ns count as 1 ns."""
        values = np.clip(values_ns, 1, _HOUR_NS)
        bits = np.floor(np.log2(values)).astype(np.int64)
        shift = np.maximum(bits - _KEPT_BITS, 0)
        for value, count in zip(*np.unique((values >> shift) << shift, return_counts=True), strict=True):
            self._histogram.record_value(int(value), int(count))

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self._histogram.get_total_count())

    def at(self, percentile: float) -> int:
        """The value that so many of a hundred do not exceed; 0 without any."""
        return int(self._histogram.get_value_at_percentile(percentile)) if self.count else 0

    def summary(self) -> dict[str, Any]:
        """Count, p50, p99, p99.9 and the largest, in microseconds."""
        names = [f"p{percentile:g}_us".replace(".", "") for percentile in PERCENTILES]
        values = [self.at(percentile) for percentile in PERCENTILES]
        largest = int(self._histogram.get_max_value()) if self.count else 0
        told = zip([*names, "max_us"], [*values, largest], strict=True)
        return {"count": self.count, **{name: round(value / 1_000, 1) for name, value in told}}
