"""Registers of a witness on its disk: a crash leaves the old one or the new one, and damage is refused."""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replication.arbiter import Acquire, Candidate, Reign
from replication.register import Register, Stored
from replication.register_file import (
    Disk,
    RegisterBusy,
    RegisterError,
    RegisterFault,
    RegisterFiles,
    RegisterKept,
    decode,
)

MARKET = "0123456789abcdef" * 2


def stored(epoch: int) -> Stored:
    """A register in its ``epoch``-th reign."""
    return Stored(Reign(epoch, epoch, "A", "a:1", "b:1", ("A",), 5, "why\u00e9", "fsync"), epoch, 600_000_000)


OLD, NEW = stored(1), stored(2)


class Crash(Exception):
    """The machine lost its power."""


class CrashingDisk(Disk):
    """A disk in memory that keeps what was synced, and crashes before a step.

    A file has bytes, of which those are certain that were synced; names become certain when the folder is synced.
    """

    def __init__(self) -> None:
        self.files: list[tuple[bytes, bytes | None]] = []
        self.named: dict[str, int] = {}
        #: Names as they may be after a crash: certain ones, then one more change each.
        self.may_be: list[dict[str, int]] = [{}]
        self.left = 1_000

    def lock(self) -> None: ...

    def close(self) -> None: ...

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash

    def _renamed(self) -> None:
        self.may_be.append(dict(self.named))

    def names(self) -> list[str]:
        return list(self.named)

    def read(self, name: str, bytes_max: int) -> bytes:
        return self.files[self.named[name]][0][:bytes_max]

    def write(self, name: str, data: bytes) -> int:
        self._step()
        if name in self.named:
            raise FileExistsError
        self.files.append((data, None))
        self.named[name] = len(self.files) - 1
        self._renamed()
        return len(self.files) - 1

    def sync(self, fd: int) -> None:
        self._step()
        data, _ = self.files[fd]
        self.files[fd] = (data, data)

    def rename(self, source: str, target: str) -> None:
        self._step()
        self.named[target] = self.named.pop(source)
        self._renamed()

    def remove(self, name: str) -> None:
        if name not in self.named:
            raise FileNotFoundError
        self._step()
        del self.named[name]
        self._renamed()

    def sync_folder(self) -> None:
        self._step()
        self.may_be = [dict(self.named)]

    def after_crash(self) -> Iterator["CrashingDisk"]:
        """Every disk that a crash now may leave: names so far, and of unsynced bytes nothing, a part, or all."""
        for named, keeps in itertools.product(self.may_be, (0.0, 0.5, 1.0)):
            left = CrashingDisk()
            left.named = dict(named)
            left.files = [
                (whole if synced is not None else whole[: int(len(whole) * keeps)],) * 2 for whole, synced in self.files
            ]
            left.may_be = [dict(named)]
            yield left


class WithoutSync(CrashingDisk):
    """A known hole: the bytes of a file are not synced before it is renamed."""

    def sync(self, fd: int) -> None:
        del fd
        self._step()


class WithoutFolder(CrashingDisk):
    """A known hole: the folder is not synced, and a rename may be undone."""

    def sync_folder(self) -> None:
        self._step()


def files(disk: Disk) -> RegisterFiles:
    return RegisterFiles(Path("DIR"), disk)


def crash_everywhere(kind: Callable[[], CrashingDisk]) -> None:
    """Write a second register over a first one with a crash before each step, and read what may be left."""
    for step in range(1_000):
        disk = kind()
        files(disk).write(MARKET, OLD)
        disk.left = step
        try:
            files(disk).write(MARKET, NEW)
        except Crash:
            allowed = (OLD, NEW)
        else:
            allowed = (NEW, NEW)
        for left in disk.after_crash():
            found = files(left).read()[MARKET]
            assert found in allowed
            files(left).write(MARKET, stored(3))  # and it goes on, over what a crash left
            assert files(left).read() == {MARKET: stored(3)}
        if allowed == (NEW, NEW):
            assert step >= 4
            return


def test_a_crash_at_any_step_leaves_the_old_register_or_the_new_one_and_what_was_written_stays() -> None:
    crash_everywhere(CrashingDisk)


@pytest.mark.parametrize("kind", [WithoutSync, WithoutFolder])
def test_a_register_that_is_not_synced_is_found(kind: type[CrashingDisk]) -> None:
    """The controls of the test above."""
    with pytest.raises((AssertionError, RegisterError, KeyError)):
        crash_everywhere(kind)


@pytest.mark.parametrize("name", ["write", "sync"])
def test_a_full_disk_leaves_the_old_register_and_the_next_change_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = RegisterFiles(tmp_path)
    kept.write(MARKET, OLD)

    def full(*arguments: object) -> None:
        if name == "sync":
            os.close(int(str(arguments[1])))
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(Disk, name, full)
        with pytest.raises(RegisterKept, match="the disk is full; free some space"):
            kept.write(MARKET, NEW)
    assert kept.read() == {MARKET: OLD}
    kept.write(MARKET, NEW)
    assert kept.read() == {MARKET: NEW}
    kept.close()


@pytest.mark.parametrize("name", ["rename", "sync_folder"])
def test_a_failure_whose_outcome_is_unknown_is_told_apart(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = RegisterFiles(tmp_path)

    def failed(*_arguments: object) -> None:
        raise OSError(errno.EIO, "failed")

    with monkeypatch.context() as patched:
        patched.setattr(Disk, name, failed)
        with pytest.raises(RegisterFault, match="may be written or not"):
            kept.write(MARKET, NEW)
    kept.close()


def test_any_damage_of_a_register_is_refused_with_its_name(tmp_path: Path) -> None:
    kept = RegisterFiles(tmp_path)
    kept.write(MARKET, OLD)
    path = tmp_path / f"{MARKET}.register"
    whole = path.read_bytes()
    damaged = [whole[:end] for end in range(len(whole))]
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            damaged.append(bytes(changed))
    for each in (*damaged, whole + b"x", b"", b"\xff" * 100, whole * 200):
        with pytest.raises(RegisterError, match="DIR/1"):
            decode(each, "DIR/1")
    path.write_bytes(whole[:-1])
    with pytest.raises(RegisterError, match=f"{MARKET}.register is damaged"):
        kept.read()
    path.write_bytes(whole.replace(b"register 1", b"register 2"))
    with pytest.raises(RegisterError, match="format version 2, and this release reads 1"):
        kept.read()
    path.write_bytes(whole)
    assert kept.read() == {MARKET: OLD}
    path.rename(tmp_path / "copy.register")
    with pytest.raises(RegisterError, match="not named after a market"):
        kept.read()
    kept.close()


def test_one_process_at_a_time_has_the_registers(tmp_path: Path) -> None:
    kept = RegisterFiles(tmp_path)
    with pytest.raises(RegisterBusy, match="a witness serves"):
        RegisterFiles(tmp_path)
    kept.close()
    RegisterFiles(tmp_path).close()


def test_a_register_is_private_and_what_is_read_goes_on(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept = RegisterFiles(tmp_path)
        register = Register()
        decision = register.decide(Acquire(Candidate("A"), 0, 10**9, 5), 0)
        assert decision.stored is not None
        kept.write(MARKET, decision.stored)
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Register(kept.read()[MARKET], 0)
    register.commit(decision)
    assert again.standing(1) == register.standing(1)
    kept.close()
