"""Small journals for tests, what they must answer, and the programs that damage, fill and kill them.

    python -m tests.journals COMMAND ARGUMENTS...

What the tests are afraid of is that a damaged file crashes the process; so damage is done and read in a process of
its own, which prints its tally as JSON.
"""

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from journal import Block, Journal, JournalDamaged, JournalError, store

META: dict[str, Any] = {"rules_version": 1, "source_digest": "ab" * 16, "capacity": {"orders_max": 8}}
ROW_BYTES = 64
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rows_of(seq: int, count: int) -> bytes:
    """Rows that depend on the seq only, so that a test knows what must be in a journal without keeping it."""
    return random.Random(seq).randbytes(count * ROW_BYTES)


def digest_of(seq: int) -> bytes:
    return random.Random(-seq).randbytes(16)


def fill(journal: Journal, counts: Iterable[int], *, blocks_per_commit: int = 1) -> None:
    """Append a block of so many rows for each of ``counts``, and its digest."""
    for number, count in enumerate(counts, 1):
        first_seq = journal.append(count, rows_of(journal.last_seq + 1, count), journal.last_seq)
        journal.put_digest(first_seq, digest_of(first_seq))
        if number % blocks_per_commit == 0:
            journal.wait_durable(journal.last_seq)


def small_journal(directory: Path, blocks: int = 220) -> None:
    """Blocks that lie within leaves, that just fill a page and that take many: the file has pages of every kind."""
    chance = random.Random(1)
    with Journal.create(directory, META, durability="none") as journal:
        fill(journal, [chance.choice((1, 1, 2, 5, 30, 61, 200)) for _ in range(blocks)], blocks_per_commit=3)


class Answer(NamedTuple):
    """Output of a reader, and the sentence that ends it where something is wrong."""

    blocks: list[Block]
    digests: list[tuple[int, bytes]]
    sentences: list[str]


def _until_damage(items: Iterator[Any], into: list[Any], sentences: list[str]) -> None:
    try:
        for item in items:
            into.append(item)
    except JournalDamaged as error:
        sentences.append(str(error))


def read_all(directory: Path) -> Answer:
    answer = Answer([], [], [])
    try:
        with Journal.open(directory, readonly=True) as journal:
            _until_damage(journal.blocks(), answer.blocks, answer.sentences)
            _until_damage(journal.digests(), answer.digests, answer.sentences)
    except JournalError as error:
        answer.sentences.append(str(error))
    return answer


