"""Arrival records: the files that rotate, what is read back from them, and a writer that never stops the market."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.arrival_log import MAGIC, ArrivalFiles, ArrivalLog, read_arrivals
from gateway.arrivals import ORIGIN, TURN, TURN_WORDS
from gateway.side_files import HEAD_BYTES, SideFileError

JOURNAL_ID = bytes(range(16))
HEAD = MAGIC + JOURNAL_ID
#: A turn of one message and one row, in a file.
TURN_BYTES = TURN.itemsize + ORIGIN.itemsize + 4


def origins(*rows: tuple[int, int, int]) -> bytes:
    """ORIGIN rows of (time_ns, connection, user)."""
    return np.array(list(rows), ORIGIN).tobytes()


def places(*messages: tuple[int, int]) -> bytes:
    """Words of (stream, rows of the message)."""
    return np.array([2 * stream + rows - 1 for stream, rows in messages], np.int32).tobytes()


def turn(last_seq: int) -> bytes:
    """A turn with one row."""
    return np.array([(last_seq, 1, 1, 1, 1)], TURN).tobytes() + origins((1, 1, 1)) + places((0, 1))


def seqs(directory: Path) -> list[int]:
    return [seq for rows in read_arrivals(directory, JOURNAL_ID) for seq in rows["seq"].tolist()]


def adding(log: ArrivalLog) -> Callable[[int, int, bytes, bytes], None]:
    """A function that records a turn: its number, rows, ORIGIN rows, and a word for each message."""
    words = log.room(1_000)

    def add(number: int, rows: int, connections: bytes, messages: bytes) -> None:
        data, at = connections + messages, log.at + TURN_WORDS
        words[at : at + len(data) // 4] = np.frombuffer(data, np.int32)
        log.add(number, rows, len(connections) // ORIGIN.itemsize, len(messages) // 4)

    return add


def adding_one(log: ArrivalLog) -> Callable[[], None]:
    """A function that records a turn of one row."""
    return partial(adding(log), 1, 1, origins((1, 1, 1)), places((0, 1)))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=9), max_size=8))
def test_what_is_read_back_is_what_was_recorded(
    tmp_path_factory: pytest.TempPathFactory, turns: list[list[tuple[int, int]]]
) -> None:
    directory = tmp_path_factory.mktemp("arrivals")
    last_seq = 2**33
    times_ns = [1_700_000_000_000_000_000 + 2**31 + n for n in range(3)]
    expected: list[tuple[Any, ...]] = []
    current = [0]
    log = ArrivalLog(ArrivalFiles(directory, JOURNAL_ID), lambda: current[0], pytest.fail)
    add = adding(log)
    for number, messages in enumerate(turns):
        last_seq += 1  # a CLOCK row
        for place, (stream, rows) in enumerate(messages):
            for _ in range(rows):
                last_seq += 1
                expected.append((last_seq, times_ns[stream], 10 + stream, 20 + stream, place, number))
        current[0] = last_seq
        connections = origins(*((times_ns[n], 10 + n, 20 + n) for n in range(3)))
        add(number, sum(rows for _, rows in messages), connections, places(*messages))
    log.close(30)
    assert [tuple(row) for rows in read_arrivals(directory, JOURNAL_ID) for row in rows.tolist()] == expected


def test_files_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    directory = tmp_path / "arrivals"
    files = ArrivalFiles(directory, JOURNAL_ID, file_bytes_max=HEAD_BYTES + 10 * TURN_BYTES, files_max=3)
    for seq in range(1, 106):
        files.append(seq, turn(seq))
        assert sum(path.stat().st_size for path in directory.iterdir()) <= 3 * (HEAD_BYTES + 10 * TURN_BYTES)
    files.close()
    assert seqs(directory) == list(range(81, 106)), "three files, the newest begun"
    assert {path.name for path in directory.iterdir()} == {f"{n:020}.arrivals" for n in (81, 91, 101)}


def test_rows_that_a_crash_took_are_not_shown_beside_those_that_have_their_numbers_now(tmp_path: Path) -> None:
    for first_seq, seqs_of_life in ((10, range(10, 15)), (20, range(20, 24)), (12, range(12, 18))):
        files = ArrivalFiles(tmp_path / "arrivals", JOURNAL_ID)  # each life of a node begins a file
        for seq in seqs_of_life:
            files.append(first_seq, turn(seq))
        files.close()
    assert seqs(tmp_path / "arrivals") == [10, 11, 12, 13, 14, 15, 16, 17]


def test_files_are_the_owner_s_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ArrivalFiles(tmp_path / "arrivals", JOURNAL_ID).append(1, turn(1))
    finally:
        os.umask(before)
    (file,) = (tmp_path / "arrivals").iterdir()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 5, TURN_BYTES - 1])
def test_a_turn_that_is_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    data = HEAD + turn(1) + turn(2) + turn(3)
    (tmp_path / "00000000000000000001.arrivals").write_bytes(data[:-cut])
    assert seqs(tmp_path) == [1, 2]


def test_a_file_that_was_only_begun_has_no_rows(tmp_path: Path) -> None:
    for size in range(len(HEAD) + 1):
        (tmp_path / f"{size:020}.arrivals").write_bytes(HEAD[:size])
    assert seqs(tmp_path) == []


@pytest.mark.parametrize("field", ["streams", "messages", "rows", "place"])
def test_a_damaged_turn_is_named_with_its_file_and_byte(tmp_path: Path, field: str) -> None:
    path = tmp_path / "00000000000000000001.arrivals"
    data = bytearray(HEAD + turn(1) + turn(2))
    at = HEAD_BYTES + TURN_BYTES
    where = at + TURN_BYTES - 4 if field == "place" else at + (TURN.fields or {})[field][1]
    data[where : where + 4] = (-7).to_bytes(4, "little", signed=True)
    path.write_bytes(data)
    with pytest.raises(SideFileError, match=f"{path} is damaged at byte {at};"):
        seqs(tmp_path)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.arrivals").write_bytes(b"LSARRIV1" + turn(1))
    with pytest.raises(SideFileError, match="no file of arrivals of this version"):
        seqs(tmp_path)


class Faulty(ArrivalFiles):
    """Files on a disk that is full until ``mended``, or that blocks until ``going``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, JOURNAL_ID)
        self.mended = False
        self.going = threading.Event()
        self.going.set()
        self.wrote = threading.Event()

    def append(self, first_seq: int, turns: bytes) -> None:
        assert self.going.wait(120)
        try:
            if not self.mended:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().append(first_seq, turns)
        finally:
            self.wrote.set()


