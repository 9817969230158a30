"""Latency records: when each command was read, sequenced, applied, journaled and answered, in side files.

DIR/latencies holds them (``gateway.side_files``), beside the arrivals, which say when the bytes of a command were
received. They decide nothing, and no digest has them. The moments are those that the node takes anyway of each turn,
and all commands of a turn share them; so a turn costs 64 bytes, however many commands it has, and no call of a clock.

A record without rows is a mark of the journal's thread: all commands up to its number were on the disk at that time.
"""

import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.side_files import HEAD_BYTES, SideFiles, SideWriter, side_files

#: The commands of a turn, or, with 0 rows, a mark. Times are in ns since 1970; of a mark only ``read_ns`` is one.
LATENCY: Final = np.dtype(
    [
        ("last_seq", "<i8"),
        ("rows", "<i8"),  # CLOCK and EXTEND rows included
        ("read_ns", "<i8"),  # the turn began to read what had come
        ("taken_ns", "<i8"),  # its rows were complete
        ("sequenced_ns", "<i8"),  # stamped, and on their way to the journal
        ("applied_ns", "<i8"),
        ("answering_ns", "<i8"),  # answers may leave
        ("answered_ns", "<i8"),  # all answers were given to sockets, lines, and gateway processes
    ]
)
_ROW: Final = struct.Struct("<8q")
_TIMES: Final = slice(2, 8)
_READ: Final = 2
#: Time of each stage of one command, or 0 where it is not known; ns since 1970.
COMMAND_TIMES: Final = np.dtype(
    [
        ("seq", "<i8"),
        ("read_ns", "<i8"),
        ("sequenced_ns", "<i8"),
        ("applied_ns", "<i8"),
        ("journaled_ns", "<i8"),
        ("answered_ns", "<i8"),
    ]
)
#: The first bytes of a file: its kind and the version of its format.
MAGIC: Final = b"LSLATEN1"
#: Size of a file in bytes, above which another is begun.
FILE_BYTES_MAX: Final = 8 << 20
FILES_MAX: Final = 32
_SUFFIX: Final = ".latencies"
#: Records that are passed to the thread at once, and marks that may wait for it.
_KEPT: Final = 4_096
_MARKS_MAX: Final = 4_096


class LatencyFiles(SideFiles):
    """The files: records are appended. One thread's; raises OSError."""

    def __init__(
        self, directory: Path, journal_id: bytes, file_bytes_max: int = FILE_BYTES_MAX, files_max: int = FILES_MAX
    ) -> None:
        super().__init__(directory, _SUFFIX, MAGIC + journal_id, file_bytes_max, files_max)


class LatencyLog:
    """Record of the latencies of each turn. All calls but ``on_journaled`` come from the event loop's thread; none
    blocks.

    Times are of CLOCK_MONOTONIC; the files have them as ns since 1970, by the difference of both clocks when they are
    passed to the thread. on_failure: called with the reason why records are not written, once until they are again.
    """

    def __init__(self, files: LatencyFiles, on_failure: Callable[[str], None]) -> None:
        self._kept = np.zeros((_KEPT, len(LATENCY.names or ())), np.int64)
        self._memory = self._kept.reshape(-1).view(np.uint8).data
        self._at = 0
        self._last_seq = 0
        self._marks: deque[tuple[int, int]] = deque(maxlen=_MARKS_MAX)
        self._writer = SideWriter(files, "latencies", on_failure)

    @property
    def lost(self) -> int:
        """Records that were left out since the start."""
        return self._writer.lost

    def add(self, last_seqs: NDArray[np.int64], rows: NDArray[np.int64], moments: NDArray[np.int64]) -> None:
        """Add turns in their order: last command and number of rows of each, and int64[n, 6], times as in LATENCY."""
        count = len(last_seqs)
        begin = 0
        while begin < count:
            if self._at == _KEPT:
                self.flush()
            end = min(count, begin + _KEPT - self._at)
            kept = self._kept[self._at : self._at + end - begin]
            kept[:, 0], kept[:, 1], kept[:, _TIMES] = last_seqs[begin:end], rows[begin:end], moments[begin:end]
            self._at += end - begin
            self._last_seq = int(last_seqs[end - 1])
            begin = end

    def add_one(self, last_seq: int, rows: int, times: tuple[int, int, int, int, int, int]) -> None:
        """Add a turn; the times as in LATENCY."""
        if self._at == _KEPT:
            self.flush()
        _ROW.pack_into(self._memory, _ROW.size * self._at, last_seq, rows, *times)
        self._at += 1
        self._last_seq = last_seq

    def on_journaled(self, seq: int) -> None:
        """Note that all commands up to ``seq`` are on the disk. Any thread's."""
        self._marks.append((seq, time.monotonic_ns()))

    def flush(self) -> None:
        """Pass all waiting records to the writing thread."""
        marks = [self._marks.popleft() for _ in range(len(self._marks))]
        if not self._at and not marks:
            return
        records = np.zeros((self._at + len(marks), self._kept.shape[1]), np.int64)
        records[: self._at] = self._kept[: self._at]
        if marks:
            records[self._at :, [0, _READ]] = marks
        times = records[:, _TIMES]
        np.add(times, since_1970_ns(), out=times, where=times != 0)
        # A file is named by the first command of its turns; one that begins with a mark, by what comes after them.
        first_seq = int(records[0, 0] - records[0, 1]) if self._at else max(self._last_seq, int(records[0, 0]))
        first_seq += 1
        self._at = 0
        self._writer.give(first_seq, len(records), records.tobytes())

    def close(self, wait_s: float = 2.0) -> None:
        """Write the waiting records and end the thread; wait for the disk at most ``wait_s``."""
        self.flush()
        self._writer.close(wait_s)