class Truth:
    """The answer of the undamaged journal, and where in the file each block lies."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal" / "data.mdb"
        self.content = self.path.read_bytes()
        self.answer = read_all(directory)
        if self.answer.sentences:
            raise ValueError(self.answer.sentences[0])
        self.places = [(seq, start, end) for seq, start, end in self._find()]

    def _find(self) -> Iterator[tuple[int, int, int]]:
        for block in self.answer.blocks:
            at = self.content.find(block.checksum)
            while at >= 0:
                start = at - 16
                header_bytes = int.from_bytes(self.content[start + 4 : start + 8], "little")
                end = start + 32 + header_bytes + len(block.rows)
                if self.content[start + 32 + header_bytes : end] == block.rows:
                    yield block.first_seq, start, end
                at = self.content.find(block.checksum, at + 1)

    def first_lost(self, start: int, end: int) -> int:
        """The first block that has a byte from ``start`` to ``end`` of the file."""
        lost = [seq for seq, low, high in self.places if low < end and start < high]
        return min(lost, default=self.answer.blocks[-1].last_seq + 1)

    def judge(self, got: Answer, readable_before: int) -> str:
        """ "harmless" or "detected"; raises ValueError for a wrong answer or a lost one."""
        blocks, digests = self.answer.blocks, self.answer.digests
        if got.blocks != blocks[: len(got.blocks)] or got.digests != digests[: len(got.digests)]:
            raise ValueError("a wrong answer")
        if not got.sentences and (len(got.blocks), len(got.digests)) != (len(blocks), len(digests)):
            raise ValueError("less than the whole, and no word about it")
        read_to = got.blocks[-1].last_seq if got.blocks else 0
        if read_to < min(readable_before - 1, blocks[-1].last_seq):
            raise ValueError(f"undamaged blocks before seq {readable_before} unreadable: {read_to}; {got.sentences}")
        if any("\n" in sentence or len(sentence) > 500 for sentence in got.sentences):
            raise ValueError(f"not one sentence: {got.sentences}")
        return "detected" if got.sentences else "harmless"


def _interesting(truth: Truth, chance: random.Random) -> int:
    """A byte of the file: one time in two anywhere, else in a page that is not all rows, the meta pages above all."""
    pages = len(truth.content) // PAGE_BYTES
    kind = chance.random()
    if kind < 0.5:
        return chance.randrange(len(truth.content))
    if kind < 0.65:
        return chance.choice((0, PAGE_BYTES)) + chance.randrange(152)
    while True:
        page = chance.randrange(2, pages) * PAGE_BYTES
        if int.from_bytes(truth.content[page : page + 8], "little") == page // PAGE_BYTES:
            return page + (chance.randrange(16) if kind < 0.75 else chance.randrange(PAGE_BYTES))


def _writes_safely(directory: Path, truth: Truth, readable_before: int) -> str:
    """Open the damaged journal for writing: refused, or what is written afterwards can be trusted."""
    try:
        with Journal.open(directory, durability="none") as journal:
            fill(journal, (1, 100))
    except JournalDamaged:
        return "refused"
    got = read_all(directory)
    known = len(truth.answer.blocks)
    truth.judge(Answer(got.blocks[:known], got.digests[:known], got.sentences), readable_before)
    if not got.sentences:
        added = [(block.first_seq, block.rows) for block in got.blocks[known:]]
        if [rows_of(seq, len(rows) // ROW_BYTES) for seq, rows in added] != [rows for _, rows in added] or len(
            added
        ) != 2:
            raise ValueError("what was written to the damaged journal is wrong")
    return "written"


def flips(directory: Path, seed: int, count: int) -> Counter[str]:
    """Flip one bit, read everything, put it back; for one flip in four also open for writing, on a copy."""
    truth = Truth(directory)
    chance = random.Random(seed)
    tally: Counter[str] = Counter()
    copy = directory.with_name(f"{directory.name}.{seed}")
    for number in range(count):
        at, bit = _interesting(truth, chance), chance.randrange(8)
        damaged = bytes([truth.content[at] ^ 1 << bit])
        readable_before = truth.first_lost(at, at + 1)
        if number % 4 == 0:
            shutil.copytree(directory, copy)
        for place in [directory, copy] if number % 4 == 0 else [directory]:
            with (place / "journal" / "data.mdb").open("r+b") as file:
                file.seek(at)
                file.write(damaged)
        try:
            tally[truth.judge(read_all(directory), readable_before)] += 1
            if number % 4 == 0:
                tally[_writes_safely(copy, truth, readable_before)] += 1
        except ValueError as error:
            raise ValueError(f"byte {at}, bit {bit}: {error}") from error
        with truth.path.open("r+b") as file:
            file.seek(at)
            file.write(truth.content[at : at + 1])
        shutil.rmtree(copy, ignore_errors=True)
    return tally


def truncations(directory: Path, seed: int, count: int) -> Counter[str]:
    """Cut the file, read everything; then open for writing, which must be refused."""
    truth = Truth(directory)
    chance = random.Random(seed)
    pages = len(truth.content) // PAGE_BYTES
    sizes = [0, 1, 151, PAGE_BYTES, 2 * PAGE_BYTES, len(truth.content) - 1, len(truth.content) - PAGE_BYTES]
    sizes += [chance.randrange(pages) * PAGE_BYTES + chance.choice((0, 0, 1, 2_000)) for _ in range(count)]
    tally: Counter[str] = Counter()
    for size in sizes:
        truth.path.write_bytes(truth.content[:size])
        verdict = truth.judge(read_all(directory), truth.first_lost(size, len(truth.content)))
        try:
            Journal.open(directory).close()
            verdict += ", writable"
        except JournalDamaged:
            pass
        tally[verdict] += 1
        truth.path.write_bytes(truth.content)
    return tally


def append_for_ever(directory: Path, seed: int) -> None:
    """Append blocks of changing size and print each durable mark, until killed."""
    chance = random.Random(seed)
    with Journal.open(directory) as journal:
        while True:
            for _ in range(chance.randint(1, 5)):
                fill(journal, [chance.choice((1, 7, 64, 300))], blocks_per_commit=2)
            journal.wait_durable(journal.last_seq)
            sys.stdout.write(f"{journal.durable_seq}\n")
            sys.stdout.flush()


def commits(directory: Path, count: int, metasync: int) -> None:
    """Append and commit block by block, printing each durable mark; without ``metasync`` as a build with that hole."""
    if not metasync:
        lmdb_open = store._lmdb_open
        store._lmdb_open = lambda folder, **options: lmdb_open(folder, **{**options, "metasync": False})
    with Journal.open(directory) as journal:
        for number in range(count):
            fill(journal, [(1, 40, 3, 150, 64)[number % 5]])
            sys.stdout.write(f"{journal.durable_seq}\n")
            sys.stdout.flush()


def fill_disk(directory: Path) -> dict[str, Any]:
    """Append until the disk is full; what was said, what was durable, and what can be read."""
    said = []
    with Journal.create(directory, META) as journal:
        durable_seq = 0
        try:
            while True:
                fill(journal, [500])
                durable_seq = journal.durable_seq
        except JournalError as error:
            said.append(str(error))
        for step in (
            lambda: journal.append(1, bytes(64), 0),
            lambda: journal.wait_durable(journal.last_seq),
            journal.close,
        ):
            try:
                step()
            except JournalError as error:
                said.append(str(error))
    answer = read_all(directory)
    right = all(block.rows == rows_of(block.first_seq, block.count) for block in answer.blocks)
    return {
        "said": said,
        "durable": durable_seq,
        "read": sum(b.count for b in answer.blocks),
        "right": right,
        "sentences": answer.sentences,
    }


def copy_blocks(directory: Path) -> None:
    """Append what a copy beside the journal of ``directory`` lacks, block by block, printing each durable mark."""
    with Journal.open(directory, readonly=True) as source, Journal.open(directory.with_name("copy")) as copy:
        for block in source.blocks(copy.last_seq + 1):
            copy.append_block(block.sealed)
            sys.stdout.write(f"{copy.durable_seq}\n")
            sys.stdout.flush()


def main(command: str, directory: str, *numbers: str) -> None:
    known = {
        "commits": commits,
        "flips": flips,
        "truncations": truncations,
        "append": append_for_ever,
        "fill": fill_disk,
        "copy": copy_blocks,
    }
    tally = known[command](Path(directory), *map(int, numbers))  # type: ignore[operator]
    if tally is not None:
        print(json.dumps(tally))


if __name__ == "__main__":
    main(*sys.argv[1:])
