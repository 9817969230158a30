"""Arrival records for fairness audits: time, connection, turn and place of each received row, in side files.

The files are no part of the journal and decide nothing. A thread writes them, so the market never waits: records that
cannot be written in time are counted, reported once, and left out.

DIR/arrivals holds files of turns (``gateway.side_files``). The oldest file is removed when there are more than
``FILES_MAX``. Behind its head a file has turns, each with its record as ``arrivals`` describes it: a TURN row, an
ORIGIN row for each connection that was read in it, and a word for each message in its order. So a message costs 4
bytes: at two million orders a second, more would slow the market down. Numbers are little-endian.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.arrivals import ORIGIN, ORIGIN_WORDS, TURN, TURN_WORDS, WORD_BYTES
from gateway.side_files import HEAD_BYTES, SideFileError, SideFiles, SideWriter, side_files

#: The arrival of one row, from ``read_arrivals``.
ARRIVAL: Final = np.dtype(
    [
        ("seq", "<i8"),  # sequence number of the row
        ("time_ns", "<i8"),  # when the node received the bytes of the connection, since 1970
        ("connection", "<i4"),  # number of the connection, from 1 on since the node started
        ("user", "<i4"),  # number of the user, in order of definition
        ("place", "<i4"),  # of the message in its turn, from 0; an EXTEND row has that of its message
        ("turn", "<i4"),  # number of the turn since the node started, modulo 2**31
    ]
)
#: The first bytes of a file: its kind and the version of its format.
MAGIC: Final = b"LSARRIV2"
_TURN: Final = struct.Struct("<qiiii")
#: Size of a file in bytes, above which another is begun.
FILE_BYTES_MAX: Final = 8 << 20
FILES_MAX: Final = 32
#: Bytes of turns that are passed to the thread at once.
PIECE_BYTES: Final = 1 << 20
_PIECE_WORDS: Final = PIECE_BYTES // WORD_BYTES
_SUFFIX: Final = ".arrivals"


class ArrivalFiles(SideFiles):
    """The files: turns are appended. One thread's; raises OSError."""

    def __init__(
        self, directory: Path, journal_id: bytes, file_bytes_max: int = FILE_BYTES_MAX, files_max: int = FILES_MAX
    ) -> None:
        super().__init__(directory, _SUFFIX, MAGIC + journal_id, file_bytes_max, files_max)


class ArrivalLog:
    """Record of the arrivals of each turn. All calls come from the event loop's thread, and none blocks.

    last_seq: gives the sequence number of the newest row, which is that of the turn's last. on_failure: called with the
    reason why rows are not written, once until they are again.
    """

    def __init__(self, files: ArrivalFiles, last_seq: Callable[[], int], on_failure: Callable[[str], None]) -> None:
        self._last_seq = last_seq
        self._record = memoryview(b"")
        #: Word at which the record of the next turn begins.
        self.at = 0
        self._first_seq = 0
        self._rows = 0
        self._writer = SideWriter(files, "arrivals", on_failure)

    @property
    def lost(self) -> int:
        """Rows that were left out since the start."""
        return self._writer.lost

    def room(self, turn_words: int) -> NDArray[np.int32]:
        """Room for the records of turns, each of so many words at most: the kernel that reads writes the next one from
        ``at`` on."""
        words = np.zeros(_PIECE_WORDS + turn_words, np.int32)
        self._record = words.view(np.uint8).data
        return words

    def add(self, turn: int, rows: int, streams: int, messages: int) -> None:
        """Keep the record of a turn that was taken: its number, and how many rows, ORIGIN rows and messages it has."""
        last_seq, at = self._last_seq(), self.at
        if at == 0:
            self._first_seq = last_seq - rows + 1
        _TURN.pack_into(self._record, WORD_BYTES * at, last_seq, turn, streams, messages, rows)
        self.at = at + TURN_WORDS + ORIGIN_WORDS * streams + messages
        self._rows += rows
        if self.at >= _PIECE_WORDS:
            self.flush()

    #: Word at or after which records are passed to the writing thread.
    full_at: Final = _PIECE_WORDS

    @property
    def position(self) -> tuple[int, int, int]:
        """Word at which the next record begins, sequence number of the first waiting row, and number of these rows."""
        return self.at, self._first_seq, self._rows

    def go_on(self, at: int, first_seq: int, rows: int) -> None:
        """Go on after records that a kernel has written; the arguments are as ``position``."""
        self.at, self._first_seq, self._rows = at, first_seq, rows
        if at >= self.full_at:
            self.flush()

    def flush(self) -> None:
        """Pass all waiting records to the writing thread."""
        if self.at == 0:
            return
        self._writer.give(self._first_seq, self._rows, bytes(self._record[: WORD_BYTES * self.at]))
        self._rows = self.at = 0

    def close(self, wait_s: float = 2.0) -> None:
        """Write the waiting records and end the thread; wait for the disk at most ``wait_s``."""
        self.flush()
        self._writer.close(wait_s)


