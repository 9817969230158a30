"""Blocks of a tape whose every word follows from their first sequence number, and programs that write and read them.

python -m tests.tape_traffic write PATH                  write blocks without end
python -m tests.tape_traffic read PATH NAME              read and check until the writer ends
"""

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.jit import called
from engine.records import COMMAND, EVENT
from tape import blocks
from tape.form import Rows
from tape.reader import Block, Result, TapeReader
from tape.writer import TapeWriter

ID: Final = bytes(range(16))
ROWS: Final = Rows(COMMAND, EVENT, np.dtype([("seq", "<i8"), ("rest", "<i8", 23)]))
BYTES: Final = 1 << 21

_ODD: Final = 0x9E3779B97F4A7C15
_WORD: Final = 1 << 64
#: Longest block: 1,024 COMMAND, 512 EVENT and 64 REPORT rows.
_PATTERN: Final = np.arange(1 << 14, dtype=np.uint64) * np.uint64(_ODD)
_SLEEP_NS: Final = 50_000_000


def counts_of(first_seq: int) -> tuple[int, int, int]:
    """Rows of the block that begins with this sequence number."""
    mixed = first_seq * _ODD % _WORD
    return 1 + (mixed >> 20) % 1_024, (mixed >> 34) % 513, (mixed >> 48) % 65


def _begin_of(first_seq: int) -> np.uint64:
    return np.uint64((first_seq << 14) * _ODD % _WORD)


@called
def _claim(pointers, room):  # type: ignore[no-untyped-def]
    return blocks.claim_room(blocks.unpack_tape(pointers), room)


@called
def _publish(pointers, first_seq, commands, events, reports):  # type: ignore[no-untyped-def]
    return blocks.publish_block(blocks.unpack_tape(pointers), first_seq, 7, 10 * first_seq, commands, events, reports)


def claim(writer: TapeWriter, words: int) -> int:
    """Index of the first of so many words of rows that are claimed, as the compiled turn does it."""
    return int(_claim(writer.tape.pointers, blocks.HEAD_WORDS + words)) + blocks.HEAD_WORDS


def publish(writer: TapeWriter, first_seq: int, counts: tuple[int, int, int]) -> int:
    """Publish what was claimed, with so many rows; gives the result of the kernel."""
    return int(_publish(writer.tape.pointers, first_seq, *counts))


def _claimed(writer: TapeWriter, first_seq: int) -> "NDArray[np.uint64]":
    commands, events, reports = counts_of(first_seq)
    words = 8 * commands + 8 * events + 24 * reports
    at = claim(writer, words)
    return writer.tape.arrays.data[at : at + words].view(np.uint64)


def write_one(writer: TapeWriter, first_seq: int) -> int:
    """Write the next block in place, as the compiled turn does; gives the first sequence number after it."""
    words = _claimed(writer, first_seq)
    np.add(_PATTERN[: len(words)], _begin_of(first_seq), out=words)
    publish(writer, first_seq, counts_of(first_seq))
    return first_seq + counts_of(first_seq)[0]


def publish_early(writer: TapeWriter, first_seq: int) -> int:
    """``write_one`` by a writer that is broken: the block can be read before its rows are there."""
    words = _claimed(writer, first_seq)
    publish(writer, first_seq, counts_of(first_seq))
    np.add(_PATTERN[: len(words)], _begin_of(first_seq), out=words)
    return first_seq + counts_of(first_seq)[0]


def first_word_of(first_seq: int) -> int:
    """First word of the rows of a block."""
    return int(np.asarray(_PATTERN[0] + _begin_of(first_seq)).view(np.int64))


def is_sound(block: Block) -> bool:
    """True if head and each word of a block are those that were written."""
    rows = (block.commands, block.events, block.reports)
    if tuple(len(each) for each in rows) != counts_of(block.first_seq):
        return False
    if (block.epoch, block.time_ns) != (7, 10 * block.first_seq):
        return False
    at, begin = 0, _begin_of(block.first_seq)
    for each in rows:
        words: NDArray[Any] = each.view(np.uint64)
        if not np.array_equal(words.reshape(-1), _PATTERN[at : at + words.size] + begin):
            return False
        at += words.size
    return True


def wait(reader: TapeReader) -> tuple[Result, Block | None]:
    """The next block, or NOTHING after a sleep or once the writer has ended."""
    result, block = reader.read()
    if result == Result.NOTHING and not reader.ended():
        reader.bell.arm()
        result, block = reader.read()
        if result == Result.NOTHING and not reader.ended():
            reader.bell.sleep(_SLEEP_NS)
    return result, block


def read_freely(reader: TapeReader) -> tuple[int, int]:
    """Check each block that is still there; gives rows and overruns."""
    rows = overruns = expected = 0
    while True:
        ended = reader.ended()
        result, block = wait(reader)
        if result == Result.OVERRUN:
            overruns += 1
            _, expected = reader.join(reader.next_seq or 1)
        elif block is not None:
            if not is_sound(block):
                raise SystemExit(f"the block at {block.first_seq} is not the one that was written")
            if expected not in (0, block.first_seq):
                raise SystemExit(f"{block.first_seq} comes where {expected} was told")
            rows, expected = rows + len(block.commands), reader.next_seq
        elif ended:
            return rows, overruns


def main(what: str, path: Path, name: str = "") -> None:
    """Write without end, or read to the end."""
    if what == "write":
        writer, seq = TapeWriter(path, ID, ROWS, size_bytes=BYTES), 1
        print("ready", flush=True)
        while True:
            seq = write_one(writer, seq)
    with TapeReader(path, ID, ROWS, name=name) as reader:
        print(*read_freely(reader), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