def test_a_failed_write_is_counted_and_told_once_and_writing_goes_on(tmp_path: Path) -> None:
    files, told, seq = Faulty(tmp_path / "arrivals"), list[str](), iter(range(1, 100))
    log = ArrivalLog(files, lambda: next(seq), told.append)
    add = adding_one(log)
    for _ in range(5):
        files.wrote.clear()
        add()
        log.flush()
        assert files.wrote.wait(120)
    files.mended = True
    add()
    log.close(30)
    assert log.lost == 5
    assert told == ["No space left on device"]
    assert seqs(tmp_path / "arrivals") == [6]


def test_a_disk_that_stalls_costs_records_and_never_a_wait(tmp_path: Path) -> None:
    files, told, seq = Faulty(tmp_path / "arrivals"), list[str](), iter(range(1, 1_000))
    files.mended = True
    files.going.clear()
    log = ArrivalLog(files, lambda: next(seq), told.append)
    add = adding_one(log)
    for _ in range(200):
        add()
        log.flush()
    lost = log.lost
    assert lost > 100
    assert told == ["the disk takes them too slowly"]
    files.going.set()
    log.close(30)
    assert len(seqs(tmp_path / "arrivals")) == 200 - lost


def test_a_log_that_is_closed_has_written_everything(tmp_path: Path) -> None:
    seq = iter(range(1, 1_000))
    log = ArrivalLog(ArrivalFiles(tmp_path / "arrivals", JOURNAL_ID), lambda: next(seq), pytest.fail)
    add = adding_one(log)
    for _ in range(500):
        add()
    log.close(30)
    assert seqs(tmp_path / "arrivals") == list(range(1, 501))