def read_arrivals(directory: Path, journal_id: bytes) -> Iterator[NDArray[Any]]:
    """ARRIVAL rows of DIR/arrivals, file by file, in order of sequence number. A turn that is cut short is left out.
    So are rows whose numbers the next file has again: a crash took them before they were durable.

    Raises SideFileError for a damaged file, and for one of another version or another journal than ``journal_id``.
    """
    for path, data, next_seq in side_files(directory, _SUFFIX, MAGIC, journal_id, "arrivals"):
        rows = _arrivals_of(data, path)
        yield rows if next_seq is None else rows[rows["seq"] < next_seq]


def _arrivals_of(data: bytes, path: Path) -> NDArray[Any]:
    """All rows of a file: each turn is looked at once, and the rows of all are made together."""
    heads, ats = [], []
    at, end = HEAD_BYTES, len(data)
    while at + TURN.itemsize <= end:
        head = _TURN.unpack_from(data, at)
        _, _, streams, messages, rows = head
        if streams < 1 or messages < 1 or not messages <= rows <= 2 * messages:
            raise SideFileError(f"{path} is damaged at byte {at}; move it away, the market does not need it")
        after = at + TURN.itemsize + ORIGIN.itemsize * streams + WORD_BYTES * messages
        if after > end:
            break
        heads.append(head)
        ats.append(at)
        at = after
    turns = np.array(heads, TURN)
    words = np.frombuffer(data[: len(data) // WORD_BYTES * WORD_BYTES], "<i4")
    first_origins = np.array(ats, np.int64) // WORD_BYTES + TURN_WORDS
    messages_of = turns["messages"].astype(np.int64)
    of_turn = np.repeat(np.arange(len(turns)), messages_of)
    place = np.arange(len(of_turn)) - np.repeat(np.cumsum(messages_of) - messages_of, messages_of)
    entries = words[(first_origins + ORIGIN_WORDS * turns["streams"])[of_turn] + place]
    stream, rows_of = entries >> 1, 1 + (entries & 1)
    rows_of_turn = np.bincount(of_turn, rows_of, len(turns))
    wrong = (rows_of_turn != turns["rows"]) | (
        np.bincount(of_turn, (stream < 0) | (stream >= turns["streams"][of_turn]), len(turns)) > 0
    )
    if wrong.any():
        raise SideFileError(
            f"{path} is damaged at byte {ats[int(wrong.argmax())]}; move it away, the market does not need it"
        )
    origin = first_origins[of_turn] + ORIGIN_WORDS * stream
    arrivals = np.zeros(int(rows_of.sum()), ARRIVAL)
    of_message = np.repeat(np.arange(len(of_turn)), rows_of)
    rows_before = np.cumsum(turns["rows"].astype(np.int64)) - turns["rows"]
    turn = of_turn[of_message]
    arrivals["seq"] = turns["last_seq"][turn] - turns["rows"][turn] + 1 + np.arange(len(arrivals)) - rows_before[turn]
    arrivals["time_ns"] = ((words[origin + 1].astype(np.int64) << 32) | words.view("<u4")[origin])[of_message]
    arrivals["connection"] = words[origin + 2][of_message]
    arrivals["user"] = words[origin + 3][of_message]
    arrivals["place"] = place[of_message]
    arrivals["turn"] = turns["turn"][turn]
    return arrivals
