"""The operator's socket, DIR/operator.sock: bound, connected and removed through the opened data directory.

A socket's address has 107 bytes at most, so both ends name it through a descriptor of the directory, which works for
paths of any length. Its mode is 0600 from the first moment on, and the kernel gives the user at the other end. A copied
directory has no socket that answers; a linked or moved one is detected by ``Identity``: the device and inode of the
directory that a node serves.
"""

import os
import socket
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

NAME: Final = "operator.sock"

_PEER: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_RETRY_S: Final = 0.02


class Identity(NamedTuple):
    """Identity of a directory, whatever its name."""

    device: int
    inode: int


def open_directory(directory: Path) -> int:
    """Open a descriptor of the directory itself, wherever it is moved. Raises OSError."""
    return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def identity(directory_fd: int) -> Identity:
    """Identity of the directory of a descriptor."""
    found = os.fstat(directory_fd)
    return Identity(found.st_dev, found.st_ino)


def peer_uid(connected: socket.socket) -> int:
    """User id of the peer, from the kernel."""
    return int(_PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1])


class BoundSocket:
    """Socket of a node, bound in a directory in place of one that a dead node left.

    The caller holds the journal's lock, so that no living node has it. Raises OSError.
    """

    def __init__(self, directory: Path, name: str = NAME) -> None:
        self._name = name
        self._directory_fd = open_directory(directory)
        self.identity = identity(self._directory_fd)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        aside = f".{name}.{os.getpid()}"
        try:
            self._remove(aside)
            # Linux gives the file the mode of the socket, so that it is never open to others.
            os.fchmod(self.socket.fileno(), 0o600)
            self.socket.bind(f"/proc/self/fd/{self._directory_fd}/{aside}")
            self._inode = os.stat(aside, dir_fd=self._directory_fd, follow_symlinks=False).st_ino
            os.replace(aside, name, src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd)
        except OSError as error:
            self.socket.close()
            os.close(self._directory_fd)
            raise OSError(error.errno, error.strerror, str(directory / name)) from error

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._directory_fd)

    def close(self) -> None:
        """Close the socket and remove its file, unless another has taken its place. May be repeated."""
        if self._directory_fd < 0:
            return
        self.socket.close()
        with suppress(OSError):
            if os.stat(self._name, dir_fd=self._directory_fd, follow_symlinks=False).st_ino == self._inode:
                self._remove(self._name)
        os.close(self._directory_fd)
        self._directory_fd = -1


def connect(directory_fd: int, seconds: float, name: str = NAME) -> socket.socket:
    """Connect to the node of an opened directory. Raises FileNotFoundError, ConnectionRefusedError or OSError."""
    found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if not stat.S_ISSOCK(found.st_mode):
        raise ConnectionRefusedError
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.settimeout(seconds)
    deadline_s = time.monotonic() + seconds
    try:
        while True:
            try:
                made.connect(f"/proc/self/fd/{directory_fd}/{name}")
            except BlockingIOError:  # the queue of waiting connections is full
                if time.monotonic() > deadline_s:
                    raise TimeoutError from None
                time.sleep(_RETRY_S)
            else:
                return made
    except BaseException:
        made.close()
        raise
