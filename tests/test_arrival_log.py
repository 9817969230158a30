"""Arrival records: the files that rotate, and a writer that never stops the market."""

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.arrival_log import ARRIVAL_BYTES, ArrivalFiles, ArrivalLog, numbered, read_arrivals
from gateway.arrivals import ARRIVAL


def arrivals(first_seq: int, count: int) -> NDArray[Any]:
    rows = np.zeros(count, ARRIVAL)
    rows["seq"] = np.arange(first_seq, first_seq + count)
    return rows


def seqs(directory: Path) -> list[int]:
    return [seq for rows in read_arrivals(directory) for seq in rows["seq"].tolist()]


def test_rows_of_turns_get_the_numbers_that_end_with_each_turn_s_last() -> None:
    turns = [(10, bytes(3 * ARRIVAL_BYTES)), (20, bytes(ARRIVAL_BYTES)), (22, bytes(2 * ARRIVAL_BYTES))]
    assert numbered(turns)["seq"].tolist() == [8, 9, 10, 20, 21, 22]


def test_files_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    directory = tmp_path / "arrivals"
    files = ArrivalFiles(directory, file_bytes_max=10 * ARRIVAL_BYTES, files_max=3)
    for first_seq in range(1, 100, 7):
        files.append(arrivals(first_seq, 7))
        assert sum(path.stat().st_size for path in directory.iterdir()) <= 30 * ARRIVAL_BYTES
    files.close()
    assert seqs(directory) == list(range(81, 106)), "three files, the newest begun"
    assert {path.name for path in directory.iterdir()} == {f"{n:020}.arrivals" for n in (81, 91, 101)}


def test_files_are_the_owner_s_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ArrivalFiles(tmp_path / "arrivals").append(arrivals(1, 1))
    finally:
        os.umask(before)
    (file,) = (tmp_path / "arrivals").iterdir()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_row_that_is_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.arrivals").write_bytes(arrivals(1, 3).tobytes()[:-5])
    assert seqs(tmp_path) == [1, 2]


class Faulty(ArrivalFiles):
    """Files on a disk that is full until ``mended``, or that blocks until ``going``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.mended = False
        self.going = threading.Event()
        self.going.set()
        self.wrote = threading.Event()

    def append(self, rows: NDArray[Any]) -> None:
        assert self.going.wait(30)
        try:
            if not self.mended:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().append(rows)
        finally:
            self.wrote.set()


def test_a_failed_write_is_counted_and_told_once_and_writing_goes_on(tmp_path: Path) -> None:
    files, told, seq = Faulty(tmp_path / "arrivals"), list[str](), iter(range(1, 100))
    log = ArrivalLog(files, lambda: next(seq), told.append)
    for _ in range(5):
        files.wrote.clear()
        log.add(bytes(ARRIVAL_BYTES))
        log.flush()
        assert files.wrote.wait(30)
    files.mended = True
    log.add(bytes(ARRIVAL_BYTES))
    log.close(30)
    assert log.lost == 5
    assert told == ["No space left on device"]
    assert seqs(tmp_path / "arrivals") == [6]


def test_a_disk_that_stalls_costs_records_and_never_a_wait(tmp_path: Path) -> None:
    files, told, seq = Faulty(tmp_path / "arrivals"), list[str](), iter(range(1, 1_000))
    files.mended = True
    files.going.clear()
    log = ArrivalLog(files, lambda: next(seq), told.append)
    for _ in range(200):
        log.add(bytes(ARRIVAL_BYTES))
        log.flush()
    lost = log.lost
    assert lost > 100
    assert told == ["the disk takes them too slowly"]
    files.going.set()
    log.close(30)
    assert len(seqs(tmp_path / "arrivals")) == 200 - lost


def test_a_log_that_is_closed_has_written_everything(tmp_path: Path) -> None:
    seq = iter(range(1, 1_000))
    log = ArrivalLog(ArrivalFiles(tmp_path / "arrivals"), lambda: next(seq), pytest.fail)
    for _ in range(500):
        log.add(bytes(ARRIVAL_BYTES))
    log.close(30)
    assert seqs(tmp_path / "arrivals") == list(range(1, 501))
