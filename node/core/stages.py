"""Latency of each stage of the node: a log-linear histogram a stage, cheap enough for the path of every order.

A value in nanoseconds is put into a bucket by its highest six bits, so that a bucket is at most 1/32 of its value wide
and the highest one is above 18 minutes. ``StageClock.passed`` only writes down the seven moments of a block; they are
put into buckets, many blocks at once, when there is no more room or somebody asks.

Percentiles are of the last seconds (``roll`` is called once a second), because those since the start would hide what
happens now; the histograms since the start are for Prometheus, which takes differences by itself.
"""

import struct
from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: The stages, in the order in which an order passes them.
STAGES: Final = ("cut", "sequence", "apply", "durable_wait", "answer", "order_to_answer")
#: Their numbers. CUT: reading the bytes of a turn, cutting packets and making rows. SEQUENCE: stamp and hand-over to
#: the journal. APPLY: the engine, for one command. DURABLE_WAIT: from then until the block may be seen, its digest
#: included. ANSWER: folding events into messages and writing them. ORDER_TO_ANSWER: from the bytes of an order to those
#: of its answer. CUT, SEQUENCE, DURABLE_WAIT and ANSWER count blocks, APPLY and ORDER_TO_ANSWER commands.
CUT, SEQUENCE, APPLY, DURABLE_WAIT, ANSWER, ORDER_TO_ANSWER = range(6)

#: Bits of a value that its bucket tells apart: 32 buckets for each doubling.
_BITS: Final = 5
_SUB: Final = 1 << _BITS
#: The highest value that is told from higher ones; 18 minutes.
NS_MAX: Final = (1 << 40) - 1
#: Buckets of one stage.
BUCKETS: Final = (40 - _BITS - 1) * _SUB + 2 * _SUB
#: Blocks whose moments are kept before they are put into buckets: that takes a tenth of a millisecond then.
_KEPT_BLOCKS: Final = 1_024
_MOMENTS: Final = 7
_ROW: Final = struct.Struct(f"<{_MOMENTS}q")
#: Seconds over which ``recent`` looks back.
RECENT_S: Final = 10


def bucket(ns: int) -> int:
    """The bucket of a value from 0 to ``NS_MAX``.

    >>> bucket(0), bucket(63), bucket(64), bucket(65), bucket(NS_MAX) == BUCKETS - 1
    (0, 63, 64, 64, True)
    """
    shift = ns.bit_length() - 6
    return (shift << _BITS) + (ns >> shift) if shift > 0 else ns


def top_ns(number: int) -> int:
    """The highest value of a bucket.

    >>> top_ns(63), top_ns(64), top_ns(BUCKETS - 1) == NS_MAX
    (63, 65, True)
    """
    if number < 2 * _SUB:
        return number
    shift = number // _SUB - 1
    return ((number % _SUB + _SUB + 1) << shift) - 1


