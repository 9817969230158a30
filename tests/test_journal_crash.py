"""With ``fsync``, nothing that was reported durable is ever missing: after kill -9, and after a loss of power.

Loss of power is played from a traced run: what was written since the last sync may be on the disk or not, page by
page, in any combination. ``LOCKSTEP_KILLS`` sets the number of kills.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

from journal import Journal, JournalDamaged
from tests.journals import META, PAGE_BYTES, digest_of, read_all, rows_of

ROOT = Path(__file__).parent.parent
KILLS = int(os.environ.get("LOCKSTEP_KILLS", "4"))
#: Commits of a traced run. The suite without long tests has a short one, with its control.
FEW, MANY = 4, 12


def lost(directory: Path, durable_seq: int) -> str | None:
    """Faults of a journal of which ``durable_seq`` was reported durable."""
    try:
        with Journal.open(directory, durability="none") as journal:
            last_seq = journal.last_seq
            blocks = list(journal.blocks())
            digests = dict(journal.digests())
    except JournalDamaged as error:
        return str(error)
    if last_seq < durable_seq:
        return f"{durable_seq} was durable and {last_seq} is there"
    if any(block.rows != rows_of(block.first_seq, block.count) for block in blocks):
        return "wrong rows"
    if sum(block.count for block in blocks) != last_seq:
        return "too few rows"
    if any(digest != digest_of(seq) for seq, digest in digests.items()):
        return "a wrong digest"
    return None


def test_after_kill_9_everything_reported_durable_is_there(tmp_path: Path) -> None:
    Journal.create(tmp_path, META).close()
    chance = random.Random(7)
    for number in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.journals", "append", str(tmp_path), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        marks = [child.stdout.readline() for _ in range(chance.randint(1, 60))]
        child.send_signal(signal.SIGKILL)
        marks += child.stdout.readlines()
        child.wait()
        durable_seq = max(int(mark) for mark in marks if mark.endswith("\n"))
        answer = read_all(tmp_path)
        assert answer.sentences == []
        assert answer.blocks[-1].last_seq >= durable_seq
        assert all(block.rows == rows_of(block.first_seq, block.count) for block in answer.blocks)


@dataclass(frozen=True)
class Write:
    """One page, or less, that was handed to the kernel."""

    name: str
    offset: int
    content: bytes


@dataclass(frozen=True)
class Sync:
    name: str


@dataclass(frozen=True)
class Said:
    durable_seq: int


Step = Write | Sync | Said
_STRING = r'"((?:\\x[0-9a-f]{2})*)"'


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _lines(trace: str) -> Iterator[str]:
    """Calls in the order in which they ended, those that another thread interrupted put together again."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        pid, call = line.split(maxsplit=1)
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
        elif call.startswith("<... "):
            yield begun.pop(pid) + call.split("resumed>", 1)[1]
        else:
            yield call


def _pages(name: str, offset: int, content: bytes, synced: bool) -> Iterator[Step]:
    while content:
        size = PAGE_BYTES - offset % PAGE_BYTES
        yield Write(name, offset, content[:size])
        offset, content = offset + size, content[size:]
    if synced:
        yield Sync(name)


def steps_of(trace: str, folder: Path) -> Iterator[Step]:
    """Writes of a run to the files of a journal, and its reports meanwhile."""
    files: dict[int, tuple[str, bool]] = {}
    places: dict[int, int] = {}
    for call in _lines(trace):
        if opened := re.match(rf"openat\(AT_FDCWD, {_STRING}, ([A-Z_|]+).*\) = (\d+)", call):
            path, number = Path(_bytes(opened[1]).decode()), int(opened[3])
            files.pop(number, None)
            if path.parent == folder and path.name in ("data.mdb", "tail"):
                files[number] = (path.name, "SYNC" in opened[2])
            continue
        known = re.match(r"(\w+)\((\d+)", call)
        if known is None:
            continue
        kind, number = known[1], int(known[2])
        if kind == "write" and number == 1:
            yield Said(int(_bytes(re.findall(_STRING, call)[0])))
        if number not in files:
            continue
        name, synced = files[number]
        content = b"".join(_bytes(text) for text in re.findall(_STRING, call))
        if kind == "lseek":
            places[number] = int(call.rsplit("= ", 1)[1])
        elif kind in ("pwrite64", "pwritev"):
            offset = re.search(r", (\d+)\) += \d+$", call)
            if offset is None:
                raise ValueError(f"not understood: {call[:80]}")
            yield from _pages(name, int(offset[1]), content, synced)
        elif kind in ("write", "writev"):
            yield from _pages(name, places[number], content, synced)
            places[number] += len(content)
        elif kind in ("fdatasync", "fsync"):
            yield Sync(name)


