"""The streams of a day in one file: any message is found again, and a file that lost something is not believed."""

import os
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.capacity import Capacity
from gateway.ouch.outbox import FOLDER, OuchOutbox
from gateway.outbox import NO_SESSION
from gateway.spool import EXTENT_BYTES, STREAM_PENDING_BYTES_MAX, Spool, SpoolError, remove_files

SESSION = "20240115"
JOURNAL_ID = bytes(range(16))


def message(chance: random.Random) -> bytes:
    length = chance.randint(1, 90)
    return length.to_bytes(2, "big") + bytes([chance.randrange(256)]) * length


def filled(spool: Spool, seed: int, rounds: int) -> dict[int, list[bytes]]:
    """Messages by user, in the spool too; flushed now and then."""
    chance = random.Random(seed)
    held: dict[int, list[bytes]] = {}
    for number in range(rounds):
        messages = [message(chance) for _ in range(chance.randint(1, 4))]
        mine = held.setdefault(chance.randint(1, 5), [])
        user = next(user for user, theirs in held.items() if theirs is mine)
        spool.append(user, len(mine) + 1, len(messages), b"".join(messages))
        mine += messages
        if number % 1_000 == 0:
            spool.flush()
    return held


@pytest.mark.slow
def test_every_message_is_found_where_it_begins(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    held = filled(spool, 1, 8_000)
    chance = random.Random(2)
    for user, messages in held.items():
        whole = b"".join(messages)
        assert len(whole) > 2 * EXTENT_BYTES
        for seq in (1, 2, len(messages), len(messages) + 1, *(chance.randint(1, len(messages)) for _ in range(100))):
            assert spool.position_of(user, seq) == sum(map(len, messages[: seq - 1]))
        for position in (0, 1, EXTENT_BYTES - 1, EXTENT_BYTES, len(whole) - 1, len(whole)):
            assert spool.read(user, position, 1 << 30) == whole[position:]
        assert spool.end(user) == (len(messages) + 1, len(whole))
    assert spool.end(9) == (1, 0)
    with pytest.raises(ValueError, match="no message"):
        spool.position_of(1, len(held[1]) + 2)
    spool.close()


def test_a_spool_goes_on_from_an_image_and_writes_over_what_came_after(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    before = {user: list(messages) for user, messages in filled(spool, 3, 3_000).items()}
    spool.flush()
    image = spool.image()
    for user, messages in before.items():
        spool.append(user, len(messages) + 1, 1, b"\0\1x" * 50_000)
    spool.close()
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    again.restore(image)
    for user, messages in before.items():
        again.append(user, len(messages) + 1, 1, b"\0\1y")
        assert again.read(user, 0, 1 << 30) == b"".join(messages) + b"\0\1y"
    again.close()


def test_a_file_that_is_shorter_than_its_image_is_refused(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    filled(spool, 4, 3_000)
    spool.flush()
    image = spool.image()
    os.truncate(spool.path, spool.path.stat().st_size - 1)
    spool.close()
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    with pytest.raises(ValueError, match="shorter than what was written"):
        again.restore(image)
    again.close()


def test_what_cannot_be_read_again_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    spool.append(1, 1, 1, b"\0\1x")
    spool.flush()
    os.truncate(spool.path, 0)
    with pytest.raises(SpoolError, match="shorter than what was written"):
        spool.read(1, 0, 10)
    assert not issubclass(SpoolError, OSError), "which would pass for a connection that broke"
    spool.close()


def test_a_write_that_failed_is_made_again_at_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    data = b"\0\1x" * EXTENT_BYTES
    write, calls = os.pwrite, []

    def failing(fd: int, piece: memoryview, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return write(fd, piece, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(OSError, match="No space"):
        spool.append(1, 1, EXTENT_BYTES, data)  # so many bytes of a stream are written at once
    assert len(calls) == 3
    assert spool.read(1, 0, len(data)) == data
    assert spool.position_of(1, EXTENT_BYTES) == len(data) - 3
    image = spool.image()
    spool.close()
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    again.restore(image)
    again.close()


def test_many_small_messages_of_many_streams_are_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = os.pwrite, []

    def counted(fd: int, piece: memoryview, offset: int) -> int:
        written.append(len(piece))
        return write(fd, piece, offset)

    monkeypatch.setattr(os, "pwrite", counted)
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    for seq in range(1, 1_001):
        for user in range(1, 51):
            spool.append(user, seq, 1, b"x" * 50)
    assert written == [], "neither a stream nor all together have enough"
    for seq in range(1_001, STREAM_PENDING_BYTES_MAX // 50 + 2):
        assert written == []
        spool.append(1, seq, 1, b"x" * 50)
    assert len(written) == 1 + STREAM_PENDING_BYTES_MAX // EXTENT_BYTES + 1, "the head, and one stream"
    first = sum(written[1:])
    assert STREAM_PENDING_BYTES_MAX <= first < STREAM_PENDING_BYTES_MAX + 50
    spool.flush()
    assert sum(written[1:]) == first + 49 * 1_000 * 50
    assert len(written) <= 55
    spool.close()


def test_a_flipped_bit_anywhere_in_what_was_written_is_not_believed(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    filled(spool, 5, 3_000)
    spool.flush()
    image = spool.image()
    spool.close()
    whole = spool.path.read_bytes()
    chance = random.Random(6)
    written = [at for at in (chance.randrange(len(whole)) for _ in range(200)) if whole[at]]
    assert len(written) > 40
    for at in (*written[:40], whole.rfind(whole.rstrip(b"\0")[-1:])):
        spool.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
        with pytest.raises(ValueError, match=r"streams/20240115\.spool was (changed|written|taken)"):
            again.restore(image)
        again.close()
    spool.path.write_bytes(whole)
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    again.restore(image)
    assert {name: array.tolist() for name, array in again.image().items()} == {
        name: array.tolist() for name, array in image.items()
    }
    again.close()


def image_of_version_1(image: dict[str, NDArray[Any]], spool: Spool) -> dict[str, NDArray[Any]]:
    """The same streams with CRC-32 as checksums."""
    crcs = [zlib.crc32(spool.read(user, 0, 1 << 30)) for user in image["heads"][:, 0].tolist()]
    return {name: array for name, array in image.items() if name != "xxh3"} | {"crc": np.array(crcs, np.int64)}


def test_an_image_with_crc_32_is_taken_and_finds_a_flipped_bit(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    filled(spool, 7, 1_000)
    spool.flush()
    image = spool.image()
    earlier = image_of_version_1(image, spool)
    spool.close()
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    again.restore(earlier)
    assert again.image()["xxh3"].tolist() == image["xxh3"].tolist()
    again.close()
    octets = bytearray(spool.path.read_bytes())
    octets[-1_000] ^= 1
    spool.path.write_bytes(octets)
    changed = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    with pytest.raises(ValueError, match="was changed"):
        changed.restore(earlier)
    changed.close()


def test_an_image_of_a_release_without_checksums_is_taken(tmp_path: Path) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    filled(spool, 7, 100)
    spool.flush()
    image = spool.image()
    spool.close()
    again = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    again.restore({name: array for name, array in image.items() if name != "xxh3"})
    assert again.image()["xxh3"].tolist() == image["xxh3"].tolist()
    again.close()


def test_checksums_do_not_depend_on_flushes_nor_on_a_restore(tmp_path: Path) -> None:
    often, seldom = (OuchOutbox.open_spool(tmp_path, session, JOURNAL_ID) for session in ("20240115", "20240116"))
    for number in range(1, 400):
        for spool in (often, seldom):
            spool.append(number % 3, number, 1, number.to_bytes(2, "big") * 300)
        often.flush()
        if number == 200:
            image = often.image()
            often.close()
            often = OuchOutbox.open_spool(tmp_path, "20240115", JOURNAL_ID)
            often.restore(image)
    assert often.checksums().tolist() == seldom.checksums().tolist()
    for spool in (often, seldom):
        spool.append(1, 400, 1, b"one more")
    assert often.checksums().tolist() == seldom.checksums().tolist()
    seldom.append(2, 401, 1, b"and another")
    assert often.checksums().tolist() != seldom.checksums().tolist()
    often.close()
    seldom.close()


def test_no_file_is_made_for_the_time_before_the_first_clock_value(tmp_path: Path) -> None:
    outbox = OuchOutbox(tmp_path, Capacity(), bytes(16))
    image = outbox.image()
    outbox.sync()
    outbox.close()
    assert outbox.spool.is_closed
    outbox = OuchOutbox(tmp_path, Capacity(), bytes(16))
    outbox.restore(image, 0)
    assert OuchOutbox.changed_files(tmp_path, bytes(16), image) == []
    assert not list((tmp_path / FOLDER).iterdir())
    outbox.spool.append(1, 1, 1, message(random.Random(1)))
    outbox.flush()
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [f"{NO_SESSION}.spool"]
    image = outbox.image()
    outbox.close()
    outbox.spool.path.unlink()
    outbox = OuchOutbox(tmp_path, Capacity(), bytes(16))
    with pytest.raises(ValueError, match="is missing"):
        outbox.restore(image, 0)
    outbox.close()


def test_files_of_sessions_that_are_not_kept_are_removed_and_those_of_an_earlier_release_too(tmp_path: Path) -> None:
    for session in ("20240115", "20240116"):
        OuchOutbox.open_spool(tmp_path, session, JOURNAL_ID).close()
        (tmp_path / FOLDER / session).write_bytes(b"written by an earlier release")
    remove_files(tmp_path / FOLDER, {"20240116"})
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["20240116.spool"]