def percentile_ns(counts: NDArray[np.int64], q: float) -> int:
    """Value that ``q`` percent of the values do not exceed, rounded up to its bucket's end; 0 without values."""
    below = np.cumsum(counts)
    total = int(below[-1]) if len(below) else 0
    if total == 0:
        return 0
    rank = max(1, -int(-total * min(max(q, 0.0), 100.0) // 100))
    return top_ns(int(np.searchsorted(below, rank)))


def buckets(ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """``bucket`` of each value from 0 to ``NS_MAX``."""
    shift = np.maximum(np.frexp(ns.astype(np.float64))[1].astype(np.int64) - 6, 0)
    found: NDArray[np.int64] = (shift << _BITS) + (ns >> shift)
    return found


class StageClock:
    """Histograms of all stages, for one thread."""

    def __init__(self) -> None:
        self._counted = np.zeros((len(STAGES), BUCKETS), np.int64)
        self._sums = np.zeros(len(STAGES), np.int64)
        self._kept = np.zeros((_KEPT_BLOCKS, _MOMENTS), np.int64)
        self._moments = self._kept.reshape(-1).view(np.uint8).data
        self._at = 0
        self._past: deque[NDArray[np.int64]] = deque([self._counted.copy()], maxlen=RECENT_S)

    def passed(
        self,
        read_ns: int,
        taken_ns: int,
        applying_ns: int,
        applied_ns: int,
        answering_ns: int,
        answered_ns: int,
        commands: int,
    ) -> None:
        """Count a block of ``commands`` that passed all stages, by the times between them: begin of reading, rows
        complete, journaled, applied, durable, and answers written.
        """
        at = self._at
        _ROW.pack_into(
            self._moments, at, read_ns, taken_ns, applying_ns, applied_ns, answering_ns, answered_ns, commands
        )
        self._at = at + _ROW.size
        if self._at == len(self._moments):
            self._count_kept()

    def passed_many(self, moments: NDArray[np.int64]) -> None:
        """Count blocks as ``passed`` does: int64[n, 7], a row a block."""
        at = self._at // _ROW.size
        while len(moments):
            part, moments = np.split(moments, [_KEPT_BLOCKS - at])
            self._kept[at : at + len(part)] = part
            self._at = _ROW.size * (at + len(part))
            if self._at == len(self._moments):
                self._count_kept()
            at = self._at // _ROW.size

    def _count_kept(self) -> None:
        kept = self._kept[: self._at // _ROW.size].T
        self._at = 0
        ns = np.empty((len(STAGES), kept.shape[1]), np.int64)
        np.subtract(kept[1:6], kept[:5], out=ns[:ORDER_TO_ANSWER])  # the first five, in their order
        ns[ORDER_TO_ANSWER] = kept[5] - kept[0]
        count = np.ones_like(ns)
        count[APPLY] = count[ORDER_TO_ANSWER] = np.maximum(kept[6], 1)
        ns[APPLY] //= count[APPLY]
        np.clip(ns, 0, NS_MAX, out=ns)
        places = buckets(ns) + BUCKETS * np.arange(len(STAGES))[:, None]
        # One call for all stages: orders wait for it. The counts of a thousand blocks are exact as floats.
        added = np.bincount(places.ravel(), count.ravel(), self._counted.size)
        self._counted += added.astype(np.int64).reshape(self._counted.shape)
        self._sums += (ns * count).sum(axis=1)

    def _add(self, stage: int, ns: NDArray[np.int64], count: NDArray[np.int64]) -> None:
        ns = np.clip(ns, 0, NS_MAX)
        np.add.at(self._counted[stage], buckets(ns), count)
        self._sums[stage] += int((ns * count).sum())

    def add(self, stage: int, ns: int, count: int = 1) -> None:
        """Count ``count`` passages of one stage (``CUT`` to ``ORDER_TO_ANSWER``) of ``ns`` each.

        A value below 0 counts as 0, one above ``NS_MAX`` as ``NS_MAX``.
        """
        ns = min(max(ns, 0), NS_MAX)
        self._add(stage, np.array([ns], np.int64), np.array([count], np.int64))

    @property
    def _counts(self) -> NDArray[np.int64]:
        if self._at:
            self._count_kept()
        return self._counted

    def counts(self, stage: int) -> NDArray[np.int64]:
        """Counts of a stage by bucket since the start: a copy of ``BUCKETS`` numbers."""
        counted: NDArray[np.int64] = self._counts[stage].copy()
        return counted

    def sum_ns(self, stage: int) -> int:
        """Sum of all values of a stage since the start."""
        if self._at:
            self._count_kept()
        return int(self._sums[stage])

    def percentile(self, stage: int, q: float) -> int:
        """``percentile_ns`` of a stage since the start."""
        return percentile_ns(self.counts(stage), q)

    def roll(self) -> None:
        """Begin another second: values older than ``RECENT_S`` seconds are no longer recent."""
        self._past.append(self._counts.copy())

    def recent(self, stage: int) -> NDArray[np.int64]:
        """Counts of a stage by bucket over the last ``RECENT_S`` seconds, by the calls of ``roll``."""
        counted: NDArray[np.int64] = self._counts[stage] - self._past[0][stage]
        return counted

    def latencies(self) -> dict[str, int]:
        """For ``NodeControl.status``: recent percentiles in ns, such as ``latency_apply_p99_ns``; 0 without values."""
        found: dict[str, int] = {}
        for stage, name in enumerate(STAGES):
            counted = self.recent(stage)
            for word, q in (("p50", 50.0), ("p99", 99.0), ("p999", 99.9)):
                found[f"latency_{name}_{word}_ns"] = percentile_ns(counted, q)
        return found

    def arrays(self) -> dict[str, Any]:
        """Counts of the buckets by name of stage, for tests and reports."""
        return {name: self.counts(stage) for stage, name in enumerate(STAGES)}