def _subsets(pending: list[Write], chance: random.Random) -> Iterator[tuple[Write, ...]]:
    """All of them where they are few; else none, all, all but one, one alone, and some at random."""
    if len(pending) <= 4:
        for size in range(len(pending) + 1):
            yield from combinations(pending, size)
        return
    yield from ((), tuple(pending))
    for number in range(len(pending)):
        yield (pending[number],)
        yield tuple(pending[:number] + pending[number + 1 :])
    for _ in range(4):
        yield tuple(write for write in pending if chance.random() < 0.5)


def _apply(files: dict[str, bytearray], write: Write) -> None:
    content = files[write.name]
    if len(content) < write.offset:
        content.extend(bytes(write.offset - len(content)))
    content[write.offset : write.offset + len(write.content)] = write.content


def crash(directory: Path, steps: list[Step]) -> Iterator[str | None]:
    """Faults after a loss of power, for every moment and every way in which it can happen.

    ``directory`` holds the journal as it was before the first step; it is written over.
    """
    folder = directory / "journal"
    disk = {name: bytearray((folder / name).read_bytes()) for name in ("data.mdb", "tail")}
    chance = random.Random(3)
    pending: list[Write] = []
    durable_seq = 0
    for step in steps:
        if isinstance(step, Said):
            durable_seq = step.durable_seq
        elif isinstance(step, Sync):
            for write in pending:
                if write.name == step.name:
                    _apply(disk, write)
            pending = [write for write in pending if write.name != step.name]
        else:
            pending.append(step)
        for subset in _subsets(pending, chance):
            image = {name: bytearray(content) for name, content in disk.items()}
            for write in subset:
                _apply(image, write)
            for name, content in image.items():
                (folder / name).write_bytes(content)
            yield lost(directory, durable_seq)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("commits", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
@pytest.mark.parametrize("metasync", [True, False])
def test_after_a_loss_of_power_everything_reported_durable_is_there(
    tmp_path: Path, metasync: bool, commits: int
) -> None:
    """Without ``metasync`` it is not: the negative control, by which we know that this test can fail."""
    run, image, trace = tmp_path / "run", tmp_path / "image", tmp_path / "trace"
    Journal.create(run, META).close()
    shutil.copytree(run, image)
    calls = "openat,lseek,write,writev,pwrite64,pwritev,fdatasync,fsync"
    command = ["strace", "-f", "-xx", "-s", "1000000", "-e", f"trace={calls}", "-o", str(trace), sys.executable]
    arguments = ["-m", "tests.journals", "commits", str(run), str(commits), str(int(metasync))]
    outcome = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if "ptrace" in outcome.stderr:
        pytest.skip("this user may not trace processes")
    assert outcome.returncode == 0, outcome.stderr
    steps = list(steps_of(trace.read_text(), run / "journal"))
    assert sum(isinstance(step, Said) for step in steps) == commits
    marks = sum(isinstance(step, Write) and step.name == "tail" for step in steps)
    assert sum(isinstance(step, Sync) for step in steps) == marks * (2 if metasync else 1)
    verdicts = list(crash(image, steps))
    wrong = [verdict for verdict in verdicts if verdict is not None]
    print(len(verdicts), len(wrong))
    assert len(verdicts) > 25 * commits
    if metasync:
        assert wrong == []
    else:
        assert wrong
