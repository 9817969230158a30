"""Messages that compiled turns sent are in the spool, in order, whoever asks for a stream and whenever."""

import random
from pathlib import Path

import numpy as np
import pytest

from gateway.ouch.outbox import OuchOutbox
from gateway.spool import EXTENT_BYTES, Spool
from gateway.told import BYTES_MAX, BYTES_MIN, BYTES_OF_USER, Told

SESSION = "20240115"
JOURNAL_ID = bytes(range(16))
USERS = 6


class Turns:
    """Writer of sent messages, as a turn is, before a spool that may take them at any time."""

    def __init__(self, folder: Path, call_bytes: int = 1 << 20) -> None:
        self.spool: Spool = OuchOutbox.open_spool(folder, SESSION, JOURNAL_ID)
        self.told = self.spool.told = Told(USERS, call_bytes)
        self.streams = dict.fromkeys(range(1, USERS), b"")
        self.next_seq = dict.fromkeys(self.streams, 1)

    def _made(self, user: int, count: int, data: bytes) -> int:
        first_seq = self.next_seq[user]
        self.next_seq[user] += count
        self.streams[user] += data
        return first_seq

    def tell(self, user: int, count: int, data: bytes) -> None:
        """Messages that a compiled turn sent."""
        position, first_seq = len(self.streams[user]), self._made(user, count, data)
        rows, begin = self.told.counts.tolist()
        self.told.rows[rows] = (user, first_seq, count, position, begin, len(data), len(data))
        self.told.data[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
        self.told.counts[:] = rows + 1, begin + len(data)

    def append(self, user: int, count: int, data: bytes) -> None:
        """Messages that were made in Python."""
        self.spool.append(user, self._made(user, count, data), count, data)


def message(chance: random.Random) -> bytes:
    length = chance.randint(1, 90)
    return length.to_bytes(2, "big") + bytes([chance.randrange(256)]) * length


def test_messages_of_turns_and_of_python_are_one_stream_whoever_asks_in_between(tmp_path: Path) -> None:
    turns, chance = Turns(tmp_path), random.Random(7)
    for _ in range(6_000):
        user, count = chance.randrange(1, USERS), chance.randint(1, 4)
        data = b"".join(message(chance) for _ in range(count))
        (turns.append if chance.random() < 0.1 else turns.tell)(user, count, data)
        asked = chance.random()
        if asked < 0.01:
            position = chance.randint(0, len(turns.streams[user]))
            assert turns.spool.read(user, position, 1 << 20) == turns.streams[user][position : position + (1 << 20)]
        elif asked < 0.02:
            assert turns.spool.end(user) == (turns.next_seq[user], len(turns.streams[user]))
        elif asked < 0.03:
            turns.spool.flush()
    for user, stream in turns.streams.items():
        assert turns.spool.read(user, 0, 1 << 30) == stream
        assert len(stream) > EXTENT_BYTES
        seq = chance.randint(1, turns.next_seq[user] - 1)
        assert turns.spool.read(user, turns.spool.position_of(user, seq), 2)[:1] == b"\0", "a message begins there"
    image = turns.spool.image()
    turns.spool.close()
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    again.restore(image)
    again.close()


def test_streams_are_written_bit_by_bit_and_whoever_asks_finds_all_of_them(tmp_path: Path) -> None:
    turns = Turns(tmp_path, 4 << 20)
    for seq in range(20):
        for user in range(1, USERS):
            turns.tell(user, 1, bytes([255, seq]) * 10_000)
    turns.spool.accept_told()
    assert len(turns.told) == 0
    assert turns.spool.path.stat().st_size == 0, "nothing is written yet"
    turns.spool.write_some()
    first = turns.spool.path.stat().st_size
    assert 0 < first < sum(map(len, turns.streams.values())) / 2
    for seq in range(20):
        for user in range(1, USERS):
            turns.tell(user, 1, bytes([254, seq]) * 1_000)
    turns.spool.accept_told()
    assert turns.spool.path.stat().st_size >= 5 * 20 * 20_000, "what was left is written before more is taken"
    for user, stream in turns.streams.items():
        assert turns.spool.read(user, 0, 1 << 30) == stream
    for _ in range(10):
        turns.spool.write_some()
    turns.spool.close()


def test_what_a_failed_write_left_is_kept_while_turns_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(tmp_path)
    for seq in range(100):
        turns.tell(1 + seq % 5, 1, bytes([0, 1, seq]))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full)
        with pytest.raises(OSError, match="No space"):
            turns.spool.flush()
    assert len(turns.told) == 0, "it is with the streams now"
    for seq in range(100):
        turns.tell(1 + seq % 5, 1, bytes([0, 1, 255 - seq]))
    for user, stream in turns.streams.items():
        assert turns.spool.read(user, 0, 1 << 20) == stream
    turns.spool.close()


def test_the_spool_takes_what_waits_sooner_where_few_users_have_messages(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    turns.tell(1, 1, b"x" * (BYTES_MIN - 1))
    assert not turns.told.is_full
    turns.tell(2, 1, b"x")
    assert turns.told.is_full
    turns.spool.flush()
    assert not turns.told.is_full
    for user in range(1, USERS):
        turns.tell(user, 1, b"x")
    turns.spool.flush()
    assert turns.told.limit_bytes == (USERS - 1) * BYTES_OF_USER < BYTES_MAX
    turns.spool.close()
