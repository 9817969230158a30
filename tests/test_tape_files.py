"""Files of shared memory are private, whole from the start, and refused with a sentence where they are not."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tape.errors import TapeBusy, TapeError, TapeRoom
from tape.shared_file import HEADER, Form, SharedFile, _checksum, attach, create, owner_of, remove_left

ROOT = Path(__file__).parent.parent
ROW = np.dtype([("a", "<i8"), ("b", "<u4"), ("c", "<u4")])
FORM = Form("tape", bytes(range(16)), {"commands": ROW})

OWNER = """
import os, sys
from pathlib import Path
import numpy as np
from tape.shared_file import Form, create
form = Form("tape", bytes(range(16)), {"commands": np.dtype([("a", "<i8"), ("b", "<u4"), ("c", "<u4")])})
file = create(Path(sys.argv[1]), form, words=16, data=16)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lockstep-tape"


@pytest.fixture
def owner(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that owns the file at ``path``."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def new(path: Path) -> SharedFile:
    return create(path, FORM, words=100, data=1_000)


def damaged(path: Path, field: str, value: object) -> None:
    """Change a field of the first page, and nothing else."""
    raw = bytearray(path.read_bytes()[: HEADER.itemsize])
    np.frombuffer(raw, HEADER)[field] = value
    with open(path, "r+b") as file:
        file.write(raw)


def memory_of(path: Path) -> Path:
    """Way to the memory of a file."""
    header = np.frombuffer(path.read_bytes(), HEADER)[0]
    return Path(f"/proc/{header['pid']}/fd/{header['memory_fd']}")


def test_file_and_memory_are_private_and_all_pages_are_there_from_the_start(path: Path) -> None:
    file = new(path)
    memory = memory_of(path).stat()
    assert (path.stat().st_mode & 0o777, memory.st_mode & 0o777) == (0o600, 0o600)
    assert path.stat().st_size == HEADER.itemsize
    assert memory.st_size == len(file.words) * 8 + len(file.data) * 8
    assert memory.st_blocks * 512 >= memory.st_size, "its pages are reserved"
    assert len(file.words) >= 100
    assert len(file.data) >= 1_000
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_one_maps_another_sees_and_a_reader_cannot_write_rows(path: Path) -> None:
    file = new(path)
    other = attach(path, FORM)
    file.data[3], file.words[5] = 7, 9
    assert (other.data[3], other.words[5]) == (7, 9)
    other.words[6] = 1
    assert file.words[6] == 1
    with pytest.raises(ValueError, match="read-only"):
        other.data[3] = 1


def test_the_owner_removes_its_file_at_the_end(path: Path) -> None:
    file = new(path)
    assert owner_of(path) == os.getpid()
    file.close()
    file.close()
    assert not path.exists()


@pytest.mark.slow
def test_a_file_in_use_is_refused_with_the_process_that_has_it(path: Path, owner: "subprocess.Popen[str]") -> None:
    assert owner_of(path) == owner.pid
    with pytest.raises(TapeBusy, match=f"in use by process {owner.pid}"):
        new(path)
    assert remove_left([path]) == []
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing is left beside it"


@pytest.mark.slow
def test_a_file_that_a_dead_owner_left_is_told_and_replaced(path: Path, owner: "subprocess.Popen[str]") -> None:
    reader = attach(path, FORM)
    owner.kill()
    owner.wait()
    with pytest.raises(TapeError, match=f"was left by process {owner.pid}, which has ended"):
        attach(path, FORM)
    file = new(path)
    assert file.is_current()
    assert not reader.is_current(), "who still maps the old one can see that"
    assert attach(path, FORM).created_ns == file.created_ns


@pytest.mark.slow
def test_files_that_dead_owners_left_are_removed(path: Path, owner: "subprocess.Popen[str]") -> None:
    owner.kill()
    owner.wait()
    assert remove_left([path, path.with_name("another")]) == [path]
    assert not path.exists()


def test_what_is_beside_a_file_goes_before_it_and_the_next_owner_waits_for_that(
    path: Path, owner: "subprocess.Popen[str]"
) -> None:
    """Two nodes start again at once: one removes what the other has left, while that makes its own."""
    owner.kill()
    owner.wait()
    beside = path.with_name("beside")
    beside.touch()
    made: list[SharedFile] = []
    next_owner = threading.Thread(target=lambda: made.append(new(path)))

    def pipe_of(left: Path) -> Path:
        assert left.exists()
        next_owner.start()
        time.sleep(0.05)
        assert not made
        return beside

    assert remove_left([path], beside=pipe_of) == [path]
    next_owner.join()
    assert not beside.exists()
    assert made[0].is_current()


def test_an_old_owner_does_not_remove_the_file_of_the_next(path: Path) -> None:
    first = new(path)
    path.unlink()
    second = new(path)
    first.close()
    assert second.is_current()


def test_a_place_has_one_user_until_it_ends(path: Path) -> None:
    new_file = new(path)
    first, second = attach(path, FORM), attach(path, FORM)
    assert first.lock(3)
    assert not second.lock(3)
    assert new_file.is_locked(3)
    assert not new_file.is_locked(4)
    first.close()
    assert not new_file.is_locked(3)
    assert second.lock(3)
    second.unlock(3)
    assert not new_file.is_locked(3)


def test_no_room_in_shared_memory_is_a_sentence_at_the_start(path: Path) -> None:
    """Without the reservation the process would be ended hours later, at the first store that finds no page."""
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with pytest.raises(TapeRoom, match=r"no room for [\d,]+ MB of shared memory \([\d,]+ MB are free\)"):
        create(path, FORM, words=100, data=everything // 8 + 1)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("magic", b"SOMEBODY", "is no file of lockstep's shared memory"),
        ("version", 99, "has version 99, this release has"),
        ("pid", 1, "lockstep-tape is damaged"),
    ],
)
def test_a_file_that_is_wrong_is_told(path: Path, field: str, value: object, sentence: str) -> None:
    file = new(path)
    damaged(path, field, value)
    with pytest.raises(TapeError, match=sentence):
        attach(path, FORM)
    file.close()


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (Form("ring", FORM.journal_id, FORM.dtypes), "is a tape, not a ring"),
        (Form("tape", bytes(16), FORM.dtypes), "is of journal 000102.* not of 0000"),
        (
            Form("tape", FORM.journal_id, {"commands": np.dtype([("a", "<i8"), ("c", "<u4"), ("b", "<u4")])}),
            "of another release",
        ),
        (Form("tape", FORM.journal_id, {"events": ROW}), "of another release"),
    ],
)
def test_a_file_with_other_contents_is_told(path: Path, form: Form, sentence: str) -> None:
    file = new(path)
    with pytest.raises(TapeError, match=sentence):
        attach(path, form)
    file.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 3, HEADER.itemsize - 1])
