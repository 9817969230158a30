"""The tape between processes that are stopped and killed at random: each word of each block that is seen is right."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tape.blocks import HEAD_WORDS
from tape.errors import TapeError
from tape.form import tape_path
from tape.places import Place
from tape.reader import Block, Result, TapeReader
from tape.shared_file import owner_of
from tape.writer import TapeWriter
from tests.tape_traffic import BYTES, ID, ROWS, first_word_of, is_sound, publish_early, write_one

ROOT = Path(__file__).parent.parent
NAMES = ("one", "two", "three")


def program(path: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tape_traffic", words[0], str(path), *words[1:]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


class Readers:
    """Processes that read, each of which is stopped, resumed or killed and started again."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.processes = {name: program(path, "read", name) for name in NAMES}
        self.stopped: set[str] = set()
        self.kills = dict.fromkeys(self.processes, 0)

    def strike(self) -> None:
        name = self.random.choice(list(self.processes))
        if name in self.stopped:
            self.resume(name)
        elif self.random.random() < 0.5:
            self.processes[name].send_signal(signal.SIGSTOP)
            self.stopped.add(name)
        else:
            self.restart(name)

    def restart(self, name: str) -> None:
        old = self.processes[name]
        assert old.poll() is None, f"{name} ended by itself with {old.returncode}"
        old.kill()
        with old:
            pass
        self.kills[name] += 1
        self.processes[name] = program(self.path, "read", name)

    def resume(self, name: str) -> None:
        if name in self.stopped:
            self.processes[name].send_signal(signal.SIGCONT)
            self.stopped.discard(name)

    def resume_all(self) -> None:
        for name in NAMES:
            self.resume(name)

    def await_places(self, writer: TapeWriter) -> None:
        until_s = time.monotonic() + 600
        while len(writer.readers()) < len(self.processes):
            assert all(each.poll() is None for each in self.processes.values())
            assert time.monotonic() < until_s
            time.sleep(0.02)

    def results(self) -> dict[str, list[int]]:
        self.resume_all()
        found = {}
        for name, process in self.processes.items():
            out, _ = process.communicate(timeout=600)
            assert process.returncode == 0, name
            found[name] = [int(word) for word in out.split()]
        return found

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            with process:
                pass


