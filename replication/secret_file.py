"""Secret that a witness and its nodes share, in a file that only its owner may read."""

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from replication.register_file import sync_folder
from replication.witness import SECRET_BYTES_MAX, SECRET_BYTES_MIN

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SecretError(ValueError):
    """A secret cannot be used; the message says why and what to do, and never repeats a part of it."""


def read_secret(path: Path) -> bytes:
    """The secret of a file, without white space around it. Raises SecretError, or OSError."""
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise SecretError(f"{path} is no file; name the file of the witness's secret")
        if found.st_uid not in (0, os.geteuid()):
            raise SecretError(f"{path} belongs to user {found.st_uid}, who could change it; make it a file of your own")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise SecretError(f"others may read {path}; run `chmod 600 {path}`, and make a new secret if they did")
        secret = file.read(SECRET_BYTES_MAX + 1).strip()
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise SecretError(
            f"the secret in {path} has {len(secret)} bytes; give {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} random ones"
        )
    return secret


def create_secret(path: Path) -> None:
    """Create a file with a random secret, unless there is one. Raises OSError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    try:
        with os.fdopen(os.open(aside, _NEW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secrets.token_urlsafe(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
