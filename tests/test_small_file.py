"""Small files of a node: whole or not at all, the owner's alone, and through no link that somebody else put there."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from directory.small_file import write_whole
from node.core import clock_watch
from node.operator import link


def keep_clock(directory: Path) -> Path:
    clock_watch.RefusedClock(directory, pytest.fail, passed=lambda: 1, boot="b").keep(2, 3)
    return directory / clock_watch.REFUSED_FILE


def keep_place(directory: Path) -> Path:
    link.write_place(directory, link.Place("127.0.0.1", 1, "token", 1, 2, 3))
    return directory / link.FILE


@pytest.mark.parametrize("keep", [keep_clock, keep_place])
def test_a_small_file_is_never_written_through_a_link_and_is_the_owner_s_whatever_the_umask(
    keep: Callable[[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    name = keep(tmp_path).name
    for aside in (f".{name}.new", name.removesuffix(".json") + ".new"):
        (tmp_path / aside).unlink(missing_ok=True)
        (tmp_path / aside).symlink_to("precious")
    before = os.umask(0)
    try:
        path = keep(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "precious").read_text() == "precious"
    assert (path.is_symlink(), stat.S_IMODE(path.stat().st_mode)) == (False, 0o600)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_was_there_stays_where_a_write_fails_and_nothing_is_left_over(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "file", "before")

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fails)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "file", "after")
    assert ((tmp_path / "file").read_text(), os.listdir(tmp_path)) == ("before", ["file"])
    write_whole(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "after"