def since_1970_ns() -> int:
    """Difference of CLOCK_MONOTONIC to ns since 1970: both clocks run alike, but for steps of the second."""
    tries = []
    for _ in range(3):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return min(tries)[1]


class Latencies:
    """All records of a directory's latencies. ``turns`` and ``marks``: LATENCY rows, by number and by time."""

    def __init__(self, turns: NDArray[Any], marks: NDArray[Any]) -> None:
        self.turns, self.marks = turns, marks

    @classmethod
    def read(cls, directory: Path, journal_id: bytes) -> "Latencies":
        """The records in DIR/latencies; none where there is no such folder. A record that is cut short is left out.

        So are turns whose numbers a later file has again: a crash took them before they were durable. Raises
        SideFileError for a file of another version or another journal than ``journal_id``.
        """
        turns, marks = [np.zeros(0, LATENCY)], [np.zeros(0, LATENCY)]
        for _, data, next_seq in side_files(directory, _SUFFIX, MAGIC, journal_id, "latencies"):
            count = (len(data) - HEAD_BYTES) // LATENCY.itemsize
            rows = np.frombuffer(data, LATENCY, count, HEAD_BYTES)
            marks.append(rows[rows["rows"] == 0])
            own = rows[rows["rows"] != 0]
            turns.append(own if next_seq is None else own[own["last_seq"] < next_seq])
        found = np.concatenate(turns)
        return cls(found[np.argsort(found["last_seq"], kind="stable")], np.concatenate(marks))

    def of(self, seqs: NDArray[np.int64]) -> NDArray[Any]:
        """COMMAND_TIMES of commands; all times are 0 where a command was not recorded."""
        found = np.zeros(len(seqs), COMMAND_TIMES)
        found["seq"] = seqs
        if not len(self.turns):
            return found
        at = np.searchsorted(self.turns["last_seq"], seqs)
        turns = self.turns[np.minimum(at, len(self.turns) - 1)]
        known = (turns["last_seq"] - turns["rows"] < seqs) & (seqs <= turns["last_seq"])
        for name in ("read_ns", "sequenced_ns", "applied_ns", "answered_ns"):
            found[name] = np.where(known, turns[name], 0)
        found["journaled_ns"][known] = self._journaled_ns(seqs[known], turns["sequenced_ns"][known])
        return found

    def _journaled_ns(self, seqs: NDArray[np.int64], sequenced_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Time of the first mark, after each command was sequenced, that has it; 0 where there is none.

        Marks rise but where a copy had its last blocks set aside: then the numbers are used again, later.
        """
        found = np.zeros(len(seqs), np.int64)
        marked = self.marks["last_seq"]
        cuts = np.flatnonzero(np.diff(marked) < 0) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(marked)], strict=True):
            first = np.maximum(
                np.searchsorted(marked[begin:end], seqs),
                np.searchsorted(self.marks["read_ns"][begin:end], sequenced_ns),
            )
            there = (first < end - begin) & (found == 0)
            found[there] = self.marks["read_ns"][begin:end][first[there]]
        return found