def write_all(writer: TapeWriter, readers: Readers, rows: int, strikes: int) -> int:
    """Write so many rows, with so many strikes spread over them; gives the last sequence number."""
    # Readers that begin need a while, in which a fast machine would have written all: the last of it waits for them.
    due = sorted(readers.random.randrange(rows * 9 // 10) for _ in range(strikes))
    seq = 1
    while seq <= rows:
        if due and seq > due[0]:
            due.pop(0)
            readers.strike()
            if not due:
                readers.resume_all()
                readers.await_places(writer)
        seq = write_one(writer, seq)
    return seq - 1


@pytest.mark.parametrize(
    ("rows", "strikes"),
    [
        pytest.param(1_000_000, 6, marks=pytest.mark.slow, id="10^6 rows"),
        pytest.param(100_000_000, 60, marks=pytest.mark.long, id="10^8 rows"),
    ],
)
def test_readers_that_are_stopped_and_killed_see_every_block_whole_or_are_told_that_it_is_gone(
    tmp_path: Path, rows: int, strikes: int
) -> None:
    path = tape_path(tmp_path)
    with TapeWriter(path, ID, ROWS, size_bytes=BYTES) as writer:
        readers = Readers(path, seed=rows)
        try:
            readers.await_places(writer)
            last_seq = write_all(writer, readers, rows, strikes)
            writer.end()
            results = readers.results()
        finally:
            readers.end()
        assert last_seq >= rows
        assert sum(readers.kills.values()) > 0
        assert sum(seen for seen, _ in results.values()) > 0
        assert writer.readers() == []


@pytest.mark.parametrize("kills", [pytest.param(3, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.long)])
def test_a_writer_that_is_killed_at_random_leaves_whole_blocks_and_its_successor_a_new_tape(
    tmp_path: Path, kills: int
) -> None:
    path, chance = tape_path(tmp_path), random.Random(kills)
    for _ in range(kills):
        writer = program(path, "write")
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            with TapeReader(path, ID, ROWS) as reader:
                assert reader.writer_lives()
                seen, least = 0, chance.randrange(1, 200)
                while seen < least:
                    seen += _checked(reader)
                os.kill(writer.pid, signal.SIGKILL)
                writer.wait()
                assert not reader.writer_lives()
                assert not reader.ended()
                while reader.lag_words() > 0:
                    _checked(reader)
                assert reader.read() == (Result.NOTHING, None)
        finally:
            writer.kill()
            with writer:
                pass


def _write_until_killed(path: Path, parent: int, *, early: bool) -> None:
    """Write without end, in a child. early: a block is published before its rows are written."""
    writer, seq = TapeWriter(path, ID, ROWS, size_bytes=BYTES), 1
    while os.getppid() == parent:
        seq = publish_early(writer, seq) if early else write_one(writer, seq)


def _kill_writers(folder: Path, kills: int, *, early: bool = False) -> tuple[int, int]:
    """Kill a writer at a random instruction, again and again, and check all that it has published.

    Gives how many died while they wrote a block, and how many published blocks were torn.
    """
    chance, parent = random.Random(kills), os.getpid()
    died_writing = torn = 0
    for number in range(kills):
        path = tape_path(folder).with_name(f"tape-{number % 2}")
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                _write_until_killed(path, parent, early=early)
            os._exit(0)
        try:
            reader = _attached(path, child)
            until_s = time.monotonic() + chance.random() / 500
            while time.monotonic() < until_s or reader.load(Place.PUBLISHED) == 0:
                pass
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with reader:
            last_seq, is_torn = _last_of(reader)
            torn += is_torn
            died_writing += _has_begun(reader, last_seq + 1)
    return died_writing, torn


def _attached(path: Path, child: int) -> TapeReader:
    until_s = time.monotonic() + 60
    while True:
        with suppress(TapeError):
            if owner_of(path) == child:
                return TapeReader(path, ID, ROWS)
        assert time.monotonic() < until_s


def _last_of(reader: TapeReader) -> tuple[int, bool]:
    """Last sequence number of a tape whose writer is dead, and if any of its blocks is torn."""
    reader.join(1)
    torn, last_seq = False, 0
    while True:
        result, block = reader.read()
        if block is None:
            assert result is Result.NOTHING
            return last_seq, torn
        torn |= not is_sound(block)
        assert last_seq in (0, block.first_seq - 1)
        last_seq = block.last_seq


def _has_begun(reader: TapeReader, seq: int) -> bool:
    """True if rows of a block that was never published are there."""
    words = reader.tape.arrays.data
    mask = len(words) - 1
    at = reader.load(Place.PUBLISHED) & mask
    begins = {at, 0}  # behind a gap
    return any(first_word_of(seq) == int(words[(begin + HEAD_WORDS) & mask]) for begin in begins)


@pytest.mark.parametrize("kills", [20, pytest.param(1_000, marks=pytest.mark.long)])
def test_a_writer_that_is_killed_in_the_middle_of_a_block_has_not_published_it(tmp_path: Path, kills: int) -> None:
    died_writing, torn = _kill_writers(tmp_path, kills)
    assert torn == 0
    assert died_writing > 0


@pytest.mark.slow
def test_a_writer_that_publishes_before_it_writes_is_found_out(tmp_path: Path) -> None:
    """Control of the test above."""
    assert any(_kill_writers(tmp_path, 20 + more, early=True)[1] for more in range(20))


def _checked(reader: TapeReader) -> int:
    """Read and check one block; gives 1 if there was one that is whole."""
    before = reader.next_seq
    result, block = reader.read()
    if result == Result.OVERRUN:
        _, before = reader.join(before or 1)
        result, block = reader.read()
    if block is not None:
        assert is_sound(block)
        assert before in (0, block.first_seq)
        return 1
    return 0


@pytest.mark.slow
def test_one_wrong_bit_in_any_row_or_a_head_is_found_out(tmp_path: Path) -> None:
    path = tape_path(tmp_path)
    with TapeWriter(path, ID, ROWS, size_bytes=BYTES) as writer, TapeReader(path, ID, ROWS) as reader:
        after = write_one(writer, 1)
        block = reader.read()[1]
        assert block is not None
        assert block.last_seq == after - 1
        assert is_sound(block)
        for rows in (block.commands, block.events, block.reports):
            for at in range(rows.nbytes // 8):
                rows.view("<i8").reshape(-1)[at] ^= 1 << (at % 60)
                assert not is_sound(block)
                rows.view("<i8").reshape(-1)[at] ^= 1 << (at % 60)
        assert is_sound(block)
        assert not is_sound(Block(block.first_seq + 1, *block[1:]))
        assert not is_sound(Block(*block[:2], block.time_ns + 1, *block[3:]))
