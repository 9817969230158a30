"""Small files in the data directory, written atomically."""

import contextlib
import os
from pathlib import Path
from typing import Final

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def aside_name(name: str) -> str:
    """Name under which a file is written before it gets its own; a crash may leave it."""
    return f".{name}.new"


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Replace the file at ``path`` by one of ``mode``; on failure the old one stays. Raises OSError, which names it.

    It is written under another name, synced and renamed, so that a full disk or a crash never leaves a part; then the
    folder is synced, against a loss of power. One process writes a path at a time.
    """
    aside = path.with_name(aside_name(path.name))
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()  # left by a crash or made by another user: it is never written to
    try:
        with os.fdopen(os.open(aside, _NEW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        error.filename = error.filename or str(path)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
