"""A folder of a program beside a node is written by one process at a time, and free as soon as that has ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.feeds.folder_lock import FolderLock, FolderLocked

#: Program that takes the folder and waits, with a child that lives on, as that of a snapshot in the making.
HOLDER = """
import os, sys
from pathlib import Path
from node.feeds.folder_lock import FolderLock
FolderLock(Path(sys.argv[1]), "the feed", "end it")
if not (child := os.fork()):
    os.close(1)
    os.read(int(sys.argv[2]), 1)
    os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_has_the_folder_and_gets_it_once_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "feeds" / "itch"
    child_waits, child_ends = os.pipe()
    words = [sys.executable, "-c", HOLDER, str(path), str(child_waits)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[child_waits])
    try:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        with pytest.raises(FolderLocked, match=f"process {pid} is the feed already; end it"):
            FolderLock(path, "the feed", "end it", wait_s=0.0)
        # Control: another folder is free.
        FolderLock(tmp_path / "feeds" / "other", "the feed", "end it", wait_s=0.0).release()
    finally:
        holder.kill()
        holder.wait()
    # Its child lives and does not hold it.
    mine = FolderLock(path, "the feed", "end it", wait_s=0.0)
    mine.release()
    mine.release()
    os.close(child_ends)
    os.close(child_waits)
    assert path.stat().st_mode & 0o077 == 0
