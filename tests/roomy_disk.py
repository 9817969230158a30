"""A disk with room, however full that of the machine is. Nodes without room are tested on disks of their own."""

import os
import tempfile
from typing import Any, Final

_FREE_BYTES: Final = 64 << 30


def assume() -> None:
    """Show this process half of a large disk as free where temporary files are. Other file systems are as they are."""
    real = os.statvfs
    ours = real(tempfile.gettempdir()).f_fsid

    def statvfs(path: Any) -> os.statvfs_result:
        found = real(path)
        if found.f_fsid != ours:
            return found
        fields, blocks = list(found), _FREE_BYTES // found.f_frsize
        fields[2:5] = [2 * blocks, blocks, blocks]  # in all, free, and free for this user
        return os.statvfs_result(fields, {"f_fsid": found.f_fsid})

    os.statvfs = statvfs