def test_a_file_that_was_cut_short_is_told_and_its_memory_stays(path: Path, size: int) -> None:
    file = new(path)
    reader = attach(path, FORM)
    os.truncate(path, size)
    with pytest.raises(TapeError, match="no file of lockstep"):
        attach(path, FORM)
    with pytest.raises(TapeBusy, match=r"in use by process \(unknown\)"):
        new(path)
    assert owner_of(path) == 0
    file.words[:], file.data[:] = 7, 8
    assert (reader.words == 7).all()
    assert (reader.data == 8).all()
    file.close()


@pytest.mark.parametrize(
    "change", [{"memory_number": 1}, {"words_bytes": 8_192}, {"memory_fd": 0}, {"memory_fd": 9_999}]
)
def test_a_way_to_other_memory_is_told(path: Path, change: dict[str, int]) -> None:
    """As where the owner is in another container, whose process numbers are not ours."""
    file = new(path)
    raw = bytearray(path.read_bytes())
    header = np.frombuffer(raw, HEADER)
    for field, value in change.items():
        header[field] = value
    header["checksum"] = _checksum(bytes(raw))
    path.write_bytes(raw)
    with pytest.raises(TapeError, match=r"is not the memory of the market|cannot be opened"):
        attach(path, FORM)
    file.close()


def test_a_file_that_others_could_change_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="there is no"):
        attach(path, FORM)
    file = new(path)
    path.chmod(0o644)
    with pytest.raises(TapeError, match="others may open"):
        attach(path, FORM)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    for refused in (lambda: attach(link, FORM), lambda: new(link)):
        with pytest.raises(TapeError, match="is a symbolic link; remove it"):
            refused()
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
        with pytest.raises(TapeError, match="belongs to user 12345"):
            attach(path, FORM)
        os.chown(path, 0, -1)
    file.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="cannot be created: no such file or directory"):
        new(tmp_path / "nowhere" / "tape")
