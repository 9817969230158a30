"""Blocks of a tape whose every word follows from their first sequence number, and programs that write and read them.

python -m tests.tape_traffic write PATH                  write blocks without end
python -m tests.tape_traffic read PATH NAME              read and check until the writer ends; a name that gates goes on
                                                         where the one before it stopped
"""

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, EVENT
from tape.form import Rows
from tape.places import Place
from tape.reader import Block, Result, TapeReader
from tape.writer import TapeWriter

ID: Final = bytes(range(16))
ROWS: Final = Rows(COMMAND, EVENT, np.dtype([("seq", "<i8"), ("rest", "<i8", 23)]))
BYTES: Final = 1 << 21
GATE: Final = "gate"

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


def write_one(writer: TapeWriter, first_seq: int) -> int:
    """Write the next block in place; gives the first sequence number after it, 0 if a reader that gates has no room."""
    commands, events, reports = counts_of(first_seq)
    claim = writer.claim(commands, rest_bytes=64 * events + 192 * reports)
    if claim is None:
        return 0
    begin, words = _begin_of(first_seq), commands * 8
    np.add(_PATTERN[:words], begin, out=claim.commands.view(np.uint64))
    np.add(_PATTERN[words : words + len(claim.rest)], begin, out=claim.rest.view(np.uint64))
    writer.publish(first_seq, 7, 10 * first_seq, commands, events, reports)
    return first_seq + commands


def publish_early(writer: TapeWriter, first_seq: int) -> int:
    """``write_one`` by a writer that is broken: the block can be read before its rows are there."""
    commands, events, reports = counts_of(first_seq)
    claim = writer.claim(commands, rest_bytes=64 * events + 192 * reports)
    assert claim is not None
    writer.publish(first_seq, 7, 10 * first_seq, commands, events, reports)
    begin, words = _begin_of(first_seq), commands * 8
    np.add(_PATTERN[:words], begin, out=claim.commands.view(np.uint64))
    np.add(_PATTERN[words : words + len(claim.rest)], begin, out=claim.rest.view(np.uint64))
    return first_seq + commands


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
    take = reader.look if reader.gates else reader.read
    result, block = take()
    if result == Result.NOTHING and not reader.ended():
        reader.bell.arm()
        result, block = take()
        if result == Result.NOTHING and not reader.ended():
            reader.bell.sleep(_SLEEP_NS)
    return result, block


def read_gating(reader: TapeReader) -> int:
    """Check every block of the tape and store the last sequence number; gives the rows."""
    rows = 0
    while True:
        ended = reader.ended()
        block = wait(reader)[1]
        if block is None:
            if ended:
                return rows
            continue
        journaled = reader.load(Place.JOURNALED)
        if not is_sound(block):
            raise SystemExit(f"the block at {block.first_seq} is not the one that was written")
        # The one before may have died between these two stores: it has checked the block, and not left it.
        if block.first_seq != journaled + 1 and block.last_seq != journaled:
            raise SystemExit(f"after {journaled} comes {block.first_seq}")
        reader.store(Place.JOURNALED, block.last_seq)
        rows += len(block.commands)
        reader.leave()


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
        print(*((read_gating(reader),) if reader.gates else read_freely(reader)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
